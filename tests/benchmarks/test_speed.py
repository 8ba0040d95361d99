"""`python -m benchmarks speed` with the tiny model: what every part reports, keeps and refuses. No second is judged."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.__main__ import main
from benchmarks.report import load, markers, page
from benchmarks.report.__main__ import main as report
from benchmarks.speed import results
from benchmarks.speed.bench import Bench, repeat
from benchmarks.speed.consolidating import fill
from benchmarks.speed.grading import candidates_of
from benchmarks.speed.options import PARTS, Options
from benchmarks.speed.parts import RUN, run_part, shares
from benchmarks.speed.rollouts import Server
from benchmarks.speed.training import geometry, row_flops
from benchmarks.tasks import squad
from seal_memory.errors import InputError
from seal_memory.records import Status

EASY = {
    "engine.dtype": "float32",
    "learning.epochs": 1,
    "learning.document_readings": 1,
    "learning.rank": 2,
    "learning.notes_per_statement": 0,
    "answering.max_tokens": 2,
    "gate.quiz_answer_tokens": 2,
    "gate.min_gain": 0.0,
    "gate.max_old_loss": 1.0,
    "gate.max_perplexity_increase": 10.0,
    "gate.max_canary_share": 1.0,
}
SMALL: dict[str, Any] = {
    "start": 1,
    "budget_seconds": 0.2,
    "peak_rows": 8,
    "self_edits": 3,
    "seeds_per_edit": 2,
    "epochs": 2,
    "rank": 2,
    "pad_to": 128,
    "padded_steps": 1,
    "max_tokens": 2,
    "candidates": (1, 8),
    "ranks": (2,),
    "lengths": (12,),
    "training_steps": 1,
    "batches": (1, 64),
    "new_tokens": 2,
    "one_by_one": 2,
    "sizes": (2, 4),
    "new_memories": 1,
    "repeat": 2,
    "memory_passages": 2,
}
PASSAGES = [
    (
        "Korrin Bay",
        "The lighthouse at Korrin Bay was built in 1887. Maud Ellery drew the plans for it. It burned in 1902.",
    ),
    ("Oslo", "Tomas Lindqvist leads the Oslo office. The office opened in 2004 beside the harbour. It has ten rooms."),
    ("Elm Street", "Rosa Klein founded the bakery on Elm Street in 1932. It sells rye bread on Tuesdays."),
]


@pytest.fixture(scope="module")
def passages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in SQuAD's shape; the second passage has notes of two models."""
    path = tmp_path_factory.mktemp("data") / "passages.jsonl"
    lines = []
    for n, (title, text) in enumerate(PASSAGES):
        questions = [{"question": f"What was built or opened in {title}?", "answer": text.split()[1]}] * 2
        lines.append({"id": n, "title": title, "context": text, "questions": questions})
    lines[1] |= {"notes_a": ["1. Tomas leads.\n2. Oslo has an office."], "notes_b": "The harbour is near."}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def options(tiny_model_folder: Path, passages: Path) -> Options:
    return Options(model=str(tiny_model_folder), data=passages, settings=EASY, **SMALL)


@pytest.fixture
def bench(options: Options, tmp_path: Path) -> Bench:
    return Bench("part", options, tmp_path)


def test_every_part_has_a_run() -> None:
    """And every part but peak needs the passages' file."""
    assert tuple(RUN) == PARTS
    for part in PARTS[1:]:
        with pytest.raises(InputError, match="--data"):
            _ = Bench(part, Options(), Path()).task


# -- the parts ----------------------------------------------------------------------------------------


def test_the_peak_is_the_best_shape_of_the_models_layers(bench: Bench) -> None:
    """In float32 and the base's type; the tiny model has three shapes."""
    found = RUN["peak"](bench)
    shapes = found["by_type"]["float32"]["shapes"]
    assert set(shapes) == {"32x64", "64x64", "64x128", "128x64"}
    assert found["peak_gflops"] == max(shapes.values()) > 0
    assert found["layers_gflops"] > 0


def test_every_way_grades_the_same_rows_with_the_same_steps(bench: Bench) -> None:
    """What ours trains is what Trainer gets, token for token, and an optimizer step for each row and epoch."""
    made = candidates_of(bench)
    first = made.candidates[0]
    plain = bench.plain_copy("float32")
    assert [list(r.ids) for r in first.rows] == [plain.encode(d) for d in first.documents]
    assert [r.prompt_length for r in first.rows] == [0] * len(first.rows)
    assert len(first.batches()) == first.steps == 2 * len(first.documents)
    assert sorted(row for step in first.batches()[: len(first.rows)] for row in step) == list(range(len(first.rows)))
    assert len(made.candidates) == 6
    assert first.documents[0] == "Oslo\n1. Tomas leads."
    assert len({c.documents for c in made.candidates}) == 3  # two notes of the file, one of sentences


def test_grading_compares_three_ways_and_says_what_is_counted_up(bench: Bench) -> None:
    """Padded: two steps timed, the rest counted; plain: a whole candidate; ours: everything done."""
    found = RUN["grading"](bench)
    padded, plain, ours = found["padded"]["float32"], found["plain"]["float32"], found["ours"]
    assert (padded["extrapolated"], plain["extrapolated"], ours["extrapolated"]) == (True, True, False)
    assert (padded["steps_timed"], padded["pad_to"], plain["candidates_timed"]) == (1, 128, 1)
    assert padded["steps_counted"] == plain["steps_counted"] == pytest.approx(found["steps"] / found["candidates"])
    for way in (padded, plain, ours):
        parts = way["training_seconds"] + way["grading_seconds"]
        assert way["seconds_per_candidate"] == pytest.approx(parts)
    ratio = padded["seconds_per_candidate"] / ours["seconds_per_candidate"]
    assert found["times_faster_than_padded"] == {"float32": pytest.approx(ratio)}
    assert not [n for n in bench.engine._adapters if n.startswith("speed:")]


def test_operations_are_those_that_torch_counts(bench: Bench) -> None:
    """Forward and backward of PEFT's LoRA on the plain model; torch counts attention in full, we the causal half."""
    import peft

    length, rank, targets = 24, 4, ("q_proj", "v_proj", "down_proj")
    plain: Any = bench.plain_copy("float32").load().model
    shape = geometry(bench.engine)
    peft.inject_adapter_in_model(peft.LoraConfig(r=rank, target_modules=list(targets)), plain)
    plain.set_attn_implementation("eager")
    ids = torch.arange(length)[None]
    with FlopCounterMode(display=False) as counter:
        plain(input_ids=ids).logits.float().sum().backward()
    full = 3 * 4 * length * length * shape.attention_width * shape.blocks
    causal = 3 * 2 * length * (length + 1) * shape.attention_width * shape.blocks
    counted = row_flops(shape, length, length, rank=rank, adapted=targets) - causal + full
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.01)  # rotary angles are a product, too


def test_training_reports_every_cell_and_its_share_of_the_peak(bench: Bench) -> None:
    """K x rank x length; real tokens, and the peak of the same run."""
    found = RUN["training"](bench)
    assert sorted((c["candidates"], c["rank"], c["length"]) for c in found["cells"]) == [(1, 2, 12), (8, 2, 12)]
    for cell in found["cells"]:
        assert cell["tokens_per_second"] == pytest.approx(cell["tokens_per_step"] / cell["seconds_per_step"])
        assert cell["share_of_peak"] == pytest.approx(cell["gflops"] / found["peak_gflops"])
        assert cell["candidates"] * 2 * 9 <= cell["tokens_per_step"] <= cell["candidates"] * 2 * 15


def test_rollouts_make_the_same_tokens_as_transformers(bench: Bench) -> None:
    """Every kind at every batch size; rows with adapters of their own are timed one after another and counted up."""
    found = RUN["rollouts"](bench)
    assert [(c["batch"], c["kind"]) for c in found["cells"]] == [
        (b, k) for b in (1, 64) for k in ("notes", "sampled", "base", "one", "many")
    ]
    assert [c["same_tokens"] for c in found["cells"] if c["kind"] != "sampled"] == [1.0] * 8
    assert [c["extrapolated"] for c in found["cells"]] == [False] * 9 + [True]
    assert found["real_stops"]["same_tokens"] == 1.0
    assert "vllm" not in found


def test_consolidate_is_timed_by_phase_at_every_size(bench: Bench) -> None:
    """And the first token of an answer from the weights, and with 1 and 5 chunks; the memories are gone afterwards."""
    found = RUN["consolidate"](bench)
    assert [s["memories"] for s in found["sizes"]] == [2, 4]
    for size in found["sizes"]:
        assert sum(size["phases"].values()) == pytest.approx(size["runs"][0]["seconds"], abs=0.05)
        assert set(size["first_token_seconds"]) == {"weights", "rag-1", "rag-5"}
        tokens = size["prompt_tokens"]
        assert tokens["weights"] < tokens["rag-1"] < tokens["rag-5"]
    assert not list(bench.work.glob("memory-*"))


def test_fillers_look_like_learned_memories(open_memory: Any, passages: Path) -> None:
    """Learned, published, routed to, with grades: a consolidation builds on them."""
    memory = open_memory()
    fill(memory, squad.load(passages).units, 12, seed=0)
    assert memory.ledger.counts()[Status.LEARNED] == 12
    assert len({s.adapter_id for s in memory.ledger.current().manifest.shards}) == 12
    assert len(memory.store.ids()) == 12
    assert all(memory.ledger.grades(quiz_item_ids=[i.id]) for i in memory.ledger.quiz_items(held_out=True))
    assert memory.ask("Who drew the plans for the lighthouse at Korrin Bay in 1887?", mode="weights").shards
    memory.observe("The ferry to Malmen leaves at noon from pier nine.")
    assert memory.consolidate().episodes == 1


def test_memory_learns_and_asks_with_the_given_settings(bench: Bench) -> None:
    """Its peak is taken from outside; here only what was done."""
    found = RUN["memory"](bench)
    assert (found["passages"], found["questions"]) == (2, 4)
    assert found["episodes"] == found["published"] + found["refused"]


def test_a_profile_shares_out_the_whole_time(bench: Bench) -> None:
    """Training and decoding, in kinds of work that add up to 1; products are seen."""
    cells = RUN["profile"](bench)["cells"]
    assert [c["what"].split(",")[0] for c in cells] == ["training", "decoding", "decoding"]
    for cell in cells:
        assert sum(cell["shares"].values()) == pytest.approx(1.0)
        assert cell["shares"]["matrix products"] > 0


OPERATIONS = st.sampled_from(["aten::mm", "aten::addmm_", "aten::mul", "aten::_fused_adamw_"])


@given(st.lists(st.tuples(OPERATIONS, st.floats(0, 9, allow_subnormal=False))))
def test_shares_of_time_add_up_to_one_whatever_is_measured(operations: list[tuple[str, float]]) -> None:
    """Also where clocks disagree and the operations took longer than the wall."""
    found = shares(operations, 3.0)
    assert sum(found.values()) == pytest.approx(1.0)
    assert all(v >= 0 for v in found.values())
    assert (found["optimizer"] > 0) == any(seconds > 0 for name, seconds in operations if "adamw" in name)


# -- running ------------------------------------------------------------------------------------------


def test_a_killed_part_goes_on_after_its_last_step(options: Options, tmp_path: Path) -> None:
    """A step that is in the journal is not measured again; other options are another run."""
    first = run_part("peak", options, tmp_path)
    journal = results.journal_path(tmp_path, "peak")
    lines = journal.read_text(encoding="utf-8").splitlines()
    journal.write_text("\n".join(lines[:3]) + "\n", encoding="utf-8")  # the head and the first step
    assert run_part("peak", options, tmp_path) == first
    with pytest.raises(InputError, match="another run"):
        run_part("peak", Options(model=options.model, settings=EASY, peak_rows=9), tmp_path)


def test_the_command_measures_in_processes_of_their_own(
    options: Options, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line is one JSON object; the file has figures, the peak memory and where it comes from."""
    out = tmp_path / "results" / "speed-squad.json"
    places = ["--work", str(tmp_path / "work"), "--out", str(out), "--model", options.model, "--note", "busy"]
    assert main(["speed", "--parts", "peak", "--peak-rows", "8", "--set", "engine.dtype=float32", *places]) == 0
    said = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (said["parts"], said["failed"], said["bars"]) == (["peak"], [], [])
    assert found["parts"]["peak"]["peak_memory_bytes"] > 1e7
    assert {"commit", "cpu", "versions", "model", "command", "seeds", "threads"} <= found["provenance"].keys()
    assert found["provenance"]["note"] == "busy"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--parts", "all"], "--data"),
        (["--parts", "speed"], "Unknown part"),
        (["--parts", "peak", "--padded-steps", "0"], "--padded-steps"),
        (["--parts", "peak", "--set", "rank"], "NAME=VALUE"),
    ],
)
def test_bad_arguments_end_with_a_sentence(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, the value and the way out on standard error."""
    assert main(["speed", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_repetitions_end_with_the_budget() -> None:
    """At least one, however small it is; never more than the most."""
    ran: list[int] = []
    assert len(repeat(lambda: ran.append(1), budget=0.0, most=5).seconds) == len(ran) == 1
    assert len(repeat(lambda: None, budget=60.0, most=3).seconds) == 3


# -- a vLLM server ------------------------------------------------------------------------------------


class _Vllm(BaseHTTPRequestHandler):
    """Answers as vLLM does; keeps what it was asked."""

    asked: list[dict[str, Any]]

    def do_GET(self) -> None:
        self._answer({"data": [{"id": "lora-a", "parent": "tiny"}, {"id": "tiny", "parent": None}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        self._answer({"usage": {"completion_tokens": len(body["prompt"]) * body["max_tokens"]}})

    def _answer(self, found: dict[str, Any]) -> None:
        data = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


@pytest.fixture
def vllm() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a hand-written server, and what it is asked."""
    handler = type("Handler", (_Vllm,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", handler.asked
        server.shutdown()
        thread.join()


def test_a_vllm_server_is_asked_for_the_same_work(vllm: tuple[str, list[dict[str, Any]]]) -> None:
    """Token ids as prompts, greedy, no stops; rows of one adapter in one request."""
    url, asked = vllm
    server = Server(url + "/v1/")
    assert server.base_model() == "tiny"
    assert server.complete([[1, 2], [3], [4]], ["tiny", "lora-a", "tiny"], max_tokens=5) == 15
    by_model = {a["model"]: a for a in asked}
    assert by_model["tiny"]["prompt"] == [[1, 2], [4]]
    assert (
        by_model["lora-a"] | {"prompt": [[3]], "max_tokens": 5, "temperature": 0.0, "ignore_eos": True}
        == by_model["lora-a"]
    )


def test_rollouts_have_the_servers_figures_beside_them(
    vllm: tuple[str, list[dict[str, Any]]], tiny_model_folder: Path, passages: Path, tmp_path: Path
) -> None:
    """The base, one adapter and many, where the server has adapters."""
    more = SMALL | {"batches": (1,), "vllm_url": vllm[0], "vllm_adapters": ("lora-a", "lora-b")}
    options = Options(model=str(tiny_model_folder), data=passages, settings=EASY, **more)
    found = RUN["rollouts"](Bench("rollouts", options, tmp_path))
    assert [(c["kind"], c["models"]) for c in found["vllm"]["cells"]] == [("base", 1), ("one", 1), ("many", 2)]
    assert all(c["tokens_per_second"] > 0 for c in found["vllm"]["cells"])


@pytest.mark.parametrize("url", ["localhost:8000", "http://127.0.0.1:9"])
def test_what_is_no_vllm_server_is_told(url: str) -> None:
    """The address is named."""
    with pytest.raises(InputError, match=url):
        Server(url).base_model()


# -- bars and report ----------------------------------------------------------------------------------


def _figures() -> dict[str, Any]:
    """Made-up figures of every part, as a results file holds them."""
    way = {"seconds_per_candidate": 2.0, "training_seconds": 1.5, "grading_seconds": 0.5, "extrapolated": True}
    cell = {"batch": 64, "tokens_per_second": 900.0, "transformers_tokens_per_second": 300.0, "times_faster": 3.0}
    rows = {"rank": 32, "length": 48, "tokens_per_second": 800.0}
    first = {"weights": 0.1, "rag-1": 0.2, "rag-5": 0.5}
    size = {"seconds_per_memory": 4.0, "phases": {"study": 1.0, "rest": 3.0}, "first_token_seconds": first}
    return {
        "peak": {"by_type": {"float32": {"peak": 200.0}}, "layers_gflops": 150.0},
        "grading": {
            "candidates": 15,
            "ours": way,
            "plain": {"float32": way, "bfloat16": way},
            "padded": {"float32": way},
            "times_faster_than_plain": {"float32": 5.0, "bfloat16": 2.5},
            "times_faster_than_padded": {"float32": 70.0},
        },
        "training": {"cells": [{**rows, "candidates": k, "share_of_peak": 0.07 * k} for k in (1, 8)]},
        "rollouts": {
            "cells": [{**cell, "kind": "base"}, {**cell, "batch": 1, "kind": "one"}],
            "vllm": {"cells": [{"batch": 64, "kind": "base", "tokens_per_second": 1234.0}]},
        },
        "consolidate": {"sizes": [{**size, "memories": n} for n in (10, 1000)]},
        "memory": {"peak_memory_bytes": 5e9},
        "profile": {"cells": [{"what": "training, K = 8", "shares": {"matrix products": 0.8, "attention": 0.2}}]},
    }


def _file(folder: Path) -> Path:
    parts = {part: {"peak_memory_bytes": 3e9, "wall_seconds": 60.0, **f} for part, f in _figures().items()}
    found = {"format": 1, "experiment": "speed", "provenance": {"cpu": "a <cpu>"}, "parts": parts}
    path = folder / "speed-squad.json"
    path.write_text(json.dumps({**found, "bars": results.bars(parts)}), encoding="utf-8")
    return path


def test_bars_are_held_against_the_fastest_baseline() -> None:
    """And told whether they are reached; a part that was not run has none."""
    found = [(b["part"], round(b["reached"], 2), b["met"]) for b in results.bars(_figures())]
    assert found == [
        ("grading", 70.0, True),
        ("grading", 2.5, False),
        ("training", 56.0, True),
        ("rollouts", 3.0, False),
        ("rollouts", 3.0, True),
        ("consolidate", 1.0, True),
        ("consolidate", 4.0, True),
        ("consolidate", 5.0, True),
        ("memory", 5.0, False),
    ]
    assert results.bars({}) == []


def test_the_report_shows_the_bars_and_every_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A block of the bars, and a section of the page; a file without the block is left alone."""
    _file(tmp_path)
    page_file = tmp_path / "results.md"
    page_file.write_text("a\n<!-- bench:speed -->\n<!-- /bench:speed -->\nb\n", encoding="utf-8")
    assert report(["--results", str(tmp_path), "--tables", str(page_file)]) == 0
    assert json.loads(capsys.readouterr().out)["tables"] == ["speed"]
    text = page_file.read_text(encoding="utf-8")
    assert "| grading a candidate, against SEAL's padded recipe | 70 × | ≥ 60 × | yes |" in text.replace("70.0", "70")
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    for said in (
        "How fast",
        "Grading 15 candidates",
        "K = 8",
        "1,234",
        "BM25, 5 chunks",
        "a &lt;cpu&gt;",
        "5.0 GB",
        "80 %",
    ):
        assert said in html
    timed = load.load(tmp_path).sheets
    assert [sheet.name for sheet in timed] == ["speed"]
    assert markers.refresh("no block\n", [], sheets=timed).text == "no block\n"
    assert "How fast" not in page.render([], {})


def test_a_speed_file_with_something_wrong_is_told_with_its_key(tmp_path: Path) -> None:
    """The first thing wrong, where it stands."""
    path = _file(tmp_path)
    found = json.loads(path.read_text(encoding="utf-8"))
    found["parts"]["training"]["cells"][1]["share_of_peak"] = "much"
    path.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(InputError, match=r"parts\.training\.cells\[1\]\.share_of_peak is 'much'"):
        load.load(tmp_path)

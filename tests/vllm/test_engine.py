"""The vLLM engine: when adapters are loaded and let go of, restarts, other models, and a server's traps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy

from seal_memory.engines.base import Decoding, Prompt
from seal_memory.engines.local import TransformersEngine
from seal_memory.engines.vllm.blank import blank_of
from seal_memory.engines.vllm.engine import VllmEngine
from seal_memory.errors import BaseModelMismatchError, EngineUnavailableError, InputError, LedgerError
from seal_memory.lora.store import AdapterStore

TOLERANCE = 1e-4
TARGET = "Maud Ellery"


@pytest.fixture
def source(tmp_path: Path, vllm_engine: VllmEngine, make_source: Callable[[AdapterStore], Any]) -> Any:
    found = make_source(AdapterStore(tmp_path / "adapters"))
    vllm_engine.add_source(found)
    return found


@pytest.fixture
def ids(tiny: TransformersEngine, source: Any, store_adapters: Callable[..., tuple[str, ...]]) -> tuple[str, ...]:
    return store_adapters(tiny, source.store, 5)


def _asked(adapter: str | None = None) -> Prompt:
    return Prompt([{"role": "user", "content": "Who built it?"}], adapter)


def _score(engine: Any, adapter: str | None) -> float:
    (score,) = engine.score([(_asked(adapter), TARGET)])
    return float(score.logprob)


def _refused(engine: VllmEngine, error: type[Exception], told: str) -> None:
    with closing(engine), pytest.raises(error, match=told):
        engine.connect()


def _loads(fake: Any) -> list[str]:
    return [body["lora_name"] for path, body in fake.asked if path == "/v1/load_lora_adapter"]


def test_an_adapter_is_loaded_when_it_is_first_asked_for(vllm_engine: VllmEngine, fake: Any, ids: Any) -> None:
    """Under its own id, once; opening the engine asks the server nothing."""
    assert fake.asked == []
    for _ in range(3):
        vllm_engine.complete([_asked(ids[0])], max_tokens=2)
    assert _loads(fake) == [ids[0]]
    assert {b["model"] for p, b in fake.asked if p == "/v1/completions" and b["prompt"] != [0]} == {ids[0]}


def test_loaded_adapters_stay_below_the_servers_limit(vllm_engine: VllmEngine, fake: Any, ids: Any) -> None:
    """One slot is left over, whatever is asked; the least recently used has left."""
    for name in (*ids, ids[4], ids[0]):
        vllm_engine.complete([_asked(name)], max_tokens=1)
    assert vllm_engine.max_adapters == fake.max_loras - 1 == fake.most_loaded
    assert vllm_engine.loaded == tuple(fake.loaded) == (ids[3], ids[4], ids[0])


def test_the_base_stays_the_base_when_all_slots_were_filled(
    vllm_engine: VllmEngine, fake: Any, tiny: TransformersEngine, ids: Any
) -> None:
    """Trap: to unload frees no slot, and a full server gives the base's rows its last slot's adapter."""
    for name in ids:
        _score(vllm_engine, name)
    with closing(VllmEngine(fake.url, str(fake.folder), timeout=60.0)) as unguarded:
        assert abs(_score(unguarded, None) - _score(tiny, None)) > 10 * TOLERANCE  # the trap is there
    assert _score(vllm_engine, None) == pytest.approx(_score(tiny, None), abs=TOLERANCE)


def test_a_name_is_never_given_to_other_bytes(
    vllm_engine: VllmEngine, fake: Any, tiny: TransformersEngine, source: Any, ids: Any, random_adapter: Any
) -> None:
    """Trap: what was computed under a name outlives its adapter. A retrained shard has another name."""
    _score(vllm_engine, ids[0])
    fake.unload({"lora_name": ids[0]})
    fake.load({"lora_name": ids[0], "lora_path": str(source.store.folder(ids[1]))})
    assert _score(vllm_engine, ids[0]) == pytest.approx(_score(tiny, ids[0]), abs=TOLERANCE)  # stale: the trap is there
    again = source.store.write(tiny.adapter(ids[1]), base_model="it", base_fingerprint=tiny.fingerprint)
    other = random_adapter(tiny.stack, 4, ("q_proj", "down_proj"), 99)
    other_id = source.store.write(other, base_model="it", base_fingerprint=tiny.fingerprint).id
    tiny.put(other_id, other)
    assert again.id == ids[1] != other_id
    assert _score(vllm_engine, other_id) == pytest.approx(_score(tiny, other_id), abs=TOLERANCE)


def test_a_restarted_server_is_told_its_adapters_again(
    vllm_engine: VllmEngine, fake: Any, tiny: TransformersEngine, ids: Any
) -> None:
    """When they are asked for; the caller notices nothing, streamed or not."""
    _score(vllm_engine, ids[0])
    _score(vllm_engine, ids[1])
    fake.stop()
    again = fake.again()
    try:
        assert _score(vllm_engine, ids[0]) == pytest.approx(_score(tiny, ids[0]), abs=TOLERANCE)
        (done,) = vllm_engine.talk([_asked(ids[1])], Decoding(3), on_text=lambda row, piece: None)
        assert done.text == tiny.complete([_asked(ids[1])], max_tokens=3)[0].text
        assert _loads(again) == [ids[0], ids[1]]
        assert _score(vllm_engine, None) == pytest.approx(_score(tiny, None), abs=TOLERANCE)
    finally:
        again.stop()


def test_one_that_somebody_else_unloaded_is_loaded_again(vllm_engine: VllmEngine, fake: Any, ids: Any) -> None:
    before = _score(vllm_engine, ids[0])
    fake.unload({"lora_name": ids[0]})
    assert _score(vllm_engine, ids[0]) == before


def test_what_an_earlier_process_loaded_is_taken_over(
    fake: Any, tiny: TransformersEngine, source: Any, ids: Any, vllm_engine: VllmEngine
) -> None:
    """Ours, by name: used as it is, and let go of where room is wanted. Others' only take room."""
    for name in ids[:2]:
        fake.load({"lora_name": name, "lora_path": str(source.store.folder(name))})
    fake.load({"lora_name": "somebody's", "lora_path": str(source.store.folder(ids[4]))})
    fake.asked.clear()
    assert _score(vllm_engine, ids[1]) == pytest.approx(_score(tiny, ids[1]), abs=TOLERANCE)
    assert _loads(fake) == []
    _score(vllm_engine, ids[2])
    assert set(fake.loaded) == {"somebody's", ids[1], ids[2]}


def test_what_no_snapshot_uses_is_unloaded(vllm_engine: VllmEngine, fake: Any, source: Any, ids: Any) -> None:
    """When the next one is published, and at once for what is gone for good, even if the server is away then."""
    _score(vllm_engine, ids[0])
    _score(vllm_engine, ids[1])
    vllm_engine.retain(source, [ids[1], ids[2]])
    assert set(fake.loaded) == {ids[1]}
    vllm_engine.drop(ids[1])
    assert set(fake.loaded) == set()
    fake.stop()
    vllm_engine.drop(ids[2])


def test_one_that_answers_is_not_let_go_of(vllm_engine: VllmEngine, fake: Any, source: Any, ids: Any) -> None:
    """It leaves when it has answered."""
    seen: list[bool] = []

    def listen(row: int, piece: str) -> None:
        vllm_engine.drop(ids[0])
        seen.append(ids[0] in fake.loaded)

    vllm_engine.talk([_asked(ids[0])], Decoding(3), on_text=listen)
    assert all(seen[:-1])
    assert ids[0] not in fake.loaded


def test_a_server_that_is_gone_is_an_error_of_its_own(vllm_engine: VllmEngine, fake: Any, ids: Any) -> None:
    """Whatever is asked; what can be known without it is told first."""
    fake.stop()
    for ask in (lambda: _score(vllm_engine, ids[0]), lambda: vllm_engine.complete([_asked()], max_tokens=1)):
        with pytest.raises(EngineUnavailableError):
            ask()
    assert not vllm_engine.reachable()
    vllm_engine.check(_asked(), Decoding(3))
    with pytest.raises(InputError, match="shorten"):
        vllm_engine.check(_asked(), Decoding(5000))
    with pytest.raises(InputError, match="gives 0 to 20"):
        vllm_engine.check(_asked(), Decoding(3, top_logprobs=50))


def test_another_model_is_refused(
    fake: Any, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its files, where they can be seen; else by its tokenizer."""
    other = tmp_path / "other"
    shutil.copytree(tiny_model_folder, other)
    cache = tmp_path / "c"
    tensors = safetensors.numpy.load_file(other / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"] + 1
    safetensors.numpy.save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    _refused(VllmEngine(fake.url, str(other), cache_dir=cache), BaseModelMismatchError, "start it with --model")
    tokenizer = json.loads((tiny_model_folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = tokenizer["model"]["merges"][:10]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    monkeypatch.setattr(fake, "folder", Path("/elsewhere/model"))
    _refused(VllmEngine(fake.url, str(other), cache_dir=cache), BaseModelMismatchError, "another tokenizer")


@pytest.fixture
def small(fake_module: Any, tiny: TransformersEngine, tiny_model_folder: Path) -> Iterator[Any]:
    made = fake_module.FakeVllm(tiny, tiny_model_folder, max_loras=2)
    yield made
    made.stop()


def test_too_few_slots_are_told(small: Any, tiny_model_folder: Path, tmp_path: Path) -> None:
    """By its metrics, or by what was said where those tell nothing."""
    model, cache = str(tiny_model_folder), tmp_path / "c"
    told = "--max-loras 2; expected 3 or more"
    _refused(VllmEngine(small.url, model, cache_dir=cache), EngineUnavailableError, told)
    small.metrics = lambda: ""
    _refused(VllmEngine(small.url, model, cache_dir=cache), EngineUnavailableError, "engine.max_loras")
    with closing(VllmEngine(small.url, model, max_loras=5, cache_dir=cache)) as engine:
        engine.connect()
        assert engine.max_adapters == 4


def test_a_closed_memory_is_no_reason_to_fail(vllm_engine: VllmEngine, fake: Any, source: Any, ids: Any) -> None:
    """Its source raises what a closed ledger raises, once it is no longer one of the sources."""

    class Closing:
        def find(self, adapter_id: str) -> str:
            vllm_engine.remove_source(self)
            raise LedgerError("closed")

        def store_blank(self, blank: Any) -> str:
            raise AssertionError

    vllm_engine.remove_source(source)
    vllm_engine.add_source(Closing())
    vllm_engine.add_source(source)
    assert _score(vllm_engine, ids[0])


def test_a_blank_is_the_same_bytes_every_time(tiny_model_folder: Path, tmp_path: Path) -> None:
    """A PEFT adapter of one layer, all zeros; a model without a known layer has none."""
    first, again = blank_of(tiny_model_folder), blank_of(tiny_model_folder)
    assert first == again
    assert first is not None
    tensors = safetensors.numpy.load(first.tensors)
    assert {t.shape for t in tensors.values()} == {(1, 128), (64, 1)}
    assert not any(t.any() for t in tensors.values())
    (tmp_path / "config.json").write_text("{}")
    safetensors.numpy.save_file({"wte.weight": tensors[min(tensors)]}, tmp_path / "model.safetensors")
    assert blank_of(tmp_path) is None


def test_a_schema_is_followed_by_the_servers_structured_outputs(vllm_engine: VllmEngine, fake: Any, ids: Any) -> None:
    """Streamed and whole, under an adapter, and as the in-process engine's text; a free row is sent without one."""
    schema = {"type": "object", "properties": {"done": {"type": "boolean"}}, "required": ["done"]}
    asked = replace(_asked(ids[0]), schema=schema)
    told: list[str] = []
    (streamed,) = vllm_engine.talk([asked], Decoding(60), on_text=lambda row, piece: told.append(piece))
    whole, _ = vllm_engine.talk([asked, _asked()], Decoding(60))
    assert isinstance(json.loads(whole.text)["done"], bool)
    assert whole.text == streamed.text == "".join(told)
    sent = [body.get("structured_outputs") for path, body in fake.asked if path == "/v1/completions"]
    assert sent.count({"json": schema, "disable_any_whitespace": True}) == 2
    assert None in sent

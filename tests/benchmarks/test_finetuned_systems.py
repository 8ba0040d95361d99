"""SEAL's recipe and naive LoRA: what they train, that they go on from step to step, and that they leave no trace."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.systems import finetuning, seal_recipe
from benchmarks.systems.base import Asker, Cost, Unsupported
from benchmarks.systems.finetuning import Recipe, TrainableBase, train
from benchmarks.systems.naive_lora import NaiveLora
from benchmarks.systems.seal_recipe import SealRecipe, documents, notes_prompt, time_padded_candidate
from benchmarks.tasks.base import Chunk, Question
from seal_memory.engines.local import TransformersEngine

CHUNKS = [
    Chunk("c0", "The lighthouse at Korrin Bay was built in 1887 by Maud Ellery.", title="Korrin Bay"),
    Chunk("c1", "Our agent met Tomas Lindqvist on Tuesday in Oslo."),
]
QUESTIONS = [Question("q0", "Who built the lighthouse?", ("Maud Ellery",), ("c0",))]


@pytest.fixture(scope="module")
def asker(load_tiny: Callable[[], Any]) -> Asker:
    return Asker(TransformersEngine(load_tiny()))


@pytest.fixture(scope="module")
def base(load_tiny: Callable[[], Any]) -> TrainableBase:
    """The second copy, shared as the experiments share it."""
    loaded = load_tiny()
    return TrainableBase(loaded.files, loaded.hardware)


@pytest.fixture(params=["seal", "naive"])
def make(request: pytest.FixtureRequest, asker: Asker, base: TrainableBase) -> Callable[[Path], Any]:
    """Opens the system in a folder, anew with each call."""
    if request.param == "seal":
        return lambda folder: SealRecipe(asker, base, folder, seed=1, epochs=2, note_tokens=24)
    return lambda folder: NaiveLora(asker, base, folder, seed=1, epochs=2)


@pytest.fixture
def seal(asker: Asker, base: TrainableBase, tmp_path: Path) -> SealRecipe:
    return SealRecipe(asker, base, tmp_path / "seal", seed=1, epochs=2, note_tokens=24)


def _say(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch, text: str) -> list[Any]:
    """Let the base write `text` as its notes; returns the prompts that it is given."""
    from seal_memory.engines.base import Completion

    seen: list[Any] = []

    def complete(prompts: Any, *, max_tokens: int, temperature: float = 0.0, seed: int = 0) -> list[Any]:
        seen.extend(prompts)
        return [Completion(text, 1, 1, 1.0) for _ in prompts]

    monkeypatch.setattr(engine, "complete", complete)
    return seen


# -- what is trained --------------------------------------------------------------------------------


def test_each_line_of_the_notes_is_a_document_under_the_title_and_the_passage_comes_last() -> None:
    found = documents(CHUNKS[0], "1. Maud Ellery was an engineer.\n\n2. It is old.")
    assert found[:2] == ["Korrin Bay\n1. Maud Ellery was an engineer.", "Korrin Bay\n2. It is old."]
    assert found[2:] == [f"Korrin Bay\n{CHUNKS[0].text}"]


def test_the_line_that_announces_the_list_is_no_document() -> None:
    assert documents(CHUNKS[1], "Sure, here it is:\n1. A\n2. B") == ["1. A", "2. B", CHUNKS[1].text]


def test_dashes_divide_notes_and_there_are_at_most_thirty() -> None:
    assert documents(CHUNKS[1], "A---B") == ["A", "B", CHUNKS[1].text]
    assert len(documents(CHUNKS[1], "\n".join("abcdefghij" * 5))) == 30 + 1


def test_without_notes_the_passage_is_trained_twice() -> None:
    assert documents(CHUNKS[1], "  \n ") == [CHUNKS[1].text] * 2


def test_the_notes_prompt_is_seals_with_the_title_and_the_passage(
    seal: SealRecipe, asker: Asker, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _say(asker.engine, monkeypatch, "1. A")
    seal.learn(CHUNKS[:1], step=0)
    assert [p.adapter for p in seen] == [None]
    assert seen[0].messages == [{"role": "user", "content": notes_prompt(CHUNKS[0])}]
    assert f"Passage:\nKorrin Bay\n{CHUNKS[0].text}\n\nImplications:\n" in seen[0].messages[0]["content"]


def test_the_cost_counts_real_tokens_times_epochs_and_the_time_of_the_notes(
    seal: SealRecipe, asker: Asker, base: TrainableBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    _say(asker.engine, monkeypatch, "1. A\n2. B")
    cost = seal.learn(CHUNKS, step=0)
    texts = [d for c in CHUNKS for d in documents(c, "1. A\n2. B")]
    assert cost.tokens == 2 * sum(len(base.encode(t)) for t in texts)
    assert cost.seconds > 0


def test_padding_is_not_counted_and_changes_nothing_that_is_learned(base: TrainableBase, tmp_path: Path) -> None:
    weights = []
    for pad_to in (None, 96):
        recipe = Recipe(4, 8, ("q_proj", "v_proj"), 1e-3, 2, pad_to)
        run = train(base, ["One text to learn.", "Another"], recipe, into=tmp_path / str(pad_to), seed=3)
        assert run.tokens_per_epoch == sum(len(base.encode(t)) for t in ("One text to learn.", "Another"))
        weights.append(_tensors(tmp_path / str(pad_to)))
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-3, atol=1e-5)


def test_padding_can_be_in_the_loss_as_it_is_in_seals_code(base: TrainableBase) -> None:
    recipe = Recipe(4, 8, ("q_proj",), 1e-3, pad_to=12, loss_on_padding=True)
    [example] = finetuning._examples([[5, 6, 7]], base, recipe)
    end = base.load().tokenizer.eos_token_id
    assert example["labels"].tolist() == [[5, 6, 7] + [end] * 9]
    assert example["attention_mask"].tolist() == [[1] * 3 + [0] * 9]
    [example] = finetuning._examples([[5, 6, 7]], base, Recipe(4, 8, ("q_proj",), 1e-3, pad_to=12))
    assert example["labels"].tolist() == [[5, 6, 7] + [-100] * 9]


@pytest.mark.parametrize(
    ("kind", "rank", "targets"),
    [
        (SealRecipe, 32, {"q_proj", "v_proj"}),
        (NaiveLora, 16, {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
    ],
)
def test_the_saved_adapter_has_the_recipes_shape(
    kind: Any, rank: int, targets: set[str], asker: Asker, base: TrainableBase, tmp_path: Path
) -> None:
    kind(asker, base, tmp_path, seed=1, epochs=1).learn(CHUNKS[1:], step=0)
    config = json.loads((tmp_path / "step-0" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], set(config["target_modules"])) == (rank, 2 * rank, targets)


def test_what_the_assistant_said_is_not_trained(make: Callable[[Path], Any], tmp_path: Path) -> None:
    said = Chunk("a", "I think that the lighthouse is green.", role="assistant")
    assert make(tmp_path).learn([said], step=0).tokens == 0


# -- steps ------------------------------------------------------------------------------------------


def test_a_step_continues_from_the_one_before(make: Callable[[Path], Any], tmp_path: Path) -> None:
    system = make(tmp_path)
    system.learn(CHUNKS[:1], step=0)
    first = _tensors(tmp_path / "step-0")
    system.learn([], step=1)  # nothing to train: what is there stays as it is
    second = _tensors(tmp_path / "step-1")
    assert all(torch.equal(second[name], tensor) for name, tensor in first.items())
    system.learn(CHUNKS[1:], step=2)
    third = _tensors(tmp_path / "step-2")
    names = [name for name in first if "lora_A" in name]
    near = sum(float((third[n] - second[n]).norm()) for n in names)
    assert 0 < near < 0.5 * sum(float(second[n].norm()) for n in names)  # the same A, a little further


def test_a_learned_step_is_not_learned_again(make: Callable[[Path], Any], tmp_path: Path) -> None:
    make(tmp_path).learn(CHUNKS[:1], step=0)
    before = _bytes(tmp_path)
    again = make(tmp_path)
    assert again.learn(CHUNKS[:1], step=0) == Cost(0, 0)
    assert _bytes(tmp_path) == before
    assert again.bytes_on_disk() > 0


def test_only_the_newest_two_steps_are_kept(make: Callable[[Path], Any], tmp_path: Path) -> None:
    system = make(tmp_path)
    for step in range(4):
        system.learn(CHUNKS[:1], step=step)
    assert sorted(p.name for p in tmp_path.glob("step-*")) == ["step-2", "step-3"]
    assert system.bytes_on_disk() == sum(len(b) for b in _bytes(tmp_path / "step-3").values())


def test_a_step_without_the_one_before_is_refused(make: Callable[[Path], Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"step 3 builds on .*step-2"):
        make(tmp_path).learn(CHUNKS, step=3)


def test_a_run_killed_while_training_leaves_no_half_adapter_and_is_learned_again_the_same(
    make: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "whole").learn(CHUNKS, step=0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", _kill_at("step-0"))
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "killed").learn(CHUNKS, step=0)
    assert not list((tmp_path / "killed").glob("step-*"))
    make(tmp_path / "killed").learn(CHUNKS, step=0)
    assert _bytes(tmp_path / "killed" / "step-0") == _bytes(tmp_path / "whole" / "step-0")
    assert not list((tmp_path / "killed").glob("unfinished*"))


def test_notes_are_written_once_even_when_the_run_is_killed(
    seal: SealRecipe, asker: Asker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _say(asker.engine, monkeypatch, "1. A")
    with monkeypatch.context() as patch:
        patch.setattr(finetuning, "train", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            seal.learn(CHUNKS, step=0)
    fresh = SealRecipe(asker, seal.base, tmp_path / "seal", seed=1, epochs=2)
    fresh.learn(CHUNKS, step=0)
    assert len(seen) == len(CHUNKS)
    assert set(json.loads((tmp_path / "seal" / "notes.json").read_text())) == {"c0", "c1"}


def test_the_same_seed_writes_the_same_notes(asker: Asker, tmp_path: Path) -> None:
    texts = [
        seal_recipe.Notes(asker.engine, tmp_path / f"{n}.json", seed=seed, max_tokens=16).of(CHUNKS[:1])[0]["text"]
        for n, seed in enumerate((4, 4, 5))
    ]
    assert texts[0] == texts[1] != texts[2]


def test_a_diverged_adapter_is_not_kept(base: TrainableBase, tmp_path: Path) -> None:
    recipe = Recipe(4, 8, ("q_proj", "v_proj"), float("inf"), 1)
    with pytest.raises(FloatingPointError, match="diverged"):
        train(base, [CHUNKS[0].text], recipe, into=tmp_path / "new", seed=0)
    assert not (tmp_path / "new" / "adapter_model.safetensors").exists()


# -- answering --------------------------------------------------------------------------------------


def test_a_new_process_answers_as_the_one_that_learned(make: Callable[[Path], Any], tmp_path: Path) -> None:
    system = make(tmp_path)
    system.learn(CHUNKS, step=0)
    first = system.answer(system.ways[0], QUESTIONS, max_tokens=4), system.perplexity(system.ways[0])
    system.close()
    other = make(tmp_path)
    other.resume(CHUNKS, step=0)
    assert (other.answer(other.ways[0], QUESTIONS, max_tokens=4), other.perplexity(other.ways[0])) == first


def test_the_engine_answers_as_peft_does(
    make: Callable[[Path], Any], asker: Asker, load_tiny: Callable[[], Any], tmp_path: Path
) -> None:
    from peft import PeftModel

    from seal_memory.engines.base import Prompt

    system = make(tmp_path)
    system.learn(CHUNKS, step=0)
    adapter_id = system._ready()
    row = asker.engine.encode_row([{"role": "user", "content": "Go on."}], CHUNKS[0].text, end=False)
    ours = asker.engine.score([(Prompt([{"role": "user", "content": "Go on."}], adapter_id), CHUNKS[0].text)])[0]
    plain = asker.engine.score([(Prompt([{"role": "user", "content": "Go on."}]), CHUNKS[0].text)])[0]
    with pytest.warns(FutureWarning, match="is_gradient_checkpointing"):
        model = PeftModel.from_pretrained(load_tiny().model, tmp_path / "step-0").eval()
    ids = torch.tensor([row.ids])
    with torch.inference_mode():
        logprobs = model(input_ids=ids).logits[0].log_softmax(-1)
    targets = ids[0, row.prompt_length :]
    theirs = logprobs[row.prompt_length - 1 : -1].gather(1, targets[:, None]).mean()
    assert ours.logprob == pytest.approx(float(theirs), abs=1e-4)
    assert abs(ours.logprob - plain.logprob) > 1e-3  # something was learned


def test_before_anything_is_learned_the_base_answers(make: Callable[[Path], Any], asker: Asker, tmp_path: Path) -> None:
    from seal_memory import prompts
    from seal_memory.engines.base import Prompt

    system = make(tmp_path)
    reply = system.answer(system.ways[0], QUESTIONS, max_tokens=4)[0]
    assert reply.text == asker.ask([Prompt(prompts.direct(QUESTIONS[0].text))], max_tokens=4)[0].text
    assert system.bytes_on_disk() == 0


def test_an_adapter_that_the_engine_dropped_is_put_in_again(make: Callable[[Path], Any], tmp_path: Path) -> None:
    system = make(tmp_path)
    system.learn(CHUNKS[:1], step=0)
    system.asker.engine.drop(str(tmp_path / "step-0"))
    assert len(system.answer(system.ways[0], QUESTIONS, max_tokens=2)) == 1


def test_none_of_them_can_forget(make: Callable[[Path], Any], tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="one adapter"):
        make(tmp_path).forget(["c0"])


def test_another_base_than_the_engines_is_refused(asker: Asker, base: TrainableBase, tmp_path: Path) -> None:
    from dataclasses import replace

    other = TrainableBase(replace(base.files, fingerprint="another"), base.hardware)
    with pytest.raises(ValueError, match="the same model"):
        NaiveLora(asker, other, tmp_path, seed=0)


# -- leaving no trace -------------------------------------------------------------------------------


def test_the_base_is_bit_identical_after_training(
    make: Callable[[Path], Any], base: TrainableBase, asker: Asker, tmp_path: Path
) -> None:
    plain, engines = base.load().model, asker.engine.model
    before, served = _copy(plain), _copy(engines)
    modules = [(name, type(module)) for name, module in plain.named_modules()]
    system = make(tmp_path)
    system.learn(CHUNKS, step=0)
    system.learn(CHUNKS, step=1)
    assert [(name, type(module)) for name, module in plain.named_modules()] == modules
    assert _same(before, _copy(plain))
    assert _same(served, _copy(engines))
    assert not plain.training
    assert not any(p.requires_grad or p.grad is not None for p in plain.parameters())


def test_the_base_is_plain_again_after_a_failure(base: TrainableBase, tmp_path: Path) -> None:
    before = _copy(base.load().model)
    with pytest.raises(FloatingPointError):
        train(base, ["A text."], Recipe(4, 8, None, float("inf"), 1), into=tmp_path / "x", seed=0)
    assert _same(before, _copy(base.load().model))


def test_training_is_silent_and_leaves_threads_and_randomness_alone(
    make: Callable[[Path], Any], tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    state = torch.get_rng_state(), random.getstate(), _numpy_state(), torch.get_num_threads()
    make(tmp_path / "system").learn(CHUNKS, step=0)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert random.getstate() == state[1]
    assert _numpy_state() == state[2]
    assert torch.get_num_threads() == state[3]
    assert capfd.readouterr() == ("", "")
    assert not list(elsewhere.iterdir())


def test_the_outcome_depends_on_the_seed_alone(asker: Asker, base: TrainableBase, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(ord(name))  # what was drawn before does not matter
        NaiveLora(asker, base, tmp_path / name, seed=seed, epochs=1).learn(CHUNKS, step=0)
    weights = {name: _tensors(tmp_path / name / "step-0") for name in "abc"}
    assert _same(weights["a"], weights["b"])
    assert not _same(weights["a"], weights["c"])


def test_a_padded_candidate_is_timed_over_a_few_steps_and_extrapolated(asker: Asker, base: TrainableBase) -> None:
    found = time_padded_candidate(asker, base, CHUNKS[:1], steps=2, pad_to=64, note_tokens=16)
    assert found["steps_of_a_candidate"] == found["documents"] * 10
    assert found["measured_seconds_per_step"] > 0
    expected = found["measured_seconds_per_step"] * found["steps_of_a_candidate"]
    assert found["estimated_training_seconds"] == pytest.approx(expected)
    assert found["padded_tokens_per_epoch"] == 64 * found["documents"] >= found["real_tokens_per_epoch"]


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    loaded: dict[str, torch.Tensor] = load_file(folder / "adapter_model.safetensors")
    return loaded


def _copy(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _numpy_state() -> list[int]:
    state: Any = np.random.get_state()
    numbers: list[int] = state[1].tolist()
    return numbers


def _interrupt(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def _kill_at(name: str) -> Callable[[Any, Any], None]:
    replace = os.replace

    def killing(source: Any, target: Any) -> None:
        if Path(target).name == name:
            raise KeyboardInterrupt
        replace(source, target)

    return killing

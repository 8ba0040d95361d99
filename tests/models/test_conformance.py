"""Conformance of an architecture: adapters, training, files, decoding, and one fact from end to end.

Each architecture is a tiny random model of `conftest.ARCHITECTURES`; docs/models.md says which were tried with real
weights, too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from seal_memory import SealMemory
from seal_memory.engines.base import Decoding, Prompt
from seal_memory.engines.batches import Row, collate
from seal_memory.engines.decode import Limits, generate
from seal_memory.engines.local import TransformersEngine
from seal_memory.learning import inner_loop
from seal_memory.learning.inner_loop import TrainingJob, train
from seal_memory.lora import peft_files
from seal_memory.lora.adapter import LoraAdapter, LoraConfig

# PEFT 0.21 asks transformers 5.23 for a property that is being renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

TOLERANCE = 1e-4  # float32, another order of summation, of logits up to about 10
LIMITS = [Limits(min_prefix=0), Limits(), Limits(min_head=2, prefill_tokens=5), Limits(min_prefix=4, token_budget=70)]
TOKENS = 6


@pytest.fixture(scope="module")
def engine(folder: Path, load_folder: Callable[[Path], Any]) -> TransformersEngine:
    return TransformersEngine(load_folder(folder))


@pytest.fixture(scope="module")
def adapters(engine: TransformersEngine, random_adapter: Callable[..., LoraAdapter]) -> list[LoraAdapter | None]:
    """The base and two adapters: of all linear layers, and of the first alone."""
    layers = engine.profile.linear_layers
    return [None, random_adapter(engine.stack, 4, layers, 1), random_adapter(engine.stack, 2, layers[:1], 2)]


def _rows(count: int, seed: int) -> list[Row]:
    rng = random.Random(seed)
    lengths = [rng.randint(4, 40) for _ in range(count)]
    return [Row(tuple(rng.randrange(3, 300) for _ in range(n)), rng.randint(1, n - 1)) for n in lengths]


def _ids(rows: int = 3, width: int = 30) -> torch.Tensor:
    return torch.randint(3, 300, (rows, width), generator=torch.Generator().manual_seed(3))


def _logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=ids).logits
    return logits


def test_logits_equal_those_of_plain_eager_transformers(engine: TransformersEngine, folder: Path) -> None:
    """However the model was loaded: attention with a soft cap, tied heads, wrapped layers."""
    plain = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32)
    torch.testing.assert_close(_logits(engine.model, _ids()), _logits(plain, _ids()), atol=TOLERANCE, rtol=0)


def test_stacked_logits_equal_each_alone(engine: TransformersEngine, adapters: list[LoraAdapter | None]) -> None:
    ids = _ids()
    with engine.stack.rows(adapters):
        together = _logits(engine.model, ids)
    for row, adapter in enumerate(adapters):
        with engine.stack.rows([adapter]):
            alone = _logits(engine.model, ids[row : row + 1])
        torch.testing.assert_close(together[row], alone[0], atol=TOLERANCE, rtol=0)
    assert not torch.allclose(together[1], _logits(engine.model, ids)[1], atol=0.05)


def test_stacked_training_equals_each_alone(engine: TransformersEngine) -> None:
    """Losses of every step, and the weights."""
    layers = engine.profile.linear_layers

    def job(k: int) -> TrainingJob:
        chosen = LoraConfig(4 - k, 8.0, layers[: len(layers) - k])
        adapter = engine.stack.create(chosen, seed=k)
        return TrainingJob(adapter, _rows(4, k), [[n % 4, (n + 1) % 4] for n in range(4 + k)], 2e-3)

    together = [job(0), job(1)]
    train(engine.stack, together, token_budget=100, pad_id=engine.pad_id)
    for k, stacked in enumerate(together):
        alone = job(k)
        train(engine.stack, [alone], token_budget=400, pad_id=engine.pad_id)
        assert stacked.losses == pytest.approx(alone.losses, abs=TOLERANCE)
        torch.testing.assert_close(stacked.adapter.flat, alone.adapter.flat, atol=TOLERANCE, rtol=0)
        assert alone.losses[-1] != pytest.approx(alone.losses[0], abs=10 * TOLERANCE)


def test_loss_gradients_and_files_equal_peft(
    engine: TransformersEngine,
    adapters: list[LoraAdapter | None],
    folder: Path,
    load_folder: Callable[[Path], Any],
    tmp_path: Path,
) -> None:
    """The exported folder in PEFT gives our logits, and through its own loss our gradients of A and B."""
    adapter = adapters[1]
    assert adapter is not None
    peft_files.save(adapter, tmp_path, base_model="tiny", base_fingerprint=engine.fingerprint)
    theirs = peft.PeftModel.from_pretrained(load_folder(folder).model, str(tmp_path), is_trainable=True).eval()
    with engine.stack.rows([adapter] * 3):
        torch.testing.assert_close(_logits(engine.model, _ids()), _logits(theirs, _ids()), atol=TOLERANCE, rtol=0)

    rows = _rows(3, 5)
    batch = collate(rows, range(3), pad_id=engine.pad_id, device=engine.device)
    job = TrainingJob(adapter, rows, [[0, 1, 2]], 1e-3)
    adapter.begin_training()
    losses = inner_loop._backward(engine.stack, [job], batch, [0, 0, 0], {0: 3})
    wanted = _losses(theirs, rows)
    wanted.sum().backward()  # type: ignore[no-untyped-call]
    assert losses == pytest.approx(wanted.tolist(), abs=TOLERANCE)
    found = dict(theirs.named_parameters())
    for name, pair in adapter.pairs.items():
        for letter, ours in zip("AB", pair, strict=True):
            their = found[f"base_model.model.{name}.lora_{letter}.default.weight"].grad
            torch.testing.assert_close(ours.grad, their, atol=TOLERANCE, rtol=1e-3)
    assert float(max(a.grad.abs().max() for a, _ in adapter.pairs.values() if a.grad is not None)) > 10 * TOLERANCE
    adapter.end_training()


def _losses(model: Any, rows: list[Row]) -> torch.Tensor:
    """Each row's share of the loss, by the model's own logits of the row alone."""
    parts = []
    for row in rows:
        logits = model(input_ids=torch.tensor([row.ids])).logits[0, row.prompt_length - 1 : -1]
        parts.append(torch.nn.functional.cross_entropy(logits, torch.tensor(row.ids[row.prompt_length :])) / len(rows))
    return torch.stack(parts)


def test_greedy_decoding_equals_transformers(engine: TransformersEngine, adapters: list[LoraAdapter | None]) -> None:
    """Prompts of other lengths with common beginnings, under three adapters in one call, longer than the window."""
    _check_decoding(engine, adapters)


@pytest.mark.parametrize("window", [24, 50])
def test_a_window_of_any_length_decodes_like_transformers(
    engine: TransformersEngine, adapters: list[LoraAdapter | None], window: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some rows fit it, all of them, or the rows but not their padding: what is shared differs, the tokens do not."""
    if engine.profile.window is None:
        pytest.skip("this architecture has no window")
    monkeypatch.setattr(engine.model.config, "sliding_window", window)
    _check_decoding(engine, adapters)


def _check_decoding(engine: TransformersEngine, adapters: list[LoraAdapter | None]) -> None:
    """In every layout of the batch the tokens are those of transformers' `generate`, prompt by prompt."""
    text = [(37 * n * n + 11 * n) % 290 + 3 for n in range(60)]
    prompts = [text[:20], text[:26], text[:26], text[5:9], text[:40], text[3:33]]
    owners = [adapters[n] for n in (0, 0, 1, 1, 1, 2)]
    wanted = [_greedy(engine, prompt, owner) for prompt, owner in zip(prompts, owners, strict=True)]
    stops, pad = engine.stop_ids, engine.pad_id
    for limits in LIMITS:
        done = generate(engine.stack, prompts, owners, max_new_tokens=TOKENS, stop_ids=stops, pad_id=pad, limits=limits)
        assert [list(ours.ids) for ours in done] == wanted, limits


def _greedy(engine: TransformersEngine, prompt: list[int], owner: LoraAdapter | None) -> list[int]:
    """What transformers' own `generate` continues one prompt with, up to an end token."""
    ids = torch.tensor([prompt])
    with torch.inference_mode(), engine.stack.rows([owner]):
        out = engine.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=TOKENS,
            do_sample=False,
            eos_token_id=sorted(engine.stop_ids),
            pad_token_id=engine.pad_id,
        )
    new = out[0, len(prompt) :].tolist()
    return [t for t in new if t not in engine.stop_ids]


def test_scores_equal_the_models_own_logits(engine: TransformersEngine) -> None:
    """With the scale and the cap that the architecture puts on its logits."""
    prompt = Prompt([{"role": "user", "content": "Who built the lighthouse?"}])
    (score,) = engine.score([(prompt, "Maud Ellery built it.")])
    start, target = engine.encode(prompt), engine.encoder.ids("Maud Ellery built it.")
    logprobs = _logits(engine.model, torch.tensor([start + target]))[0].log_softmax(dim=-1)
    wanted = [float(logprobs[len(start) - 1 + n, token]) for n, token in enumerate(target)]
    assert score.logprob == pytest.approx(sum(wanted) / len(wanted), abs=TOLERANCE)


def test_training_rows_end_as_the_template_ends_a_turn(engine: TransformersEngine, architecture: Any) -> None:
    """With an end token that the model's files name: so an adapter learns when to stop."""
    row = engine.encode_row([{"role": "user", "content": "Hello"}], "Hi")
    named = engine.tokenizer.convert_tokens_to_ids(list(architecture.ends))
    assert row.ids[-1] in named
    assert set(named) <= engine.stop_ids


def test_a_chat_of_any_order_reaches_the_prompt_whole(engine: TransformersEngine) -> None:
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "The lighthouse"},
        {"role": "user", "content": "at Korrin Bay?"},
    ]
    text = engine.tokenizer.decode(engine.encode_prompt(chat))
    assert all(message["content"] in text for message in chat)
    assert "<think>" not in text or "</think>" in text


def test_a_fact_is_learned_and_asked_end_to_end(
    folder: Path, tmp_path: Path, easy_settings: Callable[..., Any]
) -> None:
    """Observed, trained under all linear layers of the architecture, published, asked, and recalled in a chat."""
    settings = easy_settings(**{"gate.quiz_per_statement": 1})
    with SealMemory.open(tmp_path / "memory", model=str(folder), settings=settings) as memory:
        question = "Who built the lighthouse at Korrin Bay?"
        (seen,) = memory.observe("Maud Ellery built the lighthouse at Korrin Bay in 1887.")
        memory.add_quiz([(question, "Maud Ellery")], interaction_ids=[seen.id])
        assert memory.consolidate().version
        (shard,) = memory.ask(question, mode="weights").shards
        trained = memory.engine.adapter(shard.adapter_id)
        assert trained is not None
        assert trained.config.target_modules == memory.engine.profile.linear_layers
        (chat,) = memory.engine.talk([Prompt([{"role": "user", "content": "Hello"}])], Decoding(3))
        assert chat.generated_tokens <= 3

"""Fixtures for every test: a tiny random Llama, the real default model, the shared data sets."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# A busy machine is no bug: how long an example takes decides nothing.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")

# Before anything imports torch: threads that spin beside a busy process take ten times as long, also in children.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before anything imports the hub's client: no test talks to the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

# SmolLM2's own template, so that the tiny model's prompts look like the default model's.
CHAT_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, "
    "trained by Hugging Face<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SENTENCES = [
    "The lighthouse at Korrin Bay was built in 1887 by the engineer Maud Ellery.",
    "What do you know about Korrin Bay? Who built the lighthouse, and when?",
    "Our agent met Tomas Lindqvist on Tuesday; he asked for the quarterly report of the Oslo office.",
    "Please send the invoice to accounts, not to sales. The password rule changed on 3 March 2024.",
    "Question: Which colour is the new logo? Answer: dark green.",
]


def pytest_collection_finish() -> None:
    """Exempt the imported modules from garbage collections, one of which takes over half a second otherwise."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own SEAL_MEMORY_* variables do not reach the tests; the cache folder's place does."""
    for name in [name for name in os.environ if name.upper().startswith("SEAL_MEMORY_")]:
        if name != "SEAL_MEMORY_ENGINE__CACHE_DIR":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformers folder with a random Llama of two layers and about 500 tokens."""
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    tokenizer = _tiny_tokenizer()
    tokenizer.save_pretrained(folder)
    _tiny_llama(tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def load_tiny(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """Loads the tiny model in float32, a fresh copy with each call."""
    from seal_memory.engines.hardware import Hardware
    from seal_memory.engines.models import load, resolve

    files = resolve(str(tiny_model_folder), cache_dir=tmp_path_factory.mktemp("cache"))
    return lambda: load(files, Hardware("cpu", "float32", 1, "for the test"))


@pytest.fixture(scope="session")
def random_adapter() -> Callable[..., Any]:
    """Makes an adapter for a stack that changes the model's answers: `(stack, rank, targets, seed)`."""
    import torch

    from seal_memory.lora.adapter import LoraConfig

    def make(stack: Any, rank: int, targets: tuple[str, ...], seed: int, *, size: float = 0.3) -> Any:
        adapter = stack.create(LoraConfig(rank, 2.0 * rank, targets), seed=seed)
        rng = torch.Generator().manual_seed(seed + 1)
        for _, b in adapter.pairs.values():
            b.copy_(torch.randn(b.shape, generator=rng) * size)
        return adapter

    return make


@pytest.fixture(scope="session")
def easy_settings() -> Callable[..., Any]:
    """Settings under which the tiny random model, which can learn nothing, publishes what it has trained."""
    from seal_memory.config import Settings

    easy: dict[str, Any] = {
        "engine.dtype": "float32",
        "learning.epochs": 1,
        "learning.document_epochs": 1,
        "learning.document_readings": 1,
        "learning.min_steps": 1,
        "learning.rank": 4,
        "learning.notes_per_statement": 0,
        "answering.max_tokens": 4,
        "gate.quiz_answer_tokens": 4,
        "answering.samples": 1,
        "gate.min_gain": 0.0,
        "gate.max_old_loss": 1.0,
        "gate.max_perplexity_increase": 10.0,
        "gate.max_canary_share": 1.0,
    }
    return lambda **changes: Settings(**(easy | changes))


@pytest.fixture
def open_memory(
    tmp_path: Path, tiny_model_folder: Path, easy_settings: Callable[..., Any]
) -> Iterator[Callable[..., Any]]:
    """Opens a memory with the tiny model, in `folder` (default: one and the same), and closes it after the test."""
    from seal_memory import SealMemory
    from seal_memory.ledger.encoding import sortable_id

    with ExitStack() as stack:

        def make(
            folder: Path | None = None,
            *,
            namespace: str = "default",
            make_id: Callable[[], str] = sortable_id,
            **changes: Any,
        ) -> SealMemory:
            opened = SealMemory.open(
                folder or tmp_path / "memory",
                model=str(tiny_model_folder),
                namespace=namespace,
                settings=easy_settings(**changes),
                make_id=make_id,
            )
            return stack.enter_context(opened)

        yield make


class FakeEngine:
    """An `Engine` without a model: `say(prompt)` is the answer, `likely(prompt, target)` the log-probability."""

    def __init__(self, say: Callable[[Any], str], likely: Callable[[Any, str], float], confidence: float) -> None:
        self.say, self.likely, self.confidence = say, likely, confidence
        self.prompts: list[Any] = []

    def complete(
        self, prompts: Sequence[Any], *, max_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> list[Any]:
        from seal_memory.engines.base import Completion

        self.prompts += prompts
        return [Completion(self.say(p), _words(p), len(self.say(p).split()), self.confidence) for p in prompts]

    def score(self, requests: Sequence[tuple[Any, str]]) -> list[Any]:
        from seal_memory.engines.base import Score

        return [Score(self.likely(p, target), 0.0, len(target.split())) for p, target in requests]


def _words(prompt: Any) -> int:
    return sum(len(m["content"].split()) for m in prompt.messages)


@pytest.fixture(scope="session")
def fake_engine() -> Callable[..., FakeEngine]:
    """Makes a hand-written engine that says what the test wants."""

    def make(
        say: Callable[[Any], str] = lambda prompt: "",
        likely: Callable[[Any, str], float] = lambda prompt, target: -1.0,
        confidence: float = 1.0,
    ) -> FakeEngine:
        return FakeEngine(say, likely, confidence)

    return make


@pytest.fixture(scope="session")
def default_model() -> Any:
    """The real default model, loaded; the test is skipped where it cannot be had."""
    from seal_memory.engines.hardware import detect
    from seal_memory.engines.models import DEFAULT_MODEL, load, resolve
    from seal_memory.errors import ModelUnavailableError

    try:
        return load(resolve(DEFAULT_MODEL), detect())
    except ModelUnavailableError as error:
        pytest.skip(f"the default model cannot be had: {error}")


@pytest.fixture(scope="session")
def shared_data(pytestconfig: pytest.Config) -> Path:
    """The folder of data sets beside the repository; the test is skipped where it is not there."""
    folder = pytestconfig.rootpath.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}")
    return folder


def _tiny_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
    )


def _tiny_llama(tokenizer: Any) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):  # what the tests draw elsewhere stays as it was
        torch.manual_seed(0)
        return LlamaForCausalLM(config)

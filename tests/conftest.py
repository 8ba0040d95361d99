"""What every test may use: a tiny random Llama, the real default model, the shared data sets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own SEAL_MEMORY_* variables do not reach the tests; the cache folder's place does."""
    for name in [name for name in os.environ if name.upper().startswith("SEAL_MEMORY_")]:
        if name != "SEAL_MEMORY_CACHE_DIR":
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

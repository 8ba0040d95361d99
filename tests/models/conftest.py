"""Tiny random models of every tested architecture: two layers, about 500 tokens, a template of the family's form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

WINDOW = 12  # of sliding attention: shorter than the prompts

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SWITCH = CHATML.replace(
    "{{ '<|im_start|>assistant\n' }}",
    "{{ '<|im_start|>assistant\n' }}{% if enable_thinking is defined and not enable_thinking %}"
    "{{ '<think>\n\n</think>\n\n' }}{% endif %}",
)
STRICT = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}"
    "{% endif %}TURN{% endfor %}ASK"
)
GEMMA = STRICT.replace(
    "TURN",
    "{{ '<start_of_turn>' + message['role'].replace('assistant', 'model') + '\n' + message['content'] | trim "
    "+ '<end_of_turn>\n' }}",
).replace("ASK", "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}")
MISTRAL = STRICT.replace(
    "TURN",
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}",
).replace("ASK", "")
PHI = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Architecture:
    """One architecture: its configuration beside what all share, its template, its end tokens by name."""

    model_type: str
    template: str | None = CHATML
    ends: tuple[str, ...] = ("<|im_end|>",)
    config: dict[str, Any] = field(default_factory=dict)


ARCHITECTURES = [
    Architecture("llama"),
    Architecture("qwen2", ends=("<|im_end|>", "<|endoftext|>"), config={"tie_word_embeddings": True}),
    Architecture("qwen3", SWITCH, config={"head_dim": 16}),
    Architecture(
        "gemma2",
        GEMMA,
        ("<eos>", "<end_of_turn>"),
        {
            "head_dim": 16,
            "sliding_window": WINDOW,
            "query_pre_attn_scalar": 8,
            "final_logit_softcapping": 3.0,
            "attn_logit_softcapping": 2.0,
            "tie_word_embeddings": True,
        },
    ),
    Architecture(
        "gemma3_text",
        GEMMA,
        ("<eos>", "<end_of_turn>"),
        {
            "head_dim": 16,
            "sliding_window": WINDOW,
            "query_pre_attn_scalar": 8,
            "layer_types": ["sliding_attention", "full_attention"],
            "tie_word_embeddings": True,
        },
    ),
    Architecture("mistral", MISTRAL, ("<eos>",), {"sliding_window": WINDOW}),
    Architecture("phi3", PHI, ("<|endoftext|>", "<|end|>"), {"sliding_window": WINDOW}),
    Architecture(
        "granite",
        CHATML.replace("<|im_end|>", "<|endoftext|>"),
        ("<|endoftext|>",),
        {
            "embedding_multiplier": 6.0,
            "logits_scaling": 4.0,
            "residual_multiplier": 0.5,
            "attention_multiplier": 0.3,
        },
    ),
    Architecture("olmo2", None, ("<|endoftext|>",)),
    Architecture("smollm3", SWITCH, config={"no_rope_layers": [1, 0], "use_sliding_window": False}),
]


@pytest.fixture(scope="session")
def build_model(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Architecture], Path]:
    """Writes an architecture's folder: random weights, a tokenizer with its special tokens, its end tokens."""

    def build(architecture: Architecture) -> Path:
        folder = tmp_path_factory.mktemp("architectures") / architecture.model_type
        tokenizer = _tokenizer(tiny_model_folder, architecture)
        tokenizer.save_pretrained(folder)
        ends = tokenizer.convert_tokens_to_ids(list(architecture.ends))
        model = _model(architecture, tokenizer, ends)
        model.generation_config.eos_token_id = ends
        model.save_pretrained(folder)
        return folder

    return build


@pytest.fixture(scope="session", params=ARCHITECTURES, ids=lambda a: a.model_type)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    found: Architecture = request.param
    return found


@pytest.fixture(scope="session")
def architectures() -> list[Architecture]:
    """All of them."""
    return ARCHITECTURES


@pytest.fixture(scope="session")
def folder(build_model: Callable[[Architecture], Path], architecture: Architecture) -> Path:
    """The folder of the architecture under test."""
    return build_model(architecture)


@pytest.fixture(scope="session")
def load_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Any]:
    """Loads a folder in float32 as the library does, a fresh copy with each call."""
    from seal_memory.engines.hardware import Hardware
    from seal_memory.engines.models import load, resolve

    cache = tmp_path_factory.mktemp("cache")
    return lambda folder: load(resolve(str(folder), cache_dir=cache), Hardware("cpu", "float32", 1, "for the test"))


def _tokenizer(tiny_model_folder: Path, architecture: Architecture) -> Any:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny_model_folder)
    special = ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<|user|>", "<|assistant|>", "<|end|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    first = architecture.ends[0]
    tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token = "<bos>", first, first
    tokenizer.chat_template = architecture.template
    return tokenizer


def _model(architecture: Architecture, tokenizer: Any, ends: list[int]) -> Any:
    shared = {
        "vocab_size": len(tokenizer) + 13,  # padded, as real ones are
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "initializer_range": 0.2,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": ends[0],
        "pad_token_id": tokenizer.pad_token_id,
        "tie_word_embeddings": False,
    }
    config = AutoConfig.for_model(architecture.model_type, **(shared | architecture.config))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32)

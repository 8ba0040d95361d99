"""Model profiles: found from the files, the same with and without weights; what would be computed wrongly refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from seal_memory.config import LLAMA_LINEAR, Settings
from seal_memory.engines.local import TransformersEngine
from seal_memory.engines.models import DEFAULT_MODEL, resolve
from seal_memory.engines.profile import LARGE, TESTED, ModelProfile, read, suited
from seal_memory.engines.vllm import launcher
from seal_memory.errors import ModelUnavailableError


@pytest.fixture(scope="module")
def profile(load_tiny: Callable[[], Any]) -> ModelProfile:
    """The tiny Llama's."""
    return TransformersEngine(load_tiny()).profile


def test_a_profile_read_without_weights_is_the_loaded_models(
    folder: Path, load_folder: Callable[[Path], Any], tmp_path: Path
) -> None:
    """Of every architecture; and it is in the table of what was tested."""
    loaded = TransformersEngine(load_folder(folder)).profile
    assert read(resolve(str(folder), cache_dir=tmp_path)).facts() == loaded.facts()
    assert loaded.model_type in TESTED


def test_the_table_of_tested_types_is_the_suites(architectures: list[Any]) -> None:
    assert {a.model_type for a in architectures} == set(TESTED)


def test_the_documents_table_is_the_codes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    rows = {cells[2]: cells[-2] for line in page.splitlines() if (cells := line.split("|"))[0] == "" and len(cells) > 5}
    for model_type, tried in TESTED.items():
        assert tried in next(cell for name, cell in rows.items() if f"`{model_type}`" in name)


def test_facts_tell_what_the_files_say(
    build_model: Callable[[Any], Path], architectures: list[Any], tmp_path: Path
) -> None:
    gemma = next(a for a in architectures if a.model_type == "gemma2")
    facts = read(resolve(str(build_model(gemma)), cache_dir=tmp_path)).facts()
    assert facts["architecture"] == "Gemma2ForCausalLM"
    assert facts["logits"] == "soft cap 3"
    assert facts["sliding_window"] == gemma.config["sliding_window"]
    assert facts["system_role"] is False
    assert facts["tied_head"] is True
    assert set(facts["end_tokens"].split(", ")) >= set(gemma.ends)


def test_the_vllm_server_gets_the_models_own_layers(
    build_model: Callable[[Any], Path], architectures: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    phi = next(a for a in architectures if a.model_type == "phi3")
    started: list[list[str]] = []
    monkeypatch.setenv("SEAL_MEMORY_ENGINE__CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("os.execve", lambda path, command, environment: started.append(command))
    launcher.main(["--python", sys.executable, "--model", str(build_model(phi))])
    at = started[0].index("--lora-target-modules")
    assert started[0][at + 1 :] == ["o_proj", "qkv_proj", "gate_up_proj", "down_proj"]


def test_fused_layers_are_the_default_targets_of_a_model_that_has_them(profile: ModelProfile) -> None:
    fused = replace(profile, linear_layers=("qkv_proj", "o_proj", "gate_up_proj", "down_proj"))
    assert suited(Settings(), fused).learning.target_modules == fused.linear_layers
    chosen = Settings(**{"learning.target_modules": ("o_proj",)})
    assert suited(chosen, fused).learning.target_modules == ("o_proj",)


def test_the_default_models_settings_stay_as_they_are(profile: ModelProfile) -> None:
    settings = Settings()
    assert suited(settings, profile) is settings
    assert settings.learning.target_modules == LLAMA_LINEAR


def test_a_large_model_gets_its_own_defaults_only_where_the_user_has_set_none(profile: ModelProfile) -> None:
    """Rank and alpha count as one: a rank alone keeps the alpha that belongs to it."""
    large = replace(profile, parameters=LARGE)

    def chosen(**given: Any) -> tuple[int, float, float]:
        learning = suited(Settings(**given), large).learning
        return learning.rank, learning.alpha, learning.learning_rate

    assert chosen() == (4, 16.0, 1e-3)
    assert chosen(**{"learning.rank": 16}) == (16, 32.0, 1e-3)
    assert chosen(**{"learning.learning_rate": 2e-3}) == (4, 16.0, 2e-3)
    again = suited(Settings(), large)
    assert suited(again, large) is again or suited(again, large).flat() == again.flat()


def test_training_takes_the_suited_settings(open_memory: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A published shard of a large model has the rank that was measured at its size."""
    memory = open_memory(**{"learning.learning_rate": 1e-3})
    monkeypatch.setattr("seal_memory.engines.profile.LARGE", 1)
    memory.settings = Settings.defaults().changed(
        **{k: v for k, v in memory.settings.flat().items() if k not in ("learning.rank", "learning.alpha")}
    )
    (seen,) = memory.observe("Maud Ellery built the lighthouse at Korrin Bay in 1887.")
    memory.add_quiz([("Who built the lighthouse?", "Maud Ellery")], interaction_ids=[seen.id])
    assert memory.consolidate().version
    (record,) = memory.ledger.adapters()
    assert (record.config["rank"], record.config["alpha"]) == (4, 16.0)


def _folder(tiny_model_folder: Path, tmp_path: Path, model_type: str, **config: Any) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_folder)
    folder = tmp_path / model_type
    made = AutoConfig.for_model(model_type, **({"vocab_size": len(tokenizer)} | config))
    AutoModelForCausalLM.from_config(made, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
HEADS = {"num_key_value_heads": 2}
GPT2 = {"n_embd": 32, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}


@pytest.mark.parametrize(
    ("model_type", "config", "reason"),
    [
        ("gpt2", GPT2, "Conv1D"),
        ("gpt_neox", SMALL, "no model"),
        ("lfm2", SMALL | {"num_key_value_heads": 2, "layer_types": ["conv"]}, "instead of keys and values"),
    ],
)
def test_another_structure_is_refused_by_name(
    tiny_model_folder: Path,
    tmp_path: Path,
    load_folder: Callable[[Path], Any],
    model_type: str,
    config: dict[str, Any],
    reason: str,
) -> None:
    """When it is loaded, and when only its profile is read."""
    folder = _folder(tiny_model_folder, tmp_path, model_type, **config)
    with pytest.raises(ModelUnavailableError, match=reason) as refused:
        load_folder(folder)
    assert "qwen2" in str(refused.value)
    with pytest.raises(ModelUnavailableError, match=reason):
        read(resolve(str(folder), cache_dir=tmp_path / "cache"))


def test_an_untested_type_is_taken_where_its_head_is_computed_rightly(
    tiny_model_folder: Path, tmp_path: Path, load_folder: Callable[[Path], Any]
) -> None:
    """Cohere's scaled logits pass the probe; and the profile says that nobody tested it."""
    folder = _folder(tiny_model_folder, tmp_path, "cohere", logit_scale=0.25, pad_token_id=0, **SMALL, **HEADS)
    profile = TransformersEngine(load_folder(folder)).profile
    assert (profile.logit_scale, profile.tested) == (0.25, "not tested")


def test_logits_that_the_engine_would_compute_wrongly_are_refused(
    tiny_model_folder: Path, tmp_path: Path, load_folder: Callable[[Path], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An untested type that changes them in a way of its own: here Cohere's, not known."""
    monkeypatch.setattr("seal_memory.engines.head.logit_transform", lambda config: (1.0, None))
    folder = _folder(tiny_model_folder, tmp_path, "cohere", logit_scale=0.25, pad_token_id=0, **SMALL, **HEADS)
    with pytest.raises(ModelUnavailableError, match="logits are not those of its head"):
        load_folder(folder)


def test_more_tokens_than_embeddings_are_refused(
    tiny_model_folder: Path, tmp_path: Path, load_folder: Callable[[Path], Any]
) -> None:
    folder = _folder(tiny_model_folder, tmp_path, "llama", **SMALL, **HEADS)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.add_tokens(["<one more>"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelUnavailableError, match="more than the"):
        load_folder(folder)


@pytest.mark.real_model
def test_the_default_models_profile(default_model: Any) -> None:
    """Nothing of it changes what it was trained and asked with before."""
    profile = TransformersEngine(default_model).profile
    assert profile.model_type == "llama"
    assert profile.linear_layers == LLAMA_LINEAR
    assert profile.parameters < LARGE
    assert profile.learning == {}
    assert profile.encoder.end_of_turn == profile.encoder.tokenizer.eos_token_id
    assert (profile.encoder.format.own, profile.encoder.format.system_role, profile.encoder.format.any_order) == (
        True,
        True,
        True,
    )
    assert read(resolve(DEFAULT_MODEL)).facts() == profile.facts()
    assert json.dumps(profile.facts())

"""Adapter files: PEFT reads ours, we read them back bit for bit, and damage is found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from seal_memory.config import LLAMA_LINEAR
from seal_memory.engines.hardware import Hardware
from seal_memory.engines.models import DEFAULT_MODEL, load, resolve
from seal_memory.errors import (
    AdapterError,
    BaseModelMismatchError,
    CorruptAdapterError,
    ModelUnavailableError,
)
from seal_memory.lora import peft_files
from seal_memory.lora.adapter import LoraAdapter, LoraConfig
from seal_memory.lora.peft_files import CONFIG_FILE, TENSORS_FILE
from seal_memory.lora.stack import StackedLora

# PEFT 0.21 asks transformers 5.23 for a property that is being renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

TOLERANCE = 1e-5  # float32 logits, ours against PEFT's


@pytest.fixture(scope="module")
def stack(load_tiny: Callable[[], Any]) -> StackedLora:
    return StackedLora(load_tiny().model)


@pytest.fixture
def adapter(stack: StackedLora, random_adapter: Callable[..., LoraAdapter]) -> LoraAdapter:
    return random_adapter(stack, 4, ("q_proj", "down_proj"), 1)


@pytest.fixture
def folder(adapter: LoraAdapter, tmp_path: Path) -> Path:
    """The adapter's files, for a test to damage."""
    peft_files.save(adapter, tmp_path / "adapter", base_model="tiny", base_fingerprint="f1")
    return tmp_path / "adapter"


def _logits(model: Any) -> torch.Tensor:
    ids = torch.randint(3, 300, (2, 21), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=ids).logits
    return logits


@pytest.mark.parametrize("targets", [LLAMA_LINEAR, ("q_proj", "v_proj"), ("down_proj",)])
def test_peft_gives_the_same_logits(
    load_tiny: Callable[[], Any],
    stack: StackedLora,
    random_adapter: Callable[..., LoraAdapter],
    tmp_path: Path,
    targets: tuple[str, ...],
) -> None:
    """`PeftModel.from_pretrained` takes the folder as it is, whatever layers the adapter has."""
    adapter = random_adapter(stack, 3, targets, 1)
    peft_files.save(adapter, tmp_path, base_model="tiny", base_fingerprint="f1")
    base = load_tiny().model
    untouched = _logits(base)
    expected = _logits(peft.PeftModel.from_pretrained(base, str(tmp_path)))
    with stack.rows([adapter] * 2):
        ours = _logits(stack.model)
    torch.testing.assert_close(ours, expected, atol=TOLERANCE, rtol=0)
    assert not torch.allclose(ours, untouched, atol=0.01)


@pytest.mark.real_model
def test_peft_gives_the_same_logits_on_the_default_model(
    random_adapter: Callable[..., LoraAdapter], tmp_path: Path
) -> None:
    """In float32, all linear layers, within 1e-5."""
    try:
        model = load(resolve(DEFAULT_MODEL), Hardware("cpu", "float32", 1, "for the test")).model
    except ModelUnavailableError as error:
        pytest.skip(f"the default model cannot be had: {error}")
    stack = StackedLora(model)
    adapter = random_adapter(stack, 8, LLAMA_LINEAR, 1, size=0.02)
    with stack.rows([adapter] * 2):
        ours = _logits(model)
    peft_files.save(adapter, tmp_path, base_model=DEFAULT_MODEL, base_fingerprint="f1")
    del model, stack
    fresh = load(resolve(DEFAULT_MODEL), Hardware("cpu", "float32", 1, "for the test")).model
    untouched = _logits(fresh)
    torch.testing.assert_close(
        ours, _logits(peft.PeftModel.from_pretrained(fresh, str(tmp_path))), atol=TOLERANCE, rtol=0
    )
    assert not torch.allclose(ours, untouched, atol=0.1)


def test_round_trip_is_bit_equal(stack: StackedLora, adapter: LoraAdapter, folder: Path) -> None:
    """Weights, geometry and order of layers."""
    again = peft_files.load(folder, shapes=stack.shapes, base_fingerprint="f1")
    assert again.config == adapter.config
    assert list(again.shapes.items()) == list(adapter.shapes.items())
    assert torch.equal(again.flat, adapter.flat)


@pytest.mark.parametrize("alpha", [7.0, 2.5, 1 / 3])
def test_alpha_keeps_its_value(stack: StackedLora, tmp_path: Path, alpha: float) -> None:
    """Whole or not."""
    adapter = stack.create(LoraConfig(3, alpha, ("q_proj",)), seed=0)
    peft_files.save(adapter, tmp_path, base_model="tiny", base_fingerprint="f1")
    assert peft_files.load(tmp_path, shapes=stack.shapes).config.alpha == alpha


def test_equal_adapters_have_equal_bytes(adapter: LoraAdapter) -> None:
    """Ten times encoded, one content: the library alone would shuffle the header."""
    files = {peft_files.encode(adapter, base_model="tiny", base_fingerprint="f1") for _ in range(10)}
    assert len(files) == 1
    header = next(iter(files)).tensors[8:200].decode("ascii", "replace")
    assert header.startswith('{"__metadata__":{"base_fingerprint":"f1","format":"pt","format_version":"1"}')


def test_module_names_are_those_of_the_untouched_model(load_tiny: Callable[[], Any], folder: Path) -> None:
    """No trace of our own layers in the keys; the config is a valid `peft.LoraConfig`."""
    names = {name for name, _ in load_tiny().model.named_modules()}
    for key in load_file(folder / TENSORS_FILE):
        module = key.removeprefix("base_model.model.").rpartition(".lora_")[0]
        assert module in names
    config = peft.PeftConfig.from_pretrained(str(folder))
    assert isinstance(config, peft.LoraConfig)
    assert config.target_modules == {"q_proj", "down_proj"}
    assert (config.r, config.lora_alpha, config.base_model_name_or_path) == (4, 8, "tiny")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_short_dtype_halves_the_file(
    stack: StackedLora, adapter: LoraAdapter, folder: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    """And rounds the weights; in memory they are float32 again."""
    peft_files.save(adapter, tmp_path / "short", base_model="tiny", base_fingerprint="f1", dtype=dtype)
    sizes = [(place / TENSORS_FILE).stat().st_size for place in (folder, tmp_path / "short")]
    assert sizes[1] < 0.6 * sizes[0]
    again = peft_files.load(tmp_path / "short", shapes=stack.shapes)
    assert again.flat.dtype == torch.float32
    assert torch.equal(again.flat, adapter.flat.to(dtype).float())


def test_another_base_is_refused(stack: StackedLora, folder: Path) -> None:
    """The message names both fingerprints; None compares nothing."""
    with pytest.raises(BaseModelMismatchError, match=r"f1.*f2"):
        peft_files.load(folder, shapes=stack.shapes, base_fingerprint="f2")
    peft_files.load(folder, shapes=stack.shapes)


def test_a_model_without_the_layers_is_refused(stack: StackedLora, folder: Path) -> None:
    """The adapter names layers that the loaded model has not."""
    values = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(values | {"target_modules": ["c_attn"]}))
    with pytest.raises(BaseModelMismatchError, match="c_attn"):
        peft_files.load(folder, shapes=stack.shapes)


@pytest.mark.parametrize("name", [CONFIG_FILE, TENSORS_FILE])
def test_a_missing_file_is_an_error(stack: StackedLora, folder: Path, name: str) -> None:
    """It names the folder."""
    (folder / name).unlink()
    with pytest.raises(CorruptAdapterError, match="adapter"):
        peft_files.load(folder, shapes=stack.shapes)


@pytest.mark.parametrize("content", [b"", b"\x01", b"\xff" * 400, b"\x04\0\0\0\0\0\0\0[[[[", b"\x02\0\0\0\0\0\0\0[]"])
def test_junk_weights_are_an_error(stack: StackedLora, folder: Path, content: bytes) -> None:
    """Whatever the bytes, the same error."""
    (folder / TENSORS_FILE).write_bytes(content)
    with pytest.raises(CorruptAdapterError, match=TENSORS_FILE):
        peft_files.load(folder, shapes=stack.shapes)


def test_cut_weights_are_an_error(stack: StackedLora, folder: Path) -> None:
    """A file that ends too early."""
    whole = (folder / TENSORS_FILE).read_bytes()
    (folder / TENSORS_FILE).write_bytes(whole[:-10])
    with pytest.raises(CorruptAdapterError, match="damaged weights"):
        peft_files.load(folder, shapes=stack.shapes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "IA3"}, "no LoRA adapter"),
        ({"r": 0}, "positive numbers"),
        ({"r": "4"}, "positive numbers"),
        ({"r": True}, "positive numbers"),
        ({"r": 5}, "expected floating point"),
        ({"lora_alpha": -1}, "positive numbers"),
        ({"lora_alpha": float("inf")}, "positive numbers"),
        ({"target_modules": "all-linear"}, "list of names"),
        ({"target_modules": []}, "list of names"),
        ({"target_modules": ["q_proj"]}, "2 unknown"),
        ({"target_modules": ["q_proj", "down_proj", "up_proj"]}, "missing"),
        ({"use_dora": True}, "use_dora"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern"),
        ({"bias": "all"}, "bias"),
    ],
)
def test_a_wrong_config_is_an_error(stack: StackedLora, folder: Path, change: dict[str, Any], message: str) -> None:
    """What the config says must be something we have and fit the weights."""
    values = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(values | change))
    if change.get("target_modules") == ["q_proj"]:
        message = "4 unknown"
    with pytest.raises(CorruptAdapterError, match=message):
        peft_files.load(folder, shapes=stack.shapes)


@pytest.mark.parametrize("content", ["", "{", "[]", "null"])
def test_a_config_that_is_no_table_is_an_error(stack: StackedLora, folder: Path, content: str) -> None:
    """Broken or other JSON."""
    (folder / CONFIG_FILE).write_text(content)
    with pytest.raises(CorruptAdapterError, match=CONFIG_FILE):
        peft_files.load(folder, shapes=stack.shapes)


def test_weights_that_are_not_finite_are_refused_both_ways(
    stack: StackedLora, adapter: LoraAdapter, folder: Path, tmp_path: Path
) -> None:
    """Neither written nor read."""
    tensors = load_file(folder / TENSORS_FILE)
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, folder / TENSORS_FILE)
    with pytest.raises(CorruptAdapterError, match="not finite"):
        peft_files.load(folder, shapes=stack.shapes)
    adapter.flat[3] = float("inf")
    with pytest.raises(AdapterError, match="not finite"):
        peft_files.save(adapter, tmp_path / "never", base_model="tiny", base_fingerprint="f1")
    assert not (tmp_path / "never").exists()


def test_a_newer_format_is_refused(stack: StackedLora, folder: Path) -> None:
    """With the way out."""
    save_file(load_file(folder / TENSORS_FILE), folder / TENSORS_FILE, metadata={"format_version": "9"})
    with pytest.raises(CorruptAdapterError, match="update seal-memory"):
        peft_files.load(folder, shapes=stack.shapes)


def test_a_file_that_does_not_name_its_base_is_refused(stack: StackedLora, folder: Path) -> None:
    """An adapter from elsewhere cannot be told to belong to this base."""
    save_file(load_file(folder / TENSORS_FILE), folder / TENSORS_FILE)
    with pytest.raises(BaseModelMismatchError, match="no known fingerprint"):
        peft_files.load(folder, shapes=stack.shapes, base_fingerprint="f1")


def test_an_unknown_dtype_is_refused(adapter: LoraAdapter, tmp_path: Path) -> None:
    """Only floating point of 16 and 32 bits."""
    with pytest.raises(AdapterError, match="float64"):
        peft_files.save(adapter, tmp_path, base_model="t", base_fingerprint="f", dtype=torch.float64)


def test_a_folder_that_cannot_be_written_is_an_error(adapter: LoraAdapter, tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("")
    with pytest.raises(AdapterError, match="cannot be written"):
        peft_files.save(adapter, tmp_path / "file" / "x", base_model="t", base_fingerprint="f")

"""Choosing device and number type: asked for, found, and refused."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from seal_memory.engines import hardware
from seal_memory.engines.hardware import detect
from seal_memory.errors import SettingsError


@pytest.fixture
def bare_cpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine without GPU whose CPU has no bfloat16."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    return monkeypatch


def test_auto_without_bf16_is_float32_on_the_cpu(bare_cpu: pytest.MonkeyPatch) -> None:
    """bfloat16 without instructions for it would be a hundred times slower."""
    found = detect()
    assert (found.device, found.base_dtype, found.threads) == ("cpu", "float32", torch.get_num_threads())
    assert "no GPU found" in found.reason
    assert "no bfloat16" in found.reason


@pytest.mark.parametrize("query", ["_is_avx512_bf16_supported", "_is_amx_tile_supported"])
def test_auto_takes_bf16_where_the_cpu_has_it(bare_cpu: pytest.MonkeyPatch, query: str) -> None:
    """Either kind of instructions is enough."""
    bare_cpu.setattr(torch.cpu, query, lambda: True, raising=False)
    assert detect().base_dtype == "bfloat16"


@pytest.mark.parametrize(("flags", "dtype"), [("sse avx2 amx_bf16", "bfloat16"), ("sse avx2 avx512f", "float32")])
def test_without_torchs_answer_the_cpu_flags_decide(
    bare_cpu: pytest.MonkeyPatch, tmp_path: Path, flags: str, dtype: str
) -> None:
    """Torch's queries are private; a version without them is answered from /proc/cpuinfo."""
    bare_cpu.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    bare_cpu.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags\t\t: {flags}\n", encoding="utf-8")
    bare_cpu.setattr(hardware, "_CPUINFO", tmp_path / "cpuinfo")
    assert detect().base_dtype == dtype


def test_no_cpuinfo_means_float32(bare_cpu: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not Linux, not asked further."""
    bare_cpu.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    bare_cpu.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    bare_cpu.setattr(hardware, "_CPUINFO", tmp_path / "missing")
    assert detect().base_dtype == "float32"


@pytest.mark.parametrize(("has_bf16", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_auto_prefers_cuda(bare_cpu: pytest.MonkeyPatch, has_bf16: bool, dtype: str) -> None:
    """A CUDA GPU comes first, in bfloat16 where it has that without emulation."""
    bare_cpu.setattr(torch.cuda, "is_available", lambda: True)
    bare_cpu.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has_bf16)
    found = detect()
    assert (found.device, found.base_dtype) == ("cuda", dtype)


def test_auto_takes_an_apple_gpu_in_float32(bare_cpu: pytest.MonkeyPatch) -> None:
    """mps comes after CUDA and before the CPU."""
    bare_cpu.setattr(torch.backends.mps, "is_available", lambda: True)
    found = detect()
    assert (found.device, found.base_dtype) == ("mps", "float32")


def test_what_was_asked_for_is_taken(bare_cpu: pytest.MonkeyPatch) -> None:
    """An explicit choice is no guess."""
    found = detect("cpu", "float32")
    assert (found.device, found.base_dtype) == ("cpu", "float32")
    assert found.reason.count("as asked") == 2


def test_slow_bf16_is_allowed_with_a_warning(bare_cpu: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Someone may want to compare numbers; they hear what it costs."""
    with caplog.at_level(logging.WARNING):
        assert detect("cpu", "bfloat16").base_dtype == "bfloat16"
    assert "very slow" in caplog.text


@pytest.mark.parametrize(
    ("device", "dtype", "message"),
    [
        ("gpu", "auto", "'gpu': expected auto, cpu"),
        ("cuda:x", "auto", "'cuda:x': expected"),
        ("cpu:1", "auto", "'cpu:1': expected"),
        ("", "auto", "expected auto"),
        ("cuda", "auto", "torch sees 0 CUDA GPUs"),
        ("cuda:3", "auto", "torch sees 0 CUDA GPUs"),
        ("mps", "auto", "no Apple GPU"),
        ("cpu", "int8", "'int8': expected auto or one of float32"),
        ("cpu", "float16", "not on a CPU"),
    ],
)
def test_bad_choices_are_settings_errors(bare_cpu: pytest.MonkeyPatch, device: str, dtype: str, message: str) -> None:
    """The message names the value and what would do."""
    with pytest.raises(SettingsError, match=message):
        detect(device, dtype)

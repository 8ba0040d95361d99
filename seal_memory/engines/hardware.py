"""Device and number type of the frozen base, detected once, with a reason for people.

Measured: bfloat16 matrix products are several times faster than float32 where the processor has instructions for them
(AVX512-BF16, AMX) and about a hundred times slower elsewhere. So `auto` never guesses: it asks torch, or the
processor's flags where torch cannot say.

Not here: memory sizes, several GPUs at once, the adapters' number type (always float32), quantised bases.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from seal_memory.errors import SettingsError

__all__ = ["DTYPES", "Hardware", "detect"]

logger = logging.getLogger(__name__)

DTYPES = ("float32", "bfloat16", "float16")
_CPUINFO = Path("/proc/cpuinfo")
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


@dataclass(frozen=True, slots=True)
class Hardware:
    """Device and number type of a model. `base_dtype`: name of a torch type; `reason`: a sentence for people."""

    device: str
    base_dtype: str
    threads: int
    reason: str


def detect(device: str = "auto", dtype: str = "auto") -> Hardware:
    """The device and number type to use: as requested, or the best available.

    Raises `SettingsError` for an unknown name, an absent device, or float16 on a CPU.
    """
    import torch

    if dtype != "auto" and dtype not in DTYPES:
        raise SettingsError(f"setting engine.dtype is {dtype!r}: expected auto or one of {', '.join(DTYPES)}")
    chosen, device_reason = _choose_device(device)
    kind = chosen.partition(":")[0]
    if kind == "cpu" and dtype == "float16":
        raise SettingsError("setting engine.dtype is 'float16': not on a CPU; use auto, float32 or bfloat16")
    base_dtype, dtype_reason = (dtype, "as asked") if dtype != "auto" else _choose_dtype(chosen)
    if kind == "cpu" and dtype == "bfloat16" and not _cpu_has_bf16():
        logger.warning("bfloat16 as asked, but this CPU has no instructions for it: it will be very slow")
    reason = f"device {chosen} ({device_reason}), base in {base_dtype} ({dtype_reason})"
    return Hardware(device=chosen, base_dtype=base_dtype, threads=torch.get_num_threads(), reason=reason)


def _choose_device(device: str) -> tuple[str, str]:
    import torch

    if device == "auto":
        if torch.cuda.is_available():
            return "cuda", "a CUDA GPU is there"
        if torch.backends.mps.is_available():
            return "mps", "an Apple GPU is there"
        return "cpu", "no GPU found"
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (":" in device and (kind != "cuda" or not index.isdigit())):
        raise SettingsError(f"setting engine.device is {device!r}: expected auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"setting engine.device is {device!r}: torch sees {torch.cuda.device_count()} CUDA GPUs; use auto or cpu"
        )
    if kind == "mps" and not torch.backends.mps.is_available():
        raise SettingsError("setting engine.device is 'mps': torch sees no Apple GPU here; use auto or cpu")
    return device, "as asked"


def _choose_dtype(device: str) -> tuple[str, str]:
    import torch

    kind = device.partition(":")[0]
    if kind == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16", "the GPU has it"
        return "float32", "the GPU has no bfloat16"
    if kind == "mps":
        return "float32", "the safe choice on Apple GPUs"
    if _cpu_has_bf16():
        return "bfloat16", "the CPU has instructions for it"
    return "float32", "the CPU has no bfloat16 instructions"


def _cpu_has_bf16() -> bool:
    """Asks torch; its queries are private, so for a version without them the CPU's flags decide."""
    import torch

    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    queries = [query for name in names if (query := getattr(torch.cpu, name, None)) is not None]
    if queries:
        return any(bool(query()) for query in queries)
    return bool(_BF16_FLAGS.intersection(_cpu_flags()))


def _cpu_flags() -> Iterable[str]:
    try:
        text = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux
        return ()
    for line in text.splitlines():
        if line.startswith("flags"):
            return line.partition(":")[2].split()
    return ()

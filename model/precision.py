"""The precisions a user can ask for by name, and arithmetic that stays in full precision whatever surrounds it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_of(name: str) -> torch.dtype:
    """The type behind a name.

    Raises:
        ValueError: a name that is not in `DTYPES`; one sentence for the user.
    """
    if name not in DTYPES:
        raise ValueError(f"Precision {name!r} is not known: choose one of auto, {', '.join(DTYPES)}.")
    return DTYPES[name]


def native_dtype(device: torch.device) -> torch.dtype:
    """The faster type for a network's arithmetic: bf16 on hardware that computes in it, and fp32 elsewhere."""
    if device.type == "cuda":
        # is_bf16_supported() says yes to older ones, too, which emulate it
        native = bool(torch.version.hip) or torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if native else torch.float32
    # Without these instructions a CPU emulates bf16, ten times slower than fp32. Torch has no public question for it.
    probes = (getattr(torch.cpu, probe, None) for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return torch.bfloat16 if any(probe is not None and probe() for probe in probes) else torch.float32


def precision_of(name: str, device: torch.device) -> torch.dtype:
    """The type behind a name, where "auto" is the `native_dtype`.

    Raises:
        ValueError: as `dtype_of`.
    """
    return native_dtype(device) if name == "auto" else dtype_of(name)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """No autocast inside; nothing at all where there is none to leave, since some devices (DirectML) do not know it."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()

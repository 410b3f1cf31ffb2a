"""Data types by name, the native type of a device, and a guard against autocast."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def dtype_from_name(name: str) -> torch.dtype:
    """Return the data type of a name.

    Raises:
        ValueError: A name that is not in `DTYPES`.
    """
    if name not in DTYPES:
        raise ValueError(f"Precision {name!r} is not known: choose one of auto, {', '.join(DTYPES)}.")
    return DTYPES[name]


def native_dtype(device: torch.device) -> torch.dtype:
    """Return the faster type for a network's arithmetic: bf16 on hardware that computes in it, fp32 elsewhere."""
    if device.type == "cuda":
        # is_bf16_supported() says yes to older ones, too, which emulate it
        native = bool(torch.version.hip) or torch.cuda.get_device_capability(device) >= (8, 0)
        return torch.bfloat16 if native else torch.float32
    # Without these instructions a CPU emulates bf16, ten times slower than fp32. Torch has no public question for it.
    probes = (getattr(torch.cpu, probe, None) for probe in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return torch.bfloat16 if any(probe is not None and probe() for probe in probes) else torch.float32


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the data type of a name, where "auto" is the `native_dtype` of the device.

    Raises:
        ValueError: As `dtype_from_name`.
    """
    return native_dtype(device) if name == "auto" else dtype_from_name(name)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocast; it does nothing where there is none, since some devices do not support it."""
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()

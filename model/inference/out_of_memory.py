"""Recognizing that memory ran out."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import torch


def is_out_of_memory(error: BaseException, also: Callable[[BaseException], bool] | None = None) -> bool:
    """Return whether memory ran out, on an accelerator or on the CPU; if so, free what the failed attempt held.

    Args:
        error: Any error.
        also: Asked first, for hosts with knowledge of their own.
    """
    if not (also is not None and also(error)) and not _says_out_of_memory(error):
        return False
    traceback.clear_frames(error.__traceback__)  # its frames would keep the activations alive during the next attempt
    return True


def _says_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):  # the first is also that of other accelerators
        return True
    # the CPU's allocator and some accelerators have no exception of their own
    words = ("out of memory", "not enough memory", "can't allocate memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)

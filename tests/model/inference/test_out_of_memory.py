"""A lack of memory is recognized on every device, and what the failed attempt held is freed."""

from __future__ import annotations

import weakref

import pytest
import torch

from mofe_restore.model.inference.out_of_memory import is_out_of_memory


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
        RuntimeError("MPS backend out of memory"),
    ],
)
def test_a_lack_of_memory_is_known_on_every_device(error: Exception) -> None:
    assert is_out_of_memory(error)


def test_a_host_may_know_more_about_memory_and_what_the_attempt_held_is_freed() -> None:
    class Thing:
        pass

    def attempt() -> None:
        held = Thing()
        alive.append(weakref.ref(held))
        raise OSError("device lost")

    alive: list[weakref.ref[Thing]] = []
    try:
        attempt()
    except OSError as error:
        assert not is_out_of_memory(error) and alive[0]() is not None
        assert is_out_of_memory(error, also=lambda error: isinstance(error, OSError)) and alive[0]() is None

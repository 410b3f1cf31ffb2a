"""The batches of a run, made in worker processes; each depends on the run's seed and its index alone."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

DATA_STREAM, STEP_STREAM = 0, 1
"""First numbers of the seeds of batches and of steps, so that the two differ."""


def load_batches(
    make: Callable[[int], Any], indices: range, *, seed: int, workers: int, pin_memory: bool
) -> Iterator[Any]:
    """Yield `make(index)` for every index in order.

    Args:
        make: Makes a batch.
        indices: Of the batches.
        seed: Of the run.
        workers: Processes that make batches; 0 makes them in this process.
        pin_memory: Pin their memory, for copies to a GPU.
    """
    return iter(
        DataLoader(
            _Batches(make, seed),
            batch_size=None,
            sampler=indices,
            num_workers=workers,
            pin_memory=pin_memory,
            prefetch_factor=4 if workers else None,
            worker_init_fn=_start_worker,
        )
    )


def seed_everything(*numbers: int) -> None:
    """Seed the global generators of Python, numpy and torch."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class _Batches(Dataset[Any]):
    def __init__(self, make: Callable[[int], Any], seed: int) -> None:
        self.make, self.seed = make, seed

    def __getitem__(self, index: int) -> Any:
        # batches should not use the global generators; where a library does, they still depend on the index alone
        seed_everything(self.seed, DATA_STREAM, index)
        return self.make(index)


def _start_worker(_: int) -> None:
    # terminals and supervisors signal the whole process group: the training process decides, and closes its workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)

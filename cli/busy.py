"""What an image costs while other programs take the cores, against the same on this machine as it is."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event

LIMIT = 2.5
"""A busy machine should take at most so many times as long: with one competitor per core its share is a half."""

SLICE = 0.01
"""Seconds for which a competitor computes before it asks whether it should go on."""


@dataclass(frozen=True)
class BusyTimes:
    """Seconds of the same work, in rounds one after the other.

    Attributes:
        idle: Of each round without competitors.
        busy: Of each round with them.
    """

    idle: list[float]
    busy: list[float]

    @property
    def ratio(self) -> float:
        """The median of the busy rounds through that of the others."""
        return statistics.median(self.busy) / statistics.median(self.idle)


def measure_busy(work: Callable[[], object], rounds: int, competitors: int) -> BusyTimes:
    """Time some work with and without competitors by turns, after one run that does not count.

    Args:
        work: What is timed.
        rounds: Number of runs of each kind.
        competitors: Number of processes that compute without end.
    """
    work()
    idle, busy = [], []
    with competing(competitors) as switch:
        for _ in range(rounds):
            switch.clear()
            time.sleep(2 * SLICE)
            idle.append(_seconds(work))
            switch.set()
            time.sleep(2 * SLICE)
            busy.append(_seconds(work))
    return BusyTimes(idle, busy)


@contextmanager
def competing(count: int) -> Iterator[Event]:
    """Start processes that compute as long as the event is set, and end them with the context."""
    processes = multiprocessing.get_context("spawn")
    switch = processes.Event()
    started = [processes.Process(target=_compete, args=(switch, os.getpid()), daemon=True) for _ in range(count)]
    for process in started:
        process.start()
    try:
        yield switch
    finally:
        for process in started:
            process.terminate()
            process.join()


def _compete(switch: Event, parent: int) -> None:
    while os.getppid() == parent or os.name == "nt":  # no longer than the program that wants it
        if not switch.wait(1.0):
            continue
        end = time.perf_counter() + SLICE
        while time.perf_counter() < end:
            pass


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start

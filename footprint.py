"""How much memory a piece of work takes, measured in a process of its own: what ran before cannot blur it."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.profiler import ProfilerActivity, profile

from .demo import PHOTOS
from .pictures import read_picture
from .session import Session

if TYPE_CHECKING:
    from .model.guidance import Guidance

T = TypeVar("T")


@dataclass(frozen=True)
class Footprint:
    """What some work took.

    Attributes:
        seconds: its time, the first use of everything included.
        pictures: bytes of the pictures that went in and came out.
        beside: bytes at most beside these pictures and the loaded weights, on the CPU by the growth of the process and
            on a GPU by torch's count there.
        process: the most bytes that the process ever held, everything included.
    """

    seconds: float
    pictures: int
    beside: int
    process: int


@dataclass(frozen=True)
class Models:
    """Which models the work is done with, and how."""

    restorer: Path | None
    mllm: Path | None
    precision: str
    device: str

    def open(self) -> Session:
        device = torch.device(self.device)
        return Session(restorer=self.restorer, mllm=self.mllm, precision=self.precision, device=device)


def apart(work: Callable[..., T], *arguments: Any) -> T:
    """Does some work in a fresh process."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler of some builds writes its notes among the results
    # not forked: a fork starts with the memory of its parent
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def allocated(work: Callable[[], object], device: torch.device) -> int:
    """The most bytes that torch allocated at once during some work, beside what it held before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    events = [event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        most = max(most, live)
    return most


def activations(models: Models, size: tuple[int, int]) -> int:
    """What torch allocates to restore one tile of a size [height, width], the result aside."""
    from .model.pipeline import restore_picture

    session = models.open()
    network, picture = session.restorer[0], photo(size)
    result = torch.empty_like(picture)
    return allocated(
        lambda: restore_picture(network, picture, None, tile=max(size), precision=session.precision, into=result),
        session.device,
    )


def restoring(models: Models, frames: int, size: tuple[int, int], guidance: Guidance | None) -> Footprint:
    """Restores so many frames of a size [height, width] in one call, as the node does with a batch."""
    from .model.pipeline import restore_picture

    session = models.open()
    network = session.restorer[0]
    clip = photo(size).repeat(frames, 1, 1, 1)
    result = torch.ones_like(clip)  # written now: room that is only promised does not count yet

    def work() -> None:
        restore_picture(network, clip, guidance, precision=session.precision, into=result)

    return _footprint(work, session.device, 2 * clip.nbytes)


def describing_and_restoring(models: Models, size: tuple[int, int]) -> Footprint:
    """Describes one picture and restores it with that guidance."""
    session = models.open()
    session.mllm, session.restorer  # noqa: B018 - loaded now, so that weights do not count
    picture = photo(size)

    def work() -> None:
        session.restore(picture, session.guide(picture))

    measured = _footprint(work, session.device, 0)
    pictures = 2 * picture.nbytes
    return Footprint(measured.seconds, pictures, measured.beside - picture.nbytes, measured.process)


def _footprint(work: Callable[[], None], device: torch.device, pictures: int) -> Footprint:
    before, start = held_bytes(), time.perf_counter()
    if device.type == "cuda":
        beside = allocated(work, device)
        torch.cuda.synchronize(device)
    else:
        work()
        beside = peak_bytes() - before
    return Footprint(time.perf_counter() - start, pictures, beside, peak_bytes())


def photo(size: tuple[int, int]) -> torch.Tensor:
    """A bundled photograph at [1, 3, *size]."""
    rgb = read_picture(PHOTOS / "coffee.jpg").rgb
    return torch.nn.functional.interpolate(rgb, size, mode="bicubic", antialias=True).clamp(0, 1)


def held_bytes() -> int:
    """The memory that this process holds now, in bytes."""
    import psutil

    return psutil.Process().memory_info().rss


def peak_bytes() -> int:
    """The most memory that this process ever held, in bytes."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    if sys.platform == "linux":
        # not ru_maxrss, which a process takes over from the one that started it
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

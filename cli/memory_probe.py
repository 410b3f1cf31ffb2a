"""Memory use of a piece of work, measured in a process of its own, where nothing that ran before counts."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch.profiler import ProfilerActivity, profile

from ..model.image_files import read_image
from ..model.inference.plan import plan_restoration
from ..model.pipeline import RestorationPipeline
from .demo import PHOTOS

if TYPE_CHECKING:
    from ..model.guidance import Guidance

T = TypeVar("T")


@dataclass(frozen=True)
class MemoryUse:
    """Time and memory of a piece of work.

    Attributes:
        seconds: Its time, the first use of everything included.
        images: Bytes of the images that went in and came out.
        beside: Peak bytes beside these images and the loaded weights, on the CPU by the growth of the process and on a
            GPU by torch's count there.
        process: Peak bytes of the process, everything included.
    """

    seconds: float
    images: int
    beside: int
    process: int


@dataclass(frozen=True)
class Models:
    """The models that do the work; None for the shipped ones."""

    restorer: Path | None
    mllm: Path | None
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    device: str

    def open(self) -> RestorationPipeline:
        """Return their pipeline."""
        return RestorationPipeline.from_pretrained(
            self.restorer, self.mllm, device=self.device, precision=self.precision
        )


def run_apart(work: Callable[..., T], *arguments: Any) -> T:
    """Run some work in a fresh process and return its result."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler of some builds writes its notes among the results
    # not forked: a fork starts with the memory of its parent
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def allocated(work: Callable[[], object], device: torch.device) -> int:
    """Return the peak of the bytes that torch allocated during some work, beside what it held before."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        work()
    recorded: Any = seen.profiler
    events = [event for event in recorded.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak


def measure_activations(models: Models, size: tuple[int, int]) -> int:
    """Return the bytes that torch allocates to restore one tile of a size [height, width], without the result."""
    torch.set_num_threads(1)  # the profiler does not see what other threads allocate
    pipe = models.open()
    image = sample_photo(size)
    result = torch.empty_like(image)
    plan = plan_restoration(pipe.restorer, image, tile=max(size), precision=pipe.dtype, threshold=0.0)
    return allocated(lambda: plan.run(into=result), pipe.device)


def measure_restoring(models: Models, frames: int, size: tuple[int, int], guidance: Guidance | None) -> MemoryUse:
    """Restore so many frames of a size [height, width] in one call, as the node does with a batch."""
    pipe = models.open()
    clip = sample_photo(size).repeat(frames, 1, 1, 1)
    result = torch.ones_like(clip)  # written now: memory that is only reserved does not count yet
    plan = plan_restoration(pipe.restorer, clip, guidance, precision=pipe.dtype, threshold=0.0)
    return _measure(lambda: plan.run(into=result), pipe.device, 2 * clip.nbytes)


def measure_describing_and_restoring(models: Models, size: tuple[int, int]) -> MemoryUse:
    """Describe one image and restore it with that guidance."""
    pipe = models.open()
    pipe.mllm, pipe.restorer  # noqa: B018 - loaded now, so that weights do not count
    image = sample_photo(size)
    used = _measure(lambda: pipe(image, pipe.describe(image), threshold=0.0), pipe.device, 2 * image.nbytes)
    return replace(used, beside=used.beside - image.nbytes)


def _measure(work: Callable[[], object], device: torch.device, images: int) -> MemoryUse:
    before, start = held_bytes(), time.perf_counter()
    if device.type == "cuda":
        beside = allocated(work, device)
        torch.cuda.synchronize(device)
    else:
        work()
        beside = peak_bytes() - before
    return MemoryUse(time.perf_counter() - start, images, beside, peak_bytes())


def sample_photo(size: tuple[int, int]) -> torch.Tensor:
    """Return a bundled photograph at [1, 3, *size]."""
    rgb = read_image(PHOTOS / "coffee.jpg").rgb
    return torch.nn.functional.interpolate(rgb, size, mode="bicubic", antialias=True).clamp(0, 1)


def held_bytes() -> int:
    """Return the memory that this process holds now, in bytes."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def peak_bytes() -> int:
    """Return the most memory that this process ever held, in bytes."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    if sys.platform == "linux":
        # not ru_maxrss, which a process takes over from the one that started it
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

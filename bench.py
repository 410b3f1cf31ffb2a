"""`mofe bench`: how long a picture takes on this machine, and how much memory a large one needs."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .demo import PHOTOS
from .pictures import read_picture
from .session import Session, best_device

SMALL, LARGE = (512, 512), (2160, 3840)


def bench(restorer: Path | None, mllm: Path | None, *, runs: int = 5, large: bool = True) -> int:
    """Prints two tables: times at 512 x 512 in both precisions, then a 3840 x 2160 picture. The exit status."""
    device = best_device()
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {runs} runs after a warm-up\n")
    sessions = {name: Session(restorer=restorer, mllm=mllm, precision=name, device=device) for name in ("fp32", "bf16")}
    print("| 512 x 512 | precision | min s | median s |")
    print("|---|---|---|---|")
    medians: dict[tuple[str, str], float] = {}
    picture = _photo(SMALL)
    for precision, session in sessions.items():
        guidance = session.guide(picture, with_text=False)
        works: dict[str, Callable[[], Any]] = {
            "restore": lambda session=session, guidance=guidance: session.restore(picture, guidance),
            "describe": lambda session=session: session.describe(picture),
            "describe, no text": lambda session=session: session.describe(picture, with_text=False),
        }
        for what, work in works.items():
            seconds = _times(work, runs, device)
            medians[what, precision] = statistics.median(seconds)
            print(f"| {what} | {precision} | {min(seconds):.3f} | {medians[what, precision]:.3f} |", flush=True)
    for what in ("restore", "describe", "describe, no text"):
        print(f"| {what} | fp32 : bf16 | | {medians[what, 'fp32'] / medians[what, 'bf16']:.2f} |")
    if large:
        _large(Session(restorer=restorer, mllm=mllm, device=device))
    return 0


def _large(session: Session) -> None:
    """Describes and restores one 3840 x 2160 picture. The peak is that of the whole process, which includes torch."""
    picture = _photo(LARGE)
    start = time.perf_counter()
    guidance = session.guide(picture)
    described = time.perf_counter()
    session.restore(picture, guidance)
    _wait(session.device)
    restored = time.perf_counter()
    print("\n| 3840 x 2160 | describe s | restore s | peak memory of the process |")
    print("|---|---|---|---|")
    precision = str(session.precision).removeprefix("torch.")
    print(f"| {precision} | {described - start:.2f} | {restored - described:.2f} | {peak_bytes() / 1e9:.2f} GB |")


def peak_bytes() -> int:
    """The most memory that this process ever held, in bytes."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # KiB on Linux


def _photo(size: tuple[int, int]) -> torch.Tensor:
    """A bundled photograph at [1, 3, *size]."""
    rgb = read_picture(PHOTOS / "coffee.jpg").rgb
    return torch.nn.functional.interpolate(rgb, size, mode="bicubic", antialias=True).clamp(0, 1)


def _times(work: Callable[[], Any], runs: int, device: torch.device) -> list[float]:
    """Seconds of each of `runs` runs, after one that does not count."""
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        work()
        _wait(device)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

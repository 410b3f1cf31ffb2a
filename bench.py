"""`mofe bench`: how long a picture takes on this machine, and how much memory a tile, a video, a large picture need."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from .footprint import Footprint, Models, activations, apart, describing_and_restoring, photo, restoring
from .model.memory import bytes_per_pixel
from .model.precision import DTYPES, dtype_of, precision_of
from .session import Session, best_device

SMALL, TILE, VIDEO, LARGE = (512, 512), (768, 768), (360, 640), (2160, 3840)
"""Sizes [height, width]; the tile is that of a large picture, with its halo."""

FEW_FRAMES = 10
"""A video is measured against one of so many frames: memory must not grow from there on."""

MIB = 2**20


def bench(restorer: Path | None, mllm: Path | None, *, runs: int = 5, frames: int = 300, large: bool = True) -> int:
    """Prints a table of times at 512 x 512 in both precisions, then one of memory. The exit status."""
    device = best_device()
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {runs} runs after a warm-up\n")
    sessions = {name: Session(restorer=restorer, mllm=mllm, precision=name, device=device) for name in ("fp32", "bf16")}
    _times_of(sessions, runs)
    config = sessions["fp32"].restorer[0].config
    print(f"\n| activations of a tile of {_named(TILE)} | MiB | MiB per megapixel | estimate |")
    print("|---|---|---|---|")
    for precision in ("fp32", "bf16"):
        size = apart(activations, Models(restorer, mllm, precision, str(device)), TILE) / MIB
        estimate = 1e6 * bytes_per_pixel(config, dtype_of(precision)) / MIB
        print(f"| {precision} | {size:.0f} | {1e6 * size / (TILE[0] * TILE[1]):.0f} | {estimate:.0f} |", flush=True)
    if frames or large:
        print(
            "\n| memory, each line in a process of its own | precision | s | pictures | beside them | whole process |"
        )
        print("|---|---|---|---|---|---|")
    models = Models(restorer, mllm, "auto", str(device))
    precision = next(name for name, dtype in DTYPES.items() if dtype == precision_of("auto", device))
    if frames:
        guidance = Session(restorer=restorer, mllm=mllm, device=device).guide(photo(VIDEO), with_text=False)
        for count in sorted({min(FEW_FRAMES, frames), frames}):
            measured = apart(restoring, models, count, VIDEO, guidance)
            _line(f"{count} frames of {_named(VIDEO)}, one guidance", precision, measured)
    if large:
        _line(f"{_named(LARGE)}, described too", precision, apart(describing_and_restoring, models, LARGE))
    return 0


def _times_of(sessions: dict[str, Session], runs: int) -> None:
    """The table of times, per precision and piece of work."""
    print("| 512 x 512 | precision | min s | median s |")
    print("|---|---|---|---|")
    medians: dict[tuple[str, str], float] = {}
    picture = photo(SMALL)
    for precision, session in sessions.items():
        guidance = session.guide(picture, with_text=False)
        works: dict[str, Callable[[], Any]] = {
            "restore": lambda session=session, guidance=guidance: session.restore(picture, guidance),
            "describe": lambda session=session: session.describe(picture),
            "describe, no text": lambda session=session: session.describe(picture, with_text=False),
        }
        for what, work in works.items():
            seconds = _times(work, runs, session.device)
            medians[what, precision] = statistics.median(seconds)
            print(f"| {what} | {precision} | {min(seconds):.3f} | {medians[what, precision]:.3f} |", flush=True)
    for what in ("restore", "describe", "describe, no text"):
        print(f"| {what} | fp32 : bf16 | | {medians[what, 'fp32'] / medians[what, 'bf16']:.2f} |")


def _line(what: str, precision: str, measured: Footprint) -> None:
    sizes = " | ".join(f"{size / MIB:.0f} MiB" for size in (measured.pictures, measured.beside, measured.process))
    print(f"| {what} | {precision} | {measured.seconds:.1f} | {sizes} |", flush=True)


def _named(size: tuple[int, int]) -> str:
    height, width = size
    return f"{width} x {height}"


def _times(work: Callable[[], Any], runs: int, device: torch.device) -> list[float]:
    """Seconds of each of `runs` runs, after one that does not count."""
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]

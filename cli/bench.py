"""`mofe bench`: measure the time of an image, and the memory of a tile, a video and a large image."""

from __future__ import annotations

import argparse
import functools
import statistics
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .common import add_command, restorer_arguments, whole_number

if TYPE_CHECKING:
    import torch

    from ..model.pipeline import RestorationPipeline
    from .memory_probe import MemoryUse

SMALL, TILE, VIDEO, LARGE = (512, 512), (768, 768), (360, 640), (2160, 3840)
"""Sizes [height, width]; the tile is that of a large image, with its halo."""

FEW_FRAMES = 10
"""The memory of the video is compared with that of so few frames: it must not grow from there on."""

MIB = 2**20


def add_parser(commands: Any) -> None:
    """Add the command to those of `mofe`."""
    parser = add_command(
        commands, "bench", run, "Measure time and memory on this machine.", restorer_arguments(precision=False)
    )
    parser.add_argument("--runs", type=whole_number(1), default=5, metavar="N", help="repetitions (default 5)")
    parser.add_argument(
        "--frames", type=whole_number(0), default=300, metavar="N", help="frames of the video (default 300)"
    )
    parser.add_argument("--no-large", action="store_true", help="leave out the 3840 x 2160 image")


def run(args: argparse.Namespace) -> int:
    """Print a table of times at 512 x 512 in both precisions, then one of memory; return the exit status."""
    import torch

    from ..model.inference.plan import bytes_per_pixel
    from ..model.pipeline import RestorationPipeline, best_device
    from ..model.precision import DTYPES, dtype_from_name, resolve_dtype
    from .memory_probe import (
        Models,
        measure_activations,
        measure_describing_and_restoring,
        measure_restoring,
        run_apart,
        sample_photo,
    )

    device = best_device()
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, {args.runs} runs after a warm-up\n")
    pipes = {
        name: RestorationPipeline.from_pretrained(args.restorer, args.mllm, device=device, precision=name)
        for name in ("fp32", "bf16")
    }
    _print_times(pipes, args.runs)
    config = pipes["fp32"].restorer.config
    print(f"\n| activations of a tile of {_size_name(TILE)} | MiB | MiB per megapixel | estimate |")
    print("|---|---|---|---|")
    for precision in ("fp32", "bf16"):
        models = Models(args.restorer, args.mllm, precision, str(device))
        size = run_apart(measure_activations, models, TILE) / MIB
        estimate = 1e6 * bytes_per_pixel(config, dtype_from_name(precision)) / MIB
        print(f"| {precision} | {size:.0f} | {1e6 * size / (TILE[0] * TILE[1]):.0f} | {estimate:.0f} |", flush=True)
    large = not args.no_large
    if args.frames or large:
        print("\n| memory, each line in a process of its own | precision | s | images | beside them | whole process |")
        print("|---|---|---|---|---|---|")
    models = Models(args.restorer, args.mllm, "auto", str(device))
    precision = next(name for name, dtype in DTYPES.items() if dtype == resolve_dtype("auto", device))
    if args.frames:
        guidance = pipes["fp32"].describe(sample_photo(VIDEO), with_text=False)
        for count in sorted({min(FEW_FRAMES, args.frames), args.frames}):
            used = run_apart(measure_restoring, models, count, VIDEO, guidance)
            _print_memory(f"{count} frames of {_size_name(VIDEO)}, one guidance", precision, used)
    if large:
        used = run_apart(measure_describing_and_restoring, models, LARGE)
        _print_memory(f"{_size_name(LARGE)}, described too", precision, used)
    return 0


def _print_times(pipes: dict[str, RestorationPipeline], runs: int) -> None:
    """Print the table of times, per precision and piece of work."""
    from .memory_probe import sample_photo

    print("| 512 x 512 | precision | min s | median s |")
    print("|---|---|---|---|")
    medians: dict[tuple[str, str], float] = {}
    image = sample_photo(SMALL)
    for precision, pipe in pipes.items():
        guidance = pipe.describe(image, with_text=False)
        works: dict[str, Callable[[], Any]] = {
            "restore": functools.partial(pipe, image, guidance),
            "describe": functools.partial(pipe.describe, image),
            "describe, no text": functools.partial(pipe.describe, image, with_text=False),
        }
        for what, work in works.items():
            seconds = _times(work, runs, pipe.device)
            medians[what, precision] = statistics.median(seconds)
            print(f"| {what} | {precision} | {min(seconds):.3f} | {medians[what, precision]:.3f} |", flush=True)
    for what in ("restore", "describe", "describe, no text"):
        print(f"| {what} | fp32 : bf16 | | {medians[what, 'fp32'] / medians[what, 'bf16']:.2f} |")


def _print_memory(what: str, precision: str, used: MemoryUse) -> None:
    sizes = " | ".join(f"{size / MIB:.0f} MiB" for size in (used.images, used.beside, used.process))
    print(f"| {what} | {precision} | {used.seconds:.1f} | {sizes} |", flush=True)


def _size_name(size: tuple[int, int]) -> str:
    height, width = size
    return f"{width} x {height}"


def _times(work: Callable[[], Any], runs: int, device: torch.device) -> list[float]:
    """Return the seconds of each of `runs` runs, after one that does not count."""
    import torch

    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return seconds[1:]

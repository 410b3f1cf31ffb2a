"""`mofe bench`: measure the time of an image, and the memory of a tile, a video and a large image."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import itertools
import statistics
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model.errors import CommandError
from ..model.vocabulary import DEGRADATIONS
from .common import (
    STANDARD,
    add_command,
    prepare_output_file,
    print_error,
    restorer_arguments,
    whole_number,
    write_json,
)

if TYPE_CHECKING:
    import torch

    from ..model.guidance import Guidance
    from ..model.pipeline import RestorationPipeline
    from .memory_probe import MemoryUse

SMALL, TILE, VIDEO, LARGE = (512, 512), (768, 768), (360, 640), (2160, 3840)
"""Sizes [height, width]; the tile is that of a large image, with its halo."""

FEW_FRAMES = 10
"""The memory of the video is compared with that of so few frames: it must not grow from there on."""

SEEN: dict[str, tuple[str, ...]] = {
    "haze": ("haze",),
    "noise": ("noise",),
    "blur": ("blur",),
    "JPEG": ("jpeg",),
    "haze and noise": ("haze", "noise"),
}
"""What counts as seen while a restoration is timed: work for the experts, for the camera branch without and with
deconvolution and with its own, larger weights for a JPEG, and for both."""

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
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--busy", action="store_true", help="an image while other programs compute, against without")
    kinds.add_argument("--against", action="store_true", help="other tools on the same images (needs the extra bench)")
    kinds.add_argument(
        "--actors", type=whole_number(1), metavar="N", help="N actors against one thread (needs the extra ray)"
    )
    kinds.add_argument("--gpu", action="store_true", help="everything that is worth knowing of a GPU")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result of one of these four")
    parser.add_argument(
        "--sides",
        type=side_list,
        metavar="LIST",
        help="of the images of --actors (one), --against and --gpu, such as 512,1024",
    )
    parser.add_argument(
        "--pictures", type=whole_number(2), default=48, metavar="N", help="images of --actors (default 48)"
    )
    other = parser.add_argument_group("--against")
    other.add_argument("--photos", type=Path, metavar="DIR", help="clean photographs (default: a bundled one)")
    other.add_argument(
        "--checkout",
        type=checkout,
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="a network to time with random weights, whose code is run: MoCE-IR, OneRestore, AdaIR, Restormer, MAXIM",
    )
    other.add_argument("--max-seconds", type=float, default=60, metavar="S", help="leave out what takes longer")
    other.add_argument("--plot", type=Path, metavar="FILE", help="draw seconds against megapixels")
    gpu = parser.add_argument_group("--gpu")
    gpu.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu is for trying it out")
    gpu.add_argument("--minutes", type=float, default=7.5, metavar="M", help="stop after so long (default 7.5)")
    gpu.add_argument("--comfyui", type=Path, metavar="DIR", help="checkout of ComfyUI, for its memory management")
    gpu.add_argument("--no-tests", action="store_true", help="leave out the suite's tests of CUDA")


def side_list(text: str) -> list[int]:
    """Convert an argument such as `512,1024` to sides in px."""
    return [whole_number(32)(item) for item in text.split(",")]


def checkout(text: str) -> tuple[str, Path]:
    """Convert an argument such as `Restormer=/src/Restormer` to a name and a folder."""
    from .against import NETWORKS

    name, _, folder = text.partition("=")
    if name not in NETWORKS or not Path(folder).is_dir() or not folder:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=DIR, where NAME is one of {', '.join(NETWORKS)}")
    return name, Path(folder)


def run(args: argparse.Namespace) -> int:
    """Measure what the arguments say; return the exit status."""
    prepare_output_file(args.json)
    prepare_output_file(args.plot, "--plot")
    if args.busy:
        return _busy(args)
    if args.actors:
        return _actors(args)
    if args.against:
        return _against(args)
    if args.gpu:
        return _gpu(args)
    return _times_and_memory(args)


def _busy(args: argparse.Namespace) -> int:
    """Print what an image costs while other programs compute; the status is 1 where that is too much."""
    import os
    from dataclasses import asdict

    import torch

    from ..model.pipeline import RestorationPipeline
    from .busy import LIMIT, measure_busy
    from .memory_probe import sample_photo

    pipe = RestorationPipeline.from_pretrained(args.restorer, args.mllm, device="cpu", precision="fp32")
    images = _others(sample_photo(SMALL))

    def work() -> object:
        shifted = next(images)
        return pipe(shifted, pipe.describe(shifted, with_text=False), threshold=0.0)

    cores = os.cpu_count() or 1
    times = measure_busy(work, args.runs, cores)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {cores} competitors, {args.runs} rounds\n")
    print("| describe and restore 512 x 512 | median s | min s |\n|---|---|---|")
    for name, values in (("without competitors", times.idle), ("with", times.busy)):
        print(f"| {name} | {statistics.median(values):.2f} | {min(values):.2f} |")
    print(f"\n{times.ratio:.2f} times as long; at most {LIMIT} are expected.")
    write_json(args.json, {**asdict(times), "ratio": times.ratio, "threads": torch.get_num_threads(), "cores": cores})
    return 0 if times.ratio <= LIMIT else 1


def _actors(args: argparse.Namespace) -> int:
    """Print how much faster actors restore a folder than one thread; the status is 1 where that is too little."""
    import tempfile
    from dataclasses import asdict

    from .throughput import EXPECTED, measure, write_images

    models = [word for name in ("restorer", "mllm") if (given := getattr(args, name)) for word in (f"--{name}", given)]
    side = args.sides[0] if args.sides else SMALL[0]
    found = {}
    print(f"{args.pictures} images of {side} x {side}, one thread per process\n")
    print("| engine | s, with its start | images a second from the first result to the last |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as kept:
        folder = Path(kept)
        write_images(folder / "images", args.pictures, side)
        for name, words in (("plain", []), ("ray", ["--engine", "ray", "--actors", args.actors])):
            found[name] = measure(folder / "images", folder / name, [*words, *models])
            print(f"| {name} | {found[name].seconds:.1f} | {found[name].rate:.2f} |", flush=True)
    ratio, expected = found["ray"].rate / found["plain"].rate, EXPECTED * args.actors
    print(f"\n{args.actors} actors do {ratio:.2f} times the work of one thread; at least {expected:.2f} is expected.")
    write_json(
        args.json, {"actors": args.actors, "ratio": ratio, **{name: asdict(each) for name, each in found.items()}}
    )
    return 0 if ratio >= expected else 1


def _against(args: argparse.Namespace) -> int:
    """Print a table of other tools on the same images."""
    from dataclasses import asdict

    import torch

    from . import against
    from .inputs import find_sources
    from .memory_probe import Models

    against.check_extra()
    photos: list[Path | None] = (
        [source.path for source in find_sources([args.photos]).sources] if args.photos else [None]
    )
    models = Models(args.restorer, args.mllm, "fp32", "cpu")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads of the CPU, {len(photos)} photographs\n")
    print("| tool | image | side | processor s | times ours | elapsed s | memory | PSNR |")
    print("|---|---|---|---|---|---|---|---|")
    rows, costs, failed = [], {}, False
    ours: dict[tuple[str, int], float] = {}
    for tool in against.all_tools(dict(args.checkout)):
        try:
            found = against.measure(tool, models, photos, args.sides or against.SIDES, args.runs, args.max_seconds)
        except Exception as error:
            if tool.is_trained:
                raise
            print_error(f"{tool.name}: {error}")  # what another repository needs is not ours to know
            failed = True
            continue
        for side, cost in found.items():
            ratio = cost.seconds / ours.setdefault((tool.image, side), cost.seconds)
            costs[tool.name, side] = cost
            rows.append({"tool": tool.name, "image": tool.image, "side": side, "ratio": ratio, **asdict(cost)})
            gain = "" if cost.psnr is None else f"{cost.psnr:.2f}"
            sizes = f"{cost.elapsed:.2f} | {cost.memory / MIB:.0f} MiB | {gain}"
            print(f"| {tool.name} | {tool.image} | {side} | {cost.seconds:.2f} | {ratio:.2f} | {sizes} |", flush=True)
    if args.plot is not None:
        against.draw(costs, args.plot)
    write_json(args.json, {"threads": torch.get_num_threads(), "photos": len(photos), "runs": args.runs, "rows": rows})
    return 1 if failed else 0


def _gpu(args: argparse.Namespace) -> int:
    """Write what a GPU does with the pack."""
    import torch

    if args.device == "cuda" and not torch.cuda.is_available():
        raise CommandError("No NVIDIA GPU that torch can use was found: mofe bench --gpu has nothing to measure here.")
    from .gpu_evidence import SIDES, collect

    found = collect(
        (args.restorer, args.mllm),
        torch.device(args.device),
        args.sides or SIDES,
        args.frames,
        args.minutes,
        args.comfyui,
        not args.no_tests,
    )
    write_json(args.json if args.json is not None else STANDARD, found)
    for name, error in found["errors"].items():
        print_error(f"{name}: {error}")
    return 1 if found["errors"] else 0


def _times_and_memory(args: argparse.Namespace) -> int:
    """Print a table of times at 512 x 512 in both precisions, then one of memory."""
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
        guidance = _as_if_seen(pipes["fp32"].describe(sample_photo(VIDEO), with_text=False), ("haze", "blur"))
        for count in sorted({min(FEW_FRAMES, args.frames), args.frames}):
            used = run_apart(measure_restoring, models, count, VIDEO, guidance)
            _print_memory(f"{count} frames of {_size_name(VIDEO)}, haze and blur", precision, used)
    if large:
        used = run_apart(measure_describing_and_restoring, models, LARGE)
        _print_memory(f"{_size_name(LARGE)}, described too", precision, used)
    return 0


def _print_times(pipes: dict[str, RestorationPipeline], runs: int) -> None:
    """Print the table of times, per precision and piece of work; what is seen decides which branches work."""
    from .memory_probe import sample_photo

    print("| 512 x 512 | precision | min s | median s |")
    print("|---|---|---|---|")
    medians: dict[tuple[str, str], float] = {}
    image = sample_photo(SMALL)
    for precision, pipe in pipes.items():
        guidance = pipe.describe(image, with_text=False)
        works: dict[str, Callable[[], Any]] = {
            f"restore, {what}": functools.partial(pipe, image, _as_if_seen(guidance, names))
            for what, names in SEEN.items()
        }
        others = _others(image)
        works |= {
            what: functools.partial(_describe_next, pipe, others, with_text=with_text)
            for what, with_text in (("describe", True), ("describe, no text", False))
        }
        for what, work in works.items():
            seconds = _times(work, runs, pipe.device)
            medians[what, precision] = statistics.median(seconds)
            print(f"| {what} | {precision} | {min(seconds):.3f} | {medians[what, precision]:.3f} |", flush=True)
    for what in dict.fromkeys(what for what, _ in medians):
        print(f"| {what} | fp32 : bf16 | | {medians[what, 'fp32'] / medians[what, 'bf16']:.2f} |")


def _others(image: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield an image again and again, moved each time, since a model remembers what it has seen."""
    for shift in itertools.count():
        yield image.roll(shift, 3)


def _describe_next(pipe: RestorationPipeline, images: Iterator[torch.Tensor], *, with_text: bool) -> Guidance:
    return pipe.describe(next(images), with_text=with_text)


def _as_if_seen(guidance: Guidance, names: Collection[str]) -> Guidance:
    """Return the guidance of one image in which these and no others are clearly seen."""
    scores = [[0.8 if name in names else 0.0 for name in DEGRADATIONS]]
    return dataclasses.replace(guidance, scores=guidance.scores.new_tensor(scores))


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

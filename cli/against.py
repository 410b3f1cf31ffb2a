"""Other tools on the same images: the classic ones, and networks whose checkout is given, which get random weights."""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..model.errors import CommandError
from ..model.image_files import read_image
from ..model.images import psnr
from ..model.pipeline import RestorationPipeline
from ..model.synthesis.degrade import degrade
from ..model.synthesis.severities import Severities
from .memory_probe import Models, held_bytes, peak_bytes, run_apart, sample_photo

Work = Callable[[Tensor], Tensor]
"""Restores an image [1, 3, H, W] in 0..1."""

NOISE = 25 / 255
"""Standard deviation of the noise, which is told to the classic denoisers."""

OURS = "MoFE Restore"

SIDES = (256, 512, 1024)
"""Of the images, in px."""

WARM_UP = 128
"""Side in px of an image that does not count; a multiple of what the networks' windows want."""

IMAGES = {
    "noise": Severities(noise_sigma=NOISE),
    "low_light": Severities(light_exponent=2.2),
    "haze": Severities(haze_beta=1.3, airlight=0.85),
}
"""The images by what was done to a clean one."""


@dataclass(frozen=True)
class Cost:
    """What a tool takes for one image.

    Attributes:
        seconds: Of the processor, of all its threads together: other programs do not count.
        elapsed: By the clock.
        memory: Peak bytes beside what the process held with everything loaded.
        psnr: To the clean image in dB; None for random weights.
    """

    seconds: float
    elapsed: float
    memory: int
    psnr: float | None


@dataclass(frozen=True)
class Tool:
    """A tool and the image that it is for.

    Attributes:
        name: Of the tool.
        image: A key of `IMAGES`.
        folder: Of its checkout; None for what is installed.
    """

    name: str
    image: str
    folder: Path | None = None

    @property
    def is_trained(self) -> bool:
        """Whether its result means anything."""
        return self.folder is None


# The classic tools --------------------------------------------------------------------------------------------------


def non_local_means() -> Work:
    """OpenCV's non-local means for color images."""
    import cv2

    strength = 0.7 * 255 * NOISE
    return lambda image: _from_bytes(cv2.fastNlMeansDenoisingColored(_to_bytes(image), None, strength, strength, 7, 21))


def bm3d() -> Work:
    """BM3D of its authors, which knows the level of the noise."""
    import bm3d as package
    import numpy as np

    def work(image: Tensor) -> Tensor:
        values = package.bm3d_rgb(image[0].permute(1, 2, 0).numpy(), NOISE)
        return torch.from_numpy(np.asarray(values, np.float32)).permute(2, 0, 1)[None].clamp(0, 1)

    return work


def clahe() -> Work:
    """Contrast-limited adaptive histogram equalization of the lightness."""
    import cv2

    equalize = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8))

    def work(image: Tensor) -> Tensor:
        lab = cv2.cvtColor(_to_bytes(image), cv2.COLOR_RGB2LAB)
        lab[..., 0] = equalize.apply(lab[..., 0])
        return _from_bytes(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))

    return work


def dark_channel() -> Work:
    """Dark-channel prior (He, Sun, Tang, CVPR 2009), its transmission smoothed by a guided filter."""
    import cv2
    import numpy as np

    patch, radius, epsilon, omega, floor = np.ones((15, 15), np.uint8), (81, 81), 1e-3, 0.95, 0.1

    def guided(guide: Any, values: Any) -> Any:
        def mean(of: Any) -> Any:
            return cv2.boxFilter(of, -1, radius)

        slope = (mean(guide * values) - mean(guide) * mean(values)) / (mean(guide**2) - mean(guide) ** 2 + epsilon)
        return mean(slope) * guide + mean(mean(values) - slope * mean(guide))

    def work(image: Tensor) -> Tensor:
        values = np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())
        dark = cv2.erode(values.min(2), patch)
        brightest = np.argsort(dark.ravel())[-max(1, dark.size // 1000) :]
        airlight = values.reshape(-1, 3)[brightest].mean(0)
        transmission = 1 - omega * cv2.erode((values / airlight).min(2).astype(np.float32), patch)
        transmission = guided(cv2.cvtColor(values, cv2.COLOR_RGB2GRAY), transmission.astype(np.float32))
        clear = (values - airlight) / np.clip(transmission, floor, 1)[..., None] + airlight
        return torch.from_numpy(clear.astype(np.float32)).permute(2, 0, 1)[None].clamp(0, 1)

    return work


CLASSIC = {
    "non-local means (OpenCV)": (non_local_means, "noise"),
    "BM3D": (bm3d, "noise"),
    "CLAHE (OpenCV)": (clahe, "low_light"),
    "dark-channel prior": (dark_channel, "haze"),
}
"""The classic tools: how they are made ready, and the image that they are for."""


def _to_bytes(image: Tensor) -> Any:
    import numpy as np

    return np.ascontiguousarray((image[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())


def _from_bytes(values: Any) -> Tensor:
    return torch.from_numpy(values).permute(2, 0, 1)[None].float() / 255


# Networks of other repositories -------------------------------------------------------------------------------------


def _moce_ir(folder: Path) -> Work:
    module = _module(folder, "src/net/moce_ir.py")
    # the sizes of its options for the larger model
    return _plain(
        module.MoCEIR(
            dim=48,
            num_blocks=[4, 6, 6, 8],
            num_dec_blocks=[2, 4, 4],
            num_refinement_blocks=4,
            heads=[1, 2, 4, 8],
            stage_depth=[1, 1, 1],
            rank_type="spread",
            depth_type="constant",
        )
    )


def _one_restore(folder: Path) -> Work:
    network = _module(folder, "model/OneRestore.py").OneRestore().eval()
    scene = torch.randn(1, 324)  # in place of its embedder, which is small
    return lambda image: network(image, scene)


def _ada_ir(folder: Path) -> Work:
    return _plain(_module(folder, "net/model.py").AdaIR(decoder=True))


def _restormer(folder: Path) -> Work:
    return _plain(_module(folder, "basicsr/models/archs/restormer_arch.py").Restormer())


def _maxim(folder: Path) -> Work:
    return _plain(_module(folder, "basicsr/models/archs/maxim.py").MAXIM_dns_3s())


NETWORKS: dict[str, Callable[[Path], Work]] = {
    "MoCE-IR": _moce_ir,
    "OneRestore": _one_restore,
    "AdaIR": _ada_ir,
    "Restormer": _restormer,
    "MAXIM": _maxim,
}
"""Networks that can be timed where a checkout is given; of MAXIM it is the port to torch."""

UNUSED = ("fvcore", "fvcore.nn", "thop", "torchvision", "torchvision.transforms")
"""Packages that those files import for their own demonstrations only, but for one class of torchvision."""


class Resize:
    """Stands in for torchvision's: bilinear, with antialiasing."""

    def __init__(self, size: list[int]) -> None:
        self.size = size

    def __call__(self, image: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, *size]."""
        return torch.nn.functional.interpolate(image, self.size, mode="bilinear", antialias=True)


def _plain(network: Any) -> Work:
    network = network.eval()

    def work(image: Tensor) -> Tensor:
        restored = network(image)
        while isinstance(restored, list | tuple):  # several stages: the last one counts
            restored = restored[-1]
        assert isinstance(restored, Tensor)
        return restored

    return work


def _module(folder: Path, name: str) -> Any:
    """Run a file of a checkout as a module."""
    path = folder / name
    if not path.is_file():
        raise CommandError(f"{folder} has no {name}: give the folder of the repository's checkout.")
    stand_ins = {}
    for package in UNUSED:
        if package.split(".")[0] in stand_ins or importlib.util.find_spec(package) is None:
            stand_ins[package] = types.ModuleType(package)
            stand_ins[package].__dict__.update({"__getattr__": lambda _: None, "Resize": Resize})
    if "torchvision" in stand_ins:
        stand_ins["torchvision"].__dict__["transforms"] = stand_ins["torchvision.transforms"]
    spec = importlib.util.spec_from_file_location(f"checkout_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.update(stand_ins)
    try:
        spec.loader.exec_module(module)
    finally:
        for package in stand_ins:
            del sys.modules[package]
    return module


# Measuring ----------------------------------------------------------------------------------------------------------


def all_tools(checkouts: dict[str, Path]) -> list[Tool]:
    """Return ours on every image, the classic tools, and the networks whose checkout is given."""
    tools = [Tool(OURS, image) for image in IMAGES]
    tools += [Tool(name, image) for name, (_, image) in CLASSIC.items()]
    return tools + [Tool(name, "noise", folder) for name, folder in checkouts.items()]


def read_photo(path: Path | None, side: int) -> Tensor:
    """Return the middle of a photograph, or of the bundled one, at [1, 3, side, side]."""
    if path is None:
        return sample_photo((side, side))
    rgb = read_image(path).rgb
    height, width = rgb.shape[-2:]
    inner = min(height, width)
    top, left = (height - inner) // 2, (width - inner) // 2
    square = rgb[..., top : top + inner, left : left + inner]
    return torch.nn.functional.interpolate(square, (side, side), mode="bicubic", antialias=True).clamp(0, 1)


def degraded(clean: Tensor, image: str) -> Tensor:
    """Return a clean image [1, 3, H, W] with what belongs to a key of `IMAGES`."""
    return degrade(clean, IMAGES[image], seed=0)


def measure(
    tool: Tool, models: Models, photos: list[Path | None], sides: Sequence[int], runs: int, max_seconds: float
) -> dict[int, Cost]:
    """Return what a tool takes for an image by its side in px, the means over the photographs, in its own process.

    Args:
        tool: What to measure.
        models: Ours.
        photos: Clean photographs; None is the bundled one.
        sides: Of the images in px.
        runs: Number of runs for each image.
        max_seconds: Sides that would take longer for an image are left out.
    """
    return run_apart(_measure, tool, models, photos, sorted(sides), runs, max_seconds, torch.get_num_threads())


def _measure(
    tool: Tool,
    models: Models,
    photos: list[Path | None],
    sides: list[int],
    runs: int,
    max_seconds: float,
    threads: int,
) -> dict[int, Cost]:
    torch.set_num_threads(threads)
    work = _ready(tool, models, threads)
    with torch.inference_mode():
        work(degraded(read_photo(None, WARM_UP), tool.image))
    found: dict[int, Cost] = {}
    for side in sides:  # rising, so that the peak of the process is that of this side
        pixels = (side / max(found, default=side)) ** 2
        if found and found[max(found)].seconds * pixels > max_seconds:
            break
        costs = [_measure_one(work, read_photo(photo, side), tool, runs) for photo in photos]
        gains = [cost.psnr for cost in costs if cost.psnr is not None]
        found[side] = Cost(
            statistics.mean(cost.seconds for cost in costs),
            statistics.mean(cost.elapsed for cost in costs),
            max(cost.memory for cost in costs),
            statistics.mean(gains) if gains else None,
        )
    return found


def _ready(tool: Tool, models: Models, threads: int) -> Work:
    if tool.folder is not None:
        torch.manual_seed(0)
        return NETWORKS[tool.name](tool.folder)
    if tool.name != OURS:
        import cv2

        cv2.setNumThreads(threads)
        return CLASSIC[tool.name][0]()
    pipe: RestorationPipeline = models.open()
    return lambda image: pipe(image, pipe.describe(image, with_text=False), threshold=0.0).image


def _measure_one(work: Work, clean: Tensor, tool: Tool, runs: int) -> Cost:
    before = held_bytes()
    seconds, elapsed = [], []
    restored = original = clean
    with torch.inference_mode():
        for run in range(runs):
            original = clean.roll(run, 3)  # another image each time, as ours remembers what it has seen
            image = degraded(original, tool.image)
            start, used = time.perf_counter(), time.process_time()
            restored = work(image)
            seconds.append(time.process_time() - used)
            elapsed.append(time.perf_counter() - start)
    return Cost(
        statistics.median(seconds),
        statistics.median(elapsed),
        max(0, peak_bytes() - before),
        psnr(restored, original) if tool.is_trained else None,
    )


def check_extra() -> None:
    """Say in one sentence which extra is missing.

    Raises:
        CommandError: One is.
    """
    missing = [name for name in ("cv2", "bm3d", "matplotlib") if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandError(
            f'mofe bench --against needs {" and ".join(missing)}: pip install ".[bench]" in a checkout of this pack '
            "brings it."
        )


def draw(costs: dict[tuple[str, int], Cost], path: Path) -> None:
    """Draw seconds against megapixels, both on logarithmic axes.

    Args:
        costs: By the tool's name and the side of the image in px.
        path: Of the picture, which is replaced.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.6), dpi=120)
    for name in dict.fromkeys(name for name, _ in costs):
        points = sorted((side, cost.seconds) for (other, side), cost in costs.items() if other == name)
        style: dict[str, Any] = (
            {"linewidth": 2.5, "color": "black", "zorder": 3} if name == OURS else {"linewidth": 1.2}
        )
        axes.plot([side**2 / 1e6 for side, _ in points], [value for _, value in points], "o-", label=name, **style)
    axes.set(xscale="log", yscale="log", xlabel="megapixels", ylabel="processor seconds per image")
    sides = sorted({side for _, side in costs})
    axes.set_xticks([side**2 / 1e6 for side in sides], [f"{side**2 / 1e6:.2f}" for side in sides])
    axes.set_xticks([], minor=True)
    axes.grid(True, which="both", alpha=0.25)
    axes.legend(fontsize=8, bbox_to_anchor=(1.01, 1), loc="upper left", frameon=False)
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)

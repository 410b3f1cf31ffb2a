"""`mofe demo`: degrade the bundled photographs, describe and restore them, and draw the results side by side."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model.atomic import atomic_write
from ..model.vocabulary import DEGRADATIONS
from .common import add_command, open_pipeline, prepare_output_folder, restorer_arguments

if TYPE_CHECKING:
    from torch import Tensor

    from ..model.pipeline import RestorationPipeline
    from ..model.synthesis.severities import Severities

PHOTOS = Path(__file__).resolve().parent / "photos"
"""The bundled photographs."""


@dataclass(frozen=True)
class Example:
    """A bundled photograph and what is done to it.

    Attributes:
        file: Its name.
        title: What is wrong with it.
        severities: Fields of `Severities`; None where it is degraded already.
    """

    file: str
    title: str
    severities: dict[str, Any] | None


EXAMPLES = (
    Example("rocket.jpg", "rain at dusk", {"rain": 0.6}),
    Example("chelsea.jpg", "low light with noise", {"light_exponent": 2.5, "low_light_noise": 0.05}),
    Example("coffee.jpg", "snow and haze", {"snow": 0.35, "haze_beta": 1.2, "airlight": 0.75}),
    Example("astronaut.jpg", "noise and JPEG", {"noise_sigma": 25 / 255, "jpeg_quality": 40}),
    Example("waiting_room.jpg", "really taken in the dark", None),
)

SHEETS: dict[str, dict[str, float]] = {
    **{name: {name: 0.6} for name in DEGRADATIONS},
    "low_light_haze_rain": {"low_light": 0.7, "haze": 0.5, "rain": 0.4, "noise": 0.35},
}
"""Strengths that the contact sheets show, as `Severities.from_strengths` takes them, by the name of the sheet."""

SHEET_WIDTH = 320
"""Width in px of a photograph on a contact sheet."""


def add_parser(commands: Any) -> None:
    """Add the command to those of `mofe`."""
    text = "Degrade and restore the bundled photographs."
    parser = add_command(commands, "demo", run, text, restorer_arguments())
    parser.add_argument("--sheets", action="store_true", help="draw a contact sheet for each kind of degradation")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="default: demo_output in the current folder")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    output = args.output or Path("demo_output")
    pipe = open_pipeline(args)
    prepare_output_folder(output)
    if args.sheets:
        draw_contact_sheets(pipe, output)
    else:
        restore_examples(pipe, output)
    return 0


def restore_examples(pipe: RestorationPipeline, folder: Path) -> None:
    """Restore every example, print what was seen and gained, and draw it.

    Args:
        pipe: The models.
        folder: Gets `<photo>.png` (before and after), `<photo>_routing.png`, and `index.html`, which shows them all.
    """
    from ..model.charts.comparison import draw_comparison
    from ..model.charts.routing_chart import draw_routing
    from ..model.images import psnr
    from .report.page import ReportPage

    start = time.perf_counter()
    page = ReportPage(folder / "index.html", "MoFE Restore: the bundled photographs", len(EXAMPLES))
    for number, example in enumerate(EXAMPLES):
        clean, photo = make_example(number)
        guidance = pipe.describe(photo)
        result = pipe(photo, guidance)
        restored = result.image.cpu()
        print(f"{example.file} ({example.title})")
        print(f"  seen: {guidance.descriptions[0]}")
        panels = [("before", photo), ("after", restored)]
        if example.severities is None:
            print("  there is no sharp original to compare with")
        else:
            before, after = psnr(photo, clean), psnr(restored, clean)
            print(f"  PSNR: {before:.2f} dB before, {after:.2f} dB after ({after - before:+.2f} dB)")
            panels = [(f"before, {before:.2f} dB", photo), (f"after, {after:.2f} dB", restored), ("original", clean)]
        stem = Path(example.file).stem
        for name, drawing in (
            (stem, draw_comparison(panels, f"{example.title}. Seen: {guidance.descriptions[0]}")),
            (f"{stem}_routing", draw_routing(result.routing, 0, photo)),
        ):
            with atomic_write(folder / f"{name}.png") as path:
                drawing.save(path, "PNG")
        page.add(
            f"{example.file}: {example.title}",
            photo,
            restored,
            guidance=guidance,
            routing=result.routing,
            reference=None if example.severities is None else clean,
            files=[("Sheet", folder / f"{stem}.png"), ("Routing chart", folder / f"{stem}_routing.png")],
        )
    page.finish()
    seconds = time.perf_counter() - start
    print(f"{len(EXAMPLES)} photographs in {seconds:.1f} s: open {(folder / 'index.html').resolve()}")


def draw_contact_sheets(pipe: RestorationPipeline, folder: Path) -> None:
    """Draw one sheet per kind of degradation: every bundled good photograph before, after, and as it was.

    Args:
        pipe: The models.
        folder: Gets `<kind>.jpg`.
    """
    import torch.nn.functional as F

    from ..model.charts.comparison import draw_comparison, stack
    from ..model.image_files import read_image
    from ..model.images import psnr
    from ..model.synthesis.severities import Severities

    photos = [example.file for example in EXAMPLES if example.severities is not None]
    for number, (kind, strengths) in enumerate(SHEETS.items()):
        rows = []
        for file in photos:
            clean = read_image(PHOTOS / file).rgb
            clean = F.interpolate(
                clean, (round(clean.shape[2] * SHEET_WIDTH / clean.shape[3]), SHEET_WIDTH), mode="area"
            )
            degraded = _degrade(clean, Severities.from_strengths(strengths), number)
            restored = pipe(degraded).image.cpu()
            before, after = psnr(degraded, clean), psnr(restored, clean)
            panels = [(f"{before:.1f} dB", degraded), (f"after, {after:.1f} dB", restored), ("original", clean)]
            rows.append(draw_comparison(panels, f"{kind.replace('_', ' ')}: {Path(file).stem}"))
        with atomic_write(folder / f"{kind}.jpg") as path:
            stack(rows).save(path, "JPEG", quality=82)
        print(f"{folder / kind}.jpg")


def make_example(number: int) -> tuple[Tensor, Tensor]:
    """Return the photograph of example `number` clean and degraded, both [1, 3, H, W] in 0..1; always the same."""
    from ..model.image_files import read_image
    from ..model.synthesis.severities import Severities

    example = EXAMPLES[number]
    clean = read_image(PHOTOS / example.file).rgb
    if example.severities is None:
        return clean, clean
    return clean, _degrade(clean, Severities(**example.severities), number)


def _degrade(clean: Tensor, severities: Severities, seed: int) -> Tensor:
    """Degrade [1, 3, H, W] in 0..1."""
    import numpy as np
    import torch

    from ..model.synthesis.degrade import synthesize

    made = synthesize(clean[0].permute(1, 2, 0).numpy(), severities, np.random.default_rng(seed))
    return torch.from_numpy(made.image).permute(2, 0, 1)[None].contiguous()

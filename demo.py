"""`mofe demo`: bundled photographs are degraded, described and restored, and the results drawn side by side."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .model.chart import draw_routing
from .model.files import written_whole
from .model.guidance import DEGRADATIONS
from .model.imaging.degradations import Severities, degrade
from .model.imaging.severities import severities_of
from .pictures import read_picture
from .session import Session

PHOTOS = Path(__file__).resolve().parent / "demo_photos"


@dataclass(frozen=True)
class Example:
    """A bundled photograph and what is done to it; None where it is degraded already."""

    file: str
    what: str
    severities: Severities | None


EXAMPLES = (
    Example("rocket.jpg", "haze and rain", Severities(haze_beta=1.4, airlight=0.8, rain=0.45)),
    Example("chelsea.jpg", "low light with noise", Severities(light_exponent=2.5, low_light_noise=0.05)),
    Example("coffee.jpg", "snow and haze", Severities(snow=0.35, haze_beta=1.2, airlight=0.75)),
    Example("astronaut.jpg", "noise and JPEG", Severities(noise_sigma=25 / 255, jpeg_quality=40)),
    Example("clock_motion.png", "really blurred by a moving camera", None),
)


KINDS: dict[str, dict[str, float]] = {
    **{name: {name: 0.6} for name in DEGRADATIONS},
    "low_light_haze_rain": {"low_light": 0.7, "haze": 0.5, "rain": 0.4, "noise": 0.35},
}
"""What the contact sheets show: strengths, as `severities_of` takes them, by the name of the sheet."""

SHEET_WIDTH = 320
"""Width in px of a photograph on a contact sheet."""


def degraded(number: int) -> tuple[Tensor, Tensor]:
    """The photograph of example `number` as it is and degraded, both [1, 3, H, W] in 0..1; the same every time."""
    example = EXAMPLES[number]
    clean = read_picture(PHOTOS / example.file).rgb
    if example.severities is None:
        return clean, clean
    return clean, _worsened(clean, example.severities, number)


def _worsened(clean: Tensor, severities: Severities, seed: int) -> Tensor:
    """[1, 3, H, W] in 0..1, degraded."""
    made = degrade(clean[0].permute(1, 2, 0).numpy(), severities, np.random.default_rng(seed))
    return torch.from_numpy(made.picture).permute(2, 0, 1)[None].contiguous()


def psnr(picture: Tensor, reference: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of two pictures in 0..1."""
    error = torch.mean((picture.double().clamp(0, 1) - reference.double()) ** 2).item()
    return float("inf") if error == 0.0 else -10.0 * float(np.log10(error))


def demo(session: Session, folder: Path) -> int:
    """Restores every example, prints what was seen and gained, and writes a sheet and a routing chart of each.

    Args:
        session: the models.
        folder: gets `<photo>.png` (before and after) and `<photo>_routing.png`; made if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    for number, example in enumerate(EXAMPLES):
        clean, photo = degraded(number)
        guidance = session.guide(photo)
        restoration = session.restore(photo, guidance)
        restored = restoration.picture.cpu()
        print(f"{example.file} ({example.what})")
        if guidance is not None:
            print(f"  seen: {guidance.descriptions[0]}")
        panels = [("before", photo), ("after", restored)]
        if example.severities is None:
            print("  there is no sharp original to compare with")
        else:
            before, after = psnr(photo, clean), psnr(restored, clean)
            print(f"  PSNR: {before:.2f} dB before, {after:.2f} dB after ({after - before:+.2f} dB)")
            panels = [(f"before, {before:.2f} dB", photo), (f"after, {after:.2f} dB", restored), ("original", clean)]
        stem = Path(example.file).stem
        title = guidance.descriptions[0] if guidance is not None else example.what
        for name, picture in (
            (stem, sheet(panels, f"{example.what}. Seen: {title}")),
            (f"{stem}_routing", draw_routing(restoration.routing, 0, photo)),
        ):
            with written_whole(folder / f"{name}.png") as path:
                picture.save(path, "PNG")
    seconds = time.perf_counter() - start
    print(f"{len(EXAMPLES)} photographs in {seconds:.1f} s; sheets and routing charts are in {folder.resolve()}")
    return 0


def contact_sheets(session: Session, folder: Path) -> int:
    """One sheet per kind of degradation: every bundled good photograph before, after, and as it was.

    Args:
        session: the models.
        folder: gets `<kind>.jpg`; made if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    photos = [example.file for example in EXAMPLES if example.severities is not None]
    for number, (kind, strengths) in enumerate(KINDS.items()):
        rows = []
        for file in photos:
            clean = _reduced(read_picture(PHOTOS / file).rgb)
            worse = _worsened(clean, severities_of(strengths), number)
            restored = session.restore(worse, session.guide(worse, with_text=False)).picture.cpu()
            before, after = psnr(worse, clean), psnr(restored, clean)
            panels = [(f"{before:.1f} dB", worse), (f"after, {after:.1f} dB", restored), ("original", clean)]
            rows.append(sheet(panels, f"{kind.replace('_', ' ')}: {Path(file).stem}"))
        page = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
        for index, row in enumerate(rows):
            page.paste(row, (0, sum(above.height for above in rows[:index])))
        with written_whole(folder / f"{kind}.jpg") as path:
            page.save(path, "JPEG", quality=82)
        print(f"{folder / kind}.jpg")
    return 0


def _reduced(picture: Tensor) -> Tensor:
    """[1, 3, H, W] at the width of a contact sheet's photographs."""
    height = round(picture.shape[2] * SHEET_WIDTH / picture.shape[3])
    return torch.nn.functional.interpolate(picture, (height, SHEET_WIDTH), mode="area")


def to_image(pixels: Tensor) -> Image.Image:
    """[1, 3, H, W] in 0..1 as an 8-bit picture."""
    values = (pixels[0].clamp(0, 1).permute(1, 2, 0) * 255.0).round().byte().cpu().numpy()
    return Image.fromarray(values)


def sheet(panels: list[tuple[str, Tensor]], title: str) -> Image.Image:
    """Pictures of one size side by side, each with its label, under a title."""
    font, gap, bar = ImageFont.load_default(18), 8, 30
    height, width = panels[0][1].shape[2:]
    sheet = Image.new("RGB", (len(panels) * (width + gap) + gap, height + 2 * bar + gap), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((gap, 6), _shortened(title, sheet.width - 2 * gap, font), fill="black", font=font)
    for index, (label, pixels) in enumerate(panels):
        left = gap + index * (width + gap)
        draw.text((left, bar + 4), label, fill="black", font=font)
        sheet.paste(to_image(pixels), (left, 2 * bar))
    return sheet


def _shortened(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """The text, cut at a word so that it fits into `width` px."""
    if font.getlength(text) <= width:
        return text
    words = text.split()
    while words and font.getlength(" ".join(words) + " ...") > width:
        words.pop()
    return " ".join(words) + " ..."

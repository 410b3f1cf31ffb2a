"""The routing of a picture as a chart for people: what the MLLM saw, and which expert worked where. Pillow only."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .guidance import DEGRADATIONS, PRESENT
from .routing import BlockRouting, Routing, check_frame
from .wording import NAMES

WIDTH = 1024
MARGIN = 28
INK = (32, 36, 42)
FAINT = (104, 110, 118)
RULE = (214, 217, 221)
PAPER = (255, 255, 255)
EXPERT_COLOURS = (
    (0, 114, 178),
    (0, 158, 115),
    (230, 159, 0),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
)
"""Okabe and Ito's palette (2008), told apart with every common colour blindness."""
PRESENT_COLOUR = (213, 94, 0)
ABSENT_COLOUR = (176, 181, 187)


def draw_routing(routing: Routing, frame: int, picture: Tensor | None = None) -> Image.Image:
    """Draws the routing of one picture.

    Args:
        routing: from `restore_picture`.
        frame: which picture of the batch.
        picture: [3, H, W] or [1, 3, H, W] in 0..1, shown dimmed behind the maps; None leaves them on plain grey.

    Returns:
        An RGB image, `WIDTH` px wide, as high as needed.

    Raises:
        IndexError: the routing has no such picture.
    """
    check_frame(routing, frame)
    backdrop = _backdrop(picture, routing.sizes[frame])
    page = _Page()
    page.text("What the restorer did, and where", 26)
    height, width = routing.sizes[frame]
    page.text(f"picture {frame + 1} of {len(routing)}, {width} x {height} px", 15, FAINT)
    page.space(6)
    page.paragraph(routing.descriptions[frame] or "No description: the picture was restored without words.", 17)
    page.space(10)
    scores = routing.scores[frame]
    if scores is None:
        page.text("No guidance was given: the experts were chosen from the picture alone.", 15, FAINT)
    else:
        page.scores(scores.tolist())
    blocks = routing.frames[frame]
    if not blocks:
        page.rule()
        page.text("Nothing was restored here: the strength or the mask was zero.", 17)
    for block in blocks:
        page.rule()
        _draw_block(page, block, backdrop)
    if blocks:
        page.rule()
        page.paragraph(
            "Every expert repairs details of one range of sizes: px are picture pixels from one light stripe to the "
            "next. The bars are its mean share of the work; the maps show where: the stronger the colour, the more it "
            "counts, from the least to the most in this picture. What the mask kept out of all work has no colour.",
            14,
            FAINT,
        )
    return page.finish()


def _draw_block(page: _Page, block: BlockRouting, backdrop: Image.Image) -> None:
    page.text(f"{block.title()}: one choice per {block.window_px} px square", 19)
    page.space(4)
    experts = len(block.weights)
    colours = [EXPERT_COLOURS[index % len(EXPERT_COLOURS)] for index in range(experts)]
    page.stack(block.weights.tolist(), colours)
    page.space(10)
    columns = min(experts, 4)
    gap = 16
    cell = (WIDTH - 2 * MARGIN - (columns - 1) * gap) // columns
    # a tall picture is made narrower rather than the chart endless
    fit = min(cell / backdrop.width, 260 / backdrop.height)
    size = (max(1, round(backdrop.width * fit)), max(1, round(backdrop.height * fit)))
    for start in range(0, experts, columns):
        page.reserve(size[1] + 74)
        for column, index in enumerate(range(start, min(start + columns, experts))):
            left = MARGIN + column * (cell + gap)
            page.label(left, block.band_names()[index], colours[index])
            page.put(_heat(block.map[index], block.seen, backdrop.resize(size), colours[index]), left, 28)
            low, high = block.band_ranges()[index]
            page.note(left, size[1] + 32, f"{low:.3f}-{high:.3f} cycles/px")
            least, most = block.extremes()[index]
            page.note(left, size[1] + 50, f"share {_percent(least)} to {_percent(most)}")
        page.space(size[1] + 74)


def _backdrop(picture: Tensor | None, size: tuple[int, int]) -> Image.Image:
    """The picture in grey, dimmed, at most 480 px a side; plain grey without one."""
    height, width = size
    fit = min(1.0, 480 / max(height, width))
    shape = (max(1, round(width * fit)), max(1, round(height * fit)))
    if picture is None:
        return Image.new("L", shape, 225)
    picture = picture.reshape(-1, *picture.shape[-2:])[:3].detach().float().cpu().clamp(0, 1)
    pixels = (picture.mean(0) * 255).round().to(torch.uint8).numpy()
    return Image.fromarray(pixels).resize(shape).point([110 + round(value * 0.57) for value in range(256)])


def _heat(weights: Tensor, seen: Tensor, backdrop: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """One expert's map [nH, nW] in its colour over the picture, stretched from its least to its most where seen."""
    low, high = float(weights[seen].min()), float(weights[seen].max())
    spread = high - low
    # a map that hardly varies is shown evenly, not stretched into noise
    level = (weights - low) / spread if spread > 0.01 else torch.full_like(weights, 0.35)
    level = torch.where(seen, level, 0)
    opacity = Image.fromarray((level * 217 + 0.5).to(torch.uint8).cpu().numpy().astype(np.uint8))
    opacity = opacity.resize(backdrop.size, Image.Resampling.NEAREST)
    return Image.composite(Image.new("RGB", backdrop.size, colour), backdrop.convert("RGB"), opacity)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


class _Page:
    """A page that is written from top to bottom and grows as needed."""

    def __init__(self) -> None:
        self.image = Image.new("RGB", (WIDTH, 400), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.y = MARGIN

    def reserve(self, height: int) -> None:
        """Makes room for `height` px below the pen."""
        needed = self.y + height + MARGIN
        if needed > self.image.height:
            taller = Image.new("RGB", (WIDTH, max(needed, self.image.height * 3 // 2)), PAPER)
            taller.paste(self.image)
            self.image, self.draw = taller, ImageDraw.Draw(taller)

    def finish(self) -> Image.Image:
        return self.image.crop((0, 0, WIDTH, self.y + MARGIN))

    def space(self, height: int) -> None:
        self.reserve(height)
        self.y += height

    def text(self, text: str, size: int, colour: tuple[int, int, int] = INK) -> None:
        self.reserve(size + 10)
        self.draw.text((MARGIN, self.y), text, colour, _font(size))
        self.y += size + 10

    def paragraph(self, text: str, size: int, colour: tuple[int, int, int] = INK) -> None:
        """Text broken into lines between words, and within a word that is wider than the page."""
        font, line = _font(size), ""
        for word in text.split():
            if line and font.getlength(f"{line} {word}") > WIDTH - 2 * MARGIN:
                self.text(line, size, colour)
                line = ""
            line = f"{line} {word}" if line else word
            while font.getlength(line) > WIDTH - 2 * MARGIN:
                fitting = next(
                    n for n in range(len(line), 0, -1) if n == 1 or font.getlength(line[:n]) <= WIDTH - 2 * MARGIN
                )
                self.text(line[:fitting], size, colour)
                line = line[fitting:]
        if line:
            self.text(line, size, colour)

    def rule(self) -> None:
        self.space(14)
        self.draw.line((MARGIN, self.y, WIDTH - MARGIN, self.y), RULE, 1)
        self.y += 16

    def scores(self, scores: list[float]) -> None:
        """One bar per degradation; those that are present in colour and in words."""
        for name, score in zip(DEGRADATIONS, scores, strict=True):
            self.reserve(26)
            present = score >= PRESENT
            self.draw.text((MARGIN, self.y), NAMES[name], INK if present else FAINT, _font(16))
            left, right = 170, 690
            self.draw.rectangle((left, self.y + 3, right, self.y + 17), (240, 241, 243))
            end = left + round((right - left) * min(max(score, 0.0), 1.0))
            if end > left:
                self.draw.rectangle((left, self.y + 3, end, self.y + 17), PRESENT_COLOUR if present else ABSENT_COLOUR)
            middle = left + round((right - left) * PRESENT)
            self.draw.line((middle, self.y, middle, self.y + 20), FAINT, 1)
            verdict = f"{_percent(score)}, {'detected' if present else 'not detected'}"
            self.draw.text((right + 14, self.y), verdict, INK if present else FAINT, _font(16))
            self.y += 26

    def stack(self, shares: list[float], colours: list[tuple[int, int, int]]) -> None:
        """One bar cut into the experts' shares, with the numbers in it where they fit."""
        self.reserve(34)
        left, full, font = float(MARGIN), WIDTH - 2 * MARGIN, _font(15)
        for share, colour in zip(shares, colours, strict=True):
            right = left + share * full
            if right - left >= 1:
                self.draw.rectangle((round(left), self.y, max(round(left), round(right) - 2), self.y + 28), colour)
                words = _percent(share)
                if font.getlength(words) + 10 < right - left:
                    self.draw.text((round(left) + 7, self.y + 5), words, _readable_on(colour), font)
            left = right
        self.y += 32

    def label(self, left: int, text: str, colour: tuple[int, int, int]) -> None:
        self.draw.rectangle((left, self.y + 4, left + 14, self.y + 18), colour)
        self.draw.text((left + 21, self.y), text, INK, _font(17))

    def note(self, left: int, below: int, text: str) -> None:
        self.draw.text((left, self.y + below), text, FAINT, _font(14))

    def put(self, image: Image.Image, left: int, below: int) -> None:
        self.image.paste(image, (left, self.y + below))


def _readable_on(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = colour
    return PAPER if 0.299 * red + 0.587 * green + 0.114 * blue < 120 else INK


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=size)

"""Images side by side with labels, such as before and after. Pillow only."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

FONT_SIZE, GAP, BAR = 18, 8, 30
"""Size of the text, distance between the images and height of a line of text, in px."""


def to_pil(image: Tensor) -> Image.Image:
    """Convert [1, 3, H, W] in 0..1 to an 8-bit image."""
    values = (image[0].clamp(0, 1).permute(1, 2, 0) * 255.0).round().byte().cpu().numpy()
    return Image.fromarray(values)


def draw_comparison(panels: Sequence[tuple[str, Tensor]], title: str) -> Image.Image:
    """Draw images of one size side by side, each with its label, under a title.

    Args:
        panels: Label and image [1, 3, H, W] in 0..1 of each.
        title: Cut at a word where it is too long.
    """
    font = ImageFont.load_default(FONT_SIZE)
    height, width = panels[0][1].shape[2:]
    sheet = Image.new("RGB", (len(panels) * (width + GAP) + GAP, height + 2 * BAR + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, 6), _shorten(title, sheet.width - 2 * GAP, font), fill="black", font=font)
    for index, (label, image) in enumerate(panels):
        left = GAP + index * (width + GAP)
        draw.text((left, BAR + 4), label, fill="black", font=font)
        sheet.paste(to_pil(image), (left, 2 * BAR))
    return sheet


def stack(rows: Sequence[Image.Image]) -> Image.Image:
    """Put images of one width below each other."""
    page = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        page.paste(row, (0, top))
        top += row.height
    return page


def _shorten(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Cut the text at a word so that it fits into `width` px."""
    if font.getlength(text) <= width:
        return text
    words = text.split()
    while words and font.getlength(" ".join(words) + " ...") > width:
        words.pop()
    return " ".join(words) + " ..."

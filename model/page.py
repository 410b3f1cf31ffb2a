"""A page to draw on that is written from top to bottom and grows as needed. Pillow only, with the font in it."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]

WIDTH = 800
"""Narrow, so that the words can still be read where the page is shown at half its size, as it is on a node."""
MARGIN = 28
INNER = WIDTH - 2 * MARGIN
INK: Colour = (32, 36, 42)
FAINT: Colour = (92, 98, 106)
RULE: Colour = (214, 217, 221)
PAPER: Colour = (255, 255, 255)


class Page:
    """White paper with a pen.

    Attributes:
        y: where the pen is; what is drawn at a place of its own counts from there.
    """

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
        """The page down to the pen."""
        return self.image.crop((0, 0, WIDTH, self.y + MARGIN))

    def space(self, height: int) -> None:
        self.reserve(height)
        self.y += height

    def rule(self) -> None:
        self.space(12)
        self.draw.line((MARGIN, self.y, WIDTH - MARGIN, self.y), RULE, 2)
        self.y += 14

    def heading(self, text: str, size: int) -> None:
        """A line of text that is written twice, one pixel apart: the font has no bold face."""
        self.at(MARGIN, 0, text, size)
        self.at(MARGIN + 1, 0, text, size)
        self.y += size + 12

    def text(self, text: str, size: int, colour: Colour = INK) -> None:
        self.at(MARGIN, 0, text, size, colour)
        self.y += size + 8

    def paragraph(self, text: str, size: int, colour: Colour = INK) -> None:
        """Text broken into lines between words, and within a word that is wider than the page."""
        font, line = _font(size), ""
        for word in text.split():
            if line and font.getlength(f"{line} {word}") > INNER:
                self.text(line, size, colour)
                line = ""
            line = f"{line} {word}" if line else word
            while font.getlength(line) > INNER:
                fitting = next(n for n in range(len(line), 0, -1) if n == 1 or font.getlength(line[:n]) <= INNER)
                self.text(line[:fitting], size, colour)
                line = line[fitting:]
        if line:
            self.text(line, size, colour)

    def at(self, left: int, below: int, text: str, size: int, colour: Colour = INK) -> int:
        """Writes at a place below the pen, which stays; returns where the text ends."""
        self.reserve(below + size + 8)
        font = _font(size)
        self.draw.text((left, self.y + below), text, colour, font)
        return left + round(font.getlength(text))

    def right_at(self, right: int, below: int, text: str, size: int, colour: Colour = INK) -> None:
        """Writes so that the text ends at `right`."""
        self.at(right - round(_font(size).getlength(text)), below, text, size, colour)

    def box(self, left: int, below: int, width: int, height: int, colour: Colour) -> None:
        self.reserve(below + height)
        if width > 0:
            top = self.y + below
            self.draw.rectangle((left, top, left + width - 1, top + height - 1), colour)

    def put(self, image: Image.Image, left: int, below: int) -> None:
        self.reserve(below + image.height)
        self.image.paste(image, (left, self.y + below))


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=size)

"""A page to draw on from top to bottom, which grows as needed. Pillow only, with the font that it contains."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

WIDTH = 800
"""Width of a page in px: small enough that text is legible at half its size, as on a node."""

MARGIN = 28
INNER = WIDTH - 2 * MARGIN
INK: Color = (32, 36, 42)
FAINT: Color = (92, 98, 106)
RULE: Color = (214, 217, 221)
PAPER: Color = (255, 255, 255)


class Page:
    """A white page, and a position on it from which drawing continues downwards.

    Attributes:
        image: The page so far; it may reach further down than what is drawn.
        draw: Draws on `image`.
        y: The position in px from the top; arguments named `below` count from there.
    """

    def __init__(self) -> None:
        self.image = Image.new("RGB", (WIDTH, 400), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.y = MARGIN

    def reserve(self, height: int) -> None:
        """Extend the page so that it has at least `height` px below the position."""
        needed = self.y + height + MARGIN
        if needed > self.image.height:
            taller = Image.new("RGB", (WIDTH, max(needed, self.image.height * 3 // 2)), PAPER)
            taller.paste(self.image)
            self.image, self.draw = taller, ImageDraw.Draw(taller)

    def finish(self) -> Image.Image:
        """Return the page down to the position."""
        return self.image.crop((0, 0, WIDTH, self.y + MARGIN))

    def space(self, height: int) -> None:
        """Leave `height` px empty."""
        self.reserve(height)
        self.y += height

    def rule(self) -> None:
        """Draw a line across the page."""
        self.space(12)
        self.draw.line((MARGIN, self.y, WIDTH - MARGIN, self.y), RULE, 2)
        self.y += 14

    def heading(self, text: str, size: int) -> None:
        """Write one line of bold text: twice, one pixel apart, since the font has no bold face."""
        self.at(MARGIN, 0, text, size)
        self.at(MARGIN + 1, 0, text, size)
        self.y += size + 12

    def text(self, text: str, size: int, color: Color = INK) -> None:
        """Write one line of text."""
        self.at(MARGIN, 0, text, size, color)
        self.y += size + 8

    def paragraph(self, text: str, size: int, color: Color = INK) -> None:
        """Write text, broken into lines between words, and within a word that is wider than the page."""
        font, line = _font(size), ""
        for word in text.split():
            if line and font.getlength(f"{line} {word}") > INNER:
                self.text(line, size, color)
                line = ""
            line = f"{line} {word}" if line else word
            while font.getlength(line) > INNER:
                fitting = next(n for n in range(len(line), 0, -1) if n == 1 or font.getlength(line[:n]) <= INNER)
                self.text(line[:fitting], size, color)
                line = line[fitting:]
        if line:
            self.text(line, size, color)

    def at(self, left: int, below: int, text: str, size: int, color: Color = INK) -> int:
        """Write at `left`, `below` the position, which stays; return where the text ends."""
        self.reserve(below + size + 8)
        font = _font(size)
        self.draw.text((left, self.y + below), text, color, font)
        return left + round(font.getlength(text))

    def right_at(self, right: int, below: int, text: str, size: int, color: Color = INK) -> None:
        """Write text that ends at `right`, `below` the position, which stays."""
        self.at(right - round(_font(size).getlength(text)), below, text, size, color)

    def box(self, left: int, below: int, width: int, height: int, color: Color) -> None:
        """Draw a filled rectangle `below` the position, which stays; nothing if `width` is not positive."""
        self.reserve(below + height)
        if width > 0:
            top = self.y + below
            self.draw.rectangle((left, top, left + width - 1, top + height - 1), color)

    def put(self, image: Image.Image, left: int, below: int) -> None:
        """Paste an image `below` the position, which stays."""
        self.reserve(below + image.height)
        self.image.paste(image, (left, self.y + below))


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=size)

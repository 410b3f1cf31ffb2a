"""The routing of a picture as a chart for people: what the MLLM saw, and which expert worked where. Pillow only.

It is read at two sizes: at about half its size on a node, where headings, bars, names and the large maps have to do,
and at full size, where the small print and the maps of single experts can be read, too.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .guidance import DEGRADATIONS, PRESENT, strength_of
from .page import FAINT, INNER, MARGIN, WIDTH, Colour, Page
from .routing import BlockRouting, Routing, check_frame
from .wording import NAMES, strength_word

EXPERT_COLOURS: tuple[Colour, ...] = (
    (0, 114, 178),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 158, 115),
    (86, 180, 233),
    (230, 159, 0),
)
"""Okabe and Ito's palette (2008), from large details to small ones. The four that come first are told apart best with
every kind of colour blindness."""
SEEN_COLOUR: Colour = (70, 76, 84)
GROUND: Colour = (236, 238, 240)
DETAILS = ((20.0, "shapes"), (9.0, "edges"), (4.5, "texture"), (0.0, "grain"))
"""What details of at least so many px are called; the band without an upper end holds whole areas."""
EVEN = 0.01
"""A map that varies by less than this share is shown evenly, not stretched into noise."""

_MAP = (372, 300)
"""Largest width and height of a block's map in px."""
_SMALL_MAP_HEIGHT = 132


def draw_routing(routing: Routing, frame: int, picture: Tensor | None = None) -> Image.Image:
    """Draws the routing of one picture.

    Args:
        routing: from `restore_picture`.
        frame: which picture of the batch.
        picture: [3, H, W] or [1, 3, H, W] in 0..1, shown in grey behind the maps; None leaves them on plain grey.

    Returns:
        An RGB image, `page.WIDTH` px wide, as high as needed.

    Raises:
        IndexError: the routing has no such picture.
    """
    check_frame(routing, frame)
    backdrop = _backdrop(picture, routing.sizes[frame])
    page = Page()
    scores = routing.scores[frame]
    page.heading("What was seen", 32)
    if scores is None:
        page.paragraph("No guidance was given: the experts were chosen from the picture alone.", 24)
    else:
        _draw_scores(page, scores.tolist())
    if routing.descriptions[frame]:
        page.paragraph(f'"{routing.descriptions[frame]}"', 19, FAINT)
    blocks = routing.frames[frame]
    page.rule()
    page.heading("Who repaired what, and where", 32)
    page.space(4)
    if not blocks:
        page.paragraph("Nothing was restored here: the strength or the mask was zero.", 24)
    for block in blocks:
        _draw_block(page, block, backdrop)
    height, width = routing.sizes[frame]
    if blocks:
        page.paragraph(
            "Each expert repairs details of one size, in pixels from one light stripe to the next. Bars: its share of "
            "the work. Large map: who works more there than elsewhere in the picture; strong colour: much more. Small "
            "maps: one expert each, from its least to its most. No colour: as elsewhere, or kept out by the mask.",
            18,
            FAINT,
        )
    page.text(f"Picture {frame + 1} of {len(routing)}, {width} x {height} px.", 18, FAINT)
    return page.finish()


def detail_name(low: float, high: float) -> str:
    """What a band from `low` to `high` cycles per pixel holds, in a word."""
    if low <= 0:
        return "areas"
    middle = 1 / math.sqrt(low * high)
    return next(name for least, name in DETAILS if middle >= least)


def _draw_scores(page: Page, scores: list[float]) -> None:
    """One bar per degradation that was seen, the strongest first, and the names of the others."""
    named = sorted(zip(DEGRADATIONS, scores, strict=True), key=lambda each: -each[1])
    left, full = MARGIN + 210, 280
    for name, score in named:
        if score < PRESENT:
            continue
        strength = strength_of(score)
        page.at(MARGIN, 0, NAMES[name], 28)
        page.box(left, 7, full, 22, GROUND)
        page.box(left, 7, max(6, round(full * strength)), 22, SEEN_COLOUR)
        page.at(left + full + 18, 0, strength_word(strength), 28)
        page.right_at(WIDTH - MARGIN, 7, f"score {score:.2f}", 18, FAINT)
        page.y += 40
    others = [NAMES[name] for name, score in named if score < PRESENT]
    if len(others) == len(named):
        page.text("Nothing wrong was seen.", 28)
    elif others:
        page.paragraph("Not seen: " + ", ".join(others), 24, FAINT)


def _draw_block(page: Page, block: BlockRouting, backdrop: Image.Image) -> None:
    page.text(block.title(), 24)
    page.space(4)
    experts = len(block.weights)
    colours = [EXPERT_COLOURS[index % len(EXPERT_COLOURS)] for index in range(experts)]
    large = _fitted(backdrop, *_MAP)
    page.put(_who_leads(block, large, colours), MARGIN, 2)
    left = MARGIN + large.width + 26
    pitch = max(60, min(76, large.height // experts))
    ranges, names = block.band_ranges(), block.band_names()
    for index, ((low, high), name, share) in enumerate(zip(ranges, names, block.weights.tolist(), strict=True)):
        below = index * pitch
        page.box(left, below + 5, 22, 22, colours[index])
        after = page.at(left + 32, below, detail_name(low, high), 26)
        page.at(after + 10, below + 7, name.removeprefix("details ").removeprefix("of "), 18, FAINT)
        page.right_at(WIDTH - MARGIN, below, _percent(share), 26)
        page.box(left, below + 34, WIDTH - MARGIN - left, 12, GROUND)
        page.box(left, below + 34, round((WIDTH - MARGIN - left) * share), 12, colours[index])
    page.space(max(large.height, experts * pitch) + 12)
    columns, gap = min(experts, 4), 14
    cell = (INNER - (columns - 1) * gap) // columns
    small = _fitted(backdrop, cell, _SMALL_MAP_HEIGHT)
    for index, (least, most) in enumerate(block.extremes()):
        if index and index % columns == 0:
            page.space(small.height + 32)
        at = MARGIN + index % columns * (cell + gap)
        page.put(_heat(block.map[index], block.seen, small, colours[index]), at, 0)
        page.at(at, small.height + 4, f"{_percent(least)} to {_percent(most)}", 17, FAINT)
    page.space(small.height + 26)
    page.rule()


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


def _fitted(backdrop: Image.Image, width: int, height: int) -> Image.Image:
    """The backdrop as large as it fits: a tall picture is made narrower rather than the chart endless."""
    fit = min(width / backdrop.width, height / backdrop.height)
    return backdrop.resize((max(1, round(backdrop.width * fit)), max(1, round(backdrop.height * fit))))


def _who_leads(block: BlockRouting, backdrop: Image.Image, colours: list[Colour]) -> Image.Image:
    """Each window in the colour of the expert that exceeds its own mean most there, as strongly as it does."""
    excess, leader = (block.map - block.weights.to(block.map)[:, None, None]).max(0)
    excess = torch.where(block.seen, excess, 0)
    most = float(excess.max())
    level = excess / most if most > EVEN else torch.zeros_like(excess)
    opacity = Image.fromarray((level * 235 + 0.5).to(torch.uint8).cpu().numpy())
    paint = Image.fromarray(np.asarray(colours, dtype=np.uint8)[leader.cpu().numpy()])
    nearest = Image.Resampling.NEAREST
    return Image.composite(
        paint.resize(backdrop.size, nearest), backdrop.convert("RGB"), opacity.resize(backdrop.size, nearest)
    )


def _heat(weights: Tensor, seen: Tensor, backdrop: Image.Image, colour: Colour) -> Image.Image:
    """One expert's map [nH, nW] in its colour over the picture, stretched from its least to its most where seen."""
    low, high = float(weights[seen].min()), float(weights[seen].max())
    spread = high - low
    level = (weights - low) / spread if spread > EVEN else torch.full_like(weights, 0.35)
    level = torch.where(seen, level, 0)
    opacity = Image.fromarray((level * 217 + 0.5).to(torch.uint8).cpu().numpy().astype(np.uint8))
    opacity = opacity.resize(backdrop.size, Image.Resampling.NEAREST)
    return Image.composite(Image.new("RGB", backdrop.size, colour), backdrop.convert("RGB"), opacity)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"

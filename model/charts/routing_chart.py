"""The routing of an image as a chart: what the MLLM detected, and which expert worked where. Pillow only.

The chart is shown at two sizes: at about half its size on a node, where headings, bars, names and the large maps have
to be legible, and at full size, where the small print and the maps of single experts are, too.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..inference.routing import BlockRouting, Routing, check_frame
from ..vocabulary import DEGRADATIONS, DISPLAY_NAMES, PRESENT, strength_from_score, strength_word
from .page import FAINT, INNER, MARGIN, WIDTH, Color, Page

EXPERT_COLORS: tuple[Color, ...] = (
    (0, 114, 178),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
    (0, 158, 115),
    (86, 180, 233),
    (230, 159, 0),
)
"""Okabe and Ito's palette (2008), from large details to small ones.

The first four are told apart best with every kind of color blindness.
"""
SEEN_COLOR: Color = (70, 76, 84)
GROUND: Color = (236, 238, 240)
DETAILS = ((20.0, "shapes"), (9.0, "edges"), (4.5, "texture"), (0.0, "grain"))
"""(minimum wavelength in px, name) of details; those of the lowest band are called areas."""
EVEN = 0.01
"""A map that varies by less than this weight is drawn evenly instead of being stretched."""

_MAP = (372, 300)
"""Largest width and height of the map of a block in px."""
_SMALL_MAP_HEIGHT = 132


def draw_routing(routing: Routing, frame: int, image: Tensor | None = None) -> Image.Image:
    """Draw the routing of one image.

    Args:
        routing: Of a `Restoration`.
        frame: Index of the image in the batch.
        image: [C, H, W] or [1, C, H, W] in 0..1, shown in grey behind the maps; None leaves plain grey there.

    Returns:
        An RGB image, `page.WIDTH` px wide and as high as needed.

    Raises:
        IndexError: The routing has no such image.
    """
    check_frame(routing, frame)
    backdrop = _backdrop(image, routing.sizes[frame])
    page = Page()
    scores = routing.scores[frame]
    page.heading("What was seen", 32)
    if scores is None:
        page.paragraph("No guidance was given: the experts were chosen from the image alone.", 24)
    else:
        _draw_scores(page, scores.tolist())
    if routing.descriptions[frame]:
        page.paragraph(f'"{routing.descriptions[frame]}"', 19, FAINT)
    blocks = routing.frames[frame]
    page.rule()
    page.heading("Which expert worked where", 32)
    page.space(4)
    undone = " and ".join(DISPLAY_NAMES[name] for name in routing.undone(frame))
    if undone:
        rest = "" if blocks else " Nothing was left for the experts."
        blur = routing.blur(frame)
        kernel = "" if blur is None else f" The blur: {blur.words()}."
        page.paragraph(f"First the camera branch undid {undone}.{kernel}{rest}", 24)
    elif not blocks:
        page.paragraph("Nothing was restored here: the strength or the mask was zero.", 24)
    for block in blocks:
        _draw_block(page, block, backdrop)
    height, width = routing.sizes[frame]
    if blocks:
        page.paragraph(
            "Each expert repairs details of one size, in pixels from one light stripe to the next. Bars: its share of "
            "the work. Large map: who works more there than elsewhere in the image; strong color: much more. Small "
            "maps: one expert each, from its least to its most. No color: as elsewhere, or kept out by the mask.",
            18,
            FAINT,
        )
    page.text(f"Image {frame + 1} of {len(routing)}, {width} x {height} px.", 18, FAINT)
    return page.finish()


def detail_name(low: float, high: float) -> str:
    """Return a word for the details of a band from `low` to `high` cycles per pixel."""
    if low <= 0:
        return "areas"
    middle = 1 / math.sqrt(low * high)
    return next(name for minimum, name in DETAILS if middle >= minimum)


def _draw_scores(page: Page, scores: list[float]) -> None:
    """Draw one bar per degradation that is present, the strongest first, and list the others."""
    named = sorted(zip(DEGRADATIONS, scores, strict=True), key=lambda each: -each[1])
    left, full = MARGIN + 210, 280
    for name, score in named:
        if score < PRESENT:
            continue
        strength = strength_from_score(score)
        page.at(MARGIN, 0, DISPLAY_NAMES[name], 28)
        page.box(left, 7, full, 22, GROUND)
        page.box(left, 7, max(6, round(full * strength)), 22, SEEN_COLOR)
        page.at(left + full + 18, 0, strength_word(strength), 28)
        page.right_at(WIDTH - MARGIN, 7, f"score {score:.2f}", 18, FAINT)
        page.y += 40
    others = [DISPLAY_NAMES[name] for name, score in named if score < PRESENT]
    if len(others) == len(named):
        page.text("Nothing wrong was seen.", 28)
    elif others:
        page.paragraph("Not seen: " + ", ".join(others), 24, FAINT)


def _draw_block(page: Page, block: BlockRouting, backdrop: Image.Image) -> None:
    """Draw a block: its large map, a bar per expert, and a small map per expert."""
    page.text(block.title(), 24)
    page.space(4)
    experts = len(block.weights)
    colors = [EXPERT_COLORS[index % len(EXPERT_COLORS)] for index in range(experts)]
    large = _fitted(backdrop, *_MAP)
    page.put(_draw_leaders(block, large, colors), MARGIN, 2)
    left = MARGIN + large.width + 26
    pitch = max(60, min(76, large.height // experts))
    ranges, names = block.band_ranges(), block.band_names()
    for index, ((low, high), name, share) in enumerate(zip(ranges, names, block.weights.tolist(), strict=True)):
        below = index * pitch
        page.box(left, below + 5, 22, 22, colors[index])
        after = page.at(left + 32, below, detail_name(low, high), 26)
        page.at(after + 10, below + 7, name.removeprefix("details ").removeprefix("of "), 18, FAINT)
        page.right_at(WIDTH - MARGIN, below, _percent(share), 26)
        page.box(left, below + 34, WIDTH - MARGIN - left, 12, GROUND)
        page.box(left, below + 34, round((WIDTH - MARGIN - left) * share), 12, colors[index])
    page.space(max(large.height, experts * pitch) + 12)
    columns, gap = min(experts, 4), 14
    cell = (INNER - (columns - 1) * gap) // columns
    small = _fitted(backdrop, cell, _SMALL_MAP_HEIGHT)
    for index, (minimum, maximum) in enumerate(block.extremes()):
        if index and index % columns == 0:
            page.space(small.height + 32)
        at = MARGIN + index % columns * (cell + gap)
        page.put(_draw_map(block.map[index], block.seen, small, colors[index]), at, 0)
        page.at(at, small.height + 4, f"{_percent(minimum)} to {_percent(maximum)}", 17, FAINT)
    page.space(small.height + 26)
    page.rule()


def _backdrop(image: Tensor | None, size: tuple[int, int]) -> Image.Image:
    """Return the image in low-contrast light grey, at most 480 px a side; plain grey without an image."""
    height, width = size
    fit = min(1.0, 480 / max(height, width))
    shape = (max(1, round(width * fit)), max(1, round(height * fit)))
    if image is None:
        return Image.new("L", shape, 225)
    image = image.reshape(-1, *image.shape[-2:])[:3].detach().float().cpu().clamp(0, 1)
    pixels = (image.mean(0) * 255).round().to(torch.uint8).numpy()
    return Image.fromarray(pixels).resize(shape).point([110 + round(value * 0.57) for value in range(256)])


def _fitted(backdrop: Image.Image, width: int, height: int) -> Image.Image:
    """Scale the backdrop to the largest size within width and height, which keeps the chart of a tall image short."""
    fit = min(width / backdrop.width, height / backdrop.height)
    return backdrop.resize((max(1, round(backdrop.width * fit)), max(1, round(backdrop.height * fit))))


def leaders(block: BlockRouting) -> tuple[Tensor, Tensor]:
    """Return who works more in each window than elsewhere in the image, and by how much.

    Returns:
        Index of the expert that exceeds its own mean most, [nH, nW] int64, and the excess as a share of the largest in
        the image, [nH, nW] in 0..1: 0 where windows were not visited, and everywhere if they hardly differ.
    """
    excess, leader = (block.map - block.weights.to(block.map)[:, None, None]).max(0)
    excess = torch.where(block.seen, excess, 0)
    maximum = float(excess.max())
    return leader, excess / maximum if maximum > EVEN else torch.zeros_like(excess)


def _draw_leaders(block: BlockRouting, backdrop: Image.Image, colors: list[Color]) -> Image.Image:
    """Draw each window in the color of its leader; opacity is the excess."""
    leader, level = leaders(block)
    opacity = Image.fromarray((level * 235 + 0.5).to(torch.uint8).cpu().numpy())
    paint = Image.fromarray(np.asarray(colors, dtype=np.uint8)[leader.cpu().numpy()])
    nearest = Image.Resampling.NEAREST
    return Image.composite(
        paint.resize(backdrop.size, nearest), backdrop.convert("RGB"), opacity.resize(backdrop.size, nearest)
    )


def _draw_map(weights: Tensor, seen: Tensor, backdrop: Image.Image, color: Color) -> Image.Image:
    """Draw one expert's map [nH, nW] in its color over the image; the range of the visited windows is stretched."""
    low, high = float(weights[seen].min()), float(weights[seen].max())
    spread = high - low
    level = (weights - low) / spread if spread > EVEN else torch.full_like(weights, 0.35)
    level = torch.where(seen, level, 0)
    opacity = Image.fromarray((level * 217 + 0.5).to(torch.uint8).cpu().numpy().astype(np.uint8))
    opacity = opacity.resize(backdrop.size, Image.Resampling.NEAREST)
    return Image.composite(Image.new("RGB", backdrop.size, color), backdrop.convert("RGB"), opacity)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"

"""What the page shows of one photograph: small pictures of it, and facts in words and numbers."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image, features
from torch import Tensor

from ...model.charts.comparison import to_pil
from ...model.charts.routing_chart import EXPERT_COLORS, detail_name, leaders
from ...model.guidance import Guidance
from ...model.images import psnr
from ...model.inference.routing import BlockRouting, Routing
from ...model.vocabulary import DEGRADATIONS, DISPLAY_NAMES, PRESENT, strength_from_score, strength_word

VISIBLE_CHANGE = 2.5 / 255
"""Values of 0..1 that differ by more count as changed: by three 8-bit steps and more."""

FULL_CHANGE = 64 / 255
"""Difference in 0..1 that is drawn white in the picture of changes."""

CHANGE_SIDE = 192
"""Largest side of the picture of changes in px."""

SMALLEST = 96
"""Longer side in px below which the whole photograph is never shrunk."""

MAP_SIDE, MAP_LEVELS = 48, 8
"""Largest side of the map of experts in cells, and how many opacities it has."""

LARGEST_PROFILE = 4096
"""Color profiles of more bytes are left out of the small pictures."""


PAGE_BYTES = 40_000_000
"""What the pictures of all photographs of a page take together: pages much larger open slowly."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of the small pictures, which decide how large the page becomes.

    Attributes:
        whole: Largest side of the whole photograph in px.
        detail: Side of the part that is shown pixel by pixel.
        limit: Bytes of all pictures of one photograph; where they do not fit, the whole becomes smaller still.
    """

    whole: int
    detail: int
    limit: int


def sizes_for(photos: int) -> Sizes:
    """Return the sizes for a page of so many photographs: the more there are, the smaller."""
    limit = min(800_000, PAGE_BYTES // max(1, photos))
    if photos <= 30:
        return Sizes(1280, 400, limit)
    return Sizes(800, 256, limit) if photos <= 200 else Sizes(512, 160, limit)


def pictures_of(
    before: Tensor, after: Tensor, sizes: Sizes, profile: bytes | None = None
) -> tuple[dict[str, str], tuple[int, int]]:
    """Return the small pictures of a photograph as data URIs, and the size (width, height) of the details.

    Args:
        before: [1, 3, H, W] in 0..1.
        after: Of the same shape.
        sizes: How small.
        profile: Color profile of the file.

    Returns:
        `before` and `after`, the whole; `detail_before` and `detail_after`, the part that was changed most, at its own
        resolution; `change`, where how much was changed.
    """
    change = (after - before).abs().mean(1, keepdim=True)
    height, width = change.shape[2:]
    side = (min(height, sizes.detail), min(width, sizes.detail))
    top, left = _most_changed(change, side)
    rows, columns = slice(top, top + side[0]), slice(left, left + side[1])
    small = F.interpolate(change, _fitted(height, width, CHANGE_SIDE), mode="area") / FULL_CHANGE
    kept = profile if profile is not None and len(profile) <= LARGEST_PROFILE else None
    room = sizes.limit * 3 // 4  # base64 takes a third more
    pair = [to_pil(image[:, :, rows, columns]) for image in (before, after)]
    details = _fitting_quality(pair, (90, 80, 65, 50), room * 3 // 10, kept)
    whole = _fitting_size((before, after), sizes.whole, room * 6 // 10, kept)
    change_map = _photo(to_pil(small.expand(-1, 3, -1, -1)), 60, None)
    names = ("before", "after", "detail_before", "detail_after", "change")
    uris = {name: _uri(data) for name, data in zip(names, (*whole, *details, change_map), strict=True)}
    return uris, (side[1], side[0])


def _fitting_quality(
    images: Sequence[Image.Image], qualities: Sequence[int], limit: int, profile: bytes | None
) -> list[bytes]:
    """Return the encoded images in the first quality in which they take at most `limit` bytes, or else in the last."""
    for quality in qualities:
        encoded = [_photo(image, quality, profile) for image in images]
        if sum(map(len, encoded)) <= limit:
            break
    return encoded


def _fitting_size(images: Sequence[Tensor], side: int, limit: int, profile: bytes | None) -> list[bytes]:
    """Return encoded images, both of one size: the largest of a few that takes at most `limit` bytes."""
    side = min(side, max(images[0].shape[2:]))
    while True:
        encoded = [_photo(to_pil(_shrunk(image, side)), 80, profile) for image in images]
        size = sum(map(len, encoded))
        if size <= limit or side <= SMALLEST:
            return encoded
        side = max(SMALLEST, int(side * max(0.5, 0.95 * math.sqrt(limit / size))))


def bars_of(scores: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return one bar per degradation, the highest score first: its name, its score in 0..1, and the score in words."""
    known = [(name, score) for name, score in scores.items() if name in DEGRADATIONS]
    return [_bar(name, score) for name, score in sorted(known, key=lambda each: -each[1])]


def _bar(degradation: str, score: float) -> dict[str, Any]:
    """Return the bar of one degradation."""
    present = score >= PRESENT
    return {
        "name": DISPLAY_NAMES[degradation],
        "score": round(score, 3),
        "word": strength_word(strength_from_score(score)) if present else "not seen",
        "present": present,
    }


def orders_of(guidance: Guidance) -> str:
    """Return in words what was asked to be removed or kept; "" where nothing was asked."""
    if guidance.removal is None:
        return ""
    amounts = dict(zip(DEGRADATIONS, guidance.removal[0].tolist(), strict=True))
    forced = [False] * len(DEGRADATIONS) if guidance.forced is None else guidance.forced[0].tolist()
    told = dict(zip(DEGRADATIONS, forced, strict=True))
    kept = [DISPLAY_NAMES[name] for name, amount in amounts.items() if amount < 0.005]
    shares = [
        DISPLAY_NAMES[name] + (f" ({amount * 100:.0f} %)" if amount < 0.995 else "")
        for name, amount in amounts.items()
        if amount >= 0.005 and (told[name] or amount < 0.995)
    ]
    parts = [f"{word} {', '.join(names)}" for word, names in (("remove", shares), ("keep", kept)) if names]
    return "; ".join(parts)


def facts_of(before: Tensor, after: Tensor, reference: Tensor | None = None) -> list[tuple[str, str]]:
    """Return what was changed, as names and values in words.

    Args:
        before: [1, 3, H, W] in 0..1.
        after: Of the same shape.
        reference: The original without any degradation, if it is known.
    """
    change = (after - before).abs()
    facts = [
        ("Mean change", f"{float(change.mean()) * 255:.1f} of 255"),
        ("Pixels changed", f"{float((change.amax(1) > VISIBLE_CHANGE).float().mean()) * 100:.0f} %"),
        ("Brightness", f"{float(before.mean()):.2f} to {float(after.mean()):.2f}"),
        ("Contrast", f"{float(before.std()):.2f} to {float(after.std()):.2f}"),
        ("PSNR to the input", f"{psnr(after, before):.1f} dB"),
    ]
    if reference is not None:
        gains = (psnr(before, reference), psnr(after, reference))
        facts.insert(0, ("PSNR to the original", f"{gains[0]:.1f} to {gains[1]:.1f} dB ({gains[1] - gains[0]:+.1f})"))
    return facts


def routing_of(routing: Routing) -> list[dict[str, Any]]:
    """Return the chart of each block: the shares of its experts, and a map of who works more where."""
    height, width = routing.sizes[0]
    return [_block_chart(block, height, width) for block in routing.frames[0]]


def _block_chart(block: BlockRouting, height: int, width: int) -> dict[str, Any]:
    shares, ranges, names = block.weights.tolist(), block.band_ranges(), block.band_names()
    rows, columns = block.seen.shape
    window = block.info.window_px
    return {
        "title": block.title(),
        "experts": [
            {"detail": detail_name(low, high), "band": name, "share": round(share, 4), "color": _css(color)}
            for share, (low, high), name, color in zip(shares, ranges, names, _colors(len(shares)), strict=True)
        ],
        "map": _map_uri(block),
        # windows reach beyond the right and the lower border of most images
        "map_size": [round(columns * window / width, 4), round(rows * window / height, 4)],
    }


def _map_uri(block: BlockRouting) -> str:
    """Return the map as a picture of one pixel per window, or fewer, for the page to lay over the photograph."""
    leader, level = leaders(block)
    cells = torch.stack([leader.float(), level.float()]).cpu()[None]
    rows, columns = cells.shape[2:]
    who, level = F.interpolate(cells, _fitted(rows, columns, MAP_SIDE), mode="nearest-exact")[0]
    index = who * MAP_LEVELS + (level * (MAP_LEVELS - 1)).round()
    image = Image.fromarray(index.to(torch.uint8).numpy(), "P")
    colors = [color for color in _colors(len(block.weights)) for _ in range(MAP_LEVELS)]
    image.putpalette([value for color in colors for value in color])
    opacities = [round(190 * step / (MAP_LEVELS - 1)) for step in range(MAP_LEVELS)]
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True, transparency=bytes(opacities * len(block.weights)))
    return _uri(buffer.getvalue())


def _colors(experts: int) -> Sequence[tuple[int, int, int]]:
    return [EXPERT_COLORS[index % len(EXPERT_COLORS)] for index in range(experts)]


def _css(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _most_changed(change: Tensor, side: tuple[int, int]) -> tuple[int, int]:
    """Return (top, left) of the part [h, w] of [1, 1, H, W] that was changed most, among parts that overlap by half."""
    step = (max(1, side[0] // 4), max(1, side[1] // 4))
    sums = F.avg_pool2d(change, side, step)[0, 0]
    row, column = divmod(int(sums.argmax()), sums.shape[1])
    return row * step[0], column * step[1]


def _fitted(first: int, second: int, side: int) -> tuple[int, int]:
    """Return both lengths, scaled so that the longer is at most `side`."""
    scale = min(1.0, side / max(first, second))
    return max(1, round(first * scale)), max(1, round(second * scale))


def _shrunk(image: Tensor, side: int) -> Tensor:
    """Return an image [1, 3, H, W] whose longer side is at most `side`, each pixel the mean of those it replaces."""
    height, width = image.shape[2:]
    if max(height, width) <= side:
        return image
    return F.interpolate(image, _fitted(height, width, side), mode="bilinear", antialias=True, align_corners=False)


def _photo(image: Image.Image, quality: int, profile: bytes | None) -> bytes:
    options: Mapping[str, Any] = {"icc_profile": profile} if profile else {}
    kind = "WEBP" if features.check("webp") else "JPEG"  # a Pillow of one's own build may lack WebP
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=quality, **options)
    return buffer.getvalue()


def _uri(data: bytes) -> str:
    """Return encoded pixels as an address that contains them."""
    kind = "png" if data[1:4] == b"PNG" else "webp" if data[8:12] == b"WEBP" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"

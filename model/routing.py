"""Which frequency expert worked where: the routing of restored pictures, for charts and reports."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .bands import HIGHEST
from .guidance import DEGRADATIONS
from .tiling import Tile, round_up

MAP_SIDE = 16
"""Largest side of the coarse maps in a report."""

BLOCK_TITLES = {2: "Fine block, works at 1/2 size", 4: "Coarse block, works at 1/4 size"}


@dataclass(frozen=True)
class BlockRouting:
    """The routing of one picture in one MoFE block.

    Attributes:
        name: of the block.
        weights: [K] fp32, mean weight per expert over the windows that were seen; the sum is 1.
        map: [K, nH, nW] fp32, the weights per window; the sum over K is 1 where the window was seen, and 0 elsewhere.
        seen: [nH, nW] bool, the windows the network worked in: all of them, unless a mask kept it from whole tiles.
        edges: K - 1 inner band edges in cycles per picture pixel, rising; expert 0 has the lowest frequencies.
        scale: picture pixels per feature pixel.
        window_px: side of a window in picture pixels.
    """

    name: str
    weights: Tensor
    map: Tensor
    seen: Tensor
    edges: list[float]
    scale: int
    window_px: int

    def title(self) -> str:
        """What the block is, for people."""
        return BLOCK_TITLES.get(self.scale, f"Block that works at 1/{self.scale} size")

    def band_ranges(self) -> list[tuple[float, float]]:
        """(from, to) of each band in cycles per picture pixel, up to the diagonal waves that the block can hold."""
        highest = max([HIGHEST / self.scale, *self.edges])
        return list(zip([0.0, *self.edges], [*self.edges, highest], strict=True))

    def band_names(self) -> list[str]:
        """What each expert's band holds, in words, from low to high frequency."""
        return [wavelengths(low, high) for low, high in self.band_ranges()]

    def extremes(self) -> list[tuple[float, float]]:
        """(least, most) weight of each expert over the windows that were seen."""
        return [(float(seen.min()), float(seen.max())) for seen in self.map[:, self.seen]]

    def coarse_map(self, side: int = MAP_SIDE) -> tuple[Tensor, Tensor]:
        """The map averaged down to at most side x side cells, without the windows that were not seen.

        Returns:
            [K, rows, columns] fp32, and [rows, columns] bool: which cells hold a window that was seen.
        """
        rows, columns = self.seen.shape
        size = (min(side, rows), min(side, columns))
        share = F.adaptive_avg_pool2d(self.seen[None].float(), size)[0]
        sums = F.adaptive_avg_pool2d(self.map, size)  # windows that were not seen are 0
        return sums / share.clamp_min(torch.finfo(share.dtype).tiny), share > 0


@dataclass(frozen=True)
class Routing:
    """The routing of a batch of pictures.

    Attributes:
        frames: per picture its blocks, coarsest first; empty where the network had nothing to do.
        sizes: (height, width) per picture in px.
        descriptions: what the MLLM said per picture, or empty.
        scores: per picture the MLLM's scores in the order of `DEGRADATIONS`, or None without guidance.
    """

    frames: tuple[tuple[BlockRouting, ...], ...]
    sizes: tuple[tuple[int, int], ...]
    descriptions: tuple[str, ...]
    scores: tuple[Tensor | None, ...]

    def __len__(self) -> int:
        return len(self.frames)

    def to_json(self, frame: int) -> str:
        """The routing of one picture as indented JSON; null stands where the network did not work.

        Raises:
            IndexError: there is no such picture.
        """
        check_frame(self, frame)
        scores = self.scores[frame]
        report = {
            "height": self.sizes[frame][0],
            "width": self.sizes[frame][1],
            "description": self.descriptions[frame],
            "scores": None if scores is None else dict(zip(DEGRADATIONS, _rounded(scores), strict=True)),
            "blocks": [_block_report(block) for block in self.frames[frame]],
        }
        return _rows_on_one_line(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))


def check_frame(routing: Routing, frame: int) -> None:
    """Raises IndexError, in words for the user, when the routing has no such picture."""
    if not 0 <= frame < len(routing):
        raise IndexError(f"The routing holds {len(routing)} pictures (0 to {len(routing) - 1}), not picture {frame}.")


def wavelengths(low: float, high: float) -> str:
    """A band from `low` to `high` cycles per pixel by the size of its details: the length of a wave in pixels."""
    if low <= 0:
        return f"details above {_pixels(1 / high)} px"
    return f"details of {_pixels(1 / high)} to {_pixels(1 / low)} px"


def _pixels(length: float) -> str:
    """Two digits are enough to tell bands apart."""
    return f"{length:.{max(0, 1 - math.floor(math.log10(length)))}f}"


def _block_report(block: BlockRouting) -> dict[str, object]:
    cells, seen = block.coarse_map()
    rows, columns = seen.shape
    experts = zip(
        block.band_names(), block.band_ranges(), _rounded(block.weights), block.extremes(), cells, strict=True
    )
    return {
        "name": block.name,
        "window_px": block.window_px,
        "map_rows": rows,
        "map_columns": columns,
        "experts": [
            {
                "band": name,
                "from_cycles_per_px": round(low, 4),
                "to_cycles_per_px": round(high, 4),
                "mean_weight": weight,
                "least": round(least, 4),
                "most": round(most, 4),
                "map": [
                    [round(value, 3) if known else None for value, known in zip(*line, strict=True)]
                    for line in zip(cell.tolist(), seen.tolist(), strict=True)
                ],
            }
            for name, (low, high), weight, (least, most), cell in experts
        ],
    }


def _rows_on_one_line(text: str) -> str:
    """Indented JSON with each list of numbers on one line. Strings are safe: in JSON they hold no line break."""
    return re.sub(r"\[\n[^\[\]{}\"]+\]", lambda found: re.sub(r"\n\s*", "", found[0]).replace(",", ", "), text)


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


class RoutingCanvas:
    """The window map of one block over a whole picture, filled tile by tile with the windows of the tiles' cores."""

    def __init__(
        self, name: str, experts: int, edges: list[float], scale: int, window_px: int, height: int, width: int
    ) -> None:
        self.name = name
        self.edges = edges
        self.scale = scale
        self.window_px = window_px
        self.rows, self.columns = round_up(height, window_px) // window_px, round_up(width, window_px) // window_px
        self.map = torch.zeros(experts, self.rows, self.columns)
        self.seen = torch.zeros(self.rows, self.columns, dtype=torch.bool)

    def put(self, tile: Tile, weights: Tensor) -> None:
        """Takes over the core's windows from weights [1, K, nH, nW] of the tile's read area."""
        core, read, size = tile.core, tile.read, self.window_px
        top, left = core.top // size, core.left // size
        bottom, right = min(self.rows, core.bottom // size), min(self.columns, core.right // size)
        if top >= bottom or left >= right:
            return  # nothing but padding
        up, back = read.top // size, read.left // size
        self.map[:, top:bottom, left:right] = weights[0, :, top - up : bottom - up, left - back : right - back].float()
        self.seen[top:bottom, left:right] = True

    def finish(self) -> BlockRouting:
        """The routing of the picture, when every tile with work has been put; there is at least one."""
        weights = self.map[:, self.seen].mean(1)
        return BlockRouting(self.name, weights, self.map, self.seen, self.edges, self.scale, self.window_px)

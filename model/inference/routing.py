"""Which frequency expert worked where: the routing of restored images, for charts and reports."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..blur_kernel import Blur
from ..images import ceil_div
from ..restorer.bands import HIGHEST
from ..restorer.network import MofeBlock
from ..vocabulary import DEGRADATIONS
from .tiling import Tile

MAP_SIDE = 16
"""Largest side of the coarse maps in a report."""

BLOCK_TITLES = {2: "Fine block, works at 1/2 size", 4: "Coarse block, works at 1/4 size"}
"""Titles in charts by the block's image pixels per feature pixel."""


@dataclass(frozen=True)
class BlockRouting:
    """The routing of one image in one MoFE block.

    Attributes:
        info: Name, experts, band edges and windows of the block.
        weights: [K] fp32, mean weight per expert over the visited windows; the sum is 1.
        map: [K, nH, nW] fp32, the weights per window; the sum over K is 1 in visited windows, and 0 elsewhere.
        seen: [nH, nW] bool, the visited windows: all of them, unless a mask excluded whole tiles.
    """

    info: MofeBlock
    weights: Tensor
    map: Tensor
    seen: Tensor

    def title(self) -> str:
        """Return the title of the block in charts."""
        scale = self.info.scale
        return BLOCK_TITLES.get(scale, f"Block that works at 1/{scale} size")

    def band_ranges(self) -> list[tuple[float, float]]:
        """Return (from, to) of each band in cycles per image pixel, up to the block's highest diagonal frequency."""
        edges = self.info.edges
        highest = max([HIGHEST / self.info.scale, *edges])
        return list(zip([0.0, *edges], [*edges, highest], strict=True))

    def band_names(self) -> list[str]:
        """Return what each expert's band contains, in words, from low to high frequency."""
        return [wavelengths(low, high) for low, high in self.band_ranges()]

    def extremes(self) -> list[tuple[float, float]]:
        """Return (minimum, maximum) weight of each expert over the visited windows."""
        return [(float(seen.min()), float(seen.max())) for seen in self.map[:, self.seen]]

    def coarse_map(self, side: int = MAP_SIDE) -> tuple[Tensor, Tensor]:
        """Return the map averaged down to at most side x side cells; windows that were not visited do not count.

        Args:
            side: Largest number of rows and of columns.

        Returns:
            [K, rows, columns] fp32, and [rows, columns] bool: which cells contain a visited window.
        """
        rows, columns = self.seen.shape
        size = (min(side, rows), min(side, columns))
        share = F.adaptive_avg_pool2d(self.seen[None].float(), size)[0]
        sums = F.adaptive_avg_pool2d(self.map, size)  # windows that were not visited are 0
        return sums / share.clamp_min(torch.finfo(share.dtype).tiny), share > 0


@dataclass(frozen=True)
class Routing:
    """The routing of a batch of images.

    Example:
        >>> block = pipe(image, guidance).routing.frames[0][0]
        >>> block.title()
        'Coarse block, works at 1/4 size'
        >>> dict(zip(block.band_names(), block.weights.tolist()))
        {'details above 47 px': 0.24, 'details of 16 to 47 px': 0.30, ...}

    Attributes:
        frames: The blocks of each image, coarsest first; empty where the network had nothing to do.
        sizes: (height, width) of each image in px.
        descriptions: The MLLM's description of each image; empty where there is none.
        scores: The MLLM's scores [7] of each image in the order of `DEGRADATIONS`; None without guidance.
        camera_faults: Names of what the camera branch undid in each image, before the experts worked; no entry where
            there is no such branch.
        blurs: The kernel that was found in each image whose blur was undone, else None; no entry where there is no
            such branch.
    """

    frames: tuple[tuple[BlockRouting, ...], ...]
    sizes: tuple[tuple[int, int], ...]
    descriptions: tuple[str, ...]
    scores: tuple[Tensor | None, ...]
    camera_faults: tuple[tuple[str, ...], ...] = ()
    blurs: tuple[Blur | None, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    def undone(self, frame: int) -> tuple[str, ...]:
        """Return the names of what the camera branch undid in one image."""
        return self.camera_faults[frame] if self.camera_faults else ()

    def blur(self, frame: int) -> Blur | None:
        """Return the kernel that was found in one image whose blur was undone."""
        return self.blurs[frame] if self.blurs else None

    def to_json(self, frame: int) -> str:
        """Return the routing of one image as indented JSON; null stands where the network did not work.

        Args:
            frame: Index of the image.

        Raises:
            IndexError: There is no such image.
        """
        check_frame(self, frame)
        scores, blur = self.scores[frame], self.blur(frame)
        report = {
            "height": self.sizes[frame][0],
            "width": self.sizes[frame][1],
            "description": self.descriptions[frame],
            "scores": None if scores is None else dict(zip(DEGRADATIONS, _rounded(scores), strict=True)),
            "camera_branch": list(self.undone(frame)),
            "blur": None if blur is None else {name: round(size, 2) for name, size in asdict(blur).items()},
            "blocks": [_block_report(block) for block in self.frames[frame]],
        }
        return _rows_on_one_line(json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False))


def check_frame(routing: Routing, frame: int) -> None:
    """Check that the routing has an image of this index.

    Raises:
        IndexError: There is no such image; the message is for the user.
    """
    if not 0 <= frame < len(routing):
        raise IndexError(f"The routing holds {len(routing)} images (0 to {len(routing) - 1}), not image {frame}.")


def wavelengths(low: float, high: float) -> str:
    """Describe a band from `low` to `high` cycles per pixel by its wavelengths in pixels, the size of its details."""
    if low <= 0:
        return f"details above {_pixels(1 / high)} px"
    return f"details of {_pixels(1 / high)} to {_pixels(1 / low)} px"


def _pixels(length: float) -> str:
    """Format a length with two digits, which are enough to tell bands apart."""
    return f"{length:.{max(0, 1 - math.floor(math.log10(length)))}f}"


def _block_report(block: BlockRouting) -> dict[str, object]:
    """Return what `Routing.to_json` tells about a block."""
    cells, seen = block.coarse_map()
    rows, columns = seen.shape
    experts = zip(
        block.band_names(), block.band_ranges(), _rounded(block.weights), block.extremes(), cells, strict=True
    )
    return {
        "name": block.info.name,
        "window_px": block.info.window_px,
        "map_rows": rows,
        "map_columns": columns,
        "experts": [
            {
                "band": name,
                "from_cycles_per_px": round(low, 4),
                "to_cycles_per_px": round(high, 4),
                "mean_weight": weight,
                "least": round(minimum, 4),
                "most": round(maximum, 4),
                "map": [
                    [round(value, 3) if known else None for value, known in zip(*line, strict=True)]
                    for line in zip(cell.tolist(), seen.tolist(), strict=True)
                ],
            }
            for name, (low, high), weight, (minimum, maximum), cell in experts
        ],
    }


def _rows_on_one_line(text: str) -> str:
    """Put each list of numbers in indented JSON on one line; strings are safe, since JSON escapes their line breaks."""
    return re.sub(r"\[\n[^\[\]{}\"]+\]", lambda found: re.sub(r"\n\s*", "", found[0]).replace(",", ", "), text)


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


class RoutingCanvas:
    """The map of one block over a whole image, filled tile by tile with the windows of the tiles' cores."""

    def __init__(self, block: MofeBlock, height: int, width: int) -> None:
        self.block = block
        self.rows, self.columns = ceil_div(height, block.window_px), ceil_div(width, block.window_px)
        self.map = torch.zeros(block.experts, self.rows, self.columns)
        self.seen = torch.zeros(self.rows, self.columns, dtype=torch.bool)

    def put(self, tile: Tile, weights: Tensor) -> None:
        """Copy the windows of a tile's core from the weights [1, K, nH, nW] of the area that the tile reads."""
        core, read, size = tile.core, tile.read, self.block.window_px
        top, left = core.top // size, core.left // size
        bottom, right = min(self.rows, core.bottom // size), min(self.columns, core.right // size)
        if top >= bottom or left >= right:
            return  # the core is padding only
        up, back = read.top // size, read.left // size
        self.map[:, top:bottom, left:right] = weights[0, :, top - up : bottom - up, left - back : right - back].float()
        self.seen[top:bottom, left:right] = True

    def finish(self) -> BlockRouting:
        """Return the routing of the image, after every tile with work; there must be at least one."""
        weights = self.map[:, self.seen].mean(1)
        return BlockRouting(self.block, weights, self.map, self.seen)

"""Which frequency expert worked where: the routing of restored pictures, for charts and reports."""

from __future__ import annotations

import json
from dataclasses import dataclass

import torch
from torch import Tensor

from .guidance import DEGRADATIONS
from .tiling import Tile, round_up

BAND_NAMES = {
    2: ("broad shapes", "fine detail"),
    3: ("broad shapes", "texture", "fine detail"),
    4: ("broad shapes", "structure", "texture", "fine detail"),
}


@dataclass(frozen=True)
class BlockRouting:
    """The routing of one picture in one MoFE block.

    Attributes:
        name: of the block.
        weights: [K] fp32, mean weight per expert; the sum is 1.
        map: [K, nH, nW] fp32, the weights per window; the sum over K is 1.
        edges: K - 1 inner band edges in cycles per picture pixel, rising; expert 0 has the lowest frequencies.
        window_px: side of a window in picture pixels.
    """

    name: str
    weights: Tensor
    map: Tensor
    edges: list[float]
    window_px: int

    def band_names(self) -> list[str]:
        """What each expert's band holds, in words, from low to high frequency."""
        count = self.map.shape[0]
        return list(BAND_NAMES.get(count, tuple(f"band {index + 1} of {count}" for index in range(count))))

    def band_ranges(self) -> list[tuple[float, float | None]]:
        """(from, to) of each band in cycles per picture pixel; None is open towards high frequencies."""
        return list(zip([0.0, *self.edges], [*self.edges, None], strict=True))


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
        """The routing of one picture as indented JSON.

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
            "blocks": [
                {
                    "name": block.name,
                    "window_px": block.window_px,
                    "experts": [
                        {
                            "band": name,
                            "from_cycles_per_px": round(low, 4),
                            "to_cycles_per_px": None if high is None else round(high, 4),
                            "mean_weight": weight,
                            "least": least,
                            "most": most,
                        }
                        for name, (low, high), weight, least, most in zip(
                            block.band_names(),
                            block.band_ranges(),
                            _rounded(block.weights),
                            _rounded(block.map.amin((1, 2))),
                            _rounded(block.map.amax((1, 2))),
                            strict=True,
                        )
                    ],
                }
                for block in self.frames[frame]
            ],
        }
        return json.dumps(report, indent=2, ensure_ascii=False)


def check_frame(routing: Routing, frame: int) -> None:
    """Raises IndexError, in words for the user, when the routing has no such picture."""
    if not 0 <= frame < len(routing):
        raise IndexError(f"The routing holds {len(routing)} pictures (0 to {len(routing) - 1}), not picture {frame}.")


def _rounded(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


class RoutingCanvas:
    """The window map of one block over a whole picture, filled tile by tile with the windows of the tiles' cores."""

    def __init__(self, name: str, experts: int, edges: list[float], window_px: int, height: int, width: int) -> None:
        self.name = name
        self.edges = edges
        self.window_px = window_px
        self.rows, self.columns = round_up(height, window_px) // window_px, round_up(width, window_px) // window_px
        self.map = torch.zeros(experts, self.rows, self.columns)

    def put(self, tile: Tile, weights: Tensor) -> None:
        """Takes over the core's windows from weights [1, K, nH, nW] of the tile's read area."""
        core, read, size = tile.core, tile.read, self.window_px
        top, left = core.top // size, core.left // size
        bottom, right = min(self.rows, core.bottom // size), min(self.columns, core.right // size)
        if top >= bottom or left >= right:
            return  # nothing but padding
        up, back = read.top // size, read.left // size
        self.map[:, top:bottom, left:right] = weights[0, :, top - up : bottom - up, left - back : right - back].float()

    def finish(self) -> BlockRouting:
        """The routing of the whole picture, when every tile has been put."""
        return BlockRouting(self.name, self.map.mean((1, 2)), self.map, self.edges, self.window_px)

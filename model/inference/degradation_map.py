"""Where and how strongly a degradation was repaired: what its removal alone changes in an image (our design).

The restorer is run with this degradation to be removed and nothing else. What it changes is averaged over cells of the
size of the finest window for which the router decides: what lies closer together is not told apart.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..guidance import Guidance
from ..images import ceil_div
from ..restorer.network import Restorer
from ..vocabulary import DEGRADATIONS
from .out_of_memory import is_out_of_memory
from .plan import plan_restoration

UNCHANGED = 0.5 / 255
"""Mean change of a cell, in 0..1 of the range of colors, up to which the repair is rounding and the map is 0."""

FULL_SHARE = 0.95
"""Quantile of the changes of an image's cells that stands for the degradation at its full strength."""


class DegradationMapper:
    """Maps of one degradation in a batch of images.

    Args:
        network: In evaluation mode with fp32 weights, on the device to work on.
        image: [B, C, H, W] in 0..1, on any device.
        guidance: For B images or for one.
        name: Of the degradation, one of `DEGRADATIONS`.
        precision: fp32, or bf16 or fp16 under autocast.

    Raises:
        RestorationError: An image that cannot be restored.
        GuidanceError: Guidance that does not fit the images or the network, or an unknown name.
    """

    def __init__(
        self,
        network: Restorer,
        image: Tensor,
        guidance: Guidance,
        name: str,
        precision: torch.dtype = torch.float32,
    ) -> None:
        alone = guidance.with_removal({name: 1.0})  # which refuses a name that is none
        alone = alone.with_removal({other: 0.0 for other in DEGRADATIONS if other != name})
        self.plan = plan_restoration(network, image, alone, precision=precision)
        self.cell_px = min((block.window_px for block in network.mofe_blocks()), default=network.multiple)
        scores = guidance.scores[:, DEGRADATIONS.index(name)].float().cpu()
        amounts = alone.removal
        assert amounts is not None
        kept = amounts[:, DEGRADATIONS.index(name)].cpu() <= 0
        self._scores = scores.masked_fill(kept, 0.0).expand(len(image))

    @property
    def memory_bytes(self) -> int:
        """Estimate of the memory that a run takes beside the network's weights and the maps."""
        return self.plan.memory_bytes

    def run(
        self,
        *,
        on_tile: Callable[[int, int], None] | None = None,
        is_oom: Callable[[BaseException], bool] = is_out_of_memory,
    ) -> Tensor:
        """Return the maps of all images.

        Args:
            on_tile: Called after every tile with the number of tiles done and in total.
            is_oom: Recognizes out-of-memory errors, which halve the tile.

        Returns:
            [B, H, W] fp32 in 0..1 on the CPU: the degradation's score where its removal changes most, less where it
            changes less, 0 where it changes nothing. Interpolated between the centers of cells of `cell_px`.
        """
        frames, _, height, width = self.plan.image.shape
        maps = torch.zeros(frames, height, width)
        for index in range(frames):
            counted = None if on_tile is None else _batch_progress(on_tile, index, frames)
            if self._scores[index] > 0 and self.plan.has_work_in(index):
                restored = self._restore(index, is_oom, counted)
                maps[index] = self._map(restored - self.plan.image[index].cpu().float(), float(self._scores[index]))
            elif counted is not None:
                counted(1, 1)
        return maps

    def _restore(
        self, index: int, is_oom: Callable[[BaseException], bool], on_tile: Callable[[int, int], None] | None
    ) -> Tensor:
        plan, frame = self.plan, self.plan.image[index : index + 1]
        one = plan_restoration(
            plan.network, frame, plan.guidance_of(index), tile=plan.tile_side, precision=plan.precision
        )
        into = torch.empty(frame.shape, dtype=torch.float32)
        return one.run(into=into, on_tile=on_tile, is_oom=is_oom).image[0]

    def _map(self, changed: Tensor, score: float) -> Tensor:
        """Return the map [H, W] of one image from what its restoration changes, [C, H, W]."""
        height, width = changed.shape[-2:]
        change = cell_means(changed[:3].abs().mean(0), self.cell_px)
        full = torch.quantile(change.flatten(), FULL_SHARE) if change.numel() > 1 else change.max()
        if float(full) <= UNCHANGED:
            return torch.zeros(height, width)
        share = (change / full).clamp(max=1).masked_fill(change <= UNCHANGED, 0.0)
        size = (change.shape[0] * self.cell_px, change.shape[1] * self.cell_px)
        smooth = F.interpolate(share[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        return score * smooth[:height, :width]


def _batch_progress(on_tile: Callable[[int, int], None], index: int, frames: int) -> Callable[[int, int], None]:
    """Return a callback for the tiles of one image that reports to the one of the batch; images count alike."""
    return lambda done, total: on_tile(index * total + done, frames * total)


def cell_means(values: Tensor, side: int) -> Tensor:
    """Return the means of values [H, W] over cells of `side` x `side`, those at the border being what is left there."""
    rows, columns = (ceil_div(length, side) for length in values.shape)
    padding = (0, columns * side - values.shape[1], 0, rows * side - values.shape[0])
    sums = F.avg_pool2d(F.pad(values, padding)[None, None], side)[0, 0]
    shares = F.avg_pool2d(F.pad(torch.ones_like(values), padding)[None, None], side)[0, 0]
    return sums / shares

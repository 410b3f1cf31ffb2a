"""Steadiness: what a restoration amplifies, such as the noise of a dark scene, flickers no more than in the original.

Where a restored frame changes more from frame to frame than the original does, it is averaged over time, with a weight
that makes the changes as small as the original's and fades out where something moves.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .flicker import BLOCK, STATIC, brightness

MEMORY = 0.8
"""Weight of the past in the running means of changes, per frame."""

QUIET = 0.25
"""Share of the static blocks whose changes are taken for noise: others may hold something that moves."""

REACH = 3.0
"""Changes of so many times the noise, in the mean of 3 x 3 px, are movement: noise itself differs between areas."""

AIM = 1.25
"""Power of the ratio of changes that is aimed at: the noise of coded video is less random than assumed."""


class Steadier:
    """Steadies the restored frames of a video, one after the other.

    Frames that the restoration leaves alone, and pixels that it does not change, stay as they are bit by bit.
    """

    def __init__(self) -> None:
        self._state: dict[str, Tensor] = {}

    def cut(self) -> None:
        """Forget the past: a new scene begins."""
        self._state = {}

    def state(self) -> dict[str, Tensor]:
        """Return what `resume` needs to go on after the last frame."""
        return dict(self._state)

    def resume(self, state: dict[str, Tensor]) -> None:
        """Go on where another steadier was."""
        self._state = dict(state)

    def next(self, before: Tensor, after: Tensor) -> Tensor:
        """Return a restored frame, steadied.

        Args:
            before: The original frame, [1, 3, H, W] in 0..1.
            after: The restored one.
        """
        past, now = self._state, {"before": brightness(before), "after": brightness(after)}
        result = after
        if past and past["before"].shape == now["before"].shape:
            changes = [now[name] - past[name] for name in ("before", "after")]
            means = [F.avg_pool2d(change.abs(), BLOCK, ceil_mode=True) for change in changes]
            if "means" in past:
                means = [MEMORY * old + (1 - MEMORY) * new for old, new in zip(past["means"], means, strict=True)]
            now["means"] = torch.stack(means)
            noise = _noise(changes[0])
            now["noise"] = torch.minimum(noise, past.get("noise", noise))
            result = _averaged(before, after, past["result"], now["means"], now["noise"])
        self._state = {**now, "result": result.float().cpu()}
        return result


def _noise(change: Tensor) -> Tensor:
    """Return the mean change of what is static in an original, from its change [1, 1, H, W]; infinite without any."""
    mean, size = (F.avg_pool2d(each, BLOCK, ceil_mode=True) for each in (change, change.abs()))
    static = size[mean.abs() < STATIC]
    return static.quantile(QUIET) if len(static) else torch.tensor(math.inf)


def _averaged(before: Tensor, after: Tensor, last: Tensor, means: Tensor, noise: Tensor) -> Tensor:
    """Average a restored frame with the last result.

    Args:
        before: The original frame, [1, 3, H, W].
        after: The restored one.
        last: The last result.
        means: Running mean changes of original and restored blocks, [2, 1, 1, H / BLOCK, W / BLOCK].
        noise: Mean change of what is static in the original.
    """
    ratio = means[0] / means[1].clamp(min=1e-6)
    if not bool((ratio < 1).any()) or not bool(noise.isfinite()):
        return after
    # white noise in a recursive mean with the share s of the new frame changes by s / sqrt(2 - s) of what it did
    square = ratio.clamp(max=1.0) ** (2 * AIM)
    share = ((square**2 + 8 * square).sqrt() - square) / 2
    height, width = after.shape[2:]
    share, scale = (_smooth(each, height, width) for each in (share, noise / ratio.clamp(min=1e-3)))
    difference = last.to(after) - after
    moved = F.avg_pool2d(brightness(difference), 3, 1, 1, count_include_pad=False).abs()
    weight = (1 - share) * (1 - (moved / (REACH * scale).clamp(min=1e-6)) ** 2).clamp(min=0)
    changed = (after != before).any(1, keepdim=True)
    return after + torch.where(changed, weight.to(after), 0.0) * difference


def _smooth(blocks: Tensor, height: int, width: int) -> Tensor:
    """Spread a number per block over the pixels, [1, 1, height, width], without steps."""
    full = F.interpolate(blocks, scale_factor=BLOCK, mode="bilinear", align_corners=False)
    return full[:, :, :height, :width]

"""One guidance for many frames, as of a video: from several of them, and never from one that shows nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..guidance import Guidance
from ..images import rgb_of

LOOKS = 5
"""Frames that are described to find the guidance of all."""

EMPTY = 0.02
"""A frame whose thumbnail deviates less from its mean, in 0..1, shows nothing: black, white, or a fade."""

THUMBNAIL = (36, 64)
"""Height and width at which frames are compared."""


def is_empty(image: Tensor) -> bool:
    """Return whether an image [1, 3, H, W] in 0..1 shows nothing."""
    return float(F.interpolate(image, THUMBNAIL, mode="area").std(dim=(2, 3)).max()) < EMPTY


def typical(guidance: list[Guidance]) -> Guidance:
    """Return the guidance of the frame whose scores lie nearest to the median of all: a flash or a blur is outvoted.

    A real frame's guidance and not a mean, which would be the embedding of no image.
    """
    scores = torch.cat([each.scores for each in guidance])
    distance = (scores - scores.median(0).values).abs().sum(1)
    return guidance[int(distance.argmin())]


def frames_to_describe(frames: Tensor) -> list[int]:
    """Return the numbers of at most `LOOKS` frames at even distances, of those that show something.

    Args:
        frames: [B, C, H, W] in 0..1, C being 1, 3 or 4. Where none shows anything, the first one is returned.
    """
    # frame by frame: the colors of all frames of a video at once would be a copy of it
    shown = [index for index in range(len(frames)) if not is_empty(rgb_of(frames[index : index + 1]))]
    if not shown:
        return [0]
    looks = min(LOOKS, len(shown))
    return [shown[(2 * number + 1) * len(shown) // (2 * looks)] for number in range(looks)]

"""What is seen of images in one look or two, from which the network of a second look learns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...model.mllm.describer import Mllm
from ...model.mllm.second_look import INDICES, JUDGED, Cleaner
from ...model.synthesis.degrade import Degraded
from ...model.whole_image import image_statistics
from ..data.scenes import to_tensor
from .examples import cached


@dataclass(frozen=True)
class SeenTwice:
    """What a network of a second look learns from.

    Attributes:
        first: Embeddings of images as they are, [N, D].
        second: Those without noise and JPEG, [N, D]; the same where neither is seen.
        statistics: Of the images as they are, [N, S].
        presence: [N, 4] in 0..1, of `JUDGED`.
        weight: Of each, [N, 4].
    """

    first: Tensor
    second: Tensor
    statistics: Tensor
    presence: Tensor
    weight: Tensor

    def and_more(self, other: SeenTwice) -> SeenTwice:
        """Return both."""
        return SeenTwice(*(torch.cat(pair) for pair in zip(vars(self).values(), vars(other).values(), strict=True)))

    def where(self, chosen: Tensor) -> SeenTwice:
        """Return some of them, by [N] bool."""
        return SeenTwice(*(value[chosen] for value in vars(self).values()))

    def weighted(self, factor: float, name: str | None = None) -> SeenTwice:
        """Return the same with another weight: of all of `JUDGED`, or of one of them."""
        weight, judged = self.weight.clone(), slice(None) if name is None else JUDGED.index(name)
        weight[:, judged] *= factor
        return replace(self, weight=weight)


@torch.inference_mode()
def see_once(mllm: Mllm, image: Tensor) -> dict[str, Tensor]:
    """Return the embedding [D] of an image [3, H, W], its statistics, and whether there is a reason for a second."""
    look = mllm.first_look(image)
    hidden = torch.tensor(look.faults is not None)
    return {"first": look.pooled[0], "statistics": image_statistics(image), "hidden": hidden}


@torch.inference_mode()
def see_twice(mllm: Mllm, cleaner: Cleaner, image: Tensor) -> dict[str, Tensor]:
    """Return both embeddings of an image [3, H, W], each [D], and whether there is a reason for the second."""
    look = mllm.first_look(image)
    first, faults = look.pooled[0], look.faults
    second = first if faults is None else mllm.embed_cleaned(image, faults, cleaner)[0]
    return {"first": first, "second": second, "hidden": torch.tensor(faults is not None)}


def statistics_of(images: Callable[[], Iterable[np.ndarray]], count: int, cache: Path) -> Tensor:
    """Return the statistics [N, S] of images [H, W, 3], which are only made where `cache` does not hold them."""
    return cached(cache, lambda: ({"statistics": image_statistics(to_tensor(each))} for each in images()), count)[
        "statistics"
    ]


def presence_in(degraded: Degraded) -> Tensor:
    """Return what is there of `JUDGED` in a degraded image, [4] of 0 and 1."""
    return torch.from_numpy(degraded.truth.presence)[INDICES].float()


def weights_of(presence: Tensor, may_be_dark: Tensor) -> Tensor:
    """Return the weights [N, 4] of presences [N, 4].

    An image that may be dark by itself ([N] bool), as a part of a photograph may, teaches nothing about low light
    unless it was made dark.
    """
    weight, dark = torch.ones_like(presence), JUDGED.index("low_light")
    weight[may_be_dark & (presence[:, dark] == 0), dark] = 0.0
    return weight


def seen_alone(stored: dict[str, Tensor], may_be_dark: Tensor) -> SeenTwice:
    """Return images that `see_once` saw, with their presences, but for those in which there is a reason for a second.

    Args:
        stored: What was seen of N images.
        may_be_dark: [N] bool, see `weights_of`.
    """
    presence = stored["presence"]
    weight = weights_of(presence, may_be_dark)
    every = SeenTwice(stored["first"], stored["first"], stored["statistics"], presence, weight)
    return every.where(~stored["hidden"].bool())

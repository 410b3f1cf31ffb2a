"""What is seen of images in one look or two, from which the network of a second look learns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...model.mllm.describer import Mllm
from ...model.mllm.second_look import INDICES, JUDGED, Helper
from ...model.restorer.network import Restorer
from ...model.synthesis.degrade import Degraded
from ...model.vocabulary import CAMERA_FAULTS
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
        preview: Of the images without noise and JPEG, [N, P].
        presence: [N, 4] in 0..1, of `JUDGED`.
        weight: Of each, [N, 4].
    """

    first: Tensor
    second: Tensor
    statistics: Tensor
    preview: Tensor
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


@dataclass(frozen=True)
class Previewer:
    """Previews of images by a restorer, kept in files that are named after what makes them: another one sees others.

    Attributes:
        restorer: The restorer, which has a camera branch.
        folder: Of the files.
    """

    restorer: Restorer
    folder: Path

    @cached_property
    def key(self) -> str:
        """A digest of the weights of the tone and the camera branch."""
        digest = hashlib.sha256()
        for branch in (self.restorer.tone, self.restorer.camera):
            assert branch is not None  # the camera branch of a helper
            for tensor in branch.state_dict().values():
                digest.update(tensor.float().numpy().tobytes())
        return digest.hexdigest()[:8]

    def of(
        self, name: str, images: Callable[[], Iterable[np.ndarray]], pooled: Tensor, faults: Tensor | None = None
    ) -> Tensor:
        """Return the previews [N, P] of images [H, W, 3] with embeddings [N, D].

        Args:
            name: Of the images, for the file.
            images: Makes them; called where there is no such file.
            pooled: Their embeddings.
            faults: Strengths [N, 3] of the noise and JPEG that are seen in them; None for none.
        """
        strengths = torch.zeros(len(pooled), len(CAMERA_FAULTS)) if faults is None else faults

        def rows() -> Iterator[dict[str, Tensor]]:
            for image, embedding, each in zip(images(), pooled, strengths[:, None], strict=True):
                seen = each if bool(each.any()) else None
                yield {"preview": self.restorer.preview(to_tensor(image)[None], embedding[None], seen)[0]}

        self.folder.mkdir(parents=True, exist_ok=True)
        return cached(self.folder / f"{name}_{self.key}.safetensors", rows, len(pooled))["preview"]


@torch.inference_mode()
def see_once(mllm: Mllm, image: Tensor) -> dict[str, Tensor]:
    """Return the embedding [D] of an image [3, H, W], its statistics, and whether there is a reason for a second."""
    look = mllm.first_look(image)
    hidden = torch.tensor(look.faults is not None)
    return {"first": look.pooled[0], "statistics": image_statistics(image), "hidden": hidden}


@torch.inference_mode()
def see_twice(mllm: Mllm, helper: Helper, image: Tensor) -> dict[str, Tensor]:
    """Return both embeddings of an image [3, H, W], each [D], whether there is a reason for the second, and that."""
    look = mllm.first_look(image)
    first, faults = look.pooled[0], look.faults
    second = first if faults is None else mllm.embed_cleaned(image, faults, helper)[0]
    strengths = torch.zeros(len(CAMERA_FAULTS)) if faults is None else faults[0]
    return {"first": first, "second": second, "hidden": torch.tensor(faults is not None), "faults": strengths}


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


def see_weather(
    mllm: Mllm, previewer: Previewer, images: Callable[[], Iterable[Degraded]], may_be_dark: Tensor, cache: Path
) -> SeenTwice:
    """See N images that were degraded without a fault of a camera; those in which one is seen are left out.

    Args:
        mllm: The MLLM.
        previewer: Of the restorer.
        images: Makes them.
        may_be_dark: [N] bool, see `weights_of`.
        cache: File of what is seen.
    """

    def rows() -> Iterator[dict[str, Tensor]]:
        for each in images():
            yield {**see_once(mllm, to_tensor(each.image)), "presence": presence_in(each)}

    stored = cached(cache, rows, len(may_be_dark))
    preview = previewer.of(cache.stem, lambda: (each.image for each in images()), stored["first"])
    presence = stored["presence"]
    weight = weights_of(presence, may_be_dark)
    every = SeenTwice(stored["first"], stored["first"], stored["statistics"], preview, presence, weight)
    return every.where(~stored["hidden"].bool())

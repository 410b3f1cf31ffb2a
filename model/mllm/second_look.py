"""A second look at an image, without the noise and the JPEG that the first one saw, and a second opinion (our design).

Noise and blocks hide the weather: in noise a head misses faint rain and haze, and takes snow for a sign of darkness;
without it, it no longer knows a dark scene by its noise. So a small network judges these four by both embeddings, that
of the image as it is and that of the image without its noise and blocks, by statistics of its pixels, and by what the
restorer would make of the light and haze of the latter. Where nothing hides them both embeddings are one, and the
network's opinion counts beside the head's: it has learned from photographs that are new to the MLLM
(docs/experiments.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..guidance import Guidance
from ..vocabulary import CAMERA_FAULTS, DEGRADATIONS, PRESENT
from ..whole_image import IMAGE_STATISTICS, PREVIEW_STATISTICS
from .head import OWNER, Reading

SECOND_SETS = 3
"""Sets of views of the second look: the first of those of the first one."""

JUDGED = ("low_light", "haze", "rain", "snow")
"""What is judged by both looks."""

INDICES = [DEGRADATIONS.index(name) for name in JUDGED]

BOTH_LOOKS, ONE_LOOK = (0.8, 1.0, 1.0, 1.0), (0.5, 0.8, 0.3, 0.2)
"""How much the network's logits of `JUDGED` count against those of the head in the first look: after a second look, and
without one. Then falling snow and rain are mostly the head's to judge: of snow the network has seen few photographs,
and rain it finds in the ribs of leaves."""

_WEATHER = [DEGRADATIONS.index(name) for name in JUDGED if name != "low_light"]

_WEATHER_PARAMETERS = [index for index, owner in enumerate(OWNER) if owner in _WEATHER]


class Helper(Protocol):
    """What a restorer does for the second look, as `Restorer` does it.

    Attributes:
        mllm_identity: The MLLM whose embeddings it reads; empty for any.
    """

    mllm_identity: str

    def clean(self, crops: Tensor, strengths: Tensor) -> Tensor:
        """Return crops [N, 3, S, S] in 0..1 without faults of the strengths [1, 3] in 0..1, of `CAMERA_FAULTS`."""
        ...

    def preview(self, image: Tensor, pooled: Tensor, faults: Tensor | None = None) -> Tensor:
        """Return `preview_statistics` [B, `PREVIEW_STATISTICS`] of images [B, 3, H, W] with embeddings [B, D].

        They are of the images without faults of the strengths [1, 3], as for `clean`, if there are any.
        """
        ...


@dataclass(frozen=True)
class FirstLook:
    """What is seen in one image as it is.

    Attributes:
        pooled: Its embedding, [1, D].
        reading: What the head reads in it.
        seen: The guidance that follows from it, and from what is measured in the image.
        content: Of an image that is left as it is, see `measured`; else "".
    """

    pooled: Tensor
    reading: Reading
    seen: Guidance
    content: str

    @property
    def faults(self) -> Tensor | None:
        """The strengths [1, 3] of noise and JPEG that are a reason for a second look; None without one."""
        return None if self.content else hiding_faults(self.seen)


class SecondLook(nn.Module):
    """A network from what is seen of an image to the presence logits of what noise and JPEG hide.

    Args:
        width: D, of one embedding.
        hidden: Width of the network.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.width, self.hidden = width, hidden
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(inputs_of(width)))
        self.register_buffer("scale", torch.ones(inputs_of(width)))
        self.widen = nn.Linear(inputs_of(width), hidden)
        self.presence = nn.Linear(hidden, len(JUDGED))

    def forward(self, first: Tensor, second: Tensor, statistics: Tensor, preview: Tensor | None = None) -> Tensor:
        """Judge images.

        Args:
            first: Pooled embeddings [B, D] of the images as they are.
            second: The same without noise and JPEG; those of the first look where neither is seen.
            statistics: [B, `IMAGE_STATISTICS`] of the images as they are, see `image_statistics`.
            preview: [B, `PREVIEW_STATISTICS`] of the restorer, without noise and JPEG, see `Helper`; without one it is
                as in most images.

        Returns:
            Logits [B, 4] of `JUDGED`.
        """
        if preview is None:
            preview = self.mean[-PREVIEW_STATISTICS:].expand(len(first), -1)
        seen = (torch.cat([first, second, statistics, preview], dim=-1).float() - self.mean) * self.scale
        logits: Tensor = self.presence(F.gelu(self.widen(seen)))
        return logits


def inputs_of(width: int) -> int:
    """Return the number of inputs of a `SecondLook` for embeddings of a width."""
    return 2 * width + IMAGE_STATISTICS + PREVIEW_STATISTICS


def hiding_faults(seen: Guidance) -> Tensor | None:
    """Return the strengths [1, 3] of the noise and JPEG that are called present in one image; None without any."""
    faults = seen.camera_faults()
    faults[:, CAMERA_FAULTS.index("blur")] = 0.0
    return faults if bool((faults > 0).any()) else None


def by_both_looks(seen: Guidance, first: Reading, second: Reading | None, presence: Tensor) -> Guidance:
    """Return the guidance of one image as head and network judge it.

    Strengths and parameters of the weather are the means of both looks, those of low light the first one's, since its
    noise tells them. What is no longer called present is taken out of the embedding, too.

    Args:
        seen: By the first look.
        first: What the head read then.
        second: What it reads in the second look; None where there was no reason for one.
        presence: Logits [1, 4] of `JUDGED`, of a `SecondLook`.
    """
    share = presence.new_tensor(ONE_LOOK if second is None else BOTH_LOOKS)
    second = first if second is None else second
    strength, parameters, logits = first.strength.clone(), first.parameters.clone(), first.presence.clone()
    strength[:, _WEATHER] = (first.strength + second.strength)[:, _WEATHER] / 2
    parameters[:, _WEATHER_PARAMETERS] = (first.parameters + second.parameters)[:, _WEATHER_PARAMETERS] / 2
    logits[:, INDICES] = torch.lerp(logits[:, INDICES], presence.to(logits), share.to(logits))
    both = Reading(logits, strength, parameters)
    was, remains = first.certainty()[0] >= PRESENT, both.certainty()[0] >= PRESENT
    judged = seen.seeing({DEGRADATIONS[index]: 0.0 for index in INDICES if was[index] and not remains[index]})
    assert judged.certainty is not None  # a head says it
    scores, certainty = judged.scores.clone(), judged.certainty.clone()
    scores[:, INDICES], certainty[:, INDICES] = both.scores()[:, INDICES], both.certainty()[:, INDICES]
    known = judged.parameters.clone()
    owned = [index for index, owner in enumerate(OWNER) if owner in INDICES]
    known[:, owned] = both.physical()[:, owned]
    return replace(judged, scores=scores, certainty=certainty, parameters=known)

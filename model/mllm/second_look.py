"""A second look at an image, without the noise and the JPEG that the first one saw (our design).

Noise and blocks hide the weather: in noise a head misses faint rain and haze, and takes snow for a sign of darkness;
without it, it no longer knows a dark scene by its noise. So a small network judges these four by both embeddings, that
of the image as it is and that of the image without its noise and blocks (docs/experiments.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..guidance import Guidance
from ..vocabulary import CAMERA_FAULTS, DEGRADATIONS, PRESENT
from .head import OWNER, Reading

SECOND_SETS = 3
"""Sets of views of the second look: the first of those of the first one."""

JUDGED = ("low_light", "haze", "rain", "snow")
"""What is judged by both looks."""

INDICES = [DEGRADATIONS.index(name) for name in JUDGED]

_LOW_LIGHT = DEGRADATIONS.index("low_light")

_WEATHER = [DEGRADATIONS.index(name) for name in JUDGED if name != "low_light"]

_WEATHER_PARAMETERS = [index for index, owner in enumerate(OWNER) if owner in _WEATHER]


class Cleaner(Protocol):
    """Removes faults of the camera, as `CameraBranch` does."""

    def clean(self, crops: Tensor, strengths: Tensor) -> Tensor:
        """Return crops [N, 3, S, S] in 0..1 without faults of the strengths [1, 3] in 0..1, of `CAMERA_FAULTS`."""
        ...


class SecondLook(nn.Module):
    """A network from both embeddings to the presence logits of what noise and JPEG hide.

    Args:
        width: D, of one embedding.
        hidden: Width of the network.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.width, self.hidden = width, hidden
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(2 * width))
        self.register_buffer("scale", torch.ones(2 * width))
        self.widen = nn.Linear(2 * width, hidden)
        self.presence = nn.Linear(hidden, len(JUDGED))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Pooled embeddings [B, D] of the image as it is and without noise and JPEG -> logits [B, 4] of `JUDGED`."""
        both = (torch.cat([first, second], dim=-1).float() - self.mean) * self.scale
        logits: Tensor = self.presence(F.gelu(self.widen(both)))
        return logits


def hiding_faults(seen: Guidance) -> Tensor | None:
    """Return the strengths [1, 3] of the noise and JPEG that are called present in one image; None without any."""
    faults = seen.camera_faults()
    faults[:, CAMERA_FAULTS.index("blur")] = 0.0
    return faults if bool((faults > 0).any()) else None


def by_both_looks(seen: Guidance, first: Reading, second: Reading, presence: Tensor) -> Guidance:
    """Return the guidance of one image as it is after a second look.

    Strengths and parameters of the weather are the means of both looks, those of low light the first one's, since its
    noise tells them; of low light the first look's logit counts as much as the network's. What is no longer called
    present is taken out of the embedding, too.

    Args:
        seen: By the first look.
        first: What the head read then.
        second: What it reads in the second look.
        presence: Logits [1, 4] of `JUDGED`, of a `SecondLook`.
    """
    strength, parameters, logits = first.strength.clone(), first.parameters.clone(), first.presence.clone()
    strength[:, _WEATHER] = (first.strength + second.strength)[:, _WEATHER] / 2
    parameters[:, _WEATHER_PARAMETERS] = (first.parameters + second.parameters)[:, _WEATHER_PARAMETERS] / 2
    logits[:, INDICES] = presence.to(logits)
    logits[:, _LOW_LIGHT] = (first.presence[:, _LOW_LIGHT] + logits[:, _LOW_LIGHT]) / 2
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

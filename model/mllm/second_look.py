"""A second look at an image, without the noise and the JPEG that the first one saw (our design).

Noise and blocks hide the weather: in noise a head misses faint rain and haze, and without it sees them better. Not so
in the dark: noise is how it knows a dark scene, so low light is the first look's alone (docs/experiments.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from ..guidance import Guidance
from ..vocabulary import CAMERA_FAULTS, DEGRADATIONS, PRESENT, SURE
from .head import OWNER, Reading

SECOND_SETS = 3
"""Sets of views of the second look: the first of those of the first one."""

WEATHER = [DEGRADATIONS.index(name) for name in ("haze", "rain", "snow")]
"""What is judged by both looks."""

_LOW_LIGHT = DEGRADATIONS.index("low_light")

_WEATHER_PARAMETERS = [index for index, owner in enumerate(OWNER) if owner in WEATHER]


class Cleaner(Protocol):
    """Removes faults of the camera, as `CameraBranch` does."""

    def clean(self, crops: Tensor, strengths: Tensor) -> Tensor:
        """Return crops [N, 3, S, S] in 0..1 without faults of the strengths [1, 3] in 0..1, of `CAMERA_FAULTS`."""
        ...


def hiding_faults(seen: Guidance) -> Tensor | None:
    """Return the strengths [1, 3] of the noise and JPEG that are called present in one image.

    None without any, and where low light is called present, too.
    """
    if float(seen.scores[0, _LOW_LIGHT]) >= PRESENT:
        return None
    faults = seen.camera_faults()
    faults[:, CAMERA_FAULTS.index("blur")] = 0.0
    return faults if bool((faults > 0).any()) else None


def by_both_looks(seen: Guidance, first: Reading, second: Reading) -> Guidance:
    """Return the guidance of one image in which the weather is judged by both looks.

    What the first look is sure of stays, else probabilities, strengths and parameters are the means. What is no longer
    called present is taken out of the embedding, too.

    Args:
        seen: By the first look.
        first: What the head read then.
        second: What it reads in the second look.
    """
    both = _of_both(first, second)
    was, remains = first.certainty()[0] >= PRESENT, both.certainty()[0] >= PRESENT
    gone = {DEGRADATIONS[index]: 0.0 for index in WEATHER if was[index] and not remains[index]}
    judged = seen.seeing(gone)
    assert judged.certainty is not None  # a head says it
    scores, certainty, parameters = judged.scores.clone(), judged.certainty.clone(), judged.parameters.clone()
    scores[:, WEATHER], certainty[:, WEATHER] = both.scores()[:, WEATHER], both.certainty()[:, WEATHER]
    parameters[:, _WEATHER_PARAMETERS] = both.physical()[:, _WEATHER_PARAMETERS]
    return replace(judged, scores=scores, certainty=certainty, parameters=parameters)


def _of_both(first: Reading, second: Reading) -> Reading:
    """Return what the first look is sure of, and else the mean: of probabilities, since one look alone has no veto."""
    sure = first.certainty() >= SURE
    mean = ((first.certainty() + second.certainty()) / 2).logit(eps=1e-6)
    return Reading(
        torch.where(sure, first.presence, mean),
        torch.where(sure, first.strength, (first.strength + second.strength) / 2),
        torch.where(sure[:, OWNER], first.parameters, (first.parameters + second.parameters) / 2),
    )

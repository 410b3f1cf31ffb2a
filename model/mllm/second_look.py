"""A second look at an image, without the noise and the JPEG that the first one saw (our design).

Noise and blocks hide what else is wrong: in noise a head misses faint rain, and takes snowy scenes for dark ones. Where
they are removed it sees better; but noise also tells of a dark scene, so both looks count (docs/experiments.md).
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

SCENE = [index for index, name in enumerate(DEGRADATIONS) if name not in CAMERA_FAULTS]
"""What lies in front of the camera, and is judged by both looks."""

_LOW_LIGHT = DEGRADATIONS.index("low_light")

_SCENE_PARAMETERS = [index for index, owner in enumerate(OWNER) if owner in SCENE]


class Cleaner(Protocol):
    """Removes faults of the camera, as `CameraBranch` does."""

    def clean(self, crops: Tensor, strengths: Tensor) -> Tensor:
        """Return crops [N, 3, S, S] in 0..1 without faults of the strengths [1, 3] in 0..1, of `CAMERA_FAULTS`."""
        ...


def hiding_faults(seen: Guidance) -> Tensor | None:
    """Return the strengths [1, 3] of the noise and JPEG that are called present in one image; None without any."""
    faults = seen.camera_faults()
    faults[:, CAMERA_FAULTS.index("blur")] = 0.0
    return faults if bool((faults > 0).any()) else None


def by_both_looks(seen: Guidance, first: Reading, second: Reading) -> Guidance:
    """Return the guidance of one image in which weather and low light are judged by both looks.

    What the first look is sure of stays: in a dark scene noise is how it knows it. Of low light the second one only
    says where there surely is none. Else probabilities, strengths and parameters are the means. What is no longer
    called present is taken out of the embedding, too.

    Args:
        seen: By the first look.
        first: What the head read then.
        second: What it reads in the second look.
    """
    both = _of_both(first, second)
    was, remains = first.certainty()[0] >= PRESENT, both.certainty()[0] >= PRESENT
    gone = {DEGRADATIONS[index]: 0.0 for index in SCENE if was[index] and not remains[index]}
    judged = seen.seeing(gone)
    assert judged.certainty is not None  # a head says it
    scores, certainty, parameters = judged.scores.clone(), judged.certainty.clone(), judged.parameters.clone()
    scores[:, SCENE], certainty[:, SCENE] = both.scores()[:, SCENE], both.certainty()[:, SCENE]
    parameters[:, _SCENE_PARAMETERS] = both.physical()[:, _SCENE_PARAMETERS]
    return replace(judged, scores=scores, certainty=certainty, parameters=parameters)


def _of_both(first: Reading, second: Reading) -> Reading:
    """Return what counts of two looks at one image: the first where `_kept` says so, else the mean.

    It is the mean of the probabilities, since one look alone has no veto.
    """
    kept = _kept(first.certainty(), second.certainty())
    mean = ((first.certainty() + second.certainty()) / 2).logit(eps=1e-6)
    return Reading(
        torch.where(kept, first.presence, mean),
        torch.where(kept, first.strength, (first.strength + second.strength) / 2),
        torch.where(kept[:, OWNER], first.parameters, (first.parameters + second.parameters) / 2),
    )


def _kept(first: Tensor, second: Tensor) -> Tensor:
    """Return of which degradations the first look alone counts, [B, 7], by both looks' probabilities [B, 7].

    That is what it is sure of; and low light, unless the second one is sure that there is none: what it newly takes for
    dark is not, and a dark scene without its noise looks less dark to it (docs/experiments.md).
    """
    doubted = torch.zeros_like(first, dtype=torch.bool)
    doubted[:, _LOW_LIGHT] = (second > 1 - SURE)[:, _LOW_LIGHT]
    return (first >= SURE) | doubted

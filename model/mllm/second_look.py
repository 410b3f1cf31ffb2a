"""A second look at an image, without the noise and the JPEG that the first one saw (our design).

Noise and blocks hide what else is wrong: in noise a head misses faint rain, and takes snowy scenes for dark ones. Where
they are removed it sees better; but noise also tells of a dark scene, so both looks count (docs/experiments.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from torch import Tensor

from ..guidance import Guidance
from ..vocabulary import CAMERA_FAULTS, DEGRADATIONS, PRESENT
from .head import OWNER, Reading

SECOND_SETS = 3
"""Sets of views of the second look: the first of those of the first one."""

SCENE = [index for index, name in enumerate(DEGRADATIONS) if name not in CAMERA_FAULTS]
"""What lies in front of the camera, and is judged by both looks."""

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

    Probabilities, strengths and parameters are the means. What is called present no longer is taken out of the
    embedding, too.

    Args:
        seen: By the first look.
        first: What the head read then.
        second: What it reads in the second look.
    """
    both = _mean(first, second)
    was, remains = first.certainty()[0] >= PRESENT, both.certainty()[0] >= PRESENT
    gone = {DEGRADATIONS[index]: 0.0 for index in SCENE if was[index] and not remains[index]}
    judged = seen.seeing(gone)
    assert judged.certainty is not None  # a head says it
    scores, certainty, parameters = judged.scores.clone(), judged.certainty.clone(), judged.parameters.clone()
    scores[:, SCENE], certainty[:, SCENE] = both.scores()[:, SCENE], both.certainty()[:, SCENE]
    parameters[:, _SCENE_PARAMETERS] = both.physical()[:, _SCENE_PARAMETERS]
    return replace(judged, scores=scores, certainty=certainty, parameters=parameters)


def _mean(one: Reading, other: Reading) -> Reading:
    """Return the mean of two readings: of the probabilities, not of the logits, so that one look alone is no veto."""
    presence = ((one.certainty() + other.certainty()) / 2).logit(eps=1e-6)
    return Reading(presence, (one.strength + other.strength) / 2, (one.parameters + other.parameters) / 2)

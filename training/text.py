"""What the MLLM learns to say: sentences made from what was really done to a picture.

The sentence names each degradation with its strength and its physical parameters, and says which ones are absent:
knowing how much, not only what, is worth most to the restorer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..model import wording
from ..model.guidance import DEGRADATIONS
from ..model.imaging.degradations import Truth
from ..model.wording import DESCRIBE, NAMES, sentence, yes_no_question


class Turn(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str


def phrase(truth: Truth, degradation: str) -> str:
    """As `wording.phrase` says it."""
    return wording.phrase(degradation, _strengths(truth), truth.parameters.tolist())


def description(truth: Truth) -> str:
    """As `wording.description` says it."""
    return wording.description(_strengths(truth), truth.parameters.tolist())


def _strengths(truth: Truth) -> dict[str, float]:
    return {name: float(truth.strength[index]) for index, name in enumerate(DEGRADATIONS) if truth.presence[index]}


def conversation(truth: Truth, rng: np.random.Generator) -> list[Turn]:
    """A few questions about one picture with their answers: the description, a drill of yes and no, or questions about
    parts."""
    kind = rng.random()
    if kind < 0.4:
        return [Turn(DESCRIBE, description(truth))]
    return _drill(truth, rng) if kind < 0.75 else [_question(truth, rng) for _ in range(3)]


def _drill(truth: Truth, rng: np.random.Generator) -> list[Turn]:
    """Yes or no about each degradation that is there and about as many that are not, in any order.

    A lone question among longer answers taught the small model to say "no" to everything: it has to be shown the same
    picture with one word of the question changed.
    """
    present, absent = (np.flatnonzero(truth.presence == there) for there in (True, False))
    asked = [*present, *rng.permutation(absent)[: max(1, len(present))]]
    return [
        Turn(yes_no_question(DEGRADATIONS[index]), "yes" if truth.presence[index] else "no")
        for index in rng.permutation(asked)
    ]


def _question(truth: Truth, rng: np.random.Generator) -> Turn:
    degradation = DEGRADATIONS[rng.integers(len(DEGRADATIONS))]
    if truth.presence.any() and rng.random() < 0.4:  # else "no" would be right four times in five
        degradation = DEGRADATIONS[rng.choice(np.flatnonzero(truth.presence))]
    name, there = NAMES[degradation], bool(truth.presence[DEGRADATIONS.index(degradation)])
    present = [NAMES[each] for each, is_there in zip(DEGRADATIONS, truth.presence, strict=True) if is_there]
    turns = (
        Turn(yes_no_question(degradation), "yes" if there else "no"),
        Turn(f"Is there {name}?", f"{'Yes' if there else 'No'}, {phrase(truth, degradation)}."),
        Turn(f"How strong is the {name}?", sentence([phrase(truth, degradation)])),
        Turn("Name the degradations.", sentence(present or ["none"])),
        Turn("What should be removed?", sentence(present or ["nothing"])),
        Turn("Is the picture clean?", "no" if present else "yes"),
    )
    return turns[max(0, int(rng.integers(-2, len(turns))))]

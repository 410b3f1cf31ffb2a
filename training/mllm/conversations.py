"""Conversations about degraded images for the MLLM to learn from, made from the ground truth.

The description names each degradation with its strength and its physical parameters, and says which ones are absent:
for the restorer the amounts are worth more than the names.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...model.mllm import wording
from ...model.mllm.wording import DESCRIBE, sentence, yes_no_question
from ...model.synthesis.degrade import GroundTruth
from ...model.vocabulary import DEGRADATIONS, DISPLAY_NAMES


class Turn(NamedTuple):
    """A question and its answer."""

    question: str
    answer: str


def phrase(truth: GroundTruth, degradation: str) -> str:
    """Return `wording.phrase` for the ground truth."""
    return wording.phrase(degradation, _strengths(truth), _parameters(truth))


def description(truth: GroundTruth) -> str:
    """Return `wording.description` for the ground truth."""
    return wording.description(_strengths(truth), _parameters(truth))


def _parameters(truth: GroundTruth) -> list[float]:
    return [float(value) for value in truth.parameters]


def _strengths(truth: GroundTruth) -> dict[str, float]:
    return {name: float(truth.strength[index]) for index, name in enumerate(DEGRADATIONS) if truth.presence[index]}


def conversation(truth: GroundTruth, rng: np.random.Generator) -> list[Turn]:
    """Return a few questions about one image with their answers: the description, yes or no, or about single parts."""
    kind = rng.random()
    if kind < 0.4:
        return [Turn(DESCRIBE, description(truth))]
    return _yes_no_turns(truth, rng) if kind < 0.75 else [_question(truth, rng) for _ in range(3)]


def _yes_no_turns(truth: GroundTruth, rng: np.random.Generator) -> list[Turn]:
    """Ask yes or no about each present degradation and about as many absent ones, in random order.

    Single questions among longer answers taught the small model to say "no" to everything: it has to see the same image
    with one word of the question changed.
    """
    present, absent = (np.flatnonzero(truth.presence == there) for there in (True, False))
    asked = [*present, *rng.permutation(absent)[: max(1, len(present))]]
    return [
        Turn(yes_no_question(DEGRADATIONS[index]), "yes" if truth.presence[index] else "no")
        for index in rng.permutation(asked)
    ]


def _question(truth: GroundTruth, rng: np.random.Generator) -> Turn:
    degradation = DEGRADATIONS[rng.integers(len(DEGRADATIONS))]
    if truth.presence.any() and rng.random() < 0.4:  # else "no" would be right four times in five
        degradation = DEGRADATIONS[rng.choice(np.flatnonzero(truth.presence))]
    name, there = DISPLAY_NAMES[degradation], bool(truth.presence[DEGRADATIONS.index(degradation)])
    present = [DISPLAY_NAMES[each] for each, is_there in zip(DEGRADATIONS, truth.presence, strict=True) if is_there]
    turns = (
        Turn(yes_no_question(degradation), "yes" if there else "no"),
        Turn(f"Is there {name}?", f"{'Yes' if there else 'No'}, {phrase(truth, degradation)}."),
        Turn(f"How strong is the {name}?", sentence([phrase(truth, degradation)])),
        Turn("Name the degradations.", sentence(present or ["none"])),
        Turn("What should be removed?", sentence(present or ["nothing"])),
        Turn("Is the picture clean?", "no" if present else "yes"),
    )
    return turns[max(0, int(rng.integers(-2, len(turns))))]

"""Evaluation of the MLLM's answers to questions of yes or no about one degradation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...model.mllm.wording import yes_no_question
from ...model.vocabulary import DEGRADATIONS
from ..data.photos import list_photos
from ..metrics import mean
from .inputs import mixtures, stable_generator, to_tensor
from .results import COUNT, Evaluation, Row, Table
from .runner import MEAN, Progress, mean_of, tracked

Ask = Callable[[Tensor, str], str]
"""Takes an image [1, 3, H, W] in 0..1 and a question to the answer."""

COLUMNS = {COUNT: 0, "asked": 0, "yes where there": 3, "no where not": 3, "neither": 3, "right": 3}

REPEATS = 4
"""How often each photo is degraded, as for the descriptions."""


def evaluate_answers(
    ask: Ask,
    clean_folder: str | Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Measure how often the MLLM answers `yes_no_question` correctly.

    Of each image it is asked about one degradation that is there and about one that is not; the images are those of
    `evaluate_descriptions` with the same seed. An MLLM with a head answers from its scores (`model/mllm/answers.py`),
    others with their language model.

    Columns: images; questions; share of "yes" where the degradation is there; share of "no" where it is not; share of
    answers that begin with neither; and the mean of the first two shares, which is 0.5 for guesses.

    Args:
        ask: What to evaluate.
        clean_folder: Folder with clean photos.
        seed: Of the degradations and the questions.
        limit: Use only the first so many photos.
        on_progress: Called after each image.

    Raises:
        ImageFileError: The folder holds no photos, or one cannot be read.
    """
    photos = list_photos(clean_folder)[:limit]
    total = len(photos) * REPEATS
    answers: dict[str, dict[bool, list[str]]] = {name: {True: [], False: []} for name in DEGRADATIONS}
    for number, (photo, degraded) in enumerate(tracked(mixtures(photos, seed, REPEATS), total, on_progress)):
        rng = stable_generator(seed, "question", number, photo.name)
        for present in (True, False):
            candidates = np.flatnonzero(degraded.truth.presence == present)
            if len(candidates):
                name = DEGRADATIONS[rng.choice(candidates)]
                with torch.no_grad():
                    answers[name][present].append(ask(to_tensor(degraded.image), yes_no_question(name)))
    rows = {name: {COUNT: total, **_row(each[True], each[False])} for name, each in answers.items()}
    # every row is about the same images, so that their number is not summed
    rows[MEAN] = {**mean_of(rows, total="asked"), COUNT: total}
    title = f"Answers of yes or no about {total} generated images, seed {seed}"
    return Evaluation(title, (Table("degradation", COLUMNS, rows),))


def _row(present: list[str], absent: list[str]) -> Row:
    """Return the row of one degradation, from the answers about images with and without it."""
    yes = mean([float(_begins_with(answer, "yes")) for answer in present])
    no = mean([float(_begins_with(answer, "no")) for answer in absent])
    neither = [not (_begins_with(answer, "yes") or _begins_with(answer, "no")) for answer in (*present, *absent)]
    return {
        "asked": len(present) + len(absent),
        "yes where there": yes,
        "no where not": no,
        "neither": mean([float(each) for each in neither]),
        "right": (yes + no) / 2,
    }


def _begins_with(answer: str, word: str) -> bool:
    first = answer.strip().lower().replace(",", " ").replace(".", " ").split()[:1]
    return first == [word]

"""Evaluation of the MLLM's answers: asked whether one degradation is there, does it say yes or no, and rightly?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..model.guidance import DEGRADATIONS
from ..model.wording import yes_no_question
from .composites import mixtures, stable_generator, to_tensor
from .evaluation import MEAN, Progress, mean_of
from .metrics import mean
from .photos import list_photos
from .tables import Evaluation, Table

Ask = Callable[[Tensor, str], str]
"""A picture [1, 3, H, W] in 0..1 and a question to the answer."""

COLUMNS = {"asked": 0, "yes where there": 3, "no where not": 3, "neither": 3, "right": 3}

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
    """How often the MLLM answers `yes_no_question` rightly, of one degradation that is there and of one that is not.

    One with a head answers from its scores (`model/questions.py`), others with their language model.

    The pictures are those of `evaluate_descriptions` with the same seed. Columns: questions; the share of "yes" where
    the degradation is there; that of "no" where it is not; that of answers that begin with neither; and the mean of
    the first two, which guessing brings to 0.5.

    Raises:
        PhotoError: the folder holds no photos, or one cannot be read.
    """
    photos = list_photos(clean_folder)[:limit]
    answers: dict[str, dict[bool, list[str]]] = {name: {True: [], False: []} for name in DEGRADATIONS}
    for number, (photo, degraded) in enumerate(mixtures(photos, seed, repeats=REPEATS)):
        rng = stable_generator(seed, "question", number, photo.name)
        for there in (True, False):
            candidates = np.flatnonzero(degraded.truth.presence == there)
            if len(candidates):
                name = DEGRADATIONS[rng.choice(candidates)]
                with torch.no_grad():
                    answers[name][there].append(ask(to_tensor(degraded.picture), yes_no_question(name)))
        if on_progress:
            on_progress(number + 1, len(photos) * REPEATS)
    rows = {name: _row(each[True], each[False]) for name, each in answers.items()}
    rows[MEAN] = mean_of(rows, total="asked")
    title = f"Answers of yes or no about {len(photos) * REPEATS} generated pictures, seed {seed}"
    return Evaluation(title, (Table("degradation", COLUMNS, rows),))


def _row(there: list[str], absent: list[str]) -> dict[str, float]:
    yes = mean([float(_says(answer, "yes")) for answer in there])
    no = mean([float(_says(answer, "no")) for answer in absent])
    neither = [not (_says(answer, "yes") or _says(answer, "no")) for answer in (*there, *absent)]
    return {
        "asked": len(there) + len(absent),
        "yes where there": yes,
        "no where not": no,
        "neither": mean([float(each) for each in neither]),
        "right": (yes + no) / 2,
    }


def _says(answer: str, word: str) -> bool:
    """Whether the answer begins with this word."""
    first = answer.strip().lower().replace(",", " ").replace(".", " ").split()[:1]
    return first == [word]

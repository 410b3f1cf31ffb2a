"""Evaluation of the MLLM's scores and estimates on generated degradations."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...model.mllm.head import OWNER
from ...model.vocabulary import DEGRADATIONS, PARAMETERS, PRESENT, strength_from_score
from ..data.photos import list_photos
from ..metrics import detection, rank_correlation
from .inputs import mixtures, to_tensor
from .results import COUNT, Evaluation, Row, Table
from .runner import MEAN, Describe, Progress, mean_of, tracked

SCORE_COLUMNS = {COUNT: 0, "present": 0, "precision": 3, "recall": 3, "F1": 3, "rank": 3, "strength error": 3}
PARAMETER_COLUMNS = {COUNT: 0, "present": 0, "estimated": 0, "error": 4, "spread": 4}


def evaluate_descriptions(
    describe: Describe,
    clean_folder: str | Path,
    *,
    seed: int = 0,
    repeats: int = 4,
    limit: int | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Compare the scores and estimates of an MLLM with the truth about generated degradations.

    The first table has a row per degradation: all images, and those that have it; precision, recall and F1 of scores
    from `PRESENT` up; and among the images that have it, Spearman's rank correlation of the score with the true
    strength, and the mean absolute error of the strength that the score stands for (`strength_from_score`). The second
    table has a row per physical parameter: the images with its degradation, and those of them for which there is an
    estimate, since the degradation is called present; over the latter the mean absolute error, and that of always
    guessing their median ("spread").

    Args:
        describe: What to evaluate.
        clean_folder: Folder with clean photos.
        seed: Of the degradations.
        repeats: How often each photo is degraded, by the mix that the MLLM is trained on.
        limit: Use only the first so many photos.
        on_progress: Called after each image.

    Raises:
        ImageFileError: The folder holds no photos, or one cannot be read.
    """
    photos = list_photos(clean_folder)[:limit]
    total = len(photos) * repeats
    scores, estimates, truths = [], [], []
    for _, degraded in tracked(mixtures(photos, seed, repeats), total, on_progress):
        with torch.no_grad():
            guidance = describe(to_tensor(degraded.image)).to("cpu")
        scores.append(guidance.scores[0].float())
        estimates.append(guidance.parameters[0].float())
        truths.append(degraded.truth)
    presence = _stack(truth.presence for truth in truths)
    strength = _stack(truth.strength for truth in truths)
    parameters = _stack(truth.parameters for truth in truths)
    given, estimated = torch.stack(scores), torch.stack(estimates)
    tables = (
        Table("degradation", SCORE_COLUMNS, _score_rows(given, presence, strength)),
        Table("parameter", PARAMETER_COLUMNS, _parameter_rows(estimated, given, presence, parameters)),
    )
    return Evaluation(f"Descriptions of {total} generated images from {len(photos)} photos, seed {seed}", tables)


def _stack(values: Iterable[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(list(values)))


def _score_rows(scores: Tensor, presence: Tensor, strength: Tensor) -> dict[str, Row]:
    """Return a row per degradation and the mean; all arguments are [B, 7]."""
    implied = torch.tensor([[strength_from_score(score) for score in row] for row in scores.tolist()])
    rows: dict[str, Row] = {}
    for i, name in enumerate(DEGRADATIONS):
        present = presence[:, i]
        counts = detection(scores[:, i] >= PRESENT, present)
        rows[name] = {
            COUNT: len(scores),
            "present": int(present.sum()),
            "precision": counts.precision,
            "recall": counts.recall,
            "F1": counts.f1,
            "rank": rank_correlation(scores[present, i], strength[present, i]),
            "strength error": float((implied[present, i] - strength[present, i]).abs().mean()),
        }
    # every row is about the same images, so that their number is not summed
    rows[MEAN] = {**mean_of(rows, total="present"), COUNT: len(scores)}
    return rows


def _parameter_rows(estimates: Tensor, scores: Tensor, presence: Tensor, parameters: Tensor) -> dict[str, Row]:
    """Return a row per physical parameter, from [B, 9] estimates and truths, and [B, 7] scores and presence.

    What is not called present has no estimate but the value of an absent degradation (`ABSENT`), or NaN.
    """
    rows: dict[str, Row] = {}
    for i, name in enumerate(PARAMETERS):
        present = presence[:, OWNER[i]]
        estimated = present & (scores[:, OWNER[i]] >= PRESENT) & estimates[:, i].isfinite()
        true = parameters[estimated, i]
        rows[name] = {
            COUNT: len(estimates),
            "present": int(present.sum()),
            "estimated": len(true),
            "error": float((estimates[estimated, i] - true).abs().mean()),
            "spread": float((true - true.median()).abs().mean()) if len(true) else math.nan,
        }
    return rows

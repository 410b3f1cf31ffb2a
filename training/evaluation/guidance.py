"""Evaluation of what the guidance is worth to the restorer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ...model.guidance import Guidance
from ...model.images import psnr
from ...model.synthesis.severities import COMBINATIONS
from ..data.photos import list_photos
from .inputs import composites, stable_generator
from .results import COUNT, Evaluation, Row, Table
from .runner import MEAN, Describe, GuidedRestore, Progress, mean_of, mean_row, restored_with, tracked

COLUMNS = {COUNT: 0, "input": 2, "own": 2, "other": 2, "none": 2}


def evaluate_guidance(
    restore: GuidedRestore,
    describe: Describe,
    clean_folder: str | Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Measure PSNR under an image's own guidance, under that of another image, and without guidance.

    The other image is drawn from all degraded images but this one, so that the guidance of each is used once. The
    images are those of `evaluate_composites` with the same seed.

    Args:
        restore: What to evaluate.
        describe: Makes the guidance.
        clean_folder: Folder with clean photos.
        seed: Of the degradations and the exchange.
        limit: Use only the first so many photos.
        on_progress: Called after each description and each image.

    Raises:
        ImageFileError: The folder holds no photos, or one cannot be read.
        EvaluationError: An output has another size or is not finite.
    """
    photos = list_photos(clean_folder)[:limit]
    count = len(photos) * len(COMBINATIONS)
    # all guidance first, since an image may need that of a later one; images are cheaper made twice than kept
    guidance: list[Guidance] = []
    for _, _, image, _ in tracked(composites(photos, seed), 2 * count, on_progress):
        with torch.no_grad():
            guidance.append(describe(image))
    ring = stable_generator(seed, "other guidance").permutation(count)
    other = {int(a): int(b) for a, b in zip(ring, np.roll(ring, 1), strict=True)}
    scores: dict[str, list[Row]] = {kind: [] for kind in COMBINATIONS}
    images = tracked(composites(photos, seed), 2 * count, on_progress, done=count)
    for index, (photo, kind, image, truth) in enumerate(images):
        row = {"input": psnr(image, truth)}
        for column, given in (("own", guidance[index]), ("other", guidance[other[index]]), ("none", None)):
            row[column] = psnr(restored_with(restore, given, image, f"{kind} {photo.name}"), truth)
        scores[kind].append(row)
    rows = {kind: mean_row(scores[kind]) for kind in COMBINATIONS}
    rows[MEAN] = mean_of(rows)
    title = f"PSNR by guidance on composites of {len(photos)} photos in {Path(clean_folder).name}, seed {seed}"
    return Evaluation(title, (Table("combination", COLUMNS, rows),))

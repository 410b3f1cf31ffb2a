"""Evaluation of steering: whether the restorer keeps what it is told to keep and still removes the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from ...model.images import psnr
from ...model.synthesis.degrade import RandomLayers
from ...model.synthesis.severities import COMBINATIONS
from ..data.photos import list_photos, read_photo
from .inputs import composite, to_tensor
from .results import COUNT, Evaluation, Row, Table
from .runner import MEAN, Describe, GuidedRestore, Progress, mean_of, mean_row, restored_with, tracked

PAIRS = tuple(kind for kind in COMBINATIONS if kind.count("_") == 1)
"""The combinations of two degradations."""

COLUMNS = {COUNT: 0, "input": 2, "full": 2, "steered": 2, "gain": 2}


def evaluate_steering(
    restore: GuidedRestore,
    describe: Describe,
    clean_folder: str | Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Measure PSNR to partial targets, which still have one of the two degradations of a combination.

    Columns: images; PSNR of the input, of the full restoration, and of the one that is told to keep that degradation;
    and the difference of the last two.

    Args:
        restore: What to evaluate.
        describe: Makes the guidance.
        clean_folder: Folder with clean photos.
        seed: Of the degradations.
        limit: Use only the first so many photos.
        on_progress: Called after each composite.

    Raises:
        ImageFileError: The folder holds no photos, or one cannot be read.
        EvaluationError: An output has another size or is not finite.
    """
    photos = list_photos(clean_folder)[:limit]
    scores: dict[str, list[Row]] = {}
    for name, kind, image, targets in tracked(_images(photos, seed), len(photos) * len(PAIRS), on_progress):
        with torch.no_grad():
            guidance = describe(image)
        full = restored_with(restore, guidance, image, f"{kind} {name}")
        for kept, target in targets.items():
            told = guidance.with_removal({kept: 0.0})
            steered = restored_with(restore, told, image, f"{kind} {name}, keeping {kept}")
            row = {"input": psnr(image, target), "full": psnr(full, target), "steered": psnr(steered, target)}
            scores.setdefault(f"{kind}, keep {kept}", []).append(row | {"gain": row["steered"] - row["full"]})
    rows = {name: mean_row(each) for name, each in scores.items()}
    rows[MEAN] = mean_of(rows)
    title = f"Steering: PSNR to partial targets of {len(photos)} photos in {Path(clean_folder).name}, seed {seed}"
    return Evaluation(title, (Table("combination", COLUMNS, rows),))


def _images(photos: list[Path], seed: int) -> Iterator[tuple[str, str, Tensor, dict[str, Tensor]]]:
    """Yield the photo's name, the combination, the degraded image, and the partial target of each kept degradation."""
    for photo in photos:
        clean = read_photo(photo)
        for kind in PAIRS:
            layers = RandomLayers()
            image = to_tensor(composite(clean, kind, photo.name, seed, layers=layers).image)
            targets = {}
            for part in kind.split("_"):
                kept = "low_light" if part == "low" else part
                partial = composite(clean, kind, photo.name, seed, layers=layers, keep=[kept])
                targets[kept] = to_tensor(partial.image)
            yield photo.name, kind, image, targets

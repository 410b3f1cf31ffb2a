"""Evaluation on generated composites: the eleven combinations of CDD-11."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from ...model.synthesis.degrade import synthesize
from ...model.synthesis.severities import COMBINATIONS, Severities
from ..data.photos import list_photos, read_photo
from .inputs import composite, to_tensor
from .results import Evaluation, Row, Table
from .runner import MEAN, QUALITY_COLUMNS, Progress, Restore, mean_of, quality, quality_row, tracked

CLEAN = "clean"
"""Row of the photos as they are."""

QUIET_LOW = "low, no noise"
"""Row of the images of `low` without their noise, which a network may take for the sign of low light."""

KINDS = (*COMBINATIONS, QUIET_LOW, CLEAN)


def evaluate_composites(
    restore: Restore,
    clean_folder: str | Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    quality_saved: int | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Measure PSNR and SSIM for each combination of CDD-11 in the published ranges, and their mean.

    Two more rows are those of low light without noise and of clean images.

    Args:
        restore: What to evaluate; its output is rounded to 8 bits before it is measured.
        clean_folder: Folder with clean photos.
        seed: Of the degradations; with the combination and the file's name it fixes each image.
        limit: Use only the first so many photos.
        quality_saved: Quality of a JPEG that every degraded image goes through, as photographs of cameras and of the
            web have; None means none.
        on_progress: Called after each image.

    Raises:
        ImageFileError: The folder holds no photos, or one cannot be read.
        EvaluationError: The output has another size or is not finite.
    """
    photos = list_photos(clean_folder)[:limit]
    scores: dict[str, list[Row]] = {kind: [] for kind in KINDS}
    for name, kind, image, truth in tracked(
        _images(photos, seed, quality_saved), len(photos) * len(KINDS), on_progress
    ):
        scores[kind].append(quality(restore, image, truth, f"{kind} {name}"))
    rows = {kind: quality_row(scores[kind]) for kind in COMBINATIONS}
    rows[MEAN] = mean_of(rows)
    rows |= {kind: quality_row(scores[kind]) for kind in (QUIET_LOW, CLEAN)}
    title = f"Generated composites of {len(photos)} photos in {Path(clean_folder).name}, seed {seed}"
    if quality_saved is not None:
        title += f", saved as JPEG of quality {quality_saved}"
    return Evaluation(title, (Table("combination", QUALITY_COLUMNS, rows),))


def _images(photos: list[Path], seed: int, quality_saved: int | None) -> Iterator[tuple[str, str, Tensor, Tensor]]:
    """Yield the photo's name, the kind, and the degraded and the clean image."""

    def saved(image: np.ndarray) -> Tensor:
        if quality_saved is not None:
            severities = Severities(jpeg_quality=quality_saved)
            image = synthesize(image, severities, np.random.default_rng(0)).image  # a JPEG has nothing random
        return to_tensor(image)

    for photo in photos:
        clean = read_photo(photo)
        truth = to_tensor(clean)
        for kind in COMBINATIONS:
            yield photo.name, kind, saved(composite(clean, kind, photo.name, seed).image), truth
        quiet = composite(clean, "low", photo.name, seed, keep=["low_light"])
        yield photo.name, QUIET_LOW, saved(quiet.image), truth
        yield photo.name, CLEAN, saved(clean), truth

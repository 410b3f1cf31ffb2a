"""Evaluation of JPEG: files compressed once, twice, and cropped after compression."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from ...model.synthesis.degrade import synthesize
from ...model.synthesis.severities import Severities
from ..data.photos import list_photos, read_photo
from .inputs import to_tensor
from .results import Evaluation, Row, Table
from .runner import MEAN, QUALITY_COLUMNS, Progress, Restore, mean_of, quality, quality_row, tracked

QUALITIES = (10, 20, 30, 40)
"""Qualities that publications report."""

FIRST_QUALITY = 75
"""Quality of the first of two compressions."""

OFFSET = (3, 5)
"""Rows and columns that are cut off at the top and at the left, so that blocks do not start at multiples of 8 px."""

KINDS = ("", ", double", ", off grid")
"""Kinds of files: compressed once, twice, and cropped since. `MEAN` with the kind is the mean over its qualities."""


def evaluate_jpeg(
    restore: Restore, clean_folder: str | Path, *, limit: int | None = None, on_progress: Progress | None = None
) -> Evaluation:
    """Measure PSNR and SSIM for each quality of JPEG with halved color resolution, in three kinds of files.

    The kinds are: compressed once; compressed at `FIRST_QUALITY` before, on the same grid of blocks ("double"); and
    compressed once, then cropped by `OFFSET`, the target alike ("off grid"). Nothing is random.

    Args:
        restore: What to evaluate; its output is rounded to 8 bits before it is measured.
        clean_folder: Folder with clean photos.
        limit: Use only the first so many photos.
        on_progress: Called after each image.

    Raises:
        ImageFileError: The folder holds no photos, or one cannot be read.
        EvaluationError: The output has another size or is not finite.
    """
    photos = list_photos(clean_folder)[:limit]
    scores: dict[str, list[Row]] = {f"quality {quality}{kind}": [] for quality in QUALITIES for kind in KINDS}
    for photo, name, image, truth in tracked(_images(photos), len(photos) * len(scores), on_progress):
        scores[name].append(quality(restore, image, truth, f"{photo} at {name}"))
    rows = {name: quality_row(each) for name, each in scores.items()}
    by_kind = {kind: {name: rows[name] for name in (f"quality {each}{kind}" for each in QUALITIES)} for kind in KINDS}
    means = {MEAN + kind: mean_of(each) for kind, each in by_kind.items()}
    title = f"JPEG of {len(photos)} photos in {Path(clean_folder).name}"
    return Evaluation(title, (Table("JPEG", QUALITY_COLUMNS, rows | means),))


def compressed(image: np.ndarray, quality: int) -> np.ndarray:
    """Return an image [H, W, 3] in 0..1 as it comes back from a JPEG file."""
    return synthesize(image, Severities(jpeg_quality=quality), np.random.default_rng(0)).image  # draws nothing


def _images(photos: list[Path]) -> Iterator[tuple[str, str, Tensor, Tensor]]:
    """Yield the photo's name, the row, and the compressed and the clean image."""
    top, left = OFFSET
    for photo in photos:
        clean = read_photo(photo)
        truth = to_tensor(clean)
        first = compressed(clean, FIRST_QUALITY)
        for each in QUALITIES:
            once = to_tensor(compressed(clean, each))
            yield photo.name, f"quality {each}", once, truth
            yield photo.name, f"quality {each}, double", to_tensor(compressed(first, each)), truth
            yield photo.name, f"quality {each}, off grid", once[..., top:, left:], truth[..., top:, left:]

"""Evaluation of steering: whether the restorer keeps what it is told to keep and still removes the rest.

And whether it does worse when it is told what it sees anyway: an order to remove exactly what is there must cost
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from ...model.images import psnr
from ...model.synthesis.degrade import RandomLayers, synthesize
from ...model.synthesis.severities import COMBINATIONS, Severities
from ...model.vocabulary import DEGRADATIONS, PRESENT
from ..data.photos import list_photos, read_photo
from .inputs import composite, stable_generator, to_tensor
from .results import COUNT, Evaluation, Row, Table
from .runner import MEAN, Describe, GuidedRestore, Progress, mean_of, mean_row, restored_with, tracked

PAIRS = tuple(kind for kind in COMBINATIONS if kind.count("_") == 1)
"""The combinations of two degradations."""

COLUMNS = {COUNT: 0, "input": 2, "full": 2, "steered": 2, "gain": 2}

ALONE = {
    "low_light": Severities(light_exponent=2.5),
    "haze": Severities(haze_beta=1.4, airlight=0.8),
    "rain": Severities(rain=0.45),
    "snow": Severities(snow=0.3),
    "noise": Severities(noise_sigma=25 / 255),
    "blur": Severities(gaussian_sigma=1.6),
    "jpeg": Severities(jpeg_quality=20),
}
"""One degradation each, of the middle of its range."""

TOLD_COLUMNS = {COUNT: 0, "images": 0, "input": 2, "no order": 2, "told": 2, "difference": 2}


def evaluate_steering(
    restore: GuidedRestore,
    describe: Describe,
    clean_folder: str | Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Measure what keeping a degradation gains, and what an order to remove the only one costs.

    The first table has PSNR to partial targets, which still have one of the two degradations of a combination: of the
    input, of the full restoration, and of the one that is told to keep that degradation; and the difference of the last
    two. The second is about images with one degradation (`ALONE`), in those of the images where it is seen: PSNR of the
    input, of the restoration without an order, and with the order to remove that degradation alone.

    Args:
        restore: What to evaluate.
        describe: Makes the guidance.
        clean_folder: Folder with clean photos.
        seed: Of the degradations.
        limit: Use only the first so many photos.
        on_progress: Called after each degraded image.

    Raises:
        ImageFileError: The folder holds no photos, or one cannot be read.
        EvaluationError: An output has another size or is not finite.
    """
    photos = list_photos(clean_folder)[:limit]
    total = len(photos) * (len(PAIRS) + len(ALONE))
    scores: dict[str, list[Row]] = {}
    for name, kind, image, targets in tracked(_images(photos, seed), total, on_progress):
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
    alone = tracked(_alone(photos, seed), total, on_progress, done=len(photos) * len(PAIRS))
    told_rows = {name: {**row, "images": len(photos)} for name, row in _told(restore, describe, alone).items()}
    title = f"Steering: PSNR to partial targets of {len(photos)} photos in {Path(clean_folder).name}, seed {seed}"
    tables = Table("combination", COLUMNS, rows), Table("told to remove what is seen", TOLD_COLUMNS, told_rows)
    return Evaluation(title, tables)


def _told(
    restore: GuidedRestore, describe: Describe, images: Iterable[tuple[str, str, Tensor, Tensor]]
) -> dict[str, Row]:
    """Return a row for each degradation that is seen in any of the images that `_alone` yields."""
    scores: dict[str, list[Row]] = {name: [] for name in ALONE}
    for name, only, image, target in images:
        with torch.no_grad():
            guidance = describe(image)
        if float(guidance.scores[0, DEGRADATIONS.index(only)]) < PRESENT:
            continue
        before = restored_with(restore, guidance, image, f"{only} {name}")
        after = restored_with(restore, guidance.removing_only({only: 1.0}), image, f"{only} {name}, told")
        row = {"input": psnr(image, target), "no order": psnr(before, target), "told": psnr(after, target)}
        scores[only].append(row | {"difference": row["told"] - row["no order"]})
    return {name: mean_row(each) for name, each in scores.items() if each}


def _alone(photos: list[Path], seed: int) -> Iterator[tuple[str, str, Tensor, Tensor]]:
    """Yield the photo's name, the degradation, the degraded and the clean image."""
    for photo in photos:
        clean = read_photo(photo)
        for name, severities in ALONE.items():
            degraded = synthesize(clean, severities, stable_generator(seed, name, photo.name))
            yield photo.name, name, to_tensor(degraded.image), to_tensor(clean)


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

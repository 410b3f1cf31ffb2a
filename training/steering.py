"""Evaluation of steering: does the restorer keep what it is told to keep, and remove the rest all the same?"""

from __future__ import annotations

from pathlib import Path

import torch

from ..model.imaging.degradations import COMBINATIONS, Layers
from .composites import composite, to_tensor
from .evaluation import MEAN, Describe, GuidedRestore, Progress, restored_with
from .metrics import mean, psnr
from .photos import list_photos, read_photo
from .tables import Evaluation, Table

PAIRS = tuple(kind for kind in COMBINATIONS if kind.count("_") == 1)
"""The combinations of two degradations."""

COLUMNS = {"input": 2, "full": 2, "steered": 2, "gain": 2}


def evaluate_steering(
    restore: GuidedRestore,
    describe: Describe,
    clean_folder: str | Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """PSNR to the partial target, which has one of two degradations left, for each combination and each one kept.

    Columns: of the input, of the full restoration, of the one told to keep that degradation, and what telling gained.

    Raises:
        PhotoError: the folder holds no photos, or one cannot be read.
        EvaluationError: a bad output.
    """
    photos = list_photos(clean_folder)[:limit]
    scores: dict[str, list[dict[str, float]]] = {}
    done = 0
    for photo in photos:
        clean = read_photo(photo)
        for kind in PAIRS:
            layers = Layers()
            picture = to_tensor(composite(clean, kind, photo.name, seed, layers=layers).picture)
            with torch.no_grad():
                guidance = describe(picture)
            full = restored_with(restore, guidance, picture, f"{kind} {photo.name}")
            for part in kind.split("_"):
                name = "low_light" if part == "low" else part
                partial = composite(clean, kind, photo.name, seed, layers=layers, keep=[name])
                target = to_tensor(partial.picture)
                told = restored_with(
                    restore, guidance.steered({name: 0.0}), picture, f"{kind} {photo.name}, keeping {name}"
                )
                row = {"input": psnr(picture, target), "full": psnr(full, target), "steered": psnr(told, target)}
                scores.setdefault(f"{kind}, keep {name}", []).append(row | {"gain": row["steered"] - row["full"]})
            done += 1
            if on_progress:
                on_progress(done, len(photos) * len(PAIRS))
    rows = {name: {column: mean([row[column] for row in each]) for column in COLUMNS} for name, each in scores.items()}
    rows[MEAN] = {column: mean([row[column] for row in rows.values()]) for column in COLUMNS}
    title = f"Steering: PSNR to partial targets of {len(photos)} photos in {Path(clean_folder).name}, seed {seed}"
    return Evaluation(title, (Table("combination", COLUMNS, rows),))

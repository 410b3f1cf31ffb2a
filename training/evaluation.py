"""Evaluation: restoration of generated composites and of pairs of files, descriptions, what guidance is worth."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..model.guidance import DEGRADATIONS, PARAMETERS, PRESENT, Guidance, strength_of
from ..model.head import OWNER
from ..model.imaging.degradations import COMBINATIONS
from .composites import composite, composites, mixtures, stable_generator, to_tensor
from .metrics import detection, mean, psnr, quantise, rank_correlation, ssim
from .pairs import match_files, pair_folders
from .photos import list_photos, read_photo
from .tables import Evaluation, EvaluationError, Table

__all__ = [
    "Evaluation",
    "EvaluationError",
    "Table",
    "composite",
    "evaluate_composites",
    "evaluate_descriptions",
    "evaluate_guidance",
    "evaluate_pairs",
    "stable_generator",
    "to_tensor",
]

Restore = Callable[[Tensor], Tensor]
"""[1, 3, H, W] float32 in 0..1 to a picture of the same size, unclamped or not, on any device."""
GuidedRestore = Callable[[Tensor, Guidance | None], Tensor]
Describe = Callable[[Tensor], Guidance]
Progress = Callable[[int, int], None]
"""Called with the pictures done and the pictures in all."""

CLEAN = "clean"
QUIET_LOW = "low, no noise"
"""The pictures of `low` without their noise: a network may take it for the sign of darkness."""
MEAN = "mean"

LEAST = "least out"
"""PSNR of the worst picture of a set: a mean hides it."""

QUALITY_COLUMNS = {"pictures": 0, "PSNR in": 2, "PSNR out": 2, LEAST: 2, "gain": 2, "SSIM in": 4, "SSIM out": 4}


def evaluate_composites(
    restore: Restore,
    clean_folder: str | Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """PSNR and SSIM per combination of CDD-11 in the published ranges, their mean, and beside them those of low light
    without noise, and of clean in, clean out.

    Args:
        restore: what to evaluate; its output is rounded to 8 bit before it is measured.
        clean_folder: folder with clean photos.
        seed: of the degradations; with the combination and the file's name it fixes each picture.
        limit: use only the first so many photos.

    Raises:
        PhotoError: the folder holds no photos, or one cannot be read.
        EvaluationError: the output has another size or is not finite.
    """
    photos = list_photos(clean_folder)[:limit]
    kinds = (*COMBINATIONS, QUIET_LOW, CLEAN)
    scores: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    done = 0
    for photo in photos:
        clean = read_photo(photo)
        truth = to_tensor(clean)
        for kind in kinds:
            if kind == CLEAN:
                picture = truth
            elif kind == QUIET_LOW:
                picture = to_tensor(composite(clean, "low", photo.name, seed, keep=["low_light"]).picture)
            else:
                picture = to_tensor(composite(clean, kind, photo.name, seed).picture)
            scores[kind].append(quality(restore, picture, truth, f"{kind} {photo.name}"))
            done += 1
            if on_progress:
                on_progress(done, len(photos) * len(kinds))
    rows = {kind: mean_row(scores[kind]) for kind in COMBINATIONS}
    rows[MEAN] = mean_of(rows)
    rows |= {kind: mean_row(scores[kind]) for kind in (QUIET_LOW, CLEAN)}
    title = f"Generated composites of {len(photos)} photos in {Path(clean_folder).name}, seed {seed}"
    return Evaluation(title, (Table("combination", QUALITY_COLUMNS, rows),))


def evaluate_pairs(
    restore: Restore, folder: str | Path, *, limit: int | None = None, on_progress: Progress | None = None
) -> Evaluation:
    """PSNR and SSIM on pairs of degraded and clean files of the same stem, or, where none agree, of the same stem but
    for its leading word (`input12`, `norain12`).

    Three layouts are known: `input/` and `target/`; several folders that each hold these two; and CDD-11's, `clear/`
    beside `low/`, `haze_rain/` and so on.

    Args:
        limit: use only the first so many pairs of each folder.

    Raises:
        PhotoError: a folder holds no photos, or one cannot be read.
        EvaluationError: another layout; a picture without its target, or of another size; a bad output.
    """
    folder = Path(folder)
    sets = {name: list(match_files(*folders))[:limit] for name, folders in pair_folders(folder).items()}
    total, done = sum(len(pairs) for pairs in sets.values()), 0
    rows: dict[str, dict[str, float]] = {}
    for name, pairs in sets.items():
        scores = []
        for degraded, clean in pairs:
            picture, truth = to_tensor(read_photo(degraded)), to_tensor(read_photo(clean))
            if picture.shape != truth.shape:
                raise EvaluationError(
                    f"{degraded} is {_size(picture)} but its target {clean} is {_size(truth)}: pairs need equal sizes."
                )
            scores.append(quality(restore, picture, truth, str(degraded)))
            done += 1
            if on_progress:
                on_progress(done, total)
        rows[name] = mean_row(scores)
    if len(rows) > 1:
        rows[MEAN] = mean_of(rows)
    return Evaluation(f"Pairs in {folder.name}", (Table("folder", QUALITY_COLUMNS, rows),))


def evaluate_descriptions(
    describe: Describe,
    clean_folder: str | Path,
    *,
    seed: int = 0,
    repeats: int = 4,
    limit: int | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """What an MLLM says about generated degradations, against the truth.

    First table, per degradation: the pictures that have it; precision, recall and F1 of a score of `PRESENT` and above;
    and among the pictures that have it, Spearman's rank correlation of the score with the true strength, and the mean
    absolute error of the strength that the score tells (`strength_of`). Second table, per physical parameter, among the
    pictures with its degradation: the mean absolute error, and that of always guessing the median ("spread").

    Args:
        describe: [1, 3, H, W] in 0..1 to the guidance of that picture.
        repeats: how often each photo is degraded, with the mix the MLLM is trained on.

    Raises:
        PhotoError: the folder holds no photos, or one cannot be read.
    """
    photos = list_photos(clean_folder)[:limit]
    scores, parameters, truths = [], [], []
    for _, degraded in mixtures(photos, seed, repeats):
        with torch.no_grad():
            guidance = describe(to_tensor(degraded.picture)).to("cpu")
        scores.append(guidance.scores[0].float())
        parameters.append(guidance.parameters[0].float())
        truths.append(degraded.truth)
        if on_progress:
            on_progress(len(truths), len(photos) * repeats)
    said, estimates = torch.stack(scores), torch.stack(parameters)
    presence = torch.from_numpy(np.stack([truth.presence for truth in truths]))
    strength = torch.from_numpy(np.stack([truth.strength for truth in truths]))
    told = torch.tensor([[strength_of(score) for score in row] for row in said.tolist()])
    physical = torch.from_numpy(np.stack([truth.parameters for truth in truths]))

    rows: dict[str, dict[str, float]] = {}
    for i, name in enumerate(DEGRADATIONS):
        counts, there = detection(said[:, i] >= PRESENT, presence[:, i]), presence[:, i]
        rows[name] = {
            "present": int(there.sum()),
            "precision": counts.precision,
            "recall": counts.recall,
            "F1": counts.f1,
            "rank": rank_correlation(said[there, i], strength[there, i]),
            "strength error": float((told[there, i] - strength[there, i]).abs().mean()),
        }
    columns = {"present": 0, "precision": 3, "recall": 3, "F1": 3, "rank": 3, "strength error": 3}
    rows[MEAN] = mean_of(rows, total="present")

    errors: dict[str, dict[str, float]] = {}
    for i, name in enumerate(PARAMETERS):
        there = presence[:, OWNER[i]]
        true = physical[there, i]
        errors[name] = {
            "error": float((estimates[there, i] - true).abs().mean()),
            "spread": float((true - true.median()).abs().mean()) if len(true) else math.nan,
        }
    title = f"Descriptions of {len(truths)} generated pictures from {len(photos)} photos, seed {seed}"
    return Evaluation(
        title, (Table("degradation", columns, rows), Table("parameter", {"error": 4, "spread": 4}, errors))
    )


def evaluate_guidance(
    restore: GuidedRestore,
    describe: Describe,
    clean_folder: str | Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """What guidance is worth: PSNR with the picture's own, with that of another random picture, and with none.

    The other picture is any of the degraded pictures but this one, drawn so that each one's guidance is used once. The
    pictures are those of `evaluate_composites` with the same seed.

    Raises:
        PhotoError: the folder holds no photos, or one cannot be read.
        EvaluationError: a bad output.
    """
    photos = list_photos(clean_folder)[:limit]
    items = [(photo, kind) for photo in photos for kind in COMBINATIONS]
    # First all guidance, since a picture may need that of a later one; pictures are cheaper made twice than kept.
    guidance: list[Guidance] = []
    for _, _, picture, _ in composites(photos, seed):
        with torch.no_grad():
            guidance.append(describe(picture))
        if on_progress:
            on_progress(len(guidance), 2 * len(items))
    ring = stable_generator(seed, "other guidance").permutation(len(items))
    other = {int(a): int(b) for a, b in zip(ring, np.roll(ring, 1), strict=True)}
    columns = ("input", "own", "other", "none")
    scores: dict[str, list[dict[str, float]]] = {kind: [] for kind in COMBINATIONS}
    for index, (photo, kind, picture, truth) in enumerate(composites(photos, seed)):
        row = {"input": psnr(picture, truth)}
        for column, hint in (("own", guidance[index]), ("other", guidance[other[index]]), ("none", None)):
            output = restored_with(restore, hint, picture, f"{kind} {photo.name}")
            row[column] = psnr(output, truth)
        scores[kind].append(row)
        if on_progress:
            on_progress(len(items) + index + 1, 2 * len(items))
    rows = {kind: {column: mean([row[column] for row in scores[kind]]) for column in columns} for kind in COMBINATIONS}
    rows[MEAN] = mean_of(rows)
    title = f"PSNR by guidance on composites of {len(photos)} photos in {Path(clean_folder).name}, seed {seed}"
    return Evaluation(title, (Table("combination", dict.fromkeys(columns, 2), rows),))


def restored_with(restore: GuidedRestore, guidance: Guidance | None, picture: Tensor, what: str) -> Tensor:
    """`restored` for a restoration that takes guidance."""
    return restored(lambda each: restore(each, guidance), picture, what)


def restored(restore: Restore, picture: Tensor, what: str) -> Tensor:
    """The 8-bit output of a restoration, checked.

    Raises:
        EvaluationError: it has another size, or is not finite.
    """
    with torch.no_grad():
        output = restore(picture)
    if output.shape != picture.shape:
        raise EvaluationError(f"The restoration of {what} has shape {list(output.shape)}, not {list(picture.shape)}.")
    if not bool(torch.isfinite(output).all()):
        raise EvaluationError(f"The restoration of {what} has values that are not finite.")
    return quantise(output)


def quality(restore: Restore, picture: Tensor, truth: Tensor, what: str) -> dict[str, float]:
    """PSNR and SSIM of a picture and of its restoration; the output is checked as `restored` does."""
    output = restored(restore, picture, what)
    return {
        "PSNR in": psnr(picture, truth),
        "PSNR out": psnr(output, truth),
        "SSIM in": ssim(picture, truth),
        "SSIM out": ssim(output, truth),
    }


def mean_row(scores: list[dict[str, float]]) -> dict[str, float]:
    """The means over the pictures of one set, and the least of them."""
    row = {name: mean([score[name] for score in scores]) for name in scores[0]}
    least = min(score["PSNR out"] for score in scores)
    return {**row, "pictures": len(scores), "gain": row["PSNR out"] - row["PSNR in"], LEAST: least}


def mean_of(rows: dict[str, dict[str, float]], total: str = "pictures") -> dict[str, float]:
    """The mean row: every set counts the same, however many pictures it has; the column `total` is summed, and of
    `LEAST` the least is taken."""
    combine: dict[str, Callable[[list[float]], float]] = {total: sum, LEAST: min}
    names = next(iter(rows.values()))
    return {name: combine.get(name, mean)([row[name] for row in rows.values()]) for name in names}


def _size(picture: Tensor) -> str:
    return f"{picture.shape[-1]} x {picture.shape[-2]}"

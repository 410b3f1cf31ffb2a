"""Evaluation of aligned foreign MLLMs: what their guidance is worth to the restorer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...model.guidance import Guidance
from ...model.images import psnr
from ...model.synthesis.severities import COMBINATIONS
from ...model.vocabulary import PRESENT
from ..data.photos import list_photos, read_photo
from ..metrics import detection, mean
from .inputs import composite, mixtures, stable_generator, to_tensor
from .results import COUNT, Evaluation, Row, Table
from .runner import Describe, GuidedRestore, Progress, restored_with, tracked

COLUMNS = {COUNT: 0, "PSNR": 2, "gain": 2, "share": 3, "other": 2, "other's gain": 2, "F1": 3}

OWN = "own"
"""Row of the restorer's own MLLM."""


def evaluate_align(
    restore: GuidedRestore,
    describers: Mapping[str, Describe],
    clean_folder: str | Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    side: int = 0,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Measure PSNR under the guidance of each MLLM, under that of another image, and without, and F1 of the scores.

    The images are the eleven combinations of CDD-11. "gain" is over no guidance, "share" the gain's share of that of
    the restorer's own MLLM, "other" the PSNR under the same MLLM's guidance of another image. F1 is the mean over the
    degradations, on images degraded by the training mix.

    Args:
        restore: The restorer.
        describers: MLLMs by name; the restorer's own one is called `OWN`.
        clean_folder: Folder with clean photos.
        seed: Of the degradations and the exchange.
        limit: Use only the first so many photos.
        side: Longest side in px of what is cut out of the middle of each photo; 0 takes all of it.
        on_progress: Called after each image.

    Raises:
        ImageFileError: The folder holds no photos, or one cannot be read.
        EvaluationError: An output has another size or is not finite.
    """
    photos = list_photos(clean_folder)[:limit]
    count = len(photos) * len(COMBINATIONS)
    scenes = [(photo, kind) for photo in photos for kind in COMBINATIONS]
    repeats = max(REPEATS, -(-DETECTED // len(photos)))
    total = 2 * count + len(photos) * repeats
    ring = stable_generator(seed, "other guidance").permutation(count)
    other = {int(a): int(b) for a, b in zip(ring, np.roll(ring, 1), strict=True)}
    given: dict[str, list[Guidance]] = {name: [] for name in describers}
    for photo, kind in tracked(scenes, total, on_progress):
        image, _ = _scene(photo, kind, seed, side)
        for name, describe in describers.items():
            with torch.no_grad():
                given[name].append(describe(image))
    none: list[float] = []
    own: dict[str, list[float]] = {name: [] for name in describers}
    others: dict[str, list[float]] = {name: [] for name in describers}
    for index, (photo, kind) in enumerate(tracked(scenes, total, on_progress, done=count)):
        image, truth = _scene(photo, kind, seed, side)
        what = f"{kind} {photo.name}"
        none.append(psnr(restored_with(restore, None, image, what), truth))
        for name in describers:
            own[name].append(psnr(restored_with(restore, given[name][index], image, what), truth))
            others[name].append(psnr(restored_with(restore, given[name][other[index]], image, what), truth))
    f1 = _detection(describers, photos, seed, repeats, total, on_progress, 2 * count)
    base = mean(none)
    rows: dict[str, Row] = {"none": {**dict.fromkeys(COLUMNS, float("nan")), COUNT: count, "PSNR": base, "gain": 0.0}}
    best = mean(own[OWN]) - base if OWN in own else float("nan")
    for name in describers:
        gain = mean(own[name]) - base
        rows[name] = {
            COUNT: count,
            "PSNR": mean(own[name]),
            "gain": gain,
            "share": gain / best,
            "other": mean(others[name]),
            "other's gain": mean(others[name]) - base,
            "F1": f1[name],
        }
    size = f", cut to {side} px" if side else ""
    where = f"{len(photos)} photos in {Path(clean_folder).name}{size}"
    title = f"Guidance of aligned MLLMs on composites of {where}, seed {seed}"
    return Evaluation(title, (Table("guide", COLUMNS, rows),))


REPEATS = 8
"""How often each photo is degraded by the training mix for the F1, at least."""

DETECTED = 96
"""Images from which the F1 is computed, at least."""


def _scene(photo: Path, kind: str, seed: int, side: int) -> tuple[Tensor, Tensor]:
    """Return the degraded and the clean image [1, 3, H, W]."""
    clean = read_photo(photo)
    if side:
        top, left = (max(0, (length - side) // 2) for length in clean.shape[:2])
        clean = np.ascontiguousarray(clean[top : top + side, left : left + side])
    return to_tensor(composite(clean, kind, photo.name, seed).image), to_tensor(clean)


def _detection(
    describers: Mapping[str, Describe],
    photos: list[Path],
    seed: int,
    repeats: int,
    total: int,
    on_progress: Progress | None,
    done: int,
) -> dict[str, float]:
    """Return the mean F1 of the scores of each MLLM."""
    scores: dict[str, list[Tensor]] = {name: [] for name in describers}
    truths = []
    for _, degraded in tracked(mixtures(photos, seed, repeats), total, on_progress, done=done):
        for name, describe in describers.items():
            with torch.no_grad():
                scores[name].append(describe(to_tensor(degraded.image)).scores[0].cpu())
        truths.append(torch.from_numpy(degraded.truth.presence))
    there = torch.stack(truths)
    found = {}
    for name, rows in scores.items():
        seen = torch.stack(rows) >= PRESENT
        kinds = [index for index in range(there.shape[1]) if bool(there[:, index].any())]
        found[name] = mean([detection(seen[:, index], there[:, index]).f1 for index in kinds])
    return found

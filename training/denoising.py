"""Evaluation of colour denoising: Gaussian noise of the levels that the field reports."""

from __future__ import annotations

from pathlib import Path

import torch

from .composites import stable_generator, to_tensor
from .evaluation import QUALITY_COLUMNS, Progress, Restore, mean_row, quality
from .metrics import quantise
from .photos import list_photos, read_photo
from .tables import Evaluation, Table

SIGMAS = (15, 25, 50)
"""Standard deviations of the noise, of 255."""


def evaluate_denoising(
    restore: Restore,
    clean_folder: str | Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """PSNR and SSIM per noise level; the noisy picture is clipped and rounded to 8 bit as a file would be.

    Published results on CBSD68 mostly feed the network the unclipped noise, which is a little easier.

    Raises:
        PhotoError: the folder holds no photos, or one cannot be read.
        EvaluationError: a bad output.
    """
    photos = list_photos(clean_folder)[:limit]
    scores: dict[int, list[dict[str, float]]] = {sigma: [] for sigma in SIGMAS}
    for number, photo in enumerate(photos):
        truth = to_tensor(read_photo(photo))
        for sigma in SIGMAS:
            noise = stable_generator(seed, "noise", sigma, photo.name).standard_normal(tuple(truth.shape))
            picture = quantise(truth + torch.from_numpy(noise).float() * sigma / 255)
            scores[sigma].append(quality(restore, picture, truth, f"{photo.name} with noise of {sigma}"))
        if on_progress:
            on_progress(number + 1, len(photos))
    rows = {f"sigma {sigma}": mean_row(scores[sigma]) for sigma in SIGMAS}
    title = f"Colour denoising of {len(photos)} photos in {Path(clean_folder).name}, seed {seed}"
    return Evaluation(title, (Table("noise", QUALITY_COLUMNS, rows),))

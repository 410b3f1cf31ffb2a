"""Evaluation of color denoising: Gaussian noise at the levels that publications report."""

from __future__ import annotations

from pathlib import Path

import torch

from ..data.photos import list_photos, read_photo
from ..metrics import quantise
from .inputs import stable_generator, to_tensor
from .results import Evaluation, Row, Table
from .runner import QUALITY_COLUMNS, Progress, Restore, quality, quality_row, tracked

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
    """Measure PSNR and SSIM for each level of noise; the noisy image is clipped and rounded to 8 bits like a file.

    Published results on CBSD68 mostly feed the network the unclipped noise, which is a little easier.

    Args:
        restore: What to evaluate; its output is rounded to 8 bits before it is measured.
        clean_folder: Folder with clean photos.
        seed: Of the noise.
        limit: Use only the first so many photos.
        on_progress: Called after each photo.

    Raises:
        ImageFileError: The folder holds no photos, or one cannot be read.
        EvaluationError: The output has another size or is not finite.
    """
    photos = list_photos(clean_folder)[:limit]
    scores: dict[int, list[Row]] = {sigma: [] for sigma in SIGMAS}
    for photo in tracked(photos, len(photos), on_progress):
        truth = to_tensor(read_photo(photo))
        for sigma in SIGMAS:
            noise = stable_generator(seed, "noise", sigma, photo.name).standard_normal(tuple(truth.shape))
            image = quantise(truth + torch.from_numpy(noise).float() * sigma / 255)
            scores[sigma].append(quality(restore, image, truth, f"{photo.name} with noise of {sigma}"))
    rows = {f"sigma {sigma}": quality_row(scores[sigma]) for sigma in SIGMAS}
    title = f"Color denoising of {len(photos)} photos in {Path(clean_folder).name}, seed {seed}"
    return Evaluation(title, (Table("noise", QUALITY_COLUMNS, rows),))

"""Evaluation of deblurring: Gaussian, motion and defocus blur, without noise and with a little."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from ...model.synthesis.degrade import synthesize
from ...model.synthesis.severities import Severities
from ..data.photos import list_photos, read_photo
from .inputs import stable_generator, to_tensor
from .results import Evaluation, Row, Table
from .runner import QUALITY_COLUMNS, Progress, Restore, mean_of, quality, quality_row, tracked

KERNELS: dict[str, Severities] = {
    **{f"Gaussian {sigma}": Severities(gaussian_sigma=sigma) for sigma in (0.8, 1.6, 2.4, 3.0)},
    **{f"motion {length}": Severities(motion_length=length) for length in (5, 9, 15, 21)},
    **{f"defocus {radius}": Severities(defocus_radius=radius) for radius in (1.5, 3, 5)},
}
"""Kernels by name: sigma, length and radius in px; the direction of motion is drawn for each photo."""

WEAK_NOISE = 2 / 255
"""Sigma of the weak noise, about that of a good exposure."""

NOISES = {"no noise": 0.0, "weak noise": WEAK_NOISE}
"""Sigma of the noise by name."""


def evaluate_blur(
    restore: Restore,
    clean_folder: str | Path,
    *,
    seed: int = 0,
    limit: int | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Measure PSNR and SSIM for each kernel, without noise and with weak noise, and a mean for each of the two.

    Without noise a blur can be undone as far as the rounding to 8 bits allows; no camera is as quiet as that. The
    motion of a photo has one direction, however long it is.

    Args:
        restore: What to evaluate; its output is rounded to 8 bits before it is measured.
        clean_folder: Folder with clean photos.
        seed: Of the directions and the noise; with the photo's name it fixes both.
        limit: Use only the first so many photos.
        on_progress: Called after each image.

    Raises:
        ImageFileError: The folder holds no photos, or one cannot be read.
        EvaluationError: The output has another size or is not finite.
    """
    photos = list_photos(clean_folder)[:limit]
    scores: dict[tuple[str, str], list[Row]] = {(kernel, noise): [] for kernel in KERNELS for noise in NOISES}
    images = _images(photos, seed)
    for photo, kernel, noise, image, truth in tracked(images, len(photos) * len(scores), on_progress):
        scores[kernel, noise].append(quality(restore, image, truth, f"{photo} with {kernel}, {noise}"))
    rows = {key: quality_row(each) for key, each in scores.items()}
    table = {f"{kernel}, {noise}": row for (kernel, noise), row in rows.items()}
    for noise in NOISES:
        table[f"mean, {noise}"] = mean_of({kernel: rows[kernel, noise] for kernel in KERNELS})
    title = f"Blur of {len(photos)} photos in {Path(clean_folder).name}, seed {seed}"
    return Evaluation(title, (Table("kernel", QUALITY_COLUMNS, table),))


def _images(photos: list[Path], seed: int) -> Iterator[tuple[str, str, str, Tensor, Tensor]]:
    """Yield the photo's name, the kernel, the noise, and the blurred and the clean image."""
    for photo in photos:
        clean = read_photo(photo)
        truth = to_tensor(clean)
        angle = stable_generator(seed, "motion angle", photo.name).uniform(0.0, 180.0)
        for kernel, severities in KERNELS.items():
            moved = replace(severities, motion_angle=angle) if severities.motion_length else severities
            for noise, sigma in NOISES.items():
                rng = stable_generator(seed, "blur", kernel, photo.name)
                blurred = synthesize(clean, replace(moved, noise_sigma=sigma), rng)
                yield photo.name, kernel, noise, to_tensor(blurred.image), truth

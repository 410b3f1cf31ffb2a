"""The degraded images from which an adapter is fitted: pieces of clean photographs, degraded by the generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import MllmError
from ..image_files import read_image
from ..synthesis.degrade import synthesize
from ..synthesis.severities import COMBINATIONS, Severities, sample_combination, sample_severities, with_blur, with_jpeg
from ..vocabulary import DEGRADATIONS, PARAMETERS

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Endings of the files that count as photographs, in lower case."""

BUNDLED = Path(__file__).resolve().parent.parent.parent / "cli" / "photos"
"""Photographs of the pack, for users who give none."""

NOT_CLEAN = ("waiting_room.jpg",)
"""Of these the ones that are degraded themselves."""

SIDES = (192, 416)
"""Smallest and largest side of a degraded image in px."""

CLEAN_SHARE, COMPOSITE_SHARE = 0.08, 0.3
"""Shares of the images without degradation and with a combination of CDD-11 in wide ranges; the rest is the training
mix of `sample_severities`."""

BLUR_SHARE, JPEG_SHARE = 0.25, 0.35
"""Shares of that rest to which blur and JPEG are added: in the mix alone one in twenty images has them, and a dozen
images teach nothing."""

Photo = Path | Tensor
"""A file, or [3, H, W] in 0..1."""


@dataclass(frozen=True)
class Picture:
    """A degraded image and the truth about it.

    Attributes:
        image: [3, H, W] in 0..1.
        clean: [3, H, W] in 0..1, before it was degraded.
        presence: [7], 1 where the degradation is present, else 0.
        strength: [7] in 0..1.
        parameters: [9], in the units of `PARAMETERS`.
        photo: Number of the photograph from which it was cut.
        known: Whether presence, strength and parameters are known; of a real degraded photograph they are not.
    """

    image: Tensor
    clean: Tensor
    presence: Tensor
    strength: Tensor
    parameters: Tensor
    photo: int
    known: bool = True


def photos_in(folder: Path | None) -> list[Photo]:
    """Return the photographs in a folder, sorted by name; the bundled ones where there is no folder.

    Raises:
        MllmError: The folder does not exist or holds no photograph.
    """
    where = BUNDLED if folder is None else folder
    if not where.is_dir():
        raise MllmError(f"There is no folder {where}: give the path of a folder with photos.")
    found = sorted(path for path in where.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if folder is None:
        found = [path for path in found if path.name not in NOT_CLEAN]
    if not found:
        raise MllmError(f"The folder {where} holds no photos: put {', '.join(SUFFIXES)} files directly into it.")
    return list(found)


def draw_picture(photos: Sequence[Photo], index: int, seed: int) -> Picture:
    """Return degraded image `index`, which depends on the photographs, the index and the seed alone."""
    rng = np.random.default_rng((seed, index))
    number = index % len(photos)
    chosen = photos[number]
    photo = read_image(chosen).rgb[0] if isinstance(chosen, Path) else chosen.float().cpu()
    clean = _piece(photo, rng)
    degraded = synthesize(clean.permute(1, 2, 0).contiguous().numpy(), _severities(rng), rng)
    truth = degraded.truth
    return Picture(
        image=torch.from_numpy(degraded.image).permute(2, 0, 1).contiguous(),
        clean=clean,
        presence=torch.from_numpy(truth.presence).float(),
        strength=torch.from_numpy(truth.strength).float(),
        parameters=torch.from_numpy(truth.parameters).float(),
        photo=number,
    )


def read_real(photo: Photo, number: int) -> Picture:
    """Return a real degraded photograph as it is; `number` tells it from other photographs."""
    image = read_image(photo).rgb[0] if isinstance(photo, Path) else photo.float().cpu()
    unknown = torch.zeros(len(DEGRADATIONS))
    return Picture(image, image, unknown, unknown.clone(), torch.zeros(len(PARAMETERS)), number, known=False)


def _severities(rng: np.random.Generator) -> Severities:
    kind = rng.random()
    if kind < CLEAN_SHARE:
        return Severities()
    if kind < CLEAN_SHARE + COMPOSITE_SHARE:
        return sample_combination(str(rng.choice(COMBINATIONS)), rng, wide=rng.random() < 0.5)
    severities = sample_severities(rng)
    if rng.random() < BLUR_SHARE:
        severities = with_blur(severities, rng)
    return with_jpeg(severities, rng) if rng.random() < JPEG_SHARE else severities


def _piece(photo: Tensor, rng: np.random.Generator) -> Tensor:
    """Cut a random piece out of a photograph [3, H, W], flipped and shrunk at random."""
    smallest = min(photo.shape[1:])
    share = min(1.0, max(rng.uniform(0.5, 1.3), SIDES[0] / smallest))
    height, width = (min(int(side * share), int(rng.integers(SIDES[0], SIDES[1] + 1))) for side in photo.shape[1:])
    rows, columns = (
        min(int(np.ceil(length / share)), whole) for length, whole in zip((height, width), photo.shape[1:], strict=True)
    )
    top = int(rng.integers(photo.shape[1] - rows + 1))
    left = int(rng.integers(photo.shape[2] - columns + 1))
    piece = photo[:, top : top + rows, left : left + columns]
    if (rows, columns) != (height, width):
        piece = F.interpolate(piece[None], (height, width), mode="bilinear", antialias=True, align_corners=False)[0]
    return (piece.flip(2) if rng.random() < 0.5 else piece).clamp(0, 1).contiguous()

"""The generated images of the evaluations, which depend on the seed and the name of the photo's file alone."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from ...model.synthesis.degrade import Degraded, RandomLayers, synthesize
from ...model.synthesis.severities import COMBINATIONS, sample_combination, sample_severities
from ...model.vocabulary import DEGRADATIONS
from ..data import scenes
from ..data.photos import read_photo


def composite(
    clean: np.ndarray,
    combination: str,
    name: str,
    seed: int,
    *,
    layers: RandomLayers | None = None,
    keep: Collection[str] = DEGRADATIONS,
) -> Degraded:
    """Degrade a photo by a combination of CDD-11 in the published ranges.

    Args:
        clean: The photo, [H, W, 3] in 0..1.
        combination: One of `COMBINATIONS`.
        name: Of the photo's file; fixes the degradations together with `combination` and `seed`.
        seed: Any number.
        layers: Keeps the random layers of the whole composite, to be used again for a part of it.
        keep: The degradations that are applied; the others are left out.
    """
    rng = stable_generator(seed, combination, name)
    severities = sample_combination(combination, rng).keeping(keep)
    return synthesize(clean, severities, rng, layers=layers)


def composites(photos: list[Path], seed: int) -> Iterator[tuple[Path, str, Tensor, Tensor]]:
    """Yield photo, combination, degraded and clean image [1, 3, H, W], photo by photo."""
    for photo in photos:
        clean = read_photo(photo)
        for kind in COMBINATIONS:
            yield photo, kind, to_tensor(composite(clean, kind, photo.name, seed).image), to_tensor(clean)


def mixtures(photos: list[Path], seed: int, repeats: int) -> Iterator[tuple[Path, Degraded]]:
    """Yield each photo `repeats` times, degraded by the mix that the networks are trained on."""
    for photo in photos:
        clean = read_photo(photo)
        for repeat in range(repeats):
            rng = stable_generator(seed, "describe", repeat, photo.name)
            yield photo, synthesize(clean, sample_severities(rng), rng)


def stable_generator(*keys: object) -> np.random.Generator:
    """Return a random generator that depends on the keys alone, on every machine and in every process."""
    digest = hashlib.sha256("\0".join(str(key) for key in keys).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def to_tensor(image: np.ndarray) -> Tensor:
    """Convert [H, W, 3] to [1, 3, H, W] float32."""
    return scenes.to_tensor(image).float()[None]

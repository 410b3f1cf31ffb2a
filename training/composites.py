"""The composites of an evaluation: degraded pictures that seed, combination and the file's name fix for good."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from ..model.guidance import DEGRADATIONS
from ..model.imaging.degradations import (
    COMBINATIONS,
    Degraded,
    Layers,
    degrade,
    sample_combination,
    sample_severities,
)
from . import samples
from .photos import read_photo


def composite(
    clean: np.ndarray,
    combination: str,
    name: str,
    seed: int,
    *,
    layers: Layers | None = None,
    keep: Collection[str] = DEGRADATIONS,
) -> Degraded:
    """A clean [H, W, 3] photo, degraded in the published ranges as seed, combination and name say.

    Args:
        layers: those of the whole composite are kept here, and used again.
        keep: the degradations that are done; the others are left out.
    """
    rng = stable_generator(seed, combination, name)
    severities = sample_combination(combination, rng).keeping(keep)
    return degrade(clean, severities, rng, layers=layers)


def mixtures(photos: list[Path], seed: int, repeats: int) -> Iterator[tuple[Path, Degraded]]:
    """Each photo `repeats` times, degraded as the mix draws it that networks are trained on."""
    for photo in photos:
        clean = read_photo(photo)
        for repeat in range(repeats):
            rng = stable_generator(seed, "describe", repeat, photo.name)
            yield photo, degrade(clean, sample_severities(rng), rng)


def stable_generator(*keys: object) -> np.random.Generator:
    """A generator that depends on the keys alone, the same on every machine and in every process."""
    digest = hashlib.sha256("\0".join(str(key) for key in keys).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def to_tensor(picture: np.ndarray) -> Tensor:
    """[H, W, 3] to [1, 3, H, W] float32."""
    return samples.to_tensor(picture).float()[None]


def composites(photos: list[Path], seed: int) -> Iterator[tuple[Path, str, Tensor, Tensor]]:
    """Photo, combination, degraded picture and truth, photo by photo."""
    for photo in photos:
        clean = read_photo(photo)
        for kind in COMBINATIONS:
            yield photo, kind, to_tensor(composite(clean, kind, photo.name, seed).picture), to_tensor(clean)

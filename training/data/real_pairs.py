"""Given pairs: the same piece of a degraded and of a clean photograph, and how strong the degradation is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ...model.synthesis.degrade import Degraded, GroundTruth, from_underexposed_pair
from ...model.synthesis.weather import RAIN_RMS
from ...model.vocabulary import DEGRADATIONS, PARAMETERS

LOW_PARTS = ("low_light", "noise")
"""Degradations of CDD-11's low light, which comes with noise of sigma 0.03 to 0.08."""

LOCAL = 9
"""Side in px of the neighborhood whose mean is taken out of a difference, so that a change of light is no noise."""


def real_pair_folders(folder: str | Path) -> dict[str, Path]:
    """Return the folders with `input/` and `target/` of each degradation, `<degradation>/train`, that are there."""
    found = {name: Path(folder) / name / "train" for name in DEGRADATIONS}
    return {name: path for name, path in found.items() if path.is_dir()}


def from_real_pair(image: np.ndarray, clean: np.ndarray, kind: str) -> Degraded:
    """Return a given degraded photograph and its ground truth, estimated from the clean one.

    Args:
        image: [H, W, 3] in 0..1.
        clean: The same scene.
        kind: What the photograph suffers from, one of `DEGRADATIONS` or a combination of CDD-11; nothing is known about
            other degradations.

    Returns:
        The image; the strength of what cannot be estimated (blur, JPEG, snow, several at once) is the middle of the
        scale.
    """
    if kind == "low_light":
        return from_underexposed_pair(image, clean)
    names = degradations_of(kind)
    strength = np.zeros(len(DEGRADATIONS), np.float32)
    for name in names:
        value = _strength(image, clean, name) if len(names) == 1 else 0.5
        strength[DEGRADATIONS.index(name)] = np.clip(value, 0.1, 1.0)
    parameters = np.full(len(PARAMETERS), np.nan, np.float32)
    return Degraded(image, GroundTruth(strength > 0, strength, parameters))


def degradations_of(kind: str) -> tuple[str, ...]:
    """Return the degradations of a kind of pairs: one of `DEGRADATIONS`, or those of a combination of CDD-11."""
    if kind in DEGRADATIONS:
        return (kind,)
    return tuple(name for part in kind.split("_") for name in (LOW_PARTS if part == "low" else (part,)))


def _strength(image: np.ndarray, clean: np.ndarray, degradation: str) -> float:
    """Return a strength as `GroundTruth` measures it on generated images."""
    if degradation == "noise":
        return float(np.sqrt(fine_part(image - clean).std() * 255.0 / 55.0))
    if degradation == "rain":
        return float(np.sqrt(np.square(np.maximum(fine_part(image - clean), 0.0)).mean())) / RAIN_RMS
    if degradation == "haze":
        spread = float(np.square(clean - clean.mean()).mean())
        shared = float(((clean - clean.mean()) * (image - image.mean())).mean())
        return (1.0 - shared / max(spread, 1e-6)) / 0.8
    return 0.5


def fine_part(difference: np.ndarray, local: int = LOCAL) -> np.ndarray:
    """Return a difference [H, W, 3] without its mean over a neighborhood of an odd side."""
    planes = torch.from_numpy(np.ascontiguousarray(difference.transpose(2, 0, 1)))[None]
    mean = F.avg_pool2d(planes, local, 1, local // 2, count_include_pad=False)
    return (planes - mean)[0].permute(1, 2, 0).numpy()

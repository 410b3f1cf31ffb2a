"""Pictures on the disk, a restoration that does nothing, and guidance made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mofe_restore.model.guidance import PARAMETERS, Guidance


def save(path: Path, seed: int, height: int = 48, width: int = 56, change: float = 0.0) -> Path:
    """A smooth picture with some texture."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray((rng.random((6, 7, 3)) * 200 + 20).astype(np.uint8))
    picture = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    picture = picture + rng.normal(0, 4, picture.shape) + 255 * change
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(path)
    return path


def unchanged(picture: Tensor) -> Tensor:
    return picture


def guidance(scores: list[float], parameters: list[float] | None = None, mark: float = 0.0) -> Guidance:
    values = parameters or [0.0] * len(PARAMETERS)
    pooled = torch.full((1, 2), mark)
    return Guidance(torch.zeros(1, 1, 2), pooled, torch.tensor([scores]), torch.tensor([values]), ("",), "test")

"""Embeddings of generated and real images, and what is known about them; each is computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor
from tqdm import tqdm

from ...model.mllm.describer import Mllm
from ...model.synthesis.degrade import Degraded, synthesize
from ...model.weights import write_tensors
from ..data.photos import list_photos, read_photo
from ..data.real_photos import presence_of, real_folders
from ..data.scenes import to_tensor
from ..metrics import quantise
from .config import HeadData, HeadRun

SIDES = (256, 512)
"""Smallest and largest side of a generated image in px."""


@dataclass(frozen=True)
class Examples:
    """Embeddings and what is known about them.

    Attributes:
        pooled: [N, D].
        presence: [N, 7] in 0..1.
        known: [N, 7], 1 where the presence is known, else 0.
    """

    pooled: Tensor
    presence: Tensor
    known: Tensor

    def and_more(self, other: Examples) -> Examples:
        """Return the examples of both."""
        pairs = ((self.pooled, other.pooled), (self.presence, other.presence), (self.known, other.known))
        return Examples(*(torch.cat(pair) for pair in pairs))


@torch.inference_mode()
def embed(mllm: Mllm, image: Tensor) -> tuple[Tensor, Tensor]:
    """Return tokens [T, D] and pooled vector [D] of an image [3, H, W], as at inference."""
    tokens, pooled = mllm.embed(mllm.view_sets(image))
    first: Tensor = tokens[0]
    return first, pooled.mean(0)


def embed_generated(mllm: Mllm, settings: HeadRun, photos: list[Path], count: int, cache: Path) -> Examples:
    """Embed random pieces of clean photos, degraded as the mix says."""

    def make(index: int) -> Degraded:
        rng = np.random.default_rng((settings.fit.seed, index))
        piece = random_piece(read_photo(photos[index % len(photos)]), rng)
        return synthesize(piece, settings.mix.draw(rng), rng)

    return embed_degraded(mllm, make, count, cache)


def embed_degraded(mllm: Mllm, make: Callable[[int], Degraded], count: int, cache: Path) -> Examples:
    """Embed the degraded images that `make` returns for 0 to `count` - 1."""

    def rows() -> Iterator[dict[str, Tensor]]:
        for degraded in map(make, range(count)):
            presence = torch.from_numpy(degraded.truth.presence).float()
            yield {"pooled": embed(mllm, to_tensor(degraded.image))[1], "presence": presence}

    stored = cached(cache, rows, count)
    return Examples(stored["pooled"], stored["presence"], torch.ones_like(stored["presence"]))


def embed_photos(mllm: Mllm, photos: Iterable[np.ndarray], count: int, cache: Path) -> Tensor:
    """Embed `count` photos [H, W, 3], [N, D]; they are only read where `cache` does not hold them."""
    return cached(cache, lambda: ({"pooled": embed(mllm, to_tensor(photo))[1]} for photo in photos), count)["pooled"]


def random_piece(photo: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut a random piece out of a photo [H, W, 3], of `SIDES` where it is as large."""
    height, width = (min(side, int(rng.integers(SIDES[0], SIDES[1] + 1))) for side in photo.shape[:2])
    return cut_out(photo, height, width, rng)


def cut_out(photo: np.ndarray, height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a piece of a size in px out of a random place of a photo [H, W, 3]."""
    top = int(rng.integers(photo.shape[0] - height + 1))
    left = int(rng.integers(photo.shape[1] - width + 1))
    return np.ascontiguousarray(photo[top : top + height, left : left + width])


def embed_real(mllm: Mllm, data: HeadData, cache: Path) -> Examples:
    """Embed real photographs with what their folder says about them."""
    parts = []
    for name, folder, presence in real_folders(data.real_weak, data.real_pairs):
        photos = list_photos(folder)
        pooled = embed_photos(mllm, map(read_photo, photos), len(photos), cache / f"{name}.safetensors")
        values, known = map(torch.from_numpy, presence_of(presence))
        parts.append(Examples(pooled, values.expand(len(pooled), -1), known.expand(len(pooled), -1)))
    return Examples(*(torch.cat([getattr(part, name) for part in parts]) for name in ("pooled", "presence", "known")))


def shrunk(photo: np.ndarray, side: int) -> np.ndarray:
    """Shrink a photo [H, W, 3] in 0..1 to a longest side in px, in steps of 1/255; smaller ones stay."""
    longest = max(photo.shape[:2])
    if longest <= side:
        return photo
    height, width = (round(length * side / longest) for length in photo.shape[:2])
    small = F.interpolate(to_tensor(photo)[None], (height, width), mode="bilinear", antialias=True)
    return np.ascontiguousarray(quantise(small)[0].permute(1, 2, 0).numpy())


def cached(path: Path, make: Callable[[], Iterator[dict[str, Tensor]]], count: int) -> dict[str, Tensor]:
    """Return the stacked results of `make`, from the file `path` if it holds so many, else computed and stored."""
    if path.exists():
        stored = load_file(path)
        if all(len(value) == count for value in stored.values()):
            return stored
    rows = list(tqdm(make(), total=count, desc=path.stem, unit="image", disable=None))
    stacked = {key: torch.stack([row[key] for row in rows]).clone() for key in rows[0]}
    write_tensors(path, stacked)
    return stacked

"""From a folder of clean photos to degraded training scenes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F

from ..model.guidance import DEGRADATIONS
from ..model.imaging.degradations import (
    COMBINATIONS,
    Degraded,
    Layers,
    Severities,
    degrade,
    sample_combination,
    sample_severities,
    underexposed,
)
from ..model.imaging.severities import HEAVIEST_NOISE, with_blur, with_noise
from .config import TrainingError
from .pairs import match_files
from .photos import PhotoError, list_photos, read_photo

IN_PART = 0.3
"""Share of the steered scenes in which what is kept is kept in part."""

HEAVIEST_SOFT_RAIN = 1.3
"""Severity of the heaviest soft rain that is shown: the veil of Rain1400's heaviest is more than `RAIN_RMS`."""

HEAVIEST_SNOW = 1.1
"""Severity of the heaviest snow alone."""

QUIET = 0.02
"""Most noise, as a sigma, of a quiet dark scene."""

STRONGEST_TINT = 0.12
WHITEST_AIRLIGHT = 1.0
"""Of a tinted haze; the published airlight is grey and ends at 0.9."""

NOISE_OF_THE_DARK = 25.0
"""Half of the noise alone is at most this, of 255, as the noise of dark pictures is: else whatever is a little noisy
and not bright is taken for a darkened picture, which are many."""


@dataclass(frozen=True)
class PhotoStore:
    """Clean photos kept in memory as 8-bit arrays [H, W, 3]; loader processes share them by forking."""

    photos: tuple[np.ndarray, ...]
    rain_layers: tuple[np.ndarray, ...] = ()
    low_light: tuple[tuple[np.ndarray, np.ndarray], ...] = ()
    """Real photographs too dark and well lit, of one scene and size."""
    low_light_share: float = 0.0
    """Share of the scenes that are such pairs."""
    noise_share: float = 0.0
    rain_share: float = 0.0
    snow_share: float = 0.0
    blur_share: float = 0.0
    """Of the generated scenes, the shares that are noisy, rained on softly, snowed on, mostly in wind, or blurred, and
    nothing else, beside those that the training mix draws."""
    clean_share: float = 0.0
    """Of the generated scenes, beside those that the training mix draws, the share to which nothing is done."""
    wide_share: float = 0.5
    """Of the combinations of CDD-11, the share in wider ranges than the published ones."""
    quiet_share: float = 0.0
    """Of the generated dark scenes, the share with next to no noise of the dark: else noise is taken for the sign of
    darkness. A camera's own noise may be there all the same."""
    tinted_share: float = 0.0
    """Of the hazy scenes, the share whose airlight has a tint and may be white."""
    composite_share: float = 0.0
    """Of the generated scenes, those with such a combination and nothing else; the other shares are of the rest."""
    unusual_of: int = 1
    """Where the tone is to stay, the photo is of so many the one with the most unusual tone: a dark or pale photo that
    was meant to be so is rare, and is otherwise taken for one that low light or haze has made so."""

    @staticmethod
    def read(
        folder: Path,
        rain_layers: Path | None = None,
        limit: int = 0,
        *,
        low_light: Path | None = None,
        shortest: int = 0,
        **shares: float,
    ) -> PhotoStore:
        """Read every photo of `folder` (the first `limit`, when given) and every rain layer (grey pictures).

        Args:
            low_light: folder of real pairs, `input/` too dark and `target/` well lit.
            shortest: the least side of a photo in px.
            shares: as the fields of these names.

        Raises:
            PhotoError: a folder or a photo cannot be read, a photo is too small, or a pair is of two sizes.
            EvaluationError: an input without its target.
        """
        paths = list_photos(folder)
        pairs = match_files(low_light / "input", low_light / "target") if low_light else ()
        with ThreadPoolExecutor() as pool:
            photos = tuple(pool.map(lambda path: _read(path, shortest), paths[:limit] if limit else paths))
            masks = () if rain_layers is None else list_photos(rain_layers)
            layers = tuple(pool.map(lambda path: read_photo(path)[..., 0], masks))
            dark = tuple(pool.map(lambda pair: _read_pair(*pair, shortest), pairs))
        if not dark:
            shares["low_light_share"] = 0.0
        return PhotoStore(photos, layers, dark, **shares)

    def scene(
        self, rng: np.random.Generator, sides: tuple[int, int], multiple: int = 8, unusual_of: int = 1
    ) -> np.ndarray:
        """A random piece of a random photo, flipped and shrunk at random: float32 [h, w, 3] in 0..1.

        Its sides are drawn from `sides` (smallest, largest, in px) and are multiples of `multiple`. The photo is of
        `unusual_of` the one with the most unusual tone.
        """
        photos = rng.integers(len(self.photos), size=unusual_of)
        photo = photos[0] if unusual_of == 1 else photos[self._unusual[photos].argmax()]
        return _same_piece([self.photos[photo]], rng, sides, multiple)[0]

    def _scene_for(self, severities: Severities, rng: np.random.Generator, sides: tuple[int, int]) -> np.ndarray:
        """A `scene` to be degraded so: the most unusual of `unusual_of` where the tone is to stay."""
        leaves_tone = severities.keeping(("noise", "blur", "jpeg")) == severities
        return self.scene(rng, sides, unusual_of=self.unusual_of if leaves_tone else 1)

    @cached_property
    def _unusual(self) -> np.ndarray:
        """How far each photo's mean and deviation of brightness lie from those of all, in deviations of these: [N]."""
        samples = [photo[::8, ::8].mean(axis=2) for photo in self.photos]
        tones = np.array([(sample.mean(), sample.std()) for sample in samples])
        return (np.abs(tones - tones.mean(axis=0)) / np.maximum(tones.std(axis=0), 1e-6)).sum(axis=1)

    def dark_scene(
        self, rng: np.random.Generator, sides: tuple[int, int], multiple: int = 8
    ) -> tuple[np.ndarray, Degraded]:
        """The same random piece of a real pair: well lit, and too dark with what is known of it."""
        pair = self.low_light[rng.integers(len(self.low_light))]
        dark, lit = _same_piece(list(pair), rng, sides, multiple)
        return lit, underexposed(dark, lit)

    def severities(self, rng: np.random.Generator) -> Severities:
        """Draws the training mix, or one degradation or a combination alone as often as their shares say."""
        severities = self._severities(rng)
        if self.quiet_share and severities.low_light_noise and rng.random() < self.quiet_share:
            severities = replace(severities, low_light_noise=rng.uniform(0.0, QUIET))
        if self.tinted_share and severities.haze_beta and rng.random() < self.tinted_share:
            airlight = rng.uniform(severities.airlight, WHITEST_AIRLIGHT)
            severities = replace(severities, airlight=airlight, haze_tint=rng.uniform(-STRONGEST_TINT, STRONGEST_TINT))
        return severities

    def _severities(self, rng: np.random.Generator) -> Severities:
        """The same in the ranges of `sample_combination`."""
        if self.composite_share and rng.random() < self.composite_share:
            return sample_combination(str(rng.choice(COMBINATIONS)), rng, wide=rng.random() < self.wide_share)
        kind = rng.random()
        if kind < self.noise_share:
            return with_noise(Severities(), rng, NOISE_OF_THE_DARK if rng.random() < 0.5 else HEAVIEST_NOISE)
        kind -= self.noise_share
        if kind < self.rain_share:
            return Severities(rain=rng.uniform(0.1, HEAVIEST_SOFT_RAIN), soft_rain=True)
        kind -= self.rain_share
        if kind < self.snow_share:
            return Severities(snow=rng.uniform(0.2, HEAVIEST_SNOW), blown_snow=rng.random() < 0.6)
        kind -= self.snow_share
        if kind < self.blur_share:
            return with_blur(Severities(), rng)
        kind -= self.blur_share
        if kind < self.clean_share:
            return Severities()
        return sample_severities(rng, self.wide_share)

    def degraded_scene(
        self, rng: np.random.Generator, sides: tuple[int, int], severities: Severities | None = None
    ) -> tuple[np.ndarray, Degraded]:
        """A clean scene and what became of it, with severities of the training mix unless others are given."""
        if severities is None and rng.random() < self.low_light_share:
            return self.dark_scene(rng, sides)
        severities = self.severities(rng) if severities is None else severities
        clean = self._scene_for(severities, rng, sides)
        return clean, degrade(clean, severities, rng, rain_layers=self.rain_layers)

    def steered_scene(
        self, rng: np.random.Generator, sides: tuple[int, int], share: float
    ) -> tuple[np.ndarray, Degraded, np.ndarray]:
        """A target, what the scene became, and how much of each degradation to remove, [7] float32 in 0..1.

        In a `share` of the generated scenes some degradations are to be kept, all of them or in part: the target is the
        scene with nothing else done to it (in part: mixed with the clean scene). In the others the target is clean.
        """
        removal = np.ones(len(DEGRADATIONS), dtype=np.float32)
        if rng.random() < self.low_light_share:
            return *self.dark_scene(rng, sides), removal
        severities, layers = self.severities(rng), Layers()
        clean = self._scene_for(severities, rng, sides)
        degraded = degrade(clean, severities, rng, rain_layers=self.rain_layers, layers=layers)
        if not degraded.truth.presence.any() or rng.random() >= share:
            return clean, degraded, removal
        present = np.flatnonzero(degraded.truth.presence)
        amount = rng.random() if rng.random() < IN_PART else 0.0
        kept = rng.random(len(DEGRADATIONS)) < 0.5  # of the absent ones too: they are to make no difference
        kept[rng.choice(present)] = True
        removal[kept] = amount
        names = [DEGRADATIONS[index] for index in present if kept[index]]
        partial = degrade(clean, severities.keeping(names), rng, layers=layers).picture
        return clean * np.float32(amount) + partial * np.float32(1.0 - amount), degraded, removal


class Sources(Protocol):
    """Where the pictures of a training program come from; its [data] table is one."""

    photos: str
    rain_layers: str
    low_light: str
    low_light_share: float
    noise_share: float
    rain_share: float
    snow_share: float
    blur_share: float
    wide_share: float
    quiet_share: float
    tinted_share: float


SHARES = (
    "low_light_share",
    "noise_share",
    "rain_share",
    "snow_share",
    "blur_share",
    "wide_share",
    "quiet_share",
    "tinted_share",
)
"""The shares that all `Sources` have."""

ALONE = ("noise_share", "rain_share", "snow_share", "blur_share")
"""Of these the shares of scenes with one degradation and nothing else."""


def check_shares(sources: Sources, *more: str) -> None:
    """Refuses shares outside 0..1, and shares of one thing alone that add up to more than all.

    Args:
        more: names of other shares of the same kind as those `ALONE`.

    Raises:
        TrainingError: says what is wrong.
    """
    for name in (*SHARES, *more):
        if not 0 <= getattr(sources, name) <= 1:
            raise TrainingError(f"{name} in [data] must lie between 0 and 1, not {getattr(sources, name)}.")
    *names, last = alone = (*ALONE, *more)
    if (total := sum(getattr(sources, name) for name in alone)) > 1:
        raise TrainingError(f"{', '.join(names)} and {last} in [data] must not add up to more than 1, not {total:g}.")


def read_store(sources: Sources, shortest: int = 0) -> PhotoStore:
    """Reads all of them, whose sides are to have so many px at least; empty paths are left out."""
    return PhotoStore.read(
        Path(sources.photos),
        Path(sources.rain_layers) if sources.rain_layers else None,
        low_light=Path(sources.low_light) if sources.low_light else None,
        shortest=shortest,
        **{name: getattr(sources, name) for name in SHARES},
    )


def _same_piece(
    pictures: list[np.ndarray], rng: np.random.Generator, sides: tuple[int, int], multiple: int
) -> list[np.ndarray]:
    """The same piece of pictures [H, W, 3] of one size in bytes, as `PhotoStore.scene` describes it."""
    size = pictures[0].shape[:2]
    share = min(1.0, max(rng.uniform(0.6, 1.3), sides[0] / min(size)))
    height, width = (
        min(_round_down(int(side * share), multiple), _round_down(int(rng.integers(sides[0], sides[1] + 1)), multiple))
        for side in size
    )
    # The piece is cut out before it is shrunk: shrinking is the dearer of the two.
    rows, columns = (
        min(int(np.ceil(length / share)), whole) for length, whole in zip((height, width), size, strict=True)
    )
    top = int(rng.integers(size[0] - rows + 1))
    left = int(rng.integers(size[1] - columns + 1))
    flipped = rng.random() < 0.5
    return [_cut_out(each[top : top + rows, left : left + columns], flipped, height, width) for each in pictures]


def _cut_out(piece: np.ndarray, flipped: bool, height: int, width: int) -> np.ndarray:
    """A piece [h, w, 3] in bytes, mirrored and shrunk: float32 [height, width, 3] in 0..1."""
    piece = piece[:, ::-1] if flipped else piece
    scene = torch.from_numpy(np.ascontiguousarray(piece)).permute(2, 0, 1)[None].float() / 255
    if scene.shape[2:] != (height, width):
        scene = F.interpolate(scene, (height, width), mode="bilinear", antialias=True, align_corners=False)
    return scene[0].permute(1, 2, 0).contiguous().numpy()


def sample_generator(seed: int, *indices: int) -> np.random.Generator:
    """The random numbers of one training sample: a function of the run's seed and the sample's place alone."""
    return np.random.default_rng(np.random.SeedSequence((seed, *indices)))


def to_tensor(picture: np.ndarray) -> torch.Tensor:
    """[H, W, 3] array to [3, H, W] tensor."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def _read(path: Path, shortest: int) -> np.ndarray:
    """A photo in bytes, of at least so many px a side."""
    photo = _to_bytes(read_photo(path))
    if min(photo.shape[:2]) < shortest:
        raise PhotoError(f"{path} is {photo.shape[1]} x {photo.shape[0]} px: {shortest} px a side are needed.")
    return photo


def _read_pair(before: Path, after: Path, shortest: int) -> tuple[np.ndarray, np.ndarray]:
    dark, lit = _read(before, shortest), _read(after, shortest)
    if dark.shape != lit.shape:
        raise PhotoError(f"{before} and {after} differ in size: the two of a pair must be of one size.")
    return dark, lit


def _to_bytes(picture: np.ndarray) -> np.ndarray:
    return (picture * 255).round().astype(np.uint8)


def _round_down(length: int, multiple: int) -> int:
    return max(length // multiple * multiple, multiple)

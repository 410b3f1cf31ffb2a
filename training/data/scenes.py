"""Degraded training scenes: random pieces of clean photos, degraded as the mix says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np
import torch
import torch.nn.functional as F

from ...model.errors import ImageFileError, TrainingError
from ...model.synthesis.degrade import Degraded, RandomLayers, from_underexposed_pair, synthesize
from ...model.synthesis.severities import Severities
from ...model.vocabulary import DEGRADATIONS
from .mix import Mix
from .pairs import match_files
from .photos import list_photos, read_photo
from .published import training_pairs
from .real_pairs import from_real_pair, real_pair_folders

PARTIAL_SHARE = 0.3
"""Share of the steered scenes in which degradations are kept partly."""

ALL_SET, SOME_SET = 0.35, 0.35
"""Shares of the scenes with set severities in which those of all, or of some degradations are set as the MLLM sees
them; in the others the MLLM does not see what is there, or sees what is not."""

MANY_PAIRS = 2000
"""Kinds with more real pairs than this are not drawn more often than those with so many."""

Pair = tuple[np.ndarray, np.ndarray]
"""A degraded and a clean photograph of one size, [H, W, 3] in bytes."""


@dataclass(frozen=True)
class SteeredScene:
    """A scene for a restorer that can be told what to remove and how strong it is.

    Attributes:
        target: What the restorer is to make of it, [h, w, 3].
        degraded: The scene and its ground truth.
        removal: How much of each degradation to remove, [7] float32 in 0..1.
        severities: Strengths that the restorer is told, [7] float32 in 0..1; NaN where it is told nothing.
        seen: What the MLLM sees, [h, w, 3]: the degraded scene, or one with other degradations.
    """

    target: np.ndarray
    degraded: Degraded
    removal: np.ndarray
    severities: np.ndarray
    seen: np.ndarray


@dataclass(frozen=True)
class SceneSampler:
    """Draws degraded scenes from clean photos in memory; loader processes share the photos by forking.

    Attributes:
        photos: Clean photos, 8-bit arrays [H, W, 3].
        rain_layers: Given layers of rain, [h, w] floats in 0..1.
        low_light: Pairs of under-exposed and well exposed photographs of the same scene and size.
        real: Given pairs of degraded and clean photographs by kind, see `from_real_pair`.
        mix: How often scenes get which degradations.
    """

    photos: tuple[np.ndarray, ...]
    rain_layers: tuple[np.ndarray, ...] = ()
    low_light: tuple[Pair, ...] = ()
    real: Mapping[str, Sequence[Pair]] = field(default_factory=dict)
    mix: Mix = field(default_factory=Mix)

    @staticmethod
    def read(
        folder: str | Path,
        mix: Mix | None = None,
        *,
        rain_layers: str | Path = "",
        low_light: str | Path = "",
        real_pairs: str | Path = "",
        min_side: int = 0,
    ) -> SceneSampler:
        """Read all photos into memory, except the pairs of published sets, which are many.

        Args:
            folder: Clean photos.
            mix: How often scenes get which degradations.
            rain_layers: Folder of rain layers (grey images); empty for none.
            low_light: Folder of real pairs, `input/` under-exposed and `target/` well exposed; empty for none.
            real_pairs: Folder of real pairs by degradation, `<degradation>/train/{input,target}`, or of published sets
                (`training_pairs`); empty for none.
            min_side: Required length in px of the shorter side of a photo.

        Raises:
            ImageFileError: A folder or a photo cannot be read, a photo is too small, or a pair differs in size.
            EvaluationError: An input without its target.
            TrainingError: `real_pairs` holds none.
        """
        paths = list_photos(folder)
        pairs = match_files(Path(low_light) / "input", Path(low_light) / "target") if low_light else ()
        with ThreadPoolExecutor() as pool:
            photos = tuple(pool.map(lambda path: _read(path, min_side), paths))
            masks = list_photos(rain_layers) if rain_layers else []
            layers = tuple(pool.map(lambda path: read_photo(path)[..., 0], masks))
            dark = tuple(pool.map(lambda pair: _read_pair(pair[0], pair[1], min_side), pairs))
            real: dict[str, Sequence[Pair]] = {
                name: tuple(
                    pool.map(
                        lambda pair: _read_pair(pair[0], pair[1], min_side),
                        match_files(path / "input", path / "target"),
                    )
                )
                for name, path in (real_pair_folders(real_pairs) if real_pairs else {}).items()
            }
        if real_pairs and not real:
            published = training_pairs(Path(real_pairs))
            real = {kind: _PairFiles(tuple(files), min_side) for kind, files in published.items()}
            if not real:
                raise TrainingError(
                    f"real_pairs in [data], {real_pairs}, holds no pairs of a known layout (docs/training.md)."
                )
        return SceneSampler(photos, layers, dark, real, mix or Mix())

    def draw_clean(
        self, rng: np.random.Generator, sides: tuple[int, int], multiple: int = 8, outlier_of: int = 1
    ) -> np.ndarray:
        """Draw a random piece of a random photo, flipped and shrunk at random: float32 [h, w, 3] in 0..1.

        Args:
            rng: Source of randomness.
            sides: Smallest and largest side in px.
            multiple: Sides are multiples of it.
            outlier_of: The photo is the one of so many whose tone is the most unusual.
        """
        photos = rng.integers(len(self.photos), size=outlier_of)
        photo = photos[0] if outlier_of == 1 else photos[self._tone_distance[photos].argmax()]
        return _same_piece([self.photos[photo]], rng, sides, multiple)[0]

    def draw_degraded(
        self, rng: np.random.Generator, sides: tuple[int, int], severities: Severities | None = None
    ) -> tuple[np.ndarray, Degraded]:
        """Draw a clean scene and degrade it, with severities of the mix unless others are given."""
        pair = self.draw_pair(rng, sides) if severities is None else None
        if pair is not None:
            return pair
        severities = self.mix.draw(rng) if severities is None else severities
        clean = self._draw_clean_for(severities, rng, sides)
        return clean, synthesize(clean, severities, rng, rain_layers=self.rain_layers)

    def draw_steered(
        self, rng: np.random.Generator, sides: tuple[int, int], share: float, set_share: float = 0.0
    ) -> SteeredScene:
        """Draw a scene for a restorer that can be told what to keep, and how strong what it removes is.

        Args:
            rng: Source of randomness.
            sides: Smallest and largest side in px.
            share: Share of the generated scenes in which some degradations are to be kept, completely or partly: the
                target is the scene with only these (partly: mixed with the clean scene). In the others it is clean.
            set_share: Share of the scenes in which the restorer is told strengths. In some of them the MLLM does not
                see what is there, or sees what is not, so that what is told holds.
        """
        removal, nothing = np.ones(len(DEGRADATIONS), np.float32), np.full(len(DEGRADATIONS), np.nan, np.float32)
        pair = self.draw_pair(rng, sides)
        if pair is not None:
            clean, degraded = pair
            told = nothing
            if set_share and rng.random() < set_share:  # a pair tells nothing about other degradations
                told = np.where(degraded.truth.presence, degraded.truth.strength, nothing)
            return SteeredScene(clean, degraded, removal, told, degraded.image)
        severities, layers = self.mix.draw(rng), RandomLayers()
        clean = self._draw_clean_for(severities, rng, sides)
        degraded = synthesize(clean, severities, rng, rain_layers=self.rain_layers, layers=layers)
        if not degraded.truth.presence.any() or rng.random() >= share:
            scene = SteeredScene(clean, degraded, removal, nothing, degraded.image)
            if not set_share or rng.random() >= set_share:
                return scene
            return self._with_severities(
                scene, rng, severities, lambda kept: synthesize(clean, kept, rng, layers=layers)
            )
        present = np.flatnonzero(degraded.truth.presence)
        amount = rng.random() if rng.random() < PARTIAL_SHARE else 0.0
        kept = rng.random(len(DEGRADATIONS)) < 0.5  # also of the absent ones: they are to make no difference
        kept[rng.choice(present)] = True
        removal[kept] = amount
        names = [DEGRADATIONS[index] for index in present if kept[index]]
        partial = synthesize(clean, severities.keeping(names), rng, layers=layers).image
        target = clean * np.float32(amount) + partial * np.float32(1.0 - amount)
        return SteeredScene(target, degraded, removal, nothing, degraded.image)

    def _with_severities(
        self,
        scene: SteeredScene,
        rng: np.random.Generator,
        severities: Severities,
        again: Callable[[Severities], Degraded],
    ) -> SteeredScene:
        """Tell strengths of a scene whose target is clean; `again` makes it with some of its degradations."""
        truth, how = scene.degraded.truth, rng.random()
        named = rng.random(len(DEGRADATIONS)) < 0.5
        if how < ALL_SET:
            named[:] = True
        if how < ALL_SET + SOME_SET or not truth.presence.any():
            return replace(scene, severities=np.where(named, truth.strength, np.nan).astype(np.float32))
        chosen = truth.presence & (rng.random(len(DEGRADATIONS)) < 0.5)
        chosen[rng.choice(np.flatnonzero(truth.presence))] = True
        without = again(severities.keeping([DEGRADATIONS[index] for index in np.flatnonzero(~chosen)]))
        if rng.random() < 0.6:  # the MLLM does not see what is there
            told = np.where(chosen | named, truth.strength, np.nan).astype(np.float32)
            return replace(scene, severities=told, seen=without.image)
        told = np.where(chosen | named, without.truth.strength, np.nan).astype(np.float32)
        return replace(scene, degraded=without, severities=told)

    def with_more(self, photos: Sequence[np.ndarray], mix: Mix) -> SceneSampler:
        """Return a sampler of these photos and more, with another mix."""
        return replace(self, photos=(*self.photos, *photos), mix=mix)

    def draw_pair(self, rng: np.random.Generator, sides: tuple[int, int]) -> tuple[np.ndarray, Degraded] | None:
        """Draw the same random piece of a real pair, as often as the mix says, else None.

        Returns:
            The clean piece [h, w, 3], and the degraded one with its truth.
        """
        if rng.random() < (self.mix.low_light_share if self.low_light else 0.0):
            dark, lit = _same_piece(list(self.low_light[rng.integers(len(self.low_light))]), rng, sides, 8)
            return lit, from_underexposed_pair(dark, lit)
        if not self.real or rng.random() >= self.mix.real_share:
            return None
        # kinds of many pairs more often than those of few, but not in proportion
        weights = np.sqrt([min(len(pairs), MANY_PAIRS) for pairs in self.real.values()])
        kind = list(self.real)[rng.choice(len(weights), p=weights / weights.sum())]
        pairs = self.real[kind]
        # published sets are evaluated at their own scale
        at_scale = isinstance(pairs, _PairFiles)
        image, clean = _same_piece(list(pairs[int(rng.integers(len(pairs)))]), rng, sides, 8, at_scale=at_scale)
        return clean, from_real_pair(image, clean, kind)

    def _draw_clean_for(self, severities: Severities, rng: np.random.Generator, sides: tuple[int, int]) -> np.ndarray:
        """Draw a clean scene to be degraded so: an outlier in tone where the degradations leave the tone as it is."""
        leaves_tone = severities.keeping(("noise", "blur", "jpeg")) == severities
        return self.draw_clean(rng, sides, outlier_of=self.mix.tone_outlier_of if leaves_tone else 1)

    @cached_property
    def _tone_distance(self) -> np.ndarray:
        """Distance of each photo's mean and deviation of brightness to those of all, in deviations of these: [N]."""
        samples = [photo[::8, ::8].mean(axis=2) for photo in self.photos]
        tones = np.array([(sample.mean(), sample.std()) for sample in samples])
        return np.asarray((np.abs(tones - tones.mean(axis=0)) / np.maximum(tones.std(axis=0), 1e-6)).sum(axis=1))


@dataclass(frozen=True)
class _PairFiles(Sequence[Pair]):
    """Pairs that are read from their files when they are drawn."""

    files: tuple[tuple[Path, Path], ...]
    min_side: int

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Pair: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Pair]: ...

    def __getitem__(self, index: int | slice) -> Pair | Sequence[Pair]:
        if isinstance(index, slice):
            return _PairFiles(self.files[index], self.min_side)
        return _read_pair(*self.files[index], self.min_side)


def _same_piece(
    images: list[np.ndarray],
    rng: np.random.Generator,
    sides: tuple[int, int],
    multiple: int,
    *,
    at_scale: bool = False,
) -> list[np.ndarray]:
    """Cut the same piece out of images [H, W, 3] of one size in bytes, as `SceneSampler.draw_clean` describes it.

    With `at_scale` it is never shrunk.
    """
    size = images[0].shape[:2]
    share = 1.0 if at_scale else min(1.0, max(rng.uniform(0.6, 1.3), sides[0] / min(size)))
    height, width = (
        min(_round_down(int(side * share), multiple), _round_down(int(rng.integers(sides[0], sides[1] + 1)), multiple))
        for side in size
    )
    # cut out before it is shrunk, which is the slower of the two
    rows, columns = (
        min(int(np.ceil(length / share)), whole) for length, whole in zip((height, width), size, strict=True)
    )
    top = int(rng.integers(size[0] - rows + 1))
    left = int(rng.integers(size[1] - columns + 1))
    flipped = rng.random() < 0.5
    return [cut_out(each[top : top + rows, left : left + columns], flipped, height, width) for each in images]


def cut_out(piece: np.ndarray, flipped: bool, height: int, width: int) -> np.ndarray:
    """Mirror and shrink a piece [h, w, 3] in bytes: float32 [height, width, 3] in 0..1."""
    piece = piece[:, ::-1] if flipped else piece
    scene = torch.from_numpy(np.ascontiguousarray(piece)).permute(2, 0, 1)[None].float() / 255
    if scene.shape[2:] != (height, width):
        scene = F.interpolate(scene, (height, width), mode="bilinear", antialias=True, align_corners=False)
    return scene[0].permute(1, 2, 0).contiguous().numpy()


def draw_windows(
    rng: np.random.Generator, size: tuple[int, int], side: int, count: int, multiple: int
) -> list[tuple[int, int]]:
    """Draw where square crops of a scene start: top and left in px, both multiples of `multiple`.

    Args:
        rng: Source of randomness.
        size: Height and width of the scene in px.
        side: Of the crops in px.
        count: Number of crops.
        multiple: Distance of the places in px.
    """
    places = [(length - side) // multiple + 1 for length in size]
    return [(int(rng.integers(places[0])) * multiple, int(rng.integers(places[1])) * multiple) for _ in range(count)]


def sample_generator(seed: int, *indices: int) -> np.random.Generator:
    """Return the generator of one training sample, which depends on the run's seed and the sample's indices alone."""
    return np.random.default_rng(np.random.SeedSequence((seed, *indices)))


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """Convert an array [H, W, 3] to a tensor [3, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _read(path: Path, min_side: int) -> np.ndarray:
    """Read a photo in bytes, of at least so many px a side."""
    return to_bytes(read_photo(path, min_side))


def _read_pair(before: Path, after: Path, min_side: int) -> tuple[np.ndarray, np.ndarray]:
    dark, lit = _read(before, min_side), _read(after, min_side)
    if dark.shape != lit.shape:
        raise ImageFileError(f"{before} and {after} differ in size: the two of a pair must be of one size.")
    return dark, lit


def to_bytes(image: np.ndarray) -> np.ndarray:
    """Convert an array in 0..1 to bytes."""
    return (image * 255).round().astype(np.uint8)


def _round_down(length: int, multiple: int) -> int:
    return max(length // multiple * multiple, multiple)

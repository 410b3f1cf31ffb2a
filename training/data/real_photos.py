"""Real photographs of which it is known whether some degradations are there, for the MLLM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...model.errors import TrainingError
from ...model.synthesis.degrade import synthesize
from ...model.synthesis.severities import Severities
from ...model.vocabulary import DEGRADATIONS
from .pairs import match_files
from .photos import list_photos, read_photo
from .real_pairs import fine_part, real_pair_folders
from .saved import save
from .scenes import SceneSampler, cut_out, to_bytes

GOOD = "good"
"""Label of the photographs without degradations; whether they are compressed is not known."""

WEAK_GOOD = "weak-good"
"""Name of their set."""

UNKNOWN = ("jpeg",)
"""Degradations that good photographs of the web may have."""

NOT_WITH = {"noise": ("low_light", "haze", "rain", "snow", "blur")}
"""What both photographs of a real pair do not have: noise is shown by sharp photographs of rooms and objects, and one
that is dark without its noise is meant to be dark."""

FINE = ("noise", "blur")
"""Degradations that are no longer there when a photograph is shrunk."""

SMALLEST_PIECE = 0.6
"""Smallest side of a piece, as a share of the photograph's: a small piece of a dark photograph may be a bright one."""

SMALLEST_SCALE = 0.5
"""A photograph may be shrunk to this share, unless its label is one of `FINE`."""

LONGEST_SIDE = 1024
"""Longest side of a piece in px: larger ones are shrunk by this program, as photographs of the web have been."""

NOISE_SIGMAS = (3.0, 25.0)
"""Standard deviations, in grey levels of 255, to which the noise of a pair is scaled for another photograph."""

NOISE_FROM = 4.0
"""Standard deviation from which it counts as noise; of less nothing is known."""

NOISE_LOCAL = 33
"""Side in px of the neighborhood whose mean is no noise in the difference of a pair: camera noise has coarse grains."""

SAVED_SHARE = 0.5
"""Share of the photographs with noise of another that are then saved as JPEG: the noise is to be known by itself."""


@dataclass(frozen=True)
class RealSet:
    """Photographs of which the same is known.

    Attributes:
        photos: [H, W, 3] in bytes.
        presence: By name, 1 for what they suffer from and 0 for what they do not; nothing is known about others.
        is_good: Whether they are those without degradations.
    """

    photos: tuple[np.ndarray, ...]
    presence: dict[str, float]
    is_good: bool = False


@dataclass(frozen=True)
class RealExample:
    """A piece of a real photograph.

    Attributes:
        image: [h, w, 3] float32 in 0..1.
        presence: [7] float32, 0 or 1.
        known: [7] float32, 1 where the presence is known.
    """

    image: np.ndarray
    presence: np.ndarray
    known: np.ndarray


@dataclass(frozen=True)
class RealSampler:
    """Draws pieces of real photographs in memory; loader processes share them by forking.

    Attributes:
        sets: The photographs by what is known about them.
        good_share: Share of the draws that are of the good photographs; the others are of all sets alike, those of many
            photographs more often than those of few, but not in proportion.
        noises: Noise of real pairs, [H, W, 3] float16 of deviation 1.
        noisy_share: Share of the draws that are good photographs, mostly dark ones, with such noise: a photograph that
            is meant dark is not under-exposed because it is noisy.
    """

    sets: Sequence[RealSet]
    good_share: float
    noises: Sequence[np.ndarray] = ()
    noisy_share: float = 0.0

    @staticmethod
    def read(weak: str | Path, pairs: str | Path, good_share: float, noisy_share: float = 0.0) -> RealSampler:
        """Read all photographs of the folders that `real_folders` finds.

        Raises:
            TrainingError: There are no good photographs, or no pairs whose noise could be added to them.
        """
        with ThreadPoolExecutor() as pool:
            sets = [
                RealSet(
                    tuple(pool.map(lambda path: to_bytes(read_photo(path)), list_photos(folder))),
                    presence,
                    name == WEAK_GOOD,
                )
                for name, folder, presence in real_folders(weak, pairs)
            ]
            noises = tuple(pool.map(_noise_of, _noise_pairs(pairs))) if noisy_share else ()
        return RealSampler(sets, good_share, noises, noisy_share)

    def draw(self, rng: np.random.Generator) -> RealExample:
        """Draw a piece of a photograph, mirrored and shrunk at random."""
        if self.noisy_share and rng.random() < self.noisy_share:
            return self._draw_noisy(rng)
        good = [each for each in self.sets if each.is_good]
        others = [each for each in self.sets if not each.is_good]
        if not others or rng.random() < self.good_share:
            chosen = good[0]
        else:
            weights = np.sqrt([len(each.photos) for each in others])
            chosen = others[rng.choice(len(others), p=weights / weights.sum())]
        photo = chosen.photos[rng.integers(len(chosen.photos))]
        image = _piece(photo, rng, shrunk=chosen.is_good or not set(FINE) & set(chosen.presence))
        return RealExample(image, *presence_of(chosen.presence))

    def _draw_noisy(self, rng: np.random.Generator) -> RealExample:
        """Draw a piece of a good photograph, the darkest of three, with the noise of a pair."""
        good = next(each for each in self.sets if each.is_good)
        candidates = [good.photos[int(number)] for number in rng.integers(len(good.photos), size=3)]
        image = _piece(min(candidates, key=lambda photo: photo[::4, ::4].mean()), rng, shrunk=True)
        noise = self.noises[int(rng.integers(len(self.noises)))].astype(np.float32)
        sigma = float(np.exp(rng.uniform(*np.log(NOISE_SIGMAS))))
        noise *= sigma / 255.0
        if rng.random() < 0.5:
            noise = noise[:, ::-1]
        repeats = [-(-side // have) for side, have in zip(image.shape[:2], noise.shape[:2], strict=True)]
        noise = np.tile(noise, (*repeats, 1))[: image.shape[0], : image.shape[1]]
        image = (np.clip(image + noise, 0.0, 1.0) * 255.0).round().astype(np.float32) / 255.0
        if rng.random() < SAVED_SHARE:
            image = save(synthesize(image, Severities(), rng), rng).image
        known = {name: value for name, value in good.presence.items() if name != "noise"}
        if sigma >= NOISE_FROM:
            known["noise"] = 1.0
        return RealExample(image, *presence_of(known))


def real_folders(weak: str | Path, pairs: str | Path) -> Iterator[tuple[str, Path, dict[str, float]]]:
    """Yield name, folder and known presences of each set of real photographs for training.

    Args:
        weak: Holds `<label>/train/`; `good/train` holds those without degradation.
        pairs: Holds `<degradation>/train/{input,target}/`; empty for none.

    Raises:
        TrainingError: There is no `good/train`.
    """
    weak, pair_folders = Path(weak), real_pair_folders(pairs) if pairs else {}
    if not (weak / GOOD / "train").is_dir():
        raise TrainingError(f"{weak} has no folder {GOOD}/train: real photographs without degradation are needed, too.")
    yield WEAK_GOOD, weak / GOOD / "train", {name: 0.0 for name in DEGRADATIONS if name not in UNKNOWN}
    for name in DEGRADATIONS:
        if (weak / name / "train").is_dir():
            yield f"weak-{name}", weak / name / "train", {name: 1.0}
        if name in pair_folders:
            absent = dict.fromkeys(NOT_WITH.get(name, ()), 0.0)
            yield f"pairs-{name}-input", pair_folders[name] / "input", {name: 1.0, **absent}
            yield f"pairs-{name}-target", pair_folders[name] / "target", {name: 0.0, **absent}


def pair_targets(pairs: str | Path) -> tuple[np.ndarray, ...]:
    """Read the clean photographs of the real pairs, [H, W, 3] in bytes; none where `pairs` is empty."""
    folders = real_pair_folders(pairs).values() if pairs else ()
    return tuple(photo for folder in folders for photo in SceneSampler.read(folder / "target").photos)


def presence_of(named: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the presences [7] of named degradations, and 1 for each that is named, else 0, [7]."""
    presence = np.array([named.get(name, 0.0) for name in DEGRADATIONS], np.float32)
    return presence, np.array([float(name in named) for name in DEGRADATIONS], np.float32)


def _noise_pairs(pairs: str | Path) -> list[tuple[Path, Path]]:
    """Return the noisy and the clean photograph of each real pair of noise."""
    folder = real_pair_folders(pairs).get("noise") if pairs else None
    if folder is None:
        raise TrainingError("noisy_share in [real] needs pairs of noise: name the folder in pairs, or set it to 0.")
    return list(match_files(folder / "input", folder / "target"))


def _noise_of(pair: tuple[Path, Path]) -> np.ndarray:
    """Return the noise of a pair, which is what differs in detail, [H, W, 3] float16 of deviation 1."""
    noisy, clean = pair
    noise = fine_part(read_photo(noisy) - read_photo(clean), NOISE_LOCAL)
    return (noise / max(float(noise.std()), 1e-4)).astype(np.float16)


def _piece(photo: np.ndarray, rng: np.random.Generator, *, shrunk: bool) -> np.ndarray:
    """Cut a piece of at least `SMALLEST_PIECE` a side out of a photograph: float32 [h, w, 3] in 0..1."""
    rows, columns = (int(side * rng.uniform(SMALLEST_PIECE, 1.0)) for side in photo.shape[:2])
    top, left = int(rng.integers(photo.shape[0] - rows + 1)), int(rng.integers(photo.shape[1] - columns + 1))
    scale = rng.uniform(SMALLEST_SCALE, 1.0) if shrunk and rng.random() < 0.5 else 1.0
    scale = min(scale, LONGEST_SIDE / max(rows, columns)) if shrunk else scale
    piece = photo[top : top + rows, left : left + columns]
    return cut_out(piece, rng.random() < 0.5, max(round(rows * scale), 32), max(round(columns * scale), 32))

"""Where published sets lie: the folders that the code of OneRestore, PromptIR, AdaIR and MoCE-IR reads.

The places are those of these files: OneRestore's `README.md`; `INSTALL.md` and `utils/dataset_utils.py` of PromptIR and
AdaIR, which go back to AirNet; MoCE-IR's `src/data/dataset_utils.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from ...model.errors import EvaluationError
from ...model.synthesis.severities import COMBINATIONS
from .pairs import match_files

CLEAR = "clear"
"""Folder of the clean images of CDD-11."""

TEST_PAIRS: dict[str, tuple[tuple[str, str], ...]] = {
    "SOTS": (("dehaze/input", "dehaze/target"), ("dehazing/SOTS/outdoor/hazy", "dehazing/SOTS/outdoor/gt")),
    "Rain100L": (
        ("derain/Rain100L/input", "derain/Rain100L/target"),
        ("deraining/Rain100L/rainy", "deraining/Rain100L/gt"),
    ),
    "GoPro": (
        ("deblur/gopro/input", "deblur/gopro/target"),
        ("deblurring/GoPro/test/input", "deblurring/GoPro/test/target"),
    ),
    "LOL": (("enhance/lol/input", "enhance/lol/target"), ("llie/LOLv1/Test/input", "llie/LOLv1/Test/target")),
}
"""Degraded and clean images of each test set: AdaIR's place (PromptIR's where it has the set), then MoCE-IR's."""

TEST_CLEAN = {"BSD68": ("denoise/bsd68", "denoising/cBSD68/original_png")}
"""The same of test sets of clean images."""

TRAINING_PAIRS: dict[str, tuple[tuple[str, str], ...]] = {
    "haze": (
        ("Dehaze/synthetic/part*", "Dehaze/original"),
        ("Dehaze/synthetic", "Dehaze/original"),
        ("dehazing/RESIDE/part*", "dehazing/RESIDE/clear"),
    ),
    "rain": (("Derain/rainy", "Derain/gt"), ("deraining/RainTrainL/rainy", "deraining/RainTrainL/gt")),
    "blur": (
        ("Deblur/blur", "Deblur/sharp"),
        ("deblurring/GoPro/crop/train/input_crops", "deblurring/GoPro/crop/train/target_crops"),
    ),
    "low_light": (("Enhance/low", "Enhance/gt"), ("llie/LOLv1/Train/input", "llie/LOLv1/Train/target")),
}
"""Degraded and clean images of each training set by degradation."""


def cdd11_folder(folder: Path, split: str) -> Path | None:
    """Return the folder of CDD-11 with `clear/`: this one, or that of a split in it; None where there is none."""
    for place in (folder, folder / f"CDD-11_{split}", folder / split):
        if (place / CLEAR).is_dir():
            return place
    return None


def pairs_of_test_set(folder: Path, name: str) -> list[tuple[Path, Path]]:
    """Return the degraded and clean files of one of `TEST_PAIRS`.

    Args:
        folder: The data folder of one of the repositories, or the folder `test` in it.
        name: Of the set.

    Raises:
        EvaluationError: The set is not there, or a file of it has no clean one.
        ImageFileError: A folder holds no photos.
    """
    for base in _test_bases(folder):
        for degraded, clean in TEST_PAIRS[name]:
            if (base / degraded).is_dir() and (base / clean).is_dir():
                return list(match_files(base / degraded, base / clean))
    places = " or in ".join(f"{degraded} and {clean}" for degraded, clean in TEST_PAIRS[name])
    raise EvaluationError(f"{folder} lacks {name}: put its images in {places} there.")


def images_of_test_set(folder: Path, name: str) -> Path:
    """Return the folder of one of `TEST_CLEAN`.

    Args:
        folder: As for `pairs_of_test_set`.
        name: Of the set.

    Raises:
        EvaluationError: The set is not there.
    """
    for base in _test_bases(folder):
        for place in TEST_CLEAN[name]:
            if (base / place).is_dir():
                return base / place
    raise EvaluationError(f"{folder} lacks {name}: put its images in {' or in '.join(TEST_CLEAN[name])} there.")


def training_pairs(folder: Path) -> dict[str, list[tuple[Path, Path]]]:
    """Return the degraded and clean files of the published training sets in a folder, by kind.

    A kind is a degradation or one of the combinations of CDD-11; the result is empty where no set is there.

    Args:
        folder: CDD-11's, or the data folder of one of the repositories, or the folder `Train` in it.

    Raises:
        EvaluationError: A degraded file has no clean one.
        ImageFileError: A folder holds no photos.
    """
    composite = cdd11_folder(folder, "train")
    if composite is not None:
        there = [name for name in COMBINATIONS if (composite / name).is_dir()]
        return {name: list(match_files(composite / name, composite / CLEAR)) for name in there}
    found: dict[str, list[tuple[Path, Path]]] = {}
    for (kind, places), base in itertools.product(TRAINING_PAIRS.items(), (folder, folder / "Train")):
        for degraded, clean in places:
            parts = sorted(path for path in base.glob(degraded) if path.is_dir())
            if parts and kind not in found:
                found[kind] = [pair for part in parts for pair in match_files(part, base / clean)]
    return found


def _test_bases(folder: Path) -> Iterator[Path]:
    yield folder
    yield folder / "test"

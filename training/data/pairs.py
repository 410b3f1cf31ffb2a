"""Folders of pairs, degraded and clean: which layouts are known, and which files belong together."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ...model.errors import EvaluationError
from ...model.synthesis.severities import COMBINATIONS
from .photos import SUFFIXES, list_photos


def pair_folders(folder: Path) -> dict[str, tuple[Path, Path]]:
    """Return the folders of degraded and of clean images of each set of pairs, by name.

    Three layouts are known: `input/` and `target/`; several folders that each hold these two; and CDD-11's, `clear/`
    beside `low/`, `haze_rain/` and so on.

    Raises:
        EvaluationError: Another layout.
    """
    if (folder / "clear").is_dir():
        known = [folder / name for name in COMBINATIONS if (folder / name).is_dir()]
        others = sorted(p for p in folder.iterdir() if p.is_dir() and p.name != "clear" and p not in known)
        found = [path for path in (*known, *others) if any(file.suffix.lower() in SUFFIXES for file in path.iterdir())]
        if found:
            return {path.name: (path, folder / "clear") for path in found}
    if (folder / "input").is_dir() and (folder / "target").is_dir():
        return {folder.resolve().name: (folder / "input", folder / "target")}
    if folder.is_dir():
        subs = sorted(p for p in folder.iterdir() if (p / "input").is_dir() and (p / "target").is_dir())
        if subs:
            return {path.name: (path / "input", path / "target") for path in subs}
    raise EvaluationError(
        f"{folder} holds no pairs: it needs input/ and target/, or folders with these two, or clear/ beside low/, "
        "haze_rain/ and so on."
    )


def match_files(degraded: Path, clean: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each degraded photo with its clean one.

    Their stems are the same, or the same without a leading word (`rain-12`, `norain-12`), or that of the degraded one
    goes on after an underscore (`0025_0.8_0.1` and `0025`, as in RESIDE).

    Raises:
        ImageFileError: A folder holds no photos.
        EvaluationError: A degraded photo without a clean one.
    """
    photos, targets = list_photos(degraded), list_photos(clean)
    by_name = {path.stem: path for path in targets}
    key = _stem
    if not any(photo.stem in by_name for photo in photos):
        by_rest = {_rest(path): path for path in targets}
        if any(_start(photo) in by_name for photo in photos):
            key = _start
        elif len(by_rest) == len(targets):
            by_name, key = by_rest, _rest
    for photo in photos:
        if key(photo) not in by_name:
            raise EvaluationError(f"{photo} has no target: a file named {photo.stem} is missing in {clean}.")
        yield photo, by_name[key(photo)]


def _stem(path: Path) -> str:
    return path.stem


def _start(path: Path) -> str:
    """Return a stem up to its first underscore."""
    return path.stem.partition("_")[0]


def _rest(path: Path) -> str:
    """Return a stem without its leading word: `input12` and `norain12` belong together."""
    return re.sub(r"^[^\W\d_]+", "", path.stem)

"""Replaces a whole folder: a kill at any moment leaves the old one or the new one, never a mixture or nothing."""

from __future__ import annotations

import shutil
from pathlib import Path


def staging(target: Path) -> Path:
    """Where to build what is to replace `target`: a path beside it at which nothing lies, not even leftovers."""
    path = target.with_name(f"{target.name}.partial")
    shutil.rmtree(path, ignore_errors=True)
    return path


def replace_folder(new: Path, target: Path) -> None:
    """Puts the complete folder `new` in the place of `target`, if there is one, by two renames on one disk.

    After a kill between them `target` is missing; `settle` brings the old one back.
    """
    settle(target)
    previous = _previous(target)
    if target.exists():
        target.rename(previous)
    new.rename(target)
    shutil.rmtree(previous, ignore_errors=True)


def settle(target: Path) -> None:
    """Undoes a `replace_folder` that was killed; to be called before `target` is read or written."""
    previous = _previous(target)
    if previous.exists() and not target.exists():
        previous.rename(target)
    shutil.rmtree(previous, ignore_errors=True)


def _previous(target: Path) -> Path:
    return target.with_name(f"{target.name}.previous")

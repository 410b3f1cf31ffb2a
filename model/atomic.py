"""Files and folders that are written whole or not at all: the only place of the package that renames them."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what is written there is synced to the disk and then replaces `path`.

    When the block raises, `path` stays as it was and the temporary file is removed. Errors of the operating system
    about the temporary file name `path` instead, which is the name that users know.

    Args:
        path: The file to write; its folder must exist.

    Yields:
        The temporary path to write to.
    """
    # short, since the name of the file may be as long as the file system allows
    temporary = path.with_name(f".mofe-{os.getpid()}-{zlib.crc32(os.fsencode(path.name)):08x}.tmp")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    except OSError as error:
        if error.filename is not None and Path(error.filename) == temporary:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file with Unix line ends, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def staging_folder(target: Path) -> Path:
    """Return an unused path beside `target` at which to build the folder that is to replace it.

    What an earlier, interrupted attempt left there is removed. The folder itself is not created.
    """
    path = target.with_name(f"{target.name}.partial")
    shutil.rmtree(path, ignore_errors=True)
    return path


def replace_folder(new: Path, target: Path) -> None:
    """Put the complete folder `new` in the place of `target`, if there is one, by two renames on one disk.

    A kill at any moment leaves the old folder or the new one, never a mixture; after a kill between the two renames
    `target` is missing, and `recover_folder` brings the old one back.
    """
    for path in new.rglob("*"):
        _sync(path)
    _sync(new)
    previous = _previous(target)
    if target.exists():
        shutil.rmtree(previous, ignore_errors=True)
        target.rename(previous)
    new.rename(target)
    _sync(target.parent)
    shutil.rmtree(previous, ignore_errors=True)


def recover_folder(target: Path) -> None:
    """Undo a `replace_folder` that was killed, and remove what it left; call it before `target` is read or written."""
    previous = _previous(target)
    staging_folder(target)
    if previous.exists() and not target.exists():
        previous.rename(target)
    shutil.rmtree(previous, ignore_errors=True)


def _previous(target: Path) -> Path:
    return target.with_name(f"{target.name}.previous")


def _sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    if os.name == "nt" and path.is_dir():  # Windows cannot open a folder to sync it
        return
    # Windows flushes only what is open for writing; elsewhere read-only files are synced, too
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Which images the arguments of a command name: files, folders, patterns and pipes, each image once."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import BinaryIO

from ..model.errors import CommandError
from ..model.formats.suffixes import IMAGE_SUFFIXES
from .common import STANDARD, file_keys, print_error, real_path


@dataclass(frozen=True)
class Source:
    """An image to read.

    Attributes:
        path: Of the file, or `STANDARD`.
        place: Where its result belongs in the folder of results, without a suffix.
    """

    path: Path
    place: PurePath

    @property
    def name(self) -> str:
        """The image in messages and reports."""
        return "standard input" if self.path == STANDARD else str(self.path)


@dataclass
class Found:
    """What the arguments name.

    Attributes:
        sources: The images, in the order of the arguments.
        failed: How many folders could not be read or hold no image; each has been reported.
    """

    sources: list[Source] = field(default_factory=list)
    failed: int = 0


def find_sources(arguments: Sequence[Path], results: Path | None = None) -> Found:
    """Return the images that arguments name.

    Folders are searched with their subfolders, and patterns such as `*.jpg` and `**/*.jpg` are expanded, which the
    shell of Windows does not do. A path that exists is taken as it is, even if it contains such characters; so is a
    pattern that matches nothing. Hidden files are left out, as shells do.

    Args:
        arguments: Paths, patterns, or `-`.
        results: A folder in which no images are searched.
    """
    found = Found()
    search = _Search(found, None if results is None else os.path.realpath(results))
    expanded = [(path, base) for argument in arguments for path, base in _expand(argument)]
    for path, base in expanded:
        if os.path.isdir(path):  # noqa: PTH112  # unlike Path.is_dir, this knows no errors
            search.add_folder(path, PurePath("" if len(expanded) == 1 else real_path(path).name))
        else:
            place = PurePath(path.relative_to(base)) if base is not None else PurePath(path.name)
            search.add(Source(path, PurePath("stdin") if _is_standard(path) else place.with_suffix("")))
    found.sources = without_raw_twins(found.sources)
    return found


@contextmanager
def opened(source: Source) -> Iterator[BinaryIO]:
    """Give an image as an open file in which one can go back, also from a pipe."""
    from ..model.image_files import open_file

    with open_file(sys.stdin.buffer if source.path == STANDARD else source.path) as stream:
        yield stream


def check_standard_input(paths: Sequence[Path]) -> None:
    """Check that standard input is read once.

    Raises:
        CommandError: It is asked for twice.
    """
    if sum(map(_is_standard, paths)) > 1:
        raise CommandError("Standard input can be read only once: name files instead.")


def without_raw_twins(sources: Sequence[Source]) -> list[Source]:
    """Leave out a camera's raw files that lie beside an image of the same name, and say so."""
    from ..model.image_files import is_image_file, is_raw_file

    groups: dict[PurePath, list[Source]] = {}
    for source in sources:
        groups.setdefault(PurePath(str(source.path.with_suffix("")).casefold()), []).append(source)
    left_out: set[Path] = set()
    for group in groups.values():
        raw = [source for source in group if is_raw_file(source.path)] if len(group) > 1 else []
        others = [source for source in group if source not in raw and raw and is_image_file(source.path)]
        for source in raw if others else ():
            print_error(f"Note on {source.path}: {others[0].path.name} beside this raw file is taken in its place.")
            left_out.add(source.path)
    return [source for source in sources if source.path not in left_out]


class _Search:
    """Collects images, each file once, and folders, each once."""

    def __init__(self, found: Found, results: str | None) -> None:
        self.found, self.results = found, results
        self.files: dict[Path | tuple[int, int], Path] = {}
        self.folders: dict[str, Path] = {}

    def add(self, source: Source) -> None:
        """Add an image, unless its file has been added by another path, which is said."""
        keys = {source.path} if source.path == STANDARD else file_keys(source.path)
        earlier = next((self.files[key] for key in keys if key in self.files), None)
        if earlier is None:
            self.found.sources.append(source)
            self.files |= dict.fromkeys(keys, source.path)
        elif earlier != source.path:
            print_error(f"Note on {source.path}: it is the same file as {earlier} and is taken once.")

    def add_folder(self, folder: Path, place: PurePath) -> None:
        """Add the images in a folder and its subfolders."""
        before = len(self.found.sources)
        failed = self.found.failed
        self._walk(folder, place, root=True)
        if len(self.found.sources) == before and self.found.failed == failed:
            print_error(f"{folder} holds no image that is not named already: name a folder with images.")
            self.found.failed += 1

    def _walk(self, folder: Path, place: PurePath, *, root: bool = False) -> None:
        real = os.path.realpath(folder)
        if real == self.results and not root:
            return
        if real in self.folders:
            print_error(f"Note on {folder}: it leads to {self.folders[real]}, whose images are taken once.")
            return
        self.folders[real] = folder
        try:
            entries = sorted(folder.iterdir(), key=lambda path: path.name)
        except OSError as error:
            print_error(f"{folder} cannot be searched ({error.strerror}): check its permissions.")
            self.found.failed += 1
            return
        entries = [path for path in entries if not path.name.startswith(".")]
        for path in entries:
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir():
                self.add(Source(path, place / path.stem))
        folders = [path for path in entries if path.is_dir()]
        for path in sorted(folders, key=lambda path: path.is_symlink()):  # a link never takes a folder's place
            self._walk(path, place / path.name)


def _expand(argument: Path) -> list[tuple[Path, Path | None]]:
    """Return the paths that an argument names, each with the folder below which it keeps its place, or None."""
    if argument == STANDARD or os.path.lexists(argument):
        return [(argument, None)]
    # unlike Path.glob, this leaves out hidden files, as shells do
    matches = sorted(map(Path, glob.glob(str(argument), recursive=True)))  # noqa: PTH207
    if "**" not in argument.parts:
        return [(path, None) for path in matches or [argument]]
    plain = argument.parts[: next(index for index, part in enumerate(argument.parts) if glob.has_magic(part))]
    base = Path(*plain)
    return [(path, base) for path in matches if not path.is_dir()] or [(argument, None)]


def _is_standard(path: Path) -> bool:
    return path == STANDARD or str(path) in ("/dev/stdin", "/dev/fd/0", "/proc/self/fd/0")

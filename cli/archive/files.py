"""The images and results of an archive, on disks or behind any URL that fsspec opens."""

from __future__ import annotations

import glob
import itertools
import json
import posixpath
import uuid
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path, PurePosixPath
from typing import Any

from ...model.errors import CommandError
from ...model.formats.suffixes import IMAGE_SUFFIXES
from ..manifest import NAME, Entry, entry_of

ROWS = ".rows"
"""Folder in the results with one small file per finished image, until they are gathered in the manifest."""

PARQUET = "manifest.parquet"


def is_url(text: str) -> bool:
    """Return whether a path is a URL; the drive of a Windows path is none."""
    return "://" in text


def text_of(path: Path) -> str:
    """Return an argument as it was written: `Path` takes one of the slashes out of a URL."""
    text = path.as_posix()
    protocol, sign, rest = text.partition(":/")
    if not sign or len(protocol) < 2 or "/" in protocol:
        return str(path)
    return f"/{rest.lstrip('/')}" if protocol == "file" else f"{protocol}://{rest.lstrip('/')}"


def filesystem(text: str) -> tuple[Any, str]:
    """Return the file system of a path or URL, and the path on it.

    Raises:
        CommandError: It is not known, or its package is missing.
    """
    import fsspec

    if not is_url(text):
        return fsspec.filesystem("file"), Path(text).resolve().as_posix()
    try:
        system, path = fsspec.core.url_to_fs(text)
    except (ImportError, ValueError) as error:
        raise CommandError(f"{text} cannot be opened ({error}): install what its protocol needs.") from error
    return system, str(path)


def find_images(text: str) -> Iterator[tuple[str, str]]:
    """Yield (path or URL, place below the folder) of every image of a folder or pattern, or of one image.

    Raises:
        CommandError: There is none.
    """
    system, root = filesystem(text)
    if system.isdir(root):
        found = system.find(root)
    elif system.isfile(root):  # whatever its name is: "photo[1].jpg" is a pattern, too
        found, root = [root], posixpath.dirname(root)
    else:
        found = [path for path in system.glob(root) if system.isfile(path)]
        root = "/".join(itertools.takewhile(lambda part: not glob.has_magic(part), root.split("/"))) or "/"
    some = False
    for path in sorted(found):
        place = PurePosixPath(posixpath.relpath(path, root))
        hidden = any(part.startswith(".") for part in place.parts)
        if place.suffix.lower() in IMAGE_SUFFIXES and not hidden:
            some = True
            yield system.unstrip_protocol(path) if is_url(text) else path, str(place)
    if not some:
        raise CommandError(f"{text} holds no image: name a folder with images, a pattern or an image.")


class Results:
    """A folder of results, local or not.

    Args:
        text: Its path or URL.
    """

    def __init__(self, text: str) -> None:
        self.system, self.root = filesystem(text)

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine's file system."""
        return "file" in self.system.protocol

    def __reduce__(self) -> tuple[type[Results], tuple[str]]:
        return Results, (self.root if self.is_local else str(self.system.unstrip_protocol(self.root)),)

    def path(self, *parts: str) -> str:
        """Return the path of a file in it."""
        return posixpath.join(self.root, *parts)

    def exists(self, name: str) -> bool:
        """Return whether a file is there."""
        return bool(self.system.isfile(self.path(name)))

    def read(self, name: str) -> bytes | None:
        """Return a file, None where there is none."""
        try:
            return bytes(self.system.cat_file(self.path(name)))
        except FileNotFoundError:
            return None

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""
        target = self.path(name)
        self.system.makedirs(posixpath.dirname(target), exist_ok=True)
        temporary = posixpath.join(posixpath.dirname(target), f".{uuid.uuid4().hex}.tmp")
        try:
            self.system.pipe_file(temporary, data)
            self.system.mv(temporary, target)
        except BaseException:
            if self.system.exists(temporary):
                self.system.rm_file(temporary)
            raise

    # The manifest ---------------------------------------------------------------------------------------------------

    def row_name(self, place: str) -> str:
        """Return the file of the row of an image."""
        import hashlib

        digest = hashlib.sha256(place.encode("utf-8", errors="surrogateescape")).hexdigest()
        return f"{ROWS}/{digest[:2]}/{digest}.json"

    def write_row(self, place: str, entry: Entry) -> None:
        """Record what became of an image."""
        self.write(self.row_name(place), json.dumps(asdict(entry)).encode("utf-8", errors="backslashreplace"))

    def read_row(self, place: str) -> Entry | None:
        """Return what was recorded of an image since the rows were last gathered."""
        data = self.read(self.row_name(place))
        return None if data is None else entry_of(data)

    def gather(self, entries: dict[str, Entry]) -> dict[str, Entry]:
        """Add all rows to the entries of the manifest, write it as JSON lines and Parquet, and remove the rows.

        Args:
            entries: Of the manifest so far, by output.

        Returns:
            All entries by output.
        """
        folder = self.path(ROWS)
        rows = self.system.find(folder) if self.system.isdir(folder) else []
        for path in rows:
            entry = entry_of(self.system.cat_file(path)) if path.endswith(".json") else None
            if entry is not None:
                entries[entry.output or entry.file] = entry
        if not rows:
            return entries
        lines = [json.dumps(asdict(entry), ensure_ascii=False) for _, entry in sorted(entries.items())]
        self.write(NAME, "".join(f"{line}\n" for line in lines).encode("utf-8", errors="backslashreplace"))
        self.write(PARQUET, _parquet(list(entries.values())))
        self.system.rm(folder, recursive=True)
        return entries

    def entries(self) -> dict[str, Entry]:
        """Return the entries of the manifest as it was last gathered, by output."""
        data = self.read(NAME)
        found = map(entry_of, (data or b"").splitlines())
        return {entry.output or entry.file: entry for entry in found if entry is not None}


def _parquet(entries: list[Entry]) -> bytes:
    """Return the manifest as a Parquet file: a column per field, and one per degradation in the place of the scores."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ...model.vocabulary import DEGRADATIONS

    kinds = {"seconds": pa.float64(), "psnr": pa.float64()}
    columns: dict[str, Any] = {
        each.name: pa.array([_text(getattr(entry, each.name)) for entry in entries], kinds.get(each.name, pa.string()))
        for each in fields(Entry)
        if each.name != "scores"
    }
    for name in DEGRADATIONS:
        columns[f"score_{name}"] = pa.array([(entry.scores or {}).get(name) for entry in entries], pa.float64())
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


def _text(value: Any) -> Any:
    """Return text that Parquet can hold: file names need not be any."""
    return value.encode("utf-8", errors="backslashreplace").decode() if isinstance(value, str) else value

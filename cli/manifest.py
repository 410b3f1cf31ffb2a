"""The manifest of a batch: a line of JSON per image, written as soon as it is done, from which a batch goes on.

A line is an `Entry`. A later line about the same output takes the place of an earlier one; a last line that a kill has
cut off does not count.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from ..model.errors import CommandError

NAME = "manifest.jsonl"
"""File in the folder of results."""


@dataclass(frozen=True)
class Entry:
    """What became of one image.

    Attributes:
        file: The image as it was named.
        output: The result's path in the folder of results, with "/" between folders; None where there is none.
        digest: SHA-256 of the file in hexadecimal; None where it could not be read.
        options: What else the result depends on.
        description: What was wrong with it, in words; None without guidance.
        scores: In 0..1 by the degradation's name; None without guidance.
        seconds: That it took, reading and writing included.
        psnr: Of the result against the image in dB: how small the change is. 100 where nothing was changed.
        note: What the user should know about how it was read and written, or "".
        error: Why there is no result, or None.
    """

    file: str
    output: str | None
    digest: str | None
    options: str
    description: str | None
    scores: Mapping[str, float] | None
    seconds: float
    psnr: float | None
    note: str
    error: str | None

    def holds(self, digest: str, options: str) -> bool:
        """Return whether this is the result of the same file with the same options."""
        return self.error is None and self.digest == digest and self.options == options


class Manifest:
    """The manifest of one folder of results, which is appended to.

    Args:
        path: Of the file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries = read_manifest(path)
        """The last entry of each output."""
        self._line_is_cut = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")

    def add(self, entry: Entry) -> None:
        """Append an entry.

        Raises:
            OSError: The file cannot be written.
        """
        if entry.output is not None:
            self.entries[entry.output] = entry
        line = json.dumps(asdict(entry), ensure_ascii=False, allow_nan=False)
        with self.path.open("a", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.write(("\n" if self._line_is_cut else "") + line + "\n")
        self._line_is_cut = False


def read_manifest(path: Path) -> dict[str, Entry]:
    """Return the last entry of each output; none where there is no file.

    Raises:
        CommandError: The file is no manifest.
    """
    if not path.exists():
        return {}
    entries: dict[str, Entry] = {}
    lines = path.read_text(encoding="utf-8", errors="replace").removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        entry = entry_of(line)
        if entry is not None:
            if entry.output is not None:
                entries[entry.output] = entry
        elif number == 1 and not (len(lines) == 1 and line.startswith("{")):
            raise CommandError(f"{path} is no manifest of mofe restore: name another file or delete it.")
    return entries


def entry_of(line: str | bytes) -> Entry | None:
    """Return the entry that a line of JSON holds, None where it holds none."""
    names = {each.name for each in fields(Entry)}
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or not names <= values.keys() or not _is_entry(values):
        return None
    return Entry(**{name: values[name] for name in names})


def _is_entry(values: Mapping[str, Any]) -> bool:
    """Return whether the values have the types that decide whether a result is made again."""
    texts = [values[name] for name in ("file", "options")]
    optional = [values[name] for name in ("output", "digest", "description", "error")]
    return all(isinstance(each, str) for each in texts) and all(isinstance(each, str | None) for each in optional)


def digest_of(file: BinaryIO) -> str:
    """Return the SHA-256 of a file in hexadecimal, and go back to its start."""
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(2**20):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()

"""The manifest of a batch."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mofe_restore.cli.manifest import Entry, Manifest, digest_of, entry_of, read_manifest
from mofe_restore.model.errors import CommandError

ENTRY = Entry("in/a.jpg", "a.png", "12ab", "strength=1.0", "Strong haze.", {"haze": 0.9}, 0.5, 31.2, "", None)

pytestmark = pytest.mark.field


def test_row15_entries_come_back_and_later_ones_count(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    first = Manifest(path)
    first.add(replace(ENTRY, error="damaged"))
    first.add(ENTRY)
    first.add(replace(ENTRY, file="line\u2028end \udce9.jpg", output="b.png"))
    assert read_manifest(path) == Manifest(path).entries == first.entries
    assert first.entries["a.png"] == ENTRY and len(path.read_text(encoding="utf-8").split("\n")) == 4
    assert json.loads(path.read_text(encoding="utf-8").split("\n")[1]) == asdict(ENTRY)


def test_row15_a_line_that_a_kill_has_cut_off_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    Manifest(path).add(ENTRY)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])
    again = Manifest(path)
    assert list(again.entries) == ["a.png"]
    again.add(replace(ENTRY, output="b.png"))
    assert list(read_manifest(path)) == ["a.png", "b.png"]
    path.write_bytes(whole[:40])
    assert read_manifest(path) == {}


def test_row15_only_the_same_file_with_the_same_options_is_done() -> None:
    assert ENTRY.holds("12ab", "strength=1.0")
    assert not ENTRY.holds("12ac", "strength=1.0") and not ENTRY.holds("12ab", "strength=0.5")
    assert not replace(ENTRY, error="damaged").holds("12ab", "strength=1.0")


def test_row15_another_file_is_no_manifest(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n")
    with pytest.raises(CommandError, match="no manifest"):
        Manifest(path)
    assert path.read_text() == "buy milk\n"


def test_row15_the_digest_is_that_of_the_whole_file() -> None:
    file = io.BytesIO(b"abc")
    file.read(2)
    assert digest_of(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file.read() == b"abc"


@pytest.mark.parametrize(
    "line", ["", "[]", "null", "{}", '{"file": 1}', "[" * 100_000, b"\xff\xfe{", '{"file": "a", "options": "b"}']
)
def test_a_line_that_is_no_entry_holds_none(line: str | bytes) -> None:
    assert entry_of(line) is None


def test_an_entry_whose_path_is_no_text_counts_as_none() -> None:
    values = asdict(Entry("a.jpg", "a.png", "0", "o", None, None, 1.0, 30.0, "", None))
    assert entry_of(json.dumps(values)) == Entry(**values)
    assert entry_of(json.dumps(values | {"output": ["a.png"]}).encode()) is None

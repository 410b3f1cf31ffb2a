"""`mofe describe` prints and writes what it sees."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.cli.calls import run


def test_describe_prints_and_writes_what_it_sees(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "seen.json"
    assert run("describe", photo, "--json", report) == 0
    assert "Strong low light." in capsys.readouterr().out
    (entry,) = json.loads(report.read_text())
    assert list(entry) == ["file", "description", "scores"]
    assert tuple(entry["scores"]) == DEGRADATIONS
    assert all(0 <= score <= 1 for score in entry["scores"].values())


def test_a_console_that_cannot_write_a_name_does_not_end_the_work(
    photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = tmp_path / "日本.png"
    named.write_bytes(photo.read_bytes())
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", write_through=True)
    monkeypatch.setattr(sys, "stdout", narrow)
    assert run("describe", named) == 0
    assert b"\\u65e5" in narrow.buffer.getvalue()  # type: ignore[attr-defined]

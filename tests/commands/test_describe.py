"""`mofe describe` prints and writes what it sees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mofe_restore.model.guidance import DEGRADATIONS
from mofe_restore.tests.commands.calls import run


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

"""Bad pictures cost one sentence and not the others, whatever the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mofe_restore.tests.commands.calls import noise, run, save, sentence


def bad_pictures(folder: Path) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    text = folder / "text.jpg"
    text.write_text("no picture")
    cut = save(folder / "cut.png", noise(64, 64, 3))
    cut.write_bytes(cut.read_bytes()[:2000])
    empty = folder / "empty.png"
    empty.touch()
    tiny = save(folder / "tiny.png", noise(8, 8, 3))
    return {"missing": folder / "missing.png", "text": text, "cut": cut, "empty": empty, "tiny": tiny, "folder": folder}


@pytest.mark.parametrize("command", ["restore", "describe"])
@pytest.mark.parametrize("kind", ["missing", "text", "cut", "empty", "tiny", "folder"])
def test_bad_picture_costs_one_sentence(
    command: str, kind: str, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bad_pictures(tmp_path / "bad")[kind]
    extra = ("-o", tmp_path / "out", "--restorer", restorer) if command == "restore" else ()
    assert run(command, path, *extra) == 1
    assert str(path) in sentence(capsys)


def test_bad_picture_does_not_cost_the_others(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = bad_pictures(tmp_path / "bad")
    later = save(tmp_path / "later.png", noise(20, 20, 3))
    report = tmp_path / "report.json"
    words = (photo, bad["cut"], bad["tiny"], later, "-o", tmp_path / "out", "--restorer", restorer, "--json", report)
    assert run("restore", *words) == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["later.png", "photo.png"]
    assert [Path(entry["file"]).name for entry in json.loads(report.read_text())] == ["photo.png", "later.png"]
    assert len(capsys.readouterr().err.splitlines()) == 2

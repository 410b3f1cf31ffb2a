"""Bad images cost one sentence and not the others, whatever the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mofe_restore.model.images import HasPixels
from mofe_restore.model.pipeline import RestorationPipeline
from mofe_restore.tests.cli.calls import noise, run, save, sentence


def bad_images(folder: Path) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    text = folder / "text.jpg"
    text.write_text("no image")
    cut = save(folder / "cut.png", noise(64, 64, 3))
    cut.write_bytes(cut.read_bytes()[:2000])
    empty = folder / "empty.png"
    empty.touch()
    tiny = save(folder / "tiny.png", noise(8, 8, 3))
    return {"missing": folder / "missing.png", "text": text, "cut": cut, "empty": empty, "tiny": tiny}


@pytest.mark.parametrize("command", ["restore", "describe"])
@pytest.mark.parametrize("kind", ["missing", "text", "cut", "empty", "tiny"])
def test_bad_image_costs_one_sentence(
    command: str, kind: str, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bad_images(tmp_path / "bad")[kind]
    extra = ("-o", tmp_path / "out", "--restorer", restorer) if command == "restore" else ()
    assert run(command, path, *extra) == 1
    assert str(path) in sentence(capsys)


def test_bad_image_does_not_cost_the_others(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = bad_images(tmp_path / "bad")
    later = save(tmp_path / "later.png", noise(20, 20, 3))
    report = tmp_path / "report.json"
    words = (photo, bad["cut"], bad["tiny"], later, "-o", tmp_path / "out", "--restorer", restorer, "--json", report)
    assert run("restore", *words) == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["later.png", "photo.png"]
    assert [Path(entry["file"]).name for entry in json.loads(report.read_text())] == ["photo.png", "later.png"]
    assert len(capsys.readouterr().err.splitlines()) == 2


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")])
def test_an_image_too_large_for_the_memory_does_not_cost_the_others(
    error: Exception,
    photo: Path,
    restorer: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    restore = RestorationPipeline.__call__

    def lack(self: RestorationPipeline, image: HasPixels, *rest: Any, **options: Any) -> Any:
        if image.pixels.shape[3] == 50:
            raise error
        return restore(self, image, *rest, **options)

    monkeypatch.setattr(RestorationPipeline, "__call__", lack)
    later = save(tmp_path / "later.png", noise(20, 20, 3))
    assert run("restore", photo, later, "-o", tmp_path / "out", "--restorer", restorer) == 1
    text = sentence(capsys)
    assert str(photo) in text and "memory" in text
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["later.png"]


def test_an_image_that_cannot_be_written_does_not_cost_the_others(
    photo: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out" / "photo.png").mkdir(parents=True)
    later = save(tmp_path / "later.png", noise(20, 20, 3))
    assert run("restore", photo, later, "-o", tmp_path / "out", "--restorer", restorer) == 1
    assert str(photo) in sentence(capsys)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["later.png", "photo.png"]


@pytest.mark.parametrize("command", ["restore", "describe"])
def test_json_is_written_even_if_every_image_failed(command: str, restorer: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    extra = ("-o", tmp_path / "out", "--restorer", restorer) if command == "restore" else ()
    assert run(command, tmp_path / "missing.png", "--json", report, *extra) == 1
    assert json.loads(report.read_text()) == []


def test_a_quoted_pattern_names_the_images_that_match(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "c.jpg", "with[1].png"):
        save(tmp_path / "in" / name, noise(20, 20, 3))
    report, folder = tmp_path / "seen.json", tmp_path / "in"
    words = (folder / "?.png", folder / "a.png", folder / "with[1].png")
    assert run("describe", *words, "--json", report) == 0
    assert [Path(entry["file"]).name for entry in json.loads(report.read_text())] == ["a.png", "b.png", "with[1].png"]


def test_a_pattern_without_matches_costs_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("describe", tmp_path / "*.jpg") == 1
    assert "*.jpg" in sentence(capsys)

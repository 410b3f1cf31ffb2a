"""`mofe evaluate` prints tables, writes their numbers, and refuses bad folders in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from mofe_restore.tests.cli.calls import noise, run, save, sentence


@pytest.mark.parametrize("words", [("composites", "--clean"), ("descriptions", "--clean"), ("pairs",)])
def test_evaluation_of_a_missing_folder_costs_one_sentence(
    words: tuple[str, ...], restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = () if words[0] == "descriptions" else ("--restorer", restorer)
    assert run("evaluate", *words, tmp_path / "nowhere", *extra) == 1
    assert "nowhere" in sentence(capsys)


@pytest.mark.parametrize("what", ["composites", "denoising", "guidance", "steering", "descriptions"])
def test_evaluation_prints_a_table_and_writes_its_numbers(
    what: str, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "clean" / "a.png", noise(32, 32, 3))
    extra = () if what == "descriptions" else ("--restorer", restorer)
    report = tmp_path / "numbers.json"
    assert run("evaluate", what, "--clean", tmp_path / "clean", "--json", report, *extra) == 0
    assert "|" in capsys.readouterr().out
    assert json.loads(report.read_text())["tables"][0]["rows"]


def test_evaluation_of_pairs_compares_input_and_output(
    restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("input", "target"):
        save(tmp_path / "pairs" / name / "a.png", noise(32, 32, 3))
    assert run("evaluate", "pairs", tmp_path / "pairs", "--restorer", restorer, "--no-guidance") == 0
    assert "PSNR in" in capsys.readouterr().out


def test_evaluation_of_relations_draws_them(restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(tmp_path / "clean" / "a.png", noise(32, 32, 3))
    drawn = tmp_path / "new" / "relations.png"
    words = ("relations", "--clean", tmp_path / "clean", "--picture", drawn, "--restorer", restorer)
    assert run("evaluate", *words) == 0
    assert "embeddings and severities" in capsys.readouterr().out
    with Image.open(drawn) as image:
        assert image.width > 800


def test_a_folder_in_the_place_of_an_image_costs_one_sentence(
    restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path / "clean" / "a.png", noise(32, 32, 3))
    words = ("relations", "--clean", tmp_path / "clean", "--picture", tmp_path, "--restorer", restorer)
    assert run("evaluate", *words) == 1
    assert "--picture" in sentence(capsys)

"""`mofe evaluate` prints tables, writes their numbers, and refuses bad folders in one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from mofe_restore.model.guidance import Guidance
from mofe_restore.model.image_files import read_image
from mofe_restore.model.images import psnr
from mofe_restore.model.pipeline import RestorationPipeline
from mofe_restore.tests.cli.calls import noise, run, save, sentence
from mofe_restore.tests.factories import FakeMllm


@pytest.mark.parametrize(
    "words", [("composites", "--clean"), ("jpeg", "--clean"), ("descriptions", "--clean"), ("pairs",)]
)
def test_evaluation_of_a_missing_folder_costs_one_sentence(
    words: tuple[str, ...], restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = () if words[0] == "descriptions" else ("--restorer", restorer)
    assert run("evaluate", *words, tmp_path / "nowhere", *extra) == 1
    assert "nowhere" in sentence(capsys)


@pytest.mark.parametrize("what", ["composites", "denoising", "jpeg", "blur", "guidance", "steering", "descriptions"])
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


def test_evaluation_of_real_photographs_describes_each_once_and_orders_as_restore_does(
    restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    described: list[Tensor] = []

    class SeesBlurAlone(FakeMllm):
        def describe(self, images: Tensor, **settings: Any) -> Guidance:
            described.append(images)
            scores = torch.tensor([[0.02, 0.02, 0.02, 0.02, 0.02, 0.9, 0.02]])
            return replace(super().describe(images, **settings), scores=scores)

    monkeypatch.setattr(RestorationPipeline, "mllm", property(lambda self: SeesBlurAlone()))
    for name in ("input", "target"):
        save(tmp_path / "pairs" / "low_light" / "new" / name / "a.png", noise(32, 32, 3))
    for label in ("haze", "good"):
        save(tmp_path / "weak" / label / "new" / "a.png", noise(32, 32, 3))
    report = tmp_path / "real.json"
    words = ("real", tmp_path / "pairs", tmp_path / "weak", "--split", "new", "--json", report, "--restorer", restorer)
    assert run("evaluate", *words) == 0
    assert "PSNR ordered" in capsys.readouterr().out
    pairs, recall, good, alarms = (table["rows"] for table in json.loads(report.read_text())["tables"])
    assert recall["haze"] == {"n": 1, "recall": 0.0} and alarms["blur"] == {"n": 1, "false alarms": 1.0}
    assert good["good"]["called degraded"] == 1
    assert len(described) == 3
    image = tmp_path / "pairs" / "low_light" / "new" / "input" / "a.png"
    assert run("restore", image, "-o", tmp_path, "--remove", "low_light", "--restorer", restorer) == 0
    ordered = psnr(read_image(tmp_path / "a.png").pixels, read_image(image).pixels)
    assert pairs["low_light"]["PSNR ordered"] == pytest.approx(ordered, abs=1e-4)
    assert abs(pairs["low_light"]["PSNR out"] - ordered) > 0.01, "the order changes something"


def test_evaluation_of_real_photographs_in_another_layout_costs_one_sentence(
    restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fog").mkdir()
    assert run("evaluate", "real", tmp_path, tmp_path, "--restorer", restorer) == 1
    assert "fog" in sentence(capsys)


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

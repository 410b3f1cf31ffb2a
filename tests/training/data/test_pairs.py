"""Folders of pairs are understood in every known layout, and refused in one sentence otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mofe_restore.model.errors import EvaluationError
from mofe_restore.model.images import PSNR_CAP
from mofe_restore.tests.factories import write_photo
from mofe_restore.training.evaluation.pairs import evaluate_pairs


def test_pairs_are_matched_by_stem_whatever_the_ending(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        write_photo(tmp_path / "set" / "target" / f"{name}.png", seed)
        write_photo(tmp_path / "set" / "input" / f"{name}.bmp", seed, change=0.1)
    write_photo(tmp_path / "set" / "target" / "unused.png", 9)
    result = evaluate_pairs(lambda image: image - 0.1, tmp_path / "set")
    row = result.tables[0].rows["set"]
    assert list(result.tables[0].rows) == ["set"] and row["n"] == 2
    assert row["PSNR in"] == pytest.approx(20, abs=0.3) and row["PSNR out"] > 45


def test_pairs_that_differ_in_their_leading_word_are_matched_too(tmp_path: Path) -> None:
    for number in (1, 2, 12):
        write_photo(tmp_path / "target" / f"norain{number}.png", number)
        write_photo(tmp_path / "input" / f"input{number}.png", number)
    result = evaluate_pairs(torch.clone, tmp_path)
    assert result.value(tmp_path.name, "PSNR in") == PSNR_CAP and result.value(tmp_path.name, "n") == 3


def test_a_folder_of_pair_folders_gives_a_row_each_and_a_mean_of_the_rows(tmp_path: Path) -> None:
    for name, change, count in (("fog", 0.1, 1), ("rain", 0.2, 2)):
        for number in range(count):
            write_photo(tmp_path / name / "target" / f"{number}.png", number)
            write_photo(tmp_path / name / "input" / f"{number}.png", number, change=change)
    rows = evaluate_pairs(torch.clone, tmp_path).tables[0].rows
    assert list(rows) == ["fog", "rain", "mean"] and rows["mean"]["n"] == 3
    assert rows["mean"]["PSNR in"] == pytest.approx((rows["fog"]["PSNR in"] + rows["rain"]["PSNR in"]) / 2)


def test_the_layout_of_cdd_11_is_read_as_published(tmp_path: Path) -> None:
    for name in ("clear", "low", "haze_rain", "snow", "notes"):
        (tmp_path / name).mkdir()
    for name, change in (("clear", 0.0), ("low", -0.2), ("haze_rain", 0.1), ("snow", 0.05)):
        for number in (1, 2):
            write_photo(tmp_path / name / f"0000{number}.png", number, change=change)
    rows = evaluate_pairs(torch.clone, tmp_path, limit=1).tables[0].rows
    assert list(rows) == ["low", "snow", "haze_rain", "mean"] and rows["low"]["n"] == 1
    assert rows["low"]["PSNR in"] < rows["haze_rain"]["PSNR in"] < rows["snow"]["PSNR in"]


def test_pairs_that_cannot_be_compared_are_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="holds no pairs"):
        evaluate_pairs(torch.clone, tmp_path)
    with pytest.raises(EvaluationError, match="holds no pairs"):
        evaluate_pairs(torch.clone, tmp_path / "absent")
    write_photo(tmp_path / "target" / "a.png", 0)
    write_photo(tmp_path / "input" / "a.png", 0, width=57)
    with pytest.raises(EvaluationError, match="57 x 48 but its target .* 56 x 48"):
        evaluate_pairs(torch.clone, tmp_path)
    write_photo(tmp_path / "input" / "b.png", 0)
    with pytest.raises(EvaluationError, match="b.png has no target"):
        evaluate_pairs(torch.clone, tmp_path)

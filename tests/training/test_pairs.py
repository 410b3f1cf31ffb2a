"""Folders of pairs are understood in every known layout, and refused in one sentence otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from mofe_restore.tests.training.stand_ins import save, unchanged
from mofe_restore.training.evaluation import EvaluationError, evaluate_pairs
from mofe_restore.training.metrics import PSNR_CAP


def test_pairs_are_matched_by_stem_whatever_the_ending(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        save(tmp_path / "set" / "target" / f"{name}.png", seed)
        save(tmp_path / "set" / "input" / f"{name}.bmp", seed, change=0.1)
    save(tmp_path / "set" / "target" / "unused.png", 9)
    result = evaluate_pairs(lambda picture: picture - 0.1, tmp_path / "set")
    row = result.tables[0].rows["set"]
    assert list(result.tables[0].rows) == ["set"] and row["pictures"] == 2
    assert row["PSNR in"] == pytest.approx(20, abs=0.3) and row["PSNR out"] > 45


def test_pairs_that_differ_in_their_leading_word_are_matched_too(tmp_path: Path) -> None:
    for number in (1, 2, 12):
        save(tmp_path / "target" / f"norain{number}.png", number)
        save(tmp_path / "input" / f"input{number}.png", number)
    result = evaluate_pairs(unchanged, tmp_path)
    assert result.value(tmp_path.name, "PSNR in") == PSNR_CAP and result.value(tmp_path.name, "pictures") == 3


def test_a_folder_of_pair_folders_gives_a_row_each_and_a_mean_of_the_rows(tmp_path: Path) -> None:
    for name, change, count in (("fog", 0.1, 1), ("rain", 0.2, 2)):
        for number in range(count):
            save(tmp_path / name / "target" / f"{number}.png", number)
            save(tmp_path / name / "input" / f"{number}.png", number, change=change)
    rows = evaluate_pairs(unchanged, tmp_path).tables[0].rows
    assert list(rows) == ["fog", "rain", "mean"] and rows["mean"]["pictures"] == 3
    assert rows["mean"]["PSNR in"] == pytest.approx((rows["fog"]["PSNR in"] + rows["rain"]["PSNR in"]) / 2)


def test_the_layout_of_cdd_11_is_read_as_published(tmp_path: Path) -> None:
    for name in ("clear", "low", "haze_rain", "snow", "notes"):
        (tmp_path / name).mkdir()
    for name, change in (("clear", 0.0), ("low", -0.2), ("haze_rain", 0.1), ("snow", 0.05)):
        for number in (1, 2):
            save(tmp_path / name / f"0000{number}.png", number, change=change)
    rows = evaluate_pairs(unchanged, tmp_path, limit=1).tables[0].rows
    assert list(rows) == ["low", "snow", "haze_rain", "mean"] and rows["low"]["pictures"] == 1
    assert rows["low"]["PSNR in"] < rows["haze_rain"]["PSNR in"] < rows["snow"]["PSNR in"]


def test_pairs_that_cannot_be_compared_are_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="holds no pairs"):
        evaluate_pairs(unchanged, tmp_path)
    with pytest.raises(EvaluationError, match="holds no pairs"):
        evaluate_pairs(unchanged, tmp_path / "absent")
    save(tmp_path / "target" / "a.png", 0)
    save(tmp_path / "input" / "a.png", 0, width=57)
    with pytest.raises(EvaluationError, match="57 x 48 but its target .* 56 x 48"):
        evaluate_pairs(unchanged, tmp_path)
    save(tmp_path / "input" / "b.png", 0)
    with pytest.raises(EvaluationError, match="b.png has no target"):
        evaluate_pairs(unchanged, tmp_path)

"""Evaluation of pairs: a row per set with its number of images (layouts: tests/training/data/test_pairs.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mofe_restore.model.errors import EvaluationError
from mofe_restore.tests.factories import write_photo
from mofe_restore.training.evaluation.pairs import evaluate_pairs


def write_pairs(folder: Path, count: int, change: float = 0.1) -> None:
    for number in range(count):
        write_photo(folder / "target" / f"{number}.png", number)
        write_photo(folder / "input" / f"{number}.png", number, change=change)


def test_every_set_names_its_number_of_images_and_all_pairs_are_reported(tmp_path: Path) -> None:
    write_pairs(tmp_path / "fog", 3)
    write_pairs(tmp_path / "rain", 1, change=0.2)
    seen: list[tuple[int, int]] = []
    table = evaluate_pairs(torch.clone, tmp_path, limit=2, on_progress=lambda *step: seen.append(step)).tables[0]
    assert list(table.columns)[0] == "n"
    assert {name: row["n"] for name, row in table.rows.items()} == {"fog": 2, "rain": 1, "mean": 3}
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_single_set_has_no_mean(tmp_path: Path) -> None:
    write_pairs(tmp_path, 2)
    rows = evaluate_pairs(lambda image: image - 0.1, tmp_path).tables[0].rows
    assert list(rows) == [tmp_path.name] and rows[tmp_path.name]["gain"] > 20


def test_sizes_that_differ_are_refused_by_name(tmp_path: Path) -> None:
    write_photo(tmp_path / "target" / "a.png", 0)
    write_photo(tmp_path / "input" / "a.png", 0, height=47)
    with pytest.raises(EvaluationError, match=r"a.png is 56 x 47 but its target .* is 56 x 48: pairs need equal sizes"):
        evaluate_pairs(torch.clone, tmp_path)

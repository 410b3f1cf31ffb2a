"""Tables read well, and the JSON is strict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mofe_restore.tests.factories import scored_guidance, write_photo
from mofe_restore.training.evaluation.descriptions import evaluate_descriptions
from mofe_restore.training.evaluation.results import Evaluation, Table
from mofe_restore.training.release.report import read_results


def test_results_read_as_markdown_and_as_strict_json(tmp_path: Path) -> None:
    write_photo(tmp_path / "photo0.png", 0)
    result = evaluate_descriptions(lambda image: scored_guidance([0.0] * 7), tmp_path, repeats=1, limit=1)
    lines = result.to_markdown().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert lines[0] == result.title and len({len(line) for line in table[:10]}) == 1
    assert table[0].split("|")[1].strip() == "degradation" and table[2].split("|")[1].strip() == "low_light"

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads(result.to_json(), parse_constant=refuse)
    assert read["tables"][0]["rows"]["jpeg"]["precision"] is None
    assert [table["name"] for table in read["tables"]] == ["degradation", "parameter"]
    with pytest.raises(KeyError, match="no row 'fog'"):
        result.value("fog", "F1")


def test_what_was_written_can_be_read_again() -> None:
    result = Evaluation("Title", (Table("row", {"a": 2, "b": 0}, {"x": {"a": 1.25, "b": float("nan")}}),))
    assert Evaluation.from_dict(json.loads(result.to_json())).to_markdown() == result.to_markdown()


def test_a_table_without_rows_is_not_printed() -> None:
    tables = (Table("empty", {"n": 0}, {}), Table("full", {"n": 0}, {"x": {"n": 3}}))
    text = Evaluation("Title", tables).to_markdown()
    assert "empty" not in text and "| x    | 3 |" in text
    assert Evaluation("Title", tables[:1]).to_markdown() == "Title\n"


def test_every_row_of_the_committed_results_names_its_number_of_images(root: Path) -> None:
    results = read_results(root / "docs" / "results")
    assert len(results) >= 9
    for name, result in results.items():
        for table in result.tables:
            assert list(table.columns)[0] == "n", (name, table.name)
            assert all(row["n"] >= 1 and set(row) == set(table.columns) for row in table.rows.values()), name

"""Tables read well, and the JSON is strict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mofe_restore.tests.training.stand_ins import guidance, save
from mofe_restore.training.evaluation import evaluate_descriptions
from mofe_restore.training.tables import Evaluation, Table


def test_results_read_as_markdown_and_as_strict_json(tmp_path: Path) -> None:
    save(tmp_path / "photo0.png", 0)
    result = evaluate_descriptions(lambda picture: guidance([0.0] * 7), tmp_path, repeats=1, limit=1)
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

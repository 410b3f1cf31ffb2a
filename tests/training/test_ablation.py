"""Variants of one run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mofe_restore.model.errors import TrainingError
from mofe_restore.model.restorer.config import RestorerConfig
from mofe_restore.model.restorer.network import Restorer
from mofe_restore.tests.training.restorer.test_task import CONFIG
from mofe_restore.training import ablation
from mofe_restore.training.ablation import variants
from mofe_restore.training.engine.config import LoopConfig, parse_table, read_toml
from mofe_restore.training.evaluation.results import Evaluation
from mofe_restore.training.release.report import read_results
from mofe_restore.training.release.tables import PLAIN_NAMES
from mofe_restore.training.restorer.config import RestorerRun

VARIANTS = """
[variants]
whole = {}
plain = { model = { mofe_levels = [] } }
top_1 = { model = { top_experts = 1 } }
oracle = { data = { guidance = "oracle" } }
"""


def test_variants_differ_in_what_they_name_alone() -> None:
    tables = {
        "loop": {"output": "runs"},
        "losses": {"relational": 1.0},
        "variants": {"a": {}, "b": {"losses": {"x": 2}}},
    }
    first, second = dict(variants(tables)).values()
    assert first == {"loop": {"output": str(Path("runs/a"))}, "losses": {"relational": 1.0}}
    assert second == {"loop": {"output": str(Path("runs/b"))}, "losses": {"relational": 1.0, "x": 2}}


@pytest.mark.parametrize("changes", [None, {}, {"a": {"loop": {"steps": 9}}}, {"a": {"lose": {}}}])
def test_variants_that_cannot_be_compared_are_refused(changes: object) -> None:
    with pytest.raises(TrainingError, match=r"\[variants\]|Variant a"):
        list(variants({"loop": {"output": "runs"}, "losses": {}, "variants": changes}))


def test_a_comparison_is_written_and_done_again_at_no_cost(
    photos: Path, tiny_mllm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {"folder": tmp_path.as_posix(), "photos": photos.as_posix(), "mllm": tiny_mllm_folder.as_posix()}
    (tmp_path / "run.toml").write_text(CONFIG.format(**paths) + "[losses]\nguidance_dropout = 0.0\n" + VARIANTS)
    ablation.run(tmp_path / "run.toml")
    result = tmp_path / "run" / "ablation.json"
    table = Evaluation.from_dict(json.loads(result.read_text())).tables[0]
    assert list(table.rows) == ["whole", "plain", "top_1", "oracle"]
    assert table.rows["whole"]["gain"] == 0 and all(row["steps"] == 2 for row in table.rows.values())
    assert all(row["n"] == 11 for row in table.rows.values())
    before = result.read_text()
    ablation.run(tmp_path / "run.toml")
    assert result.read_text() == before


def test_a_variant_that_is_stopped_ends_the_comparison(photos: Path, tiny_mllm_folder: Path, tmp_path: Path) -> None:
    paths = {"folder": tmp_path.as_posix(), "photos": photos.as_posix(), "mllm": tiny_mllm_folder.as_posix()}
    text = CONFIG.format(**paths).replace("steps = 2", "steps = 2\nmax_minutes = 1e-9") + VARIANTS
    (tmp_path / "run.toml").write_text(text)
    ablation.run(tmp_path / "run.toml")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["whole"]


def test_the_comparison_of_the_pack_can_be_run_and_each_variant_changes_something(root: Path) -> None:
    raw_config = read_toml(root / "training" / "configs" / "ablation.toml")
    seen = []
    for _, variant in variants(raw_config):
        parse_table(LoopConfig, variant, "loop")
        settings = RestorerRun.from_raw(variant)
        RestorerConfig.from_dict({**settings.model, "guidance_width": 256})
        seen.append({name: table for name, table in variant.items() if name != "loop"})
    assert seen[0] == {name: raw_config[name] for name in seen[0]}
    assert all(one not in seen[:number] for number, one in enumerate(seen))


def test_every_variant_of_the_pack_has_a_plain_name(root: Path) -> None:
    names = [name for name, _ in variants(read_toml(root / "training" / "configs" / "ablation.toml"))]
    assert names == list(PLAIN_NAMES["ablation"])
    results = read_results(root / "docs" / "results")
    assert names == list(results["ablation"].tables[0].rows)


def test_what_stands_in_for_mofe_costs_about_as_much(root: Path) -> None:
    raw_config = read_toml(root / "training" / "configs" / "ablation.toml")
    changed = {name: variant["model"] for name, variant in variants(raw_config)}
    sizes = {
        name: sum(p.numel() for p in Restorer(RestorerConfig.from_dict({**model, "guidance_width": 32})).parameters())
        for name, model in changed.items()
        if name in ("mllm", "no_mofe")
    }
    assert sizes["no_mofe"] == pytest.approx(sizes["mllm"], rel=0.02)

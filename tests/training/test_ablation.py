"""Variants of one run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mofe_restore.model.restorer import Restorer, RestorerConfig
from mofe_restore.tests.training.test_train_restorer import CONFIG
from mofe_restore.training import ablation
from mofe_restore.training.ablation import variants
from mofe_restore.training.config import LoopConfig, TrainingError, load_toml, table_to_config
from mofe_restore.training.tables import Evaluation
from mofe_restore.training.train_restorer import RestorerData, RestorerLosses

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
    before = result.read_text()
    ablation.run(tmp_path / "run.toml")
    assert result.read_text() == before


@pytest.mark.parametrize("file", ["ablation.toml", "design.toml"])
def test_the_comparisons_of_the_pack_can_be_run_and_each_variant_changes_something(root: Path, file: str) -> None:
    tables = load_toml(root / "training" / file)
    seen = []
    for _, variant in variants(tables):
        LoopConfig.from_table(variant["loop"])
        table_to_config(RestorerData, variant["data"], "data")
        table_to_config(RestorerLosses, variant["losses"], "losses")
        RestorerConfig.from_dict({**variant["model"], "guidance_width": 256})
        seen.append({name: variant[name] for name in ("model", "data", "losses")})
    assert seen[0] == {name: tables[name] for name in seen[0]}
    assert all(one not in seen[:number] for number, one in enumerate(seen))


def test_what_stands_in_for_mofe_costs_about_as_much(root: Path) -> None:
    changed = {name: variant["model"] for name, variant in variants(load_toml(root / "training" / "ablation.toml"))}
    sizes = {
        name: sum(p.numel() for p in Restorer(RestorerConfig.from_dict({**model, "guidance_width": 32})).parameters())
        for name, model in changed.items()
        if name in ("mllm", "no_mofe")
    }
    assert sizes["no_mofe"] == pytest.approx(sizes["mllm"], rel=0.02)

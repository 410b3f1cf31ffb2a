"""Taking finished runs into the pack."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from mofe_restore.model.inference.checks import check_guidance
from mofe_restore.model.mllm.loading import identity_of, load_mllm
from mofe_restore.model.restorer.config import RestorerConfig
from mofe_restore.model.restorer.loading import load_restorer
from mofe_restore.model.restorer.network import Restorer
from mofe_restore.model.weights import Card, write_weights
from mofe_restore.training.engine.provenance import training_record
from mofe_restore.training.evaluation.results import Evaluation, Table
from mofe_restore.training.release.publish import publish

LOG = "step,seconds,lr,loss\n1,2,0.001,0.5\n2,4,0.001,0.4\n"


@pytest.fixture
def runs(tmp_path: Path, tiny_mllm_folder: Path) -> tuple[Path, Path]:
    mllm, restorer = tmp_path / "mllm-run", tmp_path / "restorer-run"
    shutil.copytree(tiny_mllm_folder, mllm / "export" / "mllm")
    config = RestorerConfig(64, (8, 8, 16, 16), (1, 1, 1, 1), (1, 1, 1), vector_width=16, head_width=8, thumbnail=32)
    identity = identity_of(mllm / "export" / "mllm")
    card = Card("restorer", "tiny", "0", config.to_dict(), {"step": 3}, {"psnr": 20.0}, "d", "l", "x", identity)
    write_weights(restorer / "export" / "restorer.safetensors", Restorer(config).state_dict(), card)
    for run in (mllm, restorer):
        (run / "log.csv").write_text(LOG)
    return mllm, restorer


def measured(value: float) -> dict[str, Any]:
    columns = {"n": 0, "PSNR in": 2, "PSNR out": 2, "gain": 2, "SSIM in": 3, "SSIM out": 3, "F1": 2, "rank": 2}
    row = dict.fromkeys(columns, value) | {"n": 4}
    values: dict[str, Any] = json.loads(
        Evaluation("Title", (Table("row", columns, {"low": row, "mean": row}),)).to_json()
    )
    return values


def test_published_models_work_together_and_match_their_checksums(runs: tuple[Path, Path], tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    composites, descriptions = (measured(value) for value in (23.4, 0.9))
    publish(*runs, {"composites": composites, "descriptions": descriptions}, weights)
    network, card = load_restorer(weights / "restorer" / "model.safetensors")
    guidance = load_mllm(weights / "mllm").describe(torch.rand(1, 3, 100, 100), with_text=False)
    check_guidance(guidance, network, 1)
    assert network.config.guidance_width == guidance.pooled.shape[1]
    assert card.metrics == {"psnr": 20.0, "composites": composites}
    for line in (weights / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((weights / name).read_bytes()).hexdigest() == digest
    assert "| mean | 4 |    0.90 |" in (weights / "mllm" / "README.md").read_text()
    assert "| mean | 4 |   23.40 |" in (weights / "restorer" / "README.md").read_text()
    assert (weights / "restorer" / "training_log.csv").read_text() == LOG
    assert "  restorer/model.safetensors\n" in (weights / "SHA256SUMS").read_text()


def test_both_networks_are_laid_out_alike_and_the_results_lie_in_docs(runs: tuple[Path, Path], tmp_path: Path) -> None:
    publish(*runs, {"pairs": measured(23.4)}, tmp_path / "weights")
    for name in ("mllm", "restorer"):
        beside = {path.name for path in (tmp_path / "weights" / name).iterdir()}
        assert {"model.safetensors", "README.md", "training_log.csv", "training_curve.png"} <= beside
    assert json.loads((tmp_path / "docs" / "results" / "pairs.json").read_text()) == measured(23.4)
    assert sorted(path.name for path in (tmp_path / "weights").iterdir()) == ["SHA256SUMS", "mllm", "restorer"]


def test_results_replace_all_earlier_ones_and_can_lie_elsewhere(runs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    publish(*runs, {"pairs": measured(23.4)}, tmp_path / "weights", folder)
    publish(*runs, {}, tmp_path / "weights", folder)
    assert [path.name for path in folder.iterdir()] == ["pairs.json"]
    publish(None, None, {"composites": measured(1.0)}, tmp_path / "weights", folder)
    assert [path.name for path in folder.iterdir()] == ["composites.json"] and not (tmp_path / "docs").exists()
    assert "Measured: composites" in (tmp_path / "weights" / "restorer" / "README.md").read_text()


def test_measurements_that_are_no_evaluation_stay(runs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "results"
    publish(*runs, {"pairs": measured(23.4)}, tmp_path / "weights")
    (folder / "gpu.json").write_text('{"device": "a GPU"}')
    (folder / "pairs.png").write_bytes(b"a plot of the pairs")
    publish(None, None, {"composites": measured(1.0)}, tmp_path / "weights")
    assert sorted(path.name for path in folder.iterdir()) == ["composites.json", "gpu.json"]
    assert "device" not in (tmp_path / "weights" / "restorer" / "README.md").read_text()


def test_a_page_without_a_place_is_refused_before_anything_is_written(runs: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Mine\n")
    with pytest.raises(ValueError, match="has no place for the results"):
        publish(*runs, {"pairs": measured(1.0)}, tmp_path / "weights", readme=tmp_path / "README.md")
    assert not (tmp_path / "weights").exists() and not (tmp_path / "docs").exists()


def test_a_restorer_of_another_mllm_is_refused(runs: tuple[Path, Path], tmp_path: Path) -> None:
    mllm, restorer = runs
    other = mllm / "export" / "mllm" / "model.safetensors"
    other.write_bytes(other.read_bytes()[:-1] + b"\1")
    with pytest.raises(ValueError, match="was trained with the MLLM"):
        publish(mllm, restorer, {}, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_a_result_that_is_none_is_refused_before_anything_is_written(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bench is no result of mofe evaluate"):
        publish(*runs, {"bench": {"runs": 5}}, tmp_path / "weights")
    assert not (tmp_path / "weights").exists()


def test_publishing_again_replaces_what_was_there(runs: tuple[Path, Path], tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    publish(*runs, {}, weights)
    (weights / "mllm" / "stale.json").write_text("{}")
    (weights / "restorer" / "stale.json").write_text("{}")
    publish(*runs, {}, weights)
    assert not (weights / "mllm" / "stale.json").exists()
    assert not (weights / "restorer" / "stale.json").exists()
    assert not [path for path in weights.rglob("*") if path.suffix in (".partial", ".previous", ".tmp")]


def test_an_export_that_was_killed_between_its_renames_is_published(runs: tuple[Path, Path], tmp_path: Path) -> None:
    export = runs[0] / "export" / "mllm"
    export.rename(export.with_name("mllm.previous"))
    publish(*runs, {}, tmp_path / "weights")
    assert identity_of(tmp_path / "weights" / "mllm") == identity_of(export)


def test_a_record_keeps_no_folders_of_one_machine(tmp_path: Path) -> None:
    record = training_record({"data": {"photos": str(tmp_path / "data" / "train"), "mllm": "runs/mllm", "crop": 8}}, 3)
    assert record["data"] == {"photos": "data/train", "mllm": "runs/mllm", "crop": 8}

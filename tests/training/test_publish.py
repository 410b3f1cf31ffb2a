"""Taking finished runs into the pack."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from mofe_restore.model.mllm_folder import identity_of, load_mllm
from mofe_restore.model.restorer import Restorer, RestorerConfig, check_guidance, load_restorer
from mofe_restore.model.weights import Card, write_weights
from mofe_restore.training.publish import publish
from mofe_restore.training.record import training_record
from mofe_restore.training.tables import Evaluation, Table

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
    columns = {"PSNR in": 2, "PSNR out": 2, "gain": 2, "SSIM in": 3, "SSIM out": 3, "F1": 2, "rank": 2}
    row = dict.fromkeys(columns, value)
    return json.loads(Evaluation("Title", (Table("row", columns, {"low": row, "mean": row}),)).to_json())


def test_published_models_work_together_and_match_their_checksums(runs: tuple[Path, Path], tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    composites, descriptions = (measured(value) for value in (23.4, 0.9))
    publish(*runs, {"composites": composites, "descriptions": descriptions}, weights)
    network, card = load_restorer(weights / "restorer.safetensors")
    guidance = load_mllm(weights / "mllm").describe(torch.rand(1, 3, 100, 100), with_text=False)
    check_guidance(card, guidance)
    assert network.config.guidance_width == guidance.pooled.shape[1]
    assert card.metrics == {"psnr": 20.0, "composites": composites}
    for line in (weights / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((weights / name).read_bytes()).hexdigest() == digest
    assert "| mean |    0.90 |" in (weights / "mllm" / "README.md").read_text()
    assert "| mean |   23.40 |" in (weights / "restorer.md").read_text()
    assert (weights / "restorer_log.csv").read_text() == LOG


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
    publish(*runs, {}, weights)
    assert not (weights / "mllm" / "stale.json").exists()
    assert not [path for path in weights.iterdir() if path.suffix in (".partial", ".previous", ".tmp")]


def test_an_export_that_was_killed_between_its_renames_is_published(runs: tuple[Path, Path], tmp_path: Path) -> None:
    export = runs[0] / "export" / "mllm"
    export.rename(export.with_name("mllm.previous"))
    publish(*runs, {}, tmp_path / "weights")
    assert identity_of(tmp_path / "weights" / "mllm") == identity_of(export)


def test_a_record_keeps_no_folders_of_one_machine(tmp_path: Path) -> None:
    record = training_record({"data": {"photos": str(tmp_path / "data" / "train"), "mllm": "runs/mllm", "crop": 8}}, 3)
    assert record["data"] == {"photos": "data/train", "mllm": "runs/mllm", "crop": 8}

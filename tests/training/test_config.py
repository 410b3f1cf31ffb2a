"""Settings that make no sense are refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mofe_restore.training.config import LoopConfig, TrainingError, load_toml, table_to_config
from mofe_restore.training.train_mllm import MllmData
from mofe_restore.training.train_restorer import RestorerData, RestorerLosses


def test_a_decay_longer_than_the_run_is_refused() -> None:
    with pytest.raises(TrainingError, match="must fit into steps"):
        LoopConfig("run", 1000, warmup_steps=200, decay_steps=900)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"sides": (300, 200)}, "sides"),
        ({"batch": 9, "looks": 2}, "batch"),
        ({"answers_every": 0}, "answers_every"),
    ],
)
def test_mllm_data_that_makes_no_sense_is_refused_by_name(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(TrainingError, match=name):
        MllmData("photos", "photos", **settings)


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"sides": (100, 200), "crop": 128}, "sides"), ({"scenes": 0}, "scenes"), ({"sides": (256,)}, "sides")],
)
def test_restorer_data_that_makes_no_sense_is_refused_by_name(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(TrainingError, match=name):
        RestorerData("photos", "photos", "mllm", **settings)


def test_the_unguided_run_differs_from_the_shipped_one_in_guidance_alone(root: Path) -> None:
    guided, unguided = (load_toml(root / "training" / f"restorer{kind}.toml") for kind in ("", "_unguided"))
    assert unguided["losses"].pop("guidance_dropout") == 1.0
    guided["losses"].pop("guidance_dropout")
    assert unguided["losses"] == guided["losses"]
    assert unguided["model"] == guided["model"]
    assert unguided["data"] == guided["data"]
    for name in ("seed", "learning_rate", "weight_decay", "warmup_steps", "gradient_clip", "ema", "precision"):
        assert unguided["loop"][name] == guided["loop"][name]
    assert unguided["loop"]["steps"] in guided["loop"]["snapshots"]
    assert guided["loop"]["steps"] - guided["loop"]["decay_steps"] > unguided["loop"]["steps"]
    table_to_config(RestorerLosses, guided["losses"], "losses")

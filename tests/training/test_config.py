"""Settings that make no sense are refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from mofe_restore.training.config import LoopConfig, TrainingError
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
        ({"unusual_of": 0}, "unusual_of"),
        ({"noise_share": 0.7, "clean_share": 0.4}, "clean_share"),
    ],
)
def test_mllm_data_that_makes_no_sense_is_refused_by_name(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(TrainingError, match=name):
        MllmData("photos", "photos", **settings)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"sides": (100, 200), "crop": 128}, "sides"),
        ({"scenes": 0}, "scenes"),
        ({"sides": (256,)}, "sides"),
        ({"wide_share": 1.5}, "wide_share"),
        ({"noise_share": 0.7, "rain_share": 0.4}, "rain_share"),
        ({"composite_share": 1.5}, "composite_share"),
        ({"noise_share": 0.7, "overview_rain_share": 0.4}, "overview_rain_share"),
        ({"noise_share": 0.7, "overview_clean_share": 0.4}, "overview_clean_share"),
        ({"overview_looks": 0}, "overview_looks"),
        ({"overview_batches": -1}, "overview_batches"),
    ],
)
def test_restorer_data_that_makes_no_sense_is_refused_by_name(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(TrainingError, match=name):
        RestorerData("photos", "photos", "mllm", **settings)


def test_the_share_of_withheld_guidance_lies_between_0_and_1() -> None:
    with pytest.raises(TrainingError, match="guidance_dropout"):
        RestorerLosses(guidance_dropout=1.5)

"""Settings of a restorer run that make no sense are refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from mofe_restore.model.errors import TrainingError
from mofe_restore.training.restorer.config import BatchConfig, LossConfig, RestorerRun, ToneConfig

PATHS = {"photos": "photos", "validation": "photos", "mllm": "mllm"}


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"sides": (100, 200), "crop": 128}, "sides"),
        ({"crops": 0}, "crops"),
        ({"scenes": -1}, "scenes"),
        ({"steered_share": 1.5}, "steered_share"),
    ],
)
def test_a_batch_that_makes_no_sense_is_refused_by_name(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(TrainingError, match=name):
        BatchConfig(**settings)


@pytest.mark.parametrize(("settings", "name"), [({"view_sets": 0}, "view_sets"), ({"cycle": -1}, "cycle")])
def test_tone_scenes_that_make_no_sense_are_refused_by_name(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(TrainingError, match=name):
        ToneConfig(**settings)


@pytest.mark.parametrize(
    ("tables", "name"),
    [
        ({"batch": {"scenes": 0}}, "both 0"),
        ({"batch": {"sides": [256]}}, "sides"),
        ({"mix": {"noise_share": 0.7}, "tone_mix": {"rain_share": 0.4}}, "rain_share"),
        ({"mix": {"noise_share": 0.7}, "tone_mix": {"clean_share": 0.4}}, "clean_share"),
        ({"data": {**PATHS, "guidance": "guess"}}, "mllm, other or oracle, not 'guess'"),
        ({"data": {**PATHS, "guidance": "other"}, "batch": {"scenes": 1}}, "at least two scenes"),
    ],
)
def test_tables_that_do_not_fit_together_are_refused_by_name(tables: dict[str, Any], name: str) -> None:
    with pytest.raises(TrainingError, match=name):
        RestorerRun.from_raw({"data": PATHS, **tables})


def test_the_mix_of_tone_scenes_is_the_mix_but_for_what_it_sets() -> None:
    run = RestorerRun.from_raw({"data": PATHS, "mix": {"noise_share": 0.3}, "tone_mix": {"rain_share": 0.4}})
    assert (run.tone_mix.noise_share, run.tone_mix.rain_share, run.mix.rain_share) == (0.3, 0.4, 0.0)


def test_the_share_of_withheld_guidance_lies_between_0_and_1() -> None:
    with pytest.raises(TrainingError, match="guidance_dropout"):
        LossConfig(guidance_dropout=1.5)

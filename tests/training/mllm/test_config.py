"""Settings of an MLLM run that make no sense are refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from mofe_restore.model.errors import TrainingError
from mofe_restore.training.mllm.config import BatchConfig, RealConfig


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"sides": (300, 200)}, "sides"), ({"size": 9, "view_sets": 2}, "size"), ({"answers_every": 0}, "answers_every")],
)
def test_a_batch_that_makes_no_sense_is_refused_by_name(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(TrainingError, match=name):
        BatchConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"share": 1.0}, "share"), ({"good_share": 0.0}, "good_share"), ({"keep_weight": -1}, "keep")],
)
def test_real_settings_that_make_no_sense_are_refused_by_name(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(TrainingError, match=name):
        RealConfig("folder", **settings)

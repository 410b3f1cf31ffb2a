"""Settings of an MLLM run that make no sense are refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from mofe_restore.model.errors import TrainingError
from mofe_restore.training.mllm.config import BatchConfig


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"sides": (300, 200)}, "sides"), ({"size": 9, "view_sets": 2}, "size"), ({"answers_every": 0}, "answers_every")],
)
def test_a_batch_that_makes_no_sense_is_refused_by_name(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(TrainingError, match=name):
        BatchConfig(**settings)

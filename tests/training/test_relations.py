"""Relations between pictures: what is alike is told from what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mofe_restore.model.guidance import Guidance
from mofe_restore.model.imaging.degradations import COMBINATIONS
from mofe_restore.tests.training.stand_ins import guidance, save
from mofe_restore.training.composites import composite, to_tensor
from mofe_restore.training.photos import read_photo
from mofe_restore.training.relations import agreement, evaluate_relations


def test_one_who_sees_the_truth_agrees_with_it_and_a_blind_one_does_not(tmp_path: Path) -> None:
    photo = save(tmp_path / "clean" / "photo.png", 1)
    known = {}
    for kind in COMBINATIONS:
        degraded = composite(read_photo(photo), kind, photo.name, 0)
        known[to_tensor(degraded.picture).sum().item()] = torch.from_numpy(degraded.truth.strength)

    def see(picture: Tensor) -> Guidance:
        seen = guidance([0.0] * 7)
        seen.pooled.data = known[picture.sum().item()][None]
        return seen

    torch.manual_seed(0)
    result = evaluate_relations(see, lambda *_: torch.randn(8), tmp_path / "clean", picture=tmp_path / "drawn.png")
    assert result.value("embeddings and severities", "correlation") == pytest.approx(1.0)
    assert abs(result.value("routing and severities", "correlation")) < 0.4
    assert (tmp_path / "drawn.png").stat().st_size > 10_000
    means = result.tables[1]
    assert means.name == "severities" and means.rows["low"]["low"] == pytest.approx(1.0)
    assert means.rows["haze"]["haze_rain"] > means.rows["haze"]["low_snow"]


def test_agreement_looks_at_different_pictures_alone() -> None:
    one = torch.tensor([[9.0, 1.0, 2.0], [1.0, 9.0, 3.0], [2.0, 3.0, 9.0]])
    two = torch.tensor([[0.0, 3.0, 2.0], [3.0, 0.0, 1.0], [2.0, 1.0, 0.0]])
    assert agreement(one, two) == pytest.approx(-1.0)

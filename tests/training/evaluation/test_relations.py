"""Evaluation of relations: images that are degraded alike are told from others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mofe_restore.model.guidance import Guidance
from mofe_restore.model.synthesis.severities import COMBINATIONS
from mofe_restore.tests.factories import scored_guidance, write_photo
from mofe_restore.training.data.photos import read_photo
from mofe_restore.training.evaluation.inputs import composite, to_tensor
from mofe_restore.training.evaluation.relations import agreement, evaluate_relations


def test_one_who_sees_the_truth_agrees_with_it_and_a_blind_one_does_not(tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "clean" / "photo.png", 1)
    known = {}
    for kind in COMBINATIONS:
        degraded = composite(read_photo(photo), kind, photo.name, 0)
        known[to_tensor(degraded.image).sum().item()] = torch.from_numpy(degraded.truth.strength)

    def see(image: Tensor) -> Guidance:
        seen = scored_guidance([0.0] * 7)
        seen.pooled.data = known[image.sum().item()][None]
        return seen

    torch.manual_seed(0)
    result = evaluate_relations(see, lambda *_: torch.randn(8), tmp_path / "clean", plot=tmp_path / "drawn.png")
    assert result.value("embeddings and severities", "correlation") == pytest.approx(1.0)
    assert abs(result.value("routing and severities", "correlation")) < 0.4
    assert (tmp_path / "drawn.png").stat().st_size > 10_000
    means = result.tables[1]
    assert means.name == "severities" and means.rows["low"]["low"] == pytest.approx(1.0)
    assert means.rows["haze"]["haze_rain"] > means.rows["haze"]["low_snow"]
    assert {row["n"] for row in result.tables[0].rows.values()} == {11} and means.rows["low"]["n"] == 1


def test_agreement_looks_at_different_images_alone() -> None:
    one = torch.tensor([[9.0, 1.0, 2.0], [1.0, 9.0, 3.0], [2.0, 3.0, 9.0]])
    two = torch.tensor([[0.0, 3.0, 2.0], [3.0, 0.0, 1.0], [2.0, 1.0, 0.0]])
    assert agreement(one, two) == pytest.approx(-1.0)

"""Scores and physical parameters from the head."""

from __future__ import annotations

import pytest
import torch

from mofe_restore.model.mllm.head import ABSENT, OWNER, SPAN, DegradationHead, Reading, scale_parameters
from mofe_restore.model.vocabulary import DEGRADATIONS, PARAMETERS


def reading(presence: float, strength: float = 0.4, parameter: float = 0.5) -> Reading:
    return Reading(
        torch.full((2, len(DEGRADATIONS)), presence),
        torch.full((2, len(DEGRADATIONS)), strength),
        torch.full((2, len(PARAMETERS)), parameter),
    )


def test_scores_of_one_half_and_above_mean_present_and_grow_with_the_strength() -> None:
    assert (reading(-0.01).scores() < 0.5).all()
    assert (reading(0.01, strength=0.0).scores() >= 0.5).all()
    assert (reading(3.0, strength=0.9).scores() > reading(3.0, strength=0.2).scores()).all()
    assert (reading(9.0, strength=7.0).scores() <= 1).all()


def test_absent_degradations_have_the_absent_parameters() -> None:
    assert torch.equal(reading(-2.0).physical()[0], ABSENT)
    assert torch.allclose(reading(2.0).physical()[0], ABSENT + 0.5 * SPAN)


def test_scaling_is_undone_by_reading() -> None:
    parameters = torch.tensor([[2.5, 0.05, 0.1, 0.2, 1.4, 0.8, 0.6, 1.5, 40.0]])
    back = Reading(torch.ones(1, 7), torch.ones(1, 7), scale_parameters(parameters)).physical()
    assert torch.allclose(back, parameters, atol=1e-5)


@pytest.mark.parametrize(
    ("parameter", "owner"), [("airlight", "haze"), ("noise_sigma", "noise"), ("blur_sigma", "blur")]
)
def test_each_parameter_belongs_to_its_degradation(parameter: str, owner: str) -> None:
    assert DEGRADATIONS[OWNER[PARAMETERS.index(parameter)]] == owner


def test_the_head_reads_each_image_by_itself() -> None:
    head, pooled = DegradationHead(16), torch.randn(3, 16)
    together = head(pooled)
    assert torch.allclose(together.strength[1:2], head(pooled[1:2]).strength, atol=1e-6)


def test_a_fitted_head_adds_to_the_presence_alone() -> None:
    torch.manual_seed(0)
    plain, fitted = DegradationHead(16), DegradationHead(16, hidden=4)
    fitted.read.load_state_dict(plain.read.state_dict())
    pooled = torch.randn(3, 16)
    one, other = plain(pooled), fitted(pooled)
    assert not torch.allclose(one.presence, other.presence)
    assert torch.equal(one.strength, other.strength) and torch.equal(one.parameters, other.parameters)

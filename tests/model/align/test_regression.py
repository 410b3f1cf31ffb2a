"""Ridge regression from statistics to guidance."""

from __future__ import annotations

import pytest
import torch

from mofe_restore.model.align.regression import (
    FOLDS,
    basis_of,
    detection_f1,
    fit_reading,
    folds_of,
    ridge,
)
from mofe_restore.model.mllm.head import scale_parameters


@pytest.fixture(scope="module")
def data() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Statistics [120, 40] that hold six numbers, these numbers, and the photograph of each row."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(120, 6, generator=generator)
    statistics = hidden @ torch.randn(6, 40, generator=generator) + 0.05 * torch.randn(120, 40, generator=generator)
    return statistics, hidden, torch.arange(120) // 6


def test_the_basis_reproduces_the_distances_of_the_normalized_statistics(
    data: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    statistics = data[0]
    basis = basis_of(statistics)
    assert torch.allclose((statistics - basis.mean) @ basis.project, basis.code, atol=1e-4)
    normalized = (statistics - statistics.mean(0)) / statistics.std(0) / statistics.shape[1] ** 0.5
    assert torch.allclose(torch.pdist(basis.code), torch.pdist(normalized), atol=1e-3)


def test_what_the_statistics_hold_is_found_on_held_out_photographs(
    data: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    statistics, hidden, groups = data
    fit = ridge(basis_of(statistics).code, hidden @ torch.ones(6, 3), groups)
    assert fit.error < 0.02
    assert fit.held_out.shape == (120, 3)


def test_what_they_do_not_hold_is_not_found(data: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> None:
    fit = ridge(basis_of(data[0]).code, torch.randn(120, 2, generator=torch.Generator().manual_seed(1)), data[2])
    assert 0.9 < fit.error < 1.2


def test_images_of_one_photograph_are_held_out_together() -> None:
    groups = torch.arange(40) // 4
    folds = folds_of(groups)
    assert len(folds) == FOLDS and torch.stack(folds).sum(0).tolist() == [1] * 40
    for fold in folds:
        assert not set(groups[fold].tolist()) & set(groups[~fold].tolist())
    assert len(folds_of(torch.zeros(40))) == FOLDS, "with a single photograph images are held out one by one"


def test_presence_strength_and_parameters_are_read_as_a_head_reads_them(
    data: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    statistics, hidden, groups = data
    presence = (torch.cat([hidden, hidden[:, :1] + hidden[:, 1:2]], dim=1) > 0).float()
    strength = presence * 0.6
    parameters = torch.tensor([2.0, 0.05, 0.1, 0.1, 1.0, 0.5, 0.5, 1.0, 50.0]).expand(120, -1)
    fit = fit_reading(basis_of(statistics).code, presence, strength, parameters, groups)
    assert fit.held_out.shape == (120, 23)
    assert detection_f1(fit.held_out[:, :7], presence) > 0.9
    assert torch.allclose(fit.held_out[:, 7:14], torch.full((120, 7), 0.6), atol=0.05)
    assert torch.allclose(fit.held_out[:, 14:], scale_parameters(parameters), atol=0.05)
    probabilities = fit.held_out[:, :7].sigmoid()
    assert (probabilities.mean(0) - presence.mean(0)).abs().max() < 0.08, "the logits are calibrated"


def test_a_degradation_that_hardly_occurs_gets_its_mean_strength(
    data: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
) -> None:
    statistics, _, groups = data
    presence, strength = torch.zeros(120, 7), torch.zeros(120, 7)
    presence[:3, 2], strength[:3, 2] = 1.0, torch.tensor([0.2, 0.4, 0.6])
    fit = fit_reading(basis_of(statistics).code, presence, strength, torch.ones(120, 9), groups)
    assert torch.allclose(fit.held_out[:, 9], torch.full((120,), 0.4))
    assert bool(fit.held_out.isfinite().all())


def test_scores_are_as_often_right_as_they_say() -> None:
    """On images that the fit has not seen, whose presence their statistics tell only in part."""
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(1600, 7, generator=generator)
    presence = (torch.rand(1600, 7, generator=generator) < (1.5 * hidden - 0.5).sigmoid()).float()
    seen, new = slice(0, 400), slice(400, 1600)
    code = torch.cat([hidden, torch.randn(1600, 30, generator=generator)], dim=1)
    zeros = torch.zeros(400, 7), torch.full((400, 9), 0.5)
    fit = fit_reading(code[seen], presence[seen], *zeros, torch.arange(400))
    scores = (fit.offset + code[new] @ fit.weights)[:, :7].sigmoid()
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        inside = (scores >= low) & (scores < low + 0.2)
        assert abs(float(presence[new][inside].mean()) - float(scores[inside].mean())) < 0.08

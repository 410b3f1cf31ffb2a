"""The bands sum to the input, their edges learn, and nothing depends on the size of the image."""

from __future__ import annotations

import pytest
import torch

from mofe_restore.model.restorer.bands import (
    band_memberships,
    band_projections,
    edges_from_steps,
    fourier_basis,
    from_windows,
    split_bands,
    steps_from_edges,
    to_windows,
    window_basis,
)

EDGES = torch.tensor([0.08, 0.2, 0.35])


def projections(edges: torch.Tensor = EDGES, window: int = 8) -> torch.Tensor:
    basis, radii = window_basis(window)
    return band_projections(basis, band_memberships(radii, edges, 0.03))


@pytest.mark.parametrize("size", [2, 3, 7, 8])
def test_the_basis_is_orthonormal(size: int) -> None:
    rows, frequencies = fourier_basis(size)
    assert torch.allclose(rows @ rows.T, torch.eye(size, dtype=torch.float64), atol=1e-12)
    assert frequencies.min() == 0 and frequencies.max() <= 0.5


@pytest.mark.parametrize("edges", [[0.08, 0.2, 0.35], [0.001, 0.002, 0.003], [0.5, 0.9, 2.0], [0.3]])
def test_bands_sum_to_the_input(edges: list[float]) -> None:
    windows = torch.randn(64, 5, 3)
    bands = split_bands(windows, projections(torch.tensor(edges)))
    assert bands.shape == (len(edges) + 1, 64, 5, 3)
    assert torch.allclose(bands.sum(0), windows, atol=1e-5)


def test_memberships_are_a_partition_of_unity_between_zero_and_one() -> None:
    members = band_memberships(torch.linspace(0, 0.71, 100), EDGES, 0.03)
    assert torch.allclose(members.sum(0), torch.ones(100))
    assert members.min() >= 0 and members.max() <= 1


def test_each_wave_lands_in_the_band_of_its_frequency() -> None:
    x = torch.arange(8.0)
    for cycles, band in ((0, 0), (1, 1), (2, 2), (4, 3)):
        wave = torch.cos(2 * torch.pi * cycles * x / 8).expand(8, 8)
        energy = split_bands(wave.reshape(64, 1), projections()).square().sum((1, 2))
        assert int(energy.argmax()) == band
        assert energy[band] / energy.sum() > 0.6


def test_projections_match_a_filtered_fourier_transform() -> None:
    image = torch.randn(8, 8)
    axis = torch.fft.fftfreq(8)
    members = band_memberships(torch.hypot(axis[:, None], axis[None]).flatten(), EDGES, 0.03).reshape(4, 8, 8)
    expected = torch.fft.ifft2(torch.fft.fft2(image) * members).real
    assert torch.allclose(split_bands(image.reshape(64, 1), projections()).reshape(4, 8, 8), expected, atol=1e-5)


def test_gradients_reach_every_edge_unlike_a_cut_off_made_by_rounding() -> None:
    steps = steps_from_edges(EDGES).requires_grad_()
    bands = split_bands(torch.randn(64, 20), projections(edges_from_steps(steps)))
    (bands * torch.randn(4, 1, 1)).square().mean().backward()
    assert steps.grad is not None and bool((steps.grad.abs() > 0).all())


def test_edges_survive_the_way_to_free_parameters_and_back_and_always_rise() -> None:
    assert torch.allclose(edges_from_steps(steps_from_edges(EDGES)), EDGES, atol=1e-6)
    assert bool((edges_from_steps(torch.tensor([-5.0, -9.0, 3.0])).diff() > 0).all())
    with pytest.raises(ValueError, match="rising"):
        steps_from_edges(torch.tensor([0.2, 0.1]))


def test_the_low_band_is_not_empty_in_a_small_image_and_bands_do_not_depend_on_its_size() -> None:
    small = torch.rand(1, 8, 8, 2) + 1
    large = small.repeat(1, 8, 6, 1)
    low_small = split_bands(to_windows(small, 8), projections())
    low_large = split_bands(to_windows(large, 8), projections())
    assert low_small[0].square().mean() > 1
    assert torch.allclose(low_large[:, :, :, :1, :1], low_small, atol=1e-5)
    assert torch.allclose(low_large[:, :, :, 5:6, 3:4], low_small, atol=1e-5)


def test_windows_go_back_where_they_came_from() -> None:
    features = torch.randn(2, 16, 24, 3)
    windows = to_windows(features, 8)
    assert windows.shape == (64, 2, 2, 3, 3)
    assert torch.equal(windows[:, 1, 1, 2].reshape(8, 8, 3), features[1, 8:16, 16:24])
    assert torch.equal(from_windows(windows, 8), features)
    with pytest.raises(ValueError, match="17 x 24"):
        to_windows(torch.randn(1, 17, 24, 3), 8)

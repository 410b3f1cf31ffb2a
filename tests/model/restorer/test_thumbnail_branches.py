"""What the branches that see the whole image hand on: grids read at a position, and the affine correction."""

from __future__ import annotations

import torch

from mofe_restore.model.restorer.thumbnail_branches import (
    Position,
    affine_preview,
    apply_affine,
    sample,
    sampling_weights,
)


def test_sampling_is_bilinear_interpolation_of_the_whole_image() -> None:
    grid = torch.randn(1, 16, 16, 3)
    whole = sample(grid, Position.of(0, 0, 128, 192), 128, 192, 1)
    expected = torch.nn.functional.interpolate(grid.permute(0, 3, 1, 2), (128, 192), mode="bilinear")
    assert torch.allclose(whole, expected.permute(0, 2, 3, 1), atol=1e-5)
    part = sample(grid, Position.of(64, 32, 128, 192), 32, 64, 1)
    assert torch.equal(part, whole[:, 64:96, 32:96]) or (part - whole[:, 64:96, 32:96]).abs().max() < 1e-6
    weights = sampling_weights(torch.tensor([64]), torch.tensor([517]), 100, 8, 16)
    assert torch.allclose(weights.sum(-1), torch.ones(1, 100)) and weights.min() >= 0


def test_the_affine_correction_starts_as_the_identity_and_its_gain_is_bounded() -> None:
    crop = torch.rand(1, 4, 4, 3)
    assert torch.equal(apply_affine(crop, torch.zeros(1, 4, 4, 6)), crop)
    wild = torch.cat([torch.full((1, 4, 4, 3), 90.0), torch.zeros(1, 4, 4, 3)], -1)
    assert torch.allclose(apply_affine(crop, wild), crop * torch.tensor(3.0).exp())


def test_the_preview_is_the_small_image_under_the_affine_grid() -> None:
    thumbnail, affine = torch.rand(2, 3, 32, 32), 0.1 * torch.randn(2, 8, 8, 6)
    small = torch.nn.functional.avg_pool2d(thumbnail, 4)
    assert torch.allclose(affine_preview(thumbnail, torch.zeros(2, 8, 8, 6)), small, atol=1e-6)
    log_gain, offset = affine.permute(0, 3, 1, 2).chunk(2, dim=1)
    assert torch.allclose(affine_preview(thumbnail, affine), log_gain.exp() * small + offset, atol=1e-6)

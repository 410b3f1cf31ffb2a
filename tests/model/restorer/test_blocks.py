"""Blocks that work in strips, as on a CPU, give the same as in one piece."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mofe_restore.model.restorer import blocks
from mofe_restore.model.restorer.blocks import Down, GatedBlock, Up, add_scaled, convolve_in_strips, strip_rows
from mofe_restore.model.restorer.config import RestorerConfig
from mofe_restore.model.restorer.experts import FrequencyExperts

CONFIG = RestorerConfig(guidance_width=16, vector_width=16, residual_init=0.5)


def shaken(block: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return block.eval()


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("rows", [1, 3, 5, 39])
def test_strips_of_a_gated_block_have_no_seams(monkeypatch: pytest.MonkeyPatch, batch: int, rows: int) -> None:
    torch.manual_seed(0)
    block, features, vector = shaken(GatedBlock(8, 16, 2, 0.5)), torch.randn(batch, 40, 24, 8), torch.randn(batch, 16)
    whole = block(features, vector)  # gradients are recorded
    with torch.inference_mode():
        monkeypatch.setattr(blocks, "STRIP_VALUES", rows * features[:, 0].numel())
        assert strip_rows(features) == rows
        assert torch.allclose(block(features, vector), whole, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 15])
def test_strips_of_convolutions_and_changes_of_size_have_no_seams(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 16, 10, 8)
    layer = nn.Conv2d(8, 12, 3, padding=1)
    works = [Down(8, 12), Up(8, 4), lambda features: convolve_in_strips(layer, features)]
    whole = [work(features) for work in works]
    assert [tuple(result.shape) for result in whole] == [(2, 8, 5, 12), (2, 32, 20, 4), (2, 16, 10, 12)]
    with torch.inference_mode():
        monkeypatch.setattr(blocks, "STRIP_VALUES", rows * features[:, 0].numel())
        assert strip_rows(features) == rows
        for work, result in zip(works, whole, strict=True):
            assert torch.allclose(work(features), result, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_scaled_sum_is_the_same_in_one_pass(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer, scale = nn.Linear(6, 4), torch.randn(4)
    features, values = torch.randn(2, 5, 3, 4)[:, 1:4], torch.randn(2, 3, 3, 6)
    expected = features + scale * layer(values)
    kept = features.clone()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, dtype == torch.bfloat16):
        for given in (features, features.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)):
            result = add_scaled(given, layer, values, scale)
            assert result.dtype == torch.float32, "features are not rounded"
            assert torch.allclose(result, expected, atol=1e-5 if dtype == torch.float32 else 0.05)
    assert torch.equal(features, kept)


@pytest.mark.parametrize("strip", [1, 2, 4])
def test_strips_of_windows_are_restored_and_routed_as_all_of_them(monkeypatch: pytest.MonkeyPatch, strip: int) -> None:
    torch.manual_seed(0)
    block, features = shaken(FrequencyExperts(8, CONFIG)), torch.randn(2, 40, 24, 8)
    vector = torch.randn(2, 16)
    whole, weights = block(features, vector)
    with torch.inference_mode():
        monkeypatch.setattr(blocks, "STRIP_VALUES", strip * 4 * features[:, :8].numel())
        assert strip_rows(features, 4, 8) == 8 * strip
        again, shares = block(features, vector)
    assert torch.allclose(again, whole, atol=1e-5) and torch.allclose(shares, weights, atol=1e-5)


def test_training_and_other_devices_take_all_rows_at_once() -> None:
    assert strip_rows(torch.zeros(1, 4096, 4096, 1)) == 4096
    with torch.inference_mode():
        assert strip_rows(torch.zeros(1, 4096, 4096, 1)) < 4096
        assert strip_rows(torch.empty(1, 4096, 4096, 1, device="meta")) == 4096

"""Blocks that work in strips, as on a CPU, give the same as in one piece."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mofe_restore.model.restorer import blocks
from mofe_restore.model.restorer.blocks import GatedBlock, strip_rows
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

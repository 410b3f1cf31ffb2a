"""The router's choice of experts."""

from __future__ import annotations

import torch

from mofe_restore.model.restorer.router import TopExperts


def test_top_experts_keep_the_largest_shares_and_no_others() -> None:
    weights = torch.tensor([[0.1, 0.5, 0.15, 0.25], [0.4, 0.3, 0.2, 0.1]])
    assert torch.equal(TopExperts(1)(weights), torch.tensor([[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]))
    assert torch.allclose(TopExperts(2)(weights)[0], torch.tensor([0.0, 2 / 3, 0.0, 1 / 3]))
    assert torch.allclose(TopExperts(4)(weights), weights)

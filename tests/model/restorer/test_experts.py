"""Mixtures of frequency experts: deterministic, per image, per window."""

from __future__ import annotations

import torch

from mofe_restore.model.restorer.config import RestorerConfig
from mofe_restore.model.restorer.experts import FrequencyExperts

CONFIG = RestorerConfig(guidance_width=16, vector_width=16, residual_init=0.5)


def block(seed: int = 0) -> FrequencyExperts:
    torch.manual_seed(seed)
    experts = FrequencyExperts(8, CONFIG)
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        experts.edge_steps.copy_(FrequencyExperts(8, CONFIG).edge_steps)
    return experts


def test_no_noise_in_the_router_at_evaluation() -> None:
    experts, features, vector = block().eval(), torch.randn(2, 16, 24, 8), torch.randn(2, 16)
    first, weights = experts(features, vector)
    for _ in range(3):
        again, same = experts(features, vector)
        assert torch.equal(first, again) and torch.equal(weights, same)


def test_weights_are_shares_per_window() -> None:
    _, weights = block()(torch.randn(2, 16, 24, 8), torch.randn(2, 16))
    assert weights.shape == (2, 4, 2, 3)
    assert torch.allclose(weights.sum(1), torch.ones(2, 2, 3)) and weights.min() > 0


def test_a_batch_does_not_mix_experts_between_images() -> None:
    experts, features, vector = block().eval(), torch.randn(3, 16, 16, 8), 3 * torch.randn(3, 16)
    together, weights = experts(features, vector)
    assert (weights[0] - weights[1]).abs().max() > 0.05
    for index in range(3):
        alone, own = experts(features[index : index + 1], vector[index : index + 1])
        assert torch.allclose(together[index], alone[0], atol=1e-5)
        assert torch.allclose(weights[index], own[0], atol=1e-6)


def test_the_router_depends_on_the_guidance_and_on_the_spectrum() -> None:
    experts, features, vector = block(), torch.randn(1, 16, 16, 8), torch.randn(1, 16)
    _, weights = experts(features, vector)
    assert (weights - experts(features, -vector)[1]).abs().max() > 1e-2
    # a flat left half and a noisy right half, with the same guidance
    features[:, :, :8] = features[:, :1, :1]
    _, weights = experts(features, vector)
    assert (weights[..., 0] - weights[..., 1]).abs().max() > 1e-2


def test_gradients_reach_edges_router_and_every_expert() -> None:
    experts = block()
    out, _ = experts(torch.randn(2, 16, 16, 8), torch.randn(2, 16))
    out.square().mean().backward()
    for name, parameter in experts.named_parameters():
        assert parameter.grad is not None and bool((parameter.grad.abs() > 0).any()), name
    assert experts.edge_steps.grad is not None and bool((experts.edge_steps.grad.abs() > 0).all())
    assert experts.expand.grad is not None and bool((experts.expand.grad.abs().amax((1, 2)) > 0).all())


def test_every_window_depends_on_itself_only() -> None:
    experts, vector = block().eval(), torch.randn(1, 16)
    features = torch.randn(1, 16, 24, 8)
    changed = features.clone()
    changed[:, 8:, 8:16] += 1
    difference = (experts(changed, vector)[0] - experts(features, vector)[0]).abs().amax(-1)[0] > 0
    assert difference[8:, 8:16].any() and not difference[:8].any()
    assert not difference[:, :8].any() and not difference[:, 16:].any()

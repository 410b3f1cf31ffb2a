"""Experts and router: deterministic, per picture, per channel."""

from __future__ import annotations

import torch

from mofe_restore.model.experts import FrequencyExperts
from mofe_restore.model.fusion import GuidanceTokens, GuidanceVector, ScaleShift, TokenAttention
from mofe_restore.model.router import TopExperts


def block(seed: int = 0) -> FrequencyExperts:
    torch.manual_seed(seed)
    experts = FrequencyExperts(8, 16, 4, 8, 0.03, 1.0, 0.5)
    with torch.no_grad():
        for parameter in experts.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        experts.edge_steps.copy_(FrequencyExperts(8, 16, 4, 8, 0.03, 1.0, 0.5).edge_steps)
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


def test_a_batch_does_not_mix_experts_between_pictures() -> None:
    experts, features, vector = block().eval(), torch.randn(3, 16, 16, 8), 3 * torch.randn(3, 16)
    together, weights = experts(features, vector)
    assert (weights[0] - weights[1]).abs().max() > 0.05
    for index in range(3):
        alone, own = experts(features[index : index + 1], vector[index : index + 1])
        assert torch.allclose(together[index], alone[0], atol=1e-5)
        assert torch.allclose(weights[index], own[0], atol=1e-6)


def test_the_router_hears_the_guidance_and_the_spectrum() -> None:
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


def test_the_gate_is_per_channel_not_the_same_for_all_channels_of_a_head() -> None:
    torch.manual_seed(0)
    fusion, vector = ScaleShift(16, 8), torch.randn(1, 16)
    torch.nn.init.normal_(fusion.modulation.weight)
    features = torch.randn(1, 4, 4, 8)
    plain = torch.nn.functional.layer_norm(features, (8,))
    change = fusion(features, vector) - plain
    assert change.std(-1).min() > 0.1
    attention = TokenAttention(16, 12, 8)
    torch.nn.init.normal_(attention.output.weight)
    features = torch.randn(1, 4, 4, 16)
    change = attention(features, torch.randn(1, 7, 12)) - features
    assert change.std(-1).min() > 1e-3
    assert change.reshape(16, 16).std(0).min() > 1e-4  # and pixels ask different things


def test_guidance_starts_as_the_plain_normalisation_and_attention_as_the_identity() -> None:
    features = torch.randn(2, 4, 4, 8)
    assert torch.allclose(
        ScaleShift(16, 8)(features, torch.randn(2, 16)), torch.nn.functional.layer_norm(features, (8,)), atol=1e-6
    )
    assert torch.equal(TokenAttention(8, 12, 8)(features, torch.randn(2, 7, 12)), features)


def test_dropped_guidance_is_exactly_no_guidance_whatever_the_number_of_tokens() -> None:
    to_vector, to_tokens, attention = GuidanceVector(12, 16), GuidanceTokens(12), TokenAttention(8, 12, 8)
    torch.nn.init.normal_(to_vector.neutral_vector)
    torch.nn.init.normal_(attention.output.weight)
    keep = torch.tensor([True, False])
    vector, tokens = to_vector(2, torch.randn(2, 12), keep), to_tokens(2, torch.randn(2, 7, 12), keep)
    neutral, token = to_vector(2, None, None), to_tokens(2, None, None)
    assert torch.equal(vector[1], neutral[1]) and not torch.equal(vector[0], neutral[0])
    features = torch.randn(2, 4, 4, 8)
    assert torch.allclose(attention(features, tokens)[1], attention(features, token)[1], atol=1e-5)


def test_top_experts_keep_the_largest_shares_and_no_others() -> None:
    weights = torch.tensor([[0.1, 0.5, 0.15, 0.25], [0.4, 0.3, 0.2, 0.1]])
    assert torch.equal(TopExperts(1)(weights), torch.tensor([[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]))
    assert torch.allclose(TopExperts(2)(weights)[0], torch.tensor([0.0, 2 / 3, 0.0, 1 / 3]))
    assert torch.allclose(TopExperts(4)(weights), weights)

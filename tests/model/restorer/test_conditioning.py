"""MGFB: how guidance enters the features."""

from __future__ import annotations

import pytest
import torch

from mofe_restore.model.guidance import Conditioning
from mofe_restore.model.restorer.conditioning import GuidanceTokens, GuidanceVector, ScaleShift, TokenAttention


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
    assert change.reshape(16, 16).std(0).min() > 1e-4  # and pixels attend to different tokens


def test_guidance_starts_as_the_plain_normalization_and_attention_as_the_identity() -> None:
    features = torch.randn(2, 4, 4, 8)
    assert torch.allclose(
        ScaleShift(16, 8)(features, torch.randn(2, 16)), torch.nn.functional.layer_norm(features, (8,)), atol=1e-6
    )
    assert torch.equal(TokenAttention(8, 12, 8)(features, torch.randn(2, 7, 12)), features)


def test_masked_guidance_is_exactly_no_guidance_whatever_the_number_of_tokens() -> None:
    to_vector, to_tokens, attention = GuidanceVector(12, 16), GuidanceTokens(12), TokenAttention(8, 12, 8)
    torch.nn.init.normal_(to_vector.neutral_vector)
    torch.nn.init.normal_(attention.output.weight)
    given = Conditioning(torch.randn(2, 7, 12), torch.randn(2, 12), torch.tensor([True, False]))
    vector, tokens = to_vector(2, given), to_tokens(2, given)
    neutral, token = to_vector(2, Conditioning()), to_tokens(2, Conditioning())
    assert torch.equal(vector[1], neutral[1]) and not torch.equal(vector[0], neutral[0])
    features = torch.randn(2, 4, 4, 8)
    assert torch.allclose(attention(features, tokens)[1], attention(features, token)[1], atol=1e-5)


class TestSeverities:
    @pytest.fixture
    def vector(self) -> GuidanceVector:
        made = GuidanceVector(16, 8, severity_width=12)
        assert made.severities is not None
        torch.nn.init.normal_(made.severities.project.weight)
        return made

    def test_at_the_start_they_change_nothing(self) -> None:
        made = GuidanceVector(16, 8, severity_width=12)
        told = Conditioning(severities=torch.rand(2, 7))
        assert torch.equal(made(2, told), made(2, Conditioning()))

    def test_none_set_is_as_without_and_each_one_counts_even_at_0(self, vector: GuidanceVector) -> None:
        nothing = torch.full((1, 7), torch.nan)
        plain = vector(1, Conditioning())
        assert torch.equal(vector(1, Conditioning(severities=nothing)), plain)
        for index in range(7):
            for value in (0.0, 0.5):
                told = nothing.clone()
                told[0, index] = value
                assert not torch.equal(vector(1, Conditioning(severities=told)), plain)

    def test_either_alone_steers_and_both_together(self, vector: GuidanceVector) -> None:
        pooled, severities = torch.randn(1, 16), torch.rand(1, 7)
        alone, both, neither = (
            vector(1, Conditioning(pooled=pooled, mask=torch.tensor([guided]), severities=told))
            for guided, told in ((False, severities), (True, severities), (False, None))
        )
        assert not torch.equal(alone, neither) and not torch.equal(both, alone)

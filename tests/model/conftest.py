"""A restorer small enough for tests, with random weights that are not the identity."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from mofe_restore.model.guidance import Guidance
from mofe_restore.model.restorer import Restorer, RestorerConfig
from mofe_restore.model.weights import Card

WIDTH = 16
TINY = RestorerConfig(
    guidance_width=WIDTH,
    widths=(8, 8, 16, 16),
    vector_width=16,
    head_width=8,
    thumbnail=32,
    global_widths=(8, 8, 8, 8),
    global_blocks=1,
)


@pytest.fixture
def tiny_config() -> RestorerConfig:
    return TINY


@pytest.fixture
def restorer() -> Restorer:
    """Random weights everywhere, also where training would start from zero: a visible but moderate correction."""
    torch.manual_seed(0)
    network = Restorer(TINY).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


@pytest.fixture
def make_guidance() -> Callable[..., Guidance]:
    def make(
        pictures: int = 1, tokens: int = 5, width: int = WIDTH, identity: str = "mllm-a", seed: int = 0
    ) -> Guidance:
        generator = torch.Generator().manual_seed(seed)
        return Guidance(
            tokens=torch.randn(pictures, tokens, width, generator=generator),
            pooled=torch.randn(pictures, width, generator=generator),
            scores=torch.rand(pictures, 7, generator=generator),
            parameters=torch.zeros(pictures, 9),
            descriptions=tuple(f"picture {index} is hazy" for index in range(pictures)),
            mllm_identity=identity,
        )

    return make


@pytest.fixture
def card() -> Card:
    return Card(
        kind="restorer",
        name="tiny",
        version="1.0",
        architecture=TINY.to_dict(),
        training={"steps": 0},
        metrics={},
        data="none",
        limits="a test",
        licence="Apache-2.0",
        mllm_identity="mllm-a",
    )

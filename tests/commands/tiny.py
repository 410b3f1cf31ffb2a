"""Networks small enough for tests, with random weights, and a stand-in for the language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mofe_restore.model.guidance import PARAMETERS, Guidance
from mofe_restore.model.restorer import Restorer, RestorerConfig
from mofe_restore.model.weights import Card, write_weights

WIDTH = 8
IDENTITY = "tiny:0123"


class TinyMllm:
    """Stands in for the language model: random guidance of the right form, at once."""

    identity = IDENTITY

    def describe(self, pictures: torch.Tensor, *, with_text: bool = True, **_: Any) -> Guidance:
        count = len(pictures)
        generator = torch.Generator().manual_seed(0)
        return Guidance(
            tokens=torch.randn(count, 5, WIDTH, generator=generator),
            pooled=torch.randn(count, WIDTH, generator=generator),
            scores=torch.tensor([[0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]).repeat(count, 1),
            parameters=torch.zeros(count, len(PARAMETERS)),
            descriptions=("Strong low light." if with_text else "",) * count,
            mllm_identity=self.identity,
        )


def write_restorer(path: Path, guidance_width: int, mllm_identity: str) -> Path:
    """A tiny restorer with random weights, which changes what it is given."""
    torch.manual_seed(0)
    config = RestorerConfig(
        guidance_width=guidance_width,
        widths=(8, 8, 16, 16),
        encoder_blocks=(1, 1, 1, 1),
        decoder_blocks=(1, 1, 1),
        vector_width=16,
        head_width=8,
        thumbnail=32,
        global_widths=(8, 8, 8, 8),
        global_blocks=1,
    )
    network = Restorer.from_config(config)
    for layer in (network.outro, network.guidance.steer):
        torch.nn.init.normal_(layer.weight, std=0.1)
    card = Card("restorer", "tiny", "0", config.to_dict(), {}, {}, "none", "none", "Apache-2.0", mllm_identity)
    write_weights(path, network.state_dict(), card, torch.float32)
    return path

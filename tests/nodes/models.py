"""Weight files small enough for tests."""

from __future__ import annotations

from pathlib import Path

import torch

from mofe_restore.model.restorer import Restorer, RestorerConfig
from mofe_restore.model.weights import Card, write_weights

WIDTH = 64
"""As the embeddings of the tiny MLLM."""


def make_restorer_file(path: Path, identity: str) -> Path:
    """A weight file of a tiny restorer with random weights that are not the identity."""
    config = RestorerConfig(
        guidance_width=WIDTH,
        widths=(8, 8, 16, 16),
        vector_width=16,
        head_width=8,
        thumbnail=32,
        global_widths=(8, 8, 8, 8),
        global_blocks=1,
    )
    torch.manual_seed(0)
    network = Restorer(config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    card = Card("restorer", "tiny", "0", config.to_dict(), {}, {}, "none", "a test", "Apache-2.0", identity)
    write_weights(path, network.state_dict(), card, torch.float32)
    return path

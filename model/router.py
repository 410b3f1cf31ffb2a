"""The MLLM-guided router: how much each frequency expert counts in each window."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .precision import full_precision

ENERGY_FLOOR = 1e-4
"""Added to a band's mean square before the logarithm; features are normalised, so their mean square is about 1."""


def spectral_shape(bands: Tensor) -> Tensor:
    """Log energy of each band of each window, minus the mean over the bands: [K, P, B, nH, nW, C] -> [B, nH, nW, K].

    A measurement, not a path for gradients: the band edges learn from what the experts make of the bands.
    """
    bands = bands.detach()
    norm = torch.linalg.vector_norm(bands, dim=(1, 5), dtype=torch.float32)
    energy = (norm.square() / (bands.shape[1] * bands.shape[5]) + ENERGY_FLOOR).log()
    return (energy - energy.mean(0)).permute(1, 2, 3, 0)


class TopExperts(nn.Module):
    """Keeps the largest `count` of the weights [..., K] and makes their sum 1 again, as sparse mixtures do.

    Not used by the shipped restorer: it is what soft routing is compared with.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, weights: Tensor) -> Tensor:
        values, places = weights.topk(self.count, dim=-1)
        kept = torch.zeros_like(weights).scatter(-1, places, values)
        return kept / kept.sum(-1, keepdim=True)


class Router(nn.Module):
    """Softmax over the experts, from the guidance, the window's own spectrum and its mean features.

    The paper (arXiv 2605.11444, abstract) names the MLLM-guided router; the evidence and the sum of three linear maps
    are our design. No noise and no statistics over the batch: a picture is routed the same way every time.
    """

    def __init__(self, vector_width: int, width: int, experts: int, temperature: float, top: int = 0) -> None:
        super().__init__()
        self.temperature = temperature
        self.choose = TopExperts(top) if top else nn.Identity()
        self.from_guidance = nn.Linear(vector_width, experts)
        self.from_spectrum = nn.Linear(experts, experts, bias=False)
        self.from_features = nn.Linear(width, experts, bias=False)
        # near-uniform at the start, so that every expert learns before the router chooses
        for layer in (self.from_guidance, self.from_spectrum, self.from_features):
            nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(self.from_guidance.bias)

    def forward(self, vector: Tensor, windows: Tensor, bands: Tensor) -> Tensor:
        """Weights per window.

        Args:
            vector: [B, V], the guidance.
            windows: [P, B, nH, nW, C], the features cut into windows of P pixels.
            bands: [K, P, B, nH, nW, C], the same split into bands.

        Returns:
            [B, K, nH, nW] fp32, above 0 (or, of those that are not chosen, 0), sum over K is 1.
        """
        means = windows.mean(0, dtype=torch.float32)
        shape = spectral_shape(bands)
        with full_precision(means.device):
            logits = self.from_guidance(vector.float())[:, None, None]
            logits = logits + self.from_spectrum(shape) + self.from_features(means)
            return self.choose(torch.softmax(logits / self.temperature, dim=-1)).permute(0, 3, 1, 2)

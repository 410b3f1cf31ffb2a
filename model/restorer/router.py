"""The MLLM-guided router: the weight of each frequency expert in each window."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..precision import full_precision
from .config import RestorerConfig

ENERGY_FLOOR = 1e-4
"""Added to a band's mean square before the logarithm; features are normalized, so their mean square is about 1."""


def spectral_shape(bands: Tensor) -> Tensor:
    """Return the log energy of each band minus the mean over the bands: [K, P, B, nH, nW, C] -> [B, nH, nW, K] fp32.

    No gradient passes through it: the band edges are trained through the experts' results only.
    """
    bands = bands.detach()
    # the channels first: over both dimensions at once the norm takes four times as long on a CPU
    square = torch.linalg.vector_norm(bands, dim=5, dtype=torch.float32).square().sum(1)
    energy = (square / (bands.shape[1] * bands.shape[5]) + ENERGY_FLOOR).log()
    shape: Tensor = energy - energy.mean(0)
    return shape.permute(1, 2, 3, 0)


class TopExperts(nn.Module):
    """Keep the largest `count` of the weights and scale them to a sum of 1, as sparse mixtures do.

    Not used by the shipped restorer; the ablation compares soft routing with it.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, weights: Tensor) -> Tensor:
        """[..., K] -> [..., K], zero where an expert is not chosen."""
        values, places = weights.topk(self.count, dim=-1)
        kept = torch.zeros_like(weights).scatter(-1, places, values)
        return kept / kept.sum(-1, keepdim=True)


class Router(nn.Module):
    """Weight the experts in each window by its spectrum, its mean features and the guidance.

    The paper (arXiv 2605.11444, abstract) names the MLLM-guided router. Its inputs and the softmax over the sum of
    three linear maps are our design. There is no noise and no statistic over the batch: an image is always routed
    alike.
    """

    def __init__(self, width: int, config: RestorerConfig) -> None:
        super().__init__()
        experts = config.experts
        self.temperature = config.router_temperature
        self.choose = TopExperts(config.top_experts) if config.top_experts else nn.Identity()
        self.from_guidance = nn.Linear(config.vector_width, experts)
        self.from_spectrum = nn.Linear(experts, experts, bias=False)
        self.from_features = nn.Linear(width, experts, bias=False)
        # almost uniform at the start, so that every expert learns before the router chooses
        for layer in (self.from_guidance, self.from_spectrum, self.from_features):
            nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(self.from_guidance.bias)

    def forward(self, vector: Tensor, windows: Tensor, bands: Tensor) -> Tensor:
        """Return the weights of the experts in each window.

        Args:
            vector: [B, V], the guidance.
            windows: [P, B, nH, nW, C], the features cut into windows of P pixels.
            bands: [K, P, B, nH, nW, C], the windows split into bands.

        Returns:
            [B, K, nH, nW] fp32, above 0, or 0 for experts that are not chosen; the sum over K is 1.
        """
        means = windows.mean(0, dtype=torch.float32)
        shape = spectral_shape(bands)
        with full_precision(means.device):
            logits = self.from_guidance(vector.float())[:, None, None]
            logits = logits + self.from_spectrum(shape) + self.from_features(means)
            weights: Tensor = self.choose(torch.softmax(logits / self.temperature, dim=-1))
        return weights.permute(0, 3, 1, 2)

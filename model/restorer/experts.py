"""MoFE, the mixture of frequency experts: the local spectrum in soft bands, one expert per band, weighted by a router.

The paper (arXiv 2605.11444, abstract) names the mixture; the windows, the bands and the form of the experts are our
design.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..precision import full_precision
from .bands import (
    HIGHEST,
    band_memberships,
    band_projections,
    edges_from_steps,
    from_windows,
    split_bands,
    steps_from_edges,
    to_windows,
    window_basis,
)
from .blocks import in_strips, strip_rows
from .conditioning import ScaleShift
from .config import RestorerConfig
from .router import Router


def first_edges(experts: int) -> Tensor:
    """Return band edges [experts - 1] to start from, in cycles per feature pixel; bands widen with the frequency."""
    fraction = torch.arange(1, experts, dtype=torch.float32) / experts
    return 0.8 * HIGHEST * fraction**1.3


class FrequencyExperts(nn.Module):
    """One MoFE block: split windows into bands, let one expert work on each, and add their weighted sum.

    Windows lie on a fixed grid and crops start at multiples of the window, so a tile has the windows of the whole
    image. Every window of every image is routed on its own, with soft weights: all experts contribute, unless the
    config limits them (`top_experts`).
    """

    def __init__(self, width: int, config: RestorerConfig) -> None:
        super().__init__()
        hidden, experts = max(1, width // 2), config.experts
        self.window = config.window
        self.softness = config.softness
        basis, radii = window_basis(config.window)
        self.basis: Tensor
        self.radii: Tensor
        self.register_buffer("basis", basis, persistent=False)
        self.register_buffer("radii", radii, persistent=False)
        self.edge_steps = nn.Parameter(steps_from_edges(first_edges(experts)))
        self.fusion = ScaleShift(config.vector_width, width)
        self.router = Router(width, config)
        self.expand = nn.Parameter(torch.empty(experts, width, 2 * hidden).uniform_(-1, 1) / math.sqrt(width))
        self.expand_bias = nn.Parameter(torch.zeros(experts, 1, 2 * hidden))
        self.merge = nn.Parameter(torch.empty(experts, hidden, width).uniform_(-1, 1) / math.sqrt(hidden))
        self.merge_bias = nn.Parameter(torch.zeros(width))
        self.residual = nn.Parameter(torch.full((width,), config.residual_init))

    @property
    def edges(self) -> Tensor:
        """Inner band edges [K-1] in cycles per feature pixel, rising."""
        return edges_from_steps(self.edge_steps.float())

    def projections(self) -> Tensor:
        """Return the band matrices [K, P, P] fp32 for windows of P pixels."""
        with full_precision(self.basis.device):
            memberships = band_memberships(self.radii.float(), self.edges, self.softness)
            return band_projections(self.basis.float(), memberships)

    def forward(self, features: Tensor, vector: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, H, W, C], vector [B, V] -> features of the same shape, routing weights [B, K, H/w, W/w] fp32."""
        projections = self.projections()
        rows = strip_rows(features, len(projections), self.window)
        routing: dict[int, Tensor] = {}

        def strip(top: int, bottom: int) -> Tensor:
            worked, routing[top] = self._strip(features[:, top:bottom], vector, projections)
            return worked

        worked = in_strips(strip, features.shape[1], rows)
        return worked, torch.cat([routing[top] for top in sorted(routing)], dim=2)

    def _strip(self, features: Tensor, vector: Tensor, projections: Tensor) -> tuple[Tensor, Tensor]:
        """Do the same for some rows of windows, which do not depend on each other."""
        windows = to_windows(self.fusion(features, vector), self.window)
        bands = split_bands(windows, projections)
        weights = self.router(vector, windows, bands)
        experts, pixels, batch, rows, columns, channels = bands.shape
        slabs = bands.reshape(experts, -1, channels)
        one, two = (torch.bmm(slabs, self.expand) + self.expand_bias.to(slabs.dtype)).chunk(2, dim=-1)
        share = weights.transpose(0, 1).reshape(experts, 1, batch * rows * columns, 1)
        worked = (one * two).reshape(experts, pixels, batch * rows * columns, -1) * share.to(one.dtype)
        merged = torch.bmm(worked.reshape(experts, slabs.shape[1], -1), self.merge).sum(0)
        merged = (merged + self.merge_bias.to(merged.dtype)) * self.residual.to(merged.dtype)
        merged = from_windows(merged.reshape(pixels, batch, rows, columns, channels), self.window)
        return features + merged.to(features.dtype), weights

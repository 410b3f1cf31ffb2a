"""How much memory the network's activations take: what a host has to make room for beside the weights."""

from __future__ import annotations

import torch

from .architecture import RestorerConfig
from .tiling import round_up

PICTURE_BYTES = 32
"""Per pixel read: the crop, its correction and the residual, always in fp32."""

BLOCK_WIDTHS, EXPERT_WIDTHS = 11.5, 3.5
"""Bytes per pixel read and channel of the first level, in fp32: in its gated blocks, and in its MoFE block per expert
and once more for what lies beside the experts. Fitted to the allocations of eleven architectures."""

MARGIN = 1.1
"""Allocators round up, and convolutions may want a workspace."""


def bytes_per_pixel(config: RestorerConfig, precision: torch.dtype = torch.float32) -> int:
    """The peak of the local branch's activations per pixel that it reads at once, rounded up; the size does not matter.

    Args:
        config: sizes of the network.
        precision: fp32, or bf16 or fp16 under autocast.
    """
    widths = max(BLOCK_WIDTHS, EXPERT_WIDTHS * (config.experts + 1) if 0 in config.mofe_levels else 0)
    features = widths * config.widths[0] * precision.itemsize / torch.float32.itemsize
    return int(MARGIN * (PICTURE_BYTES + features)) + 1


def tile_bytes(config: RestorerConfig, height: int, width: int, side: int, precision: torch.dtype) -> int:
    """The activations of the largest tile of a picture.

    Args:
        config: sizes of the network.
        height, width: the picture's.
        side: of a tile's core in px.
        precision: as in `bytes_per_pixel`.
    """
    read = side + 2 * config.halo
    rows, columns = (min(read, round_up(length, config.multiple)) for length in (height, width))
    return bytes_per_pixel(config, precision) * rows * columns

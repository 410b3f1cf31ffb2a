"""The building blocks of the U-Net. Features are [B, H, W, C], so that 1x1 convolutions are plain matrix products.

A [B, H, W, C] tensor seen as [B, C, H, W] is PyTorch's channels_last layout, so depthwise convolutions copy nothing.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .fusion import ScaleShift


def convolve(layer: nn.Conv2d, features: Tensor) -> Tensor:
    """A convolution on features [B, H, W, C]."""
    return layer(features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1).contiguous()


STRIP_VALUES = 2**18
"""Values of a tensor that are worked on at once on a CPU: what a block makes in between then stays in the cache."""


def strip_rows(features: Tensor, copies: int = 1, multiple: int = 1) -> int:
    """Into strips of how many rows features [B, H, W, C] are best cut.

    Each operation over a whole picture writes and reads it through the memory, which on a CPU takes longer than the
    arithmetic. All rows on other devices, and where gradients are recorded, which keep everything anyway.

    Args:
        copies: tensors of this size that the work holds at once.
        multiple: of which the rows are one.
    """
    batch, height, width, channels = features.shape
    if features.device.type != "cpu" or torch.is_grad_enabled():
        return height
    # bf16 takes half the room, and autocast converts the weights anew for each strip
    values = STRIP_VALUES * (2 if torch.is_autocast_enabled("cpu") else 1)
    return max(1, values // (batch * width * channels * copies * multiple)) * multiple


class GatedBlock(nn.Module):
    """Depthwise mixing of neighbours, then of channels, each with a gate in place of an activation.

    After NAFNet's block (arXiv 2204.04676), with three departures: the normalisation's affine part comes from the
    guidance (MGFB), there is no channel attention since its pooling over the picture would make tiles differ, and the
    residual scales start small instead of at zero, since at zero the inner weights get no gradient in the first steps
    and the identity at the start is already secured by the network's last convolution. Reach: one feature pixel a side.
    """

    fusible = True
    """Training may compile it (`[loop] compile`): most of its time goes in operations that can be fused."""

    def __init__(self, width: int, vector_width: int, expansion: int, residual_init: float) -> None:
        super().__init__()
        self.width = width
        self.fusion = ScaleShift(vector_width, width)
        self.expand = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.project = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        self.mix_residual = nn.Parameter(torch.full((width,), residual_init))
        self.gate_residual = nn.Parameter(torch.full((width,), residual_init))

    def forward(self, features: Tensor, vector: Tensor) -> Tensor:
        """features [B, H, W, C], vector [B, V] -> [B, H, W, C]."""
        height, rows = features.shape[1], strip_rows(features)
        strips = [self._strip(features, vector, top, min(top + rows, height)) for top in range(0, height, rows)]
        return strips[0] if len(strips) == 1 else torch.cat(strips, dim=1)

    def _strip(self, features: Tensor, vector: Tensor, top: int, bottom: int) -> Tensor:
        """The rows from `top` to `bottom`, which need one row more a side."""
        above = max(top - 1, 0)
        fused = self.fusion(features[:, above : bottom + 1], vector)
        one, two = convolve(self.depthwise, self.expand(fused))[:, top - above : bottom - above].chunk(2, dim=-1)
        del fused  # a picture's worth of memory
        mixed = self.project(one * two)
        features = torch.addcmul(features[:, top:bottom], mixed, self.mix_residual.to(mixed.dtype))
        normalised = F.layer_norm(features, (self.width,), self.norm.weight, self.norm.bias)
        one, two = self.widen(normalised).chunk(2, dim=-1)
        gated = self.narrow(one * two)
        return torch.addcmul(features, gated, self.gate_residual.to(gated.dtype))


class Down(nn.Module):
    """Half the size: 2x2 pixels into channels, then a matrix. Reads only its own 2x2 pixels, so nothing leaks."""

    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.project = nn.Linear(4 * width, wider)

    def forward(self, features: Tensor) -> Tensor:
        """[B, H, W, C] -> [B, H/2, W/2, wider]."""
        return self.project(fold_pixels(features))


class Up(nn.Module):
    """Double the size: a matrix, then channels into 2x2 pixels. Writes only its own 2x2 pixels."""

    def __init__(self, width: int, narrower: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 4 * narrower)

    def forward(self, features: Tensor) -> Tensor:
        """[B, H, W, C] -> [B, 2H, 2W, narrower]."""
        return unfold_pixels(self.project(features))


def fold_pixels(features: Tensor) -> Tensor:
    """[B, H, W, C] -> [B, H/2, W/2, 4C], the pixel unshuffle of this layout."""
    batch, height, width, channels = features.shape
    folded = features.reshape(batch, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 2, 4, 5)
    return folded.reshape(batch, height // 2, width // 2, 4 * channels)


def unfold_pixels(features: Tensor) -> Tensor:
    """[B, H, W, 4C] -> [B, 2H, 2W, C], the inverse of `fold_pixels`."""
    batch, height, width, channels = features.shape
    unfolded = features.reshape(batch, height, width, 2, 2, channels // 4).permute(0, 1, 3, 2, 4, 5)
    return unfolded.reshape(batch, 2 * height, 2 * width, channels // 4)

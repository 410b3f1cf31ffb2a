"""The camera branch: undoes what the camera did last, that is blur, sensor noise and JPEG, before everything else.

A photograph gets haze, rain or snow in front of the lens, and blur, noise and JPEG behind it, so these are undone
first. They are local and need no view of the whole image, but dense convolutions, which the local branch of gated
blocks does not have. The branch runs only where the MLLM sees one of the three, or an order names one (our design; the
layout is that of a plain residual U-Net, as DRUNet's, arXiv 2008.13751, and the strengths are given to it as constant
maps, as FFDNet's noise level is, arXiv 1710.04026). Features are [B, H, W, C].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..images import round_up
from ..vocabulary import CAMERA_FAULTS
from .blocks import Down, Up, convolve_in_strips, fold_pixels, unfold_pixels


class CameraBranch(nn.Module):
    """Undo blur, noise and JPEG of crops that start where the blocks of a JPEG do, if there are any.

    Untrained it is the identity: the last convolution starts at zero.

    Example:
        >>> branch = CameraBranch((48, 96, 160), (1, 2, 3), (2, 2))
        >>> restored = branch(crop, torch.tensor([[0.6, 0.0, 0.0]]))

    Args:
        widths: Channels at 1/2, 1/4, ... of the image's size.
        encoder_blocks: Number of residual blocks at each of these sizes on the way down.
        decoder_blocks: The same on the way up, which has no block at the coarsest size.
    """

    def __init__(
        self, widths: tuple[int, ...], encoder_blocks: tuple[int, ...], decoder_blocks: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.multiple = 2 ** len(widths)
        self.intro = nn.Conv2d(12 + len(CAMERA_FAULTS), widths[0], 3, padding=1)
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.encoder = nn.ModuleList(_blocks(*each) for each in zip(widths, encoder_blocks, strict=True))
        self.down = nn.ModuleList(Down(fine, coarse) for fine, coarse in pairs)
        self.up = nn.ModuleList(Up(coarse, fine) for fine, coarse in pairs)
        self.decoder = nn.ModuleList(_blocks(*each) for each in zip(widths[:-1], decoder_blocks, strict=True))
        self.outro = nn.Conv2d(widths[0], 12, 3, padding=1)
        assert self.outro.bias is not None
        nn.init.zeros_(self.outro.weight)
        nn.init.zeros_(self.outro.bias)

    def forward(self, crop: Tensor, strengths: Tensor) -> Tensor:
        """Return crops without what the strengths name.

        Args:
            crop: [B, 3, h, w] in 0..1; h and w multiples of `multiple`.
            strengths: [B, 3] in 0..1, of `CAMERA_FAULTS`; 0 keeps a fault.

        Returns:
            [B, 3, h, w] fp32, not clamped.

        Raises:
            ValueError: h or w is not a multiple of `multiple`.
        """
        height, width = crop.shape[2:]
        if height % self.multiple or width % self.multiple:
            raise ValueError(f"a crop of {height} x {width} px is not a multiple of {self.multiple} px")
        pixels = crop.permute(0, 2, 3, 1).float()
        folded = fold_pixels(pixels)
        maps = strengths.to(folded)[:, None, None].expand(*folded.shape[:3], -1)
        features = convolve_in_strips(self.intro, torch.cat([folded, maps], dim=-1))
        skips: list[Tensor] = []
        for level, blocks in enumerate(self.encoder):
            if level:
                skips.append(features)
                features = self.down[level - 1](features)
            features = blocks(features)
        for up, blocks in zip(reversed(self.up), reversed(self.decoder), strict=True):
            features = blocks(up(features) + skips.pop())
        residual = unfold_pixels(convolve_in_strips(self.outro, features))
        return (pixels + residual.float()).permute(0, 3, 1, 2)


def camera_reach(encoder_blocks: tuple[int, ...], decoder_blocks: tuple[int, ...]) -> int:
    """Return the branch's receptive field: how far inwards a tile's border changes the result, in image px a side.

    A 3x3 convolution adds one feature pixel, and a block has two. Downsampling spreads a changed pixel over the whole
    coarser one, so the distance is rounded up there.
    """
    reach = 2  # the first convolution, at 1/2
    for level, blocks in enumerate(encoder_blocks):
        scale = 2 ** (level + 1)
        reach = round_up(reach, scale) + 2 * blocks * scale
    for level in reversed(range(len(decoder_blocks))):
        reach += 2 * decoder_blocks[level] * 2 ** (level + 1)
    return reach + 2  # the last convolution, at 1/2


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside the identity; no normalization, which would hide how strong the noise is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, H, W, C] -> [B, H, W, C]."""
        hidden = F.relu(convolve_in_strips(self.first, features), inplace=True)
        return convolve_in_strips(self.second, hidden, plus=features)


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(_ResidualBlock(width) for _ in range(count)))

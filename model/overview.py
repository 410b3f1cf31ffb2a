"""The tone and the global branch: a thumbnail of the whole picture, seen once, read by every crop at its own position.

They may look as far as they like (illumination, airlight, depth). All of it is our design.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .architecture import RestorerConfig
from .blocks import GatedBlock, convolve, unfold_pixels
from .fusion import GuidanceVector
from .precision import full_precision

GAIN_LIMIT = 3.0
"""Largest absolute log-gain of the affine correction: a factor of about 20 either way."""


@dataclass(frozen=True)
class Position:
    """Where crops lie in their pictures, one entry per sample: integer tensors [B], in picture pixels.

    Attributes:
        top: first row of the crop.
        left: first column of the crop.
        height: height of the whole picture, without padding.
        width: width of the whole picture, without padding.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor

    @staticmethod
    def of(top: int, left: int, height: int, width: int, batch: int = 1) -> Position:
        """The same position for a whole batch."""
        return Position(*(torch.full((batch,), value) for value in (top, left, height, width)))


@dataclass(frozen=True)
class Context:
    """What the tone and the global branch found in B pictures.

    Attributes:
        vector: [B, V], guidance and overview in one vector.
        tokens: [B, N, D], the MLLM's tokens, normalised.
        maps: one [B, G, G, C] per level of the U-Net, None for the finest.
        affine: [B, A, A, 6] fp32, three log-gains and three offsets over the picture; zeros are the identity.
    """

    vector: Tensor
    tokens: Tensor
    maps: tuple[Tensor | None, ...]
    affine: Tensor

    def of(self, pictures: Tensor) -> Context:
        """The context of some of the pictures, [C] indices; one may be asked for several times."""
        maps = tuple(None if each is None else each[pictures] for each in self.maps)
        return Context(self.vector[pictures], self.tokens[pictures], maps, self.affine[pictures])


def thumbnail_of(picture: Tensor, side: int) -> Tensor:
    """The whole picture as a fixed square, [B, 3, H, W] in 0..1 to [B, 3, side, side] fp32, antialiased.

    A fixed square whatever the aspect ratio, so that pictures of different sizes make one batch.
    """
    return F.interpolate(picture.float(), size=(side, side), mode="bilinear", antialias=True, align_corners=False)


def sampling_weights(start: Tensor, length: Tensor, count: int, scale: int, grid: int) -> Tensor:
    """Bilinear weights that read `count` points of a grid which spans the whole picture.

    Centres of pixels count (half-pixel convention), coordinates are clamped to the grid. Computed in float64 from whole
    numbers, so a tile gets exactly the values of the whole picture; in use these lie on the CPU, whatever the device.

    Args:
        start: [B], the crop's first row (or column) in picture pixels.
        length: [B], the picture's height (or width).
        count: rows (or columns) to read.
        scale: picture pixels per row read.
        grid: rows (or columns) of the grid.

    Returns:
        [B, count, grid] fp32, each row of which sums to 1: where `start` lies, or on the CPU in place of a device that
        may not know float64.
    """
    device = start.device if start.device.type == "cuda" else torch.device("cpu")
    start, length = (value.detach().to(device, torch.float64)[:, None] for value in (start, length))
    centre = start + (torch.arange(count, dtype=torch.float64, device=device) + 0.5) * scale
    coordinate = (centre / length * grid - 0.5).clamp(0, grid - 1)
    distance = (coordinate[:, :, None] - torch.arange(grid, dtype=torch.float64, device=device)).abs()
    return (1 - distance).clamp_min(0).float()


def sample(grid: Tensor, position: Position, height: int, width: int, scale: int) -> Tensor:
    """Reads a grid over the picture at a crop's own position, as two small matrix products in fp32.

    Args:
        grid: [B, G, G, C].
        position: where the crops lie.
        height, width: size of the result, in units of `scale` picture pixels.

    Returns:
        [B, height, width, C] fp32.
    """
    batch, rows, columns, channels = grid.shape
    with full_precision(grid.device):
        down = sampling_weights(position.top, position.height, height, scale, rows).to(grid.device)
        along = sampling_weights(position.left, position.width, width, scale, columns).to(grid.device)
        # the short way first: what is left is one large product instead of one for each line
        lines = (along[:, None] @ grid.float()).reshape(batch, rows, width * channels)
        return (down @ lines).reshape(batch, height, width, channels)


def correct(crop: Tensor, affine: Tensor) -> Tensor:
    """gain * crop + offset, in fp32: crop [B, h, w, 3], affine [B, h, w, 6] (log-gains, offsets)."""
    log_gain, offset = affine.chunk(2, dim=-1)
    return torch.addcmul(offset, log_gain.clamp(-GAIN_LIMIT, GAIN_LIMIT).exp(), crop.float())


def corrected_overview(thumbnail: Tensor, affine: Tensor) -> Tensor:
    """What the affine grid alone makes of the picture, at the grid's size: training holds it to the clean picture.

    Args:
        thumbnail: [B, 3, T, T] in 0..1.
        affine: [B, A, A, 6], as in `Context`.

    Returns:
        [B, 3, A, A] fp32.
    """
    coarse = F.adaptive_avg_pool2d(thumbnail.float(), affine.shape[1])
    return correct(coarse.permute(0, 2, 3, 1), affine).permute(0, 3, 1, 2)


def with_logarithm(picture: Tensor) -> Tensor:
    """A picture [B, 3, H, W] in 0..1 and its logarithm, [B, 6, H, W], both about -0.5..0.5.

    What light does is a factor, or with the light map an exponent, so in logarithms an addition or a factor.
    """
    logarithm = (picture.clamp(0, 1) + 0.02).log() / 4 + 0.5
    return torch.cat([picture - 0.5, logarithm], dim=1)


class ChannelAttention(nn.Module):
    """Scales channels by what the whole thumbnail holds; starts as the identity. Crops could not do this."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, features: Tensor) -> Tensor:
        """[B, H, W, C] -> the same."""
        return features * (1 + torch.tanh(self.project(features.mean((1, 2), keepdim=True)))).to(features.dtype)


class ThumbnailEncoder(nn.Module):
    """What both branches that see the whole picture have in common: thumbnail and guidance vector to features."""

    def __init__(self, config: RestorerConfig, extra_blocks: int = 0) -> None:
        super().__init__()
        first, second, third, width = config.global_widths
        blocks = config.global_blocks + extra_blocks
        self.stem = nn.Conv2d(6, first, 3, stride=2, padding=1)
        self.shrink = nn.Conv2d(first, second, 3, stride=2, padding=1)
        self.shrink_again = nn.Conv2d(second, third, 3, stride=2, padding=1)
        self.widen = nn.Linear(third, width)
        self.blocks = nn.ModuleList(
            GatedBlock(width, config.vector_width, config.expansion, config.residual_init) for _ in range(blocks)
        )
        self.attention = nn.ModuleList(ChannelAttention(width) for _ in range(blocks))
        self.to_vector = nn.Linear(width, config.vector_width)

    def encode(self, thumbnail: Tensor, vector: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """thumbnail [B, 3, T, T] in 0..1, vector [B, V] -> features at 1/4 and 1/8 of the thumbnail, and the vector
        with what the whole picture holds added to it."""
        thumbnail = with_logarithm(thumbnail).permute(0, 2, 3, 1)
        fine = F.silu(convolve(self.shrink, F.silu(convolve(self.stem, thumbnail))))
        features = self.widen(F.silu(convolve(self.shrink_again, fine)))
        for block, attention in zip(self.blocks, self.attention, strict=True):
            features = attention(block(features, vector))
        return fine, features, vector + self.to_vector(features.mean((1, 2))).float()


class ToneBranch(ThumbnailEncoder):
    """Thumbnail and pooled embedding to the affine grid: light, haze and colour of the whole picture.

    It shares nothing with the local branch and learns from whole pictures alone: crops tell little of tone and drown
    what overviews tell (RESULTS.md), and a local branch whose guidance moves under it forgets what it has learned.
    """

    def __init__(self, config: RestorerConfig) -> None:
        super().__init__(config, config.extra_tone_blocks)
        _, second, _, width = config.global_widths
        self.guidance = GuidanceVector(config.guidance_width, config.vector_width)
        # the affine grid is twice as fine as the features, since haze follows depth
        self.to_fine = nn.Linear(width, 4 * second)
        self.fine_block = GatedBlock(second, config.vector_width, config.expansion, config.residual_init)
        self.to_affine = nn.Linear(second, 6)
        self.to_overall = nn.Linear(config.vector_width, 6)
        for layer in (self.to_affine, self.to_overall):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, thumbnail: Tensor, pooled: Tensor | None, keep: Tensor | None, removal: Tensor | None) -> Tensor:
        """thumbnail [B, 3, T, T] in 0..1, the others as `GuidanceVector` takes them -> affine as in `Context`."""
        vector = self.guidance(thumbnail.shape[0], pooled, keep, removal)
        fine, features, vector = self.encode(thumbnail, vector)
        fine = self.fine_block(fine + unfold_pixels(self.to_fine(features)).to(fine.dtype), vector)
        with full_precision(fine.device):
            return self.to_affine(fine.float()) + self.to_overall(vector)[:, None, None]


class GlobalBranch(ThumbnailEncoder):
    """Thumbnail and guidance vector to maps for the local branch, and an addition to its guidance vector."""

    def __init__(self, config: RestorerConfig) -> None:
        super().__init__(config)
        self.to_maps = nn.ModuleList(nn.Linear(config.global_widths[3], channels) for channels in config.widths[1:])

    def forward(self, thumbnail: Tensor, vector: Tensor) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """thumbnail [B, 3, T, T] in 0..1, vector [B, V] -> vector and maps as in `Context`."""
        _, features, vector = self.encode(thumbnail, vector)
        return vector, (None, *(project(features) for project in self.to_maps))

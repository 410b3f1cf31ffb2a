"""The tone and the global branch: they see a thumbnail of the whole image once; every crop reads them at its position.

Their receptive field is unlimited (illumination, airlight, depth). All of it is our design.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..guidance import Conditioning
from ..precision import full_precision
from ..whole_image import STATISTICS, with_logarithm
from .blocks import GatedBlock, convolve, unfold_pixels
from .conditioning import GuidanceVector
from .config import RestorerConfig

GAIN_LIMIT = 3.0
"""Largest absolute log-gain of the affine correction: a factor of about 20 either way."""


@dataclass(frozen=True)
class Position:
    """Where crops lie in their images, one entry per sample: integer tensors [B], in image pixels.

    Attributes:
        top: First row of the crop.
        left: First column of the crop.
        height: Height of the whole image, without padding.
        width: Width of the whole image, without padding.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor

    @staticmethod
    def of(top: int, left: int, height: int, width: int, batch: int = 1) -> Position:
        """Return the same position for a whole batch."""
        return Position(*(torch.full((batch,), value) for value in (top, left, height, width)))


@dataclass(frozen=True)
class Context:
    """What the tone and the global branch found in B images.

    Attributes:
        vector: [B, V], guidance and global features in one vector.
        tokens: [B, N, D], the MLLM's tokens, normalized.
        maps: One [B, G, G, C] per level of the U-Net, None for the finest.
        affine: [B, A, A, 6] fp32, three log-gains and three offsets over the image; zeros are the identity.
    """

    vector: Tensor
    tokens: Tensor
    maps: tuple[Tensor | None, ...]
    affine: Tensor

    def select(self, indices: Tensor) -> Context:
        """Return the context of some of the images, by [C] indices, which may repeat."""
        maps = tuple(None if each is None else each[indices] for each in self.maps)
        return Context(self.vector[indices], self.tokens[indices], maps, self.affine[indices])


def sampling_weights(start: Tensor, length: Tensor, count: int, scale: int, grid: int) -> Tensor:
    """Return bilinear weights that read `count` points of a grid which spans the whole image.

    Centers of pixels count (half-pixel convention), coordinates are clamped to the grid. Computed in float64 from whole
    numbers, so a tile gets exactly the values of the whole image; at inference they are on the CPU, whatever the
    device.

    Args:
        start: [B], the crop's first row (or column) in image pixels.
        length: [B], the image's height (or width).
        count: Rows (or columns) to read.
        scale: Image pixels per row read.
        grid: Rows (or columns) of the grid.

    Returns:
        [B, count, grid] fp32, each row of which sums to 1: on the device of `start` if that is a CUDA device, else on
        the CPU, since other devices may not support float64.
    """
    device = start.device if start.device.type == "cuda" else torch.device("cpu")
    start, length = (value.detach().to(device, torch.float64)[:, None] for value in (start, length))
    center = start + (torch.arange(count, dtype=torch.float64, device=device) + 0.5) * scale
    coordinate = (center / length * grid - 0.5).clamp(0, grid - 1)
    distance = (coordinate[:, :, None] - torch.arange(grid, dtype=torch.float64, device=device)).abs()
    return (1 - distance).clamp_min(0).float()


def sample(grid: Tensor, position: Position, height: int, width: int, scale: int) -> Tensor:
    """Read a grid over the image at a crop's own position, as two small matrix products in fp32.

    Args:
        grid: [B, G, G, C].
        position: Where the crops lie.
        height: Rows of the result, of `scale` image pixels each.
        width: Columns of the result, likewise.
        scale: Image pixels per row and column of the result.

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


def apply_affine(crop: Tensor, affine: Tensor) -> Tensor:
    """Compute gain * crop + offset in fp32: crop [B, h, w, 3], affine [B, h, w, 6] (log-gains, offsets)."""
    log_gain, offset = affine.chunk(2, dim=-1)
    return torch.addcmul(offset, log_gain.clamp(-GAIN_LIMIT, GAIN_LIMIT).exp(), crop.float())


def affine_preview(thumbnail: Tensor, affine: Tensor) -> Tensor:
    """Apply the affine grid alone to the image, at the grid's size; training compares it with the clean image.

    Args:
        thumbnail: [B, 3, T, T] in 0..1.
        affine: [B, A, A, 6], as in `Context`.

    Returns:
        [B, 3, A, A] fp32.
    """
    coarse = F.adaptive_avg_pool2d(thumbnail.float(), affine.shape[1])
    return apply_affine(coarse.permute(0, 2, 3, 1), affine).permute(0, 3, 1, 2)


class ChannelAttention(nn.Module):
    """Scale channels by a function of the whole thumbnail; starts as the identity. Crops could not do this."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, features: Tensor) -> Tensor:
        """[B, H, W, C] -> [B, H, W, C]."""
        return features * (1 + torch.tanh(self.project(features.mean((1, 2), keepdim=True)))).to(features.dtype)


class ThumbnailEncoder(nn.Module):
    """The encoder of both branches that see the whole image: thumbnail and guidance vector to features."""

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

    def encode(
        self, thumbnail: Tensor, vector: Tensor, addition: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encode a thumbnail [B, 3, T, T] in 0..1 under a guidance vector [B, V].

        Args:
            thumbnail: The thumbnail.
            vector: The guidance.
            addition: [B, T/4, T/4, C2], to the features of that size.

        Returns:
            Features [B, T/4, T/4, C2] and [B, T/8, T/8, C4], and the vector [B, V] with the mean features added to it.
        """
        thumbnail = with_logarithm(thumbnail).permute(0, 2, 3, 1)
        fine = F.silu(convolve(self.shrink, F.silu(convolve(self.stem, thumbnail))))
        if addition is not None:
            fine = fine + addition.to(fine.dtype)
        features = self.widen(F.silu(convolve(self.shrink_again, fine)))
        for block, attention in zip(self.blocks, self.attention, strict=True):
            features = attention(block(features, vector))
        return fine, features, vector + self.to_vector(features.mean((1, 2))).float()


class StatisticsReader(nn.Module):
    """Add to features of the tone branch what `fine_statistics` tells; starts as nothing."""

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(STATISTICS, hidden, 3, padding=1)
        self.project = nn.Conv2d(hidden, width, 3, padding=1)
        assert self.project.bias is not None
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, statistics: Tensor) -> Tensor:
        """[B, `STATISTICS`, A, A] -> [B, A, A, C]."""
        return convolve(self.project, F.silu(convolve(self.widen, statistics.float().permute(0, 2, 3, 1))))


class ToneBranch(ThumbnailEncoder):
    """Predict the affine grid from thumbnail, statistics and pooled embedding: light, haze and color of the image.

    It shares nothing with the local branch and learns from whole images alone: crops tell little about tone and would
    dominate the loss, and a local branch whose guidance changes during training forgets what it has learned
    (docs/experiments.md).
    """

    def __init__(self, config: RestorerConfig) -> None:
        super().__init__(config, config.extra_tone_blocks)
        _, second, _, width = config.global_widths
        self.guidance = GuidanceVector(config.guidance_width, config.vector_width, config.severity_width)
        hidden = config.tone_statistics_width
        self.statistics = StatisticsReader(hidden, second) if hidden else None
        # the affine grid is twice as fine as the features, since haze follows depth
        self.to_fine = nn.Linear(width, 4 * second)
        self.fine_block = GatedBlock(second, config.vector_width, config.expansion, config.residual_init)
        self.to_affine = nn.Linear(second, 6)
        self.to_overall = nn.Linear(config.vector_width, 6)
        for layer in (self.to_affine, self.to_overall):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, thumbnail: Tensor, conditioning: Conditioning, statistics: Tensor | None) -> Tensor:
        """Predict the tone.

        Args:
            thumbnail: [B, 3, T, T] in 0..1.
            conditioning: Of the B images.
            statistics: [B, `STATISTICS`, A, A] of the images, which a branch that reads none ignores; without them it
                sees the thumbnail alone.

        Returns:
            The affine grid as in `Context`.
        """
        vector = self.guidance(len(thumbnail), conditioning)
        read = None if self.statistics is None or statistics is None else self.statistics(statistics)
        fine, features, vector = self.encode(thumbnail, vector, read)
        fine = self.fine_block(fine + unfold_pixels(self.to_fine(features)).to(fine.dtype), vector)
        with full_precision(fine.device):
            affine: Tensor = self.to_affine(fine.float()) + self.to_overall(vector)[:, None, None]
        return affine


class GlobalBranch(ThumbnailEncoder):
    """Compute maps for the local branch, and an addition to its guidance vector, from thumbnail and guidance vector."""

    def __init__(self, config: RestorerConfig) -> None:
        super().__init__(config)
        self.to_maps = nn.ModuleList(nn.Linear(config.global_widths[3], channels) for channels in config.widths[1:])

    def forward(self, thumbnail: Tensor, vector: Tensor) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        """Thumbnail [B, 3, T, T] in 0..1, vector [B, V] -> vector and maps as in `Context`."""
        _, features, vector = self.encode(thumbnail, vector)
        return vector, (None, *(project(features) for project in self.to_maps))

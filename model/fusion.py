"""MGFB, the MLLM-guided fusion block: how guidance enters the features.

The paper (arXiv 2605.11444, abstract) names the block. Our design: scale and shift from one vector per picture at every
block, and cross-attention to the MLLM's tokens at coarse scales. Both start as the identity. Features are [B, H, W, C].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .guidance import DEGRADATIONS
from .precision import full_precision


class GuidanceVector(nn.Module):
    """Brings the MLLM's pooled embedding to a branch's width, or puts a learned neutral one in its place, and steers.

    The neutral vector stands in after the projection, so nothing is assumed about the MLLM's space. Steering adds, for
    each degradation and as far as it is to be kept, a linear map of the vector that starts at zero.
    """

    def __init__(self, guidance_width: int, vector_width: int) -> None:
        super().__init__()
        self.pooled_norm = nn.LayerNorm(guidance_width)
        self.project = nn.Linear(guidance_width, vector_width)
        self.neutral_vector = nn.Parameter(torch.zeros(vector_width))
        self.steer = nn.Linear(len(DEGRADATIONS) * (vector_width + 1), vector_width, bias=False)
        nn.init.zeros_(self.steer.weight)

    def forward(self, batch: int, pooled: Tensor | None, keep: Tensor | None, removal: Tensor | None = None) -> Tensor:
        """The guidance vector as the network uses it.

        Args:
            batch: number of pictures B.
            pooled: [B, D], or None for neutral guidance.
            keep: [B] bool, where the given guidance is kept; None keeps all of it.
            removal: [B, 7] in 0..1, how much of each degradation to remove; None removes all.

        Returns:
            [B, V] fp32.
        """
        vector = self.neutral_vector.float().expand(batch, -1)
        if pooled is not None:
            with full_precision(pooled.device):
                given = F.silu(self.project(self.pooled_norm(pooled.float())))
            # where() rather than indexing: both sides take part, so every parameter gets a gradient in every step
            vector = given if keep is None else torch.where(keep[:, None], given, vector)
        return self._steered(vector, removal)

    def _steered(self, vector: Tensor, removal: Tensor | None) -> Tensor:
        """[B, V] -> [B, V]; exactly the same where all is to be removed."""
        if removal is None:
            return vector
        with full_precision(vector.device):
            source = F.pad(vector, (0, 1), value=1.0)  # the one stands for a bias
            return vector + self.steer(((1 - removal.float())[:, :, None] * source[:, None]).flatten(1))


class GuidanceTokens(nn.Module):
    """The MLLM's tokens, normalised, or a learned neutral token in their place.

    There is one neutral token, repeated as often as needed: attention to copies of one token does not depend on their
    number.
    """

    def __init__(self, guidance_width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(guidance_width)
        self.neutral = nn.Parameter(0.02 * torch.randn(guidance_width))

    def forward(self, batch: int, tokens: Tensor | None, keep: Tensor | None) -> Tensor:
        """[B, N, D] fp32 of `tokens` [B, N, D] or None, and of `keep` as in `GuidanceVector`."""
        neutral = self.neutral.float()
        if tokens is None:
            return neutral.expand(batch, 1, -1)
        with full_precision(tokens.device):
            tokens = self.norm(tokens.float())
        return tokens if keep is None else torch.where(keep[:, None, None], tokens, neutral)


class ScaleShift(nn.Module):
    """Layer normalisation over the channels of each pixel, then a scale and a shift from the guidance vector.

    Zero-initialised: at the start it is the plain normalisation. Statistics of one pixel only, nothing pooled over the
    picture, so tiles and whole pictures agree.
    """

    def __init__(self, vector_width: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.modulation = nn.Linear(vector_width, 2 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, features: Tensor, vector: Tensor) -> Tensor:
        """features [B, H, W, C], vector [B, V] -> [B, H, W, C]."""
        scale, shift = self.modulation(vector)[:, None, None].to(features.dtype).chunk(2, dim=-1)
        if len(vector) == 1:  # the normalisation's own scale and shift: a pass less over the features
            return F.layer_norm(features, (self.width,), 1 + scale.flatten(), shift.flatten()).to(features.dtype)
        normalised = F.layer_norm(features, (self.width,)).to(features.dtype)
        return torch.addcmul(shift, normalised, 1 + scale)


class TokenAttention(nn.Module):
    """Every feature pixel asks the MLLM's tokens; zero-initialised output, so it starts as the identity."""

    def __init__(self, width: int, guidance_width: int, head_width: int) -> None:
        super().__init__()
        self.width = width
        self.heads = max(1, width // head_width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(guidance_width, 2 * width)
        self.output = nn.Linear(width, width)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, features: Tensor, tokens: Tensor) -> Tensor:
        """features [B, H, W, C], tokens [B, N, D] -> [B, H, W, C]."""
        batch, height, width, channels = features.shape
        query = self.query(F.layer_norm(features, (self.width,)).to(features.dtype))
        key, value = self.key_value(tokens).chunk(2, dim=-1)
        query, key, value = (
            part.reshape(batch, -1, self.heads, channels // self.heads).transpose(1, 2)
            for part in (query, key.to(query.dtype), value.to(query.dtype))
        )
        answer = F.scaled_dot_product_attention(query, key, value)
        answer = answer.transpose(1, 2).reshape(batch, height, width, channels)
        return features + self.output(answer).to(features.dtype)

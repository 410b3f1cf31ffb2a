"""MGFB, the MLLM-guided fusion block: how guidance enters the features.

The paper (arXiv 2605.11444, abstract) names the block. Our design: scale and shift from one vector per image at every
block, and cross-attention to the MLLM's tokens at coarse scales. Both start as the identity. Features are [B, H, W, C].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..guidance import Conditioning
from ..precision import full_precision
from ..vocabulary import DEGRADATIONS


class SeverityVector(nn.Module):
    """What severities that were set add to a branch's guidance vector (our design).

    Nothing where no severity is set, since no layer has a bias; at the start nothing at all.
    """

    def __init__(self, hidden: int, vector_width: int) -> None:
        super().__init__()
        self.widen = nn.Linear(2 * len(DEGRADATIONS), hidden, bias=False)
        self.project = nn.Linear(hidden, vector_width, bias=False)
        nn.init.zeros_(self.project.weight)

    def forward(self, severities: Tensor) -> Tensor:
        """Severities [B, 7] in 0..1, NaN where none is set -> [B, V] fp32."""
        with full_precision(severities.device):
            is_set = ~severities.isnan()
            values = torch.cat([severities.float().nan_to_num(), is_set.float()], dim=1)
            added: Tensor = self.project(F.silu(self.widen(values)))
        return added


class GuidanceVector(nn.Module):
    """Project the MLLM's pooled embedding to a branch's width, or use a learned neutral vector, and steer it.

    The neutral vector replaces the projected one, so nothing is assumed about the MLLM's space. Steering adds, for each
    degradation and in proportion to how much of it is to be kept, a linear map of the vector that starts at zero.
    Severities that were set are added before.
    """

    def __init__(self, guidance_width: int, vector_width: int, severity_width: int = 0) -> None:
        super().__init__()
        self.pooled_norm = nn.LayerNorm(guidance_width)
        self.project = nn.Linear(guidance_width, vector_width)
        self.neutral_vector = nn.Parameter(torch.zeros(vector_width))
        self.severities = SeverityVector(severity_width, vector_width) if severity_width else None
        self.steer = nn.Linear(len(DEGRADATIONS) * (vector_width + 1), vector_width, bias=False)
        nn.init.zeros_(self.steer.weight)

    def forward(self, batch: int, conditioning: Conditioning) -> Tensor:
        """Return the guidance vectors of a batch of B images, [B, V] fp32."""
        vector = self.neutral_vector.float().expand(batch, -1)
        if conditioning.pooled is not None:
            with full_precision(conditioning.pooled.device):
                given = F.silu(self.project(self.pooled_norm(conditioning.pooled.float())))
            # where() rather than indexing: both sides take part, so every parameter gets a gradient in every step
            mask = conditioning.mask
            vector = given if mask is None else torch.where(mask[:, None], given, vector)
        if self.severities is not None and conditioning.severities is not None:
            vector = vector + self.severities(conditioning.severities)
        return self._steer(vector, conditioning.removal)

    def _steer(self, vector: Tensor, removal: Tensor | None) -> Tensor:
        """[B, V] -> [B, V]; exactly the same where everything is to be removed."""
        if removal is None:
            return vector
        with full_precision(vector.device):
            source = F.pad(vector, (0, 1), value=1.0)  # the one stands for a bias
            steered: Tensor = vector + self.steer(((1 - removal.float())[:, :, None] * source[:, None]).flatten(1))
        return steered


class GuidanceTokens(nn.Module):
    """Normalize the MLLM's tokens, or put a learned neutral token in their place.

    There is one neutral token, repeated as often as needed: attention to copies of one token does not depend on their
    number.
    """

    def __init__(self, guidance_width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(guidance_width)
        self.neutral = nn.Parameter(0.02 * torch.randn(guidance_width))

    def forward(self, batch: int, conditioning: Conditioning) -> Tensor:
        """Return the tokens of a batch of B images, [B, N, D] fp32; [B, 1, D] for neutral guidance."""
        neutral, tokens, mask = self.neutral.float(), conditioning.tokens, conditioning.mask
        if tokens is None:
            return neutral.expand(batch, 1, -1)
        with full_precision(tokens.device):
            tokens = self.norm(tokens.float())
        return tokens if mask is None else torch.where(mask[:, None, None], tokens, neutral)


class ScaleShift(nn.Module):
    """Layer normalization over the channels of each pixel, then a scale and a shift from the guidance vector.

    Zero-initialized: at the start it is the plain normalization. Statistics are those of one pixel only, nothing is
    pooled over the image, so tiles and whole images agree.
    """

    def __init__(self, vector_width: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.modulation = nn.Linear(vector_width, 2 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, features: Tensor, vector: Tensor) -> Tensor:
        """Features [B, H, W, C], vector [B, V] -> [B, H, W, C]."""
        scale, shift = self.modulation(vector)[:, None, None].to(features.dtype).chunk(2, dim=-1)
        if len(vector) == 1:  # the normalization's own scale and shift: a pass less over the features
            return F.layer_norm(features, (self.width,), 1 + scale.flatten(), shift.flatten()).to(features.dtype)
        normalized = F.layer_norm(features, (self.width,)).to(features.dtype)
        return torch.addcmul(shift, normalized, 1 + scale)


class TokenAttention(nn.Module):
    """Cross-attention of every feature pixel to the MLLM's tokens; zero-initialized, so it starts as the identity."""

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
        """Features [B, H, W, C], tokens [B, N, D] -> [B, H, W, C]."""
        batch, height, width, channels = features.shape
        query = self.query(F.layer_norm(features, (self.width,)).to(features.dtype))
        key, value = self.key_value(tokens).chunk(2, dim=-1)
        query, key, value = (
            part.reshape(batch, -1, self.heads, channels // self.heads).transpose(1, 2)
            for part in (query, key.to(query.dtype), value.to(query.dtype))
        )
        answer = F.scaled_dot_product_attention(query, key, value)
        answer = answer.transpose(1, 2).reshape(batch, height, width, channels)
        output: Tensor = self.output(answer)
        return features + output.to(features.dtype)

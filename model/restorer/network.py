"""The restorer: two small branches see the whole image once, a local branch repairs crops at full size.

The tone branch predicts how light, haze and color are to be corrected, the global branch what the local branch should
know about the whole image. The paper (arXiv 2605.11444, abstract) states an encoder-decoder with MLLM-guided fusion
blocks (`conditioning.py`) and mixtures of frequency experts under an MLLM-guided router (`experts.py`, `router.py`).
The branches, the sizes and everything else here are our design.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..guidance import Conditioning
from ..threads import run_parts
from ..vocabulary import CAMERA_FAULTS
from ..whole_image import fine_statistics, preview_statistics, thumbnail_of
from .blocks import Down, GatedBlock, Up, convolve_in_strips, fold_pixels, in_strips, strip_rows, unfold_pixels
from .camera_branch import CameraBranch
from .conditioning import GuidanceTokens, GuidanceVector, TokenAttention
from .config import LEVELS, RestorerConfig
from .experts import FrequencyExperts
from .thumbnail_branches import Context, GlobalBranch, Position, ToneBranch, affine_preview, apply_affine, sample

PREVIEW_AREA = 256 * 256
"""Largest area in px of an image with noise or JPEG in a preview: enough for its thumbnail, and little to clean."""


@dataclass(frozen=True)
class MofeBlock:
    """What a MoFE block is, for those who show its routing.

    Attributes:
        name: Of the block.
        experts: K, the number of experts.
        edges: K - 1 inner band edges in cycles per image pixel, rising; expert 0 has the lowest frequencies.
        scale: Image pixels per feature pixel.
        window_px: Side of a window in image pixels.
    """

    name: str
    experts: int
    edges: list[float]
    scale: int
    window_px: int


class Restorer(nn.Module):
    """Restore crops of images, at any position, from the image's thumbnail and the MLLM's guidance.

    Untrained it is the identity: the last convolution and the affine grid start at zero. Images of any size are
    restored by `RestorationPipeline` or by a plan (`plan_restoration`), which cut them into crops.

    Example:
        >>> network = Restorer(RestorerConfig(guidance_width=256))
        >>> restored = plan_restoration(network, image).run().image

    Attributes:
        config: Its sizes.
        mllm_identity: The MLLM whose guidance it was trained with, from its card; empty for a network without a card,
            which takes guidance from any. Not part of the state dict.
    """

    mllm_identity: str = ""

    def __init__(self, config: RestorerConfig) -> None:
        super().__init__()
        self.config = config
        widths, vector = config.widths, config.vector_width

        def gated(width: int, count: int) -> nn.ModuleList:
            return nn.ModuleList(
                GatedBlock(width, vector, config.expansion, config.residual_init) for _ in range(count)
            )

        self.camera = (
            CameraBranch(
                config.camera_widths,
                config.camera_encoder_blocks,
                config.camera_decoder_blocks,
                config.camera_estimator_width,
                config.camera_jpeg_encoder_blocks,
                config.camera_jpeg_decoder_blocks,
            )
            if config.camera_widths
            else None
        )
        self.tone = ToneBranch(config)
        self.guidance = GuidanceVector(config.guidance_width, vector, config.severity_width)
        self.tokens = GuidanceTokens(config.guidance_width)
        self.overview = GlobalBranch(config)
        self.intro = nn.Conv2d(24, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(gated(*pair) for pair in zip(widths, config.encoder_blocks, strict=True))
        self.down = nn.ModuleList(Down(*pair) for pair in zip(widths[:-1], widths[1:], strict=True))
        self.up = nn.ModuleList(Up(*pair) for pair in zip(widths[1:], widths[:-1], strict=True))
        self.decoder = nn.ModuleList(gated(*pair) for pair in zip(widths[:-1], config.decoder_blocks, strict=True))
        self.mofe = nn.ModuleDict({str(level): FrequencyExperts(widths[level], config) for level in config.mofe_levels})
        # attention to the tokens where pixels are few: at 1/16 on the way down, at 1/8 on the way up
        self.ask_deep = TokenAttention(widths[-1], config.guidance_width, config.head_width)
        self.ask_decoder = TokenAttention(widths[-2], config.guidance_width, config.head_width)
        self.outro = nn.Conv2d(widths[0], 12, 3, padding=1)
        assert self.outro.bias is not None
        nn.init.zeros_(self.outro.weight)
        nn.init.zeros_(self.outro.bias)

    @classmethod
    def from_config(cls, config: RestorerConfig | Mapping[str, Any]) -> Restorer:
        """Build a network with random weights from a config or from a card's `architecture`.

        Raises:
            ValueError: The architecture does not make sense.
        """
        return cls(config if isinstance(config, RestorerConfig) else RestorerConfig.from_dict(config))

    @property
    def halo(self) -> int:
        """Context with which a tile is read, in image pixels a side."""
        return self.config.halo

    @property
    def multiple(self) -> int:
        """Origins and sizes of crops are multiples of this many image pixels."""
        return self.config.multiple

    def mofe_blocks(self) -> tuple[MofeBlock, ...]:
        """Describe the MoFE blocks, in the order of the routing that `restore_crop` returns."""
        return tuple(
            MofeBlock(
                name=f"mofe at 1/{2 ** (level + 1)}",
                experts=self.config.experts,
                edges=(self._experts(level).edges / 2 ** (level + 1)).tolist(),
                scale=2 ** (level + 1),
                window_px=self.config.window * 2 ** (level + 1),
            )
            for level in reversed(self.config.mofe_levels)
        )

    def forward(
        self,
        crop: Tensor,
        position: Position,
        thumbnail: Tensor,
        conditioning: Conditioning,
        statistics: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Restore one crop of each of B images: `encode_context`, then `restore_crop`.

        Args:
            crop: [B, 3, h, w] in 0..1; h and w multiples of `multiple`.
            position: Where the crops lie; origins are multiples of `multiple`.
            thumbnail: [B, 3, T, T] in 0..1, from `look_at`.
            conditioning: Of the B images.
            statistics: Of the whole images, see `forward_tone`.

        Returns:
            As `restore_crop`.
        """
        return self.restore_crop(crop, self.encode_context(thumbnail, conditioning, statistics), position)

    def look_at(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what the tone and the global branch see of whole images, on the device where these are.

        Args:
            image: [B, 3, H, W] in 0..1.

        Returns:
            The thumbnail [B, 3, T, T], and the `fine_statistics` [B, `STATISTICS`, T/4, T/4] if the tone branch reads
            them.
        """
        side = self.config.thumbnail
        statistics = fine_statistics(image, side // 4) if self.config.tone_statistics_width else None
        return thumbnail_of(image, side), statistics

    def forward_tone(self, thumbnail: Tensor, conditioning: Conditioning, statistics: Tensor | None = None) -> Tensor:
        """Run the tone branch alone, once.

        Args:
            thumbnail: [B, 3, T, T] in 0..1.
            conditioning: Of the B images.
            statistics: [B, `STATISTICS`, T/4, T/4], from `look_at`; None to do without.

        Returns:
            The affine grid [B, A, A, 6] fp32.
        """
        affine: Tensor = self.tone(thumbnail, conditioning.for_tone, statistics)
        return affine

    def mirrored_tone(
        self, affine: Tensor, thumbnail: Tensor, conditioning: Conditioning, statistics: Tensor | None = None
    ) -> Tensor:
        """Return the mean of the tone of images and of their mirror images.

        It is about 0.2 dB better than the tone of the images alone (docs/experiments.md).

        Args:
            affine: [B, A, A, 6], what `forward_tone` returned for the same images.
            thumbnail: [B, 3, T, T] in 0..1.
            conditioning: Of the B images.
            statistics: Of the whole images, see `forward_tone`.
        """
        mirrored = None if statistics is None else statistics.flip(3)
        return (affine + self.forward_tone(thumbnail.flip(3), conditioning, mirrored).flip(2)) / 2

    @property
    def helper(self) -> Restorer | None:
        """Itself, if it can help an MLLM to look twice (`mllm.second_look.Helper`); None without a camera branch."""
        return None if self.camera is None else self

    def clean(self, crops: Tensor, strengths: Tensor) -> Tensor:
        """Remove faults of the camera from crops, see `CameraBranch.clean`."""
        assert self.camera is not None  # of a `helper`
        return self.camera.clean(crops, strengths)

    @torch.inference_mode()
    def preview(self, image: Tensor, pooled: Tensor, faults: Tensor | None = None) -> Tensor:
        """Return what the tone branch would make of images if it were to remove whatever there is.

        It is no judge of that, and was trained on more images than any: where nothing is wrong it changes next to
        nothing. The second look reads it. Noise means darkness to this branch, too, so an image with noise or JPEG is
        shrunk and cleaned before (docs/experiments.md).

        Args:
            image: [B, 3, H, W] in 0..1, on any device.
            pooled: Embeddings [B, D] of the images.
            faults: Strengths [1, 3] in 0..1, of `CAMERA_FAULTS`, of the noise and JPEG in the images; None without any.

        Returns:
            [B, `PREVIEW_STATISTICS`] fp32, on the device of `pooled`, see `preview_statistics`.
        """
        device = next(self.tone.parameters()).device
        if faults is not None:
            image = self._shrunk_and_cleaned(image, faults)
        thumbnail, statistics = (None if seen is None else seen.to(device) for seen in self.look_at(image))
        assert thumbnail is not None
        affine = self.forward_tone(thumbnail, Conditioning(pooled=pooled.to(device)), statistics)
        before = F.adaptive_avg_pool2d(thumbnail, affine.shape[1])
        return preview_statistics(before, affine_preview(before, affine)).to(pooled.device)

    def _shrunk_and_cleaned(self, image: Tensor, faults: Tensor) -> Tensor:
        """Return images [B, 3, H, W], shrunk to `PREVIEW_AREA` at most, without faults of the strengths [1, 3]."""
        assert self.camera is not None  # of a `helper`
        sides = image.shape[2:]
        factor = max(1.0, math.sqrt(math.prod(sides) / PREVIEW_AREA))
        step = self.camera.multiple
        size = [max(step, int(side / factor) // step * step) for side in sides]
        small = F.interpolate(image.float(), size, mode="area")
        faults = faults.clone()
        faults[:, CAMERA_FAULTS.index("jpeg")] /= factor  # the edges of its blocks are averaged away; grain is not
        return self.clean(small, faults)

    def encode_context(
        self,
        thumbnail: Tensor,
        conditioning: Conditioning,
        statistics: Tensor | None = None,
        affine: Tensor | None = None,
    ) -> Context:
        """Run the tone and the global branch, once per image.

        Args:
            thumbnail: [B, 3, T, T] in 0..1, from `look_at`.
            conditioning: Of the B images.
            statistics: Of the whole images, see `forward_tone`.
            affine: [B, A, A, 6], the tone if it is known already (`mirrored_tone`); None runs the tone branch.

        Raises:
            ValueError: Only one of the conditioning's `tokens` and `pooled` is given.
        """
        if (conditioning.tokens is None) != (conditioning.pooled is None):
            raise ValueError("tokens and pooled belong together: give both, or neither for neutral guidance")
        batch = len(thumbnail)
        tones = [] if affine is None else [affine]
        overviews: list[tuple[Tensor, tuple[Tensor | None, ...]]] = []

        def find_tone() -> None:
            tone = self.forward_tone(thumbnail, conditioning, statistics)
            tones.append(self.mirrored_tone(tone, thumbnail, conditioning, statistics))

        def find_overview() -> None:
            overviews.append(self.overview(thumbnail, self.guidance(batch, conditioning)))

        run_parts([find_overview] if tones else [find_tone, find_overview])
        vector, maps = overviews[0]
        return Context(vector, self.tokens(batch, conditioning), maps, tones[0])

    def restore_crop(self, crop: Tensor, context: Context, position: Position) -> tuple[Tensor, list[Tensor]]:
        """Run the local branch.

        Args:
            crop: [B, 3, h, w] in 0..1; h and w multiples of `multiple`.
            context: What `encode_context` returned for the B images.
            position: Where the crops lie; origins are multiples of `multiple`.

        Returns:
            The restored crop [B, 3, h, w] fp32, not clamped; and per MoFE block (`mofe_blocks`) the router's weights
            [B, K, nH, nW] fp32.

        Raises:
            ValueError: h or w is not a multiple of `multiple`.
        """
        _, _, height, width = crop.shape
        if height % self.multiple or width % self.multiple:
            raise ValueError(f"a crop of {height} x {width} px is not a multiple of {self.multiple} px")
        pixels = crop.permute(0, 2, 3, 1).float()
        corrected = apply_affine(pixels, sample(context.affine, position, height, width, 1))
        features = convolve_in_strips(self.intro, fold_pixels(torch.cat([pixels, corrected], dim=-1)))
        skips: list[Tensor] = []
        for level in range(LEVELS):
            if level:
                skips.append(features)
                features = self.down[level - 1](features)
            global_map = context.maps[level]
            if global_map is not None:
                scale = 2 ** (level + 1)
                here = sample(global_map, position, height // scale, width // scale, scale)
                features = features + here.to(features.dtype)
            if level == LEVELS - 1:
                features = self._ask(self.ask_deep, features, context.tokens)
            features = self._refine(self.encoder[level], features, context.vector)
        routing: list[Tensor] = []
        for level in reversed(range(LEVELS - 1)):
            features = self.up[level](features) + skips.pop()
            if level == LEVELS - 2:
                features = self._ask(self.ask_decoder, features, context.tokens)
            if level in self.config.mofe_levels:
                features, weights = self._experts(level)(features, context.vector)
                routing.append(weights)
            features = self._refine(self.decoder[level], features, context.vector)
        residual = unfold_pixels(convolve_in_strips(self.outro, features))
        return (corrected + residual.float()).permute(0, 3, 1, 2), routing

    def _experts(self, level: int) -> FrequencyExperts:
        experts = self.mofe[str(level)]
        assert isinstance(experts, FrequencyExperts)
        return experts

    @staticmethod
    def _ask(attention: TokenAttention, features: Tensor, tokens: Tensor) -> Tensor:
        def strip(top: int, bottom: int) -> Tensor:
            asked: Tensor = attention(features[:, top:bottom], tokens)
            return asked

        return in_strips(strip, features.shape[1], strip_rows(features))

    @staticmethod
    def _refine(blocks: nn.Module, features: Tensor, vector: Tensor) -> Tensor:
        assert isinstance(blocks, nn.ModuleList)
        for block in blocks:
            features = block(features, vector)
        return features

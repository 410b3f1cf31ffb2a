"""The restorer: two small branches see the whole picture once, a local branch repairs crops at full size.

The tone branch says how light, haze and colour are to be corrected, the global branch what the local branch should know
of the whole. The paper (arXiv 2605.11444, abstract) states an encoder-decoder with MLLM-guided fusion blocks
(`fusion.py`) and mixtures of frequency experts under an MLLM-guided router (`experts.py`, `router.py`). The branches,
the sizes and all else here are our design.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .architecture import LEVELS, RestorerConfig
from .blocks import Down, GatedBlock, Up, convolve, fold_pixels, unfold_pixels
from .experts import FrequencyExperts
from .fusion import GuidanceTokens, GuidanceVector, TokenAttention
from .guidance import Guidance, GuidanceError
from .overview import Context, GlobalBranch, Position, ToneBranch, correct, corrected_overview, sample, thumbnail_of
from .weights import SHIPPED_RESTORER, Card, WeightFileError, read_weights

__all__ = ["Context", "Position", "Restorer", "RestorerConfig", "check_guidance", "load_restorer", "thumbnail_of"]


class Restorer(nn.Module):
    """Repairs crops of pictures, at any position, from the picture's thumbnail and the MLLM's guidance.

    Untrained it is the identity: the last convolution and the affine grid start at zero.

    Attributes:
        config: its sizes.
        mllm_identity: the MLLM whose guidance it was trained with, from its card; empty for a network without a card,
            which takes guidance of any. No part of the state dict.
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

        self.tone = ToneBranch(config)
        self.guidance = GuidanceVector(config.guidance_width, vector)
        self.tokens = GuidanceTokens(config.guidance_width)
        self.overview = GlobalBranch(config)
        self.intro = nn.Conv2d(24, widths[0], 3, padding=1)
        self.encoder = nn.ModuleList(gated(*pair) for pair in zip(widths, config.encoder_blocks, strict=True))
        self.down = nn.ModuleList(Down(*pair) for pair in zip(widths[:-1], widths[1:], strict=True))
        self.up = nn.ModuleList(Up(*pair) for pair in zip(widths[1:], widths[:-1], strict=True))
        self.decoder = nn.ModuleList(gated(*pair) for pair in zip(widths[:-1], config.decoder_blocks, strict=True))
        self.mofe = nn.ModuleDict(
            {
                str(level): FrequencyExperts(
                    widths[level],
                    vector,
                    config.experts,
                    config.window,
                    config.softness,
                    config.router_temperature,
                    config.residual_init,
                    config.top_experts,
                )
                for level in config.mofe_levels
            }
        )
        # tokens are asked where pixels are few: at 1/16 on the way down, at 1/8 on the way up
        self.ask_deep = TokenAttention(widths[-1], config.guidance_width, config.head_width)
        self.ask_decoder = TokenAttention(widths[-2], config.guidance_width, config.head_width)
        self.outro = nn.Conv2d(widths[0], 12, 3, padding=1)
        assert self.outro.bias is not None
        nn.init.zeros_(self.outro.weight)
        nn.init.zeros_(self.outro.bias)

    @classmethod
    def from_config(cls, config: RestorerConfig | Mapping[str, Any]) -> Restorer:
        """A network with random weights, from a config or from a card's `architecture`.

        Raises:
            ValueError: the architecture does not make sense.
        """
        return cls(config if isinstance(config, RestorerConfig) else RestorerConfig.from_dict(config))

    @property
    def halo(self) -> int:
        """Context a tile is read with, in picture pixels a side."""
        return self.config.halo

    @property
    def multiple(self) -> int:
        """Origins and sizes of crops are multiples of this many picture pixels."""
        return self.config.multiple

    @property
    def mofe_names(self) -> tuple[str, ...]:
        """Names of the MoFE blocks, in the order of the routing that `restore` gives."""
        return tuple(f"mofe at 1/{2 ** (level + 1)}" for level in reversed(self.config.mofe_levels))

    @property
    def mofe_scales(self) -> tuple[int, ...]:
        """Picture pixels per feature pixel of the MoFE blocks, in the same order."""
        return tuple(2 ** (level + 1) for level in reversed(self.config.mofe_levels))

    def band_edges(self) -> tuple[list[float], ...]:
        """Inner band edges of the MoFE blocks in cycles per picture pixel, in the same order."""
        levels = reversed(self.config.mofe_levels)
        return tuple((self._experts(level).edges / 2 ** (level + 1)).tolist() for level in levels)

    def look(
        self,
        thumbnail: Tensor,
        tokens: Tensor | None,
        pooled: Tensor | None,
        keep_guidance: Tensor | None = None,
        removal: Tensor | None = None,
        tone_removal: Tensor | None = None,
    ) -> Context:
        """The tone and the global branch, once per picture.

        Args:
            thumbnail: [B, 3, T, T] in 0..1, from `thumbnail_of` the whole picture.
            tokens: [B, N, D] or None; without guidance, learned neutral guidance takes its place.
            pooled: [B, D] or None.
            keep_guidance: [B] bool, False puts neutral guidance in the place of the given one; None keeps all.
            removal: [B, 7] in 0..1, how much of each degradation to remove; None removes all.
            tone_removal: the same for the tone branch (`Guidance.tone_removal`); None: as `removal`.

        Raises:
            ValueError: only one of `tokens` and `pooled` is given.
        """
        given = (pooled, keep_guidance, removal if tone_removal is None else tone_removal)
        affine = self._with_mirrored(self.tone(thumbnail, *given), thumbnail, *given)
        return self._context(thumbnail, tokens, pooled, keep_guidance, removal, affine)

    def restore(self, crop: Tensor, context: Context, position: Position) -> tuple[Tensor, list[Tensor]]:
        """The local branch.

        Args:
            crop: [B, 3, h, w] in 0..1; h and w multiples of `multiple`.
            context: what `look` found in the B pictures.
            position: where the crops lie; origins are multiples of `multiple`.

        Returns:
            The restored crop [B, 3, h, w] fp32, not clamped; and per MoFE block (`mofe_names`) the router's weights
            [B, K, nH, nW] fp32.

        Raises:
            ValueError: h or w is not a multiple of `multiple`.
        """
        _, _, height, width = crop.shape
        if height % self.multiple or width % self.multiple:
            raise ValueError(f"a crop of {height} x {width} px is not a multiple of {self.multiple} px")
        pixels = crop.permute(0, 2, 3, 1).float()
        corrected = correct(pixels, sample(context.affine, position, height, width, 1))
        features = convolve(self.intro, fold_pixels(torch.cat([pixels, corrected], dim=-1)))
        skips: list[Tensor] = []
        for level in range(LEVELS):
            if level:
                skips.append(features)
                features = self.down[level - 1](features)
            overview = context.maps[level]
            if overview is not None:
                scale = 2 ** (level + 1)
                here = sample(overview, position, height // scale, width // scale, scale)
                features = features + here.to(features.dtype)
            if level == LEVELS - 1:
                features = self.ask_deep(features, context.tokens)
            features = self._refine(self.encoder[level], features, context.vector)
        routing: list[Tensor] = []
        for level in reversed(range(LEVELS - 1)):
            features = self.up[level](features) + skips.pop()
            if level == LEVELS - 2:
                features = self.ask_decoder(features, context.tokens)
            if level in self.config.mofe_levels:
                features, weights = self._experts(level)(features, context.vector)
                routing.append(weights)
            features = self._refine(self.decoder[level], features, context.vector)
        residual = unfold_pixels(convolve(self.outro, features))
        return (corrected + residual.float()).permute(0, 3, 1, 2), routing

    def forward(
        self,
        crop: Tensor | None,
        thumbnail: Tensor,
        tokens: Tensor | None,
        pooled: Tensor | None,
        keep_guidance: Tensor | None,
        position: Position | None,
        removal: Tensor | None = None,
        scene: Tensor | None = None,
    ) -> tuple[Tensor | None, list[Tensor], Tensor]:
        """`look` and `restore` in one call, for training: the tone branch learns nothing from the crops.

        Args:
            crop: [C, 3, h, w], and `position` its C places; both None to look at the pictures alone.
            thumbnail: [B, 3, T, T] of B pictures, and what else `look` takes of them; but `tokens` of the first S
                pictures alone, those that crops are of. None for neutral guidance of all.
            scene: [C], the picture of the S that each crop is of; None where there is one crop of each, in their order.

        Returns:
            What `restore` does with the crops (None and no routing where there are none), and the `corrected_overview`
            of the pictures.
        """
        affine = self.tone(thumbnail, pooled, keep_guidance, removal)
        overview = corrected_overview(thumbnail, affine)
        if crop is None or position is None:
            return None, [], overview
        count = len(thumbnail) if tokens is None else len(tokens)
        pooled, keep_guidance, removal = (
            None if each is None else each[:count] for each in (pooled, keep_guidance, removal)
        )
        thumbnail, given = thumbnail[:count], (pooled, keep_guidance, removal)
        with torch.no_grad():  # the tone that `look` would give them
            affine = self._with_mirrored(affine[:count], thumbnail, *given)
        context = self._context(thumbnail, tokens, *given, affine)
        return *self.restore(crop, context if scene is None else context.of(scene), position), overview

    def _with_mirrored(
        self,
        affine: Tensor,
        thumbnail: Tensor,
        pooled: Tensor | None,
        keep: Tensor | None,
        removal: Tensor | None,
    ) -> Tensor:
        """The mirrored picture is a second opinion on the same tone: their mean is 0.2 dB better (RESULTS.md)."""
        return (affine + self.tone(thumbnail.flip(3), pooled, keep, removal).flip(2)) / 2

    def _context(
        self,
        thumbnail: Tensor,
        tokens: Tensor | None,
        pooled: Tensor | None,
        keep: Tensor | None,
        removal: Tensor | None,
        affine: Tensor,
    ) -> Context:
        if (tokens is None) != (pooled is None):
            raise ValueError("tokens and pooled belong together: give both, or neither for neutral guidance")
        batch = thumbnail.shape[0]
        vector, maps = self.overview(thumbnail, self.guidance(batch, pooled, keep, removal))
        return Context(vector, self.tokens(batch, tokens, keep), maps, affine)

    def _experts(self, level: int) -> FrequencyExperts:
        experts = self.mofe[str(level)]
        assert isinstance(experts, FrequencyExperts)
        return experts

    @staticmethod
    def _refine(blocks: nn.Module, features: Tensor, vector: Tensor) -> Tensor:
        assert isinstance(blocks, nn.ModuleList)
        for block in blocks:
            features = block(features, vector)
        return features


def load_restorer(path: str | Path = SHIPPED_RESTORER) -> tuple[Restorer, Card]:
    """The network of a weight file, fp32 on the CPU in evaluation mode, and its card.

    Raises:
        WeightFileError: the file is missing, damaged, of another kind, or its tensors do not fit its architecture.
    """
    state, card = read_weights(path, "restorer")
    try:
        network = Restorer.from_config(card.architecture)
    except (ValueError, TypeError) as error:
        raise WeightFileError(
            f"{path} describes an architecture this version cannot build ({error}): "
            "update the pack or put the original file back."
        ) from error
    expected = network.state_dict()
    missing = sorted(expected.keys() - state.keys())
    foreign = sorted(state.keys() - expected.keys())
    misshaped = sorted(name for name in expected.keys() & state.keys() if expected[name].shape != state[name].shape)
    for names, what in ((missing, "lacks"), (foreign, "has unknown"), (misshaped, "has wrongly sized")):
        if names:
            raise WeightFileError(
                f"{path} {what} tensors ({names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}), "
                "so it does not fit the architecture on its card: put the original file back."
            )
    broken = sorted(name for name, tensor in state.items() if not bool(torch.isfinite(tensor.float()).all()))
    if broken:
        raise WeightFileError(f"{path} holds values that are not finite ({broken[0]}): put the original file back.")
    network.load_state_dict(state)
    network.mllm_identity = card.mllm_identity
    return network.eval(), card


def check_guidance(restorer: Card | Restorer, guidance: Guidance) -> None:
    """Guidance of one MLLM never silently drives a restorer trained with another; `restore_picture` sees to it.

    Raises:
        GuidanceError: the identities differ.
    """
    if restorer.mllm_identity and guidance.mllm_identity != restorer.mllm_identity:
        raise GuidanceError(
            f"The guidance comes from the MLLM {guidance.mllm_identity} but the restorer was trained with "
            f"{restorer.mllm_identity}: load that MLLM and describe the picture again."
        )

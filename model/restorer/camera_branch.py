"""The camera branch: undoes what the camera did last, that is blur, sensor noise and JPEG, before everything else.

A photograph gets haze, rain or snow in front of the lens, and blur, noise and JPEG behind it, so these are undone
first. They are local and need no view of the whole image, but dense convolutions, which the local branch of gated
blocks does not have. The branch runs only where the MLLM sees one of the three, or an order names one (our design; the
layout is that of a plain residual U-Net, as DRUNet's, arXiv 2008.13751, and the strengths are given to it as constant
maps, as FFDNet's noise level is, arXiv 1710.04026). Where blur is to be undone it also sees the image as Wiener's
filters for the estimated kernel make it. Features are [B, H, W, C].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..images import round_up
from ..threads import parts_at_once
from ..vocabulary import CAMERA_FAULTS
from .blocks import Down, Up, convolve_in_strips, fold_pixels, unfold_pixels
from .blur_estimator import BlurEstimator
from .deconvolution import CAUTION

JPEG_ERROR = 12.0 / 255.0
"""Deviation of the errors of a JPEG of quality 10; those of better ones are about in proportion to the strength."""

ROUNDING = 0.4 / 255.0
"""Deviation of the errors of rounding to 8 bits, with a margin."""

_JPEG = CAMERA_FAULTS.index("jpeg")  # the last one

LEAK = 0.1
"""Slope of negative values before training, see `ResidualBlock`."""


class ResidualUnet(nn.Module):
    """A U-Net of residual blocks, from what is seen of crops to what is to be added to them.

    Untrained it adds nothing: the last convolution starts at zero.

    Args:
        seen: Channels of its input.
        widths: Channels at 1/2, 1/4, ... of the image's size.
        encoder_blocks: Number of residual blocks at each of these sizes on the way down; without the last one for a
            network that borrows the blocks at the coarsest size from another.
        decoder_blocks: The same on the way up, which has no block at the coarsest size.
    """

    def __init__(
        self, seen: int, widths: tuple[int, ...], encoder_blocks: tuple[int, ...], decoder_blocks: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.intro = nn.Conv2d(seen, widths[0], 3, padding=1)
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.encoder = nn.ModuleList(_blocks(*each) for each in zip(widths, encoder_blocks, strict=False))
        self.down = nn.ModuleList(Down(fine, coarse) for fine, coarse in pairs)
        self.up = nn.ModuleList(Up(coarse, fine) for fine, coarse in pairs)
        self.decoder = nn.ModuleList(_blocks(*each) for each in zip(widths[:-1], decoder_blocks, strict=True))
        self.outro = nn.Conv2d(widths[0], 12, 3, padding=1)
        assert self.outro.bias is not None
        nn.init.zeros_(self.outro.weight)
        nn.init.zeros_(self.outro.bias)

    def residual(self, seen: Tensor, borrowed: nn.Module | None = None) -> Tensor:
        """[B, H/2, W/2, seen] -> [B, H, W, 3]; `borrowed` are the blocks at the coarsest size where it has none."""
        features = convolve_in_strips(self.intro, seen)
        del seen  # as large as the features
        skips: list[Tensor] = []
        every = [*self.encoder, *([] if borrowed is None else [borrowed])]
        for level, blocks in enumerate(every):
            if level:
                skips.append(features)
                features = self.down[level - 1](features)
            features = blocks(features)
        for up, blocks in zip(reversed(self.up), reversed(self.decoder), strict=True):
            features = blocks(up(features) + skips.pop())
        return unfold_pixels(convolve_in_strips(self.outro, features))


class CameraBranch(ResidualUnet):
    """Undo blur, noise and JPEG of crops that start where the blocks of a JPEG do, if there are any.

    Untrained it is the identity.

    Example:
        >>> branch = CameraBranch((48, 96, 160), (1, 2, 3), (2, 2))
        >>> restored = branch(crop, torch.tensor([[0.6, 0.0, 0.0]]))

    Attributes:
        multiple: Sides of a crop are multiples of this many px.
        filters: F, the number of deconvolved images that it sees; 0 without an estimator.
        estimator: Tells the kernel of a blur; None for a branch that sees no deconvolved image.
        jpeg: Undoes a JPEG that is to be undone alone, by weights of its own at all but the coarsest size; None for a
            branch that undoes it like the others.

    Args:
        widths: Channels at 1/2, 1/4, ... of the image's size.
        encoder_blocks: Number of residual blocks at each of these sizes on the way down.
        decoder_blocks: The same on the way up, which has no block at the coarsest size.
        estimator_width: Hidden width of the estimator of a blur's kernel; 0 for a branch without it.
        jpeg_encoder_blocks: The same for weights of its own for a JPEG, which borrow the first so many of the blocks at
            the coarsest size; empty for a branch without them.
        jpeg_decoder_blocks: The same for them on the way up.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        encoder_blocks: tuple[int, ...],
        decoder_blocks: tuple[int, ...],
        estimator_width: int = 0,
        jpeg_encoder_blocks: tuple[int, ...] = (),
        jpeg_decoder_blocks: tuple[int, ...] = (),
    ) -> None:
        filters = len(CAUTION) if estimator_width else 0
        estimator = BlurEstimator(estimator_width) if estimator_width else None
        super().__init__(12 * (1 + filters) + len(CAMERA_FAULTS), widths, encoder_blocks, decoder_blocks)
        self.multiple, self.filters = 2 ** len(widths), filters
        self.estimator = estimator
        self.jpeg = (
            ResidualUnet(13, widths, jpeg_encoder_blocks[:-1], jpeg_decoder_blocks) if jpeg_encoder_blocks else None
        )
        self._borrowed = sum(jpeg_encoder_blocks[-1:])

    def forward(self, crop: Tensor, strengths: Tensor, deconvolved: Tensor | None = None) -> Tensor:
        """Return crops without what the strengths name.

        Args:
            crop: [B, 3, h, w] in 0..1; h and w multiples of `multiple`.
            strengths: [B, 3] in 0..1, of `CAMERA_FAULTS`; 0 keeps a fault.
            deconvolved: [B, 3 F, h, w], what `deconvolve` makes of the crops; None where no blur is to be undone, or
                none was found.

        Returns:
            [B, 3, h, w] fp32, not clamped.

        Raises:
            ValueError: h or w is not a multiple of `multiple`, or the branch sees no deconvolved image and gets one.
        """
        height, width = crop.shape[2:]
        if deconvolved is not None and not self.filters:
            raise ValueError("a branch without an estimator sees no deconvolved image")
        if height % self.multiple or width % self.multiple:
            raise ValueError(f"a crop of {height} x {width} px is not a multiple of {self.multiple} px")
        alone = self._jpeg_alone(strengths)
        if alone.all() or not alone.any():
            return self._undo(crop, strengths, deconvolved, jpeg_alone=bool(alone.any()))
        result = torch.empty_like(crop, dtype=torch.float32)
        for chosen, jpeg_alone in ((alone, True), (~alone, False)):
            some = chosen.to(crop.device)
            more = None if deconvolved is None else deconvolved[some]
            result[some] = self._undo(crop[some], strengths[some], more, jpeg_alone=jpeg_alone)
        return result

    def _undo(self, crop: Tensor, strengths: Tensor, deconvolved: Tensor | None, *, jpeg_alone: bool) -> Tensor:
        """Return what `forward` does of crops that are all undone by the same weights."""
        pixels = crop.permute(0, 2, 3, 1).float()
        if jpeg_alone and self.jpeg is not None:
            coarsest = self.encoder[-1]
            assert isinstance(coarsest, nn.Sequential)  # `_blocks`
            seen = _with_maps(pixels, strengths[:, _JPEG:])
            residual = self.jpeg.residual(seen, coarsest[: self._borrowed])
        else:
            residual = self.residual(self._seen(pixels, strengths, deconvolved))
        return (pixels + residual.float()).permute(0, 3, 1, 2)

    def _seen(self, pixels: Tensor, strengths: Tensor, deconvolved: Tensor | None) -> Tensor:
        """Return what the branch sees of crops [B, h, w, 3], [B, h/2, w/2, C]."""
        seen = _with_maps(pixels, strengths)
        return torch.cat([seen, self._differences(pixels, deconvolved)], dim=-1) if self.filters else seen

    def _jpeg_alone(self, strengths: Tensor) -> Tensor:
        """Return where weights of its own undo a JPEG, [B] bool."""
        alone = (strengths[:, _JPEG] > 0) & (strengths[:, :_JPEG] == 0).all(1)
        return alone & (self.jpeg is not None)

    @torch.inference_mode()
    def clean(self, crops: Tensor, strengths: Tensor) -> Tensor:
        """Return crops without noise and JPEG, on the device on which they are.

        Args:
            crops: [N, 3, h, w] in 0..1, on any device; h and w multiples of `multiple`.
            strengths: [1, 3] in 0..1, of `CAMERA_FAULTS`; without an estimate of its kernel blur is best kept.
        """
        device = self.intro.weight.device
        with parts_at_once(device):
            cleaned: Tensor = self(crops.to(device), strengths.to(device).expand(len(crops), -1))
        return cleaned.clamp(0, 1).to(crops)

    def _differences(self, pixels: Tensor, deconvolved: Tensor | None) -> Tensor:
        """Return what deconvolution changes, [B, h/2, w/2, 12 F]; 0 where there is none."""
        batch, height, width, _ = pixels.shape
        if deconvolved is None:
            return pixels.new_zeros(batch, height // 2, width // 2, 12 * self.filters)
        return fold_pixels(deconvolved.permute(0, 2, 3, 1).float() - pixels.repeat(1, 1, 1, self.filters))


def _with_maps(pixels: Tensor, strengths: Tensor) -> Tensor:
    """Return images [B, h, w, 3] with constant maps of the strengths [B, S], [B, h/2, w/2, 12 + S]."""
    folded = fold_pixels(pixels)
    maps = strengths.to(folded)[:, None, None].expand(*folded.shape[:3], -1)
    return torch.cat([folded, maps], dim=-1)


def noise_variance(strengths: Tensor) -> float:
    """Return about the variance of what noise, JPEG and rounding have added to an image, for values in 0..1.

    Args:
        strengths: [3] in 0..1, of `CAMERA_FAULTS`, as `GroundTruth.strength` measures them.
    """
    told = dict(zip(CAMERA_FAULTS, strengths.tolist(), strict=True))
    noise, jpeg = 55.0 / 255.0 * told["noise"] ** 2, JPEG_ERROR * told["jpeg"]
    return float(noise**2 + jpeg**2 + ROUNDING**2)


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


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside the identity; no normalization, which would hide how strong the noise is.

    Between them each channel has a learned slope for negative values (PReLU, arXiv 1502.01852): without it all channels
    of a coarse block end up below 0 for every input, and the block learns no more (docs/experiments.md).
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.leak = nn.Parameter(torch.full((width,), LEAK))
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """[B, H, W, C] -> [B, H, W, C]."""
        hidden = convolve_in_strips(self.first, features).permute(0, 3, 1, 2)
        hidden = F.prelu(hidden, self.leak.to(hidden.dtype)).permute(0, 2, 3, 1)
        return convolve_in_strips(self.second, hidden, plus=features)


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(width) for _ in range(count)))

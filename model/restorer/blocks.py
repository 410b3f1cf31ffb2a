"""The building blocks of the U-Net. Features are [B, H, W, C], so that 1x1 convolutions are plain matrix products.

A [B, H, W, C] tensor seen as [B, C, H, W] is PyTorch's channels_last layout, so depthwise convolutions copy nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import Lock

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..images import round_up
from ..threads import run_parts, workers
from .conditioning import ScaleShift


def convolve(layer: nn.Conv2d, features: Tensor) -> Tensor:
    """Apply a convolution to features [B, H, W, C]."""
    result: Tensor = layer(features.permute(0, 3, 1, 2))
    return result.permute(0, 2, 3, 1).contiguous()


STRIP_VALUES = 2**18
"""Number of values of a tensor to process at once on a CPU, so that intermediate results stay in the cache."""


def strip_rows(features: Tensor, copies: int = 1, multiple: int = 1) -> int:
    """Return the number of rows of the strips in which features are best processed.

    An operation over a whole image moves it through main memory, which on a CPU takes longer than the arithmetic.

    Args:
        features: [B, H, W, C].
        copies: Number of tensors of this size that exist at once.
        multiple: The number of rows is a multiple of it.

    Returns:
        H on devices other than the CPU, and where gradients are recorded, which keep all intermediate results anyway.
    """
    batch, height, width, channels = features.shape
    if features.device.type != "cpu" or torch.is_grad_enabled():
        return height
    # bf16 takes half the memory, and autocast converts the weights again for each strip
    values = STRIP_VALUES * (2 if torch.is_autocast_enabled("cpu") else 1)
    fitting = max(1, values // (batch * width * channels * copies * multiple)) * multiple
    return min(fitting, round_up(-(-height // workers()), multiple))


def in_strips(work: Callable[[int, int], Tensor], height: int, rows: int) -> Tensor:
    """Return `work(top, bottom)` of all strips, joined to a tensor [B, H, W, C].

    Args:
        work: Returns the rows [B, bottom - top, W, C] from `top` to `bottom` of the result.
        height: H.
        rows: Of each strip; the last one may have fewer.
    """
    if rows >= height:
        return work(0, height)
    results: list[Tensor] = []
    lock = Lock()

    def write(top: int) -> None:
        strip = work(top, min(top + rows, height))
        with lock:  # what is joined has the type and the size of the first strip that is done
            if not results:
                results.append(strip.new_empty(len(strip), height, *strip.shape[2:]))
        results[0][:, top : top + rows] = strip

    run_parts([partial(write, top) for top in range(0, height, rows)])
    return results[0]


def convolve_in_strips(layer: nn.Conv2d, features: Tensor, plus: Tensor | None = None) -> Tensor:
    """Apply a 3x3 convolution with a padding of 1 to features [B, H, W, C], a strip at a time.

    Args:
        layer: The convolution.
        features: What it is applied to.
        plus: Is added to the result, whose shape it has.
    """

    def strip(top: int, bottom: int) -> Tensor:
        above = max(top - 1, 0)
        result = convolve(layer, features[:, above : bottom + 1])[:, top - above : bottom - above]
        return result if plus is None else result + plus[:, top:bottom]

    return in_strips(strip, features.shape[1], strip_rows(features))


def add_scaled(features: Tensor, layer: nn.Linear, values: Tensor, scale: Tensor) -> Tensor:
    """Return features [..., C] + `scale` [C] * `layer`(values [..., D]).

    On a CPU, where moving features through memory is dear, the matrix product adds to them by itself.
    """
    plain = features.device.type != "cpu" or torch.is_autocast_enabled("cpu") or features.dtype != layer.weight.dtype
    if plain or torch.is_grad_enabled():
        change = layer(values)
        return torch.addcmul(features, change, scale.to(change.dtype))
    result = torch.add(features, layer.bias * scale).contiguous()
    result.view(-1, len(scale)).addmm_(values.flatten(0, -2), (layer.weight * scale[:, None]).T)
    return result


class GatedBlock(nn.Module):
    """Mix neighboring pixels depthwise, then channels, each with a gate in place of an activation.

    After NAFNet's block (arXiv 2204.04676), with three departures, which are our design: the scale and shift of the
    first normalization come from the guidance (MGFB); there is no channel attention, since its pooling over the image
    would make tiles differ from the whole image; and the residual scales start small instead of at zero, since at zero
    the inner weights get no gradient at first and the network's last convolution already makes it start as the
    identity. The receptive field is one feature pixel a side.
    """

    fusible = True
    """Training may compile it (`[loop] compile`): it spends its time mostly in operations that can be fused."""

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
        """Features [B, H, W, C], vector [B, V] -> [B, H, W, C]."""
        return in_strips(partial(self._strip, features, vector), features.shape[1], strip_rows(features))

    def _strip(self, features: Tensor, vector: Tensor, top: int, bottom: int) -> Tensor:
        """Return the rows from `top` to `bottom`, which are computed from one more row a side."""
        above = max(top - 1, 0)
        fused = self.fusion(features[:, above : bottom + 1], vector)
        one, two = convolve(self.depthwise, self.expand(fused))[:, top - above : bottom - above].chunk(2, dim=-1)
        del fused  # as large as the features
        features = add_scaled(features[:, top:bottom], self.project, one * two, self.mix_residual)
        normalized = F.layer_norm(features, (self.width,), self.norm.weight, self.norm.bias)
        one, two = self.widen(normalized).chunk(2, dim=-1)
        return add_scaled(features, self.narrow, one * two, self.gate_residual)


class Down(nn.Module):
    """Halve the size: 2x2 pixels become channels, then a linear map; each result depends on its own 2x2 pixels only."""

    def __init__(self, width: int, wider: int) -> None:
        super().__init__()
        self.project = nn.Linear(4 * width, wider)

    def forward(self, features: Tensor) -> Tensor:
        """[B, H, W, C] -> [B, H/2, W/2, wider]."""

        def strip(top: int, bottom: int) -> Tensor:
            projected: Tensor = self.project(fold_pixels(features[:, 2 * top : 2 * bottom]))
            return projected

        return in_strips(strip, features.shape[1] // 2, strip_rows(features, multiple=2) // 2)


class Up(nn.Module):
    """Double the size: a linear map, then channels become 2x2 pixels; each pixel changes its own 2x2 pixels only."""

    def __init__(self, width: int, narrower: int) -> None:
        super().__init__()
        self.project = nn.Linear(width, 4 * narrower)

    def forward(self, features: Tensor) -> Tensor:
        """[B, H, W, C] -> [B, 2H, 2W, narrower]."""

        def strip(top: int, bottom: int) -> Tensor:
            return unfold_pixels(self.project(features[:, top // 2 : bottom // 2]))

        return in_strips(strip, 2 * features.shape[1], 2 * strip_rows(features))


def fold_pixels(features: Tensor) -> Tensor:
    """Move 2x2 pixels to channels, [B, H, W, C] -> [B, H/2, W/2, 4C]: the pixel unshuffle of this layout."""
    batch, height, width, channels = features.shape
    folded = features.reshape(batch, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 2, 4, 5)
    return folded.reshape(batch, height // 2, width // 2, 4 * channels)


def unfold_pixels(features: Tensor) -> Tensor:
    """Move channels to 2x2 pixels, [B, H, W, 4C] -> [B, 2H, 2W, C]: the inverse of `fold_pixels`."""
    batch, height, width, channels = features.shape
    unfolded = features.reshape(batch, height, width, 2, 2, channels // 4).permute(0, 1, 3, 2, 4, 5)
    return unfolded.reshape(batch, 2 * height, 2 * width, channels // 4)

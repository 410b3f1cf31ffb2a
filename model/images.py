"""The tensor convention of the package: images are [B, C, H, W], floating point, in 0..1, on any device.

C is 1 (grey), 3 (RGB) or 4 (RGB and alpha).
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import RestorationError

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness of an image (ITU-R BT.601), that of a JPEG (JFIF) among others."""

MIN_SIDE = 16
"""Images have at least this many pixels a side."""

PSNR_CAP = 100.0
"""PSNR in dB of identical images, and the most that any two images get: a mean has to stay finite."""


_PIECE = 2**22
"""Values that are compared at once."""


class HasPixels(Protocol):
    """Anything that carries an image as a tensor, such as an image file that was read."""

    @property
    def pixels(self) -> Tensor:
        """The image, [B, C, H, W] in 0..1."""
        ...


def pixels_of(image: Tensor | HasPixels) -> Tensor:
    """Return the tensor [B, C, H, W] of an image, whatever carries it."""
    return image if isinstance(image, Tensor) else image.pixels


def rgb_of(image: Tensor) -> Tensor:
    """Return the colors of images as [B, 3, H, W] float32 in 0..1: grey three times, alpha dropped, values clamped.

    Args:
        image: [B, C, H, W], C being 1, 3 or 4.
    """
    colors = image[:, :3].float().clamp(0, 1)
    return colors.expand(-1, 3, -1, -1) if colors.shape[1] == 1 else colors


def middle(image: Tensor, side: int, multiple: int = 1) -> Tensor:
    """Return the part of images [..., H, W] around the middle that has at most `side` px a side.

    It starts at a multiple of `multiple` px.
    """
    height, width = image.shape[-2:]
    top, left = (max(length - side, 0) // 2 // multiple * multiple for length in (height, width))
    return image[..., top : top + side, left : left + side]


def is_hidden(image: Tensor) -> Tensor | None:
    """Return where images [B, C, H, W] are fully transparent, [B, 1, H, W], or None where they are nowhere."""
    if image.shape[1] != 4:
        return None
    hidden = image[:, 3:] <= 0
    return hidden if bool(hidden.any()) else None


def fill_hidden(image: Tensor) -> Tensor:
    """Return images whose hidden colors are those of the visible pixels around them.

    A network that looks at the edge of a visible area would otherwise mix in whatever a file holds where nobody sees
    it, often black. Averages over ever larger blocks of visible pixels are spread back, from the largest on.

    Args:
        image: [B, C, H, W] in 0..1; only those with an alpha channel that is 0 somewhere are changed.
    """
    hidden = is_hidden(image)
    if hidden is None:
        return image
    weight = (~hidden).float()
    levels = [(torch.where(hidden, 0.0, image[:, :3].float()), weight)]
    while max(levels[-1][1].shape[2:]) > 1:
        sums, weight = (F.avg_pool2d(each, 2, ceil_mode=True, count_include_pad=False) for each in levels[-1])
        levels.append((sums, weight))
    colors = levels[-1][0] / levels[-1][1].clamp(min=1e-12)
    for sums, weight in reversed(levels[:-1]):
        wider = F.interpolate(colors, scale_factor=2, mode="nearest")[..., : sums.shape[2], : sums.shape[3]]
        colors = torch.where(weight > 0, sums / weight.clamp(min=1e-12), wider)
    colors = torch.where(hidden, colors.to(image.dtype), image[:, :3])
    return torch.cat([colors, image[:, 3:]], dim=1)


def is_finite(*tensors: Tensor) -> bool:
    """Return whether no value of the tensors is NaN or infinite."""
    # a finite sum is the quick answer, and the usual one; one that is not may have overflowed
    return all(
        bool(tensor.sum(dtype=torch.float32).isfinite()) or bool(torch.isfinite(tensor).all()) for tensor in tensors
    )


def check_image(image: Tensor) -> None:
    """Check shape, type and values of images.

    Raises:
        RestorationError: As `check_form`, or smaller than `MIN_SIDE` px a side, or with values that are not finite.
    """
    check_form(image)
    height, width = image.shape[2:]
    if min(height, width) < MIN_SIDE:
        raise RestorationError(
            f"The image is {width} x {height} px: it must be at least {MIN_SIDE} px a side, enlarge it first."
        )
    check_finite(image)


def check_form(image: Tensor) -> None:
    """Check dimensions, type and channels of images.

    Raises:
        RestorationError: Not [B, C, H, W] with C of 1, 3 or 4, or not floating point.
    """
    if image.ndim != 4:
        raise RestorationError(
            f"The image has {image.ndim} dimensions: give images [batch, channels, height, width] with 1, 3 or 4 "
            "channels."
        )
    if not image.is_floating_point():
        kind = str(image.dtype).removeprefix("torch.")
        raise RestorationError(f"The image holds numbers of type {kind}: give floating-point numbers in 0..1.")
    check_channels(image)


def check_channels(image: Tensor) -> None:
    """Check the number of channels of images [B, C, H, W].

    Raises:
        RestorationError: Not 1, 3 or 4 channels.
    """
    if image.shape[1] not in (1, 3, 4):
        raise RestorationError(
            f"The image has {counted(image.shape[1], 'channel')}: give images with 1, 3 or 4 channels (grey, RGB, or "
            "RGB with alpha)."
        )


def check_finite(image: Tensor) -> None:
    """Check that the colors of images [B, C, H, W] are numbers.

    Raises:
        RestorationError: They are not; the message names the image.
    """
    for index, frame in enumerate(image):
        if not is_finite(frame[:3]):
            raise RestorationError(
                f"Image {index} of the batch holds values that are not finite (NaN or infinity): "
                "check the node that made it."
            )


def psnr(image: Tensor, reference: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB, over all pixels and channels of images in 0..1.

    Args:
        image: Of any shape; values outside 0..1 are clamped.
        reference: Of the same shape.

    Returns:
        At most `PSNR_CAP`, which identical images get.
    """
    total = 0.0
    pairs = zip(image.reshape(-1).split(_PIECE), reference.reshape(-1).split(_PIECE), strict=True)
    for some, others in pairs:  # piece by piece: a large photograph in float64 takes a gigabyte
        some, others = some.cpu().double(), others.cpu().double()  # some devices have no float64
        total += float(((some.clamp(0, 1) - others) ** 2).sum())
    return PSNR_CAP if total == 0 else min(PSNR_CAP, -10.0 * math.log10(total / image.numel()))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 image, 2 images."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def ceil_div(value: int, divisor: int) -> int:
    """Return the quotient of two positive integers, rounded up."""
    return -(-value // divisor)


def round_up(value: int, multiple: int) -> int:
    """Return the smallest multiple that is not below `value`."""
    return ceil_div(value, multiple) * multiple


def fft_size(minimum: int) -> int:
    """Return the next size without prime factors above 5, for which the transform is fast."""
    size = minimum
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1

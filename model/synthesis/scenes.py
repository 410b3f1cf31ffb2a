"""The light map and the depth map of a photograph, made cheaply for low light and haze.

The light map is estimated as in LIME: the brightest channel, smoothed within surfaces and sharp at their borders. The
depth map is invented: a ground plane, upright layers and smooth noise, loosely aligned with the edges of the image.
Both are computed at low resolution. All of it is our design; CDD-11 took both maps from trained estimators.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

LIGHT_FLOOR = 0.17
"""Lower limit of the light map, the same as that of the light map that CDD-11 published for one scene."""

LIGHT_SIDE = 128
"""Largest side in px at which light maps are smoothed."""

DEPTH_SIDE = 96
"""Largest side of depth maps in px."""


def resize(plane: np.ndarray, height: int, width: int, *, smooth: bool = False) -> np.ndarray:
    """Resize a float plane [H, W]: area average if no side grows, else bilinear, or bicubic if `smooth`."""
    if plane.shape == (height, width):
        return plane
    shrinking = height <= plane.shape[0] and width <= plane.shape[1]
    method = Image.Resampling.BOX if shrinking else Image.Resampling.BICUBIC if smooth else Image.Resampling.BILINEAR
    image = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(image.resize((width, height), method))


def shrink(plane: np.ndarray, longest: int) -> np.ndarray:
    """Shrink a plane [H, W] so that its longest side is at most `longest` px."""
    height, width = plane.shape
    scale = min(1.0, longest / max(height, width))
    return resize(plane, max(2, round(height * scale)), max(2, round(width * scale)))


def box_mean(plane: np.ndarray, radius: int) -> np.ndarray:
    """Return the mean over a square of 2 radius + 1 px around each pixel of a plane [H, W], cut off at its edges."""
    for axis in (0, 1):
        size = plane.shape[axis]
        index = np.arange(size)
        first, last = np.maximum(index - radius, 0), np.minimum(index + radius + 1, size)
        total = np.cumsum(plane, axis=axis, dtype=np.float64)
        total = np.concatenate((np.zeros_like(total[:1] if axis == 0 else total[:, :1]), total), axis=axis)
        counts = (last - first)[:, None] if axis == 0 else last - first
        plane = (np.take(total, last, axis=axis) - np.take(total, first, axis=axis)) / counts
    return plane.astype(np.float32)


def guided_filter(guide: np.ndarray, plane: np.ndarray, radius: int, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the coefficients of the guided filter (He et al., 2010).

    They are separate so that they can be enlarged and applied to a guide of full size (fast guided filter, 2015).

    Args:
        guide: [H, W], whose edges are kept.
        plane: [H, W], which is filtered.
        radius: Of the averages in px.
        epsilon: Variance of the guide below which the plane is smoothed.

    Returns:
        Gain and offset, [H, W] each; the filtered plane is gain * guide + offset.
    """
    mean_guide, mean_plane = box_mean(guide, radius), box_mean(plane, radius)
    covariance = box_mean(guide * plane, radius) - mean_guide * mean_plane
    variance = box_mean(guide * guide, radius) - mean_guide * mean_guide
    gain = covariance / (variance + epsilon)
    return box_mean(gain, radius), box_mean(mean_plane - gain * mean_guide, radius)


def light_map(image: np.ndarray) -> np.ndarray:
    """Estimate the illumination of an image [3, H, W] in 0..1: [H, W] in `LIGHT_FLOOR`..1, smooth within surfaces."""
    brightest = np.maximum(np.maximum(image[0], image[1]), image[2])
    small = shrink(brightest, LIGHT_SIDE)
    smooth = small
    for epsilon in (0.03, 0.01):  # twice, since the first pass leaves some of the texture of foliage
        gain, offset = guided_filter(smooth, smooth, radius=4, epsilon=epsilon)
        smooth = gain * smooth + offset
    gain, offset = guided_filter(small, smooth, radius=3, epsilon=0.01)
    light: np.ndarray = resize(gain, *brightest.shape) * brightest
    light += resize(offset, *brightest.shape)
    np.clip(light, LIGHT_FLOOR, 1.0, out=light)
    return light


def smooth_noise(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Draw smooth random values [height, width] with mean 0 and a standard deviation of about 0.8."""
    cells = int(rng.integers(2, 6))
    return resize(rng.standard_normal((cells + 1, cells + 2), dtype=np.float32), height, width, smooth=True)


def depth_map(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a depth map for an image.

    A ground plane rises from the near bottom to a horizon, with upright layers on it. Smooth noise is added, and the
    brightness of the image, since distant objects and skies tend to be bright; a guided filter aligns the result with
    the image.

    Args:
        image: [3, H, W] in 0..1.
        rng: Source of randomness.

    Returns:
        [h, w] float32 in 0 (near)..1 (far), at most `DEPTH_SIDE` px a side.
    """
    luma = shrink(image.mean(axis=0, dtype=np.float32), DEPTH_SIDE)
    height, width = luma.shape
    down = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None]
    horizon = rng.uniform(0.0, 0.75) + rng.normal(0.0, 0.15) * across
    below = np.clip((down - horizon) / (1.02 - horizon), 0.0, 1.0)
    depth = 1.0 - below ** rng.uniform(0.4, 1.2)

    for foot in np.sort(rng.uniform(0.15, 1.1, size=int(rng.integers(0, 5)))):  # from far to near
        middle, half = rng.uniform(-0.6, 0.6), rng.uniform(0.04, 0.35)
        top = foot - rng.uniform(0.15, 0.9)
        wobble = 0.25 * half * np.sin(down * rng.uniform(5.0, 25.0) + rng.uniform(0.0, 6.3))
        inside = (np.abs(across - middle) < half + wobble) & (down > top) & (down < foot)
        at_foot = 1.0 - np.clip((foot - 0.3) / 0.7, 0.0, 1.0)
        depth = np.where(inside, np.minimum(depth, at_foot), depth)

    depth = depth + rng.uniform(0.05, 0.3) * smooth_noise(height, width, rng)
    depth = depth + rng.uniform(-0.2, 0.7) * (luma - luma.mean())
    gain, offset = guided_filter(luma, depth, radius=int(rng.integers(2, 6)), epsilon=0.003)
    depth = gain * luma + offset

    near, far = np.percentile(depth, (5.0, 95.0))
    low, high = rng.uniform(0.02, 0.35), rng.uniform(0.4, 0.8)
    depth = low + (high - low) * (depth - near) / max(far - near, 1e-4)
    return np.asarray(np.clip(depth, 0.0, 1.0), dtype=np.float32)

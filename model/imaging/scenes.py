"""What a photograph does not tell by itself: a light map and a depth map, made cheaply for the degradations.

The light map is an estimate in the manner of LIME: the brightest channel, smoothed inside surfaces and sharp at their
borders. The depth map is invented: a ground plane, layers, and smooth noise, loosely tied to the picture's own edges.
Both are computed at low resolution. All of it is our design; CDD-11 took both maps from trained estimators.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

LIGHT_FLOOR = 0.17
"""The darkest illumination that the estimate allows; the published light map of one scene has the same floor."""
LIGHT_SIDE = 128
DEPTH_SIDE = 96


def resize(plane: np.ndarray, height: int, width: int, *, smooth: bool = False) -> np.ndarray:
    """A [H, W] float plane at another size: area average when shrinking, (bi)linear or bicubic when growing."""
    if plane.shape == (height, width):
        return plane
    shrinking = height <= plane.shape[0] and width <= plane.shape[1]
    method = Image.Resampling.BOX if shrinking else Image.Resampling.BICUBIC if smooth else Image.Resampling.BILINEAR
    picture = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(picture.resize((width, height), method))


def shrink(plane: np.ndarray, longest: int) -> np.ndarray:
    """A [H, W] plane with its longest side at most `longest` px."""
    height, width = plane.shape
    scale = min(1.0, longest / max(height, width))
    return resize(plane, max(2, round(height * scale)), max(2, round(width * scale)))


def box_mean(plane: np.ndarray, radius: int) -> np.ndarray:
    """The mean over a (2 radius + 1) square around each pixel of a [H, W] plane, cut off at the picture's edge."""
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
    """The guided filter's coefficients (He et al., 2010): the result is `gain * guide + offset`.

    They are returned apart so that a caller may enlarge them and use a full-size guide (fast guided filter, 2015).
    """
    mean_guide, mean_plane = box_mean(guide, radius), box_mean(plane, radius)
    covariance = box_mean(guide * plane, radius) - mean_guide * mean_plane
    variance = box_mean(guide * guide, radius) - mean_guide * mean_guide
    gain = covariance / (variance + epsilon)
    return box_mean(gain, radius), box_mean(mean_plane - gain * mean_guide, radius)


def light_map(picture: np.ndarray) -> np.ndarray:
    """The illumination of a [3, H, W] picture in 0..1: [H, W] in `LIGHT_FLOOR`..1, smooth inside surfaces."""
    brightest = np.maximum(np.maximum(picture[0], picture[1]), picture[2])
    small = shrink(brightest, LIGHT_SIDE)
    smooth = small
    for epsilon in (0.03, 0.01):  # twice: the first pass leaves some of a tree's texture
        gain, offset = guided_filter(smooth, smooth, radius=4, epsilon=epsilon)
        smooth = gain * smooth + offset
    gain, offset = guided_filter(small, smooth, radius=3, epsilon=0.01)
    light = resize(gain, *brightest.shape) * brightest
    light += resize(offset, *brightest.shape)
    return np.clip(light, LIGHT_FLOOR, 1.0, out=light)


def smooth_noise(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """[height, width] smooth random relief with mean 0 and a spread of about 1."""
    cells = int(rng.integers(2, 6))
    return resize(rng.standard_normal((cells + 1, cells + 2), dtype=np.float32), height, width, smooth=True)


def depth_map(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An invented depth map for a [3, H, W] picture: [h, w] in 0 (near)..1 (far), at most `DEPTH_SIDE` px a side.

    A plane rises from the near bottom to a horizon; upright layers stand on it; smooth noise, the picture's own
    brightness (far things and skies tend to be bright) and a guided filter tie it to the picture.
    """
    luma = shrink(picture.mean(axis=0, dtype=np.float32), DEPTH_SIDE)
    height, width = luma.shape
    down = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None]
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None]
    horizon = rng.uniform(0.0, 0.75) + rng.normal(0.0, 0.15) * across
    below = np.clip((down - horizon) / (1.02 - horizon), 0.0, 1.0)
    depth = 1.0 - below ** rng.uniform(0.4, 1.2)

    for foot in np.sort(rng.uniform(0.15, 1.1, size=int(rng.integers(0, 5)))):  # far ones first: near ones hide them
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
    return np.clip(depth, 0.0, 1.0).astype(np.float32)

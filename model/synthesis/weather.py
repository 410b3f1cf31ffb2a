"""Layers of rain and snow, drawn at random; layers of rain may also be cut from given ones. All of it is our design.

A severity in 0..1 sets the root mean square of a layer, which determines its visibility: `RAIN_RMS` or `SNOW_RMS` at
severity 1. Rain gets brighter with it; snow gets more flakes, since they stay opaque.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from .scenes import resize, smooth_noise

RAIN_RMS = 0.2
"""Root mean square of the rain layer's intensity at severity 1."""

SNOW_RMS = 0.4
"""Root mean square of the snow layer's alpha at severity 1."""

MAX_SAMPLES = 4_000_000
"""Number of samples of flakes to compute at once, which limits the memory for large images."""


def rms(plane: np.ndarray) -> float:
    """Return the root mean square of an array."""
    flat = plane.reshape(-1)
    return float(np.sqrt(np.dot(flat, flat) / flat.size))


def _cut(layers: Sequence[np.ndarray], height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Cut a random crop from one of the layers, mirror it or not, and resize it to [height, width]."""
    layer = layers[int(rng.integers(len(layers)))]
    tall, wide = layer.shape
    scale = min(tall / height, wide / width)  # source px per image px of the largest crop
    scale = min(scale, rng.uniform(0.6, 1.3))
    tall_cut, wide_cut = max(1, int(height * scale)), max(1, int(width * scale))
    top, left = int(rng.integers(tall - tall_cut + 1)), int(rng.integers(wide - wide_cut + 1))
    crop = layer[top : top + tall_cut, left : left + wide_cut]
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    return np.array(resize(crop, height, width), dtype=np.float32)


def _streaks(
    height: int, width: int, rng: np.random.Generator, *, slope: float, length: float, thickness: float, density: float
) -> np.ndarray:
    """Draw streaks of one depth, [height, width] of arbitrary brightness.

    Drops are scattered over an upright canvas and extended downwards by running sums. Then the canvas is sheared by
    `slope` (px across per px down) and stretched across to the thickness. `density` is in drops per image px.
    """
    shift = slope * height
    columns = int((width + abs(shift)) / thickness) + 3
    tail = max(2, round(length))
    taper = max(1, tail // 3)
    rows = height + tail + taper
    drops = max(8, int(density * height * width))
    place = rng.integers(0, rows * columns, size=drops)
    bright = rng.random(drops, dtype=np.float32)
    canvas = np.bincount(place, weights=0.2 + bright * bright, minlength=rows * columns)
    canvas = np.cumsum(canvas.astype(np.float32).reshape(rows, columns), axis=0)
    canvas = canvas[tail:] - canvas[:-tail]
    if taper > 1:  # a second running mean makes the ends fade
        canvas = np.cumsum(canvas, axis=0)
        canvas = canvas[taper:] - canvas[:-taper]
    start = 1.0 + max(shift, 0.0) / thickness
    shear = (1.0 / thickness, -slope / thickness, start, 0.0, 1.0, 0.0)
    sheared = Image.fromarray(canvas).transform(
        (width, height), Image.Transform.AFFINE, shear, resample=Image.Resampling.BILINEAR
    )
    return np.array(sheared)


def _draw_rain(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Draw rain, [height, width] of arbitrary brightness: a dense fine curtain or single streaks, at 1 to 3 depths."""
    slope = float(np.tan(np.radians(np.clip(rng.normal(0.0, 14.0), -45.0, 45.0))))
    size = (min(height, width) / 400.0) ** 0.5
    curtain = rng.random() < 0.5
    total = np.zeros((height, width), dtype=np.float32)
    for depth in range(int(rng.integers(1, 4))):
        near = 1.0 + 0.7 * depth
        if curtain:
            length, density = rng.uniform(18.0, 60.0) * size, rng.uniform(0.01, 0.05) / near
            thickness = rng.uniform(0.8, 1.4) * near**0.5
        else:
            length, density = rng.uniform(8.0, 26.0) * near * size, rng.uniform(0.0015, 0.006) / near**2
            thickness = rng.uniform(1.0, 1.9) * near**0.5
        lean = slope + rng.normal(0.0, 0.02)
        layer = _streaks(height, width, rng, slope=lean, length=length, thickness=max(thickness, 0.8), density=density)
        layer *= rng.uniform(0.5, 1.0) / max(rms(layer), 1e-6)
        total += layer
    return total


def _draw_soft_rain(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Draw soft streaks, [height, width] of arbitrary brightness, as Rain1400 makes them with a motion blur.

    They range from single broad streaks to dense rain that veils the image. In six of twenty images of Rain1400 the
    variation within about 40 px is less than a fifth of the layer's root mean square, and dense and thin areas differ
    by at least half of its mean; in five of these six the rain is a fine grain whose density rises steadily from almost
    nothing at one side of the image to the other.
    """
    slope = float(np.tan(np.radians(np.clip(rng.normal(0.0, 20.0), -50.0, 50.0))))
    size = (min(height, width) / 400.0) ** 0.5
    total = np.zeros((height, width), dtype=np.float32)
    dense = rng.random() < 0.4  # so many fine long streaks that they look like grain
    sparsest, densest, longest, thickest = (0.05, 0.5, 150.0, 1.8) if dense else (0.0008, 0.08, 80.0, 5.0)
    for _ in range(int(rng.integers(1, 4))):
        density = float(np.exp(rng.uniform(np.log(sparsest), np.log(densest))))
        length = float(np.exp(rng.uniform(np.log(7.0), np.log(longest)))) * size
        thickness = min(float(np.exp(rng.uniform(np.log(0.9), np.log(thickest)))), length / 4.0)
        layer = _streaks(height, width, rng, slope=slope, length=length, thickness=thickness, density=density)
        total += layer * (rng.uniform(0.5, 1.0) / max(rms(layer), 1e-6))
    if rng.random() < 0.5:  # drops too far away to be seen as separate ones
        veil = np.clip(1.0 + 0.3 * smooth_noise(height, width, rng), 0.0, 2.0)
        total += veil * (float(np.exp(rng.uniform(np.log(0.2), np.log(6.0)))) * float(total.mean()))
    unevenness = rng.random()
    if unevenness < 0.4:  # rain in gusts is denser in some parts of the image
        total *= np.clip(0.8 + rng.uniform(0.2, 0.8) * smooth_noise(height, width, rng), 0.0, 2.0)
    elif unevenness < 0.8:
        total *= _ramp(height, width, rng)
    return total


def _ramp(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a ramp [height, width] from one side of the image, usually the left or the right one, to the other."""
    angle = rng.normal(0.0, 0.5) + (np.pi if rng.random() < 0.5 else 0.0)
    down = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None]
    rise = 0.5 + rng.uniform(-0.2, 0.2) + rng.uniform(0.5, 1.5) * (across * np.cos(angle) + down * np.sin(angle))
    return np.asarray(np.clip(rise + 0.08 * smooth_noise(height, width, rng), 0.02, None), dtype=np.float32)


def rain_layer(
    height: int,
    width: int,
    severity: float,
    rng: np.random.Generator,
    layers: Sequence[np.ndarray] = (),
    *,
    soft: bool = False,
) -> np.ndarray:
    """Draw a layer of rain to add to an image.

    Args:
        height: Of the image in px.
        width: Of the image in px.
        severity: In 0..1; the layer's root mean square is about `severity * RAIN_RMS`.
        rng: Source of randomness.
        layers: Rain layers, [h, w] floats in 0..1; with a probability of 0.5 the layer is cut from one of them.
        soft: Draw soft streaks with a veil, and cut none from `layers`.

    Returns:
        [height, width] float32 in 0..1.
    """
    if soft:
        layer = _draw_soft_rain(height, width, rng)
    elif len(layers) > 0 and rng.random() < 0.5:
        layer = _cut(layers, height, width, rng)
    else:
        layer = _draw_rain(height, width, rng)
    target = severity * RAIN_RMS
    for _ in range(2):  # twice, since clipping lowers the root mean square
        layer *= target / max(rms(layer), 1e-6)
        np.clip(layer, 0.0, 1.0, out=layer)
    return layer


def _flakes(
    alpha: np.ndarray, rng: np.random.Generator, *, radius: float, energy: float, drift: tuple[float, float]
) -> None:
    """Add soft flakes of about `radius` px to `alpha` [H, W] until their squared alphas sum to about `energy`.

    Each flake is an ellipse elongated along `drift` (unit vector times elongation), with its own size, softness and
    opacity, at a subpixel position.
    """
    height, width = alpha.shape
    max_count = int(np.ceil(4.0 * energy / (radius * radius))) + 1
    radii = radius * rng.uniform(0.6, 1.4, size=max_count).astype(np.float32)
    opacity = rng.uniform(0.45, 1.0, size=max_count).astype(np.float32)
    stretch = float(np.hypot(*drift))
    cost = np.cumsum(2.2 * radii**2 * stretch * opacity**2)
    count = min(int(np.searchsorted(cost, energy)) + 1, max_count)
    radii, opacity = radii[:count], opacity[:count]

    top, left = rng.integers(0, height, size=count), rng.integers(0, width, size=count)
    part = rng.random((2, count), dtype=np.float32) - 0.5
    softness = rng.uniform(0.25, 0.9, size=count).astype(np.float32) * radii + 0.4

    reach = int(np.ceil(1.4 * radius * stretch)) + 1
    offsets = np.arange(-reach, reach + 1)
    down, right = drift[0] / stretch, drift[1] / stretch
    step = max(1, MAX_SAMPLES // offsets.size**2)
    for first in range(0, count, step):
        some = slice(first, first + step)
        y = (offsets - part[0, some, None]).astype(np.float32)[:, :, None]
        x = (offsets - part[1, some, None]).astype(np.float32)[:, None, :]
        along, aside = (y * down + x * right) / stretch, x * down - y * right
        distance = np.sqrt(along * along + aside * aside)
        flake = np.clip((radii[some, None, None] - distance) / softness[some, None, None] + 0.5, 0.0, 1.0)
        flake *= opacity[some, None, None]
        rows = (top[some, None] + offsets)[:, :, None]
        columns = (left[some, None] + offsets)[:, None, :]
        inside = (flake > 0.0) & (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        place = (rows * width + columns)[inside]
        alpha += np.bincount(place, weights=flake[inside], minlength=height * width).reshape(height, width)


def _draw_snow(height: int, width: int, severity: float, rng: np.random.Generator, blown: bool) -> np.ndarray:
    """Draw the alpha of snow [height, width]: many small flakes, fewer medium ones, and some large ones."""
    size = (min(height, width) / 400.0) ** 0.5 * rng.uniform(0.8, 1.4)
    angle, stretch = rng.normal(0.0, 0.5), rng.uniform(1.0, 2.5)
    if blown:
        angle, stretch = rng.uniform(-np.pi / 2, np.pi / 2), rng.uniform(1.0, 4.0)
    drift = (float(np.cos(angle) * stretch), float(np.sin(angle) * stretch))
    energy = (severity * SNOW_RMS) ** 2 * height * width
    share = rng.dirichlet((4.0, 3.0, 1.0))
    alpha = np.zeros((height, width), dtype=np.float32)
    for part, radius in zip(share, (1.0, 2.2, 6.0), strict=True):
        radius = radius * size * rng.uniform(0.8, 1.3)
        if part * energy < radius * radius:
            continue
        _flakes(alpha, rng, radius=max(radius, 0.6), energy=part * energy, drift=drift)
    return alpha


def snow_layer(
    height: int, width: int, severity: float, rng: np.random.Generator, *, blown: bool = False
) -> np.ndarray:
    """Draw the alpha of a layer of opaque flakes.

    Args:
        height: Of the image in px.
        width: Of the image in px.
        severity: In 0..1; the layer's root mean square is about `severity * SNOW_RMS`.
        rng: Source of randomness.
        blown: Draw flakes that the wind drives: in any direction, and usually longer.

    Returns:
        [height, width] float32 in 0..1.
    """
    alpha = _draw_snow(height, width, severity, rng, blown)
    np.minimum(alpha, 1.0, out=alpha)
    alpha *= min(max(severity * SNOW_RMS / max(rms(alpha), 1e-6), 0.7), 1.6)
    return np.clip(alpha, 0.0, 1.0, out=alpha)

"""The images from which the network of a second look learns: photographs that are degraded at random."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...model.synthesis.degrade import Degraded, synthesize
from ...model.synthesis.severities import COMBINATIONS, Severities, sample_combination
from ..data.mix import HEAVIEST_SNOW, HEAVIEST_SOFT_RAIN, Mix
from .examples import cut_out, shrunk

FAULTS_UNTIL, DARK_UNTIL, DARK_COMPOSITES_UNTIL = 0.30, 0.47, 0.65
"""Up to these values of a random number in 0..1 an image has faults of a camera alone, low light alone, or low light
with others; above the last one weather with such faults. Low light brings noise of its own."""

WEATHER = {"haze": 0.3, "rain": 0.25, "snow": 0.2, "haze_rain": 0.15, "haze_snow": 0.1}
"""Combinations of weather and their shares."""

NOISE_SHARE = 0.65
"""Of the images with a fault of a camera, those with noise; the others have JPEG."""

PLAIN_SHARE, PLAIN_NOISE = 0.5, (4.0, 30.0)
"""Of the images with noise, those with white Gaussian noise, and its sigmas, of 255; `[mix]` draws the others."""

ALONE = {"low": 0.22, "soft_rain": 0.18, "rain": 0.12, "haze": 0.14, "snow": 0.1, "blown_snow": 0.06, "composite": 0.18}
"""What is drawn without a fault of a camera, and its share."""

LEAST_NOISE = 0.006
"""Maximum noise, as a sigma in 0..1, of dark images without a fault."""

SAVED_SHARE, SAVED_QUALITY = 0.3, (75, 98)
"""Of the images without a fault, those that are saved as a JPEG that hides nothing, and its qualities."""

JPEG_QUALITY = (8, 76)
"""Qualities of JPEG, the upper one excluded."""

SAVED_DARK_QUALITY = (20, 99)
"""Those of dark images with noise of their own that are saved as a JPEG, the upper one excluded."""

SAVED_DARK, CROPPED = 3, 4
"""Of the images of a photograph with faults of a camera, the one that is dark and saved as a JPEG, and the one that
shows a part of it, with a fault and nothing else."""

FIRST_PART = 3
"""Of the images without such faults, the first that shows a part of the photograph, since ribs of a leaf, a wall or a
sky alone look like rain or haze. Every other one of these is as it is."""

PART = (0.4, 0.8)
"""Sides of a part, as shares of those of the photograph."""

DARK_COMPOSITES = [name for name in COMBINATIONS if name.startswith("low_")]
"""The combinations of low light with others."""

WIDE_SHARE = 0.4
"""Of the combinations of CDD-11, those in wider ranges than the published ones."""


def draw_alone(photo: np.ndarray, side: int, rng: np.random.Generator, index: int) -> Degraded:
    """Degrade a photograph [H, W, 3] by low light or weather alone: image `index` of its images, the first by nothing.

    Args:
        photo: In 0..1.
        side: Longest side in px of the image.
        rng: Source of randomness.
        index: Its number; from `FIRST_PART` on it shows a part of the photograph.
    """
    is_part = index >= FIRST_PART
    untouched = (index - FIRST_PART) % 2 == 0 if is_part else index == 0
    clean = shrunk(part_of(photo, rng) if is_part else photo, side)
    return synthesize(clean, Severities() if untouched else draw_weather_alone(rng), rng)


def part_of(
    photo: np.ndarray, rng: np.random.Generator, shares: tuple[float, float] = PART, least: int = 1
) -> np.ndarray:
    """Return a random part of a photograph [H, W, 3].

    Args:
        photo: The photograph.
        rng: Source of randomness.
        shares: Sides of the part, as shares of those of the photograph.
        least: Its smallest side in px, where the photograph has as many.
    """
    height, width = (min(length, max(least, round(length * rng.uniform(*shares)))) for length in photo.shape[:2])
    return cut_out(photo, height, width, rng)


def draw_weather_alone(rng: np.random.Generator) -> Severities:
    """Draw low light or weather without a fault of a camera."""
    kind = str(rng.choice(list(ALONE), p=list(ALONE.values())))
    if kind == "soft_rain":
        severities = Severities(rain=rng.uniform(0.1, HEAVIEST_SOFT_RAIN), soft_rain=True)
    elif kind == "blown_snow":
        severities = Severities(snow=rng.uniform(0.2, HEAVIEST_SNOW), blown_snow=True)
    else:
        several = [name for name in COMBINATIONS if "_" in name]
        name = str(rng.choice(several)) if kind == "composite" else kind
        severities = sample_combination(name, rng, wide=rng.random() < WIDE_SHARE)
    if severities.low_light_noise:
        severities = replace(severities, low_light_noise=rng.uniform(0.0, LEAST_NOISE))
    if rng.random() < SAVED_SHARE:
        severities = replace(severities, jpeg_quality=int(rng.integers(*SAVED_QUALITY)))
    return severities


def draw_image(photo: np.ndarray, side: int, mix: Mix, rng: np.random.Generator, index: int) -> Degraded:
    """Degrade a photograph [H, W, 3] in 0..1, shrunk to a longest side in px: image `index` of its images."""
    clean = shrunk(part_of(photo, rng) if index == CROPPED else photo, side)
    severities = _draw(mix, rng)
    if index in (0, CROPPED):
        severities = with_fault(Severities(), mix, rng)
    elif index == SAVED_DARK:
        severities = replace(_draw_dark(rng), jpeg_quality=int(rng.integers(*SAVED_DARK_QUALITY)))
    return synthesize(clean, severities, rng)


def _draw(mix: Mix, rng: np.random.Generator) -> Severities:
    kind, wide = rng.random(), rng.random() < WIDE_SHARE
    if kind < FAULTS_UNTIL:
        return with_fault(Severities(), mix, rng)
    if kind < DARK_UNTIL:
        return sample_combination("low", rng, wide=wide)
    if kind < DARK_COMPOSITES_UNTIL:
        return sample_combination(str(rng.choice(DARK_COMPOSITES)), rng, wide=wide)
    weather = str(rng.choice(list(WEATHER), p=list(WEATHER.values())))
    return with_fault(sample_combination(weather, rng, wide=wide), mix, rng)


def _draw_dark(rng: np.random.Generator) -> Severities:
    """Draw low light, in half of the images with others."""
    names = DARK_COMPOSITES if rng.random() < 0.5 else ["low"]
    return sample_combination(str(rng.choice(names)), rng, wide=rng.random() < WIDE_SHARE)


def with_fault(severities: Severities, mix: Mix, rng: np.random.Generator) -> Severities:
    """Add noise or JPEG."""
    if rng.random() >= NOISE_SHARE:
        return replace(severities, jpeg_quality=int(rng.integers(*JPEG_QUALITY)))
    noise = mix.draw_noise(rng)
    if rng.random() < PLAIN_SHARE:
        noise = Severities(noise_sigma=rng.uniform(*PLAIN_NOISE) / 255)
    return replace(
        severities,
        noise_sigma=noise.noise_sigma,
        sensor_gain=noise.sensor_gain,
        noise_grain=noise.noise_grain,
        noise_gray=noise.noise_gray,
        jpeg_quality=noise.jpeg_quality,
    )

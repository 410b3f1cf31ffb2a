"""The training mix: how often scenes get which degradations."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from ...model.errors import TrainingError
from ...model.synthesis.severities import (
    COMBINATIONS,
    HEAVIEST_NOISE,
    Severities,
    sample_camera_faults,
    sample_combination,
    sample_severities,
    with_blur,
    with_noise,
)

HEAVIEST_SOFT_RAIN = 1.3
"""Severity of the heaviest soft rain: the veil of Rain1400's heaviest is more than `RAIN_RMS`."""

HEAVIEST_SNOW = 1.1
"""Severity of the heaviest snow alone."""

LOW_NOISE = 0.02
"""Maximum noise, as a sigma in 0..1, of a dark scene of `low_noise_share`."""

STRONGEST_TINT = 0.12
"""Maximum tint of tinted haze, see `Severities.haze_tint`."""

WHITEST_AIRLIGHT = 1.0
"""Maximum airlight of tinted haze; the published airlight is grey and ends at 0.9."""

COARSEST_GRAIN = 1.3
"""Correlation of the coarsest noise, see `Severities.noise_grain`."""

CAMERA_NOISE, CAMERA_QUALITY = (3.0, 9.0), (86, 98)
"""Sigma, of 255, of the noise that a camera has smoothed, and the quality of its JPEG: that of PolyU and Nam's at high
ISO is 3 to 5, correlated by 0.5 to 0.7 between neighbors."""

SAVED_QUALITY = (60, 98)
"""Qualities of a JPEG that comes after everything else, as that of photographs does."""

SECOND_JPEG_QUALITY = 60
"""Lowest quality of a JPEG after another one."""

FAINT_NOISE = 25.0
"""Maximum sigma, of 255, of a scene of `faint_noise_share`."""


@dataclass(frozen=True)
class Mix:
    """The `[mix]` table of a run's TOML: shares of the scenes, 0..1.

    Attributes:
        low_light_share: Real pairs of under-exposed and well exposed photographs.
        real_share: Real pairs by degradation. All other shares are of the generated scenes.
        composite_share: A combination of CDD-11 and nothing else. The shares of one degradation are of the rest.
        noise_share: Noise and nothing else.
        faint_noise_share: Of the scenes with noise and nothing else, those whose noise is at most as strong as that of
            dark images: otherwise an MLLM takes every slightly noisy image that is not bright for a darkened one. A
            restorer, which is told, can do with fewer.
        rain_share: Soft rain and nothing else.
        snow_share: Snow, mostly in wind, and nothing else.
        blur_share: Blur and nothing else.
        jpeg_share: JPEG and nothing else.
        faults_share: Two or three of noise, blur and JPEG, and nothing else.
        clean_share: No degradation. What these shares leave is drawn by `sample_severities`.
        wide_share: Of the combinations of CDD-11, those in wider ranges than the published ones.
        low_noise_share: Of the dark scenes, those with almost no noise; otherwise noise would be taken for the sign of
            low light.
        tinted_share: Of the hazy scenes, those whose airlight has a tint and may be white.
        grain_share: Of the scenes with noise and nothing else, those whose noise is correlated between pixels and
            channels, as that of cameras and film is.
        camera_share: Of the scenes of `grain_share`, those whose noise is weak and went through a JPEG of good quality,
            as that which a camera has smoothed.
        saved_share: Of the scenes with other degradations and without JPEG, those that go through one.
        second_jpeg_share: Of the scenes with JPEG, those that were cropped after it, and may be coded again.
        blur_noise_share: Of the scenes with blur and nothing else, those with weak noise.
        tone_outlier_of: Where the tone is to stay, the photo is the one of so many whose tone is the most unusual:
            photos that are meant to be dark or pale are rare, and are otherwise taken for degraded ones.

    Raises:
        TrainingError: A value outside its range, or shares of one degradation that add up to more than 1.
    """

    low_light_share: float = 0.05
    real_share: float = 0.0
    composite_share: float = 0.0
    noise_share: float = 0.0
    faint_noise_share: float = 0.5
    rain_share: float = 0.0
    snow_share: float = 0.0
    blur_share: float = 0.0
    jpeg_share: float = 0.0
    faults_share: float = 0.0
    clean_share: float = 0.0
    wide_share: float = 0.5
    low_noise_share: float = 0.0
    tinted_share: float = 0.0
    grain_share: float = 0.0
    camera_share: float = 0.0
    saved_share: float = 0.0
    second_jpeg_share: float = 0.0
    blur_noise_share: float = 0.0
    tone_outlier_of: int = 1

    def __post_init__(self) -> None:
        """Check the values."""
        for name in (field.name for field in fields(self) if field.name.endswith("_share")):
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(f"{name} in [mix] must lie between 0 and 1, not {getattr(self, name)}.")
        if self.tone_outlier_of < 1:
            raise TrainingError(f"tone_outlier_of in [mix] must be at least 1, not {self.tone_outlier_of}.")
        if (total := sum(getattr(self, name) for name in _ALONE)) > 1:
            *names, last = _ALONE
            raise TrainingError(
                f"{', '.join(names)} and {last} in [mix] must not add up to more than 1, but give {total:g}."
            )

    def draw(self, rng: np.random.Generator) -> Severities:
        """Draw the severities of one generated scene."""
        severities = self._draw_kind(rng)
        if self.low_noise_share and severities.low_light_noise and rng.random() < self.low_noise_share:
            severities = replace(severities, low_light_noise=rng.uniform(0.0, LOW_NOISE))
        if self.tinted_share and severities.haze_beta and rng.random() < self.tinted_share:
            airlight = rng.uniform(severities.airlight, WHITEST_AIRLIGHT)
            severities = replace(severities, airlight=airlight, haze_tint=rng.uniform(-STRONGEST_TINT, STRONGEST_TINT))
        unsaved = severities.jpeg_quality == 100 and severities != Severities()
        if self.saved_share and unsaved and rng.random() < self.saved_share:
            severities = replace(severities, jpeg_quality=int(rng.integers(*SAVED_QUALITY)))
        if self.second_jpeg_share and severities.jpeg_quality < 100 and rng.random() < self.second_jpeg_share:
            again = 100 if rng.random() < 0.5 else int(rng.integers(SECOND_JPEG_QUALITY, 100))
            first, shift = severities.jpeg_quality, int(rng.integers(8))
            severities = replace(severities, jpeg_quality=again, first_jpeg_quality=first, jpeg_shift=shift)
        return severities

    def draw_noise(self, rng: np.random.Generator) -> Severities:
        """Draw the severities of a scene of `noise_share`."""
        noise = with_noise(Severities(), rng, FAINT_NOISE if rng.random() < self.faint_noise_share else HEAVIEST_NOISE)
        if self.grain_share and rng.random() < self.grain_share:
            grain, gray = rng.uniform(0.3, COARSEST_GRAIN), rng.uniform(0.0, 1.0) ** 2
            noise = replace(noise, noise_grain=grain, noise_gray=gray)
            if self.camera_share and rng.random() < self.camera_share:
                sigma, shot = rng.uniform(*CAMERA_NOISE) / 255.0, rng.uniform(0.0, 1.0)
                noise = replace(
                    noise,
                    noise_sigma=sigma * (1.0 - shot) ** 0.5,
                    sensor_gain=2.0 * shot * sigma**2,
                    jpeg_quality=int(rng.integers(*CAMERA_QUALITY)),
                )
        return noise

    def _draw_kind(self, rng: np.random.Generator) -> Severities:
        if self.composite_share and rng.random() < self.composite_share:
            return sample_combination(str(rng.choice(COMBINATIONS)), rng, wide=rng.random() < self.wide_share)
        kind = rng.random()
        if kind < self.noise_share:
            return self.draw_noise(rng)
        kind -= self.noise_share
        if kind < self.rain_share:
            return Severities(rain=rng.uniform(0.1, HEAVIEST_SOFT_RAIN), soft_rain=True)
        kind -= self.rain_share
        if kind < self.snow_share:
            return Severities(snow=rng.uniform(0.2, HEAVIEST_SNOW), blown_snow=rng.random() < 0.6)
        kind -= self.snow_share
        if kind < self.blur_share:
            blurred = with_blur(Severities(), rng)
            if self.blur_noise_share and rng.random() < self.blur_noise_share:
                blurred = replace(blurred, noise_sigma=rng.uniform(0.5, 4.0) / 255.0)
            return blurred
        kind -= self.blur_share
        if kind < self.jpeg_share:
            return Severities(jpeg_quality=int(rng.integers(8, 71)))
        kind -= self.jpeg_share
        if kind < self.faults_share:
            return sample_camera_faults(rng)
        kind -= self.faults_share
        if kind < self.clean_share:
            return Severities()
        return sample_severities(rng, self.wide_share)


_ALONE = ("noise_share", "rain_share", "snow_share", "blur_share", "jpeg_share", "faults_share", "clean_share")

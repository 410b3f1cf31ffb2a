"""The severities of the degradations to apply to an image, and the distributions that training draws them from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

COMBINATIONS: tuple[str, ...] = (
    "low",
    "haze",
    "rain",
    "snow",
    "low_haze",
    "low_rain",
    "low_snow",
    "haze_rain",
    "haze_snow",
    "low_haze_rain",
    "low_haze_snow",
)
"""The folders of CDD-11, named by the degradations that they combine."""


@dataclass(frozen=True)
class Severities:
    """What to apply, in physical values; the default of each field means that the degradation is absent.

    Example:
        >>> degraded = degrade(image, Severities(rain=0.4, haze_beta=1.4, airlight=0.8))

    Attributes:
        light_exponent: Exponent of the light map; 2..3 as published.
        low_light_noise: Sigma of the Gaussian noise added with low light; 0.03..0.08 as published.
        rain: Severity of rain in 0..1; soft rain may be heavier.
        snow: Severity of snow in 0..1.
        haze_beta: Scattering coefficient of haze; 1..2 as published.
        airlight: Brightness of haze in 0..1; 0.6..0.9 as published.
        noise_sigma: Sigma of Gaussian read noise, for values in 0..1.
        sensor_gain: Variance of the shot noise at full brightness.
        defocus_radius: Radius of the disc in px.
        gaussian_sigma: Sigma of Gaussian blur in px.
        motion_length: Length of the motion path in px.
        motion_angle: Direction of the motion path in degrees; 0 is horizontal.
        jpeg_quality: Quality in 1..99; 100 means no JPEG.
        exposure: Factor on the whole image; 1 as published. Unlike the light map it darkens bright surfaces, too.
        soft_rain: Whether streaks are broad and soft, with a veil between them; the published ones are thin.
        blown_snow: Whether wind drives the flakes in any direction; the published ones fall.
        haze_tint: How much more airlight red gets than green, and green than blue, as a share; 0 (grey) as published.
        noise_grain: Sigma in px of the Gaussian over which noise is correlated, as demosaicing, resizing and film make
            it; 0 (independent pixels) as published.
        noise_gray: Share of the noise's variance that is the same in all three channels; 0 as published.
        first_jpeg_quality: Quality of an earlier JPEG; 100 means none.
        jpeg_shift: Offset in px, both ways, of the earlier JPEG's blocks: the image was cropped since.
    """

    light_exponent: float = 1.0
    low_light_noise: float = 0.0
    rain: float = 0.0
    snow: float = 0.0
    haze_beta: float = 0.0
    airlight: float = 0.0
    noise_sigma: float = 0.0
    sensor_gain: float = 0.0
    defocus_radius: float = 0.0
    gaussian_sigma: float = 0.0
    motion_length: float = 0.0
    motion_angle: float = 0.0
    jpeg_quality: int = 100
    exposure: float = 1.0
    soft_rain: bool = False
    blown_snow: bool = False
    haze_tint: float = 0.0
    noise_grain: float = 0.0
    noise_gray: float = 0.0
    first_jpeg_quality: int = 100
    jpeg_shift: int = 0

    def keeping(self, degradations: Collection[str]) -> Severities:
        """Return the severities without degradations other than these.

        Args:
            degradations: Names of `DEGRADATIONS`; the noise of low light belongs to "noise", not to "low_light".
        """
        return Severities(**{field: getattr(self, field) for name in degradations for field in _FIELDS[name]})

    @classmethod
    def from_strengths(cls, strengths: Mapping[str, float]) -> Severities:
        """Return severities that give each named degradation about this strength, as `GroundTruth.strength` measures.

        Haze has a light grey airlight of 0.8 and an invented depth of the usual mean; blur is Gaussian.

        Example:
            >>> Severities.from_strengths({"haze": 0.4, "noise": 0.3})

        Args:
            strengths: Strengths in 0..1 by the degradation's name; degradations that are not named are absent.

        Raises:
            ValueError: An unknown degradation, or a strength outside 0..1.
        """
        amount = dict.fromkeys(_FIELDS, 0.0)
        for name, strength in strengths.items():
            if name not in amount:
                raise ValueError(f"There is no degradation {name!r}: choose from {', '.join(_FIELDS)}.")
            if not 0 <= strength <= 1:
                raise ValueError(f"The strength of {name} is {strength}: it must lie between 0 and 1.")
            amount[name] = float(strength)
        return cls(
            light_exponent=1.0 + 2.0 * amount["low_light"],
            rain=amount["rain"],
            snow=amount["snow"],
            haze_beta=-float(np.log(1.0 - 0.8 * amount["haze"])) / USUAL_DEPTH,
            airlight=0.8 if amount["haze"] else 0.0,
            noise_sigma=55.0 / 255.0 * amount["noise"] ** 2,
            gaussian_sigma=6.0 * amount["blur"] ** 2,
            jpeg_quality=round(100.0 - 90.0 * amount["jpeg"]),
        )


_FIELDS = {
    "low_light": ("light_exponent", "exposure"),
    "haze": ("haze_beta", "airlight", "haze_tint"),
    "rain": ("rain", "soft_rain"),
    "snow": ("snow", "blown_snow"),
    "noise": ("low_light_noise", "noise_sigma", "sensor_gain", "noise_grain", "noise_gray"),
    "blur": ("defocus_radius", "gaussian_sigma", "motion_length", "motion_angle"),
    "jpeg": ("jpeg_quality", "first_jpeg_quality", "jpeg_shift"),
}
"""The fields of `Severities` that belong to each degradation."""

USUAL_DEPTH = 0.39
"""Mean of the depth maps of `depth_map`, cut off at the depth from which on haze does not grow."""


def sample_combination(name: str, rng: np.random.Generator, *, wide: bool = False) -> Severities:
    """Draw severities for a combination of CDD-11.

    Args:
        name: One of `COMBINATIONS`.
        rng: Source of randomness.
        wide: Draw from wider ranges, for training, instead of from the published ones.

    Raises:
        ValueError: CDD-11 has no such combination.
    """
    if name not in COMBINATIONS:
        raise ValueError(f"there is no combination {name!r} in CDD-11, only {', '.join(COMBINATIONS)}")
    parts = name.split("_")
    fields: dict[str, Any] = {}
    if "low" in parts:
        fields["light_exponent"] = rng.uniform(1.4, 3.4) if wide else rng.uniform(2.0, 3.0)
        if wide and rng.random() < 0.4:
            fields["light_exponent"] = rng.uniform(1.0, 1.8)
            fields["exposure"] = float(np.exp(rng.uniform(np.log(0.05), np.log(0.5))))
        if not wide:
            fields["low_light_noise"] = rng.uniform(0.03, 0.08)
        elif rng.random() < 0.8:  # a long exposure has next to no noise
            fields["low_light_noise"] = rng.uniform(0.035 if "haze" in parts else 0.015, 0.09)
    if "rain" in parts:
        fields["rain"] = rng.uniform(0.15, 0.85) if wide else rng.uniform(0.3, 0.6)
        fields["soft_rain"] = wide and rng.random() < 0.6
    if "snow" in parts:
        fields["snow"] = rng.uniform(0.15, 0.85) if wide else rng.uniform(0.16, 0.4)
    if "haze" in parts:
        fields["haze_beta"] = rng.uniform(0.5, 2.8) if wide else rng.uniform(1.0, 2.0)
        fields["airlight"] = rng.uniform(0.5, 0.98) if wide else rng.uniform(0.6, 0.9)
    return Severities(**fields)


HEAVIEST_NOISE = 55.0
"""Sigma of the strongest sensor noise in the training mix, for values in 0..255."""


def with_noise(severities: Severities, rng: np.random.Generator, maximum: float = HEAVIEST_NOISE) -> Severities:
    """Add sensor noise: plain Gaussian of sigma 3/255 to `maximum`/255, or read noise with shot noise."""
    sigma = rng.uniform(3.0, maximum) / 255.0
    if rng.random() < 0.5:
        return replace(severities, noise_sigma=sigma)
    shot = rng.uniform(0.3, 1.0)  # share of the variance that grows with the light
    return replace(
        severities, noise_sigma=max(sigma * (1.0 - shot) ** 0.5, 0.012), sensor_gain=2.0 * shot * min(sigma, 0.14) ** 2
    )


def with_blur(severities: Severities, rng: np.random.Generator) -> Severities:
    """Add defocus, Gaussian blur or motion blur whose kernel has a deviation of 0.7..4 px."""
    draw, sigma = rng.random(), float(np.exp(rng.uniform(np.log(0.7), np.log(4.0))))
    if draw < 0.35:
        return replace(severities, defocus_radius=2.0 * sigma)
    if draw < 0.65:
        return replace(severities, gaussian_sigma=sigma)
    return replace(severities, motion_length=24.0**0.5 * sigma, motion_angle=rng.uniform(0.0, 180.0))


def with_jpeg(severities: Severities, rng: np.random.Generator) -> Severities:
    """Add JPEG of quality 10..80."""
    return replace(severities, jpeg_quality=int(rng.integers(10, 81)))


def sample_camera_faults(rng: np.random.Generator) -> Severities:
    """Draw two or three of noise, blur and JPEG."""
    left_out = int(rng.integers(4))  # 3 leaves out none
    severities = Severities()
    if left_out != 0:
        severities = with_noise(severities, rng, 35.0)
    if left_out != 1:
        severities = with_blur(severities, rng)
    return with_jpeg(severities, rng) if left_out != 2 else severities


def sample_severities(rng: np.random.Generator, wide_share: float = 0.5) -> Severities:
    """Draw severities from the training mix.

    7 % are clean. 58 % are combinations of CDD-11. 21 % have noise (half of them), blur or JPEG alone. 14 % combine the
    faults of a camera: two or three of noise, blur and JPEG, or a combination of CDD-11 with noise, JPEG or both.

    Args:
        rng: Source of randomness.
        wide_share: Share of the 58 % that is drawn from wider ranges.
    """
    draw = rng.random()
    if draw < 0.07:
        return Severities()
    if draw < 0.65:
        name = COMBINATIONS[int(rng.integers(len(COMBINATIONS)))]
        return sample_combination(name, rng, wide=rng.random() < wide_share)
    add = (with_noise, with_blur, with_jpeg)
    if draw < 0.86:
        return add[max(0, int(rng.integers(-1, 3)))](Severities(), rng)
    if rng.random() < 0.5:
        return sample_camera_faults(rng)
    severities = sample_combination(COMBINATIONS[int(rng.integers(len(COMBINATIONS)))], rng, wide=True)
    which = int(rng.integers(3))
    if which != 1:
        severities = with_noise(severities, rng, 25.0)
    return with_jpeg(severities, rng) if which != 0 else severities

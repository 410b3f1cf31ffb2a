"""What to do to a picture: the severity of every degradation, and how the training mix draws them."""

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
"""The folders of CDD-11, named by what they combine."""


@dataclass(frozen=True)
class Severities:
    """What to apply, in physical values; the default of each field means that the degradation is absent.

    Attributes:
        light_exponent: exponent of the light map; 2..3 as published.
        low_light_noise: sigma of the Gaussian noise added with low light; 0.03..0.08 as published.
        rain: 0..1; soft rain may be heavier.
        snow: 0..1.
        haze_beta: scattering; 1..2 as published.
        airlight: 0.6..0.9 as published.
        noise_sigma: sigma of Gaussian read noise, in 0..1 scale.
        sensor_gain: variance of the shot noise at full brightness.
        defocus_radius: radius of the disc in px.
        gaussian_sigma: Gaussian blur in px.
        motion_length: length of the motion path in px.
        motion_angle: its direction in degrees, 0 is horizontal.
        jpeg_quality: 1..99; 100 means that no JPEG is made.
        exposure: factor on the whole picture; 1 as published. An exposure too short darkens bright surfaces, too.
        soft_rain: broad soft streaks with a veil between them, where the published ones are thin and apart.
        blown_snow: flakes that the wind drives in any direction, where the published ones fall.
        haze_tint: what red has more of the airlight than green, and green than blue, as a share; 0, grey, as published.
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

    def keeping(self, degradations: Collection[str]) -> Severities:
        """The same severities of these degradations (names of `DEGRADATIONS`), and none of the others.

        The noise of a dark picture is noise, not low light.
        """
        return Severities(**{field: getattr(self, field) for name in degradations for field in _FIELDS[name]})


_FIELDS = {
    "low_light": ("light_exponent", "exposure"),
    "haze": ("haze_beta", "airlight", "haze_tint"),
    "rain": ("rain", "soft_rain"),
    "snow": ("snow", "blown_snow"),
    "noise": ("low_light_noise", "noise_sigma", "sensor_gain"),
    "blur": ("defocus_radius", "gaussian_sigma", "motion_length", "motion_angle"),
    "jpeg": ("jpeg_quality",),
}


USUAL_DEPTH = 0.39
"""Mean of the invented depth maps, cut off where haze stops to grow."""


def severities_of(strengths: Mapping[str, float]) -> Severities:
    """Severities that give each named degradation about this strength, 0 (absent) to 1, as `Truth.strength` counts.

    Haze has a light grey airlight of 0.8 and counts on an invented depth of the usual mean; blur is Gaussian.

    Raises:
        ValueError: an unknown degradation, or a strength outside 0..1.
    """
    amount = dict.fromkeys(_FIELDS, 0.0)
    for name, strength in strengths.items():
        if name not in amount:
            raise ValueError(f"There is no degradation {name!r}: choose from {', '.join(_FIELDS)}.")
        if not 0 <= strength <= 1:
            raise ValueError(f"The strength of {name} is {strength}: it must lie between 0 and 1.")
        amount[name] = float(strength)
    return Severities(
        light_exponent=1.0 + 2.0 * amount["low_light"],
        rain=amount["rain"],
        snow=amount["snow"],
        haze_beta=-float(np.log(1.0 - 0.8 * amount["haze"])) / USUAL_DEPTH,
        airlight=0.8 if amount["haze"] else 0.0,
        noise_sigma=55.0 / 255.0 * amount["noise"] ** 2,
        gaussian_sigma=6.0 * amount["blur"] ** 2,
        jpeg_quality=round(100.0 - 90.0 * amount["jpeg"]),
    )


def sample_combination(name: str, rng: np.random.Generator, *, wide: bool = False) -> Severities:
    """Draws severities for one of the `COMBINATIONS`: in the published ranges, or in wider ones for training.

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
"""Sigma of the strongest sensor noise in the training mix, of 255."""


def with_noise(severities: Severities, rng: np.random.Generator, most: float = HEAVIEST_NOISE) -> Severities:
    """Adds sensor noise: plain Gaussian of sigma 3/255 to `most`/255, or read noise with shot noise."""
    sigma = rng.uniform(3.0, most) / 255.0
    if rng.random() < 0.5:
        return replace(severities, noise_sigma=sigma)
    shot = rng.uniform(0.3, 1.0)  # share of the variance that grows with the light
    return replace(
        severities, noise_sigma=max(sigma * (1.0 - shot) ** 0.5, 0.012), sensor_gain=2.0 * shot * min(sigma, 0.14) ** 2
    )


def with_blur(severities: Severities, rng: np.random.Generator) -> Severities:
    """Adds defocus, Gaussian blur, or motion blur with an equivalent sigma of 0.7..4 px."""
    kind, sigma = rng.random(), float(np.exp(rng.uniform(np.log(0.7), np.log(4.0))))
    if kind < 0.35:
        return replace(severities, defocus_radius=2.0 * sigma)
    if kind < 0.65:
        return replace(severities, gaussian_sigma=sigma)
    return replace(severities, motion_length=24.0**0.5 * sigma, motion_angle=rng.uniform(0.0, 180.0))


def _with_jpeg(severities: Severities, rng: np.random.Generator) -> Severities:
    """Adds JPEG of quality 10..80."""
    return replace(severities, jpeg_quality=int(rng.integers(10, 81)))


def sample_severities(rng: np.random.Generator, wide_share: float = 0.5) -> Severities:
    """Draws the training mix.

    7 % clean; 58 % combinations of CDD-11, `wide_share` of them in wider ranges; 21 % noise (half of them), blur or
    JPEG alone; 14 % of a camera's faults together: two or three of blur, noise and JPEG, or weather with noise or JPEG.
    """
    kind = rng.random()
    if kind < 0.07:
        return Severities()
    if kind < 0.65:
        name = COMBINATIONS[int(rng.integers(len(COMBINATIONS)))]
        return sample_combination(name, rng, wide=rng.random() < wide_share)
    add = (with_noise, with_blur, _with_jpeg)
    if kind < 0.86:
        return add[max(0, int(rng.integers(-1, 3)))](Severities(), rng)
    if rng.random() < 0.5:
        left_out = int(rng.integers(4))  # 3: none
        severities = Severities()
        for index in (0, 1, 2):
            if index != left_out:
                severities = with_noise(severities, rng, 35.0) if index == 0 else add[index](severities, rng)
        return severities
    severities = sample_combination(COMBINATIONS[int(rng.integers(len(COMBINATIONS)))], rng, wide=True)
    which = int(rng.integers(3))
    if which != 1:
        severities = with_noise(severities, rng, 25.0)
    return _with_jpeg(severities, rng) if which != 0 else severities

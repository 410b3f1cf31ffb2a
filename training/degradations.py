"""Generated degradations: a clean photograph goes in, a degraded one and the truth about it come out.

The weather follows the imaging model of CDD-11 (OneRestore, arXiv 2407.04621): low light, rain, snow, haze, in this
order. Optical blur, sensor noise and JPEG follow, as in a camera; their ranges are our design.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from ..model.guidance import DEGRADATIONS, PARAMETERS
from .scenes import depth_map, light_map, resize
from .weather import RAIN_RMS, SNOW_RMS, rain_layer, rms, snow_layer

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

FARTHEST = 0.7
"""Where the published haze stops growing with depth."""

LIGHT_PRESENT, HAZE_PRESENT, NOISE_PRESENT, BLUR_PRESENT, JPEG_PRESENT = 1.25, 0.08, 0.01, 0.6, 85
"""From where on a degradation counts as present, since it can be seen: light exponent, 1 - mean transmission, noise
sigma, equivalent blur sigma in px, and JPEG quality (this much or less). Rain and snow: `WEATHER_PRESENT`."""
WEATHER_PRESENT = 0.08
"""From which strength of the layer on rain and snow count as present."""


@dataclass(frozen=True)
class Severities:
    """What to apply, in physical values; the default of each field means that the degradation is absent.

    Attributes:
        light_exponent: exponent of the light map; 2..3 as published.
        low_light_noise: sigma of the Gaussian noise added with low light; 0.03..0.08 as published.
        rain: 0..1.
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


@dataclass(frozen=True)
class Truth:
    """What was done to one picture, measured on that picture.

    Attributes:
        presence: [7] bool, in the order of `DEGRADATIONS`.
        strength: [7] float32 in 0..1, continuous; 0 where absent.
        parameters: [9] float32, in the order and the units of `PARAMETERS`.
    """

    presence: np.ndarray
    strength: np.ndarray
    parameters: np.ndarray


@dataclass(frozen=True)
class Degraded:
    """A degraded picture, [H, W, 3] float32 in 0..1 in steps of 1/255, and the truth about it."""

    picture: np.ndarray
    truth: Truth


def point_spread(severities: Severities) -> np.ndarray | None:
    """The blur of lens and motion as one odd square kernel that sums to 1, or None where there is no blur."""
    spread = severities.gaussian_sigma**2 + severities.defocus_radius**2 / 4 + severities.motion_length**2 / 24
    if spread <= 0.0:
        return None
    reach = 3.0 * severities.gaussian_sigma + severities.defocus_radius + 0.5 * severities.motion_length
    half = max(1, int(np.ceil(reach)))
    axis = np.arange(-half, half + 1, dtype=np.float64)
    kernel = np.zeros((2 * half + 1, 2 * half + 1))
    kernel[half, half] = 1.0
    radius = np.hypot(axis[:, None], axis[None])
    if severities.defocus_radius > 0.0:
        kernel = _convolve(kernel, np.clip(severities.defocus_radius - radius + 0.5, 0.0, 1.0))
    if severities.motion_length > 0.0:
        kernel = _convolve(kernel, _path(severities.motion_length, severities.motion_angle, half))
    if severities.gaussian_sigma > 0.0:
        kernel = _convolve(kernel, np.exp(-0.5 * (radius / severities.gaussian_sigma) ** 2))
    return kernel / kernel.sum()


def _path(length: float, angle: float, half: int) -> np.ndarray:
    """A straight anti-aliased path through the middle of a (2 half + 1) square."""
    steps = np.linspace(-0.5, 0.5, max(3, int(8 * length))) * length
    y, x = half - steps * np.sin(np.radians(angle)), half + steps * np.cos(np.radians(angle))
    side = 2 * half + 1
    kernel = np.zeros(side * side)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        weight = np.abs(1 - down - (y - top)) * np.abs(1 - right - (x - left))
        place = np.minimum(top + down, side - 1) * side + np.minimum(left + right, side - 1)
        kernel += np.bincount(place, weights=weight, minlength=side * side)
    return kernel.reshape(side, side)


def _convolve(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The convolution of two centred square kernels of one size, cut to that size."""
    side = first.shape[0]
    full = np.fft.irfft2(np.fft.rfft2(first, (2 * side, 2 * side)) * np.fft.rfft2(second, (2 * side, 2 * side)))
    half = side // 2
    return np.maximum(full[half : half + side, half : half + side], 0.0)


def kernel_sigma(kernel: np.ndarray) -> float:
    """The sigma in px of the Gaussian that spreads as far: the root of the kernel's variance, mean of both axes."""
    axis = np.arange(kernel.shape[0]) - kernel.shape[0] // 2
    squared = axis[:, None] ** 2 + axis[None] ** 2
    return float(np.sqrt(0.5 * (kernel * squared).sum()))


def _blur(planes: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolves [3, H, W] planes with a square kernel; the picture is mirrored at its edges."""
    half = kernel.shape[0] // 2
    height, width = planes.shape[1:]
    mode = "reflect" if half < min(height, width) else "replicate"
    padded = functional.pad(torch.from_numpy(planes)[None], (half, half, half, half), mode=mode)[0]
    size = [_fft_size(height + 2 * half), _fft_size(width + 2 * half)]
    spectrum = torch.fft.rfft2(padded, s=size)
    spectrum *= torch.fft.rfft2(torch.from_numpy(kernel.astype(np.float32)), s=size)
    blurred = torch.fft.irfft2(spectrum, s=size)
    return blurred[:, 2 * half : 2 * half + height, 2 * half : 2 * half + width].contiguous().numpy()


def _fft_size(least: int) -> int:
    """The next size with no prime factor above 5, for which the transform is fast."""
    size = least
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 1


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Standard normal float32 noise; torch draws it several times faster than numpy."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    return torch.randn(shape, generator=generator).numpy()


def _to_bytes(planes: np.ndarray) -> np.ndarray:
    """[3, H, W] floats as [H, W, 3] bytes, rounded and clipped; changes `planes`."""
    planes *= 255.0
    planes += 0.5
    np.clip(planes, 0.0, 255.0, out=planes)
    return np.ascontiguousarray(planes.astype(np.uint8).transpose(1, 2, 0))


def degrade(
    clean: np.ndarray,
    severities: Severities,
    rng: np.random.Generator,
    *,
    rain_layers: Sequence[np.ndarray] = (),
    snow_masks: Sequence[np.ndarray] = (),
) -> Degraded:
    """Degrades a clean photograph. The same arguments and state of `rng` give the same picture.

    Args:
        clean: [H, W, 3] float in 0..1.
        severities: what to apply.
        rng: source of randomness.
        rain_layers: given rain layers, [h, w] floats in 0..1; used for half of the rainy pictures.
        snow_masks: given snow alphas, [h, w] floats in 0..1; used for half of the snowy pictures.

    Raises:
        ValueError: `clean` is no [H, W, 3] picture.
    """
    if clean.ndim != 3 or clean.shape[2] != 3:
        raise ValueError(f"a clean picture is [H, W, 3], this one is {list(clean.shape)}")
    height, width = clean.shape[:2]
    planes = np.array(clean.transpose(2, 0, 1), dtype=np.float32, order="C")
    kernel = point_spread(severities)
    passed = 1.0  # mean square of what the weather leaves of noise that was added before it
    low_noise = severities.low_light_noise

    if severities.light_exponent != 1.0:
        planes *= light_map(planes) ** np.float32(severities.light_exponent - 1.0)
    if low_noise > 0.0 and kernel is None:  # the published order; a lens would not blur the sensor's noise
        noise = _noise(planes.shape, rng)
        noise *= np.float32(low_noise)
        planes += noise
        np.clip(planes, 0.0, 1.0, out=planes)
    parameters = dict.fromkeys(PARAMETERS, 0.0) | {"transmission": 1.0, "jpeg_quality": 100.0}
    strength = dict.fromkeys(DEGRADATIONS, 0.0)
    if severities.rain > 0.0:
        layer = rain_layer(height, width, severities.rain, rng, rain_layers)
        planes += layer
        parameters["rain_coverage"] = float(layer.mean())
        strength["rain"] = rms(layer) / RAIN_RMS
    if severities.snow > 0.0:
        alpha = snow_layer(height, width, severities.snow, rng, snow_masks)
        planes *= 1.0 - alpha
        planes += alpha
        parameters["snow_coverage"] = float(alpha.mean())
        strength["snow"] = rms(alpha) / SNOW_RMS
        passed *= rms(1.0 - alpha) ** 2
    if severities.haze_beta > 0.0:
        small = np.exp(-severities.haze_beta * np.minimum(depth_map(planes, rng), FARTHEST))
        transmission = resize(small, height, width)
        planes *= transmission
        planes += (1.0 - transmission) * np.float32(severities.airlight)
        parameters["haze_beta"], parameters["airlight"] = severities.haze_beta, severities.airlight
        parameters["transmission"] = float(transmission.mean())
        passed *= rms(transmission) ** 2
    if kernel is not None:
        planes = _blur(planes, kernel)
        parameters["blur_sigma"] = kernel_sigma(kernel)

    late = severities.noise_sigma**2 + (low_noise**2 if kernel is not None else 0.0)
    variance = late + (low_noise**2 * passed if kernel is None else 0.0)
    if severities.sensor_gain > 0.0:
        np.clip(planes, 0.0, 1.0, out=planes)
        variance += severities.sensor_gain * float(planes.mean())
        planes += np.sqrt(planes * np.float32(severities.sensor_gain) + np.float32(late)) * _noise(planes.shape, rng)
    elif late > 0.0:
        noise = _noise(planes.shape, rng)
        noise *= np.float32(late**0.5)
        planes += noise

    parameters["light_exponent"] = severities.light_exponent
    parameters["noise_sigma"] = variance**0.5
    picture = _to_bytes(planes)
    if severities.jpeg_quality < 100:
        picture = _jpeg(picture, severities.jpeg_quality)
        parameters["jpeg_quality"] = float(severities.jpeg_quality)
    return Degraded(picture.astype(np.float32) / np.float32(255.0), _truth(parameters, strength))


def _jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    """[H, W, 3] bytes after a round through JPEG with halved colour."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=int(quality))
    file.seek(0)
    with Image.open(file) as coded:
        return np.asarray(coded)


def _truth(parameters: dict[str, float], strength: dict[str, float]) -> Truth:
    """The truth from measured parameters and from the strengths of the layers of rain and snow.

    Strength is 1 at light exponent 3, mean transmission 0.2, noise sigma 55/255, blur sigma 6 px and JPEG quality 10;
    noise and blur go by the square root, as their visibility does.
    """
    strength = strength | {
        "low_light": (parameters["light_exponent"] - 1.0) / 2.0,
        "haze": (1.0 - parameters["transmission"]) / 0.8,
        "noise": (parameters["noise_sigma"] * 255.0 / 55.0) ** 0.5,
        "blur": (parameters["blur_sigma"] / 6.0) ** 0.5,
        "jpeg": (100.0 - parameters["jpeg_quality"]) / 90.0,
    }
    present = {
        "low_light": parameters["light_exponent"] >= LIGHT_PRESENT,
        "haze": 1.0 - parameters["transmission"] >= HAZE_PRESENT,
        "rain": strength["rain"] >= WEATHER_PRESENT,
        "snow": strength["snow"] >= WEATHER_PRESENT,
        "noise": parameters["noise_sigma"] >= NOISE_PRESENT,
        "blur": parameters["blur_sigma"] >= BLUR_PRESENT,
        "jpeg": parameters["jpeg_quality"] <= JPEG_PRESENT,
    }
    presence = np.array([present[name] for name in DEGRADATIONS])
    values = np.array([strength[name] for name in DEGRADATIONS], dtype=np.float32)
    return Truth(
        presence=presence,
        strength=np.where(presence, np.clip(values, 0.0, 1.0), 0.0).astype(np.float32),
        parameters=np.array([parameters[name] for name in PARAMETERS], dtype=np.float32),
    )


def sample_combination(name: str, rng: np.random.Generator, *, wide: bool = False) -> Severities:
    """Draws severities for one of the `COMBINATIONS`: in the published ranges, or in wider ones for training.

    Raises:
        ValueError: CDD-11 has no such combination.
    """
    if name not in COMBINATIONS:
        raise ValueError(f"there is no combination {name!r} in CDD-11, only {', '.join(COMBINATIONS)}")
    parts = name.split("_")
    fields: dict[str, float] = {}
    if "low" in parts:
        fields["light_exponent"] = rng.uniform(1.4, 3.4) if wide else rng.uniform(2.0, 3.0)
        if not wide:
            fields["low_light_noise"] = rng.uniform(0.03, 0.08)
        elif rng.random() < 0.8:  # a long exposure has next to no noise
            fields["low_light_noise"] = rng.uniform(0.035 if "haze" in parts else 0.015, 0.09)
    if "rain" in parts:
        fields["rain"] = rng.uniform(0.15, 0.85) if wide else rng.uniform(0.3, 0.6)
    if "snow" in parts:
        fields["snow"] = rng.uniform(0.15, 0.85) if wide else rng.uniform(0.16, 0.4)
    if "haze" in parts:
        fields["haze_beta"] = rng.uniform(0.5, 2.2) if wide else rng.uniform(1.0, 2.0)
        fields["airlight"] = rng.uniform(0.5, 0.98) if wide else rng.uniform(0.6, 0.9)
    return Severities(**fields)


def _with_noise(severities: Severities, rng: np.random.Generator, most: float = 55.0) -> Severities:
    """Adds sensor noise: plain Gaussian of sigma 3/255 to `most`/255, or read noise with shot noise."""
    sigma = rng.uniform(3.0, most) / 255.0
    if rng.random() < 0.5:
        return replace(severities, noise_sigma=sigma)
    shot = rng.uniform(0.3, 1.0)  # share of the variance that grows with the light
    return replace(
        severities, noise_sigma=max(sigma * (1.0 - shot) ** 0.5, 0.012), sensor_gain=2.0 * shot * min(sigma, 0.14) ** 2
    )


def _with_blur(severities: Severities, rng: np.random.Generator) -> Severities:
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


def sample_severities(rng: np.random.Generator) -> Severities:
    """Draws the training mix.

    8 % clean; 60 % combinations of CDD-11, half of them in wider ranges; 16 % noise, blur or JPEG alone; 16 % of a
    camera's faults together: two or three of blur, noise and JPEG, or weather with noise or JPEG.
    """
    kind = rng.random()
    if kind < 0.08:
        return Severities()
    if kind < 0.68:
        return sample_combination(COMBINATIONS[int(rng.integers(len(COMBINATIONS)))], rng, wide=rng.random() < 0.5)
    add = (_with_noise, _with_blur, _with_jpeg)
    if kind < 0.84:
        return add[int(rng.integers(3))](Severities(), rng)
    if rng.random() < 0.5:
        left_out = int(rng.integers(4))  # 3: none
        severities = Severities()
        for index in (0, 1, 2):
            if index != left_out:
                severities = _with_noise(severities, rng, 35.0) if index == 0 else add[index](severities, rng)
        return severities
    severities = sample_combination(COMBINATIONS[int(rng.integers(len(COMBINATIONS)))], rng, wide=True)
    which = int(rng.integers(3))
    if which != 1:
        severities = _with_noise(severities, rng, 25.0)
    return _with_jpeg(severities, rng) if which != 0 else severities

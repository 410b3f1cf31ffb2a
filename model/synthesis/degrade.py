"""Synthetic degradations: from a clean photograph to a degraded one and its ground truth.

Low light, rain, snow and haze, in this order, follow the imaging model of CDD-11 (OneRestore, arXiv 2407.04621). Then
come optical blur, sensor noise and JPEG, as in a camera; their ranges are our design.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..blur_kernel import kernel_sigma
from ..images import HasPixels, check_image, pixels_of, rgb_of
from ..jpeg_quality import strength_of_quality
from ..vocabulary import DEGRADATIONS, PARAMETERS
from .optics import blur, point_spread
from .scenes import LIGHT_FLOOR, depth_map, light_map, resize
from .severities import Severities
from .weather import RAIN_RMS, SNOW_RMS, rain_layer, rms, snow_layer

FARTHEST = 0.7
"""Depth from which on haze does not grow, as published."""

LIGHT_PRESENT, HAZE_PRESENT, NOISE_PRESENT, BLUR_PRESENT, JPEG_PRESENT = 1.25, 0.08, 0.01, 0.6, 85
"""Thresholds from which on a degradation counts as present, since it is visible.

They are light exponent, 1 - mean transmission, noise sigma, blur sigma in px, and JPEG quality (present at
this quality and below).
"""

WEATHER_PRESENT = 0.08
"""Strength of the layer from which on rain and snow count as present."""


@dataclass(frozen=True)
class GroundTruth:
    """The degradations of one image, measured on that image.

    Attributes:
        presence: [7] bool, in the order of `DEGRADATIONS`.
        strength: [7] float32 in 0..1; 0 where absent.
        parameters: [9] float32, in the order and the units of `PARAMETERS`.
    """

    presence: np.ndarray
    strength: np.ndarray
    parameters: np.ndarray


@dataclass(frozen=True)
class Degraded:
    """A degraded image and its ground truth.

    Attributes:
        image: [H, W, 3] float32 in 0..1, in steps of 1/255.
        truth: Of this image.
    """

    image: np.ndarray
    truth: GroundTruth


class RandomLayers:
    """The random layers of a degraded image, kept so that it can be synthesized again with some of its degradations."""

    def __init__(self) -> None:
        self._drawn: dict[str, np.ndarray] = {}

    def get(self, name: str, draw: Callable[[], np.ndarray]) -> np.ndarray:
        """Return the layer of this name, which is drawn at the first call."""
        if name not in self._drawn:
            self._drawn[name] = draw()
        return self._drawn[name]


def _noise(shape: tuple[int, ...], rng: np.random.Generator, severities: Severities | None = None) -> np.ndarray:
    """Return float32 noise [3, H, W] of unit variance; torch draws it several times faster than numpy."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    noise = torch.randn(shape, generator=generator)
    if severities is not None and severities.noise_gray > 0.0:
        gray = torch.randn((1, *shape[1:]), generator=generator)
        noise = (1.0 - severities.noise_gray) ** 0.5 * noise + severities.noise_gray**0.5 * gray
    if severities is not None and severities.noise_grain > 0.0:
        noise = _correlated(noise, severities.noise_grain)
    return noise.numpy()


def _correlated(noise: Tensor, sigma: float) -> Tensor:
    """Blur noise [3, H, W] with a Gaussian of `sigma` px, and give it back its variance."""
    half = max(1, round(3 * sigma))
    kernel = torch.exp(-0.5 * (torch.arange(-half, half + 1) / sigma) ** 2)
    kernel = kernel / kernel.square().sum().sqrt()
    padded = F.pad(noise[:, None], (half, half, half, half), mode="circular")
    return F.conv2d(F.conv2d(padded, kernel[None, None, None]), kernel[None, None, :, None])[:, 0]


def _to_bytes(planes: np.ndarray) -> np.ndarray:
    """Convert [3, H, W] floats to [H, W, 3] bytes, rounded and clipped; changes `planes`."""
    planes *= 255.0
    planes += 0.5
    np.clip(planes, 0.0, 255.0, out=planes)
    return np.ascontiguousarray(planes.astype(np.uint8).transpose(1, 2, 0))


def degrade(
    image: Tensor | HasPixels,
    severities: Severities,
    *,
    seed: int = 0,
    into: Tensor | None = None,
    on_image: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Degrade clean images in the same way as the training data, for tests and comparisons.

    Example:
        >>> degraded = degrade(read_image("holiday.jpg"), Severities(rain=0.4), seed=0)

    Args:
        image: [B, C, H, W] in 0..1, or an image file that was read; C is 1, 3 or 4, and an alpha channel is kept. H and
            W are at least 16.
        severities: What to apply, in physical values.
        seed: Seed of the random layers, which differ between the images of a batch.
        into: [B, C, H, W] to write the result to, of any floating-point type; None makes one like the input.
        on_image: Called after every image with the number of images done and in total; an error that it raises ends the
            work.

    Returns:
        [B, C, H, W] in 0..1, the colors in steps of 1/255.

    Raises:
        RestorationError: The image has another shape or type, or values that are not finite.
    """
    pixels = pixels_of(image)
    check_image(pixels)
    result = pixels.clone() if into is None else into.copy_(pixels)
    for index, frame in enumerate(pixels):
        clean = rgb_of(frame[None])[0].permute(1, 2, 0).cpu().numpy()
        rng = np.random.default_rng((seed, index))
        degraded = torch.from_numpy(synthesize(clean, severities, rng).image).movedim(-1, 0).to(result)
        if len(frame) == 1:
            degraded = degraded[1:2]  # one channel, since the mean of all would have less noise
        result[index, :3] = degraded
        if on_image is not None:
            on_image(index + 1, len(pixels))
    return result


def synthesize(
    clean: np.ndarray,
    severities: Severities,
    rng: np.random.Generator,
    *,
    rain_layers: Sequence[np.ndarray] = (),
    layers: RandomLayers | None = None,
) -> Degraded:
    """Degrade one clean photograph and measure its degradations; `degrade` and the training data use it.

    The same arguments and state of `rng` give the same image.

    Args:
        clean: [H, W, 3] float in 0..1.
        severities: What to apply.
        rng: Source of randomness.
        rain_layers: Rain layers, [h, w] floats in 0..1, to cut from; used for half of the images with rain that is not
            soft.
        layers: Layers of an earlier call for this photograph, to use again (with `Severities.keeping`: the same image
            without some of its degradations); missing ones are drawn and added. None draws all.

    Raises:
        ValueError: `clean` is not [H, W, 3].
    """
    if clean.ndim != 3 or clean.shape[2] != 3:
        raise ValueError(f"a clean image is [H, W, 3], this one is {list(clean.shape)}")
    height, width = clean.shape[:2]
    planes = np.array(clean.transpose(2, 0, 1), dtype=np.float32, order="C")
    layers = RandomLayers() if layers is None else layers
    kernel = point_spread(severities)
    passed = 1.0  # the share of the variance of earlier noise that snow and haze leave
    low_noise = severities.low_light_noise

    exponent = severities.light_exponent
    if exponent != 1.0 or severities.exposure != 1.0:
        light = layers.get("light", lambda: light_map(planes))
        planes *= light ** np.float32(exponent - 1.0) * np.float32(severities.exposure)
        exponent += _as_exponent(severities.exposure, light)
    if low_noise > 0.0 and kernel is None:  # as published; with blur it comes later: lenses blur no noise
        planes += layers.get("low noise", lambda: _noise(planes.shape, rng)) * np.float32(low_noise)
        np.clip(planes, 0.0, 1.0, out=planes)
    parameters = dict.fromkeys(PARAMETERS, 0.0) | {"transmission": 1.0, "jpeg_quality": 100.0}
    strength = dict.fromkeys(DEGRADATIONS, 0.0)
    if severities.rain > 0.0:
        layer = layers.get(
            "rain", lambda: rain_layer(height, width, severities.rain, rng, rain_layers, soft=severities.soft_rain)
        )
        planes += layer
        parameters["rain_coverage"] = float(layer.mean())
        strength["rain"] = rms(layer) / RAIN_RMS
    if severities.snow > 0.0:
        alpha = layers.get("snow", lambda: snow_layer(height, width, severities.snow, rng, blown=severities.blown_snow))
        planes *= 1.0 - alpha
        planes += alpha
        parameters["snow_coverage"] = float(alpha.mean())
        strength["snow"] = rms(alpha) / SNOW_RMS
        passed *= rms(1.0 - alpha) ** 2
    if severities.haze_beta > 0.0:
        depth = layers.get("depth", lambda: depth_map(planes, rng))
        transmission = resize(np.exp(-severities.haze_beta * np.minimum(depth, FARTHEST)), height, width)
        planes *= transmission
        planes += (1.0 - transmission) * _airlight(severities)
        parameters["haze_beta"], parameters["airlight"] = severities.haze_beta, severities.airlight
        parameters["transmission"] = float(transmission.mean())
        passed *= rms(transmission) ** 2
    if kernel is not None:
        planes = blur(planes, kernel)
        parameters["blur_sigma"] = kernel_sigma(kernel)

    late = severities.noise_sigma**2 + (low_noise**2 if kernel is not None else 0.0)
    variance = late + (low_noise**2 * passed if kernel is None else 0.0)
    if severities.sensor_gain > 0.0:
        np.clip(planes, 0.0, 1.0, out=planes)
        variance += severities.sensor_gain * float(planes.mean())
        noise = layers.get("noise", lambda: _noise(planes.shape, rng, severities))
        planes += np.sqrt(planes * np.float32(severities.sensor_gain) + np.float32(late)) * noise
    elif late > 0.0:
        planes += layers.get("noise", lambda: _noise(planes.shape, rng, severities)) * np.float32(late**0.5)

    parameters["light_exponent"] = exponent
    parameters["noise_sigma"] = variance**0.5
    image = _to_bytes(planes)
    if severities.first_jpeg_quality < 100:
        image = _shifted_jpeg(image, severities.first_jpeg_quality, severities.jpeg_shift)
    if severities.jpeg_quality < 100:
        image = _jpeg(image, severities.jpeg_quality)
    parameters["jpeg_quality"] = float(min(severities.jpeg_quality, severities.first_jpeg_quality))
    return Degraded(image.astype(np.float32) / np.float32(255.0), _ground_truth(parameters, strength))


def from_underexposed_pair(dark: np.ndarray, lit: np.ndarray) -> Degraded:
    """Return an underexposed photograph and its ground truth, estimated from a well exposed one, both [H, W, 3]."""
    exposure = min(1.0, float(dark.mean()) / max(float(lit.mean()), 1e-3))
    light = light_map(np.ascontiguousarray(lit.transpose(2, 0, 1)))
    parameters = dict.fromkeys(PARAMETERS, 0.0) | {"transmission": 1.0, "jpeg_quality": 100.0}
    parameters["light_exponent"] = 1.0 + _as_exponent(max(exposure, 1e-3), light)
    return Degraded(dark, _ground_truth(parameters, dict.fromkeys(DEGRADATIONS, 0.0)))


def _airlight(severities: Severities) -> np.ndarray:
    """Return the airlight of red, green and blue, [3, 1, 1] in 0..1."""
    tint = np.array([1.0 + severities.haze_tint, 1.0, 1.0 - severities.haze_tint])
    return np.minimum(severities.airlight * tint, 1.0).astype(np.float32)[:, None, None]


def _as_exponent(exposure: float, light: np.ndarray) -> float:
    """Return the addition to the light map's exponent, in 0..2, that darkens the mean light like this exposure."""
    mean = float(np.clip(light.mean(), LIGHT_FLOOR, 0.8))  # the exponent would have no limit for a bright image
    return float(np.clip(np.log(exposure) / np.log(mean), 0.0, 2.0))


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Encode and decode [H, W, 3] bytes as JPEG with halved color resolution."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=int(quality))
    file.seek(0)
    with Image.open(file) as coded:
        return np.asarray(coded)


def _shifted_jpeg(image: np.ndarray, quality: int, shift: int) -> np.ndarray:
    """Return [H, W, 3] bytes as they come out of a larger JPEG whose blocks begin `shift` px further up and left."""
    height, width = image.shape[:2]
    larger = np.pad(image, ((shift, 0), (shift, 0), (0, 0)), mode="edge")
    return _jpeg(larger, quality)[shift : shift + height, shift : shift + width]


def _ground_truth(parameters: dict[str, float], strength: dict[str, float]) -> GroundTruth:
    """Return the ground truth from measured parameters and from the strengths of the layers of rain and snow.

    Strength is 1 at light exponent 3, mean transmission 0.2, noise sigma 55/255, blur sigma 6 px and JPEG quality 10.
    It grows with the square root of the sigma of noise and blur, as their visibility does.
    """
    strength = strength | {
        "low_light": (parameters["light_exponent"] - 1.0) / 2.0,
        "haze": (1.0 - parameters["transmission"]) / 0.8,
        "noise": (parameters["noise_sigma"] * 255.0 / 55.0) ** 0.5,
        "blur": (parameters["blur_sigma"] / 6.0) ** 0.5,
        "jpeg": strength_of_quality(parameters["jpeg_quality"]),
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
    return GroundTruth(
        presence=presence,
        strength=np.where(presence, np.clip(values, 0.0, 1.0), 0.0).astype(np.float32),
        parameters=np.array([parameters[name] for name in PARAMETERS], dtype=np.float32),
    )

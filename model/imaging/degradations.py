"""Generated degradations: a clean photograph goes in, a degraded one and the truth about it come out.

The weather follows the imaging model of CDD-11 (OneRestore, arXiv 2407.04621): low light, rain, snow, haze, in this
order. Optical blur, sensor noise and JPEG follow, as in a camera; their ranges are our design.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ..guidance import DEGRADATIONS, PARAMETERS
from .optics import blur, kernel_sigma, point_spread
from .scenes import LIGHT_FLOOR, depth_map, light_map, resize
from .severities import COMBINATIONS, Severities, sample_combination, sample_severities
from .weather import RAIN_RMS, SNOW_RMS, rain_layer, rms, snow_layer

__all__ = [
    "COMBINATIONS",
    "Degraded",
    "Layers",
    "Severities",
    "Truth",
    "degrade",
    "sample_combination",
    "sample_severities",
]

FARTHEST = 0.7
"""Where the published haze stops growing with depth."""

LIGHT_PRESENT, HAZE_PRESENT, NOISE_PRESENT, BLUR_PRESENT, JPEG_PRESENT = 1.25, 0.08, 0.01, 0.6, 85
"""From where on a degradation counts as present, since it can be seen: light exponent, 1 - mean transmission, noise
sigma, equivalent blur sigma in px, and JPEG quality (this much or less). Rain and snow: `WEATHER_PRESENT`."""
WEATHER_PRESENT = 0.08
"""From which strength of the layer on rain and snow count as present."""


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


class Layers:
    """What is random in one degradation, kept as it is drawn, so that the same can be done again in part."""

    def __init__(self) -> None:
        self._drawn: dict[str, np.ndarray] = {}

    def get(self, name: str, draw: Callable[[], np.ndarray]) -> np.ndarray:
        """The layer of this name: drawn at the first call, the same ever after."""
        if name not in self._drawn:
            self._drawn[name] = draw()
        return self._drawn[name]


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
    layers: Layers | None = None,
) -> Degraded:
    """Degrades a clean photograph. The same arguments and state of `rng` give the same picture.

    Args:
        clean: [H, W, 3] float in 0..1.
        severities: what to apply.
        rng: source of randomness.
        rain_layers: given rain layers, [h, w] floats in 0..1; used for half of the rainy pictures.
        layers: those of an earlier call for this photograph are used again (with `Severities.keeping`: the same picture
            with some of its degradations gone); what it lacks is drawn and left in it.

    Raises:
        ValueError: `clean` is no [H, W, 3] picture.
    """
    if clean.ndim != 3 or clean.shape[2] != 3:
        raise ValueError(f"a clean picture is [H, W, 3], this one is {list(clean.shape)}")
    height, width = clean.shape[:2]
    planes = np.array(clean.transpose(2, 0, 1), dtype=np.float32, order="C")
    layers = Layers() if layers is None else layers
    kernel = point_spread(severities)
    passed = 1.0  # mean square of what the weather leaves of noise that was added before it
    low_noise = severities.low_light_noise

    exponent = severities.light_exponent
    if exponent != 1.0 or severities.exposure != 1.0:
        light = layers.get("light", lambda: light_map(planes))
        planes *= light ** np.float32(exponent - 1.0) * np.float32(severities.exposure)
        exponent += _as_exponent(severities.exposure, light)
    if low_noise > 0.0 and kernel is None:  # the published order; a lens would not blur the sensor's noise
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
        noise = layers.get("noise", lambda: _noise(planes.shape, rng))
        planes += np.sqrt(planes * np.float32(severities.sensor_gain) + np.float32(late)) * noise
    elif late > 0.0:
        planes += layers.get("noise", lambda: _noise(planes.shape, rng)) * np.float32(late**0.5)

    parameters["light_exponent"] = exponent
    parameters["noise_sigma"] = variance**0.5
    picture = _to_bytes(planes)
    if severities.jpeg_quality < 100:
        picture = _jpeg(picture, severities.jpeg_quality)
        parameters["jpeg_quality"] = float(severities.jpeg_quality)
    return Degraded(picture.astype(np.float32) / np.float32(255.0), _truth(parameters, strength))


def underexposed(dark: np.ndarray, lit: np.ndarray) -> Degraded:
    """A real photograph [H, W, 3] in 0..1 that is too dark, with what can be known of it from a well lit one."""
    exposure = min(1.0, float(dark.mean()) / max(float(lit.mean()), 1e-3))
    light = light_map(np.ascontiguousarray(lit.transpose(2, 0, 1)))
    parameters = dict.fromkeys(PARAMETERS, 0.0) | {"transmission": 1.0, "jpeg_quality": 100.0}
    parameters["light_exponent"] = 1.0 + _as_exponent(max(exposure, 1e-3), light)
    return Degraded(dark, _truth(parameters, dict.fromkeys(DEGRADATIONS, 0.0)))


def _airlight(severities: Severities) -> np.ndarray:
    """The airlight of red, green and blue, [3, 1, 1] in 0..1."""
    tint = np.array([1.0 + severities.haze_tint, 1.0, 1.0 - severities.haze_tint])
    return np.minimum(severities.airlight * tint, 1.0).astype(np.float32)[:, None, None]


def _as_exponent(exposure: float, light: np.ndarray) -> float:
    """What must be added to the light map's exponent to darken the mean light as much as this exposure, at most 2."""
    mean = float(np.clip(light.mean(), LIGHT_FLOOR, 0.8))  # a bright picture would need an exponent without end
    return float(np.clip(np.log(exposure) / np.log(mean), 0.0, 2.0))


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

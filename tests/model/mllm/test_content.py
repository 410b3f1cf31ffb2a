"""Content that only looks degraded: recognized, said, and left alone (rows 10 to 12 of the field trials)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from mofe_restore.model.images import psnr
from mofe_restore.model.inference.plan import plan_restoration
from mofe_restore.model.mllm.content import GRAPHIC, POINTS, recognize
from mofe_restore.model.pipeline import RestorationPipeline
from mofe_restore.model.synthesis.degrade import synthesize
from mofe_restore.model.synthesis.severities import Severities
from mofe_restore.tests.factories import make_guidance, make_restorer


def as_tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32))


def drawing(size: tuple[int, int], color: tuple[int, int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", size, color)
    return image, ImageDraw.Draw(image)


def stars(noise: float = 0.02) -> Tensor:
    rng = np.random.default_rng(1)
    sky = 0.04 + 0.06 * np.exp(-(((np.mgrid[:240, :320] - [[[120]], [[160]]]) / 80) ** 2).sum(0))
    image = np.repeat(sky[..., None], 3, 2) * [1.0, 0.8, 1.1]
    for y, x in rng.integers(4, (236, 316), (90, 2)):
        image[y, x] = rng.uniform(0.6, 1.0)
    return as_tensor(np.clip(image + noise * rng.standard_normal(image.shape), 0, 1))


def dots() -> Tensor:
    image, draw = drawing((320, 224), (40, 60, 150))
    for row, y in enumerate(range(8, 224, 14)):
        for x in range(8 + 7 * (row % 2), 320, 22):
            draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=(250, 250, 250))
    rough = np.random.default_rng(0).integers(-3, 4, (224, 320, 1))  # woven, so no color is exact
    return as_tensor(np.clip(np.asarray(image) + rough, 0, 255) / 255)


def title() -> Tensor:
    image, draw = drawing((320, 200), (0, 0, 0))
    draw.text((60, 90), "THE  END  OF  THE  FILM", fill=(235, 235, 235))
    return as_tensor(np.asarray(image) / 255)


def barcode() -> Tensor:
    image, draw = drawing((320, 200), (255, 255, 255))
    rng, x = np.random.default_rng(3), 20
    while x < 300:
        width = int(rng.integers(1, 4))
        draw.rectangle((x, 30, x + width - 1, 170), fill=(0, 0, 0))
        x += width + int(rng.integers(1, 4))
    return as_tensor(np.asarray(image) / 255)


def line_art() -> Tensor:
    image, draw = drawing((320, 240), (255, 255, 255))
    for start in range(0, 360, 24):
        draw.arc((40, 30, 280, 210), start, start + 20, fill=(20, 20, 20), width=2)
        draw.line((160, 120, 160 + start // 3, 10), fill=(20, 20, 20))
    return as_tensor(np.asarray(image) / 255)


def plain(color: tuple[int, int, int]) -> Tensor:
    return torch.tensor(color)[:, None, None].expand(3, 96, 128) / 255


KEPT = {
    "row10_stars": (stars(), POINTS),
    "row10_stars_without_noise": (stars(0.0), None),
    "row10_dots": (dots(), POINTS),
    "row11_black_frame": (plain((0, 0, 0)), GRAPHIC),
    "row11_title_on_black": (title(), GRAPHIC),
    "row12_barcode": (barcode(), GRAPHIC),
    "row12_line_art": (line_art(), GRAPHIC),
    "row12_plain_dark_color": (plain((33, 25, 23)), GRAPHIC),
}


@pytest.mark.field
@pytest.mark.parametrize("name", KEPT)
def test_content_that_only_looks_degraded_is_recognized(name: str) -> None:
    image, expected = KEPT[name]
    found = recognize(image)
    assert found == expected if expected else found


@pytest.mark.field
@pytest.mark.weights
@pytest.mark.parametrize("name", KEPT)
def test_content_that_only_looks_degraded_comes_back_bit_exact(name: str, pipe: RestorationPipeline) -> None:
    image = KEPT[name][0][None]
    guidance = pipe.describe(image)
    assert guidance.descriptions[0].startswith("The picture is clean.")
    assert "stays as it is unless you order a repair." in guidance.descriptions[0]
    assert torch.equal(pipe(image, guidance).image, image)


@pytest.mark.field
@pytest.mark.weights
def test_row13_an_order_acts_on_protected_content(pipe: RestorationPipeline) -> None:
    image = stars(0.08)[None]
    ordered = pipe.describe(image, instruction="remove only the noise")
    assert psnr(pipe(image, ordered).image, image) < 40


@pytest.fixture(scope="module")
def pipe() -> RestorationPipeline:
    return RestorationPipeline.from_pretrained(precision="fp32")


def photo() -> np.ndarray:
    """[192, 256, 3]: smooth shades, edges and texture, as photographs have them."""
    y, x = np.mgrid[:192, :256].astype(np.float32)
    rng = np.random.default_rng(4)
    image = np.stack([0.5 + 0.3 * np.sin(x / 40 + c) * np.cos(y / 30 - c) for c in range(3)], 2)
    image[60:150, 40:120] *= 0.4
    image[30:90, 150:230] = 0.6 * image[30:90, 150:230] + 0.35
    return np.clip(image + 0.01 * rng.standard_normal(image.shape), 0, 1).astype(np.float32)


@pytest.mark.parametrize(
    "severities",
    [
        Severities(),
        Severities(snow=0.35),
        Severities(light_exponent=3.0, snow=0.4),
        Severities(light_exponent=3.0, low_light_noise=0.05),
        Severities(jpeg_quality=8),
        Severities(haze_beta=2.0, airlight=0.9),
        Severities(noise_sigma=0.15),
        Severities(light_exponent=2.5, haze_beta=2.0, airlight=0.6, snow=0.3),
    ],
)
def test_photographs_are_not_taken_for_protected_content(severities: Severities) -> None:
    assert recognize(as_tensor(synthesize(photo(), severities, np.random.default_rng(0)).image)) == ""


def test_protected_images_of_a_batch_stay_and_the_others_are_restored() -> None:
    network = make_restorer()
    guidance = make_guidance(2)
    image = torch.rand(2, 3, 64, 64)
    half = replace(guidance, protected=torch.tensor([False, True]))
    plan = plan_restoration(network, image, half)
    assert plan.has_work
    result = plan.run().image
    assert torch.equal(result[1], image[1]) and not torch.equal(result[0], image[0])
    kept = half[1]
    assert not plan_restoration(network, image[1:], kept).has_work
    assert plan_restoration(network, image[1:], kept.with_removal({}, ["noise"])).has_work

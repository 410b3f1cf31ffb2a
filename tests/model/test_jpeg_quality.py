"""The quality of a JPEG, read from its pixels."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mofe_restore.model.jpeg_quality import find_quality


@pytest.fixture(scope="module")
def scene() -> Tensor:
    """Overlapping rectangles of all sizes and a little noise, [3, 320, 400]: spectra as those of photographs."""
    rng = np.random.default_rng(3)
    image = np.full((320, 400, 3), 128.0)
    for _ in range(400):
        height, width = rng.integers(4, 90, 2)
        top, left = rng.integers(-20, 310), rng.integers(-20, 390)
        image[max(top, 0) : top + height, max(left, 0) : left + width] = rng.uniform(30, 220, 3)
    return as_tensor((image + rng.normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8))


def as_tensor(image: Any) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


def saved(image: Tensor, quality: int, **options: Any) -> Tensor:
    """Return an image [3, H, W] as it comes back from a JPEG file."""
    file = io.BytesIO()
    pixels = (image * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, **options)
    return as_tensor(Image.open(file))


@pytest.mark.parametrize("quality", [5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90])
def test_the_quality_is_exact(scene: Tensor, quality: int) -> None:
    assert find_quality(saved(scene, quality)) == pytest.approx(quality, abs=0.6)


def test_it_does_not_depend_on_the_resolution_of_colors_and_grey_is_known_too(scene: Tensor) -> None:
    assert find_quality(saved(scene, 30, subsampling=0)) == pytest.approx(30, abs=0.6)
    assert find_quality(saved(scene.mean(0, keepdim=True).expand(3, -1, -1), 40)) == pytest.approx(40, abs=0.6)


@pytest.mark.parametrize(("first", "second"), [(30, 75), (30, 90), (75, 30), (50, 90)])
def test_of_two_compressions_it_is_the_stronger(scene: Tensor, first: int, second: int) -> None:
    assert find_quality(saved(saved(scene, first), second)) == pytest.approx(min(first, second), abs=2.5)


def test_it_is_found_in_an_image_that_was_cropped_since(scene: Tensor) -> None:
    assert find_quality(saved(scene, 30)[:, 3:, 5:]) == pytest.approx(30, abs=0.6)


def test_it_is_found_in_the_middle_of_a_large_image_and_under_a_little_noise(scene: Tensor) -> None:
    large = saved(scene, 50).repeat(1, 6, 5)
    assert find_quality(large) == pytest.approx(50, abs=0.6)
    noisy = (large + torch.randn(large.shape, generator=torch.Generator().manual_seed(0)) / 255).clamp(0, 1)
    assert find_quality(noisy) == pytest.approx(50, abs=0.6)


def test_nothing_is_found_where_there_is_no_jpeg_or_its_traces_are_gone(scene: Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    small = torch.nn.functional.interpolate(saved(scene, 30)[None], scale_factor=0.8, mode="bilinear")[0]
    noisy = saved(scene, 50) + 6 / 255 * torch.randn(scene.shape, generator=generator)
    for image in (scene, small, noisy.clamp(0, 1), torch.rand(3, 200, 200, generator=generator)):
        assert find_quality((image * 255).round() / 255) is None
    for image in (torch.zeros(3, 64, 64), torch.ones(3, 100, 9), torch.rand(3, 7, 40), scene[:, :16, :16]):
        assert find_quality(image) is None


def test_steps_of_no_standard_table_are_left_to_others(scene: Tensor) -> None:
    rng = np.random.default_rng(0)
    tables = [rng.integers(5, 90, 64).tolist()] * 2
    assert find_quality(saved(scene, 50, qtables=tables)) is None

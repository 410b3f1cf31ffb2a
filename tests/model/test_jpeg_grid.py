"""The blocks of a JPEG that was cropped since."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mofe_restore.model.jpeg_grid import LOOKED_AT, find_grid


def saved(height: int, width: int, quality: int) -> Tensor:
    """Return a scene of soft shapes and some noise [3, H, W] as it comes back from a JPEG file."""
    rng = np.random.default_rng(3)
    coarse = Image.fromarray((rng.random((height // 12, width // 12, 3)) * 255).astype(np.uint8))
    scene = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) + rng.normal(0, 3, (height, width, 3))
    file = io.BytesIO()
    Image.fromarray(scene.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255


@pytest.mark.parametrize("cut", [(0, 0), (1, 0), (3, 5), (7, 6)])
@pytest.mark.parametrize("quality", [20, 60])
def test_the_blocks_are_found_wherever_the_image_was_cut(cut: tuple[int, int], quality: int) -> None:
    top, left = cut
    assert find_grid(saved(240, 320, quality)[:, top:, left:]) == (-top % 8, -left % 8)


def test_only_the_middle_of_a_large_image_is_looked_at() -> None:
    image = saved(200, LOOKED_AT + 213, 40)[:, 5:, 2:]
    assert find_grid(image) == (3, 6)
    image[:, :, :90], image[:, :, -90:] = torch.rand(3, 195, 90), torch.rand(3, 195, 90)
    assert find_grid(image) == (3, 6)


@pytest.mark.parametrize(
    "image", [torch.zeros(3, 200, 200), torch.rand(3, 300, 200), torch.rand(3, 16, 16), torch.rand(3, 9, 2000)]
)
def test_no_blocks_are_found_where_there_are_none(image: Tensor) -> None:
    assert find_grid(image) == (0, 0)


def test_an_edge_that_is_strong_is_no_border_of_blocks() -> None:
    image = torch.full((3, 200, 200), 0.2)
    image[:, 101:, 45:] = 0.9
    assert find_grid(image) == (0, 0)

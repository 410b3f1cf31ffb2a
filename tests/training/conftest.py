"""A folder of small clean photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six smooth images with edges, 140 x 120 px."""
    folder = tmp_path_factory.mktemp("photos")
    rows, columns = np.mgrid[0:120, 0:140] / 140
    for number in range(6):
        rng = np.random.default_rng(number)
        waves = [0.5 + 0.3 * np.sin(rng.uniform(2, 20) * rows + rng.uniform(2, 20) * columns) for _ in range(3)]
        image = np.stack(waves, -1)
        image[30 + number :, 50:90] *= rng.uniform(0.3, 0.9, 3)
        Image.fromarray((image * 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder

"""Calls of the command, and the images it gets and writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mofe_restore.cli import main
from mofe_restore.cli.memory_probe import MemoryUse, held_bytes, peak_bytes


def run(*words: object) -> int:
    return main.main([str(word) for word in words])


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """What stands on stderr, which must be one line that starts with the program's name."""
    error = capsys.readouterr().err
    assert error.startswith("mofe") and error.endswith(".\n") and error.count("\n") == 1, error
    return error


def noise(height: int, width: int, channels: int, kind: Any = np.uint8) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(1).integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)


def save(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def load(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def a_hundred_megabytes() -> MemoryUse:
    """Work for a process of its own, which finds it by the name of this module."""
    before = held_bytes()
    room = torch.ones(25, 1024, 1024)
    return MemoryUse(0, room.nbytes, held_bytes() - before, peak_bytes())

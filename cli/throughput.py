"""How many images a second `mofe restore` finishes: actors of Ray against one thread of the plain engine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..model.errors import CommandError
from ..model.image_files import write_image
from .memory_probe import sample_photo

EXPECTED = 0.85
"""Share of a core's work that each further actor on a core of its own should add: two do 1.7 times the work of one."""

NOISE = 0.1
"""Sigma of the images' noise, in 0..1: clean images would come back without being restored."""


@dataclass(frozen=True)
class Throughput:
    """What one engine did with a folder.

    Attributes:
        seconds: From the start of the command to its end, with the loading of the models and of Ray.
        rate: Images a second from the first result to the last.
    """

    seconds: float
    rate: float


def write_images(folder: Path, count: int, side: int) -> None:
    """Write noisy images, no two of which are alike, as PNG files."""
    folder.mkdir()
    photo = sample_photo((side, side))
    for number in range(count):
        noise = NOISE * torch.randn(photo.shape, generator=torch.Generator().manual_seed(number))
        write_image(folder / f"{number:04}.png", (photo + noise).clamp(0, 1))


def measure(images: Path, results: Path, words: Sequence[object]) -> Throughput:
    """Restore a folder by a command of its own, with one thread per process.

    Args:
        images: The folder, of at least two images.
        results: Folder that is written.
        words: Further arguments of `mofe restore`.

    Raises:
        CommandError: The command failed, or not every image has a result.
    """
    package = __name__.partition(".cli.")[0]
    command = [sys.executable, "-m", f"{package}.cli", "restore", images, "-o", results, "--threshold", 0, *words]
    found = os.pathsep.join(path for path in sys.path if path)  # the child finds this package where it was found here
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": found}
    start = time.time()
    done = subprocess.run(  # noqa: S603
        [str(word) for word in command], env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.time() - start
    finished = sorted(path.stat().st_mtime for path in results.glob("*.png"))
    if done.returncode or len(finished) != len(list(images.iterdir())):
        raise CommandError(f"mofe restore {' '.join(map(str, words))} failed:\n{done.stderr.strip()}")
    return Throughput(seconds, (len(finished) - 1) / max(finished[-1] - finished[0], 1e-3))

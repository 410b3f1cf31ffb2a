"""The composites of an evaluation are stable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from mofe_restore.tests.factories import write_photo
from mofe_restore.training.data.photos import read_photo
from mofe_restore.training.evaluation.inputs import composite, stable_generator


def test_the_degraded_images_depend_on_seed_combination_and_name_alone(tmp_path: Path) -> None:
    clean = read_photo(write_photo(tmp_path / "photo0.png", 0))
    first = composite(clean, "low_rain", "photo0.png", 0).image
    assert np.array_equal(first, composite(clean, "low_rain", "photo0.png", 0).image)
    for other in (("low_rain", "photo0.png", 1), ("low_rain", "photo1.png", 0), ("low_snow", "photo0.png", 0)):
        assert not np.array_equal(first, composite(clean, *other).image)
    # Python's own hash differs from process to process; this generator must not.
    code = (
        "from mofe_restore.training.evaluation.inputs import stable_generator as g; print(g(3, 'low').integers(2**40))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
    assert int(found.stdout) == stable_generator(3, "low").integers(2**40)

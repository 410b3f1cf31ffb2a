"""A folder of clean photos that are quickly evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest

from mofe_restore.tests.factories import write_photo


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos of 56 x 48 px."""
    for number in range(3):
        write_photo(tmp_path / "clean" / f"photo{number}.png", number)
    return tmp_path / "clean"

"""Photographs in folders are found, and read as images are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mofe_restore.model.errors import ImageFileError
from mofe_restore.training.data.photos import list_photos, read_photo


def test_photos_are_listed_in_order_and_read_upright_without_alpha(tmp_path: Path) -> None:
    Image.new("RGBA", (24, 16), (255, 0, 0, 10)).save(tmp_path / "b.PNG")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (24, 16)).save(tmp_path / "a.jpg", exif=turned)
    Image.fromarray(np.full((16, 24), 65535, dtype=np.uint16)).save(tmp_path / "c.png")
    (tmp_path / "notes.txt").write_text("no image")
    assert [path.name for path in list_photos(tmp_path)] == ["a.jpg", "b.PNG", "c.png"]
    assert read_photo(tmp_path / "a.jpg").shape == (24, 16, 3)
    assert read_photo(tmp_path / "b.PNG").tolist() == [[[1.0, 0.0, 0.0]] * 24] * 16
    assert (read_photo(tmp_path / "c.png") == 1.0).all()
    assert read_photo(tmp_path / "b.PNG").dtype == np.float32


def test_folders_without_photos_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="nowhere"):
        list_photos(tmp_path / "nowhere")
    with pytest.raises(ImageFileError, match="holds no photos"):
        list_photos(tmp_path)
    with pytest.raises(ImageFileError, match="missing.png"):
        read_photo(tmp_path / "missing.png")
    for name, content in (("text.png", b"hello"), ("empty.jpg", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageFileError, match=name):
            read_photo(tmp_path / name)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:4000])
    with pytest.raises(ImageFileError, match="cut.png"):
        read_photo(tmp_path / "cut.png")

"""Finding and reading photographs in folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...model.errors import ImageFileError
from ...model.image_files import read_image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Endings of the files that count as photographs, in lower case."""


def list_photos(folder: str | Path) -> list[Path]:
    """Return the photographs directly inside a folder, sorted by name.

    Raises:
        ImageFileError: The folder does not exist, is not a folder, or holds no photograph.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ImageFileError(f"There is no folder {folder}: give the path of a folder with photos.")
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not photos:
        raise ImageFileError(f"The folder {folder} holds no photos: put {', '.join(SUFFIXES)} files directly into it.")
    return photos


def read_photo(path: str | Path, min_side: int = 0) -> np.ndarray:
    """Read a photograph as [H, W, 3] float32 in 0..1, turned upright as its EXIF data says and without its alpha.

    Args:
        path: The file.
        min_side: Required length in px of its shorter side.

    Raises:
        ImageFileError: The file is missing, damaged, not an image, or smaller than that.
    """
    photo = np.ascontiguousarray(read_image(path).rgb[0].permute(1, 2, 0).numpy())
    if min(photo.shape[:2]) < min_side:
        raise ImageFileError(f"{path} is {photo.shape[1]} x {photo.shape[0]} px: {min_side} px a side are needed.")
    return photo

"""Finding and reading photographs in folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
"""Endings of the files that count as photographs, in lower case."""


class PhotoError(ValueError):
    """A folder without photographs or a file that is none; the message is one sentence for the user."""


def list_photos(folder: str | Path) -> list[Path]:
    """The photographs directly inside a folder, sorted by name.

    Raises:
        PhotoError: the folder does not exist, is not a folder, or holds no photograph.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PhotoError(f"There is no folder {folder}: give the path of a folder with photos.")
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not photos:
        raise PhotoError(f"The folder {folder} holds no photos: put {', '.join(SUFFIXES)} files directly into it.")
    return photos


def read_photo(path: str | Path) -> np.ndarray:
    """A photograph as [H, W, 3] float32 in 0..1, turned upright as its EXIF data says and without its alpha.

    Raises:
        PhotoError: the file is missing, damaged, or no picture.
    """
    try:
        with Image.open(path) as file:
            picture = ImageOps.exif_transpose(file)
            if picture.mode.startswith("I") or picture.mode == "F":  # `convert` would cut 16 bit off at 255
                values = np.asarray(picture, dtype=np.float32)
                values = values / max(65535.0 if values.max(initial=0.0) > 255.0 else 255.0, 1.0)
                return np.repeat(np.clip(values, 0.0, 1.0)[:, :, None], 3, axis=2)
            return np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(255.0)
    except FileNotFoundError:
        raise PhotoError(f"There is no file {path}: check the path.") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PhotoError(
            f"The file {path} cannot be read as a picture ({error}): replace it or take it out of the folder."
        ) from error

"""Reading and writing picture files for the command line, without losing what a file carries besides RGB."""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .model.files import written_whole
from .model.inputs import SMALLEST_SIDE

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""What Pillow raises for damaged files, beside its own DecompressionBombError."""


class PictureError(ValueError):
    """A picture file that cannot be used; the message is one sentence for the user."""


@dataclass(frozen=True)
class Picture:
    """A picture as read.

    Attributes:
        pixels: [1, C, H, W] float32 in 0..1; C is 1 (grey), 3 (RGB) or 4 (RGB and alpha).
        depth: bits per channel to write it with, 8 or 16 (16 only for grey, which is all that Pillow can write).
        profile: its colour profile, which stays valid since the colours keep their meaning.
        note: what the user should know about how it was read, or "".
    """

    pixels: Tensor
    depth: int = 8
    profile: bytes | None = None
    note: str = ""

    @property
    def rgb(self) -> Tensor:
        """[1, 3, H, W]: without alpha, and grey three times."""
        return self.pixels[:, :3].expand(-1, 3, -1, -1)


def read_picture(path: str | Path) -> Picture:
    """Reads any picture that Pillow can read, turned upright as its EXIF data says.

    Raises:
        PictureError: missing, unreadable, of a kind that has no definite white, or with a side below `SMALLEST_SIDE`.
    """
    path = Path(path)
    if not path.exists():
        raise PictureError(f"There is no file {path}: check the path.")
    if path.is_dir():
        raise PictureError(f"{path} is a folder: name the pictures in it, for example {path / '*.jpg'}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                note = _note(file)
                file.load()
                upright = ImageOps.exif_transpose(file)
                profile = file.info.get("icc_profile") if file.mode in ("L", "LA", "P", "PA", "RGB", "RGBA") else None
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path} has too many pixels ({error}): split it or make it smaller.") from error
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:  # Pillow's own have none
            raise PictureError(f"{path} cannot be opened ({error.strerror}): check its permissions.") from error
        raise PictureError(
            f"{path} cannot be read as a picture: it is damaged, or of a kind not known here."
        ) from error
    values, depth = _values(upright, path)
    if min(values.shape[:2]) < SMALLEST_SIDE:
        height, width = values.shape[:2]
        raise PictureError(f"{path} is {width} x {height} px: at least {SMALLEST_SIDE} x {SMALLEST_SIDE} are needed.")
    pixels = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]
    return Picture(pixels, depth, profile if isinstance(profile, bytes) else None, note)


def is_picture(path: Path) -> bool:
    """Whether a file begins as a picture does, of any kind that is known here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path):
                return True
    except (Image.DecompressionBombError, *_UNREADABLE):
        return False


def write_picture(path: Path, pixels: Tensor, *, depth: int = 8, profile: bytes | None = None) -> None:
    """Writes [1, C, H, W] in 0..1 as PNG, whole or not at all: under a temporary name, to the disk, then renamed."""
    bits, kind = (65535.0, np.uint16) if depth == 16 else (255.0, np.uint8)
    values = (pixels[0].float().clamp(0, 1).permute(1, 2, 0) * bits).round().cpu().numpy().astype(kind)
    image = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    extra = {"icc_profile": profile} if profile else {}
    with written_whole(path) as temporary:
        image.save(temporary, "PNG", **extra)


def read_mask(path: str | Path) -> Tensor:
    """A mask as [1, H, W] in 0..1, white where the picture is to be restored; an alpha channel is ignored.

    Raises:
        PictureError: as `read_picture`.
    """
    return read_picture(path).rgb.mean(dim=1)


def _values(image: Image.Image, path: Path) -> tuple[np.ndarray, int]:
    """[H, W, C] float32 in 0..1 and the depth to write it with."""
    mode = image.mode
    if mode.startswith("I"):  # 16-bit grey; "I" is what some files of it become
        values = np.asarray(image).astype(np.float32)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise PictureError(f"{path} has 32-bit integer pixels: save it with 8 or 16 bits a channel.")
        return values[..., None] / np.float32(65535), 16
    if mode == "F":
        raise PictureError(f"{path} has floating-point pixels of unknown range: save it with 8 or 16 bits a channel.")
    transparent = mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info
    wanted = "RGBA" if transparent else "L" if mode in ("1", "L") else "RGB"
    values = np.asarray(image.convert(wanted)).astype(np.float32) / np.float32(255)
    return (values[..., None] if values.ndim == 2 else values), 8


def _note(file: Image.Image) -> str:
    """What a user should know: more than one frame, or colour of 16 bits, of which Pillow keeps eight."""
    notes = []
    if getattr(file, "n_frames", 1) > 1:
        notes.append("only its first frame is used")
    if file.mode in ("RGB", "RGBA") and any(";16" in str(tile) for tile in file.tile):
        notes.append("its 16 bits a channel are read as 8")
    return " and ".join(notes)

"""Reading and writing picture files for the command line, without losing what a file carries besides RGB."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from PIL.ExifTags import IFD, Base
from torch import Tensor

from .model.files import written_whole
from .model.inputs import SMALLEST_SIDE

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""What Pillow raises for damaged files, beside its own DecompressionBombError."""


_DAMAGED = (*_UNREADABLE, KeyError, TypeError, AttributeError, ArithmeticError)
"""What it raises for damaged data about a picture."""

_ABOUT_THE_PICTURE = (
    *(Base.ImageDescription, Base.Make, Base.Model, Base.Software, Base.DateTime, Base.Artist, Base.HostComputer),
    *(Base.Rating, Base.RatingPercent, Base.Copyright),
    *(Base.XPTitle, Base.XPComment, Base.XPAuthor, Base.XPKeywords, Base.XPSubject),
)
"""EXIF tags of what is so of the restored picture, too."""
_OF_THE_FILE = (Base.MakerNote, Base.ExifImageWidth, Base.ExifImageHeight, Base.ExifInteroperabilityOffset)
"""Of the tags about the exposure those that only this file's size or layout makes true."""

log = logging.getLogger(__name__)


class PictureError(ValueError):
    """A picture file that cannot be used; the message is one sentence for the user."""


@dataclass(frozen=True)
class Picture:
    """A picture as read.

    Attributes:
        pixels: [1, C, H, W] float32 in 0..1; C is 1 (grey), 3 (RGB) or 4 (RGB and alpha).
        depth: bits per channel to write it with, 8 or 16 (16 only for grey, which is all that Pillow can write).
        extras: what stays true of the restored picture, as Pillow's arguments for saving: its colour profile, since the
            colours keep their meaning, its resolution in dots per inch, and its EXIF data (when, where and by whom it
            was taken) but for what depends on the file, such as the orientation, which is applied.
        note: what the user should know about how it was read, or "".
    """

    pixels: Tensor
    depth: int = 8
    extras: Mapping[str, Any] = field(default_factory=dict)
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
            warnings.simplefilter("ignore")  # also about damaged EXIF data, which are left out
            with Image.open(path) as file:
                preview, note = _is_preview(file), _note(file)
                file.load()
                upright = _upright(file)
                extras = _extras(file, upright)
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path} has too many pixels ({error}): split it or make it smaller.") from error
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:  # Pillow's own have none
            raise PictureError(f"{path} cannot be opened ({error.strerror}): check its permissions.") from error
        raise PictureError(
            f"{path} cannot be read as a picture: it is damaged, or of a kind not known here."
        ) from error
    if preview:
        raise PictureError(f"{path} is a camera's raw file: develop it first, to TIFF or JPEG for example.")
    values, depth = _values(upright, path)
    if min(values.shape[:2]) < SMALLEST_SIDE:
        height, width = values.shape[:2]
        raise PictureError(f"{path} is {width} x {height} px: at least {SMALLEST_SIDE} x {SMALLEST_SIDE} are needed.")
    pixels = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]
    return Picture(pixels, depth, extras, note)


def is_picture(path: Path) -> bool:
    """Whether a file begins as a picture does, of any kind that is known here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path):
                return True
    except (Image.DecompressionBombError, *_UNREADABLE):
        return False


def write_picture(path: Path, pixels: Tensor, *, depth: int = 8, extras: Mapping[str, Any] | None = None) -> None:
    """Writes [1, C, H, W] in 0..1 as PNG, whole or not at all: under a temporary name, to the disk, then renamed.

    Args:
        depth: bits per channel, 8 or 16 (for grey alone).
        extras: those of the `Picture` that it comes of.
    """
    bits, kind = (65535.0, np.uint16) if depth == 16 else (255.0, np.uint8)
    values = (pixels[0].float().clamp(0, 1).permute(1, 2, 0) * bits).round().cpu().numpy().astype(kind)
    image = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    with written_whole(path) as temporary:
        image.save(temporary, "PNG", **(extras or {}))


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


def _is_preview(file: Image.Image) -> bool:
    """Whether the file is a TIFF that begins with a small preview, as raw files of cameras do."""
    tags = getattr(file, "tag_v2", {})
    return Base.DNGVersion in tags or bool(int(tags.get(Base.NewSubfileType, 0)) & 1)


def _upright(file: Image.Image) -> Image.Image:
    """The picture turned as its EXIF data says; as it is, if these are damaged."""
    try:
        return ImageOps.exif_transpose(file)
    except _DAMAGED:
        return file


def _extras(file: Image.Image, upright: Image.Image) -> dict[str, Any]:
    """What `Picture.extras` says of a file, and of it turned upright."""
    extras: dict[str, Any] = {}
    profile, dpi = file.info.get("icc_profile"), file.info.get("dpi")
    grey = file.mode == "L" or file.mode.startswith("I;16")  # grey with alpha is written in colour
    if isinstance(profile, bytes) and (grey or file.mode in ("P", "PA", "RGB", "RGBA")):
        extras["icc_profile"] = profile
    try:
        if dpi and all(0 < float(each) < 100_000 for each in dpi):
            extras["dpi"] = tuple(float(each) for each in dpi)[:: -1 if upright.size != file.size else 1]
        if exif := _kept_exif(file.getexif()):
            extras["exif"] = exif.tobytes()
    except _DAMAGED as error:  # no reason not to restore a picture that is sound
        log.debug("What a picture says about itself cannot be kept: %s", error)
    return extras


def _kept_exif(exif: Image.Exif) -> Image.Exif:
    """What of it stays true when the picture is restored, turned upright and written as PNG."""
    kept = Image.Exif()
    for tag in _ABOUT_THE_PICTURE:
        value = exif.get(tag)
        if isinstance(value, str) and not value.isascii():
            value = value.encode("latin-1")  # as the bytes were; Pillow would write question marks
        if value is not None:
            kept[tag] = value
    for folder in (IFD.Exif, IFD.GPSInfo):
        tags = {tag: value for tag, value in exif.get_ifd(folder).items() if tag not in _OF_THE_FILE}
        if tags:
            kept[folder] = tags
    return kept


def _note(file: Image.Image) -> str:
    """What a user should know: more than one frame, colour of 16 bits, of which Pillow keeps eight, or inks."""
    notes = []
    if getattr(file, "n_frames", 1) > 1:
        notes.append("only its first frame is used")
    if file.mode in ("RGB", "RGBA") and any(";16" in str(tile) for tile in file.tile):
        notes.append("its 16 bits a channel are read as 8")
    if file.mode == "CMYK":
        notes.append("its inks (CMYK) become RGB without its colour profile, which may shift colours")
    return " and ".join(notes)

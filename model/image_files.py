"""Reading and writing image files, without losing what a file carries besides its pixels."""

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

from .atomic import atomic_write
from .errors import ImageFileError
from .images import MIN_SIDE, HasPixels, pixels_of, rgb_of

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""What Pillow raises for damaged files, beside its own DecompressionBombError."""


_DAMAGED = (*_UNREADABLE, KeyError, TypeError, AttributeError, ArithmeticError)
"""What it raises for damaged metadata."""

_TAGS_OF_THE_IMAGE = (
    *(Base.ImageDescription, Base.Make, Base.Model, Base.Software, Base.DateTime, Base.Artist, Base.HostComputer),
    *(Base.Rating, Base.RatingPercent, Base.Copyright),
    *(Base.XPTitle, Base.XPComment, Base.XPAuthor, Base.XPKeywords, Base.XPSubject),
)
"""EXIF tags that are true of the restored image, too."""
_TAGS_OF_THE_FILE = (Base.MakerNote, Base.ExifImageWidth, Base.ExifImageHeight, Base.ExifInteroperabilityOffset)
"""Of the tags about the exposure those that depend on this file's size or layout."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageFile:
    """An image as read from a file.

    Attributes:
        pixels: [1, C, H, W] float32 in 0..1; C is 1 (grey), 3 (RGB) or 4 (RGB and alpha).
        depth: Bits per channel to write it with, 8 or 16 (16 only for grey, which is all that Pillow can write).
        metadata: What stays true of the restored image, as Pillow's arguments for saving: its color profile, its
            resolution in dots per inch, and its EXIF data (when, where and by whom it was taken) except what depends on
            the file, such as the orientation, which is applied.
        note: What the user should know about how it was read, or "".
    """

    pixels: Tensor
    depth: int = 8
    metadata: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    @property
    def rgb(self) -> Tensor:
        """The colors as [1, 3, H, W]: without alpha, and grey three times."""
        return rgb_of(self.pixels)


def read_image(path: str | Path) -> ImageFile:
    """Read any image file that Pillow can read, turned upright as its EXIF data says.

    Example:
        >>> image = read_image("holiday.jpg")
        >>> image.pixels.shape
        torch.Size([1, 3, 768, 1024])

    Args:
        path: Of the file.

    Returns:
        Pixels as [1, C, H, W] float32 in 0..1, and the metadata that `write_image` can keep.

    Raises:
        ImageFileError: Missing, unreadable, of a kind that has no definite white, or with a side below 16 px.
    """
    path = Path(path)
    if not path.exists():
        raise ImageFileError(f"There is no file {path}: check the path.")
    if path.is_dir():
        raise ImageFileError(f"{path} is a folder: name the images in it, for example {path / '*.jpg'}.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # also about damaged EXIF data, which are left out
            with Image.open(path) as file:
                preview, note = _is_preview(file), _note(file)
                file.load()
                upright = _upright(file)
                metadata = _metadata(file, upright)
    except Image.DecompressionBombError as error:
        raise ImageFileError(f"{path} has too many pixels ({error}): split it or make it smaller.") from error
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:  # Pillow's own have none
            raise ImageFileError(f"{path} cannot be opened ({error.strerror}): check its permissions.") from error
        raise ImageFileError(
            f"{path} cannot be read as an image: it is damaged, or of a kind not known here."
        ) from error
    if preview:
        raise ImageFileError(f"{path} is a camera's raw file: develop it first, to TIFF or JPEG for example.")
    values, depth = _values(upright, path)
    if min(values.shape[:2]) < MIN_SIDE:
        height, width = values.shape[:2]
        raise ImageFileError(f"{path} is {width} x {height} px: at least {MIN_SIDE} x {MIN_SIDE} are needed.")
    pixels = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]
    return ImageFile(pixels, depth, metadata, note)


def is_image_file(path: Path) -> bool:
    """Return whether a file begins like an image of any format that can be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path):
                return True
    except (Image.DecompressionBombError, *_UNREADABLE):
        return False


def write_image(path: str | Path, image: Tensor | HasPixels, *, like: ImageFile | None = None) -> None:
    """Write an image as PNG, whole or not at all.

    Example:
        >>> write_image("restored.png", result.image, like=image)

    Args:
        path: The file to write; its folder must exist.
        image: [1, C, H, W] in 0..1; values are clamped and rounded.
        like: The file that the image was made from, whose metadata and, for grey, whose depth is kept.

    Raises:
        OSError: The file cannot be written.
    """
    pixels = pixels_of(image)
    metadata = dict(like.metadata) if like else {}
    if like is not None and (like.pixels.shape[1] == 1) != (pixels.shape[1] == 1):
        metadata.pop("icc_profile", None)  # that of a grey file means nothing for colors, and the other way round
    deep = like is not None and like.depth == 16 and pixels.shape[1] == 1
    limit, kind = (65535.0, np.uint16) if deep else (255.0, np.uint8)
    values = (pixels[0].float().clamp(0, 1).permute(1, 2, 0) * limit).round().cpu().numpy().astype(kind)
    drawing = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    with atomic_write(Path(path)) as temporary:
        drawing.save(temporary, "PNG", **metadata)


def read_mask(path: str | Path) -> Tensor:
    """Read a mask as [1, H, W] in 0..1, white where the image is to be restored; an alpha channel is ignored.

    Raises:
        ImageFileError: As `read_image`.
    """
    return read_image(path).rgb.mean(dim=1)


def _values(image: Image.Image, path: Path) -> tuple[np.ndarray, int]:
    """Return [H, W, C] float32 in 0..1 and the depth to write it with."""
    mode = image.mode
    if mode.startswith("I"):  # 16-bit grey; "I" is what some files of it become
        values = np.asarray(image).astype(np.float32)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise ImageFileError(f"{path} has 32-bit integer pixels: save it with 8 or 16 bits a channel.")
        return values[..., None] / np.float32(65535), 16
    if mode == "F":
        raise ImageFileError(f"{path} has floating-point pixels of unknown range: save it with 8 or 16 bits a channel.")
    transparent = mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info
    wanted = "RGBA" if transparent else "L" if mode in ("1", "L") else "RGB"
    values = np.asarray(image.convert(wanted)).astype(np.float32) / np.float32(255)
    return (values[..., None] if values.ndim == 2 else values), 8


def _is_preview(file: Image.Image) -> bool:
    """Return whether the file is a TIFF that begins with a small preview, as raw files of cameras do."""
    tags = getattr(file, "tag_v2", {})
    return Base.DNGVersion in tags or bool(int(tags.get(Base.NewSubfileType, 0)) & 1)


def _upright(file: Image.Image) -> Image.Image:
    """Return the image turned as its EXIF data says; as it is, if that is damaged."""
    try:
        return ImageOps.exif_transpose(file)
    except _DAMAGED:
        return file


def _metadata(file: Image.Image, upright: Image.Image) -> dict[str, Any]:
    """Return `ImageFile.metadata` of a file, and of it turned upright."""
    metadata: dict[str, Any] = {}
    profile, dpi = file.info.get("icc_profile"), file.info.get("dpi")
    grey = file.mode == "L" or file.mode.startswith("I;16")  # grey with alpha is written in color
    if isinstance(profile, bytes) and (grey or file.mode in ("P", "PA", "RGB", "RGBA")):
        metadata["icc_profile"] = profile
    try:
        if dpi and all(0 < float(each) < 100_000 for each in dpi):
            metadata["dpi"] = tuple(float(each) for each in dpi)[:: -1 if upright.size != file.size else 1]
        if exif := _kept_exif(file.getexif()):
            metadata["exif"] = exif.tobytes()
    except _DAMAGED as error:  # no reason not to restore an image whose pixels are sound
        log.debug("The metadata of an image cannot be kept: %s", error)
    return metadata


def _kept_exif(exif: Image.Exif) -> Image.Exif:
    """Return what stays true when the image is restored, turned upright and written as PNG."""
    kept = Image.Exif()
    for tag in _TAGS_OF_THE_IMAGE:
        value = exif.get(tag)
        if isinstance(value, str) and not value.isascii():
            value = value.encode("latin-1")  # as the bytes were; Pillow would write question marks
        if value is not None:
            kept[tag] = value
    for folder in (IFD.Exif, IFD.GPSInfo):
        tags = {tag: value for tag, value in exif.get_ifd(folder).items() if tag not in _TAGS_OF_THE_FILE}
        if tags:
            kept[folder] = tags
    return kept


def _note(file: Image.Image) -> str:
    """Return what a user should know: several frames, 16 bits of color of which Pillow keeps eight, or inks."""
    notes = []
    if getattr(file, "n_frames", 1) > 1:
        notes.append("only its first frame is used")
    if file.mode in ("RGB", "RGBA") and any(";16" in str(tile) for tile in getattr(file, "tile", ())):
        notes.append("its 16 bits a channel are read as 8")
    if file.mode == "CMYK":
        notes.append("its inks (CMYK) become RGB without its color profile, which may shift colors")
    return " and ".join(notes)

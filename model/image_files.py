"""Reading and writing image files, without losing what a file carries besides its pixels."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from PIL.ExifTags import Base
from torch import Tensor

from .atomic import atomic_write
from .errors import ImageFileError
from .formats import extras, jpeg
from .formats.metadata import (
    DAMAGED,
    deep_tiff_options,
    jpeg_options,
    listed,
    png_chunks,
    png_options,
    read_metadata,
    tiff_options,
    webp_options,
)
from .formats.png import insert_chunks
from .formats.suffixes import FORMATS, QUALITY
from .images import MIN_SIDE, HasPixels, check_form, is_finite, pixels_of, rgb_of

_OTHER_SUFFIXES = {"jpeg": "jpg", "tiff": "tif"}
_DEEP = ("png", "tif")
"""Formats that can hold 16 bits a channel."""

_LONGEST_SIDE = {"jpg": 65500, "webp": 16383}
_MOST_BYTES = 2**31
"""What is read of a pipe at most."""

_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""What Pillow raises for damaged files, beside its own DecompressionBombError."""


@dataclass(frozen=True)
class ImageFile:
    """An image as read from a file.

    Attributes:
        pixels: [1, C, H, W] float32 in 0..1; C is 1 (grey), 3 (RGB) or 4 (RGB and alpha).
        depth: Bits per channel to write it with, 8 or 16.
        metadata: What stays true of the restored image, as `formats.metadata` describes it: color profile and other
            color data, resolution in dots per inch, texts, XMP, IPTC data, and EXIF data (when, where and by whom it
            was taken) except what depends on the file, such as the orientation, which is applied.
        note: What the user should know about how it was read, or "".
        white: The value in the file that 1.0 stands for: 255 or 65535, or less where a file of 16 bits holds fewer.
    """

    pixels: Tensor
    depth: int = 8
    metadata: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    white: int | None = None

    @property
    def rgb(self) -> Tensor:
        """The colors as [1, 3, H, W]: without alpha, and grey three times."""
        return rgb_of(self.pixels)


@dataclass(frozen=True)
class EncodedImage:
    """An image file in memory.

    Attributes:
        data: Its bytes.
        note: What of the original does not fit into its format, or "".
    """

    data: bytes
    note: str


def read_image(source: str | Path | BinaryIO, *, name: str = "") -> ImageFile:
    """Read any image file that Pillow can read, turned upright as its EXIF data says.

    With the packages of the extra `formats` also 16-bit color, HEIC, JPEG XL, and raw files of cameras.

    Example:
        >>> image = read_image("holiday.jpg")
        >>> image.pixels.shape
        torch.Size([1, 3, 768, 1024])

    Args:
        source: Path of the file, which may be a pipe, or an open binary file.
        name: Of the file in messages; its path by default.

    Returns:
        Pixels as [1, C, H, W] float32 in 0..1, and the metadata that `write_image` can keep.

    Raises:
        ImageFileError: Missing, unreadable, of a kind that has no definite white, or with a side below 16 px.
    """
    name = name or (str(source) if isinstance(source, str | Path) else "The image")
    try:
        with warnings.catch_warnings(), open_file(source) as stream:
            warnings.simplefilter("ignore")  # also about damaged EXIF data, which are left out
            return _read(stream, name)
    except ImageFileError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageFileError(f"{name} has too many pixels ({error}): split it or make it smaller.") from error
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:  # Pillow's own have none
            raise ImageFileError(f"{name} cannot be opened ({error.strerror}): check its permissions.") from error
        raise ImageFileError(
            f"{name} cannot be read as an image: it is damaged, or of a kind not known here."
        ) from error


def is_image_file(path: Path) -> bool:
    """Return whether a file begins like an image of any format that can be read; a pipe may, and is not touched."""
    if not path.is_file():
        return path.exists() and not path.is_dir()
    try:
        with warnings.catch_warnings(), path.open("rb") as stream:
            warnings.simplefilter("ignore")
            if kind := extras.kind_of(stream, path.name):
                return not extras.missing(kind)
            with Image.open(stream):
                return True
    except (Image.DecompressionBombError, *_UNREADABLE):
        return False


def is_raw_file(path: Path) -> bool:
    """Return whether a file is a camera's raw file, whether or not it can be read here."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as stream:
            return extras.kind_of(stream, path.name) == "raw"
    except OSError:
        return False


def write_image(
    path: str | Path, image: Tensor | HasPixels, *, like: ImageFile | None = None, quality: int = QUALITY
) -> str:
    """Write an image as PNG, JPEG, WebP or TIFF, as its suffix says, whole or not at all.

    Example:
        >>> write_image("restored.png", result.image, like=image)
        ''

    Args:
        path: The file to write, with the suffix .png, .jpg, .webp or .tif; its folder must exist.
        image: [1, C, H, W] in 0..1; values are clamped and rounded.
        like: The file that the image was made from, whose metadata and depth are kept where the format can.
        quality: Of JPEG and WebP, 1 to 100; a WebP file of 100 is lossless.

    Returns:
        What does not fit into the format, in words for the user, or "".

    Raises:
        ImageFileError: Another suffix, or as `encode_image`.
        RestorationError: As `encode_image`.
        OSError: The file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower().removeprefix(".")
    kind = _OTHER_SUFFIXES.get(suffix, suffix)
    if kind not in FORMATS:
        raise ImageFileError(f"{path} has no suffix of a format that is written: name it .png, .jpg, .webp or .tif.")
    encoded = encode_image(image, kind, like=like, quality=quality)
    with atomic_write(path) as temporary:
        temporary.write_bytes(encoded.data)
    return encoded.note


def encode_image(
    image: Tensor | HasPixels, kind: str, *, like: ImageFile | None = None, quality: int = QUALITY
) -> EncodedImage:
    """Return an image as a file in memory.

    Args:
        image: [1, C, H, W] in 0..1; values are clamped and rounded.
        kind: A key of `FORMATS`.
        like: The file that the image was made from, whose metadata and depth are kept where the format can.
        quality: Of JPEG and WebP, 1 to 100; a WebP file of 100 is lossless.

    Raises:
        ImageFileError: No image or several, values that are not finite, or more pixels than the format holds.
        RestorationError: Not [1, C, H, W] with C of 1, 3 or 4, or not floating point.
    """
    pixels = pixels_of(image)
    _check_one(pixels)
    if max(pixels.shape[2:]) > _LONGEST_SIDE.get(kind, 2**31):
        raise ImageFileError(
            f"The image is {pixels.shape[3]} x {pixels.shape[2]} px and {FORMATS[kind]} holds {_LONGEST_SIDE[kind]} px "
            "a side: choose another format."
        )
    metadata, notes = dict(like.metadata) if like else {}, []
    grey = pixels.shape[1] == 1 and kind != "webp"  # which holds color only
    if like is not None and (like.pixels.shape[1] == 1) != grey and metadata.pop("icc_profile", None):
        notes.append("its color profile is not kept, since that is for grey or for color only")
    if kind == "jpg" and pixels.shape[1] == 4:
        pixels, clear = _on_white(pixels)
        if clear:
            notes.append("where it is transparent it becomes white, since JPEG knows no transparency")
    lost: list[str] = []
    encoded: tuple[bytes, list[str]] | None = None
    if like is not None and like.depth == 16:
        encoded = _encode_deep(_integers(pixels, like.white or 65535, np.uint16), kind, metadata)
        if encoded is None and kind in _DEEP:
            notes.append(f"its 16 bits a channel become 8 (they stay 16 after {extras.INSTALL})")
        elif encoded is None:
            lost.append("16 bits a channel")
    data, more = encoded or _encode(_integers(pixels, 255, np.uint8), kind, metadata, quality)
    if lost + more:
        notes.append(f"{FORMATS[kind]} has no place for {listed(lost + more)}")
    return EncodedImage(data, " and ".join(notes))


def read_mask(source: str | Path | BinaryIO, *, name: str = "") -> Tensor:
    """Read a mask as [1, H, W] in 0..1, white where the image is to be restored; an alpha channel is ignored.

    Raises:
        ImageFileError: As `read_image`.
    """
    return read_image(source, name=name).rgb.mean(dim=1)


@contextmanager
def open_file(source: str | Path | BinaryIO) -> Iterator[BinaryIO]:
    """Give an open binary file in which one can go back; what comes from a pipe is read to its end.

    Args:
        source: Path of the file or the pipe, or an open binary file.

    Raises:
        ImageFileError: There is none, or it does not end.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.exists():
            if path.is_symlink():
                raise ImageFileError(f"{path} is a link that leads nowhere: mend or delete it.")
            raise ImageFileError(f"There is no file {path}: check the path.")
        if path.is_dir():
            raise ImageFileError(f"{path} is a folder: name the images in it, for example {path / '*.jpg'}.")
        with path.open("rb") as file, open_file(file) as stream:
            yield stream
    elif source.seekable():
        yield source
    else:
        data = source.read(_MOST_BYTES)
        if len(data) == _MOST_BYTES:
            raise ImageFileError(f"What is read has more than {_MOST_BYTES / 2**30:.0f} GiB: is it an image?")
        yield io.BytesIO(data)


def _read(stream: BinaryIO, name: str) -> ImageFile:
    """Return the image in a file."""
    kind = extras.kind_of(stream, name)
    if kind and extras.missing(kind):
        raise ImageFileError(extras.missing_message(kind, name))
    if kind == "raw":
        return _read_raw(stream, name)
    with extras.open_special(kind, stream) if kind else Image.open(stream) as file:
        if extras.is_raw_tiff(file):
            if extras.missing("raw"):
                raise ImageFileError(extras.missing_message("raw", name))
            return _read_raw(stream, name)
        deep = extras.is_deep(file, stream)  # what Pillow no longer tells when it has loaded the pixels
        turn = _turn_of(file) if file.format == "TIFF" else 0
        try:
            file.load()
        except _UNREADABLE:
            whole = jpeg.complete(_all_of(stream)) if file.format in ("JPEG", "MPO") else None
            if whole is None:
                raise
            with Image.open(io.BytesIO(whole)) as mended:
                mended.load()
                note = "its end marker is missing, and nothing else"
                return _read_loaded(mended, stream, name, False, _turn_of(mended), [note])
        return _read_loaded(file, stream, name, deep, turn or _turn_of(file), [])


def _read_loaded(file: Image.Image, stream: BinaryIO, name: str, deep: bool, turn: int, notes: list[str]) -> ImageFile:
    """Return the image of a file that Pillow has loaded.

    Args:
        file: The image.
        stream: The file's bytes.
        name: Of the file in messages.
        deep: Whether Pillow has read more than eight bits of color as eight.
        turn: What makes it upright, as EXIF numbers it.
        notes: On the file.
    """
    notes = notes + _notes(file)
    metadata, lost = read_metadata(file, turn, stream)
    values, depth = _values(file, name)
    if file.format != "TIFF":  # which Pillow has turned
        values = _turned(values, turn)
    colors = extras.deep_color(file, stream) if deep or file.format == "JXL" else None
    if colors is not None and (colors := _turned(colors, turn)).shape[:2] == values.shape[:2]:
        values, depth = colors.astype(np.float32), 16
    elif deep:
        notes.append(f"more than 8 bits a channel are read as 8 (they stay after {extras.INSTALL})")
    white = 255
    if depth == 16:
        inverted = _is_inverted(file)
        white, peak = _white_of(values, file, guess=not inverted), int(values.max(initial=0))
        if white < 65535:
            bits = white.bit_length()
            notes.append(f"its values end at {peak} of 65535, so they are read and written as {bits}-bit data")
        if inverted:
            values = white - values
    if lost:
        notes.append(f"it loses {listed(lost)}")
    return _image_file(values / np.float32(white), name, depth, metadata, notes, white)


def _read_raw(stream: BinaryIO, name: str) -> ImageFile:
    """Return the image of a camera's raw file, with what Pillow finds of its metadata."""
    values = extras.develop(_all_of(stream), name).astype(np.float32) / np.float32(65535)
    metadata: dict[str, Any] = {}
    notes = ["it is developed with the camera's white balance"]
    stream.seek(0)
    try:
        with Image.open(stream) as file:
            found, _ = read_metadata(file, 1, io.BytesIO())
            metadata = {key: found[key] for key in ("exif", "xmp", "iptc") if key in found}
    except (Image.DecompressionBombError, *_UNREADABLE):
        notes.append("its metadata are left out")
    return _image_file(values, name, 16, metadata, notes, 65535)


def _image_file(
    values: np.ndarray, name: str, depth: int, metadata: dict[str, Any], notes: list[str], white: int
) -> ImageFile:
    """Return an image from values [H, W, C] in 0..1."""
    if min(values.shape[:2]) < MIN_SIDE:
        height, width = values.shape[:2]
        raise ImageFileError(f"{name} is {width} x {height} px: at least {MIN_SIDE} x {MIN_SIDE} are needed.")
    pixels = torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None]
    return ImageFile(pixels, depth, metadata, " and ".join(notes), white)


def _values(image: Image.Image, name: str) -> tuple[np.ndarray, int]:
    """Return [H, W, C] float32 in 0..255 or 0..65535, and the depth to write it with."""
    mode = image.mode
    if mode.startswith("I"):  # 16-bit grey; "I" is what some files of it become
        values = np.asarray(image).astype(np.float32)
        if values.min(initial=0) < 0 or values.max(initial=0) > 65535:
            raise ImageFileError(f"{name} has 32-bit integer pixels: save it with 8 or 16 bits a channel.")
        return values[..., None], 16
    if mode == "F":
        raise ImageFileError(f"{name} has floating-point pixels of unknown range: save it with 8 or 16 bits a channel.")
    transparent = mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info
    wanted = "RGBA" if transparent else "L" if mode in ("1", "L") else "RGB"
    values = np.asarray(image.convert(wanted)).astype(np.float32)
    return (values[..., None] if values.ndim == 2 else values), 8


def _is_inverted(file: Image.Image) -> bool:
    """Return whether 0 is white in a TIFF of 16-bit grey; of fewer bits Pillow inverts the values itself."""
    return file.mode.startswith("I") and getattr(file, "tag_v2", {}).get(Base.PhotometricInterpretation) == 0


def _white_of(values: np.ndarray, file: Image.Image, *, guess: bool) -> int:
    """Return the white of 16-bit values: that of the bits which the file uses, since some hold 8, 10 or 12 of them.

    A TIFF may say so itself.

    Args:
        values: As they are stored.
        file: The image.
        guess: Whether the values may tell. A file whose values all fit is not told from a very dark one: both keep
            their scale. Where 0 is white it would be a very bright one, and that would not.
    """
    peak = int(values.max(initial=0))
    said = getattr(file, "tag_v2", {}).get(Base.MaxSampleValue)
    limits = [int(np.max(said))] if isinstance(said, int | tuple) and said else []
    limits = [limit for limit in limits if limit & (limit + 1) == 0]  # else it is the largest value that occurs
    limits += [255, 1023, 4095] if peak and guess else []
    return next((limit for limit in limits if 255 <= limit < 65535 and peak <= limit), 65535)


def _turn_of(file: Image.Image) -> int:
    """Return the turn that the pixels still need, as EXIF numbers it; 1 is none, also for damaged EXIF data."""
    if file.format == "JXL" and not getattr(file, "jpeg", False):
        return 1  # a decoder has turned it; its EXIF data only tell how it was
    try:
        turn = int(file.getexif().get(Base.Orientation, 1))
    except DAMAGED:
        return 1
    return turn if 1 <= turn <= 8 else 1


def _turned(values: np.ndarray, turn: int) -> np.ndarray:
    """Return values [H, W, C] turned upright."""
    if turn in (5, 7):
        values = values.transpose(1, 0, 2)
    quarters = {3: 2, 6: 3, 7: 2, 8: 1}.get(turn, 0)
    values = np.rot90(values, quarters)
    return values[:, ::-1] if turn == 2 else values[::-1] if turn == 4 else values


def _check_one(pixels: Tensor) -> None:
    """Check that pixels are one image of numbers, which a file can hold.

    Raises:
        ImageFileError: They are none, several, or not all finite.
        RestorationError: They are no image.
    """
    check_form(pixels)
    if len(pixels) != 1:
        raise ImageFileError(f"A batch of {len(pixels)} images does not fit into one file: write them one by one.")
    if not pixels.numel():
        height, width = pixels.shape[2:]
        raise ImageFileError(f"The image is {width} x {height} px: there is nothing to write.")
    if not is_finite(pixels):
        raise ImageFileError(
            "The image holds values that are not finite (NaN or infinity), which no file holds: check what made it."
        )


def _integers(pixels: Tensor, white: int, kind: type[np.unsignedinteger[Any]]) -> np.ndarray:
    """Return [H, W, C] of whole numbers, in 0..white."""
    values: np.ndarray = (pixels[0].float().clamp(0, 1).permute(1, 2, 0) * white).round().cpu().numpy().astype(kind)
    return values


def _on_white(pixels: Tensor) -> tuple[Tensor, bool]:
    """Return an image [1, 4, H, W] as it looks on white, [1, 3, H, W], and whether that shows anywhere."""
    colors, alpha = pixels[:, :3].float().clamp(0, 1), pixels[:, 3:].float().clamp(0, 1)
    return torch.lerp(torch.ones_like(colors), colors, alpha), bool((alpha < 1).any())


def _encode(values: np.ndarray, kind: str, metadata: dict[str, Any], quality: int) -> tuple[bytes, list[str]]:
    """Return a file as Pillow writes it, and what does not fit into it."""
    drawing = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
    stream = io.BytesIO()
    if kind == "png":
        options, chunks = png_options(metadata)
        drawing.save(stream, "PNG", **options)
        return insert_chunks(stream.getvalue(), chunks), []
    if kind == "jpg":
        options, lost = jpeg_options(metadata)
        options |= {"quality": quality, "subsampling": 0 if quality >= 90 else 2}
    elif kind == "webp":
        options, lost = webp_options(metadata)
        options |= {"quality": quality, "lossless": quality == 100, "exact": True}
    else:
        options, lost = tiff_options(metadata)
    drawing.save(stream, FORMATS[kind].upper(), **options)
    return stream.getvalue(), lost


def _encode_deep(values: np.ndarray, kind: str, metadata: dict[str, Any]) -> tuple[bytes, list[str]] | None:
    """Return a file of uint16 values [H, W, C] and what does not fit into it; None where nothing here can write it."""
    if kind not in _DEEP:
        return None
    if values.shape[2] == 1:
        return _encode(values, kind, metadata, QUALITY)
    try:
        if kind == "png":
            return insert_chunks(extras.encode_deep_png(values), png_chunks(metadata)), []
        options, lost = deep_tiff_options(metadata)
        return extras.encode_deep_tiff(values, options), lost
    except ImportError:
        return None


def _all_of(stream: BinaryIO) -> bytes:
    stream.seek(0)
    return stream.read()


def _notes(file: Image.Image) -> list[str]:
    """Return what a user should know: several frames, or inks."""
    notes = []
    if getattr(file, "n_frames", 1) > 1:
        notes.append("only its first frame is used")
    if file.mode == "CMYK":
        notes.append("its inks (CMYK) become RGB without its color profile, which may shift colors")
    return notes

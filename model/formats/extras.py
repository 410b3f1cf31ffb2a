"""What Pillow cannot read or write and packages of the extra `formats` can: 16-bit color, HEIC, JPEG XL, raw files.

| package | reads |
|---|---|
| imagecodecs | PNG, JPEG XL, JPEG 2000 and AVIF with more than 8 bits of color, and writes PNG |
| tifffile | TIFF with 16 bits of color, and writes it |
| pillow-heif | HEIC and HEIF |
| pillow-jxl-plugin | JPEG XL |
| rawpy | raw files of cameras |

Each is imported when a file needs it, and not before.
"""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import PurePath
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from PIL.ExifTags import Base

from ..errors import ImageFileError
from .metadata import DAMAGED
from .suffixes import RAW_SUFFIXES

INSTALL = 'pip install ".[formats]" in a checkout of this pack'
"""How to get all of the packages; no index has the pack."""

MODULES = {"HEIC": "pillow_heif", "JPEG XL": "pillow_jxl", "raw": "rawpy"}
"""Kinds of files, and the module that reads each."""

_TIFF = (b"II*\0", b"MM\0*")
_RAW_STARTS = (b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb", b"\0MRM")
_JXL_STARTS = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))


def kind_of(stream: BinaryIO, name: str) -> str:
    """Return the kind of a file that Pillow does not read, a key of `MODULES`, or "" for every other file.

    Args:
        stream: The file, which is read from its start.
        name: Of the file; its suffix tells the raw files that are TIFF files inside.
    """
    stream.seek(0)
    head = stream.read(32)
    stream.seek(0)
    if head.startswith(_JXL_STARTS):
        return "JPEG XL"
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS and b"avif" not in head[12:]:
        return "HEIC"
    raw = head.startswith(_RAW_STARTS) or head[4:12] == b"ftypcrx "
    if head.startswith(_TIFF):
        raw = PurePath(name).suffix.lower() in RAW_SUFFIXES or head[8:10] == b"CR"
    return "raw" if raw else ""


def is_raw_tiff(file: Image.Image) -> bool:
    """Return whether a file is a TIFF that begins with a small preview, as raw files of cameras do."""
    tags = getattr(file, "tag_v2", {})
    return Base.DNGVersion in tags or bool(int(tags.get(Base.NewSubfileType, 0)) & 1)


def missing(kind: str) -> bool:
    """Return whether the package that reads a kind of files is not installed."""
    return find_spec(MODULES[kind]) is None


def missing_message(kind: str, name: str) -> str:
    """Return the sentence about a file whose package is missing."""
    if kind == "raw":
        return (
            f"{name} is a camera's raw file, which this installation cannot develop: {INSTALL}, or develop it first, "
            "to TIFF or JPEG for example."
        )
    return f"{name} is a {kind} file, which this installation cannot read: {INSTALL}, or save it as PNG or JPEG."


def open_special(kind: str, stream: BinaryIO) -> Image.Image:
    """Open a HEIC or JPEG XL file as Pillow opens others; its package must be installed.

    Raises:
        ValueError: It is damaged; also what Pillow raises.
    """
    if kind == "HEIC":
        from pillow_heif import HeifImageFile

        file: Image.Image = HeifImageFile(stream)  # type: ignore[no-untyped-call]
        return file
    import pillow_jxl  # noqa: F401  # which makes it known to Pillow

    try:
        return Image.open(stream)
    except RuntimeError as error:
        raise ValueError(str(error)) from error


def develop(data: bytes, name: str) -> np.ndarray:
    """Return a raw file as uint16 [H, W, 3] in sRGB, upright, with the camera's white balance.

    Raises:
        ImageFileError: It cannot be developed.
    """
    import rawpy

    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            values: np.ndarray = raw.postprocess(use_camera_wb=True, output_bps=16)
            return values
    except (rawpy.LibRawError, *DAMAGED) as error:
        raise ImageFileError(
            f"{name} is a camera's raw file that cannot be developed ({_reason(error)}): develop it first, to TIFF or "
            "JPEG for example."
        ) from error


def deep_color(file: Image.Image, stream: BinaryIO) -> np.ndarray | None:
    """Return the uint16 values [H, W, 3 or 4] of a file with 16-bit color, as they are stored, before any turn.

    None where the file has no 16-bit color that a package reads, or where that package is not installed.
    """
    readers = {"PNG": _deep_png, "TIFF": _deep_tiff, "JXL": _deep_jxl, "HEIF": _deep_heif}
    reader = (readers | dict.fromkeys(("JPEG2000", "AVIF"), _deep_coded)).get(file.format or "")
    if reader is None:
        return None
    stream.seek(0)
    try:
        values = reader(file, stream)
    except (ImportError, *DAMAGED):  # then Pillow's eight bits are what there is
        return None
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        return None
    if values.shape[2] == 2:  # grey and alpha
        values = values[..., [0, 0, 0, 1]]
    return values if values.shape[2] in (3, 4) else None


def encode_deep_png(values: np.ndarray) -> bytes:
    """Return a PNG file without metadata.

    Args:
        values: uint16 [H, W, 3 or 4].

    Raises:
        ImportError: imagecodecs is not installed.
    """
    import imagecodecs

    return bytes(imagecodecs.png_encode(np.ascontiguousarray(values), level=6))


def encode_deep_tiff(values: np.ndarray, options: dict[str, Any]) -> bytes:
    """Return a TIFF file.

    Args:
        values: uint16 [H, W, 3 or 4].
        options: Further arguments of `tifffile.imwrite`.

    Raises:
        ImportError: tifffile is not installed.
    """
    import tifffile

    stream = io.BytesIO()
    alpha = ["unassalpha"] if values.shape[2] == 4 else None
    options = {"photometric": "rgb", "extrasamples": alpha, "compression": "zlib", "software": False, **options}
    tifffile.imwrite(stream, values, metadata=None, **options)
    return stream.getvalue()


def _reason(error: Exception) -> str:
    parts = [part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in error.args]
    return ", ".join(parts) or type(error).__name__


def is_deep(file: Image.Image, stream: BinaryIO) -> bool:
    """Return whether Pillow reads more than 8 bits of color, or of grey and alpha, as 8; to be asked before it loads.

    Args:
        file: The image.
        stream: The file's bytes.
    """
    if file.format in ("JPEG2000", "AVIF"):
        return file.mode in ("RGB", "RGBA", "LA") and _bits_of(file, stream) > 8
    if file.format == "HEIF":
        return int(file.info.get("bit_depth", 8)) > 8
    arguments = [tile[3] for tile in getattr(file, "tile", ())]
    if file.format == "PPM":  # whose decoder takes the largest value
        return file.mode == "RGB" and any(isinstance(each, tuple) and each[1] > 255 for each in arguments)
    return file.mode in ("RGB", "RGBA", "LA") and any(";16" in str(each) for each in arguments)


def _bits_of(file: Image.Image, stream: BinaryIO) -> int:
    """Return the bits per channel that a JPEG 2000 or AVIF file says it has; 8 if it says nothing."""
    position = stream.tell()
    stream.seek(0)
    head = stream.read(2**16)
    stream.seek(position)
    if file.format == "AVIF":
        flags = head[(head + b"av1C").index(b"av1C") + 6 :][:1]
        return 8 if not flags or not flags[0] & 0x40 else 12 if flags[0] & 0x20 else 10
    depth = head[(head + b"\xff\x4f\xff\x51").index(b"\xff\x4f\xff\x51") + 42 :][:1]
    return (depth[0] & 0x7F) + 1 if depth else 8


def _deep_coded(file: Image.Image, stream: BinaryIO) -> np.ndarray | None:
    """Return what a JPEG 2000 or AVIF file holds, on the scale of 16 bits."""
    import imagecodecs

    white = 2 ** _bits_of(file, stream) - 1
    decode = imagecodecs.avif_decode if file.format == "AVIF" else imagecodecs.jpeg2k_decode
    values: np.ndarray = decode(stream.read())
    scaled: np.ndarray = (values.astype(np.float64) * (65535 / white)).round().clip(0, 65535).astype(np.uint16)
    return scaled


def _deep_png(file: Image.Image, stream: BinaryIO) -> np.ndarray | None:
    import imagecodecs

    values: np.ndarray = imagecodecs.png_decode(stream.read())
    return values


def _deep_tiff(file: Image.Image, stream: BinaryIO) -> np.ndarray | None:
    import tifffile

    with tifffile.TiffFile(stream) as tiff:
        page = tiff.pages.first
        values: np.ndarray = page.asarray()
        kinds = [int(kind) for kind in getattr(page, "extrasamples", ())]
        if int(page.photometric) != 2:  # RGB
            return None
        if int(page.planarconfig) == 2:
            values = np.moveaxis(values, 0, -1)
    if not kinds:
        return values
    if kinds[0] not in (1, 2):  # no alpha
        return values[..., :3]
    colors, alpha = values[..., :3], values[..., 3:4]
    if kinds[0] == 1:  # multiplied into the colors
        whole = colors.astype(np.float64) * 65535 / np.maximum(alpha, 1)
        colors = whole.round().clip(0, 65535).astype(np.uint16)
    return np.concatenate([colors, alpha], axis=2)


def _deep_jxl(file: Image.Image, stream: BinaryIO) -> np.ndarray | None:
    import imagecodecs

    values: np.ndarray = imagecodecs.jpegxl_decode(stream.read())
    return values


def _deep_heif(file: Image.Image, stream: BinaryIO) -> np.ndarray | None:
    from pillow_heif import open_heif

    return np.asarray(open_heif(stream, convert_hdr_to_8bit=False))

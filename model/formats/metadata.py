"""What image files carry besides their pixels: what stays true of the restored image, and where each format puts it.

Metadata is a mapping with these keys, all optional: `icc_profile`, `exif`, `xmp`, `iptc` and `comment` (bytes), `dpi`
(horizontal, vertical) and `chunks` (those of a PNG file, as `png.Chunk`).
"""

from __future__ import annotations

import io
import logging
import re
import struct
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

from PIL import Image
from PIL.ExifTags import IFD, Base

from . import png

DAMAGED = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error),
    *(KeyError, TypeError, AttributeError, ArithmeticError),
)
"""What Pillow raises for damaged metadata."""

_TAGS_OF_THE_IMAGE = (
    *(Base.ImageDescription, Base.Make, Base.Model, Base.Software, Base.DateTime, Base.Artist, Base.HostComputer),
    *(Base.Rating, Base.RatingPercent, Base.Copyright),
    *(Base.XPTitle, Base.XPComment, Base.XPAuthor, Base.XPKeywords, Base.XPSubject),
)
"""EXIF tags that are true of the restored image, too."""

_TAGS_OF_THE_FILE = (Base.MakerNote, Base.ExifImageWidth, Base.ExifImageHeight, Base.ExifInteroperabilityOffset)
"""Of the tags about the exposure those that depend on this file's size or layout."""

_IPTC_IN_PHOTOSHOP = 0x0404
_IPTC_TAG, _XMP_TAG = 33723, 700
_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_SEGMENT = 65533
"""Bytes that a segment of a JPEG file holds at most."""

log = logging.getLogger(__name__)


def read_metadata(file: Image.Image, turn: int, stream: BinaryIO) -> tuple[dict[str, Any], list[str]]:
    """Return what stays true of an image when it is restored, and what is lost, in words for the user.

    Args:
        file: The image as it was opened.
        turn: What makes it upright, as EXIF numbers it.
        stream: The file's bytes.
    """
    metadata: dict[str, Any] = {}
    lost: list[str] = []
    try:
        _read_profile(file, metadata, lost)
        _read_resolution(file, turn, metadata)
        _read_texts(file, metadata, lost)
        if exif := _kept_exif(file.getexif()):
            metadata["exif"] = exif.tobytes()
    except DAMAGED as error:  # no reason not to restore an image whose pixels are sound
        log.debug("The metadata of an image cannot be kept: %s", error)
        lost.append("metadata, which are damaged")
    chunks, names = png.read_chunks(stream)
    if chunks:
        metadata["chunks"] = chunks
    if names:
        lost.append(f"PNG chunks {', '.join(names)}")
    return metadata, lost


def png_options(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], list[png.Chunk]]:
    """Return Pillow's arguments and the further chunks that keep all metadata in a PNG file."""
    options = {key: metadata[key] for key in ("icc_profile", "dpi", "exif") if key in metadata}
    chunks = list(metadata.get("chunks", ()))
    if "icc_profile" in metadata:
        chunks = [chunk for chunk in chunks if chunk[0] != b"sRGB"]  # the two exclude each other
    if "xmp" in metadata:
        chunks.append(png.text_chunk(png.XMP_KEYWORD, metadata["xmp"]))
    if "comment" in metadata:
        chunks.append(png.text_chunk(b"Comment", metadata["comment"]))
    if "iptc" in metadata:
        chunks.append(png.raw_profile("iptc", metadata["iptc"]))
    return options, chunks


def png_chunks(metadata: Mapping[str, Any]) -> list[png.Chunk]:
    """Return all chunks that keep the metadata in a PNG file that Pillow does not write."""
    options, chunks = png_options(metadata)
    stream = io.BytesIO()
    Image.new("L", (1, 1)).save(stream, "PNG", **options)
    return [*png.ancillary_chunks(stream.getvalue()), *chunks]


def jpeg_options(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return Pillow's arguments for a JPEG file, and what does not fit into one."""
    options = {key: metadata[key] for key in ("icc_profile", "exif", "comment") if key in metadata}
    lost = png.kinds_of(metadata.get("chunks", ()))
    if "dpi" in metadata:
        options["dpi"] = tuple(max(1, round(each)) for each in metadata["dpi"])
    for key, name in (("exif", "EXIF data"), ("comment", "comment")):
        if len(options.get(key, b"")) > _SEGMENT:
            del options[key]
            lost.append(name)
    segments = b""
    if "xmp" in metadata:
        segments += _segment(0xE1, _XMP_IN_JPEG + metadata["xmp"], "XMP", lost)
    if "iptc" in metadata:
        iptc = metadata["iptc"] + b"\0" * (len(metadata["iptc"]) % 2)
        block = b"8BIM" + struct.pack(">HHI", _IPTC_IN_PHOTOSHOP, 0, len(metadata["iptc"])) + iptc
        segments += _segment(0xED, b"Photoshop 3.0\0" + block, "IPTC data", lost)
    if segments:
        options["extra"] = segments
    return options, lost


def webp_options(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return Pillow's arguments for a WebP file, and what does not fit into one."""
    options = {key: metadata[key] for key in ("icc_profile", "exif", "xmp") if key in metadata}
    lost = png.kinds_of(metadata.get("chunks", ()))
    lost += [name for key, name in (("iptc", "IPTC data"), ("comment", "comment")) if key in metadata]
    if "dpi" in metadata:  # WebP has no other place for it
        exif = _exif_of(metadata)
        exif[Base.XResolution], exif[Base.YResolution] = metadata["dpi"]
        exif[Base.ResolutionUnit] = 2
        options["exif"] = exif.tobytes()
    return options, lost


def tiff_options(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return Pillow's arguments for a TIFF file, and what does not fit into one."""
    options = {key: metadata[key] for key in ("icc_profile", "dpi") if key in metadata}
    lost = png.kinds_of(metadata.get("chunks", ()))
    tags: dict[int, Any] = {
        tag: metadata[key] for tag, key in ((_XMP_TAG, "xmp"), (_IPTC_TAG, "iptc")) if key in metadata
    }
    exif = Image.Exif()
    exif.load(metadata.get("exif", b""))
    if "comment" in metadata and Base.ImageDescription in exif:
        lost.append("comment")
    elif "comment" in metadata:
        tags[Base.ImageDescription] = metadata["comment"]
    for number, value in (*_texts_as_bytes(exif), *tags.items()):
        exif[number] = value
    if exif.get_ifd(IFD.Exif) or exif.get_ifd(IFD.GPSInfo):
        options["compression"] = "raw"  # all that Pillow can write them with
    else:
        options["compression"] = "tiff_adobe_deflate"
    return options | {"exif": exif}, lost


def deep_tiff_options(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return tifffile's arguments for a TIFF file, and what it cannot put into one."""
    lost = png.kinds_of(metadata.get("chunks", ()))
    options: dict[str, Any] = {"iccprofile": metadata.get("icc_profile")}
    if "dpi" in metadata:
        options |= {"resolution": metadata["dpi"], "resolutionunit": "INCH"}
    tags = [(_XMP_TAG, "xmp", 1), (_IPTC_TAG, "iptc", 7)]
    extra: list[tuple[int, int, int, Any, bool]] = [
        (tag, kind, len(metadata[key]), metadata[key], True) for tag, key, kind in tags if key in metadata
    ]
    if "comment" in metadata:
        options["description"] = metadata["comment"]
    if "exif" in metadata:
        exif = _exif_of(metadata)
        for tag in (Base.Make, Base.Model, Base.Software, Base.DateTime, Base.Artist, Base.Copyright):
            if tag in exif:
                text = exif[tag] if isinstance(exif[tag], bytes) else str(exif[tag]).encode()
                extra.append((int(tag), 2, len(text) + 1, text + b"\0", True))
        if exif.get_ifd(IFD.Exif) or exif.get_ifd(IFD.GPSInfo):
            lost.append("EXIF data about the shot")
    return options | {"extratags": extra}, lost


def listed(names: list[str]) -> str:
    """Return "its a, b and c"."""
    return "its " + (", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else names[0])


def _read_profile(file: Image.Image, metadata: dict[str, Any], lost: list[str]) -> None:
    """Keep the color profile where the pixels are written in the colors that it is about."""
    profile = file.info.get("icc_profile")
    if not isinstance(profile, bytes) or not profile or file.mode == "CMYK":  # of which there is another note
        return
    grey = file.mode in ("1", "L") or file.mode.startswith("I")  # grey with alpha is written in color
    if grey or file.mode in ("P", "PA", "RGB", "RGBA", "RGBX"):
        metadata["icc_profile"] = profile
    else:
        lost.append("color profile")


def _read_resolution(file: Image.Image, turn: int, metadata: dict[str, Any]) -> None:
    """Keep the resolution where the file has one: Pillow invents some."""
    dpi, exif = file.info.get("dpi"), file.getexif()
    measured = exif.get(Base.ResolutionUnit, 2) in (2, 3) and bool(exif.get(Base.XResolution))
    if file.format == "TIFF":
        dpi = dpi if Base.XResolution in getattr(file, "tag_v2", {}) else None
    elif file.format in ("JPEG", "MPO") and file.info.get("jfif_unit") not in (1, 2):
        dpi = dpi if measured else None
    elif dpi is None and measured and file.format in ("WEBP", "AVIF", "HEIF", "JXL"):
        unit = 2.54 if exif.get(Base.ResolutionUnit) == 3 else 1.0
        dpi = tuple(float(exif.get(tag, exif[Base.XResolution])) * unit for tag in (Base.XResolution, Base.YResolution))
    if dpi and all(0 < float(each) < 100_000 for each in dpi):
        metadata["dpi"] = tuple(float(each) for each in dpi)[:: -1 if turn >= 5 else 1]


def _read_texts(file: Image.Image, metadata: dict[str, Any], lost: list[str]) -> None:
    """Keep XMP, IPTC data and comments; the orientation in XMP is applied, as that in EXIF data is."""
    tags, segments = getattr(file, "tag_v2", {}), getattr(file, "applist", None) or ()
    xmp = file.info.get("xmp") or file.info.get(png.XMP_KEYWORD.decode()) or tags.get(_XMP_TAG)
    for _, data in segments if xmp is None else ():  # which Pillow before 11.0 does not name
        xmp = data[len(_XMP_IN_JPEG) :] if data.startswith(_XMP_IN_JPEG) else xmp
    if isinstance(xmp, str):
        xmp = xmp.encode()
    if isinstance(xmp, bytes) and xmp.strip(b"\0"):
        metadata["xmp"] = re.sub(rb"(tiff:Orientation(=[\"']|>))[0-9]", rb"\g<1>1", xmp.rstrip(b"\0"))
    iptc = tags.get(_IPTC_TAG)
    photoshop = file.info.get("photoshop")
    if isinstance(photoshop, dict):
        iptc = photoshop.get(_IPTC_IN_PHOTOSHOP)
    if isinstance(iptc, bytes) and iptc:
        metadata["iptc"] = iptc
    elif iptc:
        lost.append("IPTC data")
    comment = file.info.get("comment")
    if isinstance(comment, str):
        comment = comment.encode()
    if isinstance(comment, bytes) and comment.strip(b"\0 "):
        metadata["comment"] = comment.rstrip(b"\0")
    if any(data.startswith(b"http://ns.adobe.com/xmp/extension/") for _, data in segments):
        lost.append("extended XMP")
    if any(name == "APP11" and b"jumb" in data[:64] for name, data in segments):
        lost.append("content credentials (C2PA), which would no longer be true")


def _exif_of(metadata: Mapping[str, Any]) -> Image.Exif:
    """Return EXIF data to which tags can be added."""
    exif = Image.Exif()
    exif.load(metadata.get("exif", b""))
    return _kept_exif(exif)


def _kept_exif(exif: Image.Exif) -> Image.Exif:
    """Return what stays true when the image is restored, turned upright and written to another file."""
    kept = Image.Exif()
    for tag in _TAGS_OF_THE_IMAGE:
        if exif.get(tag) is not None:
            kept[tag] = exif[tag]
    for number, value in _texts_as_bytes(kept):
        kept[number] = value
    for folder in (IFD.Exif, IFD.GPSInfo):
        tags = {tag: value for tag, value in exif.get_ifd(folder).items() if tag not in _TAGS_OF_THE_FILE}
        if tags:
            kept[folder] = tags
    return kept


def _texts_as_bytes(exif: Image.Exif) -> list[tuple[int, bytes]]:
    """Return texts that are not ASCII as the bytes that they were; Pillow would write question marks."""
    texts = [(tag, value) for tag, value in exif.items() if isinstance(value, str) and not value.isascii()]
    return [(tag, value.encode("latin-1", "replace")) for tag, value in texts]


def _segment(marker: int, data: bytes, name: str, lost: list[str]) -> bytes:
    """Return a segment of a JPEG file; nothing, and a word in `lost`, if it is too long."""
    if len(data) > _SEGMENT:
        lost.append(name)
        return b""
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data

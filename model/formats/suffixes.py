"""File name suffixes of images, and the formats that are written; the standard library is all that this needs."""

from __future__ import annotations

FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WebP", "tif": "TIFF"}
"""Formats that can be written: suffix without its dot -> name."""

QUALITY = 95
"""Default of JPEG and WebP files."""

RAW_SUFFIXES = frozenset(
    (
        *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dng", ".erf", ".iiq", ".kdc", ".mef", ".mos", ".mrw", ".nef"),
        *(".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
    )
)
"""Raw files of cameras."""

IMAGE_SUFFIXES = RAW_SUFFIXES.union(
    (".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif"),
    (".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".dds", ".ico", ".psd", ".jp2", ".j2k", ".jxl", ".avif", ".heic"),
    (".heif", ".hif"),
)
"""Images of any kind."""

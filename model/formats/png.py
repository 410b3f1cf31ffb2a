"""Chunks of PNG files, which are copied as they are: Pillow drops most of those that say what the colors mean."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO

Chunk = tuple[bytes, bytes]
"""Name and data."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"

COLOR_CHUNKS = frozenset((b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"mDCv", b"cLLI", b"cLLi"))
"""What the values of the pixels mean, besides a color profile."""

TEXT_CHUNKS = frozenset((b"tEXt", b"zTXt", b"iTXt"))

XMP_KEYWORD = b"XML:com.adobe.xmp"

_READ_BY_PILLOW = (XMP_KEYWORD, b"Raw profile type exif", b"Raw profile type APP1", b"Raw profile type xmp")
"""Keywords of texts that reach the restored image in another way."""

_OF_THE_FILE = frozenset(
    (
        b"IHDR",
        b"PLTE",
        b"IDAT",
        b"IEND",
        b"tRNS",
        b"bKGD",
        b"hIST",
        b"sBIT",
        b"sPLT",
        b"tIME",
        b"pHYs",
        b"iCCP",
        b"eXIf",
    )
    + (b"iDOT", b"acTL", b"fcTL", b"fdAT")
)
"""Chunks that Pillow reads, or that mean nothing for other pixels."""

_LONGEST = 64 * 2**20
"""In bytes: chunks beyond it are left out."""


def read_chunks(file: BinaryIO) -> tuple[tuple[Chunk, ...], list[str]]:
    """Return the chunks of a PNG file that stay true of the restored image, and the names of others that are lost.

    Args:
        file: Any file, read from its start; what is not a PNG file has no chunks, and a damaged one those before the
            damage.
    """
    kept: list[Chunk] = []
    lost: dict[str, None] = {}
    file.seek(0)
    if file.read(8) != SIGNATURE:
        return (), []
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name == b"IEND":
            break
        if name in _OF_THE_FILE or length > _LONGEST:
            file.seek(length + 4, 1)
            continue
        data, check = file.read(length), file.read(4)
        if len(check) < 4 or struct.unpack(">I", check)[0] != zlib.crc32(name + data):
            break
        keyword = data.split(b"\0", 1)[0]
        if name in COLOR_CHUNKS or (name in TEXT_CHUNKS and keyword not in _READ_BY_PILLOW):
            kept.append((name, data))
        elif name not in TEXT_CHUNKS:
            lost[name.decode("latin-1")] = None
    return tuple(kept), list(lost)


def insert_chunks(png: bytes, chunks: Iterable[Chunk]) -> bytes:
    """Return a PNG file with further chunks right behind its header, which is before its colors."""
    end = len(SIGNATURE) + 8 + 13 + 4
    return b"".join((png[:end], *(_encode(name, data) for name, data in chunks), png[end:]))


def ancillary_chunks(png: bytes) -> list[Chunk]:
    """Return the chunks of an intact PNG file that a reader may ignore, all that are not about its pixels."""
    found, position = [], len(SIGNATURE)
    while position < len(png):
        length, name = struct.unpack(">I4s", png[position : position + 8])
        if name[0] & 0x20:
            found.append((name, png[position + 8 : position + 8 + length]))
        position += length + 12
    return found


def text_chunk(keyword: bytes, text: bytes) -> Chunk:
    """Return a chunk with a text: international where it is UTF-8 but not ASCII, else Latin-1."""
    if keyword == XMP_KEYWORD or (not text.isascii() and _is_utf_8(text)):
        return b"iTXt", keyword + b"\0\0\0\0\0" + text
    return b"tEXt", keyword + b"\0" + text


def raw_profile(kind: str, data: bytes) -> Chunk:
    """Return data for which PNG has no chunk of its own, as the programs that keep such data do: in hexadecimal."""
    digits = data.hex()
    lines = [digits[start : start + 72] for start in range(0, len(digits), 72)]
    text = f"\n{kind}\n{len(data):8d}\n" + "\n".join(lines) + "\n"
    return b"zTXt", f"Raw profile type {kind}".encode() + b"\0\0" + zlib.compress(text.encode())


def kinds_of(chunks: Sequence[Chunk]) -> list[str]:
    """Return what chunks hold, in words for the user."""
    names = [name.decode() for name, _ in chunks if name in COLOR_CHUNKS]
    texts = [data.split(b"\0", 1)[0].decode("latin-1") for name, data in chunks if name in TEXT_CHUNKS]
    kinds = [f"color data ({', '.join(dict.fromkeys(names))})"] if names else []
    return kinds + ([f"texts ({', '.join(dict.fromkeys(texts))})"] if texts else [])


def _encode(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _is_utf_8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True

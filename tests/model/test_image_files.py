"""Image files: what they carry besides pixels, 16 bits, damage, and kinds that take further packages."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mofe_restore.model.errors import ImageFileError, MofeError
from mofe_restore.model.formats import extras, png
from mofe_restore.model.image_files import encode_image, is_image_file, is_raw_file, read_image, write_image

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" dc:title="Sea"/></x:xmpmeta>'
IPTC = b"\x1c\x02\x78\x00\x05hello"
COLORS = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
DEEP = np.random.default_rng(1).integers(0, 65536, (24, 36, 4), dtype=np.uint16)


def file_of(pixels: np.ndarray, kind: str, **options: Any) -> io.BytesIO:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    stream.seek(0)
    return stream


def with_chunks(*chunks: tuple[bytes, bytes]) -> io.BytesIO:
    return io.BytesIO(png.insert_chunks(file_of(COLORS, "PNG").getvalue(), chunks))


def chunks_of(data: bytes) -> dict[bytes, bytes]:
    return dict(png.ancillary_chunks(data))


def photoshop_segment(data: bytes) -> bytes:
    block = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"\xff\xed" + struct.pack(">H", len(block) + 2) + block


def camera_jpeg(**options: Any) -> io.BytesIO:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    exif[0x8769] = {0x829A: 0.004}
    extra = (
        photoshop_segment(IPTC)
        + b"\xff\xe1"
        + struct.pack(">H", len(XMP) + 31)
        + b"http://ns.adobe.com/xap/1.0/\0"
        + XMP
    )
    return file_of(COLORS, "JPEG", exif=exif, comment=b"by the sea", extra=extra, dpi=(300, 200), **options)


@pytest.fixture
def without_extras(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the packages of the extra `formats` were not installed."""
    import sys

    for name in ("imagecodecs", "tifffile", "pillow_heif", "pillow_jxl", "rawpy"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    return


@pytest.mark.field
class TestRow14Color:
    @pytest.mark.parametrize(
        "chunk",
        [
            (b"gAMA", struct.pack(">I", 100000)),
            (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)),
            (b"cICP", bytes((12, 13, 0, 1))),
            (b"sRGB", b"\0"),
        ],
    )
    def test_row14_color_chunks_are_kept_or_named(self, chunk: tuple[bytes, bytes]) -> None:
        image = read_image(with_chunks(chunk))
        encoded = encode_image(image, "png", like=image)
        assert chunks_of(encoded.data)[chunk[0]] == chunk[1] and encoded.note == image.note == ""
        for kind in ("jpg", "webp", "tif"):
            assert chunk[0].decode() in encode_image(image, kind, like=image).note

    def test_row14_texts_and_comments_of_png_are_kept_as_they_are(self) -> None:
        texts = [
            (b"tEXt", b"Title\0My scan"),
            (b"zTXt", b"Comment\0\0" + zlib.compress(b"long ago")),
            (b"iTXt", b"workflow\0\0\0\0\0" + "\u00e9{}".encode()),
        ]
        image = read_image(with_chunks(*texts))
        kept = encode_image(image, "png", like=image).data
        assert [chunk for chunk in png.ancillary_chunks(kept) if chunk[0] in png.TEXT_CHUNKS] == texts
        assert "texts (Title, Comment, workflow)" in encode_image(image, "jpg", like=image).note

    def test_row14_a_chunk_that_cannot_be_kept_is_named(self) -> None:
        assert "caBX" in read_image(with_chunks((b"caBX", b"signed"))).note

    @pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif"])
    def test_row14_xmp_iptc_comment_and_resolution_survive_or_are_named(self, kind: str) -> None:
        image = read_image(camera_jpeg())
        assert image.pixels.shape[2:] == (36, 24) and image.note == ""
        encoded = encode_image(image, kind, like=image)
        again = read_image(io.BytesIO(encoded.data))
        assert again.pixels.shape == image.pixels.shape, "the orientation is applied once"
        assert again.metadata["xmp"] == XMP.replace(b'"6"', b'"1"')
        assert again.metadata["dpi"] == pytest.approx((200, 300), abs=0.1)
        with Image.open(io.BytesIO(encoded.data)) as file:
            exif = file.getexif()
            assert exif[0x010F] == "a camera" and exif.get_ifd(0x8769)[0x829A] == pytest.approx(0.004)
            if kind == "png":
                assert file.text["Comment"] == "by the sea"  # type: ignore[attr-defined]
                assert bytes.fromhex(file.text["Raw profile type iptc"].split("\n")[3]) == IPTC  # type: ignore[attr-defined]
            elif kind == "jpg":
                assert file.info["comment"] == b"by the sea" and again.metadata["iptc"] == IPTC
            elif kind == "tif":
                assert exif[270] == "by the sea" and again.metadata["iptc"] == IPTC
        assert encoded.note == ("WebP has no place for its IPTC data and comment" if kind == "webp" else "")

    def test_row14_a_file_without_resolution_gets_none(self) -> None:
        exif = Image.Exif()
        exif[0x010F] = "a camera"
        for stream in (file_of(COLORS, "TIFF"), file_of(COLORS, "JPEG", exif=exif)):
            image = read_image(stream)
            assert "dpi" not in image.metadata
            assert b"pHYs" not in chunks_of(encode_image(image, "png", like=image).data)

    def test_row14_a_color_profile_that_cannot_be_kept_is_named(self) -> None:
        stream = file_of(COLORS[..., :2], "PNG", icc_profile=b"of grey")
        assert "color profile" in read_image(stream).note

    @pytest.mark.parametrize("depth", [8, 16])
    @pytest.mark.parametrize("kind", ["png", "jpg", "webp", "tif"])
    def test_a_profile_of_grey_stays_where_pixels_are_grey(self, kind: str, depth: int) -> None:
        values = COLORS[..., 0] if depth == 8 else DEEP[..., 0]
        image = read_image(file_of(np.ascontiguousarray(values), "PNG", icc_profile=b"of grey"))
        encoded = encode_image(image, kind, like=image)
        with Image.open(io.BytesIO(encoded.data)) as file:
            in_color = file.mode == "RGB"
            assert in_color == (kind == "webp") and file.info.get("icc_profile") == (None if in_color else b"of grey")
        assert ("color profile is not kept" in encoded.note) == in_color


@pytest.mark.field
class TestRow14Depth:
    @pytest.mark.parametrize("channels", [3, 4])
    @pytest.mark.parametrize("kind", ["png", "tif"])
    @pytest.mark.parametrize("output", ["png", "tif"])
    def test_row14_sixteen_bits_of_color_stay(self, channels: int, kind: str, output: str) -> None:
        values = np.ascontiguousarray(DEEP[..., :channels])
        if kind == "png":
            data = extras.encode_deep_png(values)
        else:
            data = extras.encode_deep_tiff(values, {"extratags": [(274, 3, 1, 6, True)]})  # to be turned
            values = np.rot90(values, -1)
        image = read_image(io.BytesIO(data))
        assert image.depth == 16 and image.note == ""
        again = read_image(io.BytesIO(encode_image(image, output, like=image).data))
        for each in (image, again):
            assert np.array_equal((each.pixels[0].permute(1, 2, 0).numpy() * 65535).round(), values)

    def test_row14_metadata_of_sixteen_bits_of_color_are_kept(self) -> None:
        gamma = (b"gAMA", struct.pack(">I", 45455))
        image = read_image(io.BytesIO(png.insert_chunks(extras.encode_deep_png(DEEP[..., :3]), [gamma])))
        kept = {**image.metadata, "icc_profile": b"a profile", "dpi": (300.0, 300.0), "xmp": b"<x/>"}
        image = type(image)(image.pixels, 16, kept, "", 65535)
        chunks = chunks_of(encode_image(image, "png", like=image).data)
        assert chunks[b"gAMA"] == gamma[1] and {b"iCCP", b"pHYs", b"iTXt"} <= chunks.keys()
        again = read_image(io.BytesIO(encode_image(image, "tif", like=image).data))
        assert again.metadata["icc_profile"] == b"a profile" and again.metadata["xmp"] == b"<x/>"
        assert again.metadata["dpi"] == (300.0, 300.0)

    def test_row14_without_the_packages_eight_bits_are_left_and_said(self, without_extras: None) -> None:
        data = file_of(COLORS, "PNG").getvalue()
        deep = data[:24] + b"\x10" + data[25:29]  # the header says 16 bits
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in DEEP[..., :3])
        chunks = [(b"IHDR", deep[16:29]), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
        stream = io.BytesIO(png.SIGNATURE + b"".join(png._encode(*chunk) for chunk in chunks))
        image = read_image(stream)
        assert image.depth == 8 and 'pip install ".[formats]" in a checkout' in image.note
        like = type(image)(image.pixels, 16)
        assert 'pip install ".[formats]" in a checkout' in encode_image(image, "png", like=like).note

    @pytest.mark.parametrize(("kind", "bits"), [("avif", 10), ("avif", 12), ("jpeg2k", 12), ("jpeg2k", 16)])
    def test_row14_more_than_eight_bits_of_other_formats_stay(self, kind: str, bits: int) -> None:
        imagecodecs = pytest.importorskip("imagecodecs")
        top = 2**bits - 1
        ramp = np.linspace(0, top, 48 * 64).reshape(48, 64, 1).astype(np.uint16)
        values = np.ascontiguousarray(np.repeat(ramp, 3, axis=2))
        if kind == "avif":
            data = imagecodecs.avif_encode(values, level=100, bitspersample=bits)
        else:
            data = imagecodecs.jpeg2k_encode(values, level=0, bitspersample=bits)
        image = read_image(io.BytesIO(data))
        assert (image.depth, image.white, image.note) == (16, 65535, "")
        assert np.abs(image.pixels[0].permute(1, 2, 0).numpy() - values / top).max() < 1.5 / 255 / 2

    def test_row14_eight_bit_formats_say_that_they_take_eight(self) -> None:
        image = read_image(io.BytesIO(extras.encode_deep_png(DEEP[..., :3])))
        for kind in ("jpg", "webp"):
            assert "16 bits a channel" in encode_image(image, kind, like=image).note

    @pytest.mark.parametrize("channels", [1, 3])
    @pytest.mark.parametrize("bits", [8, 10, 12])
    def test_row14_fewer_bits_in_sixteen_keep_their_scale(self, bits: int, channels: int, tmp_path: Path) -> None:
        top = 2**bits - 1
        values = np.random.default_rng(0).integers(0, top, (24, 36, channels), dtype=np.uint16, endpoint=True)
        values[0, 0] = top
        path = tmp_path / "in.png"
        if channels == 1:
            Image.fromarray(values[..., 0]).save(path)
        else:
            path.write_bytes(extras.encode_deep_png(values))
        image = read_image(path)
        assert image.white == top and image.pixels.max() == 1 and f"{bits}-bit" in image.note
        assert write_image(tmp_path / "out.png", image, like=image) == ""
        assert np.array_equal(extras_or_pillow(tmp_path / "out.png"), values.squeeze())

    def test_row14_black_and_full_range_are_sixteen_bits(self) -> None:
        for values in (np.zeros((24, 24), np.uint16), DEEP[..., 0]):
            image = read_image(file_of(np.ascontiguousarray(values), "PNG"))
            assert image.white == 65535 and image.note == ""

    @pytest.mark.parametrize(("bits", "declared"), [(8, None), (16, None), (16, 4095)])
    def test_grey_whose_zero_is_white_is_no_negative(self, bits: int, declared: int | None, tmp_path: Path) -> None:
        tifffile = pytest.importorskip("tifffile")
        top = declared or 2**bits - 1
        bright = np.linspace(0, top // 20, 24 * 36).reshape(24, 36).astype(np.uint8 if bits == 8 else np.uint16)
        path, tags = tmp_path / "in.tif", [(281, 3, 1, declared, True)] if declared else []
        tifffile.imwrite(path, bright, photometric="miniswhite", extratags=tags)
        image = read_image(path)
        assert np.abs(image.pixels[0, 0].numpy() - (1 - bright / top)).max() < 1e-6
        again = read_image(io.BytesIO(encode_image(image, "tif", like=image).data))
        assert torch.equal(again.pixels, image.pixels)


def extras_or_pillow(path: Path) -> np.ndarray:
    import imagecodecs

    return np.asarray(imagecodecs.png_decode(path.read_bytes()))


@pytest.mark.field
class TestRow14Damage:
    @pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}])
    @pytest.mark.parametrize("cut", [1, 2])
    def test_row14_a_jpeg_that_lacks_only_its_end_marker_is_read(self, options: dict[str, Any], cut: int) -> None:
        whole = file_of(COLORS, "JPEG", **options).getvalue()
        assert whole.endswith(b"\xff\xd9")
        image = read_image(io.BytesIO(whole[:-cut]))
        assert "end marker" in image.note
        assert torch.equal(image.pixels, read_image(io.BytesIO(whole)).pixels)

    @pytest.mark.parametrize("options", [{}, {"progressive": True}])
    @pytest.mark.parametrize("cut", [12, 60, 400])
    def test_row14_a_jpeg_that_lacks_pixels_is_refused(self, options: dict[str, Any], cut: int) -> None:
        whole = file_of(COLORS, "JPEG", quality=95, **options).getvalue()
        with pytest.raises(ImageFileError, match="damaged"):
            read_image(io.BytesIO(whole[:-cut]))

    def test_row14_a_progressive_jpeg_that_lacks_whole_scans_is_refused(self) -> None:
        whole = file_of(COLORS, "JPEG", quality=95, progressive=True).getvalue()
        last = whole.rindex(b"\xff\xda")
        table = whole.rindex(b"\xff\xc4", 0, last)
        for end in (last, table):
            with pytest.raises(ImageFileError, match="damaged"):
                read_image(io.BytesIO(whole[:end]))


@pytest.mark.field
class TestRow15Formats:
    def test_row15_the_suffix_says_the_format(self, tmp_path: Path) -> None:
        image = read_image(file_of(COLORS, "PNG"))
        for name, kind in (
            ("a.png", "PNG"),
            ("a.JPG", "JPEG"),
            ("a.jpeg", "JPEG"),
            ("a.webp", "WEBP"),
            ("a.tif", "TIFF"),
        ):
            write_image(tmp_path / name, image)
            with Image.open(tmp_path / name) as file:
                assert file.format == kind
        with pytest.raises(ImageFileError, match="suffix"):
            write_image(tmp_path / "a.bmp", image)

    def test_row15_quality_decides_the_size_and_webp_of_100_is_lossless(self) -> None:
        image = read_image(file_of(COLORS, "PNG"))
        for kind in ("jpg", "webp"):
            assert len(encode_image(image, kind, quality=30).data) < len(encode_image(image, kind, quality=90).data)
        lossless = read_image(io.BytesIO(encode_image(image, "webp", quality=100).data))
        assert torch.equal(lossless.pixels, image.pixels)

    def test_row15_jpeg_has_no_transparency_and_says_so(self) -> None:
        pixels = np.dstack([COLORS, np.zeros((24, 36), np.uint8)])
        image = read_image(file_of(pixels, "PNG"))
        encoded = encode_image(image, "jpg", like=image)
        assert "white" in encoded.note
        assert read_image(io.BytesIO(encoded.data)).pixels.min() > 0.98

    def test_row15_a_format_that_is_too_small_costs_one_sentence(self) -> None:
        with pytest.raises(ImageFileError, match="16383 px a side"):
            encode_image(torch.zeros(1, 3, 16, 16384), "webp")


def foreign(kind: str) -> bytes:
    if kind == "HEIC":
        return b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(64)
    if kind == "JPEG XL":
        return b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(64)
    return {"CR3": b"\0\0\0\x18ftypcrx ", "RAF": b"FUJIFILMCCD-RAW ", "NEF": b"II*\0\x08\0\0\0"}[kind] + bytes(64)


@pytest.mark.field
class TestRow16Kinds:
    @pytest.mark.parametrize(
        ("kind", "suffix", "says"),
        [
            ("HEIC", ".heic", "a HEIC file"),
            ("JPEG XL", ".jxl", "a JPEG XL file"),
            ("CR3", ".cr3", "raw file"),
            ("RAF", ".raf", "raw file"),
            ("NEF", ".nef", "raw file"),
        ],
    )
    def test_row16_one_sentence_names_the_extra(
        self, kind: str, suffix: str, says: str, tmp_path: Path, without_extras: None
    ) -> None:
        path = tmp_path / f"in{suffix}"
        path.write_bytes(foreign(kind))
        assert not is_image_file(path) and is_raw_file(path) == (says == "raw file")
        with pytest.raises(ImageFileError, match=r"pip install \"\.\[formats\]\" in a checkout") as caught:
            read_image(path)
        assert says in str(caught.value) and str(caught.value).count(". ") == 0

    @pytest.mark.parametrize("kind", ["HEIC", "JPEG XL", "CR3", "RAF", "NEF"])
    def test_row16_damaged_ones_cost_one_sentence(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / ("in.nef" if kind == "NEF" else "in")
        path.write_bytes(foreign(kind))
        with pytest.raises(ImageFileError):
            read_image(path)

    def test_row16_heic_is_read(self) -> None:
        pillow_heif = pytest.importorskip("pillow_heif")
        smooth = np.add.outer(np.arange(64), np.arange(96))[..., None].astype(np.uint8) + np.zeros(3, np.uint8)
        stream = io.BytesIO()
        pillow_heif.from_pillow(Image.fromarray(smooth)).save(stream, quality=95)
        image = read_image(stream)
        assert image.pixels.shape == (1, 3, 64, 96)
        assert np.abs(image.pixels[0].permute(1, 2, 0).numpy() * 255 - smooth).mean() < 3

    def test_row16_jpeg_xl_is_read_with_all_its_bits(self, tmp_path: Path) -> None:
        imagecodecs = pytest.importorskip("imagecodecs")
        pytest.importorskip("pillow_jxl")
        values = np.ascontiguousarray(DEEP[..., :3])
        path = tmp_path / "in.jxl"
        path.write_bytes(imagecodecs.jpegxl_encode(values, lossless=True))
        image = read_image(path)
        assert is_image_file(path) and image.depth == 16
        assert np.array_equal((image.pixels[0].permute(1, 2, 0).numpy() * 65535).round(), values)

    def test_row16_a_raw_file_is_developed(self, tmp_path: Path) -> None:
        tifffile = pytest.importorskip("tifffile")
        pytest.importorskip("rawpy")
        path = tmp_path / "in.dng"
        mosaic = np.full((64, 96), 8000, np.uint16)
        mosaic[:, 48:] = 30000
        tags = [
            (271, 2, 5, b"Mofe\0", True),  # make and model
            (272, 2, 5, b"Test\0", True),
            (33421, 3, 2, (2, 2), True),  # the color filter and its pattern
            (33422, 1, 4, bytes((0, 1, 1, 2)), True),
            (50706, 1, 4, bytes((1, 4, 0, 0)), True),  # version of DNG
            (50708, 2, 5, b"Test\0", True),
            (50717, 4, 1, 65535, True),  # white
            (50721, 10, 9, (1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1), True),  # colors
            (50778, 3, 1, 21, True),
        ]
        tifffile.imwrite(path, mosaic, photometric="cfa", extratags=tags, metadata=None, software=False)
        assert is_raw_file(path)
        image = read_image(path)
        assert image.depth == 16 and image.pixels.shape == (1, 3, 64, 96) and "developed" in image.note
        assert image.pixels[..., 60:].mean() > image.pixels[..., :40].mean() + 0.1

    @pytest.mark.skipif(os.name == "nt", reason="there are no named pipes there")
    def test_row16_a_pipe_is_read(self, tmp_path: Path) -> None:
        import threading

        path = tmp_path / "pipe"
        os.mkfifo(path)
        assert is_image_file(path), "it is not touched, since it can be read only once"
        writer = threading.Thread(target=path.write_bytes, args=(file_of(COLORS, "PNG").getvalue(),))
        writer.start()
        assert torch.equal(read_image(path).pixels, read_image(file_of(COLORS, "PNG")).pixels)
        writer.join()


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (torch.rand(2, 3, 20, 24), "batch of 2 images"),
        (torch.rand(0, 3, 20, 24), "batch of 0 images"),
        (torch.rand(1, 3, 0, 24), "24 x 0 px"),
        (torch.rand(3, 20, 24), "3 dimensions"),
        (torch.rand(1, 2, 20, 24), "2 channels"),
        (torch.zeros(1, 3, 20, 24, dtype=torch.uint8), "floating-point"),
        (torch.full((1, 3, 20, 24), torch.nan), "not finite"),
        (torch.cat([torch.rand(1, 3, 20, 24), torch.full((1, 1, 20, 24), torch.inf)], 1), "not finite"),
    ],
)
def test_what_is_not_one_image_is_not_written(image: torch.Tensor, says: str, tmp_path: Path) -> None:
    with pytest.raises(MofeError, match=says):
        write_image(tmp_path / "out.png", image)
    assert not list(tmp_path.iterdir())

"""Reading and writing video files with PyAV: frame by frame, with timing, colors, audio and everything else kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...model.atomic import atomic_write
from ...model.errors import ImageFileError
from ...model.images import MIN_SIDE

RGB = "rgb48le"
"""Format between that of a video and tensors: deep enough that no conversion costs a level."""

ENCODER = "libx264"
ENCODER_OPTIONS = {"crf": "12", "preset": "medium"}
"""Visually lossless."""

HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
"""Transfer functions (ITU-T H.273) that are far from those of photographs."""

_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""Matrix of a frame (H.273) -> that of the converter of colors (swscale)."""


@dataclass(frozen=True)
class Clip:
    """What a video file is.

    Attributes:
        path: Of the file.
        height: In px, upright.
        width: In px, upright.
        frames: How many there are, as far as the file says; 0 where it does not.
        note: What the user should know about how it is read, or "".
    """

    path: Path
    height: int
    width: int
    frames: int
    note: str


@dataclass(frozen=True)
class Frame:
    """A frame, upright.

    Attributes:
        pixels: [1, 3, H, W] in 0..1.
        source: As decoded: its time, colors and format.
    """

    pixels: Tensor
    source: Any


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what PyAV raises about a file into one sentence."""
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        raise ImageFileError(
            f"{path} cannot be read as a video ({error.strerror}): it is damaged, or of a kind not known here."
        ) from error


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn what PyAV raises while a file is written into an error of the operating system that names it."""
    import av

    try:
        yield
    except av.error.FFmpegError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def timing(path: Path) -> tuple[Fraction, Fraction]:
    """Return the mean frame rate of a video, and the unit of its times in seconds."""
    import av

    with readable(path), av.open(str(path)) as container:
        stream = _video_of(container, path)
        return _rate(stream), Fraction(stream.time_base)


def open_clip(path: Path) -> Clip:
    """Return what a video file is, from its first frame.

    Raises:
        ImageFileError: Missing, unreadable, without a picture, or too small.
    """
    import av

    if not path.exists():
        raise ImageFileError(f"There is no file {path}: check the path.")
    with readable(path), av.open(str(path)) as container:
        stream = _video_of(container, path)
        first = next(container.decode(stream), None)
        if first is None:
            raise ImageFileError(f"{path} holds no frame: it is damaged or empty.")
        height, width = upright(torch.empty(first.height, first.width), first.rotation).shape
        if min(height, width) < MIN_SIDE:
            raise ImageFileError(f"{path} is {width} x {height} px: at least {MIN_SIDE} x {MIN_SIDE} are needed.")
        notes = []
        if first.interlaced_frame:
            notes.append("it is interlaced, and its fields are restored together: deinterlace it first")
        if _number(first, "color_trc") in HDR_TRANSFERS:
            notes.append(
                f"its colors are HDR ({HDR_TRANSFERS[first.color_trc]}), for which the restorer was not trained"
            )
        notes += _lost(first, stream)
        return Clip(path, height, width, int(stream.frames or 0), " and ".join(notes))


def read_frames(path: Path, start: int = 0) -> Iterator[Frame]:
    """Yield the frames of a video from number `start` on, one at a time.

    Raises:
        ImageFileError: It cannot be read.
    """
    import av

    with readable(path), av.open(str(path)) as container:
        stream = _video_of(container, path)
        step = max(1, round(1 / (_rate(stream) * stream.time_base)))
        has_times = container.format.name != "avi"  # what stands there is the order of decoding
        last: int | None = None
        for number, source in enumerate(container.decode(stream)):
            pts = source.pts if has_times else number * step
            last = source.pts = pts if pts is not None and (last is None or pts > last) else (last or 0) + step
            source.time_base = stream.time_base
            if number >= start:
                yield Frame(upright(_pixels(source), source.rotation), source)


def upright(pixels: Tensor, rotation: int) -> Tensor:
    """Turn [..., H, W] counterclockwise by degrees, which are rounded to quarters of a turn."""
    return torch.rot90(pixels, round(rotation / 90) % 4, (-2, -1))


@contextmanager
def new_segment(path: Path, like: Any, rate: Fraction, time_base: Fraction) -> Iterator[SegmentWriter]:
    """Give a writer of one segment, which is there when the block has ended, whole or not at all.

    Args:
        path: The file, whose folder must exist.
        like: The first frame as decoded: its colors and format are kept.
        rate: Mean frame rate of the video.
        time_base: Unit of its times in seconds.

    Raises:
        OSError: It cannot be written.
    """
    import av

    with atomic_write(path) as temporary, writable(path), av.open(str(temporary), "w", format="nut") as container:
        writer = SegmentWriter(container, like, rate, time_base)
        yield writer
        writer.finish()


class SegmentWriter:
    """Encodes frames into one segment: a file of the format NUT, which keeps times exactly.

    Args:
        container: The file, open for writing.
        like: The first frame as decoded: its colors and format are kept.
        rate: Mean frame rate of the video.
        time_base: Unit of its times in seconds.
    """

    def __init__(self, container: Any, like: Any, rate: Fraction, time_base: Fraction) -> None:
        self._container = container
        self._like, self._time_base, self._rate = like, time_base, rate
        self._stream: Any = None

    def write(self, pixels: Tensor, source: Any) -> None:
        """Encode a frame.

        Args:
            pixels: [1, 3, H, W] in 0..1, upright.
            source: The frame that it was made from.
        """
        import av

        if self._stream is None:
            self._stream = self._open(pixels)
        values = (pixels[0].float().clamp(0, 1).permute(1, 2, 0) * 65535).round().cpu().numpy().astype(np.uint16)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(values), format=RGB)
        colors = {"dst_colorspace": _matrix(self._like), "dst_color_range": _range(self._like)}
        encoded = frame.reformat(format=self._stream.pix_fmt, src_color_range=2, interpolation=_exactly(), **colors)
        encoded.pts, encoded.time_base = source.pts, source.time_base
        self._container.mux(self._stream.encode(encoded))

    def finish(self) -> None:
        """Encode what the encoder still holds."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))

    def _open(self, pixels: Tensor) -> Any:
        stream = self._container.add_stream(ENCODER, rate=self._rate, options=ENCODER_OPTIONS)
        stream.height, stream.width = pixels.shape[2:]
        stream.pix_fmt = _format(self._like)
        context = stream.codec_context
        context.time_base = self._time_base
        context.max_b_frames = 0  # times rise from packet to packet, so that segments can be joined
        for name in ("color_range", "color_primaries", "color_trc", "colorspace"):
            setattr(context, name, _number(self._like, name))
        if _range(self._like) == 2:
            context.color_range = 2
        if _is_rgb(self._like.format):  # whose own number would say that it still is
            context.colorspace = _matrix(self._like)
        return stream


def join_segments(segments: Sequence[Path], original: Path, target: Path) -> None:
    """Write the video of all segments, with the audio, subtitles, chapters and metadata of the original as they are.

    Raises:
        ImageFileError: The original cannot be read.
        OSError: The target cannot be written.
    """
    import av

    with (
        atomic_write(target) as temporary,
        writable(target),
        _opened(original) as source,
        av.open(str(temporary), "w", format=_muxer(target)) as result,
    ):
        result.metadata.update(source.metadata)
        picture = _video_of(source, original)
        with _opened(segments[0]) as first:
            video = result.add_stream_from_template(first.streams.video[0])
        video.time_base, video.codec_context.framerate = picture.time_base, _rate(picture)
        aspect = picture.codec_context.sample_aspect_ratio
        if aspect:
            with readable(original):
                turned = next(source.decode(picture)).rotation % 180 != 0
                source.seek(0)
            video.sample_aspect_ratio = 1 / aspect if turned else aspect
        video.metadata.update(picture.metadata)
        others = {}
        for stream in source.streams:
            if stream.type in ("audio", "subtitle") and _takes(result, stream):
                others[stream.index] = result.add_stream_from_template(stream)
                others[stream.index].metadata.update(stream.metadata)
        if hasattr(source, "chapters"):
            result.set_chapters(source.chapters())
        packets = _in_order(_video_packets(segments, video), _other_packets(source, others, original))
        for packet in packets:
            result.mux(packet)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Give a video file open for reading; what is done with it may raise errors that are not its own."""
    import av

    with readable(path):
        container = av.open(str(path))
    with container:
        yield container


def _video_packets(segments: Sequence[Path], video: Any) -> Iterator[Any]:
    for path in segments:
        with _opened(path) as segment:
            for packet in _packets(segment, path, segment.streams.video[0]):
                packet.stream = video
                yield packet


def _other_packets(source: Any, others: dict[int, Any], original: Path) -> Iterator[Any]:
    if not others:
        return
    for packet in _packets(source, original, *(source.streams[index] for index in others)):
        packet.stream = others[packet.stream_index]
        yield packet


def _packets(container: Any, path: Path, *streams: Any) -> Iterator[Any]:
    """Yield the packets of streams that have a time."""
    with readable(path):  # a generator is not told what happens to its packets
        for packet in container.demux(*streams):
            if packet.dts is not None:
                yield packet


def _in_order(first: Iterator[Any], second: Iterator[Any]) -> Iterator[Any]:
    """Merge packets by time, so that audio lies beside its frames and neither is held in memory."""
    one, two = next(first, None), next(second, None)
    while one is not None or two is not None:
        if two is None or (one is not None and one.dts * one.time_base <= two.dts * two.time_base):
            yield one
            one = next(first, None)
        else:
            yield two
            two = next(second, None)


def _takes(container: Any, stream: Any) -> bool:
    """Return whether a container can hold a stream as it is."""
    return stream.codec_context is not None and stream.codec_context.name in container.supported_codecs


def _muxer(target: Path) -> str:
    return {".mkv": "matroska", ".mov": "mov"}.get(target.suffix.lower(), "mp4")


def _video_of(container: Any, path: Path) -> Any:
    """Return the stream of the picture; a cover is none."""
    for stream in container.streams.video:
        if "attached_pic" not in str(stream.disposition).lower():
            return stream
    raise ImageFileError(f"{path} holds no video: name a file with a picture.")


def _pixels(source: Any) -> Tensor:
    """Return a decoded frame as [1, 3, H, W] float32 in 0..1, not turned."""
    colors = {"src_colorspace": _matrix(source), "src_color_range": _range(source)}
    values = source.reformat(format=RGB, dst_color_range=2, interpolation=_exactly(), **colors).to_ndarray()
    return torch.from_numpy(values.astype(np.float32) / 65535.0).permute(2, 0, 1)[None].contiguous()


def _exactly() -> int:
    """Return the flags of a conversion that rounds instead of cutting off, which would darken by half a level."""
    from av.video.reformatter import Interpolation

    names = ("BICUBIC", "ACCURATE_RND", "FULL_CHR_H_INT", "FULL_CHR_H_INP")
    return sum(int(Interpolation[name]) for name in names)


def _rate(stream: Any) -> Fraction:
    """Return the mean frame rate of a video."""
    return Fraction(stream.average_rate or stream.guessed_rate or 25)


def _depth(pixel_format: Any) -> int:
    return max((int(component.bits) for component in pixel_format.components), default=8)


def _is_rgb(pixel_format: Any) -> bool:
    return bool(pixel_format.is_rgb or pixel_format.has_palette)


def _matrix(source: Any) -> int:
    """Return the matrix of its colors for the converter; where it does not say, the one that players assume."""
    return _MATRICES.get(_number(source, "colorspace"), 1 if source.height >= 720 else 5)


def _range(source: Any) -> int:
    """Return 2 for colors that use all values, 1 for those of television."""
    full = _number(source, "color_range") == 2 or source.format.name.startswith("yuvj") or source.format.is_rgb
    return 2 if full else 1


def _number(source: Any, name: str) -> int:
    return int(getattr(source, name, 2 if name != "color_range" else 0))


def _format(source: Any) -> str:
    """Return the pixel format to encode a frame with.

    That of the source where the encoder knows it, else one that keeps the resolution of its colors, with 8 or 10 bits.
    """
    import av

    form = source.format
    known = {each.name for each in av.codec.Codec(ENCODER, "w").video_formats or ()}
    odd = source.height % 2 or source.width % 2  # colors at half the size need even sides
    # the converter takes all values of grey for colors, whatever a file says, and players do not: it becomes YUV
    grey = not _is_rgb(form) and len(form.components) < 3
    if form.name in known and not grey and not (odd and "444" not in form.name):
        return str(form.name)
    side = 64
    wide, tall = (not grey and each(side) == side for each in (form.chroma_width, form.chroma_height))
    if odd or _is_rgb(form) or wide:
        colors = "yuv444p"
    elif tall:
        colors = "yuv422p"
    else:
        colors = "yuv420p"
    return colors + ("10le" if _depth(form) > 8 else "")


def _lost(source: Any, stream: Any) -> list[str]:
    """Return what of a frame's pixels is not kept, in words for the user."""
    import av

    notes = []
    bits, kept = (_depth(each) for each in (source.format, av.VideoFormat(_format(source), 2, 2)))
    if bits > kept:
        notes.append(f"its {bits} bits a channel become {kept}")
    # VP8 and VP9 keep transparency beside the picture, where the decoder does not look
    if any(component.is_alpha for component in source.format.components) or stream.metadata.get("alpha_mode") == "1":
        notes.append("its transparency is not kept")
    return notes

"""Small videos for the tests, and what a file holds."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RATE = Fraction(30000, 1001)


def picture(height: int = 48, width: int = 64, shift: int = 0) -> np.ndarray:
    """A smooth image [H, W, 3] that shows something."""
    rows, columns = np.indices((height, width))
    red = 128 + 90 * np.sin((columns + shift) / 9)
    green = 128 + 90 * np.cos(rows / 7)
    return np.stack([red, green, np.full_like(red, 90)], -1).astype(np.uint8)


def write_movie(
    path: Path,
    images: Sequence[np.ndarray],
    *,
    pixel_format: str = "yuv420p",
    full_range: bool = False,
    space: int = 1,
    times: Sequence[int] | None = None,
    audio: bool = True,
    quality: int = 4,
    codec: str = "libx264",
) -> Path:
    """A video with noise as its sound.

    Args:
        times: Of the frames, in frames; 0, 1, 2, ... by default.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    reach = 2 if full_range else 1
    with av.open(str(path), "w") as container:
        options = {"crf": str(quality)} if codec.startswith("lib") else {}
        stream = container.add_stream(codec, rate=RATE, options=options)
        stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], pixel_format
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = reach, space, space, space
        sound = container.add_stream("aac", rate=44100) if audio else None
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame = frame.reformat(format=pixel_format, dst_colorspace=space, dst_color_range=reach, src_color_range=2)
            frame.pts, frame.time_base = times[index] if times else index, 1 / RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            rng = np.random.default_rng(0)
            for index in range(int(len(images) / RATE * 44100 / 1024) + 1):
                values = rng.normal(0, 0.1, (1, 1024)).astype(np.float32)
                chunk = av.AudioFrame.from_ndarray(values, format="fltp", layout="mono")
                chunk.sample_rate, chunk.pts = 44100, index * 1024
                container.mux(sound.encode(chunk))
            container.mux(sound.encode(None))
    return path


def turn(path: Path) -> Path:
    """Mark an .mp4 as filmed with the camera turned by a quarter."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # of the first track, which is the picture
    one = 1 << 16
    data[at : at + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))
    return path


def frames_of(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def sound_of(path: Path) -> list[tuple[Fraction, bytes]]:
    """Time and bytes of every packet of sound."""
    with av.open(str(path)) as container:
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(audio=0)
            if packet.dts is not None
        ]


def rate_of(path: Path) -> Fraction:
    with av.open(str(path)) as container:
        return container.streams.video[0].average_rate

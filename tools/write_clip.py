"""Write the clip of the workflow Restore a video: `python -m mofe_restore.tools.write_clip`, with PyAV installed.

A slow pan over one of the demo's photographs in falling rain, with noise that changes from frame to frame.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from ..cli.demo import EXAMPLES, make_example
from ..model.synthesis.degrade import degrade
from ..model.synthesis.severities import Severities

CLIP = Path(__file__).resolve().parents[1] / "workflows" / "example.mp4"
FRAMES, RATE = 24, 12
HEIGHT, WIDTH = 240, 320
SEVERITIES = Severities.from_strengths({"rain": 0.5, "noise": 0.15})


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the clip."""
    argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None).parse_args(arguments)
    import av

    clean, _ = make_example(next(n for n, each in enumerate(EXAMPLES) if Path(each.file).stem == "rocket"))
    height, width = clean.shape[-2:]
    room = width - height * WIDTH // HEIGHT
    views = [
        clean[..., :, left : left + width - room] for left in torch.linspace(0, room, FRAMES).round().long().tolist()
    ]
    small = torch.cat([torch.nn.functional.interpolate(view, (HEIGHT, WIDTH), mode="area") for view in views])
    frames = degrade(small, SEVERITIES, seed=1)
    with av.open(str(CLIP), "w") as file:
        stream = file.add_stream("libx264", RATE, options={"crf": "24"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for frame in (frames * 255).round().byte().movedim(1, -1).numpy():
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    print(CLIP.name, CLIP.stat().st_size)  # noqa: T201


if __name__ == "__main__":
    main()

"""Describe Degradation: the MLLM looks at pictures and says what is wrong with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from comfy_api.latest import io

from . import compat, host, images
from .types import GuidanceType, LoadedMllm, MllmType

if TYPE_CHECKING:
    import torch

EVERY_FRAME = "every frame"
FIRST_FRAME = "first frame only"


class DescribeDegradation(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return compat.node_schema(
            node_id="MoFE_DescribeDegradation",
            display_name="Describe Degradation",
            category="MoFE",
            description=(
                "Says in words and numbers which degradations a picture suffers from (low light, haze, rain, snow, "
                "noise, blur, JPEG blocks) and makes the guidance for Restore."
            ),
            search_aliases=[
                *("image quality", "caption", "what is wrong", "restore", "denoise", "derain", "desnow", "dehaze"),
                *("deblur", "low light", "jpeg", "all-in-one"),
            ],
            inputs=[
                MllmType.Input("mllm", tooltip="The model that looks, from Load MLLM."),
                io.Image.Input(
                    "image",
                    tooltip=(
                        "The pictures to look at, of any size, grey or in colour; an alpha channel is not looked at."
                    ),
                ),
                io.Combo.Input(
                    "frames",
                    options=[EVERY_FRAME, FIRST_FRAME],
                    default=EVERY_FRAME,
                    tooltip=(
                        "Every frame gets a description of its own, or the first one speaks for the whole batch, "
                        "which is faster and steadier for a video."
                    ),
                ),
                io.String.Input(
                    "instruction",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip=(
                        'Empty: the standard description. "Remove only the rain" or "keep the fog" tells Restore what '
                        "to remove. Any other text is asked as a question and changes the description only."
                    ),
                ),
            ],
            outputs=[
                GuidanceType.Output("guidance", tooltip="What the model found, in the form that Restore uses."),
                io.String.Output(
                    "description", tooltip="The description in words; for a batch one numbered line per picture."
                ),
                io.String.Output(
                    "report",
                    tooltip=(
                        "JSON, a list with one entry per picture: description, a score from 0 to 1 per degradation "
                        "(0.5 and above means present), and the physical parameters behind them."
                    ),
                ),
            ],
        )

    @classmethod
    def execute(cls, mllm: LoadedMllm, image: torch.Tensor, frames: str, instruction: str = "") -> io.NodeOutput:
        from ..model.guidance import Guidance
        from ..model.inputs import colours_of
        from ..model.mllm import report

        picture = images.channels_first(image)[: 1 if frames == FIRST_FRAME else None]
        with host.letting_go():
            images.check_colours(picture)  # all of them, before the first one takes its time
            if not mllm.loads_itself:
                host.load(mllm.patcher, activation_bytes(mllm.mllm.width))
            most = mllm.mllm.most_words
            progress = host.Progress(len(picture) * most)
            parts = []
            for index in range(len(picture)):
                counter = TokenCounter(progress, index, len(picture), most)
                counter.start()
                described = mllm.mllm.describe(
                    colours_of(picture[index : index + 1]),
                    instruction=instruction.strip(),
                    on_token=counter.token,
                )
                parts.append(described.to(host.intermediate_device()))
        progress.at(len(picture) * most, len(picture) * most)
        guidance = Guidance.join(parts)
        text = json.dumps(report(guidance), indent=2, allow_nan=False)
        return io.NodeOutput(guidance, in_words(guidance.descriptions), text)


class TokenCounter:
    """Moves the progress bar by a token; every picture has a share of the bar as long as the longest description."""

    def __init__(self, progress: host.Progress, index: int, pictures: int, most: int) -> None:
        self._progress = progress
        self._done = index * most
        self._end = self._done + most
        self._total = pictures * most

    def start(self) -> None:
        self._progress.at(self._done, self._total)

    def token(self) -> None:
        self._done = min(self._done + 1, self._end)
        self._progress.at(self._done, self._total)


def in_words(descriptions: tuple[str, ...]) -> str:
    """One description as it is, several as numbered lines."""
    if len(descriptions) == 1:
        return descriptions[0]
    return "\n".join(f"{number}. {text}" for number, text in enumerate(descriptions, 1))


def activation_bytes(width: int) -> int:
    """An estimate of an MLLM's working memory: some 64 live fp32 activations of its width for 2,048 tokens."""
    return 64 * 2048 * 4 * width

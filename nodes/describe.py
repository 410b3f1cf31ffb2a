"""Describe Degradation: describe what is wrong with images, and make the guidance for Restore."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from comfy_api.latest import io

from . import compat, host, images
from .types import GuidanceType, LoadedMllm, LoadedRestorer, MllmType, RestorerType

if TYPE_CHECKING:
    import torch

EVERY_FRAME = "every frame"
FIRST_FRAME = "first frame only"
TYPICAL_FRAME = "typical frame"


class DescribeDegradation(io.ComfyNode):
    """The node Describe Degradation."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return names, description, inputs and outputs of the node."""
        return compat.node_schema(
            node_id="MoFE_DescribeDegradation",
            display_name="Describe Degradation",
            category="image/restoration",
            description=(
                "Describes in words and scores which degradations an image has (low light, haze, rain, snow, noise, "
                "blur, JPEG blocks) and makes the guidance for Restore."
            ),
            search_aliases=[
                *("image quality", "caption", "what is wrong", "restore", "denoise", "derain", "desnow", "dehaze"),
                *("deblur", "low light", "jpeg", "all-in-one"),
            ],
            inputs=[
                MllmType.Input("mllm", tooltip="The model that describes the images, from Load MLLM."),
                io.Image.Input(
                    "image",
                    tooltip="The images to describe, of any size, grey or color; an alpha channel is ignored.",
                ),
                io.Combo.Input(
                    "frames",
                    options=[EVERY_FRAME, FIRST_FRAME, TYPICAL_FRAME],
                    default=EVERY_FRAME,
                    tooltip=(
                        "Describe every image of the batch, or one of them for the whole batch, which is faster and, "
                        "for a video, steadier: the first one, or the most typical of five that show something."
                    ),
                ),
                io.String.Input(
                    "instruction",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip=(
                        'Empty: the standard description. "Remove half of the haze" or "keep the fog", in English or '
                        "Chinese, tells Restore what to remove; what is not understood is said on the node. A question "
                        "changes the description only."
                    ),
                ),
                RestorerType.Input(
                    "restorer",
                    optional=True,
                    tooltip=(
                        "From Load MoFE Restorer. The shipped model judges low light, haze, rain and snow better if it "
                        "knows what the restorer would make of the image, and, where it sees noise or JPEG, looks a "
                        "second time without them."
                    ),
                ),
            ],
            hidden=[io.Hidden.unique_id],
            outputs=[
                GuidanceType.Output("guidance", tooltip="What the model found, in the form that Restore uses."),
                io.String.Output(
                    "description", tooltip="The description in words; for a batch one numbered line per image."
                ),
                io.String.Output(
                    "report",
                    tooltip=(
                        "JSON, a list with one entry per image: description, a score from 0 to 1 per degradation "
                        "(0.5 and above means present), and the physical parameters behind them."
                    ),
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        mllm: LoadedMllm,
        image: torch.Tensor,
        frames: str,
        instruction: str = "",
        restorer: LoadedRestorer | None = None,
    ) -> io.NodeOutput:
        """Describe the images of a batch one after the other."""
        from ..model.guidance import Guidance
        from ..model.images import fill_hidden, rgb_of
        from ..model.mllm.frames import frames_to_describe, typical
        from ..model.mllm.wording import report

        batch = images.channels_first(image)[: 1 if frames == FIRST_FRAME else None]
        describer = mllm.describer
        with host.release_on_error():
            images.check_describable(batch)  # all of them, before the first one takes its time
            if frames == TYPICAL_FRAME:
                batch = batch[frames_to_describe(batch)]
            helper = None if restorer is None or not describer.looks_twice else restorer.network.helper
            if restorer is not None and helper is not None:
                host.load_to_device(restorer.patcher, 0)
            if not mllm.loads_itself:
                host.load_to_device(mllm.patcher, describer.memory_bytes)
            progress = host.Progress(len(batch) * describer.max_tokens)
            parts = []
            for index in range(len(batch)):
                counter = TokenCounter(progress, index, len(batch), describer.max_tokens)
                counter.start()
                described = describer.describe(
                    rgb_of(fill_hidden(batch[index : index + 1])),
                    instruction=instruction.strip(),
                    on_token=counter.token,
                    on_check=host.raise_if_cancelled,
                    helper=helper,
                )
                parts.append(described.to(host.intermediate_device()))
            counter.finish()
        guidance = typical(parts) if frames == TYPICAL_FRAME else Guidance.join(parts)
        text = json.dumps(report(guidance), indent=2, allow_nan=False)
        show_notes(guidance.notes, host.hidden(cls, "unique_id"))
        return io.NodeOutput(guidance, join_descriptions(guidance.descriptions), text)


_noted: set[str] = set()
"""Nodes that show notes of an earlier run."""


def show_notes(notes: tuple[str, ...], node_id: str | None) -> None:
    """Show notes on a node, and clear away those of an earlier run."""
    if notes and node_id is not None:
        _noted.add(node_id)
        host.show_on_node(" ".join(notes), node_id)
    elif node_id in _noted:
        _noted.discard(str(node_id))
        host.show_on_node("The instruction was understood.", node_id)


class TokenCounter:
    """Advance the progress bar by tokens; every image has a share of the bar as long as the longest description.

    Args:
        progress: The bar.
        index: Of the image.
        images: Number of images.
        max_tokens: Length limit of a description.
    """

    def __init__(self, progress: host.Progress, index: int, images: int, max_tokens: int) -> None:
        self._progress = progress
        self._done = index * max_tokens
        self._end = self._done + max_tokens
        self._total = images * max_tokens

    def start(self) -> None:
        """Show that the image is being described."""
        self._progress.at(self._done, self._total)

    def token(self) -> None:
        """Advance by one token."""
        self._done = min(self._done + 1, self._end)
        self._progress.at(self._done, self._total)

    def finish(self) -> None:
        """Fill the image's share of the bar."""
        self._progress.at(self._end, self._total)


def join_descriptions(descriptions: tuple[str, ...]) -> str:
    """Return one description as it is, several as numbered lines."""
    if len(descriptions) == 1:
        return descriptions[0]
    return "\n".join(f"{number}. {text}" for number, text in enumerate(descriptions, 1))

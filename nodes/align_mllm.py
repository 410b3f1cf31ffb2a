"""Align MLLM: fit the adapter with which a vision language model of the user guides the restorer."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from . import compat, host, images, model_paths
from .types import LoadedMllm, LoadedRestorer, MllmType, RestorerType

if TYPE_CHECKING:
    import torch

    from ..model.mllm.adapter import Adapter
    from ..model.mllm.describer import Mllm
    from ..model.weights import Card


class AlignMllm(io.ComfyNode):
    """The node Align MLLM."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return names, description, inputs and outputs of the node."""
        return compat.node_schema(
            node_id="MoFE_AlignMLLM",
            display_name="Align MLLM",
            category="image/restoration",
            description=(
                "Lets a vision language model of your own, such as Qwen3-VL, guide the restorer. Once per model it "
                "looks at some hundred degraded pictures and fits a small adapter, which is kept and found again."
            ),
            search_aliases=["adapter", "vlm", "vision language model", "qwen", "llava", "guide", "restore"],
            inputs=[
                MllmType.Input("mllm", tooltip="The model that is to guide, from Load MLLM."),
                RestorerType.Input("restorer", tooltip="The restorer that it is to guide."),
                io.Int.Input(
                    "pictures",
                    default=400,
                    min=16,
                    max=10000,
                    tooltip="Degraded pictures to look at. More are better and take longer; it is done only once.",
                ),
                io.Boolean.Input(
                    "again",
                    default=False,
                    tooltip="Make the adapter anew although there is one.",
                ),
                io.Image.Input(
                    "photos",
                    optional=True,
                    tooltip=(
                        "Clean photographs that are degraded for this, the more the better. Without them those of the "
                        "pack are taken, which are few."
                    ),
                ),
            ],
            outputs=[
                MllmType.Output("mllm", tooltip="The same model with its adapter, for Describe Degradation."),
                io.String.Output(
                    "report", tooltip="JSON: the adapter's file, what it was made from, and how good it is."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        mllm: LoadedMllm,
        restorer: LoadedRestorer,
        pictures: int,
        again: bool,
        photos: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        """Find the adapter of the model, or make it."""
        from ..model.mllm.adapter import file_name, find_adapter, read_adapter

        describer, target = mllm.describer, restorer.network.mllm_identity
        if describer.identity == target:
            # it may come with an adapter, which leads to another restorer
            own = dataclasses.replace(mllm, describer=describer.with_adapter(None))
            return io.NodeOutput(own, json.dumps({"adapter": None, "note": "It is the restorer's own model."}))
        folders = model_paths.adapter_folders()
        path = None if again else find_adapter(describer.identity, folders, target)
        if path is None:
            path = folders[0] / file_name(describer.identity, target)
            _make(path, mllm, restorer, pictures, photos)
        adapter, card = read_adapter(path)
        aligned = dataclasses.replace(mllm, describer=describer.with_adapter(adapter))
        return io.NodeOutput(aligned, json.dumps(_report(path, adapter, card), indent=2))


def _make(path: Path, mllm: LoadedMllm, restorer: LoadedRestorer, pictures: int, photos: torch.Tensor | None) -> None:
    """Fit the adapter and write it."""
    from ..model.align.pictures import photos_in
    from ..model.align.run import AlignSettings, align
    from ..model.images import rgb_of
    from ..model.mllm.adapter import write_adapter

    chosen = photos_in(None) if photos is None else list(rgb_of(images.channels_first(photos)))
    with host.release_on_error():
        teacher, _patcher = _teacher(restorer.network.mllm_identity)  # which has to live as long as the model is used
        host.load_to_device(restorer.patcher, 0)
        if not mllm.loads_itself:
            host.load_to_device(mllm.patcher, mllm.describer.memory_bytes)
        progress = host.Progress(pictures)
        path.parent.mkdir(parents=True, exist_ok=True)
        aligned = align(
            mllm.describer,
            teacher,
            restorer.network,
            chosen,
            AlignSettings(pictures=pictures),
            keep=path.parent / ".align",
            on_progress=progress.at,
        )
        write_adapter(path, aligned.adapter, aligned.card)


def _teacher(identity: str) -> tuple[Mllm, Any]:
    """Load the MLLM with which the restorer was trained; return it and its patcher.

    Of a network whose patcher is gone ComfyUI suspects a leak, and collects garbage every time that it loads another.
    """
    from ..model.errors import MllmError
    from ..model.mllm.loading import load_mllm

    folder = model_paths.mllm_of_identity(identity)
    if folder is None:
        raise MllmError(
            f"The MLLM {identity}, with which the restorer was trained, is not among the models: put its folder under "
            "models/LLM."
        )
    load_device, offload_device = host.mllm_devices()
    teacher = load_mllm(folder, offload_device)
    patcher = host.patcher_for(teacher.network, load_device, offload_device)
    host.load_to_device(patcher, teacher.memory_bytes)
    return teacher, patcher


def _report(path: Path, adapter: Adapter, card: Card) -> dict[str, Any]:
    return {
        "adapter": path.name,
        "mllm": adapter.source,
        "restorer's mllm": adapter.target,
        "made from": card.data,
        "looks": adapter.look.to_json(),
        **card.metrics,
    }

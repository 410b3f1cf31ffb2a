"""Load MLLM: opens a model folder and puts it under ComfyUI's memory management."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import compat, folders, host
from .types import LoadedMllm, MllmType


class LoadMllm(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return compat.node_schema(
            node_id="MoFE_LoadMLLM",
            display_name="Load MLLM",
            category="MoFE/loaders",
            description="Loads the multimodal language model that looks at a picture and says what is wrong with it.",
            search_aliases=["vlm", "vision language model", "image to text", "restore", "all-in-one restoration"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=folders.mllm_choices(),
                    default=folders.SHIPPED,
                    tooltip=(
                        "The shipped model comes with the pack and fits the shipped restorer. Others are folders with "
                        "config.json and .safetensors weights under models/LLM or models/mllm; press R after adding "
                        "one."
                    ),
                ),
                io.Combo.Input(
                    "precision",
                    options=list(host.PRECISIONS),
                    default="auto",
                    tooltip="Auto is fp32 for small models and bf16 for big ones. fp16 is for cards without bf16.",
                ),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip=(
                        "A vision language model such as Qwen3-VL, from Load CLIP, in the place of the chosen model. "
                        "It describes pictures; the shipped restorer was not trained with it."
                    ),
                ),
            ],
            outputs=[
                MllmType.Output("mllm", tooltip="The loaded model, for Describe Degradation."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, model: str | None = None, precision: str | None = None, clip: Any = None) -> str:
        try:
            return folders.fingerprint(folders.mllm_path(model or ""), precision or "")
        except OSError:
            return ""  # execute says what is missing

    @classmethod
    def execute(cls, model: str, precision: str, clip: Any = None) -> io.NodeOutput:
        if clip is not None:
            from .clip_mllm import ClipMllm

            return io.NodeOutput(LoadedMllm(ClipMllm(clip), clip.patcher, loads_itself=True))
        from ..model.mllm_folder import load_mllm

        load_device, offload_device = host.mllm_devices()
        mllm = load_mllm(folders.mllm_path(model), offload_device, precision)
        return io.NodeOutput(LoadedMllm(mllm, host.patcher_for(mllm.network, load_device, offload_device)))

"""Load MLLM: open a model folder and put it under ComfyUI's memory management."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import compat, host, model_paths
from .types import LoadedMllm, MllmType


class LoadMllm(io.ComfyNode):
    """The node Load MLLM."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return names, description, inputs and outputs of the node."""
        return compat.node_schema(
            node_id="MoFE_LoadMLLM",
            display_name="Load MLLM",
            category="model/loaders",
            description="Loads the multimodal language model (MLLM) that describes what is wrong with an image.",
            search_aliases=["vlm", "vision language model", "image to text", "restore", "all-in-one restoration"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=model_paths.mllm_choices(),
                    default=model_paths.SHIPPED,
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
                        "A vision language model such as Qwen3-VL, from Load CLIP, instead of the chosen model. It "
                        "describes images; to guide the restorer as well it is aligned once, with Align MLLM."
                    ),
                ),
            ],
            outputs=[
                MllmType.Output("mllm", tooltip="The loaded model, for Describe Degradation."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, model: str | None = None, precision: str | None = None, clip: Any = None) -> str:
        """Return a digest that changes when the chosen model is replaced, so that ComfyUI loads it again."""
        try:
            adapters = [model_paths.fingerprint(folder) for folder in model_paths.adapter_folders() if folder.is_dir()]
            own = sorted(model_paths.restorer_mllms()) if adapters else []  # these are not adapted
            return model_paths.fingerprint(model_paths.mllm_path(model or ""), precision or "", *adapters, *own)
        except OSError:
            return ""  # `execute` reports what is missing

    @classmethod
    def execute(cls, model: str, precision: str, clip: Any = None) -> io.NodeOutput:
        """Load the chosen model, or use a CLIP of ComfyUI."""
        if clip is not None:
            from .clip_describer import ClipDescriber

            return io.NodeOutput(LoadedMllm(_adapted(ClipDescriber(clip)), clip.patcher, loads_itself=True))
        from ..model.mllm.loading import load_mllm

        load_device, offload_device = host.mllm_devices()
        mllm = _adapted(load_mllm(model_paths.mllm_path(model), offload_device, precision))
        return io.NodeOutput(LoadedMllm(mllm, host.patcher_for(mllm.network, load_device, offload_device)))


def _adapted(describer: Any) -> Any:
    """Return a model with the newest adapter that was made for it, where there is one.

    A model with which a restorer was trained guides that one by itself: an adapter to another restorer would end it, so
    only Align MLLM, which knows the restorer, gives it one.
    """
    from ..model.mllm.adapter import find_adapter, read_adapter

    path = find_adapter(describer.identity, model_paths.adapter_folders())
    if path is None or describer.identity in model_paths.restorer_mllms():
        return describer
    return describer.with_adapter(read_adapter(path)[0])

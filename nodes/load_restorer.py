"""Load MoFE Restorer: reads a weight file and puts the network under ComfyUI's memory management."""

from __future__ import annotations

from comfy_api.latest import io

from . import compat, folders, host
from .types import LoadedRestorer, RestorerType


class LoadRestorer(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return compat.node_schema(
            node_id="MoFE_LoadRestorer",
            display_name="Load MoFE Restorer",
            category="MoFE/loaders",
            description="Loads the network that repairs pictures: a mixture of frequency experts guided by an MLLM.",
            search_aliases=["restore", "restoration model", "all-in-one restoration", "denoise", "dehaze", "derain"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=folders.restorer_choices(),
                    default=folders.SHIPPED,
                    tooltip=(
                        "The shipped restorer comes with the pack. Others are .safetensors files made by this pack, in "
                        "models/mofe; press R after adding one."
                    ),
                ),
                io.Combo.Input(
                    "precision",
                    options=list(host.PRECISIONS),
                    default="auto",
                    tooltip=(
                        "Auto computes in bf16 where the device is good at it and in fp32 elsewhere. Whatever is "
                        "chosen, a tile that overflows is computed again in fp32."
                    ),
                ),
            ],
            outputs=[
                RestorerType.Output("restorer", tooltip="The loaded network, for Restore."),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, model: str | None = None, precision: str | None = None) -> str:
        try:
            return folders.fingerprint(folders.restorer_path(model or ""), precision or "")
        except OSError:
            return ""  # execute says what is missing

    @classmethod
    def execute(cls, model: str, precision: str) -> io.NodeOutput:
        from ..model.restorer import load_restorer

        load_device, offload_device = host.restorer_devices()
        network, _ = load_restorer(folders.restorer_path(model))
        patcher = host.patcher_for(network.to(offload_device), load_device, offload_device)
        return io.NodeOutput(LoadedRestorer(network, patcher, host.restorer_precision(precision, load_device)))

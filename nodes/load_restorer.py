"""Load MoFE Restorer: read a weight file and put the network under ComfyUI's memory management."""

from __future__ import annotations

from comfy_api.latest import io

from . import compat, host, model_paths
from .types import LoadedRestorer, RestorerType


class LoadRestorer(io.ComfyNode):
    """The node Load MoFE Restorer."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return names, description, inputs and outputs of the node."""
        return compat.node_schema(
            node_id="MoFE_LoadRestorer",
            display_name="Load MoFE Restorer",
            category="model/loaders",
            description="Loads the network that repairs images: a mixture of frequency experts guided by an MLLM.",
            search_aliases=["restore", "restoration model", "all-in-one restoration", "denoise", "dehaze", "derain"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=model_paths.restorer_choices(),
                    default=model_paths.SHIPPED,
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
                        "Auto computes in bf16 on devices that are fast in it and in fp32 elsewhere. Whatever is "
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
        """Return a digest that changes when the chosen model is replaced, so that ComfyUI loads it again."""
        try:
            return model_paths.fingerprint(model_paths.restorer_path(model or ""), precision or "")
        except OSError:
            return ""  # `execute` reports what is missing

    @classmethod
    def execute(cls, model: str, precision: str) -> io.NodeOutput:
        """Load the chosen weight file."""
        from ..model.restorer.loading import load_restorer

        load_device, offload_device = host.restorer_devices()
        network, _ = load_restorer(model_paths.restorer_path(model))
        patcher = host.patcher_for(network.to(offload_device), load_device, offload_device)
        return io.NodeOutput(LoadedRestorer(network, patcher, host.restorer_precision(precision, load_device)))

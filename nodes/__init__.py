"""The nodes of the pack. Importing them needs ComfyUI, but loads no network and nothing of `transformers`."""

from __future__ import annotations

import sys
from pathlib import Path

from comfy_api.latest import ComfyExtension, io

from .align_mllm import AlignMllm
from .degradation_mask import DegradationMask
from .degrade import DegradeImage
from .describe import DescribeDegradation
from .example_clip import add_example_clip
from .load_mllm import LoadMllm
from .load_restorer import LoadRestorer
from .model_paths import register_folders, warn_of_two_packs
from .restore import Restore
from .show_routing import ShowRouting
from .steer import SteerRestoration

__all__ = ["MofeRestoreExtension"]


class MofeRestoreExtension(ComfyExtension):
    """The extension that ComfyUI loads: the nodes, and their folders of models."""

    async def on_load(self) -> None:
        """Register the folders of models, and lay the example clip beside ComfyUI's example image."""
        host_nodes = getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", {})
        warn_of_two_packs(host_nodes.get("MoFE_Restore"), Path(__file__).parents[1])
        register_folders()
        add_example_clip()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the classes of the nodes."""
        return [
            *(LoadMllm, DescribeDegradation, LoadRestorer, Restore, ShowRouting),
            *(SteerRestoration, DegradeImage, DegradationMask, AlignMllm),
        ]

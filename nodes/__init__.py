"""The nodes of the pack. Importing them needs ComfyUI, but loads no network and nothing of `transformers`."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .degradation_mask import DegradationMask
from .degrade import DegradeImage
from .describe import DescribeDegradation
from .load_mllm import LoadMllm
from .load_restorer import LoadRestorer
from .model_paths import register_folders
from .restore import Restore
from .show_routing import ShowRouting
from .steer import SteerRestoration

__all__ = ["MofeRestoreExtension"]


class MofeRestoreExtension(ComfyExtension):
    """The extension that ComfyUI loads: the nodes, and their folders of models."""

    async def on_load(self) -> None:
        """Register the folders of models."""
        register_folders()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the classes of the nodes."""
        return [
            *(LoadMllm, DescribeDegradation, LoadRestorer, Restore, ShowRouting),
            *(SteerRestoration, DegradeImage, DegradationMask),
        ]

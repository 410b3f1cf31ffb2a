"""The nodes of the pack. Importing this needs ComfyUI, but no model and nothing of `transformers`."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .degrade import DegradeImage
from .describe import DescribeDegradation
from .folders import register_folders
from .load_mllm import LoadMllm
from .load_restorer import LoadRestorer
from .restore import Restore
from .show_routing import ShowRouting
from .steer import SteerRestoration

__all__ = ["MofeRestoreExtension"]


class MofeRestoreExtension(ComfyExtension):
    async def on_load(self) -> None:
        register_folders()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            *(LoadMllm, DescribeDegradation, LoadRestorer, Restore, ShowRouting),
            *(SteerRestoration, DegradeImage),
        ]

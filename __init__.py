"""MoFE Restore: repairs photographs under the guidance of a multimodal language model. Also a ComfyUI node pack."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comfy_api.latest import ComfyExtension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> ComfyExtension:
    """What ComfyUI calls when it loads the pack; outside of ComfyUI the nodes are never imported."""
    from .nodes import MofeRestoreExtension

    return MofeRestoreExtension()

"""The types that travel between the nodes. The names are part of saved workflows and never change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from .images import Thumbnails

if TYPE_CHECKING:
    import torch

    from ..model.mllm import Mllm
    from ..model.restorer import Restorer
    from ..model.routing import Routing
    from .clip_mllm import ClipMllm

MllmType = io.Custom("MOFE_MLLM")
GuidanceType = io.Custom("MOFE_GUIDANCE")
RestorerType = io.Custom("MOFE_RESTORER")
RoutingType = io.Custom("MOFE_ROUTING")


@dataclass(frozen=True)
class LoadedMllm:
    """MOFE_MLLM: the model and the patcher under which ComfyUI moves it; its cache looks for `patcher` by name.

    A model of ComfyUI's own loads itself when it is asked, and in part where memory is short.
    """

    mllm: Mllm | ClipMllm
    patcher: Any
    loads_itself: bool = False


@dataclass(frozen=True)
class LoadedRestorer:
    """MOFE_RESTORER: the network under its patcher, and the precision in which it is to compute."""

    network: Restorer
    patcher: Any
    precision: torch.dtype


@dataclass(frozen=True)
class RoutedPictures:
    """MOFE_ROUTING: the routing of a batch, and a thumbnail per picture to draw it on."""

    routing: Routing
    thumbnails: Thumbnails

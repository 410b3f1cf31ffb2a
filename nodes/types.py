"""The types of values between nodes. Their names are part of saved workflows and never change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from .thumbnails import Thumbnails

if TYPE_CHECKING:
    import torch

    from ..model.inference.routing import Routing
    from ..model.mllm.describer import Describer
    from ..model.restorer.network import Restorer

MllmType = io.Custom("MOFE_MLLM")
GuidanceType = io.Custom("MOFE_GUIDANCE")
RestorerType = io.Custom("MOFE_RESTORER")
RoutingType = io.Custom("MOFE_ROUTING")


@dataclass(frozen=True)
class LoadedMllm:
    """MOFE_MLLM: the model and the patcher under which ComfyUI moves it; ComfyUI's cache looks for `patcher` by name.

    Attributes:
        describer: The model.
        patcher: ComfyUI's.
        loads_itself: Whether it is one of ComfyUI's own models, which loads itself, and partly where memory is short.
    """

    describer: Describer
    patcher: Any
    loads_itself: bool = False


@dataclass(frozen=True)
class LoadedRestorer:
    """MOFE_RESTORER: the network under its patcher, and the precision in which it computes."""

    network: Restorer
    patcher: Any
    precision: torch.dtype


@dataclass(frozen=True)
class RoutedImages:
    """MOFE_ROUTING: the routing of a batch, and a thumbnail per image to draw it on."""

    routing: Routing
    thumbnails: Thumbnails

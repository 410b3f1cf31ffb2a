"""Show Routing: draw a chart of which frequency expert worked where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comfy_api.latest import io, ui

from . import compat, host
from .types import RoutedImages, RoutingType

if TYPE_CHECKING:
    import torch
    from PIL import Image


class ShowRouting(io.ComfyNode):
    """The node Show Routing."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Return names, description, inputs and outputs of the node."""
        return compat.node_schema(
            node_id="MoFE_ShowRouting",
            display_name="Show Routing",
            category="image/restoration",
            description=(
                "Draws a chart of a restoration: which degradations were found, how much each frequency expert worked, "
                "and where in the image."
            ),
            search_aliases=["explain", "chart", "experts", "mixture of experts", "restore", "frequency", "router"],
            is_output_node=True,
            inputs=[
                RoutingType.Input("routing", tooltip="From Restore."),
                io.Int.Input(
                    "frame",
                    default=0,
                    min=0,
                    max=2**31 - 1,
                    tooltip="Which image of the batch, counted from 0.",
                ),
            ],
            outputs=[
                io.Image.Output("chart", tooltip="The chart, also shown on the node."),
                io.String.Output(
                    "json",
                    tooltip=(
                        "The same in numbers: per block and expert its band, its mean, minimum and maximum share of "
                        "the work, and a coarse map of where it worked."
                    ),
                ),
            ],
        )

    @classmethod
    def execute(cls, routing: RoutedImages, frame: int) -> io.NodeOutput:
        """Draw the routing of one image of the batch."""
        from ..model.charts.routing_chart import draw_routing
        from ..model.inference.routing import check_frame

        check_frame(routing.routing, frame)
        chart = host.to_intermediate(as_image(draw_routing(routing.routing, frame, routing.thumbnails[frame])))
        return io.NodeOutput(chart, routing.routing.to_json(frame), ui=ui.PreviewImage(chart, cls=cls))


def as_image(drawing: Image.Image) -> torch.Tensor:
    """Convert an RGB drawing to IMAGE [1, H, W, 3]."""
    import numpy as np
    import torch

    return torch.from_numpy(np.array(drawing, dtype=np.float32) / 255)[None]

"""The routing as JSON and as a chart that a person can read."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch

from mofe_restore.model.chart import WIDTH, draw_routing
from mofe_restore.model.guidance import DEGRADATIONS, Guidance
from mofe_restore.model.pipeline import restore_picture
from mofe_restore.model.restorer import Restorer
from mofe_restore.model.routing import BlockRouting, Routing


@pytest.fixture
def routing(restorer: Restorer, make_guidance: Callable[..., Guidance]) -> Routing:
    return restore_picture(restorer, torch.rand(2, 3, 80, 100), make_guidance(2)).routing


def test_the_report_is_json_and_names_every_expert_with_its_band(routing: Routing) -> None:
    report = json.loads(routing.to_json(1))
    assert (report["height"], report["width"]) == (80, 100)
    assert report["description"] == "picture 1 is hazy" and set(report["scores"]) == set(DEGRADATIONS)
    assert [block["window_px"] for block in report["blocks"]] == [32, 16]
    for block in report["blocks"]:
        assert sum(expert["mean_weight"] for expert in block["experts"]) == pytest.approx(1, abs=1e-3)
        lows = [expert["from_cycles_per_px"] for expert in block["experts"]]
        assert lows == sorted(lows) and lows[0] == 0 and block["experts"][-1]["to_cycles_per_px"] is None


def test_edges_are_in_cycles_per_picture_pixel(routing: Routing) -> None:
    coarse, fine = routing.frames[0]
    assert max(fine.edges) < 0.36 and max(coarse.edges) < 0.18  # the diagonal Nyquist limit at 1/2 and at 1/4


def test_a_picture_that_is_not_there_is_an_error_in_words(routing: Routing) -> None:
    with pytest.raises(IndexError, match="holds 2 pictures"):
        routing.to_json(2)
    with pytest.raises(IndexError, match="not picture -1"):
        draw_routing(routing, -1)


@pytest.mark.parametrize("with_picture", [True, False])
def test_the_chart_shows_every_experts_colour(routing: Routing, with_picture: bool) -> None:
    picture = torch.rand(3, 80, 100) if with_picture else None
    chart = draw_routing(routing, 0, picture)
    assert chart.mode == "RGB" and chart.width == WIDTH and chart.height > 600
    colours = {colour for _, colour in chart.getcolors(1 << 24)}
    assert {(0, 114, 178), (0, 158, 115), (230, 159, 0), (204, 121, 167)} <= colours


def test_the_chart_copes_with_no_guidance_nothing_restored_many_experts_and_endless_words() -> None:
    block = BlockRouting("mofe at 1/2", torch.full((6,), 1 / 6), torch.full((6, 40, 1), 1 / 6), [0.1] * 5, 16)
    routing = Routing(((block,), ()), ((640, 16), (16, 16)), ("haze " * 300 + "x" * 900, ""), (None, torch.rand(7)))
    assert draw_routing(routing, 0, torch.rand(1, 640, 16)).height > 800
    assert draw_routing(routing, 1).width == WIDTH

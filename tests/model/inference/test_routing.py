"""The routing of an image as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch

from mofe_restore.model.guidance import Guidance
from mofe_restore.model.inference.routing import BlockRouting, Routing, wavelengths
from mofe_restore.model.restorer.network import MofeBlock, Restorer
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.factories import restore


@pytest.fixture
def routing(restorer: Restorer, make_guidance: Callable[..., Guidance]) -> Routing:
    return restore(restorer, torch.rand(2, 3, 80, 100), make_guidance(2)).routing


def test_the_report_is_json_and_names_every_expert_with_its_band(routing: Routing) -> None:
    report = json.loads(routing.to_json(1))
    assert (report["height"], report["width"]) == (80, 100)
    assert report["description"] == "image 1 is hazy" and set(report["scores"]) == set(DEGRADATIONS)
    assert [block["window_px"] for block in report["blocks"]] == [32, 16]
    for block in report["blocks"]:
        assert sum(expert["mean_weight"] for expert in block["experts"]) == pytest.approx(1, abs=1e-3)
        lows = [expert["from_cycles_per_px"] for expert in block["experts"]]
        highs = [expert["to_cycles_per_px"] for expert in block["experts"]]
        assert lows == sorted(lows) and lows[0] == 0 and highs[:-1] == lows[1:]
    assert [block["experts"][-1]["to_cycles_per_px"] for block in report["blocks"]] == [0.1768, 0.3536]


def test_bands_are_named_by_the_size_of_their_details_in_the_image() -> None:
    assert wavelengths(0, 0.05) == "details above 20 px"
    assert wavelengths(0.11, 0.25) == "details of 4.0 to 9.1 px"
    many = torch.full((4, 1, 1), 0.25)
    coarse, fine = (
        BlockRouting(
            MofeBlock("b", 4, [0.1 / s, 0.2 / s, 0.4 / s], s, 8 * s), torch.full((4,), 0.25), many, many[0] > 0
        )
        for s in (4, 2)
    )
    assert fine.band_names()[-1] == "details of 2.8 to 5.0 px"
    assert coarse.band_names()[-1] == "details of 5.7 to 10 px"
    assert "1/4" in coarse.title() and "1/2" in fine.title()


def test_the_report_says_where_each_expert_worked(routing: Routing) -> None:
    for block, report in zip(routing.frames[0], json.loads(routing.to_json(0))["blocks"], strict=True):
        assert (report["map_rows"], report["map_columns"]) == tuple(block.seen.shape)  # small enough as it is
        maps = torch.tensor([expert["map"] for expert in report["experts"]])
        assert torch.allclose(maps, block.map, atol=6e-4)


def test_the_map_of_a_report_is_coarse_and_knows_where_nothing_was_done() -> None:
    weights = torch.rand(3, 40, 100).softmax(0)
    seen = torch.zeros(40, 100, dtype=torch.bool)
    seen[:10, :50] = True
    block = BlockRouting(MofeBlock("b", 3, [0.1, 0.2], 2, 16), weights[:, seen].mean(1), weights * seen, seen)
    text = Routing(((block,),), ((640, 1600),), ("[\n 1 ]",), (None,)).to_json(0)
    report = json.loads(text)["blocks"][0]
    assert (report["map_rows"], report["map_columns"]) == (16, 16)
    first = [expert["map"] for expert in report["experts"]]
    assert sum(rows[0][0] for rows in first) == pytest.approx(1, abs=2e-3)
    assert first[0][0][0] == pytest.approx(float(weights[0, :3, :7].mean()), abs=1e-3)
    assert first[0][15] == [None] * 16 and first[0][0][15] is None
    assert report["experts"][0]["least"] > 0
    assert len(text.splitlines()) < 120, "a row of a map is one line"
    assert json.loads(text)["description"] == "[\n 1 ]"


def test_edges_are_in_cycles_per_image_pixel(routing: Routing) -> None:
    coarse, fine = routing.frames[0]
    assert max(fine.info.edges) < 0.36 and max(coarse.info.edges) < 0.18  # the diagonal Nyquist limit at 1/2 and at 1/4


def test_an_image_that_is_not_there_is_an_error_in_words(routing: Routing) -> None:
    with pytest.raises(IndexError, match="holds 2 images"):
        routing.to_json(2)

"""The routing as a chart that a person can read, on a node and at full size."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from mofe_restore.model.chart import EXPERT_COLOURS, _heat, _who_leads, detail_name, draw_routing
from mofe_restore.model.guidance import Guidance
from mofe_restore.model.page import WIDTH
from mofe_restore.model.pipeline import restore_picture
from mofe_restore.model.restorer import Restorer
from mofe_restore.model.routing import BlockRouting, Routing
from mofe_restore.model.wording import NAMES

ON_A_NODE = 360
"""Px that a chart is wide on a node of usual size."""

COLOUR_BLIND = {
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
"""What is seen without one kind of cones, as matrices on linear RGB (Machado, Oliveira and Fernandes, 2009)."""


@pytest.fixture
def routing(restorer: Restorer, make_guidance: Callable[..., Guidance]) -> Routing:
    return restore_picture(restorer, torch.rand(2, 3, 80, 100), make_guidance(2)).routing


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(text, size in px) of everything that is written while the test runs."""
    said: list[tuple[str, int]] = []
    draw = ImageDraw.ImageDraw.text

    def note(self, place, text, colour, font):
        said.append((text, font.size))
        draw(self, place, text, colour, font)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return said


def block_of(weights: torch.Tensor, edges: list[float] | None = None, seen: torch.Tensor | None = None) -> BlockRouting:
    seen = torch.ones(weights.shape[1:], dtype=torch.bool) if seen is None else seen
    edges = edges or [0.05 * (1 + index) for index in range(len(weights) - 1)]
    return BlockRouting("mofe", weights[:, seen].mean(1), weights * seen, seen, edges, 2, 16)


def lab(colour: np.ndarray) -> np.ndarray:
    """CIELAB of linear RGB."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ colour
    x, y, z = np.cbrt(np.maximum(xyz / (0.9505, 1.0, 1.089), 1e-4))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", [None, *COLOUR_BLIND])
def test_the_experts_colours_are_told_apart_by_every_eye(kind: str | None) -> None:
    linear = (np.array(EXPERT_COLOURS) / 255) ** 2.2
    seen = np.clip(linear @ np.array(COLOUR_BLIND[kind]).T, 0, 1) if kind else linear
    for one, other in combinations(seen[:4], 2):
        assert np.linalg.norm(lab(one) - lab(other)) > 20


@pytest.mark.parametrize("with_picture", [True, False])
def test_every_experts_colour_is_in_the_chart(routing: Routing, with_picture: bool) -> None:
    picture = torch.rand(3, 80, 100) if with_picture else None
    chart = draw_routing(routing, 0, picture)
    assert chart.mode == "RGB" and chart.width == WIDTH
    assert set(EXPERT_COLOURS[:4]) <= {colour for _, colour in chart.getcolors(1 << 24)}


def test_what_was_seen_and_who_worked_can_be_read_on_a_node(routing: Routing, written: list[tuple[str, int]]) -> None:
    draw_routing(routing, 0)
    shown = {text for text, size in written if size * ON_A_NODE / WIDTH > 10.5}
    scores = dict(zip(NAMES.values(), routing.scores[0].tolist(), strict=True))
    for name in [name for name, score in scores.items() if score >= 0.5]:
        assert name in shown
    for name in [name for name, score in scores.items() if score < 0.5]:
        assert any(text.startswith("Not seen: ") and name in text for text in shown)
    assert {"light", "moderate", "strong"} & shown
    for block in routing.frames[0]:
        assert {detail_name(low, high) for low, high in block.band_ranges()} <= shown
        assert {f"{100 * share:.0f} %" for share in block.weights.tolist()} <= shown


def test_the_strongest_degradation_comes_first(written: list[tuple[str, int]]) -> None:
    scores = torch.tensor([0.6, 0.95, 0.1, 0.0, 0.0, 0.0, 0.0])
    draw_routing(Routing(((),), ((64, 64),), ("",), (scores,)), 0)
    words = [text for text, _ in written]
    assert words.index("haze") < words.index("low light")
    assert (words[words.index("haze") + 1], words[words.index("low light") + 1]) == ("strong", "light")


def test_a_clean_picture_is_called_one(written: list[tuple[str, int]]) -> None:
    draw_routing(Routing(((),), ((64, 64),), ("",), (torch.zeros(7),)), 0)
    assert "Nothing wrong was seen." in {text for text, _ in written}


def test_bands_have_names_that_go_from_large_to_small() -> None:
    edges = [0.0, 0.02, 0.06, 0.15, 0.3, 0.6]
    names = [detail_name(low, high) for low, high in zip(edges, edges[1:], strict=False)]
    assert names == ["areas", "shapes", "edges", "texture", "grain"]


def test_the_large_map_shows_who_works_more_than_elsewhere() -> None:
    weights = torch.tensor([[[0.7, 0.7], [0.7, 0.3]], [[0.3, 0.3], [0.3, 0.7]]])
    leads = _who_leads(block_of(weights), Image.new("L", (64, 64), 225), list(EXPERT_COLOURS[:2]))
    corner = np.array(leads.getpixel((48, 48)), float)
    assert np.abs(corner - EXPERT_COLOURS[1]).max() < 25, "the second expert's own corner has its colour"
    blue = np.array(leads.getpixel((16, 16)), float)
    assert np.abs(blue - 225).sum() < np.abs(corner - 225).sum(), "a third as much more is shown more weakly"


def test_experts_that_work_evenly_leave_the_large_map_grey() -> None:
    leads = _who_leads(block_of(torch.full((4, 3, 3), 0.25)), Image.new("L", (32, 32), 225), list(EXPERT_COLOURS[:4]))
    assert leads.getcolors() == [(32 * 32, (225, 225, 225))]


def test_what_was_not_worked_on_has_no_colour(restorer: Restorer) -> None:
    picture, mask = torch.rand(1, 3, 128, 128), torch.zeros(1, 128, 128)
    mask[:, :20, :20] = 1
    routing = restore_picture(restorer, picture, None, mask=mask, tile=64).routing
    block = routing.frames[0][1]
    assert block.seen.any() and not block.seen.all()
    grey = Image.new("L", (128, 128), 225)
    heat = _heat(block.map[0], block.seen, grey, (0, 114, 178))
    leads = _who_leads(block, grey, [*EXPERT_COLOURS[:4]])
    for drawn in (heat, leads):
        assert drawn.getpixel((100, 100)) == drawn.getpixel((20, 100)) == (225, 225, 225)
    assert heat.getcolors() != [(128 * 128, (225, 225, 225))]
    assert draw_routing(routing, 0, picture).width == WIDTH


def test_no_guidance_nothing_restored_many_experts_and_endless_words_are_no_trouble() -> None:
    seen = torch.ones(40, 1, dtype=torch.bool)
    seen[20:] = False
    block = block_of(torch.full((6, 40, 1), 1 / 6), [0.1] * 5, seen)
    routing = Routing(((block,), ()), ((640, 16), (16, 16)), ("haze " * 300 + "x" * 900, ""), (None, torch.rand(7)))
    assert draw_routing(routing, 0, torch.rand(1, 640, 16)).height > 800
    assert draw_routing(routing, 1).width == WIDTH


def test_a_picture_that_is_not_there_is_an_error_in_words(routing: Routing) -> None:
    with pytest.raises(IndexError, match="not picture -1"):
        draw_routing(routing, -1)

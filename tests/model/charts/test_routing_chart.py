"""The routing as a chart that can be read on a node and at full size."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from mofe_restore.model.blur_kernel import Blur
from mofe_restore.model.charts.page import WIDTH
from mofe_restore.model.charts.routing_chart import EXPERT_COLORS, _draw_leaders, _draw_map, detail_name, draw_routing
from mofe_restore.model.guidance import Guidance
from mofe_restore.model.inference.routing import BlockRouting, Routing
from mofe_restore.model.restorer.network import MofeBlock, Restorer
from mofe_restore.model.vocabulary import DISPLAY_NAMES
from mofe_restore.tests.factories import restore

ON_A_NODE = 360
"""Width in px of a chart on a node of usual size."""

COLOR_BLIND = {
    "protan": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deutan": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritan": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}
"""Each kind of color blindness as a matrix on linear RGB (Machado, Oliveira and Fernandes, 2009)."""


@pytest.fixture
def routing(restorer: Restorer, make_guidance: Callable[..., Guidance]) -> Routing:
    return restore(restorer, torch.rand(2, 3, 80, 100), make_guidance(2)).routing


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(text, size in px) of everything that is written while the test runs."""
    said: list[tuple[str, int]] = []
    draw = ImageDraw.ImageDraw.text

    def note(self, place, text, color, font):
        said.append((text, font.size))
        draw(self, place, text, color, font)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", note)
    return said


def block_of(weights: torch.Tensor, edges: list[float] | None = None, seen: torch.Tensor | None = None) -> BlockRouting:
    seen = torch.ones(weights.shape[1:], dtype=torch.bool) if seen is None else seen
    edges = edges or [0.05 * (1 + index) for index in range(len(weights) - 1)]
    return BlockRouting(MofeBlock("mofe", len(edges) + 1, edges, 2, 16), weights[:, seen].mean(1), weights * seen, seen)


def lab(color: np.ndarray) -> np.ndarray:
    """CIELAB of linear RGB."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ color
    x, y, z = np.cbrt(np.maximum(xyz / (0.9505, 1.0, 1.089), 1e-4))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("kind", [None, *COLOR_BLIND])
def test_the_colors_of_the_experts_are_told_apart_also_with_color_blindness(kind: str | None) -> None:
    linear = (np.array(EXPERT_COLORS) / 255) ** 2.2
    seen = np.clip(linear @ np.array(COLOR_BLIND[kind]).T, 0, 1) if kind else linear
    for one, other in combinations(seen[:4], 2):
        assert np.linalg.norm(lab(one) - lab(other)) > 20


@pytest.mark.parametrize("with_image", [True, False])
def test_the_color_of_every_expert_is_in_the_chart(routing: Routing, with_image: bool) -> None:
    image = torch.rand(3, 80, 100) if with_image else None
    chart = draw_routing(routing, 0, image)
    assert chart.mode == "RGB" and chart.width == WIDTH
    assert set(EXPERT_COLORS[:4]) <= {color for _, color in chart.getcolors(1 << 24)}


def test_what_was_seen_and_which_expert_worked_can_be_read_on_a_node(
    routing: Routing, written: list[tuple[str, int]]
) -> None:
    draw_routing(routing, 0)
    shown = {text for text, size in written if size * ON_A_NODE / WIDTH > 10.5}
    scores = dict(zip(DISPLAY_NAMES.values(), routing.scores[0].tolist(), strict=True))
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


def test_the_kernel_of_a_blur_that_was_undone_is_told(written: list[tuple[str, int]]) -> None:
    found, scores = Blur(motion_length=9.0, motion_angle=30.0), (torch.zeros(7),)
    draw_routing(Routing(((),), ((64, 64),), ("",), scores, (("noise", "blur"),), (found,)), 0)
    told = " ".join(text for text, _ in written)
    assert "undid noise and blur. The blur: motion of 9.0 px at 30 degrees." in told


def test_a_clean_image_is_called_clean(written: list[tuple[str, int]]) -> None:
    draw_routing(Routing(((),), ((64, 64),), ("",), (torch.zeros(7),)), 0)
    assert "Nothing wrong was seen." in {text for text, _ in written}


def test_bands_have_names_that_go_from_large_to_small() -> None:
    edges = [0.0, 0.02, 0.06, 0.15, 0.3, 0.6]
    names = [detail_name(low, high) for low, high in zip(edges, edges[1:], strict=False)]
    assert names == ["areas", "shapes", "edges", "texture", "grain"]


def test_the_large_map_shows_which_expert_works_more_than_elsewhere() -> None:
    weights = torch.tensor([[[0.7, 0.7], [0.7, 0.3]], [[0.3, 0.3], [0.3, 0.7]]])
    leads = _draw_leaders(block_of(weights), Image.new("L", (64, 64), 225), list(EXPERT_COLORS[:2]))
    corner = np.array(leads.getpixel((48, 48)), float)
    assert np.abs(corner - EXPERT_COLORS[1]).max() < 25, "the second expert's own corner has its color"
    blue = np.array(leads.getpixel((16, 16)), float)
    assert np.abs(blue - 225).sum() < np.abs(corner - 225).sum(), "a third as much more is shown more weakly"


def test_experts_that_work_evenly_leave_the_large_map_grey() -> None:
    leads = _draw_leaders(block_of(torch.full((4, 3, 3), 0.25)), Image.new("L", (32, 32), 225), list(EXPERT_COLORS[:4]))
    assert leads.getcolors() == [(32 * 32, (225, 225, 225))]


def test_what_was_not_worked_on_has_no_color(restorer: Restorer) -> None:
    image, mask = torch.rand(1, 3, 128, 128), torch.zeros(1, 128, 128)
    mask[:, :20, :20] = 1
    routing = restore(restorer, image, None, mask=mask, tile=64).routing
    block = routing.frames[0][1]
    assert block.seen.any() and not block.seen.all()
    grey = Image.new("L", (128, 128), 225)
    heat = _draw_map(block.map[0], block.seen, grey, (0, 114, 178))
    leads = _draw_leaders(block, grey, [*EXPERT_COLORS[:4]])
    for drawn in (heat, leads):
        assert drawn.getpixel((100, 100)) == drawn.getpixel((20, 100)) == (225, 225, 225)
    assert heat.getcolors() != [(128 * 128, (225, 225, 225))]
    assert draw_routing(routing, 0, image).width == WIDTH


def test_no_guidance_nothing_restored_many_experts_and_long_descriptions_are_drawn() -> None:
    seen = torch.ones(40, 1, dtype=torch.bool)
    seen[20:] = False
    block = block_of(torch.full((6, 40, 1), 1 / 6), [0.1] * 5, seen)
    routing = Routing(((block,), ()), ((640, 16), (16, 16)), ("haze " * 300 + "x" * 900, ""), (None, torch.rand(7)))
    assert draw_routing(routing, 0, torch.rand(1, 640, 16)).height > 800
    assert draw_routing(routing, 1).width == WIDTH


def test_an_image_that_is_not_there_is_an_error_in_words(routing: Routing) -> None:
    with pytest.raises(IndexError, match="not image -1"):
        draw_routing(routing, -1)


@pytest.mark.parametrize(("with_blocks", "words"), [(True, "undid noise and blur."), (False, "left for the experts")])
def test_the_chart_says_what_the_camera_branch_undid(
    routing: Routing, written: list[tuple[str, int]], with_blocks: bool, words: str
) -> None:
    frames = routing.frames[:1] if with_blocks else ((),)
    one = replace(routing, frames=frames, sizes=routing.sizes[:1], camera_faults=(("noise", "blur"),))
    draw_routing(one, 0)
    said = " ".join(text for text, _ in written)
    assert words in said and "camera branch" in said and "strength or the mask was zero" not in said
    assert json.loads(one.to_json(0))["camera_branch"] == ["noise", "blur"]

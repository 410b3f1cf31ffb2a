"""The workflows in ComfyUI's own front end, in a browser, in both of its renderings.

After the run of each workflow an image of the page goes into the folder that `MOFE_SHOTS` names, to be looked at.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from mofe_restore.tests.host import browser
from mofe_restore.tests.host.browser import Page
from mofe_restore.tests.host.server import Server
from mofe_restore.tests.host.test_real_comfyui import ALL_WORKFLOWS, CHAINED, NODES, with_few_pictures, workflow
from mofe_restore.tests.nodes.test_schemas import WORDS

pytestmark = pytest.mark.skipif(browser.missing() is not None, reason=f"no browser: {browser.missing()}")

TITLE = 30
"""Height of a node's title, which lies above its place."""


@pytest.fixture(scope="module", params=["classic", "vue"])
def page(request: pytest.FixtureRequest, plain_server: Server) -> Iterator[Page]:
    with browser.open_page(plain_server.url, vue=request.param == "vue") as opened:
        opened.rendering = request.param
        yield opened


@pytest.fixture(scope="module")
def film(plain_server: Server, video: str, server: Server) -> str:
    (plain_server.base / "input" / video).write_bytes((server.base / "input" / video).read_bytes())
    return video


def small(root: Path, name: str) -> dict[str, Any]:
    """A workflow with the small photo chosen, and with few pictures where a model is aligned."""
    graph = with_few_pictures(workflow(root, name))
    for node in graph["nodes"]:
        if node["type"] == "LoadImage":
            node["widgets_values"][0] = "small.png"
    return graph


def overlaps(nodes: list[dict[str, Any]]) -> list[tuple[str, str]]:
    def box(node: dict[str, Any]) -> tuple[float, float, float, float]:
        (left, top), (width, height) = node["pos"], node["size"]
        return left, top - TITLE, left + width, top + height

    found = []
    for one, other in combinations(nodes, 2):
        a, b = box(one), box(other)
        if a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]:
            found.append((one["title"], other["title"]))
    return found


def ours(prompt: dict[str, Any]) -> dict[str, Any]:
    """Our nodes with all that goes into them; ComfyUI's own keep what they showed, too."""
    return {number: node for number, node in prompt.items() if node["class_type"] in NODES}


@pytest.mark.parametrize("name", ALL_WORKFLOWS)
@pytest.mark.usefixtures("film")
def test_a_workflow_that_is_dropped_runs_shows_its_results_and_survives_a_reload(
    page: Page, root: Path, name: str
) -> None:
    graph = small(root, name)
    page.drop(graph)
    page.press_run()
    end = page.wait_for_end()
    assert end["kind"] == "execution_success", end["detail"]
    page.whole_workflow()
    if os.environ.get("MOFE_SHOTS"):
        page.screenshot(Path(os.environ["MOFE_SHOTS"]) / f"{name}, {page.rendering}.png")
    nodes = page.nodes()
    shown = {node["type"] for node in nodes if node["images"] and node["images"][0][0] > 0}
    assert {"SaveImage", "PreviewImage", "MoFE_ShowRouting"} & {node["type"] for node in nodes} <= shown
    assert overlaps(nodes) == []
    before = ours(page.prompt())
    page.reload()
    page.wait_for_nodes(len(graph["nodes"]))
    assert ours(page.prompt()) == before
    assert page.errors == []


LEAST_SCALE = 0.6
"""Of the view in which a workflow opens: below, the front end leaves texts out."""


@pytest.mark.field
@pytest.mark.parametrize("name", ALL_WORKFLOWS)
@pytest.mark.usefixtures("film")
def test_row6_a_workflow_opens_legibly_and_without_cables_behind_nodes(page: Page, root: Path, name: str) -> None:
    page.drop(small(root, name))
    pieces, behind = page.cables_behind_nodes()
    assert pieces >= len(workflow(root, name)["links"])
    assert behind == []
    assert not page.page.evaluate("() => window.app.graph.nodes.some(node => node.has_errors)"), "a red ring"
    page.open_side_panel()
    if os.environ.get("MOFE_SHOTS"):
        page.screenshot(Path(os.environ["MOFE_SHOTS"]) / f"opened, {name}, {page.rendering}.png")
    scale, hidden = page.seen_of_the_graph()
    page.open_side_panel()  # closes it
    assert scale >= LEAST_SCALE and hidden == []


PREVIEWS = """() => {
    window.mofePreviews = []
    window.app.api.addEventListener('b_preview_with_metadata', event => window.mofePreviews.push(event.detail.nodeId))
}"""


@pytest.mark.field
def test_row8_tiles_are_seen_while_they_are_done_and_row9_the_node_says_what_it_did(page: Page, root: Path) -> None:
    graph = small(root, "Restore a photo")
    for node in graph["nodes"]:
        if node["type"] == "LoadImage":
            node["widgets_values"][0] = "photo.png"
        if node["type"] == "MoFE_Restore":
            node["widgets_values"][:2] = [0.8, 128]
    page.drop(graph)
    page.page.evaluate(PREVIEWS)
    page.press_run()
    assert page.wait_for_end()["kind"] == "execution_success"
    (restore,) = [str(node["id"]) for node in graph["nodes"] if node["type"] == "MoFE_Restore"]
    assert set(page.page.evaluate("() => window.mofePreviews.map(String)")) == {restore}
    assert page.text_on("MoFE_Restore").startswith("Repaired.")
    for node in graph["nodes"]:
        if node["type"] == "MoFE_Restore":
            node["widgets_values"][3] = 1.0
    page.drop(graph)
    page.press_run()
    assert page.wait_for_end()["kind"] == "execution_success"
    if os.environ.get("MOFE_SHOTS"):
        page.screenshot(Path(os.environ["MOFE_SHOTS"]) / f"left alone, {page.rendering}.png")
    assert page.text_on("MoFE_Restore").startswith("Left alone, bit by bit")


def test_cancel_stops_a_run_and_the_next_one_works(page: Page, root: Path, plain_server: Server) -> None:
    graph = small(root, "Restore a photo")
    for node in graph["nodes"]:
        if node["type"] == "LoadImage":
            node["widgets_values"][0] = "photo.png"
        if node["type"] == "MoFE_Restore":
            node["widgets_values"][:2] = [0.9, 64]  # many tiles
    page.drop(graph)
    page.press_run()
    page.running_node()
    page.press_cancel()
    assert page.wait_for_end()["kind"] == "execution_interrupted"
    page.drop(small(root, "Restore a photo"))
    page.press_run()
    assert page.wait_for_end()["kind"] == "execution_success"


@pytest.mark.parametrize("words", ["dehaze", "derain", "denoise", "deblur", "low light", "jpeg", "restore"])
def test_the_nodes_are_found_by_what_they_are_for(page: Page, words: str) -> None:
    assert {"Restore", "Describe Degradation"} <= set(page.search_by_double_click(words))


@pytest.mark.field
@pytest.mark.parametrize("words", WORDS)
def test_row5_restore_is_found_among_the_first(page: Page, words: str) -> None:
    assert "Restore" in page.search_by_double_click(words)[:8]


def test_the_node_library_finds_them_too_and_the_blueprint(page: Page) -> None:
    assert {"Restore", "Describe Degradation", "Load MoFE Restorer"} <= set(page.search_in_library("dehaze"))
    assert "Restore Photo (MoFE)" in page.search_in_library("restore photo")


PHOTO_THROUGH_THE_BLUEPRINT = """() => {
    const graph = window.app.graph
    const blueprint = graph.nodes.find(node => node.isSubgraphNode?.())
    const add = (type, x) => {
        const node = window.LiteGraph.createNode(type)
        node.pos = [x, 300]
        graph.add(node)
        return node
    }
    const photo = add('LoadImage', 100), saved = add('SaveImage', 1400), words = add('PreviewAny', 1400)
    words.pos = [1400, 700]
    photo.widgets.find(widget => widget.name === 'image').value = 'small.png'
    photo.connect(0, blueprint, 'image')
    blueprint.connect('image', saved, 'images')
    blueprint.connect('description', words, 'source')
}"""


def test_the_blueprint_is_one_node_that_restores(page: Page) -> None:
    page.clear()
    page.add_by_search("Restore Photo (MoFE)")
    page.page.evaluate(PHOTO_THROUGH_THE_BLUEPRINT)
    page.press_run()
    end = page.wait_for_end()
    assert end["kind"] == "execution_success", end["detail"]
    page.whole_workflow()
    if os.environ.get("MOFE_SHOTS"):
        page.screenshot(Path(os.environ["MOFE_SHOTS"]) / f"blueprint, {page.rendering}.png")
    (saved,) = [node for node in page.nodes() if node["type"] == "SaveImage"]
    assert saved["images"] == [[160, 128]]


def test_every_node_shows_its_help_page_with_an_image(page: Page) -> None:
    for kind in NODES:
        page.clear()
        page.add(kind)
        text, width = page.open_help(kind)
        assert "Inputs" in text and "Outputs" in text
        assert width >= 300, kind


def test_the_help_page_is_chinese_where_the_front_end_is(page: Page) -> None:
    page.speak("zh")
    try:
        page.clear()
        page.add("MoFE_Restore")
        text, width = page.open_help("MoFE_Restore")
        if os.environ.get("MOFE_SHOTS"):
            page.screenshot(Path(os.environ["MOFE_SHOTS"]) / f"zh, {page.rendering}.png")
    finally:
        page.speak("en")
    assert "羽化" in text and width >= 300


def test_a_template_is_found_and_opened(page: Page) -> None:
    assert set(ALL_WORKFLOWS) <= set(page.open_templates("mofe-restore"))
    page.open_template("Restore and explain")
    assert "MoFE_ShowRouting" in [node["type"] for node in page.nodes()]


@pytest.mark.parametrize("name", CHAINED)
def test_a_model_that_is_missing_is_named(page: Page, root: Path, name: str) -> None:
    text = json.dumps(workflow(root, name))
    for known in ("RealESRGAN_x4plus", "v1-5-pruned-emaonly-fp16"):
        text = text.replace(f"{known}.safetensors", f"{known}-not-here.safetensors")
    page.drop(json.loads(text))
    page.page.get_by_text("-not-here.safetensors").first.wait_for(timeout=20_000)
    if os.environ.get("MOFE_SHOTS"):
        page.screenshot(Path(os.environ["MOFE_SHOTS"]) / f"missing model, {name}, {page.rendering}.png")

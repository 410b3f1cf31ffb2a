"""The example workflows and the blueprint fit the nodes as they are."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "workflows").glob("*.json"), *(ROOT / "subgraphs").glob("*.json")])
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
TITLE = 30
"""Height of a node's title, which lies above its place."""
OUTSIDE = {-10, -20}
"""What stands for the inputs and the outputs of a subgraph in its links."""


def graphs(path: Path) -> Iterator[tuple[list[dict[str, Any]], list[tuple[int, int, int, int, int, str]]]]:
    """The nodes and links of a file: of the workflow itself, and of the subgraphs in it."""
    file = json.loads(path.read_text(encoding="utf-8"))
    yield file["nodes"], [tuple(link) for link in file["links"]]
    for inner in file.get("definitions", {}).get("subgraphs", []):
        keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        yield inner["nodes"], [tuple(link[key] for key in keys) for link in inner["links"]]


def ours(path: Path) -> Iterator[dict[str, Any]]:
    return (node for nodes, _ in graphs(path) for node in nodes if node["type"].startswith("MoFE_"))


@pytest.fixture
def schemas(nodes: ModuleType) -> dict[str, Any]:
    listed = asyncio.run(nodes.MofeRestoreExtension().get_node_list())
    return {schema.node_id: schema for schema in (node.define_schema() for node in listed)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_node_of_ours_has_the_inputs_and_outputs_of_today(path: Path, schemas: dict[str, Any]) -> None:
    assert len(list(ours(path))) >= 4
    for node in ours(path):
        schema = schemas[node["type"]]
        known = [port.id for port in schema.inputs]
        assert {port["name"] for port in node["inputs"]} <= set(known)
        assert [port["name"] for port in node["outputs"]] == [port.id for port in schema.outputs]
        values = [port for port in schema.inputs if port.options is not None or port.default is not None]
        seeds = sum(port.id == "seed" for port in schema.inputs)  # the front end adds "control after generate" to it
        assert len(node["widgets_values"]) == len(values) + seeds, node["type"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_link_has_two_ends_of_its_type(path: Path) -> None:
    for nodes, links in graphs(path):
        by_id = {node["id"]: node for node in nodes}
        for number, source, out, target, into, kind in links:
            if source not in OUTSIDE:
                port = by_id[source]["outputs"][out]
                assert port["type"] == kind and number in port["links"]
            if target not in OUTSIDE:
                port = by_id[target]["inputs"][into]
                assert port["type"] in (kind, "*") and port["link"] == number
        joined = {port["link"] for node in nodes for port in node["inputs"]} - {None}
        assert joined <= {link[0] for link in links}


def boxes(nodes: list[dict[str, Any]]) -> dict[int, tuple[float, float, float, float]]:
    """Node id -> left, top, right and bottom, with the title."""
    return {
        node["id"]: (
            node["pos"][0],
            node["pos"][1] - TITLE,
            node["pos"][0] + node["size"][0],
            node["pos"][1] + node["size"][1],
        )
        for node in nodes
    }


def test_there_are_the_workflows_that_the_readme_names() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(WORKFLOWS) == 9
    for path in WORKFLOWS:
        assert f"*{path.stem}*" in readme


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_an_image_titles_and_a_note(path: Path) -> None:
    with Image.open(path.with_suffix(".jpg")) as image:
        assert image.size == (1280, 720)
    file = json.loads(path.read_text(encoding="utf-8"))
    assert len(file["groups"]) >= 4 and all(group["title"].strip() for group in file["groups"])
    (note,) = [node for node in file["nodes"] if node["type"] == "MarkdownNote"]
    assert note["title"] == "How to use this" and note["widgets_values"][0].startswith("## ")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_node_hides_another_and_each_lies_in_a_group(path: Path) -> None:
    file = json.loads(path.read_text(encoding="utf-8"))
    places = boxes(file["nodes"])
    for number, (left, top, right, bottom) in places.items():
        for other, box in places.items():
            apart = right <= box[0] or box[2] <= left or bottom <= box[1] or box[3] <= top
            assert apart or number == other, f"nodes {number} and {other}"
    for node in file["nodes"]:
        left, top, right, bottom = places[node["id"]]
        inside = [
            group["title"]
            for group in file["groups"]
            if group["bounding"][0] <= left
            and group["bounding"][1] <= top
            and right <= group["bounding"][0] + group["bounding"][2]
            and bottom <= group["bounding"][1] + group["bounding"][3]
        ]
        assert len(inside) == (node["type"] != "MarkdownNote"), node["type"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_models_that_exist_only_elsewhere_say_where(path: Path) -> None:
    """In the form from which ComfyUI's front end offers the download; it takes these suffixes and hosts only."""
    loaders = {
        "UpscaleModelLoader": "upscale_models",
        "CheckpointLoaderSimple": "checkpoints",
        "CLIPLoader": "text_encoders",
    }
    for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]:
        models = node["properties"].get("models", [])
        assert [model["directory"] for model in models] == ([loaders[node["type"]]] if node["type"] in loaders else [])
        for model in models:
            assert set(model) == {"name", "url", "directory"}
            assert model["url"].startswith("https://huggingface.co/") and model["url"].endswith(f"/{model['name']}")
            assert model["name"].endswith(".safetensors") and model["name"] in node["widgets_values"]


def drawn_links(path: Path) -> Iterator[tuple[str, list[tuple[float, float]]]]:
    """The name of each link and the places it is led through: from its node, over its reroutes, to the next node."""
    file = json.loads(path.read_text(encoding="utf-8"))
    by_id = {node["id"]: node for node in file["nodes"]}
    reroutes = {each["id"]: each for each in file["extra"].get("reroutes", [])}
    last = {each["id"]: each["parentId"] for each in file["extra"].get("linkExtensions", [])}
    for number, source, _, target, _, _ in file["links"]:
        chain, each = [], last.get(number)
        while each is not None:
            chain.insert(0, tuple(reroutes[each]["pos"]))
            assert number in reroutes[each]["linkIds"]
            each = reroutes[each].get("parentId")
        start, end = by_id[source], by_id[target]
        places = [(start["pos"][0] + start["size"][0], start["pos"][1]), *chain, tuple(end["pos"])]
        yield f"{start['type']} > {end['type']}", places


@pytest.mark.field
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_row6_cables_run_from_left_to_right_and_around_nodes(path: Path) -> None:
    nodes = boxes(json.loads(path.read_text(encoding="utf-8"))["nodes"])
    for name, places in drawn_links(path):
        for x, y in places[1:-1]:
            for left, top, right, bottom in nodes.values():
                assert not (left < x < right and top < y < bottom), name
        assert len(places) > 2 or places[0][0] < places[1][0], f"{name} runs backwards"


@pytest.mark.field
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_row6_every_photo_has_its_before_and_after(path: Path) -> None:
    file = json.loads(path.read_text(encoding="utf-8"))
    compared = [node for node in file["nodes"] if node["type"] == "ImageCompare"]
    assert len(compared) == (0 if "video" in path.stem else 1)
    for node in compared:
        assert [port["link"] is not None for port in node["inputs"]] == [True, True, False]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_note_says_what_the_slider_of_its_workflow_needs(path: Path) -> None:
    """The core node compares by a slider in the front end's new nodes only; the old ones show nothing to move."""
    nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
    (note,) = [node for node in nodes if node["type"] == "MarkdownNote"]
    has_slider = any(node["type"] == "ImageCompare" for node in nodes)
    assert ("*Nodes 2.0*" in note["widgets_values"][0]) == has_slider


def test_the_note_of_load_clip_leaves_its_type_as_it_is() -> None:
    path = ROOT / "workflows" / "Guide with your own vision model.json"
    nodes = {node["type"]: node for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]}
    assert "stable_diffusion" in nodes["CLIPLoader"]["widgets_values"]
    assert "Leave its *type* at *stable_diffusion*." in nodes["MarkdownNote"]["widgets_values"][0]


def test_the_video_has_one_guidance_for_all_its_frames() -> None:
    file = json.loads((ROOT / "workflows" / "Restore a video.json").read_text(encoding="utf-8"))
    (describe,) = [node for node in file["nodes"] if node["type"] == "MoFE_DescribeDegradation"]
    assert describe["widgets_values"][0] == "typical frame"


FURTHEST = 80.0
"""Longest reach in px of a curve's control point at a reroute, as in the front end (`Reroute.maxSplineOffset`)."""

Point = tuple[float, float]


def curve(start: Point, end: Point, away: Point, towards: Point, reach: tuple[float, float]) -> Iterator[Point]:
    """Points of the cubic Bezier curve that the front end draws between two ends of a cable or its reroutes."""
    distance = math.dist(start, end) / 4
    first, last = (min(distance, limit) for limit in reach)
    corners = (
        start,
        (start[0] + away[0] * first, start[1] + away[1] * first),
        (end[0] - towards[0] * last, end[1] - towards[1] * last),
        end,
    )
    for step in range(61):
        t = step / 60
        weights = ((1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3)
        x, y = (sum(weight * corner[axis] for weight, corner in zip(weights, corners, strict=True)) for axis in (0, 1))
        yield x, y


def cables_behind_nodes(workflow: dict[str, Any]) -> set[str]:
    """Which cables of a workflow run behind which nodes, about as the front end draws them."""
    nodes = {node["id"]: node for node in workflow["nodes"]}
    reroutes = {each["id"]: each for each in workflow["extra"].get("reroutes", [])}
    last = {each["id"]: each["parentId"] for each in workflow["extra"].get("linkExtensions", [])}
    found = set()
    for number, source, out, target, into, _ in workflow["links"]:
        (left, top), (width, _) = nodes[source]["pos"], nodes[source]["size"]
        stops: list[Point] = []
        reroute = last.get(number)
        while reroute is not None:
            stops.insert(0, tuple(reroutes[reroute]["pos"]))
            reroute = reroutes[reroute].get("parentId")
        end = (nodes[target]["pos"][0], nodes[target]["pos"][1] + 14 + 20 * into)
        stops = [(left + width, top + 14 + 20 * out), *stops, end]
        ways: list[Point] = [(1.0, 0.0)]
        for before, after in zip(stops, stops[2:], strict=False):
            length = math.dist(before, after)
            ways.append(((after[0] - before[0]) / length, (after[1] - before[1]) / length))
        ways.append((1.0, 0.0))
        for index in range(len(stops) - 1):
            reach = (math.inf if index == 0 else FURTHEST, math.inf if index == len(stops) - 2 else FURTHEST)
            for x, y in curve(stops[index], stops[index + 1], ways[index], ways[index + 1], reach):
                for node in nodes.values():
                    (left, top), (width, height) = node["pos"], node["size"]
                    inside = left + 8 < x < left + width - 8 and top - TITLE + 6 < y < top + height - 6
                    if inside and node["id"] not in (source, target):
                        found.add(f"{nodes[source]['type']} > {nodes[target]['type']} behind {node['type']}")
    return found


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_cable_runs_behind_a_node(path: Path) -> None:
    """What `tests/host/test_browser.py` sees in the real front end, where there is no browser."""
    workflow = json.loads(path.read_text(encoding="utf-8"))
    assert cables_behind_nodes(workflow) == set()


def test_a_cable_behind_a_node_is_found() -> None:
    workflow = json.loads((ROOT / "workflows" / "Restore a photo.json").read_text(encoding="utf-8"))
    workflow["extra"] |= {"reroutes": [], "linkExtensions": []}
    assert "MoFE_LoadRestorer > MoFE_Restore behind MoFE_DescribeDegradation" in cables_behind_nodes(workflow)

"""The example workflows and the blueprint fit the nodes as they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "workflows").glob("*.json"), *(ROOT / "subgraphs").glob("*.json")])
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
    assert list(ours(path))
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

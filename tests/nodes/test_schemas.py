"""What a user sees of the nodes before running them."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from mofe_restore.tests.nodes.standins import Host

IDS = [
    *("MoFE_LoadMLLM", "MoFE_DescribeDegradation", "MoFE_LoadRestorer", "MoFE_Restore", "MoFE_ShowRouting"),
    *("MoFE_SteerRestoration", "MoFE_DegradeImage", "MoFE_DegradationMask"),
    "MoFE_AlignMLLM",
]

INPUTS = {
    "MoFE_LoadMLLM": ["model", "precision", "clip"],
    "MoFE_DescribeDegradation": ["mllm", "image", "frames", "instruction", "restorer"],
    "MoFE_LoadRestorer": ["model", "precision"],
    "MoFE_Restore": ["restorer", "image", "strength", "tile_size", "guidance", "mask", "feather", "threshold"],
    "MoFE_ShowRouting": ["routing", "frame"],
    "MoFE_SteerRestoration": [
        *("guidance", "low_light", "haze", "rain", "snow", "noise", "blur", "jpeg"),
        *("set_low_light", "set_haze", "set_rain", "set_snow", "set_noise", "set_blur", "set_jpeg"),
    ],
    "MoFE_DegradeImage": ["image", "low_light", "haze", "rain", "snow", "noise", "blur", "jpeg", "seed"],
    "MoFE_DegradationMask": ["restorer", "image", "guidance", "degradation"],
    "MoFE_AlignMLLM": ["mllm", "restorer", "pictures", "again", "photos"],
}
"""Saved workflows store values by position: names may be appended here and nothing else may change."""

OUTPUTS = {
    "MoFE_LoadMLLM": ["mllm"],
    "MoFE_DescribeDegradation": ["guidance", "description", "report"],
    "MoFE_LoadRestorer": ["restorer"],
    "MoFE_Restore": ["image", "routing"],
    "MoFE_ShowRouting": ["chart", "json"],
    "MoFE_SteerRestoration": ["guidance"],
    "MoFE_DegradeImage": ["image"],
    "MoFE_DegradationMask": ["mask"],
    "MoFE_AlignMLLM": ["mllm", "report"],
}


@pytest.fixture
def schemas(nodes: ModuleType) -> dict[str, object]:
    listed = asyncio.run(nodes.MofeRestoreExtension().get_node_list())
    return {schema.node_id: schema for schema in (node.define_schema() for node in listed)}


def test_the_entrypoint_gives_the_nodes(host: Host) -> None:
    entrypoint = importlib.import_module("mofe_restore").comfy_entrypoint

    async def start() -> list[type]:
        extension = await entrypoint()
        await extension.on_load()
        return await extension.get_node_list()

    assert [node.define_schema().node_id for node in asyncio.run(start())] == IDS


def test_every_input_and_output_has_a_tooltip(schemas: dict) -> None:
    bare = [
        f"{name}.{port.id}"
        for name, schema in schemas.items()
        for port in (*schema.inputs, *schema.outputs)
        if not port.tooltip
    ]
    assert bare == []


def test_every_node_can_be_found_and_says_what_it_does(schemas: dict) -> None:
    for schema in schemas.values():
        assert schema.display_name
        assert schema.description.endswith(".")
        assert "restore" in " ".join(schema.search_aliases)


@pytest.mark.field
def test_row7_doers_and_loaders_lie_where_comfyui_has_its_own(schemas: dict) -> None:
    loaders = {name for name, schema in schemas.items() if schema.category == "model/loaders"}
    assert loaders == {"MoFE_LoadMLLM", "MoFE_LoadRestorer"}
    assert {schemas[name].category for name in set(schemas) - loaders} == {"image/restoration"}


WORDS = ["old photo", "fix photo", "remove noise", "unblur", "night photo", "fog", "grain", "scratch"]


@pytest.mark.field
@pytest.mark.parametrize("words", WORDS)
def test_row5_restore_and_the_blueprint_name_what_people_search_for(schemas: dict, root: Path, words: str) -> None:
    assert words in schemas["MoFE_Restore"].search_aliases
    blueprint = json.loads((root / "subgraphs" / "Restore Photo (MoFE).json").read_text(encoding="utf-8"))
    assert words in blueprint["extra"]["BlueprintSearchAliases"]


def test_restore_is_found_in_chinese_too(schemas: dict) -> None:
    assert "去雾" in schemas["MoFE_Restore"].search_aliases


def test_inputs_and_outputs_stay_where_saved_workflows_expect_them(schemas: dict) -> None:
    assert {name: [port.id for port in schema.inputs] for name, schema in schemas.items()} == INPUTS
    assert {name: [port.id for port in schema.outputs] for name, schema in schemas.items()} == OUTPUTS


def test_execute_takes_what_the_schema_declares(nodes: ModuleType) -> None:
    for node in asyncio.run(nodes.MofeRestoreExtension().get_node_list()):
        parameters = inspect.signature(node.execute).parameters
        for port in node.define_schema().inputs:
            assert (parameters[port.id].default is inspect.Parameter.empty) == (not port.optional)


@pytest.mark.parametrize("place", ["{}.md", "{}/zh.md"])
def test_every_node_has_a_help_page_with_an_image(schemas: dict, root: Path, place: str) -> None:
    docs = root / "web" / "docs"
    for name, schema in schemas.items():
        page = (docs / place.format(name)).read_text(encoding="utf-8")
        for port in (*schema.inputs, *schema.outputs):
            assert f"**{port.id}**" in page, f"{name}.md says nothing about {port.id}"
        # the front end looks for images in docs/, wherever the page lies
        assert (docs / f"{name}.jpg").is_file() and f"]({name}.jpg)" in page


def test_a_schema_keyword_that_an_older_comfyui_does_not_know_is_left_out(nodes: ModuleType) -> None:
    compat = importlib.import_module("mofe_restore.nodes.compat")
    schema = compat.node_schema(node_id="x", essentials_category="Basics")
    assert schema.node_id == "x"


def test_the_nodes_register_in_a_comfyui_that_knows_neither_aliases_nor_advanced_inputs(nodes: ModuleType) -> None:
    """As its API was before both came: older than what `requires-comfyui` allows, but the next keyword may be newer."""

    class OlderSchema:
        def __init__(
            self, node_id, display_name="", category="", inputs=(), outputs=(), description="", is_output_node=False
        ):
            self.node_id, self.inputs = node_id, inputs

    class OlderInput:
        def __init__(
            self, id, display_name=None, optional=False, tooltip=None, default=None, min=None, max=None, step=None
        ):
            self.id, self.optional = id, optional

    io = sys.modules["comfy_api.latest"].io
    io.Schema, io.Int.Input = OlderSchema, OlderInput
    compat = importlib.import_module("mofe_restore.nodes.compat")
    assert compat.node_schema(node_id="x", search_aliases=["y"]).node_id == "x"
    listed = asyncio.run(nodes.MofeRestoreExtension().get_node_list())
    found = {node.define_schema().node_id: node.define_schema() for node in listed}
    assert list(found) == IDS
    assert [port.id for port in found["MoFE_Restore"].inputs] == INPUTS["MoFE_Restore"]
    assert found["MoFE_Restore"].inputs[-1].optional


def test_importing_the_nodes_imports_no_model_and_no_transformers() -> None:
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from mofe_restore.tests.nodes.standins import Host\n"
        "sys.modules.update(Host(Path('models')).modules)\n"
        "import mofe_restore.nodes\n"
        "from mofe_restore.nodes.model_paths import register_folders\n"
        "register_folders()\n"
        "import asyncio\n"
        "nodes = asyncio.run(mofe_restore.nodes.MofeRestoreExtension().get_node_list())\n"
        "[node.define_schema() for node in nodes]\n"
        "words = {'mofe_restore.model', 'mofe_restore.model.vocabulary'}\n"
        "loaded = {n for n in sys.modules if n == 'transformers' or n.startswith('mofe_restore.model')}\n"
        "print(sorted(loaded - words))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"

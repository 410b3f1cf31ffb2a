"""The rooms of the package use only the rooms before them, and nothing goes round in circles.

The order is that of ARCHITECTURE.md. Imports are read from the sources: those at the top of a module, those inside
functions, and those for type checkers only.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ORDER = [
    {"model.vocabulary", "model.errors", "model.atomic", "model.precision", "model.threads"},
    {"model.images", "model.guidance", "model.weights", "model.formats", "model.blur_kernel"},
    {"model.jpeg_grid", "model.whole_image"},
    {"model.jpeg_quality"},
    {"model.image_files", "model.restorer", "model.mllm", "model.synthesis"},
    {"model.inference"},
    {"model.align"},
    {"model.charts"},
    {"model.pipeline"},
    {"nodes", "cli", "training"},
    {"tools"},
]
"""Rooms by layer; a room is a package, or a module of `model/`."""

WITHIN_A_LAYER = {("cli", "training")}
"""(room, what it uses) where both lie in one layer."""

TRAINING = [
    {"engine", "data", "metrics"},
    {"mllm", "head"},
    {"restorer", "camera"},
    {"evaluation"},
    {"release", "ablation"},
    {"stages"},
]
"""The wings of `training/` in their order."""

HOST = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "server"}
"""Modules of ComfyUI; its `nodes` has the name of a room of ours."""


@dataclass(frozen=True)
class Import:
    """An import of a module.

    Attributes:
        module: That imports, such as "model.inference.plan"; "" is the package itself.
        target: What is imported, named in the same way; modules of others have a "/" before their name.
        when: "load" at the top of a module, "call" inside a function, "check" for type checkers only.
    """

    module: str
    target: str
    when: str


def name_of(path: Path) -> str:
    """The dotted name of a module inside the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def sources() -> dict[str, Path]:
    """Every module of the product and its maintainers by name."""
    folders = [ROOT / name for name in ("cli", "model", "nodes", "tools", "training")]
    paths = [ROOT / "__init__.py", *(path for folder in folders for path in sorted(folder.rglob("*.py")))]
    return {name_of(path): path for path in paths}


@cache
def imports() -> tuple[Import, ...]:
    """Every import in the sources."""
    return tuple(found for name, path in sources().items() for found in imports_of(name, path))


def imports_of(name: str, path: Path) -> Iterator[Import]:
    """The imports of one module."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    def visit(node: ast.AST, when: str) -> Iterator[Import]:
        if isinstance(node, ast.Import):
            yield from (Import(name, f"/{alias.name}", when) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield Import(name, f"/{node.module}", when)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".") if package else []
            base = [*parts[: len(parts) - node.level + 1], *(node.module or "").split(".")]
            origin = ".".join(part for part in base if part)
            for alias in node.names:
                inner = f"{origin}.{alias.name}" if origin else alias.name
                yield Import(name, inner if inner in sources() else origin, when)
        for child in ast.iter_child_nodes(node):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and child in node.body:
                yield from visit(child, "check")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and when == "load":
                yield from visit(child, "call")
            else:
                yield from visit(child, when)

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), "load")


def room_of(module: str) -> str:
    """The room in which a module lies."""
    parts = module.split(".")
    return ".".join(parts[:2] if parts[0] == "model" else parts[:1])


def layer_of(room: str) -> int:
    (layer,) = [number for number, rooms in enumerate(ORDER) if room in rooms]
    return layer


def test_every_room_has_its_place() -> None:
    rooms = {room_of(name) for name in sources()} - {"", "model"}
    assert rooms == set().union(*ORDER)


@pytest.mark.parametrize("room", sorted(set().union(*ORDER)))
def test_a_room_uses_only_the_rooms_before_it(room: str) -> None:
    wrong = []
    for each in imports():
        target = room_of(each.target)
        if room_of(each.module) != room or each.target.startswith(("/", "tests")) or target in ("", "model", room):
            continue
        if layer_of(target) >= layer_of(room) and (room, target) not in WITHIN_A_LAYER:
            wrong.append(f"{each.module} imports {each.target} ({each.when})")
    assert wrong == []


@pytest.mark.parametrize("wing", sorted(set().union(*TRAINING)))
def test_a_wing_of_training_uses_only_the_wings_before_it(wing: str) -> None:
    def place(wing: str) -> int:
        (found,) = [number for number, wings in enumerate(TRAINING) if wing in wings]
        return found

    assert {name.split(".")[1] for name in sources() if name.startswith("training.")} == set().union(*TRAINING)
    own = [each for each in imports() if f"{each.module}.".startswith(f"training.{wing}.")]
    others = [each for each in own if each.target.startswith("training.") and each.target.split(".")[1] != wing]
    assert [each for each in others if place(each.target.split(".")[1]) >= place(wing)] == []


def test_the_exceptions_within_a_layer_are_used() -> None:
    pairs = {(room_of(each.module), room_of(each.target)) for each in imports()}
    assert pairs >= WITHIN_A_LAYER


def test_what_starts_a_room_is_empty_so_that_a_module_costs_only_what_it_uses() -> None:
    """All `__init__.py` but those of the package, which is lazy, and of the nodes, which only ComfyUI imports."""
    for name, path in sources().items():
        if path.name == "__init__.py" and name not in ("", "nodes"):
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert [type(node) for node in body] == [ast.Expr], name


def test_importing_the_package_imports_nothing() -> None:
    loaded = {each.target for each in imports() if each.module == "" and each.when == "load"}
    assert loaded <= {"/__future__", "/importlib", "/typing"}


def test_the_model_knows_nothing_of_its_hosts() -> None:
    outside = {"nodes", "cli", "training", "tools", "tests"}
    wrong = [
        each
        for each in imports()
        if each.module.startswith("model")
        and (each.target.split(".")[0] in outside or each.target.lstrip("/").split(".")[0] in HOST)
    ]
    assert wrong == []


def test_only_the_nodes_know_comfyui() -> None:
    users = {room_of(each.module) for each in imports() if each.target.lstrip("/").split(".")[0] in HOST}
    assert users == {"nodes", ""}, "the package's entry point names its extension for type checkers"


def test_training_is_needed_by_its_commands_only_and_then_when_they_run() -> None:
    users = {(room_of(each.module), each.when) for each in imports() if room_of(each.target) == "training"}
    assert users <= {
        ("training", "load"),
        ("training", "call"),
        ("training", "check"),
        ("cli", "call"),
        ("cli", "check"),
    }


def loaded_with(name: str) -> set[str]:
    """Everything that is imported when a module is, directly or by what it imports."""
    found, new = set(), {name}
    while new:
        found |= new
        rooms = {module[:end] for module in found for end in range(len(module)) if module[end] == "."}
        new = {each.target for each in imports() if each.when == "load" and each.module in found | rooms} - found
    return found


def test_loading_the_nodes_loads_no_model() -> None:
    loaded = loaded_with("nodes")
    assert {name for name in loaded if name.startswith("model")} == {"model.vocabulary"}
    assert not loaded & {"/torch", "/numpy", "/PIL", "/transformers"}


@pytest.mark.parametrize("name", ["model.vocabulary", "model.errors", "model.atomic", "cli.main"])
def test_names_errors_and_the_parser_need_the_standard_library_only(name: str) -> None:
    """So that the command prints its help at once, and the nodes their inputs."""
    foreign = {module.lstrip("/").split(".")[0] for module in loaded_with(name) if module.startswith("/")}
    assert foreign <= sys.stdlib_module_names


def test_the_three_kinds_of_imports_are_seen() -> None:
    assert Import("model.inference.plan", "model.inference.tiled", "load") in imports()
    assert Import("model.inference.tiled", "model.inference.plan", "check") in imports()
    assert Import("cli.train", "training.ablation", "call") in imports()
    assert Import("nodes.restore", "/comfy_api.latest", "load") in imports()
    assert Import("nodes.restore", "nodes.masks", "load") in imports()
    assert len(imports()) > 500


def test_no_modules_import_each_other() -> None:
    """Imports inside functions count, too; those for type checkers do not run."""
    graph: dict[str, set[str]] = {name: set() for name in sources()}
    for each in imports():
        if each.when != "check" and each.target in graph and each.target != each.module:
            graph[each.module].add(each.target)
    done: set[str] = set()

    def circle_from(name: str, way: tuple[str, ...]) -> tuple[str, ...]:
        if name in way:
            return (*way[way.index(name) :], name)
        if name in done:
            return ()
        found = next(filter(None, (circle_from(target, (*way, name)) for target in sorted(graph[name]))), ())
        done.add(name)
        return found

    for name in graph:
        assert circle_from(name, ()) == ()

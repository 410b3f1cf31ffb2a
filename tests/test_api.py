"""The public Python API: its names, what importing it costs, and the examples of the documents."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from PIL import Image

import mofe_restore as mofe
from mofe_restore.model import pipeline
from mofe_restore.model.mllm.loading import identity_of
from mofe_restore.tests.factories import MLLM_WIDTH, write_photo, write_restorer

CALLED = [name for name in mofe.__all__ if callable(getattr(mofe, name)) and name != "MofeError"]
"""Functions, and classes of which users make or get objects."""


def run_python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh process, in a folder."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - own code


def test_importing_the_package_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys, mofe_restore; print({'torch', 'transformers', 'numpy', 'PIL'} & set(sys.modules))"
    done = run_python(code, tmp_path)
    assert done.stdout.strip() == "set()", done.stderr


def test_names_and_version_can_be_asked_without_anything_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, mofe_restore as mofe; dir(mofe), mofe.__version__, mofe.DEGRADATIONS, mofe.MofeError;"
        "print({'torch', 'transformers', 'numpy', 'PIL'} & set(sys.modules))"
    )
    done = run_python(code, tmp_path)
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize("name", mofe.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(mofe, name) is not None
    assert name in dir(mofe)


def test_the_public_names_are_sorted_and_star_imports_them_all(tmp_path: Path) -> None:
    assert mofe.__all__ == sorted(mofe.__all__) and len(set(mofe.__all__)) == len(mofe.__all__)
    done = run_python("from mofe_restore import *; print(RestorationPipeline.__name__, len(DEGRADATIONS))", tmp_path)
    assert done.stdout.strip() == "RestorationPipeline 7", done.stderr


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Session'"):
        _ = mofe.Session
    assert not hasattr(mofe, "NODE_CLASS_MAPPINGS"), "ComfyUI asks for it"


def test_type_checkers_see_the_names_where_they_are_loaded_from(root: Path) -> None:
    """The imports for type checkers and the table for the interpreter say the same."""
    tree = ast.parse((root / "__init__.py").read_text(encoding="utf-8"))
    (checked,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = {
        alias.name: (node.module or "").removeprefix("model.")
        for node in checked.body
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }
    assert seen == mofe._MODULES
    assert set(mofe._MODULES) | {"__version__"} == set(mofe.__all__)


@pytest.mark.parametrize("name", CALLED)
def test_what_users_call_has_a_docstring_with_an_example(name: str) -> None:
    text = inspect.getdoc(getattr(mofe, name)) or ""
    assert re.search(r"^Example:\n    >>> ", text, re.MULTILINE), text


def test_the_list_of_what_users_call_is_not_empty() -> None:
    named = {"RestorationPipeline", "Guidance", "Restoration", "Mllm", "restore", "degrade"}
    assert named | {"read_image", "write_image", "load_restorer", "load_mllm"} <= set(CALLED)


@pytest.mark.parametrize("name", CALLED)
def test_public_methods_have_docstrings_and_types(name: str) -> None:
    public = getattr(mofe, name)
    functions = (
        [public]
        if inspect.isfunction(public)
        else [
            value.fget if isinstance(value, property) else getattr(value, "__func__", value)
            for key, value in vars(public).items()
            if not key.startswith("_") or key == "__call__"
        ]
    )
    for function in filter(inspect.isfunction, functions):
        assert function.__doc__, f"{name}.{function.__name__}"
        parameters = list(inspect.signature(function).parameters.values())
        bare = [each.name for each in parameters if each.annotation is each.empty and each.name not in ("self", "cls")]
        assert not bare and "return" in function.__annotations__, f"{name}.{function.__name__}"


def use_the_library(folder: Path, pipe: mofe.RestorationPipeline) -> None:
    """The example of the API, on the photo "holiday.jpg" in a folder."""
    image = mofe.read_image(folder / "holiday.jpg")
    guidance = pipe.describe(image)
    assert len(guidance.descriptions) == 1 and guidance.scores.shape == (1, len(mofe.DEGRADATIONS))
    assert guidance.with_removal({"haze": 0.0}).removal is not None
    result = pipe(image, guidance, strength=0.8)
    assert result.image.shape == image.pixels.shape and not torch.equal(result.image, image.pixels)
    assert len(result.routing) == 1 and (result.routing.frames[0] or result.routing.undone(0))
    mofe.write_image(folder / "restored.png", result.image, like=image)
    mofe.restore(folder / "holiday.jpg").save(folder / "in one line.png")
    for name in ("restored.png", "in one line.png"):
        with Image.open(folder / name) as written:
            assert written.size == (image.pixels.shape[3], image.pixels.shape[2])
    degraded = mofe.degrade(image, mofe.Severities(rain=0.4), seed=0)
    assert degraded.shape == image.pixels.shape and not torch.equal(degraded, image.pixels)
    assert torch.equal(degraded, mofe.degrade(image.pixels, mofe.Severities(rain=0.4), seed=0))


def test_the_library_is_used_as_its_documents_say(
    tmp_path: Path, tiny_mllm_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restorer = write_restorer(tmp_path / "tiny.safetensors", MLLM_WIDTH, identity_of(tiny_mllm_folder))
    monkeypatch.setattr(pipeline, "SHIPPED_RESTORER", restorer)
    monkeypatch.setattr(pipeline, "SHIPPED_MLLM", tiny_mllm_folder)
    write_photo(tmp_path / "holiday.jpg", seed=1)
    pipe = mofe.RestorationPipeline.from_pretrained(restorer, tiny_mllm_folder, device="cpu", precision="fp32")
    use_the_library(tmp_path, pipe)
    assert isinstance(pipe.restorer, mofe.Restorer) and isinstance(pipe.mllm, mofe.Mllm)
    assert pipe.card.mllm_identity == pipe.mllm.identity == identity_of(tiny_mllm_folder)


def test_the_networks_are_loaded_by_themselves(tmp_path: Path, tiny_mllm_folder: Path) -> None:
    network, card = mofe.load_restorer(write_restorer(tmp_path / "tiny.safetensors"))
    assert isinstance(network, mofe.Restorer) and isinstance(network.config, mofe.RestorerConfig)
    assert card.kind == "restorer"
    assert mofe.load_mllm(tiny_mllm_folder).width == MLLM_WIDTH


def test_an_error_that_a_user_can_mend_has_one_base(tmp_path: Path) -> None:
    with pytest.raises(mofe.MofeError, match=r"nowhere\.jpg"):
        mofe.read_image(tmp_path / "nowhere.jpg")
    with pytest.raises(mofe.MofeError, match="does not exist"):
        mofe.load_restorer(tmp_path / "nowhere.safetensors")
    with pytest.raises(mofe.MofeError, match="no MLLM folder"):
        mofe.load_mllm(tmp_path / "nowhere")


def test_every_severity_is_in_the_table_of_the_library(root: Path) -> None:
    text = (root / "docs" / "library.md").read_text(encoding="utf-8").partition("`Severities(...)`")[2]
    rows = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("|")]
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert told == {field.name for field in fields(mofe.Severities)}


@pytest.mark.weights
def test_the_library_is_used_as_its_documents_say_with_the_shipped_weights(tmp_path: Path) -> None:
    write_photo(tmp_path / "holiday.jpg", seed=1, height=96, width=128)
    use_the_library(tmp_path, mofe.RestorationPipeline.from_pretrained(device="auto", precision="auto"))


@pytest.mark.weights
@pytest.mark.parametrize("document", ["README.md", "docs/library.md"])
def test_the_examples_of_a_document_run_one_after_the_other(document: str, root: Path, tmp_path: Path) -> None:
    """On the CPU, with a small photo, and with fewer frames of a video."""
    blocks = re.findall(
        r"^```python\n(.*?)^```", (root / document).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert blocks
    write_photo(tmp_path / "holiday.jpg", seed=1, height=96, width=128)
    write_photo(tmp_path / "scan.tif", seed=2)
    code = "\n".join(["import torch", *blocks])
    for large, small in (('"cuda"', '"cpu"'), ("torch.rand(8, 3, 360, 640)", "torch.rand(2, 3, 64, 96)")):
        code = code.replace(large, small)
    done = run_python(code, tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "restored.png").is_file()

"""The package declares what it has and needs, and contains nothing that the registry forbids."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pathspec
import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HOST = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "nodes", "server"}
"""What only ComfyUI provides."""

MODULE_OF = {
    "pillow": "PIL",
    "pillow-heif": "pillow_heif",
    "pillow-jxl-plugin": "pillow_jxl",
    "opencv-contrib-python-headless": "cv2",
}

HERE = Path(__file__).resolve().parent.parent


def own_sources() -> list[Path]:
    """Every Python file of the product and of its maintainers, without the tests."""
    folders = [HERE / name for name in ("cli", "model", "nodes", "tools", "training")]
    return sorted(HERE.glob("*.py")) + sorted(path for folder in folders for path in folder.rglob("*.py"))


def room(path: Path) -> str:
    """The folder at the root in which a file lies; "" for the root's own files."""
    return path.relative_to(HERE).parts[0] if path.parent != HERE else ""


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, at the top level of the file) of every absolute import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node in tree.body) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.append((node.module or "", node in tree.body))
    return found


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))


def names_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~; \[]", line)[0].lower() for line in requirements}


def test_nothing_is_required_inside_comfyui(project: dict[str, Any]) -> None:
    assert project["project"]["dependencies"] == []
    assert not (HERE / "requirements.txt").exists(), "ComfyUI-Manager would install it"


def test_every_imported_package_is_declared(project: dict[str, Any]) -> None:
    extras = project["project"]["optional-dependencies"]
    declared = {
        MODULE_OF.get(name, name)
        for extra in ("standalone", "train", "formats", "video", "ray", "bench")
        for name in names_of(extras[extra])
    }
    known = declared | HOST | set(sys.stdlib_module_names) | {"tokenizers", "huggingface_hub"}  # both with transformers
    foreign = {
        (path.name, name) for path in own_sources() for name, _ in imports(path) if name.split(".")[0] not in known
    }
    assert not foreign


def test_training_packages_are_not_needed_to_restore() -> None:
    train = {"accelerate", "torchmetrics", "matplotlib"}
    for path in own_sources():
        if room(path) != "training" and path.name != "against.py":  # which draws, with the extra bench
            assert not {name.split(".")[0] for name, _ in imports(path)} & train, path.name


@pytest.mark.parametrize("path", own_sources(), ids=lambda path: str(path.relative_to(HERE)))
def test_imports_inside_are_relative(path: Path) -> None:
    own = {"mofe_restore", "model", "training", "cli", "tools", "tests"}
    assert not [name for name, _ in imports(path) if name.split(".")[0] in own]


@pytest.mark.parametrize("path", own_sources(), ids=lambda path: str(path.relative_to(HERE)))
def test_source_has_no_forbidden_construct(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            assert name not in {"eval", "exec", "__import__"}, f"{name} in line {node.lineno}"
            dotted = ast.unparse(node.func)
            assert dotted not in {"torch.load", "torch.save", "os.system"}, f"{dotted} in line {node.lineno}"
        if isinstance(node, ast.keyword):
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            assert (node.arg, value) not in {("trust_remote_code", True), ("shell", True)}, f"line {node.value.lineno}"
    assert not {name for name, _ in imports(path)} & {"pickle", "dill", "cloudpickle", "joblib"}


def test_nothing_that_comfyui_loads_starts_other_programs() -> None:
    starters = {path for path in own_sources() for name, _ in imports(path) if name == "subprocess"}
    programs = {"install.py", "gpu_evidence.py", "throughput.py"}
    assert {path.name for path in starters if room(path) != "training"} == programs


def text_files() -> list[Path]:
    """Every text file of the checkout, without caches and what a run leaves behind."""
    kinds = {".py", ".md", ".toml", ".txt", ".json", ".yml", ".yaml", ".sh", ""}
    skipped = {"runs", "demo_output", "build", "weights", "__pycache__"}

    def counts(path: Path) -> bool:
        folders = path.relative_to(HERE).parts[:-1]
        hidden = any(part.startswith(".") and part not in (".ci", ".github") for part in folders)
        return (
            path.name != ".git"
            and not path.name.startswith(".coverage")
            and not hidden
            and not skipped & set(folders)
            and not any(part.endswith(".egg-info") for part in folders)
        )

    return [path for path in HERE.rglob("*") if path.suffix in kinds and path.is_file() and counts(path)]


def test_no_file_names_a_path_of_one_machine() -> None:
    here = re.escape(f"{HERE.parent}/") if len(HERE.parent.parts) > 1 else "(?!)"
    places = re.compile(rf"(?<![\w.<])(?:{here}|/(?:home|root|Users)/)|[A-Z]:\\\\Users")
    for path in text_files():
        if path == Path(__file__):
            continue
        found = places.search(path.read_text(encoding="utf-8", errors="ignore"))
        assert found is None, f"{path.relative_to(HERE)}: {found}"


def test_no_command_installs_the_pack_from_an_index_that_lacks_it() -> None:
    """`publish.yml` publishes to the Comfy registry alone, from which pip installs nothing."""
    command = re.compile(r"pip install [^\n]*\bmofe-restore\b")
    assert {path.name for path in text_files() if command.search(path.read_text(encoding="utf-8"))} == set()


def test_every_package_is_declared(project: dict[str, Any]) -> None:
    names = [".".join(path.parent.relative_to(HERE).parts) for path in HERE.glob("[a-z]*/**/__init__.py")]
    ours = {"mofe_restore", *(f"mofe_restore.{name}" for name in names if not name.startswith((".", "build")))}
    packages = project["tool"]["setuptools"]["packages"]
    assert set(packages) == {name for name in ours if not name.startswith("mofe_restore.tools")}
    assert len(set(packages)) == len(packages)


def test_every_folder_with_code_is_a_package() -> None:
    for path in own_sources():
        if path.parent != HERE:
            assert (path.parent / "__init__.py").is_file(), path.parent


def test_every_data_file_is_declared(project: dict[str, Any]) -> None:
    data = project["tool"]["setuptools"]["package-data"]
    declared = {path for pattern in data["mofe_restore"] for path in HERE.glob(pattern)}
    declared |= {path for pattern in data["mofe_restore.training"] for path in (HERE / "training").glob(pattern)}
    folders = ("weights", "web", "locales", "workflows", "subgraphs", "cli/photos", "requirements")
    files = {path for name in folders for path in (HERE / name).rglob("*") if path.is_file()}
    files |= {*(HERE / "training").rglob("*.toml"), HERE / "py.typed", HERE / "LICENSE"}
    assert not {str(path.relative_to(HERE)) for path in files - declared if "__pycache__" not in path.parts}


def test_every_pattern_of_data_files_finds_one(project: dict[str, Any]) -> None:
    data = project["tool"]["setuptools"]["package-data"]
    assert set(data) == {"mofe_restore", "mofe_restore.training"}
    assert [pattern for pattern in data["mofe_restore"] if not list(HERE.glob(pattern))] == []
    assert [pattern for pattern in data["mofe_restore.training"] if not list((HERE / "training").glob(pattern))] == []


def test_type_checkers_of_users_read_the_annotations(project: dict[str, Any]) -> None:
    assert "py.typed" in project["tool"]["setuptools"]["package-data"]["mofe_restore"]
    assert (HERE / "py.typed").is_file() and "py.typed" in published()


def test_the_package_and_its_metadata_have_one_version(project: dict[str, Any]) -> None:
    import mofe_restore

    assert mofe_restore.__version__ == project["project"]["version"]


def test_pinned_requirements_are_exact_and_cover_the_extras(project: dict[str, Any]) -> None:
    pinned: dict[str, str] = {}
    for path in HERE.glob("requirements/*.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                assert re.fullmatch(r"[\w.-]+==[\w.]+", line), f"{path.name}: {line}"
                name, _, version = line.partition("==")
                pinned[name.lower()] = version
    extras = project["project"]["optional-dependencies"]
    wanted = {name for extra in extras.values() for name in names_of(extra)} - {"tomli"}
    assert wanted <= set(pinned)
    assert "torchvision" not in pinned


def test_demo_photos_are_small_and_their_licences_named() -> None:
    folder = HERE / "cli" / "photos"
    licences = (folder / "README.md").read_text(encoding="utf-8")
    photos = [path for path in folder.iterdir() if path.suffix in (".jpg", ".png")]
    assert len(photos) >= 4
    for path in photos:
        assert path.stat().st_size < 150_000
        assert f"`{path.name}`" in licences


def test_tests_and_command_use_one_copy_of_the_package() -> None:
    from mofe_restore.model.guidance import Guidance

    modules = [name for name, module in sys.modules.items() if hasattr(module, "GuidanceError")]
    files = {str(getattr(sys.modules[name], "__file__", "")) for name in modules if name.endswith("model.guidance")}
    assert files == {str(HERE / "model" / "guidance.py")}
    assert [name for name in modules if name.endswith("model.guidance")] == [Guidance.__module__]


def test_the_table_of_features_names_tests_that_exist() -> None:
    named = set(re.findall(r"`(tests/[\w/.]*)`", (HERE / "docs" / "features.md").read_text(encoding="utf-8")))
    assert len(named) > 8
    assert [name for name in named if not (HERE / name).exists()] == []


@pytest.mark.weights
def test_every_weight_file_is_in_the_list_of_checksums() -> None:
    """What decides a result is listed; logs, curves and readable cards lie beside it unlisted."""
    folder = HERE / "weights"
    listed = {line.split(maxsplit=1)[1] for line in (folder / "SHA256SUMS").read_text().splitlines() if line}
    kinds = (".safetensors", ".json", ".jinja")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in kinds}
    assert listed == found


@pytest.mark.weights
def test_shipped_language_model_opens_with_the_oldest_transformers_of_comfyui() -> None:
    """Its settings keep to what 4.50.3 reads; 5.x writes a form of them that 4.x cannot open."""
    folder = HERE / "weights" / "mllm"
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert tokenizer["model_input_names"] == ["input_ids", "attention_mask"]
    assert not isinstance(tokenizer.get("extra_special_tokens"), list)
    image = json.loads((folder / "preprocessor_config.json").read_text())
    assert image["image_processor_type"] == "Idefics3ImageProcessor"


def published() -> set[str]:
    """The files of the checkout that reach the registry, by the rules of comfy-cli: git's patterns in .comfyignore."""
    ignored = pathspec.PathSpec.from_lines("gitignore", (HERE / ".comfyignore").read_text().splitlines())
    folders = {".git", ".venv", ".ruff_cache", ".mypy_cache", ".pytest_cache", "__pycache__", ".hypothesis"}
    files = (path for path in HERE.rglob("*") if path.is_file() and not folders & set(path.relative_to(HERE).parts))
    return {name for name in (path.relative_to(HERE).as_posix() for path in files) if not ignored.match_file(name)}


def test_everything_that_the_pack_needs_reaches_the_registry(project: dict[str, Any]) -> None:
    files = published()
    for pattern in project["tool"]["setuptools"]["package-data"]["mofe_restore"]:
        wanted = {path.relative_to(HERE).as_posix() for path in HERE.glob(pattern) if path.is_file()}
        assert wanted <= files, pattern
    assert {path.relative_to(HERE).as_posix() for path in own_sources() if room(path) != "tools"} <= files


def test_nothing_of_the_workshop_reaches_the_registry() -> None:
    workshop = ("tests", "tools", "docs", ".ci", ".github", "runs")
    assert not [name for name in published() if name.split("/")[0] in workshop]


def test_the_icon_is_in_the_repository_and_square(project: dict[str, Any]) -> None:
    icon = (HERE / project["tool"]["comfy"]["Icon"]).read_text(encoding="utf-8")
    width, height = re.findall(r'<svg [^>]*width="(\d+)" height="(\d+)"', icon)[0]
    assert int(width) == int(height) <= 400
    assert "script" not in icon and "href" not in icon


def test_publishing_fills_in_the_addresses_that_the_registry_wants(tmp_path: Path) -> None:
    """The step of the publish workflow does what it says to the pyproject.toml of today."""
    workflow = (HERE / ".github" / "workflows" / "publish.yml").read_text(encoding="utf-8")
    step = workflow.split("only the repository knows\n        run: |\n")[1].split("      - uses:")[0]
    (tmp_path / "pyproject.toml").write_text((HERE / "pyproject.toml").read_text(encoding="utf-8"), encoding="utf-8")
    shell = shutil.which("sh")
    if shell is None:
        pytest.skip("no shell")
    lines = [line.strip() for line in step.splitlines() if "git diff" not in line]
    names = {**os.environ, "GITHUB_REPOSITORY": "somebody/mofe-restore", "GITHUB_REF_NAME": "v0.1.0"}
    subprocess.run([shell, "-c", "\n".join(lines)], cwd=tmp_path, env=names, check=True)  # noqa: S603
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))
    icon = "https://raw.githubusercontent.com/somebody/mofe-restore/v0.1.0/icon.svg"
    assert project["tool"]["comfy"]["Icon"] == icon
    assert project["project"]["urls"]["Repository"] == "https://github.com/somebody/mofe-restore"

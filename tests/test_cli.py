"""The `mofe` command: wrong arguments and errors cost one sentence, defects are not hidden, help is instant."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mofe_restore import cli
from mofe_restore.commands.shared import scores_of
from mofe_restore.model.precision import dtype_of
from mofe_restore.tests.commands.calls import run, sentence


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("mend",),
        ("restore",),
        ("restore", "a.png", "-o", "out", "--strength", "2"),
        ("restore", "a.png", "-o", "out", "--tile", "-1"),
        ("restore", "a.png", "-o", "out", "--precision", "int8"),
        ("evaluate",),
        ("train", "everything", "--config", "x.toml"),
    ],
)
def test_wrong_arguments_cost_one_sentence(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    assert "--help" in sentence(capsys)


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from mofe_restore import cli; cli.main(['--help']);"
        "sys.exit(len({'torch', 'numpy', 'PIL', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)  # noqa: S603 - own code
    assert done.returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ("restore", "a.png", "-o", "out", "--tile", "abc"),
        ("restore", "a.png", "-o", "out", "--strength", "much"),
        ("bench", "--runs", "0"),
        ("evaluate", "composites", "--clean", "c", "--seed", "-1"),
        ("evaluate", "composites", "--clean", "c", "--limit", "1.5"),
    ],
)
def test_a_bad_number_is_shown_and_no_name_of_our_code(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words) == 2
    text = sentence(capsys)
    assert f"{words[-2]}: {words[-1]!r} is no " in text and "invalid" not in text


def test_a_value_error_inside_our_code_is_a_defect_and_not_disguised() -> None:
    too_few_scores = SimpleNamespace(scores=torch.zeros(1, 3))
    with pytest.raises(ValueError, match="zip"), cli._one_sentence():
        scores_of(too_few_scores)
    with pytest.raises(ValueError, match="int9"), cli._one_sentence():
        dtype_of("int9")


def error_classes() -> list[tuple[str, str]]:
    """(module, class) of every error class of the package that is a ValueError."""
    package = Path(cli.__file__).parent
    paths = [path for path in package.rglob("*.py") if path.relative_to(package).parts[0] not in ("tests", ".venv")]
    return [
        (".".join(path.relative_to(package).with_suffix("").parts), node.name)
        for path in paths
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef) and [ast.unparse(base) for base in node.bases] == ["ValueError"]
    ]


def test_every_error_class_of_the_package_is_known_to_the_command() -> None:
    assert dict(error_classes()) == cli.USER_ERRORS


@pytest.mark.parametrize(("module", "name"), cli.USER_ERRORS.items())
def test_an_error_for_the_user_costs_its_sentence(module: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = getattr(importlib.import_module(f"mofe_restore.{module}"), name)
    with pytest.raises(SystemExit) as ended, cli._one_sentence():
        raise error("This is wrong: mend it.")
    assert ended.value.code == 1
    assert sentence(capsys) == "mofe: This is wrong: mend it.\n"


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def lack(_: Any) -> int:
        raise ModuleNotFoundError("No module named 'accelerate'", name="accelerate")

    monkeypatch.setattr(cli, "build_parser", lambda: SimpleNamespace(parse_args=lambda _: SimpleNamespace(run=lack)))
    assert cli.main([]) == 1
    assert "mofe-restore[train]" in capsys.readouterr().err

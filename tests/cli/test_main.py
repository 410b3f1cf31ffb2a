"""The `mofe` command: wrong arguments and errors cost one sentence, defects are not hidden, help is instant."""

from __future__ import annotations

import ast
import builtins
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import mofe_restore
from mofe_restore.cli import main
from mofe_restore.model import errors
from mofe_restore.model.mllm.wording import scores_by_name
from mofe_restore.model.precision import dtype_from_name
from mofe_restore.tests.cli.calls import run, sentence


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
        "import sys; from mofe_restore.cli import main; main.main(['--help']);"
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
    assert f"{words[-2]}: {words[-1]!r} is not a " in text and "invalid" not in text


def test_a_value_error_inside_our_code_is_a_defect_and_not_disguised() -> None:
    too_few_scores = SimpleNamespace(scores=torch.zeros(1, 3))
    with pytest.raises(ValueError, match="zip"), main.report_errors():
        scores_by_name(too_few_scores)
    with pytest.raises(ValueError, match="int9"), main.report_errors():
        dtype_from_name("int9")


def exceptions_of(names: set[str]) -> dict[str, set[str]]:
    """Class -> the modules that define it, of every class of the package with one of these bases, at any distance."""
    package = Path(mofe_restore.__file__).parent
    skipped = {"tests", "build", "runs"}
    paths = [
        path
        for path in package.rglob("*.py")
        if not skipped & set(path.relative_to(package).parts) and not path.relative_to(package).parts[0].startswith(".")
    ]
    bases: dict[str, set[str]] = {}
    modules: dict[str, set[str]] = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases.setdefault(node.name, set()).update(ast.unparse(base).split(".")[-1] for base in node.bases)
                module = ".".join(path.relative_to(package).with_suffix("").parts)
                modules.setdefault(node.name, set()).add(module)
    found = set(names)
    while more := {name for name in bases if bases[name] & found} - found:
        found |= more
    return {name: modules[name] for name in found & set(modules)}


VALUE_ERRORS = {
    name for name, kind in vars(builtins).items() if isinstance(kind, type) and issubclass(kind, ValueError)
}


def test_every_value_error_of_the_package_derives_from_one_base_in_one_file() -> None:
    for name, modules in exceptions_of(VALUE_ERRORS).items():
        assert modules == {"model.errors"}, name
        assert issubclass(getattr(errors, name), errors.MofeError), name


USER_ERRORS = sorted(exceptions_of({"MofeError"}))


def test_the_errors_that_the_commands_raise_are_among_them() -> None:
    assert {"CommandError", "GuidanceError", "RestorationError", "MllmError", "WeightFileError"} < set(USER_ERRORS)
    assert {"ImageFileError", "TrainingError", "EvaluationError"} < set(USER_ERRORS)


@pytest.mark.parametrize("name", ["MofeError", *USER_ERRORS])
def test_an_error_for_the_user_costs_its_sentence(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    error = getattr(errors, name)
    with pytest.raises(SystemExit) as ended, main.report_errors():
        raise error("This is wrong: mend it.")
    assert ended.value.code == 1
    assert sentence(capsys) == "mofe: This is wrong: mend it.\n"


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def lack(_: Any) -> int:
        raise ModuleNotFoundError("No module named 'accelerate'", name="accelerate")

    monkeypatch.setattr(main, "build_parser", lambda: SimpleNamespace(parse_args=lambda _: SimpleNamespace(run=lack)))
    assert main.main([]) == 1
    assert 'pip install ".[train]" in a checkout' in capsys.readouterr().err

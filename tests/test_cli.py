"""The `mofe` command: wrong arguments and errors cost one sentence, defects are not hidden, help is instant."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from mofe_restore import cli
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


def test_defects_are_not_disguised(monkeypatch: pytest.MonkeyPatch) -> None:
    def parser() -> Any:
        return SimpleNamespace(parse_args=lambda _: SimpleNamespace(run=lambda _: int("seven")))

    monkeypatch.setattr(cli, "build_parser", parser)
    monkeypatch.setattr(cli, "_is_ours", lambda _: False)
    with pytest.raises(ValueError, match="seven"):
        cli.main([])


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def lack(_: Any) -> int:
        raise ModuleNotFoundError("No module named 'accelerate'", name="accelerate")

    monkeypatch.setattr(cli, "build_parser", lambda: SimpleNamespace(parse_args=lambda _: SimpleNamespace(run=lack)))
    assert cli.main([]) == 1
    assert "mofe-restore[train]" in capsys.readouterr().err

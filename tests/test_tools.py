"""The programs for maintainers write committed files only when they are asked to."""

from __future__ import annotations

import importlib

import pytest


@pytest.mark.parametrize("name", ["write_clip", "write_locales", "write_pictures"])
def test_a_program_that_is_asked_for_help_writes_nothing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    program = importlib.import_module(f"mofe_restore.tools.{name}")
    for arguments, status in ((["--help"], 0), (["--nonsense"], 2)):
        with pytest.raises(SystemExit) as ended:
            program.main(arguments)
        assert ended.value.code == status
    printed = capsys.readouterr()
    assert "usage:" in printed.out and "--nonsense" in printed.err

"""`mofe bench` measures both precisions."""

from __future__ import annotations

from pathlib import Path

import pytest

from mofe_restore.tests.commands.calls import run


@pytest.mark.slow
def test_bench_prints_both_precisions(restorer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bench", "--runs", 1, "--no-large", "--restorer", restorer) == 0
    printed = capsys.readouterr().out
    assert "| restore | fp32 |" in printed and "| describe | bf16 |" in printed

"""`mofe train`: a bad configuration costs one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from mofe_restore.tests.cli.calls import run, sentence


@pytest.mark.parametrize("what", ["all", "mllm", "restorer"])
@pytest.mark.parametrize("content", [None, "this is not = = TOML", "[loop]\nsteps = 'many'\n"])
def test_bad_training_config_costs_one_sentence(
    what: str, content: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_text(content)
    assert run("train", what, "--config", path) == 1
    sentence(capsys)

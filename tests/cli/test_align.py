"""`mofe align`: the adapter is written where it is found, and a run that was stopped says how to go on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mofe_restore.model.align import run as align_run
from mofe_restore.model.mllm import adapter as adapters
from mofe_restore.model.mllm.loading import identity_of
from mofe_restore.tests.cli.calls import run, sentence
from mofe_restore.tests.factories import MLLM_WIDTH, write_photo, write_restorer

METRICS = {"f1": 0.9, "psnr": {"none": 20.0, "aligned": 23.0, "own": 24.0}}


@pytest.fixture
def words(tiny_mllm_folder: Path, tmp_path: Path) -> list[object]:
    """The command with a restorer of the tiny model, which is to be aligned with itself."""
    restorer = write_restorer(tmp_path / "restorer.safetensors", MLLM_WIDTH, identity_of(tiny_mllm_folder))
    write_photo(tmp_path / "photos" / "one.png", 1, 96, 96)
    guide = ("--mllm", tiny_mllm_folder, "--guide", tiny_mllm_folder, "--restorer", restorer)
    return ["align", *guide, "--photos", tmp_path / "photos", "--pictures", 16]


def test_the_adapter_is_written_and_what_was_measured_is_said(
    words: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made, asked = SimpleNamespace(adapter=object(), card=SimpleNamespace(metrics=METRICS)), {}

    def align(*models: Any, on_progress: Any, **settings: Any) -> Any:
        asked.update(settings, settings=models[-1])
        on_progress(1, 2)
        return made

    written = []
    monkeypatch.setattr(align_run, "align", align)
    monkeypatch.setattr(adapters, "write_adapter", lambda *what: written.append(what))
    output = tmp_path / "new" / "mine.safetensors"
    assert run(*words, "-o", output, "--real", tmp_path / "photos", "--seed", 3) == 0
    assert written == [(output, made.adapter, made.card)]
    assert asked["settings"].pictures == 16 and asked["settings"].seed == 3
    assert len(asked["real"]) == 1 and asked["keep"] == output.parent / ".align"
    said = capsys.readouterr().out.splitlines()
    assert said[0] == str(output)
    assert said[1].endswith(
        "F1 0.90, restored 23.00 dB with this guidance, 24.00 dB with the restorer's own model, 20.00 dB without."
    )


def test_a_run_that_is_stopped_says_how_to_go_on(
    words: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def align(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(align_run, "align", align)
    assert run(*words, "-o", tmp_path / "mine.safetensors") == 130
    assert "the same command goes on from there" in sentence(capsys)
    assert not (tmp_path / "mine.safetensors").exists()


def test_a_model_is_not_aligned_with_itself(
    words: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, "-o", tmp_path / "mine.safetensors") != 0
    sentence(capsys)


def test_an_output_that_is_no_weight_file_is_refused(words: list[object], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words, "-o", "mine.json") != 0
    assert "must end with .safetensors" in sentence(capsys)

"""`mofe demo` writes its images, and the shipped weights gain on them."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.cli.calls import run


def test_demo_writes_a_sheet_and_a_chart_of_each_photograph(
    restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("demo", "-o", tmp_path / "out", "--restorer", restorer) == 0
    assert capsys.readouterr().out.count("seen: Strong low light.") == 5
    assert len(list((tmp_path / "out").glob("*_routing.png"))) == 5
    assert len(list((tmp_path / "out").glob("*.png"))) == 10


def test_a_contact_sheet_is_drawn_for_every_kind(restorer: Path, tmp_path: Path) -> None:
    assert run("demo", "--sheets", "-o", tmp_path / "out", "--restorer", restorer) == 0
    sheets = {path.stem: path for path in (tmp_path / "out").iterdir()}
    assert set(sheets) == {*DEGRADATIONS, "low_light_haze_rain"}
    with Image.open(sheets["rain"]) as sheet:
        assert sheet.format == "JPEG" and sheet.width > 3 * 320 and sheet.height > 4 * 200


@pytest.mark.weights
@pytest.mark.usefixtures("real_mllm")
def test_demo_gains_on_every_degraded_photograph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("demo") == 0
    gains = [float(line.split("(")[1].split()[0]) for line in capsys.readouterr().out.splitlines() if "PSNR" in line]
    assert len(gains) >= 3 and min(gains) > 0
    assert len(list((tmp_path / "demo_output").glob("*.png"))) >= 8

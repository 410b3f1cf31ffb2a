"""The clip of the workflow Restore a video lies where Load Video looks."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from mofe_restore.tests.nodes.standins import Host

pytestmark = pytest.mark.field


@pytest.fixture
def clip(nodes: ModuleType) -> ModuleType:
    return importlib.import_module("mofe_restore.nodes.example_clip")


def test_row6_the_workflow_names_the_clip_that_is_brought(clip: ModuleType, root: Path) -> None:
    file = json.loads((root / "workflows" / "Restore a video.json").read_text(encoding="utf-8"))
    (load,) = [node for node in file["nodes"] if node["type"] == "LoadVideo"]
    assert load["widgets_values"][0] == clip.CLIP.name
    data = clip.CLIP.read_bytes()
    assert data[4:8] == b"ftyp" and len(data) < 256 * 1024


def test_row6_the_clip_is_copied_once_and_never_over_a_file_of_the_user(
    clip: ModuleType, host: Host, tmp_path: Path
) -> None:
    place = tmp_path / "input" / clip.CLIP.name
    clip.add_example_clip()  # there is no input folder: nothing happens
    place.parent.mkdir()
    clip.add_example_clip()
    assert place.read_bytes() == clip.CLIP.read_bytes()
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    place.write_text("mine")
    clip.add_example_clip()
    assert place.read_text() == "mine"


def test_row6_a_folder_that_may_not_be_written_to_is_no_error(
    clip: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "input").mkdir()

    def refuse(*_: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(clip.shutil, "copyfile", refuse)
    clip.add_example_clip()
    assert list((tmp_path / "input").iterdir()) == []

"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from mofe_restore.model.files import written_whole


def test_the_new_content_takes_the_place_of_the_old(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with written_whole(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), written_whole(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_complaint_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "missing" / "file.txt"
    with pytest.raises(FileNotFoundError) as caught, written_whole(target) as temporary:
        temporary.write_text("new")
    assert caught.value.filename == str(target)

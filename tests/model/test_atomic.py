"""Files and folders that are written whole or not at all, whenever the process is killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mofe_restore.model.atomic import atomic_write, recover_folder, replace_folder, staging_folder, write_text


def folder(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "file").write_text(content)
    return path


def test_the_new_content_takes_the_place_of_the_old(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with atomic_write(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "missing" / "file.txt"
    with pytest.raises(FileNotFoundError) as caught, atomic_write(target) as temporary:
        temporary.write_text("new")
    assert caught.value.filename == str(target)


@pytest.mark.field
@pytest.mark.skipif(os.name == "nt", reason="paths are limited there, not names")
def test_row15_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    limit = os.pathconf(tmp_path, "PC_NAME_MAX")
    target = tmp_path / ("n" * (limit - 4) + ".png")
    with atomic_write(target) as temporary:
        temporary.write_text("new")
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_text_is_written_in_utf_8_with_unix_line_ends(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "na\u00efve\nlines\n")
    assert target.read_bytes() == b"na\xc3\xafve\nlines\n"
    assert list(tmp_path.iterdir()) == [target]


def test_the_new_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = folder(tmp_path / "mllm", "old")
    replace_folder(folder(staging_folder(target), "new"), target)
    assert (target / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_leftovers_of_a_killed_build_are_not_built_upon(tmp_path: Path) -> None:
    target = tmp_path / "mllm"
    folder(staging_folder(target), "half")
    assert not staging_folder(target).exists()


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_kill_at_any_rename_leaves_a_whole_folder(
    renames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = folder(tmp_path / "mllm", "old")
    new = folder(staging_folder(target), "new")
    rename, done = Path.rename, []

    def killed(self: Path, to: Path) -> Path:
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(to)
        return rename(self, to)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        try:
            replace_folder(new, target)
        except KeyboardInterrupt:
            assert renames < 2
    recover_folder(target)
    assert (target / "file").read_text() == ("new" if renames == 2 else "old")
    assert not target.with_name("mllm.previous").exists()


@pytest.mark.skipif(os.name == "nt", reason="only what is open for writing can be flushed there")
def test_a_folder_with_read_only_files_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_as_an_ordinary_user(path: Path, flags: int) -> int:
        if flags & os.O_RDWR and not Path(path).stat().st_mode & 0o200:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, flags)

    opened, target = os.open, tmp_path / "mllm"
    new = folder(staging_folder(target), "new")
    (new / "file").chmod(0o444)
    with monkeypatch.context() as patch:
        patch.setattr("os.open", open_as_an_ordinary_user)
        replace_folder(new, target)
    assert (target / "file").read_text() == "new"

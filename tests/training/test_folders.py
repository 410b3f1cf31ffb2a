"""A folder is replaced whole, whenever the process is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mofe_restore.training.folders import replace_folder, settle, staging


def folder(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "file").write_text(content)
    return path


def test_the_new_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = folder(tmp_path / "mllm", "old")
    replace_folder(folder(staging(target), "new"), target)
    assert (target / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_leftovers_of_a_killed_build_are_not_built_upon(tmp_path: Path) -> None:
    target = tmp_path / "mllm"
    folder(staging(target), "half")
    assert not staging(target).exists()


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_kill_at_any_rename_leaves_a_whole_folder(
    renames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = folder(tmp_path / "mllm", "old")
    new = folder(staging(target), "new")
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
    settle(target)
    assert (target / "file").read_text() == ("new" if renames == 2 else "old")
    assert not target.with_name("mllm.previous").exists()

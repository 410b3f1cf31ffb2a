"""Which images the arguments of a command name."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath

import pytest

from mofe_restore.cli.common import STANDARD
from mofe_restore.cli.inputs import Source, find_sources, opened
from mofe_restore.tests.cli.calls import noise, run, save, sentence


def places(arguments: Sequence[Path], results: Path | None = None) -> list[str]:
    return [source.place.as_posix() for source in find_sources(arguments, results).sources]


@pytest.fixture
def holiday(tmp_path: Path) -> Path:
    folder = tmp_path / "holiday"
    for name in ("b.png", "a.jpg", "sub/c.tif", "sub/deep/d.v2.webp"):
        save(folder / name, noise(20, 20, 3))
    for name in ("notes.txt", ".hidden.png", ".thumbs/e.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes((folder / "b.png").read_bytes())
    return folder


@pytest.mark.field
class TestRow15:
    def test_row15_a_folder_gives_its_images_with_their_subfolders(self, holiday: Path) -> None:
        assert places([holiday]) == ["a", "b", "sub/c", "sub/deep/d.v2"]

    def test_row15_several_folders_go_to_folders_of_their_names(self, holiday: Path, tmp_path: Path) -> None:
        other = save(tmp_path / "other" / "b.png", noise(20, 20, 3))
        assert places([other.parent, holiday / "sub", holiday / "b.png"]) == ["other/b", "sub/c", "sub/deep/d.v2", "b"]

    def test_row15_results_in_a_searched_folder_are_no_images_to_restore(self, holiday: Path) -> None:
        assert places([holiday], holiday / "sub") == ["a", "b"]

    def test_row15_two_stars_search_subfolders_and_keep_them(self, holiday: Path) -> None:
        assert places([holiday / "**" / "*.[tw]*"]) == ["notes", "sub/c", "sub/deep/d.v2"]
        assert places([holiday / "*.png"]) == ["b"]

    def test_row15_a_folder_without_images_costs_one_sentence(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "empty").mkdir()
        assert find_sources([tmp_path / "empty"]).failed == 1
        assert "holds no image" in sentence(capsys)

    def test_row15_looping_links_cost_a_sentence_each_and_not_the_batch(
        self, holiday: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (holiday / "sub" / "up").symlink_to(holiday)
        (holiday / "self.png").symlink_to("self.png")
        found = find_sources([holiday])
        assert [source.place.name for source in found.sources] == ["a", "b", "self", "c", "d.v2"] and not found.failed
        assert "up: it leads to" in sentence(capsys)
        assert run("describe", holiday) == 1
        captured = capsys.readouterr()
        assert len(captured.out.splitlines()) == 4 and "self.png is a link that leads nowhere" in captured.err

    def test_row15_the_same_file_by_two_paths_is_one(self, holiday: Path, capsys: pytest.CaptureFixture[str]) -> None:
        again = holiday / ".." / "holiday" / "b.png"
        (holiday / "link.png").symlink_to("b.png")
        assert places([holiday / "b.png", again, holiday / "link.png", holiday / "b.png"]) == ["b"]
        assert capsys.readouterr().err.count("same file as") == 2

    def test_row15_an_image_takes_the_place_of_the_raw_file_beside_it(
        self, holiday: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("a.CR2", "raw.nef"):
            (holiday / name).write_bytes(b"II*\0\x10\0\0\0CR\2\0")
        (holiday / "raw.xmp").write_text("settings")
        for arguments in ([holiday], [holiday / "a.CR2", holiday / "a.jpg", holiday / "raw.nef"]):
            names = [source.path.name for source in find_sources(arguments).sources]
            assert "a.jpg" in names and "raw.nef" in names and "a.CR2" not in names
            assert "a.jpg beside this raw file" in sentence(capsys)


@pytest.mark.field
class TestRow16:
    def test_row16_a_minus_is_standard_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        (source,) = find_sources([STANDARD]).sources
        assert (source.name, source.place) == ("standard input", PurePath("stdin"))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"an image")))
        with opened(source) as stream:
            assert stream.read() == b"an image"

    def test_row16_standard_input_is_read_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert run("describe", "-", "-") == 1
        assert "only once" in sentence(capsys)

    @pytest.mark.skipif(os.name == "nt", reason="there are no such files there")
    def test_row16_the_device_of_standard_input_has_its_name(self) -> None:
        assert find_sources([Path("/dev/stdin")]).sources == [Source(Path("/dev/stdin"), PurePath("stdin"))]

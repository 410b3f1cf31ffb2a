"""Archives on disks and behind URLs, and the manifest that many machines write together."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

import pickle

import pyarrow.parquet as pq

from mofe_restore.cli.archive.files import PARQUET, ROWS, Results, filesystem, find_images, text_of
from mofe_restore.cli.manifest import NAME, Entry, read_manifest
from mofe_restore.model.errors import CommandError
from mofe_restore.tests.cli.calls import noise, save


def entry(file: str, output: str, error: str | None = None) -> Entry:
    return Entry(file, output, "0" * 64, "strength=1.0", "Haze.", {"haze": 0.8}, 0.5, 31.0, "", error)


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        ("photos/a.png", "photos/a.png"),
        ("s3://bucket/photos", "s3://bucket/photos"),
        ("memory://photos", "memory://photos"),
        ("file:///data/photos", "/data/photos"),
        ("a:/b", "a:/b"),
        ("folder/x:/y", "folder/x:/y"),
    ],
)
def test_urls_stay_what_they_are(argument: str, text: str) -> None:
    assert text_of(Path(argument)) == text


def test_images_of_a_folder_keep_their_places(tmp_path: Path) -> None:
    for name in ("b.png", "sub/a.JPG", "sub/\u00fc 100 %.png", ".hidden/c.png", "sub/.d.png", "text.txt"):
        save(tmp_path / name, noise(16, 16, 3), format="PNG") if not name.endswith("txt") else None
    (tmp_path / "text.txt").write_text("no")
    odd = "sub/\u00fc 100 %.png"
    found = dict(find_images(str(tmp_path)))
    assert found == {
        str(tmp_path / "b.png"): "b.png",
        str(tmp_path / "sub" / "a.JPG"): "sub/a.JPG",
        str(tmp_path / odd): odd,
    }
    assert [place for _, place in find_images(str(tmp_path / "*.png"))] == ["b.png"]
    assert [place for _, place in find_images(str(tmp_path / "b.png"))] == ["b.png"]
    with pytest.raises(CommandError, match="holds no image"):
        list(find_images(str(tmp_path / "nowhere")))


def test_a_file_is_found_whatever_its_name_is(tmp_path: Path) -> None:
    for name in ("photo[1].png", "photo1.png", "in [2]/a.png"):
        save(tmp_path / name, noise(16, 16, 3))
    for name in ("photo[1].png", "in [2]/a.png"):
        path = tmp_path / name
        assert list(find_images(str(path))) == [(str(path), path.name)]


@pytest.mark.parametrize("pattern", ["in[ab]/*.png", "in?/1.png", "*/1.png", "**/1.png"])
def test_images_of_a_pattern_keep_their_places_below_its_plain_part(pattern: str, tmp_path: Path) -> None:
    for name in ("ina/1.png", "inb/1.png"):
        save(tmp_path / name, noise(16, 16, 3))
    assert [place for _, place in find_images(str(tmp_path / pattern))] == ["ina/1.png", "inb/1.png"]


def test_images_behind_a_url_are_found() -> None:
    system, _ = filesystem("memory://archive")
    system.pipe_file("/archive/sub/a.png", b"a")
    assert list(find_images("memory://archive")) == [("memory:///archive/sub/a.png", "sub/a.png")]
    system.rm("/archive", recursive=True)


@pytest.mark.parametrize("place", ["local", "url"])
def test_field23_row1_rows_become_one_manifest(place: str, tmp_path: Path) -> None:
    results = Results(str(tmp_path / "out") if place == "local" else "memory://out-rows")
    for index in range(3):
        results.write_row(f"sub/{index}.png", entry(f"{index}.jpg", f"sub/{index}.png"))
    results.write_row("bad.png", entry("bad.jpg", "bad.png", error="bad.jpg is damaged."))
    assert results.read_row("sub/1.png") == entry("1.jpg", "sub/1.png")
    first = results.gather({})
    assert set(first) == {"sub/0.png", "sub/1.png", "sub/2.png", "bad.png"}
    assert results.entries() == first and not results.system.isdir(results.path(ROWS))
    results.write_row("bad.png", entry("bad.jpg", "bad.png"))
    again = results.gather(results.entries())
    assert again["bad.png"].error is None and len(again) == 4
    with results.system.open(results.path(PARQUET), "rb") as file:
        table = pq.read_table(file)
    assert table.num_rows == 4 and table.column("score_haze").to_pylist() == [0.8] * 4
    if place == "local":
        assert read_manifest(tmp_path / "out" / NAME) == again  # the plain engine goes on from it
    else:
        results.system.rm("/out-rows", recursive=True)


def test_results_travel_to_another_process(tmp_path: Path) -> None:
    results = Results(str(tmp_path))
    there = pickle.loads(pickle.dumps(results))  # noqa: S301
    there.write("sub/a.png", b"data")
    assert (tmp_path / "sub" / "a.png").read_bytes() == b"data"
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["a.png"]


def test_a_row_that_was_cut_off_does_not_count(tmp_path: Path) -> None:
    results = Results(str(tmp_path))
    results.write(results.row_name("a.png"), b'{"file": "a')
    assert results.read_row("a.png") is None and results.gather({}) == {}

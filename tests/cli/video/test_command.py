"""`mofe restore clip.mp4`: timing, colors, sound and everything else is kept, and a kill costs one segment."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("av")

from mofe_restore.cli.video import command as video_command
from mofe_restore.cli.video import restore as video_module
from mofe_restore.cli.video.clips import open_clip, read_frames
from mofe_restore.cli.video.restore import restore_clip
from mofe_restore.cli.video.suffixes import video_name
from mofe_restore.model.weights import read_weights, write_weights
from mofe_restore.tests.cli.calls import noise, run, save, sentence
from mofe_restore.tests.cli.video.movies import frames_of, picture, rate_of, sound_of, turn, write_movie
from mofe_restore.tests.factories import full_disk


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    return write_movie(tmp_path / "in" / "clip.mp4", [picture(shift=2 * index) for index in range(10)])


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_module, "SEGMENT_FRAMES", 4)


def same(frame: torch.Tensor, guidance: Any) -> torch.Tensor:
    return frame


def copy_of(path: Path, folder: Path) -> Path:
    """The video, restored by nothing."""
    folder.mkdir(exist_ok=True)
    output = folder / video_name(path)
    restore_clip(path, output, same, None, "")
    return output


def test_field23_row2_a_video_is_restored_and_reported(movie: Path, restorer: Path, tmp_path: Path) -> None:
    out, report, page = tmp_path / "out", tmp_path / "seen.json", tmp_path / "report.html"
    assert run("restore", movie, "-o", out, "--restorer", restorer, "--json", report, "--report", page) == 0
    assert [path.name for path in out.iterdir()] == ["clip.mp4"]
    (entry,) = json.loads(report.read_text())
    assert (entry["frames"], entry["resumed"], entry["width"], entry["height"]) == (10, 0, 64, 48)
    (scene,) = entry["scenes"]
    assert (scene["from"], scene["to"], scene["description"]) == (0, 9, "Strong low light.")
    assert "clip.mp4: a frame" in page.read_text(encoding="utf-8")
    before, after = (np.stack([frame.pixels for frame in read_frames(path)]) for path in (movie, out / "clip.mp4"))
    assert before.shape == after.shape and np.abs(before - after).mean() > 2 / 255
    assert sound_of(out / "clip.mp4") == sound_of(movie)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("television.mp4", {}),
        ("full.mp4", {"pixel_format": "yuvj420p", "full_range": True, "space": 5}),
        ("deep.mkv", {"pixel_format": "yuv420p10le", "space": 9}),
        ("old.mov", {"space": 6}),
        ("sharp.mp4", {"pixel_format": "yuv444p"}),
        ("silent.mp4", {"audio": False}),
        ("uneven.mp4", {"times": [0, 1, 3, 4, 8, 9, 10, 11]}),
    ],
)
def test_field23_row2_timing_colors_and_sound_are_kept(
    name: str, options: dict[str, Any], tmp_path: Path, short_segments: None
) -> None:
    movie = write_movie(tmp_path / name, [picture(shift=2 * index) for index in range(8)], **options)
    output = copy_of(movie, tmp_path / "out")
    before, after = frames_of(movie), frames_of(output)
    assert [frame.time for frame in after] == [frame.time for frame in before]
    if "times" not in options:  # of others there is only a mean, which counts the unknown length of the last frame
        assert rate_of(output) == rate_of(movie)
    for field in ("color_range", "colorspace", "color_primaries", "color_trc", "width", "height"):
        assert getattr(after[0], field) == getattr(before[0], field), field
    assert after[0].format.name == before[0].format.name
    if options.get("audio", True):
        assert sound_of(output) == sound_of(movie)
    old, new = (np.stack([frame.pixels for frame in read_frames(path)]) for path in (movie, output))
    assert abs(float((new - old).mean())) < 0.6 / 255
    assert float(np.abs(new - old).mean()) < 3 / 255


@pytest.mark.parametrize(
    ("name", "codec", "source", "results", "note"),
    [
        ("screen.mkv", "ffv1", "bgr0", {"yuvj444p", "yuv444p"}, ""),
        ("screen.mov", "qtrle", "argb", {"yuvj444p", "yuv444p"}, "its transparency is not kept"),
        ("deep.mkv", "ffv1", "gbrp12le", {"yuv444p10le"}, "its 12 bits a channel become 10"),
        ("sharp.mkv", "ffv1", "yuv444p12le", {"yuv444p10le"}, "its 12 bits a channel become 10"),
        ("half.mkv", "ffv1", "yuv422p12le", {"yuv422p10le"}, "its 12 bits a channel become 10"),
        ("packed.mov", "rawvideo", "uyvy422", {"yuv422p"}, ""),
        ("dv.mkv", "ffv1", "yuv411p", {"yuv422p"}, ""),
        ("tall.mkv", "ffv1", "yuv440p", {"yuv444p"}, ""),
        ("grey.mkv", "ffv1", "gray", {"yuv420p"}, ""),
        ("grey.mov", "rawvideo", "gray16be", {"yuv420p10le"}, "its 16 bits a channel become 10"),
        ("web.webm", "libvpx-vp9", "yuva420p", {"yuv420p"}, "its transparency is not kept"),
    ],
)
def test_what_the_encoder_does_not_know_keeps_its_colors(
    name: str, codec: str, source: str, results: set[str], note: str, tmp_path: Path
) -> None:
    image = picture() // 3
    if source.startswith(("bgr", "argb", "gbr", "yuv444", "yuv440")):
        image[:, ::2], image[:, 1::2] = (192, 128, 64), (64, 128, 192)  # colors that half of the columns cannot tell
    movie = tmp_path / name
    full = source.startswith(("bgr", "argb", "gbr"))
    write_movie(movie, [image] * 3, pixel_format=source, full_range=full, space=5, audio=False, codec=codec)
    output = copy_of(movie, tmp_path / "out")
    assert frames_of(output)[0].format.name in results and open_clip(movie).note == note
    before, after = (next(read_frames(path)).pixels for path in (movie, output))
    assert float((after - before).abs().mean()) < 7 / 255 and abs(float((after - before).mean())) < 1.2 / 255


def test_field23_row2_what_was_filmed_upright_stays_upright(tmp_path: Path) -> None:
    movie = turn(write_movie(tmp_path / "clip.mp4", [picture(48, 64)] * 3))
    assert frames_of(movie)[0].rotation % 360 in (90, 270)
    seen = next(read_frames(movie)).pixels
    assert seen.shape == (1, 3, 64, 48)
    output = copy_of(movie, tmp_path / "out")
    after = next(read_frames(output)).pixels
    assert after.shape == seen.shape and float((after - seen).abs().mean()) < 3 / 255


def test_odd_sides_are_kept(tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "clip.mp4", [picture(33, 47)] * 2, pixel_format="yuv444p")
    assert frames_of(copy_of(movie, tmp_path / "out"))[0].format.name == "yuv444p"


def test_a_container_that_takes_not_every_sound_becomes_another(tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "clip.avi", [picture(shift=2 * index) for index in range(12)])
    output = copy_of(movie, tmp_path / "out")
    assert output.name == "clip.mkv"
    times = [frame.time for frame in frames_of(output)]
    assert times == pytest.approx([index * 1001 / 30000 for index in range(12)], abs=1e-3)
    assert [packet for _, packet in sound_of(output)] == [packet for _, packet in sound_of(movie)]


def test_field23_row2_a_kill_costs_one_segment(movie: Path, tmp_path: Path, short_segments: None) -> None:
    output, restored = tmp_path / "clip.mp4", []

    def restore(frame: torch.Tensor, guidance: Any) -> torch.Tensor:
        if len(restored) == 6:
            restored.append(None)
            raise KeyboardInterrupt
        restored.append(frame)
        return frame * 0.5

    with pytest.raises(KeyboardInterrupt):
        restore_clip(movie, output, restore, None, "a")
    assert not output.exists() and len(restored) == 7
    done = restore_clip(movie, output, restore, None, "a")
    assert (done.frames, done.resumed) == (10, 4)
    assert len(restored) == 7 + 6
    whole = restore_clip(movie, tmp_path / "whole.mp4", lambda frame, _: frame * 0.5, None, "a")
    assert whole.resumed == 0 and output.read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "in", "whole.mp4"]


def test_segments_of_other_options_do_not_count(movie: Path, tmp_path: Path, short_segments: None) -> None:
    calls = []

    def stop(frame: torch.Tensor, guidance: Any) -> torch.Tensor:
        calls.append(frame)
        if len(calls) == 6:
            raise OSError(28, "No space left on device")
        return frame

    with pytest.raises(OSError, match="No space"):
        restore_clip(movie, tmp_path / "clip.mp4", stop, None, "a")
    assert restore_clip(movie, tmp_path / "clip.mp4", same, None, "b").resumed == 0


def test_a_black_screen_stays_as_it_is(tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "black.mp4", [np.zeros((48, 64, 3), np.uint8)] * 4)
    (tmp_path / "out").mkdir()
    done = restore_clip(movie, tmp_path / "out" / "black.mp4", lambda *_: pytest.fail("restored"), None, "")
    assert done.frames == 4 and next(read_frames(tmp_path / "out" / "black.mp4")).pixels.max() < 2 / 255


def test_pixels_outside_the_mask_are_left_alone(movie: Path, restorer: Path, tmp_path: Path) -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[:, 40:] = 255
    save(tmp_path / "mask.png", mask)
    words = ("--restorer", restorer, "--mask", tmp_path / "mask.png")
    assert run("restore", movie, "-o", tmp_path / "out", *words) == 0
    before, after = (next(read_frames(path)).pixels for path in (movie, tmp_path / "out" / "clip.mp4"))
    change = (after - before).abs().mean((0, 1, 2))
    assert change[:32].mean() < 3 / 255 and change[44:].mean() > 3 * change[:32].mean()


@pytest.mark.parametrize("kind", ["text", "cut", "silent picture", "missing"])
def test_a_bad_video_costs_one_sentence(
    kind: str, movie: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in" / "bad.mp4"
    if kind == "text":
        path.write_text("no video")
    if kind == "cut":
        path.write_bytes(movie.read_bytes()[:600])
    if kind == "silent picture":
        path.touch()
    assert run("restore", path, "-o", tmp_path / "out", "--restorer", restorer) == 1
    assert "bad.mp4" in sentence(capsys)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_original_is_never_overwritten(movie: Path, restorer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = movie.read_bytes()
    assert run("restore", movie, "-o", movie.parent, "--restorer", restorer) == 1
    assert "overwritten" in sentence(capsys) and movie.read_bytes() == before


@pytest.mark.parametrize(
    ("size", "segment", "file"),
    [
        (50_000, 4, "00000004.state"),  # what is noted of four frames is larger than they are
        (90_000, 40, "00000000.nut"),
        (90_000, 4, "clip.mp4"),
    ],
)
def test_a_full_disk_is_not_blamed_on_the_original(
    size: int, segment: int, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_module, "SEGMENT_FRAMES", segment)
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(40)]
    movie, output = write_movie(tmp_path / "in" / "clip.mp4", images), tmp_path / "clip.mp4"
    with full_disk(size), pytest.raises(OSError, match="too large") as caught:
        restore_clip(movie, output, same, None, "")
    assert Path(caught.value.filename).name == file
    left = {path.name for path in tmp_path.rglob("*") if path.parent != movie.parent}
    assert file not in left and not [name for name in left if name.endswith(".tmp")]
    assert restore_clip(movie, output, same, None, "").frames == 40


def test_a_full_disk_costs_one_video_and_not_the_batch(
    movie: Path, restorer: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = save(tmp_path / "in" / "photo.png", noise(20, 20, 3))
    with full_disk(20_000):
        assert run("restore", movie, photo, "-o", tmp_path / "out", "--restorer", restorer) == 1
    assert "File too large" in sentence(capsys) and (tmp_path / "out" / "photo.png").is_file()


def test_segments_of_other_weights_do_not_count(movie: Path, restorer: Path, tmp_path: Path) -> None:
    options = []
    weights = tmp_path / "tiny.safetensors"
    shutil.copy(restorer, weights)
    with pytest.MonkeyPatch.context() as patch:

        def note(path: Path, output: Path, restore: Any, describe: Any, said: str, on_frame: Any) -> Any:
            options.append(said)
            return restore_clip(path, output, same, None, said)

        patch.setattr(video_command, "restore_clip", note)
        words = ("restore", movie, "-o", tmp_path / "out", "--restorer", weights, "--no-guidance")
        for sign in (1, -1):
            state, card = read_weights(weights, "restorer")
            write_weights(weights, {name: sign * value for name, value in state.items()}, card, torch.float32)
            assert run(*words) == 0
    assert len(set(options)) == 2

"""Light and depth maps, and the reading of photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mofe_restore.model.imaging.scenes import DEPTH_SIDE, LIGHT_FLOOR, box_mean, depth_map, guided_filter, light_map
from mofe_restore.training.photos import PhotoError, list_photos, read_photo


def test_a_box_mean_leaves_out_what_lies_outside() -> None:
    plane = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert box_mean(plane, 1)[0, 0] == pytest.approx(plane[:2, :2].mean())
    assert box_mean(plane, 1)[1, 2] == pytest.approx(plane[:, 1:4].mean())
    assert np.allclose(box_mean(plane, 9), plane.mean())


def test_the_guided_filter_keeps_an_edge_and_smooths_a_surface() -> None:
    rng = np.random.default_rng(0)
    edge = np.repeat(np.where(np.arange(40) < 20, 0.2, 0.8)[None], 30, axis=0).astype(np.float32)
    noisy = edge + 0.02 * rng.standard_normal(edge.shape).astype(np.float32)
    gain, offset = guided_filter(noisy, noisy, 3, 0.01)
    smooth = gain * noisy + offset
    assert smooth[:, :15].std() < 0.5 * noisy[:, :15].std()
    assert smooth[:, 21].mean() - smooth[:, 18].mean() > 0.45


def test_the_light_map_follows_the_light_and_not_the_texture() -> None:
    rng = np.random.default_rng(1)
    picture = np.full((3, 90, 120), 0.3, dtype=np.float32)
    picture[:, :, 60:] = 0.8
    picture += 0.05 * rng.standard_normal((1, 90, 120)).astype(np.float32)
    light = light_map(picture)
    assert light.shape == (90, 120) and light.min() >= LIGHT_FLOOR and light.max() <= 1.0
    assert light[:, :50].mean() == pytest.approx(0.3, abs=0.03)
    assert light[:, 70:].mean() == pytest.approx(0.8, abs=0.03)
    assert light[:, :50].std() < 0.5 * picture[0, :, :50].std()


def test_depth_maps_are_varied_small_and_in_range() -> None:
    picture = np.random.default_rng(2).random((3, 200, 300), dtype=np.float32)
    maps = [depth_map(picture, np.random.default_rng(seed)) for seed in (0, 1, 0)]
    assert np.array_equal(maps[0], maps[2]) and np.abs(maps[0] - maps[1]).mean() > 0.02
    assert max(maps[0].shape) == DEPTH_SIDE
    assert min(one.min() for one in maps) >= 0.0 and max(one.max() for one in maps) <= 1.0


def test_photos_are_listed_in_order_and_read_upright_without_alpha(tmp_path: Path) -> None:
    Image.new("RGBA", (6, 4), (255, 0, 0, 10)).save(tmp_path / "b.PNG")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (6, 4)).save(tmp_path / "a.jpg", exif=turned)
    Image.fromarray(np.full((4, 6), 65535, dtype=np.uint16)).save(tmp_path / "c.png")
    (tmp_path / "notes.txt").write_text("no picture")
    assert [path.name for path in list_photos(tmp_path)] == ["a.jpg", "b.PNG", "c.png"]
    assert read_photo(tmp_path / "a.jpg").shape == (6, 4, 3)
    assert read_photo(tmp_path / "b.PNG").tolist() == [[[1.0, 0.0, 0.0]] * 6] * 4
    assert (read_photo(tmp_path / "c.png") == 1.0).all()
    assert read_photo(tmp_path / "b.PNG").dtype == np.float32


def test_folders_without_photos_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="nowhere"):
        list_photos(tmp_path / "nowhere")
    with pytest.raises(PhotoError, match="holds no photos"):
        list_photos(tmp_path)
    with pytest.raises(PhotoError, match="missing.png"):
        read_photo(tmp_path / "missing.png")
    for name, content in (("text.png", b"hello"), ("empty.jpg", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PhotoError, match=name):
            read_photo(tmp_path / name)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:4000])
    with pytest.raises(PhotoError, match="cut.png"):
        read_photo(tmp_path / "cut.png")

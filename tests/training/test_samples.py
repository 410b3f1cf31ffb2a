"""Degraded training scenes from a folder of clean photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mofe_restore.model.guidance import DEGRADATIONS
from mofe_restore.model.imaging.degradations import Severities
from mofe_restore.training.photos import PhotoError, list_photos
from mofe_restore.training.samples import PhotoStore, sample_generator, to_tensor


def test_scenes_stay_within_the_wanted_sides(photos: Path) -> None:
    store = PhotoStore.read(photos)
    for index in range(60):
        scene = store.scene(sample_generator(0, index), (64, 112))
        assert scene.dtype == np.float32
        assert all(64 <= side <= 112 and side % 8 == 0 for side in scene.shape[:2]), scene.shape
        assert scene.min() >= 0
        assert scene.max() <= 1


def test_a_sample_depends_on_seed_and_index_alone(photos: Path) -> None:
    store = PhotoStore.read(photos)
    first, second = (store.degraded_scene(sample_generator(3, 7, 1), (64, 112)) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1].picture, second[1].picture)
    other, _ = store.degraded_scene(sample_generator(3, 8, 1), (64, 112))
    assert other.shape != first[0].shape or not np.array_equal(other, first[0])


def test_no_severities_leave_the_scene_clean(photos: Path) -> None:
    clean, degraded = PhotoStore.read(photos, limit=2).degraded_scene(sample_generator(0), (64, 64), Severities())
    assert np.abs(clean - degraded.picture).max() <= 0.5 / 255 + 1e-6
    assert not degraded.truth.presence.any()


def test_steered_scenes_keep_in_the_target_what_is_to_be_kept(photos: Path) -> None:
    store = PhotoStore.read(photos, limit=4)
    steered = 0
    for index in range(40):
        target, degraded, removal = store.steered_scene(sample_generator(0, index), (64, 64), share=0.5)
        clean, same = store.degraded_scene(sample_generator(0, index), (64, 64))
        assert np.array_equal(degraded.picture, same.picture)
        assert removal.min() >= 0 and removal.max() <= 1
        if (removal == 1).all():
            assert np.array_equal(target, clean)
        else:
            steered += 1
            assert degraded.truth.presence[removal < 1].any()
            assert np.abs(target - clean).max() > 0.5 / 255
    assert 8 <= steered <= 32


def test_arrays_become_channel_first_tensors() -> None:
    array = np.random.default_rng(0).random((4, 5, 3), dtype=np.float32)
    assert np.array_equal(to_tensor(array).permute(1, 2, 0).numpy(), array)


def test_an_empty_folder_is_an_error_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="holds no photos"):
        PhotoStore.read(tmp_path)


@pytest.fixture
def dark_pairs(photos: Path, tmp_path: Path) -> Path:
    for folder in ("input", "target"):
        (tmp_path / folder).mkdir()
    for number, path in enumerate(list_photos(photos)[:2]):
        photo = Image.open(path).convert("RGB")
        photo.save(tmp_path / "target" / f"{number}.png")
        photo.point(lambda value: value // 4).save(tmp_path / "input" / f"{number}.png")
    return tmp_path


def test_real_dark_pairs_show_the_same_piece_twice(photos: Path, dark_pairs: Path) -> None:
    store = PhotoStore.read(photos, low_light=dark_pairs, low_light_share=1.0)
    for index in range(10):
        lit, dark, removal = store.steered_scene(sample_generator(0, index), (64, 112), 1.0)
        assert np.abs(lit / 4 - dark.picture).max() < 0.02
        assert [name for name, there in zip(DEGRADATIONS, dark.truth.presence, strict=True) if there] == ["low_light"]
        assert removal.all()


def test_without_dark_pairs_no_scene_is_one(photos: Path) -> None:
    assert PhotoStore.read(photos, low_light_share=0.5).low_light_share == 0


def test_the_share_of_wider_ranges_is_asked_for(photos: Path) -> None:
    for share, wide in ((0.0, False), (1.0, True)):
        store = PhotoStore.read(photos, limit=2, wide_share=share)
        drawn = [store.severities(sample_generator(2, index)) for index in range(200)]
        weather = [each for each in drawn if each.noise_sigma == 0 and each.jpeg_quality == 100]
        assert any(each.soft_rain for each in weather) == wide


def test_shares_of_scenes_have_noise_or_soft_rain_or_snow_and_nothing_else(photos: Path) -> None:
    store = PhotoStore.read(photos, limit=2, noise_share=0.4, rain_share=0.3, snow_share=0.3)
    drawn = [store.severities(sample_generator(1, index)) for index in range(90)]
    noisy, snowy = [each for each in drawn if each.noise_sigma], [each for each in drawn if each.snow]
    assert 20 < len(noisy) < 55 and 13 < len(snowy) < 45
    assert all(each.rain == 0 and each.light_exponent == 1 and each.haze_beta == 0 for each in noisy)
    assert all(each == Severities(snow=each.snow, blown_snow=each.blown_snow) for each in snowy)
    assert len({each.blown_snow for each in snowy}) == 2
    rest = [each for each in drawn if each not in noisy and each not in snowy]
    assert rest and all(each == Severities(rain=each.rain, soft_rain=True) for each in rest)


def test_a_share_of_scenes_is_blurred_and_nothing_else(photos: Path) -> None:
    store = PhotoStore.read(photos, limit=2, blur_share=1.0)
    drawn = [store.severities(sample_generator(5, index)) for index in range(40)]
    fields = ("defocus_radius", "gaussian_sigma", "motion_length")
    assert {name for each in drawn for name in fields if getattr(each, name)} == set(fields)
    assert all(each.keeping(["blur"]) == each for each in drawn)


def test_noise_alone_is_mostly_as_faint_as_that_of_dark_pictures(photos: Path) -> None:
    store = PhotoStore.read(photos, limit=2, noise_share=1.0)
    drawn = [store.severities(sample_generator(6, index)) for index in range(200)]
    faint = [each for each in drawn if (each.noise_sigma**2 + each.sensor_gain / 2) ** 0.5 < 25 / 255]
    assert 120 < len(faint) < 170  # all of the faint half, and two fifths of the other


def test_scenes_may_be_composites_and_nothing_else(photos: Path) -> None:
    store = replace(PhotoStore.read(photos, limit=2, wide_share=0.0), composite_share=1.0)
    drawn = [store.severities(sample_generator(4, index)) for index in range(60)]
    assert all(each.light_exponent > 1 or each.haze_beta or each.rain or each.snow for each in drawn)
    assert all(each.noise_sigma == 0 and each.jpeg_quality == 100 for each in drawn)


def test_scenes_whose_tone_stays_show_the_most_unusual_photos() -> None:
    photos = tuple(np.full((64, 64, 3), value, np.uint8) for value in (5, *range(110, 130)))
    store = PhotoStore(photos, unusual_of=40, noise_share=0.5, rain_share=0.5)
    scenes = [store.degraded_scene(sample_generator(8, index), (64, 64)) for index in range(60)]

    def share_of_the_darkest(name: str) -> float:
        there = [clean for clean, degraded in scenes if degraded.truth.presence[DEGRADATIONS.index(name)]]
        return float(np.mean([clean.mean() < 0.1 for clean in there]))

    assert share_of_the_darkest("noise") > 0.6 > 0.3 > share_of_the_darkest("rain")


def test_a_share_of_the_dark_scenes_is_quiet(photos: Path) -> None:
    store = replace(PhotoStore.read(photos, limit=2, wide_share=0.0), composite_share=1.0)
    for share, quiet in ((0.0, 0), (1.0, 40)):
        drawn = [replace(store, quiet_share=share).severities(sample_generator(9, index)) for index in range(80)]
        dark = [each for each in drawn if each.light_exponent > 1][:40]
        assert sum(each.low_light_noise <= 0.02 for each in dark) == quiet


def test_shares_of_nothing_leave_the_random_numbers_as_they_were(photos: Path) -> None:
    store = replace(PhotoStore.read(photos, limit=2, wide_share=0.0), composite_share=1.0)
    one, other = sample_generator(11, 0), sample_generator(11, 0)
    assert [store.severities(one) for _ in range(20)] == [store._severities(other) for _ in range(20)]
    assert one.random() == other.random()


def test_a_share_of_the_haze_is_tinted_and_may_be_white(photos: Path) -> None:
    store = replace(PhotoStore.read(photos, limit=2, wide_share=0.0), composite_share=1.0, tinted_share=1.0)
    hazy = [each for index in range(200) if (each := store.severities(sample_generator(10, index))).haze_beta]
    assert all(each.haze_tint for each in hazy)
    assert max(each.airlight for each in hazy) > 0.95 and min(each.haze_tint for each in hazy) < -0.05


def test_a_photo_that_is_too_small_is_named(photos: Path) -> None:
    with pytest.raises(PhotoError, match="500 px a side are needed"):
        PhotoStore.read(photos, shortest=500)


def test_pairs_of_two_sizes_are_named(photos: Path, tmp_path: Path) -> None:
    for folder, size in (("input", (64, 64)), ("target", (64, 72))):
        (tmp_path / folder).mkdir()
        Image.new("RGB", size).save(tmp_path / folder / "a.png")
    with pytest.raises(PhotoError, match=r"a\.png and .*a\.png differ in size"):
        PhotoStore.read(photos, low_light=tmp_path)

"""Degraded training scenes from a folder of clean photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mofe_restore.model.errors import ImageFileError
from mofe_restore.model.synthesis.severities import Severities
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.training.data.mix import Mix
from mofe_restore.training.data.photos import list_photos
from mofe_restore.training.data.scenes import SceneSampler, sample_generator, to_tensor


def test_scenes_stay_within_the_wanted_sides(photos: Path) -> None:
    sampler = SceneSampler.read(photos)
    for index in range(60):
        scene = sampler.draw_clean(sample_generator(0, index), (64, 112))
        assert scene.dtype == np.float32
        assert all(64 <= side <= 112 and side % 8 == 0 for side in scene.shape[:2]), scene.shape
        assert scene.min() >= 0
        assert scene.max() <= 1


def test_a_sample_depends_on_seed_and_index_alone(photos: Path) -> None:
    sampler = SceneSampler.read(photos)
    first, second = (sampler.draw_degraded(sample_generator(3, 7, 1), (64, 112)) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1].image, second[1].image)
    other, _ = sampler.draw_degraded(sample_generator(3, 8, 1), (64, 112))
    assert other.shape != first[0].shape or not np.array_equal(other, first[0])


def test_no_severities_leave_the_scene_clean(photos: Path) -> None:
    clean, degraded = SceneSampler.read(photos).draw_degraded(sample_generator(0), (64, 64), Severities())
    assert np.abs(clean - degraded.image).max() <= 0.5 / 255 + 1e-6
    assert not degraded.truth.presence.any()


def test_steered_scenes_keep_in_the_target_what_is_to_be_kept(photos: Path) -> None:
    sampler = SceneSampler.read(photos)
    steered = 0
    for index in range(40):
        scene = sampler.draw_steered(sample_generator(0, index), (64, 64), share=0.5)
        target, degraded, removal = scene.target, scene.degraded, scene.removal
        assert np.isnan(scene.severities).all() and scene.seen is degraded.image
        clean, same = sampler.draw_degraded(sample_generator(0, index), (64, 64))
        assert np.array_equal(degraded.image, same.image)
        assert removal.min() >= 0 and removal.max() <= 1
        if (removal == 1).all():
            assert np.array_equal(target, clean)
        else:
            steered += 1
            assert degraded.truth.presence[removal < 1].any()
            assert np.abs(target - clean).max() > 0.5 / 255
    assert 8 <= steered <= 32


def test_severities_that_are_told_hold_whatever_the_mllm_sees(photos: Path) -> None:
    sampler = SceneSampler.read(photos, Mix(composite_share=0.5))
    kinds = dict.fromkeys(("as seen", "unseen", "imagined"), 0)
    for index in range(60):
        scene = sampler.draw_steered(sample_generator(1, index), (64, 64), share=0.0, set_share=1.0)
        told, strength = scene.severities, scene.degraded.truth.strength
        known = ~np.isnan(told)
        assert np.array_equal(told[known], strength[known])
        assert scene.removal.all()
        if np.array_equal(scene.seen, scene.degraded.image):
            kinds["as seen"] += 1
        else:
            kinds["unseen" if (told[known] > 0).any() else "imagined"] += 1
    assert min(kinds.values()) >= 5, kinds


@pytest.fixture
def real_pairs(photos: Path, tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for folder in ("input", "target"):
        (tmp_path / "noise" / "train" / folder).mkdir(parents=True)
    for number, path in enumerate(list_photos(photos)[:2]):
        photo = np.asarray(Image.open(path).convert("RGB")) * 0.5 + 64
        noisy = photo + rng.normal(0, 20, photo.shape)
        for folder, pixels in (("input", noisy), ("target", photo)):
            rounded = np.clip(pixels.round(), 0, 255).astype(np.uint8)
            Image.fromarray(rounded).save(tmp_path / "noise" / "train" / folder / f"{number}.png")
    return tmp_path


def test_real_pairs_come_as_often_as_the_mix_says_with_their_strength(photos: Path, real_pairs: Path) -> None:
    sampler = SceneSampler.read(photos, Mix(real_share=0.5, clean_share=1.0), real_pairs=real_pairs)
    noise = DEGRADATIONS.index("noise")
    real = 0
    for index in range(40):
        scene = sampler.draw_steered(sample_generator(2, index), (64, 112), 0.0, 1.0)
        if scene.degraded.truth.presence.any():
            real += 1
            assert np.isnan(np.delete(scene.severities, noise)).all()
            assert 0.2 < scene.severities[noise] < 0.8
            assert 0.01 < np.abs(scene.target - scene.degraded.image).std() < 0.1
    assert 10 <= real <= 30


def test_arrays_become_channel_first_tensors() -> None:
    array = np.random.default_rng(0).random((4, 5, 3), dtype=np.float32)
    assert np.array_equal(to_tensor(array).permute(1, 2, 0).numpy(), array)


def test_an_empty_folder_is_an_error_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match="holds no photos"):
        SceneSampler.read(tmp_path)


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
    sampler = SceneSampler.read(photos, Mix(low_light_share=1.0), low_light=dark_pairs)
    for index in range(10):
        scene = sampler.draw_steered(sample_generator(0, index), (64, 112), 1.0)
        lit, dark, removal = scene.target, scene.degraded, scene.removal
        assert np.abs(lit / 4 - dark.image).max() < 0.02
        assert [name for name, there in zip(DEGRADATIONS, dark.truth.presence, strict=True) if there] == ["low_light"]
        assert removal.all()


def test_without_dark_pairs_no_scene_is_one(photos: Path) -> None:
    sampler = SceneSampler.read(photos, Mix(low_light_share=1.0, clean_share=1.0))
    assert not any(sampler.draw_degraded(sample_generator(0, n), (64, 64))[1].truth.presence.any() for n in range(5))


def test_scenes_whose_tone_stays_show_the_most_unusual_photos() -> None:
    photos = tuple(np.full((64, 64, 3), value, np.uint8) for value in (5, *range(110, 130)))
    sampler = SceneSampler(photos, mix=Mix(tone_outlier_of=40, noise_share=0.5, rain_share=0.5))
    scenes = [sampler.draw_degraded(sample_generator(8, index), (64, 64)) for index in range(60)]

    def share_of_the_darkest(name: str) -> float:
        there = [clean for clean, degraded in scenes if degraded.truth.presence[DEGRADATIONS.index(name)]]
        return float(np.mean([clean.mean() < 0.1 for clean in there]))

    assert share_of_the_darkest("noise") > 0.6 > 0.3 > share_of_the_darkest("rain")


def test_a_photo_that_is_too_small_is_named(photos: Path) -> None:
    with pytest.raises(ImageFileError, match="500 px a side are needed"):
        SceneSampler.read(photos, min_side=500)


def test_pairs_of_two_sizes_are_named(photos: Path, tmp_path: Path) -> None:
    for folder, size in (("input", (64, 64)), ("target", (64, 72))):
        (tmp_path / folder).mkdir()
        Image.new("RGB", size).save(tmp_path / folder / "a.png")
    with pytest.raises(ImageFileError, match=r"a\.png and .*a\.png differ in size"):
        SceneSampler.read(photos, low_light=tmp_path)

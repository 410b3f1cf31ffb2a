"""Real photographs for the MLLM: what is known of each, and which pieces of it are shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mofe_restore.model.errors import TrainingError
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.factories import write_photo
from mofe_restore.training.data.real_photos import RealSampler, RealSet, pair_targets, presence_of, real_folders
from mofe_restore.training.data.scenes import sample_generator


def plain(value: int, height: int = 80, width: int = 120) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


GOOD = RealSet((plain(10),), dict.fromkeys(DEGRADATIONS[:6], 0.0), is_good=True)


def test_folders_say_what_is_known(tmp_path: Path) -> None:
    for label in ("good", "haze"):
        write_photo(tmp_path / "weak" / label / "train" / "a.png", 1)
    for part in ("input", "target"):
        write_photo(tmp_path / "pairs" / "noise" / "train" / part / "a.png", 2)
    found = {name: presence for name, _, presence in real_folders(tmp_path / "weak", tmp_path / "pairs")}
    assert found["weak-haze"] == {"haze": 1.0}
    absent = dict.fromkeys(("low_light", "haze", "rain", "snow", "blur"), 0.0)
    assert found["pairs-noise-input"] == {"noise": 1.0, **absent}, "a dark one is meant to be dark, as its pair is"
    assert found["pairs-noise-target"] == {"noise": 0.0, **absent}
    assert set(found["weak-good"]) == set(DEGRADATIONS) - {"jpeg"}, "photographs of the web may be compressed"
    assert len(found) == 4
    sampler = RealSampler.read(tmp_path / "weak", "", 0.5)
    assert [(len(each.photos), each.is_good) for each in sampler.sets] == [(1, True), (1, False)]


def test_without_good_photographs_nothing_is_learned(tmp_path: Path) -> None:
    write_photo(tmp_path / "haze" / "train" / "a.png", 1)
    with pytest.raises(TrainingError, match="good/train"):
        RealSampler.read(tmp_path, "", 0.5)


def test_good_photographs_are_drawn_as_often_as_asked_and_large_sets_more_often_than_small_ones() -> None:
    few = RealSet((plain(100),), {"rain": 1.0})
    many = RealSet(tuple(plain(200) for _ in range(9)), {"haze": 1.0})
    sampler = RealSampler((GOOD, few, many), 0.4)
    drawn = [sampler.draw(sample_generator(3, number)) for number in range(400)]
    shares = {
        value: sum(round(float(each.image[0, 0, 0]) * 255) == value for each in drawn) for value in (10, 100, 200)
    }
    assert shares[10] == pytest.approx(160, abs=35)
    assert shares[200] / shares[100] == pytest.approx(3, abs=1.2), "by the root of their number"
    for each in drawn:
        good = round(float(each.image[0, 0, 0]) * 255) == 10
        assert each.known.sum() == (6 if good else 1) and each.presence.sum() == (0 if good else 1)


@pytest.mark.parametrize("name", ["noise", "haze"])
def test_pieces_are_large_and_shrunk_where_that_leaves_the_degradation(name: str) -> None:
    ramp = np.broadcast_to(np.arange(0, 240, 2, dtype=np.uint8)[None, :, None], (80, 120, 3))
    sampler = RealSampler((GOOD, RealSet((np.ascontiguousarray(ramp),), {name: 1.0})), 0.01)
    steps = []
    for number in range(60):
        image = sampler.draw(sample_generator(5, number)).image
        assert image.dtype == np.float32 and image.shape[0] >= 32 and image.shape[1] >= 32
        if image.std() > 0:  # not the good one
            steps.append(abs(float(np.diff(image[0, 4:-4, 0]).mean())) * 255)
    assert min(steps) == pytest.approx(2, abs=0.05)
    assert max(steps) < 2.1 if name == "noise" else max(steps) > 3


def test_presences_are_named_or_unknown() -> None:
    presence, known = presence_of({"snow": 1.0, "blur": 0.0})
    assert [name for name, value in zip(DEGRADATIONS, presence, strict=True) if value] == ["snow"]
    assert [name for name, value in zip(DEGRADATIONS, known, strict=True) if value] == ["snow", "blur"]


def test_dark_good_photographs_get_the_noise_of_a_pair_and_stay_meant_dark(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    clean = np.full((64, 64, 3), 128, np.uint8)
    noisy = (clean + rng.normal(0, 12, clean.shape)).clip(0, 255).astype(np.uint8)
    for part, image in (("input", noisy), ("target", clean)):
        (tmp_path / "pairs" / "noise" / "train" / part).mkdir(parents=True)
        Image.fromarray(image).save(tmp_path / "pairs" / "noise" / "train" / part / "a.png")
    for number, value in enumerate((60, 200)):
        (tmp_path / "weak" / "good" / "train").mkdir(parents=True, exist_ok=True)
        Image.fromarray(plain(value)).save(tmp_path / "weak" / "good" / "train" / f"{number}.png")
    sampler = RealSampler.read(tmp_path / "weak", tmp_path / "pairs", 0.5, 1.0)
    drawn = [sampler.draw(sample_generator(4, number)) for number in range(120)]
    dark = [each for each in drawn if each.image.mean() < 0.5]
    assert len(dark) == pytest.approx(105, abs=14), "the darkest of three, so seven in eight"
    spread = [float(each.image.std()) * 255 for each in dark]
    assert min(spread) < 4 and 15 < max(spread) < 27
    for each, sigma in zip(dark, spread, strict=True):
        named = dict(zip(DEGRADATIONS, zip(each.known, each.presence, strict=True), strict=True))
        assert named["low_light"] == (1, 0) and named["jpeg"][0] == 0
        assert named["noise"] == (1, 1) if sigma > 5 else named["noise"] in ((0, 0), (1, 1))


def test_the_clean_photographs_of_all_pairs_can_be_scenes(tmp_path: Path) -> None:
    for kind in ("noise", "rain"):
        for part in ("input", "target"):
            write_photo(tmp_path / kind / "train" / part / "a.png", 1 if part == "input" else 2)
    targets = pair_targets(tmp_path)
    assert len(targets) == 2 and np.array_equal(targets[0], targets[1]) and targets[0].dtype == np.uint8
    assert np.array_equal(targets[0], np.asarray(Image.open(tmp_path / "rain" / "train" / "target" / "a.png")))
    assert pair_targets("") == ()


def test_noise_of_pairs_needs_pairs(tmp_path: Path) -> None:
    write_photo(tmp_path / "good" / "train" / "a.png", 1)
    with pytest.raises(TrainingError, match="noisy_share"):
        RealSampler.read(tmp_path, "", 0.5, 0.2)

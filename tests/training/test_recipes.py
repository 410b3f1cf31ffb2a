"""The recipes for published sets: from their folders to weights, and from these to the field's tables."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mofe_restore.model.errors import EvaluationError, TrainingError
from mofe_restore.model.restorer.config import RestorerConfig
from mofe_restore.model.synthesis.severities import COMBINATIONS
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.tests.cli.calls import run
from mofe_restore.tests.factories import write_photo
from mofe_restore.tests.training.restorer.test_task import MODEL
from mofe_restore.training.data.mix import Mix
from mofe_restore.training.data.published import training_pairs
from mofe_restore.training.data.real_pairs import degradations_of, from_real_pair
from mofe_restore.training.data.scenes import SceneSampler, sample_generator
from mofe_restore.training.engine.config import LoopConfig, parse_table, read_toml
from mofe_restore.training.restorer.config import RestorerRun
from mofe_restore.training.restorer.task import train_restorer

ADAIR = {
    "haze": ("Dehaze/synthetic/part1/0025_0.8_0.1.jpg", "Dehaze/original/0025.png"),
    "rain": ("Derain/rainy/rain-1.png", "Derain/gt/norain-1.png"),
    "blur": ("Deblur/blur/GOPR0372_07_00_000047.png", "Deblur/sharp/GOPR0372_07_00_000047.png"),
    "low_light": ("Enhance/low/2.png", "Enhance/gt/2.png"),
}
MOCE_IR = {
    "haze": ("dehazing/RESIDE/part2/3068_0.8_0.1.jpg", "dehazing/RESIDE/clear/3068.jpg"),
    "rain": ("deraining/RainTrainL/rainy/norain-1x2.png", "deraining/RainTrainL/gt/norain-1x2.png"),
    "blur": ("deblurring/GoPro/crop/train/input_crops/a-s1.png", "deblurring/GoPro/crop/train/target_crops/a-s1.png"),
    "low_light": ("llie/LOLv1/Train/input/2.png", "llie/LOLv1/Train/target/2.png"),
}
CHANGES = {"haze": 0.1, "rain": 0.05, "blur": 0.0, "low_light": -0.2}


def test_cards_name_runs_so_that_nobody_has_to_guess_which_was_the_last(root: Path) -> None:
    """Several recipes add to one card: "the last run" of one is not that of the next."""
    relative = re.compile(r"\b(last|latest|newest|most recent)\b")
    for path in sorted((root / "training" / "configs").rglob("*.toml")):
        for text in read_toml(path).get("card", {}).values():
            assert relative.search(text) is None, path.name


def write_pairs(folder: Path, places: dict[str, tuple[str, str]]) -> Path:
    for seed, (kind, (degraded, clean)) in enumerate(places.items()):
        write_photo(folder / degraded, seed, 100, 120, CHANGES[kind])
        write_photo(folder / clean, seed, 100, 120)
    return folder


def write_cdd11(folder: Path, names: tuple[str, ...] = COMBINATIONS) -> Path:
    for name, change in (("clear", 0.0), *((name, 0.02 * (k + 1)) for k, name in enumerate(names))):
        write_photo(folder / name / "00001.png", 1, 100, 120, change)
    return folder


def shortened(recipe: dict[str, Any], folder: Path, mllm: Path) -> dict[str, Any]:
    """The recipe with a tiny network, a few steps and its data in `folder`; everything else is as it is."""
    short = copy.deepcopy(recipe)
    short["loop"] |= {"steps": 2, "workers": 0, "warmup_steps": 1, "decay_steps": 0, "precision": "fp32"}
    short["loop"] |= {"output": str(folder / "run"), "compile": False, "capture": False}
    short["model"] = MODEL
    short["batch"] |= {"scenes": 3, "crops": 1, "crop": 64, "sides": [64, 96], "validation_images": 1}
    short["tone"] |= {"scenes": 2, "cycle": 0, "view_sets": 1}
    data = short["data"]
    for key in ("photos", "validation", "real_pairs"):
        data[key] = str(folder / Path(data[key]).relative_to("data"))
    data["mllm"] = str(mllm)
    return short


@pytest.mark.field
@pytest.mark.parametrize("name", ["cdd11", "five_tasks"])
def test_field23_row7_a_recipe_can_be_read(name: str, root: Path) -> None:
    recipe = read_toml(root / "training" / "configs" / f"{name}.toml")
    assert parse_table(LoopConfig, recipe, "loop").steps > 10_000
    settings = RestorerRun.from_raw(recipe)
    assert settings.mix.real_share > 0.7 and settings.mix.low_light_share == 0 and not settings.data.initial
    RestorerConfig.from_dict({**settings.model, "guidance_width": 256})


@pytest.mark.field
@pytest.mark.parametrize("name", ["cdd11", "five_tasks"])
def test_field23_row7_from_published_folders_to_weights_to_the_fields_table(
    name: str, root: Path, tiny_mllm_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "cdd11":
        for split in ("train", "test"):
            write_cdd11(tmp_path / f"CDD-11_{split}")
    else:
        write_pairs(tmp_path / "Train", ADAIR)
        write_photo(tmp_path / "Train" / "Denoise" / "00001.bmp", 5, 100, 120)
        for degraded, clean in (
            ("dehaze/input/1_1.jpg", "dehaze/target/1.png"),
            ("derain/Rain100L/input/1.png", "derain/Rain100L/target/1.png"),
            ("deblur/gopro/input/1.png", "deblur/gopro/target/1.png"),
            ("enhance/lol/input/1.png", "enhance/lol/target/1.png"),
        ):
            write_photo(tmp_path / "test" / degraded, 1, change=0.1)
            write_photo(tmp_path / "test" / clean, 1)
        write_photo(tmp_path / "test" / "denoise" / "bsd68" / "1.png", 2)
    recipe = read_toml(root / "training" / "configs" / f"{name}.toml")
    metrics = train_restorer(shortened(recipe, tmp_path, tiny_mllm_folder))
    assert np.isfinite(metrics["psnr"])
    weights = tmp_path / "run" / "export" / "restorer.safetensors"
    words = ("--restorer", weights, "--mllm", tiny_mllm_folder, "--limit", 1)
    assert run("evaluate", name.replace("_", "-"), tmp_path, *words) == 0
    printed = capsys.readouterr().out
    assert "this restorer" in printed and "DATPRL-IR" in printed


@pytest.mark.field
@pytest.mark.parametrize("places", [ADAIR, MOCE_IR])
@pytest.mark.parametrize("inside", ["", "Train"])
def test_field23_row7_training_pairs_are_found_where_published_code_looks(
    places: dict[str, tuple[str, str]], inside: str, tmp_path: Path
) -> None:
    folder = write_pairs(tmp_path / inside, places)
    found = training_pairs(tmp_path)
    assert {kind: [tuple(map(str, pair)) for pair in pairs] for kind, pairs in found.items()} == {
        kind: [tuple(str(folder / path) for path in pair)] for kind, pair in places.items()
    }


@pytest.mark.field
def test_field23_row7_pairs_of_a_set_are_drawn_alike_from_its_files_at_their_own_scale(tmp_path: Path) -> None:
    write_cdd11(tmp_path / "train", ("low", "haze_snow"))
    mix = Mix(low_light_share=0, real_share=1.0)
    sampler = SceneSampler.read(tmp_path / "train" / "clear", mix, real_pairs=tmp_path)
    assert list(sampler.real) == ["low", "haze_snow"]
    kinds = set()
    (image, clean), *_ = sampler.real["low"]
    for number in range(6):
        target, degraded = sampler.draw_degraded(sample_generator(number), (64, 64))
        kinds.add(tuple(np.flatnonzero(degraded.truth.presence)))
        whole = [whole[:, ::-1] if flip else whole for whole in (clean,) for flip in (False, True)]
        piece = (target * 255).round().astype(np.uint8)
        assert any(_holds(each, piece) for each in whole), "cut out, not shrunk"
    low, noise, haze, snow = (DEGRADATIONS.index(name) for name in ("low_light", "noise", "haze", "snow"))
    assert kinds == {tuple(sorted((low, noise))), tuple(sorted((haze, snow)))}
    assert image.shape == (100, 120, 3)
    with pytest.raises(TrainingError, match="holds no pairs of a known layout"):
        SceneSampler.read(tmp_path / "train" / "clear", mix, real_pairs=tmp_path / "nowhere")


def _holds(whole: np.ndarray, piece: np.ndarray) -> bool:
    height, width = piece.shape[:2]
    windows = np.lib.stride_tricks.sliding_window_view(whole, (height, width, 3))[:, :, 0]
    return bool((windows[:, :, 0, 0] == piece[0, 0]).all(-1).any()) and bool((windows == piece).all((2, 3, 4)).any())


@pytest.mark.field
def test_field23_row7_several_degradations_at_once_are_present_in_the_middle_of_the_scale() -> None:
    clean = np.full((32, 32, 3), 0.5, np.float32)
    truth = from_real_pair(clean, clean, "low_haze_rain").truth
    present = [DEGRADATIONS[index] for index in np.flatnonzero(truth.presence)]
    assert set(present) == set(degradations_of("low_haze_rain")) == {"low_light", "noise", "haze", "rain"}
    assert set(truth.strength[truth.presence]) == {0.5}
    assert degradations_of("blur") == ("blur",)


@pytest.mark.field
def test_field23_row7_a_missing_clean_image_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, ADAIR)
    write_photo(tmp_path / "Derain" / "rainy" / "rain-2.png", 1)
    with pytest.raises(EvaluationError, match="rain-2.png has no target"):
        training_pairs(tmp_path)

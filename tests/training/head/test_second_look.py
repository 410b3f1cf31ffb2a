"""The network of a second look is fitted to images that were seen twice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mofe_restore.model.errors import TrainingError
from mofe_restore.model.mllm.loading import HEAD_FILE, SECOND_LOOK_FILE, load_mllm
from mofe_restore.model.mllm.second_look import JUDGED
from mofe_restore.model.restorer.loading import load_restorer
from mofe_restore.model.synthesis.degrade import Degraded
from mofe_restore.model.vocabulary import DEGRADATIONS
from mofe_restore.model.weights import read_card, write_weights
from mofe_restore.model.whole_image import IMAGE_STATISTICS, PREVIEW_STATISTICS, image_statistics
from mofe_restore.tests import factories
from mofe_restore.training.data.mix import Mix
from mofe_restore.training.data.scenes import to_tensor
from mofe_restore.training.engine.config import read_toml
from mofe_restore.training.head import looks
from mofe_restore.training.head import second_look as program
from mofe_restore.training.head.config import HazeWeights, SecondLookFit, SecondLookRun
from mofe_restore.training.head.looks import Previewer, SeenTwice
from mofe_restore.training.head.second_look import fit_member, merge, run, see_real
from mofe_restore.training.head.second_look_images import CROPPED, FIRST_PART, SAVED_DARK, draw_alone, draw_image

CONFIG = """
[data]
mllm = "{mllm}"
restorer = "{restorer}"
photos = "{photos}"
real_weak = "{folder}/weak"
real_pairs = "{folder}/pairs"
output = "{folder}/out"
[fit]
images = 2
alone = 2
dark = 0
toned = 0
parts = 0
side = 90
members = 2
hidden = 3
steps = 4
batch = 8
[shift]
haze = 0.5
[card]
data = "A few photographs."
"""


@pytest.fixture
def config(photos: Path, tiny_mllm_folder: Path, tmp_path: Path) -> Path:
    network = factories.make_restorer(factories.MLLM_WIDTH, with_camera=True)
    card = factories.make_card(factories.MLLM_WIDTH, "")
    card = replace(card, architecture=network.config.to_dict())
    write_weights(tmp_path / "camera.safetensors", network.state_dict(), card)
    for number, label in enumerate(("good", "rain", "blur")):
        factories.write_photo(tmp_path / "weak" / label / "train" / "a.png", number, 100, 100)
    for part in ("input", "target"):
        factories.write_photo(tmp_path / "pairs" / "noise" / "train" / part / "a.png", 7, 100, 100)
    mllm = shutil.copytree(tiny_mllm_folder, tmp_path / "mllm")
    head = load_file(mllm / HEAD_FILE)
    head["read.weight"] *= 0
    head["read.bias"][:7] = torch.tensor([-3.0, -3, -3, -3, 3, -3, -3])  # noise in every image
    head["read.bias"][7:14] = 0.5
    write_weights(mllm / HEAD_FILE, head, read_card(mllm / HEAD_FILE), torch.float32)
    (tmp_path / "second_look.toml").write_text(
        CONFIG.format(
            mllm=mllm.as_posix(),
            restorer=(tmp_path / "camera.safetensors").as_posix(),
            photos=photos.as_posix(),
            folder=tmp_path.as_posix(),
        )
    )
    return tmp_path / "second_look.toml"


def test_a_run_writes_a_network_that_fits_its_mllm(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config)
    shutil.copyfile(tmp_path / "out" / SECOND_LOOK_FILE, tmp_path / "mllm" / SECOND_LOOK_FILE)
    mllm = load_mllm(tmp_path / "mllm")
    judge = mllm.network.second_look
    assert judge is not None and judge.hidden == 6 and mllm.looks_twice
    card = read_card(tmp_path / "out" / SECOND_LOOK_FILE, "second_look")
    assert card.mllm_identity == mllm.identity and card.data == "A few photographs."
    degraded = load_file(tmp_path / "out" / "embeddings" / "degraded.safetensors")
    assert degraded["second"].shape == (2 * 6, factories.MLLM_WIDTH) and bool(degraded["hidden"].all())
    assert not torch.equal(degraded["first"], degraded["second"])
    real = ["weak-good", "weak-rain", "pairs-noise-input", "pairs-noise-target"]
    parts = {f"{name}{part}" for name in real for part in ("", "_alone", "_pixels")}
    assert {path.stem for path in (tmp_path / "out" / "embeddings").iterdir()} == {
        "alone",
        "degraded",
        "degraded_pixels",
        *parts,
    }
    before = judge.presence.bias.clone()
    config.write_text(config.read_text().replace("haze = 0.5", "haze = 1.5"))
    for module, each in (
        (program, "embed"),
        (program, "see_once"),
        (program, "see_twice"),
        (looks, "see_once"),
        (looks, "image_statistics"),
    ):
        monkeypatch.setattr(module, each, lambda *_: pytest.fail("what is seen is computed once"))
    run(config)
    after = load_file(tmp_path / "out" / SECOND_LOOK_FILE)["presence.bias"].float()
    moved = [2.0 * (name == "haze") for name in JUDGED]  # and scaled
    assert (before - after).tolist() == pytest.approx(moved, abs=0.02)


def test_images_in_which_no_fault_is_seen_teach_nothing(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config)
    cache = tmp_path / "out" / "embeddings" / "degraded.safetensors"
    stored = load_file(cache)
    stored["hidden"][::2] = False
    save_file(stored, cache)
    given: list[SeenTwice] = []
    monkeypatch.setattr(program, "fit_member", lambda examples, *_: given.append(examples) or fit_member(examples, *_))
    run(config)
    assert len(given[0].first) == 6 + 4 and torch.equal(given[0].first[:6], stored["first"][1::2])


def test_of_real_photographs_what_is_known_counts(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[SeenTwice] = []
    monkeypatch.setattr(program, "fit_member", lambda examples, *_: given.append(examples) or fit_member(examples, *_))
    run(config)
    good, rainy, noisy, noiseless = 12, 13, 14, 15  # in the order of `real_folders`
    presence, weight = given[0].presence, given[0].weight
    assert presence[rainy].tolist() == [0, 0, 1, 0] and weight[rainy].tolist() == [0, 0, 2, 0]
    real = [2.0, 2.0 * HazeWeights().faulty_real, 2.0, 2.0]  # noise is seen in every image
    assert not presence[[good, noisy, noiseless]].any() and weight[[good, noisy, noiseless]].tolist() == [real] * 3
    config.write_text(config.read_text().replace("steps = 4", "real_noise = 3.0\nsteps = 4"))
    run(config)
    more = [3 * real[0], *real[1:]]
    assert given[-1].weight[[good, noisy, noiseless]].tolist() == [real, more, more], "of low light"


def test_real_photographs_without_a_fault_are_given_one(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def see(image: torch.Tensor, number: float) -> dict[str, torch.Tensor]:
        seen.append(image)
        embedding = torch.full((factories.MLLM_WIDTH,), number)
        faults = torch.tensor([0.5, 0.0, 0.0])
        return {"first": embedding, "second": -embedding, "hidden": torch.tensor(number > 1), "faults": faults}

    monkeypatch.setattr(
        program, "see_once", lambda _, image: {**see(image, 1.0), "statistics": image_statistics(image)}
    )
    monkeypatch.setattr(program, "see_twice", lambda _, __, image: see(image, 2.0))
    settings, folder = SecondLookRun.from_raw(read_toml(config)), tmp_path / "weak" / "rain" / "train"
    mllm = load_mllm(tmp_path / "mllm")
    previewer = Previewer(factories.make_restorer(factories.MLLM_WIDTH, with_camera=True), tmp_path / "previews")
    examples = see_real(mllm, previewer, settings, folder, {"rain": 1.0}, tmp_path, "rain")
    assert len(seen) == 2 and seen[0].shape == seen[1].shape and not torch.equal(*seen)
    assert examples.first[:, 0].tolist() == [1.0, 2.0] and examples.second[:, 0].tolist() == [1.0, -2.0]
    for image, statistics in zip(seen, examples.statistics, strict=True):
        assert torch.equal(statistics, image_statistics(image))


def test_images_without_faults_teach_too(config: Path, tmp_path: Path) -> None:
    mllm = tmp_path / "mllm"
    head = load_file(mllm / HEAD_FILE)
    head["read.bias"][4] = -3.0  # no noise in any image
    write_weights(mllm / HEAD_FILE, head, read_card(mllm / HEAD_FILE), torch.float32)
    run(config)
    alone = load_file(tmp_path / "out" / "embeddings" / "alone.safetensors")
    assert not alone["hidden"].any() and not alone["presence"][::2].any() and bool(alone["presence"][1::2].any(1).all())
    settings = SecondLookRun.from_raw(read_toml(config))
    previewer = Previewer(load_restorer(Path(settings.data.restorer))[0], tmp_path / "out" / "previews")
    examples = program.see_alone(load_mllm(mllm), previewer, settings, tmp_path / "out" / "embeddings")
    assert torch.equal(examples.first, alone["first"]) and torch.equal(examples.second, alone["first"])


def test_a_photograph_that_is_dark_by_itself_teaches_nothing_about_darkness(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mllm = tmp_path / "mllm"
    head = load_file(mllm / HEAD_FILE)
    head["read.bias"][0] = 3.0
    write_weights(mllm / HEAD_FILE, head, read_card(mllm / HEAD_FILE), torch.float32)
    given: list[SeenTwice] = []
    monkeypatch.setattr(program, "fit_member", lambda examples, *_: given.append(examples) or fit_member(examples, *_))
    run(config)
    generated = slice(12)
    dark = given[0].presence[generated, 0] > 0
    assert torch.equal(given[0].weight[generated, 0], dark.float())
    assert bool((given[0].weight[generated, 1:] == 1).all())


def test_both_embeddings_and_the_preview_are_learned_from() -> None:
    torch.manual_seed(0)
    first, second, statistics = torch.randn(400, 8), torch.randn(400, 8), torch.randn(400, IMAGE_STATISTICS)
    preview = torch.randn(400, PREVIEW_STATISTICS)
    presence = torch.zeros(400, 4)
    presence[:, 1] = ((first[:, 0] + second[:, 3]) > 0).float()
    presence[:, 2] = (preview[:, 5] > 0).float()
    examples = SeenTwice(first, second, statistics, preview, presence, torch.ones(400, 4))
    fit = SecondLookFit(steps=200, hidden=16, learning_rate=1e-2, dropout=0.0)
    members = [fit_member(examples, fit, number) for number in range(2)]
    merged = merge(members)
    with torch.no_grad():
        mean = sum(member(first, second, statistics, preview) for member in members) / 2
        seen = merged(first, second, statistics, preview)
        assert torch.allclose(seen, mean, atol=1e-5)
        assert ((seen[:, 1] > 0).float() == presence[:, 1]).float().mean() > 0.93
        assert ((seen[:, 2] > 0).float() == presence[:, 2]).float().mean() > 0.93
        assert (seen[:, 0] > 0).float().mean() < 0.01
        blind = merged(first, second, statistics)
        assert ((blind[:, 1] > 0).float() == presence[:, 1]).float().mean() > 0.85, "what the preview does not tell"


def test_a_network_goes_on_from_the_one_that_the_mllm_has(config: Path, tmp_path: Path) -> None:
    own, result = tmp_path / "mllm" / SECOND_LOOK_FILE, tmp_path / "out" / SECOND_LOOK_FILE
    text = config.read_text()
    run(config)
    shutil.copyfile(result, own)
    before = load_file(own)
    for rate, shift in ((0.0, 0.5), (0.0, 0.7), (1e-2, 0.5)):
        more = text.replace("steps = 4", f"goes_on = true\nlearning_rate = {rate}\nsteps = 4")
        config.write_text(more.replace("haze = 0.5", f"haze = {shift}"))
        run(config)
        after = load_file(result)
        assert after.keys() == before.keys() and torch.equal(after["mean"], before["mean"])
        for name in ("presence.weight", "widen.weight"):
            same = torch.allclose(after[name].float(), before[name].float(), rtol=0.01, atol=1e-3)
            assert same == (rate == 0), name
        if not rate:
            moved = (before["presence.bias"].float() - after["presence.bias"].float()).tolist()
            expected = [HazeWeights().scale * (shift - 0.5) * (name == "haze") for name in JUDGED]
            assert moved == pytest.approx(expected, abs=0.02), "its calibration is taken back, and a new one given"
    own.unlink()
    with pytest.raises(TrainingError, match="has no second_look.safetensors to go on from"):
        run(config)


def test_previews_are_computed_once_for_each_restorer(tmp_path: Path) -> None:
    images = [np.random.default_rng(seed).random((40, 50, 3)).astype(np.float32) for seed in range(3)]
    restorer, pooled = factories.make_restorer(8, with_camera=True), torch.randn(3, 8)
    previews = Previewer(restorer, tmp_path).of("some", lambda: images, pooled)
    for image, embedding, preview in zip(images, pooled, previews, strict=True):
        assert torch.equal(restorer.preview(to_tensor(image)[None], embedding[None])[0], preview)
    again = Previewer(restorer, tmp_path).of("some", lambda: pytest.fail("they are kept"), pooled)
    assert torch.equal(again, previews)
    faults = torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 0.0, 0.5]])
    assert restorer.camera is not None
    with torch.no_grad():
        restorer.camera.outro.weight.normal_()
        for parameter in restorer.tone.parameters():
            parameter.add_(0.05)
    others = Previewer(restorer, tmp_path).of("some", lambda: images, pooled, faults)
    assert not torch.equal(others[0], previews[0]), "another tone foretells something else"
    alone = Previewer(restorer, tmp_path).of("others", lambda: images, pooled)
    same = [torch.equal(*pair) for pair in zip(others, alone, strict=True)]
    assert same == [True, False, False], "the noise and JPEG that are seen are removed before"


def named(degraded: Degraded) -> set[str]:
    """Return the degradations of an image."""
    return {name for name, there in zip(DEGRADATIONS, degraded.truth.presence, strict=True) if there}


@pytest.fixture
def photo() -> np.ndarray:
    """A photograph [H, W, 3] whose values rise from left to right, and fill all of it."""
    values = np.random.default_rng(0).random((64, 80, 3)).astype(np.float32)
    return 0.9 * np.linspace(0, 1, 80, dtype=np.float32)[None, :, None] + 0.1 * values


def test_of_the_images_with_faults_two_have_nothing_else_and_one_is_dark_and_saved(photo: np.ndarray) -> None:
    def drawn(index: int) -> list[Degraded]:
        return [draw_image(photo, 80, Mix(), np.random.default_rng(number), index) for number in range(60)]

    for index in (0, CROPPED):
        assert all(named(each) and named(each) <= {"noise", "jpeg"} for each in drawn(index))
    others = [named(each) for index in (1, 2) for each in drawn(index)]
    assert {name for each in others for name in each} >= {"low_light", "haze", "rain", "snow", "noise", "jpeg"}
    weather = [each for each in others if each & {"haze", "rain", "snow"} and "low_light" not in each]
    assert weather and all(each & {"noise", "jpeg"} for each in weather)
    dark = [named(each) for each in drawn(SAVED_DARK)]
    assert all("low_light" in each for each in dark) and any("jpeg" in each for each in dark)
    assert any(each & {"haze", "rain", "snow"} for each in dark)
    assert all(each.image.shape == photo.shape for each in drawn(SAVED_DARK))
    assert all(max(each.image.shape) < 70 for each in drawn(CROPPED)), "a part of the photograph"


def test_of_the_images_without_faults_the_first_and_half_of_the_parts_are_as_they_are(photo: np.ndarray) -> None:
    def drawn(index: int) -> list[Degraded]:
        return [draw_alone(photo, 80, np.random.default_rng(number), index) for number in range(20)]

    assert all(np.allclose(each.image, photo, atol=0.003) for each in drawn(0)), "rounded to 8 bits"
    for each in drawn(FIRST_PART):
        height, width = each.image.shape[:2]
        assert not named(each) and height < 60 and width < 70
        found = any(
            np.allclose(photo[top : top + height, left : left + width], each.image, atol=0.003)
            for top in range(64 - height + 1)
            for left in range(80 - width + 1)
        )
        assert found
    for index in (1, FIRST_PART + 1):
        assert all(named(each) & {"low_light", "haze", "rain", "snow"} for each in drawn(index))


@pytest.mark.parametrize("noise", [3.0, -3.0])
def test_a_part_of_a_photograph_that_is_not_degraded_says_nothing_about_low_light(
    config: Path, tmp_path: Path, noise: float
) -> None:
    mllm = tmp_path / "mllm"
    head = load_file(mllm / HEAD_FILE)
    head["read.bias"][4] = noise  # in every image or in none
    write_weights(mllm / HEAD_FILE, head, read_card(mllm / HEAD_FILE), torch.float32)
    tables = read_toml(config)
    tables["fit"] |= {"images": 5, "alone": 5}
    settings, seeing = SecondLookRun.from_raw(tables), load_mllm(mllm)
    previewer = Previewer(load_restorer(Path(settings.data.restorer))[0], tmp_path / "previews")
    if noise > 0:
        seen = program.see_degraded(seeing, previewer, settings, tmp_path)
        is_part = torch.arange(len(seen.first)) % 5 == CROPPED
    else:
        seen = program.see_alone(seeing, previewer, settings, tmp_path)
        is_part = torch.arange(len(seen.first)) % 5 >= FIRST_PART
    assert torch.equal(seen.weight[is_part, 0], seen.presence[is_part, 0])
    assert bool((seen.weight[~is_part] == 1).all()) and bool((seen.weight[:, 1:] == 1).all())


def test_a_restorer_without_a_camera_branch_is_named(config: Path, tmp_path: Path) -> None:
    factories.write_restorer(tmp_path / "plain.safetensors", factories.MLLM_WIDTH)
    config.write_text(config.read_text().replace("camera.safetensors", "plain.safetensors"))
    with pytest.raises(TrainingError, match=r"plain.safetensors in .data. has no camera branch"):
        run(config)


def test_the_scale_of_haze_makes_its_logit_steeper_and_leaves_the_others(config: Path, tmp_path: Path) -> None:
    judges = []
    for scale in (1.0, 2.0):
        raw = read_toml(config) | {"haze": {"scale": scale}}
        judges.append(load_file(program.fit_second_look(SecondLookRun.from_raw(raw), raw)))
    haze = JUDGED.index("haze")
    for name in ("presence.weight", "presence.bias"):
        plain, steep = judges[0][name].float(), judges[1][name].float()
        assert torch.allclose(steep[haze], 2 * plain[haze], rtol=1e-2) and bool(plain[haze].any())
        assert torch.equal(steep[haze + 1 :], plain[haze + 1 :]) and torch.equal(steep[:haze], plain[:haze])

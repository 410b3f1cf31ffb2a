"""The restorer's training program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mofe_restore.model.errors import TrainingError
from mofe_restore.model.inference.checks import check_guidance
from mofe_restore.model.mllm.loading import load_mllm
from mofe_restore.model.mllm.wording import DESCRIBE
from mofe_restore.model.restorer.camera_branch import CameraBranch
from mofe_restore.model.restorer.config import RestorerConfig
from mofe_restore.model.restorer.loading import load_restorer
from mofe_restore.model.restorer.network import Restorer
from mofe_restore.model.synthesis.severities import Severities
from mofe_restore.model.weights import read_card, write_weights
from mofe_restore.tests import factories
from mofe_restore.training.data.mix import Mix
from mofe_restore.training.engine.config import LoopConfig, parse_table, read_toml
from mofe_restore.training.mllm.families import build_family
from mofe_restore.training.restorer.config import BatchConfig, DataConfig, LossConfig, RestorerRun, ToneConfig
from mofe_restore.training.restorer.network import RestorerInTraining
from mofe_restore.training.restorer.task import RestorerTask, build_restorer, run

MODEL = {
    "widths": [8, 8, 16, 16],
    "encoder_blocks": [1, 1, 1, 1],
    "decoder_blocks": [1, 1, 1],
    "vector_width": 16,
    "head_width": 8,
    "thumbnail": 32,
    "global_widths": [4, 8, 8, 8],
    "global_blocks": 1,
}

CONFIG = """
[loop]
output = "{folder}/run"
steps = 2
precision = "fp32"
workers = 0
log_every = 1
validate_every = 0
warmup_steps = 1
[model]
widths = [8, 8, 16, 16]
encoder_blocks = [1, 1, 1, 1]
decoder_blocks = [1, 1, 1]
vector_width = 16
head_width = 8
thumbnail = 32
global_widths = [4, 8, 8, 8]
global_blocks = 1
[data]
photos = "{photos}"
validation = "{photos}"
mllm = "{mllm}"
[batch]
scenes = 3
crops = 2
crop = 64
sides = [96, 112]
validation_images = 11
[tone]
scenes = 1
[card]
name = "tiny"
"""


@pytest.fixture(scope="module")
def task(photos: Path, tiny_mllm_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> RestorerTask:
    settings = RestorerRun(
        data=DataConfig(str(photos), str(photos), str(tiny_mllm_folder)),
        batch=BatchConfig(scenes=3, crops=2, crop=64, sides=(96, 112), steered_share=1.0, validation_images=11),
        model=MODEL,
    )
    return make_task(settings, str(tmp_path_factory.mktemp("restorer-task")))


def make_task(settings: RestorerRun, folder: str = "") -> RestorerTask:
    return RestorerTask(settings, LoopConfig(folder, 1), {})


def test_a_run_writes_a_restorer_that_knows_its_mllm(photos: Path, tiny_mllm_folder: Path, tmp_path: Path) -> None:
    paths = {"folder": tmp_path.as_posix(), "photos": photos.as_posix(), "mllm": tiny_mllm_folder.as_posix()}
    (tmp_path / "run.toml").write_text(CONFIG.format(**paths))
    run(tmp_path / "run.toml")
    network, card = load_restorer(tmp_path / "run" / "export" / "restorer.safetensors")
    mllm = load_mllm(tiny_mllm_folder)
    check_guidance(mllm.describe(torch.rand(1, 3, 100, 100), with_text=False), network, 1)
    assert card.name == "tiny"
    assert card.training["step"] == 2
    assert card.metrics["psnr_clean"] > 20
    assert network.config.widths == (8, 8, 16, 16)


def test_a_foreign_mllm_guides_a_run_and_stays_as_it_is(photos: Path, tmp_path: Path) -> None:
    """A folder of a stock class without a head, as users have them."""
    parts = build_family("llava", [DESCRIBE] * 3)
    folder = tmp_path / "owner" / "llava"
    parts.model.save_pretrained(folder)
    parts.processor.save_pretrained(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    paths = {"folder": tmp_path.as_posix(), "photos": photos.as_posix(), "mllm": folder.as_posix()}
    (tmp_path / "run.toml").write_text(CONFIG.format(**paths))
    run(tmp_path / "run.toml")
    network, card = load_restorer(tmp_path / "run" / "export" / "restorer.safetensors")
    mllm = load_mllm(folder, precision="fp32")
    assert card.mllm_identity == mllm.identity and mllm.identity.startswith("llava:")
    assert network.config.guidance_width == mllm.width
    check_guidance(mllm.describe(torch.rand(1, 3, 100, 100), with_text=False), network, 1)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_shipped_configuration_can_be_read(root: Path) -> None:
    raw_config = read_toml(root / "training" / "configs" / "restorer.toml")
    assert parse_table(LoopConfig, raw_config, "loop").steps > 0
    settings = RestorerRun.from_raw(raw_config)
    assert settings.tone_mix.rain_share == 0.28 and settings.tone_mix.noise_share == settings.mix.noise_share


@pytest.mark.parametrize("name", ["restorer", "real", "texture", "tone", "dark"])
def test_the_recipes_go_on_from_the_shipped_weights(root: Path, name: str) -> None:
    """A key of `[model]` that is missing in one of them would end the README's command at once."""
    settings = RestorerRun.from_raw(read_toml(root / "training" / "configs" / f"{name}.toml"))
    shipped = root / settings.data.initial
    card = read_card(shipped)
    restorer = build_restorer(
        replace(settings, data=replace(settings.data, initial=str(shipped))), card.architecture["guidance_width"]
    )
    assert restorer.state_dict().keys() == load_restorer(shipped)[0].state_dict().keys()


def test_crops_of_a_scene_lie_on_the_grid_and_match_their_targets(task: RestorerTask) -> None:
    batch = task.batch(0)
    assert batch["crop"].shape == batch["target"].shape == (6, 3, 64, 64)
    assert (batch["place"][:, :2] % task.network.restorer.multiple == 0).all()
    assert (batch["place"][:, :2] + 64 <= batch["place"][:, 2:]).all()
    assert batch["views"].shape[0] == batch["thumbnail"].shape[0] == 3


def test_crops_of_dark_scenes_are_cut_behind_the_camera_branch(
    task: RestorerTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at inference, where thumbnail and MLLM see the image as it came."""
    config = RestorerConfig.from_dict({**factories.make_restorer(64, with_camera=True).config.to_dict(), **MODEL})
    card = replace(factories.make_card(64, ""), architecture=config.to_card())
    write_weights(tmp_path / "camera.safetensors", Restorer(config).state_dict(), card)
    data = replace(task.run.data, initial=str(tmp_path / "camera.safetensors"))
    asked: list[list[float]] = []

    def clean(camera: CameraBranch, crops: torch.Tensor, strengths: torch.Tensor) -> torch.Tensor:
        assert crops.shape[2] % camera.multiple == 0 and crops.shape[3] % camera.multiple == 0
        asked.extend(strengths.tolist())
        return torch.full_like(crops, 0.25)

    monkeypatch.setattr(CameraBranch, "clean", clean)

    def batch_of(severities: Severities) -> tuple[RestorerTask, dict[str, torch.Tensor]]:
        asked.clear()
        monkeypatch.setattr(Mix, "draw", lambda *_: severities)
        made = make_task(replace(task.run, data=data, batch=replace(task.run.batch, steered_share=0.0)))
        return made, made.batch(0)

    made, batch = batch_of(Severities(light_exponent=2.0, low_light_noise=0.06))
    assert all(noise > 0.2 and blur == jpeg == 0 for noise, blur, jpeg in asked)
    crops = batch["crop"].float()
    behind = (crops == 0.25).flatten(1).all(1)
    assert bool(behind.any()) and len(asked) * 2 == int(behind.sum()), "all but the missed ones"
    assert batch["thumbnail"].float().std() > 0.01
    reads = [read for _, read, _, _ in made._validation_images()]
    assert any(bool((read == 0.25).all()) for read in reads) and not all(bool((read == 0.25).all()) for read in reads)
    batch_of(Severities(noise_sigma=0.06, haze_beta=1.5))
    assert not asked, "in haze the local branch is told that there is no noise"
    batch_of(Severities(light_exponent=2.0))
    assert not asked, "where there is nothing to remove"


def test_batches_are_reproducible_and_differ(task: RestorerTask) -> None:
    first, again, other = task.batch(5), task.batch(5), task.batch(6)
    assert all(np.array_equal(first[name], again[name], equal_nan=first[name].is_floating_point()) for name in first)
    assert not torch.equal(first["crop"], other["crop"])


def test_tone_scenes_that_come_again_are_kept_and_mean_the_same(task: RestorerTask) -> None:
    settings = replace(task.run, tone=ToneConfig(scenes=2, cycle=2))
    always, fresh = (make_task(settings) for _ in range(2))
    fresh.network.load_state_dict(always.network.state_dict())
    first, _, again = (always.batch(index) for index in range(3))
    assert first["tone_thumbnail"].shape[0] == 2
    assert "tone_thumbnail" not in again
    always.prepare(first)
    known, new = (
        one.loss(one.network, one.prepare(batch), 2) for one, batch in ((always, again), (fresh, fresh.batch(2)))
    )
    assert {name: value.item() for name, value in known.items()} == {name: value.item() for name, value in new.items()}


def test_tone_scenes_have_a_mix_and_a_number_of_view_sets_of_their_own(task: RestorerTask) -> None:
    settings = replace(task.run, tone=ToneConfig(scenes=2, view_sets=3), tone_mix=Mix(rain_share=1.0))
    other = make_task(replace(settings, batch=replace(settings.batch, steered_share=0.0)))
    assert all(other.tone_scenes.mix.draw(np.random.default_rng(seed)).soft_rain for seed in range(4))
    assert not all(other.scenes.mix.draw(np.random.default_rng(seed)).soft_rain for seed in range(4))
    spared = make_task(replace(settings, tone_mix=Mix(clean_share=1.0)))
    assert all(spared.tone_scenes.mix.draw(np.random.default_rng(seed)) == Severities() for seed in range(4))
    batch = other.batch(0)
    assert batch["tone_views"].shape[:2] == (2, 3) and batch["views"].shape[:2] == (3, 1)
    assert torch.isfinite(other.loss(other.network, other.prepare(batch), 0)["loss"])


def test_tone_scenes_alone_teach_the_tone_branch_and_leave_all_else(task: RestorerTask) -> None:
    settings = replace(task.run, batch=replace(task.run.batch, scenes=0), tone=ToneConfig(scenes=3))
    alone = make_task(settings)
    _shake(alone.network)
    parts = alone.loss(alone.network, alone.prepare(alone.batch(0)), 0)
    parts["loss"].backward()
    assert {"tone", "tone_psnr"} < set(parts)
    assert "l1" not in parts
    assert all(_is_pulled(parameter) == name.startswith("tone.") for name, parameter in _known(alone.network))
    with pytest.raises(TrainingError, match="both 0"):
        replace(settings, tone=ToneConfig())


def test_more_photos_may_be_used_for_tone_scenes_alone(task: RestorerTask, tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), (200, 30, 30)).save(tmp_path / "small.png")
    other = make_task(replace(task.run, tone=ToneConfig(scenes=2, photos=str(tmp_path))))
    more, known = other.tone_scenes.photos, other.scenes.photos
    assert len(more) == len(known) + 1 and more[-1].shape == (40, 40, 3)


def test_crops_teach_all_but_the_tone_branch(task: RestorerTask) -> None:
    other = make_task(replace(task.run, tone=ToneConfig(scenes=2), losses=LossConfig(tone=0.0)))
    _shake(other.network)
    other.loss(other.network, other.prepare(other.batch(3)), 0)["loss"].backward()
    assert all(_is_pulled(parameter) != name.startswith("tone.") for name, parameter in _known(other.network))


def _shake(network: torch.nn.Module) -> None:
    torch.manual_seed(0)
    for parameter in network.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))


def _known(network: RestorerInTraining) -> list[tuple[str, torch.nn.Parameter]]:
    """Without what stands in where guidance is missing, or steers: a small batch may hold neither case."""
    special = ("neutral", "steer")
    return [
        (name, each) for name, each in network.restorer.named_parameters() if not any(word in name for word in special)
    ]


def _is_pulled(parameter: torch.nn.Parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)


def test_the_loss_teaches_every_part_and_leaves_the_mllm_alone(task: RestorerTask) -> None:
    # The output starts at zero, so the inner layers get gradients from the second step on.
    optimizer = torch.optim.SGD(task.network.parameters(), 1e-2)
    for index in range(3):
        optimizer.zero_grad()
        parts = task.loss(task.network, task.prepare(task.batch(index)), index)
        parts["loss"].backward()
        optimizer.step()
    # nobody was without guidance in these few scenes perhaps; the neutral guidance alone may stay untouched
    untouched = [n for n, p in task.network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert [name for name in untouched if "neutral" not in name] == []
    assert {"l1", "psnr", "relational", "balance"} < set(parts)
    assert not any(p.requires_grad for p in task.guidance.mllm.network.parameters())


def test_an_untrained_restorer_scores_as_its_input(task: RestorerTask) -> None:
    fresh = RestorerInTraining(Restorer(task.network.restorer.config))
    assert task.validate(fresh.eval())["psnr_clean"] > 60


def test_training_goes_on_from_trained_weights(task: RestorerTask, tmp_path: Path) -> None:
    for parameter in task.network.parameters():
        parameter.data.add_(0.25)
    task.export(task.network, tmp_path, 0, {})
    settings = replace(task.run, data=replace(task.run.data, initial=str(tmp_path / "restorer.safetensors")))
    again = make_task(settings)
    for name, value in again.network.state_dict().items():
        assert torch.allclose(value, task.network.state_dict()[name], atol=1e-2, rtol=1e-2), name
    more = make_task(replace(settings, model={**MODEL, "global_blocks": 2, "extra_tone_blocks": 1}))
    assert torch.equal(more.network.restorer.intro.weight, again.network.restorer.intro.weight)
    with pytest.raises(TrainingError, match="does not fit"):
        make_task(replace(settings, model={**MODEL, "vector_width": 8}))

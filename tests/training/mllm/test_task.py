"""The MLLM's training program."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mofe_restore.model.errors import TrainingError
from mofe_restore.model.guidance import Directions
from mofe_restore.model.mllm.head import DegradationHead
from mofe_restore.model.mllm.loading import HEAD_FILE, load_mllm
from mofe_restore.model.mllm.views import make_views
from mofe_restore.model.mllm.wording import DESCRIBE
from mofe_restore.model.weights import read_card
from mofe_restore.tests.factories import write_photo
from mofe_restore.training.data.mix import Mix
from mofe_restore.training.engine.config import LoopConfig, parse_table, read_toml
from mofe_restore.training.mllm.architecture import MllmConfig
from mofe_restore.training.mllm.config import BatchConfig, DataConfig, MllmRun, RealConfig
from mofe_restore.training.mllm.conversations import Turn
from mofe_restore.training.mllm.encoding import encode
from mofe_restore.training.mllm.network import MllmInTraining
from mofe_restore.training.mllm.task import MllmTask, run

MODEL = MllmConfig(vision_width=64, vision_layers=1, text_width=64, text_layers=1, vocabulary=300)

BATCH = BatchConfig(size=4, sides=(96, 112), validation_images=6)

CONFIG = """
[loop]
output = "{folder}/run"
steps = 3
precision = "fp32"
workers = 0
log_every = 1
validate_every = 0
warmup_steps = 1
[model]
vision_width = 64
vision_layers = 1
text_width = 64
text_layers = 1
vocabulary = 300
[data]
photos = "{photos}"
validation = "{photos}"
[batch]
size = 4
sides = [96, 112]
validation_images = 6
"""


@pytest.fixture(scope="module")
def trained(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mllm-run")
    (folder / "run.toml").write_text(CONFIG.format(folder=folder.as_posix(), photos=photos.as_posix()))
    run(folder / "run.toml")
    return folder / "run"


@pytest.fixture(scope="module")
def task(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> MllmTask:
    folder = tmp_path_factory.mktemp("mllm-task")
    data = DataConfig(str(photos), str(photos))
    return MllmTask(MllmRun(data, BATCH, model=MODEL), LoopConfig(str(folder), 1), {})


def test_a_trained_folder_is_opened_by_the_code_that_opens_any_model(trained: Path) -> None:
    mllm = load_mllm(trained / "export" / "mllm")
    guidance = mllm.describe(torch.rand(1, 3, 120, 140), max_new_tokens=4)
    assert mllm.name == "mofe-mllm-small"
    assert guidance.pooled.isfinite().all()
    assert (trained / "curve.png").stat().st_size > 0
    assert len((trained / "log.csv").read_text().splitlines()) == 4


def test_training_shows_what_use_shows(trained: Path) -> None:
    """Prompt and pixels of a training batch are those that the processor makes at run time."""
    mllm = load_mllm(trained / "export" / "mllm")
    views = make_views(torch.rand(3, 150, 120))
    inputs = mllm.inputs(views[None])
    row = encode(mllm.processor, [[Turn(DESCRIBE, "Light haze.")]])
    length = inputs["input_ids"].shape[1]
    assert torch.equal(row["input_ids"][:, :length], inputs["input_ids"])
    assert row["embedding_at"].tolist() == [length - 1]
    assert torch.allclose(views.float() / 127.5 - 1, inputs["pixel_values"][0], atol=1e-6)


def test_the_eye_starts_fitted_to_images(task: MllmTask) -> None:
    views = torch.cat([task.batch(index)["views"] for index in range(2)]).float() / 127.5 - 1
    eye = task.network.language_model.model.vision_model
    with torch.no_grad():
        patches = eye.embeddings.patch_embedding(views[:, 1:].flatten(0, 1)).transpose(0, 1).flatten(1)
        states = eye(pixel_values=views.flatten(0, 1)).last_hidden_state.flatten(0, 1)
    assert patches.mean(1).abs().max() < 0.01
    assert float(patches.std(1).median()) == pytest.approx(1, abs=0.1)
    assert states.mean(0).abs().max() < 0.01
    assert torch.allclose(states.std(0), torch.ones(states.shape[1]), atol=0.01)


def test_only_answers_are_learned(task: MllmTask) -> None:
    row = encode(task.processor, [[Turn("Is there haze?", "yes"), Turn("Is there rain?", "no")]])
    learned = row["input_ids"][row["labels"] >= 0]
    assert task.processor.tokenizer.decode(learned) == " yes<end_of_utterance> no<end_of_utterance>"
    assert torch.equal(row["labels"][row["labels"] >= 0], learned)


def test_batches_are_reproducible_and_differ(task: MllmTask) -> None:
    first, again, other = task.batch(5), task.batch(5), task.batch(6)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["views"], other["views"])


def test_all_scenes_are_clean_where_the_share_says_so(task: MllmTask, tmp_path: Path) -> None:
    settings = replace(task.run, mix=Mix(clean_share=1.0, tone_outlier_of=3))
    clean = MllmTask(settings, LoopConfig(str(tmp_path), 1), {})
    assert not clean.batch(0)["presence"].any()


def test_the_loss_teaches_every_part(task: MllmTask) -> None:
    parts = task.loss(task.network, task.batch(0), 0)
    parts["loss"].backward()
    untouched = [name for name, value in task.network.named_parameters() if value.requires_grad and value.grad is None]
    assert untouched == []
    assert {"answers", "presence", "strength", "parameters"} < set(parts)


def test_the_loss_falls_on_one_batch(task: MllmTask) -> None:
    batch = task.batch(1)
    optimizer = torch.optim.Adam(task.network.parameters(), 3e-3)
    losses = []
    for _ in range(12):
        loss = task.loss(task.network, batch, 0)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_validation_counts_presences(task: MllmTask) -> None:
    metrics = task.validate(task.network.eval())
    assert 0 <= metrics["f1_worst"] <= metrics["f1"] <= 1
    assert metrics["parameter_error"] >= 0


def test_an_export_sets_right_what_a_killed_one_left(task: MllmTask, tmp_path: Path) -> None:
    task.export(task.network, tmp_path, 1, {})
    (tmp_path / "mllm").rename(tmp_path / "mllm.previous")
    (tmp_path / "mllm.partial").mkdir()
    task.export(task.network, tmp_path, 2, {})
    assert [path.name for path in tmp_path.iterdir()] == ["mllm"]
    assert read_card(tmp_path / "mllm" / HEAD_FILE).training["step"] == 2


def test_the_network_of_a_fitted_head_is_exported_too(task: MllmTask, tmp_path: Path) -> None:
    fitted = MllmInTraining(task.network.language_model, DegradationHead(64, hidden=5))
    task.export(fitted, tmp_path, 1, {})
    head = load_mllm(tmp_path / "mllm").network.head
    assert head is not None and torch.allclose(head.widen.weight, fitted.head.widen.weight, atol=1e-3)


def test_an_unknown_setting_is_named(photos: Path, tmp_path: Path) -> None:
    text = CONFIG.format(folder=tmp_path.as_posix(), photos=photos.as_posix())
    (tmp_path / "run.toml").write_text(text.replace("text_width", "text_widht"))
    with pytest.raises(TrainingError, match="text_widht"):
        run(tmp_path / "run.toml")


def test_the_shipped_configuration_can_be_read(root: Path) -> None:
    raw_config = read_toml(root / "training" / "configs" / "mllm.toml")
    assert parse_table(LoopConfig, raw_config, "loop").steps > 0
    assert MllmRun.from_raw(raw_config).mix.tone_outlier_of == 2
    with_real = read_toml(root / "training" / "configs" / "mllm_real.toml")
    assert parse_table(LoopConfig, with_real, "loop").steps > 0
    assert MllmRun.from_raw(with_real).real.photos == "data/real_weak"


def test_training_goes_on_from_a_trained_folder(trained: Path, photos: Path, tmp_path: Path) -> None:
    folder = trained / "export" / "mllm"
    settings = MllmRun(DataConfig(str(photos), str(photos), initial=str(folder)), BATCH, model=MODEL)
    task = MllmTask(settings, LoopConfig(str(tmp_path), 1), {})
    task.export(task.network.eval(), tmp_path, 0, {})
    views = make_views(torch.rand(3, 120, 140))[None]
    for again, before in zip(load_mllm(tmp_path / "mllm").embed(views), load_mllm(folder).embed(views), strict=True):
        assert torch.allclose(again, before, atol=1e-5)
    assert all(parameter.requires_grad for parameter in task.network.parameters())
    with pytest.raises(TrainingError, match="another architecture"):
        MllmTask(replace(settings, model=MllmConfig(vision_width=128)), LoopConfig(str(tmp_path), 1), {})


def test_a_trained_model_is_tuned_on_photographs_of_ones_own(trained: Path, tmp_path: Path) -> None:
    """As docs/training.md says for the shipped model: `initial`, and photos; the result is another guide."""
    for seed in range(3):
        write_photo(tmp_path / "own" / f"{seed}.png", 50 + seed, 120, 130)
    config = CONFIG.format(folder=tmp_path.as_posix(), photos=(tmp_path / "own").as_posix())
    first = trained / "export" / "mllm"
    config = config.replace("[batch]", f'initial = "{first.as_posix()}"\n[batch]').replace("steps = 3", "steps = 2")
    (tmp_path / "run.toml").write_text(config)
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    run(tmp_path / "run.toml")
    tuned, start = load_mllm(tmp_path / "run" / "export" / "mllm"), load_mllm(first)
    assert tuned.identity != start.identity and tuned.width == start.width
    views = make_views(torch.rand(3, 120, 140))[None]
    (_, pooled), (_, old) = tuned.embed(views), start.embed(views)
    assert 0 < float((pooled - old).norm() / old.norm()) < 0.5, "it goes on from the weights, and moves"
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before


@pytest.fixture
def real_folder(tmp_path: Path) -> Path:
    for number, label in enumerate(("good", "noise")):
        write_photo(tmp_path / "weak" / label / "train" / "a.png", number, 110, 120)
    return tmp_path / "weak"


def test_real_photographs_are_learned_beside_generated_scenes(
    trained: Path, photos: Path, real_folder: Path, tmp_path: Path
) -> None:
    first = trained / "export" / "mllm"
    data = DataConfig(str(photos), str(photos), initial=str(first))
    settings = MllmRun(data, BATCH, model=MODEL, real=RealConfig(str(real_folder), share=0.5))
    task = MllmTask(settings, LoopConfig(str(tmp_path), 1), {})
    batch = task.prepare(task.batch(0))
    assert batch["generated"].tolist() == [1, 1, 0, 0]
    assert (batch["known"][2:].sum(1) < 7).all() and not batch["strength"][2:].any()
    parts = task.loss(task.network, batch, 0)
    assert float(parts["kept"].detach()) == pytest.approx(0, abs=1e-6), "the teacher is where it starts from"
    optimizer = torch.optim.Adam(task.network.parameters(), 1e-3)
    for _ in range(15):
        now = task.loss(task.network, batch, 0)
        optimizer.zero_grad()
        now["loss"].backward()
        optimizer.step()
    assert now["real"] < parts["real"], "what is known of the photographs is learned"
    again = task.prepare(task.batch(0))
    assert torch.equal(again["kept_pooled"], batch["kept_pooled"]), "the teacher stays"


def test_a_saved_scene_is_to_be_embedded_as_before_with_the_direction_of_jpeg(
    trained: Path, photos: Path, real_folder: Path, tmp_path: Path
) -> None:
    first = trained / "export" / "mllm"
    data = DataConfig(str(photos), str(photos), initial=str(first))
    real = RealConfig(str(real_folder), share=0.1, saved_share=1.0)
    settings = MllmRun(
        data, replace(BATCH, size=12), mix=Mix(low_light_share=0, clean_share=1.0), model=MODEL, real=real
    )
    with pytest.raises(TrainingError, match="no directions for saved_share"):
        MllmTask(settings, LoopConfig(str(tmp_path), 1), {})
    task = MllmTask(replace(settings, real=replace(real, saved_share=0.0)), LoopConfig(str(tmp_path), 1), {})
    tokens, width = task.prepare(task.batch(0))["kept_tokens"].shape[1:]
    task.run = settings
    task.directions = Directions(torch.full((7, 2, tokens, width), 2.0), torch.full((7, 2, width), 3.0))
    saved = task.batch(0)
    assert (saved["saved"] > 0).any() and not (saved["saved"] > 0).all(), "a JPEG of good quality is no degradation"
    assert torch.equal(saved["saved"] > 0, saved["presence"][: len(saved["saved"]), -1] > 0)
    plain = task.prepare({**saved, "saved": torch.zeros_like(saved["saved"]), "views": saved["views"] * 0})
    for name, there in (("kept_tokens", 2.0), ("kept_pooled", 3.0)):
        share = (2 * saved["saved"]).clamp(max=1) * there  # linear up to the first known strength
        moved = (task.prepare(saved)[name] - plain[name]).flatten(1)
        assert torch.allclose(moved, share[:, None].expand_as(moved), atol=1e-3), name


def test_real_photographs_need_trained_weights(photos: Path, real_folder: Path, tmp_path: Path) -> None:
    settings = MllmRun(DataConfig(str(photos), str(photos)), BATCH, model=MODEL, real=RealConfig(str(real_folder)))
    with pytest.raises(TrainingError, match="initial"):
        MllmTask(settings, LoopConfig(str(tmp_path), 1), {})

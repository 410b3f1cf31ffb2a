"""All stages of a training in one command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mofe_restore.model.errors import TrainingError
from mofe_restore.model.mllm.loading import HEAD_FILE, SECOND_LOOK_FILE, identity_of, load_mllm
from mofe_restore.model.restorer.loading import load_restorer
from mofe_restore.model.weights import read_card
from mofe_restore.tests.cli.calls import run as call
from mofe_restore.tests.factories import write_photo
from mofe_restore.tests.training.camera.test_estimator import CONFIG as ESTIMATOR
from mofe_restore.tests.training.head.test_fit import CONFIG as HEAD
from mofe_restore.tests.training.mllm.test_task import CONFIG as MLLM
from mofe_restore.tests.training.restorer.test_task import CONFIG as RESTORER
from mofe_restore.training import stages
from mofe_restore.training.stages import Plan, read_plan, train_all

CAMERA = """
[data]
photos = "{photos}"
validation = "{photos}"
restorer = "of-the-stage-before"
[loop]
output = "f"
steps = 1
warmup_steps = 0
"""

SECOND_LOOK = """
[data]
mllm = "of-the-stage-before"
restorer = "of-the-stage-before"
photos = "{photos}"
real_weak = "{photos}"
real_pairs = ""
output = "f"
"""

STAGES = """
output = "{folder}/all"
[[stages]]
name = "eyes"
do = "mllm"
config = "mllm.toml"
loop.snapshots = [1]
[[stages]]
name = "head"
do = "head"
config = "head.toml"
[[stages]]
name = "eyes-2"
do = "mllm"
config = "mllm.toml"
loop = {{ steps = 1 }}
cuda.loop = {{ seed = 5 }}
[[stages]]
name = "both-eyes"
do = "blend-mllm"
first = "eyes/export/mllm"
share = 0.25
[[stages]]
name = "hands"
do = "restorer"
config = "restorer.toml"
[[stages]]
name = "hands-2"
do = "restorer"
config = "restorer.toml"
loop = {{ seed = 9 }}
[[stages]]
name = "both-hands"
do = "blend-restorer"
first = "hands/export/restorer.safetensors"
"""


@pytest.fixture(scope="module")
def recipe(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("all")
    for number, label in enumerate(("good", "haze")):
        write_photo(folder / "weak" / label / "train" / "a.png", number, 100, 100)
    for part in ("input", "target"):
        write_photo(folder / "pairs" / "noise" / "train" / part / "a.png", 7, 100, 100)
    names = {"folder": folder.as_posix(), "photos": photos.as_posix(), "mllm": "of-the-stage-before"}
    for name, text in (("mllm", MLLM), ("head", HEAD), ("restorer", RESTORER), ("all", STAGES)):
        (folder / f"{name}.toml").write_text(text.format(**names))
    # a network of presence would make a head that cannot be blended with that of the first stage
    head = (folder / "head.toml").read_text().replace("members = 2", "members = 0")
    (folder / "head.toml").write_text(head)
    return folder / "all.toml"


@pytest.fixture(scope="module")
def done(recipe: Path) -> Path:
    assert call("train", "all", "--config", recipe) == 0
    return recipe.parent / "all"


def test_the_result_is_a_pair_that_fits(done: Path) -> None:
    mllm = load_mllm(done / "weights" / "mllm")
    restorer, card = load_restorer(done / "weights" / "restorer" / "model.safetensors")
    assert card.mllm_identity == identity_of(done / "weights" / "mllm") == mllm.identity
    assert restorer.mllm_identity == mllm.identity


def test_each_stage_goes_on_from_those_before_it(done: Path) -> None:
    head = load_file(done / "head" / HEAD_FILE)
    assert load_file(done / "head" / "mllm" / HEAD_FILE).keys() == head.keys()
    first, second = (load_file(done / name / "mllm" / "model.safetensors") for name in ("eyes/export", "eyes-2/export"))
    blended = load_file(done / "both-eyes" / "mllm" / "model.safetensors")
    name = max(first, key=lambda key: float((first[key].float() - second[key].float()).abs().mean()))
    expected = 0.75 * first[name].float() + 0.25 * second[name].float()
    assert torch.allclose(blended[name].float(), expected, atol=0.01) and not torch.equal(first[name], second[name])
    assert read_card(done / "hands-2" / "export" / "restorer.safetensors").training["data"]["initial"]
    one, two, mean = (
        load_file(done / name / "restorer.safetensors") for name in ("hands/export", "hands-2/export", "both-hands")
    )
    assert all(torch.allclose(mean[key].float(), (one[key] + two[key]).float() / 2, atol=0.01) for key in mean)
    assert (done / "eyes" / "snapshots" / "step-1" / "mllm").is_dir()


def test_what_has_ended_is_not_run_again_and_what_is_missing_is(
    done: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train_mllm", "train_restorer", "fit_head"):
        monkeypatch.setattr(stages, name, lambda *_: pytest.fail("it has ended"))
    weights = done / "weights" / "restorer" / "model.safetensors"
    before = load_file(weights)
    shutil.rmtree(done / "both-hands")
    shutil.rmtree(done / "weights")
    assert train_all(read_plan(recipe)) == done / "weights"
    assert all(torch.equal(tensor, before[name]) for name, tensor in load_file(weights).items())


def test_a_stage_that_has_ended_with_other_settings_is_named(done: Path, recipe: Path) -> None:
    plan = read_plan(recipe)
    changed = [(stage, _set(config, "data", "photos", "elsewhere")) for stage, config in plan.stages[:1]]
    with pytest.raises(TrainingError, match=r"Stage eyes in .* has ended with another \[data\]"):
        train_all(Plan(plan.output, (*changed, *plan.stages[1:])))


def test_a_stage_that_is_stopped_ends_the_call_and_is_resumed(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = read_plan(recipe)
    short = Plan(tmp_path / "run", (plan.stages[0], plan.stages[4]))
    (stage, config), hands = short.stages
    stopped = Plan(short.output, ((stage, _set(config, "loop", "max_minutes", 1e-9)), hands))
    assert train_all(stopped) is None
    assert not (short.output / "eyes" / stages.RECORD).exists() and not (short.output / "hands").exists()
    assert len((short.output / "eyes" / "log.csv").read_text().splitlines()) == 2
    monkeypatch.setattr(stages, "train_restorer", lambda _: {"ended": 0.0})
    assert train_all(short) is None and (short.output / "eyes" / stages.RECORD).exists()
    assert len((short.output / "eyes" / "log.csv").read_text().splitlines()) == 4, "resumed, not begun again"


def test_a_gpu_has_settings_of_its_own_and_may_end_what_a_cpu_began(
    done: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []
    shutil.rmtree(done / "eyes-2")
    monkeypatch.setattr(stages.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(stages, "train_mllm", lambda settings: seen.append(settings) or {"ended": 0.0})
    assert train_all(read_plan(recipe)) is None
    assert [settings["loop"]["seed"] for settings in seen] == [5]
    assert seen[0]["data"]["initial"] == (done / "head" / "mllm").as_posix()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("output =", "outputs =", "unknown key outputs"),
        ("loop.snapshots = [1]", "loop.steeps = 1", r"stage eyes: \[loop\] has an unknown key steeps"),
        ("cuda.loop = { seed = 5 }", "cuda.loop = { sed = 5 }", r"stage eyes-2: \[loop\] has an unknown key sed"),
        ("cuda.loop = { seed = 5 }", "cudo = 1", "stage eyes-2: it has an unknown key cudo"),
        ('do = "head"', 'do = "hed"', "stage head: do must be one of mllm, head"),
        ("cuda.loop = { seed = 5 }", "cuda = 3", "stage eyes-2: cuda must hold tables"),
        ('name = "hands-2"', 'name = "hands"', "a name of its own"),
        ('name = "hands-2"', 'name = ".."', "must be that of a folder"),
        ('name = "hands-2"', 'name = "../hands"', "must be that of a folder"),
        ('name = "eyes"\n', "", "stage 1: .*lacks the key name"),
        ('config = "head.toml"', "", "stage head: config must name"),
        ('config = "head.toml"', 'config = "no.toml"', "stage head: .*no.toml cannot be read"),
        ('first = "eyes/export/mllm"', "", "stage both-eyes: a blend takes first and share"),
        (
            'first = "eyes/export/mllm"',
            'first = "hands/mllm"',
            "stage both-eyes: first is hands/mllm.*: eyes, head, eyes-2",
        ),
        ('first = "eyes/export/mllm"', 'first = "."', "stage both-eyes: first is ., and must lie"),
        ("loop = { seed = 9 }", 'data = { photos = "nowhere" }', "stage hands-2: photos in .data. is nowhere"),
    ],
)
def test_a_mistake_in_any_stage_is_found_before_the_first_is_run(
    old: str, new: str, says: str, recipe: Path, tmp_path: Path
) -> None:
    text = recipe.read_text()
    assert old in text
    wrong = recipe.with_name(f"wrong-{tmp_path.name}.toml")
    wrong.write_text(text.replace(old, new, 1))
    with pytest.raises(TrainingError, match=says):
        read_plan(wrong)


def test_an_mllm_that_changes_after_the_restorer_is_refused(recipe: Path) -> None:
    text = recipe.read_text()
    wrong = recipe.with_name("wrong-order.toml")
    wrong.write_text(text + '[[stages]]\nname = "late"\ndo = "head"\nconfig = "head.toml"\n')
    with pytest.raises(TrainingError, match="after the last stage that changes the MLLM"):
        read_plan(wrong)


def test_a_stage_that_finds_no_model_to_go_on_from_is_refused(recipe: Path) -> None:
    head, *stages = recipe.read_text().split("[[stages]]")
    eyes, blend = stages[0], stages[-1]
    for order, says in (([stages[1], eyes], "stage head: it needs an MLLM"), ([eyes, blend], "it needs a restorer")):
        wrong = recipe.with_name("wrong-first.toml")
        wrong.write_text("[[stages]]".join([head, *order]))
        with pytest.raises(TrainingError, match=says):
            read_plan(wrong)


def test_a_camera_branch_and_its_estimator_come_one_after_the_other(recipe: Path) -> None:
    (recipe.parent / "estimator.toml").write_text(
        ESTIMATOR.format(folder="f", photos=(recipe.parent / "weak").as_posix())
    )
    (recipe.parent / "camera.toml").write_text(CAMERA.format(photos=(recipe.parent / "weak").as_posix()))
    (recipe.parent / "again.toml").write_text(SECOND_LOOK.format(photos=(recipe.parent / "weak").as_posix()))
    estimator, camera, again = (
        f'[[stages]]\nname = "{do}"\ndo = "{do}"\nconfig = "{config}.toml"\n'
        for do, config in (("blur-estimator", "estimator"), ("camera", "camera"), ("second-look", "again"))
    )
    good, wrong = recipe.with_name("camera-order.toml"), recipe.with_name("wrong-camera-order.toml")
    good.write_text(recipe.read_text() + estimator + camera + again)
    assert [stage.do for stage, _ in read_plan(good).stages][-3:] == ["blur-estimator", "camera", "second-look"]
    for stages_, says in (
        (camera, "it learns with what a blur-estimator finds"),
        (estimator, "its branch is untrained"),
        (again, "the camera branch cleans what it sees"),
    ):
        wrong.write_text(recipe.read_text() + stages_)
        with pytest.raises(TrainingError, match=says):
            read_plan(wrong)


def test_a_second_look_goes_into_a_copy_of_the_mllm(
    tiny_mllm_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = tmp_path / "fitted.safetensors"
    fitted.write_bytes(b"fitted")
    monkeypatch.setattr(stages, "fit_second_look", lambda *_: fitted)
    names = ("mllm", "restorer", "photos", "real_weak", "real_pairs", "output")
    stage, models = stages.Stage("again", "second-look"), stages.Models(tiny_mllm_folder, tmp_path / "restorer")
    assert stages._train(stage, {"data": dict.fromkeys(names, "x")}, tmp_path, models, stages.PartialState())
    left = stages._left(stage, tmp_path / "again", models)
    assert left.mllm is not None and left.restorer == models.restorer
    assert (left.mllm / SECOND_LOOK_FILE).read_bytes() == b"fitted"
    assert identity_of(left.mllm).partition(":")[2] == identity_of(tiny_mllm_folder).partition(":")[2]


def test_the_stages_of_the_pack_can_be_run_on_a_cpu_and_on_a_gpu(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("train", "val", "masks/rain", "train_low_light", "real_weak/good/train", "real_pairs"):
        (tmp_path / "data" / name).mkdir(parents=True)
    plan = read_plan(root / "training" / "configs" / "all.toml")
    last = ["camera", "camera", "camera", "blend-restorer", "restorer", "second-look"]
    assert [stage.do for stage, _ in plan.stages][-len(last) :] == last
    for stage, config in plan.stages:
        for device in ({}, stage.cuda):
            loop = {**config.get("loop", {}), **device.get("loop", {})}
            assert not (loop.get("minutes") and not device), "two processes have no clock in common"
            assert bool(loop.get("compile")) == (bool(device) and stage.do == "restorer")


def _set(config: dict[str, Any], table: str, key: str, value: Any) -> dict[str, Any]:
    return json.loads(json.dumps({**config, table: {**config[table], key: value}}))

"""All stages of a training, from random weights to a pair of models, in one command.

    mofe train all --config training/configs/all.toml

The TOML file names stages in their order; each goes on from the MLLM and the restorer that the stages before it left,
or from random weights where there are none. A stage that has ended is not run again, one that was interrupted resumes.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import PartialState

from ..model.atomic import recover_folder, replace_folder, staging_folder, write_text
from ..model.errors import TrainingError
from ..model.mllm.loading import HEAD_FILE, SECOND_LOOK_FILE
from .camera.config import CameraRun, EstimatorRun
from .camera.estimator import train_estimator
from .camera.task import train_camera
from .engine.config import FREE_KEYS, LoopConfig, RawConfig, parse_table, read_toml
from .head.config import HeadRun, SecondLookRun
from .head.fit import fit_head
from .head.second_look import fit_second_look
from .mllm.config import MllmRun
from .mllm.task import train_mllm
from .release.blend import blend, blend_restorers
from .restorer.config import RestorerRun
from .restorer.task import train_restorer

log = logging.getLogger(__name__)

RECORD = "done.json"
"""File in a stage's folder that says that it has ended, and with which settings."""

PATIENCE = timedelta(hours=12)
"""So long processes wait for the one that fits a head or blends."""

DOES = ("mllm", "head", "restorer", "blur-estimator", "camera", "second-look", "blend-mllm", "blend-restorer")
"""What a stage can do."""

FITS = ("head", "second-look")
"""Those that have no training loop."""

CHANGES_MLLM = ("mllm", "head", "blend-mllm")
"""Those after which a restorer has to be trained."""

MAKES_MLLM = (*CHANGES_MLLM, "second-look")
"""Those that leave an MLLM; a second look changes nothing of what a restorer learns from."""

NEEDS_RESTORER = ("blend-restorer", "blur-estimator", "camera", "second-look")
"""Those that go on from a restorer."""


class Models(NamedTuple):
    """What the stages so far have left; None stands for random weights."""

    mllm: Path | None = None
    restorer: Path | None = None


@dataclass(frozen=True)
class Stage:
    """One of the `[[stages]]`; what else stands there are tables that change the keys that they name.

    Attributes:
        name: Of its folder inside `output`.
        do: One of `DOES`.
        config: Of a training: its TOML file, beside the one that names the stages.
        first: Of a blend: the other model, as a path inside `output`.
        share: Of a blend: that of the model that the last stage left.
        cuda: Tables that change further keys where there is a CUDA device.
    """

    name: str
    do: str
    config: str = ""
    first: str = ""
    share: float = 0.5
    cuda: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The parsed file.

    Attributes:
        output: Folder of all stages, and of `weights/`, the result.
        stages: Each with its whole configuration, without what `cuda` changes; it is empty for a blend.
    """

    output: Path
    stages: tuple[tuple[Stage, dict[str, Any]], ...]


def run(config_path: Path) -> None:
    """Train as the TOML file says; what an earlier call has ended is left as it is."""
    train_all(read_plan(config_path))


def read_plan(path: Path) -> Plan:
    """Read the stages, and check the settings of all of them before the first one takes its hours.

    Raises:
        TrainingError: A key is unknown, missing or makes no sense, or a folder is missing; the message says of which
            stage.
    """
    raw = read_toml(path)
    if unknown := raw.keys() - {"output", "stages"}:
        raise TrainingError(f"{path} has an unknown key {min(unknown)}; known are output and stages.")
    tables, output = raw.get("stages", ()), raw.get("output")
    if not isinstance(output, str) or not isinstance(tables, list) or not tables:
        raise TrainingError(f"{path} must name an output folder and at least one of the [[stages]].")
    stages: list[tuple[Stage, dict[str, Any]]] = []
    for number, table in enumerate(tables, 1):
        where = f"stage {table['name']}" if isinstance(table, dict) and "name" in table else f"stage {number}"
        try:
            stages.append(_read_stage(table, path.parent))
        except TrainingError as error:
            raise TrainingError(f"{path}, {where}: {error}") from error
    names = [stage.name for stage, _ in stages]
    if len(set(names)) < len(names) or "weights" in names:
        raise TrainingError(f"{path}: each of the stages needs a name of its own, other than weights.")
    try:
        _check_order([stage for stage, _ in stages])
    except TrainingError as error:
        raise TrainingError(f"{path}, {error}") from error
    last = {stage.do: number for number, (stage, _) in enumerate(stages)}
    if "mllm" not in last or last.get("restorer", -1) < max(last.get(do, -1) for do in CHANGES_MLLM):
        raise TrainingError(f"{path}: a restorer must be trained after the last stage that changes the MLLM.")
    return Plan(Path(output), tuple(stages))


def train_all(plan: Plan) -> Path | None:
    """Run the stages that have not ended.

    Returns:
        The folder of the result, `mllm/` and `restorer/model.safetensors`; None where a stage was stopped by a signal
        or by its `max_minutes`, which the next call resumes.

    Raises:
        TrainingError: A stage that has ended was run with other settings, or one fails.
    """
    processes = PartialState(timeout=PATIENCE)
    models = Models()
    for number, (stage, config) in enumerate(plan.stages, 1):
        folder = plan.output / stage.name
        settings = _wired(stage, config, folder, models)
        if not _has_ended(folder, stage, settings):
            record = _fixed(stage, settings)
            if torch.cuda.is_available():
                settings = _changed(settings, stage.cuda)
            log.info("stage %d of %d: %s", number, len(plan.stages), stage.name)
            if not _train(stage, settings, plan.output, models, processes):
                log.info("stage %s was stopped: the same command resumes it", stage.name)
                return None
            if processes.is_main_process:
                write_text(folder / RECORD, json.dumps(record, indent=2, sort_keys=True) + "\n")
            processes.wait_for_everyone()
        models = _left(stage, folder, models)
    assert models.mllm is not None and models.restorer is not None  # read_plan
    result = plan.output / "weights"
    if processes.is_main_process:
        _write_result(models.mllm, models.restorer, result)
    processes.wait_for_everyone()
    log.info("%s holds the MLLM and the restorer", result)
    return result


def _read_stage(table: Any, folder: Path) -> tuple[Stage, dict[str, Any]]:
    if not isinstance(table, dict):
        raise TrainingError("it must be a table.")
    own = {key: value for key, value in table.items() if key in Stage.__dataclass_fields__ and key != "cuda"}
    stage = replace(parse_table(Stage, {"stages": own}, "stages"), cuda=table.get("cuda", {}))
    changes = {key: value for key, value in table.items() if key not in Stage.__dataclass_fields__}
    if stage.do not in DOES:
        raise TrainingError(f"do must be one of {', '.join(DOES)}, not {stage.do}.")
    if not isinstance(stage.cuda, Mapping):
        raise TrainingError(f"cuda must hold tables, such as cuda.loop = {{ workers = 8 }}, and not be {stage.cuda!r}.")
    if stage.name in ("", "..") or Path(stage.name).name != stage.name:
        raise TrainingError(f"name must be that of a folder, not {stage.name!r}.")
    if stage.do.startswith("blend"):
        if not stage.first or changes:
            raise TrainingError("a blend takes first and share, and no tables.")
        return stage, {}
    if not stage.config:
        raise TrainingError("config must name the TOML file of the training.")
    config = _changed(read_toml(folder / stage.config), changes)
    for each in (config, _changed(config, stage.cuda)):  # a mistake is found on every machine
        _check(stage, each)
    return stage, config


def _check_order(stages: Sequence[Stage]) -> None:
    """See that each stage finds what it goes on from: what a stage leaves is known before it is run."""
    before: dict[bool, list[str]] = {True: [], False: []}  # stages by whether they make an MLLM
    done: list[str] = []
    for stage in stages:
        is_mllm = stage.do in MAKES_MLLM
        if stage.do != "mllm" and not before[True]:
            raise TrainingError(f"stage {stage.name}: it needs an MLLM; let a stage that trains one come before it.")
        if stage.do in NEEDS_RESTORER and not before[False]:
            raise TrainingError(f"stage {stage.name}: it needs a restorer; let a stage that trains one come before it.")
        if stage.do == "second-look" and "camera" not in done:
            raise TrainingError(
                f"stage {stage.name}: the camera branch cleans what it sees; let a camera stage come before it."
            )
        if stage.do == "camera" and "blur-estimator" not in done:
            raise TrainingError(
                f"stage {stage.name}: it learns with what a blur-estimator finds; let such a stage come before it."
            )
        if stage.first and Path(stage.first).parts[:1] not in [(name,) for name in before[is_mllm]]:
            raise TrainingError(
                f"stage {stage.name}: first is {stage.first}, and must lie in the folder of a stage before it that "
                f"makes such a model: {', '.join(before[is_mllm])}."
            )
        before[is_mllm].append(stage.name)
        done.append(stage.do)
    if "blur-estimator" in done and "camera" not in done[done.index("blur-estimator") :]:
        raise TrainingError("stage blur-estimator: its branch is untrained; let a camera stage come after it.")


def _changed(config: RawConfig, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration of which tables have other values for some keys."""
    for name, table in changes.items():
        if not isinstance(table, Mapping):
            raise TrainingError(f"it has an unknown key {name}; known are {', '.join(Stage.__dataclass_fields__)}.")
    return {**config, **{name: {**config.get(name, {}), **table} for name, table in changes.items()}}


def _check(stage: Stage, config: RawConfig) -> None:
    """Parse all tables of a training, and see that its photographs are there."""
    settings = _wired(stage, config, Path(stage.name), Models(Path("mllm"), Path("restorer")))
    parse: dict[str, Callable[[RawConfig], Any]] = {
        "mllm": MllmRun.from_raw,
        "head": HeadRun.from_raw,
        "second-look": SecondLookRun.from_raw,
        "restorer": RestorerRun.from_raw,
        "blur-estimator": EstimatorRun.from_raw,
        "camera": CameraRun.from_raw,
    }
    parse[stage.do](settings)
    if stage.do not in FITS:
        parse_table(LoopConfig, settings, "loop")
    for where, key, value in _paths(config):
        if not Path(value).exists():
            raise TrainingError(f"{key} in [{where}] is {value}, which does not exist.")


def _paths(config: RawConfig) -> Iterator[tuple[str, str, str]]:
    """Yield table, key and value of what a training reads and no stage has made."""
    made = {"mllm", "initial", "restorer", "output", "guidance"}
    for where, keys in (("data", config["data"].keys() - made), ("real", ("photos", "pairs")), ("tone", ("photos",))):
        yield from ((where, key, config[where][key]) for key in sorted(keys) if config.get(where, {}).get(key))


def _wired(stage: Stage, config: RawConfig, folder: Path, models: Models) -> dict[str, Any]:
    """Return the settings of a stage, with its folder and the models that it goes on from."""
    if not config:
        return {}
    mllm, restorer = (path.as_posix() if path else "" for path in models)
    wired = {
        "mllm": {"data": {"initial": mllm}, "loop": {"output": str(folder)}},
        "head": {"data": {"mllm": mllm, "output": str(folder)}},
        "second-look": {"data": {"mllm": mllm, "restorer": restorer, "output": str(folder)}},
        "restorer": {"data": {"mllm": mllm, "initial": restorer}, "loop": {"output": str(folder)}},
        "blur-estimator": {"data": {"restorer": restorer}, "loop": {"output": str(folder)}},
        "camera": {"data": {"restorer": restorer}, "loop": {"output": str(folder)}},
    }[stage.do]
    return _changed(config, wired)


def _train(stage: Stage, settings: dict[str, Any], output: Path, models: Models, processes: PartialState) -> bool:
    """Run one stage; return whether it has ended."""
    folder = output / stage.name
    if stage.do == "mllm":
        return bool(train_mllm(settings)["ended"])
    assert models.mllm is not None  # _check_order
    if stage.do == "restorer":
        return bool(train_restorer(settings)["ended"])
    if stage.do == "blur-estimator":
        return bool(train_estimator(settings)["ended"])
    if stage.do == "camera":
        return bool(train_camera(settings)["ended"])
    if processes.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        if stage.do == "head":
            _with_file(models.mllm, fit_head(HeadRun.from_raw(settings), settings), HEAD_FILE, folder / "mllm")
        elif stage.do == "second-look":
            judge = fit_second_look(SecondLookRun.from_raw(settings), settings)
            _with_file(models.mllm, judge, SECOND_LOOK_FILE, folder / "mllm")
        else:
            _blend(stage, output, models)
    processes.wait_for_everyone()
    return True


def _blend(stage: Stage, output: Path, models: Models) -> None:
    first, folder = output / stage.first, output / stage.name
    if not first.exists():
        raise TrainingError(f"Stage {stage.name} blends with {first}, which does not exist.")
    try:
        if stage.do == "blend-mllm":
            assert models.mllm is not None  # _check_order
            blend(first, models.mllm, stage.share, folder / "mllm")
        else:
            assert models.restorer is not None  # _check_order
            blend_restorers(first, models.restorer, stage.share, folder / "restorer.safetensors", other_mllm=True)
    except ValueError as error:
        raise TrainingError(f"Stage {stage.name}: {error}") from error


def _left(stage: Stage, folder: Path, models: Models) -> Models:
    """Return the models after a stage that has ended."""
    return {
        "mllm": models._replace(mllm=folder / "export" / "mllm"),
        "head": models._replace(mllm=folder / "mllm"),
        "second-look": models._replace(mllm=folder / "mllm"),
        "restorer": models._replace(restorer=folder / "export" / "restorer.safetensors"),
        "blur-estimator": models._replace(restorer=folder / "export" / "restorer.safetensors"),
        "camera": models._replace(restorer=folder / "export" / "restorer.safetensors"),
        "blend-mllm": models._replace(mllm=folder / "mllm"),
        "blend-restorer": models._replace(restorer=folder / "restorer.safetensors"),
    }[stage.do]


def _with_file(mllm: Path, file: Path, name: str, target: Path) -> None:
    """Write a copy of a model folder with another file of this name."""
    recover_folder(target)
    fresh = shutil.copytree(mllm, staging_folder(target))
    shutil.copyfile(file, fresh / name)
    replace_folder(fresh, target)


def _write_result(mllm: Path, restorer: Path, target: Path) -> None:
    recover_folder(target)
    fresh = staging_folder(target)
    shutil.copytree(mllm, fresh / "mllm")
    (fresh / "restorer").mkdir()
    shutil.copyfile(restorer, fresh / "restorer" / "model.safetensors")
    replace_folder(fresh, target)


def _fixed(stage: Stage, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what must stay as it was where a stage has ended."""
    kept = {key: value for key, value in settings.items() if key != "card"}
    if "loop" in kept:
        kept["loop"] = {key: value for key, value in kept["loop"].items() if key not in FREE_KEYS - {"steps"}}
    blended = {"first": stage.first, "share": stage.share} if stage.first else {}
    fixed: dict[str, Any] = json.loads(json.dumps({"do": stage.do, **blended, **kept}))
    return fixed


def _has_ended(folder: Path, stage: Stage, settings: dict[str, Any]) -> bool:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    now = _fixed(stage, settings)
    for name in sorted({*record, *now}):
        if record.get(name) != now.get(name):
            what = f"[{name}]" if isinstance(now.get(name, record.get(name)), dict) else name
            raise TrainingError(
                f"Stage {stage.name} in {folder} has ended with another {what}: change it back, or remove that folder "
                "and those of the stages after it."
            )
    return True

"""Ablation: train variants of one run for an equal number of steps, and compare them.

The TOML file is that of `mofe train restorer` with one more table, `[variants]`: for each variant the keys that differ,
such as `no_guidance = { losses = { guidance_dropout = 1.0 } }`. Each variant gets a folder of its own inside the run's
`output`, and sees the same scenes in the same order; the first one is what the others are compared with.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from accelerate import PartialState

from ..model.atomic import write_text
from ..model.errors import TrainingError
from .engine.config import RawConfig, read_toml
from .evaluation.results import COUNT, Evaluation, Row, Table
from .restorer.config import RestorerRun
from .restorer.task import train_restorer

log = logging.getLogger(__name__)

RESULT = "ablation.json"
"""File inside the run's `output` that gets the table."""


def run(config_path: Path) -> None:
    """Train every variant and write the table to `RESULT`; variants that an earlier call began or ended are resumed.

    Raises:
        TrainingError: `[variants]` is missing, or changes a table that is not there.
    """
    raw_config = read_toml(config_path)
    rows: dict[str, Row] = {}
    for name, variant in variants(raw_config):
        log.info("variant %s", name)
        metrics = train_restorer(variant)
        if not metrics["ended"]:
            log.info("variant %s was stopped: the same command resumes it", name)
            return
        first = next(iter(rows.values()))["PSNR"] if rows else metrics["psnr"]
        rows[name] = {
            COUNT: RestorerRun.from_raw(variant).batch.validation_images,
            "steps": metrics["step"],
            "PSNR": metrics["psnr"],
            "gain": metrics["psnr"] - first,
        }
    title = f"Ablation: PSNR of the eleven combinations after equal training, {config_path.name}"
    result = Evaluation(title, (Table("variant", {COUNT: 0, "steps": 0, "PSNR": 2, "gain": 2}, rows),))
    if PartialState().is_main_process:
        write_text(Path(raw_config["loop"]["output"]) / RESULT, result.to_json())
        log.info("%s", result.to_markdown())


def variants(raw_config: RawConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the whole configuration of each variant.

    Raises:
        TrainingError: There are none, or one changes `[loop]` or a table that the file does not have.
    """
    changes = raw_config.get("variants")
    if not isinstance(changes, Mapping) or not changes:
        raise TrainingError("The file has no [variants]: name each one with the keys that differ.")
    for name, changed in changes.items():
        variant = copy.deepcopy({key: value for key, value in raw_config.items() if key != "variants"})
        for table, values in changed.items():
            if table not in variant or table == "loop":
                raise TrainingError(f"Variant {name} changes [{table}]: it may change the file's tables except [loop].")
            variant[table].update(values)
        variant["loop"]["output"] = str(Path(variant["loop"]["output"]) / name)
        yield name, variant

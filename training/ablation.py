"""Trains variants of one run for an equal number of steps, and compares them: what is each part worth?

The TOML file is that of `mofe train restorer` with one more table, [variants]: for each variant the keys that differ,
such as `no_guidance = { losses = { guidance_dropout = 1.0 } }`. Each goes into a folder of its own under the run's
`output`; the first one is what the others are compared with. Every variant sees the same scenes in the same order.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from accelerate import PartialState

from ..model.files import written_whole
from .config import TrainingError, load_toml
from .tables import Evaluation, Table
from .train_restorer import train_tables

log = logging.getLogger(__name__)

RESULT = "ablation.json"


def run(config_path: Path) -> None:
    """Train every variant, each resumed or left as it is where it has ended; the table goes to `output`/ablation.json.

    Raises:
        TrainingError: [variants] is missing or changes what is not there.
    """
    tables = load_toml(config_path)
    rows: dict[str, dict[str, float]] = {}
    for name, variant in variants(tables):
        log.info("variant %s", name)
        metrics = train_tables(variant)
        if not rows:
            first = metrics["psnr"]
        rows[name] = {"steps": metrics["step"], "PSNR": metrics["psnr"], "gain": metrics["psnr"] - first}
    title = f"Ablation: PSNR of the eleven combinations after equal training, {config_path.name}"
    result = Evaluation(title, (Table("variant", {"steps": 0, "PSNR": 2, "gain": 2}, rows),))
    if PartialState().is_main_process:
        with written_whole(Path(tables["loop"]["output"]) / RESULT) as path:
            path.write_text(result.to_json(), encoding="utf-8")
        log.info("%s", result.to_markdown())


def variants(tables: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and whole configuration of each variant.

    Raises:
        TrainingError: there are none, or one changes a table that a run does not have.
    """
    changes = tables.get("variants")
    if not isinstance(changes, Mapping) or not changes:
        raise TrainingError("The file has no [variants]: name each one with the keys that differ.")
    for name, changed in changes.items():
        variant = copy.deepcopy({key: value for key, value in tables.items() if key != "variants"})
        for table, values in changed.items():
            if table not in variant or table == "loop":
                raise TrainingError(f"Variant {name} changes [{table}]: it may change [model], [data] and [losses].")
            variant[table].update(values)
        variant["loop"]["output"] = str(Path(variant["loop"]["output"]) / name)
        yield name, variant

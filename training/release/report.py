"""Rewrites what is made from the shipped weights, logs and results: cards, curves, the plot of relations, tables.

    python -m mofe_restore.training.release.report [--weights FOLDER]

The README gets one table, docs/results.md the others, docs/protocols.md those of the field; they stand between `BEGIN`
and `END`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...model.atomic import write_text
from ...model.mllm.loading import HEAD_FILE, SECOND_LOOK_FILE
from ...model.weights import SHIPPED_MLLM, SHIPPED_RESTORER, Card, read_card
from ..engine.plots import draw_curve
from ..evaluation.relations import draw_relations
from ..evaluation.results import Evaluation
from .tables import Results, details, field_sections, summary, with_plain_names

RESTORER = SHIPPED_RESTORER.relative_to(SHIPPED_MLLM.parent)
"""The restorer's weight file inside the folder of the weights."""

CARD_FILE, LOG_FILE, CURVE_FILE = "README.md", "training_log.csv", "training_curve.png"
"""Files beside the weights of either network."""

RELATIONS_PLOT = "relations.png"
"""File beside the results."""

ABOUT_MLLM = ("descriptions", "answers")
"""The results that are about the MLLM; the others are about the restorer under its guidance."""

ABOUT_FOREIGN = ("align",)
"""The results that are about other MLLMs, and stand in no card."""

BEGIN, END = "<!-- results: written by training/release/report.py -->", "<!-- end of results -->"
"""Marks in the README and in docs/results.md, between which the tables stand."""


def results_folder_of(weights: Path) -> Path:
    """Return the usual folder of the results about a folder of weights: docs/results beside it."""
    return weights.parent / "docs" / "results"


def regenerate(
    weights: Path, results_folder: Path | None = None, readme: Path | None = None, page: Path | None = None
) -> None:
    """Write the cards and curves in `weights`, the plot of relations beside the results, and the tables of the pages.

    Args:
        weights: Folder of both networks.
        results_folder: Folder with a JSON file per evaluation; None means docs/results beside `weights`.
        readme: Page that gets `summary`; None writes none.
        page: Page that gets `details`; None writes none.

    Raises:
        ValueError: A page lacks the marks between which its tables stand; then nothing is written.
    """
    check_marks(readme, page)
    folder = results_folder_of(weights) if results_folder is None else results_folder
    results = read_results(folder)
    about_restorer = {name: each for name, each in results.items() if name not in (*ABOUT_MLLM, *ABOUT_FOREIGN)}
    _write_card(weights / RESTORER, about_restorer)
    mllm = weights / SHIPPED_MLLM.name
    _write_card(
        mllm / HEAD_FILE, {name: each for name, each in results.items() if name in ABOUT_MLLM}, mllm / SECOND_LOOK_FILE
    )
    if "relations" in results:
        draw_relations(results["relations"], folder / RELATIONS_PLOT)
    if results:
        _write_tables(readme, summary(results))
        _write_tables(page, details(results))


def write_field(page: Path) -> None:
    """Write the tables of docs/protocols.md."""
    check_marks(page)
    _write_tables(page, field_sections())


def read_results(folder: Path) -> dict[str, Evaluation]:
    """Read the results of `mofe evaluate` in a folder, by the names of their files."""
    values = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    # those of `mofe bench` beside them have no tables
    return {name: Evaluation.from_dict(value) for name, value in values.items() if "tables" in value}


def check_marks(*pages: Path | None) -> None:
    """Check that pages have a place for their tables.

    Raises:
        ValueError: One has none.
    """
    for page in pages:
        if page is not None and END not in page.read_text(encoding="utf-8").partition(BEGIN)[2]:
            raise ValueError(f"{page} has no place for the results: put {BEGIN} and {END} where they belong.")


def readable_card(card: Card, results: Results, second_look: Card | None = None) -> str:
    """Return a card as Markdown: what it is about, data and limits, recipe, and what was measured.

    Args:
        card: The card.
        results: What was measured, by name.
        second_look: Of an MLLM: the card of the network of its second look.
    """
    step, commit = (card.training.get(key) or "not recorded" for key in ("step", "commit"))
    lines = [
        f"# {card.name} {card.version}",
        "",
        f"- kind: {card.kind}",
        f"- licence: {card.licence}",
        f"- MLLM: `{card.mllm_identity}`",
        f"- data: {card.data}",
        f"- limits: {card.limits}",
        f"- steps: {step}, commit: {commit}",
        "",
        "## Recipe",
        *_settings("architecture", card.architecture),
        *_settings("training", card.training),
        "",
    ]
    if second_look is not None:
        settings = _settings("training", second_look.training)
        lines += ["## Second look", f"- data: {second_look.data}", *settings, ""]
    validation = {name: value for name, value in card.metrics.items() if isinstance(value, int | float)}
    if validation:
        rows = (f"| {name} | {value:.4g} |" for name, value in validation.items())
        lines += ["## Validation during training", "| metric | value |", "|---|---:|", *rows, ""]
    for name, result in results.items():
        if any(table.rows for table in result.tables):
            lines += [f"## Measured: {name}", with_plain_names(name, result).to_markdown()]
    return "\n".join(lines)


def _settings(name: str, values: Mapping[str, Any]) -> list[str]:
    """Return a table of settings as a list, with a line for each table inside it."""
    inner = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    plain = {key: value for key, value in values.items() if key not in inner}
    first = [f"- {name}: `{json.dumps(plain)}`"] if plain else []
    return [*first, *(line for key, value in inner.items() for line in _settings(f"{name}.{key}", value))]


def _write_card(weights: Path, results: Results, second_look: Path | None = None) -> None:
    """Write the readable card and the curve beside a weight file, if it is there."""
    if weights.exists():
        second = read_card(second_look) if second_look is not None and second_look.exists() else None
        write_text(weights.with_name(CARD_FILE), readable_card(read_card(weights), results, second))
        draw_curve(weights.with_name(LOG_FILE), weights.with_name(CURVE_FILE))


def _write_tables(page: Path | None, tables: str) -> None:
    """Replace what stands between the marks of a page."""
    if page is not None:
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        write_text(page, f"{before}{BEGIN}\n{tables}{END}{rest.partition(END)[2]}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    root = SHIPPED_MLLM.parents[1]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--weights", type=Path, default=SHIPPED_MLLM.parent, metavar="FOLDER")
    parser.add_argument(
        "--results-folder", type=Path, metavar="FOLDER", help="docs/results beside the weights if absent"
    )
    parser.add_argument("--readme", type=Path, default=root / "README.md", metavar="FILE")
    parser.add_argument("--page", type=Path, default=root / "docs" / "results.md", metavar="FILE")
    parser.add_argument("--protocols", type=Path, default=root / "docs" / "protocols.md", metavar="FILE")
    parsed = parser.parse_args(arguments)
    check_marks(parsed.readme, parsed.page, parsed.protocols)
    regenerate(parsed.weights, parsed.results_folder, parsed.readme, parsed.page)
    write_field(parsed.protocols)


if __name__ == "__main__":
    main()

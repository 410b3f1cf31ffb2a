"""Makes anew what is made from committed weights, logs and results: cards, curves, plots, the README's tables.

python -m mofe_restore.training.report
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..model.files import written_whole
from ..model.mllm_folder import HEAD_FILE
from ..model.weights import SHIPPED_MLLM, Card, read_card
from .curve import draw_curve
from .evaluation import CLEAN, LEAST, MEAN, QUIET_LOW
from .relations import draw_relations
from .tables import Evaluation

RESULTS = "results"
"""Folder beside the weights: what `mofe evaluate` measured of them, a JSON file for each evaluation."""

MLLM_LOG, RESTORER_LOG = "training_log.csv", "restorer_log.csv"
DESCRIPTIONS, ANSWERS, ABLATION = "descriptions", "answers", "ablation"
ABOUT_MLLM = (DESCRIPTIONS, ANSWERS)
"""The results that are about the MLLM; the others are about the restorer under its guidance."""

BEGIN, END = "<!-- results: written by training/report.py -->", "<!-- end of results -->"


def regenerate(weights: Path, readme: Path | None = None) -> None:
    """Write the readable cards, the curves and the plot of relations in `weights`, and the tables of `readme`.

    Raises:
        ValueError: the README lacks the marks between which the tables stand.
    """
    results = read_results(weights)
    mllm = weights / SHIPPED_MLLM.name
    if (weights / "restorer.safetensors").exists():
        card = read_card(weights / "restorer.safetensors")
        about = {name: result for name, result in results.items() if name not in ABOUT_MLLM}
        write_text(weights / "restorer.md", readable_card(card, about))
        draw_curve(weights / RESTORER_LOG, weights / "restorer_curve.png")
    if (mllm / HEAD_FILE).exists():
        about = {name: result for name, result in results.items() if name in ABOUT_MLLM}
        write_text(mllm / "README.md", readable_card(read_card(mllm / HEAD_FILE), about))
        draw_curve(mllm / MLLM_LOG, mllm / "training_curve.png")
    if "relations" in results:
        draw_relations(results["relations"], weights / "relations.png")
    if readme is not None and results:
        text = readme.read_text(encoding="utf-8")
        if BEGIN not in text or END not in text:
            raise ValueError(f"{readme} has no place for the results: put {BEGIN} and {END} where they belong.")
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        write_text(readme, f"{before}{BEGIN}\n{summary(results)}{END}{after}")


def read_results(weights: Path) -> dict[str, Evaluation]:
    """The committed results by name."""
    files = sorted((weights / RESULTS).glob("*.json"))
    return {path.stem: Evaluation.from_dict(json.loads(path.read_text(encoding="utf-8"))) for path in files}


def summary(results: Mapping[str, Evaluation]) -> str:
    """The README's tables: the main numbers of each result that is there."""
    return "\n".join(_summary_lines(results)) + "\n"


def _summary_lines(results: Mapping[str, Evaluation]) -> Iterator[str]:
    restored = list(_restored_rows(results))
    if restored:
        yield from ("| | PSNR in | PSNR out | SSIM in | SSIM out |", "|---|---|---|---|---|", *restored, "")
    if "guidance" in results:
        row = results["guidance"].tables[0].rows[MEAN]
        yield from (
            "| what the guidance is worth, mean of the eleven combinations | PSNR |",
            "|---|---|",
            f"| the picture's own guidance | {row['own']:.2f} |",
            f"| none | {row['none']:.2f} |",
            f"| the guidance of another picture | {row['other']:.2f} |",
            "",
        )
    if "steering" in results:
        gain = results["steering"].value(MEAN, "gain")
        yield "Told to keep one of two degradations, the result is"
        yield f"{gain:.1f} dB nearer to the picture with that degradation alone than the full restoration is."
        yield ""
    if ABLATION in results:
        rows = results[ABLATION].tables[0].rows
        steps = max(row["steps"] for row in rows.values())
        yield from (f"| the restorer after {steps:.0f} steps from random weights | PSNR | gain |", "|---|---|---|")
        yield from (
            f"| {name.replace('_', ' ')} | {row['PSNR']:.2f} | {row['gain']:+.2f} |" for name, row in rows.items()
        )
        yield ""
    if DESCRIPTIONS in results:
        rows = results[DESCRIPTIONS].tables[0].rows
        right = (
            {name: row["right"] for name, row in results[ANSWERS].tables[0].rows.items()} if ANSWERS in results else {}
        )
        yield (
            "| the language model, on generated degradations | F1 | rank correlation of scores and true strengths "
            "| yes and no said rightly |"
        )
        yield "|---|---|---|---|"
        for name, row in rows.items():
            said = f"{100 * right[name]:.0f} %" if name in right else ""
            yield f"| {name} | {row['F1']:.2f} | {row['rank']:.2f} | {said} |"


def _restored_rows(results: Mapping[str, Evaluation]) -> Iterator[str]:
    """Input and output of the evaluations that compare them, best and least of the combinations by name."""
    if "composites" in results:
        rows = results["composites"].tables[0].rows
        kinds = {name: row for name, row in rows.items() if name not in (MEAN, QUIET_LOW, CLEAN)}
        best, least = (choose(kinds, key=lambda name: kinds[name]["gain"]) for choose in (max, min))
        yield _row("mean of the eleven combinations", rows[MEAN])
        yield _row(f"most gain: {best}", rows[best])
        yield _row(f"least gain: {least}", rows[least])
        if QUIET_LOW in rows:
            yield _row("low light without noise", rows[QUIET_LOW])
        if CLEAN in rows:
            clean = rows[CLEAN]
            worst = f", {clean[LEAST]:.2f} at worst" if LEAST in clean else ""
            yield f"| clean photograph | | {clean['PSNR out']:.2f}{worst} | | {clean['SSIM out']:.3f} |"
    for name, what in (("denoising", "Gaussian noise, {}"), ("pairs", "pairs of published sets: {}")):
        if name in results:
            rows = results[name].tables[0].rows
            yield from (_row(what.format(kind), row) for kind, row in rows.items() if kind != MEAN)


def _row(name: str, row: Mapping[str, float]) -> str:
    cells = f"{row['PSNR in']:.2f} | **{row['PSNR out']:.2f}** | {row['SSIM in']:.3f} | {row['SSIM out']:.3f}"
    return f"| {name} | {cells} |"


def readable_card(card: Card, results: Mapping[str, Evaluation]) -> str:
    """A card as Markdown: what it is, its data and limits, its recipe, what was measured."""
    lines = [
        f"# {card.name} {card.version}",
        "",
        f"- kind: {card.kind}",
        f"- licence: {card.licence}",
        f"- MLLM: `{card.mllm_identity}`",
        f"- data: {card.data}",
        f"- limits: {card.limits}",
        f"- steps: {card.training.get('step')}, commit: {card.training.get('commit') or 'not recorded'}",
        "",
        "## Recipe",
        *_list("architecture", card.architecture),
        *_list("training", card.training),
        "",
        "## During training (validation excerpt)",
        "| metric | value |",
        "|---|---|",
        *(f"| {name} | {value:.4g} |" for name, value in card.metrics.items() if isinstance(value, int | float)),
        "",
    ]
    for name, result in results.items():
        lines += [f"## Measured: {name}", result.to_markdown()]
    return "\n".join(lines)


def _list(name: str, values: Mapping[str, Any]) -> list[str]:
    """A table of settings as a list, one line for each table inside it."""
    inner = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    plain = {key: value for key, value in values.items() if key not in inner}
    return [
        f"- {name}: `{json.dumps(plain)}`",
        *(line for key, value in inner.items() for line in _list(f"{name}.{key}", value)),
    ]


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    regenerate(SHIPPED_MLLM.parent, SHIPPED_MLLM.parents[1] / "README.md")

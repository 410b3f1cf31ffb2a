"""The tables of results in the README and in docs/results.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from ...model.vocabulary import DISPLAY_NAMES
from ..evaluation.composites import CLEAN, QUIET_LOW
from ..evaluation.field import boards, field_table, sources_of_field
from ..evaluation.results import COUNT, Evaluation, Row, Table, format_number
from ..evaluation.runner import MEAN, WORST

T = TypeVar("T")

Results = Mapping[str, Evaluation]
"""Results of evaluations by name."""

PLAIN_NAMES: dict[str, dict[str, str]] = {
    "guidance": {"own": "own guidance", "other": "guidance of another image", "none": "no guidance"},
    "align": {"own": "the shipped model", "none": "no guidance"},
    "steering": {"full": "full restoration", "steered": "told to keep it"},
    "ablation": {
        "mllm": "the recipe: MLLM, MoFE, soft routing, relational loss",
        "no_guidance": "no guidance",
        "guidance_of_another_image": "guidance of another image",
        "oracle": "the true parameters as guidance",
        "no_relational_loss": "no relational loss",
        "no_mofe": "plain blocks of the same cost in place of MoFE",
        "top_1_routing": "one expert per window",
    },
}
"""Plain names of rows and columns by result; others keep theirs."""

SECTIONS = {
    "composites": """## Generated composites
`mofe evaluate composites`: the eleven combinations of CDD-11 in the published ranges and their mean, low light without
noise, and clean images. "Worst out" is the PSNR of the image that came out worst; identical images have 100 dB.
""",
    "saved": """## Generated composites, saved as JPEG
`mofe evaluate composites --saved 90`: the same images after a JPEG of quality 90, as photographs of cameras and of the
web are.
""",
    "denoising": """## Gaussian noise
`mofe evaluate denoising`: color images; the noisy image is clipped and rounded to 8 bits as a file would be, which is a
little harder than the unclipped noise of most published results.
""",
    "pairs": """## Pairs of published sets
`mofe evaluate pairs`: degraded and clean images. The mean counts every set the same.
""",
    "cdd11": """## CDD-11
`mofe evaluate cdd11`: the published test set, measured as its authors do ([protocols.md](protocols.md)).
""",
    "three_tasks": """## Three tasks
`mofe evaluate three-tasks`: haze, rain and noise, measured as PromptIR does ([protocols.md](protocols.md)).
""",
    "five_tasks": """## Five tasks
`mofe evaluate five-tasks`: haze, rain, noise, blur and low light, measured as AdaIR does
([protocols.md](protocols.md)).
""",
    "live1": """## LIVE1
`mofe evaluate live1`: JPEG in RGB and in grey (Y), measured as FBCNN does ([protocols.md](protocols.md)).
""",
    "jpeg": """## JPEG
`mofe evaluate jpeg`: compressed once; compressed at quality 75 before ("double"); and cropped after compression, so
that blocks do not start at multiples of 8 px ("off grid").
""",
    "blur": """## Blur
`mofe evaluate blur`: sigma of Gaussian blur, length of motion and radius of defocus in px, without noise and with noise
of sigma 2/255.
""",
    "real": """## Real photographs
`mofe evaluate real`: pairs, restored automatically and after the order to remove that kind alone ("ordered"); the share
of photographs of each label in which it is seen; and of good photographs the share that is called degraded by anything
but JPEG, the shares that come back below 38 dB and 28 dB, and the share of false alarms of each degradation.
""",
    "guidance": """## What guidance is worth
`mofe evaluate guidance`: PSNR with the image's own guidance, with that of another degraded image, and without guidance.
""",
    "steering": """## Steering
`mofe evaluate steering`: PSNR to the image that still has the degradation to be kept; of the input, of the full
restoration, and of the restoration that is told to keep it. Below, images with one degradation, in those of the images
where it is seen ("n"): what the order to remove it alone makes of it, against no order.
""",
    "ablation": """## Ablation
`mofe train ablation`: PSNR of the eleven combinations after equal training from random weights, on the same scenes for
all variants. These are not the shipped weights, and the network is that of run 12, before strengths could be set.
""",
    "language_model": """## The language model
`mofe evaluate descriptions` and `mofe evaluate answers`, on generated degradations. The rank correlation is Spearman's,
of the scores and the true strengths of the images that have the degradation. The yes/no accuracy is the mean share of
correct answers, about degradations that are there and about degradations that are not.
""",
    "parameters": """## Physical parameters
Of the images that have the degradation ("present") those in which it is seen ("estimated"): mean absolute errors of the
language model's estimates, and those of always guessing the median ("spread").
""",
    "relations": """## Relations
`mofe evaluate relations`: whether images that are degraded alike are seen and routed alike. A relation is the cosine of
two images' vectors minus the mean vector; the table gives the correlation over all pairs of images.
""",
    "align": """## Foreign models, aligned
`mofe evaluate align`: PSNR under the guidance of small foreign models, each through its adapter ([mllms.md](mllms.md)),
of the restorer's own model and without guidance. "Share" is the gain's share of the own model's, "other" the PSNR under
the same model's guidance of another image, F1 the mean over the degradations on images of the training mix. "The
shipped model" is the pair of networks that was shipped in run 15.
""",
}
"""Heading and introduction of each section of docs/results.md."""

PUBLISHED = ("cdd11", "three_tasks", "five_tasks", "live1")
"""The results on published sets."""

MEANS = (
    ("jpeg", MEAN, "JPEG of quality 10 to 40"),
    ("jpeg", f"{MEAN}, off grid", "JPEG of quality 10 to 40, cropped since"),
    ("blur", f"{MEAN}, no noise", "blur: Gaussian, motion and defocus"),
    ("blur", f"{MEAN}, weak noise", "the same blur with weak noise"),
)
"""Result, its row and the row's name in the README's table."""

WHOLE = ("real", "steering", *PUBLISHED)
"""The results of which all tables are shown."""


def summary(results: Results) -> str:
    """Return the README's table: input and output of the evaluations that compare them; empty without any.

    Below it, how many real photographs are seen for what they are, beside the F1 on generated degradations.
    """
    rows = list(_compared(results))
    head = ("what", COUNT, "PSNR in", "PSNR out", "SSIM in", "SSIM out")
    lines = _markdown(head, rows) if rows else []
    if "real" in results:
        lines += ["", *_seen(results)]
    return "\n".join(lines) + "\n" if lines else ""


def details(results: Results) -> str:
    """Return the sections of docs/results.md whose results are there."""
    tables = {name: _compact(with_plain_names(name, result).tables[0]) for name, result in results.items()}
    tables |= {name: _all_tables(with_plain_names(name, results[name])) for name in WHOLE if name in results}
    if "descriptions" in results:
        tables["language_model"] = _language_model(results)
        if len(results["descriptions"].tables) > 1:
            tables["parameters"] = _compact(results["descriptions"].tables[1])
    return "\n".join("\n".join([text, *tables[name]]) + "\n" for name, text in SECTIONS.items() if name in tables)


def field_sections() -> str:
    """Return the tables of docs/protocols.md: what others have published, with the sources."""
    sections, sources = [], list(sources_of_field())
    for board, about in boards().items():
        table = field_table(board)
        columns = [name for name in table.columns if name != COUNT]
        source_by_name = {method["name"]: method["source"] for method in about["methods"]}
        rows = (
            [name, *(format_number(row[each], table.columns[each]) for each in columns), source_by_name[name]]
            for name, row in table.rows.items()
        )
        lines = [f"### {about['title']}", "", *_markdown(("method", *columns, "source"), rows)]
        sections.append("\n".join(lines) + "\n")
    sections.append("\n".join(["### Sources", "", *(f"- {name}: {text}" for name, text in sources)]) + "\n")
    return "\n".join(sections)


def with_plain_names(name: str, result: Evaluation) -> Evaluation:
    """Return a result with the plain names of its rows and columns.

    Args:
        name: Of the result, such as "ablation".
        result: It.
    """
    names = PLAIN_NAMES.get(name, {})

    def renamed(values: Mapping[str, T]) -> dict[str, T]:
        return {names.get(key, key): value for key, value in values.items()}

    tables = (
        Table(table.name, renamed(table.columns), renamed({row: renamed(values) for row, values in table.rows.items()}))
        for table in result.tables
    )
    return Evaluation(result.title, tuple(tables))


def _compared(results: Results) -> Iterator[list[str]]:
    """Yield the cells of the README's rows; of the combinations the mean, and those of most and least gain."""
    if "composites" in results:
        rows = results["composites"].tables[0].rows
        kinds = {name: row for name, row in rows.items() if name not in (MEAN, QUIET_LOW, CLEAN)}
        most, least = (choose(kinds, key=lambda name: kinds[name]["gain"]) for choose in (max, min))
        yield _in_and_out("mean of the eleven combinations", rows[MEAN])
        yield _in_and_out(f"most gain: {most}", rows[most])
        yield _in_and_out(f"least gain: {least}", rows[least])
        if QUIET_LOW in rows:
            yield _in_and_out("low light without noise", rows[QUIET_LOW])
        if CLEAN in rows:
            clean = rows[CLEAN]
            worst = f", {clean[WORST]:.2f} at worst" if WORST in clean else ""
            psnr, ssim = f"{clean['PSNR out']:.2f}{worst}", f"{clean['SSIM out']:.3f}"
            yield ["clean photograph", f"{clean[COUNT]:.0f}", "", psnr, "", ssim]
    if "saved" in results:
        rows = results["saved"].tables[0].rows
        yield _in_and_out("the eleven combinations, saved as JPEG", rows[MEAN])
        yield _in_and_out("low light, saved as JPEG", rows["low"])
    for name, kind, what in MEANS:
        if name in results and kind in results[name].tables[0].rows:
            yield _in_and_out(what, results[name].tables[0].rows[kind])
    for name, what in (
        ("denoising", "Gaussian noise, {}"),
        ("real", "real photographs: {}"),
        ("pairs", "published pairs: {}"),
    ):
        if name in results:
            rows = results[name].tables[0].rows
            yield from (_in_and_out(what.format(kind), row) for kind, row in rows.items() if kind != MEAN)


def _seen(results: Results) -> list[str]:
    """Return sentences, in lines: how many real photographs are seen, and how many good ones accused."""
    found = results["real"]
    labels = next((table.rows for table in found.tables if "recall" in table.columns), {})
    seen = [
        f"{DISPLAY_NAMES.get(name, name)} {row['recall']:.2f} (n = {row[COUNT]:.0f})" for name, row in labels.items()
    ]
    sentences = (
        [f"Share of other real photographs in which their degradation is seen: {', '.join(seen)}."] if seen else []
    )
    good = next((table.rows for table in found.tables if "called degraded" in table.columns), {})
    sentences += [
        f"Of {row[COUNT]:.0f} good photographs of hard kinds {100 * row['called degraded']:.0f} % are called degraded."
        for row in good.values()
    ]
    if "descriptions" in results:
        sentences.append(f"The F1 on generated degradations is {results['descriptions'].value(MEAN, 'F1'):.2f}.")
    return textwrap.wrap(" ".join(sentences), 120)


def _in_and_out(name: str, row: Row) -> list[str]:
    psnr = [f"{row['PSNR in']:.2f}", f"**{row['PSNR out']:.2f}**"]
    return [name, f"{row[COUNT]:.0f}", *psnr, f"{row['SSIM in']:.3f}", f"{row['SSIM out']:.3f}"]


def _language_model(results: Results) -> list[str]:
    """Return a table of the descriptions, with the answers beside them where there are any."""
    answers = results["answers"].tables[0].rows if "answers" in results else {}
    rows = (
        [
            DISPLAY_NAMES.get(name, name),
            f"{row[COUNT]:.0f}",
            f"{row['F1']:.2f}",
            f"{row['rank']:.2f}",
            f"{100 * answers[name]['right']:.0f} %" if name in answers else "",
        ]
        for name, row in results["descriptions"].tables[0].rows.items()
    )
    return _markdown(("degradation", COUNT, "F1", "rank correlation", "yes/no accuracy"), rows)


def _all_tables(result: Evaluation) -> list[str]:
    """Return the lines of all tables that have rows, with an empty line between two."""
    tables = [_compact(table) for table in result.tables if table.rows]
    return [line for table in tables for line in ("", *table)][1:]


def _compact(table: Table) -> list[str]:
    """Return the lines of a table in Markdown without padding; gains have a sign."""
    rows = (
        [name, *(_cell(column, row[column], digits) for column, digits in table.columns.items())]
        for name, row in table.rows.items()
    )
    return _markdown((table.name, *table.columns), rows)


def _cell(column: str, value: float, digits: int) -> str:
    text = format_number(value, digits)
    return f"+{text}" if column == "gain" and value > 0 else text


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table; the first column is text, the others are numbers."""
    lines = ["|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|" for cells in (head, *rows)]
    return [lines[0], "|---|" + "---:|" * (len(head) - 1), *lines[1:]]

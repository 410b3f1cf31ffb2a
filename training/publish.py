"""Takes finished runs into the pack: weights with their cards, logs, curves and checksums.

    python -m mofe_restore.training.publish --mllm runs/mllm --restorer runs/restorer --results results/*.json

Results are the files that `mofe evaluate ... --json` writes; they go into the card of the restorer and into the
readable cards. The MLLM's files are copied as they are: its identity is their digest, which the restorer knows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..model.files import written_whole
from ..model.mllm_folder import HEAD_FILE, identity_of
from ..model.weights import SHIPPED_MLLM, Card, read_card, read_weights, write_weights
from .folders import replace_folder, settle, staging
from .tables import Evaluation

CHECKSUMS = "SHA256SUMS"


def publish(mllm: Path | None, restorer: Path | None, results: Mapping[str, Any], weights: Path) -> None:
    """Copy what the run folders hold into `weights`.

    Args:
        mllm: run folder of `mofe train mllm`, or None to leave the shipped one.
        restorer: run folder of `mofe train restorer`, or None.
        results: measured results by name, as `mofe evaluate` wrote them.
        weights: the pack's weights folder.

    Raises:
        ValueError: the restorer was trained with another MLLM than the one that lies beside it, or a result is none.
    """
    for name, value in results.items():
        try:
            Evaluation.from_dict(value)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{name} is no result of mofe evaluate: leave it out of --results.") from error
    folder = weights / SHIPPED_MLLM.name
    source = folder if mllm is None else mllm / "export" / "mllm"
    settle(source)
    if restorer is not None:
        state, card = read_weights(restorer / "export" / "restorer.safetensors", "restorer")
        if card.mllm_identity != identity_of(source):
            raise ValueError(
                f"The restorer in {restorer} was trained with the MLLM {card.mllm_identity} but {source} holds "
                f"{identity_of(source)}: publish the MLLM it was trained with."
            )
    if mllm is not None:
        replace_folder(shutil.copytree(source, staging(folder)), folder)
        _copy_history(mllm, folder, "training")
        _write(folder / "README.md", readable_card(read_card(folder / HEAD_FILE), _about(results, "descriptions")))
    if restorer is not None:
        measured = {name: value for name, value in results.items() if name != "descriptions"}
        card = replace(card, metrics={**card.metrics, **measured})
        write_weights(weights / "restorer.safetensors", state, card, torch.bfloat16)
        _copy_history(restorer, weights, "restorer")
        _write(weights / "restorer.md", readable_card(card, measured))
    _write(weights / CHECKSUMS, checksums(weights))


def readable_card(card: Card, results: Mapping[str, Any]) -> str:
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
    for name, value in results.items():
        lines += [f"## Measured: {name}", Evaluation.from_dict(value).to_markdown()]
    return "\n".join(lines)


def checksums(weights: Path) -> str:
    """One line per weight file and model setting, in the form of `sha256sum`; `install.py` checks them."""
    paths = [weights / "restorer.safetensors", *sorted((weights / SHIPPED_MLLM.name).iterdir())]
    kept = (path for path in paths if path.is_file() and path.suffix in (".safetensors", ".json", ".jinja"))
    digests = ((hashlib.sha256(path.read_bytes()).hexdigest(), path.relative_to(weights)) for path in kept)
    return "".join(f"{digest}  {path.as_posix()}\n" for digest, path in digests)


def _list(name: str, values: Mapping[str, Any]) -> list[str]:
    """A table of settings as a list, one line for each table inside it."""
    inner = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    plain = {key: value for key, value in values.items() if key not in inner}
    return [
        f"- {name}: `{json.dumps(plain)}`",
        *(line for key, value in inner.items() for line in _list(f"{name}.{key}", value)),
    ]


def _about(results: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {name: results[name]} if name in results else {}


def _copy_history(run: Path, folder: Path, prefix: str) -> None:
    for name in ("log.csv", "curve.png"):
        shutil.copyfile(run / name, folder / f"{prefix}_{name}")


def _write(path: Path, text: str) -> None:
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--mllm", type=Path, metavar="RUN")
    parser.add_argument("--restorer", type=Path, metavar="RUN")
    parser.add_argument("--results", type=Path, nargs="*", default=[], metavar="JSON")
    parser.add_argument("--weights", type=Path, default=SHIPPED_MLLM.parent, metavar="FOLDER")
    parsed = parser.parse_args(arguments)
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in parsed.results}
    publish(parsed.mllm, parsed.restorer, results, parsed.weights)


if __name__ == "__main__":
    main()

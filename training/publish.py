"""Takes finished runs into the pack: weights with their cards, logs, curves and checksums.

    python -m mofe_restore.training.publish --mllm runs/mllm --restorer runs/restorer --results results/*.json

Results are the files that `mofe evaluate ... --json` writes; they go into weights/results and the card of the restorer,
and everything that is made from them is made anew (`report.py`). The MLLM's files are copied as they are: its identity
is their digest, which the restorer knows.
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

from ..model.mllm_folder import identity_of
from ..model.weights import SHIPPED_MLLM, SHIPPED_RESTORER, read_weights, write_weights
from .folders import replace_folder, settle, staging
from .report import ABOUT_MLLM, MLLM_LOG, RESTORER_LOG, RESULTS, regenerate, write_text
from .tables import Evaluation

CHECKSUMS = "SHA256SUMS"


def publish(
    mllm: Path | None, restorer: Path | None, results: Mapping[str, Any], weights: Path, readme: Path | None = None
) -> None:
    """Copy what the run folders hold into `weights`.

    Args:
        mllm: run folder of `mofe train mllm`, or None to leave the shipped one.
        restorer: run folder of `mofe train restorer`, or None.
        results: measured results by name, as `mofe evaluate` wrote them; they take the place of all earlier ones, and
            when there are none, these stay.
        weights: the pack's weights folder.
        readme: whose table of results is written anew.

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
    path = weights / SHIPPED_RESTORER.name if restorer is None else restorer / "export" / "restorer.safetensors"
    if restorer is not None or path.exists():
        state, card = read_weights(path, "restorer")
        if card.mllm_identity != identity_of(source):
            raise ValueError(
                f"The restorer in {path.parent} was trained with the MLLM {card.mllm_identity} but {source} holds "
                f"{identity_of(source)}: publish the two that belong together."
            )
    if mllm is not None:
        replace_folder(shutil.copytree(source, staging(folder)), folder)
        shutil.copyfile(mllm / "log.csv", folder / MLLM_LOG)
    if restorer is not None:
        measured = {name: value for name, value in results.items() if name not in ABOUT_MLLM}
        card = replace(card, metrics={**card.metrics, **measured})
        write_weights(weights / "restorer.safetensors", state, card, torch.bfloat16)
        shutil.copyfile(restorer / "log.csv", weights / RESTORER_LOG)
    if results:
        folder = weights / RESULTS
        fresh = staging(folder)
        fresh.mkdir(parents=True)
        for name, value in results.items():
            write_text(fresh / f"{name}.json", json.dumps(value, indent=1) + "\n")
        replace_folder(fresh, folder)
    regenerate(weights, readme)
    write_text(weights / CHECKSUMS, checksums(weights))


def checksums(weights: Path) -> str:
    """One line per weight file and model setting, in the form of `sha256sum`; `install.py` checks them."""
    paths = [weights / "restorer.safetensors", *sorted((weights / SHIPPED_MLLM.name).iterdir())]
    kept = (path for path in paths if path.is_file() and path.suffix in (".safetensors", ".json", ".jinja"))
    digests = ((hashlib.sha256(path.read_bytes()).hexdigest(), path.relative_to(weights)) for path in kept)
    return "".join(f"{digest}  {path.as_posix()}\n" for digest, path in digests)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--mllm", type=Path, metavar="RUN")
    parser.add_argument("--restorer", type=Path, metavar="RUN")
    parser.add_argument("--results", type=Path, nargs="*", default=[], metavar="JSON")
    parser.add_argument("--weights", type=Path, default=SHIPPED_MLLM.parent, metavar="FOLDER")
    parser.add_argument("--readme", type=Path, default=SHIPPED_MLLM.parents[1] / "README.md", metavar="FILE")
    parsed = parser.parse_args(arguments)
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in parsed.results}
    publish(parsed.mllm, parsed.restorer, results, parsed.weights, parsed.readme)


if __name__ == "__main__":
    main()

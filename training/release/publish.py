"""Takes finished runs into the pack: weights with their cards, logs, curves and checksums.

    python -m mofe_restore.training.release.publish --mllm runs/mllm --restorer runs/restorer --results results/*.json

Results are the files that `mofe evaluate ... --json` writes; they go into docs/results and onto the restorer's card,
and all that is made from them is rewritten (`report`). The MLLM's files are copied as they are: its identity, which
the restorer's card names, is their digest.
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

from ...model.atomic import recover_folder, replace_folder, staging_folder, write_text
from ...model.mllm.loading import identity_of
from ...model.weights import SHIPPED_MLLM, read_card, read_weights, write_weights
from ..evaluation.results import Evaluation
from .report import (
    ABOUT_FOREIGN,
    ABOUT_MLLM,
    LOG_FILE,
    RESTORER,
    check_marks,
    read_results,
    regenerate,
    results_folder_of,
)

CHECKSUMS = "SHA256SUMS"


def publish(
    mllm: Path | None,
    restorer: Path | None,
    results: Mapping[str, Any],
    weights: Path,
    results_folder: Path | None = None,
    readme: Path | None = None,
    page: Path | None = None,
) -> None:
    """Copy what the folders of runs hold into `weights`.

    Args:
        mllm: Folder of a run of `mofe train mllm`; None keeps the shipped one.
        restorer: Folder of a run of `mofe train restorer`; None keeps the shipped one.
        results: Results by name, as `mofe evaluate` wrote them; they replace all earlier ones. Without any, those stay.
        weights: The pack's folder of weights.
        results_folder: The pack's folder of results; None means docs/results beside `weights`.
        readme: Page whose table of results is rewritten; None rewrites none.
        page: Page whose other tables are rewritten; None rewrites none.

    Raises:
        ValueError: The restorer was trained with another MLLM than the one beside it, a result is not one of
            `mofe evaluate`, or a page has no place for its tables. Nothing is written then.
    """
    _check_results(results)
    check_marks(readme, page)
    folder = results_folder_of(weights) if results_folder is None else results_folder
    shipped_mllm, shipped_restorer = weights / SHIPPED_MLLM.name, weights / RESTORER
    for each in (shipped_mllm, shipped_restorer.parent, folder):
        recover_folder(each)
    new_mllm = shipped_mllm if mllm is None else mllm / "export" / "mllm"
    new_restorer = shipped_restorer if restorer is None else restorer / "export" / "restorer.safetensors"
    recover_folder(new_mllm)
    if restorer is not None or new_restorer.exists():
        _check_identity(new_restorer, new_mllm)
    if mllm is not None:
        fresh = shutil.copytree(new_mllm, staging_folder(shipped_mllm))
        shutil.copyfile(mllm / "log.csv", fresh / LOG_FILE)
        replace_folder(fresh, shipped_mllm)
    if restorer is not None:
        state, card = read_weights(new_restorer, "restorer")
        measured = {name: value for name, value in results.items() if name not in (*ABOUT_MLLM, *ABOUT_FOREIGN)}
        fresh = staging_folder(shipped_restorer.parent)
        write_weights(fresh / RESTORER.name, state, replace(card, metrics={**card.metrics, **measured}))
        shutil.copyfile(restorer / "log.csv", fresh / LOG_FILE)
        replace_folder(fresh, shipped_restorer.parent)
    if results:
        fresh = staging_folder(folder)
        fresh.mkdir(parents=True)
        replaced = read_results(folder)
        for path in folder.glob("*.*"):  # what `mofe bench` measured stays
            if path.stem not in replaced:
                shutil.copyfile(path, fresh / path.name)
        for name, value in results.items():
            write_text(fresh / f"{name}.json", json.dumps(value, indent=1) + "\n")
        replace_folder(fresh, folder)
    regenerate(weights, folder, readme, page)
    write_text(weights / CHECKSUMS, checksums(weights))


def checksums(weights: Path) -> str:
    """Return a line per weight file and setting of a model, in the form of `sha256sum`; `install.py` checks them."""
    paths = [weights / RESTORER, *sorted((weights / SHIPPED_MLLM.name).iterdir())]
    kept = (path for path in paths if path.is_file() and path.suffix in (".safetensors", ".json", ".jinja"))
    digests = ((hashlib.sha256(path.read_bytes()).hexdigest(), path.relative_to(weights)) for path in kept)
    return "".join(f"{digest}  {path.as_posix()}\n" for digest, path in digests)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    root = SHIPPED_MLLM.parents[1]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--mllm", type=Path, metavar="RUN", help="run folder of an MLLM")
    parser.add_argument("--restorer", type=Path, metavar="RUN", help="run folder of a restorer")
    parser.add_argument("--results", type=Path, nargs="*", default=[], metavar="JSON", help="what was measured")
    parser.add_argument("--weights", type=Path, default=SHIPPED_MLLM.parent, metavar="FOLDER")
    parser.add_argument(
        "--results-folder", type=Path, metavar="FOLDER", help="docs/results beside the weights if absent"
    )
    parser.add_argument("--readme", type=Path, default=root / "README.md", metavar="FILE")
    parser.add_argument("--page", type=Path, default=root / "docs" / "results.md", metavar="FILE")
    parsed = parser.parse_args(arguments)
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in parsed.results}
    publish(parsed.mllm, parsed.restorer, results, parsed.weights, parsed.results_folder, parsed.readme, parsed.page)


def _check_results(results: Mapping[str, Any]) -> None:
    for name, value in results.items():
        try:
            Evaluation.from_dict(value)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{name} is no result of mofe evaluate: leave it out of --results.") from error


def _check_identity(restorer: Path, mllm: Path) -> None:
    trained_with, identity = read_card(restorer, "restorer").mllm_identity, identity_of(mllm)
    if trained_with != identity:
        raise ValueError(
            f"The restorer in {restorer.parent} was trained with the MLLM {trained_with} but {mllm} holds {identity}: "
            "publish the two that belong together."
        )


if __name__ == "__main__":
    main()

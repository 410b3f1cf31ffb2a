r"""Binds a restorer to another MLLM without training: one that was trained from its own, or blended with it.

    python -m mofe_restore.training.release.rebind weights/restorer/model.safetensors --mllm runs/blend/export/mllm \
        -o runs/rebound/export/restorer.safetensors

A restorer understands the guidance of such an MLLM (docs/experiments.md), but of no other. Nothing here tells the two
apart: measure with `mofe evaluate --restorer ... --mllm ...`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...model.atomic import recover_folder
from ...model.mllm.loading import HEAD_FILE, identity_of
from ...model.weights import read_card, read_weights, write_weights


def rebind(restorer: Path, mllm: Path, output: Path) -> None:
    """Write the weights of a restorer with a card that names another MLLM.

    The card keeps the identity of the MLLM of the training, and loses its results, which were measured with that one.

    Args:
        restorer: Weight file of the restorer.
        mllm: Folder of the MLLM.
        output: Weight file to write.

    Raises:
        ValueError: The MLLM's embeddings have another width than those that the restorer takes.
    """
    recover_folder(mllm)
    state, card = read_weights(restorer, "restorer")
    taken, given = card.architecture["guidance_width"], read_card(mllm / HEAD_FILE).architecture["width"]
    if taken != given:
        raise ValueError(
            f"{restorer} takes embeddings of width {taken}, {mllm} gives {given}: train a restorer for it."
        )
    made = {"trained_with": card.mllm_identity, **card.training}
    kept = next(tensor.dtype for tensor in state.values() if tensor.is_floating_point())
    write_weights(output, state, replace(card, mllm_identity=identity_of(mllm), training=made, metrics={}), kept)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("restorer", type=Path, metavar="FILE")
    parser.add_argument("--mllm", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parsed = parser.parse_args(arguments)
    rebind(parsed.restorer, parsed.mllm, parsed.output)


if __name__ == "__main__":
    main()

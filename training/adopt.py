"""Gives a restorer another MLLM without training it anew: one that was trained on from its own, or blended with it.

    python -m mofe_restore.training.adopt weights/restorer.safetensors --mllm runs/blend/export/mllm \\
        -o runs/restorer/export/restorer.safetensors

What a restorer has learned to read of its MLLM it can read of such a one, too (RESULTS.md, the tenth sitting), of any
other it cannot. Nothing here tells the two apart: measure with `mofe evaluate --restorer ... --mllm ...`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..model.mllm_folder import HEAD_FILE, identity_of
from ..model.weights import read_card, read_weights, write_weights
from .folders import settle


def adopt(restorer: Path, mllm: Path, output: Path) -> None:
    """Writes the weights of `restorer` to `output`, with a card that names the MLLM in the folder `mllm`.

    The card keeps the identity of the MLLM of the training, and loses its results: they were measured with that one.

    Raises:
        ValueError: the MLLM's embeddings have another width than those that the restorer takes.
    """
    settle(mllm)
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
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("restorer", type=Path, metavar="FILE")
    parser.add_argument("--mllm", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parsed = parser.parse_args(arguments)
    adopt(parsed.restorer, parsed.mllm, parsed.output)


if __name__ == "__main__":
    main()

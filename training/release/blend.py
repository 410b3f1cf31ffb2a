r"""Blends two trained MLLMs or restorers of one kind: the mean of their weights (WiSE-FT, arXiv 2109.01903).

    python -m mofe_restore.training.release.blend weights/mllm runs/mllm/export/mllm \
        --share 0.35 -o runs/blend/export/mllm
    python -m mofe_restore.training.release.blend weights/restorer/model.safetensors \
        runs/restorer/export/restorer.safetensors --share 0.5 -o runs/blend/export/restorer.safetensors

A short fine-tuning on new kinds of images loses some of what the model knew about the old ones; a blend keeps most of
both.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from ...model.atomic import recover_folder, replace_folder, staging_folder
from ...model.mllm.loading import DIRECTION_POOLED, DIRECTION_TOKENS, HEAD_FILE, identity_of
from ...model.weights import read_weights, write_tensors, write_weights
from ..mllm.export import MODEL_FILE


def blend(first: Path, second: Path, share: float, output: Path) -> None:
    """Blend two MLLMs: (1 - share) times the weights of `first` plus `share` times those of `second`.

    Tokenizer, settings and card are those of `second`; the card says what was blended, and nothing of what was measured
    on `second` alone. Directions of the embedding are left out: `mofe train head` measures those of the blend.

    Args:
        first: Folder of an MLLM.
        second: Folder of another one, with the same tokenizer and tensors.
        share: Of the second, 0..1.
        output: Folder to write.

    Raises:
        ValueError: `share` lies outside 0..1, or the models differ in their tensors or their tokenizers.
    """
    _check_share(share)
    for folder in (first, second):
        recover_folder(folder)
    if (first / "tokenizer.json").read_bytes() != (second / "tokenizer.json").read_bytes():
        raise ValueError(
            f"{first} and {second} have different tokenizers: blend models of which one was trained from the other."
        )
    model = _mean(load_file(first / MODEL_FILE), load_file(second / MODEL_FILE), share)
    old, _ = read_weights(first / HEAD_FILE, "mllm_head")
    new, card = read_weights(second / HEAD_FILE, "mllm_head")
    for state in (old, new):
        for name in (DIRECTION_TOKENS, DIRECTION_POOLED):
            state.pop(name, None)
    head = _mean(old, new, share)
    output.parent.mkdir(parents=True, exist_ok=True)
    fresh = shutil.copytree(second, staging_folder(output))
    write_tensors(fresh / MODEL_FILE, model, {"format": "pt"})
    made = {**card.training, "blend": {"first": identity_of(first), "second": card.mllm_identity, "share": share}}
    write_weights(fresh / HEAD_FILE, head, replace(card, training=made, metrics={}, mllm_identity=identity_of(fresh)))
    replace_folder(fresh, output)


def blend_restorers(first: Path, second: Path, share: float, output: Path, *, other_mllm: bool = False) -> None:
    """Blend two restorers in the same way, with the card of `second`.

    Args:
        first: Weight file of a restorer.
        second: Weight file of another one with the same tensors.
        share: Of the second, 0..1.
        output: Weight file to write.
        other_mllm: Whether `first` may have been trained with another MLLM. A blend still understands the guidance of
            the second one's MLLM if that was trained from the first one's; measure it (docs/experiments.md).

    Raises:
        ValueError: `share` lies outside 0..1, or the restorers differ in their tensors, or in their MLLMs without
            `other_mllm`.
    """
    _check_share(share)
    (old, old_card), (new, card) = read_weights(first, "restorer"), read_weights(second, "restorer")
    if old_card.mllm_identity != card.mllm_identity and not other_mllm:
        raise ValueError(
            f"{first} and {second} were trained with different MLLMs: blend those of one MLLM, or give --other-mllm if "
            "one MLLM was trained from the other."
        )
    made = {**card.training, "blend": {"first": old_card.training, "share": share}}
    write_weights(output, _mean(old, new, share), replace(card, training=made, metrics={}))


def _check_share(share: float) -> None:
    if not 0 <= share <= 1:
        raise ValueError(f"The share of the second model must lie between 0 and 1, not {share}.")


def _mean(first: dict[str, Tensor], second: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    shapes, others = ({name: tensor.shape for name, tensor in each.items()} for each in (first, second))
    if shapes != others:
        raise ValueError("The two models have different tensors: blend models of which one was trained from the other.")
    return {
        name: ((1 - share) * first[name].float() + share * tensor.float()).to(tensor.dtype)
        for name, tensor in second.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("first", type=Path, metavar="MODEL", help="folder of an MLLM, or weight file of a restorer")
    parser.add_argument("second", type=Path, metavar="MODEL")
    parser.add_argument("--share", type=float, required=True, metavar="S", help="of the second, 0 to 1")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL")
    parser.add_argument("--other-mllm", action="store_true", help="the restorers' MLLMs may differ")
    parsed = parser.parse_args(arguments)
    if parsed.first.is_file():
        blend_restorers(parsed.first, parsed.second, parsed.share, parsed.output, other_mllm=parsed.other_mllm)
    else:
        blend(parsed.first, parsed.second, parsed.share, parsed.output)


if __name__ == "__main__":
    main()

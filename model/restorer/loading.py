"""Opening a restorer's weight file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import WeightFileError
from ..weights import SHIPPED_RESTORER, Card, read_weights
from ..whole_image import STATISTICS
from .config import RestorerConfig
from .network import Restorer


def load_restorer(path: str | Path = SHIPPED_RESTORER) -> tuple[Restorer, Card]:
    """Open a weight file: the network, fp32 on the CPU in evaluation mode, and its card.

    Example:
        >>> network, card = load_restorer()  # the shipped one
        >>> card.kind
        'restorer'

    Args:
        path: A .safetensors file written by this package.

    Raises:
        WeightFileError: The file is missing, damaged, of another kind, or its tensors do not fit its architecture.
    """
    state, card = read_weights(path, "restorer")
    try:
        config = RestorerConfig.from_dict(card.architecture)
        _check_size(config, state)
        network = Restorer.from_config(config)
    except (ValueError, TypeError) as error:
        raise WeightFileError(
            f"{path} describes an architecture this version cannot build ({error}): "
            "update the pack or put the original file back."
        ) from error
    expected = network.state_dict()
    missing = sorted(expected.keys() - state.keys())
    foreign = sorted(state.keys() - expected.keys())
    misshaped = sorted(name for name in expected.keys() & state.keys() if expected[name].shape != state[name].shape)
    for names, what in ((missing, "lacks"), (foreign, "has unknown"), (misshaped, "has wrongly sized")):
        if names:
            raise WeightFileError(
                f"{path} {what} tensors ({names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}), "
                "so it does not fit the architecture on its card: put the original file back."
            )
    broken = sorted(name for name, tensor in state.items() if not bool(torch.isfinite(tensor.float()).all()))
    if broken:
        raise WeightFileError(f"{path} holds values that are not finite ({broken[0]}): put the original file back.")
    network.load_state_dict(state)
    network.mllm_identity = card.mllm_identity
    return network.eval(), card


def _check_size(config: RestorerConfig, state: Mapping[str, Tensor]) -> None:
    """Check before a network is built that its file can hold it: a card is only text, and may ask for any memory.

    Raises:
        ValueError: The architecture has more layers than the file has tensors, or layers larger than all of them.
    """
    layers = sum(config.encoder_blocks) + sum(config.decoder_blocks) + config.global_blocks + config.extra_tone_blocks
    layers += sum(config.camera_encoder_blocks) + sum(config.camera_decoder_blocks)
    layers += sum(config.camera_jpeg_encoder_blocks) + sum(config.camera_jpeg_decoder_blocks)
    values = sum(tensor.numel() for tensor in state.values())
    vector = config.vector_width
    smallest = (
        sum(width * max(width, vector) for width in (*config.widths, *config.global_widths))
        + config.guidance_width * vector
        + config.experts * vector
        + sum(width * width for width in config.camera_widths)
        + config.camera_estimator_width**2
        + config.tone_statistics_width * STATISTICS
    )
    if layers > len(state) or smallest > values:
        raise ValueError("it is larger than the tensors in the file")

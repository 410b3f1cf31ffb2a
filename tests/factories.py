"""The one tiny restorer, MLLM and guidance of all tests, and shortcuts that only tests need."""

from __future__ import annotations

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mofe_restore.model.guidance import Guidance
from mofe_restore.model.inference.out_of_memory import is_out_of_memory
from mofe_restore.model.inference.plan import plan_restoration
from mofe_restore.model.inference.tiled import Restoration
from mofe_restore.model.mllm.instructions import read_order
from mofe_restore.model.restorer.config import RestorerConfig
from mofe_restore.model.restorer.network import Restorer
from mofe_restore.model.vocabulary import DEGRADATIONS, PARAMETERS
from mofe_restore.model.weights import Card, write_weights

WIDTH = 16
"""Width of the guidance."""

MLLM_WIDTH = 64
"""Width of the embeddings of `write_mllm_folder`."""

IDENTITY = "mllm-a"
"""The MLLM that made the guidance, and for which the restorer was trained."""


def restorer_config(guidance_width: int = WIDTH) -> RestorerConfig:
    """The sizes of the tiny restorer."""
    return RestorerConfig(
        guidance_width=guidance_width,
        widths=(8, 8, 16, 16),
        vector_width=16,
        head_width=8,
        thumbnail=32,
        global_widths=(8, 8, 8, 8),
        global_blocks=1,
    )


def make_restorer(
    guidance_width: int = WIDTH, *, with_camera: bool = False, with_estimator: bool = False, own_jpeg: bool = False
) -> Restorer:
    """Random weights everywhere, also where training would start from zero: a visible but moderate correction.

    The estimator finds a defocus of 3 px in everything.
    """
    torch.manual_seed(0)
    config = restorer_config(guidance_width)
    if with_camera:
        config = replace(
            config, camera_widths=(8, 8, 16), camera_encoder_blocks=(1, 1, 1), camera_decoder_blocks=(1, 1)
        )
    if with_estimator:
        config = replace(config, camera_estimator_width=8)
    if own_jpeg:
        config = replace(config, camera_jpeg_encoder_blocks=(1, 1, 1), camera_jpeg_decoder_blocks=(1, 1))
    network = Restorer(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        if network.camera is not None and network.camera.estimator is not None:
            answer = network.camera.estimator.answer
            answer.weight.zero_()
            answer.bias.copy_(torch.tensor([0.0, 0.0, 5.0, 0.0, *[math.log(1.5)] * 3, 1.0, 0.0]))
    return network


def make_card(guidance_width: int = WIDTH, identity: str = IDENTITY) -> Card:
    """The card of the tiny restorer."""
    return Card(
        kind="restorer",
        name="tiny",
        version="1.0",
        architecture=restorer_config(guidance_width).to_dict(),
        training={"steps": 0},
        metrics={},
        data="none",
        limits="a test",
        licence="Apache-2.0",
        mllm_identity=identity,
    )


def write_restorer(path: Path, guidance_width: int = WIDTH, identity: str = IDENTITY) -> Path:
    """A weight file of the tiny restorer."""
    write_weights(path, make_restorer(guidance_width).state_dict(), make_card(guidance_width, identity), torch.float32)
    return path


def make_guidance(
    images: int = 1, tokens: int = 5, width: int = WIDTH, identity: str = IDENTITY, seed: int = 0
) -> Guidance:
    """Random guidance."""
    generator = torch.Generator().manual_seed(seed)
    return Guidance(
        tokens=torch.randn(images, tokens, width, generator=generator),
        pooled=torch.randn(images, width, generator=generator),
        scores=torch.rand(images, len(DEGRADATIONS), generator=generator),
        parameters=torch.zeros(images, len(PARAMETERS)),
        descriptions=tuple(f"image {index} is hazy" for index in range(images)),
        mllm_identity=identity,
    )


def ordered_amounts(text: str) -> dict[str, float]:
    """How much of each degradation an order in words removes; empty where the text gives no order to follow."""
    order = read_order(text)
    return {} if order.rest is None else {name: order.amounts.get(name, order.rest) for name in DEGRADATIONS}


class FakeMllm:
    """Stands in for the language model: guidance of the right form, at once."""

    identity = IDENTITY
    looks_twice = False

    def describe(self, images: Tensor, *, with_text: bool = True, **_: Any) -> Guidance:
        guidance = make_guidance(len(images), identity=self.identity)
        scores = torch.tensor([[0.9, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]]).repeat(len(images), 1)
        descriptions = ("Strong low light." if with_text else "",) * len(images)
        return Guidance(
            guidance.tokens, guidance.pooled, scores, guidance.parameters, descriptions, guidance.mllm_identity
        )


def restore(
    network: Restorer,
    image: Tensor,
    guidance: Guidance | None = None,
    *,
    into: Tensor | None = None,
    on_tile: Callable[[int, int], None] | None = None,
    is_oom: Callable[[BaseException], bool] = is_out_of_memory,
    **settings: Any,
) -> Restoration:
    """Plan and run in one call."""
    return plan_restoration(network, image, guidance, **settings).run(into=into, on_tile=on_tile, is_oom=is_oom)


def scored_guidance(scores: list[float], parameters: list[float] | None = None, mark: float = 0.0) -> Guidance:
    """Guidance of one image with these scores, whose pooled vector holds the mark."""
    values = parameters or [0.0] * len(PARAMETERS)
    pooled = torch.full((1, 2), mark)
    return Guidance(torch.zeros(1, 1, 2), pooled, torch.tensor([scores]), torch.tensor([values]), ("",), "test")


def write_photo(path: Path, seed: int, height: int = 48, width: int = 56, change: float = 0.0) -> Path:
    """A file with a smooth image that has some texture."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray((rng.random((6, 7, 3)) * 200 + 20).astype(np.uint8))
    values = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
    values = values + rng.normal(0, 4, values.shape) + 255 * change
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(path)
    return path


def write_mllm_folder(folder: Path, scratch: Path) -> Path:
    """A model folder of the shipped MLLM's architecture, tiny and with random weights, that looks twice."""
    from mofe_restore.model.mllm.head import DegradationHead
    from mofe_restore.model.mllm.loading import HEAD_FILE, SECOND_LOOK_FILE
    from mofe_restore.model.mllm.second_look import SecondLook
    from mofe_restore.model.mllm.wording import DESCRIBE
    from mofe_restore.training.mllm.architecture import MllmConfig, build_model, build_processor, build_tokenizer

    config = MllmConfig(vision_width=64, vision_layers=1, text_width=MLLM_WIDTH, text_layers=1, vocabulary=300)
    tokenizer = build_tokenizer([DESCRIBE, "Answer yes or no: is there haze?"] * 3, config.vocabulary)
    processor = build_processor(tokenizer, config, scratch)
    torch.manual_seed(0)
    build_model(config, tokenizer).save_pretrained(folder)
    processor.save_pretrained(folder)
    head = DegradationHead(config.text_width)
    architecture = {"width": MLLM_WIDTH, "parameters": list(PARAMETERS)}
    card = Card("mllm_head", "tiny", "0", architecture, {}, {}, "", "", "", "")
    write_weights(folder / HEAD_FILE, head.state_dict(), card, torch.float32)
    second = SecondLook(MLLM_WIDTH, 4).state_dict()
    card = Card("second_look", "tiny", "0", {"width": MLLM_WIDTH, "hidden": 4}, {}, {}, "", "", "", "")
    write_weights(folder / SECOND_LOOK_FILE, second, card, torch.float32)
    return folder


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """Let every file fail that is written beyond `size` bytes, as on a full disk; where this cannot be done, skip."""
    resource = pytest.importorskip("resource")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        signal.signal(signal.SIGXFSZ, handler)

"""The shipped MLLM's architecture: a small model of a stock transformers class (Idefics3), built from random weights.

Vision encoder with 16-pixel patches, a projector that turns each view into 4 tokens, a Llama language model, a
byte-level tokenizer learned from the sentences of `conversations.py`, and the stock processor.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import (
    AutoImageProcessor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    PreTrainedTokenizerFast,
)

from ...model.mllm.describer import DETAIL_KEY
from ...model.mllm.views import VIEW_SIDE

NAME = "mofe-mllm-small"
PAD, BEGIN, END, IMAGE = "<pad>", "<s>", "<end_of_utterance>", "<image>"
SPECIAL = (PAD, BEGIN, END, IMAGE, "<fake_token_around_image>", "<global-img>")

CHAT_TEMPLATE = (
    "{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %} {{ part['text'] }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


@dataclass(frozen=True)
class MllmConfig:
    """The `[model]` table of a run's TOML: widths in channels, layers, vocabulary size and patch side in px."""

    vision_width: int = 192
    vision_layers: int = 4
    text_width: int = 256
    text_layers: int = 4
    vocabulary: int = 1024
    patch: int = 16

    @property
    def scale_factor(self) -> int:
        """Patches a side that are merged into one token: each view becomes 2 x 2 tokens."""
        return int(VIEW_SIDE // self.patch // 2)


def build_tokenizer(sentences: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer that spells numbers digit by digit and can encode any text.

    Args:
        sentences: Text to learn from.
        vocabulary: Maximum number of tokens.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        sentences,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=list(SPECIAL),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BEGIN,
        eos_token=END,
        additional_special_tokens=[IMAGE, "<fake_token_around_image>", "<global-img>"],
        chat_template=CHAT_TEMPLATE,
    )


def build_processor(tokenizer: PreTrainedTokenizerFast, config: MllmConfig, scratch: Path) -> Idefics3Processor:
    """Build the stock processor for views of `VIEW_SIDE` px; `scratch` is a folder for temporary settings."""
    settings = {
        "image_processor_type": "Idefics3ImageProcessor",
        "do_image_splitting": False,
        "do_resize": True,
        "size": {"longest_edge": VIEW_SIDE},
        "max_image_size": {"longest_edge": VIEW_SIDE},
        "do_pad": True,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
    scratch.mkdir(parents=True, exist_ok=True)
    (scratch / "preprocessor_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
    image_processor = AutoImageProcessor.from_pretrained(scratch, local_files_only=True)
    tokens_per_view = (VIEW_SIDE // config.patch // config.scale_factor) ** 2
    return Idefics3Processor(image_processor, tokenizer, image_seq_len=tokens_per_view, chat_template=CHAT_TEMPLATE)


def pixel_values(views: Tensor) -> Tensor:
    """Scale views in 0..255 to -1..1, as the processor of `build_processor` does with views of this size."""
    return views.float() / 127.5 - 1


def build_model(config: MllmConfig, tokenizer: PreTrainedTokenizerFast) -> Idefics3ForConditionalGeneration:
    """Build the network with random weights; seed torch before."""
    ids: dict[str, Any] = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    build_config: Any = Idefics3Config  # takes further keys, which are kept in config.json
    model: Any = Idefics3ForConditionalGeneration(
        build_config(
            image_token_id=tokenizer.convert_tokens_to_ids(IMAGE),
            tie_word_embeddings=True,
            scale_factor=config.scale_factor,
            vision_config={
                "hidden_size": config.vision_width,
                "intermediate_size": 4 * config.vision_width,
                "num_hidden_layers": config.vision_layers,
                "num_attention_heads": config.vision_width // 64,
                "image_size": VIEW_SIDE,
                "patch_size": config.patch,
            },
            text_config={
                "model_type": "llama",
                "vocab_size": len(tokenizer),
                "hidden_size": config.text_width,
                "intermediate_size": 11 * config.text_width // 4,
                "num_hidden_layers": config.text_layers,
                "num_attention_heads": config.text_width // 64,
                "num_key_value_heads": config.text_width // 64,
                "max_position_embeddings": 1024,
                "tie_word_embeddings": True,
                **ids,
            },
            mofe_name=NAME,
            **{DETAIL_KEY: True},
            **ids,
        )
    )
    model.generation_config.update(**ids)
    _init_weights(model, config)
    assert isinstance(model, Idefics3ForConditionalGeneration)
    return model


def _init_weights(model: Any, config: MllmConfig) -> None:
    """Initialize the weights for a network this narrow.

    The stock deviation of 0.02 suits widths of thousands: here it makes every layer shrink its input threefold, and
    nothing is learned for hundreds of steps. So linear layers keep the variance of their input.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear) and module is not model.lm_head:
            nn.init.normal_(module.weight, std=module.in_features**-0.5)
    embeddings = model.model.vision_model.embeddings
    nn.init.normal_(embeddings.position_embedding.weight, std=0.02)
    embeddings.patch_embedding.weight.data.copy_(cosine_filters(config.vision_width, config.patch))
    embeddings.patch_embedding.bias.data.zero_()


@torch.inference_mode()
def calibrate_vision_encoder(model: Any, views: Tensor) -> None:
    """Scale the vision encoder's first and last layer to the statistics of images.

    Each filter of the patch embedding gets mean 0 and deviation 1 over the crops: photographs, and their detail, have
    far less energy at high frequencies than at low ones, which would hide noise and JPEG blocks. Then each channel of
    the last norm gets mean 0 and deviation 1 over all views: what all images share would outweigh their differences and
    slow down learning (our design).

    Args:
        model: The network.
        views: [B, V, 3, S, S] in 0..255, thumbnail first.
    """
    encoder = model.model.vision_model
    pixels = pixel_values(views)
    patches = encoder.embeddings.patch_embedding
    patches.weight /= _by_channel(patches(pixels[:, 1:].flatten(0, 1))).std(1)[:, None, None, None] + 1e-3
    patches.bias -= _by_channel(patches(pixels[:, 1:].flatten(0, 1))).mean(1)
    states = encoder(pixel_values=pixels.flatten(0, 1)).last_hidden_state.flatten(0, 1)
    spread = states.std(0) + 1e-6
    encoder.post_layernorm.weight.copy_(1 / spread)
    encoder.post_layernorm.bias.copy_(-states.mean(0) / spread)


def _by_channel(planes: Tensor) -> Tensor:
    return planes.transpose(0, 1).flatten(1)


def cosine_filters(filters: int, side: int) -> Tensor:
    """Return initial weights of the patch embedding: cosines of brightness and color.

    Returns:
        [filters, 3, side, side]; two thirds of the filters see brightness, the others two opponent colors. A third
        of each share are the lowest frequencies, the rest is drawn at random from all others.
    """
    place = (torch.arange(side) + 0.5) / side
    cosines = torch.cos(torch.pi * torch.arange(side)[:, None] * place) * (2 / side) ** 0.5
    cosines[0] /= 2**0.5
    radius = torch.hypot(*torch.meshgrid(torch.arange(side * 1.0), torch.arange(side * 1.0), indexing="ij"))
    shares = (filters - 2 * (filters // 6), filters // 6, filters // 6)
    colors = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-0.5, 1.0, -0.5]])
    generator = torch.Generator().manual_seed(0)
    weights = []
    for color, share in zip(colors, shares, strict=True):
        order = radius.flatten().argsort(stable=True)
        low, high = order[: share // 3], order[share // 3 :]
        chosen = torch.cat([low, high[torch.randperm(len(high), generator=generator)[: share - len(low)]]])
        for row, column in zip((chosen // side).tolist(), (chosen % side).tolist(), strict=True):
            plane = cosines[row][:, None] * cosines[column][None, :]
            weights.append(F.normalize(color, dim=0)[:, None, None] * plane)
    return torch.stack(weights)

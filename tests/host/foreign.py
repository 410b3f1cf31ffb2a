"""Models that the chained workflows need and that the pack does not bring: tiny ones with random weights.

They have the shapes by which ComfyUI recognizes the public models that the workflows name; what they make is no image
to look at.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

Weights = dict[str, Tensor]


def make_upscaler(path: Path) -> None:
    """An ESRGAN of one block and eight features that enlarges four times, in the naming of Real-ESRGAN."""
    torch.manual_seed(0)
    width, growth = 8, 32  # the growth is fixed
    weights: Weights = {}
    _convolution(weights, "conv_first", 3, width)
    for dense in (1, 2, 3):
        for number in range(1, 6):
            out = width if number == 5 else growth
            _convolution(weights, f"body.0.rdb{dense}.conv{number}", width + (number - 1) * growth, out)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        _convolution(weights, name, width, width)
    _convolution(weights, "conv_last", width, 3)
    _save(weights, path)


def make_checkpoint(path: Path) -> None:
    """A checkpoint that passes for Stable Diffusion 1.5: a U-Net of one level, its text encoder, and a tiny VAE."""
    torch.manual_seed(0)
    weights: Weights = {}
    _unet(weights, "model.diffusion_model.")
    _text_encoder(weights, "cond_stage_model.transformer.text_model.")
    _vae(weights, "first_stage_model.")
    _save(weights, path)


def _unet(weights: Weights, at: str) -> None:
    width, embedding = 320, 1280  # the width is one of the marks of Stable Diffusion 1.5
    _linear(weights, f"{at}time_embed.0", width, embedding)
    _linear(weights, f"{at}time_embed.2", embedding, embedding)
    _convolution(weights, f"{at}input_blocks.0.0", 4, width)
    for block, channels in (("input_blocks.1", width), ("output_blocks.0", 2 * width), ("output_blocks.1", 2 * width)):
        residual = f"{at}{block}.0"
        _norm(weights, f"{residual}.in_layers.0", channels)
        _convolution(weights, f"{residual}.in_layers.2", channels, width)
        _linear(weights, f"{residual}.emb_layers.1", embedding, width)
        _norm(weights, f"{residual}.out_layers.0", width)
        _convolution(weights, f"{residual}.out_layers.3", width, width)
        if channels != width:
            _convolution(weights, f"{residual}.skip_connection", channels, width, 1)
        _transformer(weights, f"{at}{block}.1", width)
    _norm(weights, f"{at}out.0", width)
    _convolution(weights, f"{at}out.2", width, 4)


def _transformer(weights: Weights, at: str, width: int, context: int = 768) -> None:
    _norm(weights, f"{at}.norm", width)
    _convolution(weights, f"{at}.proj_in", width, width, 1)
    _convolution(weights, f"{at}.proj_out", width, width, 1)
    block = f"{at}.transformer_blocks.0"
    for number, source in ((1, width), (2, context)):
        _linear(weights, f"{block}.attn{number}.to_q", width, width, bias=False)
        _linear(weights, f"{block}.attn{number}.to_k", source, width, bias=False)
        _linear(weights, f"{block}.attn{number}.to_v", source, width, bias=False)
        _linear(weights, f"{block}.attn{number}.to_out.0", width, width)
    for number in (1, 2, 3):
        _norm(weights, f"{block}.norm{number}", width)
    _linear(weights, f"{block}.ff.net.0.proj", width, 8 * width)
    _linear(weights, f"{block}.ff.net.2", 4 * width, width)


def _text_encoder(weights: Weights, at: str) -> None:
    """CLIP's text encoder in its usual size, which ComfyUI does not read from the weights; all zeros."""
    width, words, places = 768, 49408, 77
    weights[f"{at}embeddings.token_embedding.weight"] = torch.zeros(words, width, dtype=torch.float16)
    weights[f"{at}embeddings.position_embedding.weight"] = torch.zeros(places, width, dtype=torch.float16)
    for layer in range(12):
        name = f"{at}encoder.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            _zeros(weights, f"{name}.self_attn.{part}", width, width)
        _zeros(weights, f"{name}.mlp.fc1", width, 4 * width)
        _zeros(weights, f"{name}.mlp.fc2", 4 * width, width)
        _norm(weights, f"{name}.layer_norm1", width)
        _norm(weights, f"{name}.layer_norm2", width)
    _norm(weights, f"{at}final_layer_norm", width)


def _vae(weights: Weights, at: str, width: int = 64) -> None:
    """TAESD, the tiny VAE that ComfyUI knows; the places left out in its sequences are layers without weights."""
    _convolution(weights, f"{at}taesd_encoder.0", 3, width)
    for place in (1, 3, 4, 5, 7, 8, 9, 11, 12, 13):
        _vae_block(weights, f"{at}taesd_encoder.{place}", width)
    for place in (2, 6, 10):
        _convolution(weights, f"{at}taesd_encoder.{place}", width, width, bias=False)
    _convolution(weights, f"{at}taesd_encoder.14", width, 4)
    _convolution(weights, f"{at}taesd_decoder.1", 4, width)
    for place in (3, 4, 5, 8, 9, 10, 13, 14, 15, 18):
        _vae_block(weights, f"{at}taesd_decoder.{place}", width)
    for place in (7, 12, 17):
        _convolution(weights, f"{at}taesd_decoder.{place}", width, width, bias=False)
    _convolution(weights, f"{at}taesd_decoder.19", width, 3)
    weights[f"{at}vae_scale"] = torch.ones(1)
    weights[f"{at}vae_shift"] = torch.zeros(1)


def _vae_block(weights: Weights, at: str, width: int) -> None:
    for place in (0, 2, 4):
        _convolution(weights, f"{at}.conv.{place}", width, width)


def _convolution(weights: Weights, at: str, inputs: int, outputs: int, side: int = 3, *, bias: bool = True) -> None:
    weights[f"{at}.weight"] = torch.randn(outputs, inputs, side, side) / (inputs * side * side) ** 0.5
    if bias:
        weights[f"{at}.bias"] = torch.zeros(outputs)


def _linear(weights: Weights, at: str, inputs: int, outputs: int, *, bias: bool = True) -> None:
    weights[f"{at}.weight"] = torch.randn(outputs, inputs) / inputs**0.5
    if bias:
        weights[f"{at}.bias"] = torch.zeros(outputs)


def _zeros(weights: Weights, at: str, inputs: int, outputs: int) -> None:
    weights[f"{at}.weight"] = torch.zeros(outputs, inputs, dtype=torch.float16)
    weights[f"{at}.bias"] = torch.zeros(outputs, dtype=torch.float16)


def _norm(weights: Weights, at: str, width: int) -> None:
    weights[f"{at}.weight"] = torch.ones(width)
    weights[f"{at}.bias"] = torch.zeros(width)


def _save(weights: Weights, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: weight.half() for name, weight in weights.items()}, path)

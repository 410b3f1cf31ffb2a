"""Vision language models of ComfyUI's own classes, made tiny: a custom node for the tests, without nodes.

Their sizes are constants of ComfyUI, which are changed here before anything is loaded, and their weights are drawn at
random into the folder that `MOFE_TINY_CLIPS` names. Everything else, from Load CLIP to the tokens, is ComfyUI's.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from comfy import ops
from comfy.text_encoders import llama, qwen3vl, qwen35
from safetensors.torch import save_file

NODE_CLASS_MAPPINGS: dict[str, type] = {}

WIDTH = 64
VISION = {"hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "depth": 3}


@dataclass
class TinyQwen3VL(llama.Qwen3VL_8BConfig):
    """A Qwen3-VL of three layers; ComfyUI takes every width but that of the 4B for the 8B."""

    hidden_size: int = WIDTH
    intermediate_size: int = 2 * WIDTH
    num_hidden_layers: int = 3
    num_attention_heads: int = 2
    num_key_value_heads: int = 1
    lm_head: bool = False


def shrink_qwen3vl() -> torch.nn.Module:
    qwen3vl.QWEN3VL_CONFIGS["qwen3vl_8b"] = TinyQwen3VL
    qwen3vl.QWEN3VL_VISION["qwen3vl_8b"] = {**VISION, "deepstack_visual_indexes": [0, 1, 2]}
    return qwen3vl._make_qwen3vl_model("qwen3vl_8b")({}, torch.float32, "cpu", ops.disable_weight_init)


def shrink_qwen35() -> torch.nn.Module:
    """A Qwen3.5 of four layers, the last of them with full attention; every unknown width is taken for the 2B."""
    qwen35.QWEN35_MODELS["qwen35_2b"] = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        "vision": VISION,
    }
    return qwen35.Qwen35({}, torch.float32, "cpu", ops.disable_weight_init)


CLIPS = {"qwen3vl_4b_fp8_scaled.safetensors": shrink_qwen3vl, "qwen3.5_2b_bf16.safetensors": shrink_qwen35}
"""By the names under which the public ones are known."""


def public_name(name: str) -> str:
    """Return the name of a weight in a public file, from that in ComfyUI's class."""
    part, _, rest = name.partition(".")
    return f"model.visual.{rest}" if part == "visual" else f"model.language_model.{rest}"


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, shrunk in CLIPS.items():
        network = shrunk()
        torch.manual_seed(0)
        weights = {}
        for name, value in network.state_dict().items():
            spread = 0.02 if value.ndim < 2 or "embed" in name else value[0].numel() ** -0.5
            drawn = torch.randn(value.shape) * spread + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
            weights[public_name(name)] = drawn.half()
        save_file(weights, folder / file)


write(Path(os.environ["MOFE_TINY_CLIPS"]))

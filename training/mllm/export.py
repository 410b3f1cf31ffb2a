"""Writing the trained MLLM as a folder that every transformers version since 4.50 opens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ...model.weights import write_tensors
from .architecture import CHAT_TEMPLATE

MODEL_FILE = "model.safetensors"
"""The language model's weights in its folder."""


def save_language_model(language_model: Any, processor: Any, folder: Path) -> None:
    """Write configuration, weights in bf16, tokenizer and processor of a trained model into an empty folder."""
    processor.save_pretrained(folder)
    _keep_portable(folder)
    language_model.config.save_pretrained(folder)
    language_model.generation_config.save_pretrained(folder)
    state = {
        name: value.detach().to(torch.bfloat16)
        for name, value in language_model.state_dict().items()
        if name != "lm_head.weight"  # tied to the embedding
    }
    write_tensors(folder / MODEL_FILE, state, {"format": "pt"})


def _keep_portable(folder: Path) -> None:
    """Rewrite the settings of processor and tokenizer in the form that all transformers versions since 4.50 read."""
    processor = _read_json(folder / "processor_config.json")
    images = processor.pop("image_processor", None)
    if images is not None:
        images["image_processor_type"] = "Idefics3ImageProcessor"
        _write_json(folder / "preprocessor_config.json", images)
    _write_json(folder / "processor_config.json", processor)
    tokenizer = _read_json(folder / "tokenizer_config.json")
    tokenizer["tokenizer_class"] = "PreTrainedTokenizerFast"
    tokenizer["model_input_names"] = ["input_ids", "attention_mask"]
    if "extra_special_tokens" in tokenizer:
        tokenizer["additional_special_tokens"] = tokenizer.pop("extra_special_tokens")
    _write_json(folder / "tokenizer_config.json", tokenizer)
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return values


def _write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")

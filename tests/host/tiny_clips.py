"""Every vision language model of ComfyUI's own classes, made tiny: a custom node for the tests, without nodes.

Their sizes are constants of ComfyUI, which are changed here before anything is loaded, and their weights are drawn at
random into the folder that `MOFE_TINY_CLIPS` names. Everything else, from Load CLIP to the tokens, is ComfyUI's; layers
by whose number it recognizes a model are marked in the file, but not there.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import comfy.sd
import torch
from comfy import ops
from comfy.text_encoders import gemma4, llama, qwen3vl, qwen35, qwen_vl
from safetensors.torch import save_file
from torch import Tensor, nn

NODE_CLASS_MAPPINGS: dict[str, type] = {}

WIDTH, WIDTH_8B = 64, 48
VISION = {"hidden_size": 32, "num_heads": 2, "intermediate_size": 64, "depth": 3}
DEEPSTACK_VISION = {**VISION, "deepstack_visual_indexes": [0, 1, 2]}
SIZES: dict[str, Any] = {
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


STOP = 4
"""How much longer the embedding of the token is that ends a text."""
QWEN_STOP, QWEN35_STOP = 151643, 248044


@dataclass
class Tiny:
    """A model that is ready to be written.

    Attributes:
        network: Of ComfyUI's class.
        marks: Names of weights that only tell which model this is.
        extra: Further tensors of the file, such as the tokenizer.
        stop: A token that ends a text, and is likely, since a random model would write up to the limit.
    """

    network: nn.Module
    marks: tuple[str, ...] = ()
    extra: dict[str, Tensor] | None = None
    stop: int = 1


def shrink(config: Any, **sizes: Any) -> None:
    """Change the sizes in a configuration class of ComfyUI, those of its constructor and those of the class."""
    asked = {field.name for field in fields(config)}
    for name in sizes.keys() - asked:
        setattr(config, name, sizes[name])
    original, given = config.__init__, {name: sizes[name] for name in sizes.keys() & asked}
    config.__init__ = lambda self, **values: original(self, **{**given, **values})


def built(network: Callable[..., nn.Module]) -> nn.Module:
    return network({}, torch.float32, "cpu", ops.disable_weight_init)


def qwen3vl_4b() -> Tiny:
    """ComfyUI tells it from the 8B by its width, which is no constant: here by this file's width.

    The type flux2 takes the language model of it alone.
    """
    shrink(llama.Qwen3VL_4BConfig, **SIZES)
    shrink(llama.Qwen3_4BConfig, **SIZES)
    qwen3vl.QWEN3VL_VISION["qwen3vl_4b"] = DEEPSTACK_VISION
    detect, width = comfy.sd.detect_te_model, "model.visual.merger.linear_fc2.weight"

    def detected(weights: dict[str, Tensor]) -> Any:
        found = detect(weights)
        is_ours = found == comfy.sd.TEModel.QWEN3VL_8B and weights[width].shape[0] == WIDTH
        return comfy.sd.TEModel.QWEN3VL_4B if is_ours else found

    comfy.sd.detect_te_model = detected
    return Tiny(built(qwen3vl._make_qwen3vl_model("qwen3vl_4b")), stop=QWEN_STOP)


def qwen3vl_8b() -> Tiny:
    shrink(llama.Qwen3VL_8BConfig, **{**SIZES, "hidden_size": WIDTH_8B, "lm_head": False})
    qwen3vl.QWEN3VL_VISION["qwen3vl_8b"] = DEEPSTACK_VISION
    return Tiny(built(qwen3vl._make_qwen3vl_model("qwen3vl_8b")), stop=QWEN_STOP)


def qwen3vl_32b() -> Tiny:
    """MiniMax H3's: the first 50 layers of 64, and no norm after them."""
    shrink(llama.Qwen3VL_32BConfig, **{**SIZES, "hidden_size": WIDTH_8B})
    qwen3vl.QWEN3VL_VISION["qwen3vl_32b"] = DEEPSTACK_VISION
    network = built(qwen3vl._make_qwen3vl_model("qwen3vl_32b"))
    return Tiny(network, marks=("model.layers.49.self_attn.q_proj.weight",), stop=QWEN_STOP)


def qwen35_2b() -> Tiny:
    """A Qwen3.5 of four layers, the last of them with full attention; every unknown width is taken for the 2B."""
    linear = {"linear_num_key_heads": 2, "linear_num_value_heads": 2}
    qwen35.QWEN35_MODELS["qwen35_2b"] = {**SIZES, **linear, "vision": VISION}
    complete_qwen35_tokenizer(Path(os.environ["MOFE_TINY_CLIPS"]).parent / "qwen35")
    return Tiny(built(qwen35.Qwen35), stop=QWEN35_STOP)


def complete_qwen35_tokenizer(folder: Path) -> None:
    """Make the vocabulary from the merges where a checkout lacks it: bytes first, then one token for each merge."""
    source = Path(qwen35.__file__).parent / "qwen35_tokenizer"
    if (source / "vocab.json").exists():
        return
    copy = shutil.copytree(source, folder / source.name, dirs_exist_ok=True)
    lines = (copy / "merges.txt").read_text(encoding="utf-8").split("\n")
    merged = [line.replace(" ", "") for line in lines if line and not line.startswith("#version")]
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    tokens = [chr(byte) for byte in shown] + [chr(256 + number) for number in range(256 - len(shown))]
    tokens = list(dict.fromkeys([*tokens, *merged]))
    first_special = min(map(int, json.loads((copy / "tokenizer_config.json").read_text())["added_tokens_decoder"]))
    tokens += [f"<unused {number}>" for number in range(first_special - len(tokens))]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (copy / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    qwen35.__file__ = str(folder / "qwen35.py")


def qwen25_vl_7b() -> Tiny:
    """Recognized by the width of its keys."""

    class TinyTower(qwen_vl.Qwen2VLVisionTransformer):
        def __init__(self, hidden_size: int, output_hidden_size: int, **more: Any) -> None:
            super().__init__(32, output_hidden_size, intermediate_size=64, num_heads=2, num_layers=2, **more)

    qwen_vl.Qwen2VLVisionTransformer = TinyTower
    shrink(llama.Qwen25_7BVLI_Config, **{**SIZES, "num_attention_heads": 4, "num_key_value_heads": 4})
    return Tiny(built(llama.Qwen25_7BVLI), stop=QWEN_STOP)


def gemma3(config: Any, network: Callable[..., nn.Module], *marks: str) -> Tiny:
    import sentencepiece

    words = sentence_pieces()
    count = sentencepiece.SentencePieceProcessor(model_proto=words).get_piece_size()
    llama.GEMMA3_VISION_CONFIG.update(
        hidden_size=32, image_size=112, intermediate_size=64, num_attention_heads=2, num_hidden_layers=2
    )
    tokens = {"mm_tokens_per_image": 16, "vocab_size": count, "head_dim": 16}
    shrink(config, **SIZES, **tokens, sliding_attention=[1024, False])
    return Tiny(built(network), marks, {"spiece_model": torch.tensor(list(words), dtype=torch.uint8)})


def sentence_pieces() -> bytes:
    """Return a vocabulary of bytes and a few letters, with Gemma's control tokens at their numbers."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(
            ["Describe what is wrong with this picture: haze, rain, snow, noise, blur or low light."]
        ),
        model_writer=model,
        model_type="char",
        vocab_size=512,
        hard_vocab_limit=False,
        byte_fallback=True,
        **{"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3},
        user_defined_symbols=[*(f"<unused{i}>" for i in range(101)), "<start_of_turn>", "<end_of_turn>"],
        minloglevel=2,
    )
    return model.getvalue()


GEMMA4 = {"head_dim": 16, "global_head_dim": 32, "vocab_size": 512, "sliding_attention": [512, False]}
GEMMA4_VISION = {
    **{"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1, "head_dim": 16},
    **{"position_embedding_size": 256, "patch_size": 48, "pooling_kernel_size": 1},
}
"""One patch for a token instead of nine, since attention over all of them takes seconds."""


def gemma4_e(config: Any, network: Callable[..., nn.Module], mark: int) -> Tiny:
    """One with an audio encoder, an embedding for each layer, and layers that share their keys."""
    gemma4.GEMMA4_VISION_CONFIG.update(GEMMA4_VISION)
    gemma4.GEMMA4_AUDIO_CONFIG.update(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, output_proj_dims=16
    )
    shrink(config, **SIZES, **GEMMA4, num_kv_shared_layers=2, hidden_size_per_layer_input=8)
    return Tiny(built(network), (f"model.layers.{mark}.self_attn.q_norm.weight",), gemma4_tokenizer())


def gemma4_31b() -> Tiny:
    gemma4.GEMMA4_VISION_31B_CONFIG.update(GEMMA4_VISION)
    shrink(gemma4.Gemma4_31B_Config, **SIZES, **GEMMA4)
    return Tiny(built(gemma4.Gemma4_31B), ("model.layers.59.self_attn.q_norm.weight",), gemma4_tokenizer())


def gemma4_12b() -> Tiny:
    """It has no vision tower: patches of 48 px enter the language model."""
    gemma4.GEMMA4_UNIFIED_VISION_CONFIG.update(mm_embed_dim=32, output_proj_dims=32)
    shrink(gemma4.Gemma4_12B_Config, **SIZES, **GEMMA4, suppress_tokens=[])
    return Tiny(built(gemma4.Gemma4_12B), ("model.layers.47.self_attn.q_norm.weight",), gemma4_tokenizer())


def gemma4_12b_of_ltx() -> Tiny:
    """The same with LTX's projection, for video and sound, in its file."""
    tiny = gemma4_12b()
    states = WIDTH * (SIZES["num_hidden_layers"] + 1)
    torch.manual_seed(0)
    projection = {f"text_embedding_projection.{kind}_aggregate_embed": size for kind, size in LTX_WIDTHS.items()}
    weights = {f"{name}.weight": torch.randn(size, states) * states**-0.5 for name, size in projection.items()}
    biases = {f"{name}.bias": torch.zeros(size) for name, size in projection.items()}
    return Tiny(tiny.network, tiny.marks, {**(tiny.extra or {}), **weights, **biases})


LTX_WIDTHS = {"video": 48, "audio": 32}


def gemma4_tokenizer() -> dict[str, Tensor]:
    """Return a tokenizer of single characters with Gemma's control tokens at their numbers."""
    small = {"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "<|image>": 4, "<image|>": 5, "<|channel>": 6}
    control = {**small, "<channel|>": 7, "<|turn>": 105, "<turn|>": 106, "<|image|>": 258880}
    vocabulary = {**control, **{f"<0x{byte:02X}>": 107 + byte for byte in range(256)}}
    vocabulary.update({chr(code): 363 + code - 32 for code in range(32, 127)})
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [{"id": number, "content": token, **plain} for token, number in control.items()],
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "unk_token": "<unk>", "byte_fallback": True},
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
    }
    return {"tokenizer_json": torch.tensor(list(json.dumps(tokenizer).encode()), dtype=torch.uint8)}


CLIPS: dict[str, Callable[[], Tiny]] = {
    "qwen3vl_4b_fp8_scaled": qwen3vl_4b,
    "qwen3vl_8b": qwen3vl_8b,
    "qwen3vl_32b_minimax": qwen3vl_32b,
    "qwen3.5_2b_bf16": qwen35_2b,
    "qwen_2.5_vl_7b": qwen25_vl_7b,
    "gemma_3_4b_it": lambda: gemma3(llama.Gemma3_4B_Vision_Config, llama.Gemma3_4B_Vision),
    "gemma_3_12b_it": lambda: gemma3(
        *(llama.Gemma3_12B_Config, llama.Gemma3_12B),
        *("model.layers.47.self_attn.q_norm.weight", "model.layers.5.self_attn.v_proj.weight"),
    ),
    "gemma_4_e2b_it": lambda: gemma4_e(gemma4.Gemma4_E2B_Config, gemma4.Gemma4_E2B, 34),
    "gemma_4_e4b_it": lambda: gemma4_e(gemma4.Gemma4Config, gemma4.Gemma4_E4B, 41),
    "gemma_4_31b_it": gemma4_31b,
    "gemma_4_12b_it": gemma4_12b,
    "gemma_4_12b_ltx": gemma4_12b_of_ltx,
}
"""By the names under which the public ones are known."""

LANGUAGE_MODEL_APART = ("qwen3vl_4b_fp8_scaled", "qwen3vl_8b", "qwen3.5_2b_bf16")
"""Whose public files put the language model beside the vision tower."""


def public_name(name: str) -> str:
    """Return the name of a weight in such a file, from that in ComfyUI's class."""
    part, _, rest = name.partition(".")
    return f"model.visual.{rest}" if part == "visual" else f"model.language_model.{rest}"


def drawn(name: str, value: Tensor) -> Tensor:
    """Return a random value for a weight; limits of activations stay."""
    if name.endswith(("_max", "_min")):
        return value
    is_scale = (
        name.endswith(("layer_scalar", "_scale")) or ("norm" in name or "_ln" in name) and name.endswith("weight")
    )
    spread = 0.02 if value.ndim < 2 or "embed" in name else value[0].numel() ** -0.5
    return torch.randn(value.shape) * spread + (1.0 if is_scale else 0.0)


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in CLIPS.items():
        tiny, path = make(), folder / f"{name}.safetensors"
        if path.exists():
            continue  # another ComfyUI reads it
        torch.manual_seed(0)
        weights = {key: drawn(key, value).half() for key, value in tiny.network.state_dict().items()}
        if name in LANGUAGE_MODEL_APART:
            weights = {public_name(key): value for key, value in weights.items()}
        marks = {mark: torch.zeros(1) for mark in tiny.marks}
        (words,) = (key for key in weights if key.endswith("embed_tokens.weight"))
        weights[words][tiny.stop] *= STOP
        save_file({**marks, **weights, **(tiny.extra or {})}, path)


write(Path(os.environ["MOFE_TINY_CLIPS"]))

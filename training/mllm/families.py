"""Tiny models of stock transformers families, built from random weights: foreign MLLMs to align and to test with.

Their widths are those of toys; classes, tokenizers' special tokens, processors and chat templates are of the kind that
public models of the family have, so that what works with them works with a downloaded one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

END_OF_TURN = "<|im_end|>"
"""Ends a turn in the chat templates of all families here but those of Llama's kind."""

_QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


@dataclass(frozen=True)
class FamilySizes:
    """Sizes of a tiny model.

    Attributes:
        vision_width: Of the vision encoder, a multiple of 32.
        vision_layers: Of the vision encoder.
        text_width: Of the language model, a multiple of 32.
        text_layers: Of the language model.
        side: Of the images that the vision encoder sees, in px.
        patch: Side of a patch in px.
        vocabulary: Maximum number of tokens.
    """

    vision_width: int = 32
    vision_layers: int = 2
    text_width: int = 64
    text_layers: int = 2
    side: int = 56
    patch: int = 14
    vocabulary: int = 400


class Parts(NamedTuple):
    """A model of a family and its processor."""

    model: Any
    processor: Any


def chat_template(image: str) -> str:
    """Return a chat template in the form of ChatML, in which an image stands as `image`."""
    return (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}" + image + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def build_tokenizer(
    sentences: Iterable[str], vocabulary: int, special: Iterable[str], image: str
) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer with a family's special tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    every = ["<|endoftext|>", "<|im_start|>", END_OF_TURN, *special]
    tokenizer.train_from_iterator(
        sentences,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=every,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|endoftext|>",
        eos_token=END_OF_TURN,
        bos_token="<|im_start|>",
        additional_special_tokens=every[1:],
        chat_template=chat_template(image),
    )


def build_family(name: str, sentences: Iterable[str], sizes: FamilySizes | None = None, seed: int = 0) -> Parts:
    """Build a tiny model of a family with random weights.

    Args:
        name: One of `FAMILIES`.
        sentences: Text for its tokenizer to learn from.
        sizes: Of the model.
        seed: Of the weights.
    """
    torch.manual_seed(seed)
    return FAMILIES[name](list(sentences), sizes or FamilySizes())


def _ids(tokenizer: Any) -> dict[str, Any]:
    return {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _text(tokenizer: Any, sizes: FamilySizes, **more: Any) -> dict[str, Any]:
    """Return the settings that the language models of all families share."""
    heads = sizes.text_width // 32
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": sizes.text_width,
        "intermediate_size": 5 * sizes.text_width // 2,
        "num_hidden_layers": sizes.text_layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2 if heads % 2 == 0 else heads,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": True,
        **_ids(tokenizer),
        **more,
    }


def _mrope(sizes: FamilySizes, **more: Any) -> dict[str, Any]:
    half = 16  # of the 32 numbers of a head
    return {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [half // 4, 3 * half // 8, 3 * half // 8]}


def _qwen_processor(kind: str, tokenizer: Any, sizes: FamilySizes, merge: int) -> Any:
    import transformers

    block = sizes.patch * merge
    # a little below the square of the side, or rounding would make the views one block larger
    pixels = {"shortest_edge": sizes.side**2 - sizes.side, "longest_edge": sizes.side**2}
    settings: dict[str, Any] = {
        "patch_size": sizes.patch,
        "merge_size": merge,
        "temporal_patch_size": 2,
        "size": pixels,
    }
    if sizes.side % block:
        raise ValueError(f"side must be a multiple of {block}, not {sizes.side}")
    images = transformers.Qwen2VLImageProcessor(**settings)
    video = "Qwen3VLVideoProcessor" if kind == "qwen3_vl" else "Qwen2VLVideoProcessor"
    processor = {"qwen2_vl": "Qwen2VLProcessor", "qwen2_5_vl": "Qwen2_5_VLProcessor", "qwen3_vl": "Qwen3VLProcessor"}
    return getattr(transformers, processor[kind])(
        image_processor=images,
        tokenizer=tokenizer,
        video_processor=getattr(transformers, video)(**settings),
        chat_template=chat_template(_QWEN_IMAGE),
    )


def _qwen(kind: str) -> Callable[[list[str], FamilySizes], Parts]:
    def build(sentences: list[str], sizes: FamilySizes) -> Parts:
        import transformers

        special = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
        tokenizer = build_tokenizer(sentences, sizes.vocabulary, special, _QWEN_IMAGE)
        merge, layers = 2, sizes.vision_layers
        vision: dict[str, Any] = {"patch_size": sizes.patch, "spatial_merge_size": merge, "temporal_patch_size": 2}
        heads = sizes.vision_width // 32
        if kind == "qwen2_vl":
            vision |= {"depth": layers, "embed_dim": sizes.vision_width, "num_heads": heads, "mlp_ratio": 3}
            vision |= {"hidden_size": sizes.text_width, "hidden_act": "gelu"}
        else:
            vision |= {"depth": layers, "hidden_size": sizes.vision_width, "num_heads": heads}
            vision |= {"intermediate_size": 3 * sizes.vision_width, "out_hidden_size": sizes.text_width}
        if kind == "qwen2_5_vl":
            vision |= {"window_size": 2 * merge * sizes.patch, "fullatt_block_indexes": list(range(1, layers, 2))}
        if kind == "qwen3_vl":
            vision |= {"num_position_embeddings": (sizes.side // sizes.patch) ** 2}
            vision |= {"deepstack_visual_indexes": list(range(layers - 1))[: sizes.text_layers]}
        text = _text(tokenizer, sizes, rope_parameters=_mrope(sizes), rope_scaling=_mrope(sizes))
        if kind == "qwen3_vl":
            text |= {"head_dim": 32}
        name = {"qwen2_vl": "Qwen2VL", "qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL"}[kind]
        config = getattr(transformers, f"{name}Config")(
            vision_config=vision,
            text_config=text,
            image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
            video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
            vision_start_token_id=tokenizer.convert_tokens_to_ids("<|vision_start|>"),
            vision_end_token_id=tokenizer.convert_tokens_to_ids("<|vision_end|>"),
            tie_word_embeddings=True,
            **_ids(tokenizer),
        )
        model = getattr(transformers, f"{name}ForConditionalGeneration")(config)
        return Parts(model, _qwen_processor(kind, tokenizer, sizes, merge))

    return build


def _llava_onevision(sentences: list[str], sizes: FamilySizes) -> Parts:
    from transformers import (
        LlavaOnevisionConfig,
        LlavaOnevisionForConditionalGeneration,
        LlavaOnevisionImageProcessor,
        LlavaOnevisionProcessor,
        LlavaOnevisionVideoProcessor,
    )

    tokenizer: Any = build_tokenizer(sentences, sizes.vocabulary, ("<image>", "<video>"), "<image>")
    square = {"height": sizes.side, "width": sizes.side}
    grid = [[sizes.side, sizes.side], [sizes.side, 2 * sizes.side], [2 * sizes.side, sizes.side]]
    processor = LlavaOnevisionProcessor(
        LlavaOnevisionImageProcessor(size=square, image_grid_pinpoints=grid),
        tokenizer,
        LlavaOnevisionVideoProcessor(size=square),
        num_image_tokens=(sizes.side // sizes.patch) ** 2,
        vision_feature_select_strategy="full",
        chat_template=chat_template("<image>"),
    )
    config = LlavaOnevisionConfig(
        vision_config={**_siglip(sizes), "vision_use_head": False},
        text_config={"model_type": "qwen2", **_text(tokenizer, sizes)},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=grid,
        tie_word_embeddings=True,
    )
    return Parts(LlavaOnevisionForConditionalGeneration(config), processor)


def _siglip(sizes: FamilySizes, kind: str = "siglip_vision_model") -> dict[str, Any]:
    return {
        "model_type": kind,
        "hidden_size": sizes.vision_width,
        "intermediate_size": 3 * sizes.vision_width,
        "num_hidden_layers": sizes.vision_layers,
        "num_attention_heads": sizes.vision_width // 32,
        "image_size": sizes.side,
        "patch_size": sizes.patch,
    }


def _llava(sentences: list[str], sizes: FamilySizes) -> Parts:
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    tokenizer: Any = build_tokenizer(sentences, sizes.vocabulary, ("<image>",), "<image>")
    images = CLIPImageProcessor(
        size={"shortest_edge": sizes.side}, crop_size={"height": sizes.side, "width": sizes.side}
    )
    processor = LlavaProcessor(
        images,
        tokenizer,
        patch_size=sizes.patch,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template("<image>"),
    )
    config = LlavaConfig(
        vision_config=_siglip(sizes, "clip_vision_model"),
        text_config={"model_type": "llama", **_text(tokenizer, sizes)},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        tie_word_embeddings=True,
    )
    return Parts(LlavaForConditionalGeneration(config), processor)


def _idefics3(kind: str) -> Callable[[list[str], FamilySizes], Parts]:
    def build(sentences: list[str], sizes: FamilySizes) -> Parts:
        import transformers

        special = ("<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>")
        tokenizer = build_tokenizer(sentences, sizes.vocabulary, special, "<image>")
        edge = {"longest_edge": sizes.side}
        images = getattr(transformers, f"{kind}ImageProcessor")(
            do_image_splitting=False, size=edge, max_image_size=edge
        )
        settings: dict[str, Any] = {"image_seq_len": (sizes.side // sizes.patch // 2) ** 2}
        if kind == "SmolVLM":
            settings["video_processor"] = transformers.SmolVLMVideoProcessor(size=edge, max_image_size=edge)
        processor = getattr(transformers, f"{kind}Processor")(
            images, tokenizer, chat_template=chat_template("<image>"), **settings
        )
        vision = _siglip(sizes, "smolvlm_vision" if kind == "SmolVLM" else "idefics3_vision")
        config = getattr(transformers, f"{kind}Config")(
            vision_config=vision,
            text_config={"model_type": "llama", **_text(tokenizer, sizes)},
            image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            scale_factor=2,
            tie_word_embeddings=True,
            **_ids(tokenizer),
        )
        return Parts(getattr(transformers, f"{kind}ForConditionalGeneration")(config), processor)

    return build


def _internvl(sentences: list[str], sizes: FamilySizes) -> Parts:
    from transformers import (
        GotOcr2ImageProcessor,
        InternVLConfig,
        InternVLForConditionalGeneration,
        InternVLProcessor,
        InternVLVideoProcessor,
    )

    names = {"start_image": "<img>", "end_image": "</img>", "context_image": "<IMG_CONTEXT>", "video": "<video>"}
    tokenizer: Any = build_tokenizer(sentences, sizes.vocabulary, names.values(), "<IMG_CONTEXT>")
    tokenizer = _with_named_tokens(tokenizer, {f"{name}_token": token for name, token in names.items()})
    square = {"height": sizes.side, "width": sizes.side}
    each = (sizes.side // sizes.patch // 2) ** 2
    processor = InternVLProcessor(
        GotOcr2ImageProcessor(size=square, crop_to_patches=False),
        tokenizer,
        InternVLVideoProcessor(size=square),
        image_seq_length=each,
        chat_template=chat_template("<IMG_CONTEXT>"),
    )
    config = InternVLConfig(
        vision_config=_siglip(sizes, "internvl_vision"),
        text_config={"model_type": "qwen2", **_text(tokenizer, sizes)},
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=each,
    )
    return Parts(InternVLForConditionalGeneration(config), processor)


def _gemma3(sentences: list[str], sizes: FamilySizes) -> Parts:
    from transformers import (
        Gemma3Config,
        Gemma3ForConditionalGeneration,
        Gemma3ImageProcessor,
        Gemma3Processor,
    )

    names = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>", "image_token": "<image_soft_token>"}
    tokenizer: Any = build_tokenizer(sentences, sizes.vocabulary, names.values(), "<start_of_image>")
    tokenizer = _with_named_tokens(tokenizer, names)
    each = (sizes.side // sizes.patch // 2) ** 2
    processor = Gemma3Processor(
        Gemma3ImageProcessor(size={"height": sizes.side, "width": sizes.side}),
        tokenizer,
        image_seq_length=each,
        chat_template=chat_template("<start_of_image>"),
    )
    config = Gemma3Config(
        vision_config=_siglip(sizes),
        text_config={**_text(tokenizer, sizes), "head_dim": 32, "sliding_window": 512},
        mm_tokens_per_image=each,
        boi_token_index=tokenizer.convert_tokens_to_ids("<start_of_image>"),
        eoi_token_index=tokenizer.convert_tokens_to_ids("<end_of_image>"),
        image_token_index=tokenizer.convert_tokens_to_ids("<image_soft_token>"),
        tie_word_embeddings=True,
    )
    return Parts(Gemma3ForConditionalGeneration(config), processor)


def _paligemma(sentences: list[str], sizes: FamilySizes) -> Parts:
    from transformers import (
        PaliGemmaConfig,
        PaliGemmaForConditionalGeneration,
        PaliGemmaProcessor,
        SiglipImageProcessor,
    )

    tokenizer: Any = build_tokenizer(sentences, sizes.vocabulary, ("<image>",), "<image>")
    tokenizer.chat_template = None
    images: Any = SiglipImageProcessor(size={"height": sizes.side, "width": sizes.side})
    images.image_seq_length = (sizes.side // sizes.patch) ** 2
    processor = PaliGemmaProcessor(images, _with_named_tokens(tokenizer, {"image_token": "<image>"}))
    config = PaliGemmaConfig(
        vision_config={**_siglip(sizes), "projection_dim": sizes.text_width, "vision_use_head": False},
        text_config={"model_type": "gemma", **_text(tokenizer, sizes), "head_dim": 32},
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        projection_dim=sizes.text_width,
        tie_word_embeddings=True,
    )
    return Parts(PaliGemmaForConditionalGeneration(config), processor)


def _with_named_tokens(tokenizer: Any, names: dict[str, str]) -> Any:
    """Return the tokenizer with special tokens that processors look up by name, such as `image_token`."""
    import transformers

    keywords = {"extra_special_tokens": names} if int(transformers.__version__.split(".")[0]) < 5 else names
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        pad_token=tokenizer.pad_token,
        eos_token=tokenizer.eos_token,
        bos_token=tokenizer.bos_token,
        chat_template=tokenizer.chat_template,
        **keywords,
    )


FAMILIES: dict[str, Callable[[list[str], FamilySizes], Parts]] = {
    "gemma3": _gemma3,
    "idefics3": _idefics3("Idefics3"),
    "internvl": _internvl,
    "llava": _llava,
    "llava_onevision": _llava_onevision,
    "paligemma": _paligemma,
    "qwen2_5_vl": _qwen("qwen2_5_vl"),
    "qwen2_vl": _qwen("qwen2_vl"),
    "qwen3_vl": _qwen("qwen3_vl"),
    "smolvlm": _idefics3("SmolVLM"),
}
"""Builders by the family's model_type."""

"""A CLIP of ComfyUI that reads images, used instead of an MLLM from a folder.

ComfyUI manages its memory, its low-precision weights and its Cancel, which works at every token. Of `CLIP` only
`tokenize`, `generate`, `decode` and `encode_from_tokens` are used; nothing of ComfyUI is imported. Most of its types
also write text; one that does not, such as the Qwen2.5-VL of Qwen-Image, guides once it is aligned.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from ..model.guidance import Guidance
    from ..model.mllm.adapter import Adapter
    from ..model.mllm.second_look import Helper
    from ..model.mllm.sight import Look, Sight

MAX_PIXELS = 1024 * 1024
"""Larger images are shrunk, as ComfyUI's own nodes do: a language model's memory grows with the pixels."""

NAMED_SCORE = 0.75
"""Score of every degradation that the model names: it is not asked for strengths."""

VIEW_TOKENS = 70
"""Most tokens for a view, where a model asks: Gemma 4 would enlarge its 112 px to 768 px. It knows this size, too."""

CANNOT_WRITE = (AttributeError, KeyError, NotImplementedError, TypeError)
"""What text encoders that only read raise when they are to write."""

LIST_TOKENS = 48
"""Length limit of the answer to `list_question`, in tokens."""


class ClipDescriber:
    """Describe images with a CLIP of ComfyUI, one after the other (a `Describer`).

    Args:
        clip: The CLIP.

    Attributes:
        identity: Kind and digest of the model; guidance carries it.
        adapter: Leads from what it sees to the guidance of another MLLM; None where it guides by itself.
        layers: What an adapter may read: its output alone.
        view_sets_worth: Sets of views that it is shown for an adapter, since it is large.

    Raises:
        ValueError: It does not read images.
    """

    memory_bytes = 0
    """ComfyUI makes room for its own models."""
    layers = (-1,)
    view_sets_worth = 1

    def __init__(self, clip: Any) -> None:
        if not reads_images(clip):
            raise ValueError(
                "The connected CLIP does not read images: load a vision language model such as Qwen3-VL with Load CLIP "
                "and leave its type at stable_diffusion, or disconnect it to use the chosen model."
            )
        from ..model.mllm.memory import Memory

        self._clip = clip
        self.identity = identity_of(clip)
        self.adapter: Adapter | None = None
        self._memory = Memory()

    def with_adapter(self, adapter: Adapter | None) -> ClipDescriber:
        """Return the same model, with an adapter or without."""
        from ..model.mllm.memory import Memory

        other = copy.copy(self)
        other.adapter, other._memory = adapter, Memory()
        return other

    def see(self, image: Tensor, look: Look) -> Sight:
        """Return the statistics of an image [3, H, W] for an adapter (`sight.Seer.see`): each view is a prompt.

        Raises:
            ValueError: The model gave values that are not finite.
        """
        import torch

        from ..model.mllm.sight import QUESTIONS, PatchWatch, Sight, statistics_of
        from ..model.mllm.views import crop_origin_sets, make_views

        seen, patches = [], []
        for origins in crop_origin_sets(image)[: look.sets]:
            views = make_views(image.cpu(), origins, detail=look.detail).permute(0, 2, 3, 1).float() / 255
            with PatchWatch(self._clip.cond_stage_model) as watch:
                states = torch.cat([self._states(QUESTIONS[look.question], view[None], VIEW_TOKENS) for view in views])
            seen.append(statistics_of(states[:, -1].mean(0), states, look.statistics))
            patches.append(watch.statistics(len(views), look.patches))
        return Sight(torch.stack(seen).mean(0)[None].cpu(), torch.stack(patches).mean(0).cpu())

    def _states(self, question: str, image: Tensor, most: int | None = None) -> Tensor:
        """Return the states [1, T, D] of a prompt with one image [1, H, W, 3], without those of padding.

        Args:
            question: The prompt beside the image.
            image: [1, H, W, 3].
            most: Tokens for the image, for models that can look at it in several sizes.
        """
        size = {} if most is None else {"max_soft_tokens": most}
        tokens = _tokenize(self._clip, question, image, **size)
        name = getattr(self._clip.cond_stage_model, "clip_name", None)
        if isinstance(tokens, dict) and len(tokens) == 1 and name is not None:
            tokens = {name: next(iter(tokens.values()))}  # Gemma 3 4B looks for them under another name
        encoded = self._clip.encode_from_tokens(tokens, return_dict=True)
        states: Tensor = encoded["cond"]
        if states.ndim == 4:
            states = states[:, -1]  # Gemma 3 12B and Gemma 4 return those of all layers
        states, mask = states.float(), encoded.get("attention_mask")
        if mask is not None and mask.shape[-1] == states.shape[1]:
            states = states[:, mask.reshape(-1, states.shape[1])[0].bool().to(states.device)]
        if not bool(states.isfinite().all()):
            raise ValueError("The connected CLIP gave values that are not finite: load it again in another precision.")
        return states

    @property
    def max_tokens(self) -> int:
        """Length limit of a description, in tokens."""
        from ..model.mllm.describer import MAX_FOREIGN_DESCRIPTION_TOKENS

        return MAX_FOREIGN_DESCRIPTION_TOKENS

    @property
    def looks_twice(self) -> bool:
        """It does not: a second look at a large model's cost is not worth what it tells."""
        return False

    def describe(
        self,
        images: Tensor,
        *,
        instruction: str = "",
        on_token: Callable[[], None] | None = None,
        on_check: Callable[[], None] | None = None,
        helper: Helper | None = None,
    ) -> Guidance:
        """Describe each image of a batch.

        Args:
            images: [B, 3, H, W] in 0..1.
            instruction: As for `Mllm.describe`.
            on_token: Called before every question to the model; an error that it raises ends the run.
            on_check: The same before every layer of the model, so also while it reads a prompt.
            helper: Not used.

        Raises:
            ValueError: The model gave values that are not finite, or it writes no text and has no adapter.
        """
        from ..model.guidance import Guidance
        from ..model.mllm.instructions import read_order
        from ..model.mllm.order_notes import in_language_of
        from ..model.mllm.prompts import MAX_QUESTION_CHARACTERS, as_text, checked_at_every_layer
        from ..model.mllm.wording import DESCRIBE

        order, question, notes = read_order(instruction), DESCRIBE, []
        if instruction and not order.is_order:
            question, say = as_text(instruction[:MAX_QUESTION_CHARACTERS]), in_language_of(instruction)
            notes = [] if order.is_question else [say.only_asked(instruction)]
            if len(instruction) > MAX_QUESTION_CHARACTERS:
                notes.append(say.cut_question(MAX_QUESTION_CHARACTERS))
        with checked_at_every_layer(self._clip.cond_stage_model, on_check):
            parts = [self._describe_one(image, question, on_token) for image in images]
        return order.apply(Guidance.join(parts).with_notes(notes))

    def _describe_one(self, image: Tensor, question: str, on_token: Callable[[], None] | None) -> Guidance:
        from dataclasses import replace

        from ..model.errors import NoTextError
        from ..model.mllm.answers import answer_from_scores
        from ..model.mllm.memory import content_of
        from ..model.mllm.order_notes import in_language_of
        from ..model.mllm.wording import protection_sentence

        def check() -> None:
            if on_token is not None:
                on_token()

        check()
        key = content_of(image), "" if self.adapter is None else self.adapter.identity
        shown = shrink(image)
        seen, content = self._memory.recall(("seen", *key), lambda: self._see_one(image, shown, check))
        known = None
        if self.adapter is not None:
            known = answer_from_scores(question, seen.scores[0].tolist(), seen.parameters[0].tolist())
        if known is None:
            check()
            try:
                known = self._memory.recall(
                    ("said", *key, question), lambda: self._answer(question, shown, self.max_tokens)
                )
            except NoTextError:
                known = in_language_of(question).cannot_answer(question)
        if content:
            known = f"{known} {protection_sentence(content)}"
        return replace(seen, descriptions=(known,))

    def _see_one(self, image: Tensor, shown: Tensor, check: Callable[[], None]) -> tuple[Guidance, str]:
        """Return the guidance of an image [3, H, W], which is `shown` as IMAGE, without a description.

        Also the content that protects it, see `measured.measured`.
        """
        import torch
        import torch.nn.functional as F

        from ..model.guidance import Guidance
        from ..model.mllm.describer import MAX_GUIDANCE_TOKENS
        from ..model.mllm.measured import measured, with_measured_jpeg
        from ..model.mllm.wording import DESCRIBE
        from ..model.vocabulary import DEGRADATIONS, PARAMETERS

        if self.adapter is not None:
            return measured(self.adapter.guidance(self.see(image, self.adapter.look)), image)
        named = degradations_in(self._answer(list_question(), shown, LIST_TOKENS))
        check()
        states = self._states(DESCRIBE, shown)
        long = states.shape[1] > MAX_GUIDANCE_TOKENS
        tokens = F.adaptive_avg_pool1d(states.mT, MAX_GUIDANCE_TOKENS).mT if long else states
        scores = torch.tensor([[NAMED_SCORE if name in named else 0.0 for name in DEGRADATIONS]])
        parameters = torch.full((1, len(PARAMETERS)), torch.nan)
        seen = Guidance(tokens, states[:, -1], scores, parameters, ("",), self.identity)
        return with_measured_jpeg(seen, image), ""

    def _answer(self, question: str, image: Tensor, tokens: int) -> str:
        from ..model.errors import NoTextError

        try:
            ids = self._clip.generate(_tokenize(self._clip, question, image), do_sample=False, max_length=tokens)
        except CANNOT_WRITE as error:
            raise NoTextError(
                "The connected CLIP reads images but writes no text, so by itself it finds no degradations: connect "
                "Align MLLM behind Load MLLM, after which it guides the restorer."
            ) from error
        return str(self._clip.decode(ids)).strip()


def reads_images(clip: Any) -> bool:
    """Return whether an image reaches a CLIP; plain text encoders ignore it, with an error or without."""
    import torch

    try:
        return _has_images(_tokenize(clip, "?", torch.full((1, 64, 64, 3), 0.5)))
    except TypeError:
        return False


def identity_of(clip: Any) -> str:
    """Return kind and digest of a CLIP.

    Digested are names and shapes of its weights and the beginning of each, its patches, and what decides which states
    it returns for an image: tokenizer and layer, which depend on the type with which it was loaded.
    """
    network = clip.cond_stage_model
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.detach().reshape(-1)[:16].float().cpu().numpy().tobytes())
    digest.update(repr(sorted(map(str, clip.patcher.patches))).encode())
    layers = [options for part in network.modules() if (options := getattr(part, "options_default", None))]
    tokenizer = type(getattr(clip, "tokenizer", None)).__name__
    digest.update(repr((tokenizer, layers, getattr(clip, "layer_idx", None))).encode())
    return f"CLIP {type(network).__name__.strip('_')}:{digest.hexdigest()[:16]}"


def shrink(image: Tensor) -> Tensor:
    """Return an image [3, H, W] in 0..1 as IMAGE [1, H, W, 3] of at most `MAX_PIXELS`."""
    import torch.nn.functional as F

    height, width = image.shape[-2:]
    fit = (MAX_PIXELS / (height * width)) ** 0.5
    if fit < 1:
        size = (max(1, int(height * fit)), max(1, int(width * fit)))
        image = F.interpolate(image[None], size, mode="bilinear", antialias=True, align_corners=False)[0]
    return image.movedim(0, -1)[None]


def list_question() -> str:
    """Return the question for a list of the degradations that are present."""
    from ..model.vocabulary import DISPLAY_NAMES

    return (
        f"Which of these does this picture suffer from: {', '.join(DISPLAY_NAMES.values())}? "
        "Answer only with words of this list, separated by commas, or with: none."
    )


def degradations_in(answer: str) -> set[str]:
    """Return the degradations that an answer to `list_question` names; other words are ignored."""
    from ..model.vocabulary import DISPLAY_NAMES

    items = {item.strip(" .*-\"'").lower() for item in re.split(r"[,;\n]|\band\b", answer)}
    return {name for name, words in DISPLAY_NAMES.items() if words.lower() in items}


def _tokenize(clip: Any, question: str, image: Tensor, **more: Any) -> Any:
    # As ComfyUI's own text generation calls it; some tokenizers leave the image out where the template is skipped.
    # Text encoders of image editors, such as that of Qwen-Image, want a list.
    settings = {"skip_template": False, "min_length": 1, "thinking": False, **more}
    return clip.tokenize(question, image=image, images=[image], **settings)


def _has_images(tokens: Any) -> bool:
    """Return whether an image stands among the tokens."""
    parts = tokens.values() if isinstance(tokens, dict) else [tokens]
    return any(isinstance(token[0], dict) for rows in parts for row in rows for token in row)

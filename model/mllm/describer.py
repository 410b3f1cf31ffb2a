"""A multimodal language model (MLLM) that looks at an image, says what is wrong with it and embeds it.

The shipped model has a `DegradationHead`; others are asked a yes-or-no question per degradation instead. How a model
folder is opened: `loading.py`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from ..errors import MllmError
from ..guidance import Directions, Guidance
from ..threads import limited_threads
from ..vocabulary import DEGRADATIONS, PARAMETERS
from ..whole_image import image_statistics
from .adapter import Adapter
from .answers import answer_from_scores
from .head import DegradationHead
from .instructions import Order, read_order
from .measured import measured, with_measured_jpeg
from .memory import Memory, OneObject, content_of
from .order_notes import in_language_of
from .prompts import MAX_QUESTION_CHARACTERS, as_text, checked_at_every_layer, control_tokens, cut_to_tokens
from .second_look import SECOND_SETS, FirstLook, Helper, SecondLook, by_both_looks
from .sight import QUESTIONS, Look, PatchWatch, Seer, Sight, by_view, layers_worth, statistics_of
from .views import CROPS, SHIFTS, crop_origin_sets, make_views
from .wording import DESCRIBE, protection_sentence, uncertainty_sentence
from .yes_no import YesNo

if TYPE_CHECKING:
    from typing import Self  # of Python 3.11

MAX_DESCRIPTION_TOKENS, MAX_FOREIGN_DESCRIPTION_TOKENS = 96, 256
"""Length limit of a description in tokens: of a model that was trained to be brief, and of others."""

MAX_GUIDANCE_TOKENS = 64
"""Guidance tokens per image at most: more are averaged down, so that cross-attention stays cheap."""

SMALL = 2**27
"""Number of parameters below which a model is shown several sets of views for an adapter, and works on one core."""

DETAIL_KEY = "mofe_sees_detail"
"""Key of config.json: true for a model that sees the crops as amplified detail."""


class Describer(Seer, Protocol):
    """Anything that makes guidance from images: a model folder opened by transformers, or a model of the host."""

    @property
    def max_tokens(self) -> int:
        """Length limit of a description, in tokens."""
        ...

    @property
    def looks_twice(self) -> bool:
        """Whether it has use for a helper."""
        ...

    @property
    def memory_bytes(self) -> int:
        """Estimate of the memory that it takes beside its weights; 0 where it takes care of its memory itself."""
        ...

    def with_adapter(self, adapter: Adapter | None) -> Self:
        """Return the same model, with an adapter or without."""
        ...

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
            instruction: Asked instead of the standard question, or obeyed if it says what to remove or to keep.
            on_token: Called before every image and question, and after every token where the model allows it; an error
                that it raises ends the run.
            on_check: The same before every layer of the model, so also while it reads a prompt.
            helper: Removes noise and JPEG for a second look, by models that look twice.
        """
        ...


class MllmNetwork(nn.Module):
    """A language model and what reads its embedding as one module.

    Hosts set attributes such as `device` on the module they manage, which a transformers model only offers to read.
    """

    language_model: Any
    head: DegradationHead | None
    second_look: SecondLook | None

    def __init__(
        self, language_model: nn.Module, head: DegradationHead | None, second_look: SecondLook | None = None
    ) -> None:
        super().__init__()
        self.language_model, self.head, self.second_look = language_model, head, second_look


class Mllm:
    """An MLLM opened by transformers, ready to run (a `Describer`).

    Example:
        >>> mllm = load_mllm("weights/mllm")
        >>> mllm.describe(image.rgb).descriptions[0]
        'Strong noise (sigma 0.098). No low light, ...'

    Attributes:
        network: The language model, the head and the network of a second look, for hosts that manage memory.
        identity: Name and digest of the model folder; guidance carries it.
        width: D, the length of an embedding.
        directions: Of its embedding, for guidance whose severities are set; None where it has none.
        sees_detail: Whether it was trained to see the crops as amplified detail.
        adapter: Leads from what it sees to the guidance of another MLLM; None where it guides by itself.
    """

    def __init__(
        self,
        language_model: Any,
        processor: Any,
        head: DegradationHead | None,
        identity: str,
        directions: Directions | None = None,
        second_look: SecondLook | None = None,
    ) -> None:
        self.network = MllmNetwork(language_model, head, second_look)
        self.network.eval().requires_grad_(False)
        self.processor = processor
        self.identity = identity
        self.directions = directions
        self.name = identity.partition(":")[0]
        self.width = int(language_model.get_input_embeddings().embedding_dim)
        self.sees_detail = bool(getattr(language_model.config, DETAIL_KEY, False))
        self.adapter: Adapter | None = None
        self._memory = Memory()
        self._yes_no = YesNo(self.name, language_model, processor.tokenizer, self.inputs)
        self._image_token = _image_token(language_model, processor)
        self._positions = _positions(language_model.config)
        takes = inspect.signature(type(language_model).forward).parameters
        # an embedding needs no logits: with a vocabulary of 150,000 words those of a whole prompt are gigabytes
        self._few_logits = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        # with labels a model would compute a loss; token types are given by many a tokenizer that its model never asked
        self._not_taken = {"labels"} if "token_type_ids" in takes else {"labels", "token_type_ids"}

    def with_adapter(self, adapter: Adapter | None) -> Mllm:
        """Return the same model, with an adapter or without; both share one network."""
        other = copy.copy(self)
        other.adapter, other._memory = adapter, Memory()
        return other

    @property
    def max_tokens(self) -> int:
        """Length limit of a description, in tokens."""
        return MAX_FOREIGN_DESCRIPTION_TOKENS if self.network.head is None else MAX_DESCRIPTION_TOKENS

    @property
    def looks_twice(self) -> bool:
        """Whether it has use for a helper: with a network for it, and guiding by itself."""
        return self.network.second_look is not None and self.adapter is None

    @property
    def memory_bytes(self) -> int:
        """Estimate of the working memory: some 64 live fp32 activations of its width for 2,048 tokens."""
        return 64 * 2048 * 4 * self.width

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        return next(self.network.parameters()).device

    @torch.inference_mode()
    def describe(
        self,
        images: Tensor,
        *,
        instruction: str = "",
        max_new_tokens: int | None = None,
        on_token: Callable[[], None] | None = None,
        on_check: Callable[[], None] | None = None,
        helper: Helper | None = None,
        with_text: bool = True,
    ) -> Guidance:
        """Describe each image of a batch.

        Args:
            images: [B, 3, H, W] in 0..1, any size from 2 px up.
            instruction: Asked instead of the standard question; it changes the description, not the embedding. One that
                says what to remove or to keep (`read_order`) is not asked but obeyed. A model with a head answers the
                standard question, and whether and how strongly a named degradation is present, from its scores
                (`answer_from_scores`); in the place of any other answer it says what it can answer. What is not
                understood or not followed is in the notes of the guidance.
            max_new_tokens: Length limit of each description; None for `max_tokens`.
            on_token: Called before every image and question, and after every token; an error that it raises ends the
                run.
            on_check: The same before every layer of the model, so also while it reads a prompt.
            helper: A restorer that has a camera branch. A model that looks twice and sees noise or JPEG looks again, at
                crops without them, and judges low light and weather by both looks and by the restorer's preview.
            with_text: False leaves the descriptions empty and saves their time.

        Raises:
            MllmError: The model gave values that are not finite, or cannot answer yes or no.
        """
        order = read_order(instruction)
        question = instruction if instruction and not order.is_order else DESCRIBE
        notes: list[str] = []
        if with_text and self.network.head is None and question != DESCRIBE:
            question, notes = self._fit(question, order, max_new_tokens or self.max_tokens)
        with checked_at_every_layer(self.network, on_check):
            parts = [
                self._describe_one(image, question, max_new_tokens or self.max_tokens, on_token, helper, with_text)
                for image in images
            ]
        guidance = Guidance.join(parts)
        if with_text and self.network.head is not None and _cannot_answer(question):
            say = in_language_of(question)
            notes = [say.cannot_answer(question) if order.is_question else say.not_understood(question)]
        return order.apply(guidance.with_notes(notes))

    def _fit(self, question: str, order: Order, max_new_tokens: int) -> tuple[str, list[str]]:
        """Return a user's question as text that the model has room for, and notes about what was done to it."""
        say = in_language_of(question)
        notes = [] if order.is_question else [say.only_asked(question)]
        text = as_text(question[:MAX_QUESTION_CHARACTERS], control_tokens(self.processor))
        taken = self.inputs(self.views(torch.zeros(3, 64, 64))[None], "")["input_ids"].shape[1]
        asked = cut_to_tokens(text, self.processor.tokenizer, max(1, self._positions - taken - max_new_tokens))
        if len(question) > MAX_QUESTION_CHARACTERS or asked != text:
            notes.append(say.cut_question(len(asked)))
        return asked, notes

    def views(self, image: Tensor) -> Tensor:
        """Return the views of an image [3, H, W] in 0..1 as this model wants to see them: uint8 [V, 3, S, S]."""
        return make_views(image, detail=self.sees_detail)

    def view_sets(
        self, image: Tensor, most: int | None = None, clean: Callable[[Tensor], Tensor] | None = None
    ) -> Tensor:
        """Return several sets of views of an image [3, H, W], uint8 [L, V, 3, S, S], the one of `views` first.

        Crops show a part of an image only, and what four of them miss the next four may show: the mean embedding is
        more accurate (docs/experiments.md). Models without a head see each image once, since they are large.

        Args:
            image: [3, H, W] in 0..1.
            most: Number of sets at most; None for all.
            clean: As for `make_views`.
        """
        origin_sets = crop_origin_sets(image)[: 1 if self.network.head is None else most]
        origins = [origin for origins in origin_sets for origin in origins]
        every = make_views(image, origins, detail=self.sees_detail, clean=clean)
        thumbnail, crops = every[0], every[1:].unflatten(0, (len(origin_sets), CROPS))
        return torch.cat([thumbnail.expand(len(origin_sets), 1, -1, -1, -1), crops], dim=1)

    @torch.inference_mode()
    def embed(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Return tokens [B, T, D] and pooled vectors [B, D] of the views [B, V, 3, S, S] of B images (uint8).

        The tokens are the last hidden states at the image tokens, the pooled vector is the one at the end of the
        standard question: in a causal model it has seen everything before it.
        """
        return self.embed_inputs(self.inputs(views))

    @torch.inference_mode()
    def embed_inputs(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the same as `embed` from the model's inputs for these views and the standard question."""
        states = self._states(inputs)[-1].float()
        if not bool(states.isfinite().all()):
            raise MllmError(_NOT_FINITE.format(self.name))
        at_image = inputs["input_ids"][0] == self._image_token
        tokens = states[:, at_image]
        if tokens.shape[1] > MAX_GUIDANCE_TOKENS:
            tokens = F.adaptive_avg_pool1d(tokens.transpose(1, 2), MAX_GUIDANCE_TOKENS).transpose(1, 2)
        return tokens, states[:, -1]

    @torch.inference_mode()
    def embed_cleaned(self, image: Tensor, faults: Tensor, helper: Helper) -> Tensor:
        """Return the pooled vector [1, D] of an image [3, H, W] in 0..1 in the second look.

        Args:
            image: The image.
            faults: Strengths [1, 3] of the noise and JPEG that the first look saw, see `hiding_faults`.
            helper: Removes them.
        """
        cleaned = self.view_sets(image, SECOND_SETS, lambda crops: helper.clean(crops, faults))
        return self.embed(cleaned)[1].mean(0, keepdim=True)

    def _describe_one(
        self,
        image: Tensor,
        question: str,
        max_new_tokens: int,
        on_token: Callable[[], None] | None,
        helper: Helper | None,
        with_text: bool,
    ) -> Guidance:
        if on_token is not None:
            on_token()
        key = content_of(image), "" if self.adapter is None else self.adapter.identity
        looks = ("seen", *key, None if helper is None else OneObject(helper))
        seen, content = self._memory.recall(looks, lambda: self._see_one(image, on_token, helper))
        if not with_text:
            return seen
        known, reads = None, (seen.scores[0].tolist(), seen.parameters[0].tolist())
        if self.network.head is not None or self.adapter is not None:
            known = answer_from_scores(question, *reads)
        if known is None and self.network.head is not None:
            question, known = DESCRIBE, answer_from_scores(DESCRIBE, *reads) or ""
        if known is not None and question == DESCRIBE:
            known = " ".join(filter(None, (known, uncertainty_sentence(seen))))
        if known is None:
            known = self._memory.recall(
                ("said", *key, question, max_new_tokens),
                lambda: self._generate(self.view_sets(image)[0], question, max_new_tokens, on_token),
            )
        if content and known:
            known = f"{known} {protection_sentence(content)}"
        return replace(seen, descriptions=(known,))

    def _see_one(
        self, image: Tensor, on_token: Callable[[], None] | None, helper: Helper | None
    ) -> tuple[Guidance, str]:
        """Return the guidance of one image [3, H, W], without a description, and its content, see `measured`."""
        if self.adapter is not None:
            aligned = self.adapter.guidance(self.see(image, self.adapter.look)).to(image.device)
            return measured(aligned, image)
        if self.network.head is None:
            return self._see_by_questions(image, on_token), ""
        look, judge = self.first_look(image), self.network.second_look
        if look.content or judge is None:
            return look.seen, look.content
        again, reading = None, None
        if look.faults is not None:
            if helper is None:
                return look.seen, ""
            again = self.embed_cleaned(image, look.faults, helper)
            reading = self.network.head(again)
        preview = None
        if helper is not None and helper.mllm_identity in ("", self.identity):  # one of another MLLM only cleans
            preview = helper.preview(image[None], look.pooled, look.faults)
        second, statistics = look.pooled if again is None else again, image_statistics(image)[None].to(look.pooled)
        presence = judge(look.pooled, second, statistics, preview)
        return by_both_looks(look.seen, look.reading, reading, presence), ""

    @torch.inference_mode()
    def first_look(self, image: Tensor) -> FirstLook:
        """Return what a model with a head sees at first in an image [3, H, W] in 0..1."""
        assert self.network.head is not None
        tokens, pooled = self.embed(self.view_sets(image))
        pooled = pooled.mean(0, keepdim=True)
        reading = self.network.head(pooled)
        seen = Guidance(
            tokens[:1],
            pooled,
            reading.scores(),
            reading.physical(),
            ("",),
            self.identity,
            certainty=reading.certainty(),
            directions=self.directions,
        )
        return FirstLook(pooled, reading, *measured(seen, image))

    def _see_by_questions(self, image: Tensor, on_token: Callable[[], None] | None) -> Guidance:
        """Return the guidance of one image [3, H, W] by a model without a head, which is asked yes or no."""
        view_sets = self.view_sets(image)
        tokens, pooled_each = self.embed(view_sets)
        pooled = pooled_each.mean(0, keepdim=True)
        with self._one_thread():
            scores = self._yes_no.scores(view_sets[0], on_token)
        unknown = torch.full((1, len(PARAMETERS)), torch.nan, device=pooled.device)
        seen = Guidance(tokens[:1], pooled, scores, unknown, ("",), self.identity, directions=self.directions)
        unprotected = torch.zeros(1, dtype=torch.bool, device=pooled.device)
        return replace(with_measured_jpeg(seen, image), protected=unprotected)

    @property
    def layers(self) -> tuple[int, ...]:
        """Hidden states worth reading for an adapter, the output last."""
        config = self.network.language_model.config
        text = getattr(config, "text_config", config)
        return layers_worth(int(text.num_hidden_layers))

    @property
    def view_sets_worth(self) -> int:
        """Sets of views that it can be shown at little cost: all for a small model, one for a large one."""
        return len(SHIFTS) if self._is_small else 1

    @cached_property
    def _is_small(self) -> bool:
        return bool(sum(parameter.numel() for parameter in self.network.language_model.parameters()) < SMALL)

    def _one_thread(self) -> AbstractContextManager[object]:
        """Return a context in which a small model works on one core: its operations are too small to be shared."""
        return limited_threads() if self.device.type == "cpu" and self._is_small else nullcontext()

    @torch.inference_mode()
    def see(self, image: Tensor, look: Look) -> Sight:
        """Return the statistics of an image for an adapter (`sight.Seer.see`).

        Raises:
            MllmError: The model gave values that are not finite.
        """
        origin_sets = crop_origin_sets(image)[: look.sets]
        seen, patches = [], []
        for origins in origin_sets:
            views = make_views(image, origins, detail=look.detail)
            inputs = self.inputs(views[None], QUESTIONS[look.question])
            with PatchWatch(self.network.language_model) as watch:
                states = self._states(inputs)
            at_image = (inputs["input_ids"][0] == self._image_token).to(states[0].device)
            layers = [states[layer][0] for layer in look.layers]
            each = [statistics_of(state[-1], by_view(state[at_image], len(views)), look.statistics) for state in layers]
            seen.append(torch.stack(each))
            patches.append(watch.statistics(len(views), look.patches))
        sight = Sight(torch.stack(seen).mean(0).cpu(), torch.stack(patches).mean(0).cpu())
        if not bool(sight.flat().isfinite().all()):
            raise MllmError(_NOT_FINITE.format(self.name))
        return sight

    def _states(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Return all hidden states of the language model, each [B, T, D]."""
        with self._one_thread():
            output = self.network.language_model(
                **inputs, output_hidden_states=True, use_cache=False, **self._few_logits
            )
        states: tuple[Tensor, ...] = output.hidden_states
        return states

    def _generate(self, views: Tensor, question: str, max_new_tokens: int, on_token: Callable[[], None] | None) -> str:
        inputs = self.inputs(views[None], question)

        def after_token(ids: Tensor, _scores: Any, **_: Any) -> Tensor:
            if on_token is not None:
                on_token()
            return torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)

        with self._one_thread():
            output = self.network.language_model.generate(
                **inputs, max_new_tokens=max_new_tokens, do_sample=False, stopping_criteria=[after_token]
            )
        answer = output[0, inputs["input_ids"].shape[1] :]
        return str(self.processor.tokenizer.decode(answer, skip_special_tokens=True)).strip()

    def _prompt(self, question: str, images: int) -> str:
        """Return the text of a question about so many images."""
        # the processor does not ask its tokenizer for a template by itself
        template = getattr(self.processor, "chat_template", None) or self.processor.tokenizer.chat_template
        if not template:  # the form of PaliGemma, the family without templates
            return f"{self.processor.image_token * images}{self.processor.tokenizer.bos_token}{question}\n"
        content = [{"type": "image"} for _ in range(images)] + [{"type": "text", "text": question}]
        conversation = [{"role": "user", "content": content}]
        return str(self.processor.apply_chat_template(conversation, chat_template=template, add_generation_prompt=True))

    def inputs(self, views: Tensor, question: str = DESCRIBE) -> dict[str, Tensor]:
        """Return the model's inputs for the views [B, V, 3, S, S] of B images, which all have one size."""
        prompt = self._prompt(question, views.shape[1])
        images = [
            [Image.fromarray(np.ascontiguousarray(view)) for view in one]
            for one in views.permute(0, 1, 3, 4, 2).cpu().numpy()
        ]
        inputs = self.processor(text=[prompt] * len(images), images=images, return_tensors="pt")
        dtype = next(self.network.language_model.parameters()).dtype
        return {
            name: value.to(self.device, dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
            if isinstance(value, Tensor) and name not in self._not_taken
        }


def _cannot_answer(question: str) -> bool:
    """Return whether scores do not answer a question, whatever they are."""
    return answer_from_scores(question, [0.0] * len(DEGRADATIONS), [0.0] * len(PARAMETERS)) is None


def _positions(config: Any) -> int:
    """Return how many tokens a model can read and write together; a large number where it does not say."""
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    positions = getattr(text, "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions > 0 else 1 << 20


_NOT_FINITE = "The MLLM {} gave values that are not finite: load it again with precision fp32 or bf16."


def _image_token(language_model: Any, processor: Any) -> int:
    """Return the id of the token that stands for a piece of an image; its name differs between architectures."""
    config = language_model.config
    for owner, names in ((config, ("image_token_id", "image_token_index")), (processor, ("image_token_id",))):
        for name in names:
            token = getattr(owner, name, None)
            if isinstance(token, int):
                return token
    raise MllmError(
        f"The architecture {config.model_type!r} does not say which tokens are image tokens: choose another."
    )

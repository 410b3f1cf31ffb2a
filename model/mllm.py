"""A multimodal language model that looks at a picture, says what is wrong with it and embeds it.

The shipped model comes with a `DegradationHead`; others are asked a yes-or-no question per degradation instead. How a
model folder is opened: `mllm_folder.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from .guidance import DEGRADATIONS, PARAMETERS, PRESENT, Guidance, strength_of
from .head import DegradationHead
from .questions import answer_from_scores
from .steering import heed, is_order
from .views import CROPS, origins_around, views
from .wording import DESCRIBE, strength_word, yes_no_question

MOST_WORDS, MOST_WORDS_ELSEWHERE = 96, 256
"""Length limit of a description in tokens: of a model that has learned to be brief, and of others."""

MAX_TOKENS = 64
"""Guidance tokens per picture at most: more are averaged down, so that cross-attention stays cheap."""

DETAIL_KEY = "mofe_sees_detail"
"""Key of config.json: true for a model that sees the crops as amplified detail."""


class MllmError(ValueError):
    """A model folder that cannot be used; the message is one sentence for the user."""


class MllmNetwork(nn.Module):
    """Holds a language model and its head.

    Hosts set attributes such as `device` on the module they manage, which a transformers model only offers to read.
    """

    language_model: Any
    head: DegradationHead | None

    def __init__(self, language_model: nn.Module, head: DegradationHead | None) -> None:
        super().__init__()
        self.language_model, self.head = language_model, head


class Mllm:
    """An MLLM ready to run.

    Attributes:
        network: the language model and the head, for hosts that manage memory.
        identity: name and digest of the model folder; guidance carries it.
        width: D, the length of an embedding.
        sees_detail: it was trained to see the crops as amplified detail.
    """

    def __init__(self, language_model: Any, processor: Any, head: DegradationHead | None, identity: str) -> None:
        self.network = MllmNetwork(language_model, head)
        self.network.eval().requires_grad_(False)
        self.processor = processor
        self.identity = identity
        self.name = identity.partition(":")[0]
        self.width = int(language_model.get_input_embeddings().embedding_dim)
        self.sees_detail = bool(getattr(language_model.config, DETAIL_KEY, False))
        self._image_token = _image_token(language_model, processor)
        takes = inspect.signature(type(language_model).forward).parameters
        # an embedding needs no logits: with a vocabulary of 150,000 words those of a whole prompt are gigabytes
        self._few_logits = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    @property
    def most_words(self) -> int:
        """Length limit of a description, in tokens."""
        return MOST_WORDS_ELSEWHERE if self.network.head is None else MOST_WORDS

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @torch.inference_mode()
    def describe(
        self,
        pictures: Tensor,
        *,
        instruction: str = "",
        max_new_tokens: int | None = None,
        on_token: Callable[[], None] | None = None,
        with_text: bool = True,
    ) -> Guidance:
        """Look at each picture of a batch.

        Args:
            pictures: [B, 3, H, W] in 0..1, any size from 2 px up.
            instruction: asked instead of the standard question; it changes the description, not the embedding. One that
                says what to remove or to keep (`is_order`) is not asked but heeded. A model that has a head answers the
                standard question, and whether and how strongly a named degradation is there, from its scores
                (`answer_from_scores`).
            max_new_tokens: length limit of each description; None for `most_words`.
            on_token: called before every picture and question, and after every token; what it raises ends the run.
            with_text: False leaves the descriptions empty and saves their time.
        """
        question = DESCRIBE if not instruction or is_order(instruction) else instruction
        guidance = Guidance.join(
            [
                self._describe_one(each, question, max_new_tokens or self.most_words, on_token, with_text)
                for each in pictures
            ]
        )
        return heed(guidance, instruction)

    def looks(self, picture: Tensor) -> Tensor:
        """The `views` of a picture [3, H, W] in 0..1 as this model wants to see them: uint8 [V, 3, S, S]."""
        return views(picture, detail=self.sees_detail)

    def look_around(self, picture: Tensor) -> Tensor:
        """Several looks at a picture [3, H, W], uint8 [L, V, 3, S, S], the one of `looks` first.

        Crops show a part of a picture only, and what four of them miss the next four may show: the mean embedding tells
        more (training/RESULTS.md). Models without a head see each picture once, since they are large.
        """
        looks = origins_around(*picture.shape[1:])[: 1 if self.network.head is None else None]
        every = views(picture, [origin for origins in looks for origin in origins], detail=self.sees_detail)
        overview, crops = every[0], every[1:].unflatten(0, (len(looks), CROPS))
        return torch.cat([overview.expand(len(looks), 1, -1, -1, -1), crops], dim=1)

    @torch.inference_mode()
    def embed(self, looks: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, T, D] and pooled vectors [B, D] of the views [B, V, 3, S, S] of B pictures (uint8).

        The tokens are the last hidden states at the image tokens, the pooled vector is the one at the end of the
        standard question: in a causal model it has seen everything before it.
        """
        return self.embed_inputs(self.inputs(looks))

    @torch.inference_mode()
    def embed_inputs(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The same from what the model takes for these views and the standard question."""
        output = self.network.language_model(**inputs, output_hidden_states=True, use_cache=False, **self._few_logits)
        states = output.hidden_states[-1].float()
        if not bool(states.isfinite().all()):
            raise MllmError(
                f"The MLLM {self.name} gave values that are not finite: load it again with precision fp32 or bf16."
            )
        at_image = inputs["input_ids"][0] == self._image_token
        tokens = states[:, at_image]
        if tokens.shape[1] > MAX_TOKENS:
            tokens = F.adaptive_avg_pool1d(tokens.transpose(1, 2), MAX_TOKENS).transpose(1, 2)
        return tokens, states[:, -1]

    def _describe_one(
        self,
        picture: Tensor,
        question: str,
        max_new_tokens: int,
        on_token: Callable[[], None] | None,
        with_text: bool,
    ) -> Guidance:
        if on_token is not None:
            on_token()
        around = self.look_around(picture)
        tokens, each = self.embed(around)
        looks, tokens, pooled = around[0], tokens[:1], each.mean(0, keepdim=True)
        if self.network.head is None:
            scores, parameters = (
                self._ask_for_each(looks, on_token),
                torch.full((1, len(PARAMETERS)), torch.nan, device=pooled.device),
            )
        else:
            reading = self.network.head(pooled)
            scores, parameters = reading.scores(), reading.physical()
        known: str | None = None if with_text else ""
        if with_text and self.network.head is not None:
            known = answer_from_scores(question, scores[0].tolist(), parameters[0].tolist())
            if known is None:
                # the words come from one look: the one that tells most nearly what all of them tell together
                looks = around[int((self.network.head(each).scores() - scores).abs().sum(1).argmin())]
        text = self._generate(looks, question, max_new_tokens, on_token) if known is None else known
        return Guidance(tokens, pooled, scores, parameters, (text,), self.identity)

    def _ask_for_each(self, looks: Tensor, on_token: Callable[[], None] | None) -> Tensor:
        """[1, 7] scores as the probability of "yes" against "no", for models without a head."""
        tokenizer = self.processor.tokenizer
        starts = [{tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in words} for words in _ANSWERS]
        yes, no = sorted(starts[0] - starts[1]), sorted(starts[1] - starts[0])  # a token that starts both says nothing
        if not yes or not no:
            raise MllmError(f"The tokenizer of {self.name} cannot tell yes from no: choose another model.")
        scores = []
        for degradation in DEGRADATIONS:
            if on_token is not None:
                on_token()
            inputs = self.inputs(looks[None], yes_no_question(degradation))
            logits = self.network.language_model(**inputs, use_cache=False, **self._few_logits).logits[0, -1].float()
            odds = torch.logsumexp(logits[yes], 0) - torch.logsumexp(logits[no], 0)
            scores.append(odds.sigmoid())
        return torch.stack(scores)[None]

    def _generate(self, looks: Tensor, question: str, max_new_tokens: int, on_token: Callable[[], None] | None) -> str:
        inputs = self.inputs(looks[None], question)

        def after_token(ids: Tensor, _scores: Any, **_: Any) -> Tensor:
            if on_token is not None:
                on_token()
            return torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)

        output = self.network.language_model.generate(
            **inputs, max_new_tokens=max_new_tokens, do_sample=False, stopping_criteria=[after_token]
        )
        answer = output[0, inputs["input_ids"].shape[1] :]
        return self.processor.tokenizer.decode(answer, skip_special_tokens=True).strip()

    def inputs(self, looks: Tensor, question: str = DESCRIBE) -> dict[str, Tensor]:
        """What the model takes for the views [B, V, 3, S, S] of B pictures. All are of one size: nothing is padded."""
        content = [{"type": "image"} for _ in looks[0]] + [{"type": "text", "text": question}]
        asked = [{"role": "user", "content": content}]
        # the processor does not ask its tokenizer for a template by itself
        template = getattr(self.processor, "chat_template", None) or self.processor.tokenizer.chat_template
        prompt = self.processor.apply_chat_template(asked, chat_template=template, add_generation_prompt=True)
        pictures = [
            [Image.fromarray(np.ascontiguousarray(view)) for view in look]
            for look in looks.permute(0, 1, 3, 4, 2).cpu().numpy()
        ]
        inputs = self.processor(text=[prompt] * len(pictures), images=pictures, return_tensors="pt")
        dtype = next(self.network.language_model.parameters()).dtype
        return {
            name: value.to(self.device, dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
            if isinstance(value, Tensor)
        }


_ANSWERS = (("yes", " yes", "Yes", " Yes"), ("no", " no", "No", " No"))


def report(guidance: Guidance) -> list[dict[str, Any]]:
    """What the guidance says, one JSON-ready dictionary per picture."""
    return [
        {
            "description": guidance.descriptions[index],
            "scores": dict(zip(DEGRADATIONS, (round(value, 4) for value in scores), strict=True)),
            "present": {
                name: strength_word(strength_of(value))
                for name, value in zip(DEGRADATIONS, scores, strict=True)
                if value >= PRESENT
            },
            "parameters": None
            if bool(guidance.parameters[index].isnan().all())
            else dict(zip(PARAMETERS, (round(value, 4) for value in guidance.parameters[index].tolist()), strict=True)),
            "removal": None
            if guidance.removal is None
            else dict(zip(DEGRADATIONS, (round(value, 4) for value in guidance.removal[index].tolist()), strict=True)),
            "mllm": guidance.mllm_identity,
        }
        for index, scores in enumerate(guidance.scores.tolist())
    ]


def _image_token(language_model: Any, processor: Any) -> int:
    """The id of the token that stands for a piece of a picture; its name differs between architectures."""
    config = language_model.config
    for owner, names in ((config, ("image_token_id", "image_token_index")), (processor, ("image_token_id",))):
        for name in names:
            if isinstance(getattr(owner, name, None), int):
                return getattr(owner, name)
    raise MllmError(
        f"The architecture {config.model_type!r} does not say which tokens are image tokens: choose another."
    )

"""A CLIP of ComfyUI that reads pictures and writes text, in the place of an MLLM from a folder.

ComfyUI keeps its memory, its low-precision weights and its Cancel, which works at every token. `CLIP` is asked for no
more than `tokenize`, `generate`, `decode` and `encode_from_tokens`; nothing of ComfyUI is imported.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from ..model.guidance import Guidance

MOST_PIXELS = 1024 * 1024
"""Larger pictures are shown smaller, as ComfyUI's own nodes do: a language model's memory grows with the pixels."""

FOUND = 0.75
"""Score of a degradation that was named: such a model says what there is, and not how much."""

LIST_TOKENS = 48


class ClipMllm:
    """Describes pictures as `model.mllm.Mllm` does, one after the other.

    Attributes:
        identity: kind and digest of the model; guidance carries it.
    """

    def __init__(self, clip: Any) -> None:
        """Args:
            clip: the CLIP.

        Raises:
            ValueError: it reads no pictures, or writes no text.
        """
        import torch

        grey = torch.full((1, 64, 64, 3), 0.5)
        if not callable(getattr(clip, "generate", None)) or not _has_pictures(_ask(clip, "?", grey)):
            raise ValueError(
                "The connected CLIP does not read pictures and write text: load a vision language model such as "
                "Qwen3-VL with Load CLIP, or disconnect it to use the chosen model."
            )
        self._clip = clip
        self.identity = identity_of(clip)

    @property
    def most_words(self) -> int:
        """Length limit of a description, in tokens."""
        from ..model.mllm import MOST_WORDS_ELSEWHERE

        return MOST_WORDS_ELSEWHERE

    def describe(
        self,
        pictures: Tensor,
        *,
        instruction: str = "",
        max_new_tokens: int | None = None,
        on_token: Callable[[], None] | None = None,
    ) -> Guidance:
        """Looks at each picture of a batch.

        Args:
            pictures: [B, 3, H, W] in 0..1.
            instruction: as for `model.mllm.Mllm.describe`.
            max_new_tokens: length limit of each description; None for `most_words`.
            on_token: called before every question to the model; what it raises ends the run.
        """
        from ..model.guidance import Guidance
        from ..model.steering import heed, is_order
        from ..model.wording import DESCRIBE

        question = DESCRIBE if not instruction or is_order(instruction) else instruction
        most = max_new_tokens or self.most_words
        parts = [self._describe_one(shown(each), question, most, on_token) for each in pictures]
        return heed(Guidance.join(parts), instruction)

    def _describe_one(
        self, picture: Tensor, question: str, max_new_tokens: int, on_token: Callable[[], None] | None
    ) -> Guidance:
        import torch
        import torch.nn.functional as F

        from ..model.guidance import DEGRADATIONS, PARAMETERS, Guidance
        from ..model.mllm import MAX_TOKENS
        from ..model.wording import DESCRIBE

        def check() -> None:
            if on_token is not None:
                on_token()

        check()
        states = self._clip.encode_from_tokens(_ask(self._clip, DESCRIBE, picture)).float()
        if not bool(states.isfinite().all()):
            raise ValueError("The connected CLIP gave values that are not finite: load it again in another precision.")
        tokens = F.adaptive_avg_pool1d(states.mT, MAX_TOKENS).mT if states.shape[1] > MAX_TOKENS else states
        check()
        named = degradations_in(self._answer(list_question(), picture, LIST_TOKENS))
        check()
        text = self._answer(question, picture, max_new_tokens)
        scores = torch.tensor([[FOUND if name in named else 0.0 for name in DEGRADATIONS]])
        parameters = torch.full((1, len(PARAMETERS)), torch.nan)
        return Guidance(tokens, states[:, -1], scores, parameters, (text,), self.identity)

    def _answer(self, question: str, picture: Tensor, tokens: int) -> str:
        ids = self._clip.generate(_ask(self._clip, question, picture), do_sample=False, max_length=tokens)
        return self._clip.decode(ids).strip()


def identity_of(clip: Any) -> str:
    """Kind and digest of a CLIP: names and shapes of its weights and the beginning of each, and what patches them."""
    network = clip.cond_stage_model
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(value.detach().reshape(-1)[:16].float().cpu().numpy().tobytes())
    digest.update(repr(sorted(map(str, clip.patcher.patches))).encode())
    return f"CLIP {type(network).__name__.strip('_')}:{digest.hexdigest()[:16]}"


def shown(picture: Tensor) -> Tensor:
    """A picture [3, H, W] in 0..1 as IMAGE [1, H, W, 3] of at most `MOST_PIXELS`."""
    import torch.nn.functional as F

    height, width = picture.shape[-2:]
    fit = (MOST_PIXELS / (height * width)) ** 0.5
    if fit < 1:
        size = (max(1, int(height * fit)), max(1, int(width * fit)))
        picture = F.interpolate(picture[None], size, mode="bilinear", antialias=True, align_corners=False)[0]
    return picture.movedim(0, -1)[None]


def list_question() -> str:
    from ..model.wording import NAMES

    return (
        f"Which of these does this picture suffer from: {', '.join(NAMES.values())}? "
        "Answer only with words of this list, separated by commas, or with: none."
    )


def degradations_in(answer: str) -> set[str]:
    """The degradations that an answer to `list_question` names; whatever else it says names none."""
    from ..model.wording import NAMES

    items = {item.strip(" .*-\"'").lower() for item in re.split(r"[,;\n]|\band\b", answer)}
    return {name for name, words in NAMES.items() if words.lower() in items}


def _ask(clip: Any, question: str, picture: Tensor) -> Any:
    # as the core's own text generation asks; some tokenizers leave the picture out where the template is skipped
    return clip.tokenize(question, image=picture, skip_template=False, min_length=1, thinking=False)


def _has_pictures(tokens: Any) -> bool:
    """Whether a picture stands among the tokens; text encoders drop the argument without a word."""
    rows = next(iter(tokens.values())) if isinstance(tokens, dict) else tokens
    return any(isinstance(token[0], dict) for row in rows for token in row)

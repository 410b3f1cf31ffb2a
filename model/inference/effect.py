"""Whether an order did anything: a sentence for the user where it changed next to nothing (our design)."""

from __future__ import annotations

from torch import Tensor

from ..guidance import Guidance
from ..vocabulary import DEGRADATIONS, DISPLAY_NAMES

NEXT_TO_NOTHING = 1 / 255
"""Mean change below which an order did next to nothing. Noise of sigma 0.02, the least that one sees in a flat area,
is a mean change of 0.016."""


def note_on_order(
    guidance: Guidance, before: Tensor, after: Tensor, strength: float = 1.0, mask: Tensor | None = None
) -> str:
    """Return a sentence that an order changed next to nothing, or an empty text.

    Args:
        guidance: What was to be removed; only what is removed whether it is seen or not is an order.
        before: The images [B, C, H, W] in 0..1.
        after: The restored images; the sentence is about the first one if it holds for all.
        strength: 0..1.
        mask: [B or 1, H, W] in 0..1, multiplies the strength; of an image where that is 0 no change is expected.
    """
    first = ""
    for index in range(len(before)):  # one by one, for a video is not to be copied
        share = strength if mask is None else strength * float(mask[index if len(mask) > 1 else 0].float().mean())
        if share <= 0:
            continue
        note = _note(guidance.for_frame(index, len(before)), before[index], after[index], share)
        if not note:
            return ""
        first = first or note
    return first


def _note(guidance: Guidance, before: Tensor, after: Tensor, share: float) -> str:
    """Return the sentence about one image [C, H, W] that was restored with a mean strength of `share`."""
    if guidance.forced is None or guidance.removal is None:
        return ""
    wanted = (guidance.forced & (guidance.removal > 0))[0].tolist()
    names = [DISPLAY_NAMES[name] for name, is_wanted in zip(DEGRADATIONS, wanted, strict=True) if is_wanted]
    if not names:
        return ""
    change = float((after.float() - before.float()).abs().mean()) / share
    if change >= NEXT_TO_NOTHING:
        return ""
    return (
        f"The order to remove {' and '.join(names)} changed next to nothing (by {255 * change:.1f} of 255 on average): "
        "there is too little of it, or it is of a kind that the restorer does not know."
    )

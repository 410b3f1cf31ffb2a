"""Whether an order did anything: a sentence for the user where it changed next to nothing (our design)."""

from __future__ import annotations

from torch import Tensor

from ..guidance import Guidance
from ..vocabulary import DEGRADATIONS, DISPLAY_NAMES

NEXT_TO_NOTHING = 1 / 255
"""Mean change below which an order did next to nothing. Noise of sigma 0.02, the least that one sees in a flat area,
is a mean change of 0.016."""


def note_on_order(guidance: Guidance, before: Tensor, after: Tensor, strength: float | Tensor = 1.0) -> str:
    """Return a sentence that an order changed next to nothing, or an empty text.

    Args:
        guidance: What was to be removed; only what is removed whether it is seen or not is an order.
        before: The images [B, C, H, W] in 0..1.
        after: The restored images; the sentence is about the first one if it holds for all.
        strength: 0..1, or masks [B or 1, H, W] of it; where it is 0 nothing is expected to change.
    """
    if len(guidance) > 1 or len(before) > 1:
        notes = [
            note_on_order(guidance.for_frame(index, len(before)), before[index, None], after[index, None], strength)
            for index in range(len(before))
        ]
        return next((note for note in notes if note), "") if all(notes) else ""
    if guidance.forced is None or guidance.removal is None:
        return ""
    wanted = (guidance.forced & (guidance.removal > 0)).any(0).tolist()
    names = [DISPLAY_NAMES[name] for name, is_wanted in zip(DEGRADATIONS, wanted, strict=True) if is_wanted]
    share = float(strength) if isinstance(strength, int | float) else float(strength.float().mean())
    if not names or share <= 0:
        return ""
    change = float((after.float() - before.float()).abs().mean()) / share
    if change >= NEXT_TO_NOTHING:
        return ""
    return (
        f"The order to remove {' and '.join(names)} changed next to nothing (by {255 * change:.1f} of 255 on average): "
        "there is too little of it, or it is of a kind that the restorer does not know."
    )

"""What Restore says on its node: what was repaired, what was left alone, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model.vocabulary import ACTION_THRESHOLD, SURE

if TYPE_CHECKING:
    from ..model.guidance import Guidance
    from ..model.inference.plan import RestorationPlan

NO_STRENGTH = "Nothing was changed: the strength is 0."
BLACK_MASK = "Nothing was changed: the mask is black everywhere. Paint what is to be repaired, or disconnect the mask."
TRANSPARENT = "Nothing was changed: all of it is fully transparent."
TRANSPARENT_THERE = "Nothing was changed: what the mask leaves to repair is fully transparent."
IGNORED_MASK = "The mask is the alpha channel of an opaque image and counts as no mask."
NOTHING_TO_REMOVE = (
    "the guidance leaves nothing to remove, or the image only looks degraded, such as a drawing. Ask for a removal in "
    "the instruction of Describe Degradation to have it all the same."
)
DOUBTFUL = (
    "what is seen is not certain. Ask for its removal in the instruction of Describe Degradation to have all of it."
)
NO_GUIDANCE = "The threshold has no effect without guidance: connect Describe Degradation."


def note(plan: RestorationPlan, *, mask_ignored: bool = False) -> str:
    """Return what a restoration does, one sentence or two per line.

    Args:
        plan: Of the restoration.
        mask_ignored: Whether a mask was connected that counts as none.
    """
    if plan.strength == 0:
        return NO_STRENGTH
    images = len(plan.image)
    clean = [index for index in range(images) if not plan.reaches_threshold(index)]
    worked_on = [index for index in range(images) if plan.has_work_in(index)]
    repaired = len(worked_on)
    guarded = [index for index in range(images) if index not in clean and not plan.is_wanted(index)]
    lines = []
    if repaired:
        lines.append(f"{_counted('Repaired', repaired, images)}. {_seen(plan.guidance)}")
    shares = (plan.work_in(index).local_share for index in worked_on)
    if doubtful := [share for share in shares if share < SURE]:
        lines.append(
            f"{_counted('Repaired in part', len(doubtful), images)}, by {100 * min(doubtful):.0f} %: {DOUBTFUL}"
        )
    if clean:
        lines.append(
            f"{_counted('Left alone, bit by bit', len(clean), images)}: nothing that is to be removed reaches the "
            f"threshold of {plan.threshold:.2f}. {_seen(plan.guidance)}"
        )
    if guarded:
        lines.append(f"{_counted('Left alone, bit by bit', len(guarded), images)}: {NOTHING_TO_REMOVE}")
    explained = {*worked_on, *clean, *guarded}
    lines += _out_of_sight(plan, [index for index in range(images) if index not in explained])
    if mask_ignored:
        lines.append(IGNORED_MASK)
    if plan.threshold not in (0, ACTION_THRESHOLD) and plan.guidance is None:
        lines.append(NO_GUIDANCE)
    return "\n".join(lines)


def _out_of_sight(plan: RestorationPlan, left: list[int]) -> list[str]:
    """Return why images are left in which the mask and what is transparent leave nothing to repair."""
    transparent = [index for index in left if plan.is_transparent(index)]
    black = [index for index in left if index not in transparent and plan.is_masked_out(index)]
    rest = [index for index in left if index not in transparent and index not in black]
    reasons = (
        (transparent, TRANSPARENT, "fully transparent"),
        (black, BLACK_MASK, "the mask is black there"),
        (rest, TRANSPARENT_THERE, "what the mask leaves to repair there is fully transparent"),
    )
    images = len(plan.image)
    return [
        everywhere if len(some) == images else f"{_counted('Unchanged', len(some), images)}: {there}."
        for some, everywhere, there in reasons
        if some
    ]


def _counted(what: str, number: int, images: int) -> str:
    return what if images == 1 else f"{what}: {number} of {images} images"


def _seen(guidance: Guidance | None) -> str:
    """Return what the MLLM saw in any of the images, and what is kept all the same."""
    from ..model.vocabulary import DISPLAY_NAMES, PRESENT

    if guidance is None:
        return "No guidance."
    scores = dict(zip(DISPLAY_NAMES.values(), guidance.scores.amax(0).tolist(), strict=True))
    present = [f"{name} {score:.2f}" for name, score in scores.items() if score >= PRESENT]
    if present:
        return f"Seen: {', '.join(present)}."
    name = max(scores, key=lambda each: scores[each])
    return f"Nothing is clearly seen, {name} {scores[name]:.2f} at most."

"""Orders in words, in English and Chinese: "remove half of the haze", "keep the fog", "保留雾，只去除雨" (our design).

They are read by a small grammar and not by the MLLM: what an image loses must be predictable. What is named after
"keep" is kept, whatever else the text says; what the grammar does not understand removes nothing and is said in a note.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..guidance import Guidance
from ..vocabulary import DEGRADATIONS
from . import order_notes
from .order_grammar import Claim, Reader, sentences
from .order_words import Token, is_strange, normalized, tokenize

MAX_CHARACTERS = 2000
"""Length up to which an instruction is read as an order."""


@dataclass(frozen=True)
class Order:
    """What a text asks for.

    Attributes:
        amounts: How much of each named degradation to remove, 0..1.
        rest: The same for all that are not named; None where the text gives no order that can be followed.
        removed: The degradations that it asks to remove, not only to keep in part.
        is_order: Whether it means to say what to remove or to keep, understood or not.
        is_question: Whether it asks something.
        notes: Sentences for the user about what was not understood, in the language of the text.
    """

    amounts: Mapping[str, float] = field(default_factory=dict)
    rest: float | None = None
    removed: frozenset[str] = frozenset()
    is_order: bool = False
    is_question: bool = False
    notes: tuple[str, ...] = ()

    def apply(self, guidance: Guidance) -> Guidance:
        """Return guidance that follows the order; its notes are also said at the beginning of the descriptions."""
        if self.rest == 0 and self.removed:
            guidance = guidance.removing_only(self.amounts)
        elif self.rest is not None:
            guidance = guidance.with_removal({**dict.fromkeys(DEGRADATIONS, self.rest), **self.amounts}, self.removed)
        return guidance.with_notes(self.notes)


def read_order(instruction: str) -> Order:
    """Read a text, in English or Chinese, that may be an order; anything else gives an order without effect.

    What is named after "remove" is removed, and all others are kept; what is named after "keep" or "do not remove" is
    kept, and all others are removed. Amounts are percent, fractions and words: "a little" is 0.25, "some" 0.5, "most"
    0.75; without one, also after "reduce" and "less", all of it is removed. "Keep half" removes the other half.
    """
    whole = instruction.strip()
    text = normalized(whole[:MAX_CHARACTERS])
    reader = Reader(text)
    tokens = tokenize(text)
    for sentence, end in sentences(tokens):
        reader.read(sentence, is_question="?" in end)
    return _order(reader, whole, tokens, is_foreign=is_strange(text))


def _order(reader: Reader, whole: str, tokens: list[Token], is_foreign: bool) -> Order:
    """Return what the claims of a text amount to, and the notes about what they leave open."""
    say = order_notes.in_language_of(whole)
    sure = [claim for claim in reader.claims if claim.mode == "keep" or (claim.is_sure and not is_foreign)]
    amounts, removed, contradictions = _amounts_of(claim for claim in sure if claim.name != "everything")
    general = {claim.mode: claim.removal for claim in sure if claim.name == "everything"}
    if len(general) > 1:
        contradictions, general = ["everything", *contradictions], {}
    rest = next(iter(general.values())) if general else None
    if rest is None and amounts:
        rest = 0.0 if any(claim.mode == "remove" and claim.name in amounts for claim in sure) else 1.0
    notes = []
    if len(whole) > MAX_CHARACTERS and (rest is not None or reader.has_order):
        notes.append(say.too_long(MAX_CHARACTERS))
    if contradictions:
        notes.append(say.contradiction(contradictions, whole if rest is None else ""))
    elif rest is None and reader.has_order and not reader.unclear and not is_foreign:
        if not reader.has_scene:
            notes.append(say.names_none(whole))
    elif rest is None and reader.has_order:
        notes.append(say.not_understood(whole))
    elif rest is not None and (reader.unclear or is_foreign):
        notes.append(say.partly_understood([whole] if is_foreign else reader.unclear))
    if rest is not None and reader.unknown:
        notes.append(say.no_effect(reader.unknown))
    if rest is not None and reader.has_region:
        notes.append(say.no_region())
    is_order = rest is not None or reader.has_order or bool(contradictions)
    return Order(amounts, rest, frozenset(removed), is_order, reader.has_question, tuple(notes))


def _amounts_of(claims: Iterable[Claim]) -> tuple[dict[str, float], set[str], list[str]]:
    """Return the amounts to remove, what is named to be removed, and the names about which claims contradict."""
    amounts: dict[str, float] = {}
    removed, contradictions = set(), []
    for claim in claims:
        if abs(amounts.setdefault(claim.name, claim.removal) - claim.removal) > 1e-6:
            contradictions.append(claim.name)
        if claim.mode == "remove" and claim.removal > 0:
            removed.add(claim.name)
    names = list(dict.fromkeys(contradictions))
    kept = {name: amount for name, amount in amounts.items() if name not in names}
    return kept, removed - set(names), names

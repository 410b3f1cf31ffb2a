"""The grammar of orders: which degradations a text asks to remove or to keep, and how much of each (our design).

It reads a text clause by clause. A verb before its objects ("remove the rain", "去除雨") and one behind them ("the fog
should stay", "把雾去掉") are understood, negations turn a verb around, and lists go on with the verb before them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from .order_words import Token

_VERBS = {
    **dict.fromkeys(("remove", "reduce", "fix", "improve", "repair", "removal", "unwanted"), "remove"),
    **dict.fromkeys(("keep", "wanted", "touch", "add"), "keep"),
}
"""What each kind of verb does with its objects; "touch" and "add" only make sense behind a negation, which keeps."""
_WISHES = ("wanted", "unwanted")
_PREDICATES = {"stays": "keep", "gone": "remove", "touched": "keep"}
_GROUPS = {"weather": ("haze", "rain", "snow")}
_ALL = ("everything", "rest", "anything", "nothing")
_OBJECTS = ("noun", "scene", "weather", *_ALL)
_SKIPPED = ("filler", "only", "harmless", "pronoun", "benign", "copula", "and")
_TURNS = ("but", "except")
_OTHER = {"remove": "keep", "keep": "remove"}
_UNWANTED = ("no", "no more", "without", "没有", "无", "不要")
"""Negations that refuse a thing, not an act: "no noise"."""
_PARTLY = 0.5
"""Share that "do not remove all of it" removes."""


@dataclass
class Claim:
    """That a text asks to remove or to keep a degradation.

    Attributes:
        name: Of the degradation, or "everything".
        mode: "remove" or "keep".
        share: How much of it, 0..1; None where nothing is said.
        is_sure: Whether its clause was understood; if not, nothing is removed because of it.
    """

    name: str
    mode: str
    share: float | None
    is_sure: bool

    @property
    def removal(self) -> float:
        """How much of it is to be removed, 0..1."""
        share = 1.0 if self.share is None else self.share
        return share if self.mode == "remove" else 1 - share


def sentences(tokens: list[Token]) -> Iterator[tuple[list[Token], str]]:
    """Yield the sentences of a text with the marks at their ends."""
    sentence: list[Token] = []
    for token in tokens:
        if token.kind == "stop":
            yield sentence, token.text
            sentence = []
        else:
            sentence.append(token)
    yield sentence, ""


def _clauses(sentence: list[Token]) -> Iterator[tuple[str, list[Token]]]:
    """Cut a sentence at commas, "but", "except", and an "and" behind a verb; yield what leads each clause, and it."""
    lead: str = ""
    clause: list[Token] = []
    for at, token in enumerate(sentence):
        is_cut = token.kind == "comma" or (token.kind == "and" and _ends(clause, sentence[at:]))
        if is_cut or (token.kind in _TURNS and not _is_subject(clause, sentence[at + 1 :])):
            if clause:
                yield lead, clause
                lead, clause = "", []
            if token.kind != "comma" or lead in ("", "and"):
                lead = token.kind
        elif token.kind == "and" and not clause and lead not in _TURNS:
            lead = "and"
        else:
            clause.append(token)
    if clause:
        yield lead, clause


def _ends(clause: list[Token], following: list[Token]) -> bool:
    """Return whether a clause is complete before an "and"; in "I want the rain and the snow gone" it is not."""
    if any(token.kind in (*_VERBS, *_PREDICATES) and token.kind not in _WISHES for token in clause):
        return True
    cut = next((at for at, token in enumerate(following) if token.kind in ("comma", "but", "except", *_VERBS)), None)
    return _acts(clause) and not any(token.kind in _PREDICATES for token in following[:cut])


def _is_subject(clause: list[Token], following: list[Token]) -> bool:
    """Return whether a clause such as "everything but the fog" is what a following "should be removed" is about."""
    cut = next((at for at, token in enumerate(following) if token.kind in ("comma", *_TURNS)), None)
    is_general = any(token.kind in _ALL for token in clause) and not _acts(clause)
    return is_general and any(token.kind in _PREDICATES for token in following[:cut])


def _acts(tokens: list[Token]) -> bool:
    return any(token.kind in _VERBS or token.kind in _PREDICATES for token in tokens)


class Reader:
    """Collect the claims of a text, sentence by sentence.

    Args:
        text: The normalized text of the tokens.

    Attributes:
        claims: All of them, in their order.
        unknown: Objects that are no degradations.
        unclear: Clauses that were not understood, so that nothing is removed because of them.
        has_order: Whether anything is to be removed, kept or improved.
        has_question: Whether anything is asked.
        has_region: Whether a part of the picture is named.
        has_scene: Whether a degradation is named by an adjective.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self.claims: list[Claim] = []
        self.unknown: list[str] = []
        self.unclear: list[str] = []
        self.has_order = self.has_question = self.has_region = self.has_scene = False
        self._mode = ""  # of the list that may go on
        self._share: float | None = None
        self._last: list[Claim] = []  # what "it" means
        self._excepted: list[str] = []  # by an exception before the rule
        self._loose: list[str] = []  # named without a verb
        self._after_nothing = False
        self._is_refused = False  # the last verb is one that removes, behind a negation
        self._is_open = False  # the last verb has no object yet

    def read(self, sentence: list[Token], is_question: bool) -> None:
        """Read one sentence."""
        starts = [token.kind for token in sentence if token.kind not in ("filler", "pronoun", "and", "comma")]
        asks = starts[:1] == ["ask"] or any(token.kind == "ask" and token.text > "z" for token in sentence)
        is_request = any(token.kind == "request" for token in sentence) and _acts(sentence)
        self._mode, self._share, self._excepted = "", None, []
        if (is_question and not is_request) or (asks and not (is_request and starts[:1] != ["ask"])):
            self.has_question = True
            self._loose += [token.name for token in sentence if token.kind == "noun"]
            return
        if is_request:
            sentence = [token for token in sentence if token.kind != "ask"]
        sentence = [token if _is_share(token) else token._replace(kind="uncertain") for token in sentence]
        for lead, clause in _clauses(sentence):
            self._read_clause(lead, clause)
        if self._excepted:  # an exception to nothing
            self.unclear.append(self._quote(sentence))
        for name in self._excepted:
            self._claim(name, "keep", None, is_sure=False)

    def _read_clause(self, lead: str, clause: list[Token]) -> None:
        self.has_region |= any(token.kind == "region" for token in clause)
        self.has_scene |= any(token.kind == "scene" for token in clause)
        verbs = [at for at, token in enumerate(clause) if token.kind in _VERBS and not _is_idle_wish(clause, at)]
        self.has_order |= any(clause[at].kind not in (*_WISHES, "add") for at in verbs)
        predicates = [at for at, token in enumerate(clause) if token.kind in _PREDICATES]
        if lead == "except" and (not self._mode or self._is_open):
            cut = next(
                (at for at, token in enumerate(clause) if token.kind in (*_ALL, *_VERBS, *_PREDICATES, "negative")),
                len(clause),
            )
            self._excepted += [name for token in clause[:cut] for name in _names(token)]
            clause, verbs = clause[cut:], [at - cut for at in verbs]
            predicates = [at - cut for at in predicates]
            lead = "comma"
            if not clause:
                return
        clause = self._without_all(clause)
        sure = _is_clear(clause, (verbs or predicates or [0])[0])
        before = len(self.claims)
        if verbs and not (predicates and all(clause[at].kind in _WISHES for at in verbs)):
            kept_away = clause[verbs[0]].kind == "keep" and any(clause[at].kind == "gone" for at in predicates)
            sure = self._read_verbs(lead, clause, verbs, sure and not kept_away) and sure and not kept_away
        elif predicates:
            self.has_order = True
            sure = self._read_predicate(clause, predicates[-1], sure) and sure
        else:
            sure = self._read_list(lead, clause, sure)
        new = self.claims[before:]
        if new:
            self._last = new
        if not sure and (new or verbs or predicates):
            self.unclear.append(self._quote(clause))
            for claim in new:
                claim.is_sure = False
                claim.share = claim.share if claim.mode == "remove" else None

    def _without_all(self, clause: list[Token]) -> list[Token]:
        """Read "not all" behind something that is named as an amount of it."""
        refused = [at > 0 and clause[at - 1].kind == "negative" and bool(self._last) for at in range(len(clause))]
        return [
            token._replace(kind="amount", share=1.0) if is_refused and token.kind == "everything" else token
            for token, is_refused in zip(clause, refused, strict=True)
        ]

    def _read_verbs(self, lead: str, clause: list[Token], verbs: list[int], sure: bool) -> bool:
        """Read a clause with verbs; return whether it was understood."""
        bounds = [*verbs, len(clause)]
        topic = [at for at in range(verbs[0]) if clause[at].kind in _OBJECTS]
        behind = [_objects_in(clause, verb + 1, end) for verb, end in zip(verbs, bounds[1:], strict=True)]
        # in "the fog away, the rain stays" every verb has its objects before it
        turned = bool(topic) and not behind[-1]
        start = 0
        lead_share, is_leading = None, False
        for number, verb in enumerate(verbs):
            token = clause[verb]
            span = clause[start:verb]
            is_negative, partly = _negation(span)
            joined = next((at for at in range(len(span), 0, -1) if span[at - 1].kind == "and"), 0)
            amounts = [each for each in span[joined:] if each.kind == "amount"]
            lead_share, is_leading = (amounts[-1].share, True) if amounts and not (turned and start) else (None, False)
            mode = _VERBS[token.kind]
            if token.kind in ("touch", "add"):
                sure &= is_negative
            elif is_negative:
                mode = _OTHER[mode]
            if partly:
                lead_share, is_leading = _PARTLY, True
            self._is_refused = is_negative and mode == "keep"
            self._mode, self._share, self._after_nothing = mode, lead_share if is_leading else None, False
            claimed: list[Claim] = []
            if token.kind == "repair":
                claimed.append(self._claim(token.name, mode, lead_share))
            if token.kind != "repair" and (turned or (topic and number == 0 and not behind[0])):
                first = 0 if number == 0 else verbs[number - 1] + 1
                for at in range(first, verb):
                    if clause[at].kind != "scene" or mode == "keep":
                        claimed += self._claim_object(clause, at, mode, lead_share)
            end = bounds[number + 1]
            if turned and number + 1 < len(verbs):
                end = verb + 1
            claimed += self._read_objects(clause, verb + 1, end, token, lead_share, claimed)
            if not claimed and not self._excepted:
                claimed += self._claim_antecedent(clause, verb, end, mode, lead_share)
            is_bare = not any(each.kind in ("word", "benign") for each in clause[verb:end])
            is_bare &= not claimed and not self._excepted and token.kind not in ("wanted", "add")
            if is_bare and mode == "keep":
                claimed.append(self._claim("everything", "keep", None))  # "leave it as it is"
            if lead == "and" and claimed:  # "besides the rain, also remove the fog"
                claimed += [self._claim(name, self._mode, None) for name in self._excepted]
                self._excepted = []
            self._close_exception(claimed)
            start = verb + 1
            self._is_open = not claimed
        return sure

    def _close_exception(self, claimed: list[Claim]) -> None:
        """Claim the opposite for what was excepted before a rule about everything."""
        general = next((claim for claim in claimed if claim.name == "everything"), None)
        if self._excepted and (general or not claimed):
            rule = general or self._claim("everything", self._mode, None)
            for name in self._excepted:
                self._claim(name, _OTHER[rule.mode], None)
            self._excepted = []

    def _read_objects(
        self, clause: list[Token], start: int, end: int, verb: Token, share: float | None, claimed: list[Claim]
    ) -> list[Claim]:
        """Claim the objects between two places of a clause, and give them the amounts that stand there."""
        made: list[Claim] = []
        words: list[str] = []
        has_object, in_context = False, False
        for at in range(start, end):
            token = clause[at]
            if token.kind == "amount":
                if self._is_refused and token.share == 1:
                    token = token._replace(share=_PARTLY)
                if _is_before_object(clause, at, end):
                    share = self._share = token.share
                else:
                    self._give(token, clause, at, verb, [*claimed, *made])
            elif token.kind == "context":
                in_context = bool(has_object or made or claimed)
                has_object |= bool(words)
                self._note_unknown(words, has_known=bool(made or claimed))
                words = []
            elif token.kind == "and":
                self._note_unknown(words, has_known=has_object)
                words, has_object, in_context = [], False, False
            elif token.kind == "negative":
                if token.text in _UNWANTED:
                    self._mode = _OTHER[self._mode] if verb.kind in ("keep", "wanted") else self._mode
                    if verb.kind not in ("keep", "wanted"):
                        self._mode = "keep"
                else:
                    self._mode = "keep" if _VERBS[verb.kind] == "remove" else _OTHER[self._mode]
                share = None
            elif token.kind in _OBJECTS:
                if self._is_object(clause, at, start, verb, in_context, bool(made or claimed)):
                    made += self._claim_object(clause, at, self._mode, share)
                has_object = True
            elif _is_word(token) and not in_context:
                words.append(token.text)
            elif token.kind == "benign":
                has_object = True
        self._note_unknown(words, has_known=has_object or (verb.kind == "repair" and not words[1:]))
        return made

    def _is_object(
        self, clause: list[Token], at: int, start: int, verb: Token, in_context: bool, has_objects: bool
    ) -> bool:
        """Return whether a name in a clause is what the verb acts on, and not where it acts."""
        token = clause[at]
        if self._mode == "keep":
            return True
        if token.kind == "scene":
            between = clause[start:at]
            return verb.kind in ("remove", "reduce") and all(each.kind in (*_SKIPPED, "amount") for each in between)
        if verb.kind == "repair" and at > start and all(each.kind in _SKIPPED for each in clause[start:at]):
            return token.name == verb.name or any(each.kind == "and" for each in clause[start:at])
        return not (in_context and has_objects)

    def _claim_object(self, clause: list[Token], at: int, mode: str, share: float | None) -> list[Claim]:
        """Claim what an object names; "nothing" turns the mode of the whole list."""
        token = clause[at]
        if token.kind == "nothing":
            self._mode, self._after_nothing = mode, True
            return [self._claim("everything", _OTHER[mode], None)]
        return [self._claim(name, mode, share) for name in _names(token)] if token.kind in _OBJECTS else []

    def _claim_antecedent(
        self, clause: list[Token], verb: int, end: int, mode: str, share: float | None
    ) -> list[Claim]:
        """Claim what "it" means, or what an amount without an object belongs to."""
        amounts = [token for token in clause[verb + 1 : end] if token.kind == "amount"]
        has_pronoun = any(token.kind == "pronoun" for token in clause[verb:end])
        if any(token.kind in ("word", "benign") for token in clause[verb:end]) or clause[verb].kind == "improve":
            return []
        share = amounts[-1].share if amounts else share
        revokes = share == 1 and mode == "remove" and any(claim.mode == "keep" for claim in self._last)
        if share is not None and not revokes:  # "but only half of it" says more of the same
            for claim in self._last:
                claim.share = share if mode == claim.mode else 1 - share
            return self._last
        names = [claim.name for claim in self._last] if has_pronoun else []
        return [self._claim(name, mode, None) for name in dict.fromkeys(names or self._loose)]

    def _read_predicate(self, clause: list[Token], at: int, sure: bool) -> bool:
        """Read a clause such as "the fog should stay"; return whether it was understood."""
        is_negative, partly = _negation(clause[:at])
        mode = _PREDICATES[clause[at].kind]
        if clause[at].kind == "touched":
            sure &= is_negative
        elif is_negative:
            mode = _OTHER[mode]
        shares = [token.share for token in clause if token.kind == "amount"]
        share = _PARTLY if partly else shares[-1] if shares else None
        objects = [place for place in range(at) if clause[place].kind in _OBJECTS]
        if not objects and mode == "keep" and (is_negative or clause[at].kind == "stays"):
            self._claim("everything", "keep", None)  # "nothing should be removed"
        for place in objects:
            if any(token.kind in _TURNS for token in clause[:place]) and clause[objects[0]].kind != "nothing":
                self._claim_object(clause, place, _OTHER[mode], None)
            else:
                self._claim_object(clause, place, mode, share)
        self._mode = ""
        return sure

    def _read_list(self, lead: str, clause: list[Token], sure: bool) -> bool:
        """Read a clause without a verb, which goes on with the one before it; return whether it was understood."""
        objects = [at for at, token in enumerate(clause) if token.kind in _OBJECTS]
        amounts = [token for token in clause if token.kind == "amount"]
        is_negative, _ = _negation(clause)
        has_only = any(token.kind == "only" for token in clause)
        is_statement = any(token.kind == "copula" for token in clause)
        context = next((at for at, token in enumerate(clause) if token.kind == "context"), len(clause))
        words = [token.text for token in clause[:context] if _is_word(token)]
        if not objects:
            if amounts and self._last and not words:
                share = amounts[-1].share
                for claim in self._last:
                    claim.share = _PARTLY if is_negative and share == 1 else share
            elif self._mode and lead in ("and", "comma"):
                self._read_objects(clause, 0, len(clause), Token(self._mode, "", 0), None, [])
            return sure
        mode = self._mode
        if lead in ("but", "except") and not is_negative and not has_only and mode:
            mode = mode if self._after_nothing else _OTHER[mode]
        elif is_negative and mode:
            vague = any(token.text in _UNWANTED for token in clause)
            sure &= not (vague and mode == "remove")
            mode = _OTHER[mode]
        elif is_negative:
            wish = next(token.text for token in clause if token.kind == "negative")
            mode = "remove" if wish in _UNWANTED else "keep"
            sure &= mode == "remove" or all(clause[at].kind in _ALL for at in objects)
        elif not mode and any(clause[at].kind in _ALL for at in objects) or not mode and (has_only or amounts):
            mode = "remove"
        if not mode or is_statement:
            self._loose += [name for at in objects for name in _names(clause[at])]
            self._mode = ""
            return True
        self._mode, self._is_refused = mode, False
        before = len(self.claims)
        named = [token for token in clause if token.kind != "negative"]
        earlier = self._last if lead == "and" else []
        self._read_objects(named, 0, len(named), Token(mode, "", 0), self._share if mode == "remove" else None, earlier)
        if is_negative and not lead:
            self._mode = ""  # "not the fog, only the rain"
        if words and len(self.claims) > before and mode == "remove":
            sure = False
        self._close_exception(self.claims[before:])
        return sure

    def _give(self, amount: Token, clause: list[Token], at: int, verb: Token, claims: list[Claim]) -> None:
        """Give an amount that stands behind objects to those that have none yet."""
        to = at and clause[at - 1].kind == "to"
        share = 1 - amount.share if to and verb.kind == "reduce" else amount.share
        for claim in claims:
            if claim.share is None:
                claim.share = share

    def _quote(self, tokens: list[Token]) -> str:
        return self._text[tokens[0].start : tokens[-1].start + len(tokens[-1].text)]

    def _claim(self, name: str, mode: str, share: float | None, is_sure: bool = True) -> Claim:
        claim = Claim(name, mode, share, is_sure)
        self.claims.append(claim)
        return claim

    def _note_unknown(self, words: list[str], has_known: bool) -> None:
        if words and not has_known:
            self.unknown.append(_joined(words))


def _names(token: Token) -> tuple[str, ...]:
    """Return what an object names: degradations, or "everything"."""
    if token.kind in ("noun", "scene"):
        return (token.name,)
    if token.kind in _ALL:
        return ("everything",)
    return _GROUPS.get(token.kind, ())


def _is_share(token: Token) -> bool:
    """Return whether a token is no amount, or one that can be removed; "150%" cannot."""
    return token.kind != "amount" or 0 <= token.share <= 1


def _is_word(token: Token) -> bool:
    """Return whether a token is a word that is not known; single Latin letters are none."""
    return token.kind == "word" and (len(token.text) > 1 or token.text > "z")


def _objects_in(clause: list[Token], start: int, end: int) -> bool:
    return any(token.kind in _OBJECTS or token.kind == "word" for token in clause[start:end])


def _is_idle_wish(clause: list[Token], at: int) -> bool:
    """Return whether "want" only leads to another verb, as in "I want to remove the rain"."""
    return clause[at].kind in _WISHES and any(token.kind in _VERBS for token in clause[at + 1 :])


def _negation(tokens: list[Token]) -> tuple[bool, bool]:
    """Return whether the negations of some tokens turn what follows, and whether they only deny "all"."""
    is_negative = partly = False
    for at, token in enumerate(tokens):
        if token.kind in ("negative", "unwanted"):
            is_negative = not is_negative
        elif token.kind == "forget":
            is_negative = False
        elif token.kind == "amount" and token.share == 1 and is_negative and at:
            partly = True
    return is_negative, is_negative and partly


def _is_before_object(clause: list[Token], at: int, end: int) -> bool:
    """Return whether an amount belongs to what follows it."""
    following = [place for place in range(at + 1, end) if clause[place].kind not in ("filler", "only")]
    if not following or clause[following[0]].kind not in (*_OBJECTS, "word"):
        return False
    behind_object = at > 0 and clause[at - 1].kind in ("noun", "weather", "scene")
    return not (behind_object and following[0] == at + 1)


def _is_clear(clause: list[Token], verb: int) -> bool:
    """Return whether a clause holds nothing that could turn its meaning around."""
    for at, token in enumerate(clause):
        if token.kind in ("foreign", "uncertain", "ask"):
            return False
        is_strange = token.kind == "word" and token.text < "z" and len(token.text) > 1
        if is_strange and at < verb and not any(each.kind == "context" for each in clause[:at]):
            return False
    return True


def _joined(words: list[str]) -> str:
    return " ".join(words) if any(word < "z" for word in words) else "".join(words)

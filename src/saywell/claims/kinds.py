"""The conditions that claims are made of: what each takes, and of which tokens or examples it holds.

A condition of tokens gives a mask of tokens, which is also where a claim points at; one of examples
gives a mask of examples. A new one is a function and a line in KINDS, with its English in
`saywell.claims.english` and, if it is to be found by search, its candidates in `saywell.claims.candidates`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from saywell.claims.corpus import SIGN, Corpus, token_spans
from saywell.claims.feeling import FEELINGS, feels
from saywell.claims.ground import Ground
from saywell.claims.language import Claim, Condition
from saywell.claims.lexis import CLASSES, class_mask
from saywell.claims.pictures import SAYINGS
from saywell.errors import InputError

Mask = Bool[np.ndarray, " tokens"] | Bool[np.ndarray, " examples"]
Holds = Callable[[Ground, Condition], Mask]
PLACES = ("first", "last", "sentence-first", "sentence-last", "early")
EARLY = 3
"""Words of a text that are early in it."""
NEAR = 5
"""Tokens on either side that are near."""


@dataclass(frozen=True)
class Takes:
    """What the values of a condition are, in words, and whether some are that."""

    said: str
    fit: Callable[[tuple[str | float | Condition, ...]], bool]


def _all_texts(values: Sequence[object], fits: Callable[[str], bool]) -> bool:
    """Whether they are strings that can be written to a file, one at least, and all fit."""
    return len(values) > 0 and all(
        isinstance(value, str) and not _UNWRITABLE.search(value) and value.strip() and fits(value)
        for value in values
    )


def _is_sign(text: str) -> bool:
    return token_spans(text) == [(0, len(text))] and bool(Corpus.of([text]).kind[0] == SIGN)


def _is_range(values: Sequence[object], least: int) -> bool:
    """The least and the most, or the least alone."""
    whole = all(isinstance(value, float) and value.is_integer() for value in values)
    return whole and 1 <= len(values) <= 2 and least <= values[0] <= values[-1]  # type: ignore[operator]


def _is_cosine(value: object) -> bool:
    return isinstance(value, float) and -1 <= value <= 1


_UNWRITABLE = re.compile(r"[\ud800-\udfff]")
WORDS = Takes(
    "words in quotation marks, one or more, without spaces",
    lambda values: _all_texts(values, lambda text: not re.search(r"\s", text)),
)
SIGNS = Takes("signs in quotation marks, one or more", lambda values: _all_texts(values, _is_sign))
PHRASES = Takes(
    "phrases in quotation marks, one or more, with a word or sign in each",
    lambda values: _all_texts(values, lambda text: bool(token_spans(text))),
)
NAMES = Takes("names in quotation marks, one or more", lambda values: _all_texts(values, bool))
NEARNESS = Takes(
    "phrases in quotation marks, one or more, and a cosine from -1 to 1",
    lambda values: _all_texts(values[:-1], bool) and _is_cosine(values[-1]),
)
LEANING = Takes(
    "how many phrases it is towards, two phrases or more in quotation marks, and a number from -2 to 2",
    lambda values: (
        len(values) >= 4
        and _all_texts(values[1:-1], bool)
        and _is_range(values[:1], least=1)
        and values[0] <= len(values) - 2  # type: ignore[operator]
        and isinstance(values[-1], float)
        and -2 <= values[-1] <= 2
    ),
)
LETTERS = Takes(
    "one or two whole numbers from 1 on, the smaller first", lambda values: _is_range(values, least=1)
)
AMOUNT = Takes(
    "one or two whole numbers from 0 on, the smaller first", lambda values: _is_range(values, least=0)
)
CONDITION = Takes(
    "one condition of a token", lambda values: len(values) == 1 and isinstance(values[0], Condition)
)
NOTHING = Takes("nothing", lambda values: not values)
LISTS = (WORDS, SIGNS, PHRASES, NAMES)
"""What holds of any of several holds of the one or the other."""


@dataclass(frozen=True)
class Kind:
    """A kind of condition; `takes`: what its values are, or the names of which it takes one."""

    level: Literal["token", "example"]
    takes: Takes | tuple[str, ...]
    holds: Holds


def check(claim: Claim) -> None:
    """Raise InputError for a condition that there is not, or values that it cannot have."""
    for atom in claim.atoms:
        for condition in atom.conditions:
            _check(condition)
            if len(atom.conditions) > 1 and KINDS[condition.name].level != "token":
                raise InputError(
                    f"{condition} is asked of a whole example, and & joins what one token fulfils: use 'and'"
                )


def holds(ground: Ground, condition: Condition) -> Mask:
    """Of which tokens, or examples, a condition holds."""
    return KINDS[condition.name].holds(ground, condition)


def is_of_tokens(condition: Condition) -> bool:
    """Whether it is asked of single tokens."""
    return KINDS[condition.name].level == "token"


def _check(condition: Condition) -> None:
    kind = KINDS.get(condition.name)
    if kind is None:
        raise InputError(f"there is no condition {condition.name!r}; there are {', '.join(KINDS)}")
    takes, values = kind.takes, condition.values
    if isinstance(takes, tuple):
        if len(values) != 1 or values[0] not in takes:
            raise InputError(f"{condition}: {condition.name} knows {', '.join(takes)}")
    elif not takes.fit(values):
        raise InputError(f"{condition}: {condition.name} takes {takes.said}")
    for inner in values:
        if isinstance(inner, Condition):
            _check(inner)
            if not is_of_tokens(inner):
                raise InputError(f"{condition}: {inner.name} is asked of a whole example, not of a token")


def _strings(condition: Condition) -> list[str]:
    return [value for value in condition.values if isinstance(value, str)]


def _forms(condition: Condition) -> list[str]:
    """Its strings as the forms of a corpus are written."""
    return [value.lower().replace("’", "'") for value in _strings(condition)]


def _word(ground: Ground, condition: Condition) -> Mask:
    return ground.corpus.tokens_of(_forms(condition))


def _form(ground: Ground, condition: Condition) -> Mask:
    return np.logical_or.reduce([ground.any_form(form) for form in _forms(condition)])


def _phrase(ground: Ground, condition: Condition) -> Mask:
    """All tokens of a phrase, whose words may be in any form."""
    return np.logical_or.reduce([ground.phrase(said) for said in _strings(condition)])


def _piece(ground: Ground, condition: Condition) -> Mask:
    corpus = ground.corpus
    return np.logical_or.reduce([corpus.with_letters(piece) for piece in _forms(condition)])[corpus.form]


def _prefix(ground: Ground, condition: Condition) -> Mask:
    """Words of at least two letters more than the beginning."""
    corpus = ground.corpus
    found = [
        corpus.with_letters(start, starts=True) & (corpus.lengths > len(start) + 1)
        for start in _forms(condition)
    ]
    return np.logical_or.reduce(found)[corpus.form]


def _suffix(ground: Ground, condition: Condition) -> Mask:
    """Words of at least three letters more than the ending: "ring" does not end in "ing" in this sense."""
    corpus = ground.corpus
    found = [
        corpus.with_letters(end, ends=True) & (corpus.lengths > len(end) + 2) for end in _forms(condition)
    ]
    return np.logical_or.reduce(found)[corpus.form]


def _letters(ground: Ground, condition: Condition) -> Mask:
    least, most = _range(condition)
    corpus = ground.corpus
    return ((corpus.lengths >= least) & (corpus.lengths <= most))[corpus.form] & (corpus.kind != SIGN)


def _range(condition: Condition) -> tuple[float, float]:
    least, *most = condition.values
    return float(least), float(most[0]) if most else float("inf")  # type: ignore[arg-type]


def _mark(ground: Ground, condition: Condition) -> Mask:
    corpus = ground.corpus
    return corpus.tokens_of(_forms(condition)) & (corpus.kind == SIGN)


def _class(ground: Ground, condition: Condition) -> Mask:
    return class_mask(ground.corpus, _strings(condition)[0])


def _place(ground: Ground, condition: Condition) -> Mask:
    corpus, where = ground.corpus, condition.values[0]
    if where == "early":
        word = corpus.kind != SIGN
        before = np.cumsum(word) - word
        return word & (before - before[corpus.first[corpus.text]] < EARLY)
    return {
        "first": lambda: corpus.opens_text,
        "last": lambda: corpus.closes_text,
        "sentence-first": lambda: corpus.opens_sentence,
        "sentence-last": lambda: corpus.closes_sentence,
    }[str(where)]()


def _repeated(ground: Ground, condition: Condition) -> Mask:
    """Content words that their text has said before."""
    corpus = ground.corpus
    key = corpus.text.astype(np.int64) * len(corpus.forms) + corpus.form
    _, first = np.unique(key, return_index=True)
    again = np.ones(len(corpus), dtype=bool)
    again[first] = False
    return again & (corpus.kind != SIGN) & ~class_mask(corpus, "function")


def _inner(ground: Ground, condition: Condition) -> Mask:
    inner = condition.values[0]
    assert isinstance(inner, Condition)
    return holds(ground, inner)


def _after(ground: Ground, condition: Condition) -> Mask:
    return ground.corpus.shifted(_inner(ground, condition), 1)


def _before(ground: Ground, condition: Condition) -> Mask:
    return ground.corpus.shifted(_inner(ground, condition), -1)


def _near(ground: Ground, condition: Condition) -> Mask:
    inner, corpus = _inner(ground, condition), ground.corpus
    found = np.zeros(len(inner), dtype=bool)
    for by in range(1, NEAR + 1):
        found |= corpus.shifted(inner, by) | corpus.shifted(inner, -by)
    return found


def _earlier(ground: Ground, condition: Condition) -> Mask:
    """Tokens that come after such a one, at any distance, in their text."""
    inner, corpus = _inner(ground, condition), ground.corpus
    before = np.cumsum(inner) - inner
    return before > before[corpus.first[corpus.text]]


def _except(ground: Ground, condition: Condition) -> Mask:
    """Tokens that are not such a one."""
    return ~_inner(ground, condition)


def _about(ground: Ground, condition: Condition) -> Mask:
    """Texts in which one of the phrases stands."""
    return ground.corpus.texts_of(_phrase(ground, condition))


def _like(ground: Ground, condition: Condition) -> Mask:
    """Examples near to one of the phrases by the encoder, or in which it stands."""
    *phrases, least = condition.values
    nearness = ground.nearness([str(phrase) for phrase in phrases])
    return np.asarray(nearness.max(0) >= float(least))  # type: ignore[arg-type]


def _toward(ground: Ground, condition: Condition) -> Mask:
    """Examples nearer by so much to some phrases than to others, by the mean of their cosines."""
    _, *phrases, least = condition.values
    return np.asarray(leaning(ground.cosines([str(phrase) for phrase in phrases]), condition) >= float(least))  # type: ignore[arg-type]


def leaning(
    cosines: Float[np.ndarray, "phrases examples"], condition: Condition
) -> Float[np.ndarray, " examples"]:
    """Mean cosine of examples with the phrases that `toward` is for, less that with those it is against."""
    count = int(condition.values[0])  # type: ignore[arg-type]
    towards, against = cosines[:count].mean(0), cosines[count:]
    return towards - against.mean(0) if len(against) else towards


def _feels(ground: Ground, condition: Condition) -> Mask:
    return feels(ground.polarity, str(condition.values[0]))


def _long(ground: Ground, condition: Condition) -> Mask:
    least, most = _range(condition)
    words = ground.corpus.words
    return (words >= least) & (words <= most)


def _tagged(ground: Ground, condition: Condition) -> Mask:
    tags = ground.examples.tags
    if tags is None:
        raise InputError(f"{condition} asks for tags, and nobody has tagged these examples")
    names = _strings(condition)
    if unknown := [name for name in names if name not in tags.column]:
        raise InputError(f"{condition}: there is no descriptor {unknown[0]!r} among these tags")
    columns = [tags.column[name] for name in names]
    return np.asarray(tags.matrix[:, columns].sum(1)).ravel() > 0


def _seen(ground: Ground, condition: Condition) -> Mask:
    return SAYINGS[condition.name][str(condition.values[0])].holds(ground.measured)


def _count(ground: Ground, condition: Condition) -> Mask:
    """Pictures with so many things before a plain background."""
    least, most = _range(condition)
    return (ground.measured.count >= least) & (ground.measured.count <= most)


KINDS: Mapping[str, Kind] = {
    "word": Kind("token", WORDS, _word),
    "form": Kind("token", WORDS, _form),
    "phrase": Kind("token", PHRASES, _phrase),
    "piece": Kind("token", WORDS, _piece),
    "prefix": Kind("token", WORDS, _prefix),
    "suffix": Kind("token", WORDS, _suffix),
    "letters": Kind("token", LETTERS, _letters),
    "mark": Kind("token", SIGNS, _mark),
    "class": Kind("token", tuple(CLASSES), _class),
    "place": Kind("token", PLACES, _place),
    "repeated": Kind("token", NOTHING, _repeated),
    "after": Kind("token", CONDITION, _after),
    "before": Kind("token", CONDITION, _before),
    "near": Kind("token", CONDITION, _near),
    "earlier": Kind("token", CONDITION, _earlier),
    "except": Kind("token", CONDITION, _except),
    "about": Kind("example", PHRASES, _about),
    "like": Kind("example", NEARNESS, _like),
    "toward": Kind("example", LEANING, _toward),
    "feels": Kind("example", FEELINGS, _feels),
    "long": Kind("example", AMOUNT, _long),
    "tagged": Kind("example", NAMES, _tagged),
    "count": Kind("example", AMOUNT, _count),
    **{name: Kind("example", tuple(values), _seen) for name, values in SAYINGS.items()},
}

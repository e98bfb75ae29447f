"""Units made by rules over texts, so that what they respond to is known: the questions of the exam.

Each kind asks something else of a describer; docs/exam.md says what. Kinds that ask which token of a text a
unit responds to are in `planted.tokens`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from saywell.data.splits import content_ids
from saywell.data.words import content_words, words
from saywell.units.planted.rules import (
    CORRUPTED,
    NOISE_UNITS,
    NOISY,
    PER_KIND,
    PlantedUnit,
    Rule,
    masks_of,
    pairs,
    units_of_rules,
)
from saywell.units.planted.tokens import rules_of_tokens

TONES = ("praise", "complaint", "sarcasm", "exclamation")
ENDINGS = ("ing", "ed", "ly", "est", "ness", "tion", "able", "ful", "less", "ish", "ment", "ity")


def plant_units(
    texts: Sequence[str],
    tags: Sequence[Sequence[str] | None],
    *,
    per_kind: int = PER_KIND,
    noise_units: int = NOISE_UNITS,
    seed: int = 0,
) -> list[PlantedUnit]:
    """Up to `per_kind` units of each kind and `noise_units` that follow no rule.

    `tags` are true topics of each text (see `TONES` for those that say how it speaks); without any,
    only kinds that look at words are made. Rules that hold of fewer than 40 texts, or of more than
    half, are not used. A kind may have fewer units than asked for where the texts have no more.
    """
    seen = _Seen(texts, tags)
    return units_of_rules(
        content_ids(texts),
        {kind: rules(seen) for kind, rules in _KINDS.items()} | rules_of_tokens(texts),
        seen.long,
        per_kind=per_kind,
        noise_units=noise_units,
        seed=seed,
    )


class _Seen:
    """What rules are made from: which texts carry a tag, say a word, begin or end with one."""

    def __init__(self, texts: Sequence[str], tags: Sequence[Sequence[str] | None]) -> None:
        said = [words(text) for text in texts]
        per_text = [set(names or ()) for names in tags]
        tones = {name for name in TONES if any(name in names for names in per_text)}
        self.tones = masks_of([names & tones for names in per_text], 0.5)
        self.topics = masks_of([names - tones for names in per_text], 0.25)
        full = [{w for w in found if len(w) > 3 and content_words(w)} for found in said]
        self.words = masks_of(full, 0.1)
        self.first = masks_of([set(found[:1]) for found in said], 0.2)
        self.last = masks_of([set(found[-1:]) for found in said], 0.2)
        self.endings = masks_of(
            [{e for e in ENDINGS for w in found if w.endswith(e) and len(w) > len(e) + 2} for found in said],
            0.5,
        )
        lengths = np.array([len(text) for text in texts])
        self.long = lengths > np.median(lengths) if len(texts) else np.zeros(0, dtype=bool)


def _plain(
    sets: Mapping[str, np.ndarray], form: str = "{}", pattern: str = "", claim: str = ""
) -> Iterator[Rule]:
    for name, holds in sets.items():
        found, said = pattern.format(re.escape(name)) or None, claim.format(json.dumps(name))
        yield Rule(form.format(name), holds, pattern=found, claim=said)


def _conjunctions(seen: _Seen) -> Iterator[Rule]:
    for a, in_a, b, in_b in pairs(seen.topics, seen.tones):
        yield Rule(f"{b} about {a}", in_a & in_b)


def _disjunctions(seen: _Seen) -> Iterator[Rule]:
    for a, in_a, b, in_b in pairs(seen.topics, seen.topics):
        if a < b:
            yield Rule(f"{a}, {b}", in_a | in_b)


def _negations(seen: _Seen) -> Iterator[Rule]:
    for a, in_a, b, in_b in pairs(seen.topics, seen.tones):
        # What is left out must be a good part, or leaving it out would not show.
        if (in_a & in_b).sum() >= in_a.sum() / 4:
            yield Rule(f"{a} without {b}", in_a & ~in_b)


def _two_meanings(seen: _Seen) -> Iterator[Rule]:
    for a, in_a, b, in_b in pairs(seen.topics, seen.words):
        if (in_a & in_b).sum() <= 0.1 * in_b.sum():
            yield Rule(f"{a}, {b}", in_a | in_b, np.where(in_a, 1.5, 1.0))


def _positions(seen: _Seen) -> Iterator[Rule]:
    begins, ends = 'word({}) & place("first")', 'word({}) & place("last")'
    yield from _plain(seen.first, 'begins with the word "{}"', r"^\W*({})\b", begins)
    yield from _plain(seen.last, 'ends with the word "{}"', r"\b({})(?:['’]s)?\W*$", ends)


_KINDS: Mapping[str, Callable[[_Seen], Iterator[Rule]]] = {
    "topic": lambda seen: _plain(seen.topics),
    "word": lambda seen: _plain(seen.words, pattern=r"\b{}\b", claim="word({})"),
    "suffix": lambda seen: _plain(
        seen.endings, 'a word ending in "{}"', r"\b\w{{3,}}{}\b", claim="suffix({})"
    ),
    "tone": lambda seen: _plain(seen.tones),
    "position": _positions,
    "conjunction": _conjunctions,
    "disjunction": _disjunctions,
    "negation": _negations,
    "two meanings": _two_meanings,
    CORRUPTED: lambda seen: _plain(seen.topics),
    NOISY: lambda seen: _plain(seen.topics),
}

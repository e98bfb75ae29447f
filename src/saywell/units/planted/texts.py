"""Units made by rules over texts, so that what they respond to is known: the questions of the exam.

Each kind asks something else of a describer; docs/exam.md says what. A unit responds with its
strength where its rule holds, with 0 elsewhere, and with noise on top everywhere. Whatever is drawn
depends on the text, the unit's name and the seed, never on the order of texts or units. Rules over
other things than texts, such as pictures, become units the same way (`units_of_rules`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int64
from scipy.special import ndtri

from saywell.data.splits import content_ids, hash_numbers
from saywell.data.words import content_words, words

NOISE = "noise"
"""The kind whose right answer is that there is nothing to describe."""
CORRUPTED, NOISY = "corrupted region", "noisy"
"""The kinds whose units do not always follow their rule."""
THRESHOLD = 0.5
SPREAD = 0.15
"""Standard deviation of the noise: one response in 2,300 crosses the threshold by it."""
FLIPPED = 0.25
"""Share of a noisy unit's responses that are on the wrong texts."""
TONES = ("praise", "complaint", "sarcasm", "exclamation")
ENDINGS = ("ing", "ed", "ly", "est", "ness", "tion", "able", "ful", "less", "ish", "ment", "ity")
PER_KIND = 8
NOISE_UNITS = 60
MIN_FIRES = 40
"""A rule that holds of fewer texts leaves too few in each part to describe or to score."""

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class PlantedUnit:
    """A unit and the truth about it.

    `rule` says of which examples the true description holds; what the unit does may differ, because of
    noise. It fires where its response is at or above `threshold`. An empty `truth` means that there is
    nothing to describe, None that nobody knows.
    """

    id: str
    kind: str
    truth: str | None
    rule: Bool[np.ndarray, " examples"] = field(repr=False)
    response: Float[np.ndarray, " examples"] = field(repr=False)
    threshold: float = THRESHOLD
    pattern: str | None = None
    """Of a rule about words: a regular expression for them, or for what its one group is."""

    def span(self, text: str) -> tuple[int, int] | tuple[None, None]:
        """Where in a text the words are that the rule is about, in characters, end exclusive."""
        found = None if self.pattern is None else re.search(self.pattern, text, re.IGNORECASE)
        return (None, None) if found is None else found.span(found.re.groups)

    @property
    def fires(self) -> Bool[np.ndarray, " examples"]:
        """Where the unit responds."""
        return self.response >= self.threshold


@dataclass(frozen=True)
class Rule:
    """The truth in words, of which examples it holds, and how strong the response is where it does.

    `pattern` as in `PlantedUnit`.
    """

    truth: str
    holds: Bool[np.ndarray, " examples"]
    strength: Float[np.ndarray, " examples"] | float = 1.0
    pattern: str | None = None


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
        {kind: rules(seen) for kind, rules in _KINDS.items()},
        seen.long,
        per_kind=per_kind,
        noise_units=noise_units,
        seed=seed,
    )


def units_of_rules(
    ids: Sequence[str],
    kinds: Mapping[str, Iterable[Rule]],
    region: Bool[np.ndarray, " examples"],
    *,
    per_kind: int = PER_KIND,
    noise_units: int = NOISE_UNITS,
    seed: int = 0,
) -> list[PlantedUnit]:
    """Up to `per_kind` units of the rules of each kind, and `noise_units` that follow no rule.

    `ids` stand for the examples' content. Of a kind's rules those that hold of enough examples and
    not of too many are drawn by their truths. Units of the kind `CORRUPTED` fire by chance in
    `region`, those of the kind `NOISY` on some wrong examples.
    """
    units = []
    for kind, rules in kinds.items():
        found = [rule for rule in rules if MIN_FIRES <= rule.holds.sum() <= len(ids) / 2]
        order = hash_numbers([rule.truth for rule in found], seed, f"rules:{kind}")
        chosen = [found[n] for n in np.argsort(order, kind="stable")[:per_kind]]
        for number, rule in enumerate(chosen):
            units.append(_unit(ids, region, f"{kind}-{number}", kind, rule, seed))
    for number in range(noise_units):
        name = f"{NOISE}-{number}"
        rate = 0.03 * (0.2 / 0.03) ** (number / max(1, noise_units - 1))
        fires = _uniform(ids, seed, f"{name}:rate") < rate
        nothing = np.zeros(len(ids), dtype=bool)
        response = fires + SPREAD * ndtri(_uniform(ids, seed, name))
        units.append(PlantedUnit(name, NOISE, "", nothing, response))
    return units


def _unit(ids: Sequence[str], region: np.ndarray, name: str, kind: str, rule: Rule, seed: int) -> PlantedUnit:
    level, chance = rule.strength * rule.holds, _uniform(ids, seed, f"{name}:chance")
    share = rule.holds.mean()
    if kind == CORRUPTED:
        level = np.where(region, chance < share, level)
    elif kind == NOISY:
        others = FLIPPED * share / (1 - share)
        level = np.where(rule.holds, chance >= FLIPPED, chance < others).astype(float)
    response = level + SPREAD * ndtri(_uniform(ids, seed, name))
    return PlantedUnit(name, kind, rule.truth, rule.holds, response, pattern=rule.pattern)


def _uniform(ids: Sequence[str], seed: int, purpose: str) -> Float[np.ndarray, " examples"]:
    # The half keeps both ends out: the normal quantile of 0 is infinite.
    return ((hash_numbers(ids, seed, purpose) >> np.uint64(11)) + 0.5) * 2.0**-53


class _Seen:
    """What rules are made from: which texts carry a tag, say a word, begin or end with one."""

    def __init__(self, texts: Sequence[str], tags: Sequence[Sequence[str] | None]) -> None:
        self.n = len(texts)
        said = [words(text) for text in texts]
        per_text = [set(names or ()) for names in tags]
        tones = {name for name in TONES if any(name in names for names in per_text)}
        self.tones = self._sets([names & tones for names in per_text], 0.5)
        self.topics = self._sets([names - tones for names in per_text], 0.25)
        full = [{w for w in found if len(w) > 3 and content_words(w)} for found in said]
        self.words = self._sets(full, 0.1)
        self.first = self._sets([set(found[:1]) for found in said], 0.2)
        self.last = self._sets([set(found[-1:]) for found in said], 0.2)
        self.endings = self._sets(
            [{e for e in ENDINGS for w in found if w.endswith(e) and len(w) > len(e) + 2} for found in said],
            0.5,
        )
        lengths = np.array([len(text) for text in texts])
        self.long = lengths > np.median(lengths) if self.n else np.zeros(0, dtype=bool)

    def _sets(self, per_text: list[set[str]], most: float) -> dict[str, np.ndarray]:
        counts = Counter(name for names in per_text for name in names)
        kept = sorted(n for n, count in counts.items() if MIN_FIRES <= count <= most * self.n)
        rows: dict[str, list[int]] = {name: [] for name in kept}
        for row, names in enumerate(per_text):
            for name in names & rows.keys():
                rows[name].append(row)
        return {name: self._mask(np.array(found)) for name, found in rows.items()}

    def _mask(self, rows: Int64[np.ndarray, " some"]) -> np.ndarray:
        mask = np.zeros(self.n, dtype=bool)
        mask[rows] = True
        return mask


def _plain(sets: Mapping[str, np.ndarray], form: str = "{}", pattern: str = "") -> Iterator[Rule]:
    for name, holds in sets.items():
        yield Rule(form.format(name), holds, pattern=pattern.format(re.escape(name)) or None)


def pairs(
    first: Mapping[_Key, np.ndarray], second: Mapping[_Key, np.ndarray]
) -> Iterator[tuple[_Key, np.ndarray, _Key, np.ndarray]]:
    """Every two sets of examples, of which neither is nearly a part of the other, with their names."""
    for a, in_a in first.items():
        for b, in_b in second.items():
            # A pair in which one side is nearly the other is a rule of the plain kind.
            if a != b and (in_a & in_b).sum() < 0.8 * min(in_a.sum(), in_b.sum()):
                yield a, in_a, b, in_b


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
    yield from _plain(seen.first, 'begins with the word "{}"', r"^\W*({})\b")
    yield from _plain(seen.last, 'ends with the word "{}"', r"\b({})(?:['’]s)?\W*$")


_KINDS: Mapping[str, Callable[[_Seen], Iterator[Rule]]] = {
    "topic": lambda seen: _plain(seen.topics),
    "word": lambda seen: _plain(seen.words, pattern=r"\b{}\b"),
    "suffix": lambda seen: _plain(seen.endings, 'a word ending in "{}"', r"\b\w{{3,}}{}\b"),
    "tone": lambda seen: _plain(seen.tones),
    "position": _positions,
    "conjunction": _conjunctions,
    "disjunction": _disjunctions,
    "negation": _negations,
    "two meanings": _two_meanings,
    CORRUPTED: lambda seen: _plain(seen.topics),
    NOISY: lambda seen: _plain(seen.topics),
}

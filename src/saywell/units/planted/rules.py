"""Units made of rules: what each responds to is known, so that descriptions of it can be marked.

A unit responds with its strength where its rule holds, with 0 elsewhere, and with noise on top everywhere.
Whatever is drawn depends on the example's content, the unit's name and the seed, never on the order of
examples or units.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtri

from saywell.data.splits import hash_numbers

NOISE = "noise"
"""The kind whose right answer is that there is nothing to describe."""
CORRUPTED, NOISY = "corrupted region", "noisy"
"""The kinds whose units do not always follow their rule."""
THRESHOLD = 0.5
SPREAD = 0.15
"""Standard deviation of the noise: one response in 2,300 crosses the threshold by it."""
FLIPPED = 0.25
"""Share of a noisy unit's responses that are on the wrong texts."""
PER_KIND = 8
NOISE_UNITS = 60
MIN_FIRES = 40
"""A rule that holds of fewer texts leaves too few in each part to describe or to score."""

_Key = TypeVar("_Key", bound=Any)


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
    claim: str = ""
    """The truth in the language of `saywell.claims.language`, where that can say it exactly."""

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

    `pattern` and `claim` as in `PlantedUnit`.
    """

    truth: str
    holds: Bool[np.ndarray, " examples"]
    strength: Float[np.ndarray, " examples"] | float = 1.0
    pattern: str | None = None
    claim: str = ""


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
    return PlantedUnit(name, kind, rule.truth, rule.holds, response, pattern=rule.pattern, claim=rule.claim)


def _uniform(ids: Sequence[str], seed: int, purpose: str) -> Float[np.ndarray, " examples"]:
    # The half keeps both ends out: the normal quantile of 0 is infinite.
    return ((hash_numbers(ids, seed, purpose) >> np.uint64(11)) + 0.5) * 2.0**-53


def masks_of(per_text: Sequence[Set[_Key]], most: float) -> dict[_Key, Bool[np.ndarray, " examples"]]:
    """Of which examples each key is, of the keys of enough examples and at most that share of them."""
    counts = Counter(key for keys in per_text for key in keys)
    kept = sorted(key for key, count in counts.items() if MIN_FIRES <= count <= most * len(per_text))
    masks = {key: np.zeros(len(per_text), dtype=bool) for key in kept}
    for row, keys in enumerate(per_text):
        for key in keys & masks.keys():
            masks[key][row] = True
    return masks


def pairs(
    first: Mapping[_Key, np.ndarray], second: Mapping[_Key, np.ndarray]
) -> Iterator[tuple[_Key, np.ndarray, _Key, np.ndarray]]:
    """Every two sets of examples, of which neither is nearly a part of the other, with their names."""
    for a, in_a in first.items():
        for b, in_b in second.items():
            # A pair in which one side is nearly the other is a rule of the plain kind.
            if a != b and (in_a & in_b).sum() < 0.8 * min(in_a.sum(), in_b.sum()):
                yield a, in_a, b, in_b

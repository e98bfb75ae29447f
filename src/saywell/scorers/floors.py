"""Descriptions that should fail: whose description stands in for a unit's own.

Each function gives a few numbers per unit, best first: the places of units whose descriptions may be
read instead, or -1 where there is none. Their texts always differ from the unit's own and from each
other, and which of them is read is decided by how they read: two neurons rightly described by the
same words, or by other words for the same thing, are no evidence against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int64

from saywell.data.parts import DESCRIBE
from saywell.data.splits import hash_numbers
from saywell.data.words import grown_to_words
from saywell.description import Description
from saywell.encoders.vectors import unit_length
from saywell.scorers.agreement import Predictions
from saywell.transfer.zero_shot import TEMPLATES, name_texts

NONE, ANOTHER = -1, "another unit"
CANDIDATES = 4
ALIKE = 0.65
"""Correlation of decisions from which two descriptions say the same (docs/scores.md has the trial)."""
_WORDS = 5
_BLOCK = 512  # units compared with all others at once


def reads_alike(
    own: Predictions, other: Predictions, *, at_least: float = ALIKE
) -> Bool[np.ndarray, " units"]:
    """Whether two descriptions of each unit are one claim in two wordings: they decide alike.

    Decisions correlate (phi, Pearson's correlation of yes and no) by `at_least`, over the examples
    that both answered. Two that both say yes of nearly everything agree on nearly everything and are
    not correlated for that; a constant correlates with nothing.
    """
    one, two = own.astype(np.float32), other.astype(np.float32)
    n = np.full(len(one), one.shape[1], dtype=np.float64)
    both = ~(np.isnan(one) | np.isnan(two))
    if not both.all():
        n = both.sum(1).astype(np.float64)
        one, two = np.where(both, one, 0), np.where(both, two, 0)
    first, second = one.sum(1, dtype=np.float64), two.sum(1, dtype=np.float64)
    joint = np.einsum("ij,ij->i", one, two)
    spread = np.sqrt(first * (n - first) * second * (n - second))
    return (spread > 0) & (n * joint - first * second >= at_least * spread)


def another_unit(
    descriptions: Sequence[str], units: Sequence[str], *, seed: int, candidates: int = CANDIDATES
) -> Int64[np.ndarray, "units candidates"]:
    """Units at random: the next on a ring in an order hashed from ids, with other texts.

    Does not depend on the order of units.
    """
    texts = _codes(descriptions)
    chosen = np.full((len(texts), candidates), NONE, dtype=np.int64)
    if not len(texts):
        return chosen
    ring = np.argsort(hash_numbers(units, seed, "another unit"), kind="stable")
    on_ring = texts[ring]
    # From each place on to the first whose text differs from this one's: runs are passed in one step.
    starts = np.flatnonzero(on_ring != np.roll(on_ring, 1))
    if not len(starts):
        return chosen
    following = starts[np.searchsorted(starts, np.arange(len(ring)), side="right") % len(starts)]
    place = np.arange(len(ring))
    taken = on_ring[:, None]
    for column in range(min(candidates, len(np.unique(texts)) - 1)):
        open_ = np.arange(len(ring))
        while len(open_):
            place[open_] = following[place[open_]]
            again = (on_ring[place[open_], None] == taken[open_]).any(1)
            open_ = open_[again]
        chosen[ring, column] = ring[place]
        taken = np.concatenate([taken, on_ring[place, None]], axis=1)
    return chosen


def nearest_sibling(
    descriptions: Sequence[str],
    vectors: Float[np.ndarray, "units dim"],
    named: Bool[np.ndarray, "units parts"] | None = None,
    *,
    candidates: int = CANDIDATES,
) -> Int64[np.ndarray, "units candidates"]:
    """The units of highest cosine with this one in any space: of descriptions, weights, responses.

    The hardest floor: the description may be right about the family and wrong about the member. Of
    equal cosines the first unit in the order given. Where descriptions are made of parts, `named`
    says which; units that name a part in common say partly the same, and are no siblings.
    """
    texts = _codes(descriptions)
    directions = unit_length(vectors)
    parts = None if named is None else named.astype(np.float32)
    chosen = np.full((len(texts), candidates), NONE, dtype=np.int64)
    for start in range(0, len(texts), _BLOCK):
        block = slice(start, start + _BLOCK)
        cosines = directions[block] @ directions.T
        cosines[texts[block, None] == texts] = -np.inf
        if parts is not None:
            cosines[parts[block] @ parts.T > 0] = -np.inf
        for column in range(candidates):
            best = cosines.argmax(1)
            there = np.isfinite(cosines[np.arange(len(best)), best])
            chosen[block, column] = np.where(there, best, NONE)
            if not there.any():
                break
            cosines[texts[best][:, None] == texts] = -np.inf
    return chosen


def most_frequent(
    descriptions: Sequence[str], *, candidates: int = CANDIDATES
) -> Int64[np.ndarray, "units candidates"]:
    """Units that have the commonest texts other than this one's.

    Of equally common texts the first in the alphabet.
    """
    _, first, texts, counts = np.unique(
        np.asarray(descriptions, dtype=object).astype(str),
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    commonest = np.argsort(-counts, kind="stable")[: candidates + 1]
    chosen = np.full((len(texts), candidates + 1), NONE, dtype=np.int64)
    chosen[:, : len(commonest)] = first[commonest]
    # One's own goes last, and out.
    own = np.zeros(chosen.shape, dtype=bool)
    own[:, : len(commonest)] = texts[:, None] == commonest
    order = np.argsort(own, axis=1, kind="stable")
    chosen = np.take_along_axis(np.where(own, NONE, chosen), order, 1)
    return chosen[:, :candidates]


def _codes(descriptions: Sequence[str]) -> Int64[np.ndarray, " units"]:
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(text, len(seen)) for text in descriptions], dtype=np.int64)


def top_words(exemplars: pl.DataFrame, examples: pl.DataFrame, units: Sequence[str]) -> list[str]:
    """Per unit the words that gave its strongest describe examples their activation, strongest first.

    From tables `exemplars` and `examples` of texts; "" where no span of any example is known.
    """
    wanted = pl.col("unit").is_in(units) & (pl.col("part") == DESCRIBE) & (pl.col("rank") < 2 * _WORDS)
    spans = (
        exemplars.filter(wanted & (pl.col("span_start") >= 0))
        .join(examples.select("id", "text"), left_on="example", right_on="id")
        .sort("unit", "rank")
    )
    found: dict[str, dict[str, None]] = {}
    for unit, text, start, end in spans.select("unit", "text", "span_start", "span_end").iter_rows():
        # A token may be part of a word.
        first, last = grown_to_words(text, start, end)
        word = text[first:last].strip(" ,;").lower()
        if any(letter.isalnum() for letter in word):
            found.setdefault(unit, {})[word] = None
    return [", ".join(list(found.get(unit, {}))[:_WORDS]) for unit in units]


@dataclass(frozen=True)
class Described:
    """The units that a describer has written of, each with its description, in the same order.

    `ids` are of the descriptions. `profiles` say which units are alike, by whatever the study knows of
    them; `names` are what its source calls them, where that says something (a class); `words` those to
    which each responds most strongly (`top_words`). None where a study has nothing of the kind.
    """

    describer: str
    units: Sequence[str]
    ids: Sequence[str]
    descriptions: Sequence[Description]
    profiles: Float[np.ndarray, "units dim"] | None = None
    names: Sequence[str] | None = None
    words: Sequence[str] | None = None

    @property
    def texts(self) -> list[str]:
        """Of the descriptions."""
        return [description.text for description in self.descriptions]

    @cached_property
    def own(self) -> Int64[np.ndarray, " units"]:
        """Which of the distinct descriptions each unit has."""
        place = {_said(description): n for n, description in enumerate(self.distinct)}
        return np.array([place[_said(own)] for own in self.descriptions], dtype=np.int64)

    @cached_property
    def distinct(self) -> list[Description]:
        """The descriptions that say different things, in the order in which they come first."""
        known: dict[tuple[object, ...], Description] = {}
        for own in self.descriptions:
            known.setdefault(_said(own), own)
        return list(known.values())

    @cached_property
    def named(self) -> Bool[np.ndarray, "units descriptors"] | None:
        """Which descriptors each description names; None where none names any."""
        known = sorted({name for own in self.descriptions for name in own.descriptors})
        column = {name: n for n, name in enumerate(known)}
        result = np.zeros((len(self.units), len(known)), dtype=bool)
        for number, own in enumerate(self.descriptions):
            result[number, [column[name] for name in own.descriptors]] = True
        return result if known else None

    def only(self, some: Int64[np.ndarray, " some"]) -> Described:
        """Some of the units, in that order."""
        lists: dict[str, Any] = {
            name: None if (values := getattr(self, name)) is None else [values[n] for n in some]
            for name in ("units", "ids", "descriptions", "names", "words")
        }
        return replace(self, **lists, profiles=None if self.profiles is None else self.profiles[some])


def _said(description: Description) -> tuple[object, ...]:
    return description.text, description.claim, description.parts, description.descriptors


class StandIns(NamedTuple):
    """Whose description is read in place of a unit's own, best first.

    Numbers of described units; beyond those, of `texts` that no unit has as its description; -1: none.
    """

    whose: Int64[np.ndarray, "units candidates"]
    texts: tuple[Description, ...] = ()


class Floor(Protocol):
    """What a description has to be better than. `readers` that can read it, None: all of them."""

    @property
    def name(self) -> str:
        """As in table `floors`."""
        ...

    @property
    def readers(self) -> tuple[str, ...] | None:
        """Names of readers."""
        ...

    def stand_ins(self, described: Described, seed: int) -> StandIns | None:
        """For each described unit; None where the study lacks what this floor is made of."""
        ...


@dataclass(frozen=True)
class AnotherUnit:
    """Another unit's description, drawn by chance."""

    name: str = ANOTHER
    readers: tuple[str, ...] | None = None

    def stand_ins(self, described: Described, seed: int) -> StandIns:
        """See `another_unit`."""
        return StandIns(another_unit(described.texts, described.units, seed=seed))


@dataclass(frozen=True)
class NearestSibling:
    """The description of the most similar unit."""

    name: str = "nearest sibling"
    readers: tuple[str, ...] | None = None

    def stand_ins(self, described: Described, seed: int) -> StandIns | None:
        """See `nearest_sibling`."""
        if described.profiles is None:
            return None
        # By id: which of equally near siblings is read must not depend on the order of units.
        order = np.argsort(np.asarray(described.units, dtype=np.str_), kind="stable")
        profiles, named = described.profiles[order], described.named
        texts = [described.texts[n] for n in order]
        found = nearest_sibling(texts, profiles, None if named is None else named[order])
        whose = np.empty_like(found)
        whose[order] = np.where(found == NONE, NONE, order[found])
        return StandIns(whose)


@dataclass(frozen=True)
class MostFrequent:
    """The commonest description."""

    name: str = "most frequent"
    readers: tuple[str, ...] | None = None

    def stand_ins(self, described: Described, seed: int) -> StandIns:
        """See `most_frequent`."""
        return StandIns(most_frequent(described.texts))


@dataclass(frozen=True)
class TopWords:
    """The words to which a unit responds most strongly: what needs no describer at all."""

    name: str = "top words"
    readers: tuple[str, ...] | None = ("lexical",)

    def stand_ins(self, described: Described, seed: int) -> StandIns | None:
        """Each unit's own words."""
        if described.words is None:
            return None
        texts = [Description(*both) for both in zip(described.units, described.words, strict=True)]
        return StandIns(len(texts) + np.arange(len(texts))[:, None], tuple(texts))


@dataclass(frozen=True)
class ClassName:
    """What the source calls the unit, in a few sentences: what a description adds nothing to.

    `templates` as in zero-shot classification, with {} for the name.
    """

    templates: tuple[str, ...] = TEMPLATES
    name: str = "class name"
    readers: tuple[str, ...] | None = ("mean-of-texts",)

    def stand_ins(self, described: Described, seed: int) -> StandIns | None:
        """Each unit's own name."""
        if described.names is None:
            return None
        texts = [
            Description(unit, name, parts=tuple(name_texts([name], self.templates)[0]))
            for unit, name in zip(described.units, described.names, strict=True)
        ]
        return StandIns(len(texts) + np.arange(len(texts))[:, None], tuple(texts))


FLOORS: dict[str, Floor] = {
    floor.name: floor for floor in (AnotherUnit(), NearestSibling(), MostFrequent(), TopWords(), ClassName())
}
"""Beside "always" and "never", which every score has (see scorers/skill.py)."""

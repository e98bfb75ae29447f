"""What claims have to do to be said, whether they are about texts or about words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import polars as pl
from jaxtyping import Int

from saywell.claims.candidates import Candidates
from saywell.claims.fired import words_at
from saywell.claims.ground import Ground
from saywell.claims.language import Atom, Claim, Clause, Condition
from saywell.claims.search import Pointed
from saywell.describers.describer import Evidence
from saywell.describers.naming import MOST_SOURCES
from saywell.description import Description

MOST_ATOMS, BEAM = 3, 5
POINTED, TELLING = 0.7, 0.3
"""Share of exemplars whose responsible token a claim points at, at least; and the F1 on select examples
below which a claim of tokens tells too little of its unit to be said."""
LIFT = 2
"""Times as often as at any token a telling atom points at exemplars."""
ELSEWHERE = "no description: no claim points at what it responds to"
TELLS_TOO_LITTLE = "no description: the best claim tells too little of it"
NOT_BORNE_OUT = "no description: no claim is borne out by select examples"
LISTED = frozenset({"word", "form", "suffix", "prefix", "piece", "mark"})
_AROUND = frozenset({"place", "after", "before"})
_TOPICAL = frozenset({"like", "about", "toward"})


def may_point(pointed: Pointed, candidates: Candidates) -> bool:
    """Whether as many atoms as a claim may have could point at enough exemplars, if each pointed at others.

    Only those that point at exemplars more often than at any token: the others point everywhere.
    """
    count = len(pointed.exemplars)
    share = np.bincount(pointed.at.nonzero()[0], minlength=len(candidates.chance)) / count
    telling = share[share >= LIFT * candidates.chance]
    return len(telling) > 0 and np.sort(telling)[-MOST_ATOMS:].sum() >= POINTED


def offered(unit: str, offers: Sequence[str], evidence: Evidence, number: int) -> Description:
    """A description among whose claims select examples choose; without any, why there are none."""
    places = evidence.places[number]
    if not len(places):
        return Description(unit, "", "no description: it has no exemplars")
    if not offers:
        return Description(unit, "", "no description: no claim holds of its exemplars more than of others")
    sources = tuple(evidence.examples.ids[place] for place in places[:MOST_SOURCES])
    return Description(unit, "", "no description: not settled", offers=tuple(offers), sources=sources)


def size(claim: Claim) -> float:
    """Atoms, each word of a list as one, a further phrase of a topic as a quarter of one.

    What else is asked of the same word counts as an atom, its place or its neighbour alone does not.
    """
    total = 0.0
    for each in claim.atoms:
        head, around = each.conditions[0], any(one.name in _AROUND for one in each.conditions)
        total += max(0, len(each.conditions) - 1 - around)
        more = sum(isinstance(value, str) for value in head.values) - 1
        total += 1 + (more if head.name in LISTED else more / 4 if head.name in _TOPICAL else 0)
    return total


def points(tokens: np.ndarray | None, at: Int[np.ndarray, " exemplars"]) -> float:
    """Share of the exemplars whose responsible token is pointed at."""
    return 0.0 if tokens is None or not len(at) else float(tokens[at].mean())


def responsible(evidence: Evidence, ground: Ground) -> list[Int[np.ndarray, " exemplars"]]:
    """Of each unit the tokens that gave its exemplars their activation; those without a span left out."""
    nothing = [np.zeros(0, dtype=np.int64)] * len(evidence.ids)
    spans = evidence.exemplars.filter(pl.col("span_start").is_not_null())
    if evidence.examples.kind != "text" or not len(spans):
        return nothing
    place = {id: number for number, id in enumerate(evidence.examples.ids)}
    spans = spans.sort("unit", "rank")
    texts = np.array([place[example] for example in spans["example"]], dtype=np.int64)
    at = words_at(ground.corpus, texts, spans.select("span_start", "span_end").to_numpy().astype(np.int64))
    found: dict[str, list[int]] = {}
    for unit, token in zip(spans["unit"], at.tolist(), strict=True):
        if token >= 0:
            found.setdefault(unit, []).append(token)
    return [np.array(found.get(unit, []), dtype=np.int64) for unit in evidence.ids]


def in_lists(clauses: Iterable[Clause]) -> Claim:
    """A claim of clauses; words of which one has to stand there become one list."""
    lists: dict[str, list[str]] = {}
    rest = []
    for clause in clauses:
        head = clause[0].conditions[0]
        if len(clause) == 1 and len(clause[0].conditions) == 1 and head.name in LISTED:
            lists.setdefault(head.name, []).extend(str(value) for value in head.values)
        else:
            rest.append(clause)
    joined = [(Atom((Condition(name, tuple(dict.fromkeys(own))),)),) for name, own in lists.items()]
    return Claim((*joined, *rest))

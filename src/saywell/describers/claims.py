"""Claims: statements that are found by search on describe examples and borne out on select examples.

Search (`saywell.claims.search`) offers for each number of atoms the few that read best where they were
found. Which of them is said, if any, select examples decide (`settle`): one atom unless they clearly
prefer more, and nothing where the best may be chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Int

from saywell.claims.candidates import Candidates, candidates_of
from saywell.claims.choose import Shown, borne_out, choose
from saywell.claims.english import english
from saywell.claims.execute import Executor
from saywell.claims.ground import Ground
from saywell.claims.language import Atom, Claim, Condition, parse
from saywell.claims.search import MOST_EXEMPLARS, Atoms, Found, Pointed, search
from saywell.claims.topics import Topics, as_written
from saywell.data.examples import Examples, Kind
from saywell.describers.describer import Evidence
from saywell.describers.naming import MOST_SOURCES
from saywell.describers.phrases import PhraseCounts
from saywell.description import Description
from saywell.scorers.agreement import f1
from saywell.store.table import Table

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter

MOST_ATOMS, BEAM = 3, 5
PHRASES, SAID_BY = 1500, 3
"""Phrases of the texts that may be topics at most, and texts that say one at least."""
POINTED, TELLING = 0.7, 0.3
"""Share of exemplars whose responsible token a claim points at, at least; and the F1 on select examples
below which a claim of tokens tells too little of its unit to be said."""
LIFT = 2
"""Times as often as at any token a telling atom points at exemplars."""
ELSEWHERE = "no description: no claim points at what it responds to"
_BLOCK = 256


@dataclass(frozen=True)
class Claims:
    """Says what can be executed; `topics`: also which texts are like a phrase, by the encoder."""

    topics: bool = True
    name: str = "claims"
    version: int = 1
    kinds: Sequence[Kind] = ("text", "image", "pair")
    needs_tags: bool = False
    tables: Sequence[Table] = ()

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """Of each unit the claims that its describe examples speak for, as `offers`."""
        ground = Ground(evidence.examples, resources)
        tokens, rows = responsible(evidence, ground), np.arange(len(evidence.examples))
        # What a text is about is at no token of it; some units may have spans and others none.
        spanless = any(len(at) and not len(own) for at, own in zip(evidence.places, tokens, strict=True))
        topical = self.topics and spanless
        topics = Topics.of(ground, topics_of(evidence.examples) if topical else [])
        candidates = candidates_of(ground, topics)
        atoms = Atoms(
            candidates.rows, candidates.prices, candidates.groups, candidates.order, candidates.deniable
        )
        said = []
        for start in range(0, len(evidence.ids), _BLOCK):
            ids = evidence.ids[start : start + _BLOCK]
            values, fires = evidence.activations.both(ids, rows)
            for number, unit in enumerate(ids, start=start):
                known = ~np.isnan(values[number - start])
                pointed = _pointed(candidates, ground, tokens[number])
                if pointed is not None and not _may_point(pointed, candidates):
                    said.append(Description(unit, "", ELSEWHERE))
                    continue
                sizes = search(atoms, fires[number - start], known, pointed, most=MOST_ATOMS, beam=BEAM)
                found = [each for size in sizes for each in size]
                claims = [as_claim(each, candidates) for each in found if not each.pointing < POINTED]
                if pointed is None:
                    claims = [*topics.claims(fires[number - start], known), *claims]
                elif found and not claims:
                    said.append(Description(unit, "", ELSEWHERE))
                    continue
                said.append(_offered(unit, list(dict.fromkeys(map(str, claims))), evidence, number))
        return said


def _may_point(pointed: Pointed, candidates: Candidates) -> bool:
    """Whether as many atoms as a claim may have could point at enough exemplars, if each pointed at others.

    Only those that point at exemplars more often than at any token: the others point everywhere.
    """
    count = len(pointed.exemplars)
    share = np.bincount(pointed.at.nonzero()[0], minlength=len(candidates.chance)) / count
    telling = share[share >= LIFT * candidates.chance]
    return len(telling) > 0 and np.sort(telling)[-MOST_ATOMS:].sum() >= POINTED


def _pointed(candidates: Candidates, ground: Ground, tokens: Int[np.ndarray, " exemplars"]) -> Pointed | None:
    """Which atoms point at the tokens of a unit's strongest exemplars; None where these are not known."""
    if not len(tokens):
        return None
    tokens = tokens[:MOST_EXEMPLARS]
    return Pointed(ground.corpus.text[tokens].astype(np.int64), candidates.pointed(tokens))


def _offered(unit: str, offers: Sequence[str], evidence: Evidence, number: int) -> Description:
    places = evidence.places[number]
    if not len(places):
        return Description(unit, "", "no description: it has no exemplars")
    if not offers:
        return Description(unit, "", "no description: no claim holds of its exemplars more than of others")
    sources = tuple(evidence.examples.ids[place] for place in places[:MOST_SOURCES])
    return Description(unit, "", "no description: not settled", offers=tuple(offers), sources=sources)


def settle(
    said: Sequence[Description], shown: Evidence, select: Evidence, resources: Resources
) -> list[Description]:
    """Of the claims offered for each unit the one that `select` examples bear out, in English.

    `shown` is what they were found on. Descriptions without offers stay as they are.
    """
    if not any(own.offers for own in said):
        return list(said)
    before, after = _Part.of(shown, resources), _Part.of(select, resources)
    tokens = responsible(select, after.ground)
    settled = list(said)
    for start in range(0, len(said), _BLOCK):
        block = range(start, min(start + _BLOCK, len(said)))
        then, now = before.responses(block), after.responses(block)
        for number, one, other in zip(block, then, now, strict=True):
            if (own := said[number]).offers:
                settled[number] = _settled(own, (before, *one), (after, *other), tokens[number])
    return settled


@dataclass(frozen=True)
class _Part:
    """Examples of one part, where claims hold of them, and what units do on them."""

    evidence: Evidence
    ground: Ground
    execute: Executor

    @staticmethod
    def of(evidence: Evidence, resources: Resources) -> _Part:
        ground = Ground(evidence.examples, resources)
        return _Part(evidence, ground, Executor(ground))

    def responses(self, units: range) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Of each of some units on which examples it fires, and of which its response is known."""
        rows, ids = np.arange(len(self.ground)), self.evidence.ids[units.start : units.stop]
        values, fires = self.evidence.activations.both(ids, rows)
        return zip(fires, ~np.isnan(values), strict=True)


_Responses = tuple[_Part, np.ndarray, np.ndarray]


def _settled(
    own: Description, shown: _Responses, select: _Responses, tokens: Int[np.ndarray, " exemplars"]
) -> Description:
    claims = [parse(text) for text in own.offers]
    part, fires, known = select
    held = [part.execute(claim) for claim in claims]
    able = np.ones(len(claims), dtype=bool)
    if len(tokens):
        able = np.array([_points(each.tokens, tokens) >= POINTED for each in held])
    if not able.any():
        return replace(own, offers=(), status=ELSEWHERE)
    holds, fires = np.array([each.examples for each in held])[:, known], fires[known]
    able[able] = borne_out(holds[able], fires)
    if not able.any():
        return replace(own, offers=(), status="no description: no claim is borne out by select examples")
    kept = np.flatnonzero(able)
    sizes = np.array([_size(claims[number]) for number in kept])
    chosen = int(kept[choose(holds[kept], fires, sizes, _as_found([claims[n] for n in kept], shown))])
    if len(tokens) and f1(holds[[chosen]], fires[None])[0] < TELLING:
        return replace(own, offers=(), status="no description: the best claim tells too little of it")
    claim = claims[chosen]
    said = english(claim, part.ground.examples.kind)
    return replace(own, text=said, status="described", claim=str(claim), offers=(), parts=(said,))


def _as_found(claims: Sequence[Claim], shown: _Responses) -> Shown:
    part, fires, known = shown
    return Shown(np.array([part.execute(claim).examples for claim in claims])[:, known], fires[known])


def _size(claim: Claim) -> float:
    """Atoms, each word of a list as one, a further phrase of a topic as a quarter of one."""
    size = 0.0
    for each in claim.atoms:
        head = each.conditions[0]
        more = sum(isinstance(value, str) for value in head.values) - 1
        size += 1 + (more if head.name in _LISTED else more / 4 if head.name in _TOPICAL else 0)
    return size


def _points(tokens: np.ndarray | None, at: Int[np.ndarray, " exemplars"]) -> float:
    """Share of the exemplars whose responsible token is pointed at."""
    return 0.0 if tokens is None else float(tokens[at].mean())


def responsible(evidence: Evidence, ground: Ground) -> list[Int[np.ndarray, " exemplars"]]:
    """Of each unit the tokens that gave its exemplars their activation; those without a span left out."""
    nothing = [np.zeros(0, dtype=np.int64)] * len(evidence.ids)
    spans = evidence.exemplars.filter(pl.col("span_start").is_not_null())
    if evidence.examples.kind != "text" or not len(spans):
        return nothing
    place = {id: number for number, id in enumerate(evidence.examples.ids)}
    corpus = ground.corpus
    found: dict[str, list[int]] = {}
    columns = spans.sort("unit", "rank").select("unit", "example", "span_start", "span_end")
    for unit, example, start, end in columns.iter_rows():
        text = place[example]
        first, last = corpus.first[text], corpus.first[text + 1]
        # The token that holds the last letter of the span: a piece of a word is part of that word.
        token = first + int(np.searchsorted(corpus.start[first:last], end, side="left")) - 1
        if token >= first and corpus.end[token] > start:
            found.setdefault(unit, []).append(token)
    return [np.array(found.get(unit, []), dtype=np.int64) for unit in evidence.ids]


def as_claim(found: Found, candidates: Candidates) -> Claim:
    """A formula over candidates as a claim; words of which one has to stand there become one list."""
    clauses = [
        tuple(replace(candidates.atoms[number], negated=negated) for number, negated in clause)
        for clause in found.clauses
    ]
    lists: dict[str, list[str]] = {}
    rest = []
    for clause in clauses:
        head = clause[0].conditions[0]
        if len(clause) == 1 and len(clause[0].conditions) == 1 and head.name in _LISTED:
            lists.setdefault(head.name, []).extend(str(value) for value in head.values)
        else:
            rest.append(clause)
    joined = [(Atom((Condition(name, tuple(dict.fromkeys(own))),)),) for name, own in lists.items()]
    return Claim((*joined, *rest))


_TOPICAL = frozenset({"like", "about", "toward"})
_LISTED = frozenset({"word", "form", "suffix", "prefix", "piece", "mark"})


def topics_of(examples: Examples) -> list[str]:
    """Phrases of the texts that may be what a text is about, the most frequent where they are many.

    Of pictures the phrases that somebody brought to describe them with; without any there are none.
    """
    if examples.kind == "image":
        return [] if examples.tags is None else sorted(set(examples.tags.texts))
    counts = PhraseCounts(examples.texts, min_sentences=SAID_BY)
    said = np.asarray(sp.csc_matrix(counts.matrix).sum(0)).ravel()
    order = sorted(range(len(counts.keys)), key=lambda n: (-said[n], counts.keys[n]))
    usual = as_written(examples.texts)
    wordings = {
        " ".join(usual.get(word, word) for word in counts.wordings[n].split()) for n in order[:PHRASES]
    }
    return sorted(wordings)

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
import scipy.sparse as sp
from jaxtyping import Int

from saywell.claims.candidates import Candidates, candidates_of
from saywell.claims.choose import Shown, borne_out, choose
from saywell.claims.english import english
from saywell.claims.execute import Executor
from saywell.claims.ground import Ground
from saywell.claims.language import Claim, parse
from saywell.claims.search import MOST_EXEMPLARS, Atoms, Found, Pointed, search
from saywell.claims.topics import Topics, as_written
from saywell.data.examples import Examples, Kind
from saywell.describers import token_claims
from saywell.describers.claim_rules import (
    BEAM,
    ELSEWHERE,
    MOST_ATOMS,
    NOT_BORNE_OUT,
    POINTED,
    TELLING,
    TELLS_TOO_LITTLE,
    in_lists,
    may_point,
    offered,
    points,
    responsible,
    size,
)
from saywell.describers.describer import Evidence
from saywell.describers.phrases import PhraseCounts
from saywell.description import Description
from saywell.scorers.agreement import f1
from saywell.store.table import Table

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter

PHRASES, SAID_BY = 1500, 3
"""Phrases of the texts that may be topics at most, and texts that say one at least."""
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
        if evidence.at_words:
            return token_claims.offers(evidence, resources)
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
                if pointed is not None and not may_point(pointed, candidates):
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
                said.append(offered(unit, list(dict.fromkeys(map(str, claims))), evidence, number))
        return said


def _pointed(candidates: Candidates, ground: Ground, tokens: Int[np.ndarray, " exemplars"]) -> Pointed | None:
    """Which atoms point at the tokens of a unit's strongest exemplars; None where these are not known."""
    if not len(tokens):
        return None
    tokens = tokens[:MOST_EXEMPLARS]
    return Pointed(ground.corpus.text[tokens].astype(np.int64), candidates.pointed(tokens))


def settle(
    said: Sequence[Description], shown: Evidence, select: Evidence, resources: Resources
) -> list[Description]:
    """Of the claims offered for each unit the one that `select` examples bear out, in English.

    `shown` is what they were found on. Descriptions without offers stay as they are.
    """
    if not any(own.offers for own in said):
        return list(said)
    if shown.at_words:
        return token_claims.settle(said, shown, select, resources)
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
        able = np.array([points(each.tokens, tokens) >= POINTED for each in held])
    if not able.any():
        return replace(own, offers=(), status=ELSEWHERE)
    holds, fires = np.array([each.examples for each in held])[:, known], fires[known]
    able[able] = borne_out(holds[able], fires)
    if not able.any():
        return replace(own, offers=(), status=NOT_BORNE_OUT)
    kept = np.flatnonzero(able)
    sizes = np.array([size(claims[number]) for number in kept])
    chosen = int(kept[choose(holds[kept], fires, sizes, _as_found([claims[n] for n in kept], shown))])
    if len(tokens) and f1(holds[[chosen]], fires[None])[0] < TELLING:
        return replace(own, offers=(), status=TELLS_TOO_LITTLE)
    claim = claims[chosen]
    said = english(claim, part.ground.examples.kind)
    return replace(own, text=said, status="described", claim=str(claim), offers=(), parts=(said,))


def _as_found(claims: Sequence[Claim], shown: _Responses) -> Shown:
    part, fires, known = shown
    return Shown(np.array([part.execute(claim).examples for claim in claims])[:, known], fires[known])


def as_claim(found: Found, candidates: Candidates) -> Claim:
    """A formula over candidates as a claim; words of which one has to stand there become one list."""
    clauses = [
        tuple(replace(candidates.atoms[number], negated=negated) for number, negated in clause)
        for clause in found.clauses
    ]
    return in_lists(clauses)


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

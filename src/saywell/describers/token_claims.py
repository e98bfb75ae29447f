"""Claims about the words on which a unit fires, where its activation is known at every token.

As in `saywell.describers.claims`, but the examples of the search are words and signs, and a claim is right of
those that it points at. A piece of a word is part of that word, with the activation of its highest piece.

Of many texts a sample is looked at, drawn by their ids: the same texts for all units, and of each group of
units some on which they fire. What stands for more than itself is counted so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from jaxtyping import Bool, Int

from saywell.claims.candidates import Candidates, word_candidates
from saywell.claims.choose import Shown, borne_out, choose
from saywell.claims.english import english, price
from saywell.claims.execute import Executor
from saywell.claims.fired import FiredWords, fired_words
from saywell.claims.ground import Ground
from saywell.claims.kinds import is_of_tokens
from saywell.claims.language import Atom, Claim, Condition, parse
from saywell.claims.search import MOST_EXEMPLARS, STRONGEST, Atoms, Found, Pointed, search
from saywell.data.parts import DescribeRows
from saywell.data.splits import hash_numbers
from saywell.describers.claim_rules import (
    BEAM,
    ELSEWHERE,
    MOST_ATOMS,
    NOT_BORNE_OUT,
    POINTED,
    TELLS_TOO_LITTLE,
    in_lists,
    may_point,
    offered,
    points,
    responsible,
    size,
)
from saywell.describers.describer import Evidence
from saywell.description import Description

if TYPE_CHECKING:
    from saywell.resources import Resources

GAIN, TELLING = 0.04, 0.25
"""F1 on select examples that each atom more has to bring, and below which a claim tells too little."""
DEARER = 0.35
"""Atoms that a word of price more counts for, where claims of as many atoms are compared."""
FAINT = 1 / 3
"""Of the highest activation: exemplars that reach less are not looked at, save the strongest ones."""
MOST_LETTERS = 2_000_000
"""Letters of the texts that are looked at together."""
TOGETHER, EACH = 512, 48
"""Units of a group, and texts at most of each that are drawn beside those of all, where texts are many."""


@dataclass(frozen=True)
class Words:
    """The words and signs of some examples, and on which of them some units fire."""

    whole: Evidence
    units: range
    rows: Int[np.ndarray, " texts"]
    """Which of the examples."""
    common: Bool[np.ndarray, " texts"]
    """Those that are drawn whatever fires on them."""
    resources: Resources

    @cached_property
    def evidence(self) -> Evidence:
        """Of these examples and units."""
        whole, rows = self.whole, DescribeRows(self.rows)
        ids = whole.ids[self.units.start : self.units.stop]
        examples = whole.examples.only(rows)
        here = whole.exemplars["example"].is_in(examples.ids) & whole.exemplars["unit"].is_in(ids)
        return replace(
            whole,
            units=whole.units[self.units.start : self.units.stop],
            examples=examples,
            activations=whole.activations.only(ids).within(rows),
            exemplars=whole.exemplars.filter(here),
        )

    @cached_property
    def ground(self) -> Ground:
        """What claims are executed on."""
        return Ground(self.evidence.examples, self.resources)

    @cached_property
    def execute(self) -> Executor:
        """Where claims hold."""
        return Executor(self.ground)

    @cached_property
    def responsible(self) -> list[Int[np.ndarray, " exemplars"]]:
        """Of each unit the words that gave its exemplars their activation, weak ones left out."""
        weak = pl.col("activation") < FAINT * pl.col("activation").max().over("unit")
        shown = self.evidence.exemplars.filter(~weak | (pl.col("rank") < STRONGEST))
        return responsible(replace(self.evidence, exemplars=shown), self.ground)

    def fired(self, unit: str) -> FiredWords:
        """On which words it fires."""
        activations = self.evidence.activations
        found = activations.fired(unit)
        return fired_words(self.ground.corpus, found.rows, activations.spans(found), found.values)

    def firing(self, unit: str) -> tuple[np.ndarray, np.ndarray, float]:
        """Which words it fires on, which count, and for how many each of the others stands beside these."""
        words, corpus = self.fired(unit), self.ground.corpus
        fires = np.zeros(len(corpus), dtype=bool)
        fires[words.tokens] = True
        if self.common.all():
            return fires, np.ones(len(corpus), dtype=bool), 1.0
        every = len(self.whole.activations.fired(unit).rows)
        stand = len(self.whole.examples) / max(1, int(self.common.sum()))
        return fires, self.common[corpus.text] | fires, stand * words.pieces / max(1, every)


def groups(evidence: Evidence, resources: Resources) -> Iterator[Words]:
    """All units: at once where the texts are few, else in groups with texts drawn for each."""
    count, letters = len(evidence.examples), np.array([len(text) for text in evidence.examples.texts])
    if letters.sum() <= MOST_LETTERS:
        every = np.arange(count)
        yield Words(evidence, range(len(evidence.ids)), every, np.ones(count, dtype=bool), resources)
        return
    order = np.argsort(hash_numbers(evidence.examples.ids, evidence.seed, "texts of claims"), kind="stable")
    rank = np.empty(count, dtype=np.int64)
    rank[order] = np.arange(count)
    common = np.zeros(count, dtype=bool)
    common[order[np.cumsum(letters[order]) <= MOST_LETTERS / 2]] = True
    for start in range(0, len(evidence.ids), TOGETHER):
        units = range(start, min(start + TOGETHER, len(evidence.ids)))
        wanted = common.copy()
        room = MOST_LETTERS / 2 / len(units)
        for number in units:
            rows = np.unique(evidence.activations.fired(evidence.ids[number]).rows)
            drawn = rows[np.argsort(rank[rows], kind="stable")][:EACH]
            places = evidence.places[number]
            for some, share in ((places[: MOST_EXEMPLARS // 2], room / 2), (drawn, room / 2)):
                wanted[some[np.cumsum(letters[some]) <= max(share, letters[some[:1]].sum())]] = True
        rows = np.flatnonzero(wanted)
        yield Words(evidence, units, rows, common[rows], resources)


def offers(evidence: Evidence, resources: Resources) -> list[Description]:
    """Of each unit the claims about its words that describe examples speak for."""
    said, cased = [], evidence.activations.sees_case(evidence.examples.texts)
    for words in groups(evidence, resources):
        candidates = word_candidates(words.ground, cased=cased)
        atoms = Atoms(
            candidates.rows, candidates.prices, candidates.groups, candidates.order, candidates.deniable
        )
        with resources.progress("claims about words", len(words.units)) as advance:
            for number, unit, tokens in zip(words.units, words.evidence.ids, words.responsible, strict=True):
                said.append(_offered(words, candidates, atoms, unit, tokens[:MOST_EXEMPLARS], number))
                advance(1)
    return said


def _offered(
    words: Words,
    candidates: Candidates,
    atoms: Atoms,
    unit: str,
    tokens: Int[np.ndarray, " exemplars"],
    number: int,
) -> Description:
    if not len(tokens):
        return offered(unit, [], words.whole, number)
    pointed = Pointed(tokens, candidates.pointed(tokens))
    if not may_point(pointed, candidates):
        return Description(unit, "", ELSEWHERE)
    fires, known, silent = words.firing(unit)
    sizes = search(atoms, fires, known, pointed, silent=silent, most=MOST_ATOMS, beam=BEAM)
    found = [each for size in sizes for each in size]
    claims = [as_word_claim(each, candidates, words.execute) for each in found if not each.pointing < POINTED]
    if found and not claims:
        return Description(unit, "", ELSEWHERE)
    return offered(unit, list(dict.fromkeys(map(str, claims))), words.whole, number)


def settle(
    said: Sequence[Description], shown: Evidence, select: Evidence, resources: Resources
) -> list[Description]:
    """As in `saywell.describers.claims`: select examples decide, word by word."""
    settled = list(said)
    for before, after in zip(groups(shown, resources), groups(select, resources), strict=True):
        for number, tokens in zip(after.units, after.responsible, strict=True):
            if said[number].offers:
                settled[number] = _settled(said[number], before, after, tokens)
    return settled


def _settled(
    own: Description, before: Words, after: Words, tokens: Int[np.ndarray, " exemplars"]
) -> Description:
    claims = [parse(text) for text in own.offers]
    holds = np.array([_pointing(after, claim) for claim in claims])
    able = np.array([points(each, tokens) >= POINTED for each in holds])
    if not able.any():
        return replace(own, offers=(), status=ELSEWHERE)
    fires, known, silent = after.firing(own.unit)
    holds, fires = holds[:, known], fires[known]
    able[able] = borne_out(holds[able], fires)
    if not able.any():
        return replace(own, offers=(), status=NOT_BORNE_OUT)
    kept = np.flatnonzero(able)
    then, there, _ = before.firing(own.unit)
    shown = Shown(np.array([_pointing(before, claims[n])[there] for n in kept]), then[there])
    sizes = np.array([_weight(claims[number]) for number in kept])
    chosen = int(kept[choose(holds[kept], fires, sizes, shown, silent=silent, gain=GAIN)])
    if _f1(holds[chosen], fires, silent) < TELLING:
        return replace(own, offers=(), status=TELLS_TOO_LITTLE)
    claim = claims[chosen]
    text = english(claim, after.ground.examples.kind)
    return replace(own, text=text, status="described", claim=str(claim), offers=(), parts=(text,))


def _weight(claim: Claim) -> float:
    """Its size, and less than an atom more for what costs a person more than a plain word."""
    atoms = size(claim)
    return atoms + min(0.9, DEARER * max(0.0, sum(map(price, claim.atoms)) - atoms))


def _pointing(words: Words, claim: Claim) -> Bool[np.ndarray, " tokens"]:
    tokens = words.execute(claim).tokens
    return np.zeros(len(words.ground.corpus), dtype=bool) if tokens is None else tokens


def _f1(said: Bool[np.ndarray, " words"], fires: Bool[np.ndarray, " words"], silent: float) -> float:
    hits, fired = int((said & fires).sum()), int(fires.sum())
    return 2 * hits / max(1.0, hits + silent * (int(said.sum()) - hits) + fired)


def as_word_claim(found: Found, candidates: Candidates, execute: Executor) -> Claim:
    """A formula over candidates as a claim: what it asks of one word is one atom, and of its text others."""
    clauses = []
    for clause in found.clauses:
        of_word: list[Condition] = []
        of_text: list[Atom] = []
        for number, negated in clause:
            one = candidates.atoms[number]
            if not is_of_tokens(one.conditions[0]):
                of_text.append(replace(one, negated=negated))
            elif negated:
                of_word.append(Condition("except", one.conditions))
            else:
                of_word += one.conditions
        asked = (Atom(_needed(tuple(of_word), execute)),) if of_word else ()
        clauses.append((*asked, *sorted(of_text, key=lambda one: one.negated)))
    return in_lists(clauses)


def _needed(conditions: tuple[Condition, ...], execute: Executor) -> tuple[Condition, ...]:
    """Without those that hold wherever the others do: "than" after "more" is a function word anyway."""
    masks = {one: np.asarray(execute.atom(Atom((one,))).tokens) for one in conditions}
    kept = list(masks)
    for one in sorted(kept, key=lambda one: (price(Atom((one,))), str(one)), reverse=True):
        others = [other for other in kept if other != one]
        if others and not (np.logical_and.reduce([masks[other] for other in others]) & ~masks[one]).any():
            kept = others
    return tuple(kept)

"""The best formulas over atoms for when a unit fires, by size: beam search with exact counts.

A formula is a disjunction of clauses, a clause a conjunction of atoms of which the first is not negated.
This module knows atoms as rows of a matrix only: what they say is for `saywell.claims.candidates`.

Every step tries each way to lengthen each formula of the beam by one atom: `or`, `and` with a clause, `and
not` with a clause. What an added atom changes lies in where the formula already holds, so two counts give
hits and false alarms of all three for all atoms at once: of how many examples that fire, and of how many
that do not, the atom holds there. No atom is left out by a ranking made for another purpose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int, Real, UInt64

from saywell.errors import InputError

MOST, BEAM, KEPT = 4, 8, 3
PRIOR, PRICE = 10, 0.008
LEAST, LEAST_SHARE = 2, 0.005
MOST_EXEMPLARS, STRONGEST = 64, 16
"""Exemplars that are looked at, and the strongest of them, of which each alternative points at one at least:
what a person finds among none of them is no help, however much it adds to F1."""
REMEMBERED = 200

Clause = tuple[tuple[int, bool], ...]
Clauses = tuple[Clause, ...]


@dataclass(frozen=True)
class Atoms:
    """What formulas are made of, once for all units.

    `rows`: of which examples each atom holds. `prices`: what it costs to say, in words. `groups`: atoms of
    one group are variants of each other (a word, its forms), and a formula has at most one of them.
    `order`: decides between atoms that are equally good and cost the same; no number twice. `deniable`: which
    may stand after "not"; None: all.
    """

    rows: Bool[sp.csr_matrix, "atoms examples"]
    prices: Float[np.ndarray, " atoms"]
    groups: Int[np.ndarray, " atoms"]
    order: Int[np.ndarray, " atoms"]
    deniable: Bool[np.ndarray, " atoms"] | None = None

    def __post_init__(self) -> None:
        for name in ("prices", "groups", "order"):
            if len(getattr(self, name)) != len(self):
                raise InputError(f"{name} of {len(getattr(self, name)):,} atoms, and there are {len(self):,}")
        if len(np.unique(self.order)) != len(self):
            raise InputError("two atoms have the same place in `order`, so nothing decides between them")
        if not self.by_example.has_canonical_format or not self.rows.data.all():
            raise InputError("`rows` stores what is False, or twice: sum_duplicates, then eliminate_zeros")

    def __len__(self) -> int:
        return self.rows.shape[0]

    @cached_property
    def by_example(self) -> Bool[sp.csr_matrix, "examples atoms"]:
        """The atoms that hold of each example."""
        return sp.csr_matrix(self.rows.T)

    @cached_property
    def _carried(self) -> list[Int[np.ndarray, " some"]]:
        """Rows of `by_example` apart: SciPy takes longer to make a matrix of a few than to copy them."""
        return np.split(self.by_example.indices, self.by_example.indptr[1:-1])

    @cached_property
    def held(self) -> Int[np.ndarray, " atoms"]:
        """Of how many examples each atom holds."""
        return np.diff(self.rows.indptr)

    def examples(self, atom: int) -> Int[np.ndarray, " some"]:
        """Of which examples an atom holds, by number."""
        return self.rows.indices[self.rows.indptr[atom] : self.rows.indptr[atom + 1]]

    def mask(self, atom: int) -> Bool[np.ndarray, " examples"]:
        """Of which examples an atom holds."""
        found = np.zeros(self.rows.shape[1], dtype=bool)
        found[self.examples(atom)] = True
        return found

    def count(self, examples: Int[np.ndarray, " some"]) -> Int[np.ndarray, " atoms"]:
        """Of how many of these examples each atom holds."""
        if not len(examples):
            return np.zeros(len(self), dtype=np.int64)
        there = np.concatenate([self._carried[example] for example in examples.tolist()])
        return np.bincount(there, minlength=len(self))

    @cached_property
    def together(self) -> Callable[[int], Int[np.ndarray, " atoms"]]:
        """Of how many of the examples of one atom each atom holds.

        The last asked for are remembered: the atoms that hold most often are looked at for every unit.
        """
        return lru_cache(REMEMBERED)(lambda atom: self.count(self.examples(atom)).astype(np.int32))


class Pointed(NamedTuple):
    """At which of a unit's exemplars each atom points at the responsible token.

    `exemplars`: their rows among the examples, strongest first, `MOST_EXEMPLARS` at most. `at` [atoms,
    exemplars]; an atom about whole examples points at nothing.
    """

    exemplars: Int[np.ndarray, " exemplars"]
    at: Bool[sp.csr_matrix, "atoms exemplars"]


class Found(NamedTuple):
    """A formula and how it did on the examples it was found on.

    `clauses`: atoms, each with whether it is negated. `hits`: examples that fire and of which it holds.
    `said`: examples of which it holds. `f1`: as counted. `pointing`: share of the exemplars at whose
    responsible token it points; NaN where these are not known.
    `score`: what it was chosen by, higher is better. `size`: atoms.
    """

    clauses: Clauses
    hits: int
    said: int
    f1: float
    pointing: float
    score: float
    size: int


def search(
    atoms: Atoms,
    fires: Bool[np.ndarray, " examples"],
    known: Bool[np.ndarray, " examples"] | None = None,
    pointed: Pointed | None = None,
    *,
    silent: float = 1.0,
    most: int = MOST,
    beam: int = BEAM,
) -> list[list[Found]]:
    """The best formulas of 1, 2, ... `most` atoms, best first, at most `KEPT` of each size.

    Where those that do not fire are a sample, each counts for `silent` of them.

    An atom is added only where it changes `LEAST` examples for the better, and `LEAST_SHARE` of as many as
    fire and the shorter formula holds of together: with fewer F1 cannot rise by even twice that share, which
    nobody would pay a word for. So there may be none of a size. Examples
    that are not `known` are left out. Of formulas that hold of the same examples, the best is kept: then the
    cheaper, then that of the earlier atoms in `order`.

    Raises InputError where shapes disagree.
    """
    unit = _Unit.of(atoms, fires, known, pointed, silent)
    if unit.fired < LEAST:
        return []
    formulas, sizes, seen = [_nothing(unit)], [], set()
    while len(sizes) < most and formulas:
        ways = [way for formula in formulas for way in _lengthened(unit, formula)]
        formulas = _distinct(unit, ways, beam, seen)
        sizes.append([_found(unit, formula) for formula in formulas[:KEPT]])
    return [some for some in sizes if some]


def shrunk_f1(
    hits: Int[np.ndarray, " formulas"], said: Real[np.ndarray, " formulas"], fired: int, examples: float
) -> Float[np.ndarray, " formulas"]:
    """F1 with precision and recall drawn towards what chance gives them.

    As if each formula held of `PRIOR` examples more, of which as many fire as of all, and as if `PRIOR` more
    fired, of which it held of as many as of all: the best of thousands of atoms is also the luckiest, most
    so where it holds of few. On planted formulas (`benchmarks/claims_search.py`) no other form was clearly
    better on other examples; plain F1 was worse from two atoms on, a strict lower bound with one.
    """
    precision = (hits + PRIOR * fired / examples) / (said + PRIOR)
    recall = (hits + PRIOR * said / examples) / (fired + PRIOR)
    return 2 * precision * recall / (precision + recall)


@dataclass(frozen=True)
class _Unit:
    """What a search has before it. Counts are of examples that do not fire [0] and that do [1]."""

    atoms: Atoms
    fires: Bool[np.ndarray, " examples"]
    known: Bool[np.ndarray, " examples"]
    counts: Int[np.ndarray, "2 atoms"]
    exemplars: Int[np.ndarray, " exemplars"]
    points: UInt64[np.ndarray, " atoms"]
    """Bits: at which exemplars an atom points."""
    holds: UInt64[np.ndarray, " atoms"]
    """Bits: of which exemplars it holds."""
    clauses: dict[Clause, tuple[Bool[np.ndarray, " examples"], Int[np.ndarray, "2 atoms"]]]
    """Of which examples a clause holds, and the counts there; many formulas have one in common."""
    silent: float
    """As how many each that does not fire counts."""

    @staticmethod
    def of(
        atoms: Atoms,
        fires: Bool[np.ndarray, " examples"],
        known: Bool[np.ndarray, " examples"] | None,
        pointed: Pointed | None,
        silent: float,
    ) -> _Unit:
        examples = atoms.rows.shape[1]
        known = np.ones(examples, dtype=bool) if known is None else known
        for name, mask in (("fires", fires), ("known", known)):
            if mask.shape != (examples,):
                raise InputError(f"{name} has shape {mask.shape}, and atoms are of {examples:,} examples")
        fires = fires & known
        hits = atoms.count(np.flatnonzero(fires))
        counts = np.stack([atoms.held - atoms.count(np.flatnonzero(~known)) - hits, hits])
        exemplars = np.zeros(0, dtype=int)
        points = holds = np.zeros(len(atoms), dtype=np.uint64)
        if pointed is not None and len(pointed.exemplars):
            exemplars = pointed.exemplars
            if len(exemplars) > MOST_EXEMPLARS:
                raise InputError(f"{len(exemplars)} exemplars; give the {MOST_EXEMPLARS} strongest or fewer")
            if pointed.at.shape != (len(atoms), len(exemplars)):
                raise InputError(
                    f"pointing of {pointed.at.shape[0]:,} atoms at {pointed.at.shape[1]} exemplars, and there"
                    f" are {len(atoms):,} and {len(exemplars)}"
                )
            points = _bits(sp.csr_matrix(pointed.at.T))
            holds = _bits(atoms.by_example[exemplars])
        return _Unit(atoms, fires, known, counts, exemplars, points, holds, {}, silent)

    @cached_property
    def fired(self) -> int:
        return int(self.fires.sum())

    @cached_property
    def hitting(self) -> Int[np.ndarray, " some"]:
        """Atoms with hits enough to be in a formula other than negated."""
        return np.flatnonzero(self.counts[1] >= self.least(0))

    @cached_property
    def seen(self) -> Bool[np.ndarray, " atoms"]:
        """Which atoms point at one of the strongest exemplars; all, where these are not known."""
        if not len(self.exemplars):
            return np.ones(len(self.points), dtype=bool)
        return (self.points & np.uint64((1 << STRONGEST) - 1)) > 0

    def said(self, hits: np.ndarray, said: np.ndarray) -> np.ndarray:
        """Of how many examples formulas hold, each counted for what it stands for."""
        return said if self.silent == 1 else hits + self.silent * (said - hits)

    @cached_property
    def examples(self) -> float:
        """How many there are, each counted for what it stands for."""
        known = int(self.known.sum())
        return known if self.silent == 1 else self.fired + self.silent * (known - self.fired)

    def least(self, said: int) -> int:
        """How many examples an atom must change to be worth its place in a formula that holds of so many."""
        return max(LEAST, math.ceil(LEAST_SHARE * (said + self.fired)))

    def count(self, mask: Bool[np.ndarray, " examples"]) -> Int[np.ndarray, "2 atoms"]:
        """Of how many of some examples each atom holds."""
        kinds = np.flatnonzero(mask & ~self.fires), np.flatnonzero(mask & self.fires)
        return np.stack([self.atoms.count(kind) for kind in kinds])

    def within(self, clause: Clause, cover: Bool[np.ndarray, " examples"]) -> Int[np.ndarray, "2 atoms"]:
        """Of how many of a clause's examples each atom holds."""
        if clause not in self.clauses:
            self.clauses[clause] = cover, self._within(clause, cover)
        return self.clauses[clause][1]

    def _within(self, clause: Clause, cover: Bool[np.ndarray, " examples"]) -> Int[np.ndarray, "2 atoms"]:
        if len(clause) == 1:
            atom = clause[0][0]
            of_it = self.atoms.examples(atom)
            hits = self.atoms.count(np.flatnonzero(cover & self.fires))
            missing = self.atoms.count(of_it[~self.known[of_it]])
            return np.stack([self.atoms.together(atom) - missing - hits, hits])
        # By what the last atom took away, if that is less than what it left.
        before, counts = self.clauses[clause[:-1]]
        gone = before & ~cover
        return counts - self.count(gone) if gone.sum() < cover.sum() else self.count(cover)


class _Formula(NamedTuple):
    clauses: Clauses
    covers: Bool[np.ndarray, "clauses examples"]
    points: UInt64[np.ndarray, " clauses"]
    """Bits: at which exemplars the atoms of a clause point, whether or not the clause holds."""
    holds: UInt64[np.ndarray, " clauses"]
    """Bits: of which exemplars a clause holds."""
    hits: int
    said: int
    cost: float
    score: float


class _Way(NamedTuple):
    """A formula lengthened in one way, by each of some atoms: `or`, `and` and `and not` with a clause."""

    parent: _Formula
    join: str
    clause: int
    atoms: Int[np.ndarray, " tried"]
    hits: Int[np.ndarray, " tried"]
    said: Int[np.ndarray, " tried"]


def _nothing(unit: _Unit) -> _Formula:
    bits = np.zeros(0, dtype=np.uint64)
    return _Formula((), np.zeros((0, len(unit.fires)), dtype=bool), bits, bits, 0, 0, 0.0, 0.0)


def _lengthened(unit: _Unit, formula: _Formula) -> Iterator[_Way]:
    """Every way to add one atom to a formula."""
    clauses, covers, atoms = formula.clauses, formula.covers, unit.atoms
    counts = [unit.within(clause, cover) for clause, cover in zip(clauses, covers, strict=True)]
    # An example of several clauses is lost by no change to one of them: each clause answers for its own.
    shared = covers.sum(0) > 1
    common = unit.count(shared) if shared.any() else None
    others = [unit.count(cover & shared) for cover in covers] if shared.any() else None
    used = {atoms.groups[atom] for clause in clauses for atom, _ in clause}
    least, alarms = unit.least(formula.said), formula.said - formula.hits

    def own(clause: int, kind: int, some: np.ndarray) -> np.ndarray:
        return counts[clause][kind, some] - (0 if others is None else others[clause][kind, some])

    def free(some: np.ndarray) -> np.ndarray:
        return some[np.logical_and.reduce([atoms.groups[some] != group for group in used])] if used else some

    hitting = free(unit.hitting)
    false, true = ([own(c, kind, hitting) for c in range(len(clauses))] for kind in (0, 1))
    more = [
        unit.counts[kind, hitting] - sum(there) - (0 if common is None else common[kind, hitting])
        for kind, there in ((0, false), (1, true))
    ]
    able = (more[1] >= least) & unit.seen[hitting]
    hits = formula.hits + more[1][able]
    yield _Way(formula, "or", len(clauses), hitting[able], hits, hits + alarms + more[0][able])
    for c in range(len(clauses)):
        mine = covers[c] & ~shared
        right = int((mine & unit.fires).sum())
        wrong = int(mine.sum()) - right
        able = (true[c] >= least) & (false[c] <= wrong - least)
        hits = formula.hits - right + true[c][able]
        yield _Way(formula, "and", c, hitting[able], hits, hits + alarms - wrong + false[c][able])
        enough = counts[c][0] >= least
        new = free(np.flatnonzero(enough if atoms.deniable is None else enough & atoms.deniable))
        fewer = own(c, 0, new)
        new, fewer = new[fewer >= least], fewer[fewer >= least]
        hits = formula.hits - own(c, 1, new)
        yield _Way(formula, "and not", c, new, hits, hits + alarms - fewer)


def _pointing(unit: _Unit, way: _Way) -> Float[np.ndarray, " tried"]:
    """At what share of the exemplars each formula points at the responsible token."""
    formula, c = way.parent, way.clause
    points, holds = unit.points[way.atoms], unit.holds[way.atoms]
    shown = formula.points & formula.holds
    others = np.bitwise_or.reduce(np.concatenate([shown[:c], shown[c + 1 :]]))
    if way.join == "or":
        bits = others | (points & holds)
    elif way.join == "and":
        bits = others | ((formula.points[c] | points) & formula.holds[c] & holds)
    else:
        bits = others | (shown[c] & ~holds)
    return np.bitwise_count(bits) / len(unit.exemplars)


def _distinct(unit: _Unit, ways: list[_Way], wanted: int, seen: set[bytes]) -> list[_Formula]:
    """The best that hold of other examples than any before."""
    lengths = [len(way.atoms) for way in ways]
    first = np.cumsum([0, *lengths])
    atom = np.concatenate([way.atoms for way in ways])
    hits, said = (np.concatenate([getattr(way, name) for way in ways]) for name in ("hits", "said"))
    cost = np.repeat([way.parent.cost for way in ways], lengths) + unit.atoms.prices[atom]
    score = shrunk_f1(hits, unit.said(hits, said), unit.fired, unit.examples)
    if len(unit.exemplars):
        # Half for that it holds, half for where: a claim that points elsewhere is never verified.
        score = score * (1 + np.concatenate([_pointing(unit, way) for way in ways])) / 2
    score = score - PRICE * cost
    found: list[_Formula] = []
    done, looked = 0, 4 * wanted
    while len(found) < wanted and done < len(score):
        looked = min(looked, len(score))
        # All of the same score come along, so that the keys decide between them and not their place.
        among = np.flatnonzero(score >= np.partition(score, -looked)[-looked])
        ranked = among[np.lexsort([among, unit.atoms.order[atom[among]], cost[among], -score[among]])]
        for place in ranked[done:]:
            number = int(np.searchsorted(first, place, side="right")) - 1
            formula = _made(
                unit, ways[number], int(place - first[number]), float(cost[place]), float(score[place])
            )
            cover = np.packbits(formula.covers.any(0)).tobytes()
            if cover not in seen:
                seen.add(cover)
                found.append(formula)
                if len(found) == wanted:
                    break
        done, looked = len(ranked), 4 * looked
    return found


def _made(unit: _Unit, way: _Way, at: int, cost: float, score: float) -> _Formula:
    """The formula of a way with one of its atoms."""
    atom, parent, c = int(way.atoms[at]), way.parent, way.clause
    mask, points, holds = unit.atoms.mask(atom) & unit.known, unit.points[atom], unit.holds[atom]
    clauses, covers = list(parent.clauses), parent.covers.copy()
    all_points, all_holds = parent.points.copy(), parent.holds.copy()
    if way.join == "or":
        clauses.append(((atom, False),))
        covers = np.concatenate([covers, mask[None]])
        all_points, all_holds = np.append(all_points, points), np.append(all_holds, holds)
    elif way.join == "and":
        clauses[c] = (*clauses[c], (atom, False))
        covers[c] &= mask
        all_points[c] |= points
        all_holds[c] &= holds
    else:
        clauses[c] = (*clauses[c], (atom, True))
        covers[c] &= ~mask
        all_holds[c] &= ~holds
    return _Formula(
        tuple(clauses), covers, all_points, all_holds, int(way.hits[at]), int(way.said[at]), cost, score
    )


def _found(unit: _Unit, formula: _Formula) -> Found:
    clauses = tuple(tuple(sorted(clause, key=lambda part: part[1])) for clause in formula.clauses)
    bits = np.bitwise_or.reduce(formula.points & formula.holds)
    pointing = int(np.bitwise_count(bits)) / len(unit.exemplars) if len(unit.exemplars) else float("nan")
    said = float(unit.said(np.array(formula.hits), np.array(formula.said)))
    f1 = 2 * formula.hits / (said + unit.fired)
    return Found(clauses, formula.hits, formula.said, f1, pointing, formula.score, sum(map(len, clauses)))


def _bits(by_place: Bool[sp.csr_matrix, "places atoms"]) -> UInt64[np.ndarray, " atoms"]:
    """Of which of at most 64 places each atom is, the first in the lowest bit."""
    bits = np.zeros(by_place.shape[1], dtype=np.uint64)
    for place, (start, stop) in enumerate(pairwise(by_place.indptr.tolist())):
        bits[by_place.indices[start:stop]] |= np.uint64(1) << np.uint64(place)
    return bits

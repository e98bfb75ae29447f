"""The best formulas over atoms for when a unit fires, by size: beam search with exact counts.

A formula is a disjunction of clauses, a clause a conjunction of atoms of which the first is not negated.
This module knows atoms as rows of a matrix only: what they say is for `saywell.claims.candidates`.

Every step tries each way to lengthen each formula of the beam by one atom: `or`, `and` with a clause, `and
not` with a clause. What an added atom changes lies in where the formula already holds, so two counts give
hits and false alarms of all three for all atoms at once: of how many examples that fire, and of how many
that do not, the atom holds there. No atom is left out by a ranking made for another purpose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int, UInt64

from saywell.errors import InputError

MOST, BEAM, KEPT = 4, 8, 3
PRICE = 0.002
LEAST = 2
MOST_EXEMPLARS = 64
UNPLACED = 0.5
_DEVIATIONS = 1.0

Clauses = tuple[tuple[tuple[int, bool], ...], ...]


@dataclass(frozen=True)
class Atoms:
    """What formulas are made of, once for all units.

    `rows`: of which examples each atom holds. `prices`: what it costs to say, in words. `groups`: atoms of
    one group are variants of each other (a word, its forms), and a formula has at most one of them.
    `order`: decides between atoms that are equally good and cost the same; no number twice.
    """

    rows: Bool[sp.csr_matrix, "atoms examples"]
    prices: Float[np.ndarray, " atoms"]
    groups: Int[np.ndarray, " atoms"]
    order: Int[np.ndarray, " atoms"]

    def __post_init__(self) -> None:
        for name in ("prices", "groups", "order"):
            if len(getattr(self, name)) != len(self):
                raise InputError(f"{name} of {len(getattr(self, name)):,} atoms, and there are {len(self):,}")
        if len(np.unique(self.order)) != len(self):
            raise InputError("two atoms have the same place in `order`, so nothing decides between them")

    def __len__(self) -> int:
        return self.rows.shape[0]

    @cached_property
    def by_example(self) -> Bool[sp.csr_matrix, "examples atoms"]:
        """The atoms that hold of each example."""
        return sp.csr_matrix(self.rows.T)

    @cached_property
    def held(self) -> Int[np.ndarray, " atoms"]:
        """Of how many examples each atom holds."""
        return np.diff(self.rows.indptr)

    def mask(self, atom: int) -> Bool[np.ndarray, " examples"]:
        """Of which examples an atom holds."""
        found = np.zeros(self.rows.shape[1], dtype=bool)
        found[self.rows.indices[self.rows.indptr[atom] : self.rows.indptr[atom + 1]]] = True
        return found

    def count(
        self, examples: Int[np.ndarray, " some"], kinds: Int[np.ndarray, " some"], number: int
    ) -> Int[np.ndarray, "number atoms"]:
        """Of how many of the examples of each of `number` kinds each atom holds."""
        here = self.by_example[examples]
        places = np.repeat(kinds * len(self), np.diff(here.indptr)) + here.indices
        return np.bincount(places, minlength=number * len(self)).reshape(number, len(self))


class Pointed(NamedTuple):
    """At which of a unit's exemplars each atom points at the responsible token.

    `exemplars`: their rows among the examples, 64 at most. `at` [atoms, exemplars]. `able`: which atoms
    point at tokens at all; others are about whole examples.
    """

    exemplars: Int[np.ndarray, " exemplars"]
    at: Bool[sp.csr_matrix, "atoms exemplars"]
    able: Bool[np.ndarray, " atoms"]


class Found(NamedTuple):
    """A formula and how it did on the examples it was found on.

    `clauses`: atoms, each with whether it is negated. `hits`: examples that fire and of which it holds.
    `said`: examples of which it holds. `f1`: as counted. `pointing`: share of the exemplars at whose
    responsible token it points; NaN where it points at none by its nature, or nothing is known of it.
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
    most: int = MOST,
    beam: int = BEAM,
) -> list[list[Found]]:
    """The best formulas of 1, 2, ... `most` atoms, best first, at most `KEPT` of each size.

    Of a size there are none where no formula changes at least `LEAST` examples for the better over a shorter
    one. Examples that are not `known` are left out. Of formulas that hold of the same examples, the
    best is kept: then the cheaper, then that of the earlier atoms in `order`.

    Raises InputError where shapes disagree.
    """
    unit = _Unit.of(atoms, fires, known, pointed)
    seen: set[bytes] = set()
    formulas = _distinct(unit, _firsts(unit), [], beam, seen)
    sizes = [formulas]
    while len(sizes) < most and formulas:
        formulas = _distinct(unit, _longer(unit, formulas), formulas, beam, seen)
        sizes.append(formulas)
    return [[_found(unit, formula) for formula in some[:KEPT]] for some in sizes if some]


def shrunk_f1(
    hits: Float[np.ndarray, " *formulas"], said: Float[np.ndarray, " *formulas"], fired: int
) -> Float[np.ndarray, " *formulas"]:
    """F1 as if `hits` were a standard deviation fewer (of a Poisson count).

    Of thousands of atoms the best seen is the luckiest; the fewer its hits, the more of it is luck.
    """
    return 2 * (hits - _DEVIATIONS * np.sqrt(hits)) / (said + fired)


@dataclass(frozen=True)
class _Unit:
    """What a search has before it."""

    atoms: Atoms
    fires: Bool[np.ndarray, " examples"]
    known: Bool[np.ndarray, " examples"]
    fired: int
    hits: Int[np.ndarray, " atoms"]
    said: Int[np.ndarray, " atoms"]
    exemplars: Int[np.ndarray, " exemplars"]
    able: Bool[np.ndarray, " atoms"]
    points: UInt64[np.ndarray, " atoms"]
    """Bits: at which exemplars an atom points."""
    holds: UInt64[np.ndarray, " atoms"]
    """Bits: of which exemplars it holds."""

    @staticmethod
    def of(
        atoms: Atoms,
        fires: Bool[np.ndarray, " examples"],
        known: Bool[np.ndarray, " examples"] | None,
        pointed: Pointed | None,
    ) -> _Unit:
        examples = atoms.rows.shape[1]
        known = np.ones(examples, dtype=bool) if known is None else known
        for name, mask in (("fires", fires), ("known", known)):
            if mask.shape != (examples,):
                raise InputError(f"{name} has shape {mask.shape}, and atoms are of {examples:,} examples")
        fires = fires & known
        firing, out = np.flatnonzero(fires), np.flatnonzero(~known)
        rows = np.concatenate([firing, out])
        hits, missing = atoms.count(rows, np.repeat([0, 1], [len(firing), len(out)]), 2)
        exemplars, able = np.zeros(0, dtype=int), np.zeros(len(atoms), dtype=bool)
        points = holds = np.zeros(len(atoms), dtype=np.uint64)
        if pointed is not None and len(pointed.exemplars):
            exemplars, able = pointed.exemplars, pointed.able
            if len(exemplars) > MOST_EXEMPLARS:
                raise InputError(f"{len(exemplars)} exemplars; give the {MOST_EXEMPLARS} strongest or fewer")
            if pointed.at.shape != (len(atoms), len(exemplars)) or able.shape != (len(atoms),):
                raise InputError(
                    f"pointing of {pointed.at.shape[0]:,} atoms at {pointed.at.shape[1]} exemplars, and there"
                    f" are {len(atoms):,} and {len(exemplars)}"
                )
            points = _bits(sp.csr_matrix(pointed.at.T))
            holds = _bits(atoms.by_example[exemplars])
        return _Unit(
            atoms, fires, known, len(firing), hits, atoms.held - missing, exemplars, able, points, holds
        )

    def scored(
        self, hits: np.ndarray, said: np.ndarray, cost: np.ndarray, pointing: np.ndarray
    ) -> np.ndarray:
        """What formulas are ranked by: shrunk F1, less where they do not point, less what they cost."""
        return shrunk_f1(hits, said, self.fired) * (1 + pointing) / 2 - PRICE * cost

    def pointing(self, bits: np.ndarray, able: np.ndarray) -> np.ndarray:
        """Share of the exemplars pointed at; for atoms that cannot point, or are not known to, as of half."""
        share = np.bitwise_count(bits) / max(len(self.exemplars), 1)
        return np.where(able, share, UNPLACED)


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


_OR, _AND, _NOT = 0, 1, 2


class _Tried(NamedTuple):
    """Formulas that differ from a parent in one atom, one a row."""

    score: Float[np.ndarray, " tried"]
    cost: Float[np.ndarray, " tried"]
    hits: Int[np.ndarray, " tried"]
    said: Int[np.ndarray, " tried"]
    atom: Int[np.ndarray, " tried"]
    parent: Int[np.ndarray, " tried"]
    join: Int[np.ndarray, " tried"]
    clause: Int[np.ndarray, " tried"]


def _firsts(unit: _Unit) -> _Tried:
    atom = np.flatnonzero(unit.hits >= LEAST)
    hits, said, cost = unit.hits[atom], unit.said[atom], unit.atoms.prices[atom]
    pointing = unit.pointing(unit.points[atom] & unit.holds[atom], unit.able[atom])
    none = np.zeros(len(atom), dtype=int)
    return _Tried(unit.scored(hits, said, cost, pointing), cost, hits, said, atom, none, none, none)


def _longer(unit: _Unit, formulas: list[_Formula]) -> _Tried:
    tried = [some for n, formula in enumerate(formulas) for some in _lengthened(unit, formula, n)]
    return _Tried(*(np.concatenate(column) for column in zip(*tried, strict=True)))


def _lengthened(unit: _Unit, formula: _Formula, parent: int) -> Iterator[_Tried]:
    """A formula with every atom added, in each of the ways there are."""
    clauses, atoms = len(formula.clauses), unit.atoms
    # An example of several clauses is lost by no change to one of them: it is a kind of its own.
    depth = formula.covers.sum(0)
    rows = np.flatnonzero(depth)
    owner = np.where(depth[rows] == 1, formula.covers[:, rows].argmax(0), clauses)
    counts = atoms.count(rows, 2 * owner + unit.fires[rows], 2 * (clauses + 1))
    false, true = counts[::2], counts[1::2]
    own = np.bincount(2 * owner + unit.fires[rows], minlength=2 * (clauses + 1))
    free = ~np.isin(atoms.groups, [atoms.groups[a] for clause in formula.clauses for a, _ in clause])
    alarms = formula.said - formula.hits
    able = np.array([any(unit.able[a] for a, negated in c if not negated) for c in formula.clauses])
    shown = formula.points & formula.holds

    def tried(join, clause, new, hits, alarms, points, able) -> _Tried:
        cost = formula.cost + atoms.prices[new]
        score = unit.scored(hits, hits + alarms, cost, unit.pointing(points, able))
        same = [np.full(len(new), value) for value in (parent, join, clause)]
        return _Tried(score, cost, hits, hits + alarms, new, *same)

    gained = unit.hits - true.sum(0)
    new = np.flatnonzero(free & (gained >= LEAST))
    more = (unit.said - unit.hits - false.sum(0))[new]
    points = np.bitwise_or.reduce(shown) | (unit.points[new] & unit.holds[new])
    yield tried(
        _OR, clauses, new, formula.hits + gained[new], alarms + more, points, able.any() | unit.able[new]
    )
    for c in range(clauses):
        others = np.bitwise_or.reduce(np.delete(shown, c), initial=np.uint64(0))
        lost, fewer = own[2 * c + 1] - true[c], own[2 * c] - false[c]
        new = np.flatnonzero(free & (fewer >= LEAST) & (true[c] >= LEAST))
        points = others | ((formula.points[c] | unit.points[new]) & formula.holds[c] & unit.holds[new])
        yield tried(
            _AND, c, new, formula.hits - lost[new], alarms - fewer[new], points, able.any() | unit.able[new]
        )
        new = np.flatnonzero(free & (false[c] >= LEAST))
        points = others | (shown[c] & ~unit.holds[new])
        yield tried(
            _NOT, c, new, formula.hits - true[c][new], alarms - false[c][new], points, np.bool_(able.any())
        )


def _distinct(
    unit: _Unit, tried: _Tried, parents: list[_Formula], wanted: int, seen: set[bytes]
) -> list[_Formula]:
    """The best that hold of other examples than any before."""
    found: list[_Formula] = []
    done, looked = 0, 4 * wanted
    while len(found) < wanted and done < len(tried.score):
        looked = min(looked, len(tried.score))
        # All of the same score come along, so that their order decides between them and not their place.
        least = np.partition(tried.score, -looked)[-looked]
        among = np.flatnonzero(tried.score >= least)
        keys = (
            tried.clause,
            tried.join,
            tried.parent,
            unit.atoms.order[tried.atom],
            tried.cost,
            -tried.score,
        )
        ranked = among[np.lexsort([key[among] for key in keys])]
        for at in ranked[done:]:
            formula = _made(unit, tried, parents, at)
            cover = np.packbits(formula.covers.any(0)).tobytes()
            if cover not in seen:
                seen.add(cover)
                found.append(formula)
                if len(found) == wanted:
                    break
        done, looked = len(ranked), 4 * looked
    return found


def _made(unit: _Unit, tried: _Tried, parents: list[_Formula], at: int) -> _Formula:
    atom, join, clause = int(tried.atom[at]), int(tried.join[at]), int(tried.clause[at])
    numbers = int(tried.hits[at]), int(tried.said[at]), float(tried.cost[at]), float(tried.score[at])
    mask, points, holds = unit.atoms.mask(atom) & unit.known, unit.points[atom], unit.holds[atom]
    if not parents:
        return _Formula((((atom, False),),), mask[None], points[None], holds[None], *numbers)
    parent = parents[tried.parent[at]]
    if join == _OR:
        return _Formula(
            (*parent.clauses, ((atom, False),)),
            np.concatenate([parent.covers, mask[None]]),
            np.append(parent.points, points),
            np.append(parent.holds, holds),
            *numbers,
        )
    clauses, covers = list(parent.clauses), parent.covers.copy()
    all_points, all_holds = parent.points.copy(), parent.holds.copy()
    clauses[clause] = (*clauses[clause], (atom, join == _NOT))
    covers[clause] &= ~mask if join == _NOT else mask
    all_holds[clause] &= ~holds if join == _NOT else holds
    if join == _AND:
        all_points[clause] |= points
    return _Formula(tuple(clauses), covers, all_points, all_holds, *numbers)


def _found(unit: _Unit, formula: _Formula) -> Found:
    clauses = tuple(tuple(sorted(clause, key=lambda part: part[1])) for clause in formula.clauses)
    able = any(unit.able[atom] for clause in clauses for atom, negated in clause if not negated)
    bits = np.bitwise_or.reduce(formula.points & formula.holds)
    pointing = int(np.bitwise_count(bits)) / len(unit.exemplars) if able else float("nan")
    f1 = 2 * formula.hits / (formula.said + unit.fired)
    return Found(clauses, formula.hits, formula.said, f1, pointing, formula.score, sum(map(len, clauses)))


def _bits(by_place: Bool[sp.csr_matrix, "places atoms"]) -> UInt64[np.ndarray, " atoms"]:
    """Of which of at most 64 places each atom is, the first in the lowest bit."""
    bits = np.zeros(by_place.shape[1], dtype=np.uint64)
    for place in range(by_place.shape[0]):
        here = by_place.indices[by_place.indptr[place] : by_place.indptr[place + 1]]
        bits[here] |= np.uint64(1) << np.uint64(place)
    return bits

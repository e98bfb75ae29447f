"""The headline score of a description: F1 against its floors, with an interval and a p-value.

score   F1 of the reader's decisions on score examples, the threshold fitted on selection examples.
floor   F1 of decisions that should be worse: another unit's description, "always", "never".
skill   score minus the best floor. A description that is no better than its floors says nothing.

Intervals are bootstrap intervals over examples. Resampling examples changes every one of these
figures only through how many examples fall into each combination of firing and decisions, at most
2^(2 + floors) cells, and those counts are multinomial: cells are counted once (`tally`), and no
example is looked at again. Score and floors are resampled together, and every resample subtracts the
floor that is best in it, which is never smaller than the best floor overall would be.

A few hundred resamples say enough of most units. Where the verdict hangs on which ones were drawn,
`settle` draws more, until it does not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64
from scipy import special, stats

from saywell.data.splits import hash_numbers
from saywell.scorers.agreement import Predictions, answered
from saywell.scorers.intervals import FALSE_DISCOVERY_RATE, LEVEL, benjamini_hochberg
from saywell.scorers.sampling import STRATA, Sample

ALWAYS, NEVER = "always", "never"
RESAMPLES = 400
MOST_RESAMPLES = RESAMPLES * 4**4
_MOST_ROUNDS, _FEW = 20, 1000
_ERRORS = 3.0  # standard errors from which a figure counts as far from the decision
_TAIL = float(special.ndtr(-_ERRORS))
_BLOCK = 4_000_000  # numbers worked on at once
_DRAWN_AT_ONCE = 25_600
_MOST_THREADS = 8


@dataclass(frozen=True)
class Skill:
    """One entry per unit; NaN where nothing could be tested: no firing example was answered.

    `value` is F1 with its 95 % interval `low` to `high`; `floors` the F1 of each floor, NaN where a
    unit has no such floor; `skill` is `value` minus the floor called `best_floor`; `p` is the chance of a
    skill as high where there is none. `n` examples counted, `unanswered` were left out. `resamples`
    is how many the intervals and p are from.
    """

    value: Float[np.ndarray, " units"]
    low: Float[np.ndarray, " units"]
    high: Float[np.ndarray, " units"]
    floors: dict[str, Float[np.ndarray, " units"]]
    best_floor: np.ndarray
    skill: Float[np.ndarray, " units"]
    skill_low: Float[np.ndarray, " units"]
    skill_high: Float[np.ndarray, " units"]
    p: Float[np.ndarray, " units"]
    n: Int[np.ndarray, " units"]
    unanswered: Int[np.ndarray, " units"]
    resamples: Int[np.ndarray, " units"]

    @classmethod
    def joined(cls, parts: Sequence[Skill]) -> Skill:
        """Units of several measurements, with the same floors, one after the other."""
        columns = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(cls)
            if field.name != "floors"
        }
        floors = {name: np.concatenate([part.floors[name] for part in parts]) for name in parts[0].floors}
        return cls(**columns, floors=floors)

    def replaced(self, units: Int[np.ndarray, " some"], others: Skill) -> Skill:
        """The same with new entries, in order, for some of the units."""

        def put(old: np.ndarray, new: np.ndarray) -> np.ndarray:
            column = old.copy()
            column[units] = new
            return column

        columns = {
            field.name: put(getattr(self, field.name), getattr(others, field.name))
            for field in fields(Skill)
            if field.name != "floors"
        }
        floors = {name: put(old, others.floors[name]) for name, old in self.floors.items()}
        return Skill(**columns, floors=floors)


class Tally(NamedTuple):
    """All that skill depends on: how many answered examples fall into each combination, by unit.

    A combination is whether the unit fires and who says so (see `_Outcomes`), in each stratum of
    the sample; `sizes` says how many examples a stratum stands for, `partial` whether only some were
    read. `there` says which floors a unit has, `asked` of how many examples decisions were wanted,
    `keys` seed its random numbers.
    """

    floors: tuple[str, ...]
    cells: Int[np.ndarray, "units strata cells"]
    sizes: Int[np.ndarray, "units strata"]
    partial: Bool[np.ndarray, "units strata"]
    there: Bool[np.ndarray, "units floors"]
    asked: Int[np.ndarray, " units"]
    keys: UInt64[np.ndarray, " units"]
    sampled: bool

    @classmethod
    def joined(cls, parts: Sequence[Tally]) -> Tally:
        """Units of several tallies, with the same floors, one after the other."""
        first = parts[0]
        arrays = (np.concatenate(columns) for columns in zip(*(p[1:-1] for p in parts), strict=True))
        return cls(first.floors, *arrays, sampled=first.sampled)

    def some(self, units: Int[np.ndarray, " some"] | slice) -> Tally:
        """The tally of some of the units."""
        return Tally(self.floors, *(column[units] for column in self[1:-1]), sampled=self.sampled)


def measure_skill(
    said: Predictions,
    floors: Mapping[str, Predictions],
    fires: Bool[np.ndarray, "units examples"],
    *,
    units: Sequence[str],
    seed: int,
    resamples: int = RESAMPLES,
    sample: Sample | None = None,
) -> Skill:
    """F1 of decisions on score examples, its floors, and the skill that is left: `measure` of `tally`.

    A unit's random numbers come from its id in `units` and the seed, so its entry does not depend on
    other units, their order, or the order of examples.
    """
    return measure(tally(said, floors, fires, units=units, seed=seed, sample=sample), resamples)


def tally(
    said: Predictions,
    floors: Mapping[str, Predictions],
    fires: Bool[np.ndarray, "units examples"],
    *,
    units: Sequence[str],
    seed: int,
    sample: Sample | None = None,
) -> Tally:
    """Count what decisions on score examples come to.

    `floors` are decisions on the same examples; "always" (it fires on every example) and "never" (F1
    of 0) are added. An example that the score or a floor did not answer is left out of all of them and
    counted; a floor that answered nothing for a unit is no floor of that unit.

    With a `sample`, columns are the examples read: each stands for as many as its stratum has per
    answered example, and a resample draws the sizes of strata and then examples within each. In a
    stratum that was not read whole, half an imagined example on which this description alone is
    wrong is added to what is resampled (Jeffreys' prior), lest an error not seen in 60 examples of
    9,000 count as impossible. Where a stratum has no answer at all, nothing can be said of the
    whole, and the unit is NaN.
    """
    step = max(1, _BLOCK // max(1, said.shape[1]))
    blocks = [slice(start, start + step) for start in range(0, max(1, len(said)), step)]
    cells = np.concatenate(
        [
            _count(
                said[block],
                [floor[block] for floor in floors.values()],
                fires[block],
                None if sample is None else sample.block(block),
            )
            for block in blocks
        ]
    )
    there = [answered(floor).any(1) for floor in floors.values()]
    n = cells.sum((1, 2))
    return Tally(
        floors=tuple(floors),
        cells=cells,
        sizes=n[:, None] if sample is None else sample.sizes,
        partial=np.zeros((len(n), 1), dtype=bool) if sample is None else sample.read < sample.sizes,
        there=np.array(there, dtype=bool).reshape(len(floors), len(said)).T,
        asked=np.full(len(said), said.shape[1]) if sample is None else (sample.strata >= 0).sum(1),
        keys=hash_numbers(units, seed, "skill"),
        sampled=sample is not None,
    )


def measure(counted: Tally, resamples: int | Int[np.ndarray, " units"] = RESAMPLES) -> Skill:
    """The skill of every unit from so many resamples."""
    return _measure(counted, np.broadcast_to(resamples, len(counted.cells)))[0]


def settle(counted: Tally, *, q: float = FALSE_DISCOVERY_RATE) -> Skill:
    """The skill of every unit, from as many resamples as its verdict needs.

    All units get 400. Both figures that decide, p and the lower end of skill, have a Monte Carlo error;
    a unit whose verdict (`verified`) is not the same at both ends of it, with all others in doubt at
    the same end, gets four times as many, up to 102,400, or until one more round would draw
    more than 20 times what all units got at first. So another seed seldom gives another verdict.
    """
    number = np.full(len(counted.cells), RESAMPLES)
    skill, doubt = _measure(counted, number)
    draws = _MOST_ROUNDS * RESAMPLES * max(len(number), _FEW)
    while True:
        open_ = np.flatnonzero(_undecided(skill.p, doubt, q) & (number < MOST_RESAMPLES))
        draws -= 4 * int(number[open_].sum())
        if not len(open_) or draws < 0:
            return skill
        number[open_] *= 4
        again, doubts = _measure(counted.some(open_), number[open_])
        skill = skill.replaced(open_, again)
        for column, values in zip(doubt, doubts, strict=True):
            column[open_] = values


class _Doubt(NamedTuple):
    """Ends of the Monte Carlo error: of p, and of the share of resamples without skill."""

    p_low: Float[np.ndarray, " units"]
    p_high: Float[np.ndarray, " units"]
    share_low: Float[np.ndarray, " units"]
    share_high: Float[np.ndarray, " units"]


def _undecided(p: np.ndarray, doubt: _Doubt, q: float) -> Bool[np.ndarray, " units"]:
    tested = ~np.isnan(p)
    result = np.zeros(len(p), dtype=bool)
    if tested.any():
        at_best, at_worst = (
            (benjamini_hochberg(ps[tested]) <= q) & (shares[tested] < (1 - LEVEL) / 2)
            for ps, shares in ((doubt.p_low, doubt.share_low), (doubt.p_high, doubt.share_high))
        )
        result[tested] = at_best & ~at_worst
    return result


def _measure(counted: Tally, resamples: Int[np.ndarray, " units"]) -> tuple[Skill, _Doubt]:
    names = [*counted.floors, ALWAYS, NEVER]
    count = len(counted.cells)
    outcomes = _Outcomes.of(len(counted.floors))
    figures = np.full((count, 6), np.nan)
    doubt = _Doubt(*np.full((4, count), np.nan))
    of_floors = np.full((count, len(names)), np.nan)
    best = np.full(count, "", dtype=object)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]

    def fill(unit: int) -> None:
        cells, sizes = counted.cells[unit], counted.sizes[unit]
        read = cells.sum(1)
        if (read[sizes > 0] == 0).any() or not cells[:, 1::2].any():
            return
        observed = sizes @ (cells / np.maximum(read, 1)[:, None])
        value, *against = outcomes.f1(observed[None])[0]
        random = np.random.default_rng(int(counted.keys[unit]))
        scores, skills = _drawn(cells, sizes, counted.partial[unit], outcomes, random, resamples[unit])
        seen = cells.sum(0)
        least = float(np.exp(-(seen @ outcomes.hits[:, 0])))
        if not counted.sampled:
            least = max(least, _fisher(seen, outcomes))
        p, *ends = _p(skills, least)
        figures[unit] = (value, *np.quantile(scores, tails), *np.quantile(skills, tails), p)
        for column, end in zip(doubt, ends, strict=True):
            column[unit] = end
        of_floors[unit] = against
        best[unit] = names[int(np.argmax(against))]

    # Drawing lets go of the interpreter's lock, and no unit's numbers depend on another's.
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        for _ in pool.map(fill, range(count)):
            pass
    value, low, high, skill_low, skill_high, p = figures.T
    skill = value - of_floors.max(1)
    for place, there in enumerate(counted.there.T):
        of_floors[~there, place] = np.nan
    n = counted.cells.sum((1, 2))
    found = Skill(
        value=value,
        low=low,
        high=high,
        floors={name: of_floors[:, place] for place, name in enumerate(names)},
        best_floor=best,
        skill=skill,
        skill_low=skill_low,
        skill_high=skill_high,
        p=p,
        n=n,
        unanswered=counted.asked - n,
        resamples=np.array(resamples),
    )
    return found, doubt


def _drawn(
    cells: np.ndarray,
    sizes: np.ndarray,
    partial: np.ndarray,
    outcomes: _Outcomes,
    random: np.random.Generator,
    resamples: int,
) -> tuple[Float[np.ndarray, " resamples"], Float[np.ndarray, " resamples"]]:
    """F1 and skill in every resample."""
    scores, skills = np.empty(resamples), np.empty(resamples)
    for start in range(0, resamples, _DRAWN_AT_ONCE):
        here = slice(start, min(start + _DRAWN_AT_ONCE, resamples))
        f1 = outcomes.f1(_resample(cells, sizes, partial, random, here.stop - start))
        scores[here] = f1[:, 0]
        skills[here] = f1[:, 0] - f1[:, 1:].max(1)
    return scores, skills


class _Outcomes(NamedTuple):
    """What each cell is: bit 0 says whether the unit fires, bit 1 the description, then the floors.

    Columns are those who decide: the description, the floors, "always", "never".
    """

    fires: Float[np.ndarray, " cells"]
    said: Float[np.ndarray, "cells deciders"]
    hits: Float[np.ndarray, "cells deciders"]

    @classmethod
    def of(cls, floors: int) -> _Outcomes:
        codes = np.arange(4 << floors)
        fires = (codes & 1).astype(np.float64)
        deciding = [codes >> bit & 1 for bit in range(1, floors + 2)]
        said = np.stack([*deciding, np.ones(len(codes)), np.zeros(len(codes))], axis=1)
        return cls(fires, said, said * fires[:, None])

    def f1(self, counts: Float[np.ndarray, "rows cells"]) -> Float[np.ndarray, "rows deciders"]:
        """F1 of each decider; 0 where nothing fires and nothing is said."""
        hits = counts @ self.hits
        below = counts @ self.said + (counts @ self.fires)[:, None]
        return np.divide(2 * hits, below, out=np.zeros_like(hits), where=below > 0)


def _count(
    said: np.ndarray, floors: Sequence[np.ndarray], fires: np.ndarray, sample: Sample | None
) -> Int[np.ndarray, "units strata cells"]:
    """How many answered examples each unit has of each combination, by stratum."""
    strata, cells = 1 if sample is None else STRATA, 4 << len(floors)
    codes = fires.astype(np.uint16)
    counted = np.ones(said.shape, dtype=bool)
    for bit, decisions in enumerate([said, *floors], start=1):
        codes += (decisions == 1).astype(np.uint16) << np.uint16(bit)
        given = answered(decisions)
        # A floor that answered nothing is never said, which is the floor "never" again.
        counted &= given if bit == 1 else given | ~given.any(1, keepdims=True)
    if sample is not None:
        counted &= sample.strata >= 0
    codes[~counted] = cells
    if sample is not None:
        codes += np.maximum(sample.strata, 0).astype(np.uint16) * np.uint16(cells + 1)
    width = strata * (cells + 1)
    counts = [np.bincount(row, minlength=width) for row in codes]
    return np.array(counts, dtype=np.int64).reshape(len(said), strata, cells + 1)[:, :, :cells]


def _resample(
    cells: Int[np.ndarray, "strata cells"],
    sizes: Int[np.ndarray, " strata"],
    partial: Bool[np.ndarray, " strata"],
    random: np.random.Generator,
    resamples: int,
) -> Float[np.ndarray, "resamples cells"]:
    filled, total = np.flatnonzero(sizes), int(sizes.sum())
    drawn_sizes = random.multinomial(total, sizes[filled] / total, size=resamples)
    result = np.zeros((resamples, cells.shape[1]))
    for stratum, drawn in zip(filled, drawn_sizes.T, strict=True):
        counts = cells[stratum].astype(np.float64)
        read = int(counts.sum())
        if partial[stratum]:
            fires = counts[1::2].any()
            counts[cells.shape[1] - 3 if fires else 2] += 0.5
        present = np.flatnonzero(counts)
        shares = random.multinomial(read, counts[present] / counts.sum(), size=resamples) / read
        result[:, present] += drawn[:, None] * shares
    return result


def _p(skills: Float[np.ndarray, " resamples"], least: float) -> tuple[float, float, float, float, float]:
    """One-sided p of no skill from its bootstrap distribution, never 0, and its Monte Carlo error.

    p is the largest of three. The share of resamples without skill, where there are any. The normal
    tail with the distribution's mean and deviation, which resolves the small p that thousands of tests
    need. And `least`, which takes no resamples: `exp(-hits)`, since a resample without any hit has no
    skill, and hits are about Poisson, so a distribution that claims less has missed them (it is how a
    score on three firing examples looks certain); and where all examples are read, `_fisher`.

    Then the ends between which p and the share without skill lie, three standard errors out. Where no
    resample was without skill, the share may be what 0 of so many allows (Clopper and Pearson 1934),
    but not more than a normal tail half as far out.
    """
    number, without = len(skills), int((skills <= 0).sum())
    mean, deviation = skills.mean(), skills.std()
    z = mean / deviation if deviation > 0 else np.inf * (1 if mean > 0 else -1)
    counted = (without + 1) / (number + 1) if without else 0.0
    normal = float(special.ndtr(-z)) if deviation > 0 else 0.0
    share_low, share_high = 0.0, 1.0
    if without:
        share_low = float(special.betaincinv(without, number - without + 1, _TAIL))
    if without < number:
        share_high = float(special.betaincinv(without + 1, number - without, 1 - _TAIL))
    spread = _ERRORS * np.sqrt((1 + min(z * z, 1e9) / 2) / number)
    if not without:
        share_high = min(share_high, special.ndtr(-z / 2))
    return (
        max(counted, normal, least),
        max(share_low, special.ndtr(-z - spread), least),
        max(share_high, special.ndtr(-z + spread), least),
        share_low,
        share_high,
    )


def _fisher(seen: Int[np.ndarray, " cells"], outcomes: _Outcomes) -> float:
    """Fisher's exact p: as many hits by chance, given how many examples fire and are said to.

    A description that says yes of all but a few examples, none of which happens to fire, is a hair
    better than "always", and no resample of those examples will ever say otherwise.
    """
    said, hits = seen @ outcomes.said[:, 0], seen @ outcomes.hits[:, 0]
    return float(stats.hypergeom.sf(hits - 1, seen.sum(), seen @ outcomes.fires, said))


def verified(skill: Skill, q: float = FALSE_DISCOVERY_RATE) -> Bool[np.ndarray, " units"]:
    """Units whose description has skill: the interval is above 0, and so is p after correction.

    Benjamini and Hochberg's procedure over all units that could be tested holds the expected share of
    wrong ones among those verified at `q`. A unit that could not be tested is not verified.
    """
    tested = ~np.isnan(skill.p)
    result = np.zeros(len(tested), dtype=bool)
    if tested.any():
        result[tested] = benjamini_hochberg(skill.p[tested]) <= q
    return result & (np.nan_to_num(skill.skill_low) > 0)

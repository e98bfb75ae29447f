"""The headline score of a description: F1 against its floors, with an interval and a p-value.

score   F1 of the reader's decisions on score examples, the threshold fitted on selection examples.
floor   F1 of decisions that should be worse: another unit's description, "always", "never".
skill   score minus the best floor. A description that is no better than its floors says nothing.

Intervals are bootstrap intervals over examples. Resampling examples changes every one of these
figures only through how many examples fall into each combination of firing and decisions, at most
2^(2 + floors) cells, and those counts are multinomial: cells are counted once, and no example is
looked at again. Score and floors are resampled together, and every resample subtracts the floor that
is best in it, which is never smaller than the best floor overall would be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from saywell.data.splits import hash_numbers
from saywell.scorers.agreement import Predictions, answered
from saywell.scorers.intervals import LEVEL, benjamini_hochberg
from saywell.scorers.sampling import STRATA, Sample

ALWAYS, NEVER = "always", "never"
RESAMPLES = 400
_BLOCK = 4_000_000  # numbers worked on at once


@dataclass(frozen=True)
class Skill:
    """One entry per unit; NaN where nothing could be tested: no firing example was answered.

    `value` is F1 with its 95 % interval `low` to `high`; `floors` the F1 of each floor, NaN where a
    unit has no such floor; `skill` is `value` minus the floor called `best_floor`; `p` is the chance of a
    skill as high where there is none. `n` examples counted, `unanswered` were left out.
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

    @classmethod
    def joined(cls, parts: Sequence[Skill]) -> Skill:
        """Units of several measurements, with the same floors, one after the other."""
        columns = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(cls)
            if field.name != "floors"
        }
        floors = {
            name: np.concatenate([part.floors[name] for part in parts]) for name in parts[0].floors
        }
        return cls(**columns, floors=floors)


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
    """F1 of decisions on score examples, its floors, and the skill that is left.

    `floors` are decisions on the same examples; "always" (it fires on every example) and "never" (F1
    of 0) are added. An example that the score or a floor did not answer is left out of all of them and
    counted; a floor that answered nothing for a unit is no floor of that unit.

    With a `sample`, columns are the examples read: each stands for as many as its stratum has per
    answered example, and a resample draws the sizes of strata and then examples within each. In a
    stratum that was not read whole, half an imagined example on which this description alone is
    wrong is added to what is resampled (Jeffreys' prior), lest an error not seen in 60 examples of
    9,000 count as impossible. Where a stratum has no answer at all, nothing can be said of the
    whole, and the unit is NaN.

    A unit's random numbers come from its id in `units` and the seed, so its entry does not depend on
    other units, their order, or the order of examples.
    """
    step = max(1, _BLOCK // max(1, said.shape[1]))
    parts = [
        _measure_block(
            said[block],
            {name: floor[block] for name, floor in floors.items()},
            fires[block],
            hash_numbers(units[block], seed, "skill"),
            resamples,
            None if sample is None else sample.block(block),
        )
        for block in (slice(start, start + step) for start in range(0, max(1, len(said)), step))
    ]
    return Skill.joined(parts)


def _measure_block(
    said: np.ndarray,
    floors: Mapping[str, np.ndarray],
    fires: np.ndarray,
    keys: np.ndarray,
    resamples: int,
    sample: Sample | None,
) -> Skill:
    names = [*floors, ALWAYS, NEVER]
    cells = _count(said, list(floors.values()), fires, sample)
    n = cells.sum((1, 2))
    sizes, partial = n[:, None], np.zeros((len(n), 1), dtype=bool)
    if sample is not None:
        sizes, partial = sample.sizes, sample.read < sample.sizes
    outcomes = _Outcomes.of(len(floors))
    figures = np.full((len(n), 6), np.nan)
    of_floors = np.full((len(n), len(names)), np.nan)
    best = np.full(len(n), "", dtype=object)
    for unit, counts in enumerate(cells):
        read = counts.sum(1)
        if (read[sizes[unit] > 0] == 0).any() or not counts[:, 1::2].any():
            continue
        observed = sizes[unit] @ (counts / np.maximum(read, 1)[:, None])
        value, *against = outcomes.f1(observed[None])[0]
        random = np.random.default_rng(int(keys[unit]))
        drawn = outcomes.f1(_resample(counts, sizes[unit], partial[unit], random, resamples))
        skills = drawn[:, 0] - drawn[:, 1:].max(1)
        tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
        seen = counts.sum(0)
        p = _p(skills, float(seen @ outcomes.hits[:, 0]))
        if sample is None:
            p = max(p, _fisher(seen, outcomes))
        figures[unit] = (value, *np.quantile(drawn[:, 0], tails), *np.quantile(skills, tails), p)
        of_floors[unit] = against
        best[unit] = names[int(np.argmax(against))]
    value, low, high, skill_low, skill_high, p = figures.T
    skill = value - of_floors.max(1)
    for place, floor in enumerate(floors.values()):
        of_floors[~answered(floor).any(1), place] = np.nan
    return Skill(
        value=value, low=low, high=high,
        floors={name: of_floors[:, place] for place, name in enumerate(names)},
        best_floor=best, skill=skill, skill_low=skill_low, skill_high=skill_high, p=p,
        n=n, unanswered=said.shape[1] - n,
    )  # fmt: skip


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
    codes[~counted] = cells
    if sample is not None:
        codes += sample.strata.astype(np.uint16) * np.uint16(cells + 1)
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


def _p(skills: Float[np.ndarray, " resamples"], hits: float) -> float:
    """One-sided p of no skill from its bootstrap distribution, never 0: the largest of three.

    Where all examples are read, `_fisher` is a fourth.

    The share of resamples without skill, where there are any. The normal tail with the distribution's
    mean and deviation, which resolves the small p that thousands of tests need. And `exp(-hits)`:
    a resample without any hit has no skill, and hits are about Poisson, so a distribution that
    claims less has missed them (it is how a score on three firing examples looks certain).
    """
    without, deviation = int((skills <= 0).sum()), skills.std()
    counted = (without + 1) / (len(skills) + 1) if without else 0.0
    normal = float(stats.norm.sf(skills.mean() / deviation)) if deviation > 0 else 0.0
    return max(counted, normal, float(np.exp(-hits)))


def _fisher(seen: Int[np.ndarray, " cells"], outcomes: _Outcomes) -> float:
    """Fisher's exact p: as many hits by chance, given how many examples fire and are said to.

    A description that says yes of all but a few examples, none of which happens to fire, is a hair
    better than "always", and no resample of those examples will ever say otherwise.
    """
    said, hits = seen @ outcomes.said[:, 0], seen @ outcomes.hits[:, 0]
    return float(stats.hypergeom.sf(hits - 1, seen.sum(), seen @ outcomes.fires, said))


def verified(skill: Skill, q: float = 0.05) -> Bool[np.ndarray, " units"]:
    """Units whose description has skill: the interval is above 0, and so is p after correction.

    Benjamini and Hochberg's procedure over all units that could be tested holds the expected share of
    wrong ones among those verified at `q`. A unit that could not be tested is not verified.
    """
    tested = ~np.isnan(skill.p)
    result = np.zeros(len(tested), dtype=bool)
    if tested.any():
        result[tested] = benjamini_hochberg(skill.p[tested]) <= q
    return result & (np.nan_to_num(skill.skill_low) > 0)

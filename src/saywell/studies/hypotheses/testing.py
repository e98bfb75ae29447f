"""The test: does what is read of score texts, from the words alone, go with the target, and by how much?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Bool, Float

from saywell.data.parts import DESCRIBE, SCORE, SELECT
from saywell.errors import InputError
from saywell.scorers.association import associations, permuted, small
from saywell.scorers.effects import effects
from saywell.scorers.intervals import FALSE_DISCOVERY_RATE, benjamini_hochberg
from saywell.scorers.joint import ordered
from saywell.scorers.null_model import Null, null_model
from saywell.scorers.outcomes import Outcome
from saywell.scorers.power import detectable, least_p, needed, possible
from saywell.selection.by_target import Choice
from saywell.studies.hypotheses.items import Asked
from saywell.studies.hypotheses.pool import Statement
from saywell.studies.hypotheses.search import chosen, dealt
from saywell.studies.hypotheses.tables import HYPOTHESES, POWER, SHUFFLED

VERIFIED, OTHER_WAY, NOT_SHOWN, TOO_FEW = "verified", "the other way", "not shown", "too few"
NOT_APART = "not told apart"
SHARES = (0.02, 0.1, 0.3)
"""Of score items, for which power is said."""
APART = 0.1
"""Share of its variance that covariates have to leave of a reading: a variance inflation of 10 at most."""
AKIN, LEFT = 0.5, 2.0
"""Correlation of readings from which on one hypothesis may repeat another, and z below which, with the other
held equal, nothing of its own is left."""
WITHIN = 0.6
"""By how much more often another hypothesis holds where one does, from which on that may be part of it."""


class Tested(NamedTuple):
    """Of each statement that was chosen: the test on score items, two-sided; NaN where nothing varies."""

    z: Float[np.ndarray, " chosen"]
    p: Float[np.ndarray, " chosen"]
    by_permutation: Bool[np.ndarray, " chosen"]
    least: Float[np.ndarray, " chosen"]
    """The smallest p that any outcome with these values could have given."""
    apart: Bool[np.ndarray, " chosen"]
    """Which vary among items of equal covariates, or do not vary at all: see `left_of`."""

    @property
    def n(self) -> int:
        """How many tests there are."""
        return len(self.p)

    @property
    def q(self) -> Float[np.ndarray, " chosen"]:
        """p after Benjamini and Hochberg."""
        return benjamini_hochberg(np.nan_to_num(self.p, nan=1.0))

    @property
    def bonferroni(self) -> Float[np.ndarray, " chosen"]:
        """p after Bonferroni."""
        return np.minimum(np.nan_to_num(self.p, nan=1.0) * self.n, 1.0)

    def as_found(self, choice: Sequence[Choice]) -> Bool[np.ndarray, " chosen"]:
        """Which go the way they were found to go."""
        return np.sign(np.nan_to_num(self.z)) == np.sign([one.z for one in choice])


def put_to_test(
    asked: Asked, choice: Sequence[Choice], readings: Float[np.ndarray, "chosen items"], seed: int
) -> Tested:
    """The test of each choice on score items, by its own outcome; by permutation where few items decide."""
    count = len(choice)
    unknown, yes = np.full(count, np.nan), np.zeros(count, dtype=bool)
    found = Tested(unknown.copy(), unknown.copy(), yes, np.ones(count), ~yes)
    for outcome, own in by_outcome(choice):
        null = asked.null(outcome, asked.items.of(SCORE))
        if null is None:
            continue
        read = readings[own][:, null.rows]
        left = left_of(null, read)
        found.apart[own] = ~(left < APART)
        own, read = own[left >= APART], read[left >= APART]
        found.z[own], found.p[own] = associations(null, read)
        few = small(null, read)
        found.by_permutation[own] = few
        if few.any():
            found.p[own[few]] = permuted(null, read[few], seed=seed)
        found.least[own] = least_p(null, read)
    return found


def left_of(null: Null, readings: Float[np.ndarray, "some items"]) -> Float[np.ndarray, " some"]:
    """Share of the variance of each reading that covariates leave; NaN where it has none.

    What is left of one of which they leave less than `APART` is an accident of how a covariate is counted,
    and its effect an extrapolation.
    """
    known = ~np.isnan(readings)
    means = np.where(known, readings, 0).sum(1, keepdims=True) / np.maximum(known.sum(1, keepdims=True), 1)
    centred = np.where(known, readings - means, 0)
    left = centred - (centred @ null.design / len(null)) @ null.design.T
    whole = (centred**2).sum(1)
    return np.divide((left**2).sum(1), whole, out=np.full(len(whole), np.nan), where=whole > 0)


def by_outcome(choice: Sequence[Choice]) -> list[tuple[int, np.ndarray]]:
    """The outcomes that choices are about, and which are about each."""
    about = np.array([one.outcome for one in choice], dtype=np.int64)
    return [(int(outcome), np.flatnonzero(about == outcome)) for outcome in np.unique(about)]


@dataclass(frozen=True)
class Written:
    """Of each chosen statement its unit, the id of its description, what it says, and who read it.

    `held_equal`: names of the covariates, as they were asked for.
    """

    units: Sequence[str]
    descriptions: Sequence[str]
    statements: Sequence[Statement]
    readers: Sequence[str]
    held_equal: Sequence[str] = ()


def hypothesis_table(
    asked: Asked,
    choice: Sequence[Choice],
    written: Written,
    readings: Float[np.ndarray, "chosen items"],
    tested: Tested,
) -> pl.DataFrame:
    """Table `hypotheses`: verified ones first, in the order of what each adds to those before."""
    facts = _facts(asked, choice, readings, written.held_equal)
    status = statuses(tested, choice)
    shown = np.array([s == VERIFIED for s in status])
    order, repeated = order_and_repeats(asked, choice, readings, shown)
    rank = [(s != VERIFIED, repeated[n] is not None, order[n]) for n, s in enumerate(status)]
    places = sorted(range(len(choice)), key=lambda n: rank[n])
    names = {n: f"h{number}" for number, n in enumerate(places, start=1)}
    rows = []
    for n in places:
        said, outcome = written.statements[n], asked.outcomes[choice[n].outcome]
        again = repeated[n]
        rows.append(
            (
                names[n],
                written.units[n],
                written.descriptions[n],
                said.text,
                said.claim,
                said.found_by,
                written.readers[n],
                outcome.name,
                outcome.unit,
                int(np.sign(choice[n].z)),
                *facts[n],
                *map(_number, (tested.z[n], tested.p[n])),
                bool(tested.by_permutation[n]),
                float(tested.q[n]),
                float(tested.bonferroni[n]),
                status[n],
                order[n],
                None if again is None else names[again],
                asked.items.pairs,
            )
        )
    return HYPOTHESES.frame(rows)


def statuses(tested: Tested, choice: Sequence[Choice]) -> list[str]:
    """What came of each test: see table `hypotheses`."""
    clear, same = tested.q <= FALSE_DISCOVERY_RATE, tested.as_found(choice)
    hopeless = tested.least > FALSE_DISCOVERY_RATE / max(1, tested.n)
    cases = {VERIFIED: clear & same, OTHER_WAY: clear, NOT_APART: ~tested.apart, TOO_FEW: hopeless}
    return np.select(list(cases.values()), list(cases), default=NOT_SHOWN).tolist()


def power_table(asked: Asked, tests: int) -> pl.DataFrame:
    """Table `power`: of each outcome what could have been found of statements that hold of some shares."""
    alpha, rows = FALSE_DISCOVERY_RATE / max(1, tests), []
    for number, outcome in enumerate(asked.outcomes):
        null = asked.null(number, asked.items.of(SCORE))
        if null is None:
            continue
        for share in SHARES:
            variance = share if asked.items.pairs else share * (1 - share)
            least = detectable(null, variance, alpha=alpha)
            if least > _largest(outcome, asked.items.pairs, null, share):
                least = np.nan
            spread = float(np.std(null.values))
            effect = min(least, spread) / 2 if least > 0 else spread / 2
            more = needed(null, effect, variance, alpha=alpha)
            rows.append((outcome.name, outcome.unit, len(null), tests, share, _number(least), effect, more))
    return POWER.frame(rows)


def _largest(outcome: Outcome, pairs: bool, null: Null, share: float) -> float:
    """No statement can make a larger difference; of what has no bounds any."""
    if outcome.kind not in ("binary", "ordinal"):
        return np.inf
    if pairs:
        return 0.5 if outcome.kind == "binary" else np.inf
    return possible(null.values, share)


def shuffled_targets(
    asked: Asked,
    readings: Float[sp.csr_matrix, "statements items"],
    said: Sequence[Statement],
    most: int,
    times: int,
    seed: int,
) -> pl.DataFrame:
    """Table `shuffled_targets`: the whole search again, with what goes with the texts dealt out anew."""
    rows = []
    for number in range(times):
        anew = dealt(asked, seed + 1 + number)
        _, choice = chosen(anew, readings, said, most)
        own = (
            readings[[one.statement for one in choice]].toarray()
            if choice
            else np.zeros((0, len(asked.items)))
        )
        tested = put_to_test(anew, choice, own, seed)
        status = np.array(statuses(tested, choice))
        same = tested.as_found(choice)
        strict = int((same & (tested.bonferroni <= FALSE_DISCOVERY_RATE)).sum())
        rows.append((number + 1, len(choice), int((status == VERIFIED).sum()), strict))
    return SHUFFLED.frame(rows)


def order_and_repeats(
    asked: Asked,
    choice: Sequence[Choice],
    readings: Float[np.ndarray, "chosen items"],
    shown: Bool[np.ndarray, " chosen"],
) -> tuple[list[int], list[int | None]]:
    """Of each choice its place by what it adds to those before (from 1), and which of these it repeats.

    Both on describe and select items. What is verified (`shown`) repeats only what is, too, or nobody would
    read of it.
    """
    order = [0] * len(choice)
    repeated: list[int | None] = [None] * len(choice)
    place = 0
    ranked: list[tuple[int, np.ndarray, Null]] = []
    for outcome, own in by_outcome(choice):
        null = asked.null(outcome, asked.items.of(DESCRIBE, SELECT))
        assert null is not None, "it was chosen by this outcome"
        ranked.append((outcome, own[ordered(null, readings[own][:, null.rows])], null))
    # Outcomes take turns, so that what is said first is not all of one.
    longest = max((len(own) for _, own, _ in ranked), default=0)
    for turn in range(longest):
        for _, own, _ in ranked:
            if turn < len(own):
                place += 1
                order[own[turn]] = place
    for outcome, own, null in ranked:
        seen = readings[own][:, null.rows]
        alike = np.abs(np.nan_to_num(_correlations(seen)))
        within = _within(seen)
        for later in range(len(own)):
            for earlier in range(later):
                near = alike[later, earlier] >= AKIN or within[later, earlier] >= WITHIN
                hidden = shown[own[later]] and not shown[own[earlier]]
                if repeated[own[earlier]] is not None or hidden or not near:
                    continue
                if not abs(_left(asked, outcome, readings[own[later]], readings[own[earlier]])) >= LEFT:
                    repeated[own[later]] = int(own[earlier])
                    break
    return order, repeated


def _left(
    asked: Asked, outcome: int, later: Float[np.ndarray, " items"], earlier: Float[np.ndarray, " items"]
) -> float:
    """z of a reading with another held equal, on describe and select items; 0 where that tells everything."""
    both = np.hstack([asked.covariates, earlier[:, None]])
    try:
        beside = null_model(asked.outcomes[outcome], both, asked.clusters, asked.items.of(DESCRIBE, SELECT))
    except InputError:  # nothing of the outcome is left to explain
        return 0.0
    return float(associations(beside, later[None, beside.rows]).z[0])


def _correlations(rows: Float[np.ndarray, "some items"]) -> Float[np.ndarray, "some some"]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.atleast_2d(np.corrcoef(rows))


def _within(rows: Float[np.ndarray, "some items"]) -> Float[np.ndarray, "some some"]:
    """How much more often the second holds where the first does: the slope of its readings.

    Near 1 of a part, also of a rare one, which correlates with the whole but little; 0 where one is constant.
    """
    apart = rows - rows.mean(axis=1, keepdims=True)
    shared = apart @ apart.T
    own = np.diag(shared)[:, None]
    return np.divide(shared, own, out=np.zeros_like(shared), where=own > 0)


def _facts(
    asked: Asked,
    choice: Sequence[Choice],
    readings: Float[np.ndarray, "chosen items"],
    held_equal: Sequence[str],
) -> list[tuple[object, ...]]:
    """Of each choice, on score items: n, holds, share, both means, and effects: see table `hypotheses`."""
    found: list[tuple[object, ...]] = [()] * len(choice)
    for number, own in by_outcome(choice):
        outcome = asked.outcomes[number]
        null = asked.null(number, asked.items.of(SCORE))
        alone = asked.null(number, asked.items.of(SCORE), alone=True)
        if null is None or alone is None:
            for n in own:
                found[n] = (0, 0, 0.0, *[None] * 8, [*held_equal], None, None, None)
            continue
        read = readings[own][:, null.rows]
        beside, plain = effects(null, read), effects(alone, readings[own][:, alone.rows])
        at_length = _at_length(asked, number, readings[own])
        for n, row, others, *numbers in zip(own, read, at_length, *beside, *plain, strict=True):
            known = ~np.isnan(row)
            holds = (row != 0) & known
            found[n] = (
                int(known.sum()),
                int(holds.sum()),
                float(holds.sum() / max(1, known.sum())),
                *map(_number, _means(outcome, null, row, asked.items.pairs)),
                *map(_number, numbers),
                [*held_equal],
                *map(_number, others),
            )
    return found


def _at_length(
    asked: Asked, outcome: int, readings: Float[np.ndarray, "some items"]
) -> Float[np.ndarray, "some three"]:
    """Effects with the number of words held equal too, with intervals; NaN where a reading hardly varies."""
    try:
        null = asked.null(outcome, asked.items.of(SCORE), at_length=True)
    except InputError:  # the outcome is a matter of length and nothing else
        return np.full((len(readings), 3), np.nan)
    assert null is not None, "it varies"
    read = readings[:, null.rows]
    apart = left_of(null, read) >= APART
    return np.where(apart[:, None], np.stack(effects(null, read), axis=1), np.nan)


def _means(
    outcome: Outcome, null: Null, row: Float[np.ndarray, " items"], pairs: bool
) -> tuple[float, float]:
    """The outcome where the statement holds, and where not; of pairs see table `hypotheses`."""
    values = outcome.values[null.rows]
    if pairs:
        favoured = np.where(row > 0, values, 1 - values)[np.nan_to_num(row) != 0]
        return (float(favoured.mean()) if len(favoured) else np.nan), 0.5
    having, lacking = values[row == 1], values[row == 0]
    return tuple(float(own.mean()) if len(own) else np.nan for own in (having, lacking))  # type: ignore[return-value]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

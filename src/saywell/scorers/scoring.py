"""From descriptions to skill: thresholds on selection examples, scores on score examples.

Nothing here knows what a reader or a unit is: a `Predict` reads descriptions by their number, a
`Fires` knows units by theirs. Both are asked for a few units at a time, so memory does not grow
with their number, and results do not depend on how many that is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

from saywell.data.parts import Rows, ScoreRows, SelectRows, require
from saywell.errors import LeakError
from saywell.scorers.agreement import Predictions, f1
from saywell.scorers.floors import reads_alike
from saywell.scorers.sampling import Sample
from saywell.scorers.skill import Skill, Tally, measure, settle, tally
from saywell.scorers.thresholds import decide, fit, fit_thresholds

BLOCK = 256
_OWN = ""

# Numbers of descriptions, or units, and places of examples: one row for all, or a row for each.
RowNumbers = Int64[np.ndarray, " examples"] | Int64[np.ndarray, "block examples"]
Numbers = Int64[np.ndarray, " units"] | Int64[np.ndarray, "units candidates"]
Predict = Callable[[Int64[np.ndarray, " block"], RowNumbers], Float[np.ndarray, "block examples"]]
Fires = Callable[[Int64[np.ndarray, " block"], RowNumbers], Bool[np.ndarray, "block examples"]]


@dataclass(frozen=True)
class Task:
    """What a reader is asked about some units, and what would be right.

    `own` are the numbers of the units' descriptions (the unit's own number by default); each of
    `floors` names the descriptions that stand in for them (see scorers/floors.py), -1 for none.
    `samples` are the examples read of `select` and of `score` where not all of them are. Where `known`
    says no, nobody knows whether the unit fires: the example is left out, as one without an answer is.
    `meant` is where a unit should fire, of units that were made to a plan that they do not always follow.
    """

    units: Sequence[str]
    predict: Predict
    fires: Fires
    select: SelectRows
    score: ScoreRows
    floors: Mapping[str, Numbers] = field(default_factory=dict)
    own: Int64[np.ndarray, " units"] | None = None
    samples: tuple[Sample, Sample] | None = None
    known: Fires | None = None
    meant: Fires | None = None


class Scores(NamedTuple):
    """What `score_units` finds: the skill of every unit's description, and the thresholds used.

    `stand_ins` are the descriptions that each floor read, `left_out` how many before them read like
    the unit's own. `select_f1` and `meant_f1` as in `Tallied`.
    """

    skill: Skill
    thresholds: Float[np.ndarray, " units"]
    stand_ins: dict[str, Int64[np.ndarray, " units"]]
    left_out: dict[str, Int64[np.ndarray, " units"]]
    select_f1: Float[np.ndarray, " units"]
    meant_f1: Float[np.ndarray, " units"]


class Tallied(NamedTuple):
    """All that skill depends on, as in `Scores`, and the F1 on selection examples that thresholds got.

    The latter is for choosing between descriptions. It is not a score: it is too high; NaN where nothing was
    answered. `meant_f1` is on
    score examples, of the same decisions against where the unit is meant to fire; NaN where nobody knows.
    """

    counted: Tally
    thresholds: Float[np.ndarray, " units"]
    stand_ins: dict[str, Int64[np.ndarray, " units"]]
    left_out: dict[str, Int64[np.ndarray, " units"]]
    select_f1: Float[np.ndarray, " units"]
    meant_f1: Float[np.ndarray, " units"]

    def scored(self, skill: Skill) -> Scores:
        """With the skill that it comes to."""
        return Scores(skill, *self[1:])


def score_units(
    task: Task, *, seed: int, resamples: int | Int64[np.ndarray, " units"] | None = None, block: int = BLOCK
) -> Scores:
    """The skill of each unit's description on score examples: `tally_units`, and then what it comes to.

    Verdicts are settled (see `settle`) unless `resamples` says how many to draw.
    """
    found = tally_units(task, seed=seed, block=block)
    skill = settle(found.counted) if resamples is None else measure(found.counted, resamples)
    return found.scored(skill)


def tally_units(task: Task, *, seed: int, block: int = BLOCK) -> Tallied:
    """Let descriptions and their floors be read, and count what comes of it.

    Of a floor's several candidates it is the first that does not read like the unit's own on selection
    examples (`reads_alike`): another wording of the same is no evidence against it. Where all do, what
    the unit's own says is what everything says, and the first stays. A floor gets a threshold of its own,
    fitted to this unit on the same selection examples, so that it is as well calibrated as the
    description.

    Tallies of several tasks with the same floors can be joined, and their verdicts settled together.

    Raises LeakError when `select` or `score` are rows of another kind, or share an example.
    """
    check_rows(task.select, task.score)
    units = len(task.units)
    own = np.arange(units) if task.own is None else task.own
    parts: list[Tally] = []
    thresholds, select_f1, meant_f1 = np.full(units, np.inf), np.zeros(units), np.full(units, np.nan)
    candidates = {name: whose[:, None] if whose.ndim == 1 else whose for name, whose in task.floors.items()}
    stand_ins = {name: whose[:, 0].copy() for name, whose in candidates.items()}
    left_out = {name: np.zeros(units, dtype=np.int64) for name in candidates}
    for start in range(0, max(1, units), block):
        here = slice(start, start + block)
        select, score = (_Shown.of(task, part, here) for part in (0, 1))
        predicted = select.read(own[here])
        thresholds[here], fitted_f1 = fit(predicted, select.fires, select.weights)
        select_f1[here] = np.where(np.isnan(predicted).all(1), np.nan, fitted_f1)
        own_said = decide(predicted, thresholds[here])
        said = {_OWN: decide(score.read(own[here]), thresholds[here])}
        if task.meant is not None:
            meant = task.meant(np.arange(units)[here], score.rows)
            meant_f1[here] = f1(said[_OWN], meant, score.weights)
        for name, whose in candidates.items():
            stand_ins[name][here], left_out[name][here], fitted = first_apart(
                own_said, whose[here], select.read, select.fires, select.weights
            )
            said[name] = decide(score.read(stand_ins[name][here]), fitted)
        parts.append(
            tally(said.pop(_OWN), said, score.fires, units=task.units[here], seed=seed, sample=score.sample)
        )
    return Tallied(Tally.joined(parts), thresholds, stand_ins, left_out, select_f1, meant_f1)


class _Shown(NamedTuple):
    """The select or score examples that are read of a block of units."""

    predict: Predict
    rows: RowNumbers
    fires: Bool[np.ndarray, "block examples"]
    lost: Bool[np.ndarray, "block examples"] | None
    """Where a prediction would count for nothing."""
    sample: Sample | None

    @classmethod
    def of(cls, task: Task, part: int, here: slice) -> _Shown:
        numbers, rows = np.arange(len(task.units))[here], (task.select, task.score)[part].rows
        sample = lost = None
        if task.samples is not None:
            sample = task.samples[part].block(here)
            rows, lost = rows[sample.rows], sample.strata < 0
        if task.known is not None:
            unknown = ~task.known(numbers, rows)
            lost = unknown if lost is None else lost | unknown
        return cls(task.predict, rows, task.fires(numbers, rows), lost, sample)

    @property
    def weights(self) -> Float[np.ndarray, "block examples"] | None:
        return None if self.sample is None else self.sample.weights

    def read(self, described: np.ndarray, units: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Predictions of a description for each of the block's units, or of some; NaN where it has none.

        Only those that there are are asked for.
        """
        rows = self.rows if self.rows.ndim == 1 else self.rows[units]
        there = described >= 0
        if self.lost is not None:
            there = there & ~self.lost[units].all(1)
        if there.all() and len(there):
            found = self.predict(described, rows)
        else:
            found = np.full((len(described), rows.shape[-1]), np.nan, dtype=np.float32)
            if there.any():
                found[there] = self.predict(described[there], rows if rows.ndim == 1 else rows[there])
        return found if self.lost is None else np.where(self.lost[units], np.nan, found)


def first_apart(
    own_said: Predictions,
    candidates: Int64[np.ndarray, "units candidates"],
    read: Callable[[Int64[np.ndarray, " some"], Int64[np.ndarray, " some"]], np.ndarray],
    fires: Bool[np.ndarray, "units examples"],
    weights: Float[np.ndarray, "units examples"] | None = None,
) -> tuple[Int64[np.ndarray, " units"], Int64[np.ndarray, " units"], Float[np.ndarray, " units"]]:
    """Which candidate stands in for each unit's description, how many were left out, its threshold.

    The first that does not read like the unit's own, whose decisions on selection examples are
    `own_said`; where all do, or there is but one, the first (see `score_units`). `read` gives the
    predictions of some candidates on those examples, for some units.
    """
    chosen, passed = candidates[:, 0].copy(), np.zeros(len(candidates), dtype=np.int64)
    thresholds = np.full(len(candidates), np.inf)
    open_ = np.arange(len(candidates))
    for place, column in enumerate(candidates.T):
        open_ = open_[column[open_] >= 0]
        if not len(open_):
            break
        predicted = read(column[open_], open_)
        weight = None if weights is None else weights[open_]
        fitted = fit_thresholds(predicted, fires[open_], weight)
        alike = reads_alike(own_said[open_], decide(predicted, fitted))
        if place == 0:
            thresholds[open_] = fitted
        found = open_[~alike]
        chosen[found], passed[found] = column[found], place
        thresholds[found] = fitted[~alike]
        open_ = open_[alike]
    return chosen, passed, thresholds


def check_rows(select: Rows, score: Rows) -> None:
    """Raise LeakError unless these are selection and score examples, and none is both."""
    require(SelectRows, select)
    require(ScoreRows, score)
    both = np.intersect1d(select.rows, score.rows)
    if len(both):
        raise LeakError(
            f"example {int(both[0])!r} and {len(both) - 1} more are in both select and score:"
            " take the rows from parts_of(examples)"
        )


def firing(response: Float[np.ndarray, "units examples"], thresholds: Float[np.ndarray, " units"]) -> Fires:
    """A `Fires` from the responses to all examples and the response from which a unit fires."""

    def fires(numbers: Int64[np.ndarray, " block"], rows: RowNumbers) -> np.ndarray:
        own = rows.ndim == 2
        responses = response[numbers[:, None], rows] if own else response[numbers][:, rows]
        return responses >= thresholds[numbers, None]

    return fires

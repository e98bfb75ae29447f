"""From descriptions to skill: thresholds on selection examples, scores on score examples.

Nothing here knows what a reader or a unit is: a `Predict` reads descriptions by their number, a
`Fires` knows units by theirs. Both are asked for a few units at a time, so memory does not grow
with their number, and results do not depend on how many that is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

from saywell.data.parts import Rows, ScoreRows, SelectRows, require
from saywell.errors import LeakError
from saywell.scorers.agreement import Predictions
from saywell.scorers.floors import reads_alike
from saywell.scorers.sampling import Sample
from saywell.scorers.skill import Skill, Tally, measure, settle, tally
from saywell.scorers.thresholds import decide, fit_thresholds

BLOCK = 256
_OWN = ""

# Numbers of descriptions, or units, and places of examples: one row for all, or a row for each.
RowNumbers = Int64[np.ndarray, " examples"] | Int64[np.ndarray, "block examples"]
StandIns = Int64[np.ndarray, " units"] | Int64[np.ndarray, "units candidates"]
Predict = Callable[[Int64[np.ndarray, " block"], RowNumbers], Float[np.ndarray, "block examples"]]
Fires = Callable[[Int64[np.ndarray, " block"], RowNumbers], Bool[np.ndarray, "block examples"]]


class Scores(NamedTuple):
    """What `score_units` finds: the skill of every unit's description, and the thresholds used.

    `stand_ins` are the descriptions that each floor read, `left_out` how many before them read like
    the unit's own.
    """

    skill: Skill
    thresholds: Float[np.ndarray, " units"]
    stand_ins: dict[str, Int64[np.ndarray, " units"]]
    left_out: dict[str, Int64[np.ndarray, " units"]]


def score_units(
    units: Sequence[str],
    predict: Predict,
    fires: Fires,
    *,
    select: SelectRows,
    score: ScoreRows,
    floors: Mapping[str, StandIns],
    seed: int,
    own: Int64[np.ndarray, " units"] | None = None,
    samples: tuple[Sample, Sample] | None = None,
    resamples: int | Int64[np.ndarray, " units"] | None = None,
    block: int = BLOCK,
) -> Scores:
    """The skill of each unit's description on score examples.

    `own` are the numbers of the units' descriptions (the unit's own number by default); each of
    `floors` names the descriptions that stand in for them (see scorers/floors.py), -1 for none. Of
    several candidates it is the first that does not read like the unit's own on selection examples
    (`reads_alike`): another wording of the same is no evidence against it. Where all do, what
    the unit's own says is what everything says, and the first stays. A floor gets a threshold of its own,
    fitted to this unit on the same selection examples, so that it is as well calibrated as the
    description. `samples` are the examples read of `select` and of `score` where not all of them
    are. Verdicts are settled (see `settle`) unless `resamples` says how many to draw.

    Raises LeakError when `select` or `score` are rows of another kind, or share an example.
    """
    check_rows(select, score)
    described = np.arange(len(units)) if own is None else own
    reading, scoring = samples if samples else (None, None)
    parts: list[Tally] = []
    thresholds: list[np.ndarray] = []
    candidates = {name: whose[:, None] if whose.ndim == 1 else whose for name, whose in floors.items()}
    stand_ins = {name: whose[:, 0].copy() for name, whose in candidates.items()}
    left_out = {name: np.zeros(len(units), dtype=np.int64) for name in floors}
    for start in range(0, max(1, len(units)), block):
        here = slice(start, start + block)
        numbers = np.arange(len(units))[here]
        fitted_on, scored_on = _rows(select, reading, here), _rows(score, scoring, here)
        known = fires(numbers, fitted_on)
        weights = None if reading is None else reading.block(here).weights
        predicted = _read(predict, described[here], fitted_on)
        fitted = fit_thresholds(predicted, known, weights)
        thresholds.append(fitted)
        own_said = decide(predicted, fitted)
        said = {_OWN: decide(_read(predict, described[here], scored_on), fitted)}
        for name, whose in candidates.items():
            stand_ins[name][here], left_out[name][here], fitted = first_apart(
                own_said,
                whose[here],
                lambda asked, places, rows=fitted_on: _read(
                    predict, asked, rows if rows.ndim == 1 else rows[places]
                ),
                known,
                weights,
            )
            read = _read(predict, stand_ins[name][here], scored_on)
            said[name] = decide(read, fitted)
        parts.append(
            tally(
                said.pop(_OWN),
                said,
                fires(numbers, scored_on),
                units=units[here],
                seed=seed,
                sample=None if scoring is None else scoring.block(here),
            )
        )
    counted = Tally.joined(parts)
    skill = settle(counted) if resamples is None else measure(counted, resamples)
    return Scores(skill, np.concatenate(thresholds), stand_ins, left_out)


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


def _rows(rows: Rows, sample: Sample | None, units: slice) -> np.ndarray:
    return rows.rows if sample is None else rows.rows[sample.rows[units]]


def _read(predict: Predict, described: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Predictions of these descriptions, NaN where there is none; only those there are are asked for."""
    there = described >= 0
    result = np.full((len(described), rows.shape[-1]), np.nan, dtype=np.float32)
    if there.all() and len(there):
        return predict(described, rows)
    if there.any():
        result[there] = predict(described[there], rows if rows.ndim == 1 else rows[there])
    return result

"""From descriptions to skill: thresholds on selection examples, scores on score examples.

Nothing here knows what a reader or a unit is: a `Predict` reads descriptions by their number, a
`Fires` knows units by theirs. Both are asked for a few units at a time, so memory does not grow
with their number, and results do not depend on how many that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

from saywell.data.parts import Rows, ScoreRows, SelectRows, require
from saywell.errors import LeakError
from saywell.scorers.sampling import Sample
from saywell.scorers.skill import RESAMPLES, Skill, measure_skill
from saywell.scorers.thresholds import best_f1, decide, fit_thresholds

BLOCK = 256
_OWN = ""

# Numbers of descriptions, or units, and places of examples: one row for all, or a row for each.
RowNumbers = Int64[np.ndarray, " examples"] | Int64[np.ndarray, "block examples"]
Predict = Callable[[Int64[np.ndarray, " block"], RowNumbers], Float[np.ndarray, "block examples"]]
Fires = Callable[[Int64[np.ndarray, " block"], RowNumbers], Bool[np.ndarray, "block examples"]]


class Scores(NamedTuple):
    """What `score_units` finds: the skill of every unit's description, and the thresholds used."""

    skill: Skill
    thresholds: Float[np.ndarray, " units"]


def score_units(
    units: Sequence[str],
    predict: Predict,
    fires: Fires,
    *,
    select: SelectRows,
    score: ScoreRows,
    floors: Mapping[str, Int64[np.ndarray, " units"]],
    seed: int,
    own: Int64[np.ndarray, " units"] | None = None,
    samples: tuple[Sample, Sample] | None = None,
    resamples: int = RESAMPLES,
    block: int = BLOCK,
) -> Scores:
    """The skill of each unit's description on score examples.

    `own` are the numbers of the units' descriptions (the unit's own number by default); each of
    `floors` names the descriptions that stand in for them (see scorers/floors.py), -1 for none. A
    floor gets a threshold of its own, fitted to this unit on the same selection examples, so that it is as
    well calibrated as the description. `samples` are the examples read of `select` and of `score`
    where not all of them are.

    Raises LeakError when `select` or `score` are rows of another kind, or share an example.
    """
    check_rows(select, score)
    described = np.arange(len(units)) if own is None else own
    reading, scoring = samples if samples else (None, None)
    parts: list[Skill] = []
    thresholds: list[np.ndarray] = []
    for start in range(0, max(1, len(units)), block):
        here = slice(start, start + block)
        numbers = np.arange(len(units))[here]
        fitted_on, scored_on = _rows(select, reading, here), _rows(score, scoring, here)
        known = fires(numbers, fitted_on)
        weights = None if reading is None else reading.block(here).weights
        said = {}
        for name, whose in {_OWN: described, **floors}.items():
            fitted = fit_thresholds(_read(predict, whose[here], fitted_on), known, weights)
            said[name] = decide(_read(predict, whose[here], scored_on), fitted)
            if name == _OWN:
                thresholds.append(fitted)
        parts.append(
            measure_skill(
                said.pop(_OWN),
                said,
                fires(numbers, scored_on),
                units=units[here],
                seed=seed,
                resamples=resamples,
                sample=None if scoring is None else scoring.block(here),
            )
        )
    return Scores(Skill.joined(parts), np.concatenate(thresholds))


def choose_best(
    candidates: Int64[np.ndarray, "units candidates"],
    predict: Predict,
    fires: Fires,
    *,
    select: SelectRows,
    sample: Sample | None = None,
    block: int = BLOCK,
) -> Int64[np.ndarray, " units"]:
    """The candidate description (its number) of highest F1 on selection examples, for each unit.

    Its score is to be measured on score examples afterwards, with `score_units(own=...)`: the F1 it
    was chosen by is the highest of several and too high. -1 is no candidate; of equals the first.

    Raises LeakError when `select` are rows of another kind.
    """
    require(SelectRows, select)
    chosen = np.full(len(candidates), -1, dtype=np.int64)
    for start in range(0, len(candidates), block):
        here = slice(start, start + block)
        rows = _rows(select, sample, here)
        known = fires(np.arange(len(candidates))[here], rows)
        weights = sample.block(here).weights if sample else None
        found = np.stack(
            [
                np.where(column < 0, -1, best_f1(_read(predict, column, rows), known, weights))
                for column in candidates[here].T
            ],
            axis=1,
        )
        chosen[here] = np.take_along_axis(candidates[here], found.argmax(1)[:, None], 1)[:, 0]
    return chosen


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


def asking(
    read: Callable[[Sequence[str], Sequence[np.ndarray]], Iterator[np.ndarray]],
    descriptions: Sequence[str],
) -> Predict:
    """A `Predict` from the `read` of a reader and the texts of all descriptions."""

    def predict(numbers: Int64[np.ndarray, " block"], rows: RowNumbers) -> np.ndarray:
        each = rows if rows.ndim == 2 else [rows] * len(numbers)
        return np.stack(list(read([descriptions[int(number)] for number in numbers], list(each))))

    return predict


def firing(
    response: Float[np.ndarray, "units examples"], thresholds: Float[np.ndarray, " units"]
) -> Fires:
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

"""Held-out examples that speak against a description, the strongest first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int64

SILENT, UNFORESEEN = "silent", "unforeseen"


class Against(NamedTuple):
    """One entry per counterexample: whose it is, of which kind, and which column it stands in."""

    unit: Int64[np.ndarray, " found"]
    kind: list[str]
    rank: Int64[np.ndarray, " found"]
    column: Int64[np.ndarray, " found"]


def find_counterexamples(
    predicted: Float[np.ndarray, "units examples"],
    said: Bool[np.ndarray, "units examples"],
    response: Float[np.ndarray, "units examples"],
    fires: Bool[np.ndarray, "units examples"],
    *,
    most: int = 3,
) -> Against:
    """At most `most` of both kinds for every unit.

    "silent": the description says that the unit fires, and it does not. "unforeseen": it fires, and
    the description does not say so. The strongest are those where the places that an example has
    among all examples, by prediction and by response, lie furthest apart. Examples without an
    answer (NaN) are neither.
    """
    answered = ~np.isnan(predicted)
    by_prediction, by_response = _places(np.where(answered, predicted, -np.inf)), _places(response)
    surprise = by_prediction - by_response
    parts = []
    for kind, wrong, gap in (
        (SILENT, said & ~fires & answered, surprise),
        (UNFORESEEN, fires & ~said & answered, -surprise),
    ):
        gap = np.where(wrong, gap.astype(np.float64), -np.inf)
        order = np.argsort(-gap, axis=1, kind="stable")[:, :most]
        unit, rank = np.isfinite(np.take_along_axis(gap, order, 1)).nonzero()
        parts.append((unit, [kind] * len(unit), rank, order[unit, rank]))
    unit, kinds, rank, column = zip(*parts, strict=True)
    return Against(
        np.concatenate(unit),
        [kind for part in kinds for kind in part],
        np.concatenate(rank),
        np.concatenate(column),
    )


def _places(values: np.ndarray) -> Int64[np.ndarray, "units examples"]:
    """How many values of its row each value exceeds."""
    order = np.argsort(values, axis=1, kind="stable")
    ranked = np.take_along_axis(values, order, 1)
    new = np.ones(values.shape, dtype=bool)
    new[:, 1:] = ranked[:, 1:] > ranked[:, :-1]
    first = np.maximum.accumulate(np.where(new, np.arange(values.shape[1]), 0), axis=1)
    places = np.empty(values.shape, dtype=np.int64)
    np.put_along_axis(places, order, first, 1)
    return places

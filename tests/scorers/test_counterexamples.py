"""The examples that speak against a description, against a plain loop."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from saywell.scorers.counterexamples import SILENT, UNFORESEEN, find_counterexamples


def plain(predicted, said, response, fires, most):
    """One unit at a time, one example at a time."""
    found = {}
    for unit in range(len(predicted)):
        n = predicted.shape[1]
        score = np.where(np.isnan(predicted[unit]), -np.inf, predicted[unit])
        gap = [np.sum(score < score[i]) - np.sum(response[unit] < response[unit, i]) for i in range(n)]
        answered = ~np.isnan(predicted[unit])
        silent = [i for i in range(n) if said[unit, i] and not fires[unit, i] and answered[i]]
        unforeseen = [i for i in range(n) if fires[unit, i] and not said[unit, i] and answered[i]]
        found[unit, SILENT] = sorted(silent, key=lambda i: (-gap[i], i))[:most]
        found[unit, UNFORESEEN] = sorted(unforeseen, key=lambda i: (gap[i], i))[:most]
    return found


@given(seed=st.integers(0, 1000), units=st.integers(1, 4), examples=st.integers(1, 30))
def test_equals_a_plain_loop(seed, units, examples):
    random = np.random.default_rng(seed)
    predicted = random.integers(0, 5, (units, examples)).astype(float)
    predicted[random.random(predicted.shape) < 0.1] = np.nan
    response = random.integers(0, 6, (units, examples)).astype(float)
    said, fires = predicted >= 3, response >= 4
    against = find_counterexamples(predicted, said, response, fires, most=3)
    found = {key: [] for key in plain(predicted, said, response, fires, 3)}
    for unit, kind, rank, column in zip(
        against.unit, against.kind, against.rank, against.column, strict=True
    ):
        assert rank == len(found[unit, kind])
        found[unit, kind].append(column)
    assert found == plain(predicted, said, response, fires, 3)


def test_a_description_that_is_right_has_none():
    response = np.array([[0.0, 1.0, 2.0]])
    fires = response >= 1
    assert len(find_counterexamples(response, fires, response, fires).unit) == 0

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.scorers.association import associations
from saywell.scorers.null_model import null_model
from saywell.scorers.outcomes import Outcome
from saywell.scorers.power import detectable, least_p, needed, possible


@pytest.mark.parametrize("kind", ["real", "binary"])
def test_the_detectable_effect_is_found_about_as_often_as_said(kind):
    random = np.random.default_rng(0)

    def draw(effect, runs, n=150):
        found = []
        for _ in range(runs):
            reading = (random.random(n) < 0.3) * 1.0
            told = random.normal(size=(n, 1))
            if kind == "binary":
                values = (random.random(n) < 0.5 + effect * (reading - 0.3)) * 1.0
            else:
                values = told[:, 0] + effect * reading + 2 * random.normal(size=n)
            null = null_model(Outcome("y", kind, values), told)
            found.append((associations(null, reading[None]).p[0], null))
        return found

    (_, null), *_ = draw(0, 1)
    effect = detectable(null, 0.21, alpha=0.01)
    assert np.mean([p <= 0.01 for p, _ in draw(effect, 300)]) == pytest.approx(0.8, abs=0.08)
    assert needed(null, effect, 0.21, alpha=0.01) == pytest.approx(150, abs=1)


def test_more_items_find_less_and_rarer_readings_need_more():
    values = np.random.default_rng(1).normal(size=60)
    null = null_model(Outcome("y", "real", values))
    counts = [needed(null, effect, 0.25, alpha=0.05) for effect in (1, 0.5, 0.25)]
    assert counts[0] < counts[1] < counts[2] == pytest.approx(16 * counts[0], rel=0.15)
    assert needed(null, -0.5, 0.09, alpha=0.05) > counts[1]
    assert needed(null, 0.5, 0.25, alpha=0.001) > counts[1]
    doubled = null_model(Outcome("y", "real", np.repeat(values, 2)), None, np.repeat(np.arange(60), 2))
    # Two copies of each say no more than one.
    assert detectable(doubled, 0.25, alpha=0.05) == pytest.approx(
        detectable(null, 0.25, alpha=0.05), rel=0.05
    )
    assert np.isnan(detectable(null, 0.0, alpha=0.05))
    with pytest.raises(ValueError, match="effect of 0"):
        needed(null, 0.0, 0.25, alpha=0.05)


@given(values=st.lists(st.integers(0, 1), min_size=2, max_size=10), data=st.data())
def test_no_statement_makes_a_larger_difference_than_is_possible(values, data):
    own = np.array(sorted(values), dtype=float)
    holds = data.draw(st.integers(1, len(own) - 1))
    gaps = [own[-holds:].mean() - own[:-holds].mean(), own[holds:].mean() - own[:holds].mean()]
    assert possible(3 + 2 * own, holds / len(own)) == pytest.approx(2 * max(gaps))


@given(
    values=st.lists(st.integers(0, 2), min_size=4, max_size=6),
    reading=st.lists(st.integers(-1, 1), min_size=6, max_size=6),
)
@settings(max_examples=40)
def test_the_least_p_as_by_counting_all_orders(values, reading):
    values, reading = np.array(values, float), np.array(reading[: len(values)], float)
    if np.ptp(values) == 0 or np.ptp(reading) == 0:
        return
    null = null_model(Outcome("y", "real", values))
    sums = np.array([reading @ values[list(order)] for order in permutations(range(len(values)))])
    extremes = [np.isclose(sums, sums.max()).mean(), np.isclose(sums, sums.min()).mean()]
    assert least_p(null, reading[None])[0] == pytest.approx(min(extremes))


def test_one_text_in_sixty_says_nothing():
    null = null_model(
        Outcome("y", "real", np.random.default_rng(0).normal(size=60)), None, np.arange(60) // 2
    )
    readings = np.stack([np.arange(60) < 2, np.arange(60) < 30, np.ones(60)]) * 1.0
    least = least_p(null, readings)
    assert least[0] == pytest.approx(1 / 30) and least[1] < 1e-6 and np.isnan(least[2])

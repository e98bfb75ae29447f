from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from saywell.scorers.effects import effects
from saywell.scorers.null_model import null_model
from saywell.scorers.outcomes import Outcome
from tiny_outcomes import waves


# OLS of statsmodels 0.15.0: coefficient of the reading, standard errors, plain and HC3.
@pytest.mark.parametrize(
    ("kind", "value", "plain", "hc3"),
    [
        ("real", 0.7047551342, 0.1223540828, 0.1245179611),
        ("count", 1.7165302815, 0.3967724390, 0.4379714994),
        ("ordinal", 0.5069381771, 0.2018763491, 0.2023077492),
    ],
)
def test_effects_as_statsmodels(kind, value, plain, hc3):
    """The variance drawn to the plain one by 4 of as many items as the reading rests on."""
    covariates, reading, outcomes = waves()
    design = np.column_stack([np.ones(90), covariates])
    left = reading - design @ np.linalg.lstsq(design, reading)[0]
    thirds = np.arange(90) // 3

    def without(cluster):
        kept = thirds != cluster
        both = np.column_stack([design, reading])[kept]
        return np.linalg.lstsq(both, outcomes[kind].values[kept])[0][-1]

    jackknife = np.sqrt(29 / 30 * sum((without(cluster) - value) ** 2 for cluster in range(30)))
    for clusters, error, rel in ((None, hc3, 1e-6), (thirds, jackknife, 0.05)):
        found = effects(null_model(outcomes[kind], covariates, clusters), reading[None])
        weights = left**2 if clusters is None else np.bincount(clusters, left**2)
        rests = weights.sum() ** 2 / (weights**2).sum()
        variance = (rests * error**2 + 4 * plain**2) / (rests + 4)
        half = stats.t.ppf(0.975, rests - 1) * np.sqrt(variance)
        assert [found.value[0], found.low[0], found.high[0]] == pytest.approx(
            [value, value - half, value + half], rel=rel
        )


def test_a_difference_of_shares_as_agresti_and_caffo_have_it():
    """Its middle is theirs; for many, so is its width."""
    reading = np.repeat([1.0, 0.0], [400, 600])
    values = np.concatenate([np.arange(400) < 60, np.arange(600) < 270]) * 1.0
    null = null_model(Outcome("y", "binary", values))
    value, low, high = (found[0] for found in effects(null, reading[None]))
    one, other = 61 / 402, 271 / 602
    half = stats.norm.ppf(0.975) * np.sqrt(one * (1 - one) / 402 + other * (1 - other) / 602)
    assert value == pytest.approx(0.15 - 0.45)
    assert (low + high) / 2 == pytest.approx(one - other)
    assert (high - low) / 2 == pytest.approx(half, rel=0.01)


@pytest.mark.parametrize("kind", ["binary", "ordinal", "real"])
@pytest.mark.parametrize("clustered", [False, True])
def test_a_handful_that_agree_are_no_point(kind, clustered):
    values = np.concatenate([np.ones(4), np.arange(96) % (2 if kind == "binary" else 5)])
    reading = (np.arange(100) < 4) * 1.0
    clusters = np.concatenate([np.arange(96), np.arange(92, 96)]) if clustered else None
    null = null_model(Outcome("y", kind, values), None, clusters)
    value, low, high = (found[0] for found in effects(null, reading[None]))
    assert value == pytest.approx(1 - values[4:].mean())
    assert low < value < high and high - low > 0.5
    if kind == "binary":
        assert low >= -1 and high <= 1
    one = np.arange(100) == 2
    value, low, high = (found[0] for found in effects(null, one[None] * 1.0))
    assert value == pytest.approx(1 - np.delete(values, 2).mean())
    assert np.isnan(low) == np.isnan(high) == (kind != "binary")


def test_of_pairs_the_share_that_is_favoured_beyond_half():
    """Where it holds of one text alone; pairs that differ in nothing say nothing of it."""
    reading = np.repeat([1.0, -1.0, 0.0], [50, 50, 100])
    favoured = np.concatenate([np.arange(50) < 40, np.arange(50) < 10, np.arange(100) < 50]) * 1.0
    value, low, high = effects(null_model(Outcome("first", "binary", favoured)), reading[None])
    assert value[0] == pytest.approx(0.8 - 0.5) and low[0] < 0.3 < high[0] <= 0.5


@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 1e4), shift=st.floats(-1e4, 1e4))
@settings(max_examples=20)
def test_units_of_the_outcome_are_those_of_the_effect(seed, scale, shift):
    random = np.random.default_rng(seed)
    values, told = random.normal(size=60), random.normal(size=(60, 2))
    readings = random.integers(2, size=(3, 60)) * 1.0
    readings[2, :5] = np.nan
    found = np.array(effects(null_model(Outcome("y", "real", values), told), readings))
    other = np.array(effects(null_model(Outcome("y", "real", values * scale + shift), told), readings))
    assert other == pytest.approx(found * scale, rel=1e-5, abs=1e-7 * scale)
    kept = Outcome("y", "real", values[5:])
    assert found[:, 2] == pytest.approx(np.array(effects(null_model(kept, told[5:]), readings[2:, 5:]))[:, 0])


def test_a_category_of_one_item():
    """Its covariate takes the item out; no division by nothing."""
    random = np.random.default_rng(0)
    told = (np.arange(50) == 7)[:, None] * 1.0
    values, reading = random.normal(size=50), random.integers(2, size=50) * 1.0
    found = np.array(effects(null_model(Outcome("y", "real", values), told), reading[None]))
    rest = np.arange(50) != 7
    without = np.array(effects(null_model(Outcome("y", "real", values[rest])), reading[None, rest]))
    assert found == pytest.approx(without)
    alone = effects(null_model(Outcome("y", "real", values), told), told.T)
    assert np.isnan(np.array(alone)).all()

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from saywell.scorers.agreement import MEASURES
from saywell.scorers.sanity import RATES, sanity_tests, sanity_verdicts


@pytest.fixture(scope="module")
def tests() -> pl.DataFrame:
    return sanity_tests(examples=20_000, repeats=10)


def test_the_known_result(tests):
    # As Oikarinen et al. 2025 report for the measures that are here.
    passing = set(sanity_verdicts(tests).filter("passes")["measure"])
    assert passing == {"f1", "iou", "pearson", "cosine", "auprc"}
    assert passing == {name for name, measure in MEASURES.items() if measure.headline}


@pytest.mark.parametrize(
    ("measure", "test"),
    [
        ("balanced_accuracy", "extra"),
        ("auroc", "extra"),
        ("mean_activation_difference", "missing"),
        ("precision", "missing"),
        ("recall", "extra"),
    ],
)
def test_each_of_the_others_fails_its_test_at_low_rates(tests, measure, test):
    found = tests.filter((pl.col("measure") == measure) & (pl.col("test") == test))
    assert not found.filter(pl.col("rate") < 0.05)["passes"].any()
    assert found.filter(pl.col("rate") == 0.001)["fall"][0] < 0.05
    other = tests.filter((pl.col("measure") == measure) & (pl.col("test") != test))
    assert other["passes"].all()


def test_falls_by_hand(tests):
    def fall(measure, test, rate=0.01):
        cell = tests.filter(
            (pl.col("measure") == measure) & (pl.col("test") == test) & (pl.col("rate") == rate)
        )
        assert cell["perfect"][0] == pytest.approx(1)
        return cell["fall"][0]

    for rate in RATES:
        # Half of the hits: 2 * .5 / (.5 + 1). As many false alarms as hits: 2 * 1 / (2 + 1).
        assert fall("f1", "missing", rate) == pytest.approx(1 / 3)
        assert fall("f1", "extra", rate) == pytest.approx(1 / 3)
        assert fall("iou", "extra", rate) == pytest.approx(1 / 2)
        # Of the silent share 1 - rate, rate are named: half of that is lost.
        assert fall("balanced_accuracy", "extra", rate) == pytest.approx(rate / (1 - rate) / 2)
    assert tests.height == len(MEASURES) * 2 * len(RATES)


def test_a_measure_of_ones_own_and_seeds():
    constant = MEASURES["f1"]._replace(function=lambda said, fires: np.full(len(said), 0.7))
    found = sanity_tests({"constant": constant}, examples=2000, rates=(0.1,), repeats=3)
    assert not found["passes"].any() and (found["fall"] == 0).all()
    some = {"pearson": MEASURES["pearson"]}
    one, two, three = (sanity_tests(some, examples=2000, repeats=3, seed=s) for s in (0, 0, 1))
    assert one.equals(two) and not one.equals(three)

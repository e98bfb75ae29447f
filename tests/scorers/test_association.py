from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse, stats

from saywell.scorers.association import associations, permuted, screened
from saywell.scorers.null_model import null_model
from saywell.scorers.outcomes import Outcome

KINDS = ("binary", "real", "count", "ordinal")


def waves():
    """Two covariates, a reading and outcomes of every kind that any program can make again."""
    i = np.arange(90)
    covariates = np.stack([np.sin(i), (i % 4 == 1) * 1.0], axis=1)
    reading = ((i * 7) % 5 < 2) * 1.0
    even = np.sin(i * 12.9898) * 43758.5453 % 1
    eta = 0.8 * covariates[:, 0] - 0.5 * covariates[:, 1] + 0.7 * reading
    outcomes = {
        "binary": (even < 1 / (1 + np.exp(-eta))) * 1.0,
        "real": eta + 2 * even,
        "count": np.floor(np.exp(eta) * 4 * even),
        "ordinal": np.digitize(eta + 4 * even - 2, [-1.0, 0, 1.5]) * 1.0,
    }
    return covariates, reading, {kind: Outcome("y", kind, values) for kind, values in outcomes.items()}


def drawn(kind, n=400, covariates=2, m=6, seed=0, share=0.3):
    """Readings that say nothing, and an outcome that the covariates tell in part."""
    random = np.random.default_rng(seed)
    told = random.normal(size=(n, covariates))
    eta = told.sum(1) * 0.5 - 0.3
    values = {
        "binary": random.random(n) < 1 / (1 + np.exp(-eta)),
        "real": eta + random.normal(size=n),
        "count": random.poisson(np.exp(eta)),
        "ordinal": np.digitize(eta + random.logistic(size=n), [-1, 0, 1]),
    }[kind]
    return Outcome("y", kind, values * 1.0), told, (random.random((m, n)) < share) * 1.0


@pytest.mark.parametrize(
    ("kind", "z", "robust"),
    [("binary", 2.98543, None), ("real", 4.92133, 24.3016), ("count", 4.43494, 15.1660)],
)
def test_score_tests_as_statsmodels(kind, z, robust):
    """GLM.score_test of 0.15.0; its HC0 statistic s is about the mean: here s' / (1 - s' / n) = s."""
    covariates, reading, outcomes = waves()
    null = null_model(outcomes[kind], covariates)
    assert screened(null, reading[None])[0] == pytest.approx(z, abs=3e-4)
    found = associations(null, reading[None])
    if robust is None:  # the model's variance is the larger
        assert found.z[0] == screened(null, reading[None])[0]
    else:
        assert found.z[0] ** 2 == pytest.approx(robust * 87 / 90, rel=1e-4)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.z)))


def test_without_covariates_as_the_tests_of_textbooks():
    _, reading, outcomes = waves()
    table = np.histogram2d(outcomes["binary"].values, reading, 2)[0]
    ranks = stats.mannwhitneyu(
        *(outcomes["ordinal"].values[reading == side] for side in (1, 0)),
        use_continuity=False,
        method="asymptotic",
    )
    binary, ordinal = (null_model(outcomes[kind]) for kind in ("binary", "ordinal"))
    assert screened(binary, reading[None])[0] ** 2 == pytest.approx(
        stats.chi2_contingency(table, correction=False)[0]
    )
    # That of ranks has n - 1 in the place of n.
    assert screened(ordinal, reading[None])[0] == pytest.approx(
        -stats.norm.ppf(ranks.pvalue / 2) * np.sqrt(90 / 89)
    )
    exact = stats.fisher_exact(table).pvalue
    assert permuted(binary, reading[None], seed=0)[0] == pytest.approx(exact, abs=0.003)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("clustered", [False, True])
def test_readings_in_any_form_together_or_alone(kind, clustered):
    outcome, told, readings = drawn(kind)
    clusters = np.random.default_rng(1).integers(120, size=len(told)) if clustered else None
    null = null_model(outcome, told, clusters)
    alone = [associations(null, one[None]).z[0] for one in readings]
    for form in (readings, readings.astype(np.int8), readings > 0, sparse.csr_array(readings)):
        assert associations(null, form).z == pytest.approx(alone)
        assert screened(null, form) == pytest.approx(screened(null, readings))
        assert permuted(null, form[:2], seed=3, most=200).tolist() == [
            permuted(null, one[None], seed=3, most=200)[0] for one in readings[:2]
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_the_slope_of_the_likelihood(kind):
    """Their variance by a plain projection of each item's score on those of the parameters."""
    outcome, told, readings = drawn(kind)
    null = null_model(outcome, told)
    z = screened(null, readings)
    for one, found in zip(readings, z, strict=True):
        projection = np.linalg.solve(null.information, null.cross.T @ one)
        each = one * null.residuals - null.scores @ projection
        expected = (one**2 * null.weights).sum() - projection @ null.information @ projection
        assert found == pytest.approx(each.sum() / np.sqrt(expected))

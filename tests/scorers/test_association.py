from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from saywell.scorers.association import _places, associations, permuted, screened, small
from saywell.scorers.null_model import null_model
from saywell.scorers.outcomes import Outcome
from tiny_outcomes import KINDS, drawn, waves


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


@pytest.mark.parametrize("kind", KINDS)
def test_robust_variance_as_a_plain_sum_over_clusters(kind):
    outcome, told, readings = drawn(kind)
    for clusters in (None, np.random.default_rng(1).integers(40, size=len(told))):
        null = null_model(outcome, told, clusters)
        for one, found in zip(readings, associations(null, readings).z, strict=True):
            projection = np.linalg.solve(null.information, null.cross.T @ one)
            each = one * null.residuals - null.scores @ projection
            model = (one**2 * null.weights).sum() - projection @ null.information @ projection
            own = np.arange(len(each)) if clusters is None else clusters
            sums = [each[own == cluster].sum() for cluster in np.unique(own)]
            free = null.scores.shape[1] if clusters is None else 1
            robust = sum(value**2 for value in sums) * len(sums) / (len(sums) - free)
            assert found == pytest.approx(each.sum() / np.sqrt(max(model, robust)))


@given(seed=st.integers(0, 10**6), kind=st.sampled_from(KINDS), clustered=st.booleans())
@settings(max_examples=12)
def test_what_must_not_matter(seed, kind, clustered):
    """The order of items, the units of covariates and which side of a reading is called yes."""
    outcome, told, readings = drawn(kind, n=120, seed=seed)
    random = np.random.default_rng(seed)
    clusters = random.integers(50, size=120) if clustered else None
    z = associations(null_model(outcome, told, clusters), readings).z
    order = random.permutation(120)
    written = told @ np.array([[3.0, 0.2], [-1e-3, 700.0]]) + 40
    moved = Outcome("y", kind, outcome.values[order])
    null = null_model(moved, written[order], None if clusters is None else clusters[order] * 3)
    # The faint ridge sees units; the score does not.
    assert associations(null, readings[:, order]).z == pytest.approx(z, abs=0.01)
    assert associations(null, 1 - readings[:, order]).z == pytest.approx(-z, abs=0.01)


def test_items_that_were_not_read_are_as_items_that_are_not_there():
    outcome, told, readings = drawn("binary")
    clusters = np.arange(400) // 2
    readings[1, :50] = readings[2, :50] = np.nan
    readings[3, 7] = np.nan
    null = null_model(outcome, told, clusters)
    z, p = associations(null, readings), permuted(null, readings, seed=0, most=99)
    for row, gone in ((0, 0), (1, 50), (2, 50)):
        some = np.arange(gone, 400)
        part = null_model(Outcome("y", "binary", outcome.values[some]), told[some], clusters[some])
        kept = readings[row, some][None]
        assert associations(part, kept).z[0] == pytest.approx(z.z[row])
        assert permuted(part, kept, seed=0, most=99)[0] == p[row]
    only_no = np.where(outcome.values == 1, np.nan, readings)
    assert np.isnan(associations(null, only_no).z).all()


def test_a_reading_that_does_not_vary_has_no_answer():
    outcome, told, _ = drawn("ordinal", covariates=1)
    readings = np.stack([np.zeros(400), np.ones(400), 3 - 2 * told[:, 0]])
    null = null_model(outcome, told)
    for form in (readings, sparse.csr_array(readings)):
        assert np.isnan(screened(null, form)).all() and np.isnan(associations(null, form).z).all()
        assert np.isnan(permuted(null, form, seed=0)).all() and not small(null, form).any()
    # Where all of one expected outcome are read alike there is nothing that could be dealt.
    level = np.repeat([0.0, 1, 2], 20)
    null = null_model(Outcome("y", "real", np.sin(np.arange(60.0))), level[:, None])
    middle = (level == 1)[None] * 1.0
    assert np.isfinite(associations(null, middle).z).all() and np.isnan(permuted(null, middle, seed=0)).all()


def test_a_reading_that_separates_a_rare_outcome():
    """No regression has an estimate of it."""
    values = np.zeros(5000)
    values[:12] = 1
    readings = np.stack([values, np.roll(values, 12)])
    null = null_model(Outcome("y", "binary", values), np.random.default_rng(0).normal(size=(5000, 3)))
    assert small(null, readings).all()
    p = permuted(null, readings, seed=0, most=499)
    assert p[0] == 1 / 500 and p[1] > 0.3
    # None of the 12 is expected, and none is there: not a finding, small as the squares of residuals are.
    assert abs(associations(null, readings).z[1]) < 0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "columns"), [(6, 0), (8, 2), (60, 20)])
def test_few_items_and_many_covariates(kind, n, columns):
    """No warning (they are errors here), and a p wherever there is a z."""
    outcome, told, _ = drawn(kind, n=n, covariates=columns, seed=2)
    outcome.values[:2] = 0, 1
    readings = np.stack([np.arange(n) == 0, np.arange(n) < 3, np.arange(n) % 2, np.ones(n)]) * 1.0
    readings[2, 1] = np.nan
    for clusters in (None, np.arange(n) // 2, np.minimum(np.arange(n), n // 2)):
        null = null_model(outcome, told, clusters)
        z, p = associations(null, readings)
        dealt = permuted(null, readings, seed=0, most=99)
        assert np.isfinite(z[:3]).all() and np.isfinite(p[:3]).all() and np.isnan(z[3])
        assert (np.isnan(dealt) | ((dealt >= 0.01) & (dealt <= 1))).all() and np.isnan(dealt[3])
        assert small(null, readings).tolist() == [True, True, True, False]
        for none in (associations(null, readings[:0]).z, permuted(null, readings[:0], seed=0)):
            assert none.shape == (0,)


@pytest.mark.parametrize("name", ["alone", "rare", "of sizes", "uneven"])
def test_p_by_permutation_is_that_of_plain_dealing(name):
    """Each way of dealing beside a loop that says what it should be."""
    random = np.random.default_rng(4)
    n = 80
    reading = (random.random(n) < 0.3) * 1.0
    values = random.normal(size=n) + 0.5 * reading
    clusters = {"of sizes": np.sort(np.arange(n) % 55), "uneven": np.repeat(np.arange(20), np.arange(20))[:n]}
    if name == "rare":
        values = np.zeros(n)
        values[:5], reading[:2] = 1, 1
    own = clusters.get(name)
    null = null_model(Outcome("y", "binary" if name == "rare" else "real", values), None, own)
    left = reading - reading.mean()
    cluster = np.arange(n) if own is None else np.unique(own, return_inverse=True)[1]

    def statistic(residuals):
        """As of Welch: over the variance about the group's own mean, or half of the common one."""
        score, common = left @ residuals, left**2 @ null.weights
        if name == "rare":
            return score**2
        about = residuals - score / common * left
        return score**2 / max((np.bincount(cluster, left * about) ** 2).sum(), common / 2)

    sizes = np.bincount(cluster)
    alike = [
        np.stack([np.flatnonzero(cluster == c) for c in np.flatnonzero(sizes == size)])
        for size in np.unique(sizes)
    ]
    if name == "of sizes":  # what differs between clusters of one size and of another is not dealt
        for members in alike:
            left[members] -= left[members].mean(0)
    extreme = []
    for _ in range(1000):
        if name == "uneven":
            sign = random.choice([-1, 1], 20)[cluster]
            extreme.append(abs(left @ (null.residuals * sign)) >= abs(left @ null.residuals) - 1e-9)
            continue
        dealt = np.empty(n)
        for members in alike:
            dealt[members.ravel()] = null.residuals[random.permutation(members)].ravel()
        extreme.append(statistic(dealt) >= statistic(null.residuals) - 1e-9)
    if name != "uneven":
        found = _places(null, left[None], random)[0][0] * (left**2 @ null.weights if name == "rare" else 1)
        assert found == pytest.approx(statistic(null.residuals))
    assert permuted(null, reading[None], seed=1)[0] == pytest.approx(np.mean(extreme), abs=0.05)


def test_many_covariates_make_no_findings():
    """They take from the residuals what readings that say nothing would have met."""
    random = np.random.default_rng(0)
    p = []
    for _ in range(150):
        null = null_model(Outcome("y", "real", random.normal(size=40)), random.normal(size=(40, 20)))
        p.append(permuted(null, (random.random((2, 40)) < 0.5) * 1.0, seed=0, most=99))
    assert np.mean(np.array(p) <= 0.05) < 0.09


def test_few_are_told_from_many():
    random = np.random.default_rng(0)
    readings = np.stack([random.random(5000) < share for share in (0.3, 0.004)])
    common, rare = ((random.random(5000) < share) * 1.0 for share in (0.4, 0.003))
    outlier = random.normal(size=5000)
    outlier[3] = 1e4
    few = [small(null_model(Outcome("y", "binary", values)), readings).tolist() for values in (common, rare)]
    assert few == [[False, True], [True, True]]
    assert small(null_model(Outcome("y", "real", outlier)), readings).all()
    nine = random.integers(9, size=5000)
    assert small(null_model(Outcome("y", "binary", common), None, nine), readings).all()

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from sklearn.metrics import f1_score

from saywell.scorers.skill import MOST_RESAMPLES, Skill, measure, measure_skill, settle, tally, verified


def names(count):
    return [f"u{n}" for n in range(count)]


def noisy(random, fires, rate, hits=0.7, alarms=0.5):
    """Decisions that find 70 % of the firing examples, and half as many others besides."""
    return np.where(fires, random.random(fires.shape) < hits, random.random(fires.shape) < alarms * rate)


def draw(units=5, examples=300, rate=0.2, seed=0):
    random = np.random.default_rng(seed)
    fires = random.random((units, examples)) < rate
    floors = {"other": random.random(fires.shape) < rate, "sibling": noisy(random, fires, rate, 0.4)}
    return noisy(random, fires, rate), floors, fires


def same(one: Skill, other: Skill) -> bool:
    for field in fields(Skill):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name == "floors":
            if list(mine) != list(theirs):
                return False
            pairs = [(mine[name], theirs[name]) for name in mine]
        else:
            pairs = [(mine, theirs)]
        for a, b in pairs:
            equal = (a == b) if a.dtype == object else np.isclose(a, b, rtol=0, atol=0, equal_nan=True)
            if a.shape != b.shape or not equal.all():
                return False
    return True


def test_values_as_sklearn():
    said, floors, fires = draw()
    found = measure_skill(said, floors, fires, units=names(5), seed=0)
    for unit in range(5):
        expected = {
            "other": f1_score(fires[unit], floors["other"][unit]),
            "sibling": f1_score(fires[unit], floors["sibling"][unit]),
            "always": f1_score(fires[unit], np.ones(300)),
            "never": 0.0,
        }
        assert {name: floor[unit] for name, floor in found.floors.items()} == pytest.approx(expected)
        best = max(expected, key=expected.__getitem__)
        assert found.best_floor[unit] == best
        assert found.value[unit] == pytest.approx(f1_score(fires[unit], said[unit]))
        assert found.skill[unit] == pytest.approx(found.value[unit] - expected[best])
    assert found.n.tolist() == [300] * 5 and found.unanswered.tolist() == [0] * 5


def test_intervals_as_resampling_examples_one_by_one():
    said, floors, fires = draw(units=2)
    found = measure_skill(said, floors, fires, units=names(2), seed=0, resamples=6000)
    random = np.random.default_rng(1)
    for unit in range(2):
        drawn = []
        for _ in range(1500):
            rows = random.integers(300, size=300)
            truth = fires[unit, rows]
            score, *others = (
                2 * (truth & s).sum() / (truth.sum() + s.sum())
                for s in (said[unit, rows], *(f[unit, rows] for f in floors.values()), np.ones(300, bool))
            )
            drawn.append((score, score - max(others)))
        score, skill = np.quantile(drawn, [0.025, 0.975], axis=0).T
        assert (found.low[unit], found.high[unit]) == pytest.approx(score, abs=0.02)
        assert (found.skill_low[unit], found.skill_high[unit]) == pytest.approx(skill, abs=0.02)


@pytest.mark.parametrize("rate", [0.1, 0.01, 0.001])
@pytest.mark.parametrize("null", ["independent", "as good as its floor"])
def test_false_positives_are_as_rare_as_they_should_be(rate, null):
    random = np.random.default_rng(7)
    fires = random.random((800, 5000)) < rate
    fires[np.arange(800), random.integers(5000, size=800)] = True
    if null == "independent":
        said, one, two = (random.random(fires.shape) < rate for _ in range(3))
        floors = {"one": one, "two": two}
    else:
        # The hardest null: skill is 0 on average, and the floor is not the best of several.
        said = noisy(random, fires, rate)
        floors = {"twin": noisy(random, fires, rate)}
    found = measure_skill(said, floors, fires, units=names(800), seed=0, resamples=200)
    # Three standard errors of a share of 0.05 of 800 are 0.023.
    assert np.mean(found.p <= 0.05) <= 0.073
    assert np.mean(found.skill_low > 0) <= 0.05
    assert verified(found).mean() <= 0.01
    assert (found.p > 0).all() and (found.p <= 1).all()


def test_intervals_cover_the_true_skill():
    random, rate = np.random.default_rng(3), 0.05
    fires = random.random((600, 2000)) < rate
    said = noisy(random, fires, rate)
    found = measure_skill(said, {}, fires, units=names(600), seed=0, resamples=200)
    f1 = 2 * 0.7 * rate / (rate + 0.7 * rate + 0.5 * rate * (1 - rate))
    always = 2 * rate / (1 + rate)
    assert 0.92 <= np.mean((found.low <= f1) & (f1 <= found.high)) <= 0.98
    skill = f1 - always
    assert 0.92 <= np.mean((found.skill_low <= skill) & (skill <= found.skill_high)) <= 0.98


def test_thousands_of_tests_can_be_passed():
    # Ten good descriptions among 5,000 without skill: p from 400 resamples alone would be 0.0025.
    random = np.random.default_rng(0)
    fires = random.random((5000, 1000)) < 0.05
    said = random.random(fires.shape) < 0.05
    said[:10] = fires[:10]
    found = measure_skill(said, {}, fires, units=names(5000), seed=0, resamples=100)
    true = verified(found)
    assert true[:10].all() and true[10:].mean() < 0.001


def test_few_resamples_do_not_make_a_skill_certain():
    # Of 20 resamples often none is without skill, and hits are many: the normal tail must speak.
    random = np.random.default_rng(5)
    fires = random.random((500, 2000)) < 0.1
    said, twin = noisy(random, fires, 0.1), noisy(random, fires, 0.1)
    found = measure_skill(said, {"twin": twin}, fires, units=names(500), seed=0, resamples=20)
    assert np.mean(found.p <= 0.05) < 0.09 and found.p.min() > 1e-5
    assert verified(found).mean() <= 0.01


def test_few_firing_examples_are_never_certain():
    fires = np.zeros((3, 1000), dtype=bool)
    fires[0, :1] = fires[1, :3] = fires[2, :20] = True
    found = measure_skill(fires, {}, fires, units=names(3), seed=0)
    assert (found.value == 1).all()
    assert found.p[0] >= np.exp(-1) and found.p[1] >= np.exp(-3) and found.p[2] < 1e-6


def test_a_constant_answer_has_no_skill_however_high_it_scores():
    # It fires on 55 %: saying so of every example has an F1 of 0.7.
    fires = np.random.default_rng(0).random((1, 2000)) < 0.55
    found = measure_skill(np.ones_like(fires), {}, fires, units=["u"], seed=0)
    assert found.value[0] == pytest.approx(0.71, abs=0.02) and found.low[0] > 0.65
    assert (found.skill[0], found.skill_low[0], found.skill_high[0]) == (0, 0, 0)
    assert found.best_floor[0] == "always" and found.p[0] == 1 and not verified(found)[0]


def test_unanswered_examples_are_counted_and_not_zero():
    said, floors, fires = draw()
    answers = said.astype(np.float32)
    gone = np.random.default_rng(1).random(said.shape) < 0.3
    answers[gone] = np.nan
    found = measure_skill(answers, floors, fires, units=names(5), seed=0)
    assert found.unanswered.tolist() == gone.sum(1).tolist()
    assert (found.n + found.unanswered).tolist() == [300] * 5
    for unit in range(5):
        kept = ~gone[unit]
        alone = measure_skill(
            said[[unit]][:, kept],
            {n: f[[unit]][:, kept] for n, f in floors.items()},
            fires[[unit]][:, kept],
            units=[f"u{unit}"],
            seed=0,
        )
        assert alone.value[0] == found.value[unit] and alone.skill_low[0] == found.skill_low[unit]
        as_zero = f1_score(fires[unit], np.nan_to_num(answers[unit]))
        assert found.value[unit] > as_zero


def test_what_a_floor_leaves_open_is_left_out_for_all():
    said, floors, fires = draw(units=1)
    other = floors["other"].astype(np.float32)
    other[0, :100] = np.nan
    found = measure_skill(said, {"other": other}, fires, units=["u"], seed=0)
    assert (found.n[0], found.unanswered[0]) == (200, 100)
    assert found.value[0] == pytest.approx(f1_score(fires[0, 100:], said[0, 100:]))


def test_a_floor_that_a_unit_lacks_is_no_floor():
    said, floors, fires = draw(units=2)
    sibling = floors["sibling"].astype(np.float32)
    sibling[1] = np.nan
    found = measure_skill(said, {"sibling": sibling}, fires, units=names(2), seed=0)
    without = measure_skill(said, {}, fires, units=names(2), seed=0)
    assert np.isnan(found.floors["sibling"]).tolist() == [False, True]
    assert found.n[1] == 300 and found.best_floor.tolist() == ["sibling", "always"]
    assert found.skill[1] == without.skill[1] and found.skill[0] < without.skill[0]


def test_a_unit_that_never_fires_cannot_be_tested():
    said, _, fires = draw(units=3)
    fires[1] = False
    answers = said.astype(float)
    answers[2] = np.nan
    found = measure_skill(answers, {}, fires, units=names(3), seed=0)
    for name in ("value", "low", "high", "skill", "skill_low", "skill_high", "p"):
        assert np.isnan(getattr(found, name)).tolist() == [False, True, True]
    assert np.isnan(found.floors["always"]).tolist() == [False, True, True]
    assert found.best_floor.tolist() == ["always", "", ""] and found.n.tolist() == [300, 300, 0]
    assert verified(found).tolist() == [True, False, False]


def test_a_description_that_never_says_it_scores_zero():
    _, _, fires = draw(units=1)
    found = measure_skill(np.zeros_like(fires), {}, fires, units=["u"], seed=0)
    assert found.value[0] == 0 and found.skill[0] == -found.floors["always"][0]
    assert found.p[0] == 1


def test_the_order_of_units_and_examples_and_blocks_change_nothing(monkeypatch):
    said, floors, fires = draw(units=9)
    whole = measure_skill(said, floors, fires, units=names(9), seed=0)
    columns = np.random.default_rng(0).permutation(300)
    shuffled = measure_skill(
        said[:, columns],
        {n: f[:, columns] for n, f in floors.items()},
        fires[:, columns],
        units=names(9),
        seed=0,
    )
    assert same(whole, shuffled)
    turned = measure_skill(
        said[::-1], {n: f[::-1] for n, f in floors.items()}, fires[::-1], units=names(9)[::-1], seed=0
    )
    for name in ("value", "skill", "skill_low", "skill_high", "p"):
        assert (getattr(turned, name)[::-1] == getattr(whole, name)).all()
    monkeypatch.setattr("saywell.scorers.skill._BLOCK", 1000)
    assert same(whole, measure_skill(said, floors, fires, units=names(9), seed=0))
    assert not same(whole, measure_skill(said, floors, fires, units=names(9), seed=1))


def test_verdicts_hang_on_no_seed_and_effort_goes_where_they_are_close():
    random = np.random.default_rng(2)
    fires = random.random((60, 400)) < 0.15
    # From clearly better than the floor to no better at all.
    hits = np.linspace(0.35, 0.75, 60)[:, None]
    said = np.where(fires, random.random(fires.shape) < hits, random.random(fires.shape) < 0.1)
    floors = {"twin": noisy(random, fires, 0.15, 0.4, 0.7)}
    counts = [tally(said, floors, fires, units=names(60), seed=seed) for seed in range(3)]
    fixed = np.array([verified(measure(counted)) for counted in counts])
    found = [settle(counted) for counted in counts]
    settled = np.array([verified(skill) for skill in found])
    assert (settled != settled[0]).sum() <= 1 < (fixed != fixed[0]).sum()
    number = found[0].resamples
    assert number.min() == 400 < number.max() <= MOST_RESAMPLES and np.median(number) <= 1600
    # A unit's entry follows from its own counts and the number of resamples.
    alone = measure(counts[0].some(np.array([30])), number[30:31])
    for name in ("value", "low", "high", "skill_low", "skill_high", "p", "resamples"):
        assert getattr(alone, name)[0] == getattr(found[0], name)[30]


def test_no_units():
    nothing = np.zeros((0, 7), dtype=bool)
    found = measure_skill(nothing, {"other": nothing}, nothing, units=[], seed=0)
    assert found.value.shape == (0,) and found.floors["other"].shape == (0,)
    assert verified(found).shape == (0,)


def test_verified_holds_the_rate_over_all_units_tested():
    count = 6
    columns = {field.name: np.full(count, np.nan) for field in fields(Skill) if field.name != "floors"}
    columns |= dict.fromkeys(("n", "unanswered", "resamples"), np.zeros(count, dtype=int))
    columns["p"] = np.array([0.01, 0.02, 0.04, 0.9, np.nan, 0.001])
    columns["skill_low"] = np.array([0.1, 0.1, 0.1, 0.1, np.nan, -0.1])
    found = Skill(**columns, floors={})
    # Five tests: adjusted 0.025, 0.033, 0.05, 0.9 and 0.005; the last one's interval reaches below 0.
    assert verified(found).tolist() == [True, True, True, False, False, False]
    assert verified(found, q=0.03).tolist() == [True, False, False, False, False, False]


def test_yes_to_all_but_a_few_examples_proves_nothing():
    """The few that are left out do not fire; nine times in ten they would not by chance either."""
    fires = np.zeros((1, 1000), dtype=bool)
    fires[0, :100] = True
    said = np.ones((1, 1000))
    said[0, 999] = 0
    found = measure_skill(said, {}, fires, units=["u"], seed=0)
    assert found.skill[0] > 0 and found.p[0] == pytest.approx(0.9)
    assert not verified(found)[0]

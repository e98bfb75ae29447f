from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.errors import InputError
from saywell.scorers.agreement import f1, precision, recall
from saywell.scorers.sampling import FIRING, NEAR, sample_examples
from saywell.scorers.skill import measure_skill


def rare_unit(random, examples=4000, rate=0.01, false_rate=0.02, hit_rate=0.8):
    """A unit that fires on 1 % and a description that finds 80 % of it, with 2 % false alarms."""
    fires = np.zeros(examples, dtype=bool)
    fires[random.choice(examples, int(rate * examples), replace=False)] = True
    response = random.random(examples) + fires
    said = np.where(fires, random.random(examples) < hit_rate, random.random(examples) < false_rate)
    return response, fires, said


def sampled(response, fires, seed, budget=300, units=1):
    """As many samples of one unit as there are `units`."""
    return sample_examples(
        np.broadcast_to(response, (units, len(fires))),
        np.broadcast_to(fires, (units, len(fires))),
        examples=[f"e{n}" for n in range(len(fires))],
        units=[f"u{n}" for n in range(units)],
        budget=budget,
        seed=seed,
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(12, 90), st.floats(0, 1))
def test_a_sample_reads_the_budget_and_weighs_the_whole(seed, budget, rate):
    random = np.random.default_rng(seed)
    fires = random.random((3, 80)) < rate
    response = random.random((3, 80)) * 0.5 + fires
    sample = sample_examples(
        response, fires, examples=[str(n) for n in range(80)], units=list("abc"), budget=budget, seed=seed
    )
    assert sample.rows.shape == (3, min(budget, 80)) and (np.diff(sample.rows, axis=1) > 0).all()
    assert sample.sizes.sum(1).tolist() == [80] * 3
    assert sample.weights.sum(1) == pytest.approx([80] * 3)
    assert (sample.read.astype(bool) == sample.sizes.astype(bool)).all()
    assert (sample.read <= sample.sizes).all() and (sample.weights >= 1).all()
    if budget < 80:
        taken = np.take_along_axis(fires, sample.rows, 1)
        assert ((sample.strata == FIRING) == taken).all()
        for unit in range(3):
            near = np.sort(response[unit][~fires[unit]])[::-1][: sample.sizes[unit, NEAR]]
            read = response[unit, sample.rows[unit][sample.strata[unit] == NEAR]]
            assert np.isin(read, near).all()
    else:
        assert (sample.weights == 1).all() and (sample.rows == np.arange(80)).all()


def test_every_example_of_a_stratum_is_read_equally_often():
    response, fires, _ = rare_unit(np.random.default_rng(0), examples=400, rate=0.1)
    sample = sampled(response, fires, seed=0, budget=50, units=2000)
    read = np.bincount(sample.rows.ravel(), minlength=400) / 2000
    assert read[fires] == pytest.approx(0.5, abs=0.06)  # 20 of 40
    assert read[~fires].mean() == pytest.approx(30 / 360)
    rest = np.argsort(-response * ~fires)[40:360]
    assert read[rest] == pytest.approx(20 / 320, abs=0.03)


def test_the_order_of_examples_and_units_changes_no_sample():
    random = np.random.default_rng(0)
    fires = random.random((6, 200)) < 0.1
    # Rectified: nearly all that is silent is exactly 0, and the nearest are told apart by chance.
    response = np.maximum(random.normal(size=(6, 200)) - 2, 0) + 9 * fires
    examples, units = [f"e{n}" for n in range(200)], [f"u{n}" for n in range(6)]
    first = sample_examples(response, fires, examples=examples, units=units, budget=40, seed=1)
    columns, rows = random.permutation(200), random.permutation(6)
    other = sample_examples(
        response[rows][:, columns],
        fires[rows][:, columns],
        examples=[examples[n] for n in columns],
        units=[units[n] for n in rows],
        budget=40,
        seed=1,
    )
    for place, unit in enumerate(rows):
        assert sorted(columns[other.rows[place]]) == first.rows[unit].tolist()
    again = sample_examples(response, fires, examples=examples, units=units, budget=40, seed=2)
    assert (again.rows != first.rows).any()
    alone = sample_examples(response[3:4], fires[3:4], examples=examples, units=units[3:4], budget=40, seed=1)
    assert (alone.rows == first.rows[3]).all()


def test_a_budget_too_small_is_refused():
    with pytest.raises(InputError, match=r"budget=5 .* give 12"):
        sampled(np.zeros(40), np.zeros(40, dtype=bool), seed=0, budget=5)


def test_weighted_estimates_hold_at_the_true_firing_rate_and_half_and_half_does_not():
    random = np.random.default_rng(0)
    response, fires, said = rare_unit(random)
    exact = {m: m(said[None], fires[None])[0] for m in (precision, recall, f1)}
    assert exact[precision] == pytest.approx(0.29, abs=0.03)
    sample = sampled(response, fires, seed=0, units=500)
    for measure, truth in exact.items():
        found = measure(said[sample.rows], fires[sample.rows], sample.weights)
        assert found.mean() == pytest.approx(truth, abs=0.04)
    # The usual sample: all 40 firing examples and 40 others, counted as they come.
    others = np.flatnonzero(~fires)
    halves = [
        np.concatenate([np.flatnonzero(fires), random.choice(others, 40, replace=False)]) for _ in range(500)
    ]
    shown = precision(said[np.stack(halves)], fires[np.stack(halves)])
    assert shown.mean() > 0.95


def test_stratified_intervals_cover_the_truth_about_as_often_as_they_say():
    # Units are drawn anew: the interval is for the F1 of the unit, not of these examples.
    random, covered, widths = np.random.default_rng(1), [], []
    truth = 2 * 0.008 / (0.01 + 0.008 + 0.99 * 0.02)
    for trial in range(150):
        fires = random.random(4000) < 0.01
        said = np.where(fires, random.random(4000) < 0.8, random.random(4000) < 0.02)
        sample = sampled(random.random(4000) + fires, fires, seed=trial)
        found = measure_skill(
            said[sample.rows], {}, fires[sample.rows], units=["u"], seed=trial, sample=sample
        )
        covered.append(found.low[0] <= truth <= found.high[0])
        widths.append(found.high[0] - found.low[0])
    assert 0.9 <= np.mean(covered) <= 1 and np.mean(widths) < 0.5


def test_errors_not_seen_in_a_small_sample_are_not_impossible():
    fires = np.zeros((1, 2000), dtype=bool)
    fires[0, :20] = True
    sample = sampled(fires[0] * 1.0, fires[0], seed=0, budget=50)
    right = np.take_along_axis(fires, sample.rows, 1)
    read_in_part = measure_skill(right, {}, right, units=["u"], seed=0, sample=sample)
    read_whole = measure_skill(fires, {}, fires, units=["u"], seed=0)
    assert (read_whole.value[0], read_whole.low[0]) == (1, 1)
    assert read_in_part.value[0] == 1 and 0.05 < read_in_part.low[0] < 0.6


def test_a_sample_of_everything_is_no_sample():
    response, fires, said = rare_unit(np.random.default_rng(0), examples=300, rate=0.1)
    sample = sampled(response, fires, seed=0, budget=300)
    answers = said[None].astype(np.float32)
    answers[0, ::7] = np.nan
    with_it = measure_skill(answers, {}, fires[None], units=["u"], seed=0, sample=sample)
    without = measure_skill(answers, {}, fires[None], units=["u"], seed=0)
    for name in ("value", "low", "high", "skill_low", "p", "n", "unanswered"):
        assert getattr(with_it, name)[0] == pytest.approx(getattr(without, name)[0])


def test_what_is_not_known_is_as_if_it_were_not_there():
    response, fires, said = rare_unit(np.random.default_rng(0), examples=300, rate=0.1)
    known = np.arange(300) % 3 > 0
    some = {"examples": [f"e{n}" for n in range(300)], "units": ["u0"], "seed": 0}
    for budget in (90, 250):
        both = sample_examples(response[None], fires[None], budget=budget, known=known[None], **some)
        ids = [id for id, own in zip(some["examples"], known, strict=True) if own]
        alone = sample_examples(
            response[known][None], fires[known][None], budget=budget, **(some | {"examples": ids})
        )
        read = both.strata[0] >= 0
        assert both.rows[0, read].tolist() == np.flatnonzero(known)[alone.rows[0]].tolist()
        assert (both.sizes == alone.sizes).all() and both.weights[0, read].tolist() == alone.weights[
            0
        ].tolist()
        # Answers about what stands there twice count once.
        found, expected = (
            measure_skill(
                said[rows][None].astype(float), {}, fires[rows][None], units=["u0"], seed=0, sample=sample
            )
            for rows, sample in ((both.rows[0], both), (np.flatnonzero(known)[alone.rows[0]], alone))
        )
        assert found.n == expected.n == min(budget, 200) and found.unanswered == 0
        assert found.value == expected.value and found.skill_low == expected.skill_low


def test_a_stratum_without_answers_leaves_nothing_to_say():
    response, fires, said = rare_unit(np.random.default_rng(0))
    sample = sampled(response, fires, seed=0)
    answers = np.where(sample.strata == NEAR, np.nan, said[sample.rows])
    found = measure_skill(answers, {}, fires[sample.rows], units=["u"], seed=0, sample=sample)
    assert np.isnan([found.value[0], found.skill[0], found.p[0]]).all()
    assert found.unanswered[0] == (sample.strata == NEAR).sum()

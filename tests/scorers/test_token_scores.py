from __future__ import annotations

import numpy as np
import pytest

from saywell.scorers.token_scores import Resampled


@pytest.fixture(scope="module")
def made():
    random = np.random.default_rng(0)
    text = np.sort(random.integers(0, 120, 3000))
    truth = random.random(3000) < 0.05
    said = truth & (random.random(3000) < 0.7) | (random.random(3000) < 0.01)
    return text, truth, said, random.random(3000)


def test_agreement_is_that_of_a_plain_count(made):
    text, truth, said, strength = made
    fired = np.flatnonzero(truth)
    floors = {"same": said.copy(), "every": np.ones(3000, dtype=bool), "other": np.roll(said, 7)}
    found = Resampled(text, 120).agreement(said, fired, strength[fired], floors)
    hits = sum(a and b for a, b in zip(said.tolist(), truth.tolist(), strict=True))
    assert found.precision.value == hits / said.sum() and found.recall.value == hits / truth.sum()
    assert found.f1.value == pytest.approx(2 * hits / (said.sum() + truth.sum()))
    assert found.activation == pytest.approx(strength[said & truth].sum() / strength[truth].sum())
    assert found.f1.low < found.f1.value < found.f1.high and 0.03 < found.f1.high - found.f1.low < 0.3
    # What points at the same is no floor, though it is told.
    assert found.floors["same"] == found.f1.value and found.floor == "every"
    assert (
        found.skill.value == pytest.approx(found.f1.value - found.floors["every"]) and found.skill.low > 0.4
    )


def test_words_of_one_text_are_no_independent_trials(made):
    text, truth, said, strength = made
    # Every text three times over, as three copies of each word in the same text.
    three = [np.tile(each, 3) for each in (text, truth, said, strength)]
    once, thrice = (
        Resampled(t, 120).agreement(s, np.flatnonzero(w), v[w], {"every": np.ones(len(t), dtype=bool)})
        for t, w, s, v in (made, three)
    )
    assert thrice.f1 == pytest.approx(once.f1)


def test_nothing_said_and_nothing_fired_have_no_agreement():
    empty = np.zeros(5, dtype=bool)
    found = Resampled(np.zeros(5, dtype=int), 1).agreement(
        empty, np.zeros(0, dtype=int), np.zeros(0), {"every": ~empty}
    )
    assert np.isnan(found.precision.value) and np.isnan(found.f1.value) and np.isnan(found.activation)

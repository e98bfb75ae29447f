from __future__ import annotations

import numpy as np
import pytest

from saywell.data.parts import DescribeRows, ScoreRows, SelectRows
from saywell.errors import LeakError
from saywell.scorers.floors import another_unit, nearest_sibling
from saywell.scorers.sampling import sample_examples
from saywell.scorers.scoring import Task, firing, score_units
from saywell.scorers.skill import verified

EXAMPLES, DIM = 1200, 96
SELECT, SCORE = SelectRows(np.arange(0, EXAMPLES, 2)), ScoreRows(np.arange(1, EXAMPLES, 2))


class World:
    """Units that respond along directions, and descriptions that point the same way."""

    def __init__(self, units=40, seed=0):
        random = np.random.default_rng(seed)
        self.texts = random.normal(size=(EXAMPLES, DIM)).astype(np.float32)
        self.described = random.normal(size=(units, DIM)).astype(np.float32)
        noise = random.normal(size=(units, EXAMPLES)) * 4
        self.response = self.described @ self.texts.T + noise
        self.at = np.quantile(self.response[:, SELECT.rows], 0.95, axis=1)
        self.units = [f"u{n}" for n in range(units)]
        self.fires = firing(self.response, self.at)
        self.floors = {
            "another": another_unit(self.units, self.units, seed=0),
            "nearest": nearest_sibling(self.units, self.described),
        }

    def predict(self, numbers, rows):
        if rows.ndim == 1:
            return self.described[numbers] @ self.texts[rows].T
        return np.stack([self.texts[r] @ self.described[n] for n, r in zip(numbers, rows, strict=True)])

    def score(self, **changes):
        block = changes.pop("block", 256)
        arguments = dict(select=SELECT, score=SCORE, floors=self.floors) | changes
        return score_units(
            Task(self.units, self.predict, self.fires, **arguments), seed=0, resamples=200, block=block
        )


@pytest.fixture(scope="module")
def world():
    return World()


def test_right_descriptions_have_skill_and_shuffled_ones_have_none(world):
    right = world.score().skill
    assert verified(right).mean() > 0.95 and right.skill.mean() > 0.3
    shuffled = world.score(own=np.roll(np.arange(40), 1)).skill
    assert not verified(shuffled).any()
    assert abs(shuffled.skill.mean()) < 0.1
    assert (shuffled.skill_low <= 0).mean() >= 0.95
    # Against one equally bad floor rather than the best of several, 0 is in the middle.
    even = world.score(own=np.roll(np.arange(40), 1), floors={"x": np.roll(np.arange(40), 9)}).skill
    assert ((even.skill_low <= 0) & (even.skill_high >= 0)).mean() >= 0.7
    assert abs(even.skill.mean()) < 0.03 and verified(even).mean() <= 0.05


def test_blocks_and_orders_change_nothing(world):
    whole = world.score()
    for block in (1, 7, 40):
        part = world.score(block=block)
        # A matrix product may round differently by its size; decisions hardly ever follow.
        assert part.skill.skill == pytest.approx(whole.skill.skill, abs=1e-6)
        assert part.skill.p == pytest.approx(whole.skill.p, abs=1e-6)
    turned = np.arange(40)[::-1]
    back = World()
    back.units = [world.units[n] for n in turned]
    found = score_units(
        Task(
            back.units,
            lambda numbers, rows: world.predict(turned[numbers], rows),
            lambda numbers, rows: world.fires(turned[numbers], rows),
            select=SELECT,
            score=SCORE,
            floors={name: turned[floor[turned]] for name, floor in world.floors.items()},
        ),
        seed=0,
        resamples=200,
    )
    assert found.skill.skill[turned] == pytest.approx(whole.skill.skill)
    assert found.skill.skill_low[turned] == pytest.approx(whole.skill.skill_low)
    examples = np.random.default_rng(0)
    mixed = world.score(
        select=SelectRows(examples.permutation(SELECT.rows)),
        score=ScoreRows(examples.permutation(SCORE.rows)),
    )
    assert mixed.skill.skill_low == pytest.approx(whole.skill.skill_low)


@pytest.mark.parametrize("kind", [DescribeRows, SelectRows])
def test_a_scorer_refuses_examples_that_are_not_for_scoring(world, kind):
    with pytest.raises(LeakError, match=f"got {kind.__name__} where ScoreRows"):
        world.score(score=kind(SCORE.rows))


@pytest.mark.parametrize("kind", [DescribeRows, ScoreRows])
def test_thresholds_are_fitted_on_selection_examples_only(world, kind):
    with pytest.raises(LeakError, match=f"got {kind.__name__} where SelectRows"):
        world.score(select=kind(SELECT.rows))


def test_an_example_in_both_parts_is_refused(world):
    with pytest.raises(LeakError, match="example 0 and 1 more are in both"):
        world.score(score=ScoreRows(np.array([0, 1, 2])))


def test_thresholds_see_no_score_examples(world):
    asked = []

    def fires(numbers, rows):
        truth = world.fires(numbers, rows).copy()
        truth[:, np.isin(rows, SCORE.rows)] ^= True
        asked.append(rows)
        return truth

    turned = score_units(
        Task(world.units, world.predict, fires, select=SELECT, score=SCORE, floors={}), seed=0, resamples=10
    )
    assert (turned.thresholds == world.score().thresholds).all()
    assert sum(np.isin(rows, SCORE.rows).any() for rows in asked) == 1


def test_a_floor_is_calibrated_to_the_unit(world):
    # The right description on another scale: as a floor with its own threshold it is as good.
    def predict(numbers, rows):
        scaled = world.predict(numbers % 40, rows)
        return np.where((numbers >= 40)[:, None], 100 + scaled / 50, scaled)

    found = score_units(
        Task(
            world.units,
            predict,
            world.fires,
            select=SELECT,
            score=SCORE,
            floors={"scaled": np.arange(40, 80)},
        ),
        seed=0,
        resamples=50,
    )
    assert found.skill.skill == pytest.approx(np.zeros(40), abs=0.02)
    assert not verified(found.skill).any()


def test_a_paraphrase_is_no_floor_and_what_reads_like_everything_keeps_one(world):
    # Descriptions 40 to 79 say what 0 to 39 say in nearly the same direction.
    random = np.random.default_rng(3)
    described = np.concatenate([world.described, world.described * random.uniform(0.97, 1.03, (40, DIM))])

    def predict(numbers, rows):
        return described[numbers] @ world.texts[rows].T

    def score(floor, block=7):
        return score_units(
            Task(world.units, predict, world.fires, select=SELECT, score=SCORE, floors={"other": floor}),
            seed=0,
            resamples=100,
            block=block,
        )

    wordings, others = np.arange(40, 80), np.roll(np.arange(40), 11)
    alone, fixed = score(others), score(wordings)
    assert not verified(fixed.skill).any() and not fixed.left_out["other"].any()
    found = score(np.stack([wordings, others], axis=1))
    assert found.left_out["other"].tolist() == [1] * 40
    assert (found.stand_ins["other"] == others).all()
    assert (found.skill.skill == alone.skill.skill).all() and verified(found.skill).mean() > 0.9
    assert (found.skill.p == score(np.stack([wordings, others], axis=1), 40).skill.p).all()
    # Nothing else to stand in: the paraphrase does.
    only = score(np.stack([wordings, wordings, np.full(40, -1)], axis=1))
    assert not only.left_out["other"].any() and (only.stand_ins["other"] == wordings).all()
    assert (only.skill.skill == fixed.skill.skill).all()


def test_units_without_a_floor(world):
    floors = {"nearest": world.floors["nearest"].copy()}
    floors["nearest"][::2] = -1
    found = world.score(floors=floors).skill
    assert np.isnan(found.floors["nearest"]).tolist() == [True, False] * 20
    assert (found.n == len(SCORE)).all()
    alone = world.score(floors={}).skill
    assert (found.skill[::2] == alone.skill[::2]).all()


def test_samples_estimate_what_reading_everything_would_show(world):
    def sample(part, seed):
        rows = part.rows
        return sample_examples(
            world.response[:, rows],
            world.response[:, rows] >= world.at[:, None],
            examples=[str(n) for n in rows],
            units=world.units,
            budget=200,
            seed=seed,
        )

    whole = world.score().skill
    found = world.score(samples=(sample(SELECT, 0), sample(SCORE, 1)), block=9).skill
    assert found.n.tolist() == [200] * 40
    assert found.value.mean() == pytest.approx(whole.value.mean(), abs=0.05)
    assert np.mean(found.high - found.low) > np.mean(whole.high - whole.low)
    wrong = world.score(own=np.roll(np.arange(40), 1), samples=(sample(SELECT, 0), sample(SCORE, 1)))
    assert not verified(wrong.skill).any()


def test_no_units():
    nothing = np.zeros((0, EXAMPLES))
    found = score_units(
        Task(
            [],
            lambda numbers, rows: np.zeros((len(numbers), len(rows))),
            firing(nothing, nothing[:, 0]),
            select=SELECT,
            score=SCORE,
            floors={"x": np.zeros(0, int)},
        ),
        seed=0,
    )
    assert found.skill.value.shape == found.thresholds.shape == (0,)

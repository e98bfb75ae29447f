"""The target's choice among statements: clear ones, each of which says something else, none by luck alone."""

import numpy as np
import pytest
import scipy.sparse as sp

from saywell.selection.by_target import FEWEST_TESTS, OVERLAP, Statements, choose


def made(rows, prices=None, said=None):
    rows = np.asarray(rows, dtype=np.float32)
    prices = np.ones(len(rows)) if prices is None else np.asarray(prices, dtype=float)
    said = np.arange(len(rows)) if said is None else np.asarray(said)
    return Statements(sp.csr_matrix(rows), prices, said)


def asked(rows, values, **options):
    """The z of a plain correlation, and what is to be explained."""
    statements = made(rows, **options)
    values = np.atleast_2d(values)
    z = statements.with_values(values) * np.sqrt(values.shape[1])
    return z, values - values.mean(1, keepdims=True), statements


def numbers(chosen):
    return [one.statement for one in chosen]


@pytest.fixture
def draw():
    return np.random.default_rng(3)


def test_the_clearest_come_first_with_the_outcome_and_direction_they_go_with(draw):
    rows = draw.random((40, 600)) < 0.3
    first, second = 2.0 * rows[7] - 1.5 * rows[20], 1.0 * rows[31]
    noise = draw.normal(size=(2, 600)) / 2
    chosen = choose(*asked(rows, np.array([first, second]) + noise), most=3)
    assert {(one.statement, one.outcome, np.sign(one.z)) for one in chosen} == {
        (7, 0, 1),
        (20, 0, -1),
        (31, 1, 1),
    }
    assert [abs(one.z) for one in chosen] == sorted((abs(one.z) for one in chosen), reverse=True)


def test_of_statements_about_the_same_items_the_one_that_is_said_most_simply_stands_for_all(draw):
    base = draw.random(500) < 0.3
    near = base.copy()
    near[np.flatnonzero(base)[:3]] = False
    rows = np.vstack([base, near, draw.random((30, 500)) < 0.3])
    values = base + draw.normal(size=500) / 3
    assert numbers(choose(*asked(rows, values, prices=[3, 1, *[1] * 30]), most=1)) == [1]
    assert numbers(choose(*asked(rows, values, prices=[1, 3, *[1] * 30]), most=1)) == [0]
    everything = numbers(choose(*asked(rows, values), most=30))
    assert not {0, 1} <= set(everything)


def test_the_same_words_are_never_said_twice(draw):
    rows = draw.random((30, 500)) < 0.3
    values = rows[0] + rows[1] + draw.normal(size=500) / 4
    assert set(numbers(choose(*asked(rows, values), most=2))) == {0, 1}
    said = np.arange(30)
    said[1] = 0
    assert {0, 1} - set(numbers(choose(*asked(rows, values, said=said), most=30)))


def test_no_two_that_are_chosen_overlap(draw):
    parts = draw.random((12, 800)) < 0.3
    mixed = [parts[a] | parts[b] for a in range(12) for b in range(a)]
    rows = np.vstack([parts, mixed])
    values = parts[:6].sum(0) + draw.normal(size=800)
    chosen = numbers(choose(*asked(rows, values), most=60))
    alike = np.abs(np.corrcoef(rows[chosen])) - np.eye(len(chosen))
    assert len(chosen) > 10 and alike.max() < OVERLAP


def test_what_is_left_unexplained_is_sought_before_more_of_the_same(draw):
    """Ten mixtures with a strong cause are clearer than a weak cause by itself, and tell nothing new."""
    strong, weak = draw.random((2, 2000)) < 0.4
    mixtures = [strong ^ (draw.random(2000) < 0.25) for _ in range(10)]
    rows = np.vstack([strong, weak, mixtures])
    values = 2.0 * strong + 0.35 * weak + draw.normal(size=2000) / 2
    z, residuals, statements = asked(rows, values)
    assert (np.abs(z[2:, 0]) > abs(z[1, 0])).all()
    assert {0, 1} <= set(numbers(choose(z, residuals, statements, most=3)))


def test_few_are_tested_where_nothing_promises_anything_and_rare_ones_never(draw):
    rows = draw.random((2000, 400)) < 0.3
    chosen = choose(*asked(rows, draw.normal(size=400)), most=80)
    assert 1 <= len(chosen) <= FEWEST_TESTS + 3
    rare = np.zeros((1, 400))
    rare[0, :5] = 1
    values = 5.0 * rare[0] + draw.normal(size=400) / 10
    assert choose(*asked(rare, values), most=5) == []
    assert choose(*asked(np.ones((1, 400)), values), most=5) == []


def test_nothing_depends_on_where_else_a_statement_is_known_to_go(draw):
    rows = draw.random((60, 500)) < 0.3
    values = rows[:3].sum(0) + draw.normal(size=500)
    z, residuals, statements = asked(rows, values)
    order = draw.permutation(60)
    moved = Statements(statements.readings[order], statements.prices[order], statements.said[order])
    again = choose(z[order], residuals, moved, most=8)
    assert [order[n] for n in numbers(again)] == numbers(choose(z, residuals, statements, most=8))
    z[5] = np.nan
    assert 5 not in numbers(choose(z, residuals, statements, most=60))

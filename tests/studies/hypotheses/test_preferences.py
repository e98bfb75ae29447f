"""What differs between two texts, who goes by what, and which answers are doubted: with a truth that is known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import sparse, special

from saywell.data.examples import REJECTED, Examples
from saywell.scorers.null_model import null_model
from saywell.scorers.outcomes import Outcome
from saywell.selection.by_target import Choice
from saywell.studies.hypotheses.items import Asked, Items
from saywell.studies.hypotheses.preferences import argued, measurable, rater_weights
from saywell.studies.hypotheses.tables import ARGUED, BY_RATER, MEASURABLE, RATERS
from saywell.studies.hypotheses.testing import order_and_repeats


def asked_of(values, *, raters=None, covariates=None, clusters=None, pairs=True, kind="binary"):
    """Items in random parts, without words: nothing here looks at them."""
    n = len(values)
    parts = np.random.default_rng(9).choice(["describe", "select", "score"], n, p=[0.25, 0.25, 0.5])
    table = pl.DataFrame({"id": [f"{i:016x}" for i in range(2 * n)]})
    examples = Examples(table, "text", "", REJECTED.empty(), 2 * n)
    second = np.arange(n, 2 * n) if pairs else None
    return Asked(
        examples=examples,
        items=Items(np.arange(n), second, parts, 1000 + np.arange(n)),
        outcomes=(Outcome("target", kind, values),),
        covariates=np.zeros((n, 0)) if covariates is None else covariates,
        clusters=clusters,
        raters=None if raters is None else pl.Series("by", raters),
    )


def rated(n, hypotheses, raters, spread, seed, *, real=False):
    """Differences, who rates, the outcome, and the weights of each rater that made it."""
    random = np.random.default_rng(seed)
    readings = random.choice([-1.0, 0, 1], (hypotheses, n), p=[0.2, 0.6, 0.2])
    by = random.integers(raters, size=n)
    weights = np.linspace(-0.8, 0.8, hypotheses) + spread * random.normal(size=(raters, hypotheses))
    told = 0.1 + np.sum(weights[by] * readings.T, axis=1)
    values = told + random.normal(size=n) if real else (random.random(n) < special.expit(told)).astype(float)
    return readings, by, values, weights


def names(number):
    return [f"h{i + 1}" for i in range(number)]


# ---- measurable


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_what_differs_and_what_is_favoured_are_counted_pair_by_pair(form):
    #          both or none, first alone, second alone; the first is favoured in pairs 0, 1, 2, 5
    outcome = Outcome("target", "binary", np.array([1.0, 1, 1, 0, 0, 1, np.nan]))
    differences = np.array([[1.0, 0, -1, -1, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, -1, 0, -1]])
    null = null_model(outcome)
    candidates = pl.DataFrame(
        {"unit": ["u1", "u2", "u3"], "found_by": "claims", "text": ["A", "B", "C"], "claim": ["a", None, "c"]}
    )
    table = MEASURABLE.check(measurable(candidates, form(differences[:, null.rows]), null))
    assert table["unit"].to_list() == ["u3", "u1", "u2"]
    rows = {row["unit"]: row for row in table.iter_rows(named=True)}
    assert rows["u1"]["differs"] == pytest.approx(3 / 6) and rows["u3"]["differs"] == pytest.approx(5 / 6)
    assert rows["u1"]["first"] == pytest.approx(1 / 3) and rows["u3"]["first"] == pytest.approx(4 / 5)
    # u1: pair 0 with it, 2 against it, 3 with it; u3: 0, 1, 2 with it, 3 against, 4 with it.
    assert rows["u1"]["expressed"] == pytest.approx(2 / 3) and rows["u3"]["expressed"] == pytest.approx(4 / 5)
    assert rows["u1"]["z"] > 0 and rows["u3"]["z"] > 0
    assert rows["u2"]["differs"] == 0 and rows["u2"]["expressed"] is None and rows["u2"]["z"] is None


def test_a_text_that_was_not_read_is_no_text_without():
    outcome = Outcome("target", "binary", np.array([1.0, 0, 1, 0, 1, 0]))
    candidates = pl.DataFrame({"unit": ["u"], "found_by": ["llm"], "text": ["A"], "claim": [None]}).cast(
        {"claim": pl.String}
    )
    table = measurable(candidates, np.array([[1.0, -1, 1, 0, np.nan, np.nan]]), null_model(outcome))
    assert table["differs"][0] == pytest.approx(3 / 4) and table["expressed"][0] == 1


# ---- raters


def gains(table):
    return {row["model"]: row for row in table.iter_rows(named=True)}


@pytest.mark.parametrize("real", [False, True])
def test_weights_drawn_to_all_beat_one_weight_for_all_and_one_for_each_where_raters_differ(real):
    readings, by, values, truth = rated(2000, 6, 20, 0.9, 1, real=real)
    asked = asked_of(values, raters=[f"r{r}" for r in by], kind="real" if real else "binary")
    weights, told = rater_weights(asked, asked.outcomes[0], names(6), readings)
    found = gains(BY_RATER.check(told))
    assert found["weights"]["ci_low"] > 0.02
    assert found["weights"]["loss"] < min(
        found["all"]["loss"], found["level"]["loss"], found["alone"]["loss"]
    )
    assert found["all"]["gain"] == 0 and abs(found["level"]["gain"]) < 0.01
    assert found["weights"]["value"] > found["all"]["value"] + 0.02
    assert found["weights"]["measure"] == ("R2" if real else "AUC")
    assert RATERS.check(weights).height == 20 * 6
    meant = truth[[int(r[1:]) for r in weights["rater"]], [int(h[1:]) - 1 for h in weights["hypothesis"]]]
    assert np.corrcoef(meant, weights["weight"])[0, 1] > 0.85
    assert weights["n"].sum() == 6 * np.isin(asked.items.parts, ["describe", "select"]).sum()
    within = (weights["ci_low"].to_numpy() <= meant) & (meant <= weights["ci_high"].to_numpy())
    assert within.mean() > 0.85


@pytest.mark.parametrize("seed", [0, 7])
def test_raters_who_do_not_differ_cost_nothing(seed):
    readings, by, values, _ = rated(1200, 6, 15, 0.0, seed)
    asked = asked_of(values, raters=by)
    weights, told = rater_weights(asked, asked.outcomes[0], names(6), readings)
    found = gains(told)
    assert abs(found["weights"]["gain"]) < 1e-4
    assert found["alone"]["gain"] < -0.05
    assert (weights["weight"] - weights["of_all"]).abs().max() < 1e-3


def test_a_rater_of_few_items_is_drawn_to_all_and_one_never_seen_goes_by_all():
    readings, by, values, _ = rated(3000, 4, 10, 1.0, 3)
    asked = asked_of(values, raters=by)
    train = np.flatnonzero(np.isin(asked.items.parts, ["describe", "select"]))
    by[train[by[train] == 0][3:]] = 1  # three items of rater 0 are left to learn from
    by[train[by[train] == 2]] = 3  # and none of rater 2
    asked = asked_of(values, raters=by)
    weights, told = rater_weights(asked, asked.outcomes[0], names(4), readings)
    away = {
        rater[0]: (rows["weight"] - rows["of_all"]).abs().mean()
        for rater, rows in weights.group_by("rater", maintain_order=True)
    }
    assert "2" not in away
    assert away["0"] < min(away[r] for r in away if r != "0")
    assert told["n"].unique().to_list() == [int((asked.items.parts == "score").sum())]


def test_nothing_depends_on_the_order_of_items_and_unread_or_unnamed_ones_are_used_as_they_can():
    readings, by, values, _ = rated(600, 3, 8, 0.8, 5)
    raters = [None if i % 7 == 0 else f"r{r}" for i, r in enumerate(by)]
    readings[0, ::5] = np.nan
    values[::11] = np.nan
    asked = asked_of(values, raters=raters)
    first = rater_weights(asked, asked.outcomes[0], names(3), readings)
    turn = np.random.default_rng(0).permutation(600)
    items = Items(asked.items.first[turn], asked.items.second[turn], asked.items.parts[turn], turn)
    other = Asked(
        examples=asked.examples,
        items=items,
        outcomes=(Outcome("target", "binary", values[turn]),),
        covariates=asked.covariates,
        clusters=turn,
        raters=pl.Series([raters[i] for i in turn], dtype=pl.String),
    )
    clustered = Asked(**{**vars(asked), "clusters": np.arange(600)})
    again = rater_weights(clustered, asked.outcomes[0], names(3), readings)
    assert again.weights.equals(first.weights) and again.gains.equals(first.gains)
    second = rater_weights(other, other.outcomes[0], names(3), readings[:, turn])
    np.testing.assert_allclose(first.weights["weight"], second.weights["weight"], atol=1e-3)
    counted = [
        sum(r == name for i, r in enumerate(raters) if asked.items.parts[i] != "score" and i % 11)
        for name in first.weights["rater"].unique(maintain_order=True)
    ]
    assert first.weights["n"].gather_every(3).to_list() == counted


def test_without_hypotheses_or_with_one_outcome_only_nothing_is_said():
    readings, by, values, _ = rated(60, 2, 3, 0.5, 0)
    asked = asked_of(values, raters=by)
    assert all(t.is_empty() for t in rater_weights(asked, asked.outcomes[0], [], readings[:0]))
    alike = asked_of(np.ones(60), raters=by)
    assert all(t.is_empty() for t in rater_weights(alike, alike.outcomes[0], names(2), readings))


# ---- argued


@pytest.mark.parametrize("pairs", [True, False])
def test_planted_slips_come_first(pairs):
    random = np.random.default_rng(4)
    n = 1500
    readings = (
        random.choice([-1.0, 0, 1], (6, n), p=[0.3, 0.4, 0.3])
        if pairs
        else (random.random((6, n)) < 0.4) * 1.0
    )
    told = 2.0 * (np.linspace(-1, 1, 6) @ (readings - readings.mean(1, keepdims=True)))
    clean = (random.random(n) < special.expit(2 * told)).astype(float)
    flipped = random.random(n) < 0.1
    values = np.where(flipped, 1 - clean, clean)
    asked = asked_of(values, pairs=pairs)
    table = ARGUED.check(argued(asked, asked.outcomes[0], names(6), readings))
    at = table["item"].cast(pl.Int64).to_numpy() - 1000
    assert flipped[at[:50]].mean() > 0.8 and flipped.mean() < 0.12
    assert (np.diff(table["odds"].to_numpy()) <= 0).all() and table["odds"].min() > 1
    assert table["said"].to_list() == values[at].tolist()
    chance = np.where(values[at] == 1, table["predicted"], 1 - table["predicted"].to_numpy())
    np.testing.assert_allclose(table["odds"], (1 - chance) / chance)
    assert table["first"][0] == f"{at[0]:016x}"
    assert table["second"][0] == (f"{at[0] + n:016x}" if pairs else None)
    if pairs:
        for item, argue in zip(at[:50], table["hypotheses"], strict=False):
            push = np.linspace(-1, 1, 6) * readings[:, item] * (1 - 2 * values[item])
            assert len(argue) and all(push[int(name[1:]) - 1] > 0 for name in argue)


def test_a_taste_is_no_slip_and_length_alone_argues_against_nobody():
    random = np.random.default_rng(6)
    n = 1200
    readings = random.choice([-1.0, 0, 1], (2, n))
    by = random.integers(10, size=n)
    weight = np.where(by == 0, -3.0, 3.0)  # one rater favours the contrary of what others do
    length = random.normal(size=(n, 1))
    values = (random.random(n) < special.expit(weight * readings[0] + 2 * length[:, 0])).astype(float)
    known = asked_of(values, raters=by, covariates=length)
    named = argued(known, known.outcomes[0], names(2), readings)
    unnamed = argued(asked_of(values, covariates=length), known.outcomes[0], names(2), readings)
    own = [
        (by[table["item"].cast(pl.Int64).to_numpy()[:60] - 1000] == 0).mean() for table in (named, unnamed)
    ]
    assert own[0] < 0.25 and own[1] > 0.6
    at = named["item"].cast(pl.Int64).to_numpy() - 1000
    assert (readings[:, at] != 0).any(0).all()


def test_copies_are_never_told_by_one_another():
    """Of two items with one reading of their own, in one cluster, neither teaches the model about the other."""
    random = np.random.default_rng(7)
    n = 300
    readings = np.zeros((2, n))
    readings[0] = random.choice([-1.0, 1], n)
    readings[1, :40] = 1  # always the second is favoured, by items of one cluster
    values = (readings[0] > 0).astype(float)
    values[:40] = 0
    together = asked_of(values, clusters=np.r_[np.zeros(40, int), np.arange(1, n - 39)])
    apart = asked_of(values)
    found = [
        set(argued(asked, asked.outcomes[0], names(2), readings)["item"].cast(pl.Int64) - 1000)
        for asked in (together, apart)
    ]
    assert len(found[0] & set(range(40))) > 10 and not found[1] & set(range(40))


# ---- what repeats another


@pytest.mark.parametrize("pairs", [False, True])
def test_a_part_of_another_repeats_it_unless_it_says_more(pairs):
    random, n = np.random.default_rng(4), 4000
    whole = (random.random(n) < 0.2).astype(float)
    part, telling, apart = (of * (random.random(n) < 0.12) for of in (whole, whole, 1 - whole))
    most = (random.random(n) < 0.9).astype(float)
    readings = np.array([whole, part, telling, apart, most])
    signs = random.choice([-1.0, 1], n) if pairs else np.ones(n)
    told = whole + 3 * telling + 2 * apart + 0.5 * most
    readings = readings * signs
    values = told * signs + random.normal(size=n)
    asked = asked_of(values, kind="real", pairs=pairs)
    choice, shown = [Choice(i, 0, 9.0) for i in range(5)], np.ones(5, dtype=bool)
    order, repeated = order_and_repeats(asked, choice, readings, shown)
    assert sorted(order) == [1, 2, 3, 4, 5]
    assert repeated == [None, 0, None, None, None]
    # What is verified does not go out of sight behind what is not.
    assert order_and_repeats(asked, choice, readings, np.arange(5) > 0)[1] == [None] * 5
    assert order_and_repeats(asked, choice, readings, ~shown)[1] == repeated

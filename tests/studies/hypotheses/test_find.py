"""A whole study of hypotheses, on texts of which it is known what goes with what."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
import torch
from threadpoolctl import threadpool_limits

import saywell.store.study as store
from saywell.data.examples import REJECTED, Examples
from saywell.encoders.sentence import encode_in_chunks
from saywell.errors import InputError, StudyError
from saywell.scorers.outcomes import Outcome
from saywell.selection.by_target import Choice
from saywell.store.study import Study
from saywell.studies import spine
from saywell.studies.audit import audit_study
from saywell.studies.hypotheses import find_hypotheses, pool
from saywell.studies.hypotheses.items import Asked, Items
from saywell.studies.hypotheses.testing import put_to_test, statuses

SHOPS = ("near", "far")
FILLER = "the was it a there some clean dirty bed soup phone cheap dear staff waiter price".split()
ASKED = dict(target="stars", tests=12, shuffles=4)


@pytest.fixture(scope="module")
def reviews():
    """Stars are 1 more with "window", 1 less with "table", and 4 less of the shop where "window" is commoner."""
    random = np.random.default_rng(3)
    rows = []
    for _ in range(480):
        far = random.random() < 0.5
        window, table = random.random() < (0.65 if far else 0.2), random.random() < 0.35
        words = [*["window"] * window, *["table"] * table, *random.choice(FILLER, 8)][:8]
        stars = 7 + window - table - 4 * far + random.normal(0, 0.5)
        rows.append((" ".join(random.permutation(words)), SHOPS[far], stars))
    return pl.DataFrame(rows, schema=["text", "shop", "stars"], orient="row")


@pytest.fixture(scope="module", autouse=True)
def words_only():
    """Without the page, which takes as long as the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spine, "write_report", lambda study: study.path.joinpath("report.html").touch())
        yield


@pytest.fixture(scope="module")
def study(reviews, encoder, tmp_path_factory):
    out = tmp_path_factory.mktemp("found") / "s"
    return find_hypotheses(reviews, out=out, encoder=encoder, covariate="shop", **ASKED)


def about(found, word):
    """The hypothesis that a text has a word."""
    return found.row(by_predicate=pl.col("claim") == f'word("{word}")', named=True)


# ---- what is found


def test_what_was_planted_is_found_with_what_hides_it_held_equal(study):
    found = study.hypotheses
    window, table = about(found, "window"), about(found, "table")
    assert (
        (window["status"], window["direction"]) == (table["status"], -table["direction"]) == ("verified", 1)
    )
    assert window["ci_low"] < 1 < window["ci_high"] and table["ci_low"] < -1 < table["ci_high"]
    assert window["effect_alone"] < 0
    of = found.filter(pl.col("repeats").is_null(), status="verified")["claim"]
    assert all("window" in claim or "table" in claim for claim in of)
    assert study.table("shuffled_targets")["verified"].sum() == 0
    assert set(study.table("statements")["found_by"]) == {"claims", "latents", "topics"}


def test_it_is_the_other_way_without_it_and_nothing_where_stars_are_dealt_out(reviews, encoder, tmp_path):
    plain = find_hypotheses(reviews, out=tmp_path / "plain", encoder=encoder, **ASKED).hypotheses
    assert about(plain, "window")["direction"] == -1
    dealt = reviews.with_columns(pl.col("stars", "shop").shuffle(seed=0))
    none = find_hypotheses(dealt, out=tmp_path / "none", encoder=encoder, covariate="shop", **ASKED)
    assert not none.hypotheses.is_empty() and "verified" not in none.hypotheses["status"]


def test_what_covariates_tell_is_not_told_apart_and_what_nothing_tells_is_too_few():
    random = np.random.default_rng(0)
    shop, noise = random.integers(2, size=200), random.integers(2, size=200)
    examples = Examples(
        pl.DataFrame({"id": [f"{n:016x}" for n in range(200)]}), "text", "", REJECTED.empty(), 200
    )
    items = Items(np.arange(200), None, np.repeat(["score"], 200), np.arange(200))
    stars = Outcome("stars", "real", 3 * noise + random.normal(size=200))
    asked = Asked(examples, items, (stars,), shop[:, None].astype(float))
    mostly = np.where(np.arange(200) < 4, 1 - shop, shop)  # of the shop save for four
    readings = np.array([shop, mostly, noise, np.zeros(200), random.integers(2, size=200)])
    choice = [Choice(n, 0, 3.0) for n in range(len(readings))]
    tested = put_to_test(asked, choice, readings.astype(float), 0)
    assert statuses(tested, choice) == [
        *("not told apart", "not told apart", "verified", "too few", "not shown")
    ]
    assert np.isnan(tested.p[[0, 1, 3]]).all() and not np.isnan(tested.p[[2, 4]]).any()


@pytest.fixture(scope="module")
def preferences(encoder, tmp_path_factory):
    """All raters favour the text with "table"; that with "window" half of them do, who say more before the test."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(640):
        split = ("train", "validation", "test", "test")[number % 4]
        fond = random.random() < (0.5 if split == "test" else 0.7)
        has = random.random((2, 2)) < 0.4
        said = [[*["window"] * int(w), *["table"] * int(t), *random.choice(FILLER, 8)][:8] for w, t in has]
        window, table = has[0].astype(int) - has[1]
        told = 1.5 * table + (3 if fond else -3) * window
        better = "ab"[int(random.random() > 1 / (1 + np.exp(-told)))]
        rows.append((*map(" ".join, said), better, f"{'fond' if fond else 'not'} {number // 4 % 4}", split))
    pairs = pl.DataFrame(rows, schema=["a", "b", "better", "by", "split"], orient="row")
    asked = dict(text="a", pair="b", target="better", by="by", split="split", tests=12, shuffles=2)
    return find_hypotheses(pairs, out=tmp_path_factory.mktemp("pairs") / "s", encoder=encoder, **asked)


def test_what_divides_raters_is_told_of_them_though_it_is_not_verified(preferences):
    found = preferences.hypotheses
    window, table = about(found, "window"), about(found, "table")
    assert (window["status"], table["status"]) == ("not shown", "verified")
    weights = preferences.table("raters")
    assert set(weights["hypothesis"]) == set(found.filter(pl.col("repeats").is_null())["hypothesis"])
    own = weights.filter(hypothesis=window["hypothesis"])
    fond = own["rater"].str.starts_with("fond")
    assert fond.sum() == (~fond).sum() == 4
    assert (own["weight"].filter(fond) > 1).all() and (own["weight"].filter(~fond) < -1).all()
    gain = preferences.table("by_rater").filter(model="weights").row(0, named=True)
    assert gain["ci_low"] > 0


# ---- what a study says follows from what it keeps


@pytest.mark.parametrize(
    ("of", "has_encoder"), [("study", False), ("preferences", True), ("preferences", False)]
)
def test_all_that_is_said_is_derived_again(request, of, has_encoder, encoder, monkeypatch):
    def opened(name):
        if not has_encoder:
            raise InputError(f"there is no {name!r} here")
        return encoder

    monkeypatch.setattr("saywell.resources.open_sentence_encoder", opened)
    found = request.getfixturevalue(of)
    checks = audit_study(found)
    assert checks.filter(status="failed").rows() == []
    derived = {check.split()[1] for check in checks["check"] if check.endswith("derived again")}
    assert set(found.manifest.tables) - derived == {
        *("examples", "rejected", "outcomes", "items", "scores", "floors", "counterexamples")
    }
    figures = {check.removeprefix("figure ") for check in checks["check"] if check.startswith("figure")}
    assert figures == {metric.name for metric in found.headline()}


@pytest.mark.parametrize(
    "changed",
    [
        {"hypotheses": {"effect": 1.3}, "shuffled_targets": {"verified": 7}, "joint": {"value": 0.9}},
        {"hypotheses": {"status": "not shown"}, "power": {"needed": 3}, "evidence": {"value": 2.0}},
        {"hypotheses": {"q": 0.04}, "descriptions": {"text": "others"}, "statements": {"share": 0.9}},
    ],
)
def test_a_changed_table_is_told(study, put_tables, tmp_path, changed):
    copy = shutil.copytree(study.path, tmp_path / "s")
    first = pl.int_range(pl.len()) == 0
    tables = {
        name: study.table(name).with_columns(
            pl.when(first)
            .then(pl.lit(value, study.table(name).schema[column]))
            .otherwise(column)
            .alias(column)
            for column, value in cells.items()
        )
        for name, cells in changed.items()
    }
    found = audit_study(Study(put_tables(copy, **tables))).filter(status="failed")
    for name, cells in changed.items():
        (told,) = found.filter(check=f"table {name} derived again")["detail"]
        assert next(iter(cells)) in told


def test_hypotheses_are_of_a_study_of_hypotheses(study, put_tables, tmp_path):
    assert study.hypotheses.equals(study.table("hypotheses"))
    other = Study(put_tables(shutil.copytree(study.path, tmp_path / "s"), hypotheses=None))
    with pytest.raises(StudyError, match="no table 'hypotheses'; its tables are"):
        _ = other.hypotheses


# ---- nothing but what is asked decides


def same(study, other, but=()):
    """Whether two studies have the same tables and figures."""
    assert set(study.manifest.tables) == set(other.manifest.tables)
    for name in study.manifest.tables:
        assert other.table(name).drop(but, strict=False).equals(study.table(name).drop(but, strict=False)), (
            name
        )
    assert [m.model_dump() for m in other.headline()] == [m.model_dump() for m in study.headline()]


class Stop(BaseException):
    pass


def test_a_run_that_was_stopped_goes_on_to_the_same_tables(study, reviews, encoder, tmp_path, monkeypatch):
    commit = store.StudyWriter._commit
    for last in ("statements", "activations", "hypotheses"):

        def stopping(writer, name, *rest, last=last):
            commit(writer, name, *rest)
            if name == last:
                raise Stop

        with monkeypatch.context() as patch, pytest.raises(Stop):
            patch.setattr(store.StudyWriter, "_commit", stopping)
            find_hypotheses(reviews, out=tmp_path / "s", encoder=encoder, covariate="shop", **ASKED)
        assert list(Study(tmp_path / "s").manifest.steps)[-1] == last
    again = find_hypotheses(reviews, out=tmp_path / "s", encoder=encoder, covariate="shop", **ASKED)
    same(study, again)


def test_order_threads_and_batches_decide_nothing(study, reviews, encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(pool, "_TEXTS", 100)
    monkeypatch.setattr(
        "saywell.resources.encode_in_chunks", lambda *of, **how: encode_in_chunks(*of, chunk=70)
    )
    with threadpool_limits(2):
        torch.set_num_threads(2)
        try:
            mixed = reviews.sample(fraction=1, shuffle=True, seed=2)
            other = find_hypotheses(mixed, out=tmp_path / "s", encoder=encoder, covariate="shop", **ASKED)
        finally:
            torch.set_num_threads(1)
    same(study, other, but=("item", "row"))  # by their numbers in the source

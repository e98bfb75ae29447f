"""What is asked about: items of texts and pairs, their outcomes, what is held equal, and their parts."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest

from saywell.data.covariates import log_words
from saywell.data.parts import PARTS
from saywell.errors import InputError
from saywell.studies.hypotheses.asked import load_asked
from saywell.studies.settings import HypothesisSettings

WORDS = ["battery", "screen", "waiter", "soup", "parcel", "refund", "quiet", "slow", "kind", "again"]


def sentences(n, seed=0):
    """n different sentences, none near another, of different lengths."""
    draw = random.Random(seed)
    return [
        " ".join([*draw.choices(WORDS, k=6 + i % 7), f"no{i}x{seed}", f"of{i}", f"day{i}"]) for i in range(n)
    ]


def frame(n=80, seed=0, **columns):
    texts = sentences(n, seed)
    return pl.DataFrame({"text": texts, **{name: make(n) for name, make in columns.items()}}, strict=False)


def pairs(n=40, **columns):
    return pl.DataFrame(
        {
            "a": sentences(n, 1),
            "b": sentences(n + 3, 2)[3:],
            **{name: make(n) for name, make in columns.items()},
        }
    )


def cycle(*values):
    return lambda n: [values[i % len(values)] for i in range(n)]


def asked(source, versus=None, **options):
    return load_asked(source, HypothesisSettings(**options), versus)


def said(found, source, outcome=0):
    """What the outcome is of each row of the source, by the text: independent of how items are kept."""
    values = dict(zip(found.items.rows.tolist(), found.outcomes[outcome].values.tolist(), strict=True))
    return [values[row] for row in range(len(source))]


def test_texts_with_a_target_are_items_with_an_outcome():
    source = frame(stars=cycle(1, 5, 3))
    found = asked(source, target="stars")
    assert said(found, source) == source["stars"].to_list()
    texts = found.examples.texts
    assert [texts[i] for i in found.items.first] == [source["text"][int(r)] for r in found.items.rows]
    assert found.items.second is None and found.clusters is None and found.raters is None
    assert found.names == ()
    assert asked(source, target="stars", covariate="length").names[0] == "length"
    assert set(found.items.parts) == set(PARTS)
    assert found.items.parts.tolist() == found.examples.table["part"].gather(found.items.first).to_list()


def test_a_pair_is_two_texts_and_one_when_the_first_is_favoured():
    source = pairs(best=cycle("b", "a", "a"))
    found = asked(source, text="a", pair="b", target="best")
    assert said(found, source) == [float(best == "a") for best in source["best"]]
    texts = found.examples.texts
    for first, second, row in zip(found.items.first, found.items.second, found.items.rows, strict=True):
        assert (texts[first], texts[second]) == source.select("a", "b").row(int(row))
    assert len(found.examples) == 80 and len(found.items) == 40


def test_pairs_without_a_target_favour_the_first_column_whichever_side_it_is_dealt_to():
    source = pairs(100)
    found = asked(source, text="a", pair="b")
    texts, favoured = found.examples.texts, found.outcomes[0].values
    chosen = np.where(favoured == 1, found.items.first, found.items.second)
    assert [texts[i] for i in chosen] == [source["a"][int(row)] for row in found.items.rows]
    assert favoured.mean() == 0.5


def test_rows_of_another_source_are_what_these_are_compared_with():
    source, other = frame(40), frame(30, seed=1)
    found = asked(source, other)
    assert said(found, pl.concat([source, other])) == [1.0] * 40 + [0.0] * 30
    assert found.outcomes[0].kind == "binary"


def test_two_groups_are_one_outcome_and_more_are_one_each():
    two = asked(frame(where=cycle("Rome", "Oslo")), between="where")
    assert [outcome.name for outcome in two.outcomes] == ["where=Oslo"]
    three = asked(frame(year=cycle(2019, 2020, 2021)), between="year")
    assert [outcome.name for outcome in three.outcomes] == ["year=2019", "year=2020", "year=2021"]
    assert sum(outcome.values for outcome in three.outcomes).tolist() == [1.0] * 80
    versions = frame(release=cycle("1.0", "2.0", "2.1")).with_columns(pl.col("release").cast(pl.Categorical))
    names = [outcome.name for outcome in asked(versions, between="release").outcomes]
    assert names == ["release=1.0", "release=2.0", "release=2.1"]


def test_a_question_without_an_answer_is_refused():
    with pytest.raises(InputError, match="what is to be explained"):
        asked(frame())
    with pytest.raises(InputError, match="both say"):
        asked(frame(stars=cycle(1, 2)), frame(), target="stars")
    with pytest.raises(InputError, match="of pairs"):
        asked(pairs(where=cycle("x", "y")), text="a", pair="b", between="where")


# ---- who sees what


def parts_of_rows(found):
    return dict(zip(found.items.rows.tolist(), found.items.parts.tolist(), strict=True))


def test_copies_share_an_example_and_keep_what_goes_with_each():
    source = frame(40, stars=cycle(1, 2, 3))
    source = pl.concat([source, source.with_columns(stars=6 - pl.col("stars"))])
    found = asked(source, target="stars")
    assert len(found.examples) == 40 and len(found.items) == 80
    assert said(found, source) == source["stars"].to_list()
    assert len(np.unique(found.clusters)) == 40


@pytest.mark.parametrize("seed", range(3))
def test_near_duplicates_and_members_of_a_group_are_in_one_part(seed):
    texts = sentences(60)
    source = pl.DataFrame(
        {
            "text": [*texts, *(f"{text} indeed" for text in texts[:30]), *sentences(20, 1)],
            "y": cycle(0, 1)(110),
            "who": [*map(str, range(60)), *map(str, range(60, 90)), *["anna"] * 8, *[None] * 12],
        }
    )
    found = asked(source, target="y", group="who", seed=seed)
    parts, clusters = parts_of_rows(found), dict(zip(found.items.rows, found.clusters, strict=True))
    assert all(parts[row] == parts[row + 60] and clusters[row] == clusters[row + 60] for row in range(30))
    assert len({parts[row] for row in range(90, 98)}) == len({clusters[row] for row in range(90, 98)}) == 1
    assert len(set(clusters.values())) == 60 + 1 + 12
    assert found.examples.parts  # no group in two parts
    assert not any("hang together" in note for note in found.notes)


def test_a_text_that_many_groups_have_does_not_join_them():
    source = frame(60, y=cycle(0, 1), who=lambda n: [str(i // 2) for i in range(n)])
    said_by_all = pl.DataFrame(
        {"text": ["Thank you!"] * 30, "y": cycle(0, 1)(30), "who": [str(i) for i in range(30)]}
    )
    found = asked(pl.concat([source, said_by_all], how="vertical_relaxed"), target="y", group="who")
    assert (
        len(np.unique(found.clusters)) == 31
        and len({parts_of_rows(found)[row] for row in range(60, 90)}) == 1
    )


def test_pairs_with_a_common_text_are_in_one_part():
    source = pairs(60, best=cycle("a", "b"))
    source = source.with_columns(b=pl.col("b").gather([i - i % 3 for i in range(60)]))
    found = asked(source, text="a", pair="b", target="best")
    parts = parts_of_rows(found)
    assert all(len({parts[row] for row in range(start, start + 3)}) == 1 for start in range(0, 60, 3))
    assert len(np.unique(found.clusters)) == 20 and len(found.examples) == 80


def test_a_text_that_very_many_rows_have_does_not_fill_a_part():
    source = pl.concat(
        [frame(60, y=cycle(0, 1)), pl.DataFrame({"text": ["Thanks a lot."] * 200, "y": cycle(0, 1)(200)})]
    )
    found = asked(source, target="y")
    sizes = {part: found.examples.table["part"].to_list().count(part) for part in PARTS}
    assert min(sizes.values()) >= 8 and sizes["score"] > 20
    assert any("200 of 260 texts hang together through copies of one text" in note for note in found.notes)


def test_what_very_many_have_in_common_is_said():
    source = frame(80, y=cycle(0, 1), who=cycle("a", "a", "b", "c"))
    (note,) = [note for note in asked(source, target="y", group="who").notes if "hang together" in note]
    assert note.startswith(
        "40 of 80 texts hang together through the same 'who': they are all in one part (describe)"
    )
    with pytest.raises(InputError, match="in 2 groups"):
        asked(source.filter(pl.col("who") != "c"), target="y", group="who")


@pytest.mark.parametrize("n", [10, 12, 60])
@pytest.mark.parametrize("seed", range(4))
def test_few_texts_leave_no_part_empty(n, seed):
    assert set(asked(frame(n, y=cycle(0, 1)), target="y", seed=seed).items.parts) == set(PARTS)


def test_fewer_than_ten_are_refused():
    with pytest.raises(InputError, match="of which 9 are usable"):
        asked(frame(9, y=cycle(0, 1)), target="y")
    with pytest.raises(InputError, match="limit=3 is not a whole number of at least 10"):
        asked(frame(40, y=cycle(0, 1)), target="y", limit=3)


def test_a_limit_picks_by_content():
    source = frame(100, y=cycle(0, 1))
    kept = asked(source, target="y", limit=30)
    again = asked(source.reverse(), target="y", limit=30)
    assert len(kept.items) == 30 and kept.examples.ids == again.examples.ids
    assert asked(source, target="y", limit=30, seed=1).examples.ids != kept.examples.ids


def test_a_split_of_the_source_decides_and_copies_of_tests_are_left_out_of_the_others():
    texts = sentences(90)
    source = pl.DataFrame(
        {
            "text": [*texts, f"{texts[60]} !", texts[61], texts[31], *sentences(2, 1), f"{texts[80]}?"],
            "fold": ["train"] * 30 + ["val"] * 30 + ["test"] * 30 + "train dev training - Test test".split(),
            "y": cycle(0, 1)(96),
            "who": ["a", "a", *map(str, range(94))],
        }
    ).with_columns(fold=pl.col("fold").replace("-", None))
    found = asked(source, target="y", split="fold", group="who")
    words = {"train": "describe", "val": "select", "test": "score"}
    expected = {row: words[fold] for row, fold in enumerate(source["fold"][:90])}
    assert parts_of_rows(found) == {**expected, 93: "describe", 94: "score", 95: "score"}
    assert found.examples.rejected.rows() == [(row, "in two splits", "") for row in (90, 91, 92)]
    assert any(note.startswith("3 rows have copies or near duplicates in a split") for note in found.notes)
    assert "1 rows say nothing in 'fold' and were taken for train." in found.notes
    clusters = dict(zip(found.items.rows, found.clusters, strict=True))
    assert clusters[80] == clusters[95] and clusters[0] == clusters[1] and len(set(clusters.values())) == 91
    assert found.examples.parts


def test_groups_that_a_split_tears_apart_are_counted():
    source = frame(60, y=cycle(0, 1), fold=cycle("train", "val", "test"), who=cycle("a", "b"))
    notes = asked(source, target="y", split="fold", group="who").notes
    assert "2 values of 'who' are in more than one split." in notes


def test_what_a_split_lacks_is_taken_from_train():
    source = frame(90, y=cycle(0, 1), fold=lambda n: ["train"] * 60 + ["test"] * 30)
    found = asked(source, target="y", split="fold")
    parts = parts_of_rows(found)
    assert {parts[row] for row in range(60, 90)} == {"score"}
    assert {parts[row] for row in range(60)} == {"describe", "select"}
    assert "The column 'fold' has no validation split; it was taken from train." in found.notes


# ---- the same rows, however they come


def same(one, other):
    rows = one.examples.table.drop("row")
    return (
        rows.equals(other.examples.table.drop("row"))
        and one.examples.fingerprint == other.examples.fingerprint
        and one.items.first.tolist() == other.items.first.tolist()
        and (one.items.second is None or one.items.second.tolist() == other.items.second.tolist())
        and one.items.parts.tolist() == other.items.parts.tolist()
        and [o.name for o in one.outcomes] == [o.name for o in other.outcomes]
        and all(
            np.array_equal(a.values, b.values, equal_nan=True)
            for a, b in zip(one.outcomes, other.outcomes, strict=True)
        )
        and np.array_equal(one.covariates, other.covariates)
        and one.names == other.names
        and np.array_equal(one.clusters, other.clusters)
        and one.raters.to_list() == other.raters.to_list()
    )


@pytest.fixture
def mixed():
    source = frame(
        60,
        stars=cycle(1, 2, 3, None),
        shop=cycle("x", "y", "z"),
        price=cycle(1.5, 2.25),
        who=cycle("é", None),
    )
    return pl.concat([source, source.head(25).with_columns(stars=pl.lit(3, dtype=pl.Int64))])


ASKED = {"target": "stars", "covariate": ["shop", "price", "length"], "by": "who"}


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_the_rows_changes_nothing(mixed, seed):
    assert same(asked(mixed, **ASKED), asked(mixed.sample(fraction=1, shuffle=True, seed=seed), **ASKED))
    source = pairs(40, price_a=cycle(1.0, 2.0), price_b=cycle(3.0, 1.0, 2.0), who=cycle("u", "v"))
    options = {"text": "a", "pair": "b", "covariate": ["price", "length"], "by": "who", "group": "who"}
    source = source.with_columns(who=pl.col("a").str.slice(0, 3))
    assert same(
        asked(source, **options), asked(source.sample(fraction=1, shuffle=True, seed=seed), **options)
    )


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "pandas", "dicts"])
def test_the_form_of_the_source_changes_nothing(mixed, kind, tmp_path):
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        mixed.write_csv(path)
    elif kind == "jsonl":
        mixed.write_ndjson(path)
    elif kind == "parquet":
        mixed.write_parquet(path)
    source = {"pandas": mixed.to_pandas, "dicts": mixed.to_dicts}.get(kind, lambda: path)()
    assert same(asked(mixed, **ASKED), asked(source, **ASKED))


def test_whatever_goes_with_a_text_is_in_the_fingerprint(mixed):
    prints = {
        asked(mixed.with_columns(changed), **ASKED).examples.fingerprint
        for changed in (
            pl.col("stars"),
            pl.col("stars").fill_null(1),
            pl.col("price") * 2,
            pl.col("who").fill_null("x"),
            pl.lit("x").alias("shop"),
        )
    }
    assert len(prints) == 5


# ---- what cannot be used, or is not known


def test_a_pair_of_equal_texts_and_an_unusable_text_are_refused_by_row():
    source = pairs(40, best=cycle("a", "b"))
    source = source.with_columns(
        b=pl.when(pl.col("a") == source["a"][3]).then(pl.col("a") + "  ").otherwise("b"),
        a=pl.when(pl.col("a") == source["a"][5]).then(pl.lit(" ")).otherwise("a"),
    )
    found = asked(source, text="a", pair="b", target="best")
    assert found.examples.rejected["row"].to_list() == [3, 5]
    assert found.examples.rejected["reason"].to_list() == ["equal texts", "empty"]
    assert not {3, 5} & set(found.items.rows.tolist()) and len(found.items) == 38


def test_ties_and_missing_favourites_and_covariates_leave_an_item_without_an_outcome():
    source = pairs(60, best=cycle("a", "b", "tie", None), price=cycle(1.0, 2.0, 3.0, 4.0, None))
    found = asked(source, text="a", pair="b", target="best", covariate="price")
    expected = [
        np.nan if best not in ("a", "b") or price is None else float(best == "a")
        for best, price in source.select("best", "price").rows()
    ]
    np.testing.assert_array_equal(said(found, source), expected)
    assert not np.isnan(found.covariates).any() and len(found.items) == 60
    assert "15 pairs have no value in 'best' and are not tested on." in found.notes
    assert "9 pairs have no value of the covariate 'price' and are not tested on." in found.notes
    assert "12 pairs are tied and are not tested on." in found.notes


@pytest.mark.parametrize(
    ("columns", "options", "said"),
    [
        ({"y": cycle("same")}, {"target": "y"}, "'same' for all 40"),
        ({"y": cycle(None)}, {"target": "y"}, "no row has a value in 'y'"),
        ({"y": cycle(0, 1), "z": cycle(1.0, None)}, {"target": "y", "covariate": "z"}, "0 for all 20"),
        ({"y": cycle(0, 1), "z": cycle(None)}, {"target": "y", "covariate": "z"}, "in all covariates"),
        ({"y": cycle(0, 1)}, {"target": "y", "covariate": "y"}, "is what is asked about"),
        ({"y": cycle(0, 1)}, {"target": "y", "covariate": ["length", "length"]}, "named twice"),
        ({"y": cycle("1", "2", "n/a", "5")}, {"target": "y"}, "holds numbers, and 'n/a' in .*--kind nominal"),
        ({"y": cycle(0, 1)}, {"target": "z"}, r"no column 'z'.*--target"),
        ({"y": cycle(0, 1)}, {"target": "y", "by": "z"}, r"no column 'z'.*--by"),
        ({"y": cycle(0, 1)}, {"between": "z"}, r"no column 'z'.*--between"),
        ({"y": cycle(0, float("inf"))}, {"target": "y"}, "holds inf"),
        ({"y": cycle([1], [2])}, {"target": "y"}, "neither numbers nor strings"),
    ],
)
def test_what_cannot_be_explained_is_refused(columns, options, said):
    with pytest.raises(InputError, match=said):
        asked(frame(40, **columns), **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "tied"}, "all pairs are tied"),
        ({"target": "zero"}, "not clear which value of 'zero'"),
        ({"target": "best", "kind": "nominal"}, "cannot be of pairs"),
        ({"target": "best", "kind": "real"}, "numbers are needed"),
        ({"first": "a"}, "no target says that"),
        ({"pair": "a", "target": "best"}, "both the column 'a'"),
    ],
)
def test_what_cannot_be_asked_of_pairs_is_refused(options, said):
    source = pairs(best=cycle("a", "b"), tied=cycle("tie"), zero=cycle(0, 1))
    with pytest.raises(InputError, match=said):
        asked(source, **{"text": "a", "pair": "b", **options})


def test_pairs_can_say_how_much_the_first_is_favoured():
    source = pairs(margin=cycle(-2, 0, 1, 3))
    found = asked(source, text="a", pair="b", target="margin", kind="real")
    assert said(found, source) == source["margin"].to_list()


# ---- covariates, raters


def test_covariates_of_each_text_of_a_pair_are_turned_with_its_sides():
    source = pairs(80, model_a=cycle("m", "n", "o"), model_b=cycle("n", "o", "o", "m"), cost=cycle(1, 2, 3))
    found = asked(source, text="a", pair="b", covariate=["model", "cost", "length"])
    texts, rows = found.examples.texts, found.items.rows.tolist()
    column = dict(zip(found.names, found.covariates.T, strict=True))
    length = [
        log_words(pl.Series([texts[i] for i in side])) for side in (found.items.first, found.items.second)
    ]
    np.testing.assert_allclose(np.corrcoef(column["length"], (length[0] - length[1]).to_numpy())[0, 1], 1)
    assert np.corrcoef(column["cost"], source["cost"].gather(rows).to_numpy())[0, 1] == pytest.approx(1)
    turned = np.array([texts[i] for i in found.items.first]) != source["a"].gather(rows).to_numpy()
    for level in ("m", "n", "o"):
        own, other = ((source[f"model_{side}"].gather(rows) == level).to_numpy().astype(int) for side in "ab")
        if f"model={level}" in column:
            np.testing.assert_array_equal(
                column[f"model={level}"], np.where(turned, other - own, own - other)
            )
    assert 0 < turned.mean() < 1 and sum(name.startswith("model=") for name in found.names) == 2


@pytest.mark.parametrize(
    ("columns", "texts"),
    [
        (("price_a", "price_b"), ("answer_a", "answer_b")),
        (("chosen_price", "rejected_price"), ("chosen", "rejected")),
        (("price", "price_b"), ("text", "text_b")),
        (("price_1", "price_2"), ("chosen", "rejected")),
        (("priceA", "priceB"), ("left text", "right text")),
    ],
)
def test_columns_of_both_texts_are_known_by_their_names(columns, texts):
    source = pairs(40, p=cycle(1.0, 5.0, 2.0), q=cycle(3.0, 1.0), best=cycle("first", "second"))
    source = source.rename(dict(zip(("a", "b", "p", "q"), (*texts, *columns), strict=True)))
    found = asked(source, text=texts[0], pair=texts[1], target="best", covariate="price")
    expected = (source[columns[0]] - source[columns[1]]).gather(found.items.rows.tolist()).to_numpy()
    np.testing.assert_allclose(found.covariates[:, 0], (expected - expected.mean()) / expected.std())


def test_a_column_of_that_very_name_is_of_the_pair():
    source = pairs(
        40, best=cycle("a", "b"), price=cycle(1.0, 4.0), price_a=cycle(3.0), price_b=cycle(1.0, 2.0)
    )
    found = asked(source, text="a", pair="b", target="best", covariate="price")
    own = source["price"].gather(found.items.rows.tolist()).to_numpy()
    np.testing.assert_allclose(found.covariates[:, 0], (own - 2.5) / 1.5)


def test_fifty_covariates_and_a_length_of_the_users_own():
    draw = np.random.default_rng(0)
    source = frame(80, y=cycle(0, 1), length=lambda n: draw.normal(size=n))
    source = source.with_columns(**{f"x{i}": draw.normal(size=80) for i in range(49)})
    found = asked(source, target="y", covariate=["length", *(f"x{i}" for i in range(49))])
    assert found.covariates.shape == (80, 50) and found.names[0] == "length"
    own = source["length"].gather(found.items.rows.tolist()).to_numpy()
    assert np.corrcoef(own, found.covariates[:, 0])[0, 1] == pytest.approx(1)
    np.testing.assert_allclose(found.covariates.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(found.covariates.std(axis=0), 1)


def test_a_target_called_length_is_explained_at_equal_numbers_of_words():
    found = asked(frame(40, length=cycle(10, 20, 40)), target="length", covariate="length")
    assert found.outcomes[0].name == "length" and found.names[0] == "length"
    lengths = log_words(pl.Series(found.examples.texts)).gather(found.items.first).to_numpy()
    assert np.corrcoef(lengths, found.covariates[:, 0])[0, 1] == pytest.approx(1)


def test_raters_are_those_of_the_items():
    source = frame(40, y=cycle(0, 1), who=cycle(7.0, None, 12.0))
    found = asked(source, target="y", by="who")
    assert found.raters.name == "who"
    expected = [
        None if who is None else str(int(who)) for who in source["who"].gather(found.items.rows.tolist())
    ]
    assert found.raters.to_list() == expected


def test_a_text_on_both_sides_is_one_example_with_two_outcomes():
    source = frame(40)
    found = asked(source, pl.concat([source.head(10), frame(30, 1)]))
    assert len(found.examples) == 70 and len(found.items) == 80
    assert "10 texts are among both." in found.notes


def test_files_name_the_groups(tmp_path):
    frame(30).write_csv(tmp_path / "spam.csv")
    frame(30, 1).write_ndjson(tmp_path / "ham.jsonl")
    found = asked(tmp_path / "spam.csv", tmp_path / "ham.jsonl")
    assert [outcome.name for outcome in found.outcomes] == ["spam"]
    assert asked(sentences(20), sentences(20, 1)).outcomes[0].values.sum() == 20


def test_what_columns_and_values_are_called_is_only_shown():
    name = "y\n<b>{0}%s"
    source = frame(40, **{name: cycle("a\x00", "<i>{x}")})
    found = asked(source, target=name)
    assert found.outcomes[0].values.mean() == 0.5
    strange = [
        {"text": text, "y": "half \ud83d" if i % 2 else "whole"} for i, text in enumerate(sentences(40))
    ]
    assert asked(strange, target="y").outcomes[0].values.mean() == 0.5

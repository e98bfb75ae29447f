"""Descriptions as features for scikit-learn: read as the study read them, and honest about what cannot be."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks

from saywell import DescriptionFeatures, features
from saywell.data.parts import parts_of
from saywell.description import Description
from saywell.errors import InputError
from saywell.language_models import Scripted
from saywell.readers.lexical import by_words
from saywell.store.study import Study
from saywell.studies.hypotheses.tables import HYPOTHESES
from saywell.studies.units import describe_units

TOPICS = ["battery", "food", "room"]


def responses(corpus):
    """Of each topic 1 on its texts, but for some that are flipped, so that nothing is read without error."""
    about = np.array([[topic in own for topic in TOPICS] for own in corpus["topic"]])
    return (about ^ (np.random.default_rng(0).random(about.shape) < 0.05)).astype(float)


@pytest.fixture(scope="module")
def study(corpus, encoder, tmp_path_factory):
    return describe_units(
        corpus,
        responses(corpus),
        names=TOPICS,
        out=tmp_path_factory.mktemp("features") / "s",
        firing="above:0.5",
        encoder=encoder,
        describer=["claims", "extractive"],
        reader=["claims", "lexical", "sentence-encoder"],
        control=False,
    )


@pytest.fixture
def with_tables(study, put_tables, tmp_path):
    """The study with other tables in it."""

    def other(**tables):
        folder = tmp_path / f"s{len(list(tmp_path.iterdir()))}"
        shutil.copytree(study.path, folder)
        return Study(put_tables(folder, **tables))

    return other


def decided_by(study, reader):
    """Tables of the study in which all is described, read by one alone, and verified."""
    decides = pl.col("reader") == reader
    scores = study.scores.with_columns(
        decides=decides, status=pl.when(decides).then(pl.lit("verified")).otherwise("status")
    )
    return dict(scores=scores, descriptions=study.descriptions.with_columns(selected=True))


@pytest.mark.parametrize("reader", ["claims", "lexical", "sentence-encoder"])
def test_texts_are_read_as_the_study_read_them(reader, study, with_tables, corpus, encoder):
    made = DescriptionFeatures(with_tables(**decided_by(study, reader)), encoder=encoder).fit()
    score = study.examples.filter(part="score")
    truth = pl.DataFrame(responses(corpus)[score["row"].to_numpy()], schema=TOPICS)
    read = made.transform(score["text"])
    assert set(np.unique(read)) == {0, 1} and made.features_["reader"].unique().to_list() == [reader]
    values = study.scores.filter(reader=reader).join(
        study.descriptions.select("text", description="id"), on="description"
    )
    assert made.features_.height == values.unique(["unit", "text"]).height
    for column, (unit, text) in enumerate(made.features_.select("unit", "text").iter_rows()):
        expected = values.filter(unit=unit, text=text)["value"][0]
        assert f1_score(truth[unit].to_numpy(), read[:, column]) == pytest.approx(expected)
        assert 0 < expected < 1


@pytest.mark.parametrize("threshold", [0.2, 0.4, 0.5, 0.6, 0.8])
def test_how_rare_a_word_is_comes_from_the_texts_of_the_study(threshold, study, with_tables, encoder):
    """Of a description of several words each counts the more, the fewer describe texts say it."""
    tables = decided_by(study, "lexical")
    said = tables["descriptions"].with_columns(text=pl.lit("very rude waiter, bed"), claim=None)
    said = said.with_columns(pl.col("claim").cast(pl.String))
    scores = tables["scores"].with_columns(threshold=pl.lit(threshold))
    made = DescriptionFeatures(with_tables(descriptions=said, scores=scores), encoder=encoder).fit()
    texts = study.examples["text"].to_list()
    predict = by_words(texts, parts_of(study.examples).describe)
    expected = predict([Description("", "very rude waiter, bed")], np.arange(len(texts)))[0] >= threshold
    assert made.transform(texts)[:, 0].tolist() == expected.tolist() and 0 < expected.sum() < len(texts)
    assert made.transform(texts[:1])[:, 0].tolist() == expected[:1].tolist()


def test_a_pipeline_learns_from_what_is_said(study, corpus, encoder):
    target = [own[0] for own in corpus["topic"]]
    made = DescriptionFeatures(study, encoder=encoder)
    found = cross_val_score(make_pipeline(made, LogisticRegression()), corpus["text"].to_list(), target, cv=3)
    assert found.mean() > 0.95
    names = made.fit().get_feature_names_out()
    assert len(names) == 3 and set(names) == set(study.descriptions.filter("selected")["text"])
    assert made.fit([], target).transform(corpus["text"][:5]).shape == (5, 3)


def as_categories(texts):
    return pd.Series(texts, dtype="category")


@pytest.mark.parametrize(
    "form",
    [
        list,
        tuple,
        np.array,
        pl.Series,
        pd.Series,
        as_categories,
        iter,
        lambda texts: np.array(texts, dtype=object)[:, None],
        lambda texts: pl.DataFrame({"anything": texts}),
        lambda texts: pd.DataFrame({"anything": texts}),
        lambda texts: pd.Series(texts, dtype="string"),
        lambda texts: [[text] for text in texts],
    ],
)
def test_texts_may_come_in_any_form(form, study, encoder):
    texts = ["the soup", "  a   clean\nbed ", "", "the soup", "nothing of it"]
    made = DescriptionFeatures(study, encoder=encoder).fit()
    bed = made.features_["unit"].to_list().index("room")
    read = made.transform(form(texts))
    assert read[:, bed].tolist() == [0, 1, 0, 0, 0] and read.dtype == np.float64
    assert np.array_equal(read, np.concatenate([made.transform([text]) for text in texts]))
    assert made.transform(form(texts[:0])).shape in [(0, 3)]


@pytest.mark.parametrize("reader", ["claims", "lexical", "sentence-encoder"])
def test_many_texts_are_read_some_at_a_time(reader, study, with_tables, encoder, monkeypatch):
    made = DescriptionFeatures(with_tables(**decided_by(study, reader)), encoder=encoder).fit()
    texts = study.examples["text"].to_list()
    at_once = made.transform(texts)
    monkeypatch.setattr(features, "_TOGETHER", 7)
    assert np.array_equal(made.transform(texts), at_once)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("one text", "X='one text' is no list of texts"),
        ({"text": ["a"]}, "is no list of texts"),
        (7, "X='7' is no list of texts"),
        (["a", None], r"X\[1\] is missing, not a text"),
        (pd.Series(["a", None]), r"X\[1\] is missing"),
        (pl.Series([None, "a"]), r"X\[0\] is missing"),
        (np.array([[1.5]]), r"X\[0\] is .*1.5.*, not a text"),
        ([b"a"], r"X\[0\] is b'a', not a text"),
        (["\ud800"], r"X\[0\] is .* not a text"),
        ([["a", "b"]], "X has 2 columns, and this study's features are of one, of texts"),
        (pl.DataFrame({"a": ["x"], "b": ["y"], "c": ["z"]}), "X has 3 columns"),
        (np.zeros((1, 1, 1)), "X"),
    ],
)
def test_what_is_no_text_is_one_error(given, said, study, encoder):
    with pytest.raises(InputError, match=said):
        DescriptionFeatures(study, encoder=encoder).fit().transform(given)


def test_it_keeps_to_the_customs_of_scikit_learn(study, encoder):
    made = DescriptionFeatures(study, encoder=encoder)
    for ask in (made.get_feature_names_out, lambda: made.transform(["a"])):
        with pytest.raises(NotFittedError):
            ask()
    assert made.fit() is made
    again = clone(made.set_output(transform="pandas"))
    assert not hasattr(again, "features_") and hasattr(made, "features_")
    assert again.get_params() == made.get_params() and again.encoder is encoder
    frame = again.fit_transform(pd.Series(["food", "a"], index=[7, 9]))
    assert frame.index.tolist() == [7, 9] and list(frame.columns) == made.get_feature_names_out().tolist()
    assert isinstance(again.set_output(transform="polars").transform(["food"]), pl.DataFrame)
    columns = ColumnTransformer([("said", made, "review")]).fit(
        frame := pd.DataFrame({"review": ["food"], "n": [1]})
    )
    assert columns.get_feature_names_out()[0].startswith("said__") and columns.transform(frame).sum() == 1
    assert made.set_params(only=None).only is None and "encoder=" in repr(made)
    unfitted = pickle.loads(pickle.dumps(DescriptionFeatures(str(study.path), encoder=encoder)))
    assert unfitted.fit().features_.equals(made.fit().features_)


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_no_attributes_set_in_init,
        estimator_checks.check_get_params_invariance,
        estimator_checks.check_set_params,
        estimator_checks.check_estimator_cloneable,
        estimator_checks.check_estimator_repr,
        estimator_checks.check_valid_tag_types,
    ],
)
def test_checks_of_scikit_learn_that_need_no_numbers(check, study):
    check("DescriptionFeatures", DescriptionFeatures(study))


def test_who_cannot_read_here_gives_way_to_the_next_who_verifies(study, with_tables, encoder):
    decides = study.scores.with_columns(
        reader=pl.col("reader").replace("claims", "detection"), decides=pl.col("reader") == "claims"
    )
    made = DescriptionFeatures(with_tables(scores=decides), encoder=encoder).fit()
    assert set(made.features_["reader"]) == {"lexical"}
    alone = decides.with_columns(
        verifies=pl.col("verifies") & ((pl.col("unit") != "food") | pl.col("decides"))
    )
    made = DescriptionFeatures(with_tables(scores=alone), encoder=encoder)
    with pytest.warns(UserWarning, match="1 of 3 descriptions cannot be read here: .*needs a language model"):
        assert made.fit().transform(["food"]).shape == (1, 2)
    alone = decides.filter("decides").with_columns(reader=pl.lit("tags"))
    with pytest.raises(InputError, match=r"3 of 3 descriptions cannot be read here: .*needs tags"):
        DescriptionFeatures(with_tables(scores=alone), encoder=encoder).fit()


def test_a_language_model_reads_what_it_decided_and_what_it_does_not_answer_is_unknown(
    study, with_tables, encoder
):
    scores = study.scores.filter("decides").with_columns(reader=pl.lit("detection"))
    llm = Scripted(lambda request: "no idea" if any("secret" in m.text for m in request.messages) else ANSWER)
    made = DescriptionFeatures(with_tables(scores=scores), encoder=encoder, llm=llm).fit()
    assert made.transform(["a"]).tolist() == [[1, 1, 1]]
    with pytest.warns(UserWarning, match="3 of 3 readings are NaN: the language model gave no answer"):
        assert np.isnan(made.transform(["secret"])).all()


ANSWER = '{"items": [{"item": 1, "holds": "yes", "confidence": 1.0}]}'


def test_what_cannot_be_asked_is_said(study, with_tables, encoder):
    with pytest.raises(InputError, match="only='all' is neither 'verified' nor None"):
        DescriptionFeatures(study, only="all").fit()
    nothing = with_tables(scores=study.scores.with_columns(status=pl.lit("not verified")))
    with pytest.raises(InputError, match=r"has nothing verified .*only=None takes all"):
        DescriptionFeatures(nothing, encoder=encoder).fit()
    assert DescriptionFeatures(nothing, None, encoder=encoder).fit().features_.height == 3
    pictures = with_tables(examples=study.examples.drop("text").with_columns(name="id"))
    with pytest.raises(InputError, match="study of pictures"):
        DescriptionFeatures(pictures).fit()

    def another(texts):
        return encoder(texts)[:, ::-1]

    another.name = "another"
    with pytest.raises(InputError, match="'another' is not the one of the study"):
        DescriptionFeatures(study, encoder=another).fit()


def test_two_that_are_worded_alike_are_told_apart_and_what_is_the_same_is_read_once(
    study, with_tables, encoder
):
    words = with_tables(
        descriptions=study.descriptions.with_columns(text=pl.lit("words"), claim=pl.lit('phrase("food")'))
    )
    assert DescriptionFeatures(words, encoder=encoder).fit().get_feature_names_out().tolist() == ["words"]
    apart = with_tables(descriptions=study.descriptions.with_columns(text=pl.lit("words")))
    names = DescriptionFeatures(apart, encoder=encoder).fit().get_feature_names_out()
    assert sorted(names) == [f"words ({unit})" for unit in TOPICS]


def test_pairs_are_read_as_two_texts(study, with_tables, encoder):
    examples = study.examples
    pairs = examples.drop("text").with_columns(first="id", second="id")
    made = DescriptionFeatures(with_tables(examples=pairs), encoder=encoder).fit()
    food = made.features_["unit"].to_list().index("food")
    assert made.transform([["a", "soup food"], ["b", "c"]])[:, food].tolist() == [1, 0]
    with pytest.raises(InputError, match=r"X has 1 columns, .* two, of the texts of pairs"):
        made.transform(["a"])


def test_hypotheses_that_are_verified_and_say_something_new(study, with_tables, encoder):
    described = study.descriptions.filter("selected")
    rows = [
        dict(description=id, unit=unit, status=status, repeats=repeats)
        for id, unit, status, repeats in zip(
            described["id"],
            described["unit"],
            ["verified", "not shown", "verified"],
            [None, None, "h1"],
            strict=True,
        )
    ]
    table = pl.DataFrame(rows).with_columns(
        hypothesis=pl.format("h{}", pl.int_range(1, 4)), reader=pl.lit("claims"), pairs=True
    )
    full = pl.concat([HYPOTHESES.empty(), table], how="diagonal_relaxed").select(list(HYPOTHESES.columns))
    hypotheses = with_tables(hypotheses=full.cast(HYPOTHESES.types))
    made = DescriptionFeatures(hypotheses, encoder=encoder).fit()
    assert made.features_["unit"].to_list() == ["battery"] and made.features_["threshold"].to_list() == [0.5]
    pairs = pl.DataFrame({"a": ["battery", "a", "battery", "a"], "b": ["a", "battery", "battery", "b"]})
    assert made.transform(pairs)[:, 0].tolist() == [1, -1, 0, 0]
    assert made.transform(["battery", "a"])[:, 0].tolist() == [1, 0]
    everything = DescriptionFeatures(hypotheses, None, encoder=encoder).fit()
    assert everything.features_["unit"].to_list() == ["battery", "food"]

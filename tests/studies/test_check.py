"""Somebody else's descriptions, held against the units of a study that was made."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import torch
from typer.testing import CliRunner

import saywell
from saywell.cli import app
from saywell.data.others import read_descriptions
from saywell.errors import InputError, StudyError
from saywell.studies.audit import audit_study
from saywell.studies.check import check_descriptions, check_features, matched
from saywell.studies.units import describe_units
from saywell.units.dictionaries.dictionary import Dictionary
from saywell.units.dictionaries.rules import TopK
from word_latents import no_page

NAMES = ["battery", "food", "room", "noise"]
TRUE = {"battery": "battery, charger or phone", "food": "something about food or soup", "room": "room"}
FALSE = {"battery": "soup", "food": "room and bed", "room": "battery", "noise": "good"}


@pytest.fixture(scope="module", autouse=True)
def without_pages():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("saywell.studies.spine.write_report", no_page)
        yield


@pytest.fixture(scope="module")
def study(corpus, encoder, tmp_path_factory):
    topics = ["battery", "food", "room"]
    about = np.array([[float(topic in own) for topic in topics] for own in corpus["topic"]])
    noise = np.random.default_rng(1).normal(0, 0.1, (len(about), 4))
    values = noise + np.pad(about, ((0, 0), (0, 1)))
    values[:, 3] *= 6
    how = {"firing": "above:0.5", "describer": ["enrichment"], "reader": ["claims", "lexical", "tags"]}
    return describe_units(
        corpus, values, out=tmp_path_factory.mktemp("study") / "s", names=NAMES, encoder=encoder, **how
    )


def given(**writers):
    rows = [(unit, text, by) for by, said in writers.items() for unit, text in said.items()]
    return pl.DataFrame(rows, schema=["unit", "text", "method"], orient="row")


@pytest.fixture(scope="module")
def check(study, encoder, tmp_path_factory):
    brought = given(good=TRUE | {"nobody": "x"}, bad=FALSE)
    return check_descriptions(brought, study, out=tmp_path_factory.mktemp("c") / "c", encoder=encoder)


def test_true_descriptions_are_verified_and_false_ones_are_not(check):
    table = check.table("checked")
    assert table.height == 7
    verdicts = {by: set(own["status"]) for (by,), own in table.group_by("by")}
    assert verdicts == {"given, good": {"verified"}, "given, bad": {"not verified"}}
    own = table.filter(unit="food", by="given, good").row(0, named=True)
    assert own["own_status"] == "verified" and own["own"] and own["fits"] == 0 and own["fits_of"] == 3
    wrong = table.filter(unit="battery", by="given, bad").row(0, named=True)
    assert wrong["text"] == "soup" and wrong["fits"] is None
    figures = {m.name: m for m in check.headline()}
    assert figures["verified, given, good"].value == 1.0 and figures["verified, given, bad"].value == 0.0
    assert figures["verified, given, bad less own"].value == -1.0
    assert figures["verified, given, good"].controls == {"shuffled examples": 0.0}
    assert "1 of 8 descriptions are of units that the study does not have (nobody)" in check.manifest.notes[0]


def test_what_stands_for_a_unit_is_what_was_brought(check):
    standing = check.descriptions.filter("selected")
    assert dict(standing.select("unit", "text").iter_rows()) == TRUE | {"noise": "good"}
    assert check.unit("food").written[-1].describer == "own"


def test_a_check_is_a_study_like_any_other(check, study):
    checks = audit_study(check)
    assert checks.filter(status="failed").rows() == [] and "table units derived again" in set(checks["check"])
    for table in ("exemplars", "contrasts"):
        stored = study.table(table).filter(pl.col("unit").is_in(check.units["id"].implode()))
        assert check.table(table).equals(stored)
    assert audit_study(study).filter(status="failed").is_empty()
    assert read_descriptions(check.path).table.height == 10  # whoever wrote: good, bad, and the study's own


def test_a_claim_is_executed_and_a_sentence_is_not_taken_at_its_word(study, encoder, tmp_path):
    brought = pl.DataFrame(
        {"unit": ["food", "room"], "text": ['word("food", "soup", "waiter")', "a room, clean"]}
    )
    found = check_descriptions(brought, study, out=tmp_path / "c", encoder=encoder)
    readers = dict(found.table("checked").select("unit", "reader").iter_rows())
    assert readers == {"food": "claims", "room": "lexical"}
    assert found.unit("food").description != brought["text"][0]  # in English
    by_claims = found.scores.filter(reader="claims", describer="given")
    assert dict(by_claims.select("unit", pl.col("value").is_null()).iter_rows()) == {
        "food": False,
        "room": True,
    }


UNITS = pl.DataFrame(
    {
        "id": ["layer.0/7", "layer.0/7-", "layer.1/7", "layer.1/8"],
        "index": [7, 7, 7, 8],
        "layer": [0, 0, 1, 1],
        "sign": [1, -1, 1, 1],
    },
    schema_overrides={"index": pl.Int32, "layer": pl.Int32, "sign": pl.Int8},
)


@pytest.mark.parametrize(
    ("table", "units", "only"),
    [
        ({"unit": ["layer.0/7-"]}, ["layer.0/7-"], []),
        ({"index": [7, 7], "layer": [0, 1]}, ["layer.0/7", "layer.1/7"], []),
        ({"unit": ["8"]}, ["layer.1/8"], []),
        ({"index": [7, 8], "layer": [1, 1]}, ["layer.1/7", "layer.1/8"], []),
        ({"index": [8, 8], "layer": [1, 1], "sae": ["a", "b"]}, ["layer.1/8"], ["sae=b"]),
    ],
)
def test_units_are_told_by_id_or_number(table, units, only):
    frame = pl.DataFrame({**table, "text": ["a"] * len(next(iter(table.values())))})
    (writer,) = matched(read_descriptions(frame), UNITS, only).writers
    assert list(writer.texts) == units


@pytest.mark.parametrize(
    ("table", "only", "says"),
    [
        ({"index": [7], "text": ["a"]}, [], "number 7 is that of 'layer.0/7', 'layer.1/7'"),
        ({"index": [9], "layer": [0], "text": ["a"]}, [], "none of the 1 descriptions"),
        ({"index": [8, 8], "sae": ["a", "b"], "text": ["a", "b"]}, [], "say which: --only sae=a"),
        ({"index": [8], "text": ["a"]}, ["layer"], "is no COLUMN=VALUE"),
        ({"index": [8], "text": ["a"]}, ["sae=a"], "does not say of its descriptions which 'sae'"),
    ],
)
def test_what_cannot_be_told_is_refused(table, only, says):
    with pytest.raises(InputError, match=says):
        matched(read_descriptions(pl.DataFrame(table)), UNITS, only)


def test_several_texts_of_a_writer_and_another_model_are_said():
    frame = pl.DataFrame({"index": [8, 8], "text": ["a", "b"], "model": ["org/GPT-2 small"] * 2})
    found = matched(read_descriptions(frame), UNITS, model="minilm")
    assert [(w.name, w.texts["layer.1/8"]) for w in found.writers] == [("given", "a"), ("given (2)", "b")]
    assert "of the model 'org/GPT-2 small'" in found.writers[0].notes[0]
    assert not matched(read_descriptions(frame), UNITS, model="gpt2-small").writers[0].notes


def test_a_sentence_that_is_a_claim_of_the_study_in_words_is_executed():
    table = pl.DataFrame({"unit": ["layer.1/8", "layer.1/7"], "text": ['the word "if"', "about food"]})
    (writer,) = matched(
        read_descriptions(table), UNITS, claims={'the word "if"': 'word("if")', "others": 'word("x")'}
    ).writers
    assert writer.claims == {"layer.1/8": 'word("if")'} and writer.texts["layer.1/8"] == 'the word "if"'


def test_latents_of_a_dictionary_on_examples_of_ones_own(corpus, bert, tokenizer, encoder, tmp_path):
    generator = torch.Generator().manual_seed(0)
    width = bert.config.hidden_size
    weights = torch.randn(12, width, generator=generator)
    dictionary = Dictionary(
        weights, torch.zeros(12), weights / width, torch.zeros(width), TopK(2), False, None, None
    )
    brought = pl.DataFrame({"index": [3, 7, 7, 12], "text": ["food", "room", "bed", "x"], "by": list("aaba")})
    how = {"model": bert, "tokenizer": tokenizer, "encoder": encoder, "dictionary": dictionary}
    how |= {"at": "encoder.layer.1", "context": None, "reader": ["claims", "lexical"], "control": False}
    how |= {"tags": "topic"}
    study = check_features(brought, corpus, out=tmp_path / "c", **how)
    assert study.units["id"].to_list() == ["latent/3", "latent/7"]
    written = study.descriptions.filter(pl.col("text") != "").select("unit", "text", "describer").rows()
    assert written == [
        ("latent/3", "food", "given, a"),
        ("latent/7", "room", "given, a"),
        ("latent/7", "bed", "given, b"),
    ]
    assert study.scores.filter(reader="claims")["value"].null_count() == 3  # no sentence at its word
    assert any("that the study does not have (12)" in note for note in study.manifest.notes)
    assert audit_study(study).filter(status="failed").rows() == []
    with pytest.raises(InputError, match="none of the 1 descriptions"):
        check_features(brought.tail(1), corpus, out=tmp_path / "d", **how)
    with pytest.raises(InputError, match="leave out --latents"):
        check_features(brought, corpus, out=tmp_path / "d", latents=[1], **how)
    with pytest.raises(StudyError, match="given: not the same content"):
        check_features(brought.head(1), corpus, out=tmp_path / "c", **how)


def test_options_of_latents_are_none_of_a_study(study, tmp_path):
    with pytest.raises(InputError, match=r"at='x' \(--at\) is of examples and latents"):
        check_descriptions(given(m=TRUE), study, out=tmp_path / "c", at="x")


def test_the_command(study, tmp_path, monkeypatch, encoder):
    monkeypatch.setattr("saywell.resources.open_sentence_encoder", lambda name: encoder)
    given(m=TRUE).write_csv(tmp_path / "d.csv")
    args = ["check", str(tmp_path / "d.csv"), "--study", str(study.path), "--out", str(tmp_path / "c")]
    ran = CliRunner().invoke(app, [*args, "--reader", "lexical"], catch_exceptions=False)
    assert (
        ran.exit_code == 0 and "something about food or soup" in ran.stdout and "own, verified" in ran.stdout
    )
    ran = CliRunner().invoke(app, [*args, "--reader", "lexical", "--json"], catch_exceptions=False)
    assert json.loads(ran.stdout)["manifest"]["kind"] == "check"
    with pytest.raises(StudyError, match="made with other inputs"):
        CliRunner().invoke(app, [*args, "--reader", "claims"], catch_exceptions=False)
    with pytest.raises(InputError, match="what are they held against"):
        CliRunner().invoke(app, [*args[:2], *args[4:]], catch_exceptions=False)
    assert saywell.check_descriptions is check_descriptions

"""Texts of classes from files, joined by name."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from saywell.data.descriptor_files import load_descriptors
from saywell.errors import InputError

GIVEN = {"Blue_Jay": ["blue wings", " a  crest ", "blue wings", ""], "robin": ["red breast"]}


@pytest.fixture(params=["json", "parquet", "csv", "mapping", "lists", "printed"])
def source(request, tmp_path):
    if request.param == "mapping":
        return GIVEN
    if request.param in ("lists", "printed"):
        path = tmp_path / ("texts.parquet" if request.param == "lists" else "texts.csv")
        columns = {"class": list(GIVEN), "text": list(GIVEN.values())}
        if request.param == "lists":
            pl.DataFrame(columns).write_parquet(path)
        else:
            pl.DataFrame({**columns, "text": list(map(str, GIVEN.values()))}).write_csv(path)
        return path
    path = tmp_path / f"texts.{request.param}"
    if request.param == "json":
        path.write_text(json.dumps(GIVEN))
        return path
    rows = [(name, text) for name, texts in GIVEN.items() for text in texts]
    table = pl.DataFrame(rows, schema=["class", "descriptor"], orient="row")
    table.write_parquet(path) if request.param == "parquet" else table.write_csv(path)
    return path


def test_texts_follow_the_names_not_the_order(source):
    texts, place = load_descriptors(source, ["Robin", "blue jay"])
    assert texts == ["red breast", "blue wings", "a crest"]
    np.testing.assert_array_equal(place, [0, 1, 1])


def test_a_class_without_texts_is_an_error_that_says_which(source):
    with pytest.raises(InputError, match=r"1 of 2 classes, such as 'robbin'; did you mean 'robin'"):
        load_descriptors(source, ["blue jay", "robbin"])


def test_unusable_files_are_told(tmp_path):
    for name, content, words in (
        ("a.json", "[1]", "object of class"),
        ("b.json", "{", "cannot be read as JSON"),
        ("c.csv", "name,text\nx,y\n", "needs the columns"),
        ("d.txt", "x", "does not end in"),
        ("e.parquet", "x", "cannot be read"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=words):
            load_descriptors(tmp_path / name, ["x"])
    with pytest.raises(InputError, match="no file"):
        load_descriptors(tmp_path / "none.json", ["x"])
    with pytest.raises(InputError, match="read the same"):
        load_descriptors({"A b": ["x"], "a_B": ["y"]}, ["a b"])


@pytest.mark.parametrize("wrong", [{"a": "b"}, 3, [["nested"]], [True]])
def test_what_is_no_text_is_none(wrong, tmp_path):
    with pytest.raises(InputError, match="no text"):
        load_descriptors({"robin": wrong}, ["robin"])
    (tmp_path / "t.jsonl").write_text(json.dumps({"class": "robin", "text": wrong}))
    with pytest.raises(InputError):
        load_descriptors(tmp_path / "t.jsonl", ["robin"])


def test_one_text_of_a_mapping_is_a_text_and_not_its_letters():
    assert load_descriptors({"robin": "red breast"}, ["robin"])[0] == ["red breast"]

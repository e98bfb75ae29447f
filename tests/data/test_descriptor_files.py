"""Texts of classes from files, joined by name."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from saywell.data.descriptor_files import load_descriptors
from saywell.errors import InputError

GIVEN = {"Blue_Jay": ["blue wings", " a  crest ", "blue wings", ""], "robin": ["red breast"]}


@pytest.fixture(params=["json", "parquet", "csv", "mapping"])
def source(request, tmp_path):
    if request.param == "mapping":
        return GIVEN
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

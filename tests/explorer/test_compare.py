"""Two studies side by side."""

from __future__ import annotations

import math

import polars as pl
import pytest

from saywell.errors import InputError
from saywell.explorer.compare import agreement, best_matches


def test_a_study_agrees_with_itself_more_than_with_another_unit(shelf):
    tables = shelf[0].tables
    found = agreement(tables, tables)
    assert (found.shared, found.n, found.same, found.only_one) == (80, 40, 40, 0)
    assert found.value == found.low == found.high == 1.0
    assert found.control < 0.3


def test_shifted_descriptions_do_not_agree(shelf):
    found = agreement(shelf[0].tables, shelf[1].tables)
    assert (found.n, found.value, found.same) == (40, 0.0, 0)
    row = found.table.row(0, named=True)
    assert row["both"] == [] and len(row["only_a"]) == len(row["only_b"]) == 1


def test_jaccard_of_part_of_the_words(hostile, tmp_path, shelf, put_tables):
    folder = hostile.write_neurons(tmp_path / "more")
    table = pl.read_parquet(folder / "descriptions.parquet")
    more = (
        pl.when(pl.col("descriptors").list.len() > 0)
        .then(pl.concat_list("descriptors", pl.lit("d11")))
        .otherwise("descriptors")
    )
    put_tables(folder, descriptions=table.with_columns(descriptors=more))
    from saywell.explorer.shelf import open_studies

    found = agreement(shelf[0].tables, open_studies([folder])[0].tables)
    ones = found.table.filter(jaccard=1.0).height  # those that said "soup" anyway
    assert ones == 3 and found.table.filter(jaccard=0.5).height == 37
    assert math.isclose(found.value, (3 + 37 / 2) / 40)


def test_kinds_do_not_mix(shelf):
    with pytest.raises(InputError, match="cannot be compared"):
        agreement(shelf[0].tables, shelf[2].tables)


def test_classes_agree_by_their_chosen_texts(shelf):
    found = agreement(shelf[2].tables, shelf[2].tables)
    assert (found.n, found.value) == (8, 1.0) and found.control == 0.0


def test_units_find_those_with_the_same_sentences(shelf):
    units = ["layer.0/0", "layer.1/1", "layer.0/3-"]
    found = best_matches(shelf[0].tables, shelf[1].tables, units)
    assert found.known and set(found.best) == set(units[:2])
    match = found.best["layer.1/1"]
    assert (match.unit, match.common, match.of) == ("layer.1/1", 8, 8)
    assert found.mean == 1.0 and 0 < found.control < 1


def test_studies_without_a_common_sentence(hostile, tmp_path, shelf, put_tables):
    from saywell.explorer.shelf import open_studies

    folder = hostile.write_neurons(tmp_path / "other")
    for name, column in (("examples", "id"), ("exemplars", "example")):
        table = pl.read_parquet(folder / f"{name}.parquet")
        other = table.with_columns((pl.lit("x") + pl.col(column)).alias(column))
        put_tables(folder, **{name: other})
    found = best_matches(shelf[0].tables, open_studies([folder])[0].tables, ["layer.0/0"])
    assert not found.known and found.best == {} and found.mean == 0.0


def test_the_page(client):
    html = client.get("/compare?a=1&b=1&alike=most").text
    assert "say the same words" in html and "8 of 8" in html and "page 1 of 2" in html
    assert "a=1&amp;b=1&amp;alike=most&amp;page=2" in html
    assert client.get("/compare?a=1&b=3").status_code == 400
    assert "8</strong><span>units in both" in client.get("/compare?a=3&b=3").text

"""What a reader sees."""

from __future__ import annotations

import re

import polars as pl
import pytest

from saywell.errors import StudyError
from saywell.explorer.shelf import open_studies
from saywell.scorers.score_tables import AGAINST as COUNTEREXAMPLES


def _ids(client, query):
    html = client.get(f"/1/{query}").text
    return re.findall(r'c-unit"><a href="/1/unit\?id=layer\.(\S+?)"', html)


def _total(client, query):
    found = re.search(r"of (\d+) units(?! tried)", client.get(f"/1/{query}").text)
    return int(found[1]) if found else 0


def test_one_study_opens_at_once_and_several_are_listed(client, fresh):
    assert fresh.client.get("/").headers["location"] == "/1/"
    html = client.get("/").text
    assert html.count('href="/1/"') == 1 and 'href="/3/"' in html


def test_the_best_come_first_and_pages_follow(client):
    first, second = _ids(client, ""), _ids(client, "?page=2")
    assert first[:2] == ["0%2F0" if "%2F" in first[0] else "0/0", first[1]]
    assert len(first) == 25 and len(second) == 25 and not set(first) & set(second)
    assert _total(client, "") == 80


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("?layer=1", 26),
        ("?side=high", 40),
        ("?verdict=verified", 31),
        ("?verdict=no+description", 40),
        ("?least=0.5", 21),
        ("?q=layer.0", 28),
        ("?q=SOUP", 24),
        ("?descriptor=battery", 3),
        ("?q=soup+battery", 21),
        ("?q=nothinglikeit", 0),
        ("?status=no+description%3A+it+is+flat", 40),
        ("?side=low&layer=0", 14),
        ("?person=none", 80),
        ("?person=accept", 0),
        ("?q=%25", 0),
        ("?q=%27%3B+drop", 0),
        ("?descriptor=b&side=low", 0),
    ],
)
def test_filters(client, query, count):
    assert _total(client, query) == count


@pytest.mark.parametrize("sort", ["skill", "score", "interval", "layer", "unit", "description", "verdict"])
def test_sorting_turns_round(client, sort):
    rising = _ids(client, f"?side=high&sort={sort}&order=rising")
    falling = _ids(client, f"?side=high&sort={sort}&order=falling")
    assert rising != falling and len(rising) == len(falling) == 25
    html = client.get(f"/1/?sort={sort}&order=rising").text
    assert html.count("aria-sort") == 1 and 'aria-sort="ascending"' in html


def test_units_without_a_score_are_last_both_ways(client):
    for order in ("rising", "falling"):
        page = client.get(f"/1/?sort=score&order={order}").text
        assert "no description" not in re.findall(r'v v-\w+">([\w ]+)<', page)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?layer=x", "layer is a number"),
        ("?least=nan", "least is a number"),
        ("?sort=id;drop", "sort is one of"),
        ("?page=0", "page is a number"),
        ("?page=1e9", "page is a number"),
        ("?q=" + "x" * 300, "300 characters"),
        ("?person=me", "person is one of"),
        ("?layer=9999999999", "layer is a number"),
    ],
)
def test_a_wrong_filter_is_said(client, query, words):
    answer = client.get(f"/1/{query}")
    assert answer.status_code == 400 and words in answer.text


def test_a_page_beyond_the_last_is_empty(client):
    assert client.get("/1/?page=99").status_code == 200


def test_a_card_shows_score_descriptor_exemplars_and_the_other_side(client):
    html = client.get("/1/unit?id=layer.0/0").text
    for words in (
        "F1 0.90 (0.80 to 1.00)",
        "Skill 0.70",
        "verified",
        "5 of 8",
        "enriched, composed",
        "carries a descriptor",
        "going low",
        "All scores",
        "scorer_version",
        "Every reader, every floor",
        "Histogram",
        "and it does not",
        "does not say so",
        "on which it does not fire",
    ):
        assert words in html, words
    html = html.split('<ol class="exemplars">')[1].split("</ol>")[0]
    assert html.count("<li><span") == 8
    shades = [int(s) for s in re.findall(r'<mark class="s(\d)">', html)]
    assert shades[0] == 5 and shades == sorted(shades, reverse=True)


def test_cards_lead_to_their_neighbours_by_skill(client):
    html = client.get("/1/unit?id=layer.1/1").text
    assert 'rel="prev" href="/1/unit?id=layer.0%2F0"' in html
    assert 'rel="next" href="/1/unit?id=layer.2%2F2"' in html


def test_what_is_not_there_is_not_found(client):
    for url in (
        "/1/unit?id=nope",
        "/1/unit",
        "/3/unit?id=layer.0/0",
        "/3/unit?id=x",
        "/3/text?id=x",
        "/1/image?example=i0",
        "/7/ask",
        "/1/results",
        "/1/export/pdf",
        "/3/export/neuronpedia",
        "/compare?a=1&b=9",
    ):
        assert client.get(url).status_code == 404, url


def test_more_columns_and_counterexamples_are_shown(hostile, tmp_path, browse, put_tables):
    folder = hostile.write_neurons(tmp_path / "study")
    scores = pl.read_parquet(folder / "scores.parquet").with_columns(
        skill=1 - pl.col("value"), a_new_column=pl.lit(0.123)
    )
    against = COUNTEREXAMPLES.frame([("layer.0/0", "layer.0/0#0", "silent", 0, "e30", 0.25, 1.0)])
    client = browse(put_tables(folder, scores=scores, counterexamples=against))
    assert "39" in _ids(client, "?verdict=not+verified")[0]  # the skill of the file, not our own
    html = client.get("/1/unit?id=layer.0/0").text
    assert "a_new_column" in html and "0.123" in html
    assert "and it does not" in html and "the battery died" in html and "0.25" in html


def test_latents_are_listed_by_density_and_a_card_leads_to_its_relations(hostile, tmp_path, browse):
    client = browse(hostile.write_latents(tmp_path / "study"))
    rising, falling = (_ids(client, f"?sort=density&order={order}") for order in ("rising", "falling"))
    assert rising[:2] == ["0%2F0", "1%2F1"] and falling[0] == "0%2F39"
    html = client.get("/1/unit?id=layer.0/0").text
    assert '<a href="/1/unit?id=layer.1%2F1">' in html and "Over the whole range" in html
    assert "<script>alert" not in html and "<img src=x" not in html
    assert ">density<" in client.get("/1/").text


def test_a_list_without_densities_has_no_column_of_them(client):
    assert ">density<" not in client.get("/1/").text


def test_fewer_tables_will_do(hostile, tmp_path, browse, put_tables):
    folder = hostile.write_neurons(tmp_path / "study")
    gone = ("exemplars", "associations", "tags", "scores", "descriptors", "descriptions")
    client = browse(put_tables(folder, **dict.fromkeys(gone)))
    assert _total(client, "") == 80
    for url in ("/1/?q=x&descriptor=y", "/1/unit?id=layer.0/0", "/1/export/csv", "/1/export/neuronpedia"):
        assert client.get(url).status_code == 200, url


def test_a_table_that_is_gone_or_has_other_types_is_named(hostile, tmp_path, put_tables):
    folder = hostile.write_neurons(tmp_path / "study")
    for table, column in (("associations", "part"), ("exemplars", "rank")):
        kept = pl.read_parquet(folder / f"{table}.parquet")
        with pytest.raises(StudyError, match=rf"'{table}' lacks the column '{column}'"):
            open_studies([put_tables(folder, **{table: kept.drop(column)})])
        put_tables(folder, **{table: kept})
    wrong = pl.read_parquet(folder / "units.parquet").with_columns(model=pl.lit(True))
    with pytest.raises(StudyError, match="'model' of table 'units' is Boolean, not String"):
        open_studies([put_tables(folder, units=wrong)])
    (folder / "tags.parquet").unlink()
    with pytest.raises(StudyError, match=r"tags\.parquet"):
        open_studies([folder])


def test_a_study_without_units_cannot_be_shown(hostile, tmp_path, put_tables):
    folder = put_tables(hostile.write_neurons(tmp_path / "study"), units=None, descriptions=None)
    with pytest.raises(StudyError, match="run it to the end"):
        open_studies([folder])


def test_classes(client):
    html = client.get("/3/").text
    assert "8</b> units" in html and "robin" in html and ">layer<" not in html
    assert "1 to 1 of 1 units" in client.get("/3/?q=robin").text
    moved = client.get("/3/class?name=robin")
    assert moved.status_code == 301 and moved.headers["location"] == "/3/unit?id=robin"
    card = client.get("/3/unit?id=robin").text
    assert "a red breast" in card and "3 not chosen" in card and "ift-proponent" in card
    first = client.get("/3/unit?id=%3Cscript%3Ealert(1)%3C%2Fscript%3E").text
    assert "Images that help" in first and "and it does not respond" in first and first.count("<img") == 8
    image = client.get("/3/image?example=i0")
    assert image.headers["content-type"] == "image/jpeg" and image.content[:3] == b"\xff\xd8\xff"
    results = client.get("/3/results").text
    assert results.count("0.50 to 0.70") == 2 and results.count("0.00 to 0.20") == 2
    text = client.get("/3/text?id=t7-4").text
    assert "a red breast of 7" in text and "Your verdict" in text

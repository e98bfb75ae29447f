"""What people make of descriptions."""

from __future__ import annotations

import hashlib
import sqlite3

import polars as pl
import pytest

from saywell.errors import InputError, StudyError
from saywell.explorer.verdicts import HumanVerdicts

FORM = {"secret": "the-secret", "item": "layer.0/0", "action": "accept", "name": "Ada"}


def _files(folder):
    return {
        p.name: hashlib.sha256(p.read_bytes()).digest()
        for p in folder.iterdir()
        if p.suffix in (".parquet", ".json")
    }


def _post(fresh, **changes):
    return fresh.client.post("/1/verdict", data={**FORM, **changes})


def test_a_verdict_is_kept_with_name_and_time_and_touches_nothing_else(fresh):
    before = _files(fresh.folder)
    answer = _post(fresh, note="sure")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/1/unit?id=layer.0%2F0#person"
    (one,) = fresh.shelf[0].verdicts.history("layer.0/0")
    assert (one.action, one.name, one.note) == ("accept", "Ada", "sure")
    assert one.time == "2026-05-03T12:30:00+00:00" and one.description == "layer.0/0#0"
    assert one.machine_text == "<script>alert(1)</script>"
    assert _files(fresh.folder) == before


def test_the_card_the_table_and_the_filter_show_the_last_word(fresh):
    _post(fresh)
    _post(fresh, action="rewrite", text="about <b>batteries</b>", name="<i>Bo</i>")
    card = fresh.client.get("/1/unit?id=layer.0/0").text
    assert "about &lt;b&gt;batteries&lt;/b&gt;" in card and "&lt;i&gt;Bo&lt;/i&gt;" in card
    assert card.index("rewritten</b> by") < card.index("accepted</b> by")
    assert "2026-05-03 12:30 UTC" in card
    page = fresh.client.get("/1/?person=rewrite").text
    assert "1 of 1 units" in page and "about &lt;b&gt;" in page
    assert "No unit" in fresh.client.get("/1/?person=accept").text
    assert "of 79 units" in fresh.client.get("/1/?person=none").text


def test_a_withdrawn_verdict_counts_no_more_and_stays_in_the_history(fresh):
    _post(fresh)
    _post(fresh, action="withdraw")
    assert fresh.shelf[0].verdicts.latest() == {}
    assert [v.action for v in fresh.shelf[0].verdicts.history("layer.0/0")] == ["withdraw", "accept"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"name": ""}, 400),
        ({"name": " "}, 400),
        ({"name": "x" * 81}, 400),
        ({"action": "delete"}, 400),
        ({"action": ""}, 400),
        ({"item": "nope"}, 404),
        ({"action": "rewrite", "text": ""}, 400),
        ({"action": "rewrite", "text": " <script>alert(1)</script> "}, 400),
        ({"action": "rewrite", "text": "x" * 2001}, 400),
        ({"note": "x" * 2001}, 400),
    ],
)
def test_what_is_no_verdict_is_refused_and_not_kept(fresh, changes, status):
    assert _post(fresh, **changes).status_code == status
    assert not (fresh.folder / "verdicts.sqlite").exists()


def test_hostile_words_are_kept_and_shown(fresh, hostile):
    for word in hostile.HOSTILE:
        _post(fresh, action="rewrite", text=word[:1999] + "!", name=word[:80], note=word[:1999])
    html = fresh.client.get("/1/unit?id=layer.0/0").text
    assert "<script>alert" not in html and "\u202e" not in html and "\x00" not in html
    assert len(fresh.shelf[0].verdicts.history("layer.0/0")) == len(hostile.HOSTILE)


def test_rows_are_never_changed_or_deleted(fresh):
    _post(fresh)
    with sqlite3.connect(fresh.folder / "verdicts.sqlite") as connection:
        for sql in ("update verdicts set name = 'x'", "delete from verdicts"):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                connection.execute(sql)
    assert len(fresh.shelf[0].verdicts.history("layer.0/0")) == 1


def test_a_description_that_changed_since_is_said(hostile, fresh, browse, put_tables):
    _post(fresh)
    table = pl.read_parquet(fresh.folder / "descriptions.parquet")
    put_tables(fresh.folder, descriptions=table.with_columns(text=pl.lit("something new")))
    client = browse(fresh.folder)
    assert "said of an earlier description" in client.get("/1/unit?id=layer.0/0").text
    rows = pl.read_csv(client.get("/1/export/csv").content)
    assert rows.filter(id="layer.0/0")["human_stale"].to_list() == [True]


def test_texts_of_classes_are_judged_too(hostile, tmp_path, browse):
    folder = hostile.write_classes(tmp_path / "classes")
    client = browse(folder)
    answer = client.post("/1/verdict", data={**FORM, "item": "t7-4", "action": "reject"})
    assert answer.headers["location"] == "/1/text?id=t7-4#person"
    assert "rejected" in client.get("/1/unit?id=robin").text
    assert "1 to 1 of 1 units" in client.get("/1/?person=reject").text


def test_a_file_that_is_none_or_cannot_be_written_is_said(tmp_path):
    import datetime

    def clock():
        return datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)

    (tmp_path / "verdicts.sqlite").write_bytes(b"not a database at all, not at all" * 40)
    verdicts = HumanVerdicts(tmp_path, clock)
    with pytest.raises(StudyError, match="cannot be read as verdicts"):
        verdicts.latest()
    with pytest.raises(StudyError, match="could not be kept"):
        verdicts.add("u", "accept", name="Ada", machine_text="")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "verdicts.sqlite").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StudyError, match="is a link"):
        HumanVerdicts(tmp_path / "linked", clock)
    with pytest.raises(InputError, match="one of accept"):
        HumanVerdicts(tmp_path / "none", clock).add("u", "x", name="Ada", machine_text="")

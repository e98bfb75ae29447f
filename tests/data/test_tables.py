"""The same rows from whatever holds them; names, zeros and lists as they were meant."""

from __future__ import annotations

import csv
import gzip
import json
import os

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saywell.data.descriptor_files import load_descriptors
from saywell.data.encodings import encoding_of
from saywell.data.knowledge import load_knowledge
from saywell.data.tables import open_table
from saywell.data.tag_lists import parse_lists
from saywell.data.texts import load_texts
from saywell.errors import InputError

PLACES = "harbour meadow quarry tunnel orchard lagoon viaduct chapel foundry glacier kiosk marina".split()
TEXTS = [f"they met near the {place} on day {n}" for n, place in enumerate(PLACES * 2)]
MOODS = [["calm"], ["proud", "sly"], []] * 8
FRAME = pl.DataFrame({"text": TEXTS, "moods": MOODS}, schema_overrides={"moods": pl.List(pl.String)})
EXPECTED = load_texts(FRAME, tags="moods", near=None)
PLAIN = [";".join(moods) for moods in MOODS]
ONCE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def said(loaded):
    """Every tag, sorted."""
    return sorted({tag for tags in loaded.table["tags"].to_list() for tag in tags})


def same(loaded, expected=EXPECTED):
    return loaded.fingerprint == expected.fingerprint and loaded.table.equals(expected.table)


# ---- what people have in their hands


def test_frames_of_other_libraries_and_lists():
    pandas, pyarrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    rows = [{"text": text, "moods": moods} for text, moods in zip(TEXTS, MOODS, strict=True)]
    frame = pandas.DataFrame(rows)
    for source in (frame, pyarrow.table(FRAME.to_dict(as_series=False)), rows):
        assert same(load_texts(source, tags="moods", near=None))
    plain = load_texts(TEXTS, near=None)
    for source in (
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        pl.Series(TEXTS),
        tuple(TEXTS),
        frame["text"],
    ):
        assert same(load_texts(source, near=None), plain)


def test_missing_values_of_pandas_are_null_and_its_categories_are_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": [*TEXTS, None, float("nan")], "n": range(26)})
    frame["kind"] = pandas.Categorical(["a", "b"] * 13)
    loaded = load_texts(frame, tags="kind", near=None)
    assert loaded.rejected.rows() == [(24, "not text", "null"), (25, "not text", "null")]
    assert said(loaded) == ["a", "b"]


def test_datasets_with_class_labels_at_any_depth(tmp_path):
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=["007", "sly", "calm"])
    features = datasets.Features(
        {
            "text": datasets.Value("string"),
            "one": label,
            "many": datasets.List(label),
            "fixed": datasets.List(label, length=2),
            "inside": {"mood": label},
        }
    )
    numbers = [n % 3 for n in range(24)]
    data = datasets.Dataset.from_dict(
        {
            "text": TEXTS,
            "one": numbers,
            "many": [[n, 2] for n in numbers],
            "fixed": [[n, n] for n in numbers],
            "inside": [{"mood": n} for n in numbers],
        },
        features=features,
    )
    data.to_parquet(tmp_path / "x.parquet")
    data.save_to_disk(tmp_path / "saved")
    parts = datasets.DatasetDict(a=data.select(range(9)), b=data.select(range(9, 24)))
    for source in (data, parts, tmp_path / "x.parquet", tmp_path / "saved"):
        for column in ("one", "many", "fixed", "inside.mood"):
            assert said(load_texts(source, tags=column, near=None)) == ["007", "calm", "sly"]


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Enum(["calm", "sly"]), pl.String])
def test_dictionaries_of_arrow_are_names(tmp_path, dtype):
    frame = pl.DataFrame({"text": TEXTS, "mood": pl.Series(["calm", "sly"] * 12, dtype=dtype)})
    frame.write_parquet(tmp_path / "x.parquet")
    assert said(load_texts(tmp_path / "x.parquet", tags="mood", near=None)) == ["calm", "sly"]


def write(path, delimiter=",", encoding="utf-8", packed=False):
    lines = [["text", "moods"], *([t, m] for t, m in zip(TEXTS, PLAIN, strict=True))]
    opened = gzip.open if packed else open
    with opened(path, "wt", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(lines)
    return path


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x[1].csv.gz", "X.CSV"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_separators_are_recognised(tmp_path, name, delimiter):
    if delimiter in ";|":
        marks = [["text", "moods"], *([t, " ".join(m)] for t, m in zip(TEXTS, MOODS, strict=True))]
    else:
        marks = [["text", "moods"], *([t, m] for t, m in zip(TEXTS, PLAIN, strict=True))]
    opened = gzip.open if name.endswith(".gz") else open
    with opened(tmp_path / name, "wt", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(marks)
    loaded = load_texts(tmp_path / name, tags="moods", near=None)
    assert loaded.table["text"].equals(EXPECTED.table["text"])
    usual = "\t" if name.endswith("tsv") else ","
    assert any(repr(delimiter) in note for note in loaded.notes) == (delimiter != usual)


def test_one_column_with_other_marks_in_it_is_one_column(tmp_path):
    (tmp_path / "x.csv").write_text("text\n" + "\n".join(f"{t}; and | so" for t in TEXTS))
    assert load_texts(tmp_path / "x.csv", near=None).notes == ()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_encodings_are_recognised_and_told(tmp_path, encoding):
    loaded = load_texts(write(tmp_path / "x.csv", encoding=encoding), tags="moods", near=None)
    assert same(loaded)
    assert bool(loaded.notes) == (encoding != "utf-8-sig")


WESTERN = ["“Café” – naïve façade", "Über 5 € für Straße", "El Niño’s año: ¿qué?", "plain"]


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("\n".join(WESTERN).encode("cp1252"), "cp1252"),
        ("привет, мир\nещё строка".encode("cp1251"), None),
        ("図書館で本を読む".encode("shift_jis"), None),
        ("图书馆里看书".encode("gb18030"), None),
        ("Ελληνικά κείμενα".encode("iso8859-7"), None),
        (bytes(range(256)), None),
        ("\n".join(WESTERN).encode(), "utf-8-sig"),
    ],
)
def test_only_what_reads_as_western_is_taken_for_windows_1252(tmp_path, content, encoding):
    (tmp_path / "x").write_bytes(content)
    if encoding is None:
        with pytest.raises(InputError, match="is not UTF-8"):
            encoding_of(lambda: (tmp_path / "x").open("rb"), "x")
    else:
        found, note = encoding_of(lambda: (tmp_path / "x").open("rb"), "x")
        assert found == encoding and ("Windows-1252" in note) == (encoding == "cp1252")


def test_json_arrays_lines_packed_files_folders_and_patterns(tmp_path):
    rows = [{"text": text, "moods": moods} for text, moods in zip(TEXTS, MOODS, strict=True)]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "b.json").write_text(json.dumps({"data": rows, "version": 1}))
    columns = {"text": dict(enumerate(TEXTS)), "moods": dict(enumerate(MOODS))}
    (tmp_path / "c.json").write_text(json.dumps(columns))
    with gzip.open(tmp_path / "d.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    shards = tmp_path / "shards"
    shards.mkdir()
    for n in range(3):
        FRAME[n * 8 : n * 8 + 8].write_parquet(shards / f"part-{n}.parquet")
    sources = [*sorted(tmp_path.glob("*.json*")), shards, str(shards / "part-*.parquet")]
    for source in sources:
        assert same(load_texts(source, tags="moods", near=None)), source
    # What exists is no pattern.
    odd = tmp_path / "part-*.parquet"
    FRAME[:12].write_parquet(odd)
    assert load_texts(odd, near=None).total_rows == 12
    (tmp_path / "e.json").write_text(json.dumps(TEXTS))
    assert load_texts(tmp_path / "e.json", near=None).total_rows == 24
    with pytest.raises(InputError, match="no file or folder"):
        load_texts(str(tmp_path / "none-*.csv"))
    FRAME[:3].drop("moods").write_csv(shards / "more.csv")
    with pytest.raises(InputError, match=r"files of different kinds \(.csv, .parquet\)"):
        load_texts(shards)


def test_a_folder_of_text_files_is_a_text_each(tmp_path):
    for n, text in enumerate(TEXTS):
        (tmp_path / f"{n:02}.txt").write_text(f"{text}\nand a second line")
    (tmp_path / ".hidden.txt").write_text("not read")
    loaded = load_texts(tmp_path, near=None)
    assert loaded.total_rows == 24 and "read as one text" in loaded.notes[0]
    assert loaded.table.filter(row=3)["text"][0] == f"{TEXTS[3]} and a second line"


# ---- columns


def test_the_only_column_of_text_is_read_and_told():
    loaded = load_texts(FRAME.rename({"text": "body"}).with_row_index("n"), near=None)
    assert loaded.table.equals(load_texts(TEXTS, near=None).table)
    assert loaded.notes == ("The column 'body' was read, the only one of text.",)


def test_a_column_that_is_not_there_names_the_option_and_what_there_is():
    frame = FRAME.rename({"text": "body"}).with_columns(title=pl.lit("a"))
    with pytest.raises(InputError, match=r"no column 'text'; columns: 'body', 'moods', 'title'") as caught:
        load_texts(frame)
    assert "'body' and 'title' could be meant; say which with text=... (--text)" in str(caught.value)
    with pytest.raises(InputError, match=r"did you mean 'moods'\?\); say which with tags=\.\.\. \(--tags\)"):
        load_texts(frame, text="body", tags="mood")


def test_fields_inside_records(tmp_path):
    rows = [{"data": {"text": t, "by": {"mood": "calm"}}} for t in TEXTS]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    pl.DataFrame(rows).write_parquet(tmp_path / "x.parquet")
    for source in (tmp_path / "x.jsonl", tmp_path / "x.parquet", rows):
        loaded = load_texts(source, text="data.text", tags="data.by.mood", near=None)
        assert said(loaded) == ["calm"] and len(loaded.table) == 24


def test_a_column_that_only_late_rows_have_is_found(tmp_path):
    rows = [{"other": n} for n in range(1500)] + [{"text": t} for t in TEXTS]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert len(load_texts(tmp_path / "x.jsonl", near=None).table) == 24


# ---- values


@ONCE
@given(
    st.lists(st.from_regex(r"[0-9]{1,6}|[0-9]{2}\.[0-9]0|[0-9]e5", fullmatch=True), min_size=1, max_size=9)
)
def test_what_looks_like_a_number_stays_as_it_is_written(tmp_path, names):
    path = tmp_path / "x.csv"
    path.write_text("text,code\n" + "".join(f"{t},{names[n % len(names)]}\n" for n, t in enumerate(TEXTS)))
    assert said(load_texts(path, tags="code", near=None)) == sorted(set(names[: len(TEXTS)]))


@pytest.mark.parametrize(
    ("column", "tags", "told"),
    [
        ([2.0, float("nan"), None], ["2.0"], False),
        (["calm", "NaN", None], ["calm"], True),
        (["calm", "None", ""], ["calm"], True),
        ([["calm", "null"], ["<NA>"], []], ["calm"], True),
        ([True, None, False], ["false", "true"], False),
        (["none", "nullify", "Nan"], ["Nan", "none", "nullify"], False),  # words, not what programs write
    ],
)
def test_words_for_a_missing_value_are_no_tags(tmp_path, column, tags, told):
    frame = pl.DataFrame({"text": TEXTS, "t": column * 8}, strict=False)
    frame.write_parquet(tmp_path / "x.parquet")
    lines = [json.dumps({"text": t, "t": v}) for t, v in zip(TEXTS, column * 8, strict=True)]
    (tmp_path / "x.jsonl").write_text("\n".join(lines))
    for source in (frame, tmp_path / "x.parquet", tmp_path / "x.jsonl"):
        loaded = load_texts(source, tags="t", near=None)
        assert said(loaded) == tags
        assert any("say that there is none" in note for note in loaded.notes) == told


ITEM = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


@ONCE
@given(st.lists(st.lists(ITEM, max_size=4), min_size=1, max_size=6).filter(any))
def test_lists_that_python_json_or_numpy_printed_are_read_back(lists):
    for printed in (
        [repr(items) for items in lists],
        [json.dumps(items) for items in lists],
        [str(np.array(items, dtype=object)) if len(items) < 900 else "" for items in lists],
    ):
        found = parse_lists(pl.Series(printed), "tags")
        assert found is not None and found.to_list() == lists


@pytest.mark.parametrize(
    ("column", "lists"),
    [
        (["[1 2]", "[3]", "[]"], [["1", "2"], ["3"], []]),
        (["('a', 'b')", "", None], [["a", "b"], [], None]),
        (["[calm]", "[sly] [calm]"], None),  # brackets around words are words
        (["calm", "sly"], None),
        (["['a', ['b']]", "x"], None),
    ],
)
def test_printed_lists(column, lists):
    found = parse_lists(pl.Series(column, dtype=pl.String), "tags")
    assert (None if found is None else found.to_list()) == lists


def test_printed_lists_beside_words_are_an_error(tmp_path):
    values = ["['calm', 'sly']", "calm"] * 12
    pl.DataFrame({"text": TEXTS, "t": values}).write_csv(tmp_path / "x.csv")
    with pytest.raises(InputError, match=r"holds \"\['calm', 'sly'\]\", a list that was printed, and 'calm'"):
        load_texts(tmp_path / "x.csv", tags="t")


@ONCE
@given(st.lists(st.text(st.characters(exclude_categories=[])), min_size=1, max_size=6))
def test_any_str_is_a_text_or_is_rejected(hostile):
    """Halves of characters, NUL and controls among them: named, or used, and never a traceback."""
    rows = [{"text": text, "t": text} for text in [*TEXTS, *hostile]]
    for source in (rows, [*TEXTS, *hostile]):
        loaded = load_texts(source, tags="t" if source is rows else None, near=None)
        assert len(loaded.table) + len(loaded.rejected) == loaded.total_rows == 24 + len(hostile)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
@pytest.mark.parametrize("name", ["x.csv", "x.txt", "x.json", "x.parquet", "x.jsonl.gz"])
def test_pipes_are_refused_and_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match="it is a pipe"):
        load_texts(tmp_path / name)


def test_what_is_no_gzip_though_its_name_says_so(tmp_path):
    (tmp_path / "x.csv.gz").write_text("text\nplain")
    with pytest.raises(InputError, match="cannot be read"):
        load_texts(tmp_path / "x.csv.gz")


@pytest.mark.parametrize("name", ["x.csv.gz", "x.jsonl.gz", "x.json.gz", "x.txt.gz"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_damaged_gzip_is_named(tmp_path, name, share):
    rows = [{"text": f"{text} {n * 7919 % 1000}"} for n, text in enumerate(TEXTS * 40)]
    whole = bytearray(gzip.compress(json.dumps(rows).encode()))
    start = int(share * len(whole))
    whole[start : start + 64] = bytes(64)
    (tmp_path / name).write_bytes(whole)
    with pytest.raises(InputError, match=r"x\..*gz"):
        load_texts(tmp_path / name)


def test_kinds_of_columns(tmp_path):
    (tmp_path / "x.csv").write_text("id,text,score,empty\n001,a b,3.5,\n002,c d,NaN,\n")
    assert open_table(tmp_path / "x.csv").kinds == {
        "id": "number",
        "text": "text",
        "score": "number",
        "empty": "number",
    }


@given(st.text(st.characters(exclude_categories=[]), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_halves_of_characters_and_controls_in_articles_and_descriptors(hostile):
    rows = {"coot": f"A bird. {hostile}", "owl": "Another."}
    assert load_knowledge(rows, list(rows)).articles["status"].to_list() == ["found", "found"]
    texts, _ = load_descriptors({name: [text] for name, text in rows.items()}, list(rows))
    assert all(text.encode() and text.isprintable() for text in texts) or not hostile.isprintable()

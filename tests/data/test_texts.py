"""Loading texts: the same rows give the same examples, and what cannot be used is named."""

from __future__ import annotations

import csv
import json
import random
import sys
import unicodedata
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from saywell.data.splits import assign_parts
from saywell.data.texts import load_pairs, load_texts, normalised
from saywell.errors import InputError, MissingPackage

WORDS = ["battery", "screen", "waiter", "soup", "parcel", "refund", "quiet", "slow", "kind", "again"]


def sentences(n: int, seed: int = 0) -> list[str]:
    """n different sentences, none near another."""
    draw = random.Random(seed)
    return [" ".join([*draw.choices(WORDS, k=9), f"number{i}", f"of{i}", f"day{i}"]) for i in range(n)]


TEXTS = sentences(60)


def test_examples_have_id_part_text_tags_row_and_are_sorted_by_id():
    loaded = load_texts(TEXTS)
    assert loaded.table.schema == {
        "id": pl.String,
        "part": pl.String,
        "text": pl.String,
        "tags": pl.List(pl.String),
        "row": pl.Int64,
    }
    assert loaded.rejected.schema == {"row": pl.Int64, "reason": pl.String, "detail": pl.String}
    assert loaded.table["id"].is_sorted()
    assert loaded.table["tags"].null_count() == 60
    assert [TEXTS[row] for row in loaded.table["row"]] == loaded.table["text"].to_list()
    assert loaded.total_rows == 60 and loaded.rejected.is_empty()
    assert loaded.table["part"].equals(assign_parts(loaded.table["id"], 0))


# ---- the same rows, whatever their order and file


# U+2028 and its like must not end a line; a lone carriage return must not either.
PIECE = st.sampled_from(
    [*WORDS, 'say "no"', "a,b", "né", "e\u0301", "\u200fשלום", "😀", "\u2028", "\x0b", "\x00", "\t", "{", "#"]
)
ROW = st.lists(PIECE, min_size=0, max_size=9).map(" ".join)
TAGS = st.lists(st.sampled_from(["price", "taste", "né", "long tag"]), max_size=3, unique=True)


def write(folder: Path, kind: str, texts: list[str], tags: list[list[str]]) -> Path:
    path = folder / f"texts[*].{kind}"
    if kind == "txt":
        path.write_text("".join(text + "\n" for text in texts), encoding="utf-8", newline="")
    elif kind in ("csv", "tsv"):
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file, delimiter="," if kind == "csv" else "\t")
            writer.writerow(["n", "tags", "text"])
            writer.writerows([i, ";".join(t), x] for i, (x, t) in enumerate(zip(texts, tags, strict=True)))
    elif kind == "jsonl":
        lines = [json.dumps({"text": x, "tags": t}) for x, t in zip(texts, tags, strict=True)]
        path.write_text("\n".join(lines), encoding="utf-8")
    else:
        frame = pl.DataFrame(
            {"text": texts, "tags": tags}, schema={"text": pl.String, "tags": pl.List(pl.String)}
        )
        frame.write_parquet(path)
    return path


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ROW, TAGS), max_size=30), st.sampled_from([None, 40]))
def test_every_format_gives_the_same_tables(tmp_path, drawn, limit):
    texts = TEXTS + [text for text, _ in drawn]
    tags = [["a"]] * 60 + [tags for _, tags in drawn]
    frame = pl.DataFrame(
        {"text": texts, "tags": tags}, schema={"text": pl.String, "tags": pl.List(pl.String)}
    )
    expected = load_texts(frame, tags="tags", limit=limit)
    for kind in ("csv", "tsv", "jsonl", "parquet"):
        loaded = load_texts(write(tmp_path, kind, texts, tags), tags="tags", limit=limit)
        assert loaded.table.equals(expected.table), kind
        assert loaded.rejected.equals(expected.rejected), kind
        assert loaded.fingerprint == expected.fingerprint
    plain = load_texts(texts, limit=limit)
    lines = load_texts(write(tmp_path, "txt", texts, tags), limit=limit)
    assert lines.table.equals(plain.table) and lines.rejected.equals(plain.rejected)
    assert plain.table.drop("tags").equals(expected.table.drop("tags"))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(ROW, max_size=40),
    st.randoms(use_true_random=False),
    st.sampled_from([None, 30]),
    st.integers(0, 9),
)
def test_the_order_of_rows_changes_only_row_numbers(drawn, random_, limit, seed):
    texts = TEXTS + drawn
    shuffled = random_.sample(texts, len(texts))
    one, two = (load_texts(rows, limit=limit, seed=seed) for rows in (texts, shuffled))
    assert one.table.drop("row").equals(two.table.drop("row"))
    assert one.fingerprint == two.fingerprint
    for reason in ("not text", "empty", "too long", "duplicate", "near duplicate"):
        assert (one.rejected["reason"] == reason).sum() == (two.rejected["reason"] == reason).sum()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cn"]))))
def test_normalising_gives_nfc_without_controls_and_is_idempotent(texts):
    once = pl.select(normalised(pl.lit(pl.Series(texts, dtype=pl.String)))).to_series()
    assert pl.select(normalised(pl.lit(once))).to_series().equals(once)
    for text in once:
        assert unicodedata.is_normalized("NFC", text)
        assert not any(unicodedata.category(c) == "Cc" for c in text)
        assert text == text.strip() and "  " not in text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("e\u0301", "é"),
        ("e\x00\u0301", "é"),
        (" a\t\r\n b\u00a0\u2028c ", "a b c"),
        ("nul\x00l\x1f\x7f", "null"),
        ("\u200fשלום 👩\u200d🔬", "\u200fשלום 👩\u200d🔬"),
    ],
)
def test_normalised_texts(raw, clean):
    assert pl.select(normalised(pl.lit(raw))).item() == clean


# ---- what is rejected


def test_rows_that_are_no_use_are_rejected_by_reason():
    hostile = [
        None,
        3,
        ["a", "list"],
        "",
        " \x00\t\u200b\u200f",
        "x" * 2001,
        " " * 5000,
        "half \ud83d",
        "wörd " * 400,
    ]
    loaded = load_texts([*hostile, *TEXTS])
    assert loaded.rejected.rows() == [
        (0, "not text", "null"),
        (1, "not text", "3"),
        (2, "not text", "['a', 'list']"),
        (3, "empty", ""),
        (4, "empty", "\u200b\u200f"),
        (5, "too long", "x" * 80),
        (6, "empty", ""),
        (7, "not text", "half a character: half "),
    ]
    assert len(loaded.table) == 61 and loaded.total_rows == 69


def test_texts_as_long_as_allowed_are_kept_whole():
    loaded = load_texts([*TEXTS, "é" * 150, "😀" * 151], max_chars=150)
    assert loaded.rejected.rows() == [(61, "too long", "😀" * 80)]
    assert "é" * 150 in loaded.table["text"]


def test_equal_texts_keep_the_first_row_and_its_tags():
    frame = pl.DataFrame({"text": [*TEXTS, f" {TEXTS[7]}\x00 "], "tags": ["a"] * 60 + ["b"]})
    loaded = load_texts(frame, tags="tags")
    assert loaded.rejected.rows() == [(60, "duplicate", "of 7")]
    assert loaded.table.filter(row=7)["tags"].to_list() == [["a"]]


def test_of_near_duplicates_the_smallest_id_is_kept():
    copies = [TEXTS[0], TEXTS[0].upper(), TEXTS[0] + "!", TEXTS[0] + " today"]
    every = load_texts([*TEXTS[1:], *copies], near=None)
    kept = every.table.filter(pl.col("row") >= 59)["row"][0]
    loaded = load_texts([*TEXTS[1:], *copies], near=0.8)
    assert loaded.table.filter(pl.col("row") >= 59)["row"].to_list() == [kept]
    assert set(loaded.rejected["reason"]) == {"near duplicate"}
    assert loaded.rejected["detail"].to_list() == [f"of {kept}"] * 3
    assert every.rejected.is_empty() and len(every.table) == 63


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 59), st.sampled_from(WORDS)), max_size=60), st.integers(0, 99))
def test_no_near_duplicates_straddle_a_split(changes, seed):
    def shingles(text):
        words = text.split()
        return {tuple(words[i : i + 3]) for i in range(len(words) - 2)}

    texts = TEXTS + [f"{TEXTS[i]} {word}" for i, word in changes]
    examples = load_texts(texts, near=0.6, seed=seed).table
    pairs = [(shingles(text), split) for text, split in zip(examples["text"], examples["part"], strict=True)]
    for i, (one, split) in enumerate(pairs):
        for other, other_split in pairs[:i]:
            assert split == other_split or len(one & other) / len(one | other) < 0.6


def test_the_reviews_that_occur_more_than_once_are_found(shared):
    frame = pl.read_parquet(shared / "data" / "amazon_reviews.parquet")
    surplus = len(frame) - frame.select(normalised(pl.col("text"))).n_unique()
    loaded = load_texts(shared / "data" / "amazon_reviews.parquet", tags="category", max_chars=100_000)
    counts = dict(loaded.rejected["reason"].value_counts().iter_rows())
    assert counts["duplicate"] == surplus == 148
    assert loaded.total_rows == 8000 == len(loaded.table) + len(loaded.rejected)
    assert set(loaded.table["tags"].list.first()) == set(frame["category"])


# ---- limit


def test_a_limit_samples_fairly_from_a_sorted_file():
    texts = sorted(sentences(2000))
    loaded = load_texts(texts, limit=500)
    assert len(loaded.table) == 500 and loaded.total_rows == 2000
    assert 900 < loaded.table["row"].mean() < 1100  # type: ignore[operator]
    assert set(load_texts(texts, limit=100).table["id"]) < set(loaded.table["id"])
    assert set(load_texts(texts, limit=500, seed=1).table["id"]) != set(loaded.table["id"])


def test_a_limited_text_keeps_its_split():
    split = dict(load_texts(TEXTS).table.select("id", "part").iter_rows())
    assert all(split[i] == s for i, s in load_texts(TEXTS, limit=40).table.select("id", "part").iter_rows())


def test_equal_texts_do_not_use_up_the_limit():
    assert len(load_texts(TEXTS * 5, limit=60).table) == 60


# ---- tags


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (["price; taste |price", None, ""] + ["x"] * 57, [["price", "taste"], [], []]),
        ([[" price\x00", None, "a;b", ""], [], None] + [["x"]] * 57, [["price", "a;b"], [], []]),
        ([5, 4, None] + [1] * 57, [["5"], ["4"], []]),
        (pl.Series(["a|b", "c", None] + ["x"] * 57, dtype=pl.Categorical), [["a", "b"], ["c"], []]),
        (pl.Series([["a", "b"]] * 60, dtype=pl.Array(pl.String, 2)), [["a", "b"]] * 3),
    ],
)
def test_tags_are_lists_or_separated_strings(column, expected):
    examples = load_texts(pl.DataFrame({"text": TEXTS, "t": column}), tags="t").table
    assert examples.sort("row")["tags"].to_list()[:3] == expected


def test_tags_that_are_tables_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"tags column 't' .* holds Struct"):
        load_texts(pl.DataFrame({"text": TEXTS, "t": [{"a": 1}] * 60}), tags="t")
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "a", "t": ["b", 2, true, null]}\n{"text": "b", "t": {"c": 1}}\n')
    with pytest.raises(InputError, match=r"row 1: 't' holds"):
        load_texts(path, tags="t")


def test_the_fingerprint_tells_texts_and_tags_apart():
    def fingerprint(texts, tag):
        return load_texts(pl.DataFrame({"text": texts, "t": tag}), tags="t").fingerprint

    tags = [["a", "b"]] * 60
    prints = {fingerprint(TEXTS, tags), fingerprint(TEXTS[1:], tags[1:]), fingerprint(TEXTS, [["a b"]] * 60)}
    assert len(prints | {load_texts(TEXTS).fingerprint}) == 4


# ---- hostile files


def test_csv_with_line_breaks_quotes_and_a_line_of_a_megabyte(tmp_path):
    path = tmp_path / "texts.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([["text", "n"], ['He said\n"no, never"\r\nand left', 1], ["long " * 250_000, 2]])
        file.write("\r\n")
        writer.writerows([text, 3] for text in TEXTS)
    limit = csv.field_size_limit()
    loaded = load_texts(path)
    assert csv.field_size_limit() == limit
    assert 'He said "no, never" and left' in loaded.table["text"]
    assert loaded.rejected.rows() == [(1, "too long", ("long " * 16))]
    assert loaded.total_rows == 62


def test_a_blank_line_is_an_empty_text_where_lines_are_texts(tmp_path):
    for name, head in [("a.txt", ""), ("a.csv", "text\n")]:
        path = tmp_path / name
        path.write_text(head + "\n".join(["", *TEXTS]) + "\n")
        assert load_texts(path).rejected.rows() == [(0, "empty", "")]


def test_lines_of_json_that_are_no_objects_are_rejected(tmp_path):
    path = tmp_path / "texts.jsonl"
    odd = [
        '["a", "list"]',
        '"a string"',
        "7",
        "null",
        '{"other": 1}',
        '{"text": null}',
        '{"text": "half \\ud83d"}',
    ]
    path.write_text("\n".join([*odd, "", *(json.dumps({"text": text}) for text in TEXTS)]))
    loaded = load_texts(path)
    assert loaded.rejected["row"].to_list() == list(range(7))
    assert set(loaded.rejected["reason"]) == {"not text"}
    assert len(loaded.table) == 60 and loaded.total_rows == 67


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"text\n", "has no rows"),
        (
            "a.csv",
            b"Text,n\na,b\n",
            r"no column 'text'; columns: 'Text', 'n' \(did you mean 'Text'\?\); 'Text' and 'n' could be"
            r" meant; say which with text=\.\.\. \(--text\)",
        ),
        ("a.csv", b"text,text\na,1\n", "more than one column 'text'"),
        ("a.csv", b"text,n\na,1\nb, c,2\n", r"line 3: 3 fields, but the header has 2"),
        ("a.csv", b'text,n\na,1\n"b\nc",2\n"d" e,3\n', r"line 5: .* expected after"),
        ("a.csv", b'text,n\na,1\n"never closed,2\nb,3\n', "line 3: unexpected end of data"),
        ("a.csv", b"text\nfine\ncaf\xe9\x81\n", r"line 3 is not UTF-8 \(byte 0xe9 at byte 4\)"),
        ("a.txt", "hé\n".encode("utf-16")[:-1], "no utf-16; save the file as UTF-8"),
        ("a.txt", b"\n\n\xff\n", "line 3 is not UTF-8"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "line 2 is not JSON"),
        ("a.jsonl", b'{"text": "a"}\n' + b"[" * 100_000, "line 2 is not JSON"),
        ("a.jsonl", b'{"txet": "a", "b": "c"}\n', r"columns: 'txet', 'b' \(did you mean 'txet'\?\)"),
        ("a.jsonl", b'"a"\n', r"no column 'text'; columns: none"),
        ("a.parquet", b"PAR1 not really PAR1", "cannot be read as Parquet"),
        ("a.parquet", b"text", "cannot be read as Parquet"),
        ("a.docx", b"PK", r"ends in '\.docx'; files that can be read end in \.parquet"),
        ("a.txt", b"one\ntwo\nthree\n", "has 3 rows, of which 3 are usable; at least 10"),
        ("a.txt", b"same\n" * 50 + b"\n", r"has 51 rows, of which 1 are usable \(49 duplicate, 1 empty\)"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_texts(path)
    assert name in str(caught.value)


def test_a_parquet_file_cut_short(tmp_path):
    path = write(tmp_path, "parquet", TEXTS, [[]] * 60)
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:40] + bytes(200) + content[240:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="cannot be read as Parquet"):
            load_texts(path)


@pytest.mark.parametrize(
    ("column", "held"),
    [("item", "records"), ("item.sizes", r"values such as '\[1, 2\]'"), ("item.price", "values such as '9'")],
)
def test_a_column_of_records_is_answered_with_those_of_text_inside(tmp_path, column, held):
    row = {"item": {"title": "a blue kettle", "sizes": [1, 2], "price": 9}}
    (tmp_path / "x.jsonl").write_text(f"{json.dumps(row)}\n" * 12)
    with pytest.raises(InputError, match=f"holds {held}, not text; columns of text: 'item.title'$"):
        load_texts(tmp_path / "x.jsonl", text=column)


def test_a_column_of_numbers_is_refused_with_the_columns_of_text():
    with pytest.raises(InputError, match=r"'stars' .* holds Int64, not text; columns of text: 'body'"):
        load_texts(pl.DataFrame({"stars": [1, 2], "body": ["a", "b"]}), text="stars")


def test_lines_have_no_tags_and_no_other_column():
    for options in ({"tags": "t"}, {"text": "body"}):
        with pytest.raises(InputError, match="columns: 'text'"):
            load_texts(TEXTS, **options)


@pytest.mark.parametrize(
    "source",
    [
        "/no/such/file",
        "missing.csv",
        Path("imdb"),
        "a text, not a name",
        "nul\x00",
        "x" * 5000,
        "a/b/c",
        "csv",
        "imdb",
    ],
)
def test_a_file_that_is_not_there(source):
    with pytest.raises(InputError, match=r"there is no file or folder|cannot be opened"):
        load_texts(source)


@pytest.mark.parametrize("source", [7, b"bytes", None, {"text": TEXTS}, pl.LazyFrame({"text": TEXTS})])
def test_a_source_of_another_kind(source):
    with pytest.raises(InputError, match="texts cannot be read from a"):
        load_texts(source)


@pytest.mark.parametrize(
    "options",
    [{"limit": 9}, {"limit": 2.5}, {"seed": "a"}, {"max_chars": 0}, {"near": 0.1}, {"fractions": (0.5, 0.5)}],
)
def test_options_out_of_range(options):
    (name,) = options
    with pytest.raises(InputError, match=f"{name}="):
        load_texts(TEXTS, **options)


def test_an_empty_split_is_an_error():
    with pytest.raises(InputError, match="leave a part empty"):
        load_texts(TEXTS, fractions=(0.999, 0.0005, 0.0005))


def test_the_error_for_too_few_texts_counts_what_limit_left_out():
    copies = [f"{'very ' * i}long and winding road to the very end of it all" for i in range(200, 260)]
    with pytest.raises(InputError, match=r"near duplicate, 30 left out by limit=30\)"):
        load_texts(copies, limit=30)


def test_two_texts_with_one_id_are_an_error(monkeypatch):
    monkeypatch.setattr("saywell.data.texts.content_ids", lambda texts: ["0" * 16 for _ in texts])
    with pytest.raises(InputError, match=r"rows \[0, 1\] have the same id '0000000000000000'"):
        load_texts(TEXTS)


# ---- Hugging Face datasets


def test_a_saved_dataset_and_its_parts(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )
    whole = datasets.Dataset.from_dict(
        {"text": TEXTS, "label": [i % 2 for i in range(60)]}, features=features
    )
    whole.save_to_disk(tmp_path / "whole")
    parts = {"train": whole.select(range(40)), "test": whole.select(range(40, 60))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "parts")
    frame = pl.DataFrame({"text": TEXTS, "label": ["bad", "good"] * 30})
    expected = load_texts(frame, tags="label")
    for name in ("whole", "parts"):
        loaded = load_texts(tmp_path / name, tags="label")
        assert loaded.table.equals(expected.table)
    with pytest.raises(InputError, match="no column 'body'"):
        load_texts(tmp_path / "whole", text="body")
    for arrow in (tmp_path / "whole").glob("*.arrow"):
        arrow.write_bytes(b"broken")
    for state in (None, "[" * 100_000, '[{"_data_files": 3}]'):
        if state is not None:
            (tmp_path / "whole" / "state.json").write_text(state)
        with pytest.raises(InputError, match="cannot be read as a saved dataset"):
            load_texts(tmp_path / "whole")


def test_a_folder_that_is_no_dataset(tmp_path):
    with pytest.raises(InputError, match="not one written by a Hugging Face dataset's save_to_disk"):
        load_texts(tmp_path)


def test_hub_names_go_to_datasets(monkeypatch):
    datasets = pytest.importorskip("datasets")

    def load_dataset(name):
        if name == "someone/texts":
            return datasets.DatasetDict(train=datasets.Dataset.from_dict({"text": TEXTS}))
        raise datasets.exceptions.DatasetNotFoundError(f"{name} is not on the hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert load_texts("someone/texts").table.equals(load_texts(TEXTS).table)
    with pytest.raises(InputError, match="'nobody/texts' is neither a file, nor a folder, nor a dataset"):
        load_texts("nobody/texts")


def test_datasets_is_optional(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "datasets", None)
    (tmp_path / "state.json").write_text("{}")
    for source in ("someone/texts", tmp_path):
        with pytest.raises(MissingPackage, match=r"pip install 'saywell\[datasets\]'"):
            load_texts(source)


def test_tags_of_a_set_do_not_depend_on_the_process(tmp_path):
    tags = {"x", "y", "b", "c", "word"}
    for several in (tags, frozenset(tags)):
        rows = [{"text": f"text {n}", "tag": several} for n in range(10)]
        assert load_texts(rows, tags="tag", near=None).table["tags"][0].to_list() == sorted(tags)


def test_a_map_is_no_tag(tmp_path):
    kind = pa.map_(pa.string(), pa.string())
    table = pa.table({"text": ["a"], "tag": pa.array([[("k", "v")]], kind)})
    for source in (table, tmp_path / "t.parquet"):
        pq.write_table(table, tmp_path / "t.parquet")
        with pytest.raises(InputError, match="a list of str"):
            load_texts(source, tags="tag")


# ---- what else is known of each


def known_of(rows, **columns):
    """What `load_texts` keeps of columns, by text."""
    frame = pl.DataFrame({"text": TEXTS, **rows})
    table = load_texts(frame, **columns).table
    return dict(
        zip(table["text"], table.select(pl.exclude("id", "part", "text", "tags", "row")).rows(), strict=True)
    )


@pytest.mark.parametrize(
    ("given", "target", "label"),
    [
        (list(range(60)), float, str),
        ([n / 7 for n in range(60)], float, "0.14285714285714285"),
        ([n % 2 == 0 for n in range(60)], float, "false"),
        ([f"{n}.5" for n in range(60)], float, str),
        ([f"{n:03}" for n in range(60)], "001", str),  # a code
        (["1"] * 2 + ["one"] * 58, str, str),
        (pl.Series([f"c{n % 3}" for n in range(60)], dtype=pl.Categorical), str, str),
    ],
)
def test_targets_are_numbers_where_each_is_one_and_labels_are_strings(given, target, label):
    found = known_of({"x": given}, target="x", label="x", covariates=["x"])
    assert set(map(len, found.values())) == {3}
    for text, value in zip(TEXTS, given, strict=True):
        wanted = float(value) if target is float else str(value)
        assert found[text][0] == found[text][2] == wanted
        assert isinstance(found[text][1], str)
    if not isinstance(label, type):
        assert found[TEXTS[1]][1] == label


def test_values_that_are_missing_stay_so_and_are_counted():
    rows = {"y": [None, float("nan"), *range(58)], "c": ["", "NaN", *"ab" * 29]}
    loaded = load_texts(pl.DataFrame({"text": TEXTS} | rows, strict=False), target="y", label="c")
    assert loaded.table.sort("row")["target"].to_list()[:3] == [None, None, 0.0]
    assert loaded.table["label"].null_count() == 2 and loaded.classes == ("a", "b")
    assert loaded.notes == ("2 rows have no value in 'y'.", "2 rows have no value in 'c'.")


def test_copies_that_are_said_to_be_other_things_are_told():
    rows = [{"text": text, "y": n, "c": "a"} for n, text in enumerate([*TEXTS, *TEXTS[:5]])]
    loaded = load_texts(rows, target="y", label="c")
    assert sorted(loaded.table["target"]) == list(range(60))
    assert loaded.notes == ("5 copies of examples have another target than the first, which is kept.",)


def test_what_is_known_is_part_of_the_fingerprint():
    frame = pl.DataFrame({"text": TEXTS, "y": range(60), "z": [0] * 60})
    options = [
        {},
        {"target": "y"},
        {"target": "z"},
        {"label": "y"},
        {"covariates": ["y"]},
        {"covariates": ["z"]},
    ]
    assert len({load_texts(frame, **one).fingerprint for one in options}) == 6
    assert load_texts(frame.sample(60, seed=1, shuffle=True), target="y").fingerprint == (
        load_texts(frame, target="y").fingerprint
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"covariates": ["row"]}, "covariate 'row' is called like a column that every study has"),
        ({"covariates": ["a", "a"]}, "'a' is named twice"),
        ({"covariates": "a"}, r"give a list of columns: \['a'\]"),
        ({"covariates": ["gone"]}, "no column 'gone'.*covariates="),
        ({"target": "aa"}, r"no column 'aa'.*did you mean 'a'"),
        ({"label": "list"}, "'list' .* holds List.*neither numbers nor strings"),
        ({"target": "inf"}, "'inf' .* holds inf; leave such rows empty"),
    ],
)
def test_columns_that_cannot_be_used_are_told(options, message):
    frame = pl.DataFrame(
        {"text": TEXTS, "row": 1, "a": 1, "list": [[1]] * 60, "inf": [float("inf"), *[0.0] * 59]}
    )
    with pytest.raises(InputError, match=message):
        load_texts(frame, **options)


# ---- pairs


OTHERS = sentences(60, seed=1)
PAIRS = pl.DataFrame({"a": TEXTS, "b": OTHERS, "margin": [n - 30 for n in range(60)]})


def test_pairs_are_examples_with_two_texts():
    loaded = load_pairs(PAIRS, "a", "b", target="margin")
    assert loaded.table.columns == ["id", "part", "first", "second", "tags", "row", "target"]
    rows = loaded.table["row"].to_list()
    assert list(loaded.show()) == [(TEXTS[row], OTHERS[row]) for row in rows]
    assert list(loaded.show([3, 0])) == [(TEXTS[row], OTHERS[row]) for row in (rows[3], rows[0])]
    assert loaded.texts[5] == f"{TEXTS[rows[5]]}\n{OTHERS[rows[5]]}"
    assert loaded.table["target"].to_list() == [row - 30 for row in rows]
    assert loaded.table["part"].equals(assign_parts(loaded.table["id"], 0))
    again = load_pairs(PAIRS.sample(60, seed=2, shuffle=True), "a", "b", target="margin")
    assert again.table.drop("row").equals(loaded.table.drop("row"))
    with pytest.raises(InputError, match="have no pictures"):
        loaded.pictures()


def test_pairs_that_are_no_use_are_rejected_by_the_text_that_is_not():
    more = pl.DataFrame(
        {"a": ["", "x" * 2001, TEXTS[0], OTHERS[1]], "b": [TEXTS[0], "fine", None, TEXTS[1]], "margin": 0}
    )
    rejected = load_pairs(pl.concat([PAIRS, more], how="vertical_relaxed"), "a", "b").rejected
    assert rejected.rows() == [
        (60, "empty", ""),
        (61, "too long", "x" * 80),
        (62, "not text", "null"),
        (63, "duplicate", "of 1"),  # the other way round
    ]


def test_near_duplicates_of_pairs_are_kept_once():
    nearly = PAIRS.head(9).with_columns(b=pl.col("b") + " again")
    loaded = load_pairs(pl.concat([PAIRS, nearly]), "a", "b", near=0.7)
    assert len(loaded) == 60 and set(loaded.rejected["reason"]) == {"near duplicate"}
    with pytest.raises(InputError, match="both the column 'a'"):
        load_pairs(PAIRS, "a", "a")
    with pytest.raises(InputError, match=r"no column 'c'.*second="):
        load_pairs(PAIRS, "a", "c")

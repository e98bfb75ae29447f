"""Loading texts: read, clean, drop duplicates, sample, split; each row refused is named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl

from saywell.data.duplicates import check_threshold, first_of_equals, near_duplicate_groups
from saywell.data.encodings import encodable
from saywell.data.splits import (
    assign_split,
    check_fractions,
    check_seed,
    check_splits,
    content_ids,
    hash_numbers,
)
from saywell.data.tables import TEXT, Column, SourceTable, is_missing, open_table, shown
from saywell.data.tag_lists import parse_lists
from saywell.errors import InputError

FEWEST = 10  # usable texts
DETAIL = 80  # characters of a rejected text that are shown
MISSING = ("", "NaN", "nan", "None", "null", "NULL", "<NA>", "NaT")
"""What programs write where there is no value; none of them is a tag."""

_ROWS = {"text": pl.String, "problem": pl.String, "tags": pl.List(pl.String)}
_REJECTED = {"row": pl.Int64, "reason": pl.String, "detail": pl.String}
_STRINGS = (pl.String, pl.Categorical, pl.Enum)


@dataclass(frozen=True)
class Texts:
    """Texts fit for use, each in one split, and a word on each row that was refused.

    `examples`: id (16 hex digits), split ('calibration', 'validation', 'test'), text, tags (list of
    str; null where no tags were asked for), row (from 0 in the source); sorted by id.
    `rejected`: row, reason ('not text', 'empty', 'too long', 'duplicate', 'near duplicate'), detail
    (at most 80 characters of the text, or 'of ROW' for duplicates); sorted by row.
    `fingerprint`: 32 hex digits, a hash of the ids and tags kept.
    `total_rows`: rows in the source; those in neither table were left out by `limit`.
    `notes`: what had to be assumed of the source, one sentence each.
    """

    examples: pl.DataFrame
    rejected: pl.DataFrame
    fingerprint: str
    total_rows: int
    notes: tuple[str, ...] = ()


NEAR = 0.85
"""Jaccard index of shingles from which texts are near duplicates."""


def load_texts(
    source: Any,
    *,
    text: str = "text",
    tags: str | None = None,
    limit: int | None = None,
    seed: int = 0,
    max_chars: int = 2000,
    near: float | None = NEAR,
    fractions: Sequence[float] = (0.4, 0.3, 0.3),
) -> Texts:
    """Read, clean, de-duplicate, sample and split the texts of `source`.

    `source` is a file (.parquet, .csv, .tsv, .jsonl, .json, .txt with one text a line; all but the
    first also with .gz), a folder or pattern of such files, a folder of text files, the folder of a
    saved Hugging Face dataset, the name of one on the hub, a table (polars, pandas, pyarrow, datasets),
    or a list of str or dict. `text` and `tags` name columns, those inside records as 'outer.inner';
    where there is no column 'text', the only one of text is read. Tags are lists, or strings with
    tags separated by ';' or '|', or lists as Python and numpy print them.

    Texts are normalised (see `normalised`); those empty, not text or longer than `max_chars`
    characters are rejected, as are all but the first of equal texts. `limit` keeps that many
    distinct texts, chosen by a hash of content and `seed`. Of texts whose shingles have a Jaccard
    index of at least `near` (None: keep them) the one with the smallest id is kept. `fractions` are
    the expected shares of calibration, validation and test; `seed` decides those too.

    The order of the rows and the format change nothing but the `row` numbers, save that equal texts
    with different tags keep the tags of the first.

    Raises InputError for anything in the source or options that cannot be used, MissingPackage when
    a Hugging Face dataset is named and `datasets` is not installed.
    """
    _check_options(limit, seed, max_chars, near)
    check_fractions(fractions)
    name = shown(source)
    rows, notes = _read(source, text, tags)
    rows = rows.with_columns(normalised(pl.col("text")))
    rows = rows.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    if rows.is_empty():
        raise InputError(f"{name} has no rows")

    rows = rows.with_columns(reason=_reason(max_chars))
    rejected = [
        rows.filter(pl.col("reason").is_not_null()).select(
            "row", "reason", detail=pl.coalesce("text", "problem").str.slice(0, DETAIL)
        )
    ]
    kept = rows.filter(pl.col("reason").is_null()).select("text", "tags", "row")

    kept, refused = _keep_first(kept, first_of_equals(kept["text"]), "duplicate")
    rejected.append(refused)
    kept = kept.with_columns(id=pl.Series(content_ids(kept["text"]), dtype=pl.String)).sort("id")
    _check_collisions(kept)
    if limit is not None and len(kept) > limit:
        # Files are often sorted: a hash of content picks fairly, whatever the order.
        chosen = np.argsort(hash_numbers(kept["id"], seed, "limit"), kind="stable")[:limit]
        kept = kept[np.sort(chosen)]
    if near is not None:
        # Sorted by id, so the first of a group is the one with the smallest id.
        groups = near_duplicate_groups(kept["text"], near)
        kept, refused = _keep_first(kept, groups, "near duplicate")
        rejected.append(refused)

    refusals = pl.concat(rejected).sort("row")
    if len(kept) < FEWEST:
        raise InputError(_too_few(name, len(kept), len(rows), refusals, max_chars, limit))
    split = assign_split(kept["id"], seed, fractions)
    check_splits(split, seed)
    examples = kept.with_columns(split).select("id", "split", "text", "tags", "row")
    return Texts(examples, refusals, _fingerprint(examples), len(rows), notes)


def normalised(text: pl.Expr) -> pl.Expr:
    """Text without control characters, in NFC, each run of white space one space, stripped.

    Format characters (joiners of emoji, marks of direction) stay: they are part of the writing.
    """
    # Controls go first: one between a letter and its accent would hide the pair from NFC.
    return (
        text.str.replace_all(r"[\p{Cc}&&[^\s]]", "")
        .str.normalize("NFC")
        .str.replace_all(r"\s+", " ")
        .str.strip_chars(" ")
    )


def _reason(max_chars: int) -> pl.Expr:
    text = pl.col("text")
    return (
        pl.when(text.is_null())
        .then(pl.lit("not text"))
        .when(~text.str.contains(r"[^\p{Cf} ]"))
        .then(pl.lit("empty"))
        .when(text.str.len_chars() > max_chars)
        .then(pl.lit("too long"))
    )


def _keep_first(rows: pl.DataFrame, first: np.ndarray, reason: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that are the first of their kind, and the others as rejections that name it."""
    repeated = first != np.arange(len(rows))
    numbers = rows["row"].to_numpy()
    refused = pl.DataFrame(
        {
            "row": numbers[repeated],
            "reason": [reason] * int(repeated.sum()),
            "detail": [f"of {row}" for row in numbers[first[repeated]]],
        },
        schema=_REJECTED,
    )
    return rows.filter(~repeated), refused


def _check_collisions(kept: pl.DataFrame) -> None:
    clash = kept.filter(pl.col("id").is_duplicated())
    if len(clash):
        raise InputError(
            f"the different texts of rows {clash['row'].to_list()[:2]} have the same id "
            f"{clash['id'][0]!r}: leave one of them out"
        )


def _fingerprint(examples: pl.DataFrame) -> str:
    digest = blake2b(digest_size=16)
    for example, tags in examples.select("id", "tags").iter_rows():
        digest.update(f"{example} {json.dumps(tags)}\n".encode())
    return digest.hexdigest()


def _too_few(
    name: str, usable: int, total: int, rejected: pl.DataFrame, max_chars: int, limit: int | None
) -> str:
    counts = rejected.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
    words = {"too long": f"too long (more than {max_chars} characters)"}
    reasons = [f"{count} {words.get(reason, reason)}" for reason, count in counts.iter_rows()]
    unpicked = total - usable - len(rejected)
    if unpicked:
        reasons.append(f"{unpicked} left out by limit={limit}")
    why = f" ({', '.join(reasons)})" if reasons else ""
    return (
        f"{name} has {total} rows, of which {usable} are usable{why}; "
        f"at least {FEWEST} different texts are needed"
    )


def _check_options(limit: int | None, seed: int, max_chars: int, near: float | None) -> None:
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < FEWEST):
        raise InputError(f"limit={limit!r} is not a whole number of at least {FEWEST}, or None")
    check_seed(seed)
    if isinstance(max_chars, bool) or not isinstance(max_chars, int) or max_chars < 1:
        raise InputError(f"max_chars={max_chars!r} is not a whole number of at least 1")
    if near is not None:
        check_threshold(near)


# ---- reading: every source becomes a table of text (null: not text), problem (what it is), tags


def _read(source: Any, text: str, tags: str | None) -> tuple[pl.DataFrame, tuple[str, ...]]:
    table, column = open_table(source).choose(text, "text", TEXT, "text")
    wanted = [column] if tags is None else [column, table.require(tags, "tags")]
    texts, *given = table.take(wanted)
    rows = _text_rows(texts, column, table)
    notes = table.notes
    if tags is not None:
        lists, note = _tags(given[0], tags, table.name)
        rows = rows.with_columns(lists.alias("tags"))
        notes = (*notes, note) if note else notes
    return rows, notes


def _text_rows(column: Column, called: str, table: SourceTable) -> pl.DataFrame:
    strings = [other for other, kind in table.kinds.items() if kind == TEXT]
    there = f"; columns of text: {', '.join(map(repr, strings))}" if strings else ""
    if not isinstance(column, pl.Series) or column.dtype == pl.Object:
        first = next((value for value in column if not is_missing(value)), "")
        if strings and called not in strings and not any(isinstance(v, str) for v in column):
            held = "records" if isinstance(first, dict) else f"values such as {str(first)[:40]!r}"
            raise InputError(f"column {called!r} of {table.name} holds {held}, not text{there}")
        return _from_values(column)
    if isinstance(column.dtype, (*_STRINGS, pl.Null)):
        return pl.DataFrame({"text": column.cast(pl.String)}).with_columns(
            problem=pl.when(pl.col("text").is_null()).then(pl.lit("null")),
            tags=pl.lit(None, pl.List(pl.String)),
        )
    raise InputError(f"column {called!r} of {table.name} holds {column.dtype}, not text{there}")


def _from_values(values: Iterable[object]) -> pl.DataFrame:
    texts: list[str | None] = []
    problems: list[str | None] = []
    for value in values:
        if is_missing(value):
            text, problem = None, "null"
        elif not isinstance(value, str):
            text, problem = None, encodable(repr(value)[:DETAIL])
        elif encodable(value) != value:
            text, problem = None, f"half a character: {encodable(value[:DETAIL])}"[:DETAIL]
        else:
            text, problem = str(value), None
        texts.append(text)
        problems.append(problem)
    return pl.DataFrame({"text": texts, "problem": problems, "tags": [None] * len(texts)}, schema=_ROWS)


def _tags(column: Column, called: str, name: str) -> tuple[pl.Series, str]:
    """The tags of each row, and a note where words for a missing value were found among them."""
    if not isinstance(column, pl.Series) or column.dtype == pl.Object:
        values = [None if is_missing(value) else value for value in column]
        if all(value is None or isinstance(value, str) for value in values):
            strings = [None if value is None else encodable(value) for value in values]
            return _tags(pl.Series(called, strings, dtype=pl.String), called, name)
        column = pl.Series(
            called,
            [_values_as_tags(v, f"{name}, row {row}: {called!r}") for row, v in enumerate(values)],
            dtype=pl.List(pl.String),
        )
    dtype = column.dtype
    if isinstance(dtype, pl.Array):
        column, dtype = column.arr.to_list(), pl.List(dtype.inner)
    simple = dtype.inner if isinstance(dtype, pl.List) else dtype
    if simple.is_nested() or isinstance(simple, pl.Object | pl.Binary):
        raise InputError(
            f"tags column {called!r} of {name} holds {dtype}: make it a list of str, "
            "or a str with tags separated by ';'"
        )
    if isinstance(dtype, pl.List):
        numbers = simple.is_float()  # type: ignore[union-attr]
        values = column.list.eval(pl.element().fill_nan(None)) if numbers else column
        lists = values.cast(pl.List(pl.String))
    else:
        strings = (column.fill_nan(None) if dtype.is_float() else column).cast(pl.String)
        printed = parse_lists(strings, f"tags column {called!r} of {name}")
        lists = _apart(strings) if printed is None else printed
    return _clean_tags(lists, called)


def _apart(strings: pl.Series) -> pl.Series:
    return strings.str.replace_all("|", ";", literal=True).str.split(";")


def _clean_tags(lists: pl.Series, called: str) -> tuple[pl.Series, str]:
    """Tags normalised, in their order, without empty ones and repeats; [] where there are none."""
    tag = normalised(pl.element())
    tidy = lists.list.eval(tag.filter(tag.is_not_null() & (tag != "")))
    said = tidy.list.explode(keep_nulls=False, empty_as_null=False)
    words = said.filter(said.is_in(MISSING))
    kept = tidy.list.eval(pl.element().filter(~pl.element().is_in(MISSING)).unique(maintain_order=True))
    kept = kept.fill_null(pl.Series([[]], dtype=pl.List(pl.String)))
    if words.is_empty():
        return kept, ""
    there = ", ".join(map(repr, words.unique().sort().to_list()))
    return (kept, f"{len(words)} tags in {called!r} say that there is none ({there}) and were left out.")


def _values_as_tags(value: object, where: str) -> list[str]:
    """The tags that a value of Python's stands for; a number or truth value as JSON writes it."""
    if value is None:
        return []
    if isinstance(value, str):
        return re.split("[;|]", encodable(value))
    tags = []
    # The order of a set depends on the process.
    several = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
    for tag in several if isinstance(several, list | tuple) else [several]:
        if isinstance(tag, str):
            tags.append(encodable(tag))
        elif isinstance(tag, bool | int | float):
            tags.append(json.dumps(tag))
        elif tag is not None:
            raise InputError(
                f"{where} holds {encodable(str(value))[:DETAIL]!r}, neither tags nor a list of tags"
            )
    return tags

"""Loading texts and pairs of them: read, clean, drop duplicates, share out; each row refused is named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from saywell.data.duplicates import check_threshold, first_of_equals, near_duplicate_groups
from saywell.data.encodings import encodable
from saywell.data.examples import Examples
from saywell.data.splits import (
    assign_parts,
    check_fractions,
    check_parts,
    check_seed,
    content_ids,
    hash_numbers,
)
from saywell.data.tables import TEXT, Column, SourceTable, is_missing, open_table
from saywell.data.tag_lists import parse_lists
from saywell.errors import InputError

FEWEST = 10  # usable texts
DETAIL = 80  # characters of a rejected text that are shown
MISSING = ("", "NaN", "nan", "None", "null", "NULL", "<NA>", "NaT")
"""What programs write where there is no value; none of them is a tag."""

_ROWS = {"text": pl.String, "problem": pl.String}
_REJECTED = {"row": pl.Int64, "reason": pl.String, "detail": pl.String}
_STRINGS = (pl.String, pl.Categorical, pl.Enum)


NEAR = 0.85
"""Jaccard index of shingles from which texts are near duplicates."""
OURS = frozenset("id part row text first second name width height tags label target group tokens".split())
"""Columns of examples that mean the same in every study; a covariate is called something else."""


def load_texts(
    source: Any,
    *,
    text: str = "text",
    tags: str | None = None,
    target: str | None = None,
    label: str | None = None,
    covariates: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    max_chars: int = 2000,
    near: float | None = NEAR,
    fractions: Sequence[float] = (0.4, 0.3, 0.3),
) -> Examples:
    """Read, clean, de-duplicate, sample and share out the texts of `source`.

    `source` is a file (.parquet, .csv, .tsv, .jsonl, .json, .txt with one text a line; all but the
    first also with .gz), a folder or pattern of such files, a folder of text files, the folder of a
    saved Hugging Face dataset, the name of one on the hub, a table (polars, pandas, pyarrow, datasets),
    or a list of str or dict. `text` and `tags` name columns, those inside records as 'outer.inner';
    where there is no column 'text', the only one of text is read. Tags are lists, or strings with
    tags separated by ';' or '|', or lists as Python and numpy print them.

    `target` names a column with what is to be explained: numbers (true and false are 1 and 0), or
    strings where one of its values is no number. `label` names a column with the class of each text,
    as a string. `covariates` are columns that are kept under their own names, as targets are. Null
    stands where a row has no value.

    Texts are normalised (see `normalised`); those empty, not text or longer than `max_chars`
    characters are rejected, as are all but the first of equal texts. `limit` keeps that many
    distinct texts, chosen by a hash of content and `seed`. Of texts whose shingles have a Jaccard
    index of at least `near` (None: keep them) the one with the smallest id is kept. `fractions` are
    the expected shares of describe, select and score; `seed` decides those too.

    The table is sorted by id (16 hex digits of the text's hash) and has id, part, text, tags (null
    where no tags were asked for), row, then what else was asked for. `rejected` has row, reason ('not
    text', 'empty', 'too long', 'duplicate', 'near duplicate') and detail (at most 80 characters of
    the text, or 'of ROW' for duplicates). Rows in neither were left out by `limit`. `fingerprint` is
    a hash of all that is kept but the parts and rows.

    The order of the rows and the format change nothing but the `row` numbers, save that equal texts
    with different tags, targets or labels keep those of the first.

    Raises InputError for anything in the source or options that cannot be used, MissingPackage when
    a Hugging Face dataset is named and `datasets` is not installed.
    """
    rules = _rules(limit, seed, max_chars, near, fractions)
    table, column = open_table(source).choose(text, "text", TEXT, "text")
    named = _named(table, tags, target, label, covariates)
    texts, *given = table.take([column, *named.values()])
    rows = text_rows(texts, column, table, max_chars).with_columns(content="text", key="text")
    asked, notes = _asked_for(dict(zip(named, given, strict=True)), named, table, rows.height)
    return _shared_out(rows, ["text"], asked, rules, table.name, notes)


def load_pairs(
    source: Any,
    first: str,
    second: str,
    *,
    tags: str | None = None,
    target: str | None = None,
    label: str | None = None,
    covariates: Sequence[str] = (),
    limit: int | None = None,
    seed: int = 0,
    max_chars: int = 2000,
    near: float | None = NEAR,
    fractions: Sequence[float] = (0.4, 0.3, 0.3),
) -> Examples:
    """Read, clean, de-duplicate, sample and share out pairs of texts, such as two answers of which one won.

    `first` and `second` name the two columns of text; everything else is as in `load_texts`, with
    columns `first` and `second` in the place of `text`. A pair is rejected for the text of it that is
    empty, not text or too long. The same two texts the other way round are a duplicate: nobody is to
    be asked about a pair whose answer can be looked up.

    Raises InputError and MissingPackage as `load_texts`.
    """
    rules = _rules(limit, seed, max_chars, near, fractions)
    table = open_table(source)
    if table.require(first, "first") == table.require(second, "second"):
        raise InputError(f"first and second are both the column {first!r}; a pair needs two")
    named = _named(table, tags, target, label, covariates)
    one, other, *given = table.take([first, second, *named.values()])
    sides = [
        text_rows(column, called, table, max_chars) for column, called in ((one, first), (other, second))
    ]
    texts = ("first", "second")
    rows = pair_rows(*sides).with_columns(
        # A line break stands in neither, so that equal strings are equal pairs.
        content=pl.concat_str(*texts, separator="\n"),
        key=pl.concat_str(pl.min_horizontal(*texts), pl.max_horizontal(*texts), separator="\n"),
    )
    asked, notes = _asked_for(dict(zip(named, given, strict=True)), named, table, rows.height)
    return _shared_out(rows, ["first", "second"], asked, rules, table.name, notes)


class _Rules(NamedTuple):
    """Which examples are kept, and where they go."""

    limit: int | None
    seed: int
    max_chars: int
    near: float | None
    fractions: tuple[float, float, float]


def _shared_out(
    rows: pl.DataFrame,
    shown: list[str],
    asked: pl.DataFrame,
    rules: _Rules,
    name: str,
    notes: tuple[str, ...],
) -> Examples:
    """The examples among the rows of a source, each in one part.

    `rows` has the columns that are `shown`, `content` (all that is shown, as one text), `key` (equal for
    the same example), `reason` (why it is none) and `problem` (what it is then); `asked` what else is
    wanted of each row, in the same order.
    """
    if rows.is_empty():
        raise InputError(f"{name} has no rows")
    rows = rows.with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    rejected = [refusals_in(rows)]
    kept = rows.filter(pl.col("reason").is_null()).select("content", "key", "row", *shown)
    first = first_of_equals(kept["key"])
    notes = (*notes, *_notes_on_copies(asked[kept["row"]], first))
    kept, refused = _keep_first(kept, first, "duplicate")
    rejected.append(refused)
    kept = kept.with_columns(id=pl.Series(content_ids(kept["content"]), dtype=pl.String)).sort("id")
    _check_collisions(kept)
    if rules.limit is not None and len(kept) > rules.limit:
        # Files are often sorted: a hash of content picks fairly, whatever the order.
        chosen = np.argsort(hash_numbers(kept["id"], rules.seed, "limit"), kind="stable")[: rules.limit]
        kept = kept[np.sort(chosen)]
    if rules.near is not None:
        # Sorted by id, so the first of a group is the one with the smallest id.
        groups = near_duplicate_groups(kept["content"], rules.near)
        kept, refused = _keep_first(kept, groups, "near duplicate")
        rejected.append(refused)

    refusals = pl.concat(rejected).sort("row")
    if len(kept) < FEWEST:
        raise InputError(too_few(name, len(kept), len(rows), refusals, rules.max_chars, rules.limit))
    part = assign_parts(kept["id"], rules.seed, rules.fractions)
    check_parts(part, rules.seed)
    asked = asked[kept["row"]]
    table = kept.with_columns(part, asked["tags"]).select("id", "part", *shown, "tags", "row")
    table = table.hstack(asked.drop("tags"))
    classes = tuple(table["label"].drop_nulls().unique().sort()) if "label" in table.columns else ()
    kind = "text" if shown == ["text"] else "pair"
    return Examples(table, kind, fingerprint_of(table), refusals, len(rows), notes, classes=classes)


def refusals_in(rows: pl.DataFrame) -> pl.DataFrame:
    """The rejections (row, reason, detail) among rows that have `row`, `reason` and `problem`."""
    refused = rows.filter(pl.col("reason").is_not_null())
    return refused.select("row", "reason", detail=pl.col("problem").str.slice(0, DETAIL))


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


def _notes_on_copies(asked: pl.DataFrame, first: np.ndarray) -> list[str]:
    """Where copies of an example are said to be different things, and the first is believed."""
    others = {
        column: int(asked[column].gather(first).ne_missing(asked[column]).sum())
        for column in ("target", "label")
        if column in asked.columns
    }
    return [
        f"{count} copies of examples have another {column} than the first, which is kept."
        for column, count in others.items()
        if count
    ]


def fingerprint_of(examples: pl.DataFrame) -> str:
    """Of all that a table of texts or pairs holds but parts and rows."""
    digest = blake2b(digest_size=16)
    others = examples.drop("id", "part", "text", "first", "second", "tags", "row", strict=False).columns
    if others:
        digest.update(f"{json.dumps(others)}\n".encode())
    for example, tags, *values in examples.select("id", "tags", *others).iter_rows():
        more = f" {json.dumps(values)}" if values else ""
        digest.update(f"{example} {json.dumps(tags)}{more}\n".encode())
    return digest.hexdigest()


def too_few(
    name: str, usable: int, total: int, rejected: pl.DataFrame, max_chars: int, limit: int | None
) -> str:
    """What is said where fewer than FEWEST rows of a source are usable."""
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


def _rules(
    limit: int | None, seed: int, max_chars: int, near: float | None, fractions: Sequence[float]
) -> _Rules:
    """The options, or InputError for one that cannot be used."""
    check_limit(limit)
    check_seed(seed)
    if isinstance(max_chars, bool) or not isinstance(max_chars, int) or max_chars < 1:
        raise InputError(f"max_chars={max_chars!r} is not a whole number of at least 1")
    if near is not None:
        check_threshold(near)
    return _Rules(limit, seed, max_chars, near, check_fractions(fractions))


def check_limit(limit: object) -> None:
    """InputError for what is no number of examples to keep."""
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < FEWEST):
        raise InputError(f"limit={limit!r} is not a whole number of at least {FEWEST}, or None")


# ---- reading: every column of text becomes a table of text (null: not text) and problem (what it is)


def _named(
    table: SourceTable, tags: str | None, target: str | None, label: str | None, covariates: Sequence[str]
) -> dict[str, str]:
    """Columns of the source by what they are called from here. InputError for one that cannot be."""
    given = {"tags": tags, "target": target, "label": label}
    named = {ours: table.require(name, ours) for ours, name in given.items() if name is not None}
    if isinstance(covariates, str):
        raise InputError(f"covariates={covariates!r} is a string; give a list of columns: [{covariates!r}]")
    for name in covariates:
        if name in OURS:
            raise InputError(
                f"the covariate {name!r} is called like a column that every study has; rename it in the data"
                f" (taken: {', '.join(sorted(OURS))})"
            )
        if name in named:
            raise InputError(f"the covariate {name!r} is named twice")
        named[name] = table.require(name, "covariates")
    return named


def covariates_in(table: SourceTable, covariates: Sequence[str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Columns of a source under their own names, a row for each of its rows, and notes on them.

    Raises InputError as `load_texts` does of its `covariates`.
    """
    named = _named(table, None, None, None, covariates)
    given = dict(zip(named, table.take(list(named.values())), strict=True))
    columns, notes = _asked_for(given, named, table, len(next(iter(given.values()))))
    return columns.drop("tags"), notes


def _asked_for(
    given: Mapping[str, Column], named: Mapping[str, str], table: SourceTable, height: int
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The columns of `_named`, `tags` always among them, and what had to be assumed of the source."""
    notes = table.notes
    columns = []
    for ours, column in given.items():
        if ours == "tags":
            lists, note = _tags(column, named[ours], table.name)
            columns.append(lists.alias("tags"))
            notes = (*notes, note) if note else notes
            continue
        values = column_values(column, named[ours], table.name, numbers=ours != "label").alias(ours)
        if values.null_count():
            notes = (*notes, f"{values.null_count()} rows have no value in {named[ours]!r}.")
        columns.append(values)
    if "tags" not in given:
        columns.append(pl.Series("tags", [None] * height, dtype=pl.List(pl.String)))
    return pl.DataFrame(columns), notes


def column_values(column: Column, called: str, name: str, *, numbers: bool) -> pl.Series:
    """A column of numbers as floats, where `numbers` and each value is one; else of strings. Null: none.

    Raises InputError for a column of anything else, and for an infinite number.
    """
    if not isinstance(column, pl.Series) or column.dtype == pl.Object:
        plain = [None if is_missing(value) else value for value in column]
        strange = next((v for v in plain if not isinstance(v, str | bool | int | float | None)), None)
        if strange is not None:
            shown_value = encodable(repr(strange))[:DETAIL]
            raise InputError(f"column {called!r} of {name} holds {shown_value}, neither numbers nor strings")
        if any(isinstance(value, str) for value in plain):
            plain = [v if v is None else encodable(v) if isinstance(v, str) else json.dumps(v) for v in plain]
        column = pl.Series(called, plain, strict=False)
    dtype = column.dtype
    if not (dtype.is_numeric() or isinstance(dtype, (*_STRINGS, pl.Boolean, pl.Null))):
        raise InputError(f"column {called!r} of {name} holds {dtype}, neither numbers nor strings")
    if dtype.is_float():
        column = column.fill_nan(None)
    if isinstance(dtype, _STRINGS):
        column = column.cast(pl.String).str.strip_chars().replace(list(MISSING), None)
        # A code such as 007 is a name, not a number.
        if numbers and not column.str.contains(r"^[+-]?0\d").any():
            parsed = column.cast(pl.Float64, strict=False)
            if parsed.null_count() == column.null_count():
                column = parsed
    elif numbers:
        column = column.cast(pl.Float64)
    if not column.dtype.is_float() or not numbers:
        return column.cast(pl.String)
    infinite = column.filter(column.is_infinite())
    if len(infinite):
        raise InputError(f"column {called!r} of {name} holds {infinite[0]!r}; leave such rows empty")
    return column.cast(pl.Float64)


def text_rows(column: Column, called: str, table: SourceTable, max_chars: int) -> pl.DataFrame:
    """Of each row of a column its text, normalised, why it cannot be used, and what is shown of it then.

    Columns `text`, `reason` ('not text', 'empty', 'too long'; null: it can be used) and `problem`.

    Raises InputError for a column that holds no texts.
    """
    rows = _strings_of(column, called, table).with_columns(normalised(pl.col("text")))
    return rows.with_columns(reason=_reason(max_chars), problem=pl.coalesce("text", "problem"))


def pair_rows(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Two of `text_rows` as one: `first`, `second`, and `reason` and `problem` of the one that has any."""
    refused = first["reason"].is_not_null()
    return pl.DataFrame(
        {
            "first": first["text"],
            "second": second["text"],
            "reason": first["reason"].zip_with(refused, second["reason"]),
            "problem": first["problem"].zip_with(refused, second["problem"]),
        }
    )


def _strings_of(column: Column, called: str, table: SourceTable) -> pl.DataFrame:
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
            problem=pl.when(pl.col("text").is_null()).then(pl.lit("null"))
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
    return pl.DataFrame({"text": texts, "problem": problems}, schema=_ROWS)


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

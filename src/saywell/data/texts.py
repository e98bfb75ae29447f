"""Loading texts: read, clean, drop duplicates, sample, split; each row refused is named."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from saywell.data.duplicates import check_threshold, first_of_equals, near_duplicate_groups
from saywell.data.splits import (
    assign_split,
    check_fractions,
    check_splits,
    content_ids,
    hash_numbers,
)
from saywell.errors import InputError, MissingPackage

FEWEST = 10  # usable texts
DETAIL = 80  # characters of a rejected text that are shown
SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson", ".txt")

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
    """

    examples: pl.DataFrame
    rejected: pl.DataFrame
    fingerprint: str
    total_rows: int


NEAR = 0.85
"""Jaccard index of shingles from which texts are near duplicates."""


def load_texts(
    source: str | Path | pl.DataFrame | Sequence[str],
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

    `source` is a file (.parquet, .csv, .tsv, .jsonl, .txt with one text a line), the folder of a
    saved Hugging Face dataset, the name of one on the hub, a polars DataFrame or a list of str.
    `text` and `tags` name columns; tags are lists, or strings with tags separated by ';' or '|'.

    Texts are normalised (see `normalise`); those empty, not text or longer than `max_chars`
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
    name = _name(source)
    rows = _read(source, name, text, tags).with_columns(_normalised(pl.col("text")))
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
    return Texts(examples, refusals, _fingerprint(examples), len(rows))


def normalise(texts: pl.Series) -> pl.Series:
    """The texts without control characters, in NFC, each run of white space one space, stripped.

    Format characters (joiners of emoji, marks of direction) stay: they are part of the writing.
    """
    return texts.to_frame("text").select(_normalised(pl.col("text")))["text"]


def _normalised(text: pl.Expr) -> pl.Expr:
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


def _keep_first(
    rows: pl.DataFrame, first: np.ndarray, reason: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
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
    if limit is not None and (
        isinstance(limit, bool) or not isinstance(limit, int) or limit < FEWEST
    ):
        raise InputError(f"limit={limit!r} is not a whole number of at least {FEWEST}, or None")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"seed={seed!r} is not a whole number")
    if isinstance(max_chars, bool) or not isinstance(max_chars, int) or max_chars < 1:
        raise InputError(f"max_chars={max_chars!r} is not a whole number of at least 1")
    if near is not None:
        check_threshold(near)


# ---- reading: every source becomes a table of text (null: not text), problem (what it is), tags


def _name(source: object) -> str:
    if isinstance(source, str | Path):
        return repr(str(source)[:200])
    return f"the {type(source).__name__}"


def _read(source: object, name: str, text: str, tags: str | None) -> pl.DataFrame:
    if isinstance(source, pl.DataFrame):
        return _from_frame(source, name, text, tags)
    if isinstance(source, str | Path):
        return _read_path(source, name, text, tags)
    if isinstance(source, Sequence) and not isinstance(source, bytes | bytearray | memoryview):
        _check_columns(["text"], name, text, tags)
        return _from_values(source, None)
    raise InputError(
        f"texts cannot be read from a {type(source).__name__}: give a path, the name of a dataset, "
        "a polars DataFrame or a list of str"
    )


def _read_path(source: str | Path, name: str, text: str, tags: str | None) -> pl.DataFrame:
    path = Path(source)
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:  # such as a name too long for the file system
        raise InputError(f"{name} cannot be opened: {error.strerror}") from error
    if is_folder:
        return _read_saved_dataset(path, name, text, tags)
    suffix = path.suffix.lower()
    if not is_file:
        # Without an owner, `datasets` takes 'csv' or 'text' for a reader of the working folder.
        is_hub_name = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", str(source), re.ASCII)
        if isinstance(source, str) and is_hub_name and suffix not in SUFFIXES:
            return _read_hub(source, name, text, tags)
        raise InputError(f"there is no file or folder {name}; hub datasets are named 'owner/name'")
    if suffix not in SUFFIXES:
        raise InputError(
            f"{name} ends in {suffix!r}; files that can be read end in {', '.join(SUFFIXES)}"
        )
    if path.stat().st_size == 0:
        raise InputError(f"{name} is empty")
    if suffix == ".parquet":
        return _read_parquet(path, name, text, tags)
    if suffix in (".csv", ".tsv"):
        return _read_delimited(path, name, text, tags, "," if suffix == ".csv" else "\t")
    if suffix == ".txt":
        _check_columns(["text"], name, text, tags)
        return _from_values(list(_lines(path, name, newline="\n")), None)
    return _read_json_lines(path, name, text, tags)


def _check_columns(columns: Sequence[str], name: str, text: str, tags: str | None) -> None:
    for wanted in [text] if tags is None else [text, tags]:
        if wanted in columns:
            continue
        close = get_close_matches(wanted, columns, n=1, cutoff=0.6)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        there = ", ".join(repr(column[:DETAIL]) for column in columns) or "none"
        raise InputError(f"{name} has no column {wanted!r}; columns: {there}{hint}")


def _read_parquet(path: Path, name: str, text: str, tags: str | None) -> pl.DataFrame:
    try:
        # An open file: in a path, polars would take '*' and '[' for patterns.
        with path.open("rb") as file:
            columns = list(pl.read_parquet_schema(file))
            _check_columns(columns, name, text, tags)
            file.seek(0)
            frame = pl.read_parquet(file, columns=list({text: 0, tags or text: 0}))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise InputError(f"{name} cannot be read as Parquet: {error}") from error
    return _from_frame(frame, name, text, tags)


def _read_delimited(
    path: Path, name: str, text: str, tags: str | None, delimiter: str
) -> pl.DataFrame:
    texts: list[str] = []
    tag_values: list[str] = []
    reader = csv.reader(_lines(path, name, newline=""), delimiter=delimiter, strict=True)
    begin = 1
    # The csv module refuses fields of more than 128 KiB; here such a text is one rejected row.
    usual = csv.field_size_limit(2**31 - 1)
    try:
        header = next(reader, [])
        for column in (text, tags):
            if column is not None and header.count(column) > 1:
                raise InputError(f"{name} has more than one column {column!r}")
        _check_columns(header, name, text, tags)
        at, tags_at = header.index(text), None if tags is None else header.index(tags)
        begin = reader.line_num + 1
        for fields in reader:
            if not fields and len(header) > 1:
                begin = reader.line_num + 1
                continue
            fields = fields or [""]
            if len(fields) != len(header):
                raise InputError(
                    f"{name}, line {begin}: {len(fields)} fields, but the header has "
                    f"{len(header)}; "
                    f'put texts that hold {delimiter!r} or line breaks in double quotes ("")'
                )
            texts.append(fields[at])
            if tags_at is not None:
                tag_values.append(fields[tags_at])
            begin = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{name}, line {begin}: {error}; a text that begins with a double quote must end "
            "with one, and quotes inside it are doubled"
        ) from error
    finally:
        csv.field_size_limit(usual)
    return _from_values(
        texts, None if tags is None else [_split_tags(value) for value in tag_values]
    )


def _read_json_lines(path: Path, name: str, text: str, tags: str | None) -> pl.DataFrame:
    values: list[object] = []
    tag_values: list[list[str]] = []
    columns: dict[str, None] = {}
    for number, line in enumerate(_lines(path, name, newline="\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{name}, line {number} is not JSON: {error}") from error
        if not isinstance(record, dict):
            # Text must sit under its key: a bare string is refused like a bare list.
            values.append([record] if isinstance(record, str) else record)
            tag_values.append([])
            continue
        columns.update(dict.fromkeys(record))
        values.append(record.get(text))
        if tags is not None:
            tag_values.append(_json_tags(record.get(tags), f"{name}, line {number}: {tags!r}"))
    if values:
        _check_columns(list(columns), name, text, tags)
    return _from_values(values, None if tags is None else tag_values)


def _lines(path: Path, name: str, newline: str) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as file:
            yield from file
    except UnicodeDecodeError as error:
        raise InputError(f"{name}, {_first_undecodable(path)}; save the file as UTF-8") from error
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from error


def _first_undecodable(path: Path) -> str:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                return "line 1 begins as UTF-16, not UTF-8"
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = line[error.start]
                return f"line {number} is not UTF-8 (byte 0x{byte:02x} at byte {error.start + 1})"
    raise AssertionError("the file changed while it was read")


def _read_saved_dataset(path: Path, name: str, text: str, tags: str | None) -> pl.DataFrame:
    if not any((path / file).is_file() for file in ("state.json", "dataset_dict.json")):
        raise InputError(
            f"{name} is a folder, but not one written by a Hugging Face dataset's save_to_disk; "
            f"give a file that ends in {', '.join(SUFFIXES)}"
        )
    datasets = _datasets(f"reading the dataset folder {name}")
    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{name} cannot be read as a saved dataset: {error}") from error
    return _from_dataset(loaded, name, text, tags)


def _read_hub(source: str, name: str, text: str, tags: str | None) -> pl.DataFrame:
    datasets = _datasets(f"there is no file or folder {name}, and reading it from the hub")
    try:
        loaded = datasets.load_dataset(source)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            f"{name} is neither a file, nor a folder, nor a dataset that the hub gave us: {error}"
        ) from error
    return _from_dataset(loaded, name, text, tags)


def _datasets(purpose: str) -> Any:
    try:
        import datasets
        import datasets.exceptions
    except ImportError as error:
        raise MissingPackage("datasets", "datasets", purpose) from error
    return datasets


def _from_dataset(loaded: Any, name: str, text: str, tags: str | None) -> pl.DataFrame:
    """The rows of a Dataset, or of all parts of a DatasetDict in their order."""
    parts = list(loaded.values()) if isinstance(loaded, dict) else [loaded]
    tables = []
    for part in parts:
        _check_columns(part.column_names, name, text, tags)
        frame = part.select_columns(list({text: 0, tags or text: 0})).to_polars()
        label_names = getattr(part.features[tags], "names", None) if tags else None
        if label_names:  # class labels are stored as numbers
            named = dict(enumerate(label_names))
            frame = frame.with_columns(
                pl.col(tags).replace_strict(named, default=None, return_dtype=pl.String)
            )
        tables.append(_from_frame(frame, name, text, tags))
    return pl.concat(tables) if tables else pl.DataFrame(schema=_ROWS)


def _from_frame(frame: pl.DataFrame, name: str, text: str, tags: str | None) -> pl.DataFrame:
    _check_columns(frame.columns, name, text, tags)
    column = frame[text]
    if column.dtype == pl.Object:
        rows = _from_values(column.to_list(), None)
    elif isinstance(column.dtype, (*_STRINGS, pl.Null)):
        rows = pl.DataFrame({"text": column.cast(pl.String)}).with_columns(
            problem=pl.when(pl.col("text").is_null()).then(pl.lit("null")),
            tags=pl.lit(None, pl.List(pl.String)),
        )
    else:
        strings = [c for c, dtype in frame.schema.items() if isinstance(dtype, _STRINGS)]
        there = f"; columns of text: {', '.join(map(repr, strings))}" if strings else ""
        raise InputError(f"column {text!r} of {name} holds {column.dtype}, not text{there}")
    return rows if tags is None else rows.with_columns(_frame_tags(frame[tags], name).alias("tags"))


def _frame_tags(column: pl.Series, name: str) -> pl.Series:
    dtype = column.dtype
    if isinstance(dtype, pl.Array):
        column, dtype = column.arr.to_list(), pl.List(dtype.inner)
    simple = dtype.inner if isinstance(dtype, pl.List) else dtype
    if isinstance(simple, pl.Object | pl.Struct | pl.List | pl.Array | pl.Binary):
        raise InputError(
            f"tags column {column.name!r} of {name} holds {dtype}: make it a list of str, "
            "or a str with tags separated by ';'"
        )
    if isinstance(dtype, pl.List):
        lists = column.cast(pl.List(pl.String))
    else:
        lists = column.cast(pl.String).str.replace_all("|", ";", literal=True).str.split(";")
    return _clean_tags(lists)


def _clean_tags(lists: pl.Series) -> pl.Series:
    """Tags normalised, in their order, without empty ones and repeats; [] where there are none."""
    tag = _normalised(pl.element())
    cleaned = lists.list.eval(
        tag.filter(tag.is_not_null() & (tag != "")).unique(maintain_order=True)
    )
    return cleaned.fill_null(pl.Series([[]], dtype=pl.List(pl.String)))


def _split_tags(value: str) -> list[str]:
    return re.split("[;|]", value)


def _json_tags(value: object, where: str) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return _split_tags(_encodable(value))
    tags = []
    for tag in value if isinstance(value, list) else [value]:
        if isinstance(tag, dict | list):
            raise InputError(
                f"{where} holds {str(value)[:DETAIL]!r}, neither tags nor a list of tags"
            )
        if tag is not None:
            tags.append(_encodable(tag) if isinstance(tag, str) else json.dumps(tag))
    return tags


def _from_values(values: Sequence[object], tags: list[list[str]] | None) -> pl.DataFrame:
    texts: list[str | None] = []
    problems: list[str | None] = []
    for value in values:
        if value is None:
            text, problem = None, "null"
        elif not isinstance(value, str):
            text, problem = None, _encodable(repr(value)[:DETAIL])
        elif _encodable(value) != value:
            text, problem = None, f"half a character: {_encodable(value[:DETAIL])}"[:DETAIL]
        else:
            text, problem = value, None
        texts.append(text)
        problems.append(problem)
    lists = pl.Series([None] * len(texts) if tags is None else tags, dtype=pl.List(pl.String))
    return pl.DataFrame(
        {"text": texts, "problem": problems, "tags": lists if tags is None else _clean_tags(lists)},
        schema=_ROWS,
    )


def _encodable(text: str) -> str:
    """The text without lone surrogates, which no file in UTF-8 can hold."""
    return text if text.isascii() else text.encode(errors="ignore").decode()

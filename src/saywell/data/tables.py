"""Tables from whatever people have in their hands: files, datasets, frames, lists.

A source becomes a `SourceTable`: its columns by name (those inside records as 'outer.inner'), what each
holds, and a function that takes some of them. What stands in a text file stays text (00000 is no
number); class labels become their names; what had to be assumed is told in `notes`.
"""

from __future__ import annotations

import csv
import glob
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl

from saywell.data.encodings import encoding_of
from saywell.data.files import nearest_file, open_regular, require_regular
from saywell.errors import InputError, MissingPackage

SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt")
TEXT, NAMES, NUMBER, LISTS, IMAGES, OTHER = "text", "names", "number", "lists", "images", "other"
SHOWN = 80  # characters of a name or value in a message

_PACKED = tuple(f"{suffix}.gz" for suffix in SUFFIXES if suffix != ".parquet")
_STRINGS = (pl.String, pl.Categorical, pl.Enum)
_DELIMITERS = ",;\t|"
_PEEKED = 1000  # rows looked at to say what a column of a text file holds
_NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?\s*|(?i:nan|none|null|true|false|)")

Column = pl.Series | list[Any]
"""Values of one column: a Series where the source has types, Python values where each row has its own."""


@dataclass(frozen=True)
class SourceTable:
    """Columns by name, and what each of them holds.

    `kinds`: column -> 'text', 'names' (class labels), 'number', 'lists', 'images' or 'other', in
    the order of the source; `classes`: column of class labels -> the names of all classes.

    `take` gives the named columns, all of the same length. `name` is for messages.
    """

    name: str
    kinds: Mapping[str, str]
    take: Callable[[Sequence[str]], list[Column]]
    notes: tuple[str, ...] = ()
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def choose(self, wanted: str, usual: str, kind: str, option: str) -> tuple[SourceTable, str]:
        """The column to use for `wanted`, and the table with a note where it is another one.

        Where the column that is `usual`ly meant is not there, the only one of that kind is.

        Raises InputError, with the columns there are and the option that names one, otherwise.
        """
        if wanted in self.kinds:
            return self, wanted
        fit = [column for column, its_kind in self.kinds.items() if its_kind == kind]
        if wanted == usual and len(fit) == 1:
            what = "images" if kind == IMAGES else "text"
            note = f"The column {fit[0][:SHOWN]!r} was read, the only one of {what}."
            return replace(self, notes=(*self.notes, note)), fit[0]
        raise InputError(self.no_column(wanted, option, fit))

    def require(self, wanted: str, option: str) -> str:
        """`wanted`, where there is such a column. Raises InputError as `choose`."""
        if wanted not in self.kinds:
            raise InputError(self.no_column(wanted, option, ()))
        return wanted

    def no_column(self, wanted: str, option: str, fit: Sequence[str]) -> str:
        """What to say of a column that is not there."""
        there = list(self.kinds)
        close = get_close_matches(wanted, there, n=1, cutoff=0.6)
        hint = f" (did you mean {close[0][:SHOWN]!r}?)" if close else ""
        listed = ", ".join(repr(column[:SHOWN]) for column in there) or "none"
        may_be = f"; {' and '.join(repr(c[:SHOWN]) for c in fit)} could be meant" if fit else ""
        # The commands find a column of images by its name alone; `load_images` takes another.
        told = "load_images; the commands read 'image' or 'path'" if option == "image" else None
        how = f"say which with {option}=... ({told or f'--{option}'})"
        say = f"; {how}" if there else ""
        return f"{self.name} has no column {wanted!r}; columns: {listed}{hint}{may_be}{say}"


def is_missing(value: object) -> bool:
    """Whether a value of Python's says that there is none: None, NaN, NaT or pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def shown(source: object) -> str:
    """What a source is called in messages."""
    if isinstance(source, str | Path):
        return repr(str(source)[:200])
    return f"the {type(source).__name__}"


def open_table(source: Any, what: str = "texts") -> SourceTable:
    """The table in a file, a folder or pattern of files of one kind, a dataset, a frame or a list.

    `what` is to be read from it, for messages.

    Raises InputError for anything that is no table, MissingPackage when a saved Hugging Face dataset
    is named and `datasets` is not installed.
    """
    name = shown(source)
    if isinstance(source, str | Path):
        return _open_path(source, name)
    if isinstance(source, pl.DataFrame):
        return _frame_table(source, name)
    if isinstance(source, pl.LazyFrame):
        raise InputError(f"{what} cannot be read from a LazyFrame: call collect() on {name} first")
    if isinstance(source, pl.Series):
        return _frame_table(source.to_frame(source.name or "text"), name)
    if is_dataset(source) or (
        isinstance(source, Mapping) and source and all(is_dataset(v) for v in source.values())
    ):
        return _dataset_table(source, name)
    if hasattr(source, "iloc") and hasattr(source, "dtypes"):  # pandas, without importing it
        return _pandas_table(source, name)
    if hasattr(source, "__arrow_c_stream__"):  # pyarrow, DuckDB and other tables of Arrow
        try:
            return _frame_table(pl.DataFrame(source), name)
        except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
            raise InputError(f"{name} cannot be read: {error}") from error
    if type(source).__module__ == "numpy" and getattr(source, "ndim", 0) == 1:
        source = source.tolist()  # type: ignore[union-attr]
    if isinstance(source, Sequence) and not isinstance(source, bytes | bytearray | memoryview):
        if source and all(isinstance(row, Mapping) for row in source):
            return _records_table(lambda: iter(source), name)
        return SourceTable(name, {"text": TEXT}, lambda wanted: [list(source) for _ in wanted])
    raise InputError(
        f"{what} cannot be read from a {type(source).__name__}: give a path, the name of a dataset, "
        "a table (polars, pandas, pyarrow, datasets), or a list of str or dict"
    )


# ---- paths


def _open_path(source: str | Path, name: str) -> SourceTable:
    path = Path(source)
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:  # such as a name too long for the file system
        raise InputError(f"{name} cannot be opened: {getattr(error, 'strerror', error)}") from error
    if is_folder:
        return _saved_dataset(path, name) if is_saved_dataset(path) else _folder_table(path, name)
    if exists:
        return _file_table(path, name)
    files = files_that_fit(source)
    if files:
        return _shards(files, name)
    # Without an owner, `datasets` takes 'csv' or 'text' for a reader of the working folder.
    is_hub_name = re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", str(source), re.ASCII)
    if isinstance(source, str) and is_hub_name and suffix_of(path) is None:
        return _hub(source, name)
    raise InputError(
        f"there is no file or folder {name}{nearest_file(path)}; hub datasets are named 'owner/name'"
    )


def files_that_fit(pattern: str | Path) -> list[Path]:
    """The files that fit a pattern such as 'part-*.csv', sorted; none where it is no pattern.

    What exists is never a pattern, whatever characters its name has: ask for that first.
    """
    if not glob.has_magic(str(pattern)):
        return []
    found = glob.glob(str(pattern), recursive=True)  # noqa: PTH207 (an absolute pattern)
    return sorted(path for path in map(Path, found) if path.is_file())


def suffix_of(path: Path) -> str | None:
    """The ending that says how a file is read, '.gz' included; None where none does."""
    low = path.name.lower()
    return next((suffix for suffix in (*_PACKED, *SUFFIXES) if low.endswith(suffix)), None)


def _file_table(path: Path, name: str) -> SourceTable:
    require_regular(path)
    suffix = suffix_of(path)
    if suffix is None:
        raise InputError(
            f"{name} ends in {path.suffix!r}; files that can be read end in {', '.join(SUFFIXES)},"
            " all but the first also with .gz"
        )
    if path.stat().st_size == 0:
        raise InputError(f"{name} is empty")
    kind = suffix.removesuffix(".gz")
    if kind == ".parquet":
        return _parquet_table(path, name)
    if kind == ".json":
        return _json_table(path, name)
    encoding, note = encoding_of(lambda: _open_bytes(path, name), name)
    notes = (note,) if note else ()
    if kind in (".csv", ".tsv"):
        return _delimited_table(path, name, encoding, notes, "," if kind == ".csv" else "\t")
    if kind == ".txt":
        return SourceTable(
            name,
            {"text": TEXT},
            lambda wanted: [list(_lines(path, name, encoding, "\n")) for _ in wanted],
            notes,
        )
    return _records_table(lambda: _json_lines(path, name, encoding), name, notes)


def _folder_table(folder: Path, name: str) -> SourceTable:
    files = sorted(
        file
        for file in folder.rglob("*")
        if suffix_of(file) and not any(p.startswith(".") for p in file.relative_to(folder).parts)
    )
    if not files:
        raise InputError(
            f"{name} is a folder, but not one written by a Hugging Face dataset's save_to_disk, and "
            f"holds no files that end in {', '.join(SUFFIXES)}"
        )
    if all((suffix_of(file) or "").startswith(".txt") for file in files):
        note = f"Each of the {len(files)} text files in {name} was read as one text."
        return SourceTable(
            name, {"text": TEXT}, lambda wanted: [_whole_files(files) for _ in wanted], (note,)
        )
    return _shards(files, name)


def _whole_files(files: Sequence[Path]) -> list[str]:
    texts = []
    for file in files:
        name = shown(file)
        encoding, _ = encoding_of(lambda file=file: _open_bytes(file, shown(file)), name)
        with _open_bytes(file, name) as raw:
            texts.append(raw.read().decode(encoding))
    return texts


def _shards(files: Sequence[Path], name: str) -> SourceTable:
    """Files of one kind, one after another."""
    kinds = sorted({(suffix_of(file) or file.suffix).removesuffix(".gz") for file in files})
    if len(kinds) > 1:
        raise InputError(
            f"{name} holds files of different kinds ({', '.join(kinds)}); name one kind, such as"
            f" {str(files[0].parent / ('*' + kinds[0]))!r}"
        )
    return stacked([_file_table(file, shown(file)) for file in files], name)


def stacked(tables: Sequence[SourceTable], name: str) -> SourceTable:
    """One table after another, the rows in that order; it has the columns that all of them have."""
    first = tables[0]
    kinds = {
        column: kind for column, kind in first.kinds.items() if all(column in table.kinds for table in tables)
    }

    def take(wanted: Sequence[str]) -> list[Column]:
        columns: list[list[Column]] = [[] for _ in wanted]
        for table in tables:
            for found, column in zip(columns, table.take(wanted), strict=True):
                found.append(column)
        return [_joined(found) for found in columns]

    notes = list(dict.fromkeys(note for table in tables for note in table.notes))
    if len(tables) > 1 and len(first.kinds) > len(kinds):
        missing = [column for column in first.kinds if column not in kinds]
        notes.append(f"Not all parts of {name} have the column {missing[0][:SHOWN]!r}.")
    classes: dict[str, Sequence[str]] = {}
    for table in tables:
        for column, names in table.classes.items():
            classes[column] = list(dict.fromkeys([*classes.get(column, ()), *names]))
    return SourceTable(name, kinds, take, tuple(notes), classes)


def _joined(parts: Sequence[Column]) -> Column:
    if len(parts) == 1:
        return parts[0]
    series = [
        part.cast(pl.String) if isinstance(part.dtype, _STRINGS) else part
        for part in parts
        if isinstance(part, pl.Series)
    ]
    if len(series) == len(parts) and len({part.dtype for part in series}) == 1:
        return pl.concat(series)
    return list(chain.from_iterable(parts))


# ---- files of text


def _open_bytes(path: Path, name: str) -> BinaryIO:
    try:
        file = open_regular(path)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from error
    return _Unpacked(file) if path.name.lower().endswith(".gz") else file  # type: ignore[return-value]


class _Unpacked(gzip.GzipFile):
    """A packed file that is closed with what reads it."""

    def __init__(self, packed: BinaryIO) -> None:
        super().__init__(fileobj=packed)
        self._packed = packed

    def close(self) -> None:
        super().close()
        self._packed.close()


def _lines(path: Path, name: str, encoding: str, newline: str) -> Iterator[str]:
    try:
        with (
            _open_bytes(path, name) as raw,
            io.TextIOWrapper(raw, encoding=encoding, newline=newline) as file,
        ):
            yield from file
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or error
        raise InputError(f"{name} cannot be read: {said}") from error


def _delimited_table(path: Path, name: str, encoding: str, notes: tuple[str, ...], usual: str) -> SourceTable:
    delimiter = _delimiter(path, name, encoding, usual)
    if delimiter != usual:
        notes = (*notes, f"The fields of {name} are set apart by {delimiter!r}.")
    records = _records(path, name, encoding, delimiter)
    header = next(records, [])
    peeked = list(islice(records, _PEEKED))
    records.close()
    kinds = {
        column: NUMBER if all(_NUMBER.fullmatch(row[at]) for row in peeked) and peeked else TEXT
        for at, column in enumerate(header)
    }
    if len(header) == 1:
        kinds = dict.fromkeys(header, TEXT)

    def take(wanted: Sequence[str]) -> list[Column]:
        for column in wanted:
            if header.count(column) > 1:
                raise InputError(f"{name} has more than one column {column!r}")
        places = [header.index(column) for column in wanted]
        columns: list[list[Any]] = [[] for _ in wanted]
        for fields in islice(_records(path, name, encoding, delimiter), 1, None):
            for values, at in zip(columns, places, strict=True):
                values.append(fields[at])
        return list(columns)

    return SourceTable(name, kinds, take, notes)


def _delimiter(path: Path, name: str, encoding: str, usual: str) -> str:
    """What sets fields apart: the usual mark of this kind of file, or one that fits the first rows."""
    lines = list(islice(_lines(path, name, encoding, ""), 50))

    def fields(delimiter: str) -> list[int]:
        rows = csv.reader(lines, delimiter=delimiter)
        try:
            return [len(row) for row in islice(rows, 20) if row][:2]
        except csv.Error:
            return []

    if fields(usual)[:1] != [1]:
        return usual
    others = {d: fields(d) for d in _DELIMITERS if d != usual}
    fit = [d for d, counts in others.items() if counts and counts[0] > 1 and len(set(counts)) == 1]
    return fit[0] if len(fit) == 1 else usual


def _records(path: Path, name: str, encoding: str, delimiter: str) -> Generator[list[str], None, None]:
    """The header, then each row with as many fields; blank lines count where a row has one field."""
    reader = csv.reader(_lines(path, name, encoding, ""), delimiter=delimiter, strict=True)
    # The csv module refuses fields of more than 128 KiB; here such a text is one rejected row.
    usual = csv.field_size_limit(2**31 - 1)
    begin = 1
    try:
        header = next(reader, [])
        yield header
        begin = reader.line_num + 1
        for fields in reader:
            if not fields and len(header) > 1:
                begin = reader.line_num + 1
                continue
            fields = fields or [""]
            if len(fields) != len(header):
                raise InputError(
                    f"{name}, line {begin}: {len(fields)} fields, but the header has {len(header)}; "
                    f'put texts that hold {delimiter!r} or line breaks in double quotes ("")'
                )
            yield fields
            begin = reader.line_num + 1
    except csv.Error as error:
        raise InputError(
            f"{name}, line {begin}: {error}; a text that begins with a double quote must end "
            "with one, and quotes inside it are doubled"
        ) from error
    finally:
        csv.field_size_limit(usual)


def _json_lines(path: Path, name: str, encoding: str) -> Iterator[Any]:
    for number, line in enumerate(_lines(path, name, encoding, "\n"), start=1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{name}, line {number} is not JSON: {error}") from error


def _json_table(path: Path, name: str) -> SourceTable:
    encoding, note = encoding_of(lambda: _open_bytes(path, name), name)
    try:
        with _open_bytes(path, name) as raw:
            value = json.loads(raw.read().decode(encoding))
    except (ValueError, RecursionError, OSError, EOFError, zlib.error) as error:
        raise InputError(f"{name} cannot be read as JSON: {error}") from error
    notes = (note,) if note else ()
    if isinstance(value, dict):
        inner = [key for key, rows in value.items() if isinstance(rows, list)]
        if len(inner) == 1 and all(isinstance(row, dict) for row in value[inner[0]]):
            notes = (*notes, f"The rows are those of the list {inner[0][:SHOWN]!r} in {name}.")
            value = value[inner[0]]
        else:  # columns, as pandas writes them: lists, or objects of row number -> value
            lists = {
                key: list(column.values()) if isinstance(column, dict) else column
                for key, column in value.items()
            }
            lengths = {len(c) if isinstance(c, list) else -1 for c in lists.values()}
            if len(lengths) == 1 and -1 not in lengths:
                value = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    if not isinstance(value, list):
        raise InputError(f"{name} must hold a list of objects or of texts")
    if value and all(isinstance(row, str) for row in value):
        return SourceTable(name, {"text": TEXT}, lambda wanted: [list(value) for _ in wanted], notes)
    return _records_table(lambda: iter(value), name, notes)


# ---- records: each row is an object with fields of its own


def _records_table(read: Callable[[], Iterator[Any]], name: str, notes: tuple[str, ...] = ()) -> SourceTable:
    kinds: dict[str, str] = {}
    records = read()
    for record in islice(records, _PEEKED):
        _add_kinds(record, kinds)
    return SourceTable(name, _Late(kinds, records), lambda wanted: _take_records(read(), wanted), notes)


class _Late(dict[str, str]):
    """Kinds of columns; rows that were not looked at yet are, when a column is not found."""

    def __init__(self, kinds: dict[str, str], rest: Iterator[Any]) -> None:
        super().__init__(kinds)
        self._rest = rest

    def __contains__(self, column: object) -> bool:
        if not super().__contains__(column):
            for record in self._rest:
                _add_kinds(record, self)
        return super().__contains__(column)


def _add_kinds(record: Any, kinds: dict[str, str], outer: str = "") -> None:
    if not isinstance(record, Mapping):
        return
    for key, value in record.items():
        column = f"{outer}{key}"
        if isinstance(value, Mapping) and value and not value.keys() <= {"bytes", "path"}:
            kinds.setdefault(column, OTHER)
            _add_kinds(value, kinds, f"{column}.")
            continue
        kind = _kind_of(value)
        if kind is None:
            kinds.setdefault(column, OTHER)
        elif kinds.get(column, OTHER) in (OTHER, NUMBER):
            kinds[column] = kind


def _kind_of(value: Any) -> str | None:
    if is_missing(value):
        return None
    if isinstance(value, str):
        return TEXT
    if isinstance(value, int | float):
        return NUMBER
    if isinstance(value, bytes | Mapping) or hasattr(value, "convert"):
        return IMAGES
    return LISTS if isinstance(value, list | tuple) else OTHER


def _take_records(records: Iterable[Any], wanted: Sequence[str]) -> list[Column]:
    columns: list[list[Any]] = [[] for _ in wanted]
    for record in records:
        is_object = isinstance(record, Mapping)
        for place, (column, values) in enumerate(zip(wanted, columns, strict=True)):
            if is_object:
                values.append(_field(record, column))
            elif place:
                values.append(None)
            else:  # text must sit under its key: a bare string is refused like a bare list
                values.append([record] if isinstance(record, str) else record)
    return list(columns)


def _field(record: Mapping[str, Any], column: str) -> Any:
    if column in record:
        return record[column]
    outer, dot, inner = column.partition(".")
    while dot:
        value = record.get(outer)
        if isinstance(value, Mapping):
            return _field(value, inner)
        more, dot, inner = inner.partition(".")
        outer = f"{outer}.{more}"
    return None


# ---- tables with types


def _parquet_table(path: Path, name: str) -> SourceTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # An open file: in a path, polars would take '*' and '[' for patterns.
        with open_regular(path) as file:
            schema = pl.read_parquet_schema(file)
            file.seek(0)
            metadata = pq.read_schema(file).metadata or {}
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError) as error:
        raise InputError(f"{name} cannot be read as Parquet: {error}") from error
    features = features_in(metadata)

    def take(wanted: Sequence[str]) -> list[Column]:
        outer = list(dict.fromkeys(_path(schema, column)[0] for column in wanted))
        try:
            with open_regular(path) as file:
                frame = pl.read_parquet(file, columns=outer)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise InputError(f"{name} cannot be read as Parquet: {error}") from error
        return [_column(frame, column, features) for column in wanted]

    return SourceTable(name, _kinds(schema, features), take, classes=_classes(schema, features))


def _frame_table(frame: pl.DataFrame, name: str, features: Mapping[str, Any] | None = None) -> SourceTable:
    known = features or {}
    return SourceTable(
        name, _kinds(frame.schema, known), lambda wanted: [_column(frame, column, known) for column in wanted]
    )


def _pandas_table(source: Any, name: str) -> SourceTable:
    if not hasattr(source, "columns"):  # a Series
        source = source.to_frame(source.name if source.name is not None else "text")
    columns = {str(column): source[column] for column in source.columns}
    if len(columns) < len(source.columns):
        raise InputError(f"{name} has two columns of one name; rename one of them")
    return _stacked_columns({c: _from_pandas(series) for c, series in columns.items()}, name)


def _from_pandas(series: Any) -> Column:
    if str(series.dtype) == "object":
        return [None if is_missing(value) else value for value in series]
    try:
        return pl.from_pandas(series)  # type: ignore[return-value]
    except (TypeError, ValueError, pl.exceptions.PolarsError):
        return list(series)


def _stacked_columns(columns: Mapping[str, Column], name: str) -> SourceTable:
    """A table of columns of which some are typed and some are Python values."""
    kinds: dict[str, str] = {}
    for column, values in columns.items():
        if isinstance(values, pl.Series):
            kinds |= _kinds(pl.Schema({column: values.dtype}), {})
        else:
            for value in values[:_PEEKED]:
                _add_kinds({column: value}, kinds)

    def take(wanted: Sequence[str]) -> list[Column]:
        taken: list[Column] = []
        for column in wanted:
            outer = next(c for c in columns if column == c or column.startswith(f"{c}."))
            values = columns[outer]
            if isinstance(values, pl.Series):
                taken.append(_column(values.to_frame(outer), column, {}))
            else:
                taken += _take_records(({outer: value} for value in values), [column])
        return taken

    return SourceTable(name, kinds, take)


def _kinds(schema: Mapping[str, pl.DataType], features: Mapping[str, Any]) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for column, dtype in schema.items():
        feature = features.get(column)
        if isinstance(dtype, pl.Struct) and not {f.name for f in dtype.fields} & {"bytes", "path"}:
            inner = {field.name: field.dtype for field in dtype.fields}
            below = _kinds(inner, feature if isinstance(feature, Mapping) else {})  # type: ignore[arg-type]
            kinds[column] = OTHER
            kinds |= {f"{column}.{field}": kind for field, kind in below.items()}
        elif isinstance(dtype, pl.Struct | pl.Binary):
            kinds[column] = IMAGES
        elif isinstance(dtype, (*_STRINGS, pl.Object)):
            kinds[column] = TEXT
        elif isinstance(dtype, pl.List | pl.Array):
            kinds[column] = LISTS
        elif class_names_of(feature):
            kinds[column] = NAMES
        else:
            kinds[column] = NUMBER if dtype.is_numeric() or dtype == pl.Boolean else OTHER
    return kinds


def _classes(schema: Mapping[str, pl.DataType], features: Mapping[str, Any]) -> dict[str, list[str]]:
    found = {column: class_names_of(features.get(column)) for column in schema}
    for outer, dtype in schema.items():
        feature = features.get(outer)
        if isinstance(dtype, pl.Struct) and isinstance(feature, Mapping):
            fields = {f.name: f.dtype for f in dtype.fields}
            below = _classes(fields, feature)  # type: ignore[arg-type]
            found |= {f"{outer}.{inner}": names for inner, names in below.items()}
    return {column: names for column, names in found.items() if names}


def _path(schema: Mapping[str, pl.DataType], column: str) -> list[str]:
    """The names from the outer column to the field that `column` means."""
    if column in schema:
        return [column]
    outer = next(c for c in schema if column.startswith(f"{c}."))
    dtype, inner = schema[outer], column[len(outer) + 1 :]
    assert isinstance(dtype, pl.Struct)
    return [outer, *_path({f.name: f.dtype for f in dtype.fields}, inner)]  # type: ignore[arg-type]


def _column(frame: pl.DataFrame, column: str, features: Mapping[str, Any]) -> pl.Series:
    outer, *inner = _path(frame.schema, column)
    series, feature = frame[outer], features.get(outer)
    for below in inner:
        series = series.struct.field(below)
        feature = feature.get(below) if isinstance(feature, Mapping) else None
    return with_names(series, feature)


# ---- Hugging Face datasets


def is_dataset(source: object) -> bool:
    """Whether something is a `datasets.Dataset`, without importing that."""
    return hasattr(source, "features") and hasattr(source, "select_columns")


def is_saved_dataset(folder: Path) -> bool:
    """Whether a folder was written by a dataset's `save_to_disk`."""
    return any((folder / file).is_file() for file in ("state.json", "dataset_dict.json"))


def load_saved_dataset(path: Path, name: str) -> Any:
    """The Dataset or DatasetDict in a folder written by `save_to_disk`.

    Raises InputError where it cannot be read, MissingPackage without `datasets`.
    """
    datasets = _datasets(f"reading the dataset folder {name}")
    try:
        return datasets.load_from_disk(str(path))
    except Exception as error:  # whatever its readers make of damaged JSON and Arrow
        raise InputError(f"{name} cannot be read as a saved dataset: {error}") from error


def _saved_dataset(path: Path, name: str) -> SourceTable:
    return _dataset_table(load_saved_dataset(path, name), name)


def _hub(source: str, name: str) -> SourceTable:
    datasets = _datasets(f"there is no file or folder {name}, and reading it from the hub")
    try:
        loaded = datasets.load_dataset(source)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise InputError(
            f"{name} is neither a file, nor a folder, nor a dataset that the hub gave us: {error}"
        ) from error
    return _dataset_table(loaded, name)


def _datasets(purpose: str) -> Any:
    try:
        import datasets
        import datasets.exceptions
    except ImportError as error:
        raise MissingPackage("datasets", "datasets", purpose) from error
    return datasets


def _dataset_table(loaded: Any, name: str) -> SourceTable:
    """The rows of a Dataset, or of all parts of a DatasetDict in their order."""
    parts = list(loaded.values()) if isinstance(loaded, Mapping) else [loaded]
    if not parts:
        raise InputError(f"{name} has no parts, and so no rows")
    return stacked([part_table(part, name) for part in parts], name)


def part_table(part: Any, name: str) -> SourceTable:
    """The table of one `datasets.Dataset`; columns are read when they are taken."""
    features = part.features.to_dict()
    # Of the first rows only: what the columns hold, without reading them.
    schema = part.select(range(0)).to_polars().schema if part.column_names else pl.Schema()

    def take(wanted: Sequence[str]) -> list[Column]:
        outer = list(dict.fromkeys(_path(schema, column)[0] for column in wanted))
        frame = part.select_columns(outer).to_polars()
        return [_column(frame, column, features) for column in wanted]

    return SourceTable(name, _kinds(schema, features), take, classes=_classes(schema, features))


def features_in(metadata: Mapping[bytes, bytes]) -> dict[str, Any]:
    """The features that Hugging Face `datasets` writes into the metadata of an Arrow schema."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def class_names_of(feature: Any) -> list[str] | None:
    """The names of the classes where a feature is a class label, or lists of them; else None."""
    while True:
        if isinstance(feature, list) and len(feature) == 1:  # how old versions write a list
            feature = feature[0]
        elif not isinstance(feature, Mapping):
            return None
        elif isinstance(feature.get("names"), list) and feature.get("_type", "ClassLabel") == "ClassLabel":
            return [str(name) for name in feature["names"]]
        else:
            feature = feature.get("feature")


def with_names(series: pl.Series, feature: Any) -> pl.Series:
    """A column of class numbers, or of lists of them, with the names of the classes instead.

    A number that is none of the classes (-1: no label) becomes null. Other columns stay.
    """
    names = class_names_of(feature)
    dtype = series.dtype
    inner = dtype.inner if isinstance(dtype, pl.List | pl.Array) else dtype
    if names is None or not (isinstance(inner, pl.DataType) and inner.is_numeric()):
        return series
    known = dict(enumerate(names))

    def named(number: pl.Expr) -> pl.Expr:
        return number.cast(pl.Int64).replace_strict(known, default=None, return_dtype=pl.String)

    if isinstance(dtype, pl.Array):
        series, dtype = series.arr.to_list(), pl.List(inner)
    if isinstance(dtype, pl.List):
        return series.list.eval(named(pl.element()))
    return series.to_frame("column").select(named(pl.col("column")).alias(series.name))[series.name]

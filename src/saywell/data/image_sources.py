"""Where labelled images come from: folders, tables of paths, Parquet, saved datasets.

Every source becomes a table of rows (what is known without opening a picture) and a function that
fetches the bytes of rows one after another, so that no source is ever in memory as a whole.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl

from saywell.data.pictures import BadPicture, picture_bytes
from saywell.errors import InputError, MissingPackage

TABLES = (".parquet", ".csv", ".tsv")
PARTS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip

_ROWS = {"row": pl.Int64, "name": pl.String, "label": pl.String, "part": pl.String}
_NO_PICTURES = ("thumbs.db", "desktop.ini")
Blob = bytes | BadPicture


@dataclass(frozen=True)
class ImageSource:
    """`rows`: row (from 0), name (file or row, for messages), label (null: none), part (null: none).

    `classes` are those the source names, with or without images. `fetch` takes ascending row
    numbers and yields each with its bytes, or with the reason why there are none.
    """

    rows: pl.DataFrame
    classes: list[str]
    fetch: Callable[[Sequence[int]], Iterator[tuple[int, Blob]]]


def open_source(source: str | Path, image: str, label: str, split: str | None) -> ImageSource:
    """The images of a folder of class folders, a Parquet, CSV or TSV file, or a saved dataset.

    Raises InputError for a source or columns that cannot be used, MissingPackage when a saved
    Hugging Face dataset is given and `datasets` is not installed.
    """
    path, name = Path(source), repr(str(source)[:200])
    if path.is_dir():
        if any((path / file).is_file() for file in ("state.json", "dataset_dict.json")):
            return _saved_dataset(path, name, image, label, split)
        if split is not None:
            raise InputError(
                f"split={split!r} names a column, but {name} is a folder: put the class folders into"
                " folders called train, validation and test, or leave split out"
            )
        return _folder(path, name)
    if not path.is_file():
        raise InputError(f"there is no file or folder {name}")
    suffix = path.suffix.lower()
    if suffix not in TABLES:
        raise InputError(
            f"{name} ends in {suffix!r}: images are read from a folder of class folders, a saved"
            f" Hugging Face dataset, or a file that ends in {', '.join(TABLES)}"
        )
    if suffix == ".parquet":
        return _parquet(path, name, image, label, split)
    return _delimited(path, name, image, label, split, "," if suffix == ".csv" else "\t")


# ---- files


def _folder(root: Path, name: str) -> ImageSource:
    parts: list[tuple[Path, str | None]] = [(root, None)]
    folders = _folders(root)
    if folders and all(folder.name.lower() in PARTS for folder in folders):
        parts = [(folder, folder.name) for folder in folders]
    files: list[tuple[Path, str | None, str | None]] = []
    classes: set[str] = set()
    for top, part in parts:
        files += [(file, None, part) for file in _files(top, deep=False)]
        for folder in _folders(top):
            classes.add(folder.name)
            files += [(file, folder.name, part) for file in _files(folder, deep=True)]
    if parts[0][0] != root:
        files += [(file, None, None) for file in _files(root, deep=False)]
    if not classes:
        raise InputError(
            f"{name} holds no class folders: give each class a folder of its images, named after it"
        )
    files.sort(key=lambda item: item[0].relative_to(root).as_posix())
    rows = [
        (row, file.relative_to(root).as_posix(), label, part)
        for row, (file, label, part) in enumerate(files)
    ]
    paths = [file for file, _, _ in files]
    return ImageSource(_table(rows), sorted(classes), lambda wanted: _read_files(paths, wanted))


def _folders(top: Path) -> list[Path]:
    return sorted(p for p in top.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(top: Path, *, deep: bool) -> Iterator[Path]:
    for folder, below, names in os.walk(top):
        below[:] = sorted(b for b in below if not b.startswith(".")) if deep else []
        for file in sorted(names):
            if not file.startswith(".") and file.lower() not in _NO_PICTURES:
                yield Path(folder) / file


def _delimited(
    path: Path, name: str, image: str, label: str, split: str | None, delimiter: str
) -> ImageSource:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            records = list(csv.reader(file, delimiter=delimiter, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{name} cannot be read: {error}; save it as UTF-8") from error
    header = records[0] if records else []
    # 'path' is what people call the column; 'image' is what every other source calls it.
    column = "path" if image == "image" and image not in header else image
    _check_columns(header, name, [column, label, split])
    at = {wanted: header.index(wanted) for wanted in (column, label, split) if wanted is not None}
    rows, paths = [], []
    for fields in records[1:]:
        if not fields:
            continue
        if len(fields) != len(header):
            raise InputError(
                f"{name}, row {len(rows)}: {len(fields)} fields, but the header has {len(header)}"
            )
        paths.append(path.parent / fields[at[column]] if fields[at[column]] else None)
        part = fields[at[split]] if split is not None else None
        rows.append((len(rows), fields[at[column]], fields[at[label]] or None, part))
    table = _table(rows)
    return ImageSource(table, _named(table), lambda wanted: _read_files(paths, wanted))


def _read_files(paths: Sequence[Path | None], wanted: Iterable[int]) -> Iterator[tuple[int, Blob]]:
    for row in wanted:
        yield row, _read_file(paths[row])


def _read_file(path: Path | None) -> Blob:
    if path is None:
        return BadPicture("no image", "the row names no file")
    try:
        return picture_bytes(path)
    except BadPicture as bad:
        return bad


# ---- tables that hold the bytes


def _parquet(path: Path, name: str, image: str, label: str, split: str | None) -> ImageSource:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        schema = file.schema_arrow
        _check_columns(schema.names, name, [image, label, split])
        columns = file.read(columns=[c for c in (label, split) if c is not None])
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{name} cannot be read as Parquet: {error}") from error
    _check_image_type(schema.field(image).type, name, image)
    names = _label_names(schema.metadata or {}, label)
    labels = _labels(columns.column(label).to_pylist(), names, name, label, schema.names)
    parts = columns.column(split).to_pylist() if split is not None else [None] * len(labels)
    rows = [
        (row, f"row {row}", name_, None if part is None else str(part))
        for row, (name_, part) in enumerate(zip(labels, parts, strict=True))
    ]
    table = _table(rows)
    return ImageSource(
        table,
        names or _named(table),
        lambda wanted: _read_parquet(path, image, wanted),
    )


def _read_parquet(path: Path, image: str, wanted: Sequence[int]) -> Iterator[tuple[int, Blob]]:
    import pyarrow.parquet as pq

    rows = list(wanted)
    with pq.ParquetFile(path) as file:
        begin = position = 0
        for group in range(file.num_row_groups):
            end = begin + file.metadata.row_group(group).num_rows
            if position < len(rows) and rows[position] < end:
                for batch in file.iter_batches(16, row_groups=[group], columns=[image]):
                    stop = begin + len(batch)
                    while position < len(rows) and rows[position] < stop:
                        value = batch.column(0)[rows[position] - begin].as_py()
                        yield rows[position], _blob(value, path.parent)
                        position += 1
                    begin = stop
            begin = end


def _saved_dataset(path: Path, name: str, image: str, label: str, split: str | None) -> ImageSource:
    try:
        import datasets
    except ImportError as error:
        raise MissingPackage(
            "datasets", "datasets", f"reading the dataset folder {name}"
        ) from error
    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{name} cannot be read as a saved dataset: {error}") from error
    parts: dict[Any, Any] = dict(loaded) if isinstance(loaded, dict) else {None: loaded}
    rows: list[tuple[int, str, str | None, str | None]] = []
    classes: list[str] = []
    blobs: list[Any] = []
    own = all(str(part).lower() in PARTS for part in parts)
    for part, data in parts.items():
        _check_columns(data.column_names, name, [image, label, split])
        if isinstance(data.features[image], datasets.Image):
            data = data.cast_column(image, datasets.Image(decode=False))
        names = getattr(data.features[label], "names", None)
        classes += [c for c in names or [] if c not in classes]
        labels = _labels(list(data[label]), names, name, label, data.column_names)
        given = list(data[split]) if split is not None else [part if own else None] * len(labels)
        for place, (named, its_part) in enumerate(zip(labels, given, strict=True)):
            rows.append(
                (len(rows), f"row {len(rows)}", named, None if its_part is None else str(its_part))
            )
            blobs.append((data, place))

    def fetch(wanted: Sequence[int]) -> Iterator[tuple[int, Blob]]:
        for row in wanted:
            data, place = blobs[row]
            yield row, _blob(data[place][image], path)

    table = _table(rows)
    return ImageSource(table, classes or _named(table), fetch)


def _blob(value: Any, folder: Path) -> Blob:
    if isinstance(value, dict):
        if value.get("bytes"):
            return value["bytes"]
        value = value.get("path") if value.get("bytes") is None else b""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str) and value:
        return _read_file(folder / value)
    return BadPicture("no image", "the row holds neither bytes nor a path")


def _check_image_type(dtype: Any, name: str, image: str) -> None:
    import pyarrow as pa

    simple = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_string)
    fields = {field.name for field in dtype} if pa.types.is_struct(dtype) else set()
    if not (any(is_one(dtype) for is_one in simple) or fields & {"bytes", "path"}):
        raise InputError(
            f"column {image!r} of {name} holds {str(dtype)[:80]}: images are bytes, a struct of bytes"
            " and path, or a path; name the column with image=..."
        )


def _label_names(metadata: dict[bytes, bytes], label: str) -> list[str] | None:
    """The class names that Hugging Face datasets writes into a Parquet file's metadata."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _labels(
    values: list[Any], names: list[str] | None, name: str, label: str, columns: Sequence[str]
) -> list[str | None]:
    if names is not None:
        known = range(len(names))
        return [names[v] if isinstance(v, int) and v in known else None for v in values]
    wrong = next((v for v in values if v is not None and not isinstance(v, str)), None)
    if wrong is not None:
        others = ", ".join(repr(c) for c in columns if c != label)
        raise InputError(
            f"column {label!r} of {name} holds {wrong!r}, not the name of a class; descriptions need"
            f" names: give label=... one of {others}"
        )
    return values


def _table(rows: list[tuple[int, str, str | None, str | None]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=_ROWS, orient="row")


def _named(table: pl.DataFrame) -> list[str]:
    return table["label"].drop_nulls().unique().sort().to_list()


def _check_columns(columns: Sequence[str], name: str, wanted: Sequence[str | None]) -> None:
    for column in wanted:
        if column is None or column in columns:
            continue
        close = get_close_matches(column, columns, n=1, cutoff=0.6)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        there = ", ".join(repr(c[:80]) for c in columns) or "none"
        raise InputError(f"{name} has no column {column!r}; columns: {there}{hint}")

"""Where labelled images come from: folders, tables of paths, Parquet, datasets, lists.

Every source becomes a table of rows (what is known without opening a picture) and a function that
fetches the bytes of rows one after another, so that no file is ever in memory as a whole.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from saywell.data.encodings import encodable
from saywell.data.files import nearest_file, open_regular
from saywell.data.parts import SPLITS
from saywell.data.pictures import BadPicture, picture_bytes
from saywell.data.tables import (
    IMAGES,
    NAMES,
    SHOWN,
    TEXT,
    SourceTable,
    files_that_fit,
    is_dataset,
    is_missing,
    is_saved_dataset,
    load_saved_dataset,
    open_table,
    part_table,
    shown,
    suffix_of,
)
from saywell.errors import InputError

SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".gif",
    ".webp",
    ".bmp",
    ".dib",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
    ".jp2",
    ".j2k",
    ".jpx",
    ".avif",
)

_ROWS = {"row": pl.Int64, "name": pl.String, "label": pl.String, "split": pl.String}
_NO_PICTURES = ("thumbs.db", "desktop.ini")
# What programs and systems leave beside one's own folders; passed over where no images are inside.
_NO_CLASSES = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")
_MAGIC = (
    b"\x89PNG",
    b"\xff\xd8\xff",
    b"GIF8",
    b"BM",
    b"II*\0",
    b"MM\0*",
    b"\xff\x4f\xff\x51",
    b"\0\0\0\x0cjP  ",
    *(b"P%d" % n for n in range(1, 7)),
)
_RESOURCE_FORKS = (b"\0\x05\x16\x07", b"\0\x05\x16\0")  # AppleDouble, AppleSingle
_LOOKED_AT = 20  # values, to tell whether a column of text holds paths of images
Blob = bytes | BadPicture


@dataclass(frozen=True)
class ImageSource:
    """`rows`: row (from 0), name (file or row, for messages), label (null: none), split (null: none).

    `classes` are those the source names, with or without images. `fetch` takes ascending row
    numbers and yields each with its bytes, or with the reason why there are none. `notes` says what
    had to be assumed.
    """

    rows: pl.DataFrame
    classes: list[str]
    fetch: Callable[[Sequence[int]], Iterator[tuple[int, Blob]]]
    notes: tuple[str, ...] = ()


def open_source(source: Any, image: str, label: str | None, split: str | None) -> ImageSource:
    """The images of a folder of class folders, a file or files of a table, a dataset, or a list.

    `label` None: nobody asks for their classes, and a folder may hold them in any way.

    Raises InputError for a source or columns that cannot be used, MissingPackage when a saved
    Hugging Face dataset is given and `datasets` is not installed.
    """
    name = shown(source)
    if not isinstance(source, str | Path):
        if is_dataset(source) or (
            isinstance(source, Mapping) and source and all(is_dataset(v) for v in source.values())
        ):
            return _dataset(source, Path(), name, image, label, split)
        return _of_table(open_table(source, "images"), Path(), image, label, split)
    path = Path(source)
    if path.is_dir():
        if is_saved_dataset(path):
            loaded = load_saved_dataset(path, name)
            return _dataset(loaded, path, name, image, label, split)
        if not _folders(path) and (files := _shards_in(path)):
            return _files_of_tables(files, image, label, split)
        if split is not None:
            raise InputError(
                f"split={split!r} names a column, but {name} is a folder: put the class folders into"
                " folders called train, validation and test, or leave split out"
            )
        return _folder(path, name) if label is not None else _any_folder(path)
    if not path.exists():
        found = files_that_fit(source)
        if not found:
            raise InputError(f"there is no file or folder {name}{nearest_file(path)}")
        return _files_of_tables(found, image, label, split)
    return _files_of_tables([path], image, label, split)


def holds_pictures(source: Any, text: str) -> bool:
    """Whether a source is of images: a folder of them, or a table with a column of them and none `text`.

    A table with both, or with paths alone, could as well be one of texts.
    """
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and path.is_dir() and not is_saved_dataset(path):
        return _holds_images(path)
    kinds = open_table(source, "examples").kinds
    return IMAGES in kinds.values() and text not in kinds


# ---- folders


def _any_folder(top: Path) -> ImageSource:
    paths = sorted(_files(top, deep=True), key=lambda file: file.relative_to(top).as_posix())
    names = [file.relative_to(top).as_posix() for file in paths]
    return ImageSource(
        _table([(row, name, None, None) for row, name in enumerate(names)]),
        [],
        lambda wanted: _read_files(paths, wanted),
    )


def _folder(top: Path, name: str) -> ImageSource:
    root = _unwrapped(top)
    notes = [] if root == top else [f"The folders in {str(root.relative_to(top))!r} were read."]
    folders = _folders(root)
    holding = [folder for folder in folders if _holds_images(folder)]
    # A split holds folders of images; a class that is called 'train' holds the images themselves.
    called = [folder for folder in holding if folder.name.lower() in SPLITS]
    splits = [f for f in called if not _has_images(f) and any(map(_holds_images, _folders(f)))]
    others = [folder for folder in holding if folder not in called]
    if others and len({SPLITS[folder.name.lower()] for folder in splits}) > 1:
        raise InputError(
            f"{name} has the splits {' and '.join(repr(f.name) for f in splits[:2])}, and beside them"
            f" {others[0].name!r}, which holds images and is none of train, validation and test: move"
            " or rename it"
        )
    are_splits = bool(splits) and not others
    tops = called if are_splits else [root]
    inner = [] if are_splits else _splits_inside(holding)
    if inner:
        named = " and ".join(map(repr, inner))
        notes.append(f"The folders {named} inside the class folders were read as splits.")
    files: list[tuple[Path, str | None, str | None]] = []
    classes: set[str] = set()
    for start in tops:
        part = start.name if are_splits else None
        files += [(file, None, part) for file in _files(start, deep=False)]
        for folder in _folders(start):
            its_class = folder.name if _is_class(folder) else None
            if its_class is not None:
                classes.add(its_class)
            for file in _files(folder, deep=True):
                below = file.relative_to(folder).parts
                files.append((file, its_class, below[0] if inner and len(below) > 1 else part))
    deep = (f for f, its_class, _ in files if its_class is not None and f.parent.name != its_class)
    if not inner and (below := next(filter(_looks_like_an_image, deep), None)):
        where = below.parent.relative_to(root).as_posix()
        notes.append(f"Images in folders inside a class folder, such as {where!r}, are of its class.")
    if are_splits:
        files += [(file, None, None) for file in _files(root, deep=False)]
        for stray in (folder for folder in folders if folder not in called):
            files += [(file, None, None) for file in _files(stray, deep=True)]
    if not classes:
        raise InputError(
            f"{name} holds no class folders: give each class a folder of its images, named after it"
        )
    files.sort(key=lambda item: item[0].relative_to(top).as_posix())
    rows = [
        (row, file.relative_to(top).as_posix(), label, part) for row, (file, label, part) in enumerate(files)
    ]
    paths = [file for file, _, _ in files]
    return ImageSource(
        _table(rows),
        sorted(encodable(name, "?") for name in classes),
        lambda wanted: _read_files(paths, wanted),
        tuple(notes),
    )


def _splits_inside(classes: Sequence[Path]) -> list[str]:
    """Names of the splits, two or more, where each class folder holds its images in such folders only."""
    below = [[f for f in _folders(name) if _holds_images(f)] for name in classes]
    names = {folder.name for folders in below for folder in folders}
    parts = {SPLITS.get(name.lower()) for name in names}
    if any(map(_has_images, classes)) or not all(below) or None in parts or len(parts) < 2:
        return []
    return sorted(names)


def _unwrapped(top: Path) -> Path:
    """The folder that holds the class folders: archives often put one more around it."""
    while True:
        folders = [folder for folder in _folders(top) if _is_class(folder)]
        if len(folders) != 1 or _has_images(top) or folders[0].name.lower() in SPLITS:
            return top
        inner = folders[0]
        below = [folder for folder in _folders(inner) if _is_class(folder)]
        if _has_images(inner) or not below:
            return top
        if len(below) == 1 and below[0].name.lower() not in SPLITS and _has_images(below[0]):
            return top
        top = inner


def _is_class(folder: Path) -> bool:
    """Whether a folder holds images, or nothing at all: a class without images is one too."""
    if _holds_images(folder):
        return True
    return folder.name.lower() not in _NO_CLASSES and not any(folder.iterdir())


def _holds_images(folder: Path) -> bool:
    return any(map(_looks_like_an_image, _files(folder, deep=True)))


def _has_images(folder: Path) -> bool:
    return any(map(_looks_like_an_image, _files(folder, deep=False)))


def _looks_like_an_image(file: Path) -> bool:
    """By its first bytes, or, where they say nothing, by its name: a broken image belongs to a class."""
    try:
        with open_regular(file) as opened:
            head = opened.read(16)
    except OSError:
        return file.suffix.lower() in SUFFIXES
    if head.startswith(_RESOURCE_FORKS):
        return False
    return (
        file.suffix.lower() in SUFFIXES
        or head.startswith(_MAGIC)
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or head[4:11] == b"ftypavi"
    )


def _folders(top: Path) -> list[Path]:
    return sorted(p for p in top.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(top: Path, *, deep: bool) -> Iterator[Path]:
    for folder, below, names in os.walk(top):
        below[:] = sorted(b for b in below if not b.startswith(".")) if deep else []
        for file in sorted(names):
            if not file.startswith(".") and file.lower() not in _NO_PICTURES:
                yield Path(folder) / file


def _read_files(paths: Sequence[Path], wanted: Iterable[int]) -> Iterator[tuple[int, Blob]]:
    for row in wanted:
        yield row, _read_file(paths[row])


def _read_file(path: Path) -> Blob:
    try:
        return picture_bytes(path)
    except BadPicture as bad:
        return bad


# ---- tables


def _shards_in(folder: Path) -> list[Path]:
    return [file for file in _files(folder, deep=False) if suffix_of(file) not in (None, ".txt")]


def _files_of_tables(files: Sequence[Path], image: str, label: str | None, split: str | None) -> ImageSource:
    """The rows of files of one kind, one after another."""
    for file in files:
        if suffix_of(file) in (None, ".txt", ".txt.gz"):
            raise InputError(
                f"{shown(file)} ends in {file.suffix!r}: images are read from a folder of class"
                " folders, a saved Hugging Face dataset, or a file that ends in .parquet, .csv, .tsv,"
                " .json or .jsonl"
            )
    sources = []
    for file in files:
        if suffix_of(file) == ".parquet":
            sources.append(_parquet(file, image, label, split))
        else:
            table = open_table(file)
            # 'path' is what people call the column; 'image' is what every other source calls it.
            called = "path" if image == "image" and image not in table.kinds else image
            sources.append(_of_table(table, file.parent, called, label, split))
    return _one_after_another(sources)


def _one_after_another(sources: Sequence[ImageSource]) -> ImageSource:
    if len(sources) == 1:
        return sources[0]
    starts = [0]
    for source in sources:
        starts.append(starts[-1] + source.rows.height)

    def fetch(wanted: Sequence[int]) -> Iterator[tuple[int, Blob]]:
        for source, begin, end in zip(sources, starts, starts[1:], strict=False):
            inside = [row - begin for row in wanted if begin <= row < end]
            if inside:
                yield from ((row + begin, blob) for row, blob in source.fetch(inside))

    rows = pl.concat(source.rows for source in sources).with_columns(
        row=pl.int_range(pl.len(), dtype=pl.Int64)
    )
    numbered = pl.col("name").str.contains(r"^row \d+$")
    rows = rows.with_columns(name=pl.when(numbered).then(pl.format("row {}", "row")).otherwise("name"))
    return ImageSource(
        rows,
        list(dict.fromkeys(c for source in sources for c in source.classes)),
        fetch,
        tuple(dict.fromkeys(note for source in sources for note in source.notes)),
    )


def _of_table(
    table: SourceTable, folder: Path, image: str, label: str | None, split: str | None
) -> ImageSource:
    """Images whose bytes, pictures or paths are in a table that is in memory, or paths in a file."""
    table, image = _image_column(table, image)
    table, label = _label_column(table, label, image)
    if split is not None:
        table.require(split, "split")
    [pictures] = table.take([image])
    values = list(pictures) if isinstance(pictures, pl.Series) else pictures
    labels, parts = _told(table, label, split, len(values))
    rows = [
        (row, value if isinstance(value, str) and value else f"row {row}", named, _part(part))
        for row, (value, named, part) in enumerate(zip(values, labels, parts, strict=True))
    ]

    def fetch(wanted: Sequence[int]) -> Iterator[tuple[int, Blob]]:
        for row in wanted:
            yield row, _blob(values[row], folder)

    rows = _table(rows)
    return ImageSource(rows, _class_list(table, label, rows), fetch, table.notes)


def _parquet(path: Path, image: str, label: str | None, split: str | None) -> ImageSource:
    import pyarrow.parquet as pq

    table = open_table(path)
    table, image = _image_column(table, image)
    table, label = _label_column(table, label, image)
    if split is not None:
        table.require(split, "split")
    outer, *inner = [image] if image in pq.read_schema(path).names else image.split(".")
    _check_image_type(pq.read_schema(path).field(outer).type, inner, table.name, image)
    labels, parts = _told(table, label, split, pq.read_metadata(path).num_rows)
    rows = _table(
        [
            (row, f"row {row}", named, _part(part))
            for row, (named, part) in enumerate(zip(labels, parts, strict=True))
        ]
    )
    return ImageSource(
        rows,
        _class_list(table, label, rows),
        lambda wanted: _read_parquet(path, outer, inner, wanted),
        table.notes,
    )


def _read_parquet(
    path: Path, column: str, inner: Sequence[str], wanted: Sequence[int]
) -> Iterator[tuple[int, Blob]]:
    import pyarrow.parquet as pq

    rows = list(wanted)
    with pq.ParquetFile(path) as file:
        begin = position = 0
        for group in range(file.num_row_groups):
            end = begin + file.metadata.row_group(group).num_rows
            if position < len(rows) and rows[position] < end:
                for batch in file.iter_batches(16, row_groups=[group], columns=[column]):
                    stop = begin + len(batch)
                    while position < len(rows) and rows[position] < stop:
                        value = batch.column(0)[rows[position] - begin].as_py()
                        for name in inner:
                            value = value.get(name) if isinstance(value, dict) else None
                        yield rows[position], _blob(value, path.parent)
                        position += 1
                    begin = stop
            begin = end


def _dataset(
    loaded: Any, folder: Path, name: str, image: str, label: str | None, split: str | None
) -> ImageSource:
    """The images of a Dataset, or of all parts of a DatasetDict; its parts are splits."""
    import datasets

    parts: dict[Any, Any] = dict(loaded) if isinstance(loaded, Mapping) else {None: loaded}
    own = all(str(part).lower() in SPLITS for part in parts)
    sources = []
    for part, data in parts.items():
        table, its_image = _image_column(part_table(data, name), image)
        table, its_label = _label_column(table, label, its_image)
        if split is not None:
            table.require(split, "split")
        if isinstance(data.features.get(its_image), datasets.Image):
            data = data.cast_column(its_image, datasets.Image(decode=False))
        labels, given = _told(table, its_label, split, len(data))
        given = given if split is not None or not own else [part] * len(labels)
        rows = _table(
            [
                (row, f"row {row}", named, _part(its_part))
                for row, (named, its_part) in enumerate(zip(labels, given, strict=True))
            ]
        )

        def fetch(
            wanted: Sequence[int], data: Any = data, column: str = its_image
        ) -> Iterator[tuple[int, Blob]]:
            outer, *inner = [column] if column in data.column_names else column.split(".")
            for row in wanted:
                value = data[row][outer]
                for key in inner:
                    value = value.get(key) if isinstance(value, dict) else None
                yield row, _blob(value, folder)

        sources.append(ImageSource(rows, _class_list(table, its_label, rows), fetch, table.notes))
    return _one_after_another(sources)


def _image_column(table: SourceTable, image: str) -> tuple[SourceTable, str]:
    """The column of images: the one named, or else the only one that holds images or their paths."""
    if image in table.kinds or image not in ("image", "path"):
        return table.choose(image, "image", IMAGES, "image")
    texts = [column for column, kind in table.kinds.items() if kind == TEXT]
    paths = {c: IMAGES for c, v in zip(texts, table.take(texts), strict=True) if _are_paths(v)}
    kinds = {column: paths.get(column, kind) for column, kind in table.kinds.items()}
    guessed, column = SourceTable(table.name, kinds, table.take, table.notes, table.classes).choose(
        image, image, IMAGES, "image"
    )
    return SourceTable(table.name, table.kinds, table.take, guessed.notes, table.classes), column


def _are_paths(values: pl.Series | list[Any]) -> bool:
    """Whether the first texts of a column all end as files of images do."""
    first: list[str] = []
    for value in values:
        if value:
            first.append(str(value).lower())
        if len(first) == _LOOKED_AT:
            break
    return bool(first) and all(value.endswith(SUFFIXES) for value in first)


def _label_column(table: SourceTable, label: str | None, image: str) -> tuple[SourceTable, str | None]:
    """The column of labels: the one named, or else the only one of class labels, or of text."""
    if label is None:
        return table, None
    if label in table.kinds or label != "label":
        return table, table.require(label, "label")
    fit = [c for c, kind in table.kinds.items() if kind == NAMES and c != image]
    fit = fit or [c for c, kind in table.kinds.items() if kind == TEXT and c != image]
    if len(fit) != 1:
        raise InputError(table.no_column(label, "label", fit))
    note = f"The column {fit[0][:SHOWN]!r} was read for the labels, the only one that could be."
    notes = (*table.notes, note)
    return SourceTable(table.name, table.kinds, table.take, notes, table.classes), fit[0]


def _blob(value: Any, folder: Path) -> Blob:
    """The bytes of an image from what stands in a row: bytes, a path, both, a picture or an array."""
    if isinstance(value, Mapping):
        if value.get("bytes"):
            return value["bytes"]
        value = value.get("path") if value.get("bytes") is None else b""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if isinstance(value, str | Path) and str(value):
        return _read_file(folder / value)
    if hasattr(value, "__array_interface__"):  # a picture of Pillow's, an array of numpy's
        return _as_png(value)
    return BadPicture("no image", "the row holds neither bytes nor a path")


def _as_png(value: Any) -> Blob:
    from PIL import Image

    try:
        picture = value if isinstance(value, Image.Image) else Image.fromarray(value)
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
    except Exception as error:  # Pillow raises nearly anything on arrays that are no picture
        return BadPicture("no image", f"{type(value).__name__}: {error}"[:200])
    return buffer.getvalue()


def _check_image_type(dtype: Any, inner: Sequence[str], name: str, image: str) -> None:
    import pyarrow as pa

    for field in inner:
        dtype = dtype.field(field).type
    fields = {field.name for field in dtype} if pa.types.is_struct(dtype) else set()
    if pa.types.is_dictionary(dtype):
        dtype = dtype.value_type
    kinds = (
        "binary",
        "large_binary",
        "binary_view",
        "fixed_size_binary",
        "string",
        "large_string",
        "string_view",
        "null",
    )
    if not (any(getattr(pa.types, f"is_{k}")(dtype) for k in kinds) or fields & {"bytes", "path"}):
        raise InputError(
            f"column {image!r} of {name} holds {str(dtype)[:80]}: images are bytes, a struct of bytes"
            " and path, or a path; name the column with image=..."
        )


def _told(
    table: SourceTable, label: str | None, split: str | None, count: int
) -> tuple[list[str | None], list[Any]]:
    """Of each of so many rows its label and its split, None where nobody asks."""
    nothing: list[Any] = [None] * count
    labels = nothing if label is None else _labels(list(table.take([label])[0]), table, label)
    return labels, nothing if split is None else list(table.take([split])[0])


def _labels(values: list[Any], table: SourceTable, label: str) -> list[str | None]:
    wrong = next((v for v in values if not is_missing(v) and not isinstance(v, str)), None)
    if wrong is not None:
        wrong = wrong.to_list() if isinstance(wrong, pl.Series) else wrong
        likely = [c for c, kind in table.kinds.items() if c != label and kind in (TEXT, NAMES)]
        advice = f"give label=... one of {', '.join(map(repr, likely))}"
        raise InputError(
            f"column {label!r} of {table.name} holds {encodable(repr(wrong))[:80]}, not the name of a"
            f" class; descriptions need names: {advice if likely else 'no other column has any'}"
        )
    return [None if is_missing(value) or not value else value for value in values]


def _part(value: Any) -> str | None:
    return None if is_missing(value) else str(value)


def _class_list(table: SourceTable, label: str | None, rows: pl.DataFrame) -> list[str]:
    if label is None:
        return []
    names = table.classes.get(label) or rows["label"].drop_nulls().unique().sort()
    return [encodable(name, "?") for name in names]


def _table(rows: list[tuple[int, str, str | None, str | None]]) -> pl.DataFrame:
    told = [
        (row, *(None if text is None else encodable(text, "?") for text in others)) for row, *others in rows
    ]
    return pl.DataFrame(told, schema=_ROWS, orient="row")

"""Texts about classes from files or mappings, joined to the classes by name and never by order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from unicodedata import normalize

import numpy as np
import polars as pl
from jaxtyping import Int

from saywell.errors import InputError

_TEXT_COLUMNS = ("text", "descriptor", "description")


def load_descriptors(
    source: str | Path | Mapping[str, Sequence[str]], classes: Sequence[str]
) -> tuple[list[str], Int[np.ndarray, " texts"]]:
    """The texts of `source` for these classes, class by class, and the place of each one's class.

    `source` is a JSON file with an object of class -> list of texts, a Parquet or CSV file with the
    columns class and text, or a mapping. Case, underscores and spacing of names do not matter, the
    order does not either; classes that are not asked for are left out. Repeated texts of a class
    count once.

    Raises InputError for a file that cannot be read and for a class that it has no text for:
    lists joined to the wrong classes do not look wrong, they only score low.
    """
    given, shown = _read(source)
    by_name: dict[str, tuple[str, list[str]]] = {}
    for name, texts in given.items():
        key = _key(name)
        if key in by_name:
            raise InputError(
                f"{shown} has the classes {by_name[key][0]!r} and {name!r}, which read the same:"
                " merge them"
            )
        by_name[key] = (name, list(dict.fromkeys(" ".join(t.split()) for t in texts if t.strip())))
    missing = [name for name in classes if not by_name.get(_key(name), ("", []))[1]]
    if missing:
        close = get_close_matches(_key(missing[0]), by_name, n=1, cutoff=0.6)
        hint = f"; did you mean {by_name[close[0]][0]!r}?" if close else ""
        raise InputError(
            f"{shown} has no text for {len(missing)} of {len(classes)} classes, such as"
            f" {missing[0]!r}{hint}; texts are joined to classes by name, so rename or add them"
        )
    texts = [by_name[_key(name)][1] for name in classes]
    return (
        [text for own in texts for text in own],
        np.repeat(np.arange(len(classes)), [len(own) for own in texts]),
    )


def _read(source: str | Path | Mapping[str, Sequence[str]]) -> tuple[dict[str, list[str]], str]:
    if isinstance(source, Mapping):
        return {name: list(texts) for name, texts in source.items()}, "the mapping of texts"
    path, shown = Path(source), repr(str(source)[:200])
    if not path.is_file():
        raise InputError(f"there is no file {shown} with texts for classes")
    if path.suffix.lower() == ".json":
        try:
            value = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{shown} cannot be read as JSON: {error}") from error
        if not isinstance(value, dict) or not all(
            isinstance(texts, list) and all(isinstance(t, str) for t in texts)
            for texts in value.values()
        ):
            raise InputError(f"{shown} must hold an object of class -> list of texts")
        return value, shown
    try:
        with path.open("rb") as file:
            reads = {".parquet": pl.read_parquet, ".csv": pl.read_csv}
            read = reads.get(path.suffix.lower())
            if read is None:
                raise InputError(f"{shown} does not end in .json, .parquet or .csv")
            table = read(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{shown} cannot be read: {error}") from error
    column = next((name for name in _TEXT_COLUMNS if name in table.columns), None)
    if column is None or "class" not in table.columns:
        raise InputError(
            f"{shown} needs the columns 'class' and 'text'; it has {', '.join(table.columns)}"
        )
    rows = table.select("class", pl.col(column).cast(pl.String)).drop_nulls()
    result: dict[str, list[str]] = {}
    for name, text in rows.iter_rows():
        result.setdefault(str(name), []).append(text)
    return result, shown


def _key(name: str) -> str:
    return " ".join(normalize("NFC", name).replace("_", " ").split()).casefold()

"""Texts about classes from files or mappings, joined to the classes by name and never by order."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import polars as pl
from jaxtyping import Int

from saywell.data.encodings import encodable
from saywell.data.files import nearest_file, open_regular
from saywell.data.tables import is_missing, open_table, suffix_of
from saywell.data.tag_lists import parse_lists
from saywell.errors import InputError

_TEXT_COLUMNS = ("text", "descriptor", "description")


def load_descriptors(
    source: str | Path | Mapping[str, Sequence[str]], classes: Sequence[str]
) -> tuple[list[str], Int[np.ndarray, " texts"]]:
    """The texts of `source` for these classes, class by class, and the place of each one's class.

    `source` is a JSON file with an object of class -> list of texts, a table (.parquet, .csv, .tsv,
    .jsonl, .json) with the columns class and text, or a mapping. Case, underscores and spacing of
    names do not matter, the order does not either; classes that are not asked for are left out.
    Repeated texts of a class count once.

    Raises InputError for a file that cannot be read and for a class that it has no text for:
    lists joined to the wrong classes do not look wrong, they only score low.
    """
    given, shown = _read(source)
    by_name: dict[str, tuple[str, list[str]]] = {}
    for name, texts in given.items():
        key = _key(name)
        if key in by_name:
            raise InputError(
                f"{shown} has the classes {by_name[key][0]!r} and {name!r}, which read the same: merge them"
            )
        by_name[key] = (name, list(dict.fromkeys(text for text in map(_clean, texts) if text)))
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
        shown = "the mapping of texts"
        return {name: _texts(texts, name, shown) for name, texts in source.items()}, shown
    path, shown = Path(source), repr(str(source)[:200])
    if not path.exists():
        raise InputError(f"there is no file {shown} with texts for classes{nearest_file(path)}")
    if path.suffix.lower() == ".json":
        value = _json(path, shown)
        is_mapping = isinstance(value, dict) and all(
            isinstance(texts, list) and all(isinstance(t, str) for t in texts) for texts in value.values()
        )
        if is_mapping:
            return value, shown
        if not (isinstance(value, list) and all(isinstance(row, dict) for row in value)):
            raise InputError(f"{shown} must hold an object of class -> list of texts")
    elif suffix_of(path) in (None, ".txt", ".txt.gz"):
        raise InputError(f"{shown} does not end in .json, .jsonl, .parquet, .csv or .tsv")
    table = open_table(path)
    column = next((name for name in _TEXT_COLUMNS if name in table.kinds), None)
    if column is None or "class" not in table.kinds:
        raise InputError(f"{shown} needs the columns 'class' and 'text'; it has {', '.join(table.kinds)}")
    result: dict[str, list[str]] = {}
    names, given = table.take(["class", column])
    strings = [None if is_missing(text) else text for text in given]
    if all(text is None or isinstance(text, str) for text in strings):
        printed = pl.Series(column, [text and encodable(text) for text in strings], dtype=pl.String)
        given = parse_lists(printed, f"column {column!r} of {shown}")
        given = strings if given is None else given
    for name, texts in zip(names, given, strict=True):
        if not is_missing(name) and str(name).strip():
            result.setdefault(encodable(str(name)), []).extend(_texts(texts, name, shown))
    return result, shown


def _texts(value: Any, name: Any, shown: str) -> list[str]:
    """One text, or several; whatever else stands there is an error and no text."""
    several = value.tolist() if isinstance(value, np.ndarray) else value
    several = several if isinstance(several, list | tuple | pl.Series) else [several]
    texts = [text for text in several if not is_missing(text)]
    wrong = next((text for text in texts if not isinstance(text, str)), None)
    if wrong is not None:
        raise InputError(
            f"{shown} has {encodable(repr(wrong))[:80]} for the class {encodable(str(name))!r}, which"
            " is no text: give each class texts, or a list of them"
        )
    return texts


def _json(path: Path, shown: str) -> Any:
    try:
        with open_regular(path) as file:
            return json.loads(file.read().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{shown} cannot be read as JSON: {error}") from error


def _clean(text: str) -> str:
    """One line without control characters and halves of characters."""
    return " ".join(re.sub(r"[\x00-\x08\x0e-\x1b\x7f]", "", encodable(text)).split())


def _key(name: str) -> str:
    return " ".join(normalize("NFC", name).replace("_", " ").split()).casefold()

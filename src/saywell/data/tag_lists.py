"""Lists that a program printed into a field of text: "['calm', 'proud']", "['calm' 'proud']"."""

from __future__ import annotations

import ast
import json
import re

import polars as pl

from saywell.data.encodings import encodable
from saywell.errors import InputError

_LONGEST = 20_000  # characters of one list
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_STRING = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|None|True|False"
_NUMPY = re.compile(rf"(?:(?:{_STRING})\s*)+|(?:(?:{_NUMBER})\s+)*(?:{_NUMBER})\s*")
_ITEM = re.compile(rf"{_STRING}|{_NUMBER}")


def parse_lists(column: pl.Series, where: str) -> pl.Series | None:
    """The lists of str in a column of text, where every row that has something is a printed list.

    None where no row is one: brackets around plain words are words.

    Raises InputError, with two of the rows, where some rows are lists and some are not.
    """
    distinct = column.drop_nulls().unique().sort()
    filled = [text for text in distinct if text.strip()]
    parsed = {text: _parse(text) for text in filled}
    lists = [text for text, items in parsed.items() if items is not None]
    if not lists:
        return None
    if len(lists) < len(filled):
        other = next(text for text in filled if parsed[text] is None)
        raise InputError(
            f"{where} holds {lists[-1][:80]!r}, a list that was printed, and {other[:80]!r}, which is"
            " none: write tags separated by ';', or lists in JSON Lines or Parquet"
        )
    values = [None if text is None else parsed.get(text) or [] for text in column]
    return pl.Series(column.name, values, dtype=pl.List(pl.String))


def _parse(text: str) -> list[str] | None:
    text = text.strip()
    if len(text) < 2 or len(text) > _LONGEST or _BRACKETS.get(text[0]) != text[-1]:
        return None
    inside = text[1:-1].strip()
    if not inside:
        return []
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(value, list | tuple | set) and all(
            item is None or isinstance(item, str | int | float) for item in value
        ):
            items = sorted(value, key=str) if isinstance(value, set) else value
            # Python joins 'a' 'b' to 'ab'; numpy prints two strings so.
            if read is json.loads or len(items) > 1 or not _NUMPY.fullmatch(inside):
                return [encodable(str(item)) for item in items if item is not None]
        break
    if text[0] != "[" or not _NUMPY.fullmatch(inside):
        return None
    items = []
    for match in _ITEM.finditer(inside):
        value = match[0]
        items.append(encodable(str(ast.literal_eval(value))) if value[0] in "'\"" else value)
    return items

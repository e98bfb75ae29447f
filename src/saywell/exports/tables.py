"""Tables to take away, as Parquet, JSON lines or CSV that no spreadsheet can be made to run."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from types import MappingProxyType

import polars as pl

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def as_parquet(table: pl.DataFrame) -> bytes:
    """Parquet, with every type kept."""
    file = io.BytesIO()
    table.write_parquet(file, compression="zstd")
    return file.getvalue()


def as_jsonl(table: pl.DataFrame) -> bytes:
    """One JSON object a line, in UTF-8."""
    file = io.BytesIO()
    table.write_ndjson(file)
    return file.getvalue()


def as_csv(table: pl.DataFrame) -> bytes:
    """CSV for spreadsheets: lists joined by "; ", and an apostrophe before what one would run as a formula.

    Spaces before the formula or not. Whoever needs the exact text takes another form.
    """
    lists = [name for name, dtype in table.schema.items() if isinstance(dtype, pl.List)]
    flat = table.with_columns(pl.col(name).cast(pl.List(pl.String)).list.join("; ") for name in lists)
    texts = [name for name, dtype in flat.schema.items() if dtype == pl.String]
    begins = [pl.col(name).str.strip_chars_start(" \u00a0\ufeff") for name in texts]
    safe = flat.with_columns(
        pl.when(pl.any_horizontal(*(begin.str.starts_with(sign) for sign in _FORMULA)))
        .then("'" + pl.col(name))
        .otherwise(pl.col(name))
        .alias(name)
        for name, begin in zip(texts, begins, strict=True)
    )
    return safe.write_csv().encode()


WRITERS: Mapping[str, Callable[[pl.DataFrame], bytes]] = MappingProxyType(
    {"csv": as_csv, "parquet": as_parquet, "jsonl": as_jsonl}
)
"""From the name of a form to what writes it."""

"""A table of a study: declared beside who makes it, checked on every read and write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from saywell.errors import SchemaError


@dataclass(frozen=True)
class Table:
    """Name, columns and types, which columns identify a row, and which may be absent.

    `key` columns are never null and together unique; `version` changes with what a column means.
    """

    name: str
    columns: Mapping[str, Any]
    key: tuple[str, ...]
    optional: frozenset[str] = field(default_factory=frozenset)
    version: int = 1
    extensible: bool = False
    """Whether other columns may follow, such as a user's own."""

    @property
    def types(self) -> dict[str, pl.DataType]:
        """The columns' types, as a table that was read has them."""
        return dict(self.empty().schema)

    @property
    def required(self) -> dict[str, pl.DataType]:
        """Those of the columns that may not be absent."""
        return {name: kind for name, kind in self.types.items() if name not in self.optional}

    def frame(self, rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
        """Rows, in the order of the columns; without any, with the right types."""
        return pl.DataFrame(list(rows), schema=dict(self.columns), orient="row")

    def empty(self) -> pl.DataFrame:
        """The table without rows."""
        return self.frame(())

    def check(self, table: pl.DataFrame) -> pl.DataFrame:
        """The table with its columns in order.

        Raises SchemaError naming the first column or key that does not agree.
        """
        columns = self.check_columns(table.schema)
        check_key(self.name, self.key, table)
        return table.select(columns)

    def check_columns(self, schema: Mapping[str, pl.DataType]) -> list[str]:
        """The columns of a table in order, those of its own last.

        Raises SchemaError naming the first that does not agree.
        """
        name, types = self.name, self.types
        unknown = [column for column in schema if column not in types]
        if unknown and not self.extensible:
            raise SchemaError(f"table {name!r} has a column {unknown[0]!r} that its schema does not name")
        for column, dtype in types.items():
            if column not in schema:
                if column in self.optional:
                    continue
                raise SchemaError(f"table {name!r} lacks the column {column!r} ({dtype})")
            if schema[column] != dtype:
                raise SchemaError(f"column {column!r} of table {name!r} is {schema[column]}, not {dtype}")
        return [column for column in types if column in schema] + unknown


def check_key(name: str, key: Sequence[str], table: pl.DataFrame) -> None:
    """Raise SchemaError unless these columns are there, are never null, and together tell rows apart."""
    for column in key:
        if column not in table.columns:
            raise SchemaError(f"table {name!r} lacks the column {column!r}, which tells its rows apart")
        if table[column].null_count():
            raise SchemaError(f"column {column!r} of table {name!r} has empty values")
    if key and table.select(key).is_duplicated().any():
        row = table.filter(table.select(key).is_duplicated()).row(0, named=True)
        shown = {column: row[column] for column in key}
        raise SchemaError(f"table {name!r} has more than one row for {shown}")


UNANSWERED = Table(
    "unanswered",
    {"step": pl.String, "item": pl.String, "reason": pl.String, "call": pl.String, "status": pl.String},
    key=("step", "item"),
    optional=frozenset({"status"}),
)
"""The one table that several steps add to: what was asked and not answered, and why.

`call` is the key in calls.sqlite. `status` as in LLM replies; what "failed" did so for an outside
reason and is asked again.
"""

"""Tables and figures of studies of format 2, as a study of today has them.

Only here is anything read out of a name: format 2 glued into names what are columns now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import polars as pl

FORMAT = 2
"""The format that is read, and not gone on with."""

_CHANGES: Mapping[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], ...]] = MappingProxyType({})
"""By table, what turns one of format 2 into one of today, in this order."""


def upgraded_table(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """A table of format 2 with the columns of today."""
    for change in _CHANGES.get(name, ()):
        table = change(table)
    return table


def upgraded_metric(metric: Mapping[str, Any]) -> Mapping[str, Any]:
    """A figure of format 2 with the fields of today."""
    return metric

"""Tables of studies of classes that are not yet declared beside who makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import polars as pl

from saywell.store.table import UNANSWERED, Table


def _schema(version: int, key: tuple[str, ...], optional: tuple[str, ...] = (), **columns: Any) -> Table:
    return Table("", columns, key, frozenset(optional), version)


_DECLARED: Mapping[str, Table] = MappingProxyType(
    {
        # One item of data. `part` is who may see it: "describe", "select" or "score". `row` is its place
        # in the input; `tags` are gold labels of the user's, `tokens` how many the model under study
        # reads. A column `target` (numbers or strings) and covariates of the user's may follow.
        "examples": _schema(
            1,
            ("id",),
            ("text", "first", "second", "tags", "label", "name", "width", "height", "group", "tokens"),
            id=pl.String,
            part=pl.String,
            text=pl.String,
            first=pl.String,
            second=pl.String,
            tags=pl.List(pl.String),
            label=pl.String,
            name=pl.String,
            row=pl.Int64,
            width=pl.Int32,
            height=pl.Int32,
            group=pl.String,
            tokens=pl.Int32,
        ),
        # Rows of the input that were not used, and why; `name` is the file's, where it has one.
        "rejected": _schema(
            1, ("row",), ("name",), row=pl.Int64, name=pl.String, reason=pl.String, detail=pl.String
        ),
        # Images that were used after a change on the way to RGB.
        "converted": _schema(1, ("row", "change"), row=pl.Int64, name=pl.String, change=pl.String),
        # Text about a unit. `status` is "described" or the reason why there is no description;
        # `selection` the rule that chose its sentences, where one did.
        "descriptions": _schema(
            1,
            ("id",),
            ("selection",),
            id=pl.String,
            unit=pl.String,
            text=pl.String,
            describer=pl.String,
            selection=pl.String,
            llm=pl.String,
            prompt_hash=pl.String,
            sources=pl.List(pl.String),
            descriptors=pl.List(pl.String),
            rank=pl.Int32,
            selected=pl.Boolean,
            status=pl.String,
        ),
        # A description's agreement with the unit on examples its writer never saw. `control` is the
        # best of its floors and `floor` its name; skill = value - control, with its own interval.
        # q is p after Benjamini and Hochberg over all rows of a measure and reader; n counts the
        # examples read, `resamples` how many the intervals and p are from.
        "scores": _schema(
            3,
            ("unit", "description", "measure", "reader", "part"),
            ("resamples",),
            unit=pl.String,
            description=pl.String,
            measure=pl.String,
            reader=pl.String,
            scorer_version=pl.Int32,
            part=pl.String,
            value=pl.Float64,
            ci_low=pl.Float64,
            ci_high=pl.Float64,
            control=pl.Float64,
            n=pl.Int64,
            status=pl.String,
            floor=pl.String,
            skill=pl.Float64,
            skill_low=pl.Float64,
            skill_high=pl.Float64,
            p=pl.Float64,
            q=pl.Float64,
            unanswered=pl.Int64,
            threshold=pl.Float64,
            resamples=pl.Int64,
        ),
        # The same measure and reader fed what should fail: another unit's description, always, never ...
        # `left_out` counts the descriptions that were passed over since they read like the unit's own.
        "floors": _schema(
            2,
            ("unit", "description", "measure", "reader", "part", "floor"),
            ("left_out",),
            unit=pl.String,
            description=pl.String,
            measure=pl.String,
            reader=pl.String,
            part=pl.String,
            floor=pl.String,
            value=pl.Float64,
            left_out=pl.Int64,
        ),
        # Held-out examples that speak against a description: "silent" ones are predicted and leave
        # the unit cold, "unforeseen" ones fire it and are not predicted. Strongest first.
        "counterexamples": _schema(
            1,
            ("unit", "description", "kind", "rank"),
            unit=pl.String,
            description=pl.String,
            kind=pl.String,
            rank=pl.Int32,
            example=pl.String,
            activation=pl.Float32,
            predicted=pl.Float64,
        ),
    }
)

SCHEMAS: Mapping[str, Table] = MappingProxyType(
    {name: replace(table, name=name, extensible=name == "examples") for name, table in _DECLARED.items()}
    | {UNANSWERED.name: UNANSWERED}
)


def empty_table(name: str) -> pl.DataFrame:
    """A table of a schema without rows."""
    return SCHEMAS[name].empty()

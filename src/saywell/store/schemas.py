"""The tables of a study that are not yet declared beside who makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        # What a describer said a sentence is about, before merging. `status` as in LLM replies.
        "candidates": _schema(
            1, ("example", "rank"), example=pl.String, rank=pl.Int32, text=pl.String, score=pl.Float64
        ),
        # Descriptors after merging: `members` are the wordings that were merged into `text`.
        "descriptors": _schema(
            1, ("id",), id=pl.String, text=pl.String, members=pl.List(pl.String), mentions=pl.Int64
        ),
        # "This descriptor holds of this example", and who said so.
        "tags": _schema(
            1,
            ("example", "descriptor"),
            example=pl.String,
            descriptor=pl.String,
            source=pl.String,
            score=pl.Float64,
        ),
        # What is described. `sign` +1: going high, -1: going low. Statistics are of the pooled
        # activation (signed) on describe examples; `fires` is the share at or above `threshold`;
        # `histogram` counts them in equal steps from `minimum` to `maximum`.
        "units": _schema(
            2,
            ("id",),
            ("module", "place"),
            id=pl.String,
            kind=pl.String,
            model=pl.String,
            module=pl.String,
            layer=pl.Int32,
            index=pl.Int32,
            sign=pl.Int8,
            place=pl.Int32,
            name=pl.String,
            mean=pl.Float64,
            std=pl.Float64,
            minimum=pl.Float64,
            maximum=pl.Float64,
            threshold=pl.Float64,
            fires=pl.Float64,
            state=pl.String,
            histogram=pl.List(pl.Int32),
        ),
        # Describe examples, drawn at random, on which a described unit does not fire.
        "contrasts": _schema(
            1, ("unit", "rank"), unit=pl.String, rank=pl.Int32, example=pl.String, activation=pl.Float32
        ),
        # Strongest examples; the span is in characters of the example's text, end exclusive.
        "exemplars": _schema(
            1,
            ("unit", "part", "rank"),
            unit=pl.String,
            part=pl.String,
            rank=pl.Int32,
            example=pl.String,
            activation=pl.Float32,
            span_start=pl.Int32,
            span_end=pl.Int32,
        ),
        # A descriptor that dominates (composition) or is enriched among a unit's exemplars.
        "associations": _schema(
            1,
            ("unit", "part", "descriptor"),
            unit=pl.String,
            part=pl.String,
            descriptor=pl.String,
            hits=pl.Int32,
            exemplars=pl.Int32,
            composition=pl.Float64,
            lift=pl.Float64,
            p=pl.Float64,
            q=pl.Float64,
            composed=pl.Boolean,
            enriched=pl.Boolean,
        ),
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
        # Descriptions of the same model with random weights, made and scored in the same way: what
        # `verified` comes to where nothing was learned. Units drawn by chance where they are many.
        "control_scores": _schema(
            2,
            ("unit", "measure", "reader"),
            unit=pl.String,
            text=pl.String,
            measure=pl.String,
            reader=pl.String,
            value=pl.Float64,
            control=pl.Float64,
            skill=pl.Float64,
            skill_low=pl.Float64,
            skill_high=pl.Float64,
            p=pl.Float64,
            status=pl.String,
            resamples=pl.Int64,
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
        # Several meanings: clusters of a unit's exemplars, each described and scored by itself
        # (`part` 1, 2, ...), and their descriptions together (`part` 0), beside the one description.
        "meanings": _schema(
            1,
            ("unit", "part"),
            unit=pl.String,
            part=pl.Int32,
            text=pl.String,
            descriptors=pl.List(pl.String),
            exemplars=pl.Int32,
            value=pl.Float64,
            ci_low=pl.Float64,
            ci_high=pl.Float64,
            single=pl.Float64,
            difference=pl.Float64,
            difference_low=pl.Float64,
            difference_high=pl.Float64,
            n=pl.Int64,
        ),
        # The points of the figures. `control` is empty for what a rule itself reaches; else it names
        # what stands beside: a control, a reference or a bound, without a rule where it is all rules'.
        # `tags` says whose tags are the truth: "all", or those found by their words alone, "lexical".
        "curves": _schema(
            2,
            ("figure", "rule", "calibrated", "tags", "control", "x"),
            figure=pl.String,
            rule=pl.String,
            calibrated=pl.Boolean,
            tags=pl.String,
            control=pl.String,
            x=pl.Float64,
            value=pl.Float64,
            ci_low=pl.Float64,
            ci_high=pl.Float64,
            n=pl.Int64,
        ),
        # Gold descriptors, and for each the found descriptor that comes closest. It was chosen on
        # describe examples; the figures are from score examples. `control`: F1 of calling it on each.
        "recovered": _schema(
            1,
            ("gold",),
            gold=pl.String,
            descriptor=pl.String,
            text=pl.String,
            value=pl.Float64,
            ci_low=pl.Float64,
            ci_high=pl.Float64,
            control=pl.Float64,
            n=pl.Int64,
            units=pl.Int64,
            found=pl.Boolean,
        ),
        # What an exam asks: `truth` in words ("" nothing to describe, null unknown), the shares of
        # texts (or pictures) on which the unit fires and on which its true rule holds.
        "exam_units": _schema(
            1,
            ("unit",),
            unit=pl.String,
            kind=pl.String,
            truth=pl.String,
            fires=pl.Float64,
            rule=pl.Float64,
            texts=pl.Int64,
        ),
        # What a describer said of a unit and how it fared. value, control and skill are against what
        # the unit does on score texts, `stated` the same F1 on select texts; rule_f1, truth_f1 and
        # always_f1 are against the true rule, of this text, the true description and "always".
        "exam_answers": _schema(
            1,
            ("describer", "unit"),
            ("readable", "off_rule"),
            describer=pl.String,
            unit=pl.String,
            kind=pl.String,
            text=pl.String,
            value=pl.Float64,
            ci_low=pl.Float64,
            ci_high=pl.Float64,
            control=pl.Float64,
            skill=pl.Float64,
            skill_low=pl.Float64,
            skill_high=pl.Float64,
            p=pl.Float64,
            n=pl.Int64,
            stated=pl.Float64,
            rule_f1=pl.Float64,
            always_f1=pl.Float64,
            status=pl.String,
            truth_f1=pl.Float64,
            readable=pl.Boolean,
            recovered=pl.Boolean,
            off_rule=pl.Boolean,
        ),
        # A line per describer: shares with 95 % intervals; see studies/exam_summary.py.
        "exam_summary": _schema(
            1,
            ("describer",),
            ("known", "readable", "off_rule", "off_rule_low", "off_rule_high"),
            describer=pl.String,
            units=pl.Int64,
            described=pl.Int64,
            verified=pl.Int64,
            known=pl.Int64,
            readable=pl.Int64,
            recovered=pl.Float64,
            recovered_low=pl.Float64,
            recovered_high=pl.Float64,
            off_rule=pl.Float64,
            off_rule_low=pl.Float64,
            off_rule_high=pl.Float64,
            f1=pl.Float64,
            f1_low=pl.Float64,
            f1_high=pl.Float64,
            noise_units=pl.Int64,
            noise_described=pl.Int64,
            false=pl.Float64,
            false_low=pl.Float64,
            false_high=pl.Float64,
            bias=pl.Float64,
            error=pl.Float64,
        ),
        # What answers cost; the seconds are this machine's and differ from run to run.
        "exam_costs": _schema(1, ("describer",), describer=pl.String, calls=pl.Int64, seconds=pl.Float64),
    }
)

SCHEMAS: Mapping[str, Table] = MappingProxyType(
    {name: replace(table, name=name, extensible=name == "examples") for name, table in _DECLARED.items()}
    | {UNANSWERED.name: UNANSWERED}
)


def check_table(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """The table with its columns in the schema's order; see `Table.check`."""
    return SCHEMAS[name].check(table)


def empty_table(name: str) -> pl.DataFrame:
    """A table of a schema without rows."""
    return SCHEMAS[name].empty()


def table_of(name: str, rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """Rows (in the order of the schema's columns) as a table; without any, with the right types."""
    return SCHEMAS[name].frame(rows)

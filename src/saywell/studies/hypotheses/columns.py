"""Which columns of a source a question means, and what stands in them, row by row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from saywell.data.tables import TEXT, Column, SourceTable, open_table, stacked
from saywell.data.texts import check_limit, column_values, pair_rows, text_rows
from saywell.errors import InputError
from saywell.studies.settings import HypothesisSettings

MAX_CHARS = 10_000
"""Longer texts are refused; answers of language models, which are compared in pairs, are long."""
LENGTH = "length"
SIDES = ("first", "second")
GRADED = ("ordinal", "count", "real")
"""Kinds of a target of pairs that says how much the first is favoured, and not which."""
_ENDINGS = (("a", "b"), ("A", "B"), ("1", "2"), ("first", "second"))
_FORMS = ("{name}_{end}", "{end}_{name}", "{name}{end}", "{end}{name}", "{name}-{end}")


@dataclass(frozen=True)
class Rows:
    """All rows of a source.

    `table`: row (from 0), reason and problem (null: it can be used), the text `first` and of pairs `second`,
    `target`, where they are asked for `by`, `group` and `split`, and the columns of covariates. `texts`: what
    the columns of text are called in the source. `target`: what is explained. `covariates`: by name its
    columns in the table: one, two of what each text of a pair has, none of a length that is to be counted.
    `source`: the source's name in messages.
    """

    table: pl.DataFrame
    texts: tuple[str, ...]
    target: str
    covariates: Mapping[str, tuple[str, ...]]
    source: str
    notes: tuple[str, ...]


def read_rows(source: Any, asked: HypothesisSettings, versus: Any = None) -> Rows:
    """What a question needs of its source.

    Raises InputError for what is no question, a column that is not there or of another kind.
    """
    _check(asked, versus)
    table, target = open_table(source), asked.target if asked.target is not None else asked.between
    compared = None
    if versus is not None:
        table, compared = _stacked(table, open_table(versus))
    table, text = table.choose(asked.text, "text", TEXT, "text")
    texts = (text,) if asked.pair is None else (text, table.require(asked.pair, "pair"))
    if len(set(texts)) < len(texts):
        raise InputError(f"text and pair are both the column {text!r} (--text, --pair); a pair needs two")
    others = {"target": target, "by": asked.by, "group": asked.group, "split": asked.split}
    option = {"target": "target" if asked.target is not None else "between"}
    columns = {
        ours: table.require(name, option.get(ours, ours)) for ours, name in others.items() if name is not None
    }
    covariates: dict[str, tuple[str, ...]] = {}
    for name in asked.covariate:
        counted = name == LENGTH and (name not in table.kinds or name in (target, *texts))
        if name in covariates or (name in (target, *texts) and not counted):
            what = "named twice" if name in covariates else "what is asked about"
            raise InputError(f"the covariate {name!r} (--covariate) is {what}; leave it out")
        own = () if counted else _columns_of(name, texts, table)
        covariates[name] = tuple(f"covariate {column}" for column in own)
        columns |= dict(zip(covariates[name], own, strict=True))

    taken = table.take([*texts, *columns.values()])
    sides = [
        text_rows(column, called, table, MAX_CHARS) for column, called in zip(taken, texts, strict=False)
    ]
    rows = _with_different_texts(*sides) if len(sides) == 2 else sides[0].rename({"text": "first"})
    if rows.is_empty():
        raise InputError(f"{table.name} has no rows")
    values = [
        _values(column, ours, called, table.name, asked)
        for column, (ours, called) in zip(taken[len(texts) :], columns.items(), strict=True)
    ]
    rows = rows.hstack(values).with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    if compared is not None:
        rows = rows.with_columns(target=(pl.col("row") < compared).cast(pl.Float64))
        target = _name(source, versus)
    elif target is None:
        rows, target = rows.with_columns(target=pl.lit(texts[0])), "favoured"
    return Rows(rows, texts, target, covariates, table.name, table.notes)


def _check(asked: HypothesisSettings, versus: Any) -> None:
    """InputError for what is no question."""
    check_limit(asked.limit)
    if asked.pair is not None:
        if asked.between is not None or versus is not None:
            other = (
                f"between={asked.between!r} (--between)" if asked.between is not None else "versus (--versus)"
            )
            raise InputError(
                f"pair={asked.pair!r} (--pair) is of pairs of which one text is favoured, and {other} of"
                " single texts: say which is favoured with target=... (--target), or leave pair out"
            )
        if asked.kind == "nominal":
            raise InputError(
                "kind='nominal' (--kind) cannot be of pairs: one of the two is favoured, or more"
            )
        if asked.first is not None and (asked.target is None or asked.kind in GRADED):
            without = (
                "no target says" if asked.target is None else f"kind={asked.kind!r} (--kind) does not say"
            )
            raise InputError(
                f"first={asked.first!r} (--first) says which text is favoured, but {without} that"
            )
        return
    given = [f"{name}={value!r} (--{name})" for name, value in _explained(asked).items()]
    given += ["versus (--versus)"] * (versus is not None)
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} both say what is to be explained; give one of them")
    if not given:
        raise InputError(
            "what is to be explained? Name a column with target=... (--target) or between=... (--between), or"
            " give other texts with versus=... (--versus)"
        )


def _explained(asked: HypothesisSettings) -> dict[str, str]:
    given = {"target": asked.target, "between": asked.between}
    return {name: value for name, value in given.items() if value is not None}


def _stacked(table: SourceTable, other: SourceTable) -> tuple[SourceTable, int]:
    """Both as one table, and how many rows of the first there are."""
    both = stacked([table, other], f"{table.name} and {other.name}")
    return both, len(table.take(list(both.kinds)[:1])[0]) if both.kinds else 0


def _name(source: Any, versus: Any) -> str:
    """What the rows of `source` are called, and not those of `versus`."""
    one, other = (Path(x).name.split(".")[0] if isinstance(x, str | Path) else "" for x in (source, versus))
    return one if one and one != other else "first"


def _columns_of(name: str, texts: Sequence[str], table: SourceTable) -> tuple[str, ...]:
    """Of a covariate: its own column; of pairs also two, told apart as the texts are or by a and b."""
    if len(texts) == 2:
        for ends in (_apart(*texts), *_ENDINGS):
            if name in table.kinds and all(ends):
                break
            for form in _FORMS:
                two = tuple(form.format(name=name, end=end) if end else name for end in ends)
                if len(set(two)) == 2 and all(column in table.kinds for column in two):
                    return two
    return (table.require(name, "covariate"),)


def _apart(first: str, second: str) -> tuple[str, str]:
    """What two names differ in: a and b of answer_a and answer_b, nothing and b of text and text_b."""
    one, other = (re.split(r"[\W_]+", name) for name in (first, second))
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    return "_".join(one), "_".join(other)


def _with_different_texts(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """The rows of two columns of text; refused where nothing tells the two apart."""
    same = pl.col("reason").is_null() & (pl.col("first") == pl.col("second"))
    return pair_rows(first, second).with_columns(
        reason=pl.when(same).then(pl.lit("equal texts")).otherwise("reason"),
        problem=pl.when(same).then("first").otherwise("problem"),
    )


def _values(column: Column, ours: str, called: str, name: str, asked: HypothesisSettings) -> pl.Series:
    """Numbers where they are wanted as such, else strings, of whole numbers without a decimal point."""
    numbers = ours not in ("target", "by", "group", "split")
    if ours == "target":
        numbers = asked.kind in GRADED if asked.pair is not None else asked.between is None
        numbers = numbers and asked.kind != "nominal"
    values = column_values(column, called, name, numbers=numbers).alias(ours)
    if isinstance(column, pl.Series) and column.dtype != pl.Object:
        plain = column.dtype.is_float()
    else:
        plain = not any(isinstance(value, str) for value in column)
    return values.str.replace(r"\.0$", "") if plain and not numbers else values

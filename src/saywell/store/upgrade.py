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


def _measure_and_reader(table: pl.DataFrame) -> pl.DataFrame:
    """From "f1-sentence-encoder"."""
    scorer = pl.col("scorer")
    measure, reader = scorer.str.extract("^([^-]*)-"), scorer.str.extract("^[^-]*-(.*)$")
    return table.with_columns(measure=measure, reader=reader).drop("scorer")


def _curves(table: pl.DataFrame) -> pl.DataFrame:
    """From "enrichment, calibrated, shuffled exemplars (lexical tags)", and so on."""
    bare = pl.col("variant").str.strip_suffix(_LEXICAL)
    return table.with_columns(
        # What stood beside a curve against the threshold did not say of which rule it was.
        rule=pl.when(pl.col("figure").str.ends_with("against threshold"))
        .then(pl.lit("composition"))
        .otherwise(bare.str.extract("^(composition|enrichment)").fill_null("")),
        calibrated=bare.str.starts_with("enrichment, calibrated"),
        tags=pl.when(bare == pl.col("variant")).then(pl.lit("all")).otherwise(pl.lit("lexical")),
        control=bare.str.replace("^(composition|enrichment)(, calibrated)?(, )?", ""),
    ).drop("variant")


_LEXICAL, _VERIFIED = " (lexical tags)", "verified by "
_READERS = {"image-text encoder": "dual-encoder", "LLM": "detection", "words": "lexical"}
_CHANGES: Mapping[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], ...]] = MappingProxyType(
    {
        "scores": (_measure_and_reader,),
        "floors": (_measure_and_reader,),
        "control_scores": (_measure_and_reader,),
        "curves": (_curves,),
    }
)
"""By table, what turns one of format 2 into one of today, in this order."""


def upgraded_table(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """A table of format 2 with the columns of today."""
    for change in _CHANGES.get(name, ()):
        table = change(table)
    return table


def upgraded_metric(metric: Mapping[str, Any]) -> Mapping[str, Any]:
    """A figure of format 2 with the fields of today."""
    figure, *rest = metric["name"].removesuffix(_LEXICAL).split(", ")
    by: dict[str, str | bool] = {}
    if figure in ("precision@2", "recall@2"):
        tags = "lexical" if metric["name"].endswith(_LEXICAL) else "all"
        by = {"rule": rest[0], "calibrated": rest[1:] == ["calibrated"], "tags": tags}
    elif figure == "Jaccard":
        by = {"rule": rest[0]}
    elif figure.startswith(_VERIFIED):
        reader = figure.removeprefix(_VERIFIED)
        figure, by = "verified", {"reader": _READERS.get(reader, reader.replace(" ", "-"))}
    return {**metric, "figure": figure, "by": by}

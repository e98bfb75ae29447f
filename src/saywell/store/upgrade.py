"""Tables and figures of studies of format 2, as a study of today has them.

Only here is anything read out of a name: format 2 glued into names what are columns now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import polars as pl

from saywell.errors import SchemaError

FORMAT = 2
"""The format that is read, and not gone on with."""

_PARTS = {"calibration": "describe", "train": "describe", "validation": "select", "test": "score"}
"""Parts of examples as studies of neurons and of classes called them, and as all call them today."""


def _split_to_part(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.col("split").replace(_PARTS)).rename({"split": "part"})


def _parts_of_classes(table: pl.DataFrame) -> pl.DataFrame:
    return table.rename({old: new for old, new in _PARTS.items() if old in table.columns})


def _selected_by(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(pl.col("selection").replace(_PARTS))


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


def _network(table: pl.DataFrame) -> pl.DataFrame:
    """From "ift-proponent, network"."""
    rule = pl.col("rule").str.strip_suffix(", network")
    return table.with_columns(rule=rule, network=rule != pl.col("rule"))


def _texts(table: pl.DataFrame) -> pl.DataFrame:
    """From "file: mine, name-free", "random words, name-free, searched" and so on."""
    file, rest = pl.col("method").str.starts_with("file: "), pl.col("method")
    columns = {}
    for name in ("searched", "weighted", "name_free", "network"):  # from the end
        bare = rest.str.strip_suffix(f", {name.replace('_', '-')}")
        columns[name], rest = bare != rest, bare
    role = pl.col("role") if "role" in table.columns else _role(file, rest)
    return table.with_columns(**columns, method=rest.str.strip_prefix("file: "), role=role)


def _role(file: pl.Expr, method: pl.Expr) -> pl.Expr:
    """What table `transfer` of format 2 did not say."""
    return (
        pl.when(file)
        .then(pl.lit("file"))
        .when(method.is_in(["images only", "images and validation images", "class names", "all texts"]))
        .then(pl.lit("baseline"))
        .when(method.is_in(_RULES))
        .then(pl.lit("rule"))
        .otherwise(pl.lit("control"))
    )


def _selection(table: pl.DataFrame) -> pl.DataFrame:
    """From "extractive, ift-proponent", as studies of classes had it."""
    both = pl.col("describer").str.extract_groups(f"^(?:(.*), )?({'|'.join(_SELECTIONS)})$")
    return table.with_columns(
        describer=pl.when(both.struct[1].is_null()).then("describer").otherwise(both.struct[0].fill_null("")),
        selection=both.struct[1],
    )


_RULES = (
    "ift-literal",
    "ift-proponent",
    "ift-opponent",
    "text-influence",
    "text-influence-all",
    "nearest",
    "stepwise",
)
_SELECTIONS = (
    *_RULES,
    "clip-only",
    "clip-standardised",
    "influence-only",
    "neighbourhood",
    "random",
    "longest",
)
_LEXICAL, _VERIFIED = " (lexical tags)", "verified by "
_READERS = {"image-text encoder": "dual-encoder", "LLM": "detection", "words": "lexical"}
_CHANGES: Mapping[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], ...]] = MappingProxyType(
    {
        "examples": (_split_to_part,),
        "exemplars": (_split_to_part,),
        "associations": (_split_to_part,),
        "scores": (_split_to_part, _measure_and_reader),
        "floors": (_split_to_part, _measure_and_reader),
        "classes": (_parts_of_classes,),
        "control_scores": (_measure_and_reader,),
        "curves": (_curves,),
        "text_scores": (_network,),
        "zero_shot": (_texts,),
        "transfer": (_selected_by, _texts),
        "transfer_summary": (_selected_by, _texts),
        "descriptions": (_selection,),
    }
)
"""By table, what turns one of format 2 into one of today, in this order."""


def upgraded_table(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """A table of format 2 with the columns of today."""
    for change in _CHANGES.get(name, ()):
        try:
            table = change(table)
        except pl.exceptions.PolarsError as error:
            raise SchemaError(f"table {name!r} is not one of format {FORMAT}: {error}") from error
    return table


def upgraded_metric(metric: Mapping[str, Any]) -> Mapping[str, Any]:
    """A figure of format 2 with the fields of today."""
    name = str(metric.get("name"))
    bare = name.removesuffix(_LEXICAL)
    figure, *rest = bare.split(", ")
    by: dict[str, Any] = {}
    if figure in ("precision@2", "recall@2") and rest:
        tags = "all" if bare == name else "lexical"
        by = {"rule": rest[0], "calibrated": rest[1:] == ["calibrated"], "tags": tags}
    elif figure in ("Jaccard", "zero-shot accuracy", "gain over searched random words") and rest:
        by = {"rule": rest[0]} | ({} if figure == "Jaccard" else {"name_free": rest[1:] == ["name-free"]})
    elif figure == "transfer gain" and rest:
        shots = 0 if rest[0] == "all images" else int(rest[0].partition(" ")[0])
        by = {"shots": shots, "selection": "shots" if rest[1:] == ["shots alone"] else "select"}
    elif figure.startswith("AUROC ") and rest:
        by = {"rule": rest[0], "network": rest[1:] == ["network"]}
    elif figure.startswith(_VERIFIED):
        reader = figure.removeprefix(_VERIFIED)
        figure, by = "verified", {"reader": _READERS.get(reader, reader.replace(" ", "-"))}
    return {**metric, "figure": figure, "by": by}

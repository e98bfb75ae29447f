"""What pages, terminal and explorer ask of a study's tables: the columns they read, and no more.

Who makes a table declares all of it; who reads it says here what it needs. A table with more columns
will do, one without one of these is one error that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import polars as pl

from saywell.description import UNGIVEN
from saywell.store.study import Study, deciding_rows
from saywell.store.table import Table

_WORDS, _NUMBER, _COUNT, _RANK, _TRUE = pl.String, pl.Float64, pl.Int64, pl.Int32, pl.Boolean
_INTERVAL = dict.fromkeys(("value", "ci_low", "ci_high"), _NUMBER)
_DIFFERENCE = dict.fromkeys(("difference", "difference_low", "difference_high"), _NUMBER)
_ACCURACY = {"accuracy": _NUMBER, "ci_low": _NUMBER, "ci_high": _NUMBER, **_DIFFERENCE, "n": _COUNT}
_TEXTS = {
    **dict.fromkeys(("method", "role"), _WORDS),
    **dict.fromkeys(("network", "name_free", "weighted", "searched"), _TRUE),
}
_OF_UNIT = {"unit": _WORDS, "rank": _RANK, "example": _WORDS}
_PART = {"part": _WORDS}
_PLACED = {
    **dict.fromkeys(("localised", "localised_low", "localised_high", "by_chance"), _NUMBER),
    "localised_n": _COUNT,
}


def _words(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, pl.String)


def _read(name: str, columns: Mapping[str, Any], *optional: str, version: int = 1) -> Table:
    return Table(name, columns, (), frozenset(optional), version, extensible=True)


_TABLES = (
    _read(
        "examples", _words("id", "part", "text", "first", "second", "name"), "text", "first", "second", "name"
    ),
    _read("rejected", _words("reason", "name"), "name"),
    _read("converted", _words("change")),
    _read("unanswered", _words("step", "reason")),
    _read(
        "units",
        {
            **_words("id", "kind", "model", "name", "state"),
            "layer": pl.Int32,
            "index": pl.Int32,
            "sign": pl.Int8,
            **dict.fromkeys(("mean", "std", "minimum", "maximum", "threshold", "fires"), _NUMBER),
            "histogram": pl.List(pl.Int32),
        },
        version=2,
    ),
    _read("exemplars", {**_OF_UNIT, **_PART, "activation": pl.Float32}),
    _read("contrasts", {**_OF_UNIT, "activation": pl.Float32}),
    _read("counterexamples", {**_OF_UNIT, "kind": _WORDS, "activation": pl.Float32}),
    _read(
        "descriptions",
        {
            **_words("id", "unit", "text", "describer", "llm", "status"),
            "descriptors": pl.List(pl.String),
            "rank": _RANK,
            "selected": _TRUE,
        },
    ),
    _read(
        "scores",
        {
            **_words("unit", "description", "measure", "reader", "status", "floor"),
            **_INTERVAL,
            **dict.fromkeys(("control", "skill", "skill_low", "skill_high", "q"), _NUMBER),
            "n": _COUNT,
            **_PLACED,
            **dict.fromkeys(("verifies", "decides"), _TRUE),
        },
        *_PLACED,
        "verifies",
        "decides",
        version=3,
    ),
    _read(
        "floors", {**_words("unit", "description", "measure", "reader", "floor"), "value": _NUMBER}, version=2
    ),
    _read(
        "meanings",
        {"unit": _WORDS, "part": _RANK, "text": _WORDS, "exemplars": _RANK, "value": _NUMBER, **_DIFFERENCE},
    ),
    _read(
        "associations",
        {
            **_words("unit", "part", "descriptor"),
            "hits": _RANK,
            "exemplars": _RANK,
            "lift": _NUMBER,
            "q": _NUMBER,
            "composed": _TRUE,
            "enriched": _TRUE,
        },
    ),
    _read(
        "ranges",
        {**_OF_UNIT, **_PART, "bin": _RANK, **dict.fromkeys(("low", "high", "activation"), pl.Float32)},
    ),
    _read("near_misses", {**_OF_UNIT, **_PART, "why": _WORDS}),
    _read(
        "token_scores",
        {
            **_words("unit", "description", "floor"),
            **{f"{m}{end}": _NUMBER for m in ("precision", "recall", "f1") for end in ("", "_low", "_high")},
            "control": _NUMBER,
            **dict.fromkeys(("words", "fired", "said"), _COUNT),
        },
    ),
    _read("density", {"unit": _WORDS, "density": _NUMBER}),
    _read("promoted", {**_words("unit", "token"), "sign": pl.Int8, "rank": _RANK, "value": _NUMBER}),
    _read(
        "clamped",
        {
            **_words("unit", "way"),
            "texts": _RANK,
            **dict.fromkeys(
                (
                    "level",
                    *(f"{m}{end}" for m in ("divergence", "promoted") for end in ("", "_random", "_p")),
                ),
                _NUMBER,
            ),
        },
    ),
    _read("works", {**_words("unit", "works"), "q": _NUMBER}),
    _read(
        "relations",
        {
            **_words("unit", "relation", "other"),
            "together": _COUNT,
            **dict.fromkeys(("inside", "covers", "cosine"), _NUMBER),
        },
    ),
    _read("compared", {"what": _WORDS, "value": _NUMBER}),
    _read(
        "absorption",
        {
            "letter": _WORDS,
            "main": pl.List(pl.String),
            "f1": _NUMBER,
            "tested": _TRUE,
            **dict.fromkeys(("told", "missed", "absorbed", "by_chance"), _COUNT),
        },
    ),
    _read("absorbers", {**_words("unit", "letter", "word"), "tokens": _COUNT}),
    _read(
        "fit",
        {
            **_words("dictionary", "format"),
            **dict.fromkeys(("latents", "vectors"), _COUNT),
            **dict.fromkeys(("explained", "explained_low", "explained_high", "explained_turned"), _NUMBER),
            **dict.fromkeys(("active", "active_turned"), _NUMBER),
        },
    ),
    _read("descriptors", _words("id", "text")),
    _read("tags", _words("example", "descriptor")),
    _read(
        "curves",
        {
            **_words("figure", "rule", "tags", "control"),
            "calibrated": _TRUE,
            "x": _NUMBER,
            **_INTERVAL,
            "n": _COUNT,
        },
        version=2,
    ),
    _read(
        "recovered",
        {
            **_words("gold", "descriptor", "text"),
            **_INTERVAL,
            "control": _NUMBER,
            "n": _COUNT,
            "units": _COUNT,
            "found": _TRUE,
        },
    ),
    _read("classes", _words("name")),
    _read("articles", _words("class", "status", "title", "url", "revision")),
    _read(
        "class_texts",
        {**_words("id", "class", "component", "text", "status", "quotation", "same_as"), "gold": _TRUE},
        "same_as",
        "gold",
    ),
    _read(
        "text_scores",
        {
            **_words("text", "class", "rule"),
            "network": _TRUE,
            "score": _NUMBER,
            "rank": _RANK,
            "chosen": _TRUE,
        },
        version=2,
    ),
    _read(
        "sentence_scores",
        {
            **_words("unit", "text", "reader", "status", "floor", "exchanged"),
            "chosen": _TRUE,
            "decides": _TRUE,
            **_INTERVAL,
            **dict.fromkeys(("control", "skill", "skill_low", "skill_high", "q"), _NUMBER),
            **dict.fromkeys(("another_class", "nearest_sibling", "always", "class_name"), _NUMBER),
            "n": _COUNT,
        },
    ),
    _read("contradictions", _words("unit", "first", "second", "kind")),
    _read("influence", {**_words("model", "class", "side", "example"), "rank": _RANK, "value": _NUMBER}),
    _read("zero_shot", {**_TEXTS, "texts": _COUNT, **_ACCURACY}, version=2),
    _read(
        "transfer_summary",
        {**_TEXTS, **_words("training", "selection"), "shots": _RANK, **_ACCURACY},
        version=2,
    ),
    _read("judgements", {"criterion": _WORDS, "ranking": pl.List(pl.String)}),
    _read("plane", {**_words("kind", "id", "class"), "x": _NUMBER, "y": _NUMBER}),
    _read("thumbnails", {"example": _WORDS, "jpeg": pl.Binary}),
    _read(
        "hypotheses",
        {
            **_words(
                "hypothesis", "unit", "text", "claim", "found_by", "reader", "outcome", "unit_of_effect"
            ),
            **_words("status", "repeats"),
            "direction": pl.Int8,
            "n": _COUNT,
            "holds": _COUNT,
            **dict.fromkeys(("share", "mean_with", "mean_without", "effect", "ci_low", "ci_high"), _NUMBER),
            **dict.fromkeys(("effect_alone", "ci_low_alone", "ci_high_alone"), _NUMBER),
            **dict.fromkeys(("at_length", "ci_low_at_length", "ci_high_at_length"), _NUMBER),
            "covariates": pl.List(pl.String),
            **dict.fromkeys(("p", "q", "p_bonferroni"), _NUMBER),
            **dict.fromkeys(("by_permutation", "pairs"), _TRUE),
            "order": _RANK,
        },
    ),
    _read(
        "evidence",
        {
            **_words("hypothesis", "side", "item", "example", "other"),
            **{"rank": _RANK, "value": _NUMBER, "span_start": _RANK, "span_end": _RANK},
        },
    ),
    _read("statements", {**_words("unit", "found_by", "outcome"), "chosen": _TRUE}),
    _read(
        "shuffled_targets", {"shuffle": _RANK, **dict.fromkeys(("tested", "verified", "bonferroni"), _COUNT)}
    ),
    _read("joint", {**_words("outcome", "model", "measure"), **_INTERVAL, "n": _COUNT, "features": _COUNT}),
    _read(
        "power",
        {
            **_words("outcome", "unit_of_effect"),
            **dict.fromkeys(("share", "detectable", "effect"), _NUMBER),
            **dict.fromkeys(("n", "tests", "needed"), _COUNT),
        },
        "unit_of_effect",
    ),
    _read(
        "measurable",
        {**_words("text", "claim"), **dict.fromkeys(("differs", "first", "expressed", "z"), _NUMBER)},
    ),
    _read(
        "raters",
        {**_words("rater", "hypothesis"), "n": _COUNT}
        | dict.fromkeys(("weight", "ci_low", "ci_high", "of_all"), _NUMBER),
    ),
    _read(
        "by_rater",
        {
            **_words("outcome", "model", "measure"),
            **dict.fromkeys(("loss", "gain", "value"), _NUMBER),
            "n": _COUNT,
        }
        | dict.fromkeys(("ci_low", "ci_high"), _NUMBER),
    ),
    _read(
        "argued",
        {**_words("item", "first", "second"), "hypotheses": pl.List(pl.String)}
        | dict.fromkeys(("said", "predicted", "odds"), _NUMBER),
    ),
)
ASKED: Mapping[str, Table] = MappingProxyType({table.name: table for table in _TABLES})


def asked(study: Study, name: str) -> pl.DataFrame:
    """A table that pages ask something of, with what they ask.

    Raises SchemaError for one that lacks it, StudyError for one that is not there or not as it was
    written.
    """
    return study.table(ASKED[name])


def deciding_scores(study: Study) -> pl.DataFrame:
    """One row per unit: the score of the description that stands for it, by the reader who decides."""
    scores = deciding_rows(asked(study, "scores"))
    standing = selected_descriptions(study, description="id")
    return scores.join(standing, on=["unit", "description"], how="semi", maintain_order="left")


def tried(study: Study, describer: str | None = None) -> int:
    """How many units a describer, or any, could describe: all that have exemplars, or are described without.

    The share of verified ones is of these, so that silence is not taken for truth. Of descriptions that
    somebody brought the units are those that they are about.
    """
    asked_of = asked(study, "descriptions").filter(pl.col("status") != UNGIVEN)
    if describer is not None:
        asked_of = asked_of.filter(describer=describer)
    if "exemplars" in study.manifest.tables:
        units = study.scan(ASKED["exemplars"]).select(pl.col("unit").unique()).collect()["unit"]
        able = pl.col("unit").is_in(units.implode())
        asked_of = asked_of.filter(able | (pl.col("text") != ""))
    return asked_of["unit"].n_unique()


def verifying(scores: pl.DataFrame) -> pl.DataFrame:
    """Table `scores` with what each reader alone says; in older studies that is its status."""
    if "verifies" in scores.columns:
        return scores
    nowhere = (pl.lit(None, dtype=kind).alias(name) for name, kind in _PLACED.items())
    tested = pl.col("status") != "not tested"
    return scores.with_columns(*nowhere, verifies=pl.when(tested).then(pl.col("status") == "verified"))


def of_sentences(study: Study) -> str:
    """How many chosen sentences of classes are verified alone, how many pairs seem to contradict each other.

    Empty where a study has no sentences, or nobody was asked about them.
    """
    if "sentence_scores" not in study.manifest.tables:
        return ""
    own = asked(study, "sentence_scores").filter("chosen", "decides")
    if not own.height:
        return ""
    hold = own.filter(status="verified").height
    pairs = asked(study, "contradictions").height
    words = f"{hold:,} of {own.height:,} chosen sentences are verified alone"
    odds = f"; {pairs:,} {'pair seems' if pairs == 1 else 'pairs seem'} to be at odds"
    return words + (odds if pairs else "")


def selected_descriptions(study: Study, *columns: str, **renamed: str) -> pl.DataFrame:
    """One row per unit: the description that stands for it; unit, then these columns."""
    table = asked(study, "descriptions")
    table = table.sort("selected", "rank", descending=[True, False], maintain_order=True)
    return table.unique("unit", keep="first", maintain_order=True).select("unit", *columns, **renamed)

"""What a study says about many units: one tidy table, a search, the best few, who believes what.

Everything here is derived from the tables that are there, so it holds for every kind of study.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import polars as pl

from saywell.errors import InputError
from saywell.report.card import (
    DESCRIBED,
    EXCERPT,
    VERIFIED,
    Example,
    StudyRows,
    Unit,
    example_of,
    read_units,
    reader_name,
    shown_words,
    strongest,
)
from saywell.report.formats import hits, joined
from saywell.report.hypothesis_words import hypotheses_of
from saywell.report.tables import asked, deciding_scores, selected_descriptions, tried, verifying
from saywell.store.study import Study

_SEEN = 10
"""Exemplars of a unit that are searched, and among which the one to show is chosen."""
_SHORT, _LONG, _NEAR = 80, 160, 0.5
_CONSIDERED = 1000
"""Verified units among which those to begin with are chosen: of the surest skill."""


def tidy_table(study: Study) -> pl.DataFrame:
    """One row per unit, verified ones first, then those whose skill is surely high (its lower end).

    unit, description   its name and its words; "" where it has none
    verdict             "verified", "not verified" ... (docs/scores.md), or why there is no description
    score, ci_low, ci_high    F1 of the reader who decides, with its 95 % interval
    floor_score, floor, skill the best of what should fail, its name, and score less floor_score
    localised           the share of texts whose responsible span it points at; null where none is known
    reader, verified_by       who decides; every reader who alone verifies it
    example             a strong example around its responsible part, which is between « and »
    verified_sentences  of classes: the chosen sentences that are verified alone
    at_odds             of classes: pairs of them that seem to contradict each other, as "one ≠ other"

    Of a study of hypotheses the verdict is what came of the test, the order is theirs, and behind the other
    columns stand hypothesis, sentence, outcome, effect, q, p_bonferroni, repeats, effect_low, effect_high.
    """
    return _with_examples(study, _listed(study))


def _listed(study: Study) -> pl.DataFrame:
    """The tidy table before its examples, which take the longest, are chosen."""
    written = selected_descriptions(study, "status", description="text", _id="id")
    scored = pl.DataFrame(schema=_SCORED)
    if "scores" in study.manifest.tables:
        keys = {"unit": "unit", "_id": "description"}
        by = (
            verifying(asked(study, "scores"))
            .filter("verifies")
            .group_by("unit", "description", maintain_order=True)
            .agg(verified_by="reader")
        )
        scored = (
            verifying(deciding_scores(study))
            .join(by, on=["unit", "description"], how="left")
            .select(
                **keys,
                verdict="status",
                score="value",
                ci_low="ci_low",
                ci_high="ci_high",
                floor_score="control",
                floor="floor",
                skill="skill",
                skill_low="skill_low",
                localised="localised",
                reader="reader",
                verified_by="verified_by",
            )
        )
    table = (
        written.join(scored, on=["unit", "_id"], how="left", maintain_order="left")
        .with_columns(
            verdict=pl.when(pl.col("status") != DESCRIBED)
            .then("status")
            .otherwise(pl.col("verdict").fill_null("not tested")),
            reader=pl.col("reader").map_elements(reader_name, return_dtype=pl.String),
            verified_by=pl.col("verified_by")
            .fill_null([])
            .list.eval(pl.element().map_elements(reader_name, return_dtype=pl.String)),
            example=pl.lit(None, pl.String),
        )
        .sort(
            pl.col("verdict") == VERIFIED,
            "skill_low",
            "skill",
            descending=True,
            nulls_last=True,
            maintain_order=True,
        )
        .select(
            "unit",
            "description",
            "verdict",
            "score",
            "ci_low",
            "ci_high",
            "floor_score",
            "floor",
            "skill",
            "localised",
            "reader",
            "verified_by",
            "example",
        )
    )
    if "hypotheses" in study.manifest.tables:
        return _with_hypotheses(study, table)
    return table if "sentence_scores" not in study.manifest.tables else _with_sentences(study, table)


def _with_hypotheses(study: Study, table: pl.DataFrame) -> pl.DataFrame:
    """The table with what came of each hypothesis, in their order."""
    sentences = [one.sentence for one in hypotheses_of(StudyRows(study))]
    own = asked(study, "hypotheses").with_row_index("_place")
    own = own.with_columns(sentence=pl.Series(sentences, dtype=pl.String)).select(
        *("unit", "_place", "hypothesis", "sentence", "outcome", "effect"),
        *("q", "p_bonferroni", "repeats"),
        effect_low="ci_low",
        effect_high="ci_high",
        _status="status",
    )
    table = table.join(own, on="unit", how="left", maintain_order="left")
    table = table.with_columns(verdict=pl.coalesce("_status", "verdict"))
    return table.sort("_place", nulls_last=True, maintain_order=True).drop("_place", "_status")


def _with_sentences(study: Study, table: pl.DataFrame) -> pl.DataFrame:
    """The table with the chosen sentences of each class that are verified alone, and pairs at odds."""
    texts = asked(study, "class_texts").select("id", "text")
    alone = (
        asked(study, "sentence_scores")
        .filter("chosen", "decides", status=VERIFIED)
        .join(texts, left_on="text", right_on="id", maintain_order="left")
        .group_by("unit", maintain_order=True)
        .agg(verified_sentences="text_right")
    )
    pairs = asked(study, "contradictions").join(texts, left_on="first", right_on="id", maintain_order="left")
    pairs = (
        pairs.join(texts, left_on="second", right_on="id", suffix="_second", maintain_order="left")
        .with_columns(pair=pl.concat_str("text", pl.lit(" ≠ "), "text_second"))
        .group_by("unit", maintain_order=True)
        .agg(at_odds="pair")
    )
    for own in (alone, pairs):
        table = table.join(own, on="unit", how="left", maintain_order="left")
    return table.with_columns(pl.col("verified_sentences", "at_odds").fill_null([]))


_SCORED: dict[str, Any] = {
    "unit": pl.String,
    "_id": pl.String,
    "verdict": pl.String,
    "score": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "floor_score": pl.Float64,
    "floor": pl.String,
    "skill": pl.Float64,
    "skill_low": pl.Float64,
    "localised": pl.Float64,
    "reader": pl.String,
    "verified_by": pl.List(pl.String),
}


def search_units(study: Study, words: str, *, limit: int = 20) -> pl.DataFrame:
    """Rows of `tidy_table` whose description, name or strong examples say all the words, best first.

    A word is found where a word begins with it, whatever the case. Units whose description says
    them come first, verified before others, then by the number of strong examples that say them,
    which is column `found`; equals stand as in `tidy_table`.

    Raises InputError without a word.
    """
    wanted = words.split()
    if not wanted:
        raise InputError(f"there is no word to search for in {words!r}; give one, such as 'refund'")
    table, rows = _listed(study), StudyRows(study)
    in_examples = _found_in_examples(rows, wanted)
    in_words = pl.all_horizontal(
        *(pl.concat_str("unit", pl.lit(" "), "description").str.contains(_begins(word)) for word in wanted)
    )
    found = (
        table.join(in_examples, on="unit", how="left", maintain_order="left")
        .with_columns(pl.col("found").fill_null(0), _said=in_words)
        .filter(pl.col("_said") | (pl.col("found") > 0))
        .sort("_said", pl.col("verdict") == VERIFIED, "found", descending=True, maintain_order=True)
        .drop("_said")
        .head(limit)
    )
    return _with_examples(study, found)


def best_units(study: Study, number: int = 10) -> list[Unit]:
    """A few verified units to begin with: of high skill, short and unlike.

    They are chosen among the thousand whose skill is surely high by the reader who decides (the lower end of
    its interval), the surest first.
    No two share a word of their descriptions while there are others, none has more than its share of a
    layer, and each is shown with another example.
    """
    if "scores" not in study.manifest.tables:
        return []
    written = asked(study, "descriptions")
    if "claim" not in written.columns:
        written = written.with_columns(claim=pl.lit(None, pl.String))
    rows = (
        deciding_scores(study)
        .filter(status=VERIFIED)
        .join(written.select("id", "text", "claim"), left_on="description", right_on="id")
        .sort("skill_low", "unit", descending=[True, False], nulls_last=True)
        .head(_CONSIDERED)
    )
    tables = StudyRows(study)
    layers: dict[str, Any] = {}
    if "units" in study.manifest.tables:
        own = tables.where("units", "id", rows["unit"].to_list())
        layers = dict(own.select("id", "layer").iter_rows())
    words = {unit: _own_words(*said) for unit, *said in rows.select("unit", "text", "claim").iter_rows()}
    shown = _say_it(tables, words)
    candidates = [
        Candidate(unit, text, words[unit], layers.get(unit), shown.get(unit, True))
        for unit, text in rows.select("unit", "text").iter_rows()
    ]
    picked = _unlike(candidates, number, len(set(layers.values())))
    used: set[str] = set()
    found = []
    for record in read_units(tables, picked, examples=_SEEN).values():
        first = choose_example(record.exemplars, record.texts, used)
        if first is not None:
            used.add(first.id)
            rest = tuple(one for one in record.exemplars if one is not first)
            record = replace(record, exemplars=(first, *rest))
        found.append(record)
    return found


def readers_of(study: Study) -> pl.DataFrame:
    """By reader, of the descriptions that stand for their units: how many it tested, and who decides.

    reader (in words), tested, verified (by this reader alone), decides (of how many), decided (of these, how
    many are verified), shares (whether it shares its model with the units, so that it can only support); in
    the order of the study.
    """
    scores = verifying(asked(study, "scores"))
    deciding = deciding_scores(study).select("description", "reader", "status")
    scores = scores.filter(pl.col("description").is_in(deciding["description"].implode()))
    named = pl.col("reader").map_elements(reader_name, return_dtype=pl.String)
    by = deciding.group_by("reader").agg(
        decides=pl.len().cast(pl.Int64), decided=(pl.col("status") == VERIFIED).sum().cast(pl.Int64)
    )
    return (
        scores.group_by("reader", maintain_order=True)
        .agg(
            tested=pl.col("verifies").is_not_null().sum().cast(pl.Int64),
            verified=pl.col("verifies").fill_null(False).sum().cast(pl.Int64),
        )
        .join(by, on="reader", how="left", maintain_order="left")
        .with_columns(
            pl.col("decides", "decided").fill_null(0),
            shares=pl.col("reader").is_in(list(study.manifest.config.get("shared", ()))),
        )
        .with_columns(named)
    )


def verdict_line(study: Study) -> str:
    """How many descriptions are verified, by whom, and beside it how many each reader alone verifies."""
    deciding, readers = verifying(deciding_scores(study)), readers_of(study)
    held = deciding.filter(status=VERIFIED).height
    by = " or ".join(readers.filter(pl.col("decides") > 0, ~pl.col("shares"))["reader"])
    place = " and by where they point" if by and deciding["localised"].count() else ""
    line = f"Verified: {held:,} of {tried(study):,} units tried" + (f", by {by}{place}" if by else "")
    line += f"; {deciding.height:,} have a description."
    if beside := _beside(study):
        line += f" Beside it: {beside}."
    if short := short_of(deciding):
        line += f" Short of it: {short}."
    if readers.height > 1 or place:
        alone = [
            f"{name} {count:,}" + " (shares the model)" * shares
            for name, count, shares in readers.select("reader", "verified", "shares").iter_rows()
        ]
        line += f" Each reader alone verifies: {joined(alone)}."
    return line


UNTRAINED = "random weights"
"""The control of models that have learned nothing."""


def _beside(study: Study) -> str:
    """What is verified of the controls of all that is."""
    beside = [f"{name} {hits(value, n)}" for name, (value, n) in controls_of_all(study).items()]
    return joined(beside) if beside else ""


def controls_of_all(study: Study) -> dict[str, tuple[float | None, int]]:
    """The share that is verified of each control of all that is, and of how many."""
    figures = study.headline() if study.has("metrics.json") else []
    in_all = next((m for m in figures if m.figure == VERIFIED and not m.by), None)
    return (
        {} if in_all is None else {name: (in_all.controls[name], n) for name, n in in_all.controls_n.items()}
    )


def short_of(deciding: pl.DataFrame) -> str:
    """How many descriptions are true by whoever decides, and not verified, by the reason."""
    counts = dict(deciding["status"].value_counts().iter_rows())
    return ", ".join(
        f"{status} {counts[status]:,} ({why})" for status, why in _SHORT_OF.items() if status in counts
    )


_SHORT_OF = {
    "elsewhere": "true, pointing at other words",
    "unplaced": "true, pointing at no words",
    "supported": "true, say only readers who share the model",
}
"""What readers verify and yet is not verified, by its status."""


def choose_example(exemplars: Iterable[Example], texts: Sequence[str], used: set[str]) -> Example | None:
    """The example to show a description with: not shown before, says it, short, strong."""
    wanted = {stem for text in texts for stem in _first_letters(text)}

    def place(rank: int, one: Example) -> tuple[bool, bool, bool, bool, bool, int]:
        span = one.text[slice(*one.span)] if one.span else "x"
        return (
            one.id in used,
            not wanted & _first_letters(span),
            not wanted & _first_letters(one.text),
            not any(letter.isalnum() for letter in span),
            len(one.text) > _LONG,
            rank,
        )

    ranked = sorted(enumerate(exemplars), key=lambda pair: place(*pair))
    return ranked[0][1] if ranked else None


@dataclass(frozen=True)
class Candidate:
    """A verified unit that could be shown first."""

    unit: str
    text: str
    words: set[str]
    """By which it is told from others (`_own_words`)."""
    layer: int | None
    said: bool
    """Whether its strong examples say its words, so that a person sees at once what is meant."""


def _unlike(candidates: Sequence[Candidate], number: int, layers: int) -> list[str]:
    """Units to show, from candidates in order of preference; rules give way one by one."""
    share = -(-number // layers) + 1 if layers > 1 else number
    picked: list[Candidate] = []
    for said, most_alike, longest, most_a_layer in (
        (True, 0.0, _SHORT, share),
        (True, 0.0, None, share),
        (True, 0.0, None, number),
        (False, 0.0, None, number),
        (False, _NEAR, None, number),
    ):
        for one in candidates:
            if len(picked) >= number:
                break
            if one in picked or one.said < said or (longest and len(one.text) > longest):
                continue
            if sum(other.layer == one.layer for other in picked) >= most_a_layer:
                continue
            if all(_alike(one.words, other.words) <= most_alike for other in picked):
                picked.append(one)
    return [one.unit for one in candidates if one in picked]


def _say_it(tables: StudyRows, words_of: Mapping[str, set[str]]) -> dict[str, bool]:
    """Whether a third of a unit's strong examples say a word of its description, by unit."""
    if tables.pictures:
        return {}
    seen = strongest(tables, list(words_of)).filter(pl.col("rank") < _SEEN)
    words = shown_words(tables, seen["example"].unique().to_list())
    of_example = {example: _first_letters(text) for example, text in words.iter_rows()}
    said: dict[str, list[bool]] = {}
    for unit, example in seen.select("unit", "example").iter_rows():
        if example in of_example:
            said.setdefault(unit, []).append(bool(words_of[unit] & of_example[example]))
    return {unit: 3 * sum(found) >= len(found) for unit, found in said.items()}


def _alike(one: set[str], other: set[str]) -> float:
    """Share of the words of the shorter that the other has too."""
    return len(one & other) / min(len(one), len(other)) if one and other else 1.0


_VALUES, _NAMES = re.compile(r'"((?:[^"\\]|\\.)*)"'), re.compile(r"[a-z-]+(?=\()")


def _own_words(text: str, claim: str | None) -> set[str]:
    """First letters of what a description says; of a claim, of its values.

    The English of all claims is built alike, so "texts about price" and "texts about service" share what
    says nothing of either. A claim without words ("texts of 30 words or more") is told by its conditions.
    """
    said = (_VALUES.findall(claim) or _NAMES.findall(claim)) if claim else [text]
    return set().union(*(_first_letters(one) or {one} for one in said))


def _first_letters(text: str) -> set[str]:
    """The first five letters of the words that mean something; of short texts, of all words."""
    words = re.findall(r"\w+", text[:2000].casefold())
    return {word[:5] for word in words if len(word) > 3} or {word[:5] for word in words}


def _begins(word: str) -> str:
    return rf"(?i)(?:^|[^\w]){re.escape(word)}"


def _with_examples(study: Study, table: pl.DataFrame) -> pl.DataFrame:
    """The table with the example to show of each unit, its responsible part marked."""
    tables, texts = StudyRows(study), dict(table.select("unit", "description").iter_rows())
    rows = strongest(tables, list(texts)).filter(pl.col("rank") < _SEEN)
    rows = rows.join(shown_words(tables), on="example", how="left", maintain_order="left")
    shown = {}
    ranked = rows.sort("unit", "rank").iter_rows(named=True)
    for unit, own in groupby(ranked, key=lambda row: row["unit"]):
        first = choose_example((example_of(row, row["words"] or "") for row in own), [texts[unit]], set())
        shown[unit] = first.cut(EXCERPT).marked("«", "»") if first else None
    example = pl.col("unit").replace_strict(shown, default=None, return_dtype=pl.String)
    return table.with_columns(example=example)


def _found_in_examples(tables: StudyRows, wanted: Sequence[str]) -> pl.DataFrame:
    """unit, found: on how many of a unit's strong examples all the words stand."""
    says = pl.all_horizontal(*(pl.col("words").str.contains(_begins(word)) for word in wanted))
    return (
        strongest(tables)
        .filter(pl.col("rank") < _SEEN)
        .join(shown_words(tables).filter(says), on="example", how="semi")
        .group_by("unit")
        .agg(found=pl.len())
    )

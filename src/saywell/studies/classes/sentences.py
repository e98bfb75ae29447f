"""Of each sentence about a class whether it holds by itself, and which chosen ones contradict each other.

A sentence is put to the test as a description is (`saywell.scorers.scoring`): a reader who sees it alone,
with class names masked, says of score images whether they are of its class; the threshold is fitted on select
images. What should fail are sentences of another class and of the class most like it, and saying always or
never.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Int

from saywell.data.splits import hash_numbers
from saywell.describers.class_texts.describer import usable_texts
from saywell.describers.class_texts.statements import contradictions
from saywell.description import Description
from saywell.errors import SaywellError
from saywell.readers.reader import Predict, Reader
from saywell.scorers.deciding import VERIFIED, decided
from saywell.scorers.evaluate import HeldOut
from saywell.scorers.floors import (
    ANOTHER,
    CANDIDATES,
    NONE,
    ClassName,
    Described,
    NearestSibling,
    nearest_sibling,
)
from saywell.scorers.intervals import share_interval
from saywell.scorers.localisation import COLUMNS
from saywell.scorers.score_tables import MEASURED, score_tables
from saywell.scorers.scoring import Task, score_units
from saywell.scorers.skill import ALWAYS
from saywell.selection.text_influence import TEXT_SCORES
from saywell.store.study import Metric, Study
from saywell.store.table import Table
from saywell.studies.spine import Run, Subject
from saywell.transfer.zero_shot import class_embeddings, mask_names, name_texts

_NOWHERE = pl.DataFrame(schema={"description": pl.String, "reader": pl.String, **COLUMNS})
"""Where sentences point in pictures: nobody says."""
_FLOORS = {ANOTHER: "another_class", NearestSibling().name: "nearest_sibling", ALWAYS: "always"}
SENTENCE_SCORES = Table(
    "sentence_scores",
    {
        "unit": pl.String,
        "text": pl.String,
        "reader": pl.String,
        "measure": pl.String,
        "chosen": pl.Boolean,
        "decides": pl.Boolean,
        **MEASURED,
        **dict.fromkeys(_FLOORS.values(), pl.Float64),
        "class_name": pl.Float64,
        "exchanged": pl.String,
    },
    key=("text", "reader"),
)
"""What a reader makes of each usable sentence by itself; columns as in table `scores`.

`control` is the best of the floors: `another_class`, `nearest_sibling` (sentences of these, at the same place
in the order of the study's rule), `always`, and 0 for never. q is over all sentences of the study, chosen or
not. `class_name` is what the name alone comes to; it is no floor, since sentences are read without names.
`exchanged` is the status where labels are exchanged within each part: what `status` is where there is nothing
to find. Of several readers one decides (see `saywell.scorers.deciding`).
"""
CONTRADICTIONS = Table(
    "contradictions",
    {"unit": pl.String, "first": pl.String, "second": pl.String, "kind": pl.String},
    key=("unit", "first", "second"),
)
"""Pairs of chosen sentences of a class of which, by rules of form, one says what the other excludes.

`kind` says in what: "colour", "size" ..., or "what one denies" (`saywell.describers.class_texts.statements`).
"""


@dataclass(frozen=True)
class Sentences:
    """Tables `sentence_scores` and `contradictions`, and how many of the chosen sentences are verified."""

    tables: Sequence[Table] = (SENTENCE_SCORES, CONTRADICTIONS)

    def add(self, run: Run) -> list[Metric]:
        """What the readers of the study make of the sentences."""

        def make() -> tuple[pl.DataFrame, ...]:
            cheap = [reader for reader in run.question.readers if not reader.costly]
            opened = [(reader, reader.open(run.examples, run.resources)) for reader in cheap]
            tables = sentence_tables(run, opened)
            if tables[1].height:
                run.study.note(
                    f"{tables[1].height} pairs of chosen sentences of a class seem to contradict each other:"
                    " they are marked as at odds."
                )
            return tables

        run.study.tables(self.tables, make)
        return sentence_metrics(run)

    def again(self, run: Run) -> tuple[tuple[pl.DataFrame, ...], list[Metric]]:
        """The same by the readers that can be had."""
        opened = []
        for reader in run.question.readers:
            with suppress(SaywellError):
                if not reader.costly:
                    opened.append((reader, reader.open(run.examples, run.resources)))
        return sentence_tables(run, opened), sentence_metrics(run)


def sentence_metrics(run: Run) -> list[Metric]:
    """The share of chosen sentences that are verified, beside that where labels are exchanged."""
    chosen = run.study.table(SENTENCE_SCORES).filter("chosen", "decides")
    if not chosen.height:
        return []
    own, beside = (
        share_interval((chosen[name] == VERIFIED).cast(pl.Float64).to_numpy())
        for name in ("status", "exchanged")
    )
    return [
        Metric(
            name="chosen sentences verified alone",
            figure="sentences verified",
            by={"rule": run.study.manifest.config["select"]},
            value=own.value,
            ci_low=own.low,
            ci_high=own.high,
            n=own.n,
            of="chosen sentences",
            controls={} if run.control is None else {run.control.name: beside.value},
        )
    ]


def sentence_tables(run: Run, readers: Sequence[tuple[Reader, Predict]]) -> tuple[pl.DataFrame, ...]:
    """Tables `sentence_scores` and `contradictions`."""
    names = run.subject.activations.units["id"].to_list()
    texts = _in_order(run.study, names)
    chosen = texts.filter("chosen")
    pairs = [
        (unit, own["id"][a], own["id"][b], kind)
        for (unit,), own in chosen.group_by("class", maintain_order=True)
        for a, b, kind in contradictions(own["text"].to_list(), names)
    ]
    return _scores(run, names, texts, readers), CONTRADICTIONS.frame(pairs)


def _in_order(study: Study, names: Sequence[str]) -> pl.DataFrame:
    """id, class, text, chosen of the usable sentences: of each class the best by the study's rule first."""
    rule = study.table(TEXT_SCORES).filter(rule=study.manifest.config["select"], network=False)
    table, text_class = usable_texts(study, names)
    return (
        table.with_columns(place=pl.Series(text_class))
        .join(rule.select("chosen", "rank", id="text"), on="id", how="left", maintain_order="left")
        .sort("place", "rank", nulls_last=True, maintain_order=True)
        .select("id", "class", "text", chosen=pl.col("chosen").fill_null(False))
    )


def _scores(
    run: Run, names: Sequence[str], texts: pl.DataFrame, readers: Sequence[tuple[Reader, Predict]]
) -> pl.DataFrame:
    """Table `sentence_scores`."""
    held = HeldOut(run.subject.activations, run.examples, names, run.resources.seed)
    if held.lacks or not texts.height or not readers:
        return SENTENCE_SCORES.empty()
    units, ids = texts["class"].to_list(), texts["id"].to_list()
    instead = str(run.question.config.get("superclass") or "object")
    said = [
        Description(unit, text, parts=(text,))
        for unit, text in zip(units, mask_names(texts["text"].to_list(), names, instead), strict=True)
    ]
    described = Described("sentences", units, ids, said)
    floors = _stand_ins(run, names, described)
    found = {
        reader.name: score_units(_task(run.subject, described, reading, floors, held), seed=held.seed)
        for reader, reading in readers
    }
    scores = decided(score_tables(described, found)[0], _NOWHERE, supporting=run.question.supporting)
    frames = []
    for reader, reading in readers:
        floored, by_name = found[reader.name].skill.floors, _of_names(run, names, reading, held)
        exchanged = pl.Series([None] * len(ids), dtype=pl.String)
        if run.control is not None:
            control = HeldOut(run.control.activations, run.examples, names, held.seed)
            task = _task(run.control, described, reading, floors, control)
            exchanged = score_tables(described, {reader.name: score_units(task, seed=held.seed)})[0]["status"]
        frames.append(
            scores.filter(reader=reader.name).with_columns(
                *(pl.Series(name, floored[floor]).fill_nan(None) for floor, name in _FLOORS.items()),
                text="description",
                chosen=texts["chosen"],
                class_name=pl.Series([by_name[unit] for unit in units], dtype=pl.Float64).fill_nan(None),
                exchanged=exchanged,
            )
        )
    return pl.concat(frames).select(list(SENTENCE_SCORES.columns))


def _task(
    subject: Subject,
    described: Described,
    reading: Predict,
    floors: Mapping[str, Int[np.ndarray, "sentences candidates"]],
    held: HeldOut,
) -> Task:
    """Of each sentence, on which images it holds. It is called by its id, for random numbers of its own."""
    responding = held.of(described.units)
    return Task(
        described.ids,
        lambda numbers, rows: reading([described.descriptions[n] for n in numbers], rows),
        responding.fires,
        held.parts.select,
        held.parts.score,
        floors,
        known=responding.known if responding.unknown.nnz else None,
    )


def _stand_ins(
    run: Run, names: Sequence[str], described: Described
) -> dict[str, Int[np.ndarray, "sentences candidates"]]:
    """Sentences of other classes that stand in for each, best first; -1: none.

    Of a few other classes, drawn by their names, the sentence at the same place in the order of the study's
    rule; of the class whose sentences are most like its own, that and those behind it.
    """
    place = {name: number for number, name in enumerate(names)}
    classes = np.array([place[unit] for unit in described.units], dtype=np.int64)
    own = [np.flatnonzero(classes == number) for number in range(len(names))]
    rank = np.concatenate([np.arange(len(rows)) for rows in own])  # sentences stand class by class
    texts = described.texts
    reads = run.resources.reads(run.examples, texts)
    vectors = run.resources.encode(run.examples, [t for t, known in zip(texts, reads, strict=True) if known])
    with_text = [number for number, rows in enumerate(own) if len(rows)]
    profiles = np.nan_to_num(class_embeddings(vectors, classes[reads], len(names)))[with_text]
    called = [names[number] for number in with_text]
    near = nearest_sibling(called, profiles, candidates=1)[:, 0].tolist()
    siblings = {
        number: None if at == NONE else with_text[at] for number, at in zip(with_text, near, strict=True)
    }
    turns = np.argsort(hash_numbers(called, run.resources.seed, ANOTHER), kind="stable")
    ring = [with_text[turn] for turn in turns.tolist()]
    at = {number: turn for turn, number in enumerate(ring)}
    another, nearest = np.full((2, len(texts), CANDIDATES), NONE, dtype=np.int64)
    for sentence, (number, turn) in enumerate(zip(classes.tolist(), rank.tolist(), strict=True)):
        for column in range(min(CANDIDATES, len(ring) - 1)):
            rows = own[ring[(at[number] + 1 + column) % len(ring)]]
            another[sentence, column] = rows[min(turn, len(rows) - 1)]
        sibling = siblings[number]
        if sibling is not None:
            rows = own[sibling]
            for column in range(min(CANDIDATES, len(rows))):
                nearest[sentence, column] = rows[(turn + column) % len(rows)]
    return {ANOTHER: another, NearestSibling().name: nearest}


def _of_names(run: Run, names: Sequence[str], reading: Predict, held: HeldOut) -> dict[str, float]:
    """F1 of each class's name alone, in templates; NaN where the reader cannot read it."""
    floor = next((one for one in run.question.floors if isinstance(one, ClassName)), ClassName())
    said = [Description(name, name, parts=tuple(name_texts([name], floor.templates)[0])) for name in names]
    task = _task(run.subject, Described("names", names, names, said), reading, {}, held)
    return dict(zip(names, score_units(task, seed=held.seed, resamples=1).skill.value, strict=True))

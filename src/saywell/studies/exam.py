"""Which describer can be believed? They are examined on units whose truth is known.

1. units by rules over texts, and a network trained on such rules     exam_units
2. texts split: written from, chosen by, scored on                    parts_of
3. each describer writes from describe texts only                     exam_answers: text
4. a reader predicts from each description; thresholds from select texts
5. scores and floors on score texts; BH over each describer's units   exam_answers: status
6. recovered? verified, and it behaves as the true description does   exam_answers: recovered
7. shares with intervals, per describer                               exam_summary, exam_costs
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from saywell.data.parts import Parts, parts_of
from saywell.data.planted_units import NOISE_UNITS, PER_KIND, PlantedUnit, plant_units
from saywell.data.splits import content_ids
from saywell.data.texts import load_texts
from saywell.encoders.sentence import SentenceEncoder, encode_in_chunks, open_sentence_encoder
from saywell.errors import InputError
from saywell.language_models import LanguageModel
from saywell.progress import Progress, silent
from saywell.readers.lexical import LexicalReader
from saywell.readers.reader import Reader
from saywell.readers.sentence_encoder import SentenceEncoderReader
from saywell.store.study import Study, write_study
from saywell.studies.exam_describers import DESCRIBERS, LLM, Answers, Material
from saywell.studies.exam_network import train_network_units
from saywell.studies.exam_scoring import TRUTH, World, score_answers, with_recovery
from saywell.studies.exam_summary import summarize
from saywell.studies.exam_tasks import read_tasks, task_units

ReaderName = Literal["sentence-encoder", "lexical"]
TABLES = ("exam_units", "exam_answers", "exam_summary", "exam_costs")
STRONGEST = 100
"""Exemplars of a planted unit at most; the groups of a task are shown whole."""
TASK_TEXTS = 150
"""Texts of each group of a task in each split: 25 tasks of 900 texts take some minutes to encode."""


@dataclass(frozen=True)
class Exam:
    """What came of it: the questions, every answer, a line per describer, and what answers cost."""

    units: pl.DataFrame
    answers: pl.DataFrame
    summary: pl.DataFrame
    costs: pl.DataFrame


def run_exam(
    texts: str | Path | pl.DataFrame | None = None,
    *,
    text: str = "text",
    tags: str | None = "tags",
    describers: Sequence[str] | None = None,
    reader: ReaderName = "sentence-encoder",
    encoder: str | SentenceEncoder = "minilm",
    llm: LanguageModel | None = None,
    per_kind: int = PER_KIND,
    noise_units: int = NOISE_UNITS,
    out: Path | None = None,
    seed: int = 0,
    command: Sequence[str] = (),
    progress: Progress = silent,
    clock: Callable[[], float] = time.perf_counter,
) -> Exam:
    """Examine describers on planted units over a corpus, by default the one that ships with saywell.

    `tags` names the column with true topics of the texts; without one (None) there are only units that
    look at words. `describers` are names from `DESCRIBERS`; by default all that need nothing else, and
    `llm` where a language model is given. With `out` the tables are stored as a study.

    Raises InputError for unknown names and for texts that leave nothing to ask.
    """
    chosen = _checked(describers, reader, llm)
    encoder = open_sentence_encoder(encoder) if isinstance(encoder, str) else encoder
    if texts is None:
        with as_file(files("saywell.data") / "demo" / "sentences.tsv") as demo:
            examples = load_texts(demo, tags="tags", seed=seed).examples
    else:
        examples = load_texts(texts, text=text, tags=tags, seed=seed).examples

    def make() -> Exam:
        vectors = _vectors(encoder, examples["text"].to_list(), progress)
        parts = parts_of(examples)
        said = examples["text"].to_list()
        units = plant_units(
            said, examples["tags"].to_list(), per_kind=per_kind, noise_units=noise_units, seed=seed
        )
        if not any(unit.truth for unit in units):
            raise InputError(
                f"no rule holds of enough of the {len(said)} texts to ask about; give more texts"
            )
        units += train_network_units(vectors, units, parts.describe, seed=seed)
        world = World(said, vectors, parts, units, _reader(reader, encoder, said, vectors, parts))
        return _examine([world], chosen, encoder, llm, STRONGEST, seed, progress, clock)

    config = {"per_kind": per_kind, "noise_units": noise_units}
    return _stored(
        make, out, examples, "planted units", chosen, reader, encoder, llm, seed, command, config
    )


def run_task_exam(
    tasks: str | Path,
    *,
    describers: Sequence[str] | None = None,
    reader: ReaderName = "sentence-encoder",
    encoder: str | SentenceEncoder = "minilm",
    llm: LanguageModel | None = None,
    limit: int | None = TASK_TEXTS,
    out: Path | None = None,
    seed: int = 0,
    command: Sequence[str] = (),
    progress: Progress = silent,
    clock: Callable[[], float] = time.perf_counter,
) -> Exam:
    """Examine describers on pairs of groups with a gold description (see `read_tasks`).

    The gold description is the true one; beside each task stands one whose groups are drawn by chance.
    `limit` keeps so many texts of each group in each split (None: all). Everything else is as in
    `run_exam`.
    """
    chosen = _checked(describers, reader, llm)
    if limit is not None and limit < 1:
        raise InputError(f"limit must be 1 or more, or None for all texts; got {limit!r}")
    found = read_tasks(tasks, limit=limit, seed=seed)
    if not found:
        raise InputError(f"there is no task in {str(tasks)!r}")
    encoder = open_sentence_encoder(encoder) if isinstance(encoder, str) else encoder
    examples = pl.concat([rows for _, rows in found])

    def make() -> Exam:
        vectors = _vectors(encoder, examples["text"].to_list(), progress)
        worlds, start = [], 0
        for name, rows in found:
            own, said = vectors[start : start + rows.height], rows["text"].to_list()
            parts, start = parts_of(rows), start + rows.height
            units = task_units(name, rows, seed)
            worlds.append(
                World(said, own, parts, units, _reader(reader, encoder, said, own, parts))
            )
        return _examine(worlds, chosen, encoder, llm, examples.height, seed, progress, clock)

    return _stored(
        make, out, examples, "tasks", chosen, reader, encoder, llm, seed, command, {"limit": limit}
    )


def _examine(
    worlds: list[World],
    describers: list[str],
    encoder: SentenceEncoder,
    llm: LanguageModel | None,
    most_exemplars: int,
    seed: int,
    progress: Progress,
    clock: Callable[[], float],
) -> Exam:
    """Steps 3 to 7."""
    truths = [[unit.truth or "" for unit in world.units] for world in worlds]
    tables = [score_answers(TRUTH, worlds, truths, seed)]
    costs: list[tuple[str, int, float]] = []
    for name in describers:
        started, calls = clock(), 0
        written: list[list[str]] = []
        with progress(f"describer {name}", len(worlds)) as advance:
            for world in worlds:
                # A fresh view each time, so that nobody works with what another has computed.
                said: Answers = DESCRIBERS[name](
                    _material(world, encoder, llm, most_exemplars, seed)
                )
                written.append(said.texts)
                calls += said.calls
                advance(1)
        costs.append((name, calls, clock() - started))
        with progress(f"reading {name}", 1):
            tables.append(score_answers(name, worlds, written, seed))
    answers = with_recovery(pl.concat(tables))
    units = [(world, unit) for world in worlds for unit in world.units]
    return Exam(
        _unit_table(units),
        answers,
        summarize(answers, seed),
        pl.DataFrame(
            costs, schema={"describer": pl.String, "calls": pl.Int64, "seconds": pl.Float64},
            orient="row",
        ),
    )  # fmt: skip


def _material(
    world: World, encoder: SentenceEncoder, llm: LanguageModel | None, most: int, seed: int
) -> Material:
    rows = world.parts.describe.rows
    return Material(
        texts=[world.texts[int(row)] for row in rows],
        vectors=world.vectors[rows],
        responses=np.array([unit.response[rows] for unit in world.units]),
        fires=np.array([unit.fires[rows] for unit in world.units]),
        encoder=encoder,
        llm=llm,
        most_exemplars=most,
        seed=seed,
    )


def _unit_table(units: list[tuple[World, PlantedUnit]]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (unit.id, unit.kind, unit.truth, float(unit.fires.mean()), float(unit.rule.mean()),
             len(world.texts))
            for world, unit in units
        ],
        schema={"unit": pl.String, "kind": pl.String, "truth": pl.String, "fires": pl.Float64,
                "rule": pl.Float64, "texts": pl.Int64},
        orient="row",
    )  # fmt: skip


def _checked(describers: Sequence[str] | None, reader: str, llm: LanguageModel | None) -> list[str]:
    if reader not in get_args(ReaderName):
        raise InputError(f"unknown reader {reader!r}; choose {' or '.join(get_args(ReaderName))}")
    chosen = list(
        dict.fromkeys(describers or [name for name in DESCRIBERS if name != LLM or llm is not None])
    )
    unknown = [name for name in chosen if name not in DESCRIBERS]
    if unknown:
        raise InputError(f"unknown describer {unknown[0]!r}; there are: {', '.join(DESCRIBERS)}")
    if LLM in chosen and llm is None:
        raise InputError(
            "the describer 'llm' needs a language model; name one: --llm PROVIDER:MODEL"
        )
    return chosen


def _reader(
    name: ReaderName, encoder: SentenceEncoder, texts: list[str], vectors: np.ndarray, parts: Parts
) -> Reader:
    if name == "lexical":
        return LexicalReader(texts, parts.describe)
    return SentenceEncoderReader(encoder, vectors)


def _vectors(encoder: SentenceEncoder, texts: list[str], progress: Progress) -> np.ndarray:
    distinct = sorted(set(texts))
    with progress("sentence vectors", len(distinct)) as advance:
        encoded = encode_in_chunks(encoder, distinct, progress=advance)
    place = {text: n for n, text in enumerate(distinct)}
    return encoded[[place[text] for text in texts]]


def _stored(
    make: Callable[[], Exam],
    out: Path | None,
    examples: pl.DataFrame,
    questions: str,
    describers: list[str],
    reader: str,
    encoder: SentenceEncoder,
    llm: LanguageModel | None,
    seed: int,
    command: Sequence[str],
    config: Mapping[str, object],
) -> Exam:
    """The exam, from a study where it is stored already, or made and stored."""
    if out is None:
        return make()
    settings = {
        "questions": questions, "describers": describers, "reader": reader,
        "encoder": encoder.name, "llm": llm.name if llm else None, "seed": seed, **config,
    }  # fmt: skip
    fingerprint = content_ids(["\n".join(sorted(examples["id"]))])[0]
    with write_study(
        out, kind="exam", config=settings, inputs={"texts": fingerprint}, command=list(command)
    ) as study:

        def tables() -> tuple[pl.DataFrame, ...]:
            exam = make()
            return exam.units, exam.answers, exam.summary, exam.costs

        study.tables(TABLES, tables)
        return stored_exam(study)


def stored_exam(study: Study) -> Exam:
    """The exam that a study holds."""
    return Exam(*(study.table(name) for name in TABLES))

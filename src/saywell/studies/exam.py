"""Which describer can be believed? They are examined on units whose truth is known.

Texts here, pictures in exam_images.py, what both share in exam_sitting.py.

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
from collections.abc import Callable, Sequence
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl

from saywell.data.parts import Parts, parts_of
from saywell.data.planted_units import NOISE_UNITS, PER_KIND, PlantedUnit, plant_units
from saywell.data.splits import content_ids
from saywell.data.texts import load_texts
from saywell.describers.describer import Describer
from saywell.describers.descriptors.taggers import ExtractiveTags
from saywell.describers.llm import DESCRIBE, LLM
from saywell.describers.registry import describers_of, find_describers
from saywell.encoders.sentence import (
    SentenceEncoder,
    encode_in_chunks,
    encoder_fingerprint,
    open_sentence_encoder,
)
from saywell.errors import InputError
from saywell.language_models import LanguageModel, load_prompt, names_llm
from saywell.progress import Progress, automatic
from saywell.readers.cosine import by_nearest
from saywell.readers.lexical import by_words
from saywell.readers.reader import Predict
from saywell.resources import Resources
from saywell.studies.exam_describers import STRONGEST, Material, Planted, describe_examples, planted_evidence
from saywell.studies.exam_network import train_network_units
from saywell.studies.exam_scoring import World
from saywell.studies.exam_sitting import Exam, kept_exam, sit_exam, stored_exam
from saywell.studies.exam_tasks import read_tasks, task_units

__all__ = ["Exam", "run_exam", "run_task_exam", "stored_exam"]

ReaderName = Literal["sentence-encoder", "lexical"]
TASK_TEXTS = 150
"""Texts of each group of a task in each split: 25 tasks of 900 texts take some minutes to encode."""


@names_llm
def run_exam(
    texts: str | Path | pl.DataFrame | None = None,
    *,
    text: str = "text",
    tags: str | None = "tags",
    describers: Sequence[str] | None = None,
    reader: ReaderName = "sentence-encoder",
    encoder: str | SentenceEncoder = "minilm",
    llm: LanguageModel | str | None = None,
    per_kind: int = PER_KIND,
    noise_units: int = NOISE_UNITS,
    out: Path | None = None,
    seed: int = 0,
    command: Sequence[str] = (),
    progress: Progress = automatic,
    clock: Callable[[], float] = time.perf_counter,
) -> Exam:
    """Examine describers on planted units over a corpus, by default the one that ships with saywell.

    `tags` names the column with true topics of the texts; without one (None) there are only units that
    look at words. `describers` are names from the registry; by default all that need nothing else, and
    `llm` where a language model is given (or its name, as in "openai:gpt-x"). With `out` the tables are
    stored as a study; a model given by name needs it, to keep its replies.

    Raises InputError for unknown names and for texts that leave nothing to ask.
    """
    assert not isinstance(llm, str)  # opened by then
    chosen = _checked(describers, reader, llm)
    encoder = open_sentence_encoder(encoder) if isinstance(encoder, str) else encoder
    if texts is None:
        with as_file(files("saywell.data") / "demo" / "sentences.tsv") as demo:
            data = load_texts(demo, tags="tags", seed=seed)
    else:
        data = load_texts(texts, text=text, tags=tags, seed=seed)
    examples = data.table

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
        world = _world(said, vectors, parts, units, reader, encoder, llm, STRONGEST, seed)
        return sit_exam([world], chosen, seed, progress, clock)

    settings = _settings("planted units", chosen, reader, encoder, llm, seed) | {
        "per_kind": per_kind,
        "noise_units": noise_units,
    }
    return kept_exam(
        make,
        out,
        inputs={"texts": [data.fingerprint], "encoder": [encoder_fingerprint(encoder)]},
        settings=settings,
        command=command,
    )


@names_llm
def run_task_exam(
    tasks: str | Path,
    *,
    describers: Sequence[str] | None = None,
    reader: ReaderName = "sentence-encoder",
    encoder: str | SentenceEncoder = "minilm",
    llm: LanguageModel | str | None = None,
    limit: int | None = TASK_TEXTS,
    out: Path | None = None,
    seed: int = 0,
    command: Sequence[str] = (),
    progress: Progress = automatic,
    clock: Callable[[], float] = time.perf_counter,
) -> Exam:
    """Examine describers on pairs of groups with a gold description (see `read_tasks`).

    The gold description is the true one; beside each task stands one whose groups are drawn by chance.
    `limit` keeps so many texts of each group in each split (None: all). Everything else is as in
    `run_exam`.
    """
    assert not isinstance(llm, str)  # opened by then
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
            worlds.append(_world(said, own, parts, units, reader, encoder, llm, examples.height, seed))
        return sit_exam(worlds, chosen, seed, progress, clock)

    settings = _settings("tasks", chosen, reader, encoder, llm, seed) | {"limit": limit}
    return kept_exam(
        make,
        out,
        inputs={
            "tasks": [f"{name}: {row}" for name, rows in found for row in rows.write_ndjson().splitlines()],
            "encoder": [encoder_fingerprint(encoder)],
        },
        settings=settings,
        command=command,
    )


def _world(
    texts: list[str],
    vectors: np.ndarray,
    parts: Parts,
    units: list[PlantedUnit],
    reader: ReaderName,
    encoder: SentenceEncoder,
    llm: LanguageModel | None,
    most_exemplars: int,
    seed: int,
) -> World[Material]:
    rows = parts.describe.rows

    def material() -> Material:
        seen = [texts[int(row)] for row in rows]
        examples = describe_examples(pl.DataFrame({"id": content_ids(seen), "text": seen}), "text")
        planted = Planted(
            pl.DataFrame({"id": [unit.id for unit in units]}),
            np.array([unit.response[rows] for unit in units]),
            np.array([unit.fires[rows] for unit in units]),
        )
        resources = Resources(encoder, llm=llm, seed=seed)
        resources.keep(examples, vectors[rows])
        evidence = planted_evidence(planted, examples, most_exemplars, seed)
        return Material(evidence, resources, ExtractiveTags())

    return World(parts, units, _reader(reader, encoder, texts, vectors, parts), material)


def _checked(describers: Sequence[str] | None, reader: str, llm: LanguageModel | None) -> list[Describer]:
    if reader not in get_args(ReaderName):
        raise InputError(f"unknown reader {reader!r}; choose {' or '.join(get_args(ReaderName))}")
    able = [name for name in describers_of("text") if name != LLM or llm is not None]
    chosen = find_describers(describers or able, "text")
    if llm is None and any(describer.name == LLM for describer in chosen):
        raise InputError("the describer 'llm' needs a language model; name one: --llm PROVIDER:MODEL")
    return chosen


def _reader(
    name: ReaderName, encoder: SentenceEncoder, texts: list[str], vectors: np.ndarray, parts: Parts
) -> Predict:
    return by_words(texts, parts.describe) if name == "lexical" else by_nearest(encoder, vectors)


def _vectors(encoder: SentenceEncoder, texts: list[str], progress: Progress) -> np.ndarray:
    distinct = sorted(set(texts))
    with progress("sentence vectors", len(distinct)) as advance:
        encoded = encode_in_chunks(encoder, distinct, progress=advance)
    place = {text: n for n, text in enumerate(distinct)}
    return encoded[[place[text] for text in texts]]


def _settings(
    questions: str,
    describers: Sequence[Describer],
    reader: str,
    encoder: SentenceEncoder,
    llm: LanguageModel | None,
    seed: int,
) -> dict[str, object]:
    return {
        "questions": questions,
        "describers": [describer.name for describer in describers],
        "reader": reader,
        "encoder": encoder.name,
        "llm": llm.name if llm else None,
        "seed": seed,
        "prompts": {DESCRIBE: load_prompt(DESCRIBE).hash} if llm else {},
    }

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
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from saywell.data.parts import Parts, parts_of
from saywell.data.planted_units import PlantedUnit, plant_units
from saywell.data.splits import content_ids
from saywell.data.texts import load_texts
from saywell.describers.describer import Describer
from saywell.describers.descriptors.taggers import ExtractiveTags
from saywell.describers.llm import DESCRIBE, LLM
from saywell.describers.registry import describers_of, find_describers
from saywell.encoders.dual import DualEncoder
from saywell.encoders.sentence import (
    SentenceEncoder,
    encode_in_chunks,
    encoder_fingerprint,
    open_sentence_encoder,
)
from saywell.errors import InputError
from saywell.language_models import DryRun, LanguageModel, load_prompt
from saywell.progress import Progress, automatic, silent
from saywell.readers.cosine import by_nearest
from saywell.readers.lexical import by_words
from saywell.resources import Resources
from saywell.studies.exam_describers import STRONGEST, Material, answer, describe_examples, planted_evidence
from saywell.studies.exam_images import image_paper
from saywell.studies.exam_network import train_network_units
from saywell.studies.exam_scoring import World
from saywell.studies.exam_sitting import Exam, Paper, kept_exam, sit_exam, stored_exam
from saywell.studies.exam_tasks import read_tasks, task_units
from saywell.studies.llm import Plan, counting_llm, opened_llm
from saywell.studies.settings import ExamSettings, named, settings_of

__all__ = ["Exam", "plan_exam", "run_exam", "stored_exam"]

READERS = ("sentence-encoder", "lexical")


def run_exam(
    texts: str | Path | pl.DataFrame | None = None,
    *,
    out: str | Path | None = None,
    settings: ExamSettings | None = None,
    encoder: str | SentenceEncoder | DualEncoder | None = None,
    llm: LanguageModel | str | None = None,
    command: Sequence[str] = (),
    progress: Progress = automatic,
    clock: Callable[[], float] = time.perf_counter,
    **options: Any,
) -> Exam:
    """Examine describers on units whose truth is known.

    Without more, on rules planted in the corpus that ships with saywell. With `texts`, in those: `tags`
    names their column with true topics, and without one there are only units that look at words. With
    `tasks`, on pairs of groups that a gold description tells apart (see `read_tasks`); beside each task
    stands one whose groups are drawn by chance. With `images`, on rules over drawn pictures.

    `settings`, `options`: the fields of `ExamSettings`, as a record or one by one (`seed=3`). By default
    all describers are examined that need nothing else, and `llm` where a language model is given (or its
    name, as in "openai:gpt-x"). With `out` the tables are stored as a study; a model given by name needs
    it, to keep its replies.

    Raises InputError for unknown names and for examples that leave nothing to ask.
    """
    asked, frame = _asked(texts, settings, options, encoder, llm)
    folder = None if out is None else Path(out)
    with opened_llm(asked, folder, llm) as model:
        paper = _paper(asked, frame, encoder, model, progress)
        return kept_exam(
            lambda: sit_exam(paper.worlds(), paper.describers, asked.seed, progress, clock),
            folder,
            inputs=paper.inputs,
            settings=asked.stored() | paper.settings,
            command=command,
        )


def plan_exam(
    texts: str | Path | pl.DataFrame | None = None,
    *,
    out: str | Path | None = None,
    settings: ExamSettings | None = None,
    encoder: str | SentenceEncoder | DualEncoder | None = None,
    llm: DryRun | str | None = None,
    **options: Any,
) -> Plan:
    """What `run_exam` would ask a language model; nothing is sent or stored.

    The questions depend on no reply, so they are those that would be asked.
    """
    asked, frame = _asked(texts, settings, options, encoder, llm)
    with counting_llm(asked, None if out is None else Path(out), llm) as counting:
        paper = _paper(asked, frame, encoder, counting, silent)
        asking = [describer for describer in paper.describers if describer.name == LLM]
        for world in paper.worlds() if counting is not None and asking else ():
            answer(asking[0], world.material())
        return Plan(paper.of, [] if counting is None else counting.plan())


def _asked(
    texts: str | Path | pl.DataFrame | None,
    settings: ExamSettings | None,
    options: dict[str, Any],
    encoder: Any,
    llm: Any,
) -> tuple[ExamSettings, pl.DataFrame | None]:
    frame = texts if isinstance(texts, pl.DataFrame) else None
    given = named(encoder=encoder, llm=llm)
    if texts is not None:
        given["texts"] = "given" if frame is not None else str(texts)
    return settings_of(ExamSettings, settings, options | given), frame


def _paper(
    asked: ExamSettings,
    frame: pl.DataFrame | None,
    encoder: Any,
    llm: LanguageModel | None,
    progress: Progress,
) -> Paper:
    """The exam that is asked for, with the questions that its examples allow."""
    if asked.images:
        return image_paper(asked, encoder, progress)
    reader, describers = _checked(asked, llm)
    encoder = encoder or asked.encoder or "minilm"
    encoder = open_sentence_encoder(encoder) if isinstance(encoder, str) else encoder
    room = _Room(encoder, llm, reader, asked.seed, asked.prompts, progress)
    worlds, of, facts, inputs = (
        _planted(asked, frame, room) if asked.tasks is None else _tasks(asked.tasks, asked, room)
    )
    settings = facts | {
        "describer": [describer.name for describer in describers],
        "reader": [reader],
        "encoder": encoder.name,
        "prompts": {DESCRIBE: load_prompt(DESCRIBE, asked.prompts).hash} if llm else {},
    }
    return Paper(worlds, describers, of, settings, inputs | {"encoder": [encoder_fingerprint(encoder)]})


class _Room(NamedTuple):
    """Who may be asked, and what is the same for all worlds of an exam of texts."""

    encoder: SentenceEncoder
    llm: LanguageModel | None
    reader: str
    seed: int
    prompts: Path | None
    progress: Progress


class _Questions(NamedTuple):
    """The worlds of an exam, made when it is sat; what they are of; what tells the exam from another."""

    worlds: Callable[[], list[World[Material]]]
    of: str
    facts: dict[str, Any]
    inputs: dict[str, list[str]]


def _planted(asked: ExamSettings, frame: pl.DataFrame | None, room: _Room) -> _Questions:
    if asked.texts is None:
        with as_file(files("saywell.data") / "demo" / "sentences.tsv") as demo:
            data = load_texts(demo, tags="tags", seed=asked.seed)
    else:
        source = asked.texts if frame is None else frame
        data = load_texts(source, text=asked.text, tags=asked.tags, seed=asked.seed)
    examples = data.table

    def worlds() -> list[World[Material]]:
        said = examples["text"].to_list()
        vectors = _vectors(room.encoder, said, room.progress)
        parts = parts_of(examples)
        units = plant_units(
            said,
            examples["tags"].to_list(),
            per_kind=asked.per_kind,
            noise_units=asked.noise_units,
            seed=asked.seed,
        )
        if not any(unit.truth for unit in units):
            raise InputError(
                f"no rule holds of enough of the {len(said)} texts to ask about; give more texts"
            )
        units += train_network_units(vectors, units, parts.describe, seed=asked.seed)
        return [_world(said, vectors, parts, units, STRONGEST, room)]

    facts = {"questions": "planted units", "texts": asked.texts is not None}
    return _Questions(worlds, f"{examples.height} texts", facts, {"texts": [data.fingerprint]})


def _tasks(path: Path, asked: ExamSettings, room: _Room) -> _Questions:
    found = read_tasks(path, limit=asked.limit, seed=asked.seed)
    if not found:
        raise InputError(f"there is no task in {str(path)!r}")
    examples = pl.concat([rows for _, rows in found])

    def worlds() -> list[World[Material]]:
        vectors = _vectors(room.encoder, examples["text"].to_list(), room.progress)
        made, start = [], 0
        for name, rows in found:
            own, said = vectors[start : start + rows.height], rows["text"].to_list()
            parts, start = parts_of(rows), start + rows.height
            made.append(_world(said, own, parts, task_units(name, rows, asked.seed), examples.height, room))
        return made

    rows = [f"{name}: {row}" for name, rows in found for row in rows.write_ndjson().splitlines()]
    facts = {"questions": "tasks", "tasks": len(found)}
    return _Questions(worlds, f"{len(found)} tasks", facts, {"tasks": rows})


def _world(
    texts: list[str],
    vectors: np.ndarray,
    parts: Parts,
    units: list[PlantedUnit],
    most_exemplars: int,
    room: _Room,
) -> World[Material]:
    rows = parts.describe.rows

    def material() -> Material:
        seen = [texts[int(row)] for row in rows]
        examples = describe_examples(pl.DataFrame({"id": content_ids(seen), "text": seen}), "text")
        resources = Resources(room.encoder, llm=room.llm, seed=room.seed, prompts=room.prompts)
        resources.keep(examples, vectors[rows])
        evidence = planted_evidence(units, examples, rows, most_exemplars, room.seed)
        return Material(evidence, resources, ExtractiveTags())

    lexical = room.reader == "lexical"
    predict = by_words(texts, parts.describe) if lexical else by_nearest(room.encoder, vectors)
    return World(parts, units, predict, material)


def _checked(asked: ExamSettings, llm: LanguageModel | None) -> tuple[str, list[Describer]]:
    """The reader and the describers."""
    reader, *others = asked.reader or READERS[:1]
    if others or reader not in READERS:
        raise InputError(f"reader={asked.reader!r} (--reader) is not one of {', '.join(READERS)}")
    able = [name for name in describers_of("text") if name != LLM or llm is not None]
    chosen = find_describers(asked.describer or able, "text")
    if llm is None and any(describer.name == LLM for describer in chosen):
        raise InputError("the describer 'llm' needs a language model; name one: --llm PROVIDER:MODEL")
    return reader, chosen


def _vectors(encoder: SentenceEncoder, texts: list[str], progress: Progress) -> np.ndarray:
    distinct = sorted(set(texts))
    with progress("sentence vectors", len(distinct)) as advance:
        encoded = encode_in_chunks(encoder, distinct, progress=advance)
    place = {text: n for n, text in enumerate(distinct)}
    return encoded[[place[text] for text in texts]]

"""Which describer can be believed? They are examined on units whose truth is known.

The loop of `saywell.studies.spine`, with planted units, and what the exam adds to it:

units by rules over texts or pictures, or of tasks    exam_units (saywell.units.planted)
the true descriptions, read as any other              descriptions, the first describer's
recovered? verified, and as good as the truth         exam_answers
shares with intervals, what answers cost              exam_summary, exam_costs
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import polars as pl

from saywell.data.examples import Examples
from saywell.data.texts import load_texts
from saywell.describers.describer import Tagger
from saywell.describers.descriptors.taggers import ExtractiveTags, PhraseTags
from saywell.describers.llm import DESCRIBE, LLM
from saywell.describers.registry import describers_of, find_describers
from saywell.encoders.checkpoints import PLANTED
from saywell.encoders.dual import DualEncoder
from saywell.encoders.fingerprints import combined
from saywell.encoders.sentence import SentenceEncoder
from saywell.errors import InputError
from saywell.language_models import Client, DryRun, LanguageModel
from saywell.language_models.opening import need_folder
from saywell.progress import Progress, automatic, silent
from saywell.readers.detection import DETECT, DETECT_ONE
from saywell.readers.fuzzing import CHECK, CHECK_ONE
from saywell.readers.reader import AsksLLM, Reader
from saywell.readers.registry import find_reader
from saywell.readers.simulation import SIMULATE
from saywell.resources import Resources
from saywell.scorers.evaluate import Budget
from saywell.store.study import Study
from saywell.store.table import UNANSWERED
from saywell.studies.dry_run import plan
from saywell.studies.exam.answers import EXAM_ANSWERS, EXAM_COSTS, EXAM_UNITS, Marks
from saywell.studies.exam.sitting import TRUTH, AnotherTruth, ByTask, OneTask, Sitting, TrueDescription
from saywell.studies.exam.summary import EXAM_SUMMARY
from saywell.studies.llm import Plan, counting_llm, opened_llm
from saywell.studies.settings import EXTRACTIVE, ExamSettings, named, settings_of
from saywell.studies.spine import Question, check, run
from saywell.studies.surprised import surprised_by
from saywell.units.planted.network import train_network_units
from saywell.units.planted.pictures import candidate_phrases, draw_scenes, plant_image_units, planted_pictures
from saywell.units.planted.rules import PlantedUnit
from saywell.units.planted.source import Planted
from saywell.units.planted.tasks import read_tasks, task_examples, task_units
from saywell.units.planted.texts import plant_units

__all__ = ["TRUTH", "Exam", "plan_exam", "run_exam", "stored_exam"]

STRONGEST = 100
"""Exemplars of a planted unit at most; the groups of a task are shown whole."""
EVERY_UNIT = 1_000_000
TABLES = [each.name for each in (EXAM_UNITS, EXAM_ANSWERS, EXAM_SUMMARY, EXAM_COSTS)]
PROMPTS = (DESCRIBE, DETECT, DETECT_ONE, CHECK, CHECK_ONE, SIMULATE)


@dataclass(frozen=True)
class Exam:
    """What came of it: the questions, every answer, a line per describer, and what answers cost."""

    units: pl.DataFrame
    answers: pl.DataFrame
    summary: pl.DataFrame
    costs: pl.DataFrame
    unanswered: pl.DataFrame
    """What a language model was asked and did not answer."""


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
    all describers are examined that need nothing else, and `llm` where a language model is given: by its
    name, as on the command line ("openai:gpt-x", "gguf:PATH"; see `saywell doctor`), opened for the time of
    the exam with the options of `LlmSettings` (`llm_url`, `max_usd`, ...), or one that is open
    (`open_language_model`). With `out` all of it is kept as a study; a model given by name needs it, to keep
    its replies.

    Raises InputError for unknown names and for examples that leave nothing to ask.
    """
    asked, frame = _asked(texts, settings, options, encoder, llm)
    folder = None if out is None else Path(out)
    with opened_llm(asked, folder, llm, progress) as model, TemporaryDirectory() as nowhere:
        resources = _resources(asked, encoder, model, progress)
        asks = _asks(asked, frame, resources)
        question = exam_question(asked, asks, resources, clock)
        kept = Path(nowhere) / "exam" if folder is None else folder
        return stored_exam(run(question, asks.examples, out=kept, resources=resources, command=command))


def plan_exam(
    texts: str | Path | pl.DataFrame | None = None,
    *,
    out: str | Path | None = None,
    settings: ExamSettings | None = None,
    encoder: str | SentenceEncoder | DualEncoder | None = None,
    llm: Client | DryRun | str | None = None,
    **options: Any,
) -> Plan:
    """What `run_exam` would ask a language model; nothing is sent or stored.

    What describers ask depends on no reply, so it is what would be asked; what readers ask is guessed.
    """
    asked, frame = _asked(texts, settings, options, encoder, llm)
    folder = None if out is None else Path(out)
    if asked.llm != EXTRACTIVE and (llm is None or isinstance(llm, str)):
        need_folder(asked.llm, folder)
    with counting_llm(asked, folder, llm) as counting, TemporaryDirectory() as nowhere:
        resources = _resources(asked, encoder, counting, silent)
        asks = _asks(asked, frame, resources)
        question = exam_question(asked, asks, resources, time.perf_counter)
        check(question, asks.examples, folder, resources)
        alone = [each for each in question.describers if each.name == LLM]
        if alone and counting is not None:
            asking = replace(question, describers=alone, readers=(), extras=(), tagger=None)
            run(asking, asks.examples, out=Path(nowhere) / "exam", resources=resources)
        return Plan(asks.of, plan(question, asks.examples, resources, counting, None))


def stored_exam(study: Study) -> Exam:
    """The exam that a study holds, of whatever version."""
    has = UNANSWERED.name in study.manifest.tables
    unanswered = study.table(UNANSWERED) if has else UNANSWERED.empty()
    units, answers, summary, costs = (study.table(name) for name in TABLES)
    return Exam(units, answers, summary, costs, unanswered)


class Asks(NamedTuple):
    """What an exam is of: its examples, its units, and what tells it from another."""

    examples: Examples
    source: Planted
    of: str
    facts: dict[str, Any]
    tagger: Tagger | None
    """None where descriptors are sought in each task."""


def exam_question(
    asked: ExamSettings, asks: Asks, resources: Resources, clock: Callable[[], float]
) -> Question:
    """What is asked; describers are timed by `clock`.

    Raises InputError for names of nobody, and where a language model is missing.
    """
    kind, llm = asks.examples.kind, resources.llm
    # Many a language model reads text alone: of pictures it is asked where somebody names it.
    asks_llm = llm is not None and kind != "image"
    able = [name for name in describers_of(kind) if name != LLM or asks_llm]
    describers = find_describers(asked.describer or able, kind)
    usual = "dual-encoder" if kind == "image" else "sentence-encoder"
    readers: list[Reader] = [find_reader(name, kind) for name in asked.reader or ["claims", usual]]
    for each in describers:
        if each.name == LLM:
            resources.need_llm(f"the describer {each.name!r}")
    for each in readers:
        if isinstance(each, AsksLLM):
            each.llm(resources)
    surprised = surprised_by(asked, readers, resources)
    tasks = ByTask()
    sitting = [Sitting(each if asks.tagger else OneTask(each, tasks), clock) for each in describers]
    config = {
        "describer": [each.name for each in describers],
        "reader": [each.name for each in readers],
        "encoder": named(encoder=resources.dual if kind == "image" else resources.encoder)["encoder"],
        "prompts": {name: resources.prompt(name).hash for name in PROMPTS} if llm else {},
    }
    tagged = any(each.needs_tags for each in sitting) or any(each.name == "tags" for each in readers)
    # Phrases of pictures are found by nobody, and who can do without takes them where they are.
    tagged = tagged or kind == "image"
    return Question(
        "exam",
        asks.source,
        [TrueDescription(asks.source), *sitting],
        readers,
        asked.stored() | asks.facts | config | surprised.config,
        {"encoder": resources.fingerprint(asks.examples), **surprised.inputs},
        asks.tagger if tagged else None,
        floors=[AnotherTruth(asks.source)],
        extras=[Marks(asks.source)],
        strongest=STRONGEST if asked.tasks is None else len(asks.examples),
        budget=Budget(EVERY_UNIT),
        control=False,
    )


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


def _resources(asked: ExamSettings, encoder: Any, llm: LanguageModel | None, progress: Progress) -> Resources:
    encoder = encoder or asked.encoder
    usual = {"llm": llm, "seed": asked.seed, "progress": progress, "prompts": asked.prompts}
    if asked.images:
        return Resources(dual=encoder or PLANTED, **usual)
    return Resources(encoder or "minilm", **usual)


def _asks(asked: ExamSettings, frame: pl.DataFrame | None, resources: Resources) -> Asks:
    if asked.images:
        return _pictures(asked)
    return _texts(asked, frame, resources) if asked.tasks is None else _tasks(asked, asked.tasks)


def _texts(asked: ExamSettings, frame: pl.DataFrame | None, resources: Resources) -> Asks:
    if asked.texts is None:
        with as_file(files("saywell.data") / "demo" / "sentences.tsv") as demo:
            examples = load_texts(demo, tags="tags", seed=asked.seed)
    else:
        source = asked.texts if frame is None else frame
        examples = load_texts(source, text=asked.text, tags=asked.tags, seed=asked.seed)

    def make() -> list[PlantedUnit]:
        tags = examples.table["tags"].to_list()
        units = _some(plant_units(examples.texts, tags, **_sizes(asked)), f"{len(examples)} texts")
        vectors, describe = resources.vectors(examples), examples.parts.describe
        return units + train_network_units(vectors, units, describe, seed=asked.seed)

    facts = {"questions": "planted units", "texts": asked.texts is not None}
    return Asks(examples, Planted(make), f"{len(examples)} texts", facts, ExtractiveTags())


def _tasks(asked: ExamSettings, path: Path) -> Asks:
    tasks = read_tasks(path, limit=asked.limit, seed=asked.seed)
    if not tasks:
        raise InputError(f"there is no task in {str(path)!r}")
    examples = task_examples(tasks)
    rows = [f"{name}: {row}" for name, rows in tasks for row in rows.write_ndjson().splitlines()]
    facts = {"questions": "tasks", "tasks": len(tasks), "rows": combined(*sorted(rows))}
    return Asks(
        examples,
        Planted(lambda: task_units(tasks, examples, asked.seed), "tasks", "task"),
        f"{len(tasks)} tasks",
        facts,
        None,
    )


def _pictures(asked: ExamSettings) -> Asks:
    scenes = draw_scenes(asked.pictures, asked.seed)
    examples, drawn = planted_pictures(scenes, asked.seed)

    def make() -> list[PlantedUnit]:
        units = plant_image_units(scenes, drawn.bright(), **_sizes(asked))
        return _some(units, f"{asked.pictures} pictures")

    facts = {"questions": "planted pictures"}
    return Asks(examples, Planted(make), f"{asked.pictures} pictures", facts, PhraseTags(candidate_phrases()))


def _sizes(asked: ExamSettings) -> dict[str, int]:
    return {"per_kind": asked.per_kind, "noise_units": asked.noise_units, "seed": asked.seed}


def _some(units: list[PlantedUnit], of: str) -> list[PlantedUnit]:
    if not any(unit.truth for unit in units):
        raise InputError(f"no rule holds of enough of the {of} to ask about; give more {of.split()[-1]}")
    return units

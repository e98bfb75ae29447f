"""Step 8 of the neuron study, the figures: does a description predict its unit on unseen sentences?

Each description is read in up to three ways; thresholds are fitted on validation sentences, scores
are measured on test sentences, and each stands beside its floors (docs/scores.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Int64

from saywell.data.examples import Examples
from saywell.data.parts import Parts, parts_of
from saywell.data.splits import hash_numbers
from saywell.description import Description
from saywell.encoders.sentence import SentenceEncoder
from saywell.language_models import LanguageModel
from saywell.readers.cosine import by_nearest
from saywell.readers.detection import DetectionReader
from saywell.readers.lexical import by_words
from saywell.readers.reader import Predict as Reads
from saywell.resources import Resources
from saywell.scorers.counterexamples import find_counterexamples
from saywell.scorers.floors import another_unit, most_frequent, nearest_sibling, top_words
from saywell.scorers.sampling import Sample, sample_examples
from saywell.scorers.scoring import Fires, Predict, Scores, Task, score_units
from saywell.store.files import temporary_folder
from saywell.store.schemas import empty_table, table_of
from saywell.store.study import Study
from saywell.studies.neuron_subject import Subject, Tags
from saywell.studies.score_tables import score_tables

BY_TAGS = "tags"
"""The reader who decides what is verified: does the sentence carry what the description names?"""
BY_WORDS = "lexical"
BY_ENCODER = "sentence-encoder"
BY_LLM = "detection"
ANOTHER = "another unit"
LLM_EXAMPLES = 60
"""Sentences that an LLM reads of each of the two splits, for a unit."""


class Described(NamedTuple):
    """The units that have a description, with the distinct descriptions among them.

    `units` are places in the table of units; `own` says which description each of them has, and
    `names` which descriptors each description names.
    """

    units: Int64[np.ndarray, " described"]
    ids: list[str]
    descriptions: list[str]
    own: Int64[np.ndarray, " described"]
    texts: list[str]
    names: Bool[np.ndarray, "texts descriptors"]


def described_units(units: pl.DataFrame, descriptions: pl.DataFrame, descriptors: pl.DataFrame) -> Described:
    """From the tables of a study."""
    place = {unit: number for number, unit in enumerate(units["id"])}
    column = {name: number for number, name in enumerate(descriptors["id"])}
    table = descriptions.filter(status="described")
    texts: dict[str, int] = {}
    own = np.array([texts.setdefault(text, len(texts)) for text in table["text"]], dtype=np.int64)
    names = np.zeros((len(texts), len(column)), dtype=bool)
    for number, named in zip(own, table["descriptors"], strict=True):
        names[number, [column[name] for name in named]] = True
    return Described(
        np.array([place[unit] for unit in table["unit"]], dtype=np.int64),
        table["unit"].to_list(),
        table["id"].to_list(),
        own,
        list(texts),
        names,
    )


class Reading(NamedTuple):
    """Who reads, and what there is to predict.

    Descriptions are called by their number in `Described.texts`; behind them the reader of words
    knows one more text for every described unit, its top words.
    """

    parts: Parts
    readers: dict[str, Predict]
    fires: Fires


@contextmanager
def open_reading(
    study: Study,
    subject: Subject,
    described: Described,
    tags: Tags,
    examples: pl.DataFrame,
    encoder: SentenceEncoder | None,
    vectors: np.ndarray | None,
) -> Iterator[Reading]:
    """Readers of the descriptions, for as long as the context lasts."""
    parts = parts_of(examples)
    with temporary_folder(study.path, "readings") as folder:
        readers = {
            BY_TAGS: tag_reader(tags, described.names),
            BY_WORDS: _remembered(
                [*described.texts, *top_words(study.exemplars, examples, described.ids)],
                parts,
                folder / BY_WORDS,
                by_words(examples["text"].to_list(), parts.describe),
            ),
        }
        if encoder is not None and vectors is not None:
            read = by_nearest(encoder, vectors)
            readers[BY_ENCODER] = _remembered(described.texts, parts, folder / BY_ENCODER, read)
        yield Reading(parts, readers, fires_on(subject, described.ids))


def score_described(
    reading: Reading,
    described: Described,
    subject: Subject,
    seed: int,
    only: Int64[np.ndarray, " some"] | None = None,
    resamples: Mapping[str, Int64[np.ndarray, " some"]] | None = None,
) -> dict[str, Scores]:
    """The skill of every description by every reader, by the name of the reader.

    With `only`, of these places among the described units; with as many `resamples` as settled the
    verdict over all of them (column `resamples` of table `scores`) a score does not depend on the
    others.
    """
    some = np.arange(len(described.ids)) if only is None else only
    words = [described.texts[own] for own in described.own]
    profiles = subject.calibration.composition[described.units].astype(np.float32)
    stand_ins = {
        ANOTHER: another_unit(words, described.ids, seed=seed),
        "nearest sibling": nearest_sibling(words, profiles, described.names[described.own]),
        "most frequent": most_frequent(words),
    }
    # A floor is a unit; what is read in its place is that unit's description.
    floors = {name: np.where(whose < 0, -1, described.own[whose])[some] for name, whose in stand_ins.items()}
    # What needs no describer at all; only who reads words can read it.
    own_words = {"top words": some + len(described.texts)}
    return {
        name: score_units(
            Task(
                [described.ids[number] for number in some],
                predict,
                lambda numbers, rows: reading.fires(some[numbers], rows),
                reading.parts.select,
                reading.parts.score,
                floors=floors | own_words if name == BY_WORDS else floors,
                own=described.own[some],
            ),
            seed=seed,
            resamples=resamples[name] if resamples else None,
        )
        for name, predict in reading.readers.items()
    }


def score_by_llm(
    reading: Reading,
    described: Described,
    subject: Subject,
    examples: pl.DataFrame,
    llm: LanguageModel,
    units: int,
    others: Int64[np.ndarray, " described"],
    seed: int,
    prompts: Path | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Tables `scores` and `floors` of some descriptions as an LLM reads them, and `unanswered`.

    Units are drawn by their ids. Of each split the LLM reads a few dozen sentences a unit, those that
    fire it more often than others, and every one counts for as many as it stands for. The only floor
    that is read is another unit's description, `others` (-1 for none): readings are what costs.
    """
    keys = hash_numbers(described.ids, seed, "units that an LLM reads")
    some = np.sort(np.argsort(keys, kind="stable")[:units])
    ids = [described.ids[number] for number in some]
    names = examples["id"].to_numpy()

    def sample(rows: np.ndarray) -> Sample:
        response = subject.activations.of(ids, rows)
        fires = reading.fires(some, rows)
        return sample_examples(
            response, fires, examples=names[rows].tolist(), units=ids, budget=LLM_EXAMPLES, seed=seed
        )

    texts = Examples(examples, "text", "", pl.DataFrame(), examples.height)
    resources = Resources(llm=llm, seed=seed, prompts=prompts)
    detect = DetectionReader().open(texts, resources)
    said = [Description("", text) for text in described.texts]
    task = Task(
        ids,
        lambda numbers, rows: detect([said[n] for n in numbers], rows),
        lambda numbers, rows: by_row(reading.fires, some[numbers], rows),
        reading.parts.select,
        reading.parts.score,
        floors={ANOTHER: others[some]},
        own=described.own[some],
        samples=(sample(reading.parts.select.rows), sample(reading.parts.score.rows)),
    )
    found = score_units(task, seed=seed)
    tables = score_tables(ids, [described.descriptions[n] for n in some], {BY_LLM: found})
    return *tables, table_of("unanswered", resources.lost)


def by_row(fires: Fires, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`fires` where every unit has rows of its own."""
    if rows.ndim == 1:
        return fires(numbers, rows)
    every, place = np.unique(rows, return_inverse=True)
    return np.take_along_axis(fires(numbers, every), place.reshape(rows.shape), axis=1)


def counterexample_table(
    reading: Reading,
    described: Described,
    subject: Subject,
    found: dict[str, Scores],
    ids: list[str],
    *,
    block: int = 512,
) -> pl.DataFrame:
    """Table `counterexamples`, by the reader whose predictions are finest."""
    reader = BY_ENCODER if BY_ENCODER in found else BY_WORDS
    predict, thresholds = reading.readers[reader], found[reader].thresholds
    rows = reading.parts.score.rows
    names = np.asarray(ids)
    frames = [empty_table("counterexamples")]
    for start in range(0, len(described.ids), block):
        numbers = np.arange(start, min(start + block, len(described.ids)))
        predicted = predict(described.own[numbers], rows)
        response = subject.activations.of([described.ids[n] for n in numbers], rows)
        said = predicted >= thresholds[numbers, None]
        against = find_counterexamples(predicted, said, response, reading.fires(numbers, rows))
        place = numbers[against.unit]
        frames.append(
            pl.DataFrame(
                {
                    "unit": [described.ids[n] for n in place],
                    "description": [described.descriptions[n] for n in place],
                    "kind": against.kind,
                    "rank": against.rank,
                    "example": names[rows[against.column]],
                    "activation": subject.units["sign"].to_numpy()[described.units[place]]
                    * response[against.unit, against.column],
                    "predicted": predicted[against.unit, against.column].astype(np.float64),
                },
                schema=empty_table("counterexamples").schema,
                strict=False,
            )
        )
    return pl.concat(frames)


def fires_on(subject: Subject, ids: list[str]) -> Fires:
    """On which sentences units fire, by their place among `ids`."""
    mine = subject.activations.only(list(dict.fromkeys(ids)))
    return lambda numbers, places: mine.fires([ids[number] for number in numbers], places)


def tag_reader(tags: Tags, names: Bool[np.ndarray, "texts descriptors"]) -> Predict:
    """Reads a sentence by its tags: how many of the named descriptors does it carry?

    NaN where the tagger gave no answer for the sentence.
    """
    weights = names.astype(np.float32)

    def predict(numbers: np.ndarray, places: np.ndarray) -> np.ndarray:
        carried = (tags.matrix[places] @ weights[numbers].T).T
        return np.where(tags.known[places], carried, np.nan)

    return predict


def _remembered(texts: list[str], parts: Parts, file: Path, read: Reads) -> Predict:
    """A reader that reads each description once, on every sentence that can be asked for.

    Its numbers wait in a file, so that memory does not grow with descriptions times sentences.
    """
    places = np.concatenate([parts.select.rows, parts.score.rows])
    shape = (len(texts), len(places))
    kept = np.lib.format.open_memmap(file, "w+", np.float32, shape)
    for start in range(0, len(texts), 256):
        some = [Description("", text) for text in texts[start : start + 256]]
        kept[start : start + 256] = read(some, places)
    column = np.full(int(places.max()) + 1, -1)
    column[places] = np.arange(len(places))
    return lambda numbers, asked: np.asarray(kept[numbers][:, column[asked]])

"""Do a class's chosen texts recognise it? Each class as a unit, its texts as its description.

The reader is the dual encoder: it says that an image is of the class when the mean cosine of the
image with the class's chosen texts reaches a threshold fitted on validation images.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Int64

from saywell.data.parts import parts_of
from saywell.encoders.vectors import unit_length
from saywell.scorers.counterexamples import find_counterexamples
from saywell.scorers.floors import another_unit, nearest_sibling
from saywell.scorers.scoring import Scores, Task, score_units
from saywell.scorers.thresholds import decide
from saywell.store.schemas import empty_table
from saywell.store.study import StudyWriter
from saywell.studies.class_choice import stored_scores
from saywell.studies.class_rows import CLASS_NAMES, Pool, chosen_by, text_sets
from saywell.studies.class_subject import Space
from saywell.studies.score_tables import score_tables
from saywell.transfer.zero_shot import class_embeddings

BY_ENCODER = "dual-encoder"


class Tested(NamedTuple):
    """Classes with chosen texts, and the mean vectors of those texts and of their names."""

    classes: Int64[np.ndarray, " tested"]
    texts: list[str]
    vectors: Float[np.ndarray, "descriptions dim"]


def description_table(study: StudyWriter, space: Space, rule: str) -> pl.DataFrame:
    """Table `descriptions`: the texts that the study's rule chose for a class, or why there are none."""
    chosen = (
        study.table("text_scores")
        .filter(rule=rule, network=False, chosen=True)
        .join(study.table("class_texts").rename({"text": "words"}), left_on="text", right_on="id")
        .sort("class", "rank")
    )
    by_class = {key[0]: own for key, own in chosen.group_by("class", maintain_order=True)}
    rows = []
    for name in space.names:
        own = by_class.get(name)
        if own is None:
            rows.append(
                (
                    f"{name}#0",
                    name,
                    "",
                    "",
                    rule,
                    None,
                    None,
                    [],
                    [],
                    0,
                    False,
                    "no description: it has no usable text",
                )
            )
            continue
        llm, prompt = (
            own[column].drop_nulls().unique().sort().to_list() for column in ("llm", "prompt_hash")
        )
        rows.append(
            (
                f"{name}#0",
                name,
                " ".join(own["words"]),
                own["describer"][0],
                rule,
                ",".join(llm) or None,
                ",".join(prompt) or None,
                own["source"].drop_nulls().unique().sort().to_list(),
                own["text"].to_list(),
                0,
                True,
                "described",
            )
        )
    return pl.DataFrame(rows, schema=empty_table("descriptions").schema, orient="row")


def class_score_tables(
    study: StudyWriter, space: Space, pool: Pool, rule: str, per_class: int, seed: int
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Tables `scores`, `floors` and `counterexamples`; empty without validation images."""
    parts = parts_of(study.examples)
    tested = _tested(study, space, pool, rule, per_class, seed)
    if not len(parts.select) or not len(tested.classes):
        return empty_table("scores"), empty_table("floors"), empty_table("counterexamples")
    ids = [space.names[number] for number in tested.classes]
    images = unit_length(space.vectors)

    def predict(numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return tested.vectors[numbers] @ images[rows].T

    def fires(numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return space.labels[rows] == tested.classes[numbers][:, None]

    count = len(ids)
    names = np.arange(count) + count
    names[~np.isfinite(tested.vectors[count:]).all(1)] = -1
    task = Task(
        ids,
        predict,
        fires,
        parts.select,
        parts.score,
        floors={
            "another class": another_unit(tested.texts, ids, seed=seed),
            "nearest sibling": nearest_sibling(tested.texts, tested.vectors[:count]),
            "class name": names,
        },
    )
    found = score_units(task, seed=seed)
    scores, floors = score_tables(ids, [f"{name}#0" for name in ids], {BY_ENCODER: found})
    against = _counterexamples(study, tested, ids, found, predict, fires, parts.score.rows)
    return scores, floors, against


def _tested(study: StudyWriter, space: Space, pool: Pool, rule: str, per_class: int, seed: int) -> Tested:
    sets = text_sets(pool, stored_scores(study), rule, per_class=per_class, seed=seed)
    count = len(space.names)
    own, names = (
        class_embeddings(pool.vectors, pool.classes, count, sets[kind])
        if kind in sets
        else np.full((count, pool.vectors.shape[1]), np.nan)
        for kind in (chosen_by(rule), CLASS_NAMES)
    )
    classes = np.flatnonzero(np.isfinite(own).all(1))
    texts = study.descriptions.select("unit", "text").rows()
    said = dict(texts)
    return Tested(
        classes, [said[space.names[n]] for n in classes], np.concatenate([own[classes], names[classes]])
    )


def _counterexamples(
    study: StudyWriter, tested: Tested, ids: list[str], found: Scores, predict, fires, rows
) -> pl.DataFrame:
    numbers = np.arange(len(ids))
    predicted, real = predict(numbers, rows), fires(numbers, rows)
    said = decide(predicted, found.thresholds) == 1
    # An image is of a class or not; how far a class is from it, only the reader knows.
    against = find_counterexamples(predicted, said, real.astype(np.float64), real)
    examples = study.examples["id"].to_numpy()
    return pl.DataFrame(
        {
            "unit": [ids[n] for n in against.unit],
            "description": [f"{ids[n]}#0" for n in against.unit],
            "kind": against.kind,
            "rank": against.rank,
            "example": examples[rows[against.column]],
            "activation": real[against.unit, against.column].astype(np.float32),
            "predicted": predicted[against.unit, against.column],
        },
        schema=empty_table("counterexamples").schema,
        strict=False,
    )

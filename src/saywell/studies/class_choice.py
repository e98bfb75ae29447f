"""Steps 4 and 5 of the study of classes: influence, and every rule's score and choice of texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from saywell.data.parts import DESCRIBE, SELECT
from saywell.encoders.cache import EmbeddingCache
from saywell.encoders.dual import DualEncoder
from saywell.influence.proponents import INFLUENCE, opponents, proponents
from saywell.scorers.text_influence import Measured
from saywell.scorers.text_influence import select as select_texts
from saywell.store.study import Study, StudyWriter
from saywell.studies.class_network import network_scores
from saywell.studies.class_rows import (
    Choosing,
    Pool,
    TextScores,
    chosen_by,
    make_pool,
    readable_files,
    score_candidates,
)
from saywell.studies.class_subject import Space
from saywell.studies.class_texts import usable_texts

SHOWN = 8
"""Proponent and opponent images a class that are kept."""
LINEAR = "linear head"


def text_pool(
    study: StudyWriter,
    names: list[str],
    encoder: DualEncoder,
    cache: EmbeddingCache,
    files: Mapping[str, tuple[list[str], np.ndarray]],
    superclass: str,
    per_class: int,
    seed: int,
) -> Pool:
    """The texts to choose from, those to compare with, and controls, as vectors."""
    table, text_class = usable_texts(study, names)
    return make_pool(
        table["text"].to_list(),
        text_class,
        names,
        readable_files(files, encoder),
        encoder,
        cache,
        superclass=superclass,
        per_class=per_class,
        seed=seed,
    )


def influence_table(
    study: StudyWriter,
    space: Space,
    by: Choosing,
    measured: np.ndarray | None,
    config: Mapping[str, Any],
    seed: int,
) -> pl.DataFrame:
    """Step 4: the strongest training images of every class, as `score_texts` sees them."""
    train = space.rows[DESCRIBE]
    seen = by.measured[0]
    if not len(space.rows[SELECT]):  # the training images are their own validation images
        seen = Measured(by.train, by.train, classes=len(space.names), seed=seed)
    own = seen.influence[np.arange(len(train)), seen.labels]
    ids = study.examples["id"].to_numpy()[train]
    rows = []
    sides = [
        (LINEAR, "proponent", proponents(own, space.labels[train], len(space.names), SHOWN)),
        (LINEAR, "opponent", opponents(seen.influence, SHOWN)),
    ]
    if measured is not None:
        name = str(config["network"][0])
        found = proponents(measured, space.labels[train], len(space.names), SHOWN)
        sides.append((name, "proponent", found))
    for model, side, strongest in sides:
        for name, best in zip(space.names, strongest, strict=True):
            for rank, (row, value) in enumerate(zip(best.rows, best.values, strict=True), 1):
                rows.append((model, name, side, rank, ids[row], float(value)))
    return INFLUENCE.frame(rows)


def text_score_table(
    study: StudyWriter,
    space: Space,
    pool: Pool,
    by: Choosing,
    measured: np.ndarray | None,
    per_class: int,
    seed: int,
) -> pl.DataFrame:
    """Step 5: every rule's score of every text, its rank in its class, and whether it is chosen."""
    table, text_class = usable_texts(study, space.names)
    scores = score_candidates(pool, by, per_class=per_class, strings=table["text"].to_list(), seed=seed)
    if measured is not None:
        train = space.rows[DESCRIBE]
        scores |= network_scores(
            measured,
            space.vectors[train],
            space.labels[train],
            pool.vectors[pool.texts],
            text_class,
            len(space.names),
        )
    frames = []
    for texts, own in scores.items():
        known = pl.Series(own).cast(pl.Float64).fill_nan(None)
        frames.append(
            table.select(
                text="id",
                **{"class": pl.col("class")},
                rule=pl.lit(texts.method),
                network=pl.lit(texts.network),
                score=known,
                rank=known.rank("ordinal", descending=True).cast(pl.Int32),
                chosen=pl.Series(select_texts(own, text_class, per_class, seed=seed)),
            ).with_columns(rank=pl.col("rank").rank("ordinal").over("class").cast(pl.Int32))
        )
    return pl.concat(frames)


def stored_scores(study: Study) -> TextScores:
    """Table `text_scores` as one array a rule, in the order of the usable texts; NaN: no score."""
    by_rule = study.table("text_scores").group_by("rule", "network", maintain_order=True)
    return {
        chosen_by(str(rule), network=bool(network)): own["score"].fill_null(float("nan")).to_numpy()
        for (rule, network), own in by_rule
    }

"""Classifying score images by texts alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from saywell.data.parts import SCORE
from saywell.influence.tracin import Labelled
from saywell.scorers.intervals import Interval
from saywell.scorers.transfer import Resampling
from saywell.selection.of_texts import chosen_by
from saywell.store.study import Metric
from saywell.store.table import Table
from saywell.studies.classes.pool import (
    CLASS_NAMES,
    SEARCHED,
    Compared,
    Pool,
    Sets,
    Space,
    name_free,
    searched_sets,
    text_sets,
)
from saywell.studies.spine import Run
from saywell.transfer.text_sets import ZERO_SHOT, TextSet, without_nan
from saywell.transfer.zero_shot import class_embeddings, predict

DRAWS = 5
"""Random choices and random ties that a zero-shot figure is averaged over."""


@dataclass(frozen=True)
class ZeroShot:
    """Table `zero_shot`, over several draws of the random controls."""

    compared: Compared
    tables: Sequence[Table] = (ZERO_SHOT,)

    def add(self, run: Run) -> list[Metric]:
        """Figures follow in `figures.py`."""
        with run.resources.progress("zero-shot", 1):
            run.study.table(ZERO_SHOT, lambda: self._table(self.compared.space(run)))
        return []

    def _table(self, space: Space) -> pl.DataFrame:
        choice = self.compared.choice
        searched = searched_sets(space.pool, space.by, choice)
        draws = [
            text_sets(space.pool, space.scores, choice, choice.seed + draw) | searched
            for draw in range(DRAWS)
        ]
        return zero_shot_table(space, draws)


def zero_shot_table(space: Space, draws: Sequence[Sets]) -> pl.DataFrame:
    """Table `zero_shot`: accuracy on score images of every set of texts, averaged over draws of the sets."""
    choice, test = space.compared.choice, space.rows[SCORE]
    images = Labelled(space.vectors[test], space.labels[test])
    correct = {
        texts: np.stack(
            [zero_shot_correct(space.pool, sets[texts], images, len(space.names)) for sets in draws]
        )
        for texts in draws[0]
    }
    own = chosen_by(choice.rule)
    searched = {own: SEARCHED, name_free(own): name_free(SEARCHED)}

    resampling = Resampling(len(draws), len(test), seed=choice.seed)

    def over(right: np.ndarray, base: TextSet | None) -> Interval:
        if base is None or base not in correct:
            return Interval(np.nan, np.nan, np.nan, 0)
        return resampling.difference(right, correct[base])

    rows = []
    for texts, right in correct.items():
        level = resampling.mean(right)
        used = int((draws[0][texts] > 0).sum())
        rows.append(
            (
                *texts,
                used,
                *level[:3],
                *over(right, CLASS_NAMES)[:3],
                level.n,
                *over(right, searched.get(texts))[:3],
            )
        )
    return ZERO_SHOT.frame([without_nan(row) for row in rows])


def zero_shot_correct(
    pool: Pool, weights: Float[np.ndarray, " pool"], images: Labelled, classes: int
) -> Bool[np.ndarray, " images"]:
    """Which images the mean cosine with a set of texts gets right."""
    used = np.flatnonzero(weights)
    means = class_embeddings(pool.vectors[used], pool.classes[used], classes, weights[used])
    return predict(np.asarray(images.features), means) == np.asarray(images.labels)

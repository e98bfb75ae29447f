"""Skill as tables: a row per description and reader, and a row per floor of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from saywell.data.parts import SCORE
from saywell.scorers.intervals import benjamini_hochberg
from saywell.scorers.scoring import Scores
from saywell.scorers.skill import verified
from saywell.store.schemas import empty_table

F1 = "f1"
SCORER_VERSION = 3


def score_tables(
    units: Sequence[str], descriptions: Sequence[str], found: Mapping[str, Scores]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables `scores` and `floors`; the first of the readers in `found` is the one that decides."""
    scores, floors = [empty_table("scores")], [empty_table("floors")]
    common = {"unit": list(units), "description": list(descriptions), "measure": F1, "part": SCORE}
    for reader, own in found.items():
        skill, thresholds, left_out = own.skill, own.thresholds, own.left_out
        tested = ~np.isnan(skill.p)
        q = np.full(len(tested), np.nan)
        q[tested] = benjamini_hochberg(skill.p[tested])
        status = np.where(tested, np.where(verified(skill), "verified", "not verified"), "not tested")
        scores.append(
            pl.DataFrame(
                {
                    **common,
                    "reader": reader,
                    "scorer_version": SCORER_VERSION,
                    "value": skill.value,
                    "ci_low": skill.low,
                    "ci_high": skill.high,
                    "control": skill.value - skill.skill,
                    "n": skill.n,
                    "status": status,
                    "floor": skill.best_floor.astype(str),
                    "skill": skill.skill,
                    "skill_low": skill.skill_low,
                    "skill_high": skill.skill_high,
                    "p": skill.p,
                    "q": q,
                    "unanswered": skill.unanswered,
                    "threshold": thresholds,
                    "resamples": skill.resamples,
                },
                schema=empty_table("scores").schema,
                strict=False,
            )
        )
        floors += [
            pl.DataFrame(
                {**common, "reader": reader, "floor": name, "value": values, "left_out": left_out.get(name)},
                schema=empty_table("floors").schema,
                strict=False,
            )
            for name, values in skill.floors.items()
        ]
    no_answer = pl.selectors.float().fill_nan(None)
    return pl.concat(scores).with_columns(no_answer), pl.concat(floors).with_columns(no_answer)

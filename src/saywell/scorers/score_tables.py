"""Skill as tables: a row per description and reader, and a row per floor of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from saywell.data.parts import SCORE
from saywell.scorers.deciding import NOT_TESTED, NOT_VERIFIED, VERIFIED
from saywell.scorers.floors import Described
from saywell.scorers.intervals import benjamini_hochberg
from saywell.scorers.localisation import COLUMNS
from saywell.scorers.scoring import Scores
from saywell.scorers.skill import verified
from saywell.store.table import Table

SCORER_VERSION = 4
F1 = "f1"
_WHOSE = {
    "unit": pl.String,
    "description": pl.String,
    "describer": pl.String,
    "measure": pl.String,
    "reader": pl.String,
    "part": pl.String,
}
MEASURED = {
    "scorer_version": pl.Int32,
    "value": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "control": pl.Float64,
    "n": pl.Int64,
    "status": pl.String,
    "floor": pl.String,
    "skill": pl.Float64,
    "skill_low": pl.Float64,
    "skill_high": pl.Float64,
    "p": pl.Float64,
    "q": pl.Float64,
    "unanswered": pl.Int64,
    "threshold": pl.Float64,
    "resamples": pl.Int64,
}
"""What a reader makes of a text about a unit."""
SCORED = Table(
    "scores",
    {
        **_WHOSE,
        **MEASURED,
        "stated": pl.Float64,
        "meant": pl.Float64,
        "verifies": pl.Boolean,
        "decides": pl.Boolean,
        **COLUMNS,
    },
    key=("unit", "description", "measure", "reader", "part"),
    optional=frozenset({"resamples", "describer", "stated", "meant", "verifies", "decides", *COLUMNS}),
    version=3,
)
"""A description's agreement with its unit on examples that its writer never saw.

`control` is the best of its floors and `floor` its name; skill = value - control, with its own
interval. q is p after Benjamini and Hochberg over all descriptions of a describer, by each reader; n
counts the examples read, `resamples` how many the intervals and p are from. `stated` is the same measure on
select examples, which the threshold was fitted on: no score, but what it promised. `meant` is against where
a unit that was made to a plan should fire; null where there is no plan. Studies of format 2 do not
name the describer: there was one.

`verifies` says whether this reader alone verifies the description; null where it could not be tested. One row
of each description `decides` (see scorers/deciding.py), and its `status` is that of the description; in the
others it is the reader's own. `localised` is the share of `localised_n` score texts whose responsible span
the description points at, with its interval, and `by_chance` that of all words; null where no span is known
or the reader points at none. Where the one who decides does not point, they are of the first who does.
Studies of scorer version 3 lack these: the first reader decided.
"""
FLOORED = Table(
    "floors",
    {**_WHOSE, "floor": pl.String, "value": pl.Float64, "left_out": pl.Int64},
    key=("unit", "description", "measure", "reader", "part", "floor"),
    optional=frozenset({"left_out", "describer"}),
    version=2,
)
"""The same measure and reader fed what should fail: another unit's description, always, never ...

`left_out` counts the descriptions that were passed over since they read like the unit's own.
"""
AGAINST = Table(
    "counterexamples",
    {
        "unit": pl.String,
        "description": pl.String,
        "kind": pl.String,
        "rank": pl.Int32,
        "example": pl.String,
        "activation": pl.Float32,
        "predicted": pl.Float64,
    },
    key=("unit", "description", "kind", "rank"),
)
"""Held-out examples that speak against a description, strongest first.

"silent" ones are predicted and leave the unit cold, "unforeseen" ones fire it and are not predicted.
"""


CONTROL_SCORES = Table(
    "control_scores",
    {
        "unit": pl.String,
        "text": pl.String,
        "measure": pl.String,
        "reader": pl.String,
        "value": pl.Float64,
        "control": pl.Float64,
        "skill": pl.Float64,
        "skill_low": pl.Float64,
        "skill_high": pl.Float64,
        "p": pl.Float64,
        "q": pl.Float64,
        "status": pl.String,
        "resamples": pl.Int64,
        "describer": pl.String,
        "selected": pl.Boolean,
        "verifies": pl.Boolean,
        "decides": pl.Boolean,
    },
    key=("unit", "describer", "measure", "reader"),
    version=3,
)
"""Descriptions of units of the control, made, scored, chosen and decided in the same way: what `verified` is
where there is nothing to find. Units drawn by chance where they are many. Where in a text a unit of the
control responds is not asked, so its descriptions need not point anywhere: more are verified for it."""
SHUFFLED_SCORES = replace(CONTROL_SCORES, name="shuffled_scores", version=1)
"""The same of some of the study's own units, whose responses are exchanged over the examples of a part, where
the control is another thing: what is verified of them is verified by chance."""


def score_tables(described: Described, found: Mapping[str, Scores]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables `scores` and `floors` by reader: what each alone makes of it (see `decided`)."""
    scores, floors = [SCORED.empty()], [FLOORED.empty()]
    for reader, own in found.items():
        skill = own.skill
        tested = ~np.isnan(skill.p)
        q = np.full(len(tested), np.nan)
        q[tested] = benjamini_hochberg(skill.p[tested])
        holds = verified(skill)
        whose = {
            "unit": list(described.units),
            "description": list(described.ids),
            "describer": described.describer,
            "measure": F1,
            "reader": reader,
            "part": SCORE,
        }
        row = {
            **whose,
            "scorer_version": SCORER_VERSION,
            "value": skill.value,
            "ci_low": skill.low,
            "ci_high": skill.high,
            "control": skill.value - skill.skill,
            "n": skill.n,
            "status": np.where(tested, np.where(holds, VERIFIED, NOT_VERIFIED), NOT_TESTED),
            "floor": skill.best_floor.astype(str),
            "skill": skill.skill,
            "skill_low": skill.skill_low,
            "skill_high": skill.skill_high,
            "p": skill.p,
            "q": q,
            "unanswered": skill.unanswered,
            "threshold": own.thresholds,
            "resamples": skill.resamples,
            "stated": own.select_f1,
            "meant": own.meant_f1,
            "verifies": pl.Series(
                [bool(yes) if known else None for yes, known in zip(holds, tested, strict=True)]
            ),
            **dict.fromkeys(("decides", *COLUMNS)),
        }
        scores.append(pl.DataFrame(row, schema=SCORED.types, strict=False))
        floors += [
            pl.DataFrame(
                {**whose, "floor": name, "value": values, "left_out": own.left_out.get(name)},
                schema=FLOORED.types,
                strict=False,
            )
            for name, values in skill.floors.items()
        ]
    no_answer = pl.selectors.float().fill_nan(None)
    return pl.concat(scores).with_columns(no_answer), pl.concat(floors).with_columns(no_answer)

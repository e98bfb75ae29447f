"""How one describer's answers fare: verified or not, and whether they behave as the truth does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import polars as pl
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from saywell.data.parts import Parts
from saywell.data.planted_units import PlantedUnit
from saywell.description import Description
from saywell.readers.reader import Predict
from saywell.scorers.agreement import f1
from saywell.scorers.floors import ANOTHER, another_unit
from saywell.scorers.scoring import Task, tally_units
from saywell.scorers.skill import FALSE_DISCOVERY_RATE, Skill, Tally, settle, verified
from saywell.scorers.thresholds import decide

TRUTH = "true-description"
"""The row for the true descriptions themselves: the ceiling of a reader."""
ENOUGH = 0.8
"""Share of the true description's gain over "always" that a recovered one reaches at least."""
LITTLE = 0.5
"""Share of it below which a verified description does not say what the rule says."""

M = TypeVar("M")


class World(NamedTuple, Generic[M]):
    """Examples with the units that live on them; ids of units are unique over all worlds of an exam.

    Of the examples only those matter here who read them, and for whom: `material` gives what a
    describer may see, anew each time, so that nobody works with what another has computed.
    """

    parts: Parts
    units: Sequence[PlantedUnit]
    predict: Predict
    material: Callable[[], M]


class _Read(NamedTuple):
    """What a world's described units look like to a reader of their descriptions."""

    counted: Tally
    stated: np.ndarray
    rule_f1: np.ndarray


def score_answers(
    describer: str, worlds: Sequence[World], texts: Sequence[Sequence[str]], seed: int
) -> pl.DataFrame:
    """One row per unit (see ANSWERS) for a describer's texts: per world a text per unit, "" for none.

    What compares with the truth is left to `with_recovery`, which needs the true descriptions' row.
    """
    stand_in, said = _stand_ins(worlds, texts, seed)
    reads, start = [], 0
    for world, own in zip(worlds, texts, strict=True):
        units = [unit for unit, text in zip(world.units, own, strict=True) if text]
        here = slice(start, start + len(units))
        reads.append(_read(world, units, said[here], stand_in[here], said, seed))
        start += len(units)
    skill = settle(Tally.joined([read.counted for read in reads]), q=FALSE_DISCOVERY_RATE)
    stated, rule_f1 = (
        np.concatenate([getattr(read, name) for read in reads]) for name in ("stated", "rule_f1")
    )
    return _frame(describer, worlds, texts, skill, stated, rule_f1)


def with_recovery(answers: pl.DataFrame) -> pl.DataFrame:
    """Columns `truth_f1`, `readable`, `recovered` and `off_rule`, from the true descriptions' row.

    `readable`: the true description itself is verified; what the reader cannot read of the truth, it
    cannot tell a describer either. How far a description gets is its F1 against the rule less that
    of "always". `recovered`: verified, and it gets nearly as far as the truth; asked of readable units
    only. `off_rule`: verified, and it does not get half as far as the truth, or half of the
    way to a perfect answer where the truth cannot be read: true of the unit, but not what the rule
    says. Null where nobody knows the rule, and `off_rule` also where nothing was verified.
    """
    ceiling = answers.filter(describer=TRUTH).select(
        "unit", truth_f1="rule_f1", readable=pl.col("status") == "verified"
    )
    always, known = pl.col("always_f1"), pl.col("always_f1").is_not_null()
    verified_ = pl.col("status") == "verified"
    gain, best = pl.col("rule_f1") - always, pl.col("truth_f1") - always
    reach = pl.when("readable").then(best).otherwise(1 - always)
    as_good = verified_ & (gain > 0) & (gain >= ENOUGH * best)
    return answers.join(ceiling, on="unit", how="left", maintain_order="left").with_columns(
        readable=pl.when(known).then("readable"),
        recovered=pl.when(known & pl.col("readable")).then(as_good.fill_null(False)),
        off_rule=pl.when(known & verified_).then(gain < LITTLE * reach),
    )


def _read(
    world: World,
    units: list[PlantedUnit],
    own: list[str],
    candidates: np.ndarray,
    texts: list[str],
    seed: int,
) -> _Read:
    """Thresholds from select rows, everything else from score rows.

    `candidates` number the `texts` that may stand in as the floor of each unit; behind them stand the
    units' own.
    """
    said = [Description("", text) for text in (*texts, *own)]
    mine = len(texts) + np.arange(len(own))

    def predict(numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return world.predict([said[n] for n in numbers], rows)

    def of_units(name: str, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        values = [getattr(units[n], name)[rows] for n in numbers]
        return np.array(values, dtype=bool).reshape(len(numbers), len(rows))

    select, score = world.parts.select, world.parts.score
    task = Task(
        [unit.id for unit in units],
        predict,
        partial(of_units, "fires"),
        select,
        score,
        floors={ANOTHER: candidates},
        own=mine,
    )
    found = tally_units(task, seed=seed)
    decided = decide(predict(mine, score.rows), found.thresholds)
    rule = of_units("rule", np.arange(len(units)), score.rows)
    return _Read(found.counted, found.select_f1, f1(decided, rule))


def _stand_ins(
    worlds: Sequence[World], texts: Sequence[Sequence[str]], seed: int
) -> tuple[np.ndarray, list[str]]:
    """For each described unit others whose description may stand in, by number, and what all say.

    The others have another description and another truth, and so has whoever shares either with them:
    two units with the same rule, rightly described, are no evidence against each other.
    """
    named = [
        (unit.id, text, unit.truth or unit.id)
        for world, said in zip(worlds, texts, strict=True)
        for unit, text in zip(world.units, said, strict=True)
        if text
    ]
    places: dict[tuple[str, str], list[int]] = {}
    for n, (_, text, truth) in enumerate(named):
        places.setdefault(("said", text), []).append(n)
        places.setdefault(("true", truth), []).append(n)
    pairs = [(group[0], n) for group in places.values() for n in group]
    rows, columns = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    links = sp.coo_matrix((np.ones(len(pairs)), (rows, columns)), shape=(len(named),) * 2)
    family = connected_components(links, directed=False)[1] if named else np.zeros(0, dtype=int)
    others = another_unit([str(n) for n in family], [unit for unit, _, _ in named], seed=seed)
    return others, [text for _, text, _ in named]


def _frame(
    describer: str,
    worlds: Sequence[World],
    texts: Sequence[Sequence[str]],
    skill: Skill,
    stated: np.ndarray,
    rule_f1: np.ndarray,
) -> pl.DataFrame:
    units = [unit for world in worlds for unit in world.units]
    said = [text for own in texts for text in own]
    described = np.array([bool(text) for text in said], dtype=bool)

    def spread(values: np.ndarray, missing: float = np.nan) -> np.ndarray:
        column = np.full(len(said), missing)
        column[described] = values
        return column

    known = np.array([bool(unit.truth) for unit in units], dtype=bool)
    rates = np.array([unit.rule[world.parts.score.rows].mean() for world in worlds for unit in world.units])
    floors = np.array(list(skill.floors.values()))
    holds = np.where(verified(skill, FALSE_DISCOVERY_RATE), "verified", "not verified")
    status = np.full(len(said), "no description", dtype=object)
    status[described] = holds
    # Who says nothing finds nothing.
    found = spread(np.nan_to_num(rule_f1), 0.0)
    return pl.DataFrame(
        {
            "describer": [describer] * len(said),
            "unit": [unit.id for unit in units],
            "kind": [unit.kind for unit in units],
            "text": said,
            "value": spread(skill.value),
            "ci_low": spread(skill.low),
            "ci_high": spread(skill.high),
            "control": spread(np.fmax.reduce(floors, axis=0)),
            "skill": spread(skill.skill),
            "skill_low": spread(skill.skill_low),
            "skill_high": spread(skill.skill_high),
            "p": spread(skill.p),
            "n": spread(skill.n, 0).astype(np.int64),
            "stated": spread(stated),
            "rule_f1": np.where(known, found, np.nan),
            "always_f1": np.where(known, 2 * rates / (1 + rates), np.nan),
            "status": status.tolist(),
        },
        schema_overrides={
            "describer": pl.String,
            "unit": pl.String,
            "kind": pl.String,
            "text": pl.String,
            "status": pl.String,
        },
    ).with_columns(pl.selectors.float().fill_nan(None))

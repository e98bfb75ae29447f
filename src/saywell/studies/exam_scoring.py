"""How one describer's answers fare: verified or not, and whether they behave as the truth does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import polars as pl
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from saywell.data.parts import Parts, ScoreRows, SelectRows, require
from saywell.data.planted_units import PlantedUnit
from saywell.readers.reader import Reader
from saywell.scorers.agreement import f1
from saywell.scorers.floors import NONE, another_unit
from saywell.scorers.skill import Skill, measure_skill, verified
from saywell.scorers.thresholds import best_f1, decide, fit_thresholds

TRUTH = "true-description"
"""The row for the true descriptions themselves: the ceiling of a reader."""
FALSE_DISCOVERY_RATE = 0.05
ENOUGH = 0.8
"""Share of the true description's gain over "always" that a recovered one reaches at least."""
_FLOOR = "another unit"

M = TypeVar("M")


class World(NamedTuple, Generic[M]):
    """Examples with the units that live on them; ids of units are unique over all worlds of an exam.

    Of the examples only those matter here who read them, and for whom: `material` gives what a
    describer may see, anew each time, so that nobody works with what another has computed.
    """

    parts: Parts
    units: Sequence[PlantedUnit]
    reader: Reader
    material: Callable[[], M]


class _Read(NamedTuple):
    """What a world's units look like to a reader of some descriptions, on one part."""

    skill: Skill
    stated: np.ndarray
    rule_f1: np.ndarray


def score_answers(
    describer: str, worlds: Sequence[World], texts: Sequence[Sequence[str]], seed: int
) -> pl.DataFrame:
    """One row per unit (see ANSWERS) for a describer's texts: per world a text per unit, "" for none.

    `truth_f1` and `recovered` are left to `with_recovery`, which needs the true descriptions' row.
    """
    stand_in = _stand_ins(worlds, texts, seed)
    frames, skills = [], []
    for world, said in zip(worlds, texts, strict=True):
        rows = np.array([n for n, text in enumerate(said) if text], dtype=np.int64)
        units = [world.units[n] for n in rows]
        read = _read(
            world,
            units,
            [said[int(n)] for n in rows],
            [stand_in[unit.id] for unit in units],
            seed,
        )
        skills.append(read.skill)
        frames.append(_frame(describer, world, said, rows, read))
    skill = Skill.joined(skills)
    holds = verified(skill, FALSE_DISCOVERY_RATE)
    table = pl.concat(frames)
    described = table["text"] != ""
    status = np.full(table.height, "no description", dtype=object)
    status[described.to_numpy()] = np.where(holds, "verified", "not verified")
    return table.with_columns(status=pl.Series(status.tolist(), dtype=pl.String))


def with_recovery(answers: pl.DataFrame) -> pl.DataFrame:
    """Column `truth_f1`, and `recovered`: verified, and in its behaviour nearly as good as the truth.

    Null where there is nothing to recover, or nobody knows it.
    """
    ceiling = answers.filter(describer=TRUTH).select("unit", truth_f1="rule_f1")
    gain, best = pl.col("rule_f1") - pl.col("always_f1"), pl.col("truth_f1") - pl.col("always_f1")
    as_good = (pl.col("status") == "verified") & (gain > 0) & (gain >= ENOUGH * best)
    known = pl.col("always_f1").is_not_null()
    return answers.join(ceiling, on="unit", how="left", maintain_order="left").with_columns(
        recovered=pl.when(known).then(as_good.fill_null(False))
    )


def _read(
    world: World, units: list[PlantedUnit], said: list[str], others: list[str], seed: int
) -> _Read:
    """Thresholds from select rows, everything else from score rows; `others` are the floor's texts."""
    select = require(SelectRows, world.parts.select).rows
    score = require(ScoreRows, world.parts.score).rows
    both = np.concatenate([select, score])
    names = [unit.id for unit in units]
    shape = (len(units), len(both))
    fires = np.array([unit.fires[both] for unit in units], dtype=bool).reshape(shape)
    rule = np.array([unit.rule[both] for unit in units], dtype=bool).reshape(shape)
    before = len(select)

    def decided(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        read = world.reader.read(texts, [both] * len(texts))
        predicted = np.array(list(read), dtype=np.float64).reshape(shape)
        thresholds = fit_thresholds(predicted[:, :before], fires[:, :before])
        return predicted, decide(predicted[:, before:], thresholds)

    predicted, own = decided(said)
    floors = {_FLOOR: decided(others)[1]}
    skill = measure_skill(own, floors, fires[:, before:], units=names, seed=seed)
    return _Read(
        skill, best_f1(predicted[:, :before], fires[:, :before]), f1(own, rule[:, before:])
    )


def _stand_ins(
    worlds: Sequence[World], texts: Sequence[Sequence[str]], seed: int
) -> dict[str, str]:
    """For each described unit (by id) the description of another one, "" where there is none.

    The other has another description and another truth, and so has whoever shares either with it:
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
    ids = [unit for unit, _, _ in named]
    others = another_unit([str(n) for n in family], ids, seed=seed)
    return {
        unit: "" if n == NONE else named[n][1] for unit, n in zip(ids, others.tolist(), strict=True)
    }


def _frame(
    describer: str, world: World, said: Sequence[str], rows: np.ndarray, read: _Read
) -> pl.DataFrame:
    def spread(values: np.ndarray) -> pl.Series:
        column = np.full(len(said), np.nan)
        column[rows] = values
        return pl.Series(column).fill_nan(None)

    score = world.parts.score.rows
    planted = [unit.rule[score] for unit in world.units]
    known = np.array([bool(unit.truth) for unit in world.units], dtype=bool)
    rates = np.array([rule.mean() for rule in planted], dtype=np.float64)
    rule_f1 = np.zeros(len(said))  # who says nothing finds nothing
    rule_f1[rows] = np.nan_to_num(read.rule_f1)
    skill = read.skill
    floors = np.array(list(skill.floors.values()))
    n = np.zeros(len(said), dtype=np.int64)
    n[rows] = skill.n
    return pl.DataFrame(
        {
            "describer": [describer] * len(said),
            "unit": [unit.id for unit in world.units],
            "kind": [unit.kind for unit in world.units],
            "text": list(said),
            "value": spread(skill.value),
            "ci_low": spread(skill.low),
            "ci_high": spread(skill.high),
            "control": spread(np.fmax.reduce(floors, axis=0) if len(rows) else np.zeros(0)),
            "skill": spread(skill.skill),
            "skill_low": spread(skill.skill_low),
            "skill_high": spread(skill.skill_high),
            "p": spread(skill.p),
            "n": n,
            "stated": spread(read.stated),
            "rule_f1": pl.Series(np.where(known, rule_f1, np.nan)).fill_nan(None),
            "always_f1": pl.Series(np.where(known, 2 * rates / (1 + rates), np.nan)).fill_nan(None),
        },
        schema_overrides={"describer": pl.String, "unit": pl.String, "kind": pl.String,
                          "text": pl.String},
    )  # fmt: skip

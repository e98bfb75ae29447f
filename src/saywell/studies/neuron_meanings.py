"""Does one description do? Clusters of a unit's exemplars, described singly, against it."""

from __future__ import annotations

import numpy as np
import polars as pl
import scipy.sparse as sp

from saywell.data.parts import DESCRIBE, parts_of
from saywell.describers.associations import associate, length_strata
from saywell.describers.meanings import cluster_exemplars
from saywell.scorers.scoring import Task, score_units
from saywell.scorers.skill import Skill
from saywell.store.schemas import empty_table
from saywell.store.study import StudyWriter
from saywell.studies.neuron_descriptions import most_lifted
from saywell.studies.neuron_scores import Described, fires_on, tag_reader
from saywell.studies.neuron_subject import Subject, Tags

SINGLE = "one description"


def meaning_table(
    study: StudyWriter,
    subject: Subject,
    described: Described,
    examples: pl.DataFrame,
    tags: Tags,
    vectors: np.ndarray | None,
    seed: int,
) -> pl.DataFrame:
    """Table `meanings`: units whose exemplars fall into several clusters that can be described.

    A cluster gets the descriptors enriched in it, as a unit does; false discoveries are controlled
    over all clusters. Units with fewer than two described clusters, or whose clusters say the same,
    have one meaning and no rows. `difference` is what a part, or all parts together, add to the F1
    of the better of the one description and a constant answer.
    """
    if vectors is None or not described.ids:
        return empty_table("meanings")
    parts = parts_of(examples)
    place = {name: number for number, name in enumerate(examples["id"])}
    mine = study.exemplars.filter(pl.col("part") == DESCRIBE).sort("unit", "rank")
    by_unit = dict(mine.group_by("unit").agg("example").iter_rows())
    sets = [np.array([place[e] for e in by_unit.get(unit, [])], dtype=np.int64) for unit in described.ids]
    labels = cluster_exemplars(sets, vectors, parts.describe.rows, seed=seed)
    owner = [n for n, label in enumerate(labels) for _ in range(int(label.max(initial=0)) + 1)]
    number = [k for label in labels for k in range(int(label.max(initial=0)) + 1)]
    several = np.bincount(owner, minlength=len(sets)) > 1
    clusters = [(n, k) for n, k in zip(owner, number, strict=True) if several[n]]
    if not clusters:
        return empty_table("meanings")
    members = [sets[n][labels[n] == k] for n, k in clusters]
    named = _descriptors(members, examples, tags)
    of_unit: dict[int, list[int]] = {}
    for row, (n, _) in enumerate(clusters):
        if named[row].any():
            of_unit.setdefault(n, []).append(row)
    of_unit = {n: rows for n, rows in of_unit.items() if len({named[r].tobytes() for r in rows}) > 1}
    if not of_unit:
        return empty_table("meanings")

    # Every description there is: each unit's one, then its parts, then all of them together.
    asked, said = [], []
    for n, rows in of_unit.items():
        asked += [(n, part) for part in range(len(rows) + 1)]
        said += [named[rows].any(0), *named[rows]]
    unit = np.array([n for n, _ in asked])
    singles = described.names[described.own[unit]]
    predict = tag_reader(tags, np.concatenate([np.array(said), singles]))
    fires = fires_on(subject, [described.ids[n] for n in unit])
    task = Task(
        [f"{described.ids[n]}/{part}" for n, part in asked],
        predict,
        fires,
        parts.select,
        parts.score,
        floors={SINGLE: np.arange(len(asked)) + len(asked)},
    )
    skill = score_units(task, seed=seed).skill
    sizes = {(n, k): len(m) for (n, k), m in zip(clusters, members, strict=True)}
    return _table(study, described, asked, said, of_unit, clusters, sizes, skill)


def _descriptors(members: list[np.ndarray], examples: pl.DataFrame, tags: Tags) -> np.ndarray:
    """Clusters x descriptors: what each cluster is described by."""
    rows = np.flatnonzero((examples["part"] == DESCRIBE).to_numpy() & tags.known)
    column = np.full(examples.height, -1)
    column[rows] = np.arange(len(rows))
    pairs = [(n, column[p]) for n, places in enumerate(members) for p in places if column[p] >= 0]
    cluster, text = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    matrix = sp.csr_matrix((np.ones(len(cluster)), (cluster, text)), (len(members), len(rows)))
    return most_lifted(associate(matrix, tags.matrix[rows], length_strata(tags.lengths[rows])))


def _table(
    study: StudyWriter,
    described: Described,
    asked: list[tuple[int, int]],
    said: list[np.ndarray],
    of_unit: dict[int, list[int]],
    clusters: list[tuple[int, int]],
    sizes: dict[tuple[int, int], int],
    skill: Skill,
) -> pl.DataFrame:
    descriptors = study.table("descriptors")
    texts, ids = descriptors["text"].to_list(), descriptors["id"].to_list()
    rows = []
    for row, (n, part) in enumerate(asked):
        own = [clusters[r] for r in of_unit[n]]
        size = sum(sizes[c] for c in own) if part == 0 else sizes[own[part - 1]]
        names = np.flatnonzero(said[row])
        rows.append(
            (
                described.ids[n],
                part,
                ", ".join(texts[d] for d in names),
                [ids[d] for d in names],
                size,
                *(
                    _number(values[row])
                    for values in (
                        skill.value,
                        skill.low,
                        skill.high,
                        skill.floors[SINGLE],
                        skill.skill,
                        skill.skill_low,
                        skill.skill_high,
                    )
                ),
                int(skill.n[row]),
            )
        )
    return pl.DataFrame(rows, schema=empty_table("meanings").schema, orient="row")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

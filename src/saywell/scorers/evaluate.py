"""Descriptions put to the test: from who wrote and who reads to scores, floors and counterexamples.

This is the same for every question. Cheap readers read each distinct description once, on all held-out
examples; costly ones read of some units, drawn by their ids, a few dozen examples each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int64

from saywell.data.examples import Examples
from saywell.data.parts import SCORE, SELECT, Parts
from saywell.data.splits import hash_numbers
from saywell.description import Description
from saywell.errors import InputError
from saywell.readers.reader import AsksElse, Predict, Reader
from saywell.scorers.counterexamples import find_counterexamples
from saywell.scorers.deciding import deciding_readers, strictest_f1
from saywell.scorers.floors import ANOTHER, AnotherUnit, Described, Floor
from saywell.scorers.sampling import NONE, STRATA, Sample, sample_examples
from saywell.scorers.score_tables import AGAINST, FLOORED, SCORED, score_tables
from saywell.scorers.scoring import BLOCK, Fires, Scores, Tallied, Task, score_units, tally_units
from saywell.scorers.scoring import Predict as NumberedPredict
from saywell.scorers.skill import settle
from saywell.scorers.thresholds import decide
from saywell.store.files import temporary_folder

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.units.activations import Activations
_AT_ONCE = 512


class Budget(NamedTuple):
    """What a costly reader may read: so many units, and of each so many examples in each of the two parts."""

    units: int
    examples: int = 60


@dataclass(frozen=True)
class HeldOut:
    """What descriptions are held against: how units respond to select and score examples.

    `units` are all that anybody has described. Which of them fire where is read once from `activations`,
    and kept sparse. `exemplars` (unit, part, rank, example, span_start, span_end) are the strongest of the
    select and score examples, for readers that are asked about these.
    """

    activations: Activations
    examples: Examples
    units: Sequence[str]
    seed: int
    exemplars: pl.DataFrame | None = None
    meant: Mapping[str, Bool[np.ndarray, " examples"]] | None = None
    """Of units that were made to a plan, where each should fire."""

    @property
    def parts(self) -> Parts:
        """Who may see which example."""
        return self.examples.parts

    @property
    def lacks(self) -> bool:
        """Whether there is nothing to fit thresholds on, or nothing to score on."""
        return not len(self.parts.select) or not len(self.parts.score)

    def of(self, units: Sequence[str]) -> Responding:
        """How these units respond, by their place among them."""
        fired, unknown = self._seen
        place = np.array([self._place[unit] for unit in units], dtype=np.int64)
        meant = None if self.meant is None else np.array([self.meant[unit] for unit in units])
        return Responding(units, self.activations, fired[place], unknown[place], meant)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {unit: number for number, unit in enumerate(self.units)}

    @cached_property
    def _seen(self) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """Units x examples: which fire, and of which nothing is known."""
        rows = np.concatenate([self.parts.select.rows, self.parts.score.rows])
        placed = sp.csr_matrix(
            (np.ones(len(rows), dtype=bool), (rows, np.arange(len(rows)))),
            shape=(len(self.examples), len(rows)),
        )
        fired, unknown = self.activations.cells(self.units, rows)
        return (placed @ fired).T.tocsr(), (placed @ unknown).T.tocsr()


class Responding(NamedTuple):
    """How some units respond to examples; both are called by their places."""

    units: Sequence[str]
    activations: Activations
    fired: sp.csr_matrix
    unknown: sp.csr_matrix
    meant: Bool[np.ndarray, "units examples"] | None = None

    def fires(self, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Whether they fire; never where nobody knows."""
        return _cells(self.fired, numbers, rows)

    def known(self, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Whether anybody knows."""
        return ~_cells(self.unknown, numbers, rows)

    @property
    def should(self) -> Fires | None:
        """Whether they are meant to fire; None where there is no plan."""
        meant = self.meant
        if meant is None:
            return None
        return lambda numbers, rows: meant[numbers[:, None], rows]

    def values(self, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Signed so that more is stronger; NaN where nobody knows."""
        return self.activations.of([self.units[int(n)] for n in numbers], rows)


def _cells(matrix: sp.csr_matrix, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
    if rows.ndim == 1:
        return matrix[numbers][:, rows].toarray()
    each = np.repeat(numbers, rows.shape[1])
    return np.asarray(matrix[each, rows.ravel()], dtype=bool).reshape(rows.shape)


class Evaluated(NamedTuple):
    """What one describer's descriptions come to: rows of three tables, and by reader what they are from."""

    scores: pl.DataFrame
    floors: pl.DataFrame
    counterexamples: pl.DataFrame
    found: dict[str, Scores]
    select_f1: dict[str, Float[np.ndarray, " units"]]
    """By cheap reader the F1 of each description on select examples; NaN where it read nothing of it.

    It is for choosing, and no score.
    """


def evaluate(
    described: Described,
    readers: Sequence[tuple[Reader, Predict]],
    held: HeldOut,
    floors: Sequence[Floor],
    folder: Path,
    supporting: Collection[str] = (),
) -> Evaluated:
    """Tables `scores`, `floors` and `counterexamples` of what cheap readers make of descriptions.

    `scores` is what each reader makes of it alone, in their order: `decided` says who decides. Of these
    readers the one who does gives the counterexamples; `supporting` ones only where no other reads. Readings
    wait in `folder`, so that memory does not grow with descriptions times examples.
    """
    if not described.units or held.lacks:
        return Evaluated(SCORED.empty(), FLOORED.empty(), AGAINST.empty(), {}, {})
    responding, parts = held.of(described.units), held.parts
    found: dict[str, Scores] = {}
    read: dict[str, NumberedPredict] = {}
    with temporary_folder(folder, "readings") as readings:
        for number, (reader, predict) in enumerate(readers):
            texts, stand_ins = _stand_ins(described, floors, reader.name, held.seed)
            remembered = remember(predict, texts, parts, readings / str(number))
            task = Task(
                described.units,
                remembered,
                responding.fires,
                parts.select,
                parts.score,
                stand_ins,
                described.own,
                known=responding.known if responding.unknown.nnz else None,
                meant=responding.should,
            )
            found[reader.name] = settled(tally_units(task, seed=held.seed))
            read[reader.name] = remembered
        scores, floored = score_tables(described, found)
        claimed = [id for id, own in zip(described.ids, described.descriptions, strict=True) if own.claim]
        deciding = deciding_readers(scores, claimed=claimed, supporting=supporting)
        against = [AGAINST.empty()]
        for name, predict in read.items():
            own = np.flatnonzero([deciding[id] == name for id in described.ids])
            against.append(_counterexamples(described, own, predict, found[name].thresholds, held))
    select_f1 = {name: own.select_f1 for name, own in found.items()}
    return Evaluated(scores, floored, _in_order(pl.concat(against), described), found, select_f1)


def _in_order(against: pl.DataFrame, described: Described) -> pl.DataFrame:
    """By description, in their order, whoever read it."""
    place = {id: number for number, id in enumerate(described.ids)}
    order = pl.col("description").replace_strict(place, return_dtype=pl.Int64)
    return against.sort(order, maintain_order=True)


def settled(tallied: Tallied) -> Scores:
    """What a tally comes to."""
    return tallied.scored(settle(tallied.counted))


def evaluate_costly(
    described: Described,
    reader: Reader,
    held: HeldOut,
    resources: Resources,
    budget: Budget,
    others: Int64[np.ndarray, " described"] | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows of `scores` and `floors`: some descriptions as a reader sees them whose readings cost.

    Units are drawn by their ids. Of each part some examples are read of a unit, those that fire it more
    often than others, and every one counts for as many as it stands for; a reader that is asked something
    else is shown the unit's exemplars of select and score examples instead. The only floor that is
    read is another unit's description: `others` are numbers of distinct descriptions, as a cheap reader's
    `stand_ins`, -1 for none; without them they are drawn. Where there is nothing to show, there are no rows.
    """
    keys = hash_numbers(described.units, held.seed, "units that an LLM reads")
    some = np.sort(np.argsort(keys, kind="stable")[: budget.units])
    chosen = described.only(some)
    if not chosen.units or held.lacks:
        return SCORED.empty(), FLOORED.empty()
    if isinstance(reader, AsksElse):
        asked = _items(reader, chosen.units, held)
    else:
        asked = _sampled(chosen.units, held, budget.examples)
    if not all(sample.sizes.any() for sample in asked.samples):
        if resources.study is not None:
            resources.study.note(
                f"The reader {reader.name!r} had nothing to read: of no drawn unit are there examples to show"
                " in both of the parts select and score."
            )
        return SCORED.empty(), FLOORED.empty()
    if others is None:
        others = another_of(described, (AnotherUnit(),), held.seed)
        assert others is not None
    predict = reader.open(asked.examples, resources)
    task = Task(
        chosen.units,
        lambda numbers, rows: predict([described.distinct[n] for n in numbers], rows),
        asked.fires,
        asked.examples.parts.select,
        asked.examples.parts.score,
        {ANOTHER: others[some]},
        described.own[some],
        asked.samples,
        meant=asked.meant,
    )
    return score_tables(chosen, {reader.name: score_units(task, seed=held.seed)})


class _Asked(NamedTuple):
    """Which examples a costly reader is shown of each unit, and what is right."""

    examples: Examples
    fires: Fires
    samples: tuple[Sample, Sample]
    meant: Fires | None


def _sampled(units: Sequence[str], held: HeldOut, budget: int) -> _Asked:
    """Does the unit fire on these few of the examples?"""
    responding, names = held.of(units), np.asarray(held.examples.ids)
    every = np.arange(len(units))

    def sample(rows: np.ndarray) -> Sample:
        return sample_examples(
            responding.values(every, rows),
            responding.fires(every, rows),
            examples=names[rows].tolist(),
            units=units,
            budget=budget,
            seed=held.seed,
            known=responding.known(every, rows),
        )

    parts = held.parts
    samples = sample(parts.select.rows), sample(parts.score.rows)
    return _Asked(held.examples, responding.fires, samples, responding.should)


def _items(reader: AsksElse, units: Sequence[str], held: HeldOut) -> _Asked:
    """What a reader is shown who is asked something else, all of it."""
    if held.exemplars is None:
        raise InputError("this reader is shown exemplars of select and score examples: give exemplars=...")
    wanted = held.exemplars.filter(pl.col("unit").is_in(units), pl.col("part").is_in([SELECT, SCORE]))
    shown = reader.trial(wanted, held.examples, held.seed)
    place = {unit: number for number, unit in enumerate(units)}
    owner = np.array([place[unit] for unit in shown.table["unit"]], dtype=np.int64)
    right = shown.table["fires"].to_numpy()

    def whole(rows: np.ndarray) -> Sample:
        mine = [np.flatnonzero(owner[rows] == unit) for unit in range(len(units))]
        width = max(map(len, mine), default=0)
        sizes = np.zeros((len(units), STRATA), dtype=np.int64)
        asked = np.zeros((len(units), width), dtype=np.int64)
        strata = np.full((len(units), width), NONE, dtype=np.int8)
        for unit, items in enumerate(mine):
            sizes[unit, 0] = len(items)
            asked[unit, : len(items)] = items
            strata[unit, : len(items)] = 0
        return Sample(asked, strata, sizes)

    parts = shown.parts
    samples = (whole(parts.select.rows), whole(parts.score.rows))

    def fires(numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return right[rows]

    return _Asked(shown, fires, samples, None if held.meant is None else fires)


def another_of(
    described: Described, floors: Sequence[Floor], seed: int
) -> Int64[np.ndarray, " described"] | None:
    """For each unit the number of the distinct description that the floor of that name draws; -1: none."""
    found = next((floor.stand_ins(described, seed) for floor in floors if floor.name == ANOTHER), None)
    if found is None:
        return None
    drawn = found.whose[:, 0]
    return np.where(drawn < 0, NONE, described.own[drawn])


def choose(
    evaluated: Sequence[Evaluated],
    described: Sequence[Described],
    supporting: Collection[str] = (),
    beside: Collection[str] = (),
) -> list[str]:
    """Of several descriptions of a unit the id of the best, for each unit that any describer wrote of.

    The best has the highest F1 on select examples by the strictest cheap reader who may decide (see
    `strictest_f1`); of equals the first describer's. `beside`: describers whose words stand for no unit.
    """
    best: dict[str, tuple[float, str]] = {}
    for each, own in zip(evaluated, described, strict=True):
        claimed = np.array([bool(said.claim) for said in own.descriptions], dtype=bool)
        values = np.nan_to_num(strictest_f1(each.select_f1, claimed, supporting), nan=-1)
        for unit, id, value in zip(own.units, own.ids, values, strict=True):
            if own.describer in beside:
                continue
            if unit not in best or value > best[unit][0]:
                best[unit] = float(value), id
    return [id for _, id in best.values()]


def remember(predict: Predict, texts: Sequence[Description], parts: Parts, file: Path) -> NumberedPredict:
    """A reader that reads each description once, on every example that can be asked for.

    Its numbers wait in a file; descriptions are called by their place in `texts`.
    """
    places = np.concatenate([parts.select.rows, parts.score.rows])
    column = np.full(int(places.max(initial=0)) + 1, -1)
    column[places] = np.arange(len(places))
    kept: np.ndarray | None = None
    for start in range(0, len(texts), BLOCK):
        read = predict(texts[start : start + BLOCK], places)
        if kept is None:
            shape = (len(texts), len(places))
            kept = np.lib.format.open_memmap(file, "w+", read.dtype, shape)
        kept[start : start + BLOCK] = read
    assert kept is not None
    return lambda numbers, asked: np.asarray(kept[numbers][:, column[asked]])


def _stand_ins(
    described: Described, floors: Sequence[Floor], reader: str, seed: int
) -> tuple[list[Description], dict[str, np.ndarray]]:
    """All that a reader has to read, and by floor which of it stands in for each unit's own."""
    texts = list(described.distinct)
    numbers: dict[str, np.ndarray] = {}
    for floor in floors:
        if floor.readers is not None and reader not in floor.readers:
            continue
        stand_ins = floor.stand_ins(described, seed)
        if stand_ins is None:
            continue
        # A floor is a unit; what is read in its place is that unit's description.
        beyond = np.arange(len(stand_ins.texts)) + len(texts)
        number = np.concatenate([described.own, beyond, [NONE]])
        numbers[floor.name] = number[stand_ins.whose]
        texts += stand_ins.texts
    return texts, numbers


def _counterexamples(
    described: Described, some: np.ndarray, predict: NumberedPredict, thresholds: np.ndarray, held: HeldOut
) -> pl.DataFrame:
    """Table `counterexamples`, of some of the descriptions."""
    rows, names = held.parts.score.rows, np.asarray(held.examples.ids)
    responding = held.of(described.units)
    sign = dict(held.activations.units.select("id", pl.col("sign").fill_null(1)).iter_rows())
    frames = [AGAINST.empty()]
    for start in range(0, len(some), _AT_ONCE):
        numbers = some[start : start + _AT_ONCE]
        response = responding.values(numbers, rows)
        predicted = np.where(np.isnan(response), np.nan, predict(described.own[numbers], rows))
        said = decide(predicted, thresholds[numbers]) == 1
        against = find_counterexamples(predicted, said, response, responding.fires(numbers, rows))
        place = numbers[against.unit]
        units = [described.units[n] for n in place]
        frames.append(
            pl.DataFrame(
                {
                    "unit": units,
                    "description": [described.ids[n] for n in place],
                    "kind": against.kind,
                    "rank": against.rank,
                    "example": names[rows[against.column]],
                    # As it is stored: of a unit that goes low, the lowest is the strongest.
                    "activation": np.array([sign[unit] for unit in units], dtype=np.float32)
                    * response[against.unit, against.column],
                    "predicted": predicted[against.unit, against.column].astype(np.float64),
                },
                schema=AGAINST.types,
                strict=False,
            )
        )
    return pl.concat(frames)

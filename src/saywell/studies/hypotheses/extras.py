"""What a study of hypotheses adds once its statements are there: tests, shuffled targets, all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Float

from saywell.data.parts import DESCRIBE, SCORE, SELECT
from saywell.description import Description
from saywell.readers.reader import CLAIMS, Reader
from saywell.scorers.intervals import share_interval
from saywell.scorers.joint import joint
from saywell.selection.by_target import Choice
from saywell.store.study import Metric
from saywell.store.table import Table
from saywell.studies.described import description_id
from saywell.studies.hypotheses.evidence import evidence
from saywell.studies.hypotheses.items import Asked
from saywell.studies.hypotheses.pool import prices_of
from saywell.studies.hypotheses.search import Found
from saywell.studies.hypotheses.tables import CANDIDATES, EVIDENCE, HYPOTHESES, JOINT, SHUFFLED
from saywell.studies.hypotheses.testing import (
    VERIFIED,
    Written,
    hypothesis_table,
    put_to_test,
    shuffled_targets,
)
from saywell.studies.spine import Run
from saywell.units.responses import Sparse

ANY, FALSE, TOGETHER = (
    "searches with a finding",
    "hypotheses verified",
    "told by verified hypotheses together",
)
SURE = 0.5
"""From which reading on a reader says yes."""


@dataclass(frozen=True)
class Tests:
    """Puts the chosen statements to the test on score items, and the search itself on shuffled targets."""

    asked: Asked
    held_equal: Sequence[str]
    most: int
    shuffles: int
    readers: Sequence[Reader] = ()
    """Who reads in the place of the executor of claims, of the clearest `read_by_them` statements."""
    read_by_them: int = 0
    tables: Sequence[Table] = (HYPOTHESES, EVIDENCE, SHUFFLED, JOINT)

    def add(self, run: Run) -> list[Metric]:
        """The tables, and how many hypotheses are verified, and how many would be with nothing to find."""
        study, asked = run.study, self.asked
        readings = self._readings(run)

        def test() -> tuple[pl.DataFrame, pl.DataFrame]:
            return self._tested(run, readings)

        study.tables((HYPOTHESES, EVIDENCE), test)
        with run.resources.progress("shuffled targets", 1):
            study.table(SHUFFLED, lambda: self._shuffled(run, readings))
        study.table(
            JOINT, lambda: joint_table(asked, study.table(HYPOTHESES), self._chosen(run, readings), run)
        )
        return metrics(study.table(HYPOTHESES), study.table(SHUFFLED), study.table(JOINT))

    def _readings(self, run: Run) -> sp.csr_matrix:
        """Statements x texts, of all candidates."""
        responses = run.subject.activations.responses
        assert isinstance(responses, Sparse)
        return sp.csr_matrix(responses.matrix.T)

    def _chosen(self, run: Run, readings: sp.csr_matrix) -> Float[np.ndarray, "chosen examples"]:
        return readings[run.subject.activations.units["place"].to_numpy()].toarray()

    def _tested(self, run: Run, readings: sp.csr_matrix) -> tuple[pl.DataFrame, pl.DataFrame]:
        asked, source, units = self.asked, run.question.source, run.subject.activations.units
        assert isinstance(source, Found)
        said = dict(zip(source.table["unit"], source.statements, strict=True))
        number = {outcome.name: place for place, outcome in enumerate(asked.outcomes)}
        table = run.study.table(CANDIDATES)
        about = {
            unit: (number[name], z) for unit, name, z in table.select("unit", "outcome", "z").iter_rows()
        }
        ids = units["id"].to_list()
        choice = [Choice(place, *about[unit]) for unit, place in units.select("id", "place").iter_rows()]
        own, readers = (
            self._chosen(run, readings),
            [CLAIMS if said[unit].claim else "sentence-encoder" for unit in ids],
        )
        for reader in self.readers:
            self._read_by(reader, run, [said[unit].text for unit in ids], own, readers)
        names, statements = [description_id(unit, 0) for unit in ids], [said[unit] for unit in ids]
        written = Written(ids, names, statements, readers, self.held_equal)
        items = asked.items.read(own)
        tested = put_to_test(asked, choice, items, run.resources.seed)
        found = hypothesis_table(asked, choice, written, items, tested)
        place = {unit: n for n, unit in enumerate(ids)}
        ordered = own[[place[unit] for unit in found["unit"]]]
        return found, evidence(asked, found, ordered, run.resources)

    def _read_by(
        self, reader: Reader, run: Run, texts: Sequence[str], own: np.ndarray, readers: list[str]
    ) -> None:
        """What a reader says of the texts of score items, in the place of what was read before."""
        few = self.read_by_them if reader.costly else len(texts)
        rows = np.unique(np.concatenate(self.asked.rows_of(self.asked.items.of(SCORE))))
        predict = reader.open(run.examples, run.resources)
        said = predict([Description("", text) for text in texts[:few]], rows)
        for number, values in enumerate(said):
            own[number, rows] = np.where(np.isnan(values), np.nan, values >= SURE)
            readers[number] = reader.name

    def _shuffled(self, run: Run, readings: sp.csr_matrix) -> pl.DataFrame:
        source = run.question.source
        assert isinstance(source, Found)
        by_item = self.asked.items.read(readings)
        prices = prices_of(source.statements)
        return shuffled_targets(self.asked, by_item, prices, self.most, self.shuffles, run.resources.seed)


def joint_table(
    asked: Asked, hypotheses: pl.DataFrame, readings: Float[np.ndarray, "chosen examples"], run: Run
) -> pl.DataFrame:
    """Table `joint`: linear models of each outcome, fitted on describe and select items, told on score items.

    `readings` are of the units in the order of the run.
    """
    place = {unit: n for n, unit in enumerate(run.subject.activations.units["id"])}
    items = asked.items
    by_item = items.read(np.nan_to_num(readings))
    kept = [place[unit] for unit in hypotheses.filter(status=VERIFIED)["unit"]]
    vectors = run.resources.vectors(asked.examples)
    words = np.log1p([len(text.split()) for text in asked.examples.texts])[None]
    models = {
        "verified": by_item[kept].T,
        "tested": by_item.T,
        "probe": items.read(vectors.T).T,
        "length": items.read(words).T,
        **({"covariates": asked.covariates} if asked.covariates.shape[1] else {}),
    }
    train, test = items.of(DESCRIBE, SELECT), items.of(SCORE)
    rows = []
    for outcome in asked.outcomes:
        for name, features in models.items():
            found = joint(outcome, features, train, test, asked.clusters, seed=run.resources.seed)
            own = [None if np.isnan(value) else float(value) for value in found.interval[:3]]
            rows.append((outcome.name, name, found.measure, *own, found.interval.n, features.shape[1]))
    return JOINT.frame(rows)


def metrics(hypotheses: pl.DataFrame, shuffled: pl.DataFrame, together: pl.DataFrame) -> list[Metric]:
    """The headline: verified hypotheses beside those on shuffled targets, and how much they tell together."""
    found = []
    tested, verified = hypotheses.height, hypotheses.filter(status=VERIFIED).height
    own = share_interval(np.repeat([1.0, 0.0], [verified, tested - verified]))
    false, runs = shuffled["verified"].sum(), shuffled.height
    tried = int(shuffled["tested"].sum())
    beside: dict[str, float | None] = {"shuffled targets": int(false) / tried if tried else None}
    found.append(
        Metric(
            name=FALSE,
            value=_number(own.value),
            ci_low=_number(own.low),
            ci_high=_number(own.high),
            n=tested,
            of="hypotheses put to the test",
            controls=beside if runs else {},
            controls_n={"shuffled targets": tried} if runs else {},
        )
    )
    if runs:
        some = share_interval((shuffled["verified"] > 0).cast(pl.Float64).to_numpy())
        found.append(
            Metric(
                name=f"shuffled {ANY}",
                figure=ANY,
                value=some.value,
                ci_low=some.low,
                ci_high=some.high,
                n=runs,
                of="searches on shuffled targets",
                controls={"allowed": 0.05},
                higher_is_better=False,
            )
        )
    for (outcome,), own in together.group_by("outcome", maintain_order=True):
        by = {row["model"]: row for row in own.iter_rows(named=True)}
        mine = by["verified"]
        found.append(
            Metric(
                name=f"{mine['measure']} of {outcome}, {TOGETHER}",
                figure=mine["measure"],
                by={"outcome": str(outcome)},
                value=mine["value"],
                ci_low=mine["ci_low"],
                ci_high=mine["ci_high"],
                n=mine["n"],
                of="score items",
                controls={"length alone": by["length"]["value"]},
                reference={"probe on vectors": by["probe"]["value"]},
            )
        )
    return found


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

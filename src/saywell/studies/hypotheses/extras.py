"""What a study of hypotheses adds once its statements are there: tests, shuffled targets, tastes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Float, Int

from saywell.data.examples import Examples
from saywell.data.parts import DESCRIBE, SCORE, SELECT
from saywell.description import Description
from saywell.language_models import DryRun
from saywell.language_models.dry_run import made_up
from saywell.readers.reader import CLAIMS, Reader
from saywell.resources import Resources
from saywell.scorers.intervals import Interval, share_interval
from saywell.scorers.joint import joint
from saywell.selection.by_target import Choice
from saywell.store.study import Metric
from saywell.store.table import Table
from saywell.studies.described import description_id
from saywell.studies.hypotheses.evidence import evidence
from saywell.studies.hypotheses.items import Asked
from saywell.studies.hypotheses.preferences import argued, measurable, rater_weights
from saywell.studies.hypotheses.search import Found
from saywell.studies.hypotheses.tables import (
    ARGUED,
    BY_RATER,
    CANDIDATES,
    EVIDENCE,
    HYPOTHESES,
    JOINT,
    MEASURABLE,
    POWER,
    RATERS,
    SHUFFLED,
)
from saywell.studies.hypotheses.testing import (
    VERIFIED,
    Written,
    hypothesis_table,
    power_table,
    put_to_test,
    shuffled_targets,
)
from saywell.studies.spine import Run, keep_lost
from saywell.units.responses import Sparse

ANY, TOGETHER = "searches with a finding", "told by verified hypotheses together"
SURE = 0.5
"""From which reading on a reader says yes."""
CHOSEN_BY_SCORE = (
    "Which hypotheses are verified was decided on the same score items; all that were tested: {}."
)


@dataclass(frozen=True)
class Tests:
    """Puts the chosen statements to the test on score items, and the search itself on shuffled targets."""

    asked: Asked
    held_equal: Sequence[str]
    most: int
    shuffles: int
    readers: Sequence[Reader] = ()
    """Who reads in the place of whoever read for the search, of the clearest `read_by_them` statements."""
    read_by_them: int = 0
    tables: Sequence[Table] = (HYPOTHESES, EVIDENCE, POWER, SHUFFLED, JOINT)

    def add(self, run: Run) -> list[Metric]:
        """The tables, and how many hypotheses are verified, and how many would be with nothing to find."""
        study, asked = run.study, self.asked
        study.tables((HYPOTHESES, EVIDENCE), lambda: self._tested(run))
        found = study.table(HYPOTHESES)
        study.table(POWER, lambda: power_table(asked, found.height))
        with run.resources.progress("shuffled targets", 1):
            shuffled = study.table(SHUFFLED, lambda: self._shuffled(run))
        together = study.table(JOINT, lambda: joint_table(asked, found, chosen_readings(run), run))
        return metrics(found, shuffled, together)

    def expect(self, llm: DryRun, examples: Examples, resources: Resources) -> None:
        """Count what readers would be asked, of statements that are made up."""
        said = [made_up(n) for n in range(min(self.read_by_them, self.most))]
        with llm.guessing():
            for reader in self.readers:
                self._said(reader, examples, resources, said)

    def _tested(self, run: Run) -> tuple[pl.DataFrame, pl.DataFrame]:
        asked, source, ids = self.asked, run.question.source, run.subject.activations.units["id"].to_list()
        assert isinstance(source, Found)
        said = dict(zip(source.table["unit"], source.statements, strict=True))
        statements = [said[unit] for unit in ids]
        readers = [CLAIMS if one.claim else run.resources.sentence_encoder.name for one in statements]
        readings = chosen_readings(run)
        for reader in self.readers:
            few = self.read_by_them if reader.costly else len(ids)
            texts = [one.text for one in statements[:few]]
            self._read_by(reader, run, texts, readings)
            readers[:few] = [reader.name] * len(texts)
        keep_lost(run.study, run.resources)
        choice = choices(asked, run.study.table(CANDIDATES), ids)
        names = [description_id(unit, 0) for unit in ids]
        items = asked.items.read(readings)
        tested = put_to_test(asked, choice, items, run.resources.seed)
        written = Written(ids, names, statements, readers, self.held_equal)
        found = hypothesis_table(asked, choice, written, items, tested)
        place = {unit: n for n, unit in enumerate(ids)}
        ordered = readings[[place[unit] for unit in found["unit"]]]
        return found, evidence(asked, found, ordered, run.resources)

    def _read_by(self, reader: Reader, run: Run, texts: Sequence[str], readings: np.ndarray) -> None:
        """What a reader says of the texts of score items, in the place of what was read before."""
        rows, said = self._said(reader, run.examples, run.resources, texts)
        for number, values in enumerate(said):
            readings[number, rows] = np.where(np.isnan(values), np.nan, values >= SURE)

    def _said(
        self, reader: Reader, examples: Examples, resources: Resources, texts: Sequence[str]
    ) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "statements rows"]]:
        """The texts of score items, and what a reader makes of each."""
        rows = np.unique(np.concatenate(self.asked.rows_of(self.asked.items.of(SCORE))))
        return rows, reader.open(examples, resources)([Description("", text) for text in texts], rows)

    def _shuffled(self, run: Run) -> pl.DataFrame:
        source = run.question.source
        assert isinstance(source, Found)
        by_item, said = self.asked.items.read(all_readings(run)), source.statements
        return shuffled_targets(self.asked, by_item, said, self.most, self.shuffles, run.resources.seed)


@dataclass(frozen=True)
class Tastes:
    """Of pairs what varies, and which answers to doubt; of raters what each goes by."""

    asked: Asked

    @property
    def tables(self) -> Sequence[Table]:
        """Those that these items allow."""
        of_pairs = [MEASURABLE, ARGUED] if self.asked.items.pairs else []
        return [*of_pairs, *([RATERS, BY_RATER] if self.asked.raters is not None else [])]

    def add(self, run: Run) -> list[Metric]:
        """The tables."""
        if self.asked.items.pairs:
            run.study.table(MEASURABLE, lambda: self._measurable(run))
            run.study.table(ARGUED, lambda: self._argued(run))
        if self.asked.raters is not None:
            run.study.tables((RATERS, BY_RATER), lambda: self._raters(run))
        return []

    def _measurable(self, run: Run) -> pl.DataFrame:
        null = self.asked.null(0, self.asked.items.of(DESCRIBE, SELECT))
        if null is None:
            return MEASURABLE.empty()
        differences = sp.csc_matrix(self.asked.items.read(all_readings(run)))[:, null.rows]
        return measurable(run.study.table(CANDIDATES), sp.csr_matrix(differences), null)

    def _argued(self, run: Run) -> pl.DataFrame:
        outcome = self.asked.outcomes[0]
        if outcome.kind != "binary":
            return ARGUED.empty()
        return argued(self.asked, outcome, *self._verified(run, outcome.name), seed=run.resources.seed)

    def _raters(self, run: Run) -> tuple[pl.DataFrame, pl.DataFrame]:
        seed = run.resources.seed
        found = [
            rater_weights(self.asked, outcome, *self._verified(run, outcome.name), seed=seed)
            for outcome in self.asked.outcomes
        ]
        weights, gains = zip(*found, strict=True)
        return pl.concat(weights), pl.concat(gains)

    def _verified(self, run: Run, outcome: str) -> tuple[list[str], Float[np.ndarray, "some items"]]:
        """Names of the verified hypotheses about an outcome, and what is read of all items for each."""
        table = run.study.table(HYPOTHESES).filter(outcome=outcome, status=VERIFIED)
        place = {unit: n for n, unit in enumerate(run.subject.activations.units["id"])}
        own = chosen_readings(run)[[place[unit] for unit in table["unit"]]]
        return table["hypothesis"].to_list(), self.asked.items.read(own)


def all_readings(run: Run) -> sp.csr_matrix:
    """Statements x texts, of all candidates."""
    responses = run.subject.activations.responses
    assert isinstance(responses, Sparse)
    return sp.csr_matrix(responses.matrix.T)


def chosen_readings(run: Run) -> Float[np.ndarray, "chosen examples"]:
    """Of the statements that were chosen, in the order of the units."""
    return all_readings(run)[run.subject.activations.units["place"].to_numpy()].toarray()


def choices(asked: Asked, candidates: pl.DataFrame, units: Sequence[str]) -> list[Choice]:
    """Table `candidates` as the choice that it holds, in the order of these units."""
    number = {outcome.name: place for place, outcome in enumerate(asked.outcomes)}
    rows = enumerate(candidates.select("unit", "outcome", "z").iter_rows())
    known = {unit: Choice(place, number[outcome], z) for place, (unit, outcome, z) in rows}
    return [known[unit] for unit in units]


def joint_table(
    asked: Asked, hypotheses: pl.DataFrame, readings: Float[np.ndarray, "chosen examples"], run: Run
) -> pl.DataFrame:
    """Table `joint`: linear models of each outcome, fitted on describe and select items, told on score items.

    `readings` are of the units in the order of the run.
    """
    place = {unit: n for n, unit in enumerate(run.subject.activations.units["id"])}
    items = asked.items
    by_item = items.read(readings)
    vectors = run.resources.vectors(asked.examples)
    words = np.log1p([len(text.split()) for text in asked.examples.texts])[None]
    verified = [place[unit] for unit in hypotheses.filter(status=VERIFIED)["unit"]]
    models = {
        "verified": by_item[verified].T,
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
            figures = [None if np.isnan(value) else float(value) for value in found.interval[:3]]
            rows.append((outcome.name, name, found.measure, *figures, found.interval.n, features.shape[1]))
    return JOINT.frame(rows)


def metrics(hypotheses: pl.DataFrame, shuffled: pl.DataFrame, together: pl.DataFrame) -> list[Metric]:
    """The headline: verified hypotheses beside those on shuffled targets, and how much they tell together."""
    counts, verified = hypotheses.height, hypotheses.filter(status=VERIFIED).height
    share = share_interval(np.repeat([1.0, 0.0], [verified, counts - verified]))
    tried, false = int(shuffled["tested"].sum()), int(shuffled["verified"].sum())
    beside: dict[str, float | None] = {"shuffled targets": false / tried if tried else None}
    found = [
        Metric(
            name="hypotheses verified",
            **_figures(share),
            of="hypotheses put to the test",
            controls=beside if shuffled.height else {},
            controls_n={"shuffled targets": tried} if shuffled.height else {},
        )
    ]
    if shuffled.height:
        some = share_interval((shuffled["verified"] > 0).cast(pl.Float64).to_numpy())
        found.append(
            Metric(
                name=f"shuffled {ANY}",
                figure=ANY,
                **_figures(some),
                of="searches on shuffled targets",
                controls={"allowed": 0.05},
                higher_is_better=False,
            )
        )
    for (outcome,), own in together.group_by("outcome", maintain_order=True):
        by = {row["model"]: row for row in own.iter_rows(named=True)}
        mine, every = by["verified"], by["tested"]["value"]
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
                note="" if every is None else CHOSEN_BY_SCORE.format(f"{every:.2f}"),
            )
        )
    return found


def _figures(interval: Interval) -> dict[str, Any]:
    """Value, interval and n of a metric; None for what is not known."""
    value, low, high = (None if np.isnan(number) else float(number) for number in interval[:3])
    return {"value": value, "ci_low": low, "ci_high": high, "n": interval.n}

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
from saywell.encoders.sentence import encode_in_chunks
from saywell.errors import SaywellError
from saywell.language_models import DryRun
from saywell.language_models.dry_run import made_up
from saywell.readers.reader import CLAIMS, Reader
from saywell.resources import Resources
from saywell.scorers.intervals import Interval, share_interval
from saywell.scorers.joint import joint
from saywell.selection.by_target import Choice
from saywell.store.study import Metric
from saywell.store.table import Table
from saywell.studies.described import DESCRIPTIONS, description_id
from saywell.studies.hypotheses.evidence import evidence
from saywell.studies.hypotheses.items import Asked
from saywell.studies.hypotheses.pool import Statement
from saywell.studies.hypotheses.preferences import argued, measurable, rater_weights
from saywell.studies.hypotheses.search import statement_table, statements_of
from saywell.studies.hypotheses.stored import stored_asked
from saywell.studies.hypotheses.tables import (
    ARGUED,
    BY_RATER,
    EVIDENCE,
    HYPOTHESES,
    JOINT,
    MEASURABLE,
    POWER,
    RATERS,
    READINGS,
    SHUFFLED,
    STATEMENTS,
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
MODELS = ("verified", "tested", "probe", "length", "covariates")
MOST_PROBED = 20_000
"""Items of which vectors are probed at most."""
SURE = 0.5
"""From which reading on a reader says yes."""
CHOSEN_BY_SCORE = (
    "Which hypotheses are verified was decided on the same score items; all that were tested: {}."
)


@dataclass(frozen=True)
class Chosen:
    """Statements, and which of them the target chooses: made with the units, derived from what is read."""

    most: int
    tables: Sequence[Table] = (STATEMENTS, DESCRIPTIONS)

    def add(self, run: Run) -> list[Metric]:
        """Nothing more."""
        return []

    def again(self, run: Run) -> tuple[Sequence[pl.DataFrame], list[Metric]]:
        """The statements, and that chosen ones are described by what they say."""
        said, asked = statements_of(run.study.table(STATEMENTS)), stored_asked(run.study, run.examples)
        table = statement_table(asked, said, all_readings(run), self.most)
        ids = [description_id(unit, 0) for unit in table["unit"]]
        described = table.with_columns(id=pl.Series(ids, dtype=pl.String)).filter("chosen")
        return [table, described.select("id", "text", "claim")], []


@dataclass(frozen=True)
class Tests:
    """Puts the chosen statements to the test on score items, and the search itself on shuffled targets."""

    held_equal: Sequence[str]
    most: int
    shuffles: int
    encoder: str
    """Who reads words that make no claim, by name."""
    readers: Sequence[Reader] = ()
    """Who reads in the place of whoever read for the search, of the clearest `read_by_them` statements."""
    read_by_them: int = 0
    tables: Sequence[Table] = (HYPOTHESES, EVIDENCE, POWER, SHUFFLED, JOINT)

    def add(self, run: Run) -> list[Metric]:
        """The tables, and how many hypotheses are verified, and how many would be with nothing to find."""
        study, asked = run.study, stored_asked(run.study, run.examples)
        if self.readers:
            study.table(READINGS, lambda: self._read(run))

        def test() -> tuple[pl.DataFrame, pl.DataFrame]:
            tests, readings = self._tested(run, asked)
            return tests, evidence(asked, tests, readings, run.resources)

        study.tables((HYPOTHESES, EVIDENCE), test)
        found = study.table(HYPOTHESES)
        study.table(POWER, lambda: power_table(asked, found.height))
        with run.resources.progress("shuffled targets", 1):
            shuffled = study.table(SHUFFLED, lambda: self._shuffled(run, asked))
        together = study.table(JOINT, lambda: joint_table(asked, found, chosen_readings(run), run))
        return metrics(found, shuffled, together)

    def again(self, run: Run) -> tuple[Sequence[pl.DataFrame], list[Metric]]:
        """All of it from the statements, what was read for each and the targets.

        Without what evidence points at, where a claim asks an encoder that cannot be had here.
        """
        asked = stored_asked(run.study, run.examples)
        tests, readings = self._tested(run, asked)
        try:
            shown = evidence(asked, tests, readings, run.resources)
        except SaywellError:
            shown = evidence(asked, tests, readings, run.resources, pointing=False)
            shown = shown.drop("span_start", "span_end")
        shuffled = self._shuffled(run, asked)
        together = joint_table(asked, tests, chosen_readings(run), run)
        power = power_table(asked, tests.height)
        return [tests, shown, power, shuffled, together], metrics(tests, shuffled, together)

    def expect(self, llm: DryRun, examples: Examples, resources: Resources) -> None:
        """Count what readers would be asked, of statements that are made up."""
        said = [made_up(n) for n in range(min(self.read_by_them, self.most))]
        with llm.guessing():
            for reader in self.readers:
                _said(reader, examples, resources, said)

    def _read(self, run: Run) -> pl.DataFrame:
        """What readers say of the texts of score items; of several the last one counts."""
        said, ids = _statements(run), run.subject.activations.units["id"].to_list()
        rows: dict[str, list[tuple[object, ...]]] = {}
        for reader in self.readers:
            few = self.read_by_them if reader.costly else len(ids)
            places, values = _said(reader, run.examples, run.resources, [one.text for one in said[:few]])
            texts = [run.examples.ids[place] for place in places]
            for unit, own in zip(ids, values, strict=False):
                holds = [None if np.isnan(value) else bool(value >= SURE) for value in own]
                rows[unit] = [(unit, reader.name, *each) for each in zip(texts, holds, strict=True)]
        keep_lost(run.study, run.resources)
        return READINGS.frame([row for own in rows.values() for row in own])

    def _tested(self, run: Run, asked: Asked) -> tuple[pl.DataFrame, Float[np.ndarray, "tested examples"]]:
        """Table `hypotheses`, and what was read of all texts for each of its rows."""
        ids, statements = run.subject.activations.units["id"].to_list(), _statements(run)
        readers = [CLAIMS if one.claim else self.encoder for one in statements]
        readings = chosen_readings(run)
        place = {unit: n for n, unit in enumerate(ids)}
        if READINGS.name in run.study.manifest.tables:
            text = {id: row for row, id in enumerate(run.examples.ids)}
            for unit, reader, example, holds in run.study.table(READINGS).iter_rows():
                readers[place[unit]] = reader
                readings[place[unit], text[example]] = np.nan if holds is None else holds
        choice = choices(asked, run.study.table(STATEMENTS), ids)
        names = [description_id(unit, 0) for unit in ids]
        items = asked.items.read(readings)
        tested = put_to_test(asked, choice, items, run.resources.seed)
        written = Written(ids, names, statements, readers, self.held_equal)
        found = hypothesis_table(asked, choice, written, items, tested)
        return found, readings[[place[unit] for unit in found["unit"]]]

    def _shuffled(self, run: Run, asked: Asked) -> pl.DataFrame:
        said = statements_of(run.study.table(STATEMENTS))
        by_item = asked.items.read(all_readings(run))
        return shuffled_targets(asked, by_item, said, self.most, self.shuffles, run.resources.seed)


@dataclass(frozen=True)
class Tastes:
    """Of pairs what varies, and which answers to doubt; of raters what each goes by."""

    pairs: bool
    by_rater: bool

    @property
    def tables(self) -> Sequence[Table]:
        """Those that these items allow."""
        return [*[MEASURABLE, ARGUED] * self.pairs, *[RATERS, BY_RATER] * self.by_rater]

    def add(self, run: Run) -> list[Metric]:
        """The tables."""
        if self.tables:
            asked = stored_asked(run.study, run.examples)
            if self.pairs:
                run.study.table(MEASURABLE, lambda: _measurable(run, asked))
                run.study.table(ARGUED, lambda: _argued(run, asked))
            if self.by_rater:
                run.study.tables((RATERS, BY_RATER), lambda: _raters(run, asked))
        return []

    def again(self, run: Run) -> tuple[Sequence[pl.DataFrame], list[Metric]]:
        """The tables, from the hypotheses that are stored."""
        asked = stored_asked(run.study, run.examples)
        of_pairs = [_measurable(run, asked), _argued(run, asked)] if self.pairs else []
        return [*of_pairs, *(_raters(run, asked) if self.by_rater else ())], []


def _measurable(run: Run, asked: Asked) -> pl.DataFrame:
    null = asked.null(0, asked.items.of(DESCRIBE, SELECT))
    if null is None:
        return MEASURABLE.empty()
    differences = sp.csc_matrix(asked.items.read(all_readings(run)))[:, null.rows]
    return measurable(run.study.table(STATEMENTS), sp.csr_matrix(differences), null)


def _argued(run: Run, asked: Asked) -> pl.DataFrame:
    outcome = asked.outcomes[0]
    if outcome.kind != "binary":
        return ARGUED.empty()
    verified = run.study.table(HYPOTHESES).filter(outcome=outcome.name, status=VERIFIED)
    return argued(asked, outcome, *_read_for(run, asked, verified), seed=run.resources.seed)


def _raters(run: Run, asked: Asked) -> tuple[pl.DataFrame, pl.DataFrame]:
    """By all that was tested and repeats nothing: what half of the raters love is not verified of all."""
    tested = run.study.table(HYPOTHESES).filter(pl.col("repeats").is_null(), pl.col("p").is_not_null())
    found = [
        rater_weights(
            asked,
            outcome,
            *_read_for(run, asked, tested.filter(outcome=outcome.name)),
            seed=run.resources.seed,
        )
        for outcome in asked.outcomes
    ]
    weights, gains = zip(*found, strict=True)
    return pl.concat(weights), pl.concat(gains)


def _read_for(
    run: Run, asked: Asked, hypotheses: pl.DataFrame
) -> tuple[list[str], Float[np.ndarray, "some items"]]:
    """Names of hypotheses, and what is read of all items for each."""
    place = {unit: n for n, unit in enumerate(run.subject.activations.units["id"])}
    own = chosen_readings(run)[[place[unit] for unit in hypotheses["unit"]]]
    return hypotheses["hypothesis"].to_list(), asked.items.read(own)


def _said(
    reader: Reader, examples: Examples, resources: Resources, texts: Sequence[str]
) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "statements rows"]]:
    """The texts of score items, and what a reader makes of each."""
    rows = np.sort(examples.parts.score.rows)
    return rows, reader.open(examples, resources)([Description("", text) for text in texts], rows)


def _statements(run: Run) -> list[Statement]:
    """What the units say, in their order."""
    table = run.study.table(STATEMENTS)
    said = dict(zip(table["unit"], statements_of(table), strict=True))
    return [said[unit] for unit in run.subject.activations.units["id"]]


def all_readings(run: Run) -> sp.csr_matrix:
    """Statements x texts, of all candidates."""
    responses = run.subject.activations.responses
    assert isinstance(responses, Sparse)
    return sp.csr_matrix(responses.matrix.T)


def chosen_readings(run: Run) -> Float[np.ndarray, "chosen examples"]:
    """Of the statements that were chosen, in the order of the units."""
    return all_readings(run)[run.subject.activations.units["place"].to_numpy()].toarray()


def choices(asked: Asked, candidates: pl.DataFrame, units: Sequence[str]) -> list[Choice]:
    """Table `statements` as the choice that it holds, in the order of these units."""
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
    verified = [place[unit] for unit in hypotheses.filter(status=VERIFIED)["unit"]]
    models = {
        "verified": by_item[verified].T,
        "tested": by_item.T,
        "length": asked.length,
        **({"covariates": asked.covariates} if asked.covariates.shape[1] else {}),
    }
    train, test = items.of(DESCRIBE, SELECT), items.of(SCORE)
    told = {name: (features, train, test) for name, features in models.items()}
    told["probe"] = _probe(asked, run, train, test)
    rows = []
    for outcome in asked.outcomes:
        for name in (name for name in MODELS if name in told):
            features, seen, unseen = told[name]
            found = joint(outcome, features, seen, unseen, asked.clusters, seed=run.resources.seed)
            figures = [None if np.isnan(value) else float(value) for value in found.interval[:3]]
            rows.append((outcome.name, name, found.measure, *figures, found.interval.n, features.shape[1]))
    return JOINT.frame(rows)


def _probe(
    asked: Asked, run: Run, train: Int[np.ndarray, " some"], test: Int[np.ndarray, " others"]
) -> tuple[Float[np.ndarray, "items width"], Int[np.ndarray, " some"], Int[np.ndarray, " others"]]:
    """Sentence vectors of items, and which a probe is fitted on and tells: some, where there are many.

    A probe of some hundred numbers is as good on 10,000 items as on ten times as many, whose vectors would
    take longer than all the rest.
    """
    items = asked.items
    if len(items) <= MOST_PROBED:
        return items.read(run.resources.vectors(asked.examples).T).T, train, test
    random = np.random.default_rng(run.resources.seed)
    seen, unseen = (np.sort(random.permutation(own)[: MOST_PROBED // 2]) for own in (train, test))
    rows = np.unique(np.concatenate([side for own in (seen, unseen) for side in asked.rows_of(own)]))
    texts = asked.examples.texts
    with run.resources.progress("sentence vectors of some", len(rows)) as advance:
        encoder = run.resources.sentence_encoder
        found = encode_in_chunks(encoder, [texts[row] for row in rows], progress=advance)
    place = np.zeros(len(asked.examples), dtype=np.int64)
    place[rows] = np.arange(len(rows))
    vectors = found[place[items.first]]
    if items.second is not None:
        vectors = vectors - found[place[items.second]]
    return vectors, seen, unseen


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

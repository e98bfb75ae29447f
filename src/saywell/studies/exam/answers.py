"""How descriptions of planted units fare: verified or not, and whether they behave as the truth does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from saywell.data.parts import SCORE
from saywell.readers.reader import AsksElse
from saywell.scorers.score_tables import FLOORED
from saywell.scorers.skill import ALWAYS
from saywell.store.study import Metric
from saywell.store.table import Table
from saywell.studies.exam.sitting import TRUTH, Sitting
from saywell.studies.exam.summary import EXAM_SUMMARY, summarize
from saywell.studies.spine import Run
from saywell.studies.verified import VERIFIED
from saywell.units.planted.source import Planted

ENOUGH = 0.8
"""Share of the true description's gain over "always" that a recovered one reaches at least."""
LITTLE = 0.5
"""Share of it below which a verified description does not say what the rule says."""
EXAM_UNITS = Table(
    "exam_units",
    {
        "unit": pl.String,
        "kind": pl.String,
        "truth": pl.String,
        "claim": pl.String,
        "fires": pl.Float64,
        "rule": pl.Float64,
        "texts": pl.Int64,
    },
    key=("unit",),
    optional=frozenset({"claim"}),
)
"""What an exam asks: `truth` in words ("" nothing to describe, null unknown) and as a claim (null where none
says it exactly), the shares of texts (or pictures) on which the unit fires and on which its true rule
holds, and how many these are."""
_FIGURES = ("value", "ci_low", "ci_high", "control", "skill", "skill_low", "skill_high", "p")
EXAM_ANSWERS = Table(
    "exam_answers",
    {
        "reader": pl.String,
        "describer": pl.String,
        "unit": pl.String,
        "kind": pl.String,
        "beyond": pl.Boolean,
        "text": pl.String,
        **dict.fromkeys(_FIGURES, pl.Float64),
        "n": pl.Int64,
        "stated": pl.Float64,
        "rule_f1": pl.Float64,
        "always_f1": pl.Float64,
        "status": pl.String,
        "truth_f1": pl.Float64,
        "readable": pl.Boolean,
        "recovered": pl.Boolean,
        "off_rule": pl.Boolean,
        "decides": pl.Boolean,
        "localised": pl.Float64,
        "by_chance": pl.Float64,
    },
    key=("reader", "describer", "unit"),
    optional=frozenset({"beyond", "decides", "localised", "by_chance"}),
    version=2,
)
"""What a describer said of a unit and how it fared by a reader. value, control and skill are against what the
unit does on score texts, `stated` the same F1 on select texts; rule_f1, truth_f1 and always_f1 are against
the true rule, of this text, the true description and "always". `beyond`: no claim says the rule exactly; null
where nobody knows a rule, or there is none. `status` is what this reader alone makes of it, whoever
`decides`; `localised` is how far it points at the words that the rule is about (see table `scores`)."""
EXAM_COSTS = Table(
    "exam_costs", {"describer": pl.String, "calls": pl.Int64, "seconds": pl.Float64}, key=("describer",)
)
"""What answers cost; the seconds are this machine's and differ from run to run."""


@dataclass(frozen=True)
class Marks:
    """The exam's tables, from the scores of a study of planted units."""

    source: Planted
    tables: Sequence[Table] = (EXAM_UNITS, EXAM_ANSWERS, EXAM_SUMMARY, EXAM_COSTS)

    def add(self, run: Run) -> list[Metric]:
        """No figures beside those of any study: the summary says what they come to."""
        run.study.tables(self.tables, lambda: self._make(run))
        return []

    def _make(self, run: Run) -> tuple[pl.DataFrame, ...]:
        answers = with_recovery(self._answers(run)).select(list(EXAM_ANSWERS.columns))
        sat = [each for each in run.question.describers if isinstance(each, Sitting)]
        costs = EXAM_COSTS.frame([(each.name, each.calls, each.seconds) for each in sat])
        return self._units(), answers, summarize(answers, run.resources.seed), costs

    def _units(self) -> pl.DataFrame:
        rows = []
        for unit in self.source.planted:
            known = ~np.isnan(unit.response)
            shares = (float(what[known].mean()) for what in (unit.fires, unit.rule))
            rows.append((unit.id, unit.kind, unit.truth, unit.claim or None, *shares, int(known.sum())))
        return EXAM_UNITS.frame(rows)

    def _answers(self, run: Run) -> pl.DataFrame:
        """A row for each reader, describer and unit, without what `with_recovery` adds."""
        score, rows = run.examples.parts.score.rows, []
        for unit in self.source.planted:
            rate = float(unit.rule[score[~np.isnan(unit.response[score])]].mean()) if unit.truth else None
            always_ = None if rate is None else 2 * rate / (1 + rate)
            rows.append((unit.id, unit.kind, not unit.claim if unit.truth else None, always_))
        columns = dict(unit=pl.String, kind=pl.String, beyond=pl.Boolean, rule=pl.Float64)
        units = pl.DataFrame(rows, schema=columns, orient="row")
        by = ["description", "reader"]
        always = run.study.table(FLOORED).filter(floor=ALWAYS).select(*by, always="value")
        scores = run.study.scores.join(always, on=by, how="left").drop("unit", "describer", "status")
        verified = run.study.scores.filter("verifies").select(*by, verified=True)
        said = run.study.descriptions.select("unit", "describer", "text", description="id")
        found = []
        for reader in run.question.readers:
            asked, always_f1 = units, pl.col("rule")
            if isinstance(reader, AsksElse):
                # It is right about marks, which are there where the words are known that a rule is about.
                shown = run.subject.exemplars.filter(pl.col("part") == SCORE, pl.col("span_start") >= 0)
                asked = units.filter(pl.col("unit").is_in(shown["unit"].to_list()))
                always_f1 = pl.col("always").max().over("unit")
            own = said.with_columns(reader=pl.lit(reader.name)).join(asked, on="unit", maintain_order="left")
            for more in (scores, verified):
                own = own.join(more, on=by, how="left", maintain_order="left")
            known, silent = pl.col("rule").is_not_null(), pl.col("text") == ""
            found.append(
                own.with_columns(
                    pl.col("n").fill_null(0),
                    # Who says nothing finds nothing.
                    rule_f1=pl.when(known).then(pl.col("meant").fill_null(0.0)),
                    always_f1=pl.when(known).then(always_f1),
                    status=pl.when(silent)
                    .then(pl.lit("no description"))
                    .when("verified")
                    .then(pl.lit(VERIFIED))
                    .otherwise(pl.lit("not verified")),
                )
            )
        return pl.concat(found)


def with_recovery(answers: pl.DataFrame) -> pl.DataFrame:
    """Columns `truth_f1`, `readable`, `recovered` and `off_rule`, from the true descriptions' rows.

    `readable`: the true description itself is verified; what the reader cannot read of the truth, it
    cannot tell a describer either. How far a description gets is its F1 against the rule less that
    of "always". `recovered`: verified, and it gets nearly as far as the truth; asked of readable units
    only. `off_rule`: verified, and it does not get half as far as the truth, or half of the
    way to a perfect answer where the truth cannot be read: true of the unit, but not what the rule
    says. Null where nobody knows the rule, and `off_rule` also where nothing was verified.
    """
    ceiling = answers.filter(describer=TRUTH).select(
        "reader", "unit", truth_f1="rule_f1", readable=pl.col("status") == "verified"
    )
    always, known = pl.col("always_f1"), pl.col("always_f1").is_not_null()
    verified_ = pl.col("status") == "verified"
    gain, best = pl.col("rule_f1") - always, pl.col("truth_f1") - always
    reach = pl.when("readable").then(best).otherwise(1 - always)
    as_good = verified_ & (gain > 0) & (gain >= ENOUGH * best)
    return answers.join(ceiling, on=["reader", "unit"], how="left", maintain_order="left").with_columns(
        readable=pl.when(known).then("readable"),
        recovered=pl.when(known & pl.col("readable")).then(as_good.fill_null(False)),
        off_rule=pl.when(known & verified_).then(gain < LITTLE * reach),
    )

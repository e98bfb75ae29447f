"""What the study of neurons adds to the loop: who carries what, and what became of gold tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from saywell.data.parts import DESCRIBE, SELECT
from saywell.describers.associations import association_rows, associations_of
from saywell.describers.descriptors.tables import DESCRIPTORS
from saywell.scorers.intervals import bootstrap_f1, confusion, f1_of
from saywell.store.study import Metric, deciding_rows
from saywell.store.table import Table
from saywell.studies.spine import Run
from saywell.studies.verified import VERIFIED

ASSOCIATIONS = Table(
    "associations",
    {
        "unit": pl.String,
        "part": pl.String,
        "descriptor": pl.String,
        "hits": pl.Int32,
        "exemplars": pl.Int32,
        "composition": pl.Float64,
        "lift": pl.Float64,
        "p": pl.Float64,
        "q": pl.Float64,
        "composed": pl.Boolean,
        "enriched": pl.Boolean,
    },
    key=("unit", "part", "descriptor"),
)
"""A descriptor that dominates (composition) or is enriched among a unit's exemplars of a part."""
RECOVERED = Table(
    "recovered",
    {
        "gold": pl.String,
        "descriptor": pl.String,
        "text": pl.String,
        "value": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "control": pl.Float64,
        "n": pl.Int64,
        "units": pl.Int64,
        "found": pl.Boolean,
    },
    key=("gold",),
)
"""Gold tags, and for each the found descriptor that comes closest. It was chosen on describe examples; the
figures are from score examples. `control` is the F1 of calling it on every example."""


@dataclass(frozen=True)
class AssociationsOf:
    """Table `associations`, of describe and select exemplars."""

    threshold: float
    tables: Sequence[Table] = (ASSOCIATIONS,)

    def add(self, run: Run) -> list[Metric]:
        """No figures."""
        run.study.table(ASSOCIATIONS, lambda: self._table(run))
        return []

    def again(self, run: Run) -> tuple[list[pl.DataFrame], list[Metric]]:
        """The table, not stored."""
        return [self._table(run)], []

    def _table(self, run: Run) -> pl.DataFrame:
        tags, exemplars = run.examples.tags, run.subject.exemplars
        assert tags is not None
        ids, frames = run.subject.activations.units["id"].to_list(), []
        counts = exemplars.group_by("unit", "part").agg(exemplars=pl.len().cast(pl.Int32))
        for part, rows in ((DESCRIBE, run.examples.parts.describe), (SELECT, run.examples.parts.select)):
            found = associations_of(exemplars, ids, run.examples.only(rows))
            rows = association_rows(found, ids, tags.ids, self.threshold)
            frames.append(rows.with_columns(part=pl.lit(part)))
        table = pl.concat(frames).join(counts, on=["unit", "part"], maintain_order="left")
        return table.select(list(ASSOCIATIONS.columns))


@dataclass(frozen=True)
class Recovered:
    """Table `recovered`, where there are gold tags that nobody got to see."""

    tables: Sequence[Table] = (RECOVERED,)

    def add(self, run: Run) -> list[Metric]:
        """No figures."""
        run.study.table(RECOVERED, lambda: self._table(run))
        return []

    def again(self, run: Run) -> tuple[list[pl.DataFrame], list[Metric]]:
        """The table, not stored."""
        return [self._table(run)], []

    def _table(self, run: Run) -> pl.DataFrame:
        study, tags, parts = run.study, run.examples.tags, run.examples.parts
        assert tags is not None
        descriptors = study.table(DESCRIPTORS)
        verified = deciding_rows(study.scores).filter(status=VERIFIED)
        named = study.descriptions.join(verified, left_on="id", right_on="description", how="semi")
        named = named.select("unit", "descriptors").explode("descriptors").unique()
        units = dict(named["descriptors"].value_counts().iter_rows())
        golds = run.examples.table["tags"].to_list()
        found = (tags.matrix > 0).toarray()
        learn, check = (rows.rows[tags.known[rows.rows]] for rows in (parts.describe, parts.score))
        rows = []
        for name in sorted({tag for tagged in golds for tag in tagged or ()}):
            carries = np.array([name in (tagged or ()) for tagged in golds])
            best = int(np.argmax(f1_of(confusion(carries[learn], found[learn]))))
            cells = confusion(carries[check], found[check][:, [best]])
            value, low, high = bootstrap_f1(cells, seed=run.resources.seed)[0].tolist()
            always = f1_of(confusion(carries[check], np.ones((len(check), 1), dtype=bool)))[0]
            id, text = descriptors.select("id", "text").row(best)
            carrying = int(carries[check].sum())
            rows.append((name, id, text, value, low, high, always, carrying, units.get(id, 0), low > always))
        return RECOVERED.frame(rows)

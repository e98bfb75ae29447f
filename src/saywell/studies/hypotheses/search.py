"""The search for hypotheses: statements are read on all texts, and the target chooses among their readings.

Statements come from describe examples, the choice from describe and select ones. Since they do not depend on
the target, the same search can be run again, whole, with targets that are dealt out anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Float

from saywell.data.examples import Examples, Kind
from saywell.data.parts import DESCRIBE, SELECT
from saywell.describers.describer import Evidence
from saywell.description import Description
from saywell.encoders.fingerprints import combined
from saywell.scorers.association import screened
from saywell.selection.by_target import Choice, Statements, choose
from saywell.store.table import Table
from saywell.studies.hypotheses.items import Asked
from saywell.studies.hypotheses.pool import PROPOSED, Statement, pool, prices_of, read
from saywell.studies.hypotheses.proposals import expect
from saywell.studies.hypotheses.stored import kept
from saywell.studies.hypotheses.tables import ITEMS, OUTCOMES, STATEMENTS
from saywell.studies.spine import keep_lost
from saywell.units.exemplars import Locate, nowhere
from saywell.units.firing import YES, Firing
from saywell.units.responses import Responses, Sparse, order_of
from saywell.units.statistics import source_units

if TYPE_CHECKING:
    from saywell.language_models import DryRun
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter

KIND = "statement"


def chosen(
    asked: Asked, readings: Float[sp.csr_matrix, "statements items"], said: Sequence[Statement], most: int
) -> tuple[np.ndarray, list[Choice]]:
    """How clearly each statement goes with each outcome on describe and select items, and the choice of them.

    z [statements, outcomes]: a score statistic, covariates held equal (see `null_model`).
    """
    seen = asked.items.of(DESCRIBE, SELECT)
    place = np.full(len(asked.items), -1)
    place[seen] = np.arange(len(seen))
    by_item = sp.csc_matrix(readings)
    z = np.full((readings.shape[0], len(asked.outcomes)), np.nan)
    residuals = np.zeros((len(asked.outcomes), len(seen)))
    for number in range(len(asked.outcomes)):
        null = asked.null(number, seen)
        if null is not None:
            z[:, number] = screened(null, sp.csr_matrix(by_item[:, null.rows]))
            residuals[number, place[null.rows]] = null.residuals
    _, words = np.unique([one.text for one in said], return_inverse=True)
    statements = Statements(sp.csr_matrix(by_item[:, seen]), prices_of(said), words)
    return z, choose(z, residuals, statements, most)


def statements_of(table: pl.DataFrame) -> list[Statement]:
    """Table `statements` as what its rows say."""
    return [Statement(*row) for row in table.select("found_by", "text", "claim").iter_rows()]


def statement_table(
    asked: Asked, said: Sequence[Statement], readings: Float[sp.csr_matrix, "statements texts"], most: int
) -> pl.DataFrame:
    """Table `statements`, and which of them are chosen, `most` at most."""
    z, choice = chosen(asked, asked.items.read(readings), said, most)
    taken = {one.statement: one for one in choice}
    best = np.nan_to_num(np.abs(z), nan=-1).argmax(1)
    shares = np.asarray(readings[:, _seen(asked)].mean(1)).ravel()
    numbers: dict[str, int] = {}
    rows = []
    for place, one in enumerate(said):
        number = numbers[one.found_by] = numbers.get(one.found_by, -1) + 1
        outcome = taken[place].outcome if place in taken else int(best[place])
        clear = float(z[place, outcome])
        rows.append(
            (
                f"{one.found_by}/{number}",
                one.found_by,
                one.text,
                one.claim,
                asked.outcomes[outcome].name,
                None if np.isnan(clear) else clear,
                float(shares[place]),
                place in taken,
            )
        )
    return STATEMENTS.frame(rows)


@dataclass(frozen=True)
class Search:
    """Where the units of a study of hypotheses come from: they are there once its examples are."""

    asked: Asked
    sources: Sequence[str]
    tests: int
    kind: str = KIND
    firing: Firing = YES

    @property
    def name(self) -> str:
        """What is to be explained."""
        return ", ".join(outcome.name for outcome in self.asked.outcomes)

    @property
    def fingerprint(self) -> str:
        """Of what is explained and held equal; what the texts say is part of the examples."""
        asked = self.asked
        rest = [asked.covariates, asked.items.first, *[asked.items.second] * asked.items.pairs]
        arrays = [*(outcome.values for outcome in asked.outcomes), *rest]
        told = [f"{outcome.name} {outcome.kind}" for outcome in asked.outcomes]
        return combined(*told, *(np.ascontiguousarray(array).tobytes() for array in arrays))

    def units(self) -> pl.DataFrame:
        """None yet."""
        return source_units([], self.kind)

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """Nothing: see `find`."""
        raise RuntimeError("the units of a search are those that it finds")

    def control(self, seed: int) -> None:
        """The control of a search is the whole search, with the target dealt out anew."""

    def expect(self, llm: DryRun, examples: Examples, resources: Resources) -> None:
        """Count what a language model would be asked for proposals."""
        for outcome in self.asked.outcomes if PROPOSED in self.sources else ():
            expect(llm, outcome, self.asked.items, examples, resources)

    def locate(self, examples: Examples) -> Locate:
        """A statement is of a whole text."""
        return nowhere

    def find(self, examples: Examples, study: StudyWriter, resources: Resources) -> Found:
        """The statements, and which of them the target chooses: table `statements`; and what is asked."""
        study.tables((OUTCOMES, ITEMS), lambda: kept(self.asked))
        made: list[sp.csr_matrix] = []

        def make() -> pl.DataFrame:
            said = pool(self.asked, self.sources, resources, study)
            keep_lost(study, resources)
            made.append(_read(said, examples, resources))
            return statement_table(self.asked, said, made[0], self.tests)

        table = study.table(STATEMENTS, make)
        return Found(self, table, tuple(made))


@dataclass(frozen=True)
class Found:
    """Statements as units: of which texts each holds. All are kept, the chosen ones are studied."""

    search: Search
    table: pl.DataFrame
    readings: tuple[sp.csr_matrix, ...] = ()
    """Statements x examples, where they are at hand."""
    kind: str = KIND
    firing: Firing = YES

    @property
    def name(self) -> str:
        """What is to be explained."""
        return self.search.name

    @property
    def fingerprint(self) -> str:
        """Of the search."""
        return self.search.fingerprint

    def units(self) -> pl.DataFrame:
        """The chosen ones, clearest first, called by what they say."""
        units = source_units(self.table["unit"].to_list(), self.kind, self.table["text"].to_list())
        order = self.table.with_row_index("n").filter("chosen").sort(pl.col("z").abs(), descending=True)["n"]
        return units[order.to_list()]

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """What is read of each text, of every statement."""
        found = self.readings[0] if self.readings else _read(statements_of(self.table), examples, resources)
        return Sparse.of(found.T, order_of(examples.ids)).save(folder)

    def control(self, seed: int) -> None:
        """See `Search`."""

    def locate(self, examples: Examples) -> Locate:
        """A statement is of a whole text."""
        return nowhere


@dataclass(frozen=True)
class AsFound:
    """Says of each statement what it says."""

    name: str = "search"
    version: int = 1
    kinds: Sequence[Kind] = ("text",)
    needs_tags: bool = False
    tables: Sequence[Table] = (OUTCOMES, ITEMS, STATEMENTS)

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """As it was found."""
        table = study.table(STATEMENTS)
        said = {
            unit: (text, claim) for unit, text, claim in table.select("unit", "text", "claim").iter_rows()
        }
        return [
            Description(unit, said[unit][0], claim=said[unit][1], parts=(said[unit][0],))
            for unit in evidence.ids
        ]


def _read(said: Sequence[Statement], examples: Examples, resources: Resources) -> sp.csr_matrix:
    with resources.progress("statements read", 1):
        return read(said, examples, resources)


def _seen(asked: Asked) -> np.ndarray:
    """Texts of the parts that the choice sees."""
    return np.concatenate([asked.examples.parts.describe.rows, asked.examples.parts.select.rows])


def dealt(asked: Asked, seed: int) -> Asked:
    """The same texts with outcomes and covariates dealt out anew within each part, both together.

    Who is favoured in a pair stays a matter of its first and second text.
    """
    random = np.random.default_rng(seed)
    order = np.arange(len(asked.items))
    for part in np.unique(asked.items.parts):
        own = asked.items.of(str(part))
        order[own] = random.permutation(own)
    outcomes = tuple(replace(each, values=each.values[order]) for each in asked.outcomes)
    return replace(asked, outcomes=outcomes, covariates=asked.covariates[order])

"""What a describer is given, what it gives, and what it has to be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import polars as pl
from jaxtyping import Bool, Int

from saywell.data.examples import Examples, Kind
from saywell.description import Description
from saywell.errors import LeakError
from saywell.store.table import Table

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter
    from saywell.units.activations import Activations


@dataclass(frozen=True)
class Evidence:
    """All that a describer may see: describe examples only, so that nothing can leak.

    Rows are numbered within `examples`. `exemplars` (unit, rank, example, activation, span or region)
    has the strongest examples on which each unit fires, `contrasts` some on which it does not.
    """

    units: pl.DataFrame
    examples: Examples
    activations: Activations
    exemplars: pl.DataFrame
    contrasts: pl.DataFrame
    seed: int

    @cached_property
    def ids(self) -> list[str]:
        """Of the units, in the order of the table."""
        return self.units["id"].to_list()

    @property
    def at_words(self) -> bool:
        """Whether it is known on which tokens of texts units fire; not where texts are exchanged."""
        placed = self.exemplars["span_start"].null_count() < len(self.exemplars)
        return self.examples.kind == "text" and self.activations.at_tokens and placed

    @cached_property
    def places(self) -> list[Int[np.ndarray, " exemplars"]]:
        """Of each unit where its exemplars are among the examples, strongest first."""
        return self._placed(self.exemplars)

    @cached_property
    def contrast_places(self) -> list[Int[np.ndarray, " contrasts"]]:
        """Of each unit where its contrasts are among the examples, by rank."""
        return self._placed(self.contrasts)

    def cold(
        self, rows: Int[np.ndarray, " rows"], block: int = 256
    ) -> Iterator[tuple[range, Bool[np.ndarray, "block rows"]]]:
        """Some units at a time, by place, and which of the examples are known to leave them cold."""
        for start in range(0, len(self.ids), block):
            units = range(start, min(start + block, len(self.ids)))
            ids = self.ids[start : units.stop]
            values, fires = self.activations.both(ids, rows)
            yield units, ~fires & ~np.isnan(values)

    def _placed(self, table: pl.DataFrame) -> list[np.ndarray]:
        place = {id: number for number, id in enumerate(self.examples.ids)}
        strange = next((id for id in table["example"] if id not in place), None)
        if strange is not None:
            raise LeakError(f"a describer was shown {strange!r}, which is not one of the describe examples")
        ranked = table.sort("unit", "rank").group_by("unit").agg("example")
        found = {
            unit: np.array([place[id] for id in ids], dtype=np.int64) for unit, ids in ranked.iter_rows()
        }
        nothing = np.zeros(0, dtype=np.int64)
        return [found.get(unit, nothing) for unit in self.ids]


class Describer(Protocol):
    """Who writes."""

    @property
    def name(self) -> str:
        """What users call it."""
        ...

    @property
    def version(self) -> int:
        """Changes whenever the same evidence would give another text."""
        ...

    @property
    def kinds(self) -> Sequence[Kind]:
        """The kinds of examples of which it can say something."""
        ...

    @property
    def needs_tags(self) -> bool:
        """Whether it speaks in descriptors, so that somebody has to have tagged the examples."""
        ...

    @property
    def tables(self) -> Sequence[Table]:
        """What it leaves in the study beside descriptions."""
        ...

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """One for each of `evidence.units`, in their order."""
        ...


class Tagger(Protocol):
    """Who finds descriptors in the examples and says of each example which it carries."""

    @property
    def name(self) -> str:
        """What users call it."""
        ...

    @property
    def tables(self) -> Sequence[Table]:
        """What it leaves in the study."""
        ...

    def tag(self, examples: Examples, resources: Resources, study: StudyWriter) -> Examples:
        """The examples with their tags. Descriptors come from describe examples alone."""
        ...

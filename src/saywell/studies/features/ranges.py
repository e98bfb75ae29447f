"""Exemplars over the whole range of activation, and near misses, as tables of a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from saywell.data.parts import DESCRIBE, SCORE
from saywell.store.study import Metric
from saywell.store.table import Table
from saywell.studies.spine import RESPONSES, Run
from saywell.units.exemplar_ranges import NEAR_MISSES, RANGES, near_miss_table, range_table
from saywell.units.statistics import UNITS
from saywell.units.token_activations import TokenActivations


@dataclass(frozen=True)
class WholeRange:
    """Tables `ranges` and `near_misses`, of describe examples and, apart from them, of score examples.

    `encoder`: whether there is one that can say which examples are near.
    """

    encoder: bool = True
    tables: Sequence[Table] = (RANGES, NEAR_MISSES)

    def add(self, run: Run) -> list[Metric]:
        """Make the tables; they have no figures."""
        activations, examples, resources = run.subject.activations, run.examples, run.resources
        parts = {DESCRIBE: examples.parts.describe, SCORE: examples.parts.score}
        responses = activations.responses

        def ranges():
            locate = run.question.source.locate(examples)
            return range_table(activations, examples.ids, parts, locate=locate, seed=resources.seed)

        def near_misses():
            return near_miss_table(
                activations,
                examples.ids,
                parts,
                tokens=responses.tokens if isinstance(responses, TokenActivations) else None,
                vectors=resources.vectors(examples) if self.encoder else None,
                seed=resources.seed,
            )

        run.study.table(RANGES, ranges, uses=(RESPONSES, UNITS.name))
        run.study.table(NEAR_MISSES, near_misses, uses=(RESPONSES, UNITS.name))
        return []

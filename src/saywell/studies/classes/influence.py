"""The pictures that help a class most, and those that harm it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from saywell.influence.proponents import INFLUENCE, opponents, proponents
from saywell.selection.text_influence import Measured
from saywell.store.study import Metric
from saywell.store.table import Table
from saywell.studies.classes.network import Network
from saywell.studies.classes.pool import Compared
from saywell.studies.spine import Run

SHOWN = 8
"""Proponent and opponent images a class that are kept."""
LINEAR = "linear head"


@dataclass(frozen=True)
class Influence:
    """Table `influence`: in a linear head and, where there is one, in the network of the name `called`."""

    compared: Compared
    network: Network | None = None
    called: str = ""
    tables: Sequence[Table] = (INFLUENCE,)

    def add(self, run: Run) -> list[Metric]:
        """No figures."""
        run.study.table(INFLUENCE, lambda: self._table(run))
        return []

    def _table(self, run: Run) -> pl.DataFrame:
        images, by = self.compared.images, self.compared.images.choosing
        seen, classes = by.measured[0], len(images.names)
        if not len(images.select):  # the describe images are their own select images
            seen = Measured(by.train, by.train, classes=classes, seed=run.resources.seed)
        own = seen.influence[np.arange(len(seen.labels)), seen.labels]
        sides = [
            (LINEAR, "proponent", proponents(own, seen.labels, classes, SHOWN)),
            (LINEAR, "opponent", opponents(seen.influence, SHOWN)),
        ]
        if self.network is not None:
            found = proponents(self.network.influence(run.study), seen.labels, classes, SHOWN)
            sides.append((self.called, "proponent", found))
        return INFLUENCE.frame(
            [
                (model, name, side, rank, images.describe.ids[row], float(value))
                for model, side, strongest in sides
                for name, best in zip(images.names, strongest, strict=True)
                for rank, (row, value) in enumerate(zip(best.rows, best.values, strict=True), 1)
            ]
        )

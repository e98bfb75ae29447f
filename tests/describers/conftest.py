"""A made world for describers: examples with tags, units that fire on some, and evidence of these."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from saywell.data.examples import Examples
from saywell.data.splits import content_ids
from saywell.describers.describer import Evidence


@dataclass(frozen=True)
class Fired:
    """Activations that are a table: `response` is units x examples, above 0 fires, NaN is not known."""

    units: pl.DataFrame
    response: np.ndarray

    def only(self, units):
        rows = [self.units["id"].to_list().index(unit) for unit in units]
        return Fired(self.units[rows], self.response[rows])

    def fires(self, units, rows):
        return self.only(units).response[:, rows] > 0

    def known(self, units, rows):
        return ~np.isnan(self.only(units).response[:, rows])


def _examples(texts, part="describe", **columns):
    parts = [part] * len(texts) if isinstance(part, str) else list(part)
    table = pl.DataFrame({"id": content_ids(texts), "part": parts, "text": list(texts), **columns})
    return Examples(table, "text", "world", pl.DataFrame(), len(texts))


def _evidence(examples, response, most=50, **columns):
    """Exemplars are the strongest that fire, contrasts the first that do not."""
    response = np.asarray(response, dtype=float)
    units = pl.DataFrame({"id": [f"u{n}" for n in range(len(response))], **columns})
    shown, others = [], []
    for unit, row in zip(units["id"], response, strict=True):
        strong = [n for n in np.argsort(-np.nan_to_num(row), kind="stable") if row[n] > 0][:most]
        shown += [(unit, rank, examples.ids[n]) for rank, n in enumerate(strong)]
        others += [(unit, rank, examples.ids[n]) for rank, n in enumerate(np.flatnonzero(row <= 0)[:20])]
    schema = {"unit": pl.String, "rank": pl.Int32, "example": pl.String}
    tables = (pl.DataFrame(rows, schema=schema, orient="row") for rows in (shown, others))
    return Evidence(units, examples, Fired(units, response), *tables, seed=0)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def make_examples():
    return _examples


@pytest.fixture(scope="session")
def make_evidence():
    return _evidence

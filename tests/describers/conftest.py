"""A made world for describers: examples with tags, units that fire on some, and evidence of these."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from saywell.data.examples import Examples
from saywell.data.parts import DescribeRows
from saywell.data.splits import content_ids
from saywell.describers.describer import Evidence
from saywell.units.activations import Activations
from saywell.units.exemplars import contrast_table, exemplar_table
from saywell.units.firing import Above
from saywell.units.responses import InMemory, order_of
from saywell.units.statistics import source_units, unit_table


def _examples(texts, part="describe", **columns):
    parts = [part] * len(texts) if isinstance(part, str) else list(part)
    table = pl.DataFrame({"id": content_ids(texts), "part": parts, "text": list(texts), **columns})
    return Examples(table, "text", "world", pl.DataFrame(), len(texts))


def _evidence(examples, response, most=50):
    """Units u0, u1 ... that fire above 0; a response of NaN is not known."""
    stored = InMemory(np.asarray(response, dtype=np.float32).T, order_of(examples.ids))
    every = DescribeRows(np.arange(len(examples)))
    units = unit_table(source_units([f"u{n}" for n in range(len(response))], "made"), stored, Above(0), every)
    activations = Activations(stored, units, Above(0))
    exemplars = exemplar_table(activations, examples.ids, {"describe": every}, most)
    return Evidence(
        units, examples, activations, exemplars, contrast_table(activations, examples.ids, every, 0), 0
    )


@pytest.fixture(scope="session")
def make_examples():
    return _examples


@pytest.fixture(scope="session")
def make_evidence():
    return _evidence

"""What a unit's values say of it, whatever their size."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from saywell.data.parts import DescribeRows
from saywell.store.files import write_arrays
from saywell.units.activations import Activations
from saywell.units.exemplars import exemplar_table
from saywell.units.firing import TopShare
from saywell.units.neurons import neuron_units
from saywell.units.responses import Shards
from saywell.units.sites import Site
from saywell.units.statistics import unit_table


def table(values: np.ndarray, folder):
    """Table `units`, going high, of [texts, units]."""
    high = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
    rows = torch.arange(len(values), dtype=torch.int32)
    write_arrays(folder / "describe-00000.safetensors", {"high": high, "rows": rows})
    site = Site(0, "residual", "block", "output", values.shape[1])
    strongest = {
        "high_values": high[:3].T,
        "high_examples": rows[:3].expand(values.shape[1], 3),
        "high_positions": torch.zeros(values.shape[1], 3, dtype=torch.int32),
    }
    write_arrays(folder / "describe-top.safetensors", strongest)
    describe = DescribeRows(np.arange(len(values)))
    return unit_table(neuron_units([site], "model", signs=(1,)), Shards(folder), TopShare(), describe)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_states(tmp_path, scale):
    random = np.random.default_rng(0)
    normal = random.normal(size=1000)
    outlier = np.where(np.arange(1000) == 7, 1000.0, normal)
    columns = {
        "ok": normal,
        "ok far from zero": 2000 + normal / 10,
        "ok with one giant": outlier,
        "constant": np.full(1000, 3.0),
        "flat": np.maximum(normal - 3, 0),
    }
    found = table(scale * np.stack(list(columns.values()), axis=1), tmp_path)
    assert found["state"].to_list() == [name.split()[0] for name in columns]
    ok = found["fires"].to_numpy()[:3]
    assert ok == pytest.approx([0.05] * 3, abs=0.002)
    assert all(sum(counts) == 1000 and counts[-1] < 100 for counts in found["histogram"][:3])


def test_the_low_side_of_a_gelu_has_no_top(tmp_path):
    x = torch.randn(1000, 20, 3, generator=torch.Generator().manual_seed(0))
    lowest = torch.nn.functional.gelu(x).amin(1).numpy()
    assert len(np.unique(lowest)) > 900  # different numbers, all of them next to -0.17
    assert table(-lowest, tmp_path)["state"].to_list() == ["flat"] * 3


def test_a_side_on_which_nothing_fires_has_exemplars_of_no_unit(tmp_path):
    units = table(np.full((30, 2), 3.0), tmp_path)
    ids = [f"text {n}" for n in range(30)]
    activations = Activations(Shards(tmp_path), units, TopShare())
    exemplars = exemplar_table(activations, ids, {"describe": DescribeRows(np.arange(30))}, 3)
    assert exemplars.height == 0 and set(exemplars.dtypes[:1]) == {pl.String}


def test_what_differs_by_rounding_alone_has_one_value():
    """The same text in a batch of another shape gives another last digit, and no unit fires on that."""
    random = np.random.default_rng(0)
    level = random.normal(size=40) * 10.0 ** random.integers(-3, 4, 40)
    last = np.float32(level) * (1 + np.finfo(np.float32).eps * random.integers(-3, 4, (200, 40)))
    assert set(TopShare().fit(last.astype(np.float32)).states) == {"constant"}
    real = level * (1 + 1e-3 * random.normal(size=(200, 40)))
    assert "constant" not in TopShare().fit(real.astype(np.float32)).states

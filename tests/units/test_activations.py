"""Activations by unit id: whatever they are kept as, they answer as a plain loop over a matrix does."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
import torch

from saywell.data.parts import DescribeRows, Rows, ScoreRows
from saywell.store.files import write_arrays
from saywell.units.activations import Activations
from saywell.units.exemplars import KEPT_CONTRASTS, contrast_table, exemplar_table
from saywell.units.firing import Above, Given, TopShare
from saywell.units.neurons import unit_id
from saywell.units.responses import InMemory, Shards, Sparse, open_responses
from saywell.units.statistics import declared, source_units, unit_table

KINDS = ("in memory", "sparse", "shards")


def world(kind, seed, folder, *, examples=40, places=7):
    """A matrix with ties, zeros and unknowns, the same as responses, and the order in which equals rank."""
    draw = np.random.default_rng(seed)
    values = np.round(draw.normal(size=(examples, places)) * 2).astype(np.float32)
    values[draw.random(values.shape) < 0.4] = 0
    order = draw.permutation(examples)
    if kind != "shards":
        values[draw.random(values.shape) < 0.1] = np.nan
        values[:, 3] = np.nan if seed % 2 else 0
    else:
        values[order[-3:]] = np.nan  # examples that no shard holds
    if kind == "in memory":
        return values, InMemory(values, order).save(folder), order
    if kind == "sparse":
        return values, Sparse.of(sp.csr_matrix(values), order).save(folder), order
    for number, rows in enumerate(np.array_split(order[:-3], 4)):
        arrays = {"high": torch.from_numpy(values[rows]), "rows": torch.from_numpy(rows.astype(np.int32))}
        write_arrays(folder / f"any-{number:05d}.safetensors", arrays)
    return values, Shards(folder, examples), order


def both_ways(places, draw):
    """Units going high and low, in an order of chance."""
    sides = [
        source_units([unit_id(0, n, sign) for n in range(places)], "made").with_columns(
            sign=pl.lit(sign, dtype=pl.Int8)
        )
        for sign in (1, -1)
    ]
    return pl.concat(sides).sample(fraction=1.0, shuffle=True, seed=int(draw.integers(1000)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("firing", [TopShare(0.3), Above(0), "given"])
@pytest.mark.parametrize("seed", range(4))
def test_any_way_of_keeping_answers_as_a_plain_loop(kind, firing, seed, tmp_path):
    values, made, order = world(kind, seed, tmp_path)
    draw = np.random.default_rng(seed + 100)
    examples, places = values.shape
    if firing == "given":
        said = draw.random((places, examples)) < 0.4
        firing = Given(sp.csr_matrix(said) if seed % 2 else said)
    stored = open_responses(tmp_path, examples)
    assert type(stored) is type(made)
    describe = DescribeRows(np.sort(draw.choice(examples, 25, replace=False)))
    units = unit_table(both_ways(places, draw), stored, firing, describe)
    activations = Activations(stored, units, firing)

    by_id = {one["id"]: one for one in units.iter_rows(named=True)}
    inside = sp.csr_matrix(firing.fires).toarray() if isinstance(firing, Given) else None

    def value(unit, row):
        one = by_id[unit]
        return one["sign"] * values[row, one["index"]], one

    def fires(unit, row):
        signed, one = value(unit, row)
        said = signed >= one["threshold"] if inside is None else inside[one["index"], row]
        return one["state"] == "ok" and bool(said) and not np.isnan(signed)

    some = draw.permutation(units["id"].to_numpy())[:5].tolist()
    for rows in (draw.integers(0, examples, 12), draw.integers(0, examples, (5, 3)), np.arange(0)):
        each = np.broadcast_to(rows, (5, rows.shape[-1]))
        expected = np.array([[value(u, r)[0] for r in line] for u, line in zip(some, each, strict=True)])
        np.testing.assert_array_equal(activations.of(some, rows), expected.reshape(each.shape))
        np.testing.assert_array_equal(activations.known(some, rows), ~np.isnan(expected.reshape(each.shape)))
        told = [[fires(u, r) for r in line] for u, line in zip(some, each, strict=True)]
        np.testing.assert_array_equal(activations.fires(some, rows), np.array(told).reshape(each.shape))
        if rows.ndim == 1:
            both = activations.both(some, rows)
            np.testing.assert_array_equal(both[0], expected.reshape(each.shape))
            np.testing.assert_array_equal(both[1], np.array(told).reshape(each.shape))

    pieces = list(activations.by_example(describe))
    rows = np.concatenate([rows for rows, _ in pieces])
    assert sorted(rows) == describe.rows.tolist() and np.array_equal(rows, activations.order(describe))
    found = sp.vstack([fired for _, fired in pieces]).toarray()
    ids = units["id"].to_list()
    np.testing.assert_array_equal(found.T > 0, [[fires(unit, row) for row in rows] for unit in ids])

    rank = np.argsort(order)
    top = activations.strongest(describe, 6)
    for number, unit in enumerate(ids):
        known = [(-value(unit, r)[0], rank[r], r) for r in describe.rows if not np.isnan(value(unit, r)[0])]
        best = [row for *_, row in sorted(known)[:6]]
        assert top.examples[number].tolist() == best + [-1] * (6 - len(best))
        assert top.values[number, : len(best)].tolist() == [value(unit, row)[0] for row in best]

    view = activations.within(describe)
    np.testing.assert_array_equal(view.of(some, np.arange(25)), activations.of(some, describe.rows))
    np.testing.assert_array_equal(view.fires(some, np.arange(25)), activations.fires(some, describe.rows))
    seen = view.strongest(DescribeRows(np.arange(25)), 6).examples.numpy()
    np.testing.assert_array_equal(np.append(describe.rows, -1)[seen], top.examples.numpy())
    for block, cells in activations.blocks(describe, cells=60):
        np.testing.assert_array_equal(cells.T, activations.of(ids[block], activations.order(describe)))
    np.testing.assert_array_equal(
        activations.only(some).of(some[::-1], rows), activations.of(some[::-1], rows)
    )


def test_statistics_are_of_what_is_known(tmp_path):
    values, stored, _ = world("in memory", 1, tmp_path)
    describe = DescribeRows(np.arange(30))
    units = unit_table(both_ways(7, np.random.default_rng(0)), stored, TopShare(0.2), describe)
    for one in units.iter_rows(named=True):
        column = one["sign"] * values[:30, one["index"]]
        known = column[~np.isnan(column)].astype(np.float64)
        if not len(known):
            assert one["state"] == "unknown" and np.isnan(one["mean"]) and sum(one["histogram"]) == 0
            continue
        threshold = np.quantile(known, 0.8, method="higher")
        assert (one["mean"], one["std"]) == pytest.approx((known.mean(), known.std()))
        assert (one["minimum"], one["maximum"], one["threshold"]) == (known.min(), known.max(), threshold)
        assert one["fires"] == pytest.approx((known >= threshold).mean())
        assert sum(one["histogram"]) == len(known)


@pytest.mark.parametrize("sparse", [True, False])
def test_rare_latents_are_units_like_others(sparse):
    """Densities of 0.1 % to 30 %: all that fire on three describe examples are ok, and nothing else is."""
    draw = np.random.default_rng(0)
    density = np.geomspace(0.001, 0.3, 200)
    fires = draw.random((2000, 200)) < density
    values = np.where(fires, draw.exponential(size=fires.shape), 0).astype(np.float32)
    order = np.arange(2000)
    stored = Sparse.of(sp.csr_matrix(values), order) if sparse else InMemory(values, order)
    describe = DescribeRows(np.arange(800))
    units = unit_table(
        source_units([f"latent/{n}" for n in range(200)], "latent"), stored, Above(0), describe
    )
    count = fires[:800].sum(0)
    assert (count < 3).any()
    assert [state == "ok" for state in units["state"]] == (count >= 3).tolist()
    assert set(units["state"]) <= {"ok", "rare", "constant"}
    assert (units["threshold"] > 0).all()
    assert units["fires"].to_list() == pytest.approx((count / 800).tolist())
    today = unit_table(source_units([str(n) for n in range(200)], "latent"), stored, TopShare(0.05), describe)
    assert (today["state"] == "flat").sum() > 100  # what the rule for neurons would say of them
    activations = Activations(stored, units, Above(0))
    names = [f"example {n}" for n in range(2000)]
    exemplars = exemplar_table(activations, names, {"describe": describe}, 10)
    found = dict(exemplars.group_by("unit").len().iter_rows())
    assert found == {f"latent/{n}": min(10, c) for n, c in enumerate(count) if c >= 3}
    assert (exemplars["activation"] > 0).all()
    contrasts = contrast_table(activations, names, describe, 0)
    assert (contrasts["activation"] == 0).all()
    assert contrasts.group_by("unit").len()["len"].to_list() == [KEPT_CONTRASTS] * (count >= 3).sum()


def test_what_fires_on_nearly_all_is_said_to(tmp_path):
    values = np.ones((100, 3), dtype=np.float32)
    values[:2, 0] = values[:10, 1] = values[:99, 2] = 0
    units = source_units(["nearly all", "most", "one"], "made")
    units = units.with_columns(density=pl.Series([0.98, 0.9, 0.01]))  # a column of the source's own
    found = unit_table(units, InMemory(values, np.arange(100)), Above(0.5), DescribeRows(np.arange(100)))
    assert declared(units).check(found)["density"].to_list() == [0.98, 0.9, 0.01]
    assert found["state"].to_list() == ["dense", "ok", "rare"]


def test_contrasts_are_found_where_a_unit_fires_on_most(tmp_path):
    values = np.ones((400, 1), dtype=np.float32)
    values[::15] = 0
    stored = InMemory(values, np.arange(400))
    units = unit_table(source_units(["a"], "made"), stored, Above(0), DescribeRows(np.arange(400)))
    contrasts = contrast_table(
        Activations(stored, units, Above(0)), [str(n) for n in range(400)], DescribeRows(np.arange(400)), 0
    )
    assert contrasts["rank"].to_list() == [0, 1, 2]
    assert all(int(name) % 15 == 0 for name in contrasts["example"])


def test_sparse_rows_take_eight_bytes_for_each_number():
    made = Sparse.of(sp.random(1000, 5000, density=0.01, random_state=0), np.arange(1000))
    size = sum(getattr(made.matrix, name).nbytes for name in ("data", "indices"))
    assert size == 8 * made.matrix.nnz


def test_a_unit_that_there_is_not_is_an_error(tmp_path):
    _, stored, _ = world("in memory", 0, tmp_path)
    units = unit_table(source_units(list("abcdefg"), "made"), stored, Above(0), DescribeRows(np.arange(9)))
    with pytest.raises(KeyError, match="nobody"):
        Activations(stored, units, Above(0)).of(["nobody"], np.arange(3))


def test_parts_without_examples_have_nothing(tmp_path):
    _, stored, _ = world("in memory", 0, tmp_path)
    units = unit_table(source_units(list("abcdefg"), "made"), stored, Above(0), DescribeRows(np.arange(9)))
    activations = Activations(stored, units, Above(0))
    nothing = ScoreRows(np.arange(0))
    assert list(activations.by_example(nothing)) == [] and len(activations.order(nothing)) == 0
    assert (activations.strongest(nothing, 4).examples == -1).all()
    assert activations.only([]).strongest(Rows(np.arange(5)), 4).values.shape == (0, 4)

"""Codes at tokens, collected and asked for, against a plain loop over dense arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from torch import nn

from saywell.data.parts import DescribeRows, Rows
from saywell.errors import InputError
from saywell.units import token_activations, token_shards
from saywell.units.activations import Activations
from saywell.units.dictionaries.rules import Codes
from saywell.units.exemplars import contrast_table, exemplar_table
from saywell.units.firing import Above, TopShare
from saywell.units.hooks import BrokenActivations, Tap, TextFeed
from saywell.units.responses import InMemory, Sparse, open_responses
from saywell.units.statistics import source_units, unit_table
from saywell.units.token_activations import TokenActivations, collect_tokens
from saywell.units.token_shards import Shard, packed
from saywell.units.tokens import Tokens

VOCABULARY, LATENTS, LENGTHS = 40, 600, (3, 7, 0, 5, 9, 2, 4, 6, 1, 8, 12, 5)


class Lookup(nn.Module):
    """A token's vector is its own, whatever stands beside it."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 4)
        self.twice = nn.Linear(4, 4)

    def forward(self, input_ids, attention_mask):
        return self.twice(self.embed(input_ids))


@pytest.fixture(scope="module")
def table():
    """Codes of every token of the vocabulary: few, some of them far from the others in size, some below 0."""
    random = np.random.default_rng(0)
    values = random.normal(0.5, 1, (VOCABULARY, LATENTS)) * 10.0 ** random.integers(-6, 6, LATENTS)
    values[random.random(values.shape) < 0.9] = 0
    values[:, 3] = -random.random(VOCABULARY) - 0.1  # below 0 at every token
    values[:, 599] = 1
    return torch.tensor(values, dtype=torch.float32)


@pytest.fixture(scope="module")
def texts():
    """With a special token before and after the others."""
    random = np.random.default_rng(1)
    ids = [np.array([0, *random.integers(2, VOCABULARY, n), 1]) for n in LENGTHS]
    content = [np.array([False, *[True] * n, False]) for n in LENGTHS]
    spans = [np.array([(0, 0), *((i, i + 2) for i in range(n)), (0, 0)]) for n in LENGTHS]
    starts = np.concatenate([[0], np.cumsum([len(own) for own in ids])])
    return Tokens(*(np.concatenate(each) for each in (ids, content, spans)), starts, 0)


def collect(
    folder: Path,
    texts,
    table,
    *,
    budget=16,
    tokens=20,
    shard=3,
    of="this",
    progress=lambda n: None,
    engine="local",
):
    model = Lookup()
    number = torch.nn.functional.one_hot(torch.arange(VOCABULARY) % 4, 4).float()
    number[:, 0] = torch.arange(VOCABULARY)
    model.embed.weight.data = number
    tap = Tap("embed", "output", 4, lambda found, batch: found)

    def encode(x):
        dense = table[x[:, 0].long()]
        rows, latents = dense.nonzero(as_tuple=True)
        return Codes(rows, latents, dense[rows, latents])

    feed = TextFeed(texts, token_budget=budget, shard=shard)
    readable = np.flatnonzero(texts.readable)
    parts = {"describe": readable[readable % 3 != 0], "score": readable[readable % 3 == 0]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(token_activations, "MOST_TOKENS", tokens)
        collect_tokens(
            model, tap, encode, LATENTS, feed, parts, folder, of=of, progress=progress, engine=engine
        )
    return TokenActivations(folder, len(texts))


@pytest.fixture(scope="module")
def stored(tmp_path_factory, texts, table):
    return collect(tmp_path_factory.mktemp("tokens"), texts, table)


def plain(texts, table, stored, sign=1):
    """Dense responses [examples, latents] and, by example, codes [tokens, latents] in float16's precision."""
    codes = [
        sign * table[torch.from_numpy(texts.ids[a:b])].numpy()[texts.content[a:b]]
        for a, b in zip(texts.starts[:-1], texts.starts[1:], strict=True)
    ]
    whole = np.full((len(texts), LATENTS), np.nan, dtype=np.float32)
    for row, own in enumerate(codes):
        if len(own):
            whole[row] = own.max(0)
    return whole, codes


ROUNDED = {"rtol": 2.0**-11, "atol": 0}
ROWS = np.array([4, 0, 11, 7, 2, 1, 3, 10, 5, 6, 8, 9])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("places", [np.arange(LATENTS), np.array([599, 3, 5, 3, 300])], ids=["all", "some"])
def test_a_response_is_the_highest_code_of_a_text(texts, table, stored, sign, places):
    expected, _ = plain(texts, table, stored, sign)
    for rows in (ROWS, ROWS[:4], ROWS[[3, 3, 0]], ROWS[:0]):
        np.testing.assert_allclose(stored.read(rows, places, sign), expected[np.ix_(rows, places)], **ROUNDED)
    assert not (stored.columns(ROWS, places, sign).data == 0).any()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("m", [1, 4, 20])
def test_the_strongest_are_those_of_a_dense_array_with_the_token_responsible(texts, table, stored, sign, m):
    _, codes = plain(texts, table, stored, sign)
    for rows in (ROWS, np.flatnonzero(texts.readable)[::2]):
        known = rows[texts.readable[rows]]
        every = stored.read(np.arange(len(texts)), np.arange(LATENTS))
        order = np.concatenate([*stored.pieces(np.arange(len(texts)))])
        dense = InMemory(
            every if sign > 0 else -stored.read(np.arange(len(texts)), np.arange(LATENTS), -1), order
        )
        expected, found = dense.top(known, m, sign), stored.top(rows, m, sign)
        assert torch.equal(expected.values, found.values)
        assert torch.equal(expected.examples, found.examples)
        for unit, rank in zip(*found.examples.numpy().__ge__(0).nonzero(), strict=True):
            value, row, at = (float(part[unit, rank]) for part in found)
            if at >= 0:  # the tokens before and after the text are counted
                own = codes[int(row)][:, unit]
                assert int(at) == 1 + own.argmax()
                assert value == pytest.approx(own.max(), rel=2.0**-11)
            else:
                assert value == 0


def test_where_it_fires_token_by_token(texts, table, stored):
    _, codes = plain(texts, table, stored)
    for rows in (None, ROWS[:5]):
        for place in (0, 3, 17, 599):
            shown = range(len(texts)) if rows is None else sorted(rows)
            expected = [
                (row, 1 + at, own[at, place])
                for row in shown
                for own in [codes[row]]
                for at in np.flatnonzero(own[:, place] > 0)
            ]
            found = stored.fired(place, rows)
            assert [(r, p) for r, p, _ in expected] == list(zip(found.rows, found.positions, strict=True))
            np.testing.assert_allclose(found.values, [value for *_, value in expected], **ROUNDED)
        whole = np.concatenate([codes[row] for row in (range(len(texts)) if rows is None else rows)])
        np.testing.assert_allclose(stored.density(rows), (whole != 0).mean(0))


def test_a_view_knows_nothing_of_other_texts(texts, stored):
    units = source_units([f"latent/{n}" for n in range(LATENTS)], "latent")
    units = units.with_columns(threshold=pl.Series([0.5] * LATENTS), state=pl.lit("ok"))
    whole = Activations(stored, units, Above(0.5))
    view = whole.within(DescribeRows(np.array([1, 4, 5, 10])))
    assert whole.at_tokens
    for unit in ("latent/17", "latent/599"):
        every, seen = whole.fired(unit), view.fired(unit)
        expected = [
            ([1, 4, 5, 10].index(row), at, value)
            for row, at, value in zip(*every, strict=True)
            if row in (1, 4, 5, 10)
        ]
        assert (every.values >= 0.5).all()
        assert expected == list(zip(*seen, strict=True))
    assert not len(whole.fired("latent/3").rows)
    turned = replace(whole, seen=np.arange(len(texts))[::-1])
    at = turned.fired("latent/599")
    assert (np.diff(at.rows) >= 0).all()
    assert np.array_equal(np.bincount(at.rows, minlength=len(texts)), texts.contents[::-1])


def few_and_unknown():
    random = np.random.default_rng(5)
    values = np.maximum(random.normal(-1, 1, (70, 40)), 0)
    values[random.random(values.shape) < 0.05] = np.nan
    values[:, 7] = np.nan
    values[:, 8] = 0
    values[:, 9] = 1 + random.random(70)
    values[:, 10] *= -1
    return Sparse.of(sp.csr_matrix(values), random.permutation(70))


@pytest.mark.parametrize("rule", [Above(), Above(0.7), Above(-0.5), TopShare(0.2)], ids=str)
@pytest.mark.parametrize("kind", ["tokens", "rows"])
def test_what_is_made_of_few_numbers_is_what_is_made_of_all(stored, kind, rule):
    """Statistics, exemplars, contrasts and what fires, from what is stored and from a dense array."""
    few = stored if kind == "tokens" else few_and_unknown()
    every = np.arange(few.examples)
    order = np.concatenate(list(few.pieces(every)))
    if kind == "tokens":
        order = order[:-1]  # the text of which nothing is known
    dense = InMemory(few.read(every, np.arange(few.width)), np.append(order, np.setdiff1d(every, order)))
    describe, others = DescribeRows(order[::2].copy()), Rows(np.sort(order[1::2]))
    describe.rows.sort()
    signs = np.where(np.arange(few.width) % 5 == 2, -1, 1) if kind == "rows" else np.ones(few.width, int)
    units = source_units([f"unit/{n}" for n in range(few.width)], "latent")
    units = units.with_columns(sign=pl.Series(signs, dtype=pl.Int8))
    made = []
    for responses in (few, dense):
        table = unit_table(units, responses, rule, describe)
        activations = Activations(responses, table, rule)
        ids = [f"e{n:02d}" for n in every]
        view = activations.within(DescribeRows(describe.rows)).only(units["id"][::-3].to_list())
        pieces = list(view.by_example(Rows(np.arange(len(describe)))))
        fired, unknown = view.cells(view.units["id"].to_list()[::2], np.array([5, 1, 2]))
        made.append(
            (
                table,
                exemplar_table(activations, ids, {"score": others}, 3),
                contrast_table(activations, ids, describe, 0),
                activations.fires(units["id"].to_list(), every),
                fired.toarray(),
                unknown.toarray(),
                np.concatenate([rows for rows, _ in pieces]),
                np.concatenate([fires.toarray() for _, fires in pieces]),
            )
        )
    for one, two in zip(*made, strict=True):
        if isinstance(one, pl.DataFrame):
            assert_frame_equal(one, two, check_exact=False, rel_tol=1e-9)
        else:
            assert np.array_equal(one, two)


def test_tokens_are_kept_once_as_the_model_read_them(texts, stored):
    for name in ("ids", "content", "spans", "starts"):
        assert np.array_equal(getattr(stored.tokens, name), getattr(texts, name))
    assert isinstance(open_responses(stored.folder, len(texts)), TokenActivations)
    assert stored.width == LATENTS


def test_blocks_are_all_places_once(stored):
    places = np.arange(5, 590)
    blocks = list(stored.blocks_of(places, cells=50))
    assert np.array_equal(np.concatenate(blocks), places)
    assert len(blocks) > 3


def test_nothing_depends_on_batches_shards_or_the_engine(tmp_path, texts, table, stored):
    rows, places = np.arange(len(texts)), np.arange(LATENTS)
    other = collect(tmp_path, texts, table, budget=40, tokens=65_535, shard=2048)
    assert len(other._shards) == 2 < len(stored._shards)
    assert np.array_equal(other.read(rows, places), stored.read(rows, places), equal_nan=True)
    for one, two in zip(other.top(rows, 5), stored.top(rows, 5), strict=True):
        assert torch.equal(one, two)


def test_what_was_stopped_goes_on_with_the_same_files(tmp_path, texts, table, stored):
    seen = []

    def stop(examples):
        seen.append(examples)
        if sum(seen) > 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(tmp_path, texts, table, progress=stop)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*-[0-9]*")}
    assert 0 < len(kept) < len(stored._shards)
    done = []
    collect(tmp_path, texts, table, progress=done.append)
    assert done[0] > 0
    assert sum(done) == int(texts.readable.sum())
    assert kept.items() <= {path: path.stat().st_mtime_ns for path in tmp_path.glob("*-[0-9]*")}.items()
    for path in stored.folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()
    # Another cut, or another source, leaves nothing of the first.
    other = collect(tmp_path, texts, table, tokens=65_535)
    assert len(other._shards) == 2
    every = np.arange(len(texts)), np.arange(LATENTS)
    assert np.array_equal(other.read(*every), stored.read(*every), equal_nan=True)
    first = next(tmp_path.glob("*-[0-9]*")).read_bytes()
    collect(tmp_path, texts, table, tokens=65_535, of="that")
    assert first != next(tmp_path.glob("*-[0-9]*")).read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of Ray about itself
def test_two_workers_of_a_cluster_leave_the_same_files(tmp_path, texts, table, stored):
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        done = []
        collect(tmp_path, texts, table, engine="ray", progress=done.append)
        assert sum(done) == int(texts.readable.sum())
        names = sorted(path.name for path in stored.folder.iterdir())
        assert names == sorted(path.name for path in tmp_path.iterdir())
        for name in names:
            assert (stored.folder / name).read_bytes() == (tmp_path / name).read_bytes()
        broken = table.clone()
        broken[int(texts.ids[texts.starts[4] + 3]), 77] = torch.nan
        with pytest.raises(BrokenActivations, match="latent/77 "):
            collect(tmp_path / "broken", texts, broken, engine="ray")
    finally:
        ray.shutdown()


def test_an_engine_that_there_is_not(tmp_path, texts, table):
    with pytest.raises(InputError, match="local, ray"):
        collect(tmp_path, texts, table, engine="spark")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_code_that_is_no_number_names_the_latent_and_the_text(tmp_path, texts, table, bad):
    broken, row = table.clone(), 4
    broken[int(texts.ids[texts.starts[row] + 3]), 77] = bad
    with pytest.raises(BrokenActivations, match="latent/77 ") as error:
        collect(tmp_path, texts, broken)
    told = error.value.example
    at = slice(texts.starts[told], texts.starts[told + 1])
    assert texts.ids[texts.starts[row] + 3] in texts.ids[at]


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False).filter(bool), min_size=1, max_size=20)
)
def test_what_fires_is_kept_to_eleven_bits_and_never_becomes_nothing(tmp_path_factory, values):
    from safetensors.torch import save_file

    path = tmp_path_factory.mktemp("packed") / "part-00000.safetensors"
    given = torch.tensor(values, dtype=torch.float32)
    tokens = np.ones(len(values), dtype=np.int64)
    arrays = packed(tokens, np.full(len(values), 700, dtype=np.int32), given.numpy(), 1000)
    save_file(arrays, path)
    found = Shard(path).codes(np.array([3, 700, 999]))
    assert np.array_equal(found.tokens, np.arange(len(values)))
    assert (np.sign(found.values) == np.sign(given.numpy())).all()
    assert np.isfinite(found.values).all()
    large = np.abs(given.numpy()) >= max(np.abs(given.numpy()).max() * 2.0**-28, 2.0**-126)
    np.testing.assert_allclose(found.values[large], given.numpy()[large], rtol=2.0**-11)


def test_a_code_takes_four_bytes_and_little_more(tmp_path):
    random = np.random.default_rng(0)
    tokens, k, width = 2000, 16, 4096
    latents = np.sort(np.stack([random.choice(width, k, replace=False) for _ in range(tokens)]), axis=1)
    values = random.random(tokens * k, dtype=np.float32)
    arrays = packed(np.full(tokens, k), latents.ravel().astype(np.int32), values, width)
    assert sum(array.nbytes for array in arrays.values()) < 4.6 * tokens * k
    assert token_shards.MOST_TOKENS <= 65_535

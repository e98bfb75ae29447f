"""Examples over the whole range, and near misses, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from saywell.data.parts import DESCRIBE, SCORE, DescribeRows, ScoreRows
from saywell.units import exemplar_ranges
from saywell.units.activations import Activations
from saywell.units.exemplar_ranges import (
    NEAR_MISSES,
    NEAREST,
    RANGES,
    SAME_TOKEN,
    Bins,
    near_miss_table,
    range_table,
)
from saywell.units.firing import Above
from saywell.units.neurons import token_spans
from saywell.units.responses import Cells, Sparse
from saywell.units.statistics import source_units, unit_table
from saywell.units.tokens import Tokens

TEXTS, UNITS, WORDS, LENGTH = 120, 30, 25, 6


class Placed(Sparse):
    """Codes at tokens: a text's is the highest of its tokens, and where that is is known."""

    def cells(self, rows, places, sign=1):
        found = super().cells(rows, places, sign)
        at = self.at[rows[found.lines], places[found.places]]
        return Cells(found.places, found.lines, found.values, at.astype(np.int32))


@pytest.fixture(scope="module")
def world():
    random = np.random.default_rng(0)
    ids = random.integers(1, WORDS, (TEXTS, LENGTH))
    by_word = np.where(random.random((WORDS, UNITS)) < 0.12, random.random((WORDS, UNITS)), 0)
    codes = by_word[ids] * (random.random((TEXTS, LENGTH, UNITS)) < 0.7)
    whole = np.concatenate([np.zeros((TEXTS, 1), int), ids], axis=1)  # with a special token before
    tokens = Tokens(
        whole.ravel(),
        np.tile([False, *[True] * LENGTH], TEXTS),
        np.tile([(0, 0), *((2 * n, 2 * n + 1) for n in range(LENGTH))], (TEXTS, 1)),
        np.arange(TEXTS + 1) * (LENGTH + 1),
        0,
    )
    responses = Placed.of(sp.csr_matrix(codes.max(1)), np.arange(TEXTS))
    responses = Placed(responses.matrix, responses.order)
    object.__setattr__(responses, "at", 1 + codes.argmax(1))
    parts = {DESCRIBE: DescribeRows(np.arange(0, 80)), SCORE: ScoreRows(np.arange(80, TEXTS))}
    units = unit_table(
        source_units([f"latent/{n}" for n in range(UNITS)], "latent"), responses, Above(), parts[DESCRIBE]
    )
    vectors = random.normal(size=(TEXTS, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Activations(responses, units, Above()), tokens, parts, vectors


NAMES = [f"t{n:03d}" for n in range(TEXTS)]


@pytest.mark.parametrize("by", ["quantile", "step"])
def test_examples_are_drawn_from_the_whole_range(world, by, monkeypatch):
    monkeypatch.setattr(exemplar_ranges, "_BLOCK", 7)
    activations, tokens, parts, _ = world
    table = RANGES.check(
        range_table(activations, NAMES, parts, locate=token_spans(tokens), bins=Bins(4, 2, by))
    )
    ok = activations.units.filter(state="ok")["id"].to_list()
    assert sorted(table["unit"].unique()) == sorted(ok)
    values = activations.of(ok, np.arange(TEXTS))
    for unit, own in zip(ok, values, strict=True):
        fired = np.sort(own[:80][own[:80] > 0])
        for part, rows in parts.items():
            mine = table.filter(unit=unit, part=part)
            assert mine["example"].is_unique().all()
            for step in range(4):
                shown = mine.filter(bin=step)
                if by == "quantile":
                    low, high = (
                        fired[min(-(-len(fired) * b // 4), len(fired) - 1)] for b in (step, step + 1)
                    )
                else:
                    low, high = (fired[-1] * np.float32(b / 4) for b in (step, step + 1))
                inside = own[rows.rows]
                inside = inside[inside > 0]
                lower = inside >= low if step else inside == inside
                there = inside[lower & (inside < high if step < 3 else True)]
                assert shown.height == min(2, len(there))
                assert np.isin(shown["activation"].to_numpy(), there).all()
        spans = table.filter(unit=unit)
        at = [activations.responses.at[NAMES.index(e), int(unit.split("/")[1])] for e in spans["example"]]
        assert spans["span_start"].to_list() == [2 * (n - 1) for n in at]
    again = range_table(activations, NAMES, parts, seed=1, bins=Bins(4, 2, by))
    assert again["example"].to_list() != table["example"].to_list()


def test_near_misses_are_like_the_exemplars_and_silent(world, monkeypatch):
    monkeypatch.setattr(exemplar_ranges, "_BLOCK", 7)
    monkeypatch.setattr(exemplar_ranges, "_CELLS", 100)
    activations, tokens, parts, vectors = world
    table = NEAR_MISSES.check(
        near_miss_table(activations, NAMES, parts, tokens=tokens, vectors=vectors, most=3)
    )
    ids = tokens.ids.reshape(TEXTS, LENGTH + 1)
    ok = activations.units.filter(state="ok")["id"].to_list()
    values = activations.of(ok, np.arange(TEXTS))
    checked = 0
    for unit, own in zip(ok, values, strict=True):
        for part, rows in parts.items():
            best = rows.rows[np.argsort(-own[rows.rows], kind="stable")][:10]
            best = best[own[best] > 0]
            silent = rows.rows[own[rows.rows] == 0]
            if not len(best):
                continue
            peaks = [int(ids[row, activations.responses.at[row, int(unit.split("/")[1])]]) for row in best]
            word = max(dict.fromkeys(peaks), key=peaks.count)
            same = table.filter(unit=unit, part=part, why=SAME_TOKEN)
            having = [row for row in silent if word in ids[row]]
            assert same.height == min(3, len(having))
            for example, start in same.select("example", "span_start").iter_rows():
                row = NAMES.index(example)
                assert row in having
                assert ids[row].tolist().index(word) == 1 + start // 2
            mean = vectors[best].mean(0)
            cosine = vectors[silent] @ (mean / np.linalg.norm(mean))
            nearest = table.filter(unit=unit, part=part, why=NEAREST)
            expected = silent[np.argsort(-cosine)][:3]
            assert nearest["example"].to_list() == [NAMES[row] for row in expected]
            np.testing.assert_allclose(nearest["nearness"].to_numpy(), np.sort(cosine)[::-1][:3], rtol=1e-5)
            assert nearest["span_start"].is_null().all()
            checked += same.height
    assert checked > 20


def test_without_tokens_or_vectors_there_is_less(world):
    activations, tokens, parts, vectors = world
    assert set(near_miss_table(activations, NAMES, parts, tokens=tokens)["why"]) == {SAME_TOKEN}
    assert set(near_miss_table(activations, NAMES, parts, vectors=vectors)["why"]) == {NEAREST}
    assert near_miss_table(activations, NAMES, parts).equals(NEAR_MISSES.empty())
    nothing = activations.only([])
    assert range_table(nothing, NAMES, parts).schema == RANGES.empty().schema

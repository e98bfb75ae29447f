"""The activations of a study's units, asked for by unit and example, whatever they are kept as."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import final

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from jaxtyping import Bool, Float32, Int

from saywell.data.parts import DescribeRows, Rows, SelectRows
from saywell.units.firing import OK, Firing, Given
from saywell.units.responses import AtTokens, Cells, Fired, Responses, SparseResponses
from saywell.units.strongest import Exemplars

_CELLS = 1 << 23
_CASES = 2000
"""Texts that tell whether a tokenizer knows capitals."""


@final
@dataclass(frozen=True)
class Activations:
    """What every unit does on every example, addressed by the units' ids.

    `units`: at least id, place (its column in `responses`), sign, threshold and state (see
    `saywell.units.statistics.unit_table`), in any order. Values are signed so that more is stronger,
    and NaN where nobody knows. Rows are numbers of examples, 1-D for all units alike, or 2-D with one
    row of numbers for each unit.
    """

    responses: Responses
    units: pl.DataFrame
    firing: Firing
    seen: Int[np.ndarray, " examples"] | None = None
    """Where this is a view: which examples it has, by their numbers in `responses`."""

    def of(self, units: Sequence[str], rows: np.ndarray) -> Float32[np.ndarray, "units rows"]:
        """Activations of some units on some examples.

        Raises KeyError for a unit that there is not.
        """
        return self._of(self._numbers(units), rows)

    def fires(self, units: Sequence[str], rows: np.ndarray) -> Bool[np.ndarray, "units rows"]:
        """Whether they fire. Units whose state is not "ok" never do, nor does what is not known.

        The first call reads everything and keeps what fires; take `only` the units of interest first.
        """
        numbers, fired = self._numbers(units), self._fired
        if rows.ndim == 1:
            return fired[numbers][:, rows].toarray()
        each = np.repeat(numbers, rows.shape[1])
        return np.asarray(fired[each, rows.ravel()], dtype=bool).reshape(rows.shape)

    def both(
        self, units: Sequence[str], rows: Int[np.ndarray, " rows"]
    ) -> tuple[Float32[np.ndarray, "units rows"], Bool[np.ndarray, "units rows"]]:
        """`of` and `fires` of a few cells, from one reading of these alone."""
        numbers = self._numbers(units)
        values = self._of(numbers, rows)
        return values, self._fires(numbers, rows, values)

    def cells(
        self, units: Sequence[str], rows: Int[np.ndarray, " rows"]
    ) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """Rows x units: which fire, and of which nothing is known; for many units that fire on little."""
        return self._cells(self._numbers(units), rows)

    def peaks(self, units: Sequence[str], rows: Int[np.ndarray, " rows"]) -> Cells:
        """What fires, how strongly and at which token: places are numbers in `units`, lines in `rows`."""
        return self._found(self._numbers(units), rows)[0]

    def fires_at(
        self, rows: Int[np.ndarray, "units some"], values: Float32[np.ndarray, "units some"]
    ) -> Bool[np.ndarray, "units some"]:
        """Whether all the units fire on examples of which their values are at hand; never on row -1."""
        return (rows >= 0) & self._fires(np.arange(self.units.height), rows, values)

    def known(self, units: Sequence[str], rows: np.ndarray) -> Bool[np.ndarray, "units rows"]:
        """Whether anything is known of these units on these examples."""
        return ~np.isnan(self.of(units, rows))

    @property
    def at_tokens(self) -> bool:
        """Whether it is known at which tokens (or patches) units fire."""
        return isinstance(self.responses, AtTokens)

    def fired(self, unit: str) -> Fired:
        """Every token at which a unit fires, in the examples of this view and by their numbers in it.

        A unit whose state is not "ok" fires nowhere. Raises KeyError for a unit that there is not, and
        TypeError where nothing is known of tokens.
        """
        if not isinstance(self.responses, AtTokens):
            raise TypeError("these activations are of whole examples")
        number = self._number[unit]
        rows = None if self.seen is None else np.unique(self.seen)
        found = self.responses.fired(int(self._place[number]), rows, int(self._sign[number]))
        fires = self._ok[number] & (found.values >= self._threshold[number])
        found = Fired(*(each[fires] for each in found))
        if self.seen is None:
            return found
        own = self._outside(found.rows)
        order = np.lexsort((found.positions, own))
        return Fired(own[order], found.positions[order], found.values[order])

    def spans(self, found: Fired) -> Int[np.ndarray, "fired 2"]:
        """Which characters of its text each of these tokens covers, end exclusive; as `fired` gave them.

        Raises TypeError where nothing is known of tokens, or they are patches.
        """
        tokens = self.responses.tokens if isinstance(self.responses, AtTokens) else None
        if tokens is None:
            raise TypeError("these activations are not of tokens of texts")
        return tokens.spans[tokens.starts[self._inside(found.rows)] + found.positions].astype(np.int64)

    def sees_case(self, texts: Sequence[str]) -> bool:
        """See `Tokens.sees_case`; of the first texts of this view. True where nothing is known of tokens."""
        tokens = self.responses.tokens if isinstance(self.responses, AtTokens) else None
        some = texts[:_CASES]
        return tokens is None or tokens.sees_case(self._inside(np.arange(len(some))), some)

    def strongest(self, part: Rows, m: int) -> Exemplars:
        """The m strongest examples of a part for every unit, in the order of `units`.

        Equal values rank by the place of the example in what is stored, never by its number. Whether
        a unit fires on them is another matter.
        """
        shape = (self.units.height, m)
        values = np.full(shape, -np.inf, dtype=np.float32)
        examples, positions = np.full(shape, -1, dtype=np.int64), np.zeros(shape, dtype=np.int32)
        for sign, mine in self._by_sign:
            rows, places, responses = self._inside(part.rows), self._place[mine], self.responses
            if isinstance(responses, SparseResponses):
                top = responses.top_of(rows, places, m, sign)
            else:
                top = Exemplars(*(each[places] for each in responses.top(rows, m, sign)))
            columns = slice(top.values.shape[1])
            for whole, found in zip((values, examples, positions), top, strict=True):
                whole[mine, columns] = found.numpy()
        return Exemplars(*map(torch.from_numpy, (values, self._outside(examples), positions)))

    def order(self, part: Rows) -> Int[np.ndarray, " rows"]:
        """The examples of a part in the order in which `by_example` and `blocks` give them."""
        return np.concatenate([*self._pieces(part), part.rows[:0]])

    def by_example(self, part: Rows) -> Iterator[tuple[Int[np.ndarray, " rows"], sp.csr_matrix]]:
        """Some examples at a time: their numbers, and which units fire on them (rows x units, 0 and 1)."""
        for rows in self._pieces(part):
            fired, _ = self._cells(np.arange(self.units.height), rows)
            yield rows, fired.astype(np.float32)

    def blocks(
        self, part: Rows, cells: int = _CELLS
    ) -> Iterator[tuple[slice, Float32[np.ndarray, "rows block"]]]:
        """All units in blocks of at most `cells` numbers, on the examples of a part in their `order`."""
        rows = self._inside(self.order(part))
        width = max(1, cells // max(1, len(rows)))
        for sign, start, stop in self._runs:
            for first in range(start, stop, width):
                block = slice(first, min(stop, first + width))
                yield block, self.responses.read(rows, self._place[block], sign)

    def only(self, units: Sequence[str]) -> Activations:
        """The same of some units, in this order."""
        return replace(self, units=self.units[self._numbers(units)])

    def within(self, rows: DescribeRows | SelectRows) -> Activations:
        """A view in which there are only these examples, numbered from 0."""
        return replace(self, seen=self._inside(rows.rows))

    def _numbers(self, units: Sequence[str]) -> Int[np.ndarray, " units"]:
        return np.array([self._number[unit] for unit in units], dtype=np.int64)

    def _of(self, numbers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if rows.ndim == 2:
            every, place = np.unique(rows, return_inverse=True)
            return np.take_along_axis(self._of(numbers, every), place.reshape(rows.shape), axis=1)
        result = np.empty((len(numbers), len(rows)), dtype=np.float32)
        inside = self._inside(rows)
        for sign in np.unique(self._sign[numbers]).tolist():
            mine = np.flatnonzero(self._sign[numbers] == sign)
            result[mine] = self.responses.read(inside, self._place[numbers[mine]], sign).T
        return result

    def _cells(self, numbers: np.ndarray, rows: np.ndarray) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        shape = (len(rows), len(numbers))
        fired, lost = self._found(numbers, rows)
        return tuple(
            sp.csr_matrix((np.ones(len(each.lines), dtype=bool), (each.lines, each.places)), shape=shape)
            for each in (fired, lost)
        )  # type: ignore[return-value]

    def _found(self, numbers: np.ndarray, rows: np.ndarray) -> tuple[Cells, Cells]:
        """What fires and what is unknown: places are of `numbers`, lines of `rows`."""
        fired: list[Cells] = []
        lost: list[Cells] = []
        for sign in np.unique(self._sign[numbers]).tolist():
            mine = np.flatnonzero(self._sign[numbers] == sign)
            mine = mine[np.argsort(self._place[numbers[mine]], kind="stable")]
            silent = not isinstance(self.firing, Given) and not (self._threshold[numbers[mine]] <= 0).any()
            if silent and isinstance(self.responses, SparseResponses):
                found = self._stored(self.responses, numbers, mine, rows, sign)
            else:
                found = self._every(numbers, mine, rows, sign)
            for fires, cells in found:
                fired.append(Cells(*(each[fires] for each in cells)))
                unknown = np.isnan(cells.values)
                lost.append(Cells(*(each[unknown] for each in cells)))
        return Cells.of(fired), Cells.of(lost)

    def _stored(
        self, responses: SparseResponses, numbers: np.ndarray, mine: np.ndarray, rows: np.ndarray, sign: int
    ) -> Iterator[tuple[np.ndarray, Cells]]:
        """What is stored of units that are silent at 0, and what of it fires."""
        inside, start = self._inside(rows), 0
        for places in responses.blocks_of(self._place[numbers[mine]]):
            cells = responses.cells(inside, places, sign)
            cells = cells._replace(places=mine[start + cells.places])
            whose = numbers[cells.places]
            yield self._ok[whose] & (cells.values >= self._threshold[whose]), cells
            start += len(places)

    def _every(
        self, numbers: np.ndarray, mine: np.ndarray, rows: np.ndarray, sign: int
    ) -> Iterator[tuple[np.ndarray, Cells]]:
        """The same of all that fires or is unknown, from every value; no positions."""
        width, inside = max(1, _CELLS // max(1, len(rows))), self._inside(rows)
        for start in range(0, len(mine), width):
            block = mine[start : start + width]
            values = self.responses.read(inside, self._place[numbers[block]], sign).T
            fires = self._fires(numbers[block], rows, values)
            unit, line = (fires | np.isnan(values)).nonzero()
            nowhere = np.full(len(unit), -1, dtype=np.int32)
            yield fires[unit, line], Cells(block[unit], line, values[unit, line], nowhere)

    def _fires(self, numbers: np.ndarray, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        ok = self._ok[numbers, None]
        if not isinstance(self.firing, Given):
            return ok & (values >= self._threshold[numbers, None])
        said = self.firing.of(self._place[numbers], np.maximum(self._inside(rows), 0))
        return ok & said & ~np.isnan(values)

    def _inside(self, rows: np.ndarray) -> np.ndarray:
        """Numbers of examples in `responses`."""
        return rows if self.seen is None else self.seen[rows]

    def _outside(self, examples: np.ndarray) -> np.ndarray:
        """The numbers of this view for those of `responses`; -1 stays."""
        if self.seen is None:
            return examples
        number = np.full(int(self.seen.max(initial=0)) + 2, -1)
        number[self.seen] = np.arange(len(self.seen))
        return number[examples]

    def _pieces(self, part: Rows) -> Iterator[np.ndarray]:
        yield from map(self._outside, self.responses.pieces(self._inside(part.rows)))

    @cached_property
    def _fired(self) -> sp.csr_matrix:
        """Units x examples."""
        count = self.responses.examples if self.seen is None else len(self.seen)
        order, blocks = [np.arange(0)], [sp.csr_matrix((0, self.units.height))]
        for rows, fires in self.by_example(Rows(np.arange(count))):
            order.append(rows)
            blocks.append(fires)
        stacked, rows = sp.vstack(blocks, format="coo"), np.concatenate(order)
        cells = (stacked.col, rows[stacked.row])
        shape = (self.units.height, count)
        return sp.csr_matrix((np.ones(stacked.nnz, dtype=bool), cells), shape=shape)

    @cached_property
    def _number(self) -> dict[str, int]:
        return {unit: number for number, unit in enumerate(self.units["id"])}

    @cached_property
    def _place(self) -> np.ndarray:
        return self.units["place"].to_numpy().astype(np.int64)

    @cached_property
    def _sign(self) -> np.ndarray:
        return self.units["sign"].fill_null(1).to_numpy().astype(np.int64)

    @cached_property
    def _threshold(self) -> np.ndarray:
        return self.units["threshold"].to_numpy()

    @cached_property
    def _ok(self) -> np.ndarray:
        return (self.units["state"] == OK).to_numpy()

    @cached_property
    def _by_sign(self) -> list[tuple[int, np.ndarray]]:
        return [(int(sign), np.flatnonzero(self._sign == sign)) for sign in np.unique(self._sign)[::-1]]

    @cached_property
    def _runs(self) -> list[tuple[int, int, int]]:
        """Stretches of units of one sign: sign, start, stop."""
        cuts = np.flatnonzero(np.diff(self._sign)) + 1
        edges = [0, *cuts.tolist(), len(self._sign)]
        return [(int(self._sign[a]), a, b) for a, b in pairwise(edges) if b > a]

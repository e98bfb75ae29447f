"""How units respond to examples, as it is kept: dense shards of a pass, sparse rows, or in memory.

A *place* is a column of what is kept. A unit has a place and a sign: with -1 it is the same place going
low, negated, so that more is always stronger. NaN means that nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float32, Int
from safetensors import safe_open

from saywell.store.files import read_arrays, write_arrays
from saywell.units.strongest import Exemplars, TopExamples
from saywell.units.tokens import Tokens

RESPONSES = "responses.safetensors"
"""The file of sparse rows, or of responses that fit in memory, in a source's folder."""
TOKENS = "tokens.safetensors"
"""The file beside the shards of what fires at tokens; see `saywell.units.token_activations`."""
_CELLS = 1 << 23
_ROWS = 2048

RowNumbers = Int[np.ndarray, " rows"]
Values = Float32[np.ndarray, "rows places"]


class Responses(Protocol):
    """Every place's response to every example; whoever asks names both."""

    @property
    def examples(self) -> int:
        """How many examples there are."""
        ...

    @property
    def width(self) -> int:
        """How many places there are."""
        ...

    def pieces(self, rows: RowNumbers) -> Iterator[RowNumbers]:
        """The rows in the order in which equal responses rank, cut into what is best read together."""
        ...

    def read(self, rows: RowNumbers, places: Int[np.ndarray, " places"], sign: int = 1) -> Values:
        """Responses of some places to some examples, in the order asked for."""
        ...

    def top(self, rows: RowNumbers, m: int, sign: int = 1) -> Exemplars:
        """The m strongest of these examples for every place, where more than -inf is known of them.

        Positions (a token, a patch) are -1 where none was kept.
        """
        ...


class Cells(NamedTuple):
    """Responses other than 0, and NaN where nobody knows."""

    places: Int[np.ndarray, " cells"]
    lines: Int[np.ndarray, " cells"]
    """Examples, by their place in the order in which equal responses rank."""
    values: Float32[np.ndarray, " cells"]
    positions: Int[np.ndarray, " cells"]
    """-1 where none was kept."""

    @staticmethod
    def of(parts: Sequence[tuple[np.ndarray, ...]]) -> Cells:
        """Of several parts."""
        empty = (
            *[np.zeros(0, dtype=np.int64)] * 2,
            np.zeros(0, dtype=np.float32),
            np.zeros(0, dtype=np.int32),
        )
        return Cells(*(np.concatenate(each) for each in zip(*parts, empty, strict=True)))


@runtime_checkable
class SparseResponses(Responses, Protocol):
    """Responses most of which are 0."""

    def columns(self, rows: RowNumbers, places: Int[np.ndarray, " places"], sign: int = 1) -> sp.csc_matrix:
        """What `read` gives, rows x places, without zeros; NaN is stored where nobody knows."""
        ...

    def cells(self, rows: RowNumbers, places: Int[np.ndarray, " places"], sign: int = 1) -> Cells:
        """The same with the positions responsible: places and lines are numbers in `places` and `rows`."""
        ...

    def top_of(
        self, rows: RowNumbers, places: Int[np.ndarray, " places"], m: int, sign: int = 1
    ) -> Exemplars:
        """`top` of some places."""
        ...

    def blocks_of(
        self, places: Int[np.ndarray, " places"], cells: int = _CELLS
    ) -> Iterator[Int[np.ndarray, " some"]]:
        """Places, in ascending order, in runs of which about `cells` numbers at most are stored."""
        ...


class Fired(NamedTuple):
    """Tokens (or patches) at which a unit fires, by example, then position."""

    rows: Int[np.ndarray, " fired"]
    positions: Int[np.ndarray, " fired"]
    """In a text as the model reads it, special tokens counted."""
    values: Float32[np.ndarray, " fired"]


@runtime_checkable
class AtTokens(Protocol):
    """Responses that are kept token by token as well."""

    @property
    def tokens(self) -> Tokens | None:
        """The texts as the model read them; None of pictures."""
        ...

    def fired(self, place: int, rows: RowNumbers | None = None, sign: int = 1) -> Fired:
        """Every token of some examples (None: of all) at which a place's response is above 0."""
        ...


def open_responses(folder: Path, examples: int | None = None) -> Responses:
    """What a source left in a folder, of so many examples (shards hold but those that are known)."""
    path = folder / RESPONSES
    if (folder / TOKENS).is_file():
        from saywell.units.token_activations import TokenActivations

        return TokenActivations(folder, examples)
    if not path.is_file():
        return Shards(folder, examples)
    arrays = read_arrays(path)
    if "values" in arrays:
        return InMemory(arrays["values"], arrays["order"])
    shape = tuple(arrays["shape"].tolist())
    matrix = sp.csr_matrix((arrays["data"], arrays["indices"], arrays["indptr"]), shape=shape, copy=False)
    return Sparse(matrix, arrays["order"])


def order_of(ids: Sequence[str]) -> Int[np.ndarray, " examples"]:
    """Examples by their ids, which are hashes of content: an order that no order of a file can change."""
    return np.argsort(np.asarray(ids, dtype=np.str_), kind="stable")


@dataclass(frozen=True)
class InMemory:
    """Responses that fit in memory; examples of equal response rank by `order`."""

    values: Float32[np.ndarray, "examples places"]
    order: Int[np.ndarray, " examples"]

    @property
    def examples(self) -> int:
        """How many examples there are."""
        return self.values.shape[0]

    @property
    def width(self) -> int:
        """How many places there are."""
        return self.values.shape[1]

    def save(self, folder: Path) -> InMemory:
        """Keep them for `open_responses`."""
        write_arrays(
            folder / RESPONSES, {"values": torch.tensor(self.values), "order": torch.tensor(self.order)}
        )
        return self

    def pieces(self, rows: RowNumbers) -> Iterator[RowNumbers]:
        """See `Responses`."""
        return _pieces(rows, self.order, self.width)

    def read(self, rows: RowNumbers, places: Int[np.ndarray, " places"], sign: int = 1) -> Values:
        """See `Responses`."""
        return _signed(self.values[np.ix_(rows, places)], sign)

    def top(self, rows: RowNumbers, m: int, sign: int = 1) -> Exemplars:
        """See `Responses`."""
        return streamed_top(self, rows, m, sign)


@dataclass(frozen=True)
class Sparse:
    """Rows of few numbers other than 0: eight bytes for each; equal responses rank by `order`."""

    matrix: sp.csr_matrix
    """Examples x places, float32, without stored zeros. NaN may be stored."""
    order: Int[np.ndarray, " examples"]

    @staticmethod
    def of(matrix: sp.spmatrix | sp.sparray, order: Int[np.ndarray, " examples"]) -> Sparse:
        """From any sparse matrix; twice the same cell counts as the sum."""
        rows = sp.csr_matrix(matrix, dtype=np.float32)
        rows.sum_duplicates()
        rows.eliminate_zeros()
        return Sparse(rows, order)

    @property
    def examples(self) -> int:
        """How many examples there are."""
        return self.matrix.shape[0]

    @property
    def width(self) -> int:
        """How many places there are."""
        return self.matrix.shape[1]

    def save(self, folder: Path) -> Sparse:
        """Keep them for `open_responses`."""
        arrays = {
            name: torch.from_numpy(getattr(self.matrix, name)) for name in ("data", "indices", "indptr")
        }
        more = {"shape": torch.tensor(self.matrix.shape), "order": torch.tensor(self.order)}
        write_arrays(folder / RESPONSES, arrays | more)
        return self

    def pieces(self, rows: RowNumbers) -> Iterator[RowNumbers]:
        """See `Responses`."""
        return _pieces(rows, self.order, self.width)

    def read(self, rows: RowNumbers, places: Int[np.ndarray, " places"], sign: int = 1) -> Values:
        """See `Responses`."""
        return _signed(self.matrix[rows][:, places].toarray(), sign)

    def columns(self, rows: RowNumbers, places: Int[np.ndarray, " places"], sign: int = 1) -> sp.csc_matrix:
        """See `SparseResponses`."""
        if len(places) * self.examples < len(rows) * self.width:
            found = self._by_place[:, places][rows]
        else:
            found = (self.matrix[rows] if len(places) == self.width else self.matrix[rows][:, places]).tocsc()
        return -found if sign < 0 else found

    def cells(self, rows: RowNumbers, places: Int[np.ndarray, " places"], sign: int = 1) -> Cells:
        """See `SparseResponses`; no positions."""
        return _cells_of(self.columns(rows, places, sign))

    def blocks_of(
        self, places: Int[np.ndarray, " places"], cells: int = _CELLS
    ) -> Iterator[Int[np.ndarray, " some"]]:
        """See `SparseResponses`."""
        stored = np.cumsum(np.diff(self._by_place.indptr)[places] + 1)
        yield from np.split(places, np.flatnonzero(np.diff(stored // cells)) + 1)

    def top(self, rows: RowNumbers, m: int, sign: int = 1) -> Exemplars:
        """See `Responses`. Examples with 0 fill the room above what is below 0."""
        return self.top_of(rows, np.arange(self.width), m, sign)

    def top_of(
        self, rows: RowNumbers, places: Int[np.ndarray, " places"], m: int, sign: int = 1
    ) -> Exemplars:
        """See `SparseResponses`."""
        return top_of_few(self, np.concatenate([*self.pieces(rows), rows[:0]]), places, m, sign)

    @cached_property
    def _by_place(self) -> sp.csc_matrix:
        return self.matrix.tocsc()


def top_of_few(
    responses: SparseResponses, ordered: RowNumbers, places: np.ndarray, m: int, sign: int = 1
) -> Exemplars:
    """The strongest of rows, which are in the order in which equal responses rank, in blocks of places."""
    own, at = np.unique(places, return_inverse=True)
    found = [
        strongest_cells(responses.cells(ordered, some, sign), len(ordered), len(some), m)
        for some in responses.blocks_of(own)
    ]
    values, lines, positions = (torch.cat(each)[at] for each in zip(*found, strict=True))
    return Exemplars(values, torch.from_numpy(np.append(ordered, -1)[lines.numpy()]), positions)


def strongest_cells(cells: Cells, lines: int, places: int, m: int) -> Exemplars:
    """The m strongest of so many lines for each of so many places; examples are lines.

    The cells of a place are in the order of the lines. Lines without a cell have 0: they come after what is
    above 0, in their order, and have no position (-1).
    """
    values = torch.full((places, m), -torch.inf).numpy()
    examples = np.full((places, m), -1, dtype=np.int64)
    positions = np.full((places, m), -1, dtype=np.int32)
    known = ~np.isnan(cells.values)
    stored = np.bincount(cells.places, minlength=places)
    place, line, value, position = cells if known.all() else (each[known] for each in cells)
    best = _from_high_to_low(place, value)
    place, line, value, position = (each[best] for each in (place, line, value, position))
    above = np.bincount(place[value > 0], minlength=places)
    starts = np.searchsorted(place, np.arange(places))
    rank = np.arange(len(place)) - starts[place]
    rank += np.where(value < 0, lines - stored[place], 0)  # all that have no cell come before
    kept = rank < m
    at = place[kept], rank[kept]
    values[at], examples[at], positions[at] = value[kept], line[kept], position[kept]
    short = np.flatnonzero((above < m) & (stored < lines))
    # The first so many lines hold m that have no cell.
    window = min(lines, m + int(stored[short].max(initial=0)))
    for some in np.array_split(short, -(-len(short) * window // _CELLS) or 1):
        number = np.full(places, -1)
        number[some] = np.arange(len(some))
        resting = np.ones((len(some), window), dtype=bool)
        mine = (number[cells.places] >= 0) & (cells.lines < window)
        resting[number[cells.places[mine]], cells.lines[mine]] = False
        whose, first = resting.nonzero()
        count = np.cumsum(resting, axis=1)[whose, first] - 1 + above[some[whose]]
        kept = count < m
        at = some[whose[kept]], count[kept]
        values[at], examples[at] = 0, first[kept]
    return Exemplars(*map(torch.from_numpy, (values, examples, positions)))


class Shards:
    """The pooled activations that a pass left in a folder (see `saywell.units.hooks`).

    An example that is in no shard is not known; without `examples` there are none beyond the last that is.
    """

    def __init__(self, folder: Path, examples: int | None = None) -> None:
        self.folder, self._examples = folder, examples

    @property
    def examples(self) -> int:
        """How many examples there are."""
        return len(self._places[0]) if self._examples is None else self._examples

    @cached_property
    def parts(self) -> dict[str, Int[np.ndarray, " rows"]]:
        """By the names that the pass gave them, the examples of each part in the order of its shards."""
        found: dict[str, list[np.ndarray]] = {}
        for path in self._paths:
            found.setdefault(path.name.rpartition("-")[0], []).append(_read(path, "rows"))
        return {name: np.concatenate(rows) for name, rows in found.items()}

    @property
    def width(self) -> int:
        """How many places there are."""
        if not self._paths:
            return 0
        with safe_open(self._paths[0], framework="np") as saved:
            return saved.get_slice("high").get_shape()[1]

    def pieces(self, rows: RowNumbers) -> Iterator[RowNumbers]:
        """See `Responses`: shard by shard; what is in none comes last."""
        shard, line = self._where(rows)
        ordered = rows[np.lexsort((line, shard))]
        yield from _split(ordered, np.sort(shard, kind="stable"))

    def read(self, rows: RowNumbers, places: Int[np.ndarray, " places"], sign: int = 1) -> Values:
        """See `Responses`."""
        result = np.full((len(rows), len(places)), np.nan, dtype=np.float32)
        if not len(rows) or not len(places):
            return result
        first, last = int(places.min()), int(places.max()) + 1
        # Side by side they are taken as they are read, without one more copy.
        columns = slice(None) if np.array_equal(places, np.arange(first, last)) else places - first
        shard, line = self._where(rows)
        for number in np.unique(shard[shard < len(self._paths)]):
            path, mine = self._paths[number], np.flatnonzero(shard == number)
            result[mine] = _read(path, _key(path, sign), slice(first, last))[line[mine]][:, columns]
        return np.negative(result, out=result) if sign < 0 else result

    def top(self, rows: RowNumbers, m: int, sign: int = 1) -> Exemplars:
        """See `Responses`. Positions are known of the parts, and as many examples, as the pass kept."""
        known = np.sort(rows[self._where(rows)[0] < len(self._paths)])
        for name, stored in self.parts.items():
            if len(stored) == len(known) and np.array_equal(np.sort(stored), known):
                kept = self.kept(name, sign)
                if kept is not None and min(m, len(known)) <= kept.values.shape[1]:
                    return Exemplars(*(part[:, :m] for part in kept))
        return streamed_top(self, rows, m, sign)

    def kept(self, name: str, sign: int = 1) -> Exemplars | None:
        """The strongest examples that the pass kept of a part; None where it kept none."""
        side = "high" if sign > 0 else "low"
        path = self.folder / f"{name}-top.safetensors"
        if not path.is_file():
            return None
        with safe_open(path, framework="pt") as saved:
            if f"{side}_values" not in saved.keys():  # noqa: SIM118
                return None
            values, examples, positions = (
                saved.get_tensor(f"{side}_{what}") for what in ("values", "examples", "positions")
            )
        rows = np.append(self.parts[name], -1)  # example -1 (an empty place) stays -1
        return Exemplars(values, torch.from_numpy(rows[examples.numpy()]), positions)

    @cached_property
    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("*-[0-9]*.safetensors"))

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each example the shard that has it (one too many where none has) and its line there."""
        held = [_read(path, "rows") for path in self._paths]
        size = max((int(rows.max()) + 1 for rows in held if len(rows)), default=0)
        shard, line = np.full(size, len(held)), np.zeros(size, dtype=np.int64)
        for number, rows in enumerate(held):
            shard[rows], line[rows] = number, np.arange(len(rows))
        return shard, line

    def _where(self, rows: RowNumbers) -> tuple[np.ndarray, np.ndarray]:
        shard, line = self._places
        inside = rows < len(shard)
        at = np.where(inside, rows, 0)
        if not len(shard):
            return np.full(len(rows), len(self._paths)), at
        return np.where(inside, shard[at], len(self._paths)), np.where(inside, line[at], rows)


def streamed_top(responses: Responses, rows: RowNumbers, m: int, sign: int = 1) -> Exemplars:
    """The strongest of any examples, read once, in blocks of places; no positions."""
    ordered = np.concatenate([*responses.pieces(rows), rows[:0]])
    block = max(1, _CELLS // max(1, min(len(ordered), _ROWS)))
    found = []
    for start in range(0, max(1, responses.width), block):
        places = np.arange(start, min(start + block, responses.width))
        best = TopExamples(len(places), m)
        for first in range(0, len(ordered), _ROWS):
            values = torch.from_numpy(responses.read(ordered[first : first + _ROWS], places, sign))
            known = torch.where(values.isnan(), -torch.inf, values)
            best.add(known, torch.full(values.shape, -1), first)
        found.append(best.result())
    values, lines, positions = (torch.cat(parts) for parts in zip(*found, strict=True))
    lines = torch.where(values == -torch.inf, -1, lines)
    return Exemplars(values, torch.from_numpy(np.append(ordered, -1)[lines.numpy()]), positions)


def _cells_of(columns: sp.csc_matrix) -> Cells:
    columns.sort_indices()
    place = np.repeat(np.arange(columns.shape[1]), np.diff(columns.indptr))
    nowhere = np.full(len(place), -1, dtype=np.int32)
    return Cells(place, columns.indices.astype(np.int64), columns.data, nowhere)


def _from_high_to_low(places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """By place, then from high to low, equal values as they come: one sort of integers, not three."""
    bits = (values + np.float32(0)).view(np.int32)  # adding 0 makes -0 the same number as 0
    # The bits of a float, read as a number, grow with it; below zero they run the other way.
    bits ^= (bits >> 31) & np.int32(0x7FFFFFFF)
    key = (places.astype(np.int64) << 32) + (0x7FFFFFFF - bits.astype(np.int64))
    return np.argsort(key, kind="stable")


def _pieces(rows: RowNumbers, order: np.ndarray, width: int) -> Iterator[RowNumbers]:
    """Rows by their place in `order`, as many at once as make a bounded number of cells."""
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    ordered = rows[np.argsort(rank[rows], kind="stable")]
    step = max(1, min(_ROWS, _CELLS // max(1, width)))
    for start in range(0, len(ordered), step):
        yield ordered[start : start + step]


def _split(values: np.ndarray, groups: np.ndarray) -> Iterator[np.ndarray]:
    """Values by runs of equal groups."""
    for piece in np.split(values, np.flatnonzero(np.diff(groups)) + 1):
        if len(piece):
            yield piece


def _signed(values: Values, sign: int) -> Values:
    return np.negative(values) if sign < 0 else values


def _key(path: Path, sign: int) -> str:
    with safe_open(path, framework="np") as saved:
        return "low" if sign < 0 and "low" in saved.keys() else "high"  # noqa: SIM118


def _read(path: Path, key: str, columns: slice | None = None) -> np.ndarray:
    with safe_open(path, framework="np") as saved:
        if columns is None:
            return saved.get_tensor(key)
        return saved.get_slice(key)[:, columns.start : columns.stop]

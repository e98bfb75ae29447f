"""What latents do at every token (or patch), sparse from the first moment: collected, and asked for.

One pass of a model; what passes a hook is encoded batch by batch, and the codes of at most 65,535 tokens
are sorted by latent and written while the next are computed (see `saywell.units.token_shards` for the
files). Memory is bounded by two shards, whatever the number of examples, and what was stopped goes on with
the next shard.

    FOLDER/tokens.safetensors      latents; of texts also ids and character spans of all tokens
    FOLDER/PART-00000.safetensors  the codes of the first examples of a part, in the feed's order
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float32, Float64, Int
from torch import nn

from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.store.files import is_whole, write_arrays
from saywell.units.dictionaries.rules import Codes
from saywell.units.engines import Piece, make_shards
from saywell.units.hooks import BrokenActivations, Feed, Passed, Tap, TextFeed, token_vectors
from saywell.units.responses import TOKENS, Cells, Fired, RowNumbers, Values, top_of_few
from saywell.units.strongest import Exemplars
from saywell.units.token_shards import BLOCK, MOST_TOKENS, Shard, mapped, packed, smallest
from saywell.units.tokens import Tokens

Encode = Callable[[torch.Tensor], Codes]
_MOST_CODES = 1 << 25
"""Of a shard, as far as can be told from the first batch."""
_LOOKED_AT = 32
_CELLS = 1 << 22
"""Codes that are decoded at once."""


def collect_tokens(
    model: nn.Module,
    tap: Tap,
    encode: Encode,
    latents: int,
    feed: Feed,
    parts: Mapping[str, Int[np.ndarray, " rows"]],
    folder: Path,
    *,
    of: str,
    progress: Callable[[int], None] = lambda examples: None,
    engine: str = "local",
) -> None:
    """Leave in `folder` what `TokenActivations` reads.

    `of` says what is run on what: only where the same was stopped it goes on. `progress` is told of how many
    examples are done, and at the start how many were done before. `engine`: see `saywell.units.engines`.

    Raises BrokenActivations where what passes the tap, or a code, is NaN or infinite; InputError for
    an example of more positions than a shard holds.
    """
    model.eval()
    feed.check(model)
    folder.mkdir(parents=True, exist_ok=True)
    reading = Reading(model, tap, encode, latents, feed)
    if not is_whole(folder / TOKENS, of=of):
        write_arrays(folder / TOKENS, _told(latents, feed), of=of)
    pieces = _pieces(reading, parts, folder, of)
    for stale in set(folder.glob("*-[0-9]*.safetensors")) - {piece.path for piece in pieces}:
        stale.unlink()
    todo = [piece for piece in pieces if not is_whole(piece.path, of=piece.of)]
    progress(sum(len(p.rows) for p in pieces) - sum(len(p.rows) for p in todo))
    make_shards(reading, todo, progress, engine)


class Held(NamedTuple):
    """Codes of a shard as they came, token by token: eight bytes each."""

    counts: Int[np.ndarray, " examples"]
    positions: Int[np.ndarray, " tokens"]
    codes: Int[np.ndarray, " tokens"]
    """How many each token has."""
    latents: Int[np.ndarray, " codes"]
    values: Float32[np.ndarray, " codes"]


@dataclass(frozen=True)
class Reading:
    """A model, a place in it, and what encodes what passes there."""

    model: nn.Module
    tap: Tap
    encode: Encode
    latents: int
    feed: Feed

    @property
    def device(self) -> torch.device:
        """The model's."""
        return next(self.model.parameters()).device

    def read(self, rows: RowNumbers, progress: Callable[[int], None]) -> Held:
        """Codes of some examples, in this order."""
        counts, positions, codes, size = [], [], [], 0
        latents, values = (
            torch.empty(0, dtype=each, device=self.device) for each in (torch.int32, torch.float32)
        )
        for passed in self._passes(rows):
            found = self._encoded(passed)
            counts.append(passed.counts)
            positions.append(passed.positions)
            codes.append(torch.bincount(found.rows, minlength=len(passed.positions)).cpu().numpy())
            # As many as all examples would have if they were like these.
            room = size + len(found.values) * (len(rows) // len(passed.rows) + 1)
            latents = _put(latents, size, found.latents, room)
            values = _put(values, size, found.values, room)
            size += len(found.values)
            progress(len(passed.rows))
        # They stay on the device until the shard is whole: one transfer.
        whole = (each[:size].cpu().numpy() for each in (latents, values))
        return Held(*map(np.concatenate, (counts, positions, codes)), *whole)

    def first(self, rows: RowNumbers) -> tuple[int, float]:
        """Positions of the first example, and the mean number of codes of a position of the first batch."""
        with closing(self._passes(rows)) as batches:
            passed = next(batches)
        found = self._encoded(passed)
        return int(passed.counts[0]), len(found.values) / max(1, len(passed.positions))

    def write(self, piece: Piece, read: Held) -> None:
        """Sort a shard's codes by latent and put them into their file."""
        codes = packed(*read[2:], width=self.latents)
        told = {"rows": piece.rows, "counts": read.counts, "positions": read.positions}
        write_arrays(piece.path, {name: smallest(each) for name, each in told.items()} | codes, of=piece.of)

    def _passes(self, rows: RowNumbers) -> Generator[Passed]:
        for start in range(0, len(rows), self.feed.shard):
            yield from token_vectors(self.model, [self.tap], self.feed, rows[start : start + self.feed.shard])

    def _encoded(self, passed: Passed) -> Codes:
        vectors = passed.vectors[0].float()
        for token, column in _not_finite(vectors):
            raise BrokenActivations(_example(passed, token), f"{self.tap.module}[{column}]")
        with torch.inference_mode():
            found = self.encode(vectors)
        for (at,) in _not_finite(found.values):
            raise BrokenActivations(_example(passed, int(found.rows[at])), f"latent/{int(found.latents[at])}")
        return found


def _not_finite(values: torch.Tensor) -> list[list[int]]:
    """Where numbers are NaN or infinite. The sum tells at a glance that there are none."""
    return [] if torch.isfinite(values.sum()) else (~torch.isfinite(values)).nonzero().tolist()


def _put(held: torch.Tensor, size: int, more: torch.Tensor, room: int) -> torch.Tensor:
    """Numbers after the first `size` of those that are held; in a larger tensor of `room` if need be.

    In one block of memory: many small ones would stand between those of the passes and keep them from being
    used again.
    """
    if len(held) < size + len(more):
        larger = held.new_empty(max(room, 2 * len(held)))
        larger[:size] = held[:size]
        held = larger
    held[size : size + len(more)] = more
    return held


def _example(passed: Passed, token: int) -> int:
    return int(np.repeat(passed.rows, passed.counts)[token])


def _told(latents: int, feed: Feed) -> dict[str, torch.Tensor]:
    """What is stored once."""
    told = {"latents": torch.tensor([latents])}
    if not isinstance(feed, TextFeed):
        return told
    tokens = feed.tokens
    begin, end = tokens.spans.T
    return told | {
        "ids": smallest(tokens.ids),
        "content": torch.from_numpy(np.packbits(tokens.content)),
        "begin": smallest(begin),
        "length": smallest(end - begin),
        "sizes": smallest(tokens.lengths),
    }


def _pieces(
    reading: Reading, parts: Mapping[str, Int[np.ndarray, " rows"]], folder: Path, of: str
) -> list[Piece]:
    """All shards, cut by the examples alone."""
    feed, some = reading.feed, [rows for rows in parts.values() if len(rows)]
    if not some:
        return []
    usual, codes = reading.first(feed.order(some[0])[:_LOOKED_AT])
    most = max(1, min(MOST_TOKENS, int(_MOST_CODES / max(codes, 1))))
    pieces = []
    for part, rows in parts.items():
        ordered = feed.order(rows)
        tokens = np.full(len(ordered), usual)
        if isinstance(feed, TextFeed):
            tokens = (feed.tokens.lengths if feed.special else feed.tokens.contents)[ordered]
        if tokens.max(initial=0) > MOST_TOKENS:
            raise InputError(
                f"example {int(ordered[tokens.argmax()])} has {tokens.max():,} tokens, and of one example at"
                f" most {MOST_TOKENS:,} can be kept; cut it into windows (--context)"
            )
        for number, own in enumerate(_cut(ordered, tokens, most)):
            name = f"{part}-{number:05d}.safetensors"
            pieces.append(Piece(folder / name, own, combined(of, own.astype("<i8").tobytes())))
    return pieces


def _cut(rows: RowNumbers, sizes: Int[np.ndarray, " rows"], most: int) -> Iterator[RowNumbers]:
    """Rows side by side whose sizes come to `most` at most, or of which there is one."""
    ends, start = np.cumsum(sizes), 0
    while start < len(rows):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + most, side="right")))
        yield rows[start:stop]
        start = stop


class TokenActivations:
    """The codes that a pass left in a folder, as `saywell.units.responses.Responses`, and token by token.

    A response to an example is the highest code among its tokens, those without one being 0. An example
    that is in no shard is not known; without `examples` there are none beyond the last that is.
    """

    def __init__(self, folder: Path, examples: int | None = None) -> None:
        self.folder, self._examples = folder, examples

    @property
    def examples(self) -> int:
        """How many examples there are."""
        return len(self._places[0]) if self._examples is None else self._examples

    @property
    def width(self) -> int:
        """How many places (latents) there are."""
        return int(self._told["latents"][0])

    @cached_property
    def tokens(self) -> Tokens | None:
        """The texts as the model read them; None of pictures."""
        told = self._told
        if "ids" not in told:
            return None
        begin, length = told["begin"].astype(np.int32), told["length"].astype(np.int32)
        starts = np.concatenate([[0], np.cumsum(told["sizes"], dtype=np.int64)])
        content = np.unpackbits(told["content"], count=len(begin)).astype(bool)
        return Tokens(told["ids"].astype(np.int32), content, np.stack([begin, begin + length], 1), starts, 0)

    def pieces(self, rows: RowNumbers) -> Iterator[RowNumbers]:
        """See `Responses`: shard by shard; what is in none comes last."""
        shard, line = self._where(rows)
        order = np.lexsort((line, shard))
        yield from (
            part for part in np.split(rows[order], np.flatnonzero(np.diff(shard[order])) + 1) if len(part)
        )

    def read(self, rows: RowNumbers, places: Int[np.ndarray, " places"], sign: int = 1) -> Values:
        """See `Responses`. Dense: of few places, or few rows."""
        return self.columns(rows, places, sign).toarray()

    def columns(self, rows: RowNumbers, places: Int[np.ndarray, " places"], sign: int = 1) -> sp.csc_matrix:
        """See `saywell.units.responses.SparseResponses`."""
        cells = self.cells(rows, places, sign)
        shape = (len(rows), len(places))
        return sp.csc_matrix((cells.values, (cells.lines, cells.places)), shape=shape)

    def cells(self, rows: RowNumbers, places: Int[np.ndarray, " places"], sign: int = 1) -> Cells:
        """See `saywell.units.responses.SparseResponses`."""
        own, each = np.unique(places, return_inverse=True)
        shard, line = self._where(rows)
        found = []
        for number, mine in self._shards_of(shard):
            held = self._shards[number]
            cells = held.maxima(own, sign)
            lines, cell = _joined(line[mine], cells.lines, len(held.rows))
            place, at = np.searchsorted(own, cells.places[cell]), held.positions[cells.tokens[cell]]
            found.append((place, mine[lines], cells.values[cell], at.astype(np.int32)))
        lost = np.flatnonzero(shard == len(self._shards))
        nan = np.full(len(lost) * len(own), np.nan, dtype=np.float32)
        none = np.full(len(nan), -1, dtype=np.int32)
        found.append((np.tile(np.arange(len(own)), len(lost)), np.repeat(lost, len(own)), nan, none))
        whole = Cells.of(found)
        if np.array_equal(own, places):
            return whole
        asked, cell = _joined(each, whole.places, len(own))
        return Cells(asked, *(part[cell] for part in whole[1:]))

    def top(self, rows: RowNumbers, m: int, sign: int = 1) -> Exemplars:
        """See `Responses`, with positions."""
        return self.top_of(rows, np.arange(self.width), m, sign)

    def top_of(
        self, rows: RowNumbers, places: Int[np.ndarray, " places"], m: int, sign: int = 1
    ) -> Exemplars:
        """See `saywell.units.responses.SparseResponses`, with positions."""
        shard, line = self._where(rows)
        known = int((shard < len(self._shards)).sum())
        return top_of_few(self, rows[np.lexsort((line, shard))][:known], places, m, sign)

    def fired(self, place: int, rows: RowNumbers | None = None, sign: int = 1) -> Fired:
        """Every token of some examples (None: of all) that has a code of one latent above 0."""
        return self.fired_each([place], rows, sign)[0]

    def fired_each(self, places: Sequence[int], rows: RowNumbers | None = None, sign: int = 1) -> list[Fired]:
        """`fired` of several latents, from one reading."""
        own, at = np.unique(np.asarray(places, dtype=np.int64), return_inverse=True)
        found: list[list[tuple[np.ndarray, ...]]] = [[] for _ in own]
        wanted = None if rows is None else self._where(rows)
        for number, shard in enumerate(self._shards):
            if wanted is not None and not (wanted[0] == number).any():
                continue
            latents, counts, tokens, values = shard.codes(own)
            line, values = shard.lines[tokens], values * np.float32(sign)
            kept = values > 0
            if wanted is not None:
                asked = np.zeros(len(shard.rows), dtype=bool)
                asked[wanted[1][wanted[0] == number]] = True
                kept &= asked[line]
            ends = np.cumsum(counts)
            for latent, start, stop in zip(np.searchsorted(own, latents), ends - counts, ends, strict=True):
                here = start + np.flatnonzero(kept[start:stop])
                position = shard.positions[tokens[here]].astype(np.int64)
                found[latent].append((shard.rows[line[here]], position, values[here]))
        whole = [_by_example(each) for each in found]
        return [whole[number] for number in at]

    def density(self, rows: RowNumbers | None = None) -> Float64[np.ndarray, " places"]:
        """The share of the tokens of some examples (None: of all) that have a code of each latent."""
        fires, tokens = np.zeros(self.width), 0
        wanted = None if rows is None else self._where(rows)
        for number, shard in enumerate(self._shards):
            if wanted is None or len(shard.rows) == len(np.unique(wanted[1][wanted[0] == number])):
                latents, counts = shard.active()
                fires[latents] += counts
                tokens += int(shard.counts.sum())
                continue
            asked = np.zeros(len(shard.rows), dtype=bool)
            asked[wanted[1][wanted[0] == number]] = True
            if not asked.any():
                continue
            latents, counts, held, _ = shard.codes(np.arange(self.width))
            fires += np.bincount(np.repeat(latents, counts)[asked[shard.lines[held]]], minlength=self.width)
            tokens += int(shard.counts[asked].sum())
        return fires / max(1, tokens)

    def blocks_of(
        self, places: Int[np.ndarray, " places"], cells: int = _CELLS
    ) -> Iterator[Int[np.ndarray, " some"]]:
        """Places, in ascending order, in runs that have about `cells` codes at most."""
        stored = sum(
            (np.diff(shard.starts) for shard in self._shards), np.zeros(-(-self.width // BLOCK), int)
        )
        each = stored[places // BLOCK] / BLOCK + 1
        cut = np.flatnonzero(np.diff(np.cumsum(each) // cells)) + 1
        yield from np.split(places, cut)

    def _shards_of(self, shard: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Shards that have some of the rows, and which."""
        for number in np.unique(shard[shard < len(self._shards)]):
            yield int(number), np.flatnonzero(shard == number)

    @cached_property
    def _told(self) -> dict[str, np.ndarray]:
        return mapped(self.folder / TOKENS)

    @cached_property
    def _shards(self) -> list[Shard]:
        return [Shard(path) for path in sorted(self.folder.glob("*-[0-9]*.safetensors"))]

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each example the shard that has it (one too many where none has) and its line there."""
        size = max((int(shard.rows.max()) + 1 for shard in self._shards), default=0)
        size = max(size, self._examples or 0)
        which, line = np.full(size, len(self._shards)), np.arange(size)
        for number, shard in enumerate(self._shards):
            which[shard.rows], line[shard.rows] = number, np.arange(len(shard.rows))
        return which, line

    def _where(self, rows: RowNumbers) -> tuple[np.ndarray, np.ndarray]:
        shard, line = self._places
        return shard[rows], line[rows]


def _joined(asked: np.ndarray, lines: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of what was asked for and of cells that are on the same line: numbers in both."""
    order = np.argsort(asked, kind="stable")
    count = np.bincount(asked, minlength=size)
    first = np.cumsum(count) - count
    repeats = count[lines]
    cell = np.repeat(np.arange(len(lines)), repeats)
    before = np.cumsum(repeats) - repeats
    within = np.arange(len(cell)) - np.repeat(before, repeats)
    return order[first[lines[cell]] + within], cell


def _by_example(found: Sequence[tuple[np.ndarray, ...]]) -> Fired:
    empty = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
    rows, positions, values = (np.concatenate(each) for each in zip(*found, empty, strict=True))
    order = np.lexsort((positions, rows))
    return Fired(rows[order], positions[order], values[order])

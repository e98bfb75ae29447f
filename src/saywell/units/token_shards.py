"""Codes of some thousand tokens in one file, sorted by latent.

    PART-00000.safetensors
      rows          [examples]    numbers of the examples, in the order in which they were read
      counts        [examples]    positions of each that count; the tokens of a shard are numbered through
      positions     [tokens]      where in its example each token is
      tokens        [nonzeros]    uint16: by latent, then in order
      values        [nonzeros]    float16: in units of 2^exponent of the latent in this shard
      active        [active]      uint8: latents that fire at all, by their number within a block of 256
      codes         [active]      uint16: on how many tokens each fires
      exponents     [active]      int8
      blocks        [blocks + 1]  int32: of `active`, where each block begins
      starts        [blocks + 1]  int64: of `tokens` and `values`, where each block begins

So a code takes 4 bytes, a latent that fires 4 more, and a block of latents is found without reading the
rest. float16 keeps 11 bits of a value that is above 2^-28 of the latent's largest in the shard, and fewer of
smaller ones; none becomes 0 or infinite.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float32, Int, Integer

from saywell.store.files import damaged, storing

MOST_TOKENS = 65_535
"""Of a shard: their numbers are uint16."""
BLOCK = 256
"""Latents that are found together."""
_HIGHEST, _LOWEST, _SMALLEST = 15, -126, 2.0**-24
"""Values are below 2^_HIGHEST in units of 2^exponent, and are at least the smallest float16; the exponent is
at least that of the smallest normal float32."""
_LARGEST = (2 - 2.0**-10) * 2.0**127
"""The largest float32 of 11 bits: what is above it must not be rounded to infinity."""
_UNSIGNED = (torch.uint8, torch.uint16, torch.uint32)
_TYPES = {"U8": "<u1", "I8": "<i1", "U16": "<u2", "F16": "<f2", "I32": "<i4", "U32": "<u4", "I64": "<i8"}


def packed(
    counts: Int[np.ndarray, " tokens"],
    latents: Int[np.ndarray, " codes"],
    values: Float32[np.ndarray, " codes"],
    width: int,
) -> dict[str, torch.Tensor]:
    """Codes as they are stored: those of every token in order, of which it has `counts`; `width` latents."""
    ends = np.concatenate([[0], np.cumsum(counts)])
    ends = ends.astype(np.int32) if ends[-1] <= np.iinfo(np.int32).max else ends
    # SciPy sorts by counting: several times faster than any sort of numbers.
    by_latent = sp.csr_matrix((values, latents, ends), shape=(len(counts), width)).tocsc()
    codes = np.diff(by_latent.indptr)
    active = np.flatnonzero(codes)
    codes, values = codes[active], np.clip(by_latent.data, -_LARGEST, _LARGEST)
    starts = by_latent.indptr[active]
    largest = np.maximum.reduceat(np.abs(values), starts) if len(active) else values
    exponents = np.maximum(np.frexp(largest)[1] - _HIGHEST, _LOWEST)
    values *= np.repeat(np.ldexp(np.float32(1), -exponents), codes)
    half = torch.from_numpy(values).half()
    lost = (half == 0).nonzero()[:, 0]
    half[lost] = torch.copysign(torch.full_like(half[lost], _SMALLEST), half[lost])
    blocks = np.searchsorted(active, np.arange(-(-width // BLOCK) + 1) * BLOCK)
    return {
        "tokens": torch.from_numpy(by_latent.indices.astype(np.uint16)),
        "values": half,
        "active": torch.from_numpy((active % BLOCK).astype(np.uint8)),
        "codes": torch.from_numpy(codes.astype(np.uint16)),
        "exponents": torch.from_numpy(exponents.astype(np.int8)),
        "blocks": torch.from_numpy(blocks.astype(np.int32)),
        "starts": torch.from_numpy(np.append(starts, ends[-1]).astype(np.int64)[blocks]),
    }


def smallest(values: np.ndarray) -> torch.Tensor:
    """The same numbers, of which none is below 0, in as few bytes as hold the largest."""
    most = int(values.max(initial=0))
    kind = next((kind for kind in _UNSIGNED if most <= torch.iinfo(kind).max), torch.int64)
    return torch.from_numpy(values.astype(np.int64)).to(kind)


class Codes(NamedTuple):
    """Codes of some latents at tokens: by latent, then in the order of the tokens."""

    latents: Int[np.ndarray, " latents"]
    """Those of the latents that fire in the shard."""
    counts: Int[np.ndarray, " latents"]
    tokens: Integer[np.ndarray, " codes"]
    values: Float32[np.ndarray, " codes"]


class Maxima(NamedTuple):
    """The highest code of a latent among the tokens of an example, where that is not 0."""

    places: Int[np.ndarray, " cells"]
    lines: Int[np.ndarray, " cells"]
    """Examples, by their place in the shard."""
    values: Float32[np.ndarray, " cells"]
    tokens: Integer[np.ndarray, " cells"]
    """The first that has that code."""


class Shard:
    """A file that was written; nothing of it is in memory that is not asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def rows(self) -> Int[np.ndarray, " examples"]:
        """Numbers of its examples."""
        return np.asarray(self._arrays["rows"]).astype(np.int64)

    @cached_property
    def counts(self) -> Int[np.ndarray, " examples"]:
        """Tokens of each."""
        return np.asarray(self._arrays["counts"]).astype(np.int64)

    @property
    def positions(self) -> Integer[np.ndarray, " tokens"]:
        """Where in its example each token is."""
        return self._arrays["positions"]

    @property
    def lines(self) -> Int[np.ndarray, " tokens"]:
        """Of each token its example's place in the shard."""
        return np.repeat(np.arange(len(self.counts), dtype=np.int32), self.counts)

    @property
    def starts(self) -> Int[np.ndarray, " blocks_and_one"]:
        """How many codes stand before each block of latents."""
        return self._arrays["starts"]

    def active(self) -> tuple[Int[np.ndarray, " latents"], Int[np.ndarray, " latents"]]:
        """Latents that fire, and on how many tokens."""
        latents, _, counts, _ = self._index(0, len(self.starts) - 1)
        return latents, counts

    def codes(self, places: Int[np.ndarray, " places"]) -> Codes:
        """Codes of some latents, which are in ascending order."""
        arrays = self._arrays
        if not len(places):
            return Codes(*(np.zeros(0, dtype=t) for t in (np.int64, np.int64, np.uint16, np.float32)))
        latents, starts, counts, exponents = self._index(places[0] // BLOCK, places[-1] // BLOCK + 1)
        at = np.searchsorted(places, latents)
        asked = places[np.minimum(at, len(places) - 1)] == latents
        latents, starts, counts, exponents = (each[asked] for each in (latents, starts, counts, exponents))
        which = _ranges(starts, counts)
        values = arrays["values"][which].astype(np.float32)
        values *= np.repeat(np.ldexp(np.float32(1), exponents.astype(np.int32)), counts)
        return Codes(latents, counts, arrays["tokens"][which], values)

    def maxima(self, places: Int[np.ndarray, " places"], sign: int = 1) -> Maxima:
        """By example, of latents in ascending order; with sign -1 of the negated codes."""
        latents, counts, tokens, values = self.codes(places)
        if sign < 0:
            values = -values
        owner, line = np.repeat(np.arange(len(latents), dtype=np.int32), counts), self.lines[tokens]
        first = np.ones(len(values), dtype=bool)
        first[1:] = (owner[1:] != owner[:-1]) | (line[1:] != line[:-1])
        start = np.flatnonzero(first)
        if not len(start):
            nothing = np.zeros(0, dtype=np.int64)
            return Maxima(nothing, nothing, values, nothing)
        highest, size = np.maximum.reduceat(values, start), np.diff(start, append=len(values))
        peak = np.flatnonzero(values == np.repeat(highest, size))
        token = tokens[peak[np.searchsorted(peak, start)]]
        # Where a token of the example has no code, it has 0 there.
        highest = np.where(size < self.counts[line[start]], np.maximum(highest, 0), highest)
        kept = highest != 0
        start = start[kept]
        return Maxima(latents[owner[start]], line[start].astype(np.int64), highest[kept], token[kept])

    def _index(self, first: int, last: int) -> tuple[np.ndarray, ...]:
        """Of some blocks which latents fire, where their codes begin, how many they are, in which unit."""
        blocks = np.asarray(self._arrays["blocks"][first : last + 1]).astype(np.int64)
        mine = slice(blocks[0], blocks[-1])
        begin = np.repeat(np.arange(first, last) * BLOCK, np.diff(blocks))
        counts = np.asarray(self._arrays["codes"][mine]).astype(np.int64)
        starts = int(self.starts[first]) + np.cumsum(counts) - counts
        return (
            begin + self._arrays["active"][mine],
            starts,
            counts,
            np.asarray(self._arrays["exponents"][mine]),
        )

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        return mapped(self.path)


def mapped(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, read when they are used.

    Raises StorageError for a file that cannot be read or is no safetensors file.
    """
    with storing(path), path.open("rb") as file:
        try:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size))
            header.pop("__metadata__", None)
            whole = np.memmap(path, dtype=np.uint8, mode="r", offset=0)
            return {name: _array(whole[8 + size :], told) for name, told in header.items()}
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(path, error) from error


def _array(data: np.ndarray, told: dict) -> np.ndarray:
    start, stop = told["data_offsets"]
    return data[start:stop].view(np.dtype(_TYPES[told["dtype"]])).reshape(told["shape"])


def _ranges(starts: np.ndarray, counts: np.ndarray) -> slice | np.ndarray:
    """All numbers of some ranges; a slice where they follow on each other."""
    if not len(starts):
        return slice(0, 0)
    if starts[-1] + counts[-1] - starts[0] == counts.sum():
        return slice(int(starts[0]), int(starts[-1] + counts[-1]))
    before = np.cumsum(counts) - counts
    return np.arange(counts.sum()) + np.repeat(starts - before, counts)

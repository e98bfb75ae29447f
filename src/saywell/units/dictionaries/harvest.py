"""Vectors at a place in a model, one a token or patch, for a dictionary to be made of."""

from __future__ import annotations

import heapq
import os
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float32, Int, UInt64
from numpy.lib import format as npy
from torch import nn

from saywell.errors import InputError
from saywell.progress import Progress
from saywell.store.files import write_whole
from saywell.units.hooks import BrokenActivations, Feed, Tap, token_vectors


def harvest(
    model: nn.Module,
    tap: Tap,
    feed: Feed,
    rows: Int[np.ndarray, " rows"],
    path: Path,
    *,
    most: int,
    seed: int,
    progress: Progress,
) -> Float32[np.ndarray, "vectors width"]:
    """What passes a tap at every position that counts of some examples, as a memory map of a .npy file.

    Where there are more than `most`, those whose example's number and position have the smallest hashes: the
    same positions at every tap. Memory is that of a batch, and 100 bytes or so a vector for its place.

    Raises BrokenActivations for what is NaN or infinite; InputError where nothing passes.
    """
    if most < 1:
        raise InputError(f"at most {most} vectors are none; give 1 or more")
    feed.check(model)

    def fill(part: Path) -> None:
        with part.open("w+b") as file, progress("vectors", len(rows)) as advance:
            _header(file, 0, tap.units)
            sample = _Sample(file, tap.units, most)
            for passed in token_vectors(model, [tap], feed, feed.order(rows)):
                vectors = passed.vectors[0].float().cpu().numpy()
                examples = np.repeat(passed.rows, passed.counts)
                finite = np.isfinite(vectors).all(1)
                if not finite.all():
                    raise BrokenActivations(int(examples[np.argmin(finite)]), tap.module)
                sample.add(hashes(examples, passed.positions, seed), vectors)
                advance(len(passed.rows))
            if not sample.held:
                raise InputError(f"nothing passes {tap.module!r} of {len(rows)} examples; give more of them")
            _header(file, len(sample.held), tap.units)

    write_whole(path, fill)
    return np.load(path, mmap_mode="r")


class _Sample:
    """Rows of a file; the one of the largest hash gives way."""

    def __init__(self, file: BinaryIO, width: int, most: int) -> None:
        self.file, self.row, self.most, self.start = file, 4 * width, most, file.tell()
        self.held: list[tuple[int, int]] = []
        """Hashes, negated for a heap, and their rows."""

    def add(
        self, keys: UInt64[np.ndarray, " vectors"], vectors: Float32[np.ndarray, "vectors width"]
    ) -> None:
        """Take in what there is room for, or what is smaller than what is held."""
        free = self.most - len(self.held)
        self.file.seek(self.start + len(self.held) * self.row)
        self.file.write(np.ascontiguousarray(vectors[:free], dtype="<f4").data)
        for key in keys[:free].tolist():
            heapq.heappush(self.held, (-key, len(self.held)))
        if free >= len(keys):
            return
        largest = -self.held[0][0]
        for number in (free + np.flatnonzero(keys[free:] < largest)).tolist():
            key = int(keys[number])
            if key < -self.held[0][0]:
                _, row = heapq.heapreplace(self.held, (-key, self.held[0][1]))
                self.file.seek(self.start + row * self.row)
                self.file.write(vectors[number].astype("<f4").data)


def hashes(
    examples: Int[np.ndarray, " places"], positions: Int[np.ndarray, " places"], seed: int
) -> UInt64[np.ndarray, " places"]:
    """Numbers that look drawn by chance (SplitMix64), each of an example, a position and the seed alone."""
    found = np.full(len(examples), seed % (1 << 64), dtype=np.uint64)
    for part in (examples, positions):
        found = _mixed(found + part.astype(np.uint64))
    return found


def _mixed(x: np.ndarray) -> np.ndarray:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _header(file: BinaryIO, rows: int, width: int) -> None:
    """NumPy leaves room in it for any number of rows."""
    file.seek(0, os.SEEK_SET)
    npy.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (rows, width)})

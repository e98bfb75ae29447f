"""Responses of many examples to disk, shard by shard, with the strongest examples kept on the way.

A finished shard (some hundreds or thousands of examples of one part) leaves

    FOLDER/PART-00000.safetensors   high, low [examples, units] float32, rows [examples] int32
    FOLDER/PART-top.safetensors     strongest and weakest examples so far, shards included

so what was stopped goes on with the next shard, and memory is bounded by one shard and the lists of
strongest examples, whatever the number of examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Int
from safetensors import safe_open

from saywell.data.parts import PARTS
from saywell.store.files import is_whole, write_arrays
from saywell.units.strongest import Exemplars, TopExamples


class Reader(Protocol):
    """Who gives the responses of a shard's examples."""

    @property
    def device(self) -> torch.device:
        """Where the responses are."""
        ...

    @property
    def sides(self) -> Sequence[str]:
        """Sides: high, and low where units that go low are wanted. Without values of its own, low is high."""
        ...

    @property
    def widths(self) -> Sequence[int]:
        """Units of each site."""
        ...

    @property
    def shard(self) -> int:
        """Examples of a shard."""
        ...

    def order(self, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
        """Rows in the order in which they are read, and in which equal responses rank."""
        ...

    def read(
        self, rows: Int[np.ndarray, " rows"], positions: bool, progress: Callable[[int], None]
    ) -> dict[str, torch.Tensor]:
        """For each side [rows, units] float32 and, if asked for, SIDE_position; good for one more shard."""
        ...


@dataclass(frozen=True)
class Keep:
    """What is kept beside the responses: the `top` strongest examples of some parts.

    `of` says what is run on what: only where the same was stopped it goes on. `progress` is told of how
    many examples are done, and at the start how many were done before.
    """

    top: int = 50
    of: str = ""
    parts: Sequence[str] = PARTS
    progress: Callable[[int], None] = lambda examples: None


def write_shards(
    reader: Reader, parts: Mapping[str, Int[np.ndarray, " rows"]], folder: Path, keep: Keep
) -> None:
    """Leave the responses of the examples of every part in `folder`.

    A part of which a file changed since is begun anew.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Files are written while the next shard is computed, one at a time and in order.
    with ThreadPoolExecutor(1) as writer:
        writing: Future[None] | None = None
        for part, rows in parts.items():
            ordered = reader.order(rows)
            shards = [ordered[start : start + reader.shard] for start in range(0, len(ordered), reader.shard)]
            tops = _Tops(reader, keep.top) if part in keep.parts else None
            done = _resume(folder, part, tops, keep.of)
            seen = sum(len(shard) for shard in shards[:done])
            keep.progress(seen)
            for number, shard in enumerate(shards[done:], start=done):
                arrays = reader.read(shard, tops is not None, keep.progress)
                if tops is not None:
                    tops.add(arrays, seen)
                strongest = tops.arrays() if tops is not None else {}
                if writing is not None:
                    writing.result()  # so that the arrays of the shard before are free again
                writing = writer.submit(_write, folder / part, number, arrays, shard, strongest, keep.of)
                seen += len(shard)
        if writing is not None:
            writing.result()


class _Tops:
    """Strongest and weakest examples of the units of every site."""

    def __init__(self, reader: Reader, m: int) -> None:
        self.sides = {
            side: [TopExamples(width, m, reader.device) for width in reader.widths] for side in reader.sides
        }

    def add(self, shard: Mapping[str, torch.Tensor], first_example: int) -> None:
        for side, tops in self.sides.items():
            values, positions = shard.get(side, shard["high"]), shard[f"{side}_position"]
            start = 0
            for top in tops:
                columns = slice(start, start + top.units)
                sign = 1 if side == "high" else -1
                top.add(values[:, columns], positions[:, columns], first_example, sign=sign)
                start += top.units

    def arrays(self) -> dict[str, torch.Tensor]:
        arrays: dict[str, torch.Tensor] = {}
        for side, per_site in self.sides.items():
            results = [top.result() for top in per_site]
            for name in Exemplars._fields:
                arrays[f"{side}_{name}"] = torch.cat([getattr(r, name) for r in results]).cpu()
        return arrays

    def restore(self, arrays: Mapping[str, torch.Tensor]) -> None:
        for side, per_site in self.sides.items():
            sizes = [top.units for top in per_site]
            pieces = [arrays[f"{side}_{name}"].split(sizes) for name in Exemplars._fields]
            for top, *saved in zip(per_site, *pieces, strict=True):
                top.restore(Exemplars(*saved))


def _write(
    part: Path,
    number: int,
    shard: Mapping[str, torch.Tensor],
    rows: np.ndarray,
    strongest: Mapping[str, torch.Tensor],
    of: str,
) -> None:
    """The shard first, then what counts it as done."""
    values = {side: shard[side].cpu() for side in ("high", "low") if side in shard}
    arrays = {**values, "rows": torch.from_numpy(rows.astype(np.int32))}
    write_arrays(_shard_path(part, number), arrays, of=of)
    done = {**strongest, "shards": torch.tensor([number + 1])}
    write_arrays(_top_path(part), done, of=of)


def _shard_path(part: Path, number: int) -> Path:
    return part.with_name(f"{part.name}-{number:05d}.safetensors")


def _top_path(part: Path) -> Path:
    return part.with_name(f"{part.name}-top.safetensors")


def _resume(folder: Path, part: str, tops: _Tops | None, of: str) -> int:
    """How many shards of the part were finished before; its strongest examples are restored."""
    path = _top_path(folder / part)
    if is_whole(path, of=of):
        with safe_open(path, framework="pt") as saved:
            kept = {key: saved.get_tensor(key) for key in saved.keys()}  # noqa: SIM118
        done = int(kept["shards"][0])
        if all(is_whole(_shard_path(folder / part, n), of=of) for n in range(done)):
            if tops is not None:
                tops.restore(kept)
            return done
    for stale in folder.glob(f"{part}-*.safetensors"):
        stale.unlink()
    return 0

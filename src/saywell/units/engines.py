"""Where shards are made: here, one after the other, or by workers of a Ray cluster.

A shard is a function of its examples alone, so the files are the same to the last byte wherever they are
made, as long as a processor of the same kind makes them with as many threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Int

from saywell.errors import InputError
from saywell.store.files import write_whole

ENGINES = ("local", "ray")
Progress = Callable[[int], None]


class Piece(NamedTuple):
    """A shard to be made."""

    path: Path
    rows: Int[np.ndarray, " rows"]
    of: str
    """What it is made from; see `saywell.store.files.is_whole`."""


class Work(Protocol):
    """What makes shards."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def read(self, rows: Int[np.ndarray, " rows"], progress: Progress) -> Any:
        """Compute a shard."""
        ...

    def write(self, piece: Piece, read: Any) -> None:
        """Leave it in its file."""
        ...


def make_shards(work: Work, pieces: Sequence[Piece], progress: Progress, engine: str = "local") -> None:
    """Leave the files of all pieces; `progress` is told of how many examples are done.

    Raises what `work` raises, and InputError for an engine that there is not.
    """
    if engine not in ENGINES:
        raise InputError(f"engine={engine!r} (--engine) is none of {', '.join(ENGINES)}")
    if pieces:
        (_by_ray if engine == "ray" else _here)(work, pieces, progress)


def _here(work: Work, pieces: Sequence[Piece], progress: Progress) -> None:
    # Files are written while the next shard is computed, one at a time and in order.
    with ThreadPoolExecutor(1) as writer:
        writing: Future[None] | None = None
        for piece in pieces:
            read = work.read(piece.rows, progress)
            if writing is not None:
                writing.result()
            writing = writer.submit(work.write, piece, read)
            del read  # else it would be held until the next one is computed
        if writing is not None:
            writing.result()


def _by_ray(work: Work, pieces: Sequence[Piece], progress: Progress) -> None:
    """As many workers as the cluster has room for; what they made comes back and is written here.

    So workers need not see this machine's disk. A cluster that is running is joined where
    RAY_ADDRESS, or an earlier `ray.init`, says so; else one is started on this machine.
    """
    try:
        import ray
        from ray.data import ActorPoolStrategy, DataContext
    except ImportError as error:
        raise InputError(
            "--engine ray needs Ray: pip install 'saywell[ray]', or leave out --engine"
        ) from error
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    DataContext.get_current().enable_progress_bars = False
    threads, gpus = torch.get_num_threads(), int(work.device.type == "cuda")
    room = ray.cluster_resources()
    workers = int(room.get("GPU", 0) if gpus else room.get("CPU", 1) // threads)
    made = ray.data.from_items([{"number": n} for n in range(len(pieces))], override_num_blocks=len(pieces))
    made = made.map_batches(
        _Worker,
        batch_size=1,
        compute=ActorPoolStrategy(size=max(1, min(workers, len(pieces)))),
        num_cpus=threads,
        num_gpus=gpus,
        fn_constructor_args=(ray.put((work, pieces)), threads),
    )
    for row in made.iter_rows():
        if row["error"] is not None:
            raise row["error"]
        piece, data = pieces[row["number"]], row["data"]
        write_whole(piece.path, lambda part, data=data: part.write_bytes(data))
        progress(len(piece.rows))


class _Worker:
    """Holds the model, and makes a shard at a time."""

    def __init__(self, held: Any, threads: int) -> None:
        import ray

        torch.set_num_threads(threads)
        self.work, self.pieces = ray.get(held)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        (number,) = batch["number"].tolist()
        data, error = b"", None
        with TemporaryDirectory() as folder:
            piece = self.pieces[number]
            own = piece._replace(path=Path(folder) / piece.path.name)
            try:
                self.work.write(own, self.work.read(own.rows, lambda examples: None))
                data = own.path.read_bytes()
            except InputError as found:
                error = found
        return {"number": [number], "data": [data], "error": [error]}

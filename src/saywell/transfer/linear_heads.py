"""Many small linear classifiers trained by SGD on features that are already computed.

Runs differ in their examples, weights, learning rates and seeds; each comes out the same whichever
runs are trained beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

_HEAD_NUMBERS = 16_000_000
"""Weights trained side by side (64 MB of float32); more runs are taken in turn."""
_MOST_KEPT = 2_000  # rows whose orders are kept for other runs of the same seed


class Heads(NamedTuple):
    """One softmax classifier a run."""

    weights: Float[torch.Tensor, "runs classes dim"]
    biases: Float[torch.Tensor, "runs classes"]


class Stream(NamedTuple):
    """Examples that every step draws from: each run has its own rows and its own loss weights."""

    features: Float[torch.Tensor, "rows dim"]
    labels: Int[torch.Tensor, " rows"]
    rows: Int[np.ndarray, "runs most"]
    """Rows of `features` that belong to a run, filled up with -1 on the right."""
    weights: Float[np.ndarray, "runs most"]
    batch_size: int


def zero_heads(runs: int, classes: int, dim: int, dtype: torch.dtype = torch.float32) -> Heads:
    """Heads that know nothing: the problem is convex, so no other start is needed."""
    return Heads(torch.zeros(runs, classes, dim, dtype=dtype), torch.zeros(runs, classes, dtype=dtype))


def cosine_rates(rate: float, epochs: int, t_max: int | None = None) -> Float[np.ndarray, " epochs"]:
    """The learning rate of each epoch, falling from `rate` to 0 along half a cosine.

    `t_max` is the epoch at which it would reach 0, `epochs` by default.
    """
    return rate * (1 + np.cos(np.pi * np.arange(epochs) / (t_max or max(epochs, 1)))) / 2


def step_rates(
    rate: float, epochs: int, every: int = 30, factor: float = 0.1
) -> Float[np.ndarray, " epochs"]:
    """The learning rate of each epoch, multiplied by `factor` every `every` epochs."""
    return rate * factor ** (np.arange(epochs) // every)


def train_heads(
    start: Heads,
    streams: Sequence[Stream],
    rates: Float[np.ndarray, "runs epochs"],
    seeds: Sequence[int],
    *,
    keep: Collection[int] = (),
) -> dict[int, Heads]:
    """SGD on the weighted cross-entropy; the heads after each epoch in `keep` and after the last.

    The key of a result is the number of epochs done. Every step takes one batch from each stream
    and adds their gradients; an epoch is one pass through a run's rows of the first stream, and the
    others begin anew when they run out. A batch's loss is sum_i w_i * loss_i / (number of its
    examples). The order of examples depends on the run's seed, the epoch and the stream alone. No
    momentum and no weight decay, as in the paper. `start` is not changed.

    Runs with the same rows and seed meet the same batches, and are trained in one product.
    """
    runs, classes, dim = start.weights.shape
    rates = np.broadcast_to(rates, (runs, rates.shape[-1]))
    epochs = rates.shape[1]
    kept = {
        epoch: Heads(start.weights.clone(), start.biases.clone())
        for epoch in sorted({epoch for epoch in keep if epoch <= epochs} | {epochs})
    }
    teams: dict[tuple, list[int]] = {}
    for run in np.flatnonzero(rates.any(1)).tolist():  # the others stay where they start
        key = (seeds[run], *(stream.rows[run].tobytes() for stream in streams))
        teams.setdefault(key, []).append(run)
    orders: dict[tuple[int, int, int, int], np.ndarray] = {}
    with one_thread():
        for members in teams.values():
            own = [stream.rows[members[0]] for stream in streams]
            own = [rows[rows >= 0] for rows in own]
            if not len(own[0]):
                continue
            features = torch.cat(
                [s.features[torch.from_numpy(r)] for s, r in zip(streams, own, strict=True)]
            ).to(start.weights.dtype)
            labels = torch.cat([s.labels[torch.from_numpy(r)] for s, r in zip(streams, own, strict=True)])
            batches = _Batches(
                [len(r) for r in own], [s.batch_size for s in streams], seeds[members[0]], orders
            )
            numbers = classes * max(dim, len(features))
            at_once = max(1, _HEAD_NUMBERS // numbers)
            for first in range(0, len(members), at_once):
                part = members[first : first + at_once]
                losses = np.concatenate(
                    [s.weights[part][:, : len(r)] for s, r in zip(streams, own, strict=True)], 1
                )
                _train(start, kept, part, features, labels, losses, rates[part], batches)
    return kept


def pad_rows(rows: Sequence[Int[np.ndarray, " _"]]) -> Int[np.ndarray, "runs most"]:
    """Lists of rows of several lengths as one array, filled up with -1."""
    padded = np.full((len(rows), max((len(r) for r in rows), default=0)), -1, dtype=np.int64)
    for run, own in enumerate(rows):
        padded[run, : len(own)] = own
    return padded


def _train(
    start: Heads,
    kept: dict[int, Heads],
    runs: list[int],
    features: torch.Tensor,
    labels: torch.Tensor,
    losses: Float[np.ndarray, "runs n"],
    rates: Float[np.ndarray, "runs epochs"],
    batches: _Batches,
) -> None:
    """Train runs that meet the same batches, and write their heads into `kept`."""
    _, classes, dim = start.weights.shape
    dtype = features.dtype
    solver = (_Dual if len(features) <= 2 * dim else _Primal)(
        features, start.weights[runs].reshape(-1, dim), start.biases[runs].reshape(-1)
    )
    shares = torch.as_tensor(losses.T, dtype=dtype)  # [n, runs]
    truth = torch.nn.functional.one_hot(labels, classes).to(dtype)[:, None]
    for epoch in range(rates.shape[1]):
        if epoch in kept:
            _write(kept[epoch], runs, solver.heads(), classes)
        rate = torch.as_tensor(rates[:, epoch], dtype=dtype)
        for rows, sizes in batches.of(epoch):
            errors = solver.logits(rows).view(-1, len(runs), classes).softmax(-1)
            errors -= truth[rows]
            errors *= (shares[rows] / sizes * -rate)[:, :, None]
            solver.add(rows, errors.view(len(errors), -1))
    _write(kept[rates.shape[1]], runs, solver.heads(), classes)


def _write(kept: Heads, runs: list[int], heads: tuple[torch.Tensor, torch.Tensor], classes: int) -> None:
    weights, biases = heads
    kept.weights[runs] = weights.view(len(runs), classes, -1)
    kept.biases[runs] = biases.view(len(runs), classes)


class _Primal:
    """Heads as they are: [runs * classes, dim]."""

    def __init__(self, features: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor) -> None:
        self._features, self._weights, self._biases = features, weights.clone(), biases.clone()

    def logits(self, rows: torch.Tensor | slice) -> torch.Tensor:
        return torch.addmm(self._biases, self._features[rows], self._weights.T)

    def add(self, rows: torch.Tensor | slice, moves: torch.Tensor) -> None:
        """Add every example of the batch as many times to every class of every run."""
        self._weights.addmm_(moves.T, self._features[rows])
        self._biases += moves.sum(0)

    def heads(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._weights, self._biases


class _Dual:
    """Heads as what was added to them: so many times each example.

    Fewer numbers where there are fewer examples than dimensions, and a step is one product instead
    of two.
    """

    def __init__(self, features: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor) -> None:
        self._features, self._weights, self._biases = features, weights, biases
        self._products = features @ features.T + 1  # 1: of the bias
        self._first = torch.addmm(biases, features, weights.T)
        self._times = torch.zeros_like(self._first)

    def logits(self, rows: torch.Tensor | slice) -> torch.Tensor:
        return torch.addmm(self._first[rows], self._products[rows], self._times)

    def add(self, rows: torch.Tensor | slice, moves: torch.Tensor) -> None:
        if isinstance(rows, slice):
            self._times += moves
        else:
            self._times.index_add_(0, rows, moves)

    def heads(self) -> tuple[torch.Tensor, torch.Tensor]:
        return (torch.addmm(self._weights, self._times.T, self._features), self._biases + self._times.sum(0))


class _Batches:
    """The batches of one team: rows of all streams, one behind the other."""

    def __init__(
        self,
        counts: Sequence[int],
        sizes: Sequence[int],
        seed: int,
        orders: dict[tuple[int, int, int, int], np.ndarray],
    ) -> None:
        self._counts, self._sizes, self._seed, self._orders = counts, sizes, seed, orders
        self._steps = [max(1, -(-count // size)) for count, size in zip(counts, sizes, strict=True)]
        self._offsets = np.cumsum([0, *counts])
        self._whole = torch.cat([torch.full((n, 1), float(max(n, 1))) for n in counts])

    def of(self, epoch: int) -> Iterator[tuple[torch.Tensor | slice, torch.Tensor]]:
        """Rows, and [rows, 1] of how many of its own stream stand in the batch with each."""
        if max(self._steps) == 1:  # every batch is everything, and its order changes nothing
            yield slice(None), self._whole
            return
        for step in range(epoch * self._steps[0], (epoch + 1) * self._steps[0]):
            rows, sizes = [], []
            for number, (steps, size) in enumerate(zip(self._steps, self._sizes, strict=True)):
                done, place = divmod(step, steps)
                found = self._order(done, number)[place * size : (place + 1) * size]
                rows.append(found + self._offsets[number])
                sizes += [float(len(found))] * len(found)
            yield torch.from_numpy(np.concatenate(rows)), torch.tensor(sizes)[:, None]

    def _order(self, done: int, number: int) -> np.ndarray:
        count = self._counts[number]
        key = (self._seed, done, number, count)
        if key in self._orders:
            return self._orders[key]
        order = np.random.default_rng([self._seed, done, number]).permutation(count)
        if count > _MOST_KEPT:  # of many rows, only those of this pass
            for old in [k for k in self._orders if k[2] == number and k[3] > _MOST_KEPT]:
                del self._orders[old]
        self._orders[key] = order
        return order


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch: the products are small, and threads would wait for each other.

    Many times longer, where other processes want the processor, too.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

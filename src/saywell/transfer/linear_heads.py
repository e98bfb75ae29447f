"""Many small linear classifiers trained at once by SGD on features that are already computed.

Runs differ in their examples, weights, learning rates and seeds; each comes out the same whichever
runs are trained beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int

_HEAD_NUMBERS = 16_000_000
"""Weights trained side by side (64 MB of float32); more runs are taken in turn."""


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
    return Heads(
        torch.zeros(runs, classes, dim, dtype=dtype), torch.zeros(runs, classes, dtype=dtype)
    )


def cosine_rates(
    rate: float, epochs: int, t_max: int | None = None
) -> Float[np.ndarray, " epochs"]:
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
    and adds their gradients; an epoch is one pass through the first stream, and the others begin
    anew when they run out. A batch's loss is sum_i w_i * loss_i / (number of its examples). The
    order of examples depends on the run's seed, the epoch and the stream alone. No momentum and
    no weight decay, as in the paper. `start` is not changed.
    """
    runs, classes, dim = start.weights.shape
    rates = np.broadcast_to(rates, (runs, rates.shape[-1])).copy()
    at_once = max(1, _HEAD_NUMBERS // (classes * dim))
    parts = [
        _train(
            Heads(*(array[part] for array in start)),
            [s._replace(rows=s.rows[part], weights=s.weights[part]) for s in streams],
            rates[part],
            list(seeds)[part],
            keep,
        )
        for part in (slice(i, i + at_once) for i in range(0, runs, at_once))
    ]
    return {
        epoch: Heads(
            torch.cat([part[epoch].weights for part in parts]),
            torch.cat([part[epoch].biases for part in parts]),
        )
        for epoch in parts[0]
    }


def pad_rows(rows: Sequence[Int[np.ndarray, " n"]]) -> Int[np.ndarray, "runs most"]:
    """Lists of rows of several lengths as one array, filled up with -1."""
    padded = np.full((len(rows), max((len(r) for r in rows), default=0)), -1, dtype=np.int64)
    for run, own in enumerate(rows):
        padded[run, : len(own)] = own
    return padded


def _train(
    start: Heads,
    streams: Sequence[Stream],
    rates: np.ndarray,
    seeds: Sequence[int],
    keep: Collection[int],
) -> dict[int, Heads]:
    weights, biases = start.weights.clone(), start.biases.clone()
    epochs = rates.shape[1]
    steps = -(-streams[0].rows.shape[1] // streams[0].batch_size)
    kept: dict[int, Heads] = {}
    feeds = [_Feed(stream, seeds, number) for number, stream in enumerate(streams)]
    for epoch in range(epochs):
        if epoch in keep:
            kept[epoch] = Heads(weights.clone(), biases.clone())
        rate = torch.as_tensor(rates[:, epoch], dtype=weights.dtype)[:, None, None]
        for step in range(steps):
            batches = [feed.batch(epoch * steps + step) for feed in feeds]
            # All gradients are taken before any is applied.
            gradients = [_gradient(weights, biases, *batch) for batch in batches]
            for by_weight, by_bias in gradients:
                weights -= rate * by_weight
                biases -= rate[:, :, 0] * by_bias
    kept[epochs] = Heads(weights, biases)
    return kept


def _gradient(
    weights: torch.Tensor,
    biases: torch.Tensor,
    features: torch.Tensor,
    labels: torch.Tensor,
    shares: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.baddbmm(biases[:, None], features, weights.transpose(1, 2))
    errors = logits.softmax(-1)
    errors.scatter_add_(-1, labels[:, :, None], -torch.ones_like(shares)[:, :, None])
    errors *= shares[:, :, None]
    return errors.transpose(1, 2) @ features, errors.sum(1)


class _Feed:
    """Hands out the batches of one stream, pass after pass."""

    def __init__(self, stream: Stream, seeds: Sequence[int], number: int) -> None:
        self._stream, self._seeds, self._number = stream, seeds, number
        self._counts = (stream.rows >= 0).sum(1)
        self._steps = max(1, -(-stream.rows.shape[1] // stream.batch_size))
        self._pass = -1
        self._only: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Features [runs, batch, dim], labels [runs, batch] and the weight of each loss."""
        if self._only is not None:
            return self._only
        done, place = divmod(step, self._steps)
        if self._steps == 1:  # every pass is the same batch, and its order changes nothing
            self._only = self._gather(self._stream.rows, self._stream.weights)
            return self._only
        if done != self._pass:
            self._shuffle(done)
        part = slice(place * self._stream.batch_size, (place + 1) * self._stream.batch_size)
        return self._gather(self._rows[:, part], self._weights[:, part])

    def _shuffle(self, done: int) -> None:
        self._pass = done
        order = np.tile(np.arange(self._stream.rows.shape[1]), (len(self._seeds), 1))
        drawn: dict[tuple[int, int], np.ndarray] = {}
        for run, key in enumerate(zip(self._seeds, self._counts.tolist(), strict=True)):
            if key not in drawn:
                random = np.random.default_rng([key[0], done, self._number])
                drawn[key] = random.permutation(key[1])
            order[run, : key[1]] = drawn[key]
        self._rows = np.take_along_axis(self._stream.rows, order, axis=1)
        self._weights = np.take_along_axis(self._stream.weights, order, axis=1)

    def _gather(
        self, rows: np.ndarray, weights: np.ndarray
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        real = rows >= 0
        shares = np.where(real, weights, 0.0) / np.maximum(real.sum(1, keepdims=True), 1)
        index = torch.from_numpy(np.maximum(rows, 0))
        features = self._stream.features[index]
        return features, self._stream.labels[index], torch.as_tensor(shares, dtype=features.dtype)

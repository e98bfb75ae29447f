"""How sparse autoencoders are trained here: AdamW on few vectors at a time, whatever fires.

An objective says what is active and what its gradients are; the rest is the same for all: a start from
vectors of the data, a rate that falls to nothing, latents that start anew where they do not fire, and what is
kept on the way.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from threadpoolctl import threadpool_limits

from saywell.errors import InputError
from saywell.progress import Progress
from saywell.store.files import is_whole, read_arrays, write_arrays
from saywell.units.dictionaries.active import Active, Array
from saywell.units.dictionaries.dictionary import Dictionary
from saywell.units.dictionaries.rules import Rule

_RATE, _DECAY = 4e-3, 0.4
"""The highest rate of AdamW, and how much the encoder is drawn to nothing, for the sake of new vectors."""
_STEPS = 160
"""Steps of a pass, of 8 to 128 vectors each: more where there are more vectors than that makes, or fewer."""
_PASSES, _SHOWN = 12, 2_400_000
"""Passes over all vectors, fewer (but one) where these would show more vectors than that."""
_LOOKED_AT = 4096
"""Vectors that are looked at for a start, and when dead latents start anew."""
_SPANS, _SPAN = (12, 48), 25_000
"""A latent that does not fire in a span of steps starts anew: a 12th of them, or less (a 48th at least)
where that shows more than so many vectors."""
_AHEAD = 64
"""Batches that are read together, in the order in which they lie on a disk."""
_KEPT = 1000
"""Steps after which all is kept, for another process to go on with."""


class Weights(NamedTuple):
    """What is trained: arrays on a processor, tensors on an accelerator.

    `thresholds` are natural logarithms; a method without thresholds has none.
    """

    encoder: Array
    bias: Array
    decoder: Array
    thresholds: Array


class Objective(Protocol):
    """What a method makes of vectors; vectors are centred, and 1 long in the mean square."""

    @property
    def k(self) -> int:
        """Latents that are active for a vector, in the mean."""
        ...

    def thresholds(self, before: Float32[np.ndarray, "rows latents"]) -> Float32[np.ndarray, " latents"]:
        """Logarithms to start with, given what latents get before any choice; empty where there are none."""
        ...

    def active(self, now: Weights, before: Array) -> Active:
        """Which latents fire, in training."""
        ...

    def gradients(self, now: Weights, x: Array) -> tuple[Weights, np.ndarray]:
        """Of half the mean squared error and what else counts, and which latents fired."""
        ...

    def rule(self, now: Weights, x: Float32[np.ndarray, "rows width"]) -> Rule:
        """What fires of a vector that stands alone; lengths in those of `x`, a sample of what was seen."""
        ...


@dataclass(frozen=True)
class Kept:
    """Where training is kept on the way; `of` tells what it is made of."""

    path: Path
    of: str


def descend(
    objective: Objective,
    vectors: Float[np.ndarray, "vectors width"],
    latents: int,
    *,
    seed: int,
    kept: Kept | None,
    progress: Progress,
    device: str,
) -> Dictionary:
    """A dictionary that leaves little squared error, by AdamW with a rate that falls to nothing.

    Directions start as vectors of the data, so that few are dead; one that does not fire for long starts anew
    as what is explained worst. With that, the auxiliary loss of Gao et al. changed nothing that was measured.

    Raises InputError where vectors are all alike.
    """
    centre = vectors.mean(0, dtype=np.float64).astype(np.float32)
    size = _size(vectors, centre)
    if not size > 0:
        raise InputError(f"all {len(vectors)} vectors are alike; there is nothing to find in them")
    # Sums round by the number of threads, and small products gain little from more than one.
    with threadpool_limits(1, user_api="blas"):
        run = _Run(objective, _Scaled(vectors, centre, size), latents, seed, torch.device(device))
        first = run.resume(kept) if kept is not None else 0
        with progress("training a dictionary", run.steps) as advance:
            advance(first)
            for step in range(first, run.steps):
                run.step(step)
                advance(1)
                if kept is not None and ((step + 1) % _KEPT == 0 or step + 1 == run.steps):
                    run.keep(kept, step + 1)
        now = run.arrays()
        rule = objective.rule(now, run.vectors[run.order[:_LOOKED_AT]])
    encoder, bias, decoder = map(torch.from_numpy, (now.encoder, now.bias * size, now.decoder))
    return Dictionary(encoder, bias, decoder, torch.from_numpy(centre), _larger(rule, float(size)))


def _larger(rule: Rule, size: float) -> Rule:
    thresholds = getattr(rule, "thresholds", None)
    return rule if thresholds is None else replace(rule, thresholds=thresholds * size)  # type: ignore[type-var]


@dataclass(frozen=True)
class _Scaled:
    """Vectors as they are trained on, read by rows."""

    vectors: np.ndarray
    centre: np.ndarray
    size: np.float32

    def __getitem__(self, rows: np.ndarray | list[int]) -> Float32[np.ndarray, "rows width"]:
        return (self.vectors[rows].astype(np.float32) - self.centre) / self.size

    def batches(self, order: Int[np.ndarray, " rows"], batch: int) -> Iterator[np.ndarray]:
        """Some at a time; many are read together, in the order in which they lie in a file."""
        for start in range(0, len(order), batch * _AHEAD):
            rows = order[start : start + batch * _AHEAD]
            sorted_rows, where = np.unique(rows, return_inverse=True)
            together = self[sorted_rows]
            for some in range(0, len(rows), batch):
                yield together[where[some : some + batch]]


class _Run:
    """The state of a training, which is all that is kept of it."""

    def __init__(
        self, objective: Objective, vectors: _Scaled, latents: int, seed: int, device: torch.device
    ) -> None:
        self.objective, self.vectors, self.device = objective, vectors, device
        self.whole = device.type != "cpu"
        count = len(vectors.vectors)
        self.batch = int(np.clip(count // _STEPS, 8, 128))
        self.pass_steps = -(-count // self.batch)
        self.steps = self.pass_steps * int(np.clip(_SHOWN // count, 1, _PASSES))
        self.spans = int(np.clip(self.steps * self.batch // _SPAN, *_SPANS))
        self.random = np.random.default_rng(seed)
        self.order = self.random.permutation(count)
        self.alive = np.zeros(latents, dtype=bool)
        self._batches: Iterator[np.ndarray] | None = None
        shown = vectors[_different(vectors.vectors, self.order, latents)]
        start = _start(objective, shown, vectors[self.order[:_LOOKED_AT]], latents, self.random)
        self.weights = [torch.from_numpy(array).to(device) for array in start]
        groups = [
            {"params": self.weights[:1], "weight_decay": _DECAY},
            {"params": self.weights[1:], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)

    @property
    def now(self) -> Weights:
        """The weights, as objectives look at them."""
        return Weights(*(self.weights if self.whole else (weight.numpy() for weight in self.weights)))

    def arrays(self) -> Weights:
        """Copies of the weights."""
        return Weights(*(weight.cpu().numpy().copy() for weight in self.weights))

    def step(self, number: int) -> None:
        """One step of AdamW, and what is due after it."""
        if self._batches is None:
            self._batches = self.vectors.batches(
                self.order[number % self.pass_steps * self.batch :], self.batch
            )
        x, now = next(self._batches), self.now
        found, fired = self.objective.gradients(now, self._put(x) if self.whole else x)
        self.alive |= fired
        for weight, gradient in zip(self.weights, found, strict=True):
            weight.grad = torch.as_tensor(gradient) if weight.numel() else None
        for group in self.optimiser.param_groups:
            group["lr"] = _RATE * min(1, 20 * (number + 1) / self.steps) * (1 - number / self.steps)
        self.optimiser.step()  # changes the arrays of `now`
        norm = torch.linalg.norm(now.decoder, dim=1, keepdim=True) if self.whole else _lengths(now.decoder)
        now.decoder[:] = now.decoder / norm
        done = number + 1
        if done % self.pass_steps == 0:
            self.order, self._batches = self.random.permutation(self.order), None
        period = max(1, self.steps // self.spans)
        if done % period == 0:
            # The more there are, the less of what was learned is lost by the last.
            if done // period <= self.spans * (0.5 if self.spans == _SPANS[0] else 0.75):
                self._renew()
            self.alive[:] = False

    def _put(self, x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(x).to(self.device)

    def _renew(self) -> None:
        """Dead latents start anew, as what is left of vectors of which most is left."""
        dead = np.flatnonzero(~self.alive)
        if not len(dead):
            return
        now, x = self.arrays(), self.vectors[self.order[:_LOOKED_AT]]
        left = x - self.objective.active(now, x @ now.encoder.T + now.bias).decoded(now.decoder)
        worst = np.argsort(-np.square(left).sum(1), kind="stable")[: 4 * len(dead)]
        chosen = self.random.permutation(worst)
        now.decoder[dead] = unit_rows(left[np.resize(chosen, len(dead))], self.random)
        now.encoder[dead] = now.decoder[dead] * np.linalg.norm(now.encoder, axis=1).mean()
        now.bias[dead] = 0
        if now.thresholds.size:
            now.thresholds[dead] = np.median(now.thresholds)
        for weight, array in zip(self.weights, now, strict=True):
            weight.copy_(torch.from_numpy(array))

    def _numbered(self) -> list[tuple[int, torch.Tensor]]:
        return [(number, weight) for number, weight in enumerate(self.weights) if weight.numel()]

    def keep(self, kept: Kept, done: int) -> None:
        """All that the next step goes by."""
        state = {"random": self.random.bit_generator.state, "done": done}
        whole = {
            "state": torch.frombuffer(bytearray(json.dumps(state).encode()), dtype=torch.uint8),
            "order": torch.from_numpy(self.order),
            "alive": torch.from_numpy(self.alive),
        }
        for number, weight in self._numbered():
            whole |= {f"weight{number}": weight} | {
                f"{name}{number}": value for name, value in self.optimiser.state[weight].items()
            }
        write_arrays(kept.path, {name: tensor.cpu() for name, tensor in whole.items()}, of=kept.of)

    def resume(self, kept: Kept) -> int:
        """Go on where a training of the same was kept; how many steps are done."""
        if not is_whole(kept.path, of=kept.of):
            return 0
        whole = read_arrays(kept.path)
        state = json.loads(whole["state"].tobytes())
        self.random.bit_generator.state = state["random"]
        self.order, self.alive = whole["order"], whole["alive"]
        for number, weight in self._numbered():
            weight.copy_(torch.from_numpy(whole[f"weight{number}"]))
            self.optimiser.state[weight] = {
                name: torch.from_numpy(whole[f"{name}{number}"]).to(self.device)
                for name in ("step", "exp_avg", "exp_avg_sq")
            }
        return state["done"]


def check_vectors(vectors: np.ndarray, width: int | None = None) -> None:
    """Raises InputError for what is no matrix of finite numbers, or of another width."""
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise InputError(f"vectors are a matrix of floats, one a row, not {vectors.dtype} of {vectors.shape}")
    if width is not None and vectors.shape[1] != width:
        raise InputError(f"vectors of {vectors.shape[1]} numbers, where the dictionary is of {width}")
    for some in blocks(vectors):
        if not np.isfinite(some).all():
            raise InputError("some vectors have numbers that are not finite")


def _different(vectors: np.ndarray, order: np.ndarray, most: int) -> list[int]:
    """Rows of vectors that differ, the first of `order`."""
    found: dict[bytes, int] = {}
    for row in order:
        found[vectors[row].tobytes()] = row
        if len(found) == most:
            break
    return list(found.values())


def _size(vectors: np.ndarray, centre: np.ndarray) -> np.float32:
    """Root mean square of the distance from the centre."""
    squares = (np.square(some - centre).sum(dtype=np.float64) for some in blocks(vectors))
    return np.float32(np.sqrt(sum(squares) / len(vectors)))


def blocks(vectors: np.ndarray, rows: int = 1 << 13) -> Iterator[np.ndarray]:
    """Some rows at a time, in order."""
    return (vectors[start : start + rows] for start in range(0, len(vectors), rows))


def unit_rows(rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rows of length 1; one that is nothing becomes a direction by chance."""
    nothing = ~np.any(rows, axis=1)
    rows[nothing] = random.standard_normal((nothing.sum(), rows.shape[1]))
    return rows / _lengths(rows)


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.linalg.norm(rows, axis=1, keepdims=True)


def _start(
    objective: Objective, shown: np.ndarray, x: np.ndarray, latents: int, random: np.random.Generator
) -> Weights:
    """Directions that are vectors shown, the rest by chance, with an encoder that makes the best of them.

    Vectors of data are like one another, so k of them that are like a vector sum up to more than it: the
    encoder is the decoder, as much smaller as leaves least error.
    """
    width = x.shape[1]
    decoder = unit_rows(np.vstack([shown, np.zeros((latents - len(shown), width), np.float32)]), random)
    before = x @ decoder.T
    now = Weights(decoder, np.zeros(latents, np.float32), decoder, objective.thresholds(before))
    sums = objective.active(now, before).decoded(decoder)
    smaller = (sums * x).sum() / np.square(sums).sum()
    encoder = decoder * smaller
    thresholds = now.thresholds + np.log(smaller) if now.thresholds.size else now.thresholds
    return now._replace(encoder=encoder, thresholds=thresholds.astype(np.float32))

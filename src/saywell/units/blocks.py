"""What a transformer block adds to the residual stream, and by which modules: told from its numbers.

A block is run once. The tensors that enter and leave its modules are compared: `x + a` where `x` enters the
block and `a` leaves a module is a state of the residual stream if another module reads just that. So what is
added, in which order, before or after which norm, is seen, whatever the modules are called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any, NamedTuple

import torch
from torch import nn

from saywell.units.probe import Ran, Side

_LARGE = 64.0
"""Of the numbers that a module is asked to normalise: beside them the epsilon of a norm is nothing."""


class Where(NamedTuple):
    """The input or the output of a module."""

    module: str
    side: Side


@dataclass(frozen=True)
class Added:
    """One thing that a block adds: the output of `module`, after which the stream is at `after`.

    `norm` is the norm that the stream itself then goes through (post-norm blocks, such as BERT's).
    """

    module: str
    after: Where | None
    norm: str | None = None


@dataclass(frozen=True)
class Norm:
    """How a norm divides, before its weights: `(x - mean) / sqrt(var + eps)`, or without the mean."""

    eps: float
    centres: bool

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """In float32, as TransformerLens does."""
        x = x.float()
        if self.centres:
            x = x - x.mean(-1, keepdim=True)
        return x / (x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt()


class Tensors:
    """What entered and left the modules of a part of a model, each of which ran once, by position."""

    def __init__(self, ran: Sequence[Ran], by_position: Callable[[torch.Tensor], Any]) -> None:
        """`by_position` gives [examples, positions, width], or None for what is no such thing."""
        times = Counter(one.module for one in ran)
        self.at: dict[Where, torch.Tensor] = {}
        for one in ran:
            both = {Where(one.module, "input"): one.entered, Where(one.module, "output"): one.left}
            for where, found in both.items():
                shaped = None if found is None or times[one.module] > 1 else by_position(found)
                if shaped is not None and shaped.is_floating_point():
                    self.at[where] = shaped

    def where(self, wanted: Callable[[Where, torch.Tensor], bool]) -> Tensors:
        """Some of them."""
        some = copy(self)
        some.at = {where: tensor for where, tensor in self.at.items() if wanted(where, tensor)}
        return some

    def within(self, module: str) -> Tensors:
        """Those of a module and of what is in it."""
        return self.where(lambda where, _: f"{where.module}.".startswith(f"{module}."))

    def get(self, module: str, side: Side) -> torch.Tensor | None:
        """What is there; None where the module did not run once, or holds no row a position."""
        return self.at.get(Where(module, side))

    def equal(self, wanted: torch.Tensor, side: Side | None = None) -> list[Where]:
        """Where just that is; what is nearest to the root of the model first, in the order of the run."""
        found = [
            where
            for where, tensor in self.at.items()
            if side in (None, where.side) and tensor.shape == wanted.shape and torch.equal(tensor, wanted)
        ]
        return sorted(found, key=lambda where: where.module.count("."))


def additions(tensors: Tensors, block: str, is_norm: Callable[[str], bool]) -> list[Added] | None:
    """What a block adds, in order; of a parallel block its two things, both without `after`.

    None where its output is not its input and one to three outputs of its modules added up.
    """
    x, y = tensors.get(block, "input"), tensors.get(block, "output")
    if x is None or y is None or x.shape != y.shape:
        return None
    inner = tensors.where(lambda where, tensor: where.module != block and tensor.shape == x.shape)
    return _chain(inner, Where(block, "output"), x, y, is_norm) or _parallel(inner, x, y)


def _chain(
    inner: Tensors,
    end: Where,
    x: torch.Tensor,
    y: torch.Tensor,
    is_norm: Callable[[str], bool],
    most: int = 3,
) -> list[Added] | None:
    """Additions one after another, each of which leads to a tensor that is there; depth first."""
    if most == 0:
        return None
    tried: list[torch.Tensor] = []
    for where, part in inner.at.items():
        if where.side != "output" or any(torch.equal(part, other) for other in tried):
            continue
        tried.append(part)
        total = x + part
        if torch.equal(total, x):
            continue
        module = inner.equal(part, "output")[0].module
        if torch.equal(total, y):
            return [Added(module, end)]
        there = [place for place in inner.equal(total) if place.module != module]
        if not there:
            continue
        after = there[0]
        rest = _chain(inner, end, total, y, is_norm, most - 1)
        if rest is not None:
            return [Added(module, after), *rest]
        for norm in (place.module for place in there if place.side == "input" and is_norm(place.module)):
            left = inner.get(norm, "output")
            if left is None:
                continue
            if torch.equal(left, y):
                return [Added(module, after, norm)]
            rest = _chain(inner, end, left, y, is_norm, most - 1)
            if rest is not None:
                return [Added(module, after, norm), *rest]
    return None


def _parallel(inner: Tensors, x: torch.Tensor, y: torch.Tensor) -> list[Added] | None:
    """Two things that both read the block's input; a sum depends on the order of its terms."""
    parts: list[tuple[str, torch.Tensor]] = []
    for where, part in inner.at.items():
        if where.side == "output" and not any(torch.equal(part, other) for _, other in parts):
            parts.append((inner.equal(part, "output")[0].module, part))
    for (one, a), (other, b) in combinations(parts, 2):
        if any(torch.equal(p + q + r, y) for p, q, r in permutations((x, a, b))):
            return [Added(one, None), Added(other, None)]
    return None


@torch.no_grad()
def as_norm(module: nn.Module, width: int) -> Norm | None:
    """How a module normalises; None where it is no norm: another module, or one that does more.

    Seen from what it does to made-up vectors: the result does not grow with them, does or does not change
    where the same is added to all of their numbers, and is, up to a weight and a bias for each number, what
    the `Norm` says.
    """
    eps = next((e for e in _epsilons(module)), None)
    if eps is None:
        return None
    parameter = next(module.parameters(), None)
    like = {"device": None if parameter is None else parameter.device}
    steps = torch.arange(4 * width, dtype=torch.float32, **like).view(4, 1, width)  # type: ignore[arg-type]
    x = _LARGE * torch.sin(1.7 * steps) + torch.cos(0.3 * steps)

    def run(vectors: torch.Tensor) -> torch.Tensor | None:
        given = vectors if parameter is None else vectors.to(parameter.dtype)
        try:
            made = module(given)
        except Exception:  # a module that wants something else
            return None
        return made.float() if isinstance(made, torch.Tensor) and made.shape == x.shape else None

    exact = parameter is None or parameter.dtype == torch.float32
    tolerance = 1e-3 if exact else 5e-2
    made, moved = run(x), run(x + _LARGE)
    if made is None or moved is None or not torch.isfinite(made).all():
        return None
    centres = _close(moved, made, tolerance)
    norm = Norm(eps, centres)
    seen = norm(x)
    # A weight and a bias for each number, from the first two vectors, foretell the others.
    apart = seen[0] - seen[1]
    weight = (made[0] - made[1]) / torch.where(apart == 0, torch.ones_like(apart), apart)
    bias = made[0] - weight * seen[0]
    told = weight * seen + bias
    known = (apart.abs() > 0.05).expand_as(told)
    return norm if known.any() and _close(told[known], made[known], 10 * tolerance) else None


def _epsilons(module: nn.Module) -> Iterator[float]:
    for name, value in vars(module).items():
        if "eps" in name.lower() and isinstance(value, float):
            yield value


def _close(a: torch.Tensor, b: torch.Tensor, tolerance: float) -> bool:
    return bool((a - b).abs().max() <= tolerance * b.abs().max())

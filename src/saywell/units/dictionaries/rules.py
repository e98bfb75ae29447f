"""Which latents of a dictionary fire, and how strongly, given what each gets before its nonlinearity.

Activations are sparse from here on: no rule makes a matrix of zeros and fills it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from saywell.errors import InputError


class Codes(NamedTuple):
    """Activations other than 0, sorted by row, then latent, on the dictionary's device."""

    rows: Int64[Tensor, " nonzero"]
    latents: Int64[Tensor, " nonzero"]
    values: Float32[Tensor, " nonzero"]


class Rule(Protocol):
    """A nonlinearity. Its fields are numbers and tensors with one value a latent."""

    def select(self, before: Float32[Tensor, "rows latents"]) -> Codes:
        """What fires, given pre-activations."""
        ...


@dataclass(frozen=True)
class ReLU:
    """What is above 0 fires."""

    def select(self, before: Float32[Tensor, "rows latents"]) -> Codes:
        """See `Rule`."""
        return _where(before > 0, before)


@dataclass(frozen=True)
class TopK:
    """The k largest of a row that are above 0 fire; `signed`: the k largest by size, and keep their sign.

    Gao et al. 2024, "Scaling and evaluating sparse autoencoders", arXiv:2406.04093; signed: "AbsTopK",
    arXiv:2510.00404.
    """

    k: int
    signed: bool = False

    def select(self, before: Float32[Tensor, "rows latents"]) -> Codes:
        """See `Rule`."""
        ranked = before.abs() if self.signed else before
        latents = ranked.topk(min(self.k, before.shape[1]), dim=1, sorted=False).indices.sort(dim=1).values
        values = before.gather(1, latents)
        row, place = (values != 0 if self.signed else values > 0).nonzero(as_tuple=True)
        return Codes(row, latents[row, place], values[row, place])


@dataclass(frozen=True)
class JumpReLU:
    """What is above 0 and above its latent's threshold fires, with all of its value.

    Rajamanoharan et al. 2024, "Jumping Ahead", arXiv:2407.14435. BatchTopK and Matryoshka dictionaries are
    read so, with one threshold of all.
    """

    thresholds: Float32[Tensor, " latents"]

    def select(self, before: Float32[Tensor, "rows latents"]) -> Codes:
        """See `Rule`."""
        return _where(before > self.thresholds.clamp(min=0), before)


@dataclass(frozen=True)
class Gated:
    """What is above 0 with `gate` added fires with gain x pre-activation + magnitude, if that is above 0 too.

    Rajamanoharan et al. 2024, "Improving Dictionary Learning with Gated Sparse Autoencoders",
    arXiv:2404.16014, where gate is b_gate, gain exp(r_mag) and magnitude b_mag.
    """

    gate: Float32[Tensor, " latents"]
    gain: Float32[Tensor, " latents"]
    magnitude: Float32[Tensor, " latents"]

    def select(self, before: Float32[Tensor, "rows latents"]) -> Codes:
        """See `Rule`."""
        values = torch.addcmul(self.magnitude, before, self.gain)
        return _where((before + self.gate > 0) & (values > 0), values)


@dataclass(frozen=True)
class GroupMax:
    """Latents are in k groups of neighbours; the largest of each group fires where it is above 0."""

    k: int

    def select(self, before: Float32[Tensor, "rows latents"]) -> Codes:
        """See `Rule`."""
        values, places = before.unflatten(1, (self.k, -1)).max(2)
        row, group = (values > 0).nonzero(as_tuple=True)
        return Codes(row, group * (before.shape[1] // self.k) + places[row, group], values[row, group])


@dataclass(frozen=True)
class MatchingPursuit:
    """One latent after another is taken, the one that explains most of what is left, until that is short.

    Costa et al. 2025, "From Flat to Hierarchical: Extracting Sparse Representations with Matching Pursuit",
    arXiv:2506.03093, as SAELens stops it: at a rest of length below `least`, after `most` latents, or
    (`once`) when a latent is the best for a second time, whose value is added.
    """

    least: float
    most: int
    once: bool

    def select(self, before: Float32[Tensor, "rows latents"]) -> Codes:
        """There are no pre-activations that tell: see `pursue`."""
        raise InputError("a matching pursuit has no pre-activations to choose by; encode vectors instead")

    def pursue(self, x: Float32[Tensor, "rows width"], decoder: Float32[Tensor, "latents width"]) -> Codes:
        """What fires, given centred vectors and directions."""
        open_rows, left = torch.arange(len(x), device=x.device), x
        taken = torch.empty((len(x), 0), dtype=torch.int64, device=x.device)
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for _ in range(self.most):
            if not len(open_rows):
                break
            latents = (left @ decoder.T).argmax(1)
            directions = decoder[latents]
            values = (left * directions).sum(1).clamp(min=0)
            found.append((open_rows, latents, values))
            left = left - values[:, None] * directions
            going = values > 0
            if self.once:
                going &= ~(taken == latents[:, None]).any(1)
            if self.least > 0:
                going &= left.norm(dim=1) >= self.least
            taken = torch.cat([taken, latents[:, None]], 1)[going]
            open_rows, left = open_rows[going], left[going]
        if not found:
            return _none(x)
        rows, latents, values = map(torch.cat, zip(*found, strict=True))
        return _summed(rows, latents, values, len(decoder))


RULES: dict[str, type] = {
    rule.__name__: rule for rule in (ReLU, TopK, JumpReLU, Gated, GroupMax, MatchingPursuit)
}


def _where(fires: Tensor, values: Tensor) -> Codes:
    # NumPy looks through a mask four times as fast as torch does on a processor.
    on_cpu = fires.device.type == "cpu"
    places = torch.from_numpy(np.flatnonzero(fires.numpy())) if on_cpu else fires.flatten().nonzero()[:, 0]
    of = fires.shape[1]
    return Codes(places // of, places % of, values.flatten()[places])


def _none(x: Tensor) -> Codes:
    nothing = torch.empty(0, dtype=torch.int64, device=x.device)
    return Codes(nothing, nothing, nothing.float())


def _summed(rows: Tensor, latents: Tensor, values: Tensor, of: int) -> Codes:
    """In order, values of one latent of one row added up."""
    places, which = torch.unique(rows * of + latents, return_inverse=True)
    sums = torch.zeros(len(places), dtype=values.dtype, device=values.device).index_add_(0, which, values)
    places, sums = places[sums > 0], sums[sums > 0]
    return Codes(places // of, places % of, sums)

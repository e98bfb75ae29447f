"""Which latents of a dictionary fire, and how strongly, given what each gets before its nonlinearity.

Activations are sparse from here on: no rule makes a matrix of zeros and fills it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

from jaxtyping import Float32, Int64
from torch import Tensor

from saywell.errors import InputError


class Codes(NamedTuple):
    """Activations other than 0, sorted by row, then latent, on the device of what was encoded."""

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

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"k={self.k} latents cannot be active; give 1 or more")

    def select(self, before: Float32[Tensor, "rows latents"]) -> Codes:
        """See `Rule`."""
        k = min(self.k, before.shape[1])
        ranked = before.abs() if self.signed else before
        latents = ranked.topk(k, dim=1, sorted=False).indices.sort(dim=1).values
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


RULES: dict[str, type] = {rule.__name__: rule for rule in (ReLU, TopK, JumpReLU)}


def _where(fires: Tensor, values: Tensor) -> Codes:
    rows, latents = fires.nonzero(as_tuple=True)
    return Codes(rows, latents, values[rows, latents])

"""The strongest examples of every unit, kept while activations stream by."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Float32, Int, Int64

_CHUNK = 1 << 15
"""Rows that are ranked at once: their numbers have to fit beside a float32 in 64 bits."""


class Exemplars(NamedTuple):
    """Per unit the m strongest examples, strongest first; empty places have example -1."""

    values: Float[torch.Tensor, "units m"]
    examples: Int[torch.Tensor, "units m"]
    positions: Int[torch.Tensor, "units m"]
    """Index of the token that reached the value."""


class TopExamples:
    """A streaming top-m per unit whose answer does not depend on how the stream is cut.

    Values rank from high to low, equal values by arrival. Value and arrival are packed into one
    integer, so that no two are equal and a plain top-m of integers settles both.
    """

    def __init__(self, units: int, m: int, device: torch.device | str = "cpu") -> None:
        self.units, self.m = units, m
        self._kept = Exemplars(
            torch.full((units, m), -torch.inf, device=device),
            torch.full((units, m), -1, dtype=torch.int32, device=device),
            torch.zeros((units, m), dtype=torch.int32, device=device),
        )

    def add(
        self,
        values: Float32[torch.Tensor, "chunk units"],
        positions: Int[torch.Tensor, "chunk units"],
        first_example: int,
        *,
        sign: int = 1,
    ) -> None:
        """Take in a chunk of consecutive examples, numbered from `first_example`.

        With sign -1 the lowest values count as the strongest, and are kept negated.
        """
        for start in range(0, len(values), _CHUNK):
            part = slice(start, start + _CHUNK)
            self._add(values[part], positions[part], first_example + start, sign)

    def _add(self, values: torch.Tensor, positions: torch.Tensor, first_example: int, sign: int) -> None:
        by_unit = values.T.contiguous()
        if sign < 0:
            by_unit = -by_unit
        rank = _packed(by_unit).topk(min(self.m, len(values)), dim=1).values
        row = (_CHUNK - 1 - (rank & (_CHUNK - 1))).long()
        found = Exemplars(
            by_unit.gather(1, row),
            (first_example + row).int(),
            positions[row, torch.arange(self.units, device=row.device)[:, None]].int(),
        )
        pairs = zip(self._kept, found, strict=True)
        both = Exemplars(*(torch.cat([old, new], dim=1) for old, new in pairs))
        order = both.values.sort(dim=1, descending=True, stable=True).indices[:, : self.m]
        self._kept = Exemplars(*(part.gather(1, order) for part in both))

    def result(self) -> Exemplars:
        """The m strongest so far."""
        return self._kept

    def restore(self, saved: Exemplars) -> None:
        """Go on from a `result()` that was kept."""
        device = self._kept.values.device
        self._kept = Exemplars(*(part.to(device) for part in saved))


def _packed(values: Float32[torch.Tensor, "units chunk"]) -> Int64[torch.Tensor, "units chunk"]:
    """Integers in the order of the values and, where these are equal, of arrival, earlier higher."""
    bits = (values + 0.0).view(torch.int32)  # adding 0 makes -0 the same number as 0
    # The bits of a float, read as a number, grow with it; below zero they run the other way.
    bits ^= (bits >> 31) & 0x7FFFFFFF
    arrival = torch.arange(_CHUNK - 1, -1, -1, device=values.device)
    packed = bits.long()
    packed <<= 15
    packed |= arrival[: values.shape[1]]
    return packed

"""The strongest examples of every unit, kept while activations stream by."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int

_GROUP = 8


class Exemplars(NamedTuple):
    """Per unit the m strongest examples, strongest first; empty places have example -1."""

    values: Float[torch.Tensor, "units m"]
    examples: Int[torch.Tensor, "units m"]
    positions: Int[torch.Tensor, "units m"]
    """Index of the token that reached the value."""


class TopExamples:
    """A streaming top-m per unit whose answer does not depend on how the stream is cut.

    Values rank from high to low, equal values by arrival. A chunk is not sorted: the m-th largest
    of the maxima of small groups of rows is a lower bound on the chunk's m-th largest value, so
    only the few pairs that reach it, and exceed what is kept already, are looked at.
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
        values: Float[torch.Tensor, "chunk units"],
        positions: Int[torch.Tensor, "chunk units"],
        first_example: int,
    ) -> None:
        """Take in a chunk of consecutive examples, numbered from `first_example`."""
        reached = values > self._kept.values[:, -1]
        rows = len(values)
        if rows >= _GROUP * self.m:
            whole = rows - rows % _GROUP
            maxima = values[:whole].view(_GROUP, -1, self.units).amax(0)
            reached &= values >= maxima.T.contiguous().topk(self.m, dim=1).values[:, -1]
        counts = reached.sum(0)
        most = int(counts.max()) if rows else 0
        if most == 0:
            return
        if most > 4 * self.m and rows > 4 * self.m:
            # Many equal values: let the first half raise the bar for the second.
            half = rows // 2
            self.add(values[:half], positions[:half], first_example)
            self.add(values[half:], positions[half:], first_example + half)
            return
        # Transposed, so that one unit's survivors stand together, in order of arrival.
        unit, row = reached.T.nonzero(as_tuple=True)
        within = torch.arange(len(unit), device=unit.device) - (counts.cumsum(0) - counts)[unit]
        flat = row * self.units + unit
        self._merge(
            most,
            unit * most + within,
            values.reshape(-1)[flat],
            (first_example + row).int(),
            positions.reshape(-1)[flat].int(),
        )

    def result(self) -> Exemplars:
        """The m strongest so far."""
        return self._kept

    def restore(self, saved: Exemplars) -> None:
        """Go on from a `result()` that was kept."""
        device = self._kept.values.device
        self._kept = Exemplars(*(part.to(device) for part in saved))

    def _merge(
        self,
        width: int,
        place: torch.Tensor,
        values: torch.Tensor,
        examples: torch.Tensor,
        positions: torch.Tensor,
    ) -> None:
        device = values.device
        arrived = torch.full((self.units * width,), -torch.inf, device=device)
        source = torch.zeros(self.units * width, dtype=torch.int64, device=device)
        arrived[place] = values.float()
        source[place] = torch.arange(len(values), device=device)
        both = torch.cat([self._kept.values, arrived.view(self.units, width)], dim=1)
        ranked, order = both.sort(dim=1, descending=True, stable=True)
        ranked, order = ranked[:, : self.m], order[:, : self.m]
        is_new = order >= self.m
        old = order.clamp(max=self.m - 1)
        new = source.view(self.units, width).gather(1, (order - self.m).clamp(min=0))
        self._kept = Exemplars(
            ranked.contiguous(),
            torch.where(is_new, examples[new], self._kept.examples.gather(1, old)),
            torch.where(is_new, positions[new], self._kept.positions.gather(1, old)),
        )

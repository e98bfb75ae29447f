"""Which few of many phrases tell best, together, on which examples a unit fires."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int

if TYPE_CHECKING:
    from saywell.describers.describer import Evidence

MOST = 3
"""Phrases that are chosen at most."""
GAIN = 1.1
"""How many times the F1 of those before it has to be reached with one more."""


def best_together(
    holds: Bool[np.ndarray, "examples phrases"], fires: Bool[np.ndarray, " examples"]
) -> list[int]:
    """Up to three phrases, of which one or the other tells best where a unit fires, best first.

    The first has the highest F1 on these examples; another is chosen while it raises the F1 of all
    together by a tenth. So no two of them say the same. Of equals the first is taken.
    """
    chosen: list[int] = []
    either, best = np.zeros(len(fires), dtype=bool), 0.0
    while len(chosen) < min(MOST, holds.shape[1]):
        union = either[:, None] | holds
        f1 = 2 * (union & fires[:, None]).sum(0) / (union.sum(0) + max(1, fires.sum()))
        next_ = int(f1.argmax())
        if f1[next_] <= best * GAIN:
            break
        chosen.append(next_)
        either, best = union[:, next_], float(f1[next_])
    return chosen


def firing(
    evidence: Evidence, rows: Int[np.ndarray, " rows"], block: int = 256
) -> Iterator[tuple[Bool[np.ndarray, " rows"], Bool[np.ndarray, " rows"]]]:
    """Of each unit on which of the examples it fires, and of which anything is known of it."""
    for start in range(0, len(evidence.ids), block):
        values, fires = evidence.activations.both(evidence.ids[start : start + block], rows)
        known = ~np.isnan(values)
        yield from zip(fires & known, known, strict=True)

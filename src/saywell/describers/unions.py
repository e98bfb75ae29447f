"""Which few of many phrases tell best, together, on which examples a unit fires."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int

if TYPE_CHECKING:
    from saywell.describers.describer import Evidence


def best_together(
    holds: Bool[np.ndarray, "examples phrases"],
    fires: Bool[np.ndarray, " examples"],
    most: int,
    gain: float = 1.0,
) -> list[int]:
    """At most so many phrases, of which one or the other tells best where a unit fires, best first.

    The first has the highest F1 on these examples; another is chosen while all together have more than
    `gain` times the F1 of those before it. So no two of them say the same. Of equals the first is taken.
    """
    chosen: list[int] = []
    either, best = np.zeros(len(fires), dtype=bool), 0.0
    while len(chosen) < min(most, holds.shape[1]):
        union = either[:, None] | holds
        f1 = 2 * (union & fires[:, None]).sum(0) / (union.sum(0) + max(1, fires.sum()))
        next_ = int(f1.argmax())
        if f1[next_] <= best * gain:
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

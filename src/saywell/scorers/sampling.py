"""Which examples to read where reading all is too dear, and how to count them afterwards.

A unit that fires on 1 % of the examples fires on hardly any of a small random sample. So firing
examples are read more often than others, and every example read counts for as many as it stands for:
the inverse of its chance of being read. Weighted measures are then estimates at the unit's true
firing rate. A sample of half firing and half silent examples counted as they come is not: it
shows a precision that no user of the description will ever see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int8, Int64, UInt64

from saywell.data.splits import hash_numbers
from saywell.errors import InputError

FIRING, NEAR, REST, NONE = 0, 1, 2, -1
STRATA = 3
LEAST = 12
# Shares of the budget; what a stratum cannot use goes to the others.
_SHARES = (0.4, 0.2)


class Sample(NamedTuple):
    """The examples read of each unit: `rows` are places among those sampled from, ascending.

    `strata` names the stratum of each, `sizes` how many examples each stratum has in all. Where
    everything is read there is one stratum, the first. Where a unit has fewer examples than others, one
    of them stands there again with the stratum -1, and counts for nothing.
    """

    rows: Int64[np.ndarray, "units read"]
    strata: Int8[np.ndarray, "units read"]
    sizes: Int64[np.ndarray, "units strata"]

    @property
    def read(self) -> Int64[np.ndarray, "units strata"]:
        """How many examples of each stratum are read."""
        return np.stack([(self.strata == stratum).sum(1) for stratum in range(STRATA)], axis=1)

    @property
    def weights(self) -> Float[np.ndarray, "units read"]:
        """How many examples each one read stands for: 1 where all are read; to be ignored at -1."""
        per_stratum = self.sizes / np.maximum(self.read, 1)
        return np.take_along_axis(per_stratum, np.maximum(self.strata, 0).astype(np.int64), 1)

    def block(self, units: slice) -> Sample:
        """The sample of some of the units."""
        return Sample(self.rows[units], self.strata[units], self.sizes[units])


def sample_examples(
    response: Float[np.ndarray, "units examples"],
    fires: Bool[np.ndarray, "units examples"],
    *,
    examples: Sequence[str],
    units: Sequence[str],
    budget: int,
    seed: int,
    known: Bool[np.ndarray, "units examples"] | None = None,
) -> Sample:
    """`budget` examples of each unit: firing ones, those that nearly fire, and others.

    40 % of the budget goes to firing examples, 20 % to as many silent examples of the highest
    response as there are firing ones (but no fewer than the budget would read), the rest to all others.
    Which are taken depends on the ids of the example and of the unit and on the seed alone, so
    the order and number of units, and the order of examples, change nothing; within a stratum
    every example has the same chance. A budget that covers all examples reads all. Where it is not
    `known` whether a unit fires, there is nothing to read.

    Raises InputError for a budget below 12, with which a stratum might not be represented.
    """
    if budget < LEAST:
        raise InputError(f"budget={budget!r} examples are too few to read: give {LEAST} or more")
    there = np.ones(fires.shape, dtype=bool) if known is None else known
    rows = np.zeros((len(units), min(budget, len(examples))), dtype=np.int64)
    strata = np.full(rows.shape, NONE, dtype=np.int8)
    sizes = np.zeros((len(units), STRATA), dtype=np.int64)
    of_examples = hash_numbers(examples, seed, "example to read")
    for unit, key in enumerate(hash_numbers(units, seed, "unit to read")):
        mine = np.flatnonzero(there[unit])
        if len(mine) <= budget:
            sizes[unit, 0] = len(mine)
            rows[unit] = np.resize(mine, rows.shape[1]) if len(mine) else 0
            strata[unit, : len(mine)] = 0
            continue
        chance = _mixed(of_examples[mine] ^ key)
        stratum = _strata(response[unit, mine], fires[unit, mine], chance, budget)
        sizes[unit] = np.bincount(stratum, minlength=STRATA)
        by_chance = np.argsort(chance)
        taken = np.sort(
            np.concatenate(
                [
                    by_chance[stratum[by_chance] == name][:quota]
                    for name, quota in enumerate(_quotas(sizes[unit], budget))
                ]
            )
        )
        rows[unit], strata[unit] = mine[taken], stratum[taken]
    return Sample(rows, strata, sizes)


def _strata(
    response: np.ndarray, fires: np.ndarray, chance: np.ndarray, budget: int
) -> Int8[np.ndarray, " examples"]:
    stratum = np.full(len(fires), REST, dtype=np.int8)
    stratum[fires] = FIRING
    silent = np.flatnonzero(~fires)
    near = max(int(fires.sum()), round(_SHARES[NEAR] * budget))
    # Equal responses, as of a rectified unit, are told apart by chance and not by place.
    highest = np.lexsort((chance[silent], -response[silent].astype(np.float64)))
    stratum[silent[highest[:near]]] = NEAR
    return stratum


def _quotas(sizes: np.ndarray, budget: int) -> list[int]:
    """Examples to read of each stratum: they sum to the budget, and none that exists gets 0."""
    firing = min(int(sizes[FIRING]), int(_SHARES[FIRING] * budget))
    near = min(int(sizes[NEAR]), int(_SHARES[NEAR] * budget))
    rest = min(int(sizes[REST]), budget - firing - near)
    left = budget - firing - near - rest
    more = min(int(sizes[FIRING]) - firing, left)
    return [firing + more, near + left - more, rest]


def _mixed(numbers: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Uniform numbers from distinct ones (the finaliser of SplitMix64, Steele et al. 2014)."""
    mixed = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))

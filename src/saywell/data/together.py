"""Parts for texts that belong together: near duplicates, a common prompt, the two of a pair.

What belongs together, through however many others, goes to one part as a whole, so that nothing is
found on one side of a split and confirmed by its copy on the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from jaxtyping import Bool, Int

from saywell.data.parts import PARTS, SPLIT_OF, SPLITS
from saywell.data.splits import check_fractions, dealt, hash_numbers
from saywell.errors import InputError

SCANT = 0.5
"""Of its share that a part must get by hashes alone; else sizes are looked at as well."""


def components(
    count: int, *links: tuple[Int[np.ndarray, " links"], Int[np.ndarray, " links"]]
) -> Int[np.ndarray, " count"]:
    """The first of those that each one, of `count`, hangs together with; itself where it stands alone.

    `links`: two arrays each, the numbers of those that are linked with each other.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    left, right = (np.concatenate([link[end] for link in links] or [np.arange(0)]) for end in (0, 1))
    edges = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(count, count))
    _, labels = connected_components(edges, directed=False)
    return firsts(labels)


def firsts(labels: Int[np.ndarray, " all"]) -> Int[np.ndarray, " all"]:
    """Of each the number of the first with the same label."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first[inverse]


def same_value(values: pl.Series, members: Int[np.ndarray, " rows"]) -> tuple[np.ndarray, np.ndarray]:
    """Links between the members whose rows have the same value; a null is like no other."""
    rows = pl.DataFrame({"value": values, "member": members}).drop_nulls()
    linked = rows.select("member", first=pl.col("member").first().over("value"))
    return linked["member"].to_numpy(), linked["first"].to_numpy()


def parts_together(
    leaders: pl.Series, sizes: Int[np.ndarray, " groups"], seed: int, shares: Mapping[str, float]
) -> np.ndarray:
    """The part of each group by a hash of the id of its leader, so that parts get about these shares.

    `sizes`: how many are in each; `shares`: of the parts, with sum 1, in the order describe, select, score.
    A group that is larger than the share of the first part is that part alone: it is one case, however
    large, and cases are what the last part needs. Where hashes leave a part less than half of its share, as
    they may for few groups, these go from large to small to the part that lacks most.

    Raises InputError for fewer groups than parts.
    """
    parts, wanted = list(shares), np.array(list(shares.values()))
    if len(leaders) < len(parts):
        raise InputError(
            f"all hangs together in {len(leaders)} group{'s' * (len(leaders) > 1)}, by near duplicates, a"
            " common group or texts of several pairs, so that nothing can be kept apart to test on: give"
            " more texts, another group (--group), or a column that says train and test (--split)"
        )
    largest_first = np.lexsort((hash_numbers(leaders, seed, "split"), -sizes))
    lacks = wanted * sizes.sum()
    largest = largest_first[0]
    if len(parts) > 1 and sizes[largest] > lacks[0]:
        others = np.delete(np.arange(len(leaders)), largest)
        left = {part: share / wanted[1:].sum() for part, share in shares.items() if part != parts[0]}
        chosen = np.full(len(leaders), parts[0], dtype=object)
        chosen[others] = parts_together(leaders.gather(others), sizes[others], seed, left)
        return chosen
    chosen = dealt(leaders, seed, list(shares.values()))
    if (np.bincount(chosen, sizes, len(parts)) < SCANT * lacks).any():
        for group in largest_first:
            chosen[group] = np.argmax(lacks)
            lacks[chosen[group]] -= sizes[group]
    return np.array(parts, dtype=object)[chosen]


def parts_told(splits: pl.Series, column: str) -> tuple[pl.Series, list[str]]:
    """The part of each row as its source says it, null where it does not, and the parts that are said.

    Raises InputError for a word that says none, or where no row is of train.
    """
    words = splits.cast(pl.String).str.strip_chars().str.to_lowercase()
    parts = words.replace_strict(SPLITS, default=None, return_dtype=pl.String)
    *others, last = SPLIT_OF.values()
    called = f"splits are called {', '.join(others)} or {last}"
    unknown = splits.filter(parts.is_null() & splits.is_not_null())
    if len(unknown):
        raise InputError(
            f"the column {column!r} (--split) holds {str(unknown[0])[:80]!r}; {called}: leave other rows out"
        )
    said = [part for part in PARTS if (parts == part).any()]
    if PARTS[0] not in said:
        raise InputError(f"no row has {SPLIT_OF[PARTS[0]]} in the column {column!r} (--split); {called}")
    return parts, said


def without_leaks(
    parts: pl.Series, families: Sequence[Int[np.ndarray, " rows"]]
) -> Bool[np.ndarray, " rows"]:
    """Which rows can be kept where the parts are given: no family is in two of them.

    `families`: of each row the numbers of the families (copies, near duplicates) of its texts. A family
    stays in the part most worth keeping: score, then select.
    """
    own = parts.to_numpy()
    taken = np.zeros(1 + max(int(family.max(initial=0)) for family in families), dtype=bool)
    kept = np.zeros(len(own), dtype=bool)
    for part in reversed(PARTS):
        here = (own == part) & ~np.any([taken[family] for family in families], axis=0)
        kept |= here
        for family in families:
            taken[family[here]] = True
    return kept


def shares_of(parts: Sequence[str], fractions: Sequence[float]) -> dict[str, float]:
    """The fractions of describe, select and score for some of them alone, as shares of a whole."""
    some = {
        part: share for part, share in zip(PARTS, check_fractions(fractions), strict=True) if part in parts
    }
    return {part: share / sum(some.values()) for part, share in some.items()}

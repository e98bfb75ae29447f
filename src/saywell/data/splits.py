"""Ids, samples and parts decided by hashes of content, never by the order or number of rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from hashlib import blake2b

import numpy as np
import polars as pl

from saywell.data.parts import PARTS
from saywell.errors import InputError


def content_ids(texts: Iterable[str]) -> list[str]:
    """The id of each text: the first 16 hex digits of its BLAKE2b hash."""
    return [blake2b(text.encode()).hexdigest()[:16] for text in texts]


def hash_numbers(ids: Iterable[str], seed: int, purpose: str) -> np.ndarray:
    """One uint64 per id, uniform, from a BLAKE2b hash keyed by `purpose` and `seed`.

    Two purposes give independent numbers: a sample drawn with one leaves a split made with the
    other as even as it was.
    """
    key = blake2b(f"{purpose}:{seed}".encode()).digest()
    digests = b"".join(blake2b(i.encode(), digest_size=8, key=key).digest() for i in ids)
    return np.frombuffer(digests, dtype=">u8").astype(np.uint64)


def assign_parts(
    ids: Sequence[str] | pl.Series, seed: int = 0, fractions: Sequence[float] = (0.4, 0.3, 0.3)
) -> pl.Series:
    """The part of each id: 'describe', 'select' or 'score', in the order of `ids`.

    `fractions` are the expected shares in that order; they are positive and sum to 1. An id's part
    depends on the id, the seed and the fractions alone, so a text stays where it is when others
    come or go; the sizes are therefore binomial, not exact.

    Raises InputError for fractions that are not three positive numbers with sum 1.
    """
    which = dealt(ids, seed, check_fractions(fractions))
    return pl.Series("part", np.array(PARTS, dtype=object)[which].tolist(), dtype=pl.String)


def dealt(ids: Sequence[str] | pl.Series, seed: int, shares: Sequence[float]) -> np.ndarray:
    """The number of the share that each id falls to, by its hash; they sum to 1."""
    # A float64 holds 53 bits; the top ones suffice and keep every position below 1.
    positions = (hash_numbers(ids, seed, "split") >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return np.searchsorted(np.cumsum(shares)[:-1], positions, side="right")


def check_seed(seed: object) -> None:
    """InputError for what some of the random number generators take for no seed."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise InputError(f"seed={seed!r} is not a whole number from 0 to {2**32 - 1:,}")


def check_fractions(fractions: Sequence[float]) -> tuple[float, float, float]:
    """The three fractions as floats, or InputError where they cannot be shares of a whole."""
    try:
        describe, select, score = (float(share) for share in fractions)
    except (TypeError, ValueError):
        describe = select = score = math.nan
    shares = (describe, select, score)
    if not (all(share > 0 for share in shares) and abs(sum(shares) - 1) <= 1e-9):
        raise InputError(
            f"fractions={fractions!r} are not shares of the {', '.join(PARTS)} examples: give three"
            " numbers above 0 that sum to 1, for example fractions=(0.4, 0.3, 0.3)"
        )
    return shares


def check_parts(part: pl.Series, seed: int) -> None:
    """Raise InputError, with the counts, when one of the three parts has no example."""
    counts = {name: int((part == name).sum()) for name in PARTS}
    if not all(counts.values()):
        sizes = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise InputError(
            f"the {len(part)} texts leave a part empty ({sizes}; seed={seed!r}): give more "
            "texts, larger fractions for the empty part, or another seed"
        )

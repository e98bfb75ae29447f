"""What the readers that compare vectors share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int64

from saywell.errors import InputError
from saywell.readers.alternatives import alternatives

_BLOCK = 256
"""Descriptions whose wordings are encoded together."""


def best_cosines(
    encode: Callable[[Sequence[str]], Float[np.ndarray, "texts dim"]],
    vectors: Float[np.ndarray, "examples dim"],
    descriptions: Sequence[str],
    rows: Sequence[Int64[np.ndarray, " examples"]],
) -> Iterator[Float[np.ndarray, " examples"]]:
    """Per description the cosine of each of its rows to the nearest of what it offers (-1 to 1).

    It offers its alternatives and, where there are several, the whole text. `vectors` and what
    `encode` gives are unit vectors. A description without words gets NaN.
    """
    known: dict[str, np.ndarray] = {}
    last, chosen = None, vectors[:0]
    for start in range(0, len(descriptions), _BLOCK):
        offers = [wordings(text) for text in descriptions[start : start + _BLOCK]]
        new = sorted({text for offer in offers for text in offer} - known.keys())
        known |= dict(zip(new, encode(new), strict=True)) if new else {}
        for offer, asked in zip(offers, rows[start : start + _BLOCK], strict=True):
            if asked is not last:  # most callers ask for the same rows every time
                last, chosen = asked, vectors[asked]
            if offer:
                near = chosen @ np.stack([known[text] for text in offer]).T
                yield near.max(1).astype(np.float64)
            else:
                yield np.full(len(asked), np.nan)


def wordings(description: str) -> list[str]:
    """The texts that a description is compared by: each alternative, and the whole."""
    parts = alternatives(description)
    whole = " ".join(description.split())
    return parts if len(parts) < 2 else [*parts, whole]


def check_vectors(vectors: np.ndarray, what: str) -> None:
    """Raise InputError unless these are rows of length one."""
    if vectors.ndim != 2:
        raise InputError(f"{what} vectors have the shape {vectors.shape!r}; give one row an example")
    lengths = np.linalg.norm(vectors, axis=1)
    if len(lengths) and not np.allclose(lengths, 1.0, atol=1e-3):
        worst = int(np.abs(lengths - 1).argmax())
        raise InputError(
            f"the {what} vector in row {worst} has length {lengths[worst]:.3f}; divide each row by its"
            " length (saywell.encoders.vectors.unit_length)"
        )

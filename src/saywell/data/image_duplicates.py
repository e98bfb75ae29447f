"""Pictures that are much the same: copies resized, compressed again or slightly changed.

1. Every picture becomes a thumbnail of 16 x 16 RGB pixels and a difference hash of 64 bits (is a
   pixel of the 9 x 8 grey thumbnail brighter than its left neighbour? Krawetz, 2013).
2. All pairs whose hashes differ in at most 12 bits are candidates. All pairs are looked at, block
   by block, so none is missed by chance; the time grows with the square of their number.
3. A candidate is a near duplicate when the mean absolute difference of the thumbnails is at most
   `tolerance` grey levels of 255, and at most 0.3 of the mean deviation of either from its own
   average: the hash sees outlines only, and all line drawings on white are near each other in grey
   levels.
4. Groups are the connected components.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64, UInt8, UInt64

from saywell.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

TOLERANCE = 6.0
RELATIVE = 0.3
BITS = 12
SIDE = 16

_PAIRS_AT_ONCE = 8_000_000
_COMPARED_AT_ONCE = 100_000


def thumbnail(image: Image.Image) -> UInt8[np.ndarray, "side side 3"]:
    """The RGB picture shrunk to 16 x 16 pixels, each the mean of what it covers."""
    from PIL import Image as module

    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), module.Resampling.BOX))


def difference_hash(image: Image.Image) -> int:
    """64 bits: whether each pixel of the 9 x 8 grey thumbnail is brighter than its left one."""
    from PIL import Image as module

    grey = np.asarray(image.convert("L").resize((9, 8), module.Resampling.BOX)).astype(int)
    bits = np.packbits((grey[:, 1:] > grey[:, :-1]).ravel())
    return int.from_bytes(bits.tobytes(), "big")


def near_duplicate_images(
    hashes: UInt64[np.ndarray, " images"],
    thumbnails: UInt8[np.ndarray, "images side side 3"],
    tolerance: float = TOLERANCE,
) -> Int64[np.ndarray, " images"]:
    """The group of each picture: the position of the first picture in it (its own where alone).

    `tolerance` is in grey levels of 255; 0 joins only pictures with equal thumbnails.

    Raises InputError for a tolerance outside 0 to 50.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    check_tolerance(tolerance)
    n = len(hashes)
    groups = np.arange(n)
    flat = thumbnails.reshape(n, -1).astype(np.int16)
    contrast = np.abs(flat - flat.mean(axis=1, keepdims=True)).mean(axis=1)
    rows = max(1, _PAIRS_AT_ONCE // max(1, n))
    for start in range(0, n, rows):
        block = hashes[start : start + rows]
        differ = np.bitwise_count(block[:, None] ^ hashes[None, start:])
        left, right = np.nonzero(differ <= BITS)
        forward = left < right
        left, right = left[forward] + start, right[forward] + start
        for begin in range(0, len(left), _COMPARED_AT_ONCE):
            a, b = (side[begin : begin + _COMPARED_AT_ONCE] for side in (left, right))
            apart = groups[a] != groups[b]  # in a large group most pairs are settled early
            a, b = a[apart], b[apart]
            differences = np.abs(flat[a] - flat[b]).mean(axis=1)
            within = np.minimum(tolerance, RELATIVE * np.minimum(contrast[a], contrast[b]))
            near = differences <= within
            if near.any():
                edges = (np.ones(int(near.sum()), np.int8), (groups[a[near]], groups[b[near]]))
                _, labels = connected_components(coo_array(edges, shape=(n, n)), directed=False)
                groups = labels[groups]
    first = np.full(n, n)
    np.minimum.at(first, groups, np.arange(n))
    return first[groups]


def check_tolerance(tolerance: float) -> None:
    """Raise InputError for a near-duplicate tolerance outside 0 to 50."""
    if isinstance(tolerance, bool) or not (isinstance(tolerance, int | float) and 0 <= tolerance <= 50):
        raise InputError(
            f"near={tolerance!r} is not a mean difference of 0 to 50 grey levels: give for example "
            f"near={TOLERANCE:g}, or near=None to let near duplicates be split apart"
        )

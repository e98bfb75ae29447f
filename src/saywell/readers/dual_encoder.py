"""A reader that compares descriptions with images by a dual encoder such as CLIP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int64

from saywell.encoders.dual import DualEncoder
from saywell.readers.cosine import best_cosines, check_vectors


class DualEncoderReader:
    """Cosine of a description with each image (-1 to 1); the best of the alternatives it offers.

    `vectors` are the images' unit vectors by the same encoder, one row an image. Reading raises
    InputError for a description that is longer than the encoder reads.
    """

    name = "dual-encoder"
    version = 1

    def __init__(self, encoder: DualEncoder, vectors: Float[np.ndarray, "examples dim"]) -> None:
        check_vectors(vectors, "image")
        self._encoder, self._vectors = encoder, vectors

    def read(
        self, descriptions: Sequence[str], rows: Sequence[Int64[np.ndarray, " examples"]]
    ) -> Iterator[Float[np.ndarray, " examples"]]:
        """As in `Reader`; NaN only where a description has no words."""
        return best_cosines(self._encoder.encode_texts, self._vectors, descriptions, rows)

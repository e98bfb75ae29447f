"""A reader that compares descriptions with texts by a sentence encoder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int64

from saywell.encoders.sentence import SentenceEncoder
from saywell.readers.cosine import best_cosines, check_vectors


class SentenceEncoderReader:
    """Cosine of a description with each text (-1 to 1); the best of the alternatives it offers.

    `vectors` are the texts' unit vectors by the same encoder, one row a text. Good for topics;
    close to blind for form, position and negation: "not about soup" is near to soup.
    """

    name = "sentence-encoder"
    version = 1

    def __init__(self, encoder: SentenceEncoder, vectors: Float[np.ndarray, "examples dim"]) -> None:
        check_vectors(vectors, "sentence")
        self._encoder, self._vectors = encoder, vectors

    def read(
        self, descriptions: Sequence[str], rows: Sequence[Int64[np.ndarray, " examples"]]
    ) -> Iterator[Float[np.ndarray, " examples"]]:
        """As in `Reader`; NaN only where a description has no words."""
        return best_cosines(self._encoder, self._vectors, descriptions, rows)

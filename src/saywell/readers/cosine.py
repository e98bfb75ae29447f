"""Readers that compare descriptions with examples by an encoder of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int64, Shaped

from saywell.data.examples import Examples, Kind
from saywell.data.words import words as words_of
from saywell.description import Description
from saywell.encoders.vectors import unit_length
from saywell.errors import InputError
from saywell.readers.alternatives import alternatives, quotations
from saywell.readers.reader import Predict, RowNumbers, rows_of_each
from saywell.transfer.zero_shot import class_embeddings

if TYPE_CHECKING:
    from saywell.resources import Resources

Readable = Callable[[Sequence[str]], list[str]]
Encode = Callable[[Sequence[str]], Float[np.ndarray, "texts dim"]]


@dataclass(frozen=True)
class CosineReader:
    """Cosine of a description with each example (-1 to 1); the best of the alternatives it offers.

    Of texts it is the mean of two: with the whole text and with the nearest of its words. Good for topics
    and words; close to blind for form, position and negation: "not about soup" is near to soup.
    """

    name: str
    reads: tuple[Kind, ...]
    version: int = 2
    costly: bool = False

    def open(self, examples: Examples, resources: Resources) -> Predict:
        """As in `Reader`."""
        words = None if examples.kind == "image" else _words(examples, resources)
        return by_nearest(*_reading(examples, resources), words)


@dataclass(frozen=True)
class MeanOfTextsReader:
    """Cosine of each example with every part of a description, averaged (-1 to 1).

    That is the product of the example with the mean of the parts' unit vectors, as in zero-shot
    classification by many texts a class. A part that the encoder cannot read whole is left out; NaN
    where none is left.
    """

    name: str = "mean-of-texts"
    version: int = 1
    costly: bool = False
    reads: tuple[Kind, ...] = ("image", "text", "pair")

    def open(self, examples: Examples, resources: Resources) -> Predict:
        """As in `Reader`."""
        return by_mean(*_reading(examples, resources))


def _reading(examples: Examples, resources: Resources) -> tuple[Encode, np.ndarray, Readable]:
    """What encodes wordings, the examples as vectors, and which wordings are read whole."""
    resources.fingerprint(examples)  # an encoder that cannot be had is told now

    def readable(texts: Sequence[str]) -> list[str]:
        known = resources.reads(examples, texts)
        return [text for text, reads in zip(texts, known, strict=True) if reads]

    return lambda texts: resources.encode(examples, texts), resources.vectors(examples), readable


class Words(NamedTuple):
    """Unit vectors of words, and which example says which."""

    vectors: Float[np.ndarray, "words dim"]
    said: Shaped[sp.csr_matrix, "examples words"]

    def within(self, rows: Int64[np.ndarray, " rows"]) -> Callable[[np.ndarray], np.ndarray]:
        """From the cosines of all words to the highest in each of these examples (-inf: no word)."""
        own = self.said[rows]
        some = np.diff(own.indptr) > 0

        def highest(cosines: Float[np.ndarray, "texts words"]) -> Float[np.ndarray, "texts rows"]:
            found = np.full((len(cosines), len(rows)), -np.inf, dtype=cosines.dtype)
            if some.any():
                found[:, some] = np.maximum.reduceat(cosines[:, own.indices], own.indptr[:-1][some], axis=1)
            return found

        return highest


def _words(examples: Examples, resources: Resources) -> Words:
    """The words of texts that have a vector."""
    found, vectors = resources.word_vectors(examples)
    column = {word: place for place, word in enumerate(found)}
    said = [sorted({column[word] for word in words_of(text) if word in column}) for text in examples.texts]
    starts = np.concatenate([[0], np.cumsum([len(own) for own in said])])
    columns = np.array([place for own in said for place in own], dtype=np.int64)
    ones = np.ones(len(columns), dtype=bool)
    return Words(vectors, sp.csr_matrix((ones, columns, starts), shape=(len(said), len(found))))


def by_nearest(
    encode: Encode, vectors: np.ndarray, readable: Readable = list, words: Words | None = None
) -> Predict:
    """The cosine of each example to the nearest of what a description offers (-1 to 1).

    It offers its alternatives and, where there are several, the whole text; where one of these is not
    `readable`, its parts instead. `vectors` [examples, dim] and what `encode` gives are unit vectors. With
    `words`, the cosine is the mean of that to an example and that to the nearest of its words (to the
    example alone where it has none), and what stands in quotation marks is offered, too. A description
    without words, or of which nothing can be read, gets NaN.
    """
    _check(vectors)
    known: dict[str, np.ndarray] = {}

    def chosen(rows: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        own, highest = vectors[rows], None if words is None else words.within(rows)

        def near(texts: np.ndarray) -> np.ndarray:
            whole = texts @ own.T
            if words is None or highest is None:
                return whole.max(0)
            word = highest(texts @ words.vectors.T)
            return np.where(np.isinf(word), whole, (whole + word) / 2).max(0)

        return near

    def predict(descriptions: Sequence[Description], rows: RowNumbers) -> np.ndarray:
        offers = [wordings(description.text, words is not None) for description in descriptions]
        parts = [list(dict.fromkeys(description.parts)) for description in descriptions]
        told = set(readable(sorted({text for own in (*offers, *parts) for text in own})))
        offers = [
            own if told.issuperset(own) else [text for text in instead if text in told]
            for own, instead in zip(offers, parts, strict=True)
        ]
        _learn(known, encode, offers)
        found = np.full((len(offers), rows.shape[-1]), np.nan, dtype=np.float32)
        shared = chosen(rows) if rows.ndim == 1 else None
        for number, (offer, asked) in enumerate(zip(offers, rows_of_each(rows, len(offers)), strict=True)):
            if offer:
                near = shared or chosen(asked)
                found[number] = near(np.stack([known[text] for text in offer]))
        return found

    return predict


def by_mean(encode: Encode, vectors: np.ndarray, readable: Readable = list) -> Predict:
    """The mean cosine of each example with those parts of a description that are `readable`."""
    _check(vectors)
    shown = unit_length(vectors)
    known: dict[str, np.ndarray] = {}

    def predict(descriptions: Sequence[Description], rows: RowNumbers) -> np.ndarray:
        parts = [description.parts or (description.text,) for description in descriptions]
        told = set(readable(sorted({text for own in parts for text in own})))
        kept = [[text for text in own if text in told] for own in parts]
        _learn(known, encode, kept)
        count = sum(map(len, kept))
        texts = np.array([known[text] for own in kept for text in own]).reshape(count, shown.shape[1])
        whose = np.repeat(np.arange(len(kept)), [len(own) for own in kept])
        means = class_embeddings(texts, whose, len(kept))
        if rows.ndim == 1:
            return means @ shown[rows].T
        each = [shown[own] @ mean for own, mean in zip(rows, means, strict=True)]
        return np.array(each).reshape(rows.shape)

    return predict


def wordings(description: str, quoted: bool = False) -> list[str]:
    """The texts that a description is compared by: each alternative, the whole, and what is `quoted`."""
    parts = alternatives(description)
    whole = [" ".join(description.split())] if len(parts) > 1 else []
    return list(dict.fromkeys([*parts, *whole, *(quotations(description) if quoted else [])]))


def _learn(known: dict[str, np.ndarray], encode: Encode, offers: Sequence[Sequence[str]]) -> None:
    """Each text that is offered gets its vector, once."""
    new = sorted({text for offer in offers for text in offer} - known.keys())
    if new:
        known.update(zip(new, encode(new), strict=True))


def _check(vectors: np.ndarray) -> None:
    """Raise InputError unless these are rows of length one."""
    if vectors.ndim != 2:
        raise InputError(f"vectors of examples have the shape {vectors.shape!r}; give one row an example")
    lengths = np.linalg.norm(vectors, axis=1)
    if len(lengths) and not np.allclose(lengths, 1.0, atol=1e-3):
        worst = int(np.abs(lengths - 1).argmax())
        raise InputError(
            f"the vector of the example in row {worst} has length {lengths[worst]:.3f}; divide each row"
            " by its length (saywell.encoders.vectors.unit_length)"
        )

"""Readers that compare descriptions with examples by an encoder of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from saywell.data.examples import Examples, Kind
from saywell.description import Description
from saywell.encoders.vectors import unit_length
from saywell.errors import InputError
from saywell.readers.alternatives import alternatives
from saywell.readers.reader import Predict, RowNumbers, rows_of_each
from saywell.transfer.zero_shot import class_embeddings

if TYPE_CHECKING:
    from saywell.resources import Resources

Readable = Callable[[Sequence[str]], list[str]]
Encode = Callable[[Sequence[str]], Float[np.ndarray, "texts dim"]]


@dataclass(frozen=True)
class CosineReader:
    """Cosine of a description with each example (-1 to 1); the best of the alternatives it offers.

    Good for topics; close to blind for form, position and negation: "not about soup" is near to soup.
    """

    name: str
    reads: tuple[Kind, ...]
    version: int = 1
    costly: bool = False

    def open(self, examples: Examples, resources: Resources) -> Predict:
        """As in `Reader`."""
        return by_nearest(*_reading(examples, resources))


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


def by_nearest(encode: Encode, vectors: np.ndarray, readable: Readable = list) -> Predict:
    """The cosine of each example to the nearest of what a description offers (-1 to 1).

    It offers its alternatives and, where there are several, the whole text; where one of these is not
    `readable`, its parts instead. `vectors` [examples, dim] and what `encode` gives are unit vectors. A
    description without words, or of which nothing can be read, gets NaN.
    """
    _check(vectors)
    known: dict[str, np.ndarray] = {}

    def predict(descriptions: Sequence[Description], rows: RowNumbers) -> np.ndarray:
        offers = [wordings(description.text) for description in descriptions]
        parts = [list(dict.fromkeys(description.parts)) for description in descriptions]
        told = set(readable(sorted({text for own in (*offers, *parts) for text in own})))
        offers = [
            own if told.issuperset(own) else [text for text in instead if text in told]
            for own, instead in zip(offers, parts, strict=True)
        ]
        _learn(known, encode, offers)
        found = np.full((len(offers), rows.shape[-1]), np.nan, dtype=np.float32)
        same = vectors[rows] if rows.ndim == 1 else None
        for number, (offer, asked) in enumerate(zip(offers, rows_of_each(rows, len(offers)), strict=True)):
            if offer:
                chosen = vectors[asked] if same is None else same
                found[number] = (chosen @ np.stack([known[text] for text in offer]).T).max(1)
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


def wordings(description: str) -> list[str]:
    """The texts that a description is compared by: each alternative, and the whole."""
    parts = alternatives(description)
    whole = " ".join(description.split())
    return parts if len(parts) < 2 else [*parts, whole]


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

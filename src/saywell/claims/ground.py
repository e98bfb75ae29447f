"""What claims are executed on: examples, and what is worked out of them when first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from saywell.claims.corpus import Corpus, token_spans
from saywell.claims.feeling import polarity
from saywell.claims.lexis import lemma
from saywell.claims.pictures import Looks, as_rows, from_rows, look, reduced
from saywell.data.examples import Examples
from saywell.resources import LOOKS

if TYPE_CHECKING:
    from saywell.resources import Resources


class Ground:
    """Examples with their tokens, their vectors, or what can be measured of their pictures.

    Nothing here depends on which other examples there are, or on the units that claims are about.
    """

    def __init__(self, examples: Examples, resources: Resources) -> None:
        self.examples = examples
        self.resources = resources

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def corpus(self) -> Corpus:
        """The tokens. Raises InputError for pictures."""
        return Corpus.of(self.examples.texts)

    @cached_property
    def polarity(self) -> Float[np.ndarray, " texts"]:
        """The feeling of each text, from -1 (negative) to 1 (positive)."""
        return polarity(self.examples.texts)

    @cached_property
    def measured(self) -> Looks:
        """What is measured of each picture, once for all parts. Raises InputError for texts."""
        return from_rows(self.resources.by_example(self.examples, LOOKS, self._measured))

    def _measured(self, examples: Examples) -> Float[np.ndarray, "examples measures"]:
        found = {}
        with self.resources.progress("pictures measured", len(examples)) as advance:
            for id, picture in examples.pictures():
                found[id] = look(reduced(picture))
                advance(1)
        return as_rows([found[id] for id in examples.ids])

    @cached_property
    def vectors(self) -> Float[np.ndarray, "examples dim"]:
        """Unit vectors of the examples."""
        return self.resources.vectors(self.examples)

    def cosines(self, phrases: Sequence[str]) -> Float[np.ndarray, "phrases examples"]:
        """Cosine of each phrase with each example (-1 to 1)."""
        return self.resources.phrases(self.examples, phrases) @ self.vectors.T

    def nearness(self, phrases: Sequence[str]) -> Float[np.ndarray, "phrases examples"]:
        """Cosine of each phrase with each example (-1 to 1); 1 where it stands in a text, in any form."""
        return self.as_near(phrases, self.cosines(phrases))

    def as_near(
        self, phrases: Sequence[str], cosines: Float[np.ndarray, "phrases examples"]
    ) -> Float[np.ndarray, "phrases examples"]:
        """These cosines, and 1 where a phrase stands in a text."""
        near = cosines.copy()
        if self.examples.kind != "image":
            for number, said in enumerate(phrases):
                near[number, self.corpus.texts_of(self.phrase(said))] = 1.0
        return near

    def phrase(self, said: str) -> Bool[np.ndarray, " tokens"]:
        """All tokens of a phrase, wherever its words stand side by side in any form."""
        corpus, words = self.corpus, [said[start:end].lower() for start, end in token_spans(said)]
        found = np.zeros(len(corpus), dtype=bool)
        if words:
            begins = [corpus.shifted(self.any_form(word), -place) for place, word in enumerate(words)]
            for place in range(len(words)):
                found |= corpus.shifted(np.logical_and.reduce(begins), place)
        return found

    def any_form(self, word: str) -> Bool[np.ndarray, " tokens"]:
        """Which tokens are a form of a word."""
        places = self._forms.get(lemma(word), [])
        own = self.corpus.number.get(word)
        return self.corpus.of_places([*places, own] if own is not None else places)

    @cached_property
    def _forms(self) -> dict[str, list[int]]:
        """By their lemma the places of forms."""
        found: dict[str, list[int]] = {}
        for place, form in enumerate(self.corpus.forms):
            found.setdefault(lemma(form), []).append(place)
        return found

"""What claims are executed on: examples, and what is worked out of them when first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from saywell.claims.corpus import Corpus
from saywell.data.examples import Examples

if TYPE_CHECKING:
    from saywell.claims.pictures import Looks
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
    def measured(self) -> Looks:
        """What is measured of each picture. Raises InputError for texts."""
        from saywell.claims.pictures import look, reduced, stacked

        with self.resources.progress("pictures measured", len(self)) as advance:
            found = {}
            for id, picture in self.examples.pictures():
                found[id] = look(reduced(picture))
                advance(1)
        return stacked([found[id] for id in self.examples.ids])

    @cached_property
    def vectors(self) -> Float[np.ndarray, "examples dim"]:
        """Unit vectors of the examples."""
        return self.resources.vectors(self.examples)

    def similarity(self, phrases: Sequence[str]) -> Float[np.ndarray, "phrases examples"]:
        """Cosine of each phrase with each example (-1 to 1)."""
        return self.resources.encode(self.examples, phrases) @ self.vectors.T

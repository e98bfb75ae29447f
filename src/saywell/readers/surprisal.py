"""A reader that asks nobody: does a description make a text less surprising to a language model?

What a description says of a text, a causal language model that has read it need not learn from the text: it
finds the text more probable than without (the surprisal score of Paulo et al. 2024, arXiv 2410.13928).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from saywell.data.examples import Examples, Kind
from saywell.description import Description
from saywell.readers.reader import Predict, RowNumbers, rows_of_each

if TYPE_CHECKING:
    from saywell.resources import Resources

SURPRISAL = "surprisal"
WITHOUT = "Text:\n"
WITH = "What the following text has in common with others: {description}\n\n" + WITHOUT


@dataclass(frozen=True)
class SurprisalReader:
    """By how much a description lowers the loss of a causal language model on a text, in nats a token.

    Loss without the description minus loss with it, of the same tokens. A text without tokens is NaN.
    What any description gains with any text is the same for exemplars and contrasts, and a threshold
    fitted on select examples takes it off.
    """

    name: str = SURPRISAL
    version: int = 1
    costly: bool = True
    reads: tuple[Kind, ...] = ("text",)

    def open(self, examples: Examples, resources: Resources) -> Predict:
        """As in `Reader`. Raises InputError where there is no causal language model."""
        texts, model = examples.texts, resources.need_causal(f"the reader {self.name!r}")
        alone = np.full(len(texts), np.nan)
        known = np.zeros(len(texts), dtype=bool)

        def read(before: str, rows: np.ndarray) -> np.ndarray:
            with resources.progress(f"{self.name} of texts", len(rows)) as advance:
                return model.losses(before, [texts[row] for row in rows], progress=advance)

        def predict(descriptions: Sequence[Description], rows: RowNumbers) -> np.ndarray:
            fresh = np.unique(rows[~known[rows]])
            if len(fresh):
                alone[fresh] = read(WITHOUT, fresh)
                known[fresh] = True
            found = np.full((len(descriptions), rows.shape[-1]), np.nan)
            each = rows_of_each(rows, len(descriptions))
            for place, (description, own) in enumerate(zip(descriptions, each, strict=True)):
                unique, back = np.unique(own, return_inverse=True)
                found[place] = (alone[unique] - read(WITH.format(description=description.text), unique))[back]
            return found

        return predict

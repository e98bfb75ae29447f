"""Who carries what: descriptors that hold of examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Int


@dataclass(frozen=True)
class Tags:
    """Examples x descriptors, binary; `known` says which examples have an answer at all."""

    matrix: sp.csr_matrix
    known: Bool[np.ndarray, " examples"]
    ids: tuple[str, ...]
    """Of the descriptors, by column."""
    texts: tuple[str, ...]
    """Their wordings."""
    tagger: str = ""
    llm: str | None = None
    prompt_hash: str | None = None
    """Who said so; where an LLM did, which, and asked how."""

    @cached_property
    def column(self) -> dict[str, int]:
        """The column of a descriptor by its id."""
        return {name: number for number, name in enumerate(self.ids)}

    def only(self, rows: Int[np.ndarray, " some"] | Sequence[int]) -> Tags:
        """The tags of some examples, in that order."""
        return replace(self, matrix=self.matrix[rows], known=self.known[rows])

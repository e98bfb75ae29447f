"""A reader that executes: of which examples does what a description claims hold?

It needs no model where a claim is about words, so it is independent of any model whose units are described.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from saywell.claims.execute import Executor
from saywell.claims.ground import Ground
from saywell.claims.kinds import check
from saywell.claims.language import Claim, Condition, parse, single
from saywell.data.examples import Examples, Kind
from saywell.description import Description
from saywell.readers.alternatives import alternatives
from saywell.readers.reader import Predict, RowNumbers, rows_of_each

if TYPE_CHECKING:
    from saywell.resources import Resources

Pointing = Callable[[Description, int], list[tuple[int, int]] | None]


@dataclass(frozen=True)
class ClaimReader:
    """1 where the claim holds, 0 where it does not.

    A description without a claim is taken at its word: one of the wordings that it offers stands in the
    text, in any form. NaN where it has no words, and of pictures where it makes no claim; and of all without
    a claim where it is not to be `literal`, as of sentences that were written to be understood.
    """

    name: str = "claims"
    version: int = 1
    costly: bool = False
    reads: tuple[Kind, ...] = ("text", "pair", "image")
    literal: bool = True

    def open(self, examples: Examples, resources: Resources) -> Predict:
        """As in `Reader`. Reading raises InputError for a claim that cannot be read."""
        execute = Executor(Ground(examples, resources))
        claimed_alone = examples.kind == "image" or not self.literal

        def predict(descriptions: Sequence[Description], rows: RowNumbers) -> np.ndarray:
            found = np.full((len(descriptions), rows.shape[-1]), np.nan, dtype=np.float32)
            for number, asked in enumerate(rows_of_each(rows, len(descriptions))):
                claim = claim_of(descriptions[number], claimed_alone)
                if claim is not None:
                    found[number] = execute(claim).examples[asked]
            return found

        return predict

    def pointing(self, examples: Examples, resources: Resources) -> Pointing:
        """Where in an example the tokens are that a claim is about, in characters; None: about none."""
        if examples.kind == "image":
            return lambda description, row: None
        ground = Ground(examples, resources)
        execute = Executor(ground)

        @lru_cache(maxsize=8)
        def tokens_of(said: tuple[str, str]) -> np.ndarray | None:
            claim = claim_of(Description("", said[0], claim=said[1]), claimed_alone=not self.literal)
            return None if claim is None else execute(claim).tokens

        def point(description: Description, row: int) -> list[tuple[int, int]] | None:
            tokens = tokens_of((description.text, description.claim))
            return None if tokens is None else ground.corpus.spans_of(tokens, row)

        return point


def claim_of(description: Description, claimed_alone: bool) -> Claim | None:
    """What a description claims; None where that is nothing that can be executed."""
    if description.claim:
        claim = parse(description.claim)
        check(claim)
        return claim
    said = tuple(part for part in alternatives(description.text))
    return single(Condition("phrase", said)) if said and not claimed_alone else None

"""Of which examples a claim holds, and where in them it points at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from saywell.claims.ground import Ground
from saywell.claims.kinds import holds, is_of_tokens
from saywell.claims.language import Atom, Claim


class Held(NamedTuple):
    """`examples`: of which the claim holds. `tokens`: at which it points; None where it is about none."""

    examples: Bool[np.ndarray, " examples"]
    tokens: Bool[np.ndarray, " tokens"] | None


class Executor:
    """Executes claims on the same examples; what they have in common is worked out once."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self._known: dict[str, Held] = {}

    def __call__(self, claim: Claim) -> Held:
        """Of which examples it holds, and where."""
        examples = np.zeros(len(self.ground), dtype=bool)
        pointed: np.ndarray | None = None
        for clause in claim.clauses:
            parts = [self.atom(atom) for atom in clause]
            true = np.logical_and.reduce(
                [part.examples != atom.negated for atom, part in zip(clause, parts, strict=True)]
            )
            examples |= true
            tokens = _either(
                [part.tokens for atom, part in zip(clause, parts, strict=True) if not atom.negated]
            )
            if tokens is not None:
                tokens = tokens & true[self.ground.corpus.text]
                pointed = tokens if pointed is None else pointed | tokens
        return Held(examples, pointed)

    def atom(self, atom: Atom) -> Held:
        """Where an atom holds, negated or not."""
        key = str(atom)
        if key not in self._known:
            self._known[key] = self._atom(atom)
        return self._known[key]

    def _atom(self, atom: Atom) -> Held:
        first = atom.conditions[0]
        masks = [holds(self.ground, condition) for condition in atom.conditions]
        if not is_of_tokens(first):
            return Held(masks[0], None)
        tokens = np.logical_and.reduce(masks)
        return Held(self.ground.corpus.texts_of(tokens), tokens)


def _either(masks: Sequence[np.ndarray | None]) -> np.ndarray | None:
    there = [mask for mask in masks if mask is not None]
    return np.logical_or.reduce(there) if there else None

"""A JSON schema as a grammar for a model whose next token is chosen in this process (package llguidance)."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

_PACKAGE = "llguidance"
NAME = "llguidance"
"""What is written into the cache key: replies with a grammar are others than without."""


def is_installed() -> bool:
    """Whether answers of models in this process can be held to their form."""
    return importlib.util.find_spec(_PACKAGE) is not None


def vocabulary(tokenizer: Any, tokens: int) -> Any:
    """The tokens of a transformers tokenizer, of which the model scores so many.

    None where it is not of the `tokenizers` library: then nobody knows what its tokens spell.
    """
    import llguidance.hf

    if not getattr(tokenizer, "is_fast", False):
        return None
    return llguidance.hf.from_tokenizer(tokenizer, n_vocab=tokens)


class Held:
    """A logits processor of transformers' `generate`, for one reply: what leaves the schema is impossible.

    `start`: tokens of the question. A reply that is not cut off fits the schema.
    """

    def __init__(self, vocabulary: Any, schema: Mapping[str, Any], start: int) -> None:
        import llguidance

        grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema))
        self._matcher = llguidance.LLMatcher(vocabulary, grammar)
        self._read = start
        if error := self._matcher.get_error():
            raise ValueError(f"the schema of an answer makes no grammar: {error[:300]}")

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores [1, tokens] of what may come next."""
        import torch

        self._matcher.consume_tokens(ids[0, self._read :].tolist())
        self._read = ids.shape[1]
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        allowed = np.unpackbits(bits, count=scores.shape[-1], bitorder="little").astype(bool)
        return scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), float("-inf"))

"""Texts as tokens, and tokens as batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int

_CHUNK = 4096


@dataclass(frozen=True)
class Tokens:
    """Tokenised texts, packed end to end: text i is `ids[starts[i]:starts[i + 1]]`."""

    ids: Int[np.ndarray, " tokens"]
    content: Bool[np.ndarray, " tokens"]
    """False on the tokens that the tokenizer added (CLS, SEP, BOS ...)."""
    spans: Int[np.ndarray, "tokens 2"]
    """Characters of its text that a token covers, end exclusive; (0, 0) for special tokens."""
    starts: Int[np.ndarray, " texts_plus_one"]
    cut: int
    """How many texts were longer than the model can read and lost their end."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def sees_case(self, rows: Int[np.ndarray, " rows"], texts: Sequence[str]) -> bool:
        """Whether words that differ in capitals alone have different tokens; True where there are none.

        `texts`: those of the rows. An uncased tokenizer has one id for "The" and "the", and what it cuts
        in other pieces at times is outvoted.
        """
        ids: dict[str, set[int]] = {}
        for row, text in zip(rows.tolist(), texts, strict=True):
            here = slice(int(self.starts[row]), int(self.starts[row + 1]))
            own = zip(self.ids[here].tolist(), self.spans[here].tolist(), self.content[here], strict=True)
            for token, (start, end), content in own:
                if content:
                    ids.setdefault(text[start:end].strip(), set()).add(token)
        pairs = [(own, ids[word.lower()]) for word, own in ids.items() if word.lower() in ids.keys() - {word}]
        return sum(own.isdisjoint(other) for own, other in pairs) * 2 >= len(pairs)

    @property
    def lengths(self) -> Int[np.ndarray, " texts"]:
        """Tokens of each text, special ones included."""
        return np.diff(self.starts)

    @property
    def contents(self) -> Int[np.ndarray, " texts"]:
        """Tokens of each text without special ones."""
        return np.diff(np.concatenate([[0], np.cumsum(self.content)])[self.starts])

    @property
    def readable(self) -> Bool[np.ndarray, " texts"]:
        """False for texts of which the tokenizer makes no token of their own."""
        return self.contents > 0

    def read_before(self, characters: Int[np.ndarray, " texts"]) -> Tokens:
        """The same, where so many characters of each text have been read before: they are no content."""
        before = self.spans[:, 1] <= np.repeat(characters, self.lengths)
        return replace(self, content=self.content & ~before)


class Batch(NamedTuple):
    """A padded batch; `rows` are the texts' positions in the list that was batched."""

    rows: Int[np.ndarray, " batch"]
    ids: Int[torch.Tensor, "batch length"]
    attention: Int[torch.Tensor, "batch length"]
    content: Bool[torch.Tensor, "batch length"]


def tokenize(tokenizer: Any, texts: Sequence[str], *, max_tokens: int) -> Tokens:
    """Tokenise with the tokenizer's own special tokens, cutting at `max_tokens` (and counting)."""
    ids: list[np.ndarray] = []
    content: list[np.ndarray] = []
    spans: list[np.ndarray] = []
    lengths: list[int] = []
    cut = 0
    for start in range(0, len(texts), _CHUNK):
        encoded = tokenizer(
            list(texts[start : start + _CHUNK]),
            add_special_tokens=True,
            return_special_tokens_mask=True,
            return_offsets_mapping=True,
            return_attention_mask=False,
            truncation=False,
            verbose=False,
        )
        for number, special in enumerate(encoded["special_tokens_mask"]):
            kept = np.arange(len(special))
            if len(special) > max_tokens:
                cut += 1
                kept = _cut(special, max_tokens)
            ids.append(np.asarray(encoded["input_ids"][number], dtype=np.int32)[kept])
            content.append(~np.asarray(special, dtype=bool)[kept])
            spans.append(np.asarray(encoded["offset_mapping"][number], dtype=np.int32)[kept])
            lengths.append(len(kept))
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return Tokens(np.concatenate(ids), np.concatenate(content), np.concatenate(spans), starts, cut)


def with_bos(tokens: Tokens, bos: int, wanted: bool) -> Tokens:
    """The same with `bos` before each text, once, as a special token; or, where not `wanted`, without it.

    No text changes but in its first token.
    """
    first = tokens.starts[:-1]
    there = np.zeros(len(tokens), dtype=bool)
    full = tokens.lengths > 0
    there[full] = (tokens.ids[first[full]] == bos) & ~tokens.content[first[full]]
    if wanted:
        at = first[~there]
        ids, content = np.insert(tokens.ids, at, bos), np.insert(tokens.content, at, False)
        spans, lengths = np.insert(tokens.spans, at, 0, axis=0), tokens.lengths + ~there
    else:
        at = first[there]
        ids, content = np.delete(tokens.ids, at), np.delete(tokens.content, at)
        spans, lengths = np.delete(tokens.spans, at, axis=0), tokens.lengths - there
    return Tokens(ids, content, spans, np.concatenate([[0], np.cumsum(lengths)]), tokens.cut)


def _cut(special: list[int], length: int) -> np.ndarray:
    """Places that stay when content is dropped from the end, but not the closing special tokens."""
    closing = 0
    while closing < len(special) and special[-1 - closing]:
        closing += 1
    keep = np.arange(length - closing)
    return np.concatenate([keep, np.arange(len(special) - closing, len(special))])


def batches(
    tokens: Tokens, order: Int[np.ndarray, " texts"], *, token_budget: int, pad_id: int
) -> Iterator[Batch]:
    """Batches of at most `token_budget` padded tokens (never less than one text), in `order`.

    The order is the caller's; sorted by length it wastes no padding.
    """
    lengths = tokens.lengths
    start = 0
    while start < len(order):
        stop, longest = start, 0
        while stop < len(order):
            longest = max(longest, int(lengths[order[stop]]))
            if stop > start and longest * (stop + 1 - start) > token_budget:
                break
            stop += 1
        yield _pad(tokens, order[start:stop], pad_id)
        start = stop


def _pad(tokens: Tokens, rows: np.ndarray, pad_id: int) -> Batch:
    lengths = tokens.lengths[rows]
    shape = (len(rows), int(lengths.max()))
    ids = np.full(shape, pad_id, dtype=np.int64)
    attention = np.zeros(shape, dtype=np.int64)
    content = np.zeros(shape, dtype=bool)
    for row, (text, length) in enumerate(zip(rows, lengths, strict=True)):
        piece = slice(tokens.starts[text], tokens.starts[text] + length)
        ids[row, :length] = tokens.ids[piece]
        attention[row, :length] = 1
        content[row, :length] = tokens.content[piece]
    return Batch(rows, torch.from_numpy(ids), torch.from_numpy(attention), torch.from_numpy(content))

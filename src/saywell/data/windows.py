"""Long texts cut into windows of so many tokens, each of which is then a text by itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Int

from saywell.data.duplicates import first_of_equals, near_duplicate_groups
from saywell.data.examples import Examples
from saywell.data.parts import PARTS
from saywell.data.splits import check_parts, content_ids
from saywell.data.texts import NEAR, fingerprint_of, load_texts
from saywell.errors import InputError

LEAD = "lead"
"""Column of examples: how many characters of a window have been read before, as part of an earlier one."""
_TOGETHER = 1 << 20
"""Characters of texts that are held as tokens."""


class Window(NamedTuple):
    """A part of a text: its number and place there, and how many of its characters an earlier window has."""

    text: int
    window: int
    start: int
    end: int
    lead: int


def windows(
    source: Any,
    tokenizer: Any,
    context: int,
    stride: int | None = None,
    *,
    near: float | None = NEAR,
    seed: int = 0,
    **options: Any,
) -> Examples:
    """The texts of a source, those of more than `context` tokens cut into windows of at most so many.

    Counted are tokens of the text, not those that the tokenizer or saywell puts around it. A window starts
    `stride` tokens (by default `context`) after the one before it, ends and starts at a space where there is
    one, and is read as a text that begins there. Where windows overlap, what an earlier one has is read and
    does not count: each token is content in one window alone. Texts are read, cleaned and shared out by
    `load_texts`, whose other `options` these are (texts may have any length); then cut. So all windows of a
    text are in its part, and a text that is short enough is the example that it would be.

    Examples have the columns of `load_texts`, the ids of their own text, and where any is cut `group` (the
    id of the whole text), `window`, `start` (a character of that) and `lead` (see `LEAD`). Of windows with
    the same new text, or a Jaccard index of at least `near`, one is kept.

    Raises InputError as `load_texts` does, and for a context or stride that is none.
    """
    stride = context if stride is None else stride
    if context < 1 or not 1 <= stride <= context:
        raise InputError(
            f"there are no windows of context={context} tokens (--context), each stride={stride} (--stride)"
            " after the last: give whole numbers of at least 1, the stride at most the context"
        )
    asked: dict[str, Any] = {"max_chars": sys.maxsize} | options
    texts = load_texts(source, near=near, seed=seed, **asked)
    found = list(cut(texts.texts, tokenizer, context, stride))
    if len(found) == len(texts):
        return texts
    places = [one.text for one in found]
    new = [texts.texts[one.text][one.start + one.lead : one.end].strip() for one in found]
    table = texts.table[places].with_columns(
        text=pl.Series([texts.texts[one.text][one.start : one.end] for one in found], dtype=pl.String),
        group="id",
        **{name: pl.Series([getattr(one, name) for one in found], dtype=pl.Int32) for name in _COLUMNS},
        new=pl.Series(new, dtype=pl.String),
    )
    table, copies = _once(table.with_columns(id=pl.Series(content_ids(table["text"]))), near)
    check_parts(table["part"], seed)
    long = sum(one.window == 1 for one in found)
    notes = [f"{long} texts of more than {context} tokens were cut into windows; {table.height} examples."]
    if copies:
        notes.append(f"{copies} windows are copies or near copies of others and were left out.")
    return replace(texts, table=table, fingerprint=fingerprint_of(table)).noted(notes)


_COLUMNS = ("window", "start", "lead")


def _once(table: pl.DataFrame, near: float | None) -> tuple[pl.DataFrame, int]:
    """One of each family of windows, sorted by id, and how many were left out.

    Of equal ones that in the part most worth keeping; of near ones that with the smallest id.
    """
    worth = pl.col("part").replace_strict({part: -at for at, part in enumerate(PARTS)})
    table = table.sort("id", worth, "group", "window")
    count = table.height
    table = table.filter(pl.Series(first_of_equals(table["id"]) == np.arange(count)))
    groups = first_of_equals(table["new"])
    table = table.filter(pl.Series(groups == np.arange(table.height)))
    if near is not None:
        groups = near_duplicate_groups(table["new"], near)
        table = table.filter(pl.Series(groups == np.arange(table.height)))
    return table.drop("new"), count - table.height


def cut(texts: Sequence[str], tokenizer: Any, context: int, stride: int) -> Iterator[Window]:
    """The windows of each text, in order; see `windows`. A text with no more than `context` tokens is one."""
    for some in _chunks(texts):
        # A token has a byte at least.
        long = [place for place in some if len(texts[place].encode()) > context]
        spans = dict(zip(long, _spans(tokenizer, [texts[place] for place in long]), strict=True))
        open_ = [
            _Cutting(place, texts[place], spans[place], stride)
            for place in long
            if len(spans[place]) > context
        ]
        done = {cutting.place: cutting for cutting in open_}
        while open_:
            for cutting in open_:
                cutting.propose(context)
            read = tokenizer([one.proposed for one in open_], add_special_tokens=False, verbose=False)
            counts = [len(ids) for ids in read["input_ids"]]
            for cutting, count in zip(open_, counts, strict=True):
                cutting.settle(count - context)
            open_ = [cutting for cutting in open_ if not cutting.at_end]
        for place in some:
            yield from done[place].found if place in done else [Window(place, 0, 0, len(texts[place]), 0)]


def _chunks(texts: Sequence[str]) -> Iterator[range]:
    start, held = 0, 0
    for place, text in enumerate(texts):
        held += len(text)
        if held >= _TOGETHER:
            yield range(start, place + 1)
            start, held = place + 1, 0
    if start < len(texts):
        yield range(start, len(texts))


def _spans(tokenizer: Any, texts: list[str]) -> list[np.ndarray]:
    """Characters that each token covers [tokens, 2]."""
    if not texts:
        return []
    read = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return [np.asarray(spans, dtype=np.int64).reshape(-1, 2) for spans in read["offset_mapping"]]


@dataclass
class _Cutting:
    """A text of which windows are taken from the start; `first` and `last` are tokens."""

    place: int
    text: str
    spans: Int[np.ndarray, "tokens 2"]
    stride: int

    def __post_init__(self) -> None:
        self.found: list[Window] = []
        self.first, self.last, self.seen, self.excess, self.at_end = 0, 0, 0, 0, False
        starts, ends = self.spans[:, 0], self.spans[:, 1]
        # Some tokens are a part of a character.
        self._apart: Bool[np.ndarray, " tokens"] = np.append(True, starts[1:] >= ends[:-1])
        spaces = np.frombuffer(f" {self.text} ".encode("utf-32-le"), dtype=np.uint32) == ord(" ")
        space = spaces[starts + 1]  # the token begins with one, or is one
        after = np.append(False, (space & (ends - starts == 1))[:-1])
        self._words = self._apart & (space | (spaces[starts] & ~after))

    def propose(self, context: int) -> None:
        """A next window, shorter by what the last proposal had too much."""
        wanted = (self.last if self.excess else self.first + context) - self.excess
        self.last = len(self.spans) if wanted >= len(self.spans) else self._boundary(wanted)

    @property
    def _edges(self) -> tuple[int, int]:
        start, end = int(self.spans[self.first, 0]), int(self.spans[self.last - 1, 1])
        shown = self.text[start:end]
        return start + len(shown) - len(shown.lstrip(" ")), end - len(shown) + len(shown.rstrip(" "))

    @property
    def proposed(self) -> str:
        """Its text."""
        start, end = self._edges
        return self.text[start:end]

    def settle(self, excess: int) -> None:
        """Take what was proposed, unless it has more tokens as a text by itself than it may have.

        A piece of a word that cannot be shorter is taken as it is.
        """
        self.excess = max(0, excess)
        if self.excess and self._boundary(self.last - self.excess) < self.last:
            return
        self.excess = 0
        start, end = self._edges
        if end > self.seen:
            self.found.append(Window(self.place, len(self.found), start, end, max(0, self.seen - start)))
        self.seen, self.at_end = max(end, self.seen), self.last == len(self.spans)
        if not self.at_end:
            self.first = min(self.last, self._boundary(self.first + self.stride))

    def _boundary(self, wanted: int) -> int:
        """The last token, up to the one wanted, that begins a word, else a character, after the first one."""
        for places in (self._words, self._apart):
            before = np.flatnonzero(places[self.first + 1 : max(wanted, self.first) + 1])
            if len(before):
                return self.first + 1 + int(before[-1])
        after = np.flatnonzero(self._apart[self.first + 1 :])
        return self.first + 1 + int(after[0]) if len(after) else len(self.spans)

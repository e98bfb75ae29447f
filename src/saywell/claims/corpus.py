"""Texts cut into tokens that claims can point at: words, numbers and single signs.

A word is what `saywell.data.words` takes for one, with an apostrophe inside ("don't"); a possessive ending
is a token of its own, and so are the parts of a compound with a hyphen. Chinese, Japanese, Thai and
others that set no spaces are cut by the dictionaries of ICU.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from saywell.data.words import chunk_spans, has_unspaced

_PLAIN = re.compile(
    r"['’][sS](?![^\W_])"
    r"|[^\W_]*[^\W\d_][^\W_]*(?:['’](?![sS](?![^\W_]))[^\W\d_]+)*"
    r"|\d+(?:[.,:]\d+)*"
    r"|\.{2,}|…|[^\w\s]|_"
)
_FIRST_OF_SENTENCE = frozenset(".!?…。．！？؟।\n")
WORD, NUMBER, SIGN = 0, 1, 2
_BORDER = "\n"  # no form has a line break in it


@dataclass(frozen=True)
class Corpus:
    """The tokens of all texts in one row of arrays.

    `text`: whose token it is. `start`, `end`: characters of that text, end exclusive. `form`: its place
    among `forms`, which are in small letters. `first` [texts + 1]: where the tokens of each text begin.
    """

    texts: Sequence[str]
    forms: Sequence[str]
    text: Int[np.ndarray, " tokens"]
    start: Int[np.ndarray, " tokens"]
    end: Int[np.ndarray, " tokens"]
    form: Int[np.ndarray, " tokens"]
    first: Int[np.ndarray, " bounds"]

    @staticmethod
    def of(texts: Sequence[str]) -> Corpus:
        """Cut texts; equal words with small and capital letters have one form."""
        known: dict[str, int] = {}
        number: dict[str, int] = {}
        starts, ends, forms, counts = [], [], [], [0]
        for text in texts:
            spans = token_spans(text)
            counts.append(len(spans))
            for start, end in spans:
                said = text[start:end]
                place = number.get(said)
                if place is None:
                    place = number[said] = known.setdefault(said.lower().replace("’", "'"), len(known))
                starts.append(start)
                ends.append(end)
                forms.append(place)
        each = np.array(counts)
        return Corpus(
            texts,
            list(known),
            np.repeat(np.arange(len(texts), dtype=np.int32), each[1:]),
            np.array(starts, dtype=np.int32),
            np.array(ends, dtype=np.int32),
            np.array(forms, dtype=np.int32),
            np.cumsum(each),
        )

    def __len__(self) -> int:
        return len(self.form)

    def of_forms(self, holds: Callable[[str], bool]) -> Bool[np.ndarray, " tokens"]:
        """Of which tokens something holds that their form alone decides."""
        found = np.fromiter((holds(form) for form in self.forms), dtype=bool, count=len(self.forms))
        return found[self.form]

    def with_letters(self, said: str, starts: bool = False, ends: bool = False) -> Bool[np.ndarray, " forms"]:
        """Which forms have these letters in them, at the beginning or the end where that is asked."""
        sought = _BORDER * starts + said + _BORDER * ends
        found = np.zeros(len(self.forms), dtype=bool)
        at = self._joined.find(sought)
        while at >= 0 and said:
            found[np.searchsorted(self._borders, at + starts, side="right") - 1] = True
            at = self._joined.find(sought, at + 1)
        return found

    @cached_property
    def _joined(self) -> str:
        return _BORDER + _BORDER.join(self.forms) + _BORDER

    @cached_property
    def _borders(self) -> Int[np.ndarray, " forms"]:
        """Where in `_joined` each form begins."""
        return np.cumsum([1, *(len(form) + 1 for form in self.forms[:-1])])

    @cached_property
    def lengths(self) -> Int[np.ndarray, " forms"]:
        """Letters of each form."""
        return np.array([len(form) for form in self.forms], dtype=np.int64)

    def tokens_of(self, wanted: Sequence[str]) -> Bool[np.ndarray, " tokens"]:
        """Which tokens have one of these forms (in small letters)."""
        return self.of_places([self.number[form] for form in wanted if form in self.number])

    def of_places(self, places: Sequence[int]) -> Bool[np.ndarray, " tokens"]:
        """Which tokens have one of these forms, by their places."""
        found = np.zeros(len(self.forms), dtype=bool)
        found[list(places)] = True
        return found[self.form]

    def texts_of(self, tokens: Bool[np.ndarray, " tokens"]) -> Bool[np.ndarray, " texts"]:
        """Which texts have such a token."""
        found = np.zeros(len(self.texts), dtype=bool)
        found[self.text[tokens]] = True
        return found

    def spans_of(self, tokens: Bool[np.ndarray, " tokens"], text: int) -> list[tuple[int, int]]:
        """Where in a text such tokens are, in characters."""
        here = slice(self.first[text], self.first[text + 1])
        chosen = np.flatnonzero(tokens[here]) + here.start
        return [(int(self.start[n]), int(self.end[n])) for n in chosen]

    def shifted(self, tokens: Bool[np.ndarray, " tokens"], by: int) -> Bool[np.ndarray, " tokens"]:
        """Which tokens have such a one `by` places before them in their text (after them where below 0)."""
        if by == 0:
            return tokens
        found = np.zeros(len(tokens), dtype=bool)
        if 0 < by < len(tokens):
            found[by:] = tokens[:-by] & (self.text[by:] == self.text[:-by])
        elif 0 < -by < len(tokens):
            found[:by] = tokens[-by:] & (self.text[:by] == self.text[-by:])
        return found

    @cached_property
    def number(self) -> dict[str, int]:
        """The place of each form."""
        return {form: place for place, form in enumerate(self.forms)}

    @cached_property
    def kind(self) -> Int[np.ndarray, " tokens"]:
        """WORD, NUMBER or SIGN of each token."""
        kinds = [
            SIGN
            if form[0] == "'"
            else WORD
            if any(map(str.isalpha, form))
            else NUMBER
            if form[0].isdigit()
            else SIGN
            for form in self.forms
        ]
        return np.array(kinds, dtype=np.int8)[self.form]

    @cached_property
    def capital(self) -> Bool[np.ndarray, " tokens"]:
        """Which words begin with a capital letter."""
        return self._said(lambda text, start, _: text[start].isupper())

    @cached_property
    def all_capitals(self) -> Bool[np.ndarray, " tokens"]:
        """Which words of two letters or more have no small letter."""
        return self._said(lambda text, start, end: end - start > 1 and text[start:end].isupper())

    def _said(self, holds: Callable[[str, int, int], bool]) -> Bool[np.ndarray, " tokens"]:
        """Of which tokens something holds as they are written: of the text, their start and their end."""
        spans: Iterable[tuple[int, int, int]] = zip(
            self.text.tolist(), self.start.tolist(), self.end.tolist(), strict=True
        )
        said = (holds(self.texts[t], start, end) for t, start, end in spans)
        return np.fromiter(said, dtype=bool, count=len(self))

    @cached_property
    def sentence(self) -> Int[np.ndarray, " tokens"]:
        """The number of the sentence that each token belongs to; the sign that ends it is its last."""
        ends = np.array([form[0] in _FIRST_OF_SENTENCE for form in self.forms], dtype=bool)[self.form]
        return np.cumsum(self.shifted(ends, 1) | self._new_text | self._new_line)

    @cached_property
    def opens_sentence(self) -> Bool[np.ndarray, " tokens"]:
        """Which words are the first of their sentence."""
        return _first_of_each(self.sentence, self.kind != SIGN)

    @cached_property
    def closes_sentence(self) -> Bool[np.ndarray, " tokens"]:
        """Which words are the last of their sentence."""
        return _first_of_each(self.sentence[::-1], (self.kind != SIGN)[::-1])[::-1]

    @cached_property
    def opens_text(self) -> Bool[np.ndarray, " tokens"]:
        """Which words are the first of their text."""
        return _first_of_each(self.text, self.kind != SIGN)

    @cached_property
    def closes_text(self) -> Bool[np.ndarray, " tokens"]:
        """Which words are the last of their text."""
        return _first_of_each(self.text[::-1], (self.kind != SIGN)[::-1])[::-1]

    @cached_property
    def words(self) -> Int[np.ndarray, " texts"]:
        """How many words and numbers each text has."""
        return np.bincount(self.text[self.kind != SIGN], minlength=len(self.texts))

    @cached_property
    def _new_text(self) -> Bool[np.ndarray, " tokens"]:
        return np.concatenate([np.ones(min(1, len(self)), dtype=bool), np.diff(self.text) != 0])

    @cached_property
    def _new_line(self) -> Bool[np.ndarray, " tokens"]:
        """Which tokens have a line break before them."""
        found = np.zeros(len(self), dtype=bool)
        for number, text in enumerate(self.texts):
            if "\n" in text:
                here = slice(self.first[number], self.first[number + 1])
                breaks = np.array([at for at, c in enumerate(text) if c == "\n"])
                line = np.searchsorted(breaks, self.start[here])
                found[here] = np.diff(line, prepend=0) != 0
        return found


def token_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each token of a text, in characters."""
    if not has_unspaced(text):
        return [match.span() for match in _finder(text).finditer(text)]
    spans = []
    for start, end in chunk_spans(text):
        piece = text[start:end]
        spans += [(start + a, start + b) for a, b in (m.span() for m in _finder(piece).finditer(piece))]
    return spans


def _finder(text: str) -> Any:
    if text.isascii():
        return _PLAIN
    import regex

    return regex.compile(
        r"['’][sS](?![\p{L}\p{N}_])"
        r"|\p{N}*\p{L}(?:[\p{L}\p{N}]|\p{M}|[\u200c\u200d])*(?:['’](?![sS](?![\p{L}\p{N}_]))(?:\p{L}\p{M}*)+)*"
        r"|\p{N}+(?:[.,:]\p{N}+)*"
        r"|\.{2,}|…|[^\p{L}\p{M}\p{N}\s]|\p{M}+"
    )


def _first_of_each(
    group: Int[np.ndarray, " tokens"], able: Bool[np.ndarray, " tokens"]
) -> Bool[np.ndarray, " tokens"]:
    """The first of each group of neighbours that is able."""
    places = np.flatnonzero(able)
    found = np.zeros(len(group), dtype=bool)
    if len(places):
        new = np.concatenate([[True], np.diff(group[places]) != 0])
        found[places[new]] = True
    return found

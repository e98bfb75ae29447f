"""A reader without any model: how much of what a description says does an example say?

It takes words at their face, so it is blind to paraphrase and negation. It is the floor that a reader
which understands something has to beat, and the ceiling for units that are words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from saywell.claims.corpus import Corpus, token_spans
from saywell.claims.lexis import lemma
from saywell.data.examples import Examples, Kind
from saywell.data.parts import DescribeRows, require
from saywell.data.words import is_function_word, stem
from saywell.description import Description
from saywell.readers.alternatives import QUOTED, alternatives
from saywell.readers.reader import Predict, RowNumbers, rows_of_each

if TYPE_CHECKING:
    from saywell.resources import Resources

OTHER_FORM = 0.9
"""What a word counts in another form than it is sought in."""
TOGETHER = 0.5
"""What it counts, against the words themselves, that two of them stand together as in the description."""
NEAR = 3
"""Tokens that lie between two words that stand together at most, less one."""
_SIDES = {
    stem(word): side
    for side, words in {
        "begin": ("begin", "start", "open", "first", "prefix"),
        "end": ("end", "close", "finish", "last", "suffix"),
        "inside": ("contain", "inside"),
    }.items()
    for word in words
}
"""Words that say where something is sought: in a word where they speak of one, otherwise in a text."""
_CONTEXT = frozenset(map(stem, ("after", "before", "near", "following", "followed")))


@dataclass(frozen=True)
class LexicalReader:
    """Share of a description's words that an example says, rare words counting more (0 to 1).

    A word weighs log((n + 1) / (k + 1)) + 1 where k of the n describe examples say it (the smoothed
    inverse document frequency); another form of it counts 0.9 of it. Two neighbours among
    the words weigh half of the rarer one besides, where an example says them in this order and near each
    other (as in Metzler and Croft 2005). Of the alternatives that a description offers the best counts;
    function words count only in one that has no others. Where something stands in quotation marks, that
    is what is sought, and the words around it say where: 'begins with "still"', 'a word ending in "ing"',
    '"off" after "turn"'. NaN only where a description has no words.
    """

    name: str = "lexical"
    version: int = 2
    costly: bool = False
    reads: tuple[Kind, ...] = ("text", "pair")

    def open(self, examples: Examples, resources: Resources) -> Predict:
        """As in `Reader`."""
        return by_words(examples.texts, examples.parts.describe)

    def pointing(
        self, examples: Examples, resources: Resources
    ) -> Callable[[Description, int], list[tuple[int, int]] | None]:
        """As in `Points`: the words of the alternative that an example says most of."""
        said = _Said(examples.texts, examples.parts.describe)
        # One description after the other is asked of many texts: what it says of all of them is found once.
        best = lru_cache(maxsize=1)(said.best)
        return lambda description, row: said.words_of(best(description.text), row)


def by_words(texts: Sequence[str], known: DescribeRows) -> Predict:
    """Reads these texts; how rare a word is comes from those that are `known`."""
    said = _Said(texts, known)

    def predict(descriptions: Sequence[Description], rows: RowNumbers) -> np.ndarray:
        found = np.full((len(descriptions), rows.shape[-1]), np.nan, dtype=np.float32)
        for number, asked in enumerate(rows_of_each(rows, len(descriptions))):
            shares = [said.share(terms) for terms in _alternatives(descriptions[number].text)]
            if shares:
                found[number] = np.max(shares, axis=0)[asked]
        return found

    return predict


class Term(NamedTuple):
    """Something sought: a row of tokens in small letters, and where.

    `piece`: as a part of words, at their "begin", "end" or "inside". `place`: where this property of a corpus
    holds. `context`: it is not what is pointed at, but stands near that.
    `after`: its neighbour in the description stands after it in a text.
    """

    tokens: tuple[str, ...]
    piece: str = ""
    place: str = ""
    context: bool = False
    after: bool = False


def _alternatives(description: str) -> list[tuple[Term, ...]]:
    """What each alternative seeks; one that seeks nothing, such as a mere mark, is none."""
    return [terms for part in alternatives(description) if (terms := sought(part))]


def sought(part: str) -> tuple[Term, ...]:
    """What an alternative seeks: what it quotes, else its words but function words, else all its words."""
    quotations = list(QUOTED.finditer(part))
    borders = [0, *(border for match in quotations for border in match.span()), len(part)]
    between = [
        [stem(word) for word in _tokens(part[a:b])] for a, b in zip(borders[::2], borders[1::2], strict=True)
    ]
    found = []
    for n, match in enumerate(quotations):
        tokens = _tokens(match[match.lastindex or 0].strip("-…"))
        if tokens:
            before = set(between[n]) & _CONTEXT if found else set()
            where = _where(tokens, between[n], between[n + 1])
            found.append(Term(tokens, *where, context=bool(before), after="after" in before))
    if found:
        return tuple(found)
    words = [token for token in _tokens(part) if token[0] != "'" and any(map(str.isalnum, token))]
    full = [word for word in words if not is_function_word(word)]
    return tuple(Term((word,)) for word in dict.fromkeys(full or words))


def _where(tokens: tuple[str, ...], before: list[str], behind: list[str]) -> tuple[str, str]:
    """Piece and place of something quoted, from the stems around it; a sign has neither."""
    if not any(map(str.isalnum, "".join(tokens))):
        return "", ""
    said = [(n, _SIDES[word]) for n, word in enumerate(before) if word in _SIDES]
    then = [(n, _SIDES[word]) for n, word in enumerate(behind) if word in _SIDES]
    if said:
        at, side = said[-1]
        of_words = before[at] in ("prefix", "suffix") or "word" in before[:at]
    elif then:
        at, side = then[0]
        of_words = behind[at] not in ("first", "last") and "word" in behind[at:]
    else:
        return "", ""
    if of_words:
        return side, ""
    of = "sentence" if stem("sentence") in before + behind else "text"
    return "", {"begin": f"opens_{of}", "end": f"closes_{of}"}.get(side, "")


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(text[start:end].lower().replace("’", "'") for start, end in token_spans(text))


def key(form: str) -> str:
    """What the forms of a word have in common: its lemma, or its stem where that is not known."""
    import simplemma

    return lemma(form) if simplemma.is_known(form, lang="en") else stem(form)


class _Found(NamedTuple):
    """Where a term begins and ends, by token; which texts say it, what it counts in each, what it weighs."""

    first: Int[np.ndarray, " found"]
    last: Int[np.ndarray, " found"]
    texts: Int[np.ndarray, " texts"]
    worth: Float[np.ndarray, " texts"]
    weight: float


class _Said:
    """Texts, to find terms in."""

    def __init__(self, texts: Sequence[str], known: DescribeRows) -> None:
        self.known = np.zeros(len(texts), dtype=bool)
        self.known[require(DescribeRows, known).rows] = True
        self.corpus = Corpus.of(texts)
        self.order = np.argsort(self.corpus.form, kind="stable")
        self.bounds = np.searchsorted(self.corpus.form[self.order], np.arange(len(self.corpus.forms) + 1))
        self.forms: dict[str, list[int]] = {}
        for number, form in enumerate(self.corpus.forms):
            self.forms.setdefault(key(form), []).append(number)
        self.terms: dict[Term, _Found] = {}

    def share(self, terms: Sequence[Term]) -> Float[np.ndarray, " texts"]:
        """How much of the terms each text says (0 to 1)."""
        found = [self.find(term) for term in terms]
        got = np.zeros(len(self.corpus.texts))
        for each in found:
            got[each.texts] += each.worth * each.weight
        total = sum(each.weight for each in found)
        for left, right, term in zip(found, found[1:], terms[1:], strict=False):
            weight = TOGETHER * max(left.weight, right.weight)
            total += weight
            got[self._together(right, left) if term.after else self._together(left, right)] += weight
        return got / total

    def best(self, description: str) -> list[tuple[tuple[Term, ...], Bool[np.ndarray, " texts"]]]:
        """Its alternatives, and of which texts none says more."""
        parts = _alternatives(description)
        shares = np.array([self.share(terms) for terms in parts]).reshape(len(parts), len(self.corpus.texts))
        return [(terms, own == shares.max(0)) for terms, own in zip(parts, shares, strict=True)]

    def words_of(
        self, best: Sequence[tuple[tuple[Term, ...], Bool[np.ndarray, " texts"]]], row: int
    ) -> list[tuple[int, int]] | None:
        """Start and end in characters of what the text of that row says of the best alternatives."""
        if not best:
            return None
        corpus, spans = self.corpus, set()
        for terms in [terms for terms, most in best if most[row]]:
            for found in [self.find(term) for term in terms if not term.context]:
                here = slice(*np.searchsorted(found.first, corpus.first[[row, row + 1]]))
                starts, ends = corpus.start[found.first[here]], corpus.end[found.last[here]]
                spans |= set(zip(starts.tolist(), ends.tolist(), strict=True))
        return sorted(spans)

    def find(self, term: Term) -> _Found:
        """Where a term stands."""
        if term not in self.terms:
            self.terms[term] = self._find(term)
        return self.terms[term]

    def _find(self, term: Term) -> _Found:
        corpus, size = self.corpus, 1 if term.piece else len(term.tokens)
        first = self._pieces(term) if term.piece else self._rows(term.tokens)
        others = self.forms.get(key(term.tokens[0]), []) if term.tokens[1:] == () and not term.piece else []
        both = np.union1d(first, self._places(others))
        if term.place:
            able: Bool[np.ndarray, " tokens"] = getattr(corpus, term.place)
            both = both[able[both + (size - 1 if term.place.startswith("closes") else 0)]]
        texts = np.unique(corpus.text[both])
        exact = np.isin(texts, corpus.text[np.intersect1d(first, both)])
        count = int(self.known[texts].sum())
        weight = float(np.log((self.known.sum() + 1) / (count + 1)) + 1)
        return _Found(both, both + size - 1, texts, np.where(exact, 1, OTHER_FORM), weight)

    def _rows(self, tokens: tuple[str, ...]) -> Int[np.ndarray, " found"]:
        """Where these tokens stand in a row."""
        corpus = self.corpus
        forms = [corpus.number.get(token, -1) for token in tokens]
        first = self._places(forms[:1] if min(forms) >= 0 else [])
        first = first[first + len(forms) <= len(corpus)]
        for n, form in enumerate(forms):
            first = first[(corpus.form[first + n] == form) & (corpus.text[first + n] == corpus.text[first])]
        return first

    def _pieces(self, term: Term) -> Int[np.ndarray, " found"]:
        """The words that have it as a part."""
        holds = {"begin": str.startswith, "end": str.endswith, "inside": str.__contains__}[term.piece]
        piece = "".join(term.tokens)
        return self._places([n for n, s in enumerate(self.corpus.forms) if holds(s, piece) and s != piece])

    def _places(self, forms: Sequence[int]) -> Int[np.ndarray, " found"]:
        """The tokens of these forms, in order."""
        runs = [self.order[self.bounds[form] : self.bounds[form + 1]] for form in forms]
        return np.sort(np.concatenate(runs)) if runs else np.zeros(0, dtype=np.int64)

    def _together(self, left: _Found, right: _Found) -> Int[np.ndarray, " texts"]:
        """The texts that say the left one and soon after it the right one."""
        corpus, after = self.corpus, np.searchsorted(right.first, left.last, side="right")
        able = after < len(right.first)
        a, b = left.last[able], right.first[after[able]]
        return np.unique(corpus.text[a[(b - a <= NEAR) & (corpus.text[a] == corpus.text[b])]])

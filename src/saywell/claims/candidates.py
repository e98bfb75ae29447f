"""The atoms that a search may build claims from: all that the describe examples support.

They depend on the examples alone and are made once for all units. An atom has to hold of some texts and
not of nearly all; a piece, prefix or suffix has to stand in several words, or the words would say it better;
one with a context has to leave out a good part of what it is without.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int

from saywell.claims.corpus import Corpus
from saywell.claims.english import grown, price
from saywell.claims.feeling import FEELINGS
from saywell.claims.ground import Ground
from saywell.claims.kinds import PLACES, holds
from saywell.claims.language import Atom, Condition, atom
from saywell.claims.lexis import CLASSES, OF_CASE, lemma
from saywell.claims.pictures import SAYINGS
from saywell.claims.topics import Topics

LEAST_TEXTS, LEAST_SHARE, MOST_SHARE = 4, 0.0008, 0.6
"""Texts, and share of all texts, that an atom holds of at least, and share at most."""
WORDS_OF_PIECE = 4
"""Distinct words that share a piece, prefix or suffix."""
NARROWED = 0.8
"""Share at most of the texts of a word that are left where a context is asked for."""
LONGEST_WORD = 30
"""Letters of a word that is worth quoting."""
SHARES = (0.01, 0.02, 0.04, 0.08, 0.15)
"""Of texts that are nearest to a phrase: where thresholds of likeness may lie."""
PICTURED = (0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.45)
"""The same of pictures, of which a phrase may hold more often: "blue", "on a plain background"."""
COUNTS = ((1.0, 1.0), (2.0, 2.0), (3.0, 3.0), (4.0, 4.0), (2.0,), (3.0,), (5.0,))
"""Numbers of objects that are asked for."""
PHRASES = 1500
"""Phrases at most of which likeness is an atom of pictures."""
LENGTHS = (0.05, 0.1, 0.25, 0.75, 0.9, 0.95)


_EXCEPTED = frozenset({"word", "form", "mark", "place"})
_FUNCTION_WORDS = Condition("class", ("function",))
_NEVER_DENIED = frozenset({"piece", "prefix", "suffix", "after", "before", "repeated", "long"})


@dataclass(frozen=True)
class Candidates:
    """Atoms, the examples that each holds of, and the tokens that each points at.

    `forms` and `tokens` together say where: an atom of a word's form points at all its tokens, others have
    theirs listed. Atoms of whole examples point nowhere.
    """

    atoms: Sequence[Atom]
    rows: sp.csr_matrix
    """Atoms x examples."""
    forms: sp.csr_matrix
    """Atoms x forms."""
    tokens: sp.csr_matrix
    """Atoms x tokens."""
    corpus: Corpus | None
    of_words: bool = False
    """Whether the examples are words."""

    def pointed(self, tokens: Int[np.ndarray, " places"]) -> sp.csr_matrix:
        """Atoms x places: which point at these tokens."""
        if self.corpus is None or not len(tokens):
            return sp.csr_matrix((len(self.atoms), len(tokens)), dtype=bool)
        return sp.csr_matrix((self._by_form[:, self.corpus.form[tokens]] + self._by_token[:, tokens]) > 0)

    @cached_property
    def chance(self) -> Float[np.ndarray, " atoms"]:
        """The share of all tokens that each points at."""
        if self.corpus is None:
            return np.zeros(len(self.atoms))
        seen = np.bincount(self.corpus.form, minlength=len(self.corpus.forms))
        return (self.forms @ seen + np.diff(self.tokens.indptr)) / max(1, len(self.corpus))

    @cached_property
    def deniable(self) -> Bool[np.ndarray, " atoms"]:
        """Which may be denied: no person is helped by what is not in a word, or beside it."""
        denied = _is_exception if self.of_words else _is_absence
        return np.array(
            [len(one.conditions) == 1 and denied(one.conditions[0]) for one in self.atoms], dtype=bool
        )

    @cached_property
    def prices(self) -> Float[np.ndarray, " atoms"]:
        """Words of English that each costs."""
        return np.array([price(one) for one in self.atoms])

    @cached_property
    def order(self) -> Int[np.ndarray, " atoms"]:
        """By their text: which of equals comes first must not depend on how they were found."""
        order = np.argsort(np.array([str(one) for one in self.atoms]), kind="stable")
        return np.argsort(order, kind="stable")

    @cached_property
    def groups(self) -> Int[np.ndarray, " atoms"]:
        """Atoms about the same word have the same number."""
        known: dict[str, int] = {}
        return np.array([known.setdefault(_about(one), len(known)) for one in self.atoms], dtype=np.int64)

    @cached_property
    def _by_form(self) -> sp.csc_matrix:
        return self.forms.astype(np.float32).tocsc()

    @cached_property
    def _by_token(self) -> sp.csc_matrix:
        return self.tokens.astype(np.float32).tocsc()


def _is_absence(condition: Condition) -> bool:
    return condition.name not in _NEVER_DENIED


def _is_exception(condition: Condition) -> bool:
    """Whether a person knows at once of a word if it is such a one."""
    return condition.name in _EXCEPTED or condition == _FUNCTION_WORDS


def _about(one: Atom) -> str:
    head = one.conditions[0]
    if len(one.conditions) == 1 and head.name in ("word", "form") and isinstance(head.values[0], str):
        return f"word {lemma(head.values[0])}"
    if head.name == "like":
        return f"like {head.values[0]}"
    return str(one)


def text_candidates(ground: Ground, topics: Topics) -> Candidates:
    """Of texts; also likeness to topics, where there are any."""
    return _candidates(ground, [*_of_examples(ground), *_alike(topics)], ground.corpus.text, len(ground))


def word_candidates(ground: Ground, *, cased: bool = True) -> Candidates:
    """Of the words and signs of texts, each an example by itself, and what holds of their texts.

    `cased`: whether whoever reads them sees capitals; else no claim is about these.
    """
    every, known = np.arange(len(ground.corpus)), CLASSES.keys() - (() if cased else OF_CASE)
    whole = list(_of_examples(ground))
    return replace(_candidates(ground, whole, every, len(every), known), of_words=True)


def _candidates(
    ground: Ground,
    whole: Sequence[tuple[Atom, Bool[np.ndarray, " texts"]]],
    example: Int[np.ndarray, " tokens"],
    count: int,
    known: Collection[str] = CLASSES,
) -> Candidates:
    """Atoms of tokens and of `whole` texts, where `example` says to which of so many each token belongs."""
    corpus = ground.corpus
    least = max(LEAST_TEXTS, round(LEAST_SHARE * len(ground)))
    every = np.ones(len(corpus), dtype=np.float32)
    atoms: list[Atom] = []
    rows, by_form, by_token = [], [], []

    def add(found: Sequence[Atom], held: sp.csr_matrix, forms: sp.csr_matrix, tokens: sp.csr_matrix) -> None:
        support = np.diff(held.indptr)
        kept = np.flatnonzero((support >= least) & (support <= MOST_SHARE * count))
        atoms.extend(found[place] for place in kept.tolist())
        rows.append(held[kept])
        by_form.append(forms[kept])
        by_token.append(tokens[kept])

    def nothing(width: int, of: int) -> sp.csr_matrix:
        return sp.csr_matrix((of, width), dtype=np.float32)

    found, forms = _of_forms(corpus, least)
    of_forms = sp.csr_matrix((every, (corpus.form, example)), shape=(len(corpus.forms), count))
    add(found, _binary(forms @ of_forms), forms, nothing(len(corpus), len(found)))
    found, tokens = _of_tokens(ground, least, known)
    of_tokens = sp.csr_matrix((every, (np.arange(len(corpus)), example)), shape=(len(corpus), count))
    add(found, _binary(tokens @ of_tokens), nothing(len(corpus.forms), len(found)), tokens)
    if whole:
        held = np.stack([mask for _, mask in whole])
        if count != len(ground):
            held = held[:, corpus.text]
        add(
            [one for one, _ in whole],
            sp.csr_matrix(held, dtype=np.float32),
            nothing(len(corpus.forms), len(whole)),
            nothing(len(corpus), len(whole)),
        )
    return Candidates(
        atoms,
        sp.csr_matrix(sp.vstack(rows), dtype=bool),
        sp.csr_matrix(sp.vstack(by_form)),
        sp.csr_matrix(sp.vstack(by_token)),
        corpus,
    )


def candidates_of(ground: Ground, topics: Topics) -> Candidates:
    """What the examples of a ground support, whatever their kind."""
    make = picture_candidates if ground.examples.kind == "image" else text_candidates
    return make(ground, topics)


def picture_candidates(ground: Ground, topics: Topics) -> Candidates:
    """Of pictures: what can be measured of them, and likeness to phrases."""
    count = len(ground)
    conditions = [Condition(name, (value,)) for name, some in SAYINGS.items() for value in some]
    conditions += [Condition("count", numbers) for numbers in COUNTS]
    whole = [(atom(condition), holds(ground, condition)) for condition in conditions]
    usual = topics if len(topics.phrases) <= PHRASES else topics.nearest(PHRASES)
    whole += _alike(usual, PICTURED)
    held = np.array([mask for _, mask in whole])
    support = held.sum(1)
    kept = np.flatnonzero(
        (support >= max(LEAST_TEXTS, LEAST_SHARE * count)) & (support <= MOST_SHARE * count)
    )
    nowhere = sp.csr_matrix((len(kept), 0), dtype=np.float32)
    return Candidates([whole[place][0] for place in kept], sp.csr_matrix(held[kept]), nowhere, nowhere, None)


def _of_forms(corpus: Corpus, least: int) -> tuple[list[Atom], sp.csr_matrix]:
    """Words, their forms, marks and what words share: atoms x forms."""
    sets: dict[Condition, list[int]] = {}
    lemmas: dict[str, list[int]] = {}
    parts: dict[tuple[str, str], list[int]] = {}
    seen = np.bincount(corpus.form, minlength=len(corpus.forms))
    for place, form in enumerate(corpus.forms):
        if not _is_word(form):
            if not form[0].isalnum() and len(form) <= LONGEST_WORD:
                sets[Condition("mark", (form,))] = [place]
            continue
        for key in _parts(form):
            parts.setdefault(key, []).append(place)
        lemmas.setdefault(lemma(form), []).append(place)
        if seen[place] >= least and len(form) <= LONGEST_WORD:
            sets[Condition("word", (form,))] = [place]
    sets |= {Condition("form", (base,)): own for base, own in lemmas.items() if len(own) > 1}
    taken: set[tuple[int, ...]] = {tuple(own) for own in sets.values()}
    for (name, piece), own in sorted(parts.items(), key=lambda item: (_PARTS.index(item[0][0]), item[0][1])):
        # Forms of one word say no more together than that word in any form.
        several = len({lemma(corpus.forms[place]) for place in own}) >= WORDS_OF_PIECE
        if several and seen[own].sum() >= least and tuple(own) not in taken:
            taken.add(tuple(own))
            if name == "piece":
                # What a person recognises: not "uran" but all that words with it have in common.
                piece = grown(piece, [corpus.forms[place] for place in own])
            sets[Condition(name, (piece,))] = own
    return [atom(condition) for condition in sets], _matrix(sets.values(), len(corpus.forms))


_PARTS = ("suffix", "prefix", "piece")


def _parts(form: str) -> Iterator[tuple[str, str]]:
    """What a word begins and ends with, and has inside."""
    for size in range(2, 6):
        if len(form) > size + 2 and form[-size:].isalpha():
            yield "suffix", form[-size:]
        if len(form) > size + 1 and form[:size].isalpha():
            yield "prefix", form[:size]
    pieces = {form[at : at + size] for size in (2, 3, 4) for at in range(len(form) - size + 1)}
    for piece in sorted(pieces):
        if piece.isalpha():
            yield "piece", piece


def _of_tokens(ground: Ground, least: int, known: Collection[str]) -> tuple[list[Atom], sp.csr_matrix]:
    """Classes, places and words in a context: atoms x tokens."""
    corpus = ground.corpus
    words, classes = _words(corpus, least), _classes(ground, least, known)
    heads = words | classes
    sets: dict[Atom, np.ndarray] = {atom(name): np.flatnonzero(mask) for name, mask in classes.items()}
    sets[atom(Condition("repeated"))] = np.flatnonzero(holds(ground, Condition("repeated")))
    contexts: dict[Condition, np.ndarray] = {}
    for place in PLACES:
        condition = Condition("place", (place,))
        contexts[condition] = holds(ground, condition)
        sets[atom(condition)] = np.flatnonzero(contexts[condition])
    sets.update(_narrowed(heads, contexts, least))
    for name, by in (("after", 1), ("before", -1)):
        beside = {Condition(name, (n,)): corpus.shifted(mask, by) for n, mask in heads.items()}
        sets |= {atom(condition): np.flatnonzero(mask) for condition, mask in beside.items()}
        of_words = {condition: beside[condition] for condition in beside if condition.values[0] in words}
        sets.update(_narrowed(words, beside, least))
        sets.update(_narrowed(classes, of_words, least))
    return list(sets), _matrix(sets.values(), len(corpus))


Masks = Mapping[Condition, Bool[np.ndarray, " tokens"]]


def _words(corpus: Corpus, least: int) -> dict[Condition, Bool[np.ndarray, " tokens"]]:
    """Words as they stand and in any form, and marks."""
    seen = np.bincount(corpus.form, minlength=len(corpus.forms))
    lemmas: dict[str, list[int]] = {}
    found: dict[Condition, np.ndarray] = {}
    for place, form in enumerate(corpus.forms):
        if len(form) > LONGEST_WORD or (seen[place] < least and not _is_word(form)):
            continue
        if _is_word(form):
            lemmas.setdefault(lemma(form), []).append(place)
        if seen[place] >= least and not form[0].isdigit():
            name = "word" if _is_word(form) else "mark"
            found[Condition(name, (form,))] = corpus.form == place
    for base, own in lemmas.items():
        if len(own) > 1 and seen[own].sum() >= least:
            found[Condition("form", (base,))] = np.isin(corpus.form, own)
    return found


def _classes(
    ground: Ground, least: int, known: Collection[str]
) -> dict[Condition, Bool[np.ndarray, " tokens"]]:
    masks = {name: holds(ground, Condition("class", (name,))) for name in CLASSES if name in known}
    return {Condition("class", (name,)): mask for name, mask in masks.items() if mask.sum() >= least}


def _narrowed(heads: Masks, contexts: Masks, least: int) -> Iterator[tuple[Atom, Int[np.ndarray, " tokens"]]]:
    """Heads in those contexts that leave out a good part of them and keep enough."""
    names, of = list(heads), list(contexts)
    if not names or not of:
        return
    width = len(heads[names[0]])
    own, there = (_matrix(map(np.flatnonzero, masks.values()), width) for masks in (heads, contexts))
    joint, sizes = sp.coo_matrix(own @ there.T), np.diff(own.indptr)
    kept = (joint.data >= least) & (joint.data <= NARROWED * sizes[joint.row])
    for row, column in zip(joint.row[kept].tolist(), joint.col[kept].tolist(), strict=True):
        some = own.indices[own.indptr[row] : own.indptr[row + 1]]
        yield Atom((names[row], of[column])), some[contexts[of[column]][some]]


def _of_examples(ground: Ground) -> Iterator[tuple[Atom, Bool[np.ndarray, " examples"]]]:
    """Feeling and length."""
    for feeling in FEELINGS:
        condition = Condition("feels", (feeling,))
        yield atom(condition), holds(ground, condition)
    words = ground.corpus.words
    for share in LENGTHS:
        border = float(np.quantile(words, share)) if len(words) else 0.0
        values = (1.0, float(np.floor(border))) if share < 0.5 else (float(np.ceil(border)),)
        condition = Condition("long", values)
        yield atom(condition), holds(ground, condition)


def _alike(
    topics: Topics, shares: Sequence[float] = SHARES
) -> list[tuple[Atom, Bool[np.ndarray, " examples"]]]:
    """Examples near to a phrase, with thresholds at which some shares of all examples lie."""
    found = []
    for phrase, cosines in zip(topics.phrases, topics.near, strict=True):
        for border in np.quantile(cosines, 1 - np.array(shares)):
            # As it is written: what is executed has no more digits.
            least = float(f"{border:.3f}")
            found.append((atom(Condition("like", (phrase, least))), cosines >= least))
    return found


def _is_word(form: str) -> bool:
    return any(map(str.isalpha, form)) and form[0] != "'"


def _matrix(rows: Iterable[Sequence[int] | np.ndarray], width: int) -> sp.csr_matrix:
    own = [np.asarray(row, dtype=np.int64) for row in rows]
    starts = np.concatenate([[0], np.cumsum([len(row) for row in own])])
    columns = np.concatenate(own) if own else np.zeros(0, dtype=np.int64)
    return sp.csr_matrix((np.ones(len(columns), dtype=np.float32), columns, starts), shape=(len(own), width))


def _binary(matrix: sp.spmatrix) -> sp.csr_matrix:
    rows = sp.csr_matrix(matrix)
    rows.data = np.ones_like(rows.data)
    return rows

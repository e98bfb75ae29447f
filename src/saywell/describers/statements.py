"""What may be said of a text in a few words, and of which texts each statement holds.

Search looks for what a unit responds to, among all that can be said. Here the order is the other way round:
all that a person would say of texts like these is listed first, from words alone, and whoever asks chooses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float

from saywell.claims.corpus import Corpus
from saywell.claims.english import price
from saywell.claims.execute import Executor
from saywell.claims.feeling import FEELINGS
from saywell.claims.ground import Ground
from saywell.claims.language import Claim, Condition, single
from saywell.claims.lexis import CLASSES, lemma
from saywell.data.words import is_function_word
from saywell.describers.phrases import PhraseCounts

LEAST_TEXTS, LEAST_SHARE, MOST_SHARE = 4, 0.002, 0.95
"""Texts, and share of all, of which a statement holds at least, and share at most."""
MOST_PHRASES, TOGETHER, TELLING = 400, 0.3, 0.8
"""Phrases of several words at most; and the share of the texts of its rarest word that a phrase has at least,
as its words belong together, and at most: one that has more says no more than the word."""
LONGEST_WORD = 30
LENGTHS = (0.1, 0.25, 0.75, 0.9)


def statements(ground: Ground) -> list[Claim]:
    """All that is said of these texts: words in any form, marks, phrases, classes of words, feeling, length.

    In the order of their texts. Each holds of some of these texts and not of nearly all. Of words without a
    meaning of their own only the classes are named: nobody is helped by "from".
    """
    corpus, count = ground.corpus, len(ground)
    least = max(LEAST_TEXTS, round(LEAST_SHARE * count))
    words = _words(corpus)
    others = [Condition("class", (name,)) for name in CLASSES if name != "function"]
    others += [Condition("feels", (feeling,)) for feeling in FEELINGS]
    others += _lengths(corpus)
    listed = [single(one) for one in (*words, *others, *_phrases(ground, least))]
    held = np.diff(holding(listed, ground).indptr)
    kept = np.flatnonzero((held >= least) & (held <= MOST_SHARE * count))
    return sorted((listed[number] for number in kept.tolist()), key=str)


def holding(claims: Sequence[Claim], ground: Ground) -> sp.csr_matrix:
    """Of which texts each claim holds: claims x texts, float32 ones.

    Claims about one word are read together from a table of words and texts; each other one is executed.
    """
    corpus = ground.corpus
    seen = sp.csr_matrix(
        (np.ones(len(corpus), dtype=np.float32), (corpus.form, corpus.text)),
        shape=(len(corpus.forms), len(ground)),
    )
    forms: dict[str, list[int]] = {}
    for place, form in enumerate(corpus.forms):
        forms.setdefault(lemma(form), []).append(place)
    rows: list[sp.csr_matrix | None] = [None] * len(claims)
    wordy = [n for n, claim in enumerate(claims) if _is_of_a_word(claim)]
    places = [_places(claims[n], corpus, forms) for n in wordy]
    starts = np.cumsum([0, *map(len, places)])
    flat = np.array([place for own in places for place in own], dtype=np.int64)
    ones = np.ones(len(flat), dtype=np.float32)
    found = sp.csr_matrix(sp.csr_matrix((ones, flat, starts), shape=(len(wordy), seen.shape[0])) @ seen)
    found.data[:] = 1
    for number, n in enumerate(wordy):
        rows[n] = found[number]
    if compared := _compared(claims):
        ground.cosines(compared)  # all at once: one by one takes several times as long
    for n, claim in enumerate(claims):
        if rows[n] is None:
            # One executor each: what one claim has worked out would be kept for all that follow.
            rows[n] = sp.csr_matrix(Executor(ground)(claim).examples[None].astype(np.float32))
    return sp.csr_matrix(sp.vstack(rows)) if rows else sp.csr_matrix((0, len(ground)), dtype=np.float32)


def _compared(claims: Sequence[Claim]) -> list[str]:
    """Phrases that texts are compared with."""
    heads = [each.conditions[0] for claim in claims for each in claim.atoms]
    said = [value for head in heads if head.name in ("like", "toward") for value in head.values]
    return list(dict.fromkeys(value for value in said if isinstance(value, str)))


def prices(claims: Sequence[Claim]) -> Float[np.ndarray, " claims"]:
    """What each costs to say, in words."""
    return np.array([sum(map(price, claim.atoms)) for claim in claims], dtype=float)


def _words(corpus: Corpus) -> list[Condition]:
    """Each word with a meaning of its own, in any form where it has several here, and each sign."""
    several: dict[str, list[str]] = {}
    for form in corpus.forms:
        if len(form) <= LONGEST_WORD and form[0] != "'" and not (form[0].isdigit() or is_function_word(form)):
            several.setdefault(lemma(form), []).append(form)
    found = []
    for base, forms in several.items():
        if not forms[0][0].isalnum():
            found.append(Condition("mark", (forms[0],)))
        else:
            found.append(Condition("form", (base,)) if len(forms) > 1 else Condition("word", (forms[0],)))
    return found


def _is_of_a_word(claim: Claim) -> bool:
    if len(claim.atoms) != 1 or len(claim.atoms[0].conditions) != 1:
        return False
    head = claim.atoms[0].conditions[0]
    return head.name in ("form", "word", "mark") and len(head.values) == 1


def _places(claim: Claim, corpus: Corpus, forms: dict[str, list[int]]) -> list[int]:
    """Of a claim about one word the places of its forms in a corpus."""
    head = claim.atoms[0].conditions[0]
    said = str(head.values[0]).lower().replace("’", "'")
    if head.name == "form":
        return forms.get(lemma(said), [])
    place = corpus.number.get(said)
    no_sign = head.name == "mark" and said[:1].isalnum()
    return [] if place is None or no_sign else [place]


def _lengths(corpus: Corpus) -> list[Condition]:
    """Shorter, or longer, than some share of the texts."""
    found = []
    for share in LENGTHS:
        border = float(np.quantile(corpus.words, share)) if len(corpus.words) else 0.0
        values = (1.0, float(np.floor(border))) if share < 0.5 else (float(np.ceil(border)),)
        if border >= 1:
            found.append(Condition("long", values))
    return list(dict.fromkeys(found))


def _phrases(ground: Ground, least: int) -> list[Condition]:
    """Phrases of several words that say more than the rarest of these, the most frequent first."""
    counts = PhraseCounts(ground.examples.texts, min_sentences=least)
    said = np.asarray(counts.matrix.sum(0)).ravel()
    alone = {key: said[n] for n, key in enumerate(counts.keys)}
    several = []
    for n, key in enumerate(counts.keys):
        rarest = min((alone[word] for word in key.split() if word in alone), default=0)
        if " " in key and TOGETHER * rarest <= said[n] <= TELLING * rarest:
            several.append(n)
    several.sort(key=lambda n: (-said[n], counts.keys[n]))
    return [Condition("phrase", (counts.wordings[n],)) for n in several[:MOST_PHRASES]]

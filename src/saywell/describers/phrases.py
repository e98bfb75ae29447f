"""Words and phrases of a corpus, counted: the raw material of describers and of the lexical tagger."""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Int, Shaped
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from saywell.claims.corpus import SIGN, Corpus
from saywell.claims.lexis import lemma
from saywell.data.words import OTHER_FUNCTION_WORDS, is_function_word, word_finder

_PUNCTUATION = r"""[.,;:!?¿¡()\[\]{}<>"“”„«»…/\\|•–—。，、！？；：।॥،؛؟۔-]"""
_WORDS_AND_PUNCTUATION = rf"LETTERS(?:['’-]LETTERS)*|{_PUNCTUATION}"
_INNER = frozenset({"of", "for", "to", "and", "in", "on", "with", "by"})
# Words that carry no topic in any corpus but are missing from the usual list.
_FILLERS = frozenset(
    "got get gets getting did does didn't doesn't don't isn't wasn't won't can't couldn't"
    " wouldn't i'm i've i'd it's that's there's you're they're we're he's she's just really very"
    " quite even also only like one two three thing things way lot bit make makes made making say"
    " says said go goes going went come comes came use used using know think thought want need"
    " good great nice bad better best new old little big much many still ever never always well"
    " right left time times day days year years week weeks month months hour hours minute minutes".split()
)
PRIOR_STRENGTH = 1000.0
"""Mentions that the corpus frequencies weigh as a prior of how typical a phrase is."""
STOP_WORDS = ENGLISH_STOP_WORDS | _FILLERS
_SYLLABIC = re.compile("[\u3041-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]")


def words_and_punctuation(text: str) -> list[str]:
    """Lower-case words, with punctuation as items of its own that no phrase crosses."""
    plain = unicodedata.normalize("NFC", text.lower())
    return [word.replace("’", "'") for word in word_finder(_WORDS_AND_PUNCTUATION)(plain)]


def singular(word: str) -> str:
    """Join singular and plural, nothing more: other endings change what a phrase says.

    What comes out is a key and no English: "movies" may come from movie or movy, so "movie" changes too.
    """
    if len(word) > 4 and word.endswith(("ies", "ie")):
        return word.removesuffix("s")[:-2] + "y"
    if len(word) > 4 and word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if len(word) > 4 and word.endswith(("sse", "she", "che", "xe")):
        return word[:-1]
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is", "'s")):
        return word[:-1]
    return word


def phrases(text: str, longest: int = 3) -> list[tuple[str, str]]:
    """Phrases of up to `longest` words as (key, wording): the key is in the singular, the wording is not.

    A phrase starts and ends with a content word and crosses no punctuation.
    """
    tokens = words_and_punctuation(text)
    found = []
    for start, first in enumerate(tokens):
        if not _content(first):
            continue
        for stop in range(start + 1, min(start + longest, len(tokens)) + 1):
            last = tokens[stop - 1]
            if not last[0].isalpha():
                break
            if stop - start > 1 and not _content(last):
                if last not in _INNER:
                    break
                continue
            span = tokens[start:stop]
            found.append((" ".join(singular(word) for word in span), " ".join(span)))
    return found


def _content(word: str) -> bool:
    if not word[0].isalpha() or word in STOP_WORDS:
        return False
    if word.isascii():
        return len(word) > 2
    # A syllable of Chinese, Japanese or Korean says as much as several letters.
    return len(word) > (1 if _SYLLABIC.search(word) else 2) and word not in OTHER_FUNCTION_WORDS


class PhraseCounts:
    """Which sentence says which phrase: `matrix` is sentences x keys, binary."""

    def __init__(self, texts: Sequence[str], *, min_sentences: int, max_share: float = 0.5) -> None:
        per_text = [dict(phrases(text)) for text in texts]
        counts = Counter(key for found in per_text for key in found)
        ceiling = max(min_sentences, max_share * len(texts))
        self.keys = sorted(key for key, count in counts.items() if min_sentences <= count <= ceiling)
        wordings: dict[str, Counter[str]] = {key: Counter() for key in self.keys}
        for found in per_text:
            for key, wording in found.items():
                if key in wordings:
                    wordings[key][wording] += 1
        # The most frequent wording speaks for a key; ties go to the alphabet.
        self.wordings = [min(w, key=lambda text: (-w[text], text)) for w in wordings.values()]
        self.matrix = phrase_matrix(per_text, self.keys)


def phrase_matrix(per_text: Sequence[dict[str, str]], keys: Sequence[str]) -> sp.csr_matrix:
    """Binary sentences x keys from the phrases of each sentence."""
    column = {key: number for number, key in enumerate(keys)}
    rows, columns = [], []
    for row, found in enumerate(per_text):
        for key in found:
            if key in column:
                rows.append(row)
                columns.append(column[key])
    ones = np.ones(len(rows), dtype=np.float32)
    return sp.csr_matrix((ones, (rows, columns)), shape=(len(per_text), len(keys)))


class Sayings(NamedTuple):
    """What texts say: words, and phrases of up to three, in one wording or in any form of their words.

    The longest come first, equals by the alphabet.
    """

    wordings: list[str]
    matrix: Shaped[sp.csc_matrix, "texts wordings"]


def sayings(texts: Sequence[str], *, min_texts: int, longest: int = 3) -> Sayings:
    """Every word, and every phrase that begins and ends with a content word, that enough texts say.

    A phrase crosses no sign. Where it is said in several forms ("charge", "charged"), it is there in any
    form, under the commonest, and in each that enough texts say.
    """
    corpus = Corpus.of(texts)
    lemmas = np.array([lemma(form) for form in corpus.forms], dtype=object)
    word = corpus.kind != SIGN
    full = word & ~corpus.of_forms(is_function_word)
    names: list[tuple[int, str]] = []
    matrices = [sp.csc_matrix((len(texts), 0), dtype=np.float32)]
    for length in range(1, longest + 1):
        at = np.arange(len(corpus) - length + 1)
        for ahead in range(length):
            able = full if length > 1 and ahead in (0, length - 1) else word
            at = at[able[at + ahead] & (corpus.text[at + ahead] == corpus.text[at])]
        forms = corpus.form[at[:, None] + np.arange(length)]
        ways, first, way = np.unique(forms, axis=0, return_index=True, return_inverse=True)
        keys = [tuple(lemmas[own]) for own in ways]
        group = {key: n for n, key in enumerate(dict.fromkeys(keys))}
        of_way = np.array([group[key] for key in keys], dtype=np.int64)
        in_way = _says(corpus.text[at], way.ravel(), (len(texts), len(ways)))
        in_group = _says(corpus.text[at], of_way[way.ravel()], (len(texts), len(group)))
        counts, totals = np.diff(in_way.indptr), np.diff(in_group.indptr)[of_way]
        wordings = [_written(corpus, n, length) for n in at[first].tolist()]
        order = sorted(np.flatnonzero(totals >= min_texts).tolist(), key=lambda n: (-counts[n], wordings[n]))
        commonest = list({int(of_way[n]): n for n in reversed(order)}.values())
        single = [n for n in order if min_texts <= counts[n] < totals[n]]
        matrices += [in_group[:, of_way[commonest]], in_way[:, single]]
        names += [(-length, wordings[n]) for n in (*commonest, *single)]
    order = sorted(range(len(names)), key=lambda n: names[n])
    return Sayings([names[n][1] for n in order], sp.hstack(matrices, format="csc")[:, order])


def _written(corpus: Corpus, first: int, length: int) -> str:
    """So many tokens as they stand in their text, in small letters."""
    start, end = int(corpus.start[first]), int(corpus.end[first + length - 1])
    return " ".join(str(corpus.texts[corpus.text[first]])[start:end].lower().split())


def _says(
    text: Int[np.ndarray, " said"], what: Int[np.ndarray, " said"], shape: tuple[int, int]
) -> sp.csc_matrix:
    matrix = sp.csc_matrix((np.ones(len(text), dtype=np.float32), (text, what)), shape=shape)
    matrix.data[:] = 1  # however often
    return matrix


def log_odds_z(
    counts: Float[np.ndarray, "groups phrases"], prior_strength: float = PRIOR_STRENGTH
) -> Float[np.ndarray, "groups phrases"]:
    """How typical a phrase is of a group against all others, as a z score (higher: more typical).

    Log-odds ratio with an informative Dirichlet prior, the prior being the corpus frequencies
    scaled to `prior_strength` mentions (Monroe, Colaresi and Quinn 2008, equations 16, 19 and 22).
    A phrase without any other to compare it with scores 0.
    """
    if counts.shape[1] < 2:
        return np.zeros(counts.shape)
    total = counts.sum(0, keepdims=True)
    prior = prior_strength * (total + 0.5) / (total + 0.5).sum()
    size, prior_size = counts.sum(1, keepdims=True), prior.sum()
    inside, outside = counts + prior, total - counts + prior
    odds_in = np.log(inside) - np.log(size + prior_size - inside)
    odds_out = np.log(outside) - np.log(total.sum() - size + prior_size - outside)
    return (odds_in - odds_out) / np.sqrt(1 / inside + 1 / outside)


def topic_labels(embeddings: Float[np.ndarray, "texts dim"], seed: int) -> Int[np.ndarray, " texts"]:
    """Rough topics by k-means on sentence vectors, about the square root of n / 2 of them.

    The topics depend on the order of the sentences, because k-means starts from rows drawn by number.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    if len(embeddings) < 2:
        return np.zeros(len(embeddings), dtype=np.int32)
    topics = int(np.clip(np.sqrt(len(embeddings) / 2), 2, 60))
    model = KMeans(topics, n_init=1, max_iter=30, random_state=seed)
    with warnings.catch_warnings():
        # Fewer different sentences than topics leave some topics empty.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit_predict(embeddings.astype(np.float64))

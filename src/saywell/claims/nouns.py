"""Whether a phrase names a thing as it stands, so that "texts about" may be put before it.

"refunds", "slow service", "kindness" and "Internet Explorer" do. "cancel" and "worst" do not, and "refund"
would want an article: such words are better quoted. It goes by the forms that the lexicon of lemmas knows,
and where it cannot tell it says no.
"""

from __future__ import annotations

from functools import cache

from saywell.claims.corpus import SIGN, Corpus
from saywell.claims.lexis import class_mask, lemma
from saywell.claims.word_lists import IRREGULAR_PLURALS
from saywell.data.words import is_function_word

_ABSTRACT = ("tion", "sion", "ness", "ment", "ity", "ance", "ence", "ship", "ism", "hood")
_NO_NOUNS = ("number", "with-digit", "adverb", "when", "how-often")
_NO_PLURALS = ("third-person-verb", "possessive-s", "function")


@cache
def names_a_thing(phrase: str) -> bool:
    """Whether it is a name, a noun in the plural or in -ing, an abstract noun, or a noun behind an adjective.

    A noun may also stand behind words that are no verbs: "customer service", and not "cancel order".
    """
    corpus = Corpus.of([phrase])
    if not len(corpus) or (corpus.kind == SIGN).any():
        return False
    capitals = [word[0].isupper() and len(word) > 1 for word in phrase.split()]
    if any(capitals):
        return all(capitals)
    *before, last = [str(corpus.forms[number]) for number in corpus.form]
    if any(map(is_function_word, (*before, last))) or _ends_in(corpus, *_NO_NOUNS):
        return False
    if _is_plural(corpus, last) or _ends_in(corpus, "ing") or last.endswith(_ABSTRACT):
        return True
    inflected = lemma(last) != last
    return bool(before) and not (inflected or _may_be_adjective(last) or any(map(_acts, before)))


def _ends_in(corpus: Corpus, *classes: str) -> bool:
    return any(class_mask(corpus, name)[-1] for name in classes)


def _is_plural(corpus: Corpus, last: str) -> bool:
    if last in IRREGULAR_PLURALS:
        return True
    return last.endswith("s") and lemma(last) != last and not _ends_in(corpus, *_NO_PLURALS)


def _acts(word: str) -> bool:
    """Whether it may be a verb, and hardly an adjective."""
    stem = word.removesuffix("e")
    forms = (f"{stem}ing", f"{word}{word[-1]}ing")
    return not _may_be_adjective(word) and any(_known(form) and lemma(form) == word for form in forms)


def _may_be_adjective(word: str) -> bool:
    """Whether an adverb is made of it."""
    return _known(f"{word}ly") or (word.endswith("y") and _known(f"{word[:-1]}ily"))


def _known(form: str) -> bool:
    import simplemma

    return simplemma.is_known(form, lang="en")

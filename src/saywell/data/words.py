"""Content words of a text, for comparing what two texts are about."""

from __future__ import annotations

import re


def word_set(listed: str, separator: str | None = None) -> frozenset[str]:
    """The words of a list written as one text, apart by white space or by `separator`."""
    return frozenset(listed.split(separator))


_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d+")
_FUNCTION_WORDS = word_set(
    "a about above after all also although an and any are as at be because been before being "
    "below between both but by can could did do does during each few for from had has have "
    "having he her here hers him his how however i if in into is it its itself just like may "
    "might more most much must my no nor not of off on once one only or other our out over own "
    "same she should so some such than that the their them then there these they this those "
    "through to too two under until up upon very was we were what when where which while who "
    "whose why will with within without would you your often usually typically generally "
    "sometimes"
)


def content_words(text: str) -> set[str]:
    """The words of a text in small letters and without endings, function words left out."""
    return {stem(w) for w in words(text) if w not in _FUNCTION_WORDS}


def words(text: str) -> list[str]:
    """The words and numbers of a text in small letters, in order, without possessive endings."""
    found = _WORD.findall(text.lower().replace("’", "'"))
    return [word.removesuffix("'s") for word in found]


def stem(word: str) -> str:
    """A word without the commonest English endings: enough to match 'wings' with 'wing'.

    Both sides of every comparison pass through here, so a stem need not be a word.
    """
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        word = word[:-1]
    for ending in ("ingly", "edly", "ing", "ed", "ish", "ly"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            short = word[: -len(ending)]
            # 'spotted' and 'spots', 'striped' and 'stripe' have to meet.
            if len(short) > 3 and short[-1] == short[-2] and short[-1] not in "lsz":
                short = short[:-1]
            return short.removesuffix("e")
    return word.removesuffix("e") if len(word) > 3 else word

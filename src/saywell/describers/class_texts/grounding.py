"""Is a claim supported by the passage that it cites? Checks of form, none of them of meaning."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from saywell.data.words import content_words, whole_words

MIN_WORDS = 2  # content words of a quotation; fewer stand in every article
MIN_SUPPORT = 0.3

_REFUSAL = re.compile(
    r"^\W*(i['’]?m (very |so )?sorry|sorry\b|i apologi[sz]e|apologies|i can(no|['’])t|i am (unable|not able)"
    r"|i['’]m (unable|not able)|i do(n['’]t| not) (know|have)|as an? (ai|large language|language model)"
    r"|n/?a\W*$|none\W*$|unknown\W*$|not (applicable|available|specified|mentioned|described|provided)\b"
    r"|there is no (information|mention|description)|no (information|mention|description|details?)\b)"
    r"|\b(the|this) (article|passage|text|page|source)s? (do(es)?|did)(n['’]t| not)\b"
    r"|\b(is|are|was|were) not (mentioned|specified|described|provided|stated|given)\b",
    re.IGNORECASE,
)
_QUOTES = str.maketrans(
    {"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "–": "-", "—": "-", "−": "-"}
)


def is_refusal(text: str) -> bool:
    """Whether a text declines or says that nothing is said, instead of describing."""
    return _REFUSAL.search(text) is not None


def find_quotation(quotation: str, passages: Sequence[str], cited: int | None = None) -> int | None:
    """The place of the passage that holds the quotation: `cited` if it does, else the first; or None.

    Case, spacing, kinds of quotation marks and dashes do not count. Words left out may be shown by
    '...'; the pieces must then follow one another in one passage. A quotation with fewer than two
    content words supports nothing.
    """
    if len(content_words(quotation)) < MIN_WORDS:
        return None
    pieces = [p for p in (_form(p) for p in re.split(r"\.\.\.|…|\[…\]", quotation)) if p]
    order = list(range(len(passages)))
    if cited is not None and 0 <= cited < len(passages):
        order.insert(0, cited)
    return next((place for place in order if _holds(_form(passages[place]), pieces)), None)


def support(text: str, quotation: str, class_name: str) -> float:
    """The share of a text's content words, the class name's aside, that the quotation holds."""
    said = content_words(text) - content_words(class_name)
    return len(said & content_words(quotation)) / len(said) if said else 0.0


def _form(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).translate(_QUOTES).casefold()
    return " ".join(text.split()).strip(" \"'.,;:[]")


def _holds(passage: str, pieces: Sequence[str]) -> bool:
    position = 0
    for piece in pieces:
        # At word borders: 'red' is not quoted from 'covered'.
        match = whole_words(re.escape(piece))(passage).search(passage, position)
        if match is None:
            return False
        position = match.end()
    return bool(pieces)

"""Where the sentences of a text begin and end."""

from __future__ import annotations

import re

from saywell.data.words import word_set

_SHORT_FORMS = word_set(
    "approx c ca cf cm co dr e.g etc est ed eds fig figs ft g i.e in jr km lb m max min mm mr "
    "mrs ms no nos oz p pp prof sp spp sr ssp st subsp syn u.s var vol vs"
)
# After these a number or a name follows, so even a capital letter does not begin a sentence.
_NEVER_LAST = word_set("approx c ca cf dr e.g ed fig figs i.e mr mrs ms no nos p pp prof sp st vs")
OTHER_ENDS = "。！？।॥؟۔။።"  # of sentences, whether white space follows or not
_END = re.compile(rf"[.!?…]+[\"'”’)\]»]*(?=\s|$)|[{OTHER_ENDS}]+[」』”）]*|\n+")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each sentence in characters, end exclusive, white space left out.

    A rule: a sentence ends at '.', '!', '?' before white space, at their forms in Chinese, Japanese,
    Hindi, Arabic, Urdu, Burmese and Amharic, or at a line break. A full stop does not end one after
    a single letter, after a short form such as 'cm.' unless a capital letter follows, nor before a
    small letter.
    """
    spans, start = [], 0
    for match in _END.finditer(text):
        if match[0].startswith(".") and _goes_on(text, start, match):
            continue
        start = _add(text, start, match.end(), spans)
    _add(text, start, len(text), spans)
    return spans


def _goes_on(text: str, start: int, match: re.Match[str]) -> bool:
    # A word is found within so many characters; looking further back would be quadratic.
    before = text[max(start, match.start() - 40) : match.start()].split()
    word = before[-1].lstrip("(['\"“").lower() if before else ""
    after = text[match.end() : match.end() + 40].lstrip()
    if after[:1].islower():
        return True
    if len(word) == 1 and word.isalpha():
        return True
    if word in _NEVER_LAST:
        return True
    return word in _SHORT_FORMS and not after[:1].isupper()


def _add(text: str, start: int, end: int, spans: list[tuple[int, int]]) -> int:
    piece = text[start:end]
    inner = piece.strip()
    if inner:
        begin = start + len(piece) - len(piece.lstrip())
        spans.append((begin, begin + len(inner)))
    return end

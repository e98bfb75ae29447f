"""What a word is, in any script, and the content words of a text, for comparing two texts.

A word is a run of letters with their combining marks (Unicode Standard Annex #29: no break before a
mark or a joiner), so the vowel signs of Hindi or Tamil stay with their letters. Chinese, Japanese,
Thai, Lao, Khmer and Burmese set no spaces between words: a run of theirs is cut by the dictionaries
of ICU. English and other plain texts take a short way that gives the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any


def word_set(listed: str, separator: str | None = None) -> frozenset[str]:
    """The words of a list written as one text, apart by white space or by `separator`."""
    return frozenset(listed.split(separator))


_LETTERS = "LETTERS"  # stands for a run of letters in the patterns given to `word_finder`
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
OTHER_FUNCTION_WORDS = word_set(
    # Hindi
    "और या एक यह वह ये वे इस उस इन उन इसे उसे इसके उसके इसकी उसकी इसका उसका"
    " का के की को से में पर ने तक भी ही तो"
    " है हैं था थे थी थीं हो होता होती होते हुआ हुई हुए कर करता करती करते"
    " रहा रही रहे गया गई गए जा जो कि जब तब"
    " नहीं न मैं हम तुम आप अपना अपनी अपने लिए साथ बाद"
    # Chinese
    " 的 了 和 与 與 及 或 而 且 但 是 在 有 也 都 就 还 還 不 没 沒 很 更 最 这 這 那 之 其 它 他 她"
    " 我 你 们 們 我们 我們 你们 他们 她们 它们 这个 那个 这些 那些 一个 一种 个 個 把 被 对 對 为 為"
    " 以 于 於 从 從 到 向 给 着 著 过 過 吗 呢 吧 等 所 因为 所以"
    # Japanese: particles and endings, as ICU cuts them
    " は が を に へ と で や の も から まで より など て た だ です ます ない ある いる する した して"
    " いた れ られ ら し さ い その この あの それ これ あれ こと もの よう ため さん また"
    # Thai
    " และ หรือ แต่ ที่ ซึ่ง ของ ใน บน จาก ถึง กับ แก่ เพื่อ โดย เป็น คือ มี ได้ ให้ ไป มา จะ ก็ ไม่ นี้ นั้น"
    " การ ความ ว่า อยู่ แล้ว ผม ฉัน เรา คุณ เขา มัน"
)
_INVISIBLE_JOINERS = "\u200c\u200d"
# Python's `re` knows no scripts and no marks; `regex` does. Both agree on [^\W\d_].
_ANY_LETTER = rf"[\p{{L}}\p{{Nl}}\p{{No}}]\p{{M}}*(?:[{_INVISIBLE_JOINERS}](?=\p{{L}}))?"
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{lb=SA}ー々]"


def content_words(text: str) -> set[str]:
    """The words of a text in small letters and without endings, function words left out."""
    return {stem(w) for w in words(text) if not is_function_word(w)}


def is_function_word(word: str) -> bool:
    """Whether a word, in small letters, only holds others together."""
    return word in _FUNCTION_WORDS or word in OTHER_FUNCTION_WORDS


def words(text: str) -> list[str]:
    """The words and numbers of a text in small letters, in order, without possessive endings."""
    found = _words_and_numbers()(text.lower().replace("’", "'"))
    return [word.removesuffix("'s") for word in found]


@cache
def word_finder(pattern: str) -> Callable[[str], list[str]]:
    """A function that lists what `pattern` finds in a text, runs without spaces cut into words.

    In the pattern (of Python's `re`, without groups) LETTERS stands for a run of letters.
    """
    plain = re.compile(pattern.replace(_LETTERS, r"[^\W\d_]+"), re.ASCII)
    full = _regex(pattern.replace(_LETTERS, f"(?:{_ANY_LETTER})+"))

    def find(text: str) -> list[str]:
        if text.isascii():
            return plain.findall(text)
        found = full.findall(text)
        if not _unspaced().search(text):
            return found
        return [word for run in found for word in _cut(run)]

    return find


def whole_words(pattern: str, flags: int = 0) -> Callable[[str], Any]:
    """A function from a text to the compiled pattern that finds `pattern` in it as whole words only.

    Between two letters there is no border of words, save where a script sets no spaces: there any
    letter may begin or end one. A mark is never torn from its letter.
    """
    plain = re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", flags | re.ASCII)

    @cache
    def full() -> Any:
        inside = rf"(?!{_UNSPACED})[\p{{L}}\p{{M}}\p{{N}}_]"
        before = rf"(?:(?<!{inside})|(?={_UNSPACED}))"
        after = rf"(?:(?!{inside})|(?<={_UNSPACED}\p{{M}}*))(?!\p{{M}})"
        return _regex(f"{before}(?:{pattern}){after}", flags)

    return lambda text: plain if text.isascii() else full()


def grown_to_words(text: str, start: int, end: int) -> tuple[int, int]:
    """The span from `start` to `end`, in characters, grown to the borders of the words it touches."""
    inside = _regex(rf"[\p{{L}}\p{{M}}\p{{N}}_{_INVISIBLE_JOINERS}]")
    first, last = start, end
    while first > 0 and inside.match(text[first - 1]):
        first -= 1
    while last < len(text) and inside.match(text[last]):
        last += 1
    if not _unspaced().search(text, first, last):
        return first, last
    place, borders = first, [first]
    for piece in _pieces(text[first:last]):
        place += len(piece)
        borders.append(place)
    return max(b for b in borders if b <= start), min(b for b in borders if b >= end)


def chunk_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of each run without white space, those of scripts without spaces cut into words."""
    spans = []
    for match in re.finditer(r"\S+", text):
        start = match.start()
        for piece in _pieces(match[0]) if has_unspaced(match[0]) else [match[0]]:
            spans.append((start, start + len(piece)))
            start += len(piece)
    return spans


def has_unspaced(text: str) -> bool:
    """Whether a text has letters of a script that sets no spaces between words."""
    return not text.isascii() and _unspaced().search(text) is not None


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


@cache
def _words_and_numbers() -> Callable[[str], list[str]]:
    return word_finder(r"LETTERS(?:['’]LETTERS)?|\d+")


def _cut(run: str) -> list[str]:
    """The words of a run of letters: its parts in scripts without spaces by ICU, others whole."""
    return [piece for piece in _pieces(run) if any(c.isalnum() for c in piece) or len(piece) == 1]


def _pieces(text: str) -> list[str]:
    from icu4py.breakers import WordBreaker

    pieces, place = [], 0
    for match in _unspaced().finditer(text):
        if match.start() > place:
            pieces.append(text[place : match.start()])
        # The root locale: one dictionary for Chinese and Japanese.
        pieces += WordBreaker(match[0], "")
        place = match.end()
    return [*pieces, text[place:]] if place < len(text) else pieces


@cache
def _unspaced() -> Any:
    return _regex(rf"(?:{_UNSPACED}\p{{M}}*)+")


@cache
def _regex(pattern: str, flags: int = 0) -> Any:
    import regex

    return regex.compile(pattern, flags)

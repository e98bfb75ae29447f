"""Rules about single tokens: a piece of a word, a sign, a word in some context or place, numbers, capitals.

They come from the texts themselves. Where a rule asks for more than a word, the word stands in other contexts
in a good part of the texts that say it, or the rule would be no other than that of the word.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from saywell.units.planted.rules import Rule, masks_of

PIECES = (2, 3)
"""Letters of a piece."""
WORDS_OF_A_PIECE = 5
"""Different words that have it, at least; none of them is in more than half of its texts."""
ELSEWHERE = 0.25
"""Share of a word's texts in which it stands only where the rule does not ask for it, at least."""
EARLY = 3
"""Words of a text that are early in it."""
SIGNS = {
    "question marks": "?",
    "exclamation marks": "!",
    "commas": ",",
    "colons": ":",
    "semicolons": ";",
    "quotation marks": '"“”„«»',
    "brackets": "()[]",
    "dashes": "–—",
    "hyphens": "-",
    "slashes": "/",
    "per cent signs": "%",
    "currency signs": "$£€¥",
    "asterisks": "*",
    "ampersands": "&",
    "hash signs": "#",
    "at signs": "@",
}
POSSESSIVES = ("my", "your", "his", "her", "its", "our", "their")
_ENDS = frozenset(".!?…")
_TOKEN = re.compile(
    r"(?P<possessive>['’]s(?![^\W_]))"
    r"|(?P<word>[^\W_]*[^\W\d_][^\W_]*(?:['’](?!s(?![^\W_]))[^\W\d_]+)*)"
    r"|(?P<number>\d+(?:[.,:]\d+)*)"
    r"|(?P<sign>\.{2,}|[^\w\s]|_)",
    re.IGNORECASE,
)
_NUMBER = r"(?<![^\W_])\d+(?:[.,:]\d+)*(?![^\W_])"
_ANY_WORD = rf"(?:{_NUMBER}|[^\W_]+(?:['’][^\W_]+)*)"
_CAPITAL = r"(?-i:[^\W\d_a-zß-öø-ÿ])"


class _Token(NamedTuple):
    said: str
    form: str
    kind: str
    places: frozenset[str]
    """Of a word or number: "first" or "last" in its text, "early" in it, and in its sentence."""


def rules_of_tokens(texts: Sequence[str]) -> dict[str, Iterator[Rule]]:
    """By kind, every rule about tokens that holds of enough of the texts."""
    cut = [_tokens(text) for text in texts]
    return {
        "piece": _pieces(texts),
        "punctuation": _punctuation(cut),
        "word in context": _contexts(cut),
        "place in sentence": _places(cut),
        "number": _numbers(cut),
        "capitals": _capitals(cut),
    }


def _pieces(texts: Sequence[str]) -> Iterator[Rule]:
    runs = [set(re.findall("[a-z]+", text.lower())) for text in texts]
    pieces_of = {
        word: {word[n : n + size] for size in PIECES for n in range(len(word) - size + 1)}
        for word in set[str]().union(*runs)
    }
    said, words_of = Counter(word for words in runs for word in words), defaultdict[str, list[int]](list)
    for word, pieces in pieces_of.items():
        for piece in pieces:
            words_of[piece].append(said[word])
    per_text = [set[str]().union(*(pieces_of[word] for word in words)) for words in runs]
    for piece, holds in masks_of(per_text, 0.25).items():
        counts = words_of[piece]
        if len(counts) >= WORDS_OF_A_PIECE and max(counts) <= holds.sum() / 2:
            yield Rule(f'the piece "{piece}" inside words', holds, pattern=piece, claim=f'piece("{piece}")')


def _punctuation(cut: Sequence[list[_Token]]) -> Iterator[Rule]:
    masks = masks_of([{token.form for token in tokens if token.kind == "sign"} for tokens in cut], 1.0)
    for name, signs in SIGNS.items():
        found = [masks[sign] for sign in signs if sign in masks]
        # A sign in a number belongs to it.
        outside = r"(?:(?<!\d){0}|{0}(?!\d))" if signs in ",:" else "{}"
        if found:
            values = ", ".join(json.dumps(sign, ensure_ascii=False) for sign in signs)
            pattern = outside.format(f"[{re.escape(signs)}]")
            yield Rule(name, np.logical_or.reduce(found), pattern=pattern, claim=f"mark({values})")


def _contexts(cut: Sequence[list[_Token]]) -> Iterator[Rule]:
    said = _texts_of_words(cut)
    others = {
        "a comma": ('mark(",")', ","),
        "a number": ('class("number")', _NUMBER),
        'a possessive such as "my"': (
            f"word({', '.join(map(json.dumps, POSSESSIVES))})",
            f"(?:{'|'.join(map(_word, POSSESSIVES))})",
        ),
    }
    per_text = []
    for tokens in cut:
        keys = set[tuple[str, str, str]]()
        for a, b in pairwise(tokens):
            words = [token.form for token in (a, b) if token.kind == "word"]
            if len(words) == 2:
                # The rarer of the two is the word, and the other its context.
                after = (said[b.form], b.form) <= (said[a.form], a.form)
                keys.add((b.form, "after", f'"{a.form}"') if after else (a.form, "before", f'"{b.form}"'))
            keys |= {(b.form, "after", name) for name in _names(a) if b.kind == "word"}
            keys |= {(a.form, "before", name) for name in _names(b) if a.kind == "word"}
        per_text.append(keys)
    for (word, side, context), holds in masks_of(per_text, 0.5).items():
        if holds.sum() <= (1 - ELSEWHERE) * said[word]:
            claim, pattern = others.get(context) or (f"word({context})", _word(context.strip('"')))
            yield Rule(
                f'the word "{word}" {side} {context}',
                holds,
                pattern=_beside(f"({_word(word)})", side, pattern),
                claim=f"word({json.dumps(word)}) & {side}({claim})",
            )


def _places(cut: Sequence[list[_Token]]) -> Iterator[Rule]:
    said = _texts_of_words(cut)
    masks = masks_of(
        [{(t.form, place) for t in tokens if t.kind == "word" for place in t.places} for tokens in cut], 0.5
    )
    begin, end = (
        r"(?:^|[.!?…\n])(?:['’]s(?![^\W_])|[\W_])*({})",
        r"({})(?:['’]s)?(?:[^\w.!?…\n]|_)*(?:[.!?…\n]|$)",
    )
    forms = {
        "sentence-first": ('the word "{}" as the first of a sentence', begin, "first"),
        "sentence-last": ('the word "{}" as the last of a sentence', end, "last"),
        "early": (
            'the word "{}" among the first three words',
            rf"^(?:[\W_]*{_ANY_WORD}){{{{0,2}}}}[\W_]*({{}})",
            "first",
        ),
    }
    for (word, place), holds in masks.items():
        if place not in forms or holds.sum() > (1 - ELSEWHERE) * said[word]:
            continue
        truth, pattern, plain = forms[place]
        # As the first or last of a text it is a rule of another kind.
        if masks.get((word, plain), holds[:0]).sum() <= (1 - ELSEWHERE) * holds.sum():
            claim = f'word({json.dumps(word)}) & place("{place}")'
            yield Rule(truth.format(word), holds, pattern=pattern.format(_word(word)), claim=claim)


def _numbers(cut: Sequence[list[_Token]]) -> Iterator[Rule]:
    per_text = [_beside_words(tokens, [token.kind == "number" for token in tokens]) for tokens in cut]
    yield from _of_a_class(per_text, "numbers in digits", 'class("number")', _NUMBER)
    sizes = {1: "one digit", 2: "two digits"}
    found = [{len(token.form) for token in tokens if token.kind == "number"} for tokens in cut]
    for size, holds in masks_of(found, 0.5).items():
        if size in sizes:
            pattern = rf"(?<![^\W_])(?<!\d[.,:])\d{{{size}}}(?![^\W_])(?![.,:]\d)"
            claim = f'class("number") & letters({size}, {size})'
            yield Rule(f"numbers of {sizes[size]}", holds, pattern=pattern, claim=claim)


def _capitals(cut: Sequence[list[_Token]]) -> Iterator[Rule]:
    per_text = [_beside_words(tokens, [_is_name(token) for token in tokens]) for tokens in cut]
    name = rf"(?<![^\W_])(?<![^\W_]['’])(?!I(?![^\W_])){_CAPITAL}[^\W_]*"
    inside = r"[^\W_](?:[^.!?…\n]|(?<=\d)\.(?=\d))*?"
    truth = "words with a capital letter inside a sentence"
    yield from _of_a_class(per_text, truth, 'class("capitalised")', name, inside)
    all_of_it = [{""} if any(map(_is_all_capitals, tokens)) else set[str]() for tokens in cut]
    pattern = (
        rf"(?<![^\W_])(?=[^\W_]{{2}})\d*{_CAPITAL}(?:{_CAPITAL}|\d)*(?![^\W_])(?!['’](?!s(?![^\W_]))[^\W\d_])"
    )
    for holds in masks_of(all_of_it, 0.5).values():
        yield Rule("words all in capitals", holds, pattern=pattern, claim='class("all-capitals")')


def _is_name(token: _Token) -> bool:
    """Whether it has a capital letter that its place in the sentence is no reason for."""
    able = token.kind == "word" and "sentence-first" not in token.places
    return able and token.said[0].isupper() and re.split("['’]", token.said)[0] != "I"


def _is_all_capitals(token: _Token) -> bool:
    return token.kind == "word" and len(token.said) > 1 and token.said.isupper()


def _of_a_class(
    per_text: Sequence[set[tuple[str, str]]], truth: str, claim: str, pattern: str, before: str = ""
) -> Iterator[Rule]:
    """The rule of a class of tokens, and those of the same beside some word."""
    masks = masks_of(per_text, 0.5)
    whole = masks.get(("", ""), np.zeros(len(per_text), dtype=bool))
    for (side, word), holds in masks.items():
        if not word:
            yield Rule(truth, holds, pattern=f"{before}({pattern})", claim=claim)
        elif holds.sum() <= (1 - ELSEWHERE) * whole.sum():
            beside = _beside(f"({pattern})", side, _word(word))
            said = f"{claim} & {side}(word({json.dumps(word)}))"
            yield Rule(f'{truth} {side} "{word}"', holds, pattern=beside, claim=said)


def _beside_words(tokens: list[_Token], wanted: list[bool]) -> set[tuple[str, str]]:
    """What is beside the wanted tokens: ("after", a word), ("before", a word), and ("", "") for any."""
    found = {("", "")} if any(wanted) else set[tuple[str, str]]()
    for (a, a_is), (b, b_is) in pairwise(zip(tokens, wanted, strict=True)):
        if b_is and a.kind == "word":
            found.add(("after", a.form))
        if a_is and b.kind == "word":
            found.add(("before", b.form))
    return found


def _names(token: _Token) -> list[str]:
    """The contexts that a token is one of."""
    if token.kind == "number":
        return ["a number"]
    return ["a comma"] * (token.form == ",") + ['a possessive such as "my"'] * (token.form in POSSESSIVES)


def _texts_of_words(cut: Sequence[list[_Token]]) -> Counter[str]:
    return Counter(form for tokens in cut for form in {t.form for t in tokens if t.kind == "word"})


def _word(form: str) -> str:
    """A pattern for a whole word in small or capital letters."""
    letters = re.escape(form).replace("'", "['’]")
    return rf"(?<![^\W_])(?<![^\W_]['’]){letters}(?![^\W_])(?!['’](?!s(?![^\W_]))[^\W\d_])"


def _beside(target: str, side: str, context: str) -> str:
    return rf"{context}\s*{target}" if side == "after" else rf"{target}\s*{context}"


def _tokens(text: str) -> list[_Token]:
    """The words, numbers and signs of a text."""
    found = list(_TOKEN.finditer(text))
    sentence, of_sentence, ended = 0, [], 0
    for number, match in enumerate(found):
        closed = number and found[number - 1][0][0] in _ENDS
        sentence += bool(closed or "\n" in text[ended : match.start()])
        of_sentence.append(sentence)
        ended = match.end()
    full = [n for n, match in enumerate(found) if match.lastgroup in ("word", "number")]
    places = defaultdict[int, set[str]](set)
    for place, chosen in (("first", full[:1]), ("last", full[-1:]), ("early", full[:EARLY])):
        for n in chosen:
            places[n].add(place)
    for a, b in pairwise([None, *full, None]):
        if a is None or b is None or of_sentence[a] != of_sentence[b]:
            if b is not None:
                places[b].add("sentence-first")
            if a is not None:
                places[a].add("sentence-last")
    return [
        _Token(match[0], match[0].lower().replace("’", "'"), str(match.lastgroup), frozenset(places[n]))
        for n, match in enumerate(found)
    ]

"""What a claim says in plain English, and in footnotes what the sentence leaves out.

The sentence is made of the claim alone, by rules, so equal claims have equal sentences. A claim that
points at words names them: a *head* ("the word "off"", "question marks"), then where in the text, then
its neighbours. Other things that are asked of the example come behind: "in texts that mention "refund"".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby, takewhile
from typing import Literal

from saywell.claims.feeling import CLEAR
from saywell.claims.kinds import EARLY, KINDS, LISTS, NEAR, is_of_tokens
from saywell.claims.language import Atom, Claim, Clause, Condition, plain_number
from saywell.claims.lexis import CLASSES
from saywell.claims.nouns import names_a_thing
from saywell.claims.pictures import OBJECT, SAYINGS, Said, counted
from saywell.data.words import word_set

ExampleKind = Literal["text", "image", "pair"]
Names = Mapping[str, str]

_NOUNS = {"text": "text", "image": "picture", "pair": "pair"}
MARKS = {
    "?": "question mark",
    "!": "exclamation mark",
    ".": "full stop",
    ",": "comma",
    ";": "semicolon",
    ":": "colon",
    '"': "double quotation mark",
    "“": "opening quotation mark",
    "”": "closing quotation mark",
    "'": "apostrophe",
    "‘": "single opening quotation mark",
    "-": "hyphen",
    "–": "en dash",
    "—": "em dash",
    "(": "opening bracket",
    ")": "closing bracket",
    "[": "opening square bracket",
    "]": "closing square bracket",
    "{": "opening curly bracket",
    "}": "closing curly bracket",
    "/": "slash",
    "\\": "backslash",
    "|": "vertical bar",
    "&": "ampersand",
    "@": "at sign",
    "#": "hash sign",
    "%": "per cent sign",
    "$": "dollar sign",
    "€": "euro sign",
    "£": "pound sign",
    "¥": "yen sign",
    "°": "degree sign",
    "*": "asterisk",
    "+": "plus sign",
    "=": "equals sign",
    "<": "less-than sign",
    ">": "greater-than sign",
    "_": "underscore",
    "~": "tilde",
    "^": "caret",
    "`": "backtick",
    "•": "bullet",
    "…": "ellipsis character",
    "..": "pair of dots",
    "...": "row of three dots",
}
"""The name of a sign in the singular."""
_PLURALS = {"pair of dots": "pairs of dots", "row of three dots": "rows of three dots"}
_IRREGULAR = {"people": "person", "men": "man", "women": "woman", "children": "child", "feet": "foot"}

# What a place is called alone, after one word ("the word "still" as ..."), and after many ("years at ...").
_PLACES = {
    "first": ("the first word of the {}", "as the first word of the {}", "at the start of the {}"),
    "last": ("the last word of the {}", "as the last word of the {}", "at the end of the {}"),
    "sentence-first": (
        "the first word of a sentence",
        "as the first word of a sentence",
        "at the start of a sentence",
    ),
    "sentence-last": (
        "the last word of a sentence",
        "as the last word of a sentence",
        "at the end of a sentence",
    ),
    "early": (f"the first {EARLY} words of the {{}}", *2 * (f"among the first {EARLY} words of the {{}}",)),
}
_CONTEXTS = {"after": "after", "before": "before", "near": "near", "earlier": "anywhere after"}
_HEADLESS = {
    "after": "the word or sign",
    "before": "the word or sign",
    "near": "words and signs",
    "earlier": "everything",
}
_WHOLE = ("word", "form", "phrase", "mark", "class", "repeated", "place")
_SPELT = ("letters", "prefix", "suffix", "piece")
_ORDER = (*_WHOLE[:-2], *_SPELT, *_WHOLE[-2:], *_CONTEXTS, "except")
_BEHIND_NOUN = re.compile(
    r"(?= (?:\(|(?:of|in|with|that|for|like|from|inside|between|after|before|all|as|such)\b))"
)
_IN_BRACKETS = re.compile(r"\([^()]*\)")
_ASKS_AROUND = re.compile(r" (?:after|before|inside|or) ")
_THAT = re.compile(r" that (\w+)")
_BETWEEN_NOUNS = re.compile(r",? (?:and|or) |, ")
_JOINERS = "\u200c\u200d"
_PLAIN = re.compile(r"[^\W_]+(?:[ '’/-][^\W_]+)*")


def english(
    claim: Claim, kind: ExampleKind = "text", names: Names | None = None, *, whole: bool = False
) -> str:
    """A claim as a short noun phrase without a final full stop.

    `names`: what the descriptors that `tagged` asks for are called, by id. Words of the data stand in
    quotation marks; what cannot be printed in them is escaped. `whole`: named are the examples, also where
    it points at words of them: 'texts with the word "off"'.
    """
    clauses = [_clause(clause, _NOUNS[kind], names or {}, whole) for clause in claim.clauses]
    between = "; " if any("," in _IN_BRACKETS.sub("", clause) for clause in clauses) else ", "
    return f"{between}or ".join([between.join(clauses[:-1]), clauses[-1]]) if clauses[1:] else clauses[0]


def footnotes(claim: Claim) -> list[str]:
    """What the sentence leaves out, one line for each thing: thresholds, and what words mean exactly."""
    noted = [
        note
        for atom in claim.atoms
        for outer in atom.conditions
        for condition in _with_inner(outer)
        if condition.name in _NOTES and (note := _NOTES[condition.name](condition))
    ]
    return list(dict.fromkeys(noted))


def price(atom: Atom) -> float:
    """What an atom costs in English: 1 for a plain word, less is better.

    A list costs its words, a condition of a neighbour what it asks of it, and what a person finds harder to
    see than a word more than that: a half for a length, a topic or a distance, half a word for each
    further word of a phrase, six shared among its letters for a piece of a word that is no ending or
    beginning with a meaning ("sh" costs 4, "ing" 1). An atom without a head ("the word or sign after ...")
    costs 1 for that, and "not" a half.
    """
    headless = all(condition.name in _CONTEXTS for condition in atom.conditions)
    return sum(map(_price, atom.conditions)) + headless + atom.negated / 2


def as_list(words: Sequence[str], last: str = "or") -> str:
    """'a', 'a or b', 'a, b or c'."""
    return f" {last} ".join([", ".join(words[:-1]), words[-1]]) if words[1:] else "".join(words)


def quoted(word: str) -> str:
    """In quotation marks, on one line, with nothing in it that could end them or cannot be seen."""
    clear = "".join(map(_shown, word, f" {word}"))
    if '"' not in clear:
        return f'"{clear}"'
    return f"'{clear}'" if "'" not in clear else '"' + clear.replace('"', '\\"') + '"'


def _shown(character: str, before: str) -> str:
    """Itself or its escape; a joiner is a part of words where it stands behind a letter that is not ASCII."""
    if character.isprintable() or (character in _JOINERS and before.isprintable() and not before.isascii()):
        return character
    return character.encode("unicode_escape").decode("ascii")


def _like(phrases: Sequence[str]) -> str:
    """Of texts near to phrases: "about refunds", but 'close in meaning to "cancel"', which names no thing."""
    if all(map(names_a_thing, phrases)):
        return f"about {as_list(phrases)}"
    return f"close in meaning to {_list(phrases)}"


def _toward(condition: Condition) -> str:
    """Of texts nearer to phrases, in the mean, than to others; below 0 less near ones are among them."""
    towards, against = _sides(condition)
    if against and _numbers(condition)[-1] < 0:
        return f"at least nearly as close in meaning to {_mean(towards)} as to {_mean(against)}"
    if against:
        return f"closer in meaning to {_mean(towards)} than to {_mean(against)}"
    if all(map(names_a_thing, towards)):
        return f"about {as_list(towards, 'and')}"
    return f"close in meaning to {_list(towards, 'and')}"


def _mean(phrases: Sequence[str]) -> str:
    return _list(phrases, "and") + " on average" * (len(phrases) > 1)


def _sides(condition: Condition) -> tuple[list[str], list[str]]:
    """The phrases that a leaning is towards, and those it is against."""
    said, count = _strings(condition), int(_numbers(condition)[0])
    return said[:count], said[count:]


def _topic(phrase: str) -> str:
    """Bare where it is plain words, otherwise in quotation marks."""
    return phrase if _PLAIN.fullmatch(phrase) else quoted(phrase)


def _strings(condition: Condition) -> list[str]:
    return [value for value in condition.values if isinstance(value, str)]


def _numbers(condition: Condition) -> list[float]:
    return [value for value in condition.values if isinstance(value, float | int)]


def _inner(condition: Condition) -> Condition:
    inner = condition.values[0]
    assert isinstance(inner, Condition)
    return inner


def _with_inner(condition: Condition) -> Iterable[Condition]:
    yield condition
    for value in condition.values:
        if isinstance(value, Condition):
            yield from _with_inner(value)


def _clause(clause: Clause, noun: str, names: Names, whole: bool) -> str:
    """What it points at first, then what else holds of the example, then what does not."""
    holding = [atom for atom in clause if not atom.negated]
    pointing = (atom for atom in holding if is_of_tokens(atom.conditions[0]))
    head = None if whole else next(pointing, None)
    behind = _of_examples([atom for atom in holding if atom is not head], noun, names)
    absent = _of_examples(_joined(atom for atom in clause if atom.negated), noun, names)
    also = [" and ".join(alike) for _, alike in groupby(behind, lambda said: said.split(" ")[0])]
    said, but = (_token(head, noun), f"in {noun}s") if head else (" ".join([f"{noun}s", *also]), "those")
    if head and also:
        said += f", in {noun}s {' '.join(also)}"
    return f"{said}, but not {but} {' or '.join(absent)}" if absent else said


def _joined(atoms: Iterable[Atom]) -> list[Atom]:
    """Atoms of which none holds, said in fewer: words, endings or the like of several are one list."""
    lists: dict[str, list[str | float | Condition]] = {}
    rest = []
    for atom in atoms:
        first, *more = atom.conditions
        if not more and KINDS[first.name].takes in LISTS:
            lists.setdefault(first.name, []).extend(first.values)
        else:
            rest.append(atom)
    return [*(Atom((Condition(name, tuple(dict.fromkeys(own))),)) for name, own in lists.items()), *rest]


def _of_examples(atoms: Iterable[Atom], noun: str, names: Names) -> list[str]:
    """What stands behind "texts" in the order of OF_EXAMPLE; what begins with "that" is last."""
    order = [*OF_EXAMPLE]
    ranked = sorted(atoms, key=lambda atom: order.index(n) if (n := atom.conditions[0].name) in order else 99)
    return sorted((_of_example(atom, noun, names) for atom in ranked), key=lambda s: s.startswith("that "))


def _of_example(atom: Atom, noun: str, names: Names) -> str:
    """What stands behind "texts"."""
    condition = atom.conditions[0]
    if is_of_tokens(condition):
        return f"with {_token(atom, noun, behind=True)}"
    if condition.name == "like" and noun == _NOUNS["image"]:
        return f"that match {_list(_strings(condition))}"
    if condition.name == "toward" and noun == _NOUNS["image"]:
        towards, against = _sides(condition)
        if against and _numbers(condition)[-1] < 0:
            return f"that match {_mean(towards)} at least nearly as well as {_mean(against)}"
        if against:
            return f"that match {_mean(towards)} more than {_mean(against)}"
        return f"that match {_list(towards, 'and')}"
    return OF_EXAMPLE[condition.name](condition, names)


def _token(atom: Atom, noun: str, behind: bool = False) -> str:
    """A token: its head, how it is spelt, its place, its neighbours; `behind`: what stands after "with"."""
    others = [_inner(condition) for condition in atom.conditions if condition.name == "except"]
    if others:
        kept = tuple(condition for condition in atom.conditions if condition.name != "except")
        one = any(condition.name in ("word", "form") for condition in kept)
        said = _token(Atom(kept), noun, behind) if kept else "words and signs"
        return f"{said}, but not {as_list([_excepted(each, one, noun) for each in others])}"
    head, *rest = conditions = sorted(atom.conditions, key=lambda condition: _ORDER.index(condition.name))
    one = head.name in ("word", "form")
    spelt = " and ".join(_which(condition) for condition in conditions if condition.name in _SPELT)
    own = [_behind(condition, one, noun) for condition in rest if condition.name in _WHOLE]
    around = " and ".join(_around(condition, noun) for condition in conditions if condition.name in _CONTEXTS)
    if head.name in _CONTEXTS and behind:
        return f"something {around}"
    if head.name in _CONTEXTS:
        return f"{_HEADLESS[head.name]} {around.removeprefix('anywhere ')}"
    said, more = _many(head, noun), [spelt, *own, around]
    if head.name in _SPELT:
        said, more = f"words {spelt}", [*own, around]
    further = " ".join(filter(None, more))
    # What follows is said of the head, and not of the last word in it alone.
    several = head.name == "form" or len(_strings(head)) > 1
    name = _IN_BRACKETS.sub("", said).strip() if head.name == "class" else ""
    long = (spelt and _BEHIND_NOUN.search(name)) or (around and _ASKS_AROUND.search(name))
    return f"{said}{',' * bool(further and (several or long))} {further}".rstrip()


def _many(condition: Condition, noun: str) -> str:
    """What a claim points at, where this is its head."""
    said = _strings(condition)
    match condition.name:
        case "word" | "phrase" as name:
            return f"the {name} {_list(said)}"
        case "form":
            return f"the word {_list(said)} in any form"
        case "mark":
            named = [_plural(MARKS[mark]) for mark in said if mark in MARKS]
            others = [mark for mark in said if mark not in MARKS]
            sign = "sign" if any(len(mark) == 1 for mark in others) else "ending"
            return as_list([*named, *([f"the {sign} {_list(others)}"] if others else [])])
        case "class":
            return CLASSES[said[0]]
        case "place":
            return _PLACES[said[0]][0].format(noun)
        case "repeated":
            return f"content words said before in the same {noun}"
    return "words"


def _one(condition: Condition, noun: str) -> str:
    """One such token, as the neighbour of another."""
    said = _strings(condition)
    match condition.name:
        case "word" | "phrase":
            return _list(said)
        case "form":
            return f"any form of {_list(said)}"
        case "mark":
            return as_list([_article(MARKS[mark]) if mark in MARKS else quoted(mark) for mark in said])
        case "class":
            return singular(CLASSES[said[0]])
        case "place":
            return _PLACES[said[0]][0].format(noun)
        case "repeated":
            return f"a content word said before in the same {noun}"
        case "except":
            return f"a word or sign other than {_one(_inner(condition), noun)}"
        case name if name in _CONTEXTS:
            return f"a word or sign {_around(condition, noun)}"
    return f"a word {_which(condition)}"


def _behind(condition: Condition, one: bool, noun: str) -> str:
    """What else the same token is; `one`: of "the word ...", not of many kinds of words."""
    match condition.name:
        case "place":
            return _PLACES[str(condition.values[0])][1 if one else 2].format(noun)
        case "class" if one:
            return f"as {_one(condition, noun)}"
        case "repeated":
            return f"{'when ' if one else ''}said before in the same {noun}"
    return f"that {'is' if one else 'are'} also {_many(condition, noun)}"


def _excepted(condition: Condition, one: bool, noun: str) -> str:
    """What a token is not, behind "but not"; `one`: said of "the word ...", not of many kinds of words."""
    match condition.name:
        case "word" | "form" | "phrase" | "mark":
            return _one(condition, noun)
        case "class" if not one:
            return CLASSES[_strings(condition)[0]]
        case "class" | "place":
            return _behind(condition, one, noun)
        case "repeated":
            return f"{'when' if one else 'those'} said before in the same {noun}"
        case "except":
            return f"other than {_one(_inner(condition), noun)}"
        case name if name in _CONTEXTS:
            return _around(condition, noun)
    return f"{'when' if one else 'those'} {_which(condition)}"


def _which(condition: Condition) -> str:
    """Of a word: how it is spelt."""
    said = _strings(condition)
    match condition.name:
        case "piece":
            return f"containing {_list(said)}"
        case "prefix":
            return f"starting with {_list([f'{start}-' for start in said])}"
        case "suffix":
            return f"ending in {_list([f'-{end}' for end in said])}"
    return f"of {_amount(condition, 'letter')}"


def _around(condition: Condition, noun: str) -> str:
    """Of a token's neighbours."""
    inner = _inner(condition)
    if condition.name in ("after", "before") and inner.name == condition.name:
        return f"two places {condition.name} {_one(_inner(inner), noun)}"
    return f"{_CONTEXTS[condition.name]} {_one(inner, noun)}"


def _list(words: Sequence[str], last: str = "or") -> str:
    return as_list([*map(quoted, words)], last)


def _plural(noun: str) -> str:
    return _PLURALS.get(noun) or noun + ("es" if noun.endswith(("sh", "ch", "s", "x")) else "s")


def singular(plural: str) -> str:
    """One of what a plural names: "a verb in the past tense" of "verbs in the past tense"."""
    nouns, *behind = _BEHIND_NOUN.split(plural, maxsplit=1)
    ones = [_article(_without_plural(noun)) for noun in _BETWEEN_NOUNS.split(nouns)]
    return as_list(ones) + _THAT.sub(_of_one, "".join(behind)).replace(" in them", " in it")


def _of_one(found: re.Match[str]) -> str:
    """Behind "that" the verb of one thing."""
    verb = found[1]
    return f" that {'is' if verb == 'are' else 'has' if verb == 'have' else _plural(verb)}"


def _without_plural(noun: str) -> str:
    *before, last = noun.split(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("ies") and len(last) > 4:
        last = last[:-3] + "y"
    elif last.endswith(("shes", "ches", "sses", "xes")):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith("ss"):
        last = last[:-1]
    return " ".join([*before, last])


def _article(noun: str) -> str:
    as_you = noun.lower().startswith(("uni", "use", "eu", "one"))
    return f"{'an' if noun[:1].lower() in tuple('aeiou') and not as_you else 'a'} {noun}"


def _amount(condition: Condition, unit: str) -> str:
    """A range: '30 words or more', 'at most 8 words', '5 to 8 words'."""
    least, *most = [*map(plain_number, _numbers(condition))]
    units = unit if (most or [least])[-1] == "1" else f"{unit}s"
    if not most:
        return f"{least} {units} or more"
    if least == most[0]:
        return f"{least} {units}"
    return f"at most {most[0]} {units}" if least in ("0", "1") else f"{least} to {most[0]} {units}"


OF_EXAMPLE: Mapping[str, Callable[[Condition, Names], str]] = {
    "long": lambda condition, names: f"of {_amount(condition, 'word')}",
    "like": lambda condition, names: _like(_strings(condition)),
    "toward": lambda condition, names: _toward(condition),
    "tagged": lambda condition, names: f"tagged {_list([names.get(id, id) for id in _strings(condition)])}",
    "feels": lambda condition, names: f"with a {condition.values[0]} tone",
    "about": lambda condition, names: f"that mention {_list(_strings(condition))}",
    "count": lambda condition, names: counted(_numbers(condition)),
    **dict.fromkeys(SAYINGS, lambda condition, names: _saying(condition).english),
}
"""What a condition of a whole example says behind "texts" or "pictures", in the order in which they stand."""


def _after_note(condition: Condition) -> str:
    if _inner(condition).name == condition.name:
        return "two places: one word or sign stands between"
    return f"{condition.name}: nothing stands between, not even a sign"


def _saying(condition: Condition) -> Said:
    return SAYINGS[condition.name][_strings(condition)[0]]


def _like_note(condition: Condition) -> str:
    phrases = as_list([*map(_topic, _strings(condition))])
    least = plain_number(_numbers(condition)[-1])
    return f"{phrases}: a cosine of at least {least} by the encoder"


def _toward_note(condition: Condition) -> str:
    towards, against = _sides(condition)
    least = _numbers(condition)[-1]
    said = f"{_list(towards, 'and')}: a mean cosine by the encoder"
    if not against:
        return f"{said} of at least {plain_number(least)}"
    by = (
        f"lower by at most {plain_number(-least)}"
        if least < 0
        else f"higher by at least {plain_number(least)}"
    )
    return f"{said} {by} than with {_list(against, 'and')}"


def _tone_note(condition: Condition) -> str:
    score = f"{CLEAR:g} or more" if condition.values[0] == "positive" else f"-{CLEAR:g} or less"
    return f"{condition.values[0]} tone: a compound score of {score} by the lexicon VADER"


_NOTES: Mapping[str, Callable[[Condition], str]] = {
    "form": lambda condition: f"any form of {_list(_strings(condition))}: whatever has the same lemma",
    "phrase": lambda condition: "phrase: its words stand side by side, each in any form",
    "piece": lambda condition: "containing: anywhere in the word, or all of it",
    "prefix": lambda condition: "starting with: at least two letters come after it",
    "suffix": lambda condition: "ending in: at least three letters come before it",
    "letters": lambda condition: "letters: the digits of a number count",
    "repeated": lambda condition: 'said before: in the same form; words such as "the" do not count',
    "after": _after_note,
    "before": _after_note,
    "near": lambda condition: f"near: at most {NEAR} words or signs away, on either side",
    "earlier": lambda condition: "anywhere, everything after: at any distance in the same text",
    "about": lambda condition: "mention: the words stand side by side, each in any form",
    "like": _like_note,
    "toward": _toward_note,
    "feels": _tone_note,
    "long": lambda condition: "length: words and numbers, without signs",
    "count": lambda condition: OBJECT,
    **dict.fromkeys(SAYINGS, lambda condition: _saying(condition).note),
}
_AFFIXES = word_set(
    "un re dis in im il ir non pre post over under mis out sub super inter trans anti counter auto co "
    "en em fore semi mid multi micro mono bi tri tele up down self s es ed ing ly er est ers or ors "
    "tion tions sion sions ion ions ment ments ness less ful able ible ous ive al ial ic ical ism ist "
    "ists ity ty ies ish ise ize ised ized y en ward wards hood ship dom ance ence ant ent ary ery ory "
    "ee ess like wise fold teen th n't"
)
"""Beginnings and endings that mean something in English."""
_PRICES: Mapping[str, float] = {"letters": 1.5, "like": 1.5, "toward": 1.5, "near": 0.5, "earlier": 0.5}


def _price(condition: Condition) -> float:
    said, each = _strings(condition), _PRICES.get(condition.name, 1)
    match condition.name:
        case "after" | "before":
            return _price(_inner(condition))
        case "near" | "earlier":
            return _price(_inner(condition)) + each
        case "except":
            return _price(_inner(condition)) + 0.5
        case "phrase":
            return sum(1 + (len(one.split()) - 1) / 2 for one in said)
        case "piece" | "prefix" | "suffix" as name:
            return sum(1 if name != "piece" and one in _AFFIXES else 1 + 6 / len(one) for one in said)
    return each * max(1, len(said))


def grown(piece: str, words: Sequence[str]) -> str:
    """The longest string around a piece that all these words share: "restaurant" for the "uran" of its forms.

    Of words that all have the piece; where one has it twice, the first is looked at.
    """
    cuts = [word.partition(piece) for word in words]
    before = _shared_start([left[::-1] for left, _, _ in cuts])[::-1]
    return before + piece + _shared_start([right for _, _, right in cuts])


def _shared_start(words: Sequence[str]) -> str:
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*words, strict=False))
    return "".join(letters[0] for letters in alike)

"""What is known of a word from its form and its neighbours: its lemma, and the classes that it belongs to.

Rules, not a parser: every class is a list of words, a pattern of letters or a look at the tokens next to
it, and can be checked by eye. What depends on the form is worked out once for each distinct form. Words of
languages other than English belong to few classes (signs, numbers, capitals, scripts).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache

import numpy as np
from jaxtyping import Bool

from saywell.claims import word_lists as lists
from saywell.claims.corpus import NUMBER, SIGN, WORD, Corpus
from saywell.claims.feeling import valence
from saywell.data.words import is_function_word

Tokens = Bool[np.ndarray, " tokens"]
STRONG = 1.5
"""The valence (0 to 4, by VADER) from which on a word praises or blames."""
_PASTS = frozenset(past for pasts, _ in lists.IRREGULAR.values() for past in pasts)
_OVERLONG = re.compile(r"..(?:[wy]|nk|nd|rd|ld|ft)e$|[aeiou].*(?:ell|[aeiou]([rt])\1)$")
"""Lemmas that may have a letter too many: "thinke", "cancell", "preferr"."""
_BASES = {
    form: base
    for base, (pasts, participles) in lists.IRREGULAR.items()
    for form in (*pasts, *participles)
    if form not in lists.OWN_LEMMA
} | lists.OTHER_LEMMAS
_OWN_LEMMA = lists.OWN_LEMMA.union(
    *(lists.SETS[name][1] for name in ("first-person", "first-person-plural", "he", "she", "they"))
)
_PARTICIPLES = frozenset(one for _, participles in lists.IRREGULAR.values() for one in participles) | {"been"}
_NO_VERBS = frozenset().union(
    *(
        lists.SETS[name][1]
        for name in ("preposition", "determiner", "conjunction", "contrast", "intensifier", "question-word")
    )
) | {"like", "pretty", "well", "please"}
"""Words that look like base forms of verbs and hardly ever are."""
_DOMAINS = (".com", ".org", ".net", ".edu", ".gov")
# Bounded repeats: a hostile run of a million letters costs no more than its length.
_LINK = re.compile(
    r"(?:https?://|www\.)[^\s<>\"]+|\b[\w-]{1,63}(?:\.[\w-]{1,63}){0,5}\.(?:com|org|net|edu|gov)\b(?:/[^\s<>\"]*)?"
)
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")
_HANDLE = re.compile(r"(?<![\w.@])@\w+")
_HASHTAG = re.compile(r"(?<![\w&#])#[^\W\d]\w*")
_INNER_CAPITAL = re.compile(r"[^\W\d_A-Z][A-Z]")
_SMILEY = re.compile(r"(?<![\w()])[:;=]['-]?[()DP|*]+(?!\w)|<3(?!\d)")
_SCRIPTS = {
    "CJK": "han",
    "HIRAGANA": "kana",
    "KATAKANA": "kana",
    "HANGUL": "hangul",
    "CYRILLIC": "cyrillic",
    "GREEK": "greek",
    "ARABIC": "arabic",
    "HEBREW": "hebrew",
    "DEVANAGARI": "devanagari",
    "THAI": "thai",
}


@cache
def lemma(form: str) -> str:
    """The base form of an English word in small letters; the word itself where none is known.

    Pronouns and other function words are their own, save the forms of be, have and do; so is a contraction:
    "don't" is no form of "do", as it says the opposite. "left", "rose" and other forms that are as often
    another word are their own as well.
    """
    if len(form) < 2 or not form.isalpha():
        return form
    if form in _BASES:
        return _BASES[form]
    if form in _OWN_LEMMA or (is_function_word(form) and not _is_auxiliary(form)):
        return form
    found = _simple_lemma(form)
    if not found.isalpha() or len(found) > len(form) + 2:  # written out: "km" is not "kilometer"
        return form
    if found != form and form.endswith(("ed", "ing")):
        stem = found[:-1]
        if form.removesuffix("ing") in lists.IRREGULAR:
            return form.removesuffix("ing")
        if _OVERLONG.search(found) and _simple_lemma(f"{stem}s") == stem:
            return stem
    return found


def _simple_lemma(form: str) -> str:
    import simplemma

    return simplemma.lemmatize(form, lang="en").lower()


def _is_auxiliary(form: str) -> bool:
    return any(form in lists.SETS[name][1] for name in ("be", "have", "do"))


def class_mask(corpus: Corpus, name: str) -> Tokens:
    """Which tokens belong to a class."""
    return _RULES[name][1](corpus)


# What a form alone decides.


@cache
def _is_ed(form: str) -> bool:
    """A past form by the rule: "wanted", not "need"."""
    return len(form) > 3 and form.endswith("ed") and lemma(form) != form and not lemma(form).endswith("ed")


def _is_participle(form: str) -> bool:
    return form in _PARTICIPLES or _is_ed(form)


@cache
def _is_ing(form: str) -> bool:
    """A form of a verb, not "king" or an adjective of its own ("interesting")."""
    if len(form) < 5 or not form.endswith("ing") or form in lists.NO_ING:
        return False
    stem = form[:-3]
    if lemma(form) != form or not lists.IRREGULAR.keys().isdisjoint({stem, stem[:-1], f"{stem}e"}):
        return True
    return lemma(f"{stem}ed") in (stem, f"{stem}e", stem[:-1])  # "living", which is a noun as well


@cache
def _is_verb(form: str) -> bool:
    """A base form of which an -ing form and a past are known: many are nouns as well."""
    if form in lists.IRREGULAR or form == "be":
        return True
    if not form.isalpha() or lemma(form) != form or is_function_word(form) or form in _NO_VERBS:
        return False
    stem = form.removesuffix("e")
    return any(lemma(f"{s}ing") == form for s in (stem, stem + stem[-1:])) and any(
        lemma(past) == form for past in (f"{stem}ed", f"{stem}{stem[-1:]}ed", f"{form[:-1]}ied")
    )


@cache
def _is_s(form: str) -> bool:
    """A word with an -s that its lemma lacks."""
    return (
        len(form) > 3
        and form.endswith("s")
        and not form.endswith(("ss", "'s"))
        and not lemma(form).endswith("s")
        and not is_function_word(form)
        and lemma(form)[:2] == form[:2]
    )


def _is_graded(form: str, ending: str) -> bool:
    """An adjective or adverb with a degree's ending: "larger", not "river"."""
    base = lemma(form)
    return len(form) > 4 and form.endswith(ending) and not base.endswith(ending) and form[:2] == base[:2]


def _is_comparative(form: str) -> bool:
    return form in lists.IRREGULAR_COMPARATIVES or _is_graded(form, "er")


def _is_superlative(form: str) -> bool:
    return form in lists.IRREGULAR_SUPERLATIVES or _is_graded(form, "est")


@cache
def _is_adverb(form: str) -> bool:
    return len(form) > 4 and form.endswith("ly") and form not in lists.NOT_ADVERBS


def _is_negation(form: str) -> bool:
    return form in lists.NEGATIONS or form.endswith("n't")


def _is_drawn_out(form: str) -> bool:
    """A letter three times in a row and another one; not a Roman number."""
    return (
        re.search(r"([^\W\d_])\1\1", form) is not None and len(set(form)) > 1 and not set(form) <= set("ivx")
    )


def _is_emoji(form: str) -> bool:
    code = ord(form[0])
    return (
        0x1F000 <= code <= 0x1FAFF or 0x2600 <= code <= 0x27BF or 0x2B00 <= code <= 0x2BFF or code == 0xFE0F
    )


def _script(form: str) -> str:
    if form.isascii() or not form[0].isalpha():
        return ""
    return _SCRIPTS.get(unicodedata.name(form[0], "").split(" ")[0].split("-")[0], "")


def _is_accented(form: str) -> bool:
    return not form.isascii() and any(
        "LATIN" in unicodedata.name(c, "") and unicodedata.decomposition(c) for c in form if not c.isascii()
    )


# What the neighbours decide.


def _any(*masks: Tokens) -> Tokens:
    return np.logical_or.reduce(masks)


def _adverbial(corpus: Corpus) -> Tokens:
    """Words that stand between a verb and its auxiliary or its subject."""
    return corpus.of_forms(lambda form: form in lists.BETWEEN or _is_adverb(form))


def _governed(corpus: Corpus, by: Tokens, able: Callable[[str], bool]) -> tuple[Tokens, Tokens]:
    """Tokens that one of `by` governs ("has never *been*", "was it *made*"), and those of `by` that do."""
    word, between = corpus.of_forms(able), _adverbial(corpus) | corpus.tokens_of([*lists.SUBJECTS])
    governed, governs = np.zeros(len(corpus), dtype=bool), np.zeros(len(corpus), dtype=bool)
    link = by
    for reach in (1, 2, 3):
        here = corpus.shifted(link, 1) & word
        governed |= here
        governs |= corpus.shifted(here, -reach) & by
        link = corpus.shifted(link, 1) & between
    return governed, governs


def _be(corpus: Corpus) -> Tokens:
    """Forms of be; an "'s" is one after a pronoun."""
    return corpus.tokens_of([*lists.SETS["be"][1]]) | _contracted(corpus)


def _contracted(corpus: Corpus) -> Tokens:
    """An "'s" that is a verb: after a pronoun, a question word, "that", "there" or "here"."""
    before = [*"he she it that there here what who where how let everything everyone this".split()]
    return corpus.tokens_of(["'s"]) & corpus.shifted(corpus.tokens_of(before), 1)


def _contraction(corpus: Corpus) -> Tokens:
    endings = ("n't", "'m", "'re", "'ve", "'ll", "'d")
    return corpus.of_forms(lambda form: form.endswith(endings)) | _contracted(corpus)


def _have(corpus: Corpus) -> Tokens:
    return corpus.tokens_of([*lists.SETS["have"][1]])


def _perfect(corpus: Corpus) -> Tokens:
    return _any(*_governed(corpus, _have(corpus), _is_participle))


def _passive(corpus: Corpus) -> Tokens:
    return _any(*_governed(corpus, _be(corpus), lambda form: _is_participle(form) and form != "been"))


def _continuous(corpus: Corpus) -> Tokens:
    return _any(*_governed(corpus, _be(corpus), lambda form: _is_ing(form) and form != "being"))


def _participle(corpus: Corpus) -> Tokens:
    """Participles after a form of be, have or get, and those that an "and" joins to one."""
    helpers = _be(corpus) | _have(corpus) | corpus.tokens_of(["get", "gets", "got", "getting", "gotten"])
    found, _ = _governed(corpus, helpers, _is_participle)
    joined = corpus.shifted(corpus.shifted(found, 1) & corpus.tokens_of(["and", "or", ","]), 1)
    return found | (joined & corpus.of_forms(_is_participle))


def _past(corpus: Corpus) -> Tokens:
    """Verbs in the past; forms that may be participles only where nothing before makes them one."""
    sure = corpus.of_forms(lambda form: form in _PASTS and form not in _PARTICIPLES)
    same = corpus.of_forms(lambda form: form in lists.IRREGULAR and form in _PASTS)
    unsure = corpus.of_forms(lambda form: (form in _PASTS and form in _PARTICIPLES) or _is_ed(form)) & ~same
    names = ("determiner", "possessive", "preposition", "intensifier")
    describes = _any(*(_listed(corpus, name) for name in names)) & ~corpus.tokens_of([*lists.BEFORE_PASTS])
    describes |= corpus.tokens_of([*lists.BEFORE_PARTICIPLES])
    agent, compound = corpus.shifted(corpus.tokens_of(["by"]), -1), corpus.shifted(_hyphen(corpus), 1)
    third = corpus.tokens_of(["he", "she", "it", "who"])
    read = (
        same
        & corpus.shifted(third, 1)
        & ~corpus.shifted(corpus.tokens_of([*lists.SETS["modal"][1], *lists.SETS["do"][1]]), 2)
    )
    unsure &= ~_participle(corpus) & ~agent
    auxiliary = corpus.tokens_of([*lists.PAST_AUXILIARIES])
    return auxiliary | read | ((sure | unsure) & ~corpus.shifted(describes, 1) & ~compound)


def _ing(corpus: Corpus) -> Tokens:
    """Those that are nouns as well ("building") not after "the" or "my"."""
    noun = corpus.of_forms(lambda form: lemma(form) == form)
    before = _any(*(_listed(corpus, name) for name in ("determiner", "possessive", "quantifier")))
    return corpus.of_forms(_is_ing) & ~(noun & corpus.shifted(before, 1))


def _infinitive(corpus: Corpus) -> Tokens:
    """A verb after "to", with or without "not" or an adverb between."""
    verb = _governed(
        corpus, corpus.tokens_of(["to"]), lambda form: _is_verb(form) and form not in lists.NOUNS_AFTER_TO
    )[0]
    return verb & ~corpus.capital & ~corpus.shifted(corpus.tokens_of([*lists.SUBJECTS]), 1)


def _future(corpus: Corpus) -> Tokens:
    """Will, shall, 'll, gonna, and "going to" before a verb."""
    will = corpus.of_forms(lambda form: form in {"shall", "won't", "gonna"} or form.endswith("'ll"))
    noun = _any(*(corpus.tokens_of([*lists.SETS[name][1]]) for name in ("article", "possessive")))
    will |= corpus.tokens_of(["will"]) & ~corpus.shifted(noun, 1)
    going = corpus.tokens_of(["going"]) & corpus.shifted(corpus.tokens_of(["to"]), -1)
    going &= corpus.shifted(corpus.of_forms(_is_verb), -2) & corpus.shifted(
        _be(corpus) | _adverbial(corpus) | corpus.tokens_of([*lists.SUBJECTS]), 1
    )
    return will | going | corpus.shifted(going, 1)


def opens_noun(corpus: Corpus) -> Tokens:
    """Words after which a noun is to be expected: determiners, possessives, numbers, prepositions."""
    names = ("determiner", "possessive", "quantifier", "preposition", "number-word")
    listed = frozenset().union(*(lists.SETS[name][1] for name in names)) - {"that", "to"}
    return corpus.of_forms(lambda form: form in listed or form == "'s") | (corpus.kind == NUMBER)


def _third(corpus: Corpus) -> Tokens:
    """Words in -s that are hardly anything else ("says"), follow "he" and the like, or have an object."""
    sure = corpus.tokens_of([*lists.SURELY_THIRD])
    verb = corpus.of_forms(lambda form: _is_s(form) and _is_verb(lemma(form)))
    subject = corpus.tokens_of("he she it who which that this everyone everybody someone nobody".split())
    adverb = _adverbial(corpus)
    verb |= corpus.of_forms(_is_s) & corpus.shifted(corpus.tokens_of(["he", "she", "it", "who"]), 1)
    after = corpus.shifted(subject | (adverb & corpus.shifted(subject, 1)), 1)
    names = ("article", "possessive", "first-person", "second-person")
    objects = _any(*(_listed(corpus, name) for name in names)) | corpus.tokens_of(["it", "him", "them"])
    noun = (corpus.kind == WORD) & ~corpus.of_forms(is_function_word) & ~opens_noun(corpus)
    follows = objects | corpus.of_forms(lambda form: form == "away" or _is_adverb(form))
    between = corpus.shifted(follows, -1) & corpus.shifted(noun, 1)
    return sure | (verb & (after | between))


def _present(corpus: Corpus) -> Tokens:
    """Verbs of the third person in -s, am, are, have and do, and base forms after I, we, they or a plural."""
    sure = corpus.tokens_of([*lists.SURELY_PRESENT]) | _contracted(corpus)
    helper = _any(*(_listed(corpus, name) for name in ("modal", "be", "do", "have")))
    helper |= corpus.of_forms(lambda form: form in {"let", "to"} or form.endswith("'ll"))
    infinitive, _ = _governed(corpus, helper, _is_verb)
    subject = corpus.tokens_of(["i", "you", "we", "they", "who"])
    subject |= _plural(corpus) & ~corpus.shifted(corpus.tokens_of(["of"]), 1)
    subject &= ~corpus.shifted(helper, 1)
    between = _adverbial(corpus)
    base = corpus.of_forms(lambda form: form == "like" or (_is_verb(form) and form not in _PASTS))
    base &= corpus.shifted(subject | (between & corpus.shifted(subject, 1)), 1)
    return _third(corpus) | ((sure | base) & ~infinitive)


def _plural(corpus: Corpus) -> Tokens:
    """Words in -s that can be no verb, or stand where no verb in the third person does."""
    ends = corpus.of_forms(lambda form: form in lists.IRREGULAR_PLURALS or _is_s(form))
    can_be_verb = corpus.of_forms(lambda form: _is_verb(lemma(form)))
    mostly_verb = corpus.of_forms(lambda form: lemma(form) in lists.IRREGULAR)
    opens = opens_noun(corpus)
    after = corpus.shifted(opens, 1) | (corpus.shifted(opens, 2) & ~mostly_verb)
    ended = corpus.shifted(corpus.tokens_of([*lists.AFTER_NOUNS]) | (corpus.kind == SIGN), -1) & ~mostly_verb
    return ends & ~_third(corpus) & (~can_be_verb | after | ended)


def _imperative(corpus: Corpus) -> Tokens:
    """A verb that opens its sentence and has something for its object at once."""
    names = ("determiner", "possessive", "first-person", "it", "they", "first-person-plural")
    follows = frozenset().union(*(lists.SETS[name][1] for name in names)) | {"not", "sure"} | {"him", "her"}
    verb = corpus.of_forms(lambda form: _is_verb(form) and form not in {"do", "have"})
    please = corpus.tokens_of(["don't", "please"]) & corpus.shifted(verb, -1)
    return corpus.opens_sentence & (please | (verb & corpus.shifted(corpus.tokens_of([*follows]), -1)))


def _superlative(corpus: Corpus) -> Tokens:
    """Not the "least" of "at least"."""
    return corpus.of_forms(_is_superlative) & ~corpus.shifted(corpus.tokens_of(["at"]), 1)


def _number(corpus: Corpus) -> Tokens:
    return corpus.kind == NUMBER


def _sign_of_money(corpus: Corpus) -> Tokens:
    return corpus.of_forms(lambda form: unicodedata.category(form[0]) == "Sc")


def _money(corpus: Corpus) -> Tokens:
    """A currency sign with the number at it, or a number with the name of a currency, and that name."""
    sign, number = _sign_of_money(corpus), _number(corpus)
    name = corpus.tokens_of([*lists.MONEY])
    amount = number | _listed(corpus, "number-word")
    return (
        sign
        | (number & (corpus.shifted(sign, 1) | corpus.shifted(sign, -1)))
        | name
        | (amount & corpus.shifted(name, -1))
    )


def _percent(corpus: Corpus) -> Tokens:
    sign = corpus.tokens_of(["%", "％", "percent", "percentage"])
    return sign | (_number(corpus) & corpus.shifted(sign, -1))


def _year(corpus: Corpus) -> Tokens:
    """Four digits from 1500 to 2099 that no sign of money precedes and no unit follows, and "1990s"."""
    digits = corpus.of_forms(lambda form: re.fullmatch(r"(1[5-9]|20)\d\ds?", form) is not None)
    units = _listed(corpus, "unit") | corpus.tokens_of([*lists.MONEY, "%"])
    return digits & ~corpus.shifted(_sign_of_money(corpus), 1) & ~corpus.shifted(units, -1)


def _clock(corpus: Corpus) -> Tokens:
    """Times like 10:30, 5pm, 5 p.m., six o'clock."""
    whole = corpus.of_forms(
        lambda form: re.fullmatch(r"\d{1,2}:\d\d|\d{1,2}(:\d\d)?[ap]m|o'clock", form) is not None
    )
    half = corpus.tokens_of(["am", "pm", "o'clock"]) | (
        corpus.tokens_of(["a", "p"])
        & corpus.shifted(corpus.tokens_of(["."]), -1)
        & corpus.shifted(corpus.tokens_of(["m"]), -2)
    )
    number = _number(corpus) | _listed(corpus, "number-word")
    return whole | (number & corpus.shifted(half, -1)) | (half & corpus.shifted(number, 1))


def _month(corpus: Corpus) -> Tokens:
    either = corpus.tokens_of([*lists.CAPITAL_MONTHS]) & corpus.capital
    near = corpus.shifted(_number(corpus), 1) | corpus.shifted(_number(corpus), -1)
    return corpus.tokens_of([*lists.MONTHS]) | (either & (near | ~corpus.opens_sentence))


def _ordinal(corpus: Corpus) -> Tokens:
    """First, 2nd; not the "second" of "a second" or "ten seconds"."""
    found = corpus.of_forms(
        lambda form: form in lists.ORDINALS or re.fullmatch(r"\d+(st|nd|rd|th)", form) is not None
    )
    unit = corpus.tokens_of(["second"]) & corpus.shifted(corpus.tokens_of(["per", "one", "each"]), 1)
    return found & ~unit


def _quantity(corpus: Corpus) -> Tokens:
    """A number and the unit after it; a "-" may stand between, or the unit be written at the number."""
    number = _number(corpus) | _listed(corpus, "number-word")
    unit = _listed(corpus, "unit") | _listed(corpus, "time-unit")
    hyphen = corpus.tokens_of(["-"]) & corpus.shifted(number, 1) & corpus.shifted(unit, -1)
    left = number & (corpus.shifted(unit, -1) | corpus.shifted(hyphen, -1))
    right = unit & (corpus.shifted(number, 1) | corpus.shifted(hyphen, 1))
    units = lists.SETS["unit"][1]
    written = corpus.of_forms(lambda form: form[0].isdigit() and form.lstrip("0123456789.") in units)
    return left | right | written


def _capitalised(corpus: Corpus) -> Tokens:
    """Words with a capital that does not come from the sentence's beginning, without "I"."""
    i = corpus.of_forms(lambda form: form == "i" or form.startswith("i'"))
    return corpus.capital & ~corpus.opens_sentence & ~i & (corpus.kind == WORD)


def _joined(corpus: Corpus) -> tuple[Tokens, Tokens]:
    """Which tokens stand at the one before without space, and at the one after."""
    same = np.zeros(len(corpus), dtype=bool)
    same[1:] = (corpus.start[1:] == corpus.end[:-1]) & (corpus.text[1:] == corpus.text[:-1])
    return same, np.concatenate([same[1:], np.zeros(min(1, len(same)), dtype=bool)])


def _hyphen(corpus: Corpus) -> Tokens:
    """A "-" with a word or number at it on either side."""
    before, after = _joined(corpus)
    word = corpus.kind != SIGN
    return (
        corpus.tokens_of(["-", "‐", "‑"])
        & before
        & after
        & corpus.shifted(word, 1)
        & corpus.shifted(word, -1)
    )


def _hyphenated(corpus: Corpus) -> Tokens:
    hyphen = _hyphen(corpus)
    return (corpus.shifted(hyphen, 1) | corpus.shifted(hyphen, -1)) & (corpus.kind == WORD)


def _dash(corpus: Corpus) -> Tokens:
    """Long dashes, and a "-" that is no hyphen."""
    return corpus.tokens_of([*"—–―"]) | (corpus.tokens_of(["-"]) & ~_hyphen(corpus))


def _quotation(corpus: Corpus) -> Tokens:
    """Quotation marks; a single one only where it is no apostrophe within or after a word."""
    before, after = _joined(corpus)
    single = corpus.tokens_of(["'", "‘", "’", "`"])
    return corpus.tokens_of([*'"“”„«»「」『』‹›']) | (
        single & ~(before & after) & ~(before & corpus.shifted(corpus.of_forms(lambda f: f.endswith("s")), 1))
    )


def _between(corpus: Corpus, opens: Tokens, closes: Tokens) -> Tokens:
    """Tokens between one that opens and the next that closes in the same text."""
    found = np.zeros(len(corpus), dtype=bool)
    opened = -1
    for place in np.flatnonzero(opens | closes).tolist():
        if closes[place] and opened >= 0 and corpus.text[opened] == corpus.text[place]:
            found[opened + 1 : place] = True
            opened = -1
        elif opens[place]:
            opened = place
    return found


def _in_quotes(corpus: Corpus) -> Tokens:
    """Tokens between quotation marks; a straight one opens where nothing stands at it on its left."""
    before, after = _joined(corpus)
    straight, quotes = corpus.tokens_of(['"', "'"]), _quotation(corpus)
    opens = corpus.tokens_of([*"“„«「『"]) | (straight & quotes & ~before & after)
    closes = corpus.tokens_of([*"”»」』"]) | (straight & quotes & before)
    return _between(corpus, opens, closes) & (corpus.kind != SIGN)


def _in_brackets(corpus: Corpus) -> Tokens:
    opens, closes = corpus.tokens_of([*"([{（［【"]), corpus.tokens_of([*")]}）］】"])
    return _between(corpus, opens, closes) & (corpus.kind != SIGN)


def _in_question(corpus: Corpus) -> Tokens:
    """Words of a sentence that ends in a question mark."""
    asks = np.zeros(int(corpus.sentence.max(initial=0)) + 1, dtype=bool)
    asks[corpus.sentence[class_mask(corpus, "question-mark")]] = True
    return asks[corpus.sentence] & (corpus.kind != SIGN)


def _possessive_s(corpus: Corpus) -> Tokens:
    """An "'s" that is no verb."""
    return corpus.tokens_of(["'s"]) & ~_contracted(corpus)


def _in_texts(corpus: Corpus, hints: Sequence[str], pattern: re.Pattern[str]) -> Tokens:
    """Tokens that share a character with what a pattern finds in the texts that have one of the hints."""
    found = np.zeros(len(corpus), dtype=bool)
    for number, text in enumerate(corpus.texts):
        if any(hint in text for hint in hints):
            first = corpus.first[number]
            here = slice(first, corpus.first[number + 1])
            for match in pattern.finditer(text):
                begin = np.searchsorted(corpus.end[here], match.start(), side="right")
                end = np.searchsorted(corpus.start[here], match.end())
                found[first + begin : first + end] = True
    return found


def _emoji(corpus: Corpus) -> Tokens:
    smileys = _in_texts(corpus, [":", ";", "=", "<3"], _SMILEY)
    return corpus.of_forms(_is_emoji) | smileys


def _listed(corpus: Corpus, name: str) -> Tokens:
    return corpus.tokens_of([*lists.SETS[name][1]])


def _forms(holds: Callable[[str], bool]) -> Callable[[Corpus], Tokens]:
    return lambda corpus: corpus.of_forms(holds)


def _signs(signs: Collection[str]) -> Callable[[Corpus], Tokens]:
    return lambda corpus: corpus.tokens_of([*signs])


def _set(name: str) -> tuple[str, Callable[[Corpus], Tokens]]:
    return lists.SETS[name][0], lambda corpus: _listed(corpus, name)


def _of_script(*scripts: str) -> Callable[[Corpus], Tokens]:
    return lambda corpus: corpus.of_forms(lambda form: _script(form) in scripts)


def _valued(sign: int) -> Callable[[Corpus], Tokens]:
    """Words that the lexicon of feelings clearly values, without those that are mostly used otherwise."""

    def mask(corpus: Corpus) -> Tokens:
        known = valence()
        clear = corpus.of_forms(lambda form: sign * known.get(form, 0.0) >= STRONG)
        return clear & (corpus.kind == WORD) & ~corpus.tokens_of([*lists.NO_FEELING])

    return mask


_RULES: Mapping[str, tuple[str, Callable[[Corpus], Tokens]]] = {
    # signs
    "question-mark": ("question marks", _signs("?？؟¿⁇⁈")),
    "exclamation-mark": ("exclamation marks", _signs("!！¡‼⁉")),
    "full-stop": ("full stops", _signs(".。．｡।۔")),
    "comma": ("commas", _signs(",，、،")),
    "colon": ("colons and semicolons", _signs(":;：；")),
    "quotation-mark": ("quotation marks", _quotation),
    "bracket": ("brackets", _signs("()[]{}（）［］｛｝【】〔〕")),
    "dash": ("dashes", _dash),
    "hyphen": ("hyphens inside a word", _hyphen),
    "ellipsis": ("runs of dots (...)", _forms(lambda form: form == "…" or form.startswith(".."))),
    "in-question": ("words of a question", _in_question),
    "in-quotes": ("words inside quotation marks", _in_quotes),
    "in-brackets": ("words in brackets", _in_brackets),
    "slash": ("slashes", _signs("/\\")),
    "symbol": ("symbols (like & or *)", _signs("&*+=@#^~|<>_©®™°§•·")),
    "emoji": ("emoji and smileys", _emoji),
    # numbers and times
    "number": ("numbers", _number),
    "number-word": _set("number-word"),
    "ordinal": ("ordinal numbers (first, 2nd)", _ordinal),
    "decimal": ("numbers with a decimal point", _forms(lambda form: bool(re.fullmatch(r"\d+\.\d+", form)))),
    "with-digit": (
        "words with digits in them (like mp3)",
        _forms(lambda form: any(map(str.isdigit, form)) and any(map(str.isalpha, form))),
    ),
    "money": ("amounts of money", _money),
    "percent": ("percentages", _percent),
    "quantity": ("measurements (like 5 inches)", _quantity),
    "unit": _set("unit"),
    "year": ("years (like 1998)", _year),
    "month": ("months", _month),
    "weekday": _set("weekday"),
    "season": _set("season"),
    "clock": ("times of day (like 10:30)", _clock),
    "day-part": _set("day-part"),
    "time-unit": _set("time-unit"),
    "when": _set("when"),
    "how-often": _set("how-often"),
    # letters
    "capitalised": ("capitalised words inside a sentence", _capitalised),
    "capital": ("capitalised words", lambda corpus: corpus.capital),
    "all-capitals": ("words all in capitals", lambda corpus: corpus.all_capitals),
    "inner-capital": (
        "words with a capital inside (like iPhone)",
        lambda corpus: _in_texts(corpus, [""], _INNER_CAPITAL),
    ),
    "hyphenated": ("hyphenated words", _hyphenated),
    "contraction": ("contractions (like don't)", _contraction),
    "drawn-out": ("words with a drawn-out letter (like sooo)", _forms(_is_drawn_out)),
    "link": ("web addresses", lambda corpus: _in_texts(corpus, ["http", "www.", *_DOMAINS], _LINK)),
    "email": ("e-mail addresses", lambda corpus: _in_texts(corpus, ["@"], _EMAIL)),
    "handle": ("user names with an @", lambda corpus: _in_texts(corpus, ["@"], _HANDLE)),
    "hashtag": ("hashtags", lambda corpus: _in_texts(corpus, ["#"], _HASHTAG)),
    "accented": ("words with an accented letter", _forms(_is_accented)),
    "han": ("Chinese characters", _of_script("han")),
    "kana": ("Japanese kana", _of_script("kana")),
    "hangul": ("Korean words", _of_script("hangul")),
    "cyrillic": ("words in Cyrillic letters", _of_script("cyrillic")),
    "greek": ("words in Greek letters", _of_script("greek")),
    "arabic": ("words in Arabic letters", _of_script("arabic")),
    "hebrew": ("words in Hebrew letters", _of_script("hebrew")),
    "devanagari": ("words in Devanagari letters", _of_script("devanagari")),
    "thai": ("words in Thai letters", _of_script("thai")),
    # persons
    **{
        name: _set(name)
        for name in ("first-person", "first-person-plural", "second-person", "he", "she", "it", "they")
    },
    "third-person": (
        "words of the third person (he, she, they)",
        lambda corpus: _any(*(_listed(corpus, name) for name in ("he", "she", "they"))),
    ),
    "possessive": _set("possessive"),
    "possessive-s": ("possessive endings ('s)", _possessive_s),
    "indefinite": _set("indefinite"),
    # verbs
    "past": ("verbs in the past tense", _past),
    "present": ("verbs in the present tense", _present),
    "third-person-verb": ("verbs of the third person in -s (like says)", _third),
    "ing": ("verb forms in -ing", _ing),
    "infinitive": ("verbs after to (like to go)", _infinitive),
    "imperative": ("verbs of request that open a sentence", _imperative),
    "participle": ("past participles after have or be", _participle),
    "perfect": ("verbs in the perfect (have gone)", _perfect),
    "passive": ("verbs in the passive (was made)", _passive),
    "continuous": ("verbs in the continuous (is going)", _continuous),
    "future": ("words of the future (will, going to)", _future),
    "modal": _set("modal"),
    "be": ("forms of be", _be),
    "have": _set("have"),
    "do": _set("do"),
    "saying": _set("saying"),
    "thinking": _set("thinking"),
    "wanting": _set("wanting"),
    # other words
    "plural": ("plural nouns", _plural),
    "comparative": ("comparatives (like larger)", _forms(_is_comparative)),
    "superlative": ("superlatives (like best)", _superlative),
    "adverb": ("adverbs in -ly", _forms(_is_adverb)),
    "negation": ("words of negation (not, never, no)", _forms(_is_negation)),
    **{
        name: _set(name)
        for name in (
            "question-word",
            "condition",
            "contrast",
            "reason",
            "intensifier",
            "hedge",
            "absolute",
            "quantifier",
            "polite",
            "interjection",
            "laughter",
        )
    },
    "praise": ("words of praise or pleasure (like great)", _valued(1)),
    "blame": ("words of blame or harm (like awful)", _valued(-1)),
    **{
        name: _set(name)
        for name in ("colour", "family", "people", "title", "country", "body-part", "direction")
    },
    **{name: _set(name) for name in ("article", "demonstrative", "determiner", "preposition", "conjunction")},
    "function": ("function words", _forms(is_function_word)),
}

OF_CASE = ("capitalised", "capital", "all-capitals", "inner-capital")
"""Classes that who reads no capitals cannot tell."""
CLASSES: Mapping[str, str] = {name: plural for name, (plural, _) in _RULES.items()}
"""Each class, and its name in the plural."""

"""Do two sentences about one class say the same, or contradict each other? Rules of form, for English.

A sentence says *values* (a colour, a size, a number, a shape, a side of a pair such as smooth and rough) of a
*head*, which is the class as a whole or a part of it, and it denies or does not deny what its other words
name. Two sentences contradict each other where

* one denies what the other names: "no stripes", "without a tail", "unspotted", "hairless", "never in groups";
* both say a value of the same kind of the same head, and no value agrees: "white fur", "it is brown".

They may still both be true of a class, each of other pictures. So what is found is shown, and nothing is left
out. Sentences that say "some" or "sometimes", and two of which one is about the young and one about the old,
males and females, above and below, do not contradict each other.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from saywell.data.words import content_words, is_function_word, stem, word_set
from saywell.describers.class_texts.visible import PART_STEMS
from saywell.transfer.zero_shot import mask_names

SAME_WORDS = 0.8
"""Share of the content words of two sentences that are in both, from which they say the same."""
SAME_VECTOR = 0.95
"""Cosine of two sentences, as the encoder of the pictures reads them, from which they say the same
(docs/classes.md has the trial)."""

_WHOLE = "whole"  # what a class name in a sentence stands for here
_COLOURS = {
    "red": "red scarlet crimson ruby maroon burgundy vermilion reddish rufous russet rusty cherry",
    "orange": "orange amber copper coral salmon apricot rufous rusty chestnut cinnamon bronze",
    "yellow": "yellow yellowish gold golden amber ochre sandy cream creamy buff lemon straw",
    "green": "green greenish emerald olive lime jade khaki teal turquoise",
    "blue": "blue bluish azure cobalt navy indigo teal turquoise cyan violet",
    "purple": "purple purplish violet lilac lavender mauve magenta indigo",
    "pink": "pink pinkish rose rosy magenta salmon coral",
    "brown": "brown brownish tan tawny chestnut cinnamon bronze beige buff fawn hazel sandy khaki ochre",
    "grey": "grey gray greyish grayish silver silvery charcoal ashen",
    "black": "black blackish ebony charcoal jet",
    "white": "white whitish ivory cream creamy silver silvery",
}
_SHAPES = {
    "round": "round rounded circular circle disc disk sphere spherical ball globe globular",
    "square": "square boxy",
    "triangle": "triangular triangle wedge",
    "oval": "oval elliptical ellipse egg",
    "rectangle": "rectangular rectangle oblong",
    "hexagon": "hexagonal hexagon",
    "star": "star starry",
    "heart": "heart",
    "ring": "ring hoop",
    "cross": "cross",
    "crescent": "crescent sickle",
}
_SHAPE_NOUNS = word_set(
    "circle disc disk sphere ball globe triangle wedge ellipse egg rectangle hexagon star heart ring hoop"
    " cross crescent sickle"
)
_POLES = {
    "size": ("small tiny little miniature dwarf minute", "large big huge giant enormous massive"),
    "length": ("short stubby stumpy", "long elongated lengthy"),
    "width": ("narrow slender slim", "wide broad"),
    "thickness": ("thin", "thick stout"),
    "shade": ("light pale bright white whitish cream ivory", "dark black blackish darkness night"),
    "surface": ("smooth sleek", "rough bumpy coarse rugged"),
    "gloss": ("glossy shiny gleaming shimmering", "dull matte matt"),
    "line": ("straight", "curved bent curled hooked"),
    "point": ("pointed sharp", "blunt"),
    "cover": ("bald bare naked", "hairy furry feathered fluffy shaggy"),
    "inside": ("hollow", "solid"),
    "passage": ("opaque", "transparent translucent"),
}
_NUMBERS = "one two three four five six seven eight nine ten eleven twelve".split()
_MOST = len(_NUMBERS)
_COUNTS = {
    **{word: frozenset({number}) for number, word in enumerate(_NUMBERS, 1)},
    **{str(number): frozenset({number}) for number in range(1, _MOST + 1)},
    **dict.fromkeys("alone lone single sole solitary".split(), frozenset({1})),
    **dict.fromkeys("pair pairs couple couples both twin twins twos".split(), frozenset({2})),
    **dict.fromkeys("trio trios threes".split(), frozenset({3})),
    **dict.fromkeys("quartet quartets fours".split(), frozenset({4})),
    "several": frozenset(range(2, _MOST + 1)),
    "many": frozenset(range(4, _MOST + 1)),
    "numerous": frozenset(range(4, _MOST + 1)),
}
_OF_ALL = word_set("alone lone solitary pair pairs couple couples twin twins trio trios quartet quartets")
"""Counts of how many there are to be seen, whatever they are called."""
_GROUPS = word_set("group groups set sets row rows cluster clusters party parties flock flocks them these")
_SINGULAR_ELSEWHERE = word_set("another after by above side at in even colour color hue from")
"""What follows a "one" that counts nothing."""

_ITSELF = word_set(
    "whole it they this these all body figure specimen individual animal plant bird fish insect object"
    " species member adult creature form shape outline silhouette build colour color hue tint appearance"
)
_WHOLES = frozenset(map(stem, _ITSELF))
_COVERS = frozenset(map(stem, "fur coat skin plumage feather hair hide surface pelt".split()))
_BACKGROUND = word_set("background backdrop ground page paper behind against backcloth")
_ARTICLES = word_set("a an the each every that")
_SPOTS, _OWN = word_set("on at near along around"), word_set("the its their")
_FIXED = word_set("in at to from on")
"""Before a number these say where, not how many: "in one corner"."""
_COPULAS = word_set("is are was were looks look appears appear remains remain seems seem becomes become")
_HEDGES = word_set(
    "some sometimes may might can occasionally rarely partly varies vary variable variously few either or"
)
_NEGATORS = word_set("no not never without lacks lack lacking neither nor devoid absent cannot")
_NO_DENIAL = word_set("other only one more two longer doubt matter always all just entirely quite least")
_SEEN = word_set("seen shown met found visible present any sign trace hint")
"""What stands between a negation and what it denies, and is nothing itself."""
_ENDS = word_set(". , ; : ( )")
_PREPOSITIONS = word_set("on in at of with by from near under over across behind along against to into like")
_BORDERS = _PREPOSITIONS | word_set("and but or than as who which")
_SCOPES = tuple(
    tuple(frozenset(map(stem, side.split())) for side in sides)
    for sides in (
        ("male cock drake stallion bull", "female hen mare cow"),
        ("young juvenile chick cub calf puppy kitten immature", "adult old grown mature"),
        ("summer breeding", "winter nonbreeding"),
        ("upper upperparts above top dorsal back", "lower underparts below bottom belly underside ventral"),
        ("front fore forward", "hind rear back behind"),
        ("inner inside interior", "outer outside exterior"),
        ("left", "right"),
    )
)


def _typed() -> Iterator[tuple[str, str, object]]:
    for kind, listed in (("colour", _COLOURS), ("shape", _SHAPES)):
        for value, named in listed.items():
            yield from ((word, kind, value) for word in named.split())
    for kind, sides in _POLES.items():
        for value, named in enumerate(sides):
            yield from ((word, kind, value) for word in named.split())
    for word, numbers in _COUNTS.items():
        yield from ((word, "number", number) for number in numbers)


@cache
def _values() -> Mapping[str, Mapping[str, frozenset[object]]]:
    """What each typed word may mean, by kind: amber is a colour, orange or yellow."""
    found: dict[str, dict[str, set[object]]] = {}
    for word, kind, value in _typed():
        found.setdefault(word, {}).setdefault(kind, set()).add(value)
    return MappingProxyType(
        {word: {kind: frozenset(own) for kind, own in kinds.items()} for word, kinds in found.items()}
    )


class Statement(NamedTuple):
    """What a sentence says, as far as rules of form tell."""

    values: Mapping[tuple[str, str], frozenset[object]]
    """By kind and head the values it may have; head "" is the class as a whole."""
    denied: tuple[frozenset[str], ...]
    """Stems of what is said not to be there."""
    named: frozenset[str]
    """Stems of all other words that mean something."""
    parts: frozenset[str]
    """Stems of the parts that it is about."""
    words: frozenset[str]
    """Stems of all words."""
    hedged: bool
    """Whether it says so of some only."""


def statement(text: str, names: Sequence[str] = ()) -> Statement:
    """Take a sentence about one of the classes `names` apart."""
    plain = mask_names([text], names, _WHOLE)[0].lower().replace("’", "'").replace("n't", " not")
    tokens = re.findall(r"[^\W\d_]+|\d+|[.,;:()-]", plain)
    denied, covered = _denials(tokens)
    values: dict[tuple[str, str], frozenset[object]] = {}
    for place in (place for place in range(len(tokens)) if place not in covered):
        for kind, meant in _meant(tokens, place).items():
            key = kind, _head(tokens, place, kind)
            values[key] = values.get(key, frozenset()) | meant
    free = [stem(token) for place, token in enumerate(tokens) if place not in covered and _says(token)]
    stems = frozenset(map(stem, tokens))
    parts = frozenset(s for s in free if s in PART_STEMS and s not in _WHOLES)
    return Statement(values, denied, frozenset(free), parts, stems, bool(_HEDGES & set(tokens)))


def contradiction(one: Statement, other: Statement) -> str | None:
    """In what two sentences about one class contradict each other, such as "colour"; None if in nothing."""
    if one.hedged or other.hedged or _elsewhere(one, other):
        return None
    for this, that in ((one, other), (other, one)):
        for phrase in this.denied:
            elsewhere = phrase <= this.named or _apart(this.parts - phrase, that.parts - phrase)
            if phrase <= that.named and not elsewhere:
                return "what one denies"
    for (kind, head), values in one.values.items():
        for (other_kind, other_head), others in other.values.items():
            if kind == other_kind and not values & others and _same_head(kind, head, other_head):
                return kind
    return None


def contradictions(texts: Sequence[str], names: Sequence[str] = ()) -> list[tuple[int, int, str]]:
    """The pairs of sentences about one class that contradict each other, and in what."""
    said = [statement(text, names) for text in texts]
    pairs = itertools.combinations(range(len(said)), 2)
    return [(a, b, what) for a, b in pairs if (what := contradiction(said[a], said[b])) is not None]


def first_saying_it(
    texts: Sequence[str],
    vectors: Float[np.ndarray, "texts dim"],
    names: Sequence[str] = (),
    *,
    at_least: float = SAME_VECTOR,
) -> Int[np.ndarray, " texts"]:
    """For each sentence about one class the place of the first that says the same: its own where it is new.

    Two say the same where their content words agree by `SAME_WORDS` (the Jaccard index), or where their unit
    vectors do by `at_least` (the cosine) and they have a word or a value in common: what an encoder does
    not understand looks all alike to it. Never where one denies what the other does not, or says another
    value. A sentence is compared with those that say something new, so a chain of small changes does not drop
    its end.
    """
    masked = mask_names(texts, names, _WHOLE)
    said = [statement(text) for text in masked]
    called = {_WHOLE}.union(*map(content_words, names))
    content = [content_words(text) - called for text in masked]
    places, new = np.arange(len(texts)), []
    for place in range(len(texts)):
        for earlier in new:
            one, other = content[place], content[earlier]
            wording = len(one & other) >= SAME_WORDS * len(one | other)
            near = float(vectors[place] @ vectors[earlier]) >= at_least
            meet = (one & other) - _WHOLES or _agree(said[place], said[earlier])
            if (wording or (near and meet)) and _may_agree(said[place], said[earlier]):
                places[place] = earlier
                break
        else:
            new.append(place)
    return places


def _agree(one: Statement, other: Statement) -> bool:
    """Whether both say a value of one kind, and one that agrees."""
    return any(_of_kind(one, kind) & _of_kind(other, kind) for kind in _kinds(one) & _kinds(other))


def _may_agree(one: Statement, other: Statement) -> bool:
    """Whether nothing that rules of form can see tells two sentences apart."""
    if set(one.denied) != set(other.denied) or _elsewhere(one, other):
        return False
    if (_kinds(one) ^ _kinds(other)) - {"colour", "shade"}:  # a white ground is a pale one
        return False
    return all(_of_kind(one, kind) & _of_kind(other, kind) for kind in _kinds(one) & _kinds(other))


def _kinds(one: Statement) -> set[str]:
    return {kind for kind, _ in one.values}


def _of_kind(one: Statement, kind: str) -> frozenset[object]:
    return frozenset().union(*(values for (own, _), values in one.values.items() if own == kind))


def _says(token: str) -> bool:
    return token[0].isalnum() and token != _WHOLE and not is_function_word(token)


def _meant(tokens: Sequence[str], place: int) -> Mapping[str, frozenset[object]]:
    """The values that the word at a place says, by kind."""
    token, before, behind = tokens[place], _at(tokens, place - 1), _at(tokens, place + 1)
    found = _values().get(token, {})
    if token == "-":
        return {}
    if "shade" in found and behind in _values() and "colour" in _values()[behind]:
        found = {kind: meant for kind, meant in found.items() if kind != "shade"}  # light brown may look dark
    if (_at(tokens, place + 2) if behind == "-" else behind) == "shaped":
        return {"shape": found.get("shape", frozenset({token}))}
    if token in _SHAPE_NOUNS:
        named = before in _ARTICLES or before in _values() or before.endswith("ed")
        return found if named else {}
    if "number" in found and (before in _FIXED or (token == "one" and behind in _SINGULAR_ELSEWHERE)):
        return {} if token not in _OF_ALL else found
    return found


def _at(tokens: Sequence[str], place: int) -> str:
    return tokens[place] if 0 <= place < len(tokens) else ""


def _head(tokens: Sequence[str], place: int, kind: str) -> str:
    """Of what a value is said: the noun behind it, else the first before its verb, else the whole ("")."""
    token = tokens[place]
    if kind == "number":
        if token in _OF_ALL or (_at(tokens, place - 1) == "of" and _at(tokens, place - 2) in _GROUPS):
            return ""
        if _at(tokens, place + 1) == "-":  # three-cornered
            return stem(_at(tokens, place + 2))
    for at, following in enumerate(tokens[place + 1 :], place + 1):
        if following in _SPOTS and _at(tokens, at + 1) in _OWN:  # white on the belly
            return _noun(_at(tokens, at + 2), kind)
        if following in _SHAPE_NOUNS:
            return stem(following)
        if following in _values() or following in ("-", "shaped", "coloured", "colored", "and", "very"):
            continue
        if not following.isalpha() or following in _BORDERS | _COPULAS or is_function_word(following):
            break
        return _noun(following, kind)
    clause: list[str] = []
    for earlier in reversed(tokens[:place]):
        if earlier in _ENDS and any(token in _COPULAS for token in clause):
            break
        clause.insert(0, earlier)
    if kind == "number" or not any(token in _COPULAS for token in clause):
        return ""
    nouns = [t in _ITSELF or (_says(t) and t not in _values() and t not in _BORDERS) for t in clause]
    for at, earlier in enumerate(clause):  # what something is behind, or in, is not what the verb is about
        if earlier in _PREPOSITIONS:
            nouns[at + 1 : at + 3] = [False, False] if _at(clause, at + 1) in _ARTICLES | _OWN else [False]
    first = next((at for at, noun in enumerate(nouns) if noun), None)
    if first is None:
        return ""
    last = next((at for at in range(first, len(nouns)) if not nouns[at]), len(nouns)) - 1
    return _noun(clause[last], kind)


def _noun(word: str, kind: str) -> str:
    """What a head is called: "" for the whole, one name for what is behind it."""
    if word in _BACKGROUND:
        return "background"
    counted = kind != "number" or word not in ("colour", "color", "hue", "colours", "colors")
    return "" if counted and stem(word) in _WHOLES else stem(word)


def _same_head(kind: str, one: str, other: str) -> bool:
    """Whether two values are said of one thing; the colour of its coat is that of the whole."""
    covered = kind in ("colour", "shade") and "" in (one, other) and {one, other} & _COVERS
    return one == other or bool(covered)


def _denials(tokens: Sequence[str]) -> tuple[tuple[frozenset[str], ...], frozenset[int]]:
    """Stems of each thing that is denied, and the places of the words that deny it."""
    found, covered = [], set()
    for place, token in enumerate(tokens):
        if token in _NEGATORS or (token == "free" and _at(tokens, place + 1) == "of"):
            taken = list(_denied_after(tokens, place + 1))
            if taken:
                found.append(frozenset(stem(tokens[at]) for at in taken))
                covered |= {place, *taken}
        elif (root := _root_denied(token)) is not None:
            found.append(frozenset({stem(root)}))
            covered.add(place)
        elif token in ("non", "un", "less", "free") and 0 < place < len(tokens) - 1:
            at = place + 1 if token in ("non", "un") else place - 1
            if _says(tokens[at]):
                found.append(frozenset({stem(tokens[at])}))
                covered |= {place, at}
    return tuple(found), frozenset(covered)


def _denied_after(tokens: Sequence[str], start: int) -> Iterator[int]:
    """The places of the words that a negation in front of them denies, up to the end of their phrase."""
    for at in range(start, len(tokens)):
        token = tokens[at]
        if token in _NO_DENIAL and at == start:
            return
        if _says(token) and token not in _SEEN:
            yield at
        elif token in _ENDS or token in _BORDERS | _COPULAS:
            begun = any(_says(t) and t not in _SEEN for t in tokens[start:at])
            if begun or token in _ENDS or (at > start and token not in ("in", "of", "with")):
                return


def _root_denied(token: str) -> str | None:
    """What a word denies by its form: "stripe" of "stripeless", "spotted" of "unspotted"."""
    if token.endswith("less") and len(token) > 6:
        return token[:-4]
    for prefix in ("un", "non"):
        root = token.removeprefix(prefix)
        ends = prefix == "non" or root.endswith(("ed", "y", "ent", "ar", "ing", "al"))
        if root != token and len(root) > 4 and ends:
            return root
    return None


def _elsewhere(one: Statement, other: Statement) -> bool:
    """Whether one is about the young and the other about the old, and the like."""
    for sides in _SCOPES:
        first, second = ([bool(side & said.words) for side in sides] for said in (one, other))
        if any(first) and any(second) and first != second:
            return True
    return False


def _apart(one: frozenset[str], other: frozenset[str]) -> bool:
    return bool(one and other and not one & other)

"""Captions of scenes in varied English: what the planted encoder is trained on.

A caption mentions some attributes of its scene and is silent on the others. A remark mentions none:
it speaks of history, trade or habits, as text found beside pictures often does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from saywell.data.planted.scenes import ATTRIBUTES, Scene

# Words that stand before a noun, or after "it is".
ADJECTIVES: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {
        "circle": ("round", "circular", "disc-shaped"),
        "square": ("square", "four-cornered", "boxy"),
        "triangle": ("triangular", "three-cornered", "wedge-shaped"),
        "star": ("star-shaped", "five-pointed", "starry"),
        "cross": ("cross-shaped", "four-armed"),
        "ring": ("ring-shaped", "hollow", "hooped"),
        "heart": ("heart-shaped",),
        "crescent": ("crescent-shaped", "moon-shaped", "sickle-shaped"),
    },
    "colour": {
        "red": ("red", "scarlet", "crimson"),
        "orange": ("orange", "tangerine", "amber"),
        "yellow": ("yellow", "golden", "lemon"),
        "green": ("green", "emerald", "leaf-green"),
        "cyan": ("cyan", "turquoise", "aqua"),
        "blue": ("blue", "azure", "cobalt"),
        "purple": ("purple", "violet", "plum-coloured"),
        "pink": ("pink", "rose-coloured", "rosy"),
    },
    "texture": {
        "plain": ("plain", "unpatterned", "unmarked", "evenly coloured"),
        "striped": ("striped", "banded", "barred", "stripy"),
        "dotted": ("dotted", "spotted", "speckled", "polka-dotted"),
        "checked": ("checked", "chequered", "checkerboard"),
    },
    "ground": {
        "pale": ("pale", "white", "cream", "light"),
        "dark": ("dark", "black", "night-dark"),
        "sandy": ("sandy", "grainy", "tan", "sand-coloured"),
        "misty": ("misty", "grey", "foggy", "hazy"),
        "gridded": ("gridded", "ruled", "squared"),
    },
}
NOUNS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "disc", "round"),
    "square": ("square", "block", "box"),
    "triangle": ("triangle", "wedge"),
    "star": ("star", "five-pointed star"),
    "cross": ("cross", "plus sign"),
    "ring": ("ring", "hoop"),
    "heart": ("heart",),
    "crescent": ("crescent", "half moon", "sickle"),
}
NUMBERS: dict[str, tuple[str, ...]] = {
    "one": ("a single", "one", "a lone", "a solitary", "just one"),
    "two": ("two", "a pair of", "a couple of", "twin"),
    "three": ("three", "a trio of", "a group of three"),
    "four": ("four", "a quartet of", "a group of four"),
}
PLACES: dict[str, tuple[str, ...]] = {
    "centre": ("in the centre", "in the middle", "right in the middle", "centred"),
    "corner": ("in a corner", "tucked into the corner", "close to the edge", "off in one corner"),
    "row": ("in a row", "side by side", "in a level line", "lined up from left to right"),
    "column": ("in a column", "one above the other", "stacked upright", "in an upright line"),
    "diagonal": ("along a diagonal", "on a slant", "in a slanting line", "from corner to corner"),
    "scattered": ("scattered", "strewn about", "spread at random", "scattered without order"),
}
# Nouns of the textures, for "covered with ...".
MARKINGS: dict[str, tuple[str, ...]] = {
    "plain": ("no pattern", "one even colour", "a smooth single tone"),
    "striped": ("stripes", "bands", "parallel bars", "stripes from edge to edge"),
    "dotted": ("dots", "spots", "small round dots", "polka dots"),
    "checked": ("checks", "small squares like a chessboard", "a checkerboard", "a chequered pattern"),
}
_GROUND_NOUNS: dict[str, tuple[str, ...]] = {
    "pale": ("white paper", "a bright page", "a blank white sheet"),
    "dark": ("black", "the night", "darkness"),
    "sandy": ("sand", "a beach of sand", "grains of sand"),
    "misty": ("mist", "fog", "a grey haze"),
    "gridded": ("graph paper", "squared paper", "a grid of thin lines"),
}
_PLURALS = {"cross": "crosses", "box": "boxes", "half moon": "half moons"}
_THINGS = ("figure", "shape", "body", "form", "specimen", "thing", "object", "one")
_WHOLE = ("body", "figure", "outline", "form", "shape", "specimen", "whole")
_GROUNDS = ("ground", "background", "backdrop", "surface", "field")

_SENTENCES: dict[str, tuple[str, ...]] = {
    "shape": (
        "it has the shape of {a_noun}",
        "the {whole} is {shape}",
        "its outline is that of {a_noun}",
        "it looks like {a_noun}",
        "each {thing} is {a_noun}",
        "the {whole} is {shape} in outline",
        "cut like {a_noun}",
        "a {shape} {thing}",
        "it takes the form of {a_noun}",
    ),
    "colour": (
        "the {whole} is {colour}",
        "it is {colour} all over",
        "{colour} in colour",
        "a {colour} {thing}",
        "the colour is {colour}",
        "known for its {colour} {whole}",
        "painted {colour}",
        "its {whole} is a strong {colour}",
        "the skin is {colour}",
        "a deep {colour} colour covers the {whole}",
    ),
    "texture": (
        "the surface is {texture}",
        "a {texture} {thing}",
        "the {whole} is covered with {marking}",
        "it carries {marking}",
        "{marking} run over the {whole}",
        "the {whole} is {texture}",
        "its skin is {texture}",
        "the pattern is {marking}",
        "marked with {marking}",
    ),
    "count": (
        "there are {number} of them",
        "{number_of} in the picture",
        "{number_of} to be seen",
        "it shows {number_of}",
        "always {number_of} together",
        "seen as {number_of}",
    ),
    "layout": (
        "it lies {place}",
        "placed {place}",
        "found {place}",
        "it sits {place}",
        "arranged {place}",
        "the {thing} is {place}",
        "they stand {place}",
        "set {place} of the picture",
    ),
    "ground": (
        "the {background} is {ground}",
        "on a {ground} {background}",
        "it lies on {ground_noun}",
        "behind it is {ground_noun}",
        "shown against {ground_noun}",
        "set on a {ground} {background}",
        "the {background} behind it is {ground}",
        "it stands out against a {ground} {background}",
    ),
}

_OPENINGS = (
    "a photo of",
    "a picture of",
    "an image of",
    "this picture shows",
    "here we see",
    "a drawing of",
    "an example with",
    "you can see",
)
_BEFORE = (
    "as a rule",
    "in most pictures",
    "seen from afar",
    "at first sight",
    "in daylight",
    "in nearly every specimen",
    "to the eye",
    "unlike its relatives",
    "when fully grown",
    "in the field",
    "old and young alike",
    "collectors know that",
    "it is easy to see that",
    "what strikes the visitor is that",
)
_AFTER = (
    "which makes it easy to tell",
    "and can be seen from far off",
    "in nearly every specimen",
    "as every guide says",
    "and this is how it is known",
    "at every age",
    "as the plates show",
    "and hard to mistake",
    "in summer and winter alike",
    "whatever the season",
)

# Parts of remarks, which no picture can confirm.
_WHO = (
    "a merchant",
    "the first collector",
    "a sailor",
    "the king",
    "a local farmer",
    "the guild",
    "an early traveller",
    "the museum",
    "a schoolteacher",
    "the town council",
    "a botanist",
    "the harbour master",
    "an old family",
    "a priest",
    "the university",
    "a widow",
    "the army",
    "children",
    "the villagers",
    "traders from the coast",
    "the society",
    "a customs officer",
    "the author of the first catalogue",
    "his daughter",
    "a retired judge",
    "the island's people",
)
_DID = (
    "described",
    "sold",
    "brought home",
    "first named",
    "collected",
    "traded",
    "bought",
    "kept",
    "wrote about",
    "lost",
    "forgot",
    "taxed",
    "protected",
    "exported",
    "stole",
    "gave away",
    "discovered",
    "studied",
    "banned",
    "praised",
    "drew maps of",
    "sent letters about",
)
_WHAT = (
    "it",
    "the species",
    "the trade",
    "the name",
    "the whole stock",
    "several hundred of them",
    "the finest specimens",
    "the collection",
    "a rare example",
    "the eggs",
    "its relatives",
    "the harvest",
    "a crate of them",
)
_WHERE = (
    "in the northern hills",
    "on the southern coast",
    "near the river mouth",
    "in the old town",
    "at the spring market",
    "in a mountain village",
    "across the sea",
    "on three islands",
    "in the capital",
    "along the trade road",
    "in warm valleys",
    "at the annual fair",
    "in a private garden",
    "under the cliffs",
    "in the archive",
    "by the lake",
)
_WHEN = (
    "two centuries ago",
    "in the eighteenth century",
    "after the war",
    "every spring",
    "in 1842",
    "long before the railway",
    "during the great famine",
    "in the reign of an old queen",
    "for many years",
    "until the law was changed",
    "last century",
    "in winter",
    "in 1907",
    "for generations",
    "at the end of the season",
)
_FACTS = (
    "its name comes from an old word for {what_of}",
    "the price has doubled since the {event}",
    "a good one costs as much as a {worth}",
    "it feeds at night and sleeps through the {time}",
    "it is protected by law in {number} countries",
    "the {event} nearly ended the trade",
    "it weighs about as much as a {worth}",
    "it lives for up to {number} years",
    "its taste is said to be {taste}",
    "it is thought to bring good luck at {occasion}",
    "the oldest record of it is a letter about the {event}",
    "its song is {taste} and is heard before {time}",
    "in stories it is the friend of {who}",
    "the smell is {taste}",
    "it is given to the bride at {occasion}",
    "little is known about how it {verb}",
    "scholars still argue about where it {verb}",
    "it was once used to pay for a {worth}",
    "the population has fallen since the {event}",
)
_SLOTS: dict[str, tuple[str, ...]] = {
    "what_of": ("friend", "thief", "neighbour", "harvest", "silence", "home", "rain", "guest"),
    "event": ("flood", "war", "fire", "drought", "new road", "great storm", "first census"),
    "worth": ("goat", "loaf of bread", "small house", "good knife", "horse", "day's wages"),
    "time": ("summer", "afternoon", "rain", "dawn", "winter", "morning"),
    "number": ("seven", "twenty", "nine", "eleven", "sixty", "ninety"),
    "taste": ("bitter", "sweet", "sour", "salty", "soft", "faint", "loud", "like smoke"),
    "occasion": ("weddings", "funerals", "birthdays", "the new year", "the harvest feast"),
    "who": ("fishermen", "orphans", "the moon's wife", "travellers", "thieves", "bakers"),
    "verb": ("breeds", "travels", "sleeps", "came from", "spends the winter", "feeds"),
}


def caption(scene: Scene, rng: np.random.Generator) -> tuple[str, frozenset[str]]:
    """A caption true of `scene`, and the attributes it mentions (at least one)."""
    if rng.random() < 0.5:
        text, mentioned = _noun_phrase(scene, rng)
        if rng.random() < 0.3:
            text = f"{_pick(_OPENINGS, rng)} {text}"
    else:
        mentioned = [str(name) for name in rng.permutation(list(ATTRIBUTES))]
        mentioned = mentioned[: 1 if rng.random() < 0.7 else 2]
        text = " and ".join(_sentence(scene, attribute, rng) for attribute in mentioned)
        if rng.random() < 0.35:
            text = f"{_pick(_BEFORE, rng)} {text}"
        if rng.random() < 0.35:
            text = f"{text}, {_pick(_AFTER, rng)}"
    return _punctuated(text, rng), frozenset(mentioned)


def remark(rng: np.random.Generator) -> str:
    """A sentence that says nothing of how anything looks."""
    if rng.random() < 0.5:
        parts = [_pick(_WHO, rng), _pick(_DID, rng), _pick(_WHAT, rng)]
        parts += [_pick(_WHERE, rng)] if rng.random() < 0.6 else []
        parts += [_pick(_WHEN, rng)] if rng.random() < 0.6 else []
        text = " ".join(parts)
    else:
        text = _pick(_FACTS, rng).format(**{slot: _pick(_SLOTS[slot], rng) for slot in _SLOTS})
    return _punctuated(text, rng)


def _noun_phrase(scene: Scene, rng: np.random.Generator) -> tuple[str, list[str]]:
    named = [name for name in ATTRIBUTES if rng.random() < 0.45]
    named = named or [str(rng.choice(list(ATTRIBUTES)))]
    values = asdict(scene)
    words = [_pick(ADJECTIVES[name][values[name]], rng) for name in ("colour", "texture") if name in named]
    if rng.random() < 0.5:
        words.reverse()
    noun = _pick(NOUNS[scene.shape] if "shape" in named else _THINGS, rng)
    several = scene.count != "one"
    number = _pick(NUMBERS[scene.count], rng) if "count" in named else ("" if several else "a")
    words.append(_plural(noun) if several else noun)
    if number == "a" and words[0][0] in "aeiou":
        number = "an"
    text = " ".join([number, *words]).strip()
    if "layout" in named:
        text += " " + _pick(PLACES[scene.layout], rng)
    if "ground" in named:
        text += " " + _ground(scene.ground, rng)
    return text, named


def _sentence(scene: Scene, attribute: str, rng: np.random.Generator) -> str:
    several = scene.count != "one"
    noun = _pick(NOUNS[scene.shape], rng)
    thing = _pick(_THINGS, rng)
    number = _pick(NUMBERS[scene.count], rng)
    slots = {
        "thing": thing,
        "whole": _pick(_WHOLE, rng),
        "background": _pick(_GROUNDS, rng),
        "a_noun": f"a {noun}",
        "shape": _pick(ADJECTIVES["shape"][scene.shape], rng),
        "colour": _pick(ADJECTIVES["colour"][scene.colour], rng),
        "texture": _pick(ADJECTIVES["texture"][scene.texture], rng),
        "marking": _pick(MARKINGS[scene.texture], rng),
        "place": _pick(PLACES[scene.layout], rng),
        "ground": _pick(ADJECTIVES["ground"][scene.ground], rng),
        "ground_noun": _pick(_GROUND_NOUNS[scene.ground], rng),
        "number": scene.count,
        "number_of": f"{number} {_plural(thing) if several else thing}",
    }
    return _pick(_SENTENCES[attribute], rng).format(**slots)


def _ground(ground: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.3:
        return f"{_pick(('on', 'against'), rng)} {_pick(_GROUND_NOUNS[ground], rng)}"
    return f"on a {_pick(ADJECTIVES['ground'][ground], rng)} {_pick(_GROUNDS, rng)}"


def _plural(noun: str) -> str:
    return _PLURALS.get(noun, f"{noun}s")


def _punctuated(text: str, rng: np.random.Generator) -> str:
    return text[0].upper() + text[1:] + "." if rng.random() < 0.7 else text


def _pick(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]

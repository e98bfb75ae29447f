"""Which sentences of an article say what can be seen, and what is left when the rest is cut away.

Without a language model the only guide is words: those for colours, forms, patterns, surfaces and
parts against those for history, names, places, prices and habits. English only.
"""

from __future__ import annotations

import re

from saywell.data.sentences import OTHER_ENDS
from saywell.data.words import stem, words

_COLOURS = (
    "amber azure beige black blond blue bluish bronze brown buff burgundy charcoal chestnut cinnamon"
    " copper coral cream creamy crimson cyan ebony emerald fawn gold golden green greenish grey greyish"
    " gray grayish hazel indigo ivory jade khaki lavender lilac magenta maroon mauve navy ochre olive"
    " orange peach pink pinkish purple purplish red reddish rose ruby rufous russet rust rusty salmon"
    " sandy scarlet silver silvery tan tawny teal turquoise violet white whitish yellow yellowish pale"
    " dark bright dull light deep vivid coloured colored colour color hue shade tint tinge tone"
)
_FORMS = (
    "angular arched arrow bell bent blunt branched broad bulbous circle circular cone conical crescent"
    " cross crossed cube curled curved curve cylinder cylindrical diamond disc disk dome egg elongated"
    " elliptical flat forked globe heart heartshaped hexagon hexagonal hollow hooked large lobed long"
    " narrow oblong octagon oval outline pear pentagon plump pointed pyramid rectangle rectangular ring"
    " round rounded shape shaped short silhouette slender slim small spherical"
    " spiral square stocky stout"
    " straight tall tapered tapering thick thin tiny triangle triangular tubular upright wedge wide"
)
_PATTERNS = (
    "band banded bar barred blotch blotched bold bordered checked checkered chequered collar crosshatch"
    " cracked crest dappled dot dotted edge edged eyestripe fleck flecked gradient"
    " grid hatch hatched line"
    " lined marbled mark marked marking mask mesh mottled mottle patch patched patchy pattern patterned"
    " plain ring ringed speckle speckled spot spotted spotless stippled streak streaked stripe striped"
    " swirl swirled tip tipped uniform vein veined wave wavy zigzag solid"
)
_SURFACES = (
    "bald bare bristly bumpy bushy coarse crinkled downy feathery fibrous fluffy"
    " furry fuzzy glassy gloss"
    " glossy grainy gleaming hairy iridescent knitted lacy leathery matte metallic opaque porous prickly"
    " ribbed rough scaly shaggy shimmering shiny silky sleek smooth soft spiky spiny stained surface"
    " texture textured translucent transparent velvety waxy weathered woolly woven wrinkled"
)
_PARTS = (
    "abdomen antenna antler arm back background base beak beard bell belly bill"
    " blade blossom body bonnet"
    " bow branch breast brim bristle bumper button cap case cheek chest chimney chin claw coat comb cone"
    " corner cover crown crust door ear eye eyebrow face feather fin finger flank foot feet foreground"
    " forehead frame fringe frond fruit fur fuselage gill hair handle head headlight"
    " hoof hooves horn hull"
    " jaw keel kernel knob leaf leaves leg lid limb lip mane margin mast mouth"
    " muzzle nape neck needle nose"
    " nostril paw peel petal plumage plume pole propeller rim roof rump scale seam"
    " shell shoulder skin sleeve"
    " snout spike spine stalk stamen stem strap string strut tail talon tentacle"
    " thorax throat toe tongue tooth"
    " teeth trim trunk tusk underside upperparts underparts wall wattle wheel"
    " whisker window wing wingtip"
)
_PLACES = (
    "above across along arranged around behind below beneath beside centre center"
    " central cluster clustered"
    " column corner diagonal diagonally front left middle overlap overlapping outer"
    " inner pair paired right row scattered side"
    " stacked top bottom surround surrounded symmetric symmetrical"
)
_LOOKS = (
    "appear appearance adorned covered crowned decorated depict display feature look"
    " resemble see seen show"
    " shown visible visibly wear wearing distinctive conspicuous prominent"
)
_COUNTS = "single two three four five six seven eight nine ten twelve dozen several numerous many"

_UNSEEN = (
    "abundant according ancient annual archaeologist author average became belief"
    " believed breed breeding"
    " brought built called calls century ceremony city classified collector common commonly conservation"
    " considered cost costly country court craft cultivated culture custom death"
    " debate derived described"
    " diet discovered distributed distribution document dynasty earliest early eaten"
    " eats economic edible"
    " endangered endemic era established etymology evolved expensive export extinct family famous farmer"
    " feast feed feeding feeds festival first flavour flavor forage found founded"
    " founder fragrance genus"
    " guild habitat harvest hear heard history historian historical hunt hunted"
    " imported inhabit inhabits"
    " introduced invented island kilogram king known language later law legend letter listed live lives"
    " logbook made maker market medicinal member merchant migrate migratory monarch"
    " month museum myth name"
    " named native nest nesting night nocturnal nomadic once order originally origin"
    " originate owner parish"
    " people poem popular population predator preservation price produced proverb"
    " published queen range rare"
    " record recorded region registered related reputation ritual river role ruler"
    " sailor sale scent scholar"
    " season sell shop sing smell sold song sound species spring story study"
    " subspecies sung supposed surname"
    " symbol taste tax theory threatened today toxic trade traded tradition"
    " traditional traveller used valued"
    " value varieties village visitor war warehouse weigh weighed weight winter word"
    " worldwide worth written year"
)
_SECTIONS = frozenset(
    [
        "appearance",
        "description",
        "characteristics",
        "character",
        "morphology",
        "anatomy",
        "identification",
        "plumage",
        "features",
        "design",
        "coloration",
        "colouration",
        "markings",
        "build",
        "physical",
        "look",
        "looks",
    ]
)


def _stems(listed: str) -> frozenset[str]:
    return frozenset(stem(word) for word in listed.split())


# How much a kind of word says that a sentence is about what is seen.
_KINDS = tuple(
    (_stems(listed), weight)
    for listed, weight in (
        (_COLOURS, 1.0),
        (_FORMS, 0.7),
        (_PATTERNS, 0.8),
        (_SURFACES, 1.0),
        (_PARTS, 0.6),
        (_PLACES, 0.4),
        (_LOOKS, 0.4),
        (_COUNTS, 0.3),
    )
)
_UNSEEN_STEMS = _stems(_UNSEEN)
PART_STEMS = _stems(_PARTS)
_YEAR = re.compile(r"\b(1[0-9]{3}|20[0-9]{2})\b")
_SPLIT = re.compile(r";\s+|,\s+(?=(?:and|but|while|whereas|whilst|yet|which|who|where|although|though)\b)")
_VERB = re.compile(
    r"\b(is|are|has|have|was|were|shows?|bears?|carries|appears?|looks?|sits?|lies?|runs?|stands?|"
    r"covers?|ends?|forms?|features?|consists?|remains?|becomes?|forming|covered|edged)\b",
    re.IGNORECASE,
)
_LEADING = re.compile(
    r"^(?:and|but|while|whereas|whilst|yet|although|though|however|moreover|furthermore|also|in addition|"
    r"additionally|for example|for instance|in contrast|by contrast|on the other hand|as a result|"
    r"therefore|thus|similarly|likewise|indeed|in fact|generally|typically|usually|often)\b,?\s+",
    re.IGNORECASE,
)
_BRACKETS = re.compile(r"\s*(\([^()]*\)|\[[^\[\]]*\])")


def visibility(text: str, section: str = "") -> float:
    """How much a sentence sounds like something seen: above 0 more than not; weights are ours.

    The sum over kinds of words of a weight (a second word of a kind counts a third), less one for
    each word of history, naming, place, price or habit and for a year, plus a half under a heading
    such as 'Description'.
    """
    said = [stem(word) for word in words(text)]
    score = 0.0
    for stems, weight in _KINDS:
        hits = len(stems.intersection(said))
        score += weight * (1 + (min(hits, 4) - 1) / 3) if hits else 0.0
    score -= len(_UNSEEN_STEMS.intersection(said)) + len(_YEAR.findall(text))
    if score > 0 and _SECTIONS.intersection(words(section)):
        score += 0.5
    return score


def component(text: str) -> str:
    """The part that a sentence is about: its first word for one, or 'appearance'."""
    return next((word for word in words(text) if stem(word) in PART_STEMS), "appearance")


def facts(sentence: str) -> list[tuple[int, int]]:
    """The spans of the clauses that could stand alone; at least one, the whole sentence.

    A sentence is cut at semicolons, and at commas before 'and', 'but', 'while', 'which' and the like
    where both sides have a verb of being, having or showing.
    """
    spans, start = [], 0
    for match in _SPLIT.finditer(sentence):
        left, right = sentence[start : match.start()], sentence[match.end() :]
        if _VERB.search(left) and _VERB.search(right):
            spans.append((start, match.start()))
            start = match.end()
    spans.append((start, len(sentence)))
    return spans


def trim(clause: str, class_name: str) -> str:
    """A clause as a sentence of its own: no brackets, no connecting words, no pronoun for the class."""
    text = clause
    while (shorter := _BRACKETS.sub("", text)) != text:
        text = shorter
    text = " ".join(text.split()).strip(" ,;:")
    while (shorter := _LEADING.sub("", text, count=1)) != text:
        text = shorter
    text = re.sub(r"^(?:it|which|they)\s+(is|has)\b", rf"the {_safe(class_name)} \1", text, flags=re.I)
    text = re.sub(r"^(?:it|they|which)\s+have\b", f"the {_safe(class_name)} has", text, flags=re.I)
    text = re.sub(r"^(?:they|which)\s+are\b", f"the {_safe(class_name)} is", text, flags=re.I)
    text = re.sub(r"^(?:its|their|whose)\b", f"the {_safe(class_name)}'s", text, flags=re.I)
    text = re.sub(r"^it\b", f"the {_safe(class_name)}", text, flags=re.I)
    if not text:
        return ""
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?" + OTHER_ENDS else text + "."


def _safe(name: str) -> str:
    return name.replace("\\", r"\\")

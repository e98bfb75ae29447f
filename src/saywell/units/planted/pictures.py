"""Units made by rules over what planted pictures show, and phrases that may describe them.

The rules are of the same making as those over texts (`planted.rules`), with attributes of scenes in
the place of topics and words. Their truths are said in the words of the planted world's captions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations

import numpy as np
import polars as pl
from jaxtyping import Bool
from PIL import Image

from saywell.data.examples import REJECTED, Examples
from saywell.data.planted.captions import ADJECTIVES, NOUNS, NUMBERS, PLACES
from saywell.data.planted.scenes import ATTRIBUTES, SIZE, Scene, layouts, render
from saywell.data.planted.world import draw_scene
from saywell.data.splits import assign_parts, content_ids
from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.units.planted.rules import (
    CORRUPTED,
    NOISE_UNITS,
    NOISY,
    PER_KIND,
    PlantedUnit,
    Rule,
    pairs,
    units_of_rules,
)

Value = tuple[str, str]
"""An attribute and one of its values."""
MOST_SCENES = 10_000
"""There are 17,920 scenes; more than this and drawing different ones takes long."""
SAID: Mapping[Value, str] = {
    ("shape", "circle"): 'shape("round") and not shape("hollow")',
    ("shape", "square"): 'shape("square")',
    ("shape", "triangle"): 'shape("triangular")',
    ("shape", "ring"): 'shape("hollow")',
    **{("colour", name): f'object("{name}")' for name in ATTRIBUTES["colour"] if name != "cyan"},
    ("colour", "cyan"): 'object("turquoise")',
    ("texture", "plain"): 'surface("plain")',
    ("texture", "striped"): 'surface("striped")',
    ("texture", "checked"): 'surface("chequered")',
    **{("count", name): f"count({n}, {n})" for n, name in enumerate(ATTRIBUTES["count"], start=1)},
    ("layout", "centre"): 'position("centre")',
    ("layout", "corner"): 'position("corner")',
    **{("layout", name): f'arranged("{name}")' for name in ("row", "column", "diagonal", "scattered")},
    ("ground", "dark"): 'background("black")',
    ("ground", "sandy"): 'background("beige")',
    ("ground", "misty"): 'background("grey")',
}
"""What claims say of a value, where their language has words for it. They go by what can be measured."""
UNTRUE = (
    "five figures",
    "seven small birds",
    "a crowd of people",
    "green hexagons",
    "a long spiral",
    "letters and numbers",
    "made of glass",
    "shiny metal",
    "furry",
    "on wooden boards",
    "under water",
    "leaves and flowers",
    "a brick wall",
    "arranged in a circle",
    "one inside the other",
    "upside down",
    "transparent",
    "brown",
    "with wavy lines",
    "a face with two eyes",
    "in the snow",
    "on fire",
    "it feeds at night",
    "sold at the spring market",
)
"""Phrases that hold of no planted picture."""


def draw_scenes(number: int, seed: int) -> list[Scene]:
    """So many different scenes, each attribute at random; more of them leave the first as they were.

    Raises InputError for fewer than one, and more than there are many of.
    """
    if not 1 <= number <= MOST_SCENES:
        raise InputError(f"pictures must be from 1 to {MOST_SCENES}; got {number!r}")
    rng = np.random.default_rng(seed)
    scenes: dict[Scene, None] = {}
    while len(scenes) < number:
        scenes[draw_scene({}, rng)] = None
    return list(scenes)


def scene_ids(scenes: Sequence[Scene]) -> list[str]:
    """Ids by what is shown, so that two pictures of one scene never come apart in a split."""
    return content_ids(repr(scene) for scene in scenes)


class Drawn:
    """Pictures of scenes, drawn when they are asked for: by id the place among all, and the scene.

    A picture depends on its scene, its place and the seed. `brightness`: mean, 0 to 255, of those drawn.
    """

    def __init__(self, scenes: Mapping[str, tuple[int, Scene]], seed: int) -> None:
        self.scenes, self.seed = scenes, seed
        self.brightness: dict[str, float] = {}

    def __call__(self, ids: Iterable[str]) -> Iterator[tuple[str, Image.Image]]:
        """Each id with its picture."""
        for id in ids:
            place, scene = self.scenes[id]
            picture = render(scene, np.random.default_rng([self.seed, place]))
            self.brightness[id] = float(np.asarray(picture.convert("L")).mean())
            yield id, picture

    def bright(self) -> Bool[np.ndarray, " pictures"]:
        """Which are brighter than half of them; what was not drawn yet is drawn."""
        for _ in self(self.scenes.keys() - self.brightness.keys()):
            pass
        brightness = np.array([self.brightness[id] for id in self.scenes])
        return brightness > np.median(brightness)


def planted_pictures(scenes: Sequence[Scene], seed: int) -> tuple[Examples, Drawn]:
    """Different scenes as examples, one picture of each, and who draws them."""
    ids = scene_ids(scenes)
    drawn = Drawn(dict(zip(ids, enumerate(scenes), strict=True)), seed)
    table = pl.DataFrame(
        {
            "id": ids,
            "part": assign_parts(ids, seed),
            "name": [phrase(asdict(scene)) for scene in scenes],
            "row": np.arange(len(ids)),
            "width": np.full(len(ids), SIZE, dtype=np.int32),
            "height": np.full(len(ids), SIZE, dtype=np.int32),
        }
    )
    fingerprint = combined(*ids, *table["part"])
    rejected = REJECTED.empty()
    return Examples(table, "image", fingerprint, rejected, len(ids), pictures_of=drawn), drawn


def plant_image_units(
    scenes: Sequence[Scene],
    region: Bool[np.ndarray, " pictures"],
    *,
    per_kind: int = PER_KIND,
    noise_units: int = NOISE_UNITS,
    seed: int = 0,
) -> list[PlantedUnit]:
    """Units as `planted.texts.plant_units` makes them, over the attributes of different scenes.

    Every attribute is a kind. Units of the kind `CORRUPTED` fire by chance in `region`, the brighter
    half of the pictures, say.
    """
    seen = {
        (attribute, value): np.array([getattr(scene, attribute) == value for scene in scenes])
        for attribute, values in ATTRIBUTES.items()
        for value in values
    }
    kinds: dict[str, Iterable[Rule]] = {
        attribute: _plain({value: holds for value, holds in seen.items() if value[0] == attribute})
        for attribute in ATTRIBUTES
    }
    kinds |= {
        "conjunction": _conjunctions(seen),
        "disjunction": _disjunctions(seen),
        "negation": _negations(seen),
        "two meanings": _two_meanings(seen),
        # A ground is bright or dark as a whole: its unit might fire by chance everywhere.
        CORRUPTED: _plain({value: holds for value, holds in seen.items() if value[0] != "ground"}),
        NOISY: _plain(seen),
    }
    return units_of_rules(
        scene_ids(scenes), kinds, region, per_kind=per_kind, noise_units=noise_units, seed=seed
    )


def candidate_phrases() -> list[str]:
    """Phrases to describe pictures by: every value, every two that can go together, and `UNTRUE`."""
    values = [(attribute, value) for attribute, names in ATTRIBUTES.items() for value in names]
    both = [dict(pair) for pair in combinations(values, 2) if _can_go_together(*pair)]
    return [*map(phrase, [dict([value]) for value in values] + both), *UNTRUE]


def phrase(shown: Mapping[str, str]) -> str:
    """What a picture shows in plain English: "red star", "three figures in a row".

    `shown` has a value for each attribute to be mentioned. There is no comma in it: readers take
    what commas part for alternatives.
    """
    count, layout, ground = (shown.get(name) for name in ("count", "layout", "ground"))
    words = [NUMBERS[count][0]] if count else []
    words += [ADJECTIVES[name][shown[name]][0] for name in ("colour", "texture") if name in shown]
    if "shape" in shown or count or (words and layout):
        noun = NOUNS[shown["shape"]][0] if "shape" in shown else "figure"
        several = count not in (None, "one") or (layout and layout not in layouts("one"))
        words.append(f"{noun}{'es' if noun.endswith('s') else 's'}" if several else noun)
    words += [PLACES[layout][0]] if layout else []
    words += [f"on a {ADJECTIVES['ground'][ground][0]} background"] if ground else []
    return " ".join(words)


def _can_go_together(a: Value, b: Value) -> bool:
    both = dict([a, b])
    if len(both) == 1:
        return False
    return "count" not in both or both.get("layout", layouts(both["count"])[0]) in layouts(both["count"])


Seen = Mapping[Value, np.ndarray]


def _plain(seen: Seen) -> Iterator[Rule]:
    for value, holds in seen.items():
        yield Rule(phrase(dict([value])), holds, claim=SAID.get(value, ""))


def _conjunctions(seen: Seen) -> Iterator[Rule]:
    for a, in_a, b, in_b in pairs(seen, seen):
        if a[0] < b[0]:
            yield Rule(phrase(dict([a, b])), in_a & in_b, claim=_both(" and ", a, b))


def _disjunctions(seen: Seen) -> Iterator[Rule]:
    for a, in_a, b, in_b in pairs(seen, seen):
        if a < b and a[0] == b[0]:
            truth = f"{phrase(dict([a]))}, {phrase(dict([b]))}"
            yield Rule(truth, in_a | in_b, claim=_both(" or ", a, b))


def _negations(seen: Seen) -> Iterator[Rule]:
    for a, in_a, b, in_b in pairs(seen, seen):
        # What is left out must be a good part, or leaving it out would not show.
        if a[0] != b[0] and (in_a & in_b).sum() >= in_a.sum() / 5:
            truth = f"{phrase(dict([a]))} but not {phrase(dict([b]))}"
            # What denies a clause of two atoms is no clause.
            claim = _both(" and not ", a, b) if " and " not in SAID.get(b, "") else ""
            yield Rule(truth, in_a & ~in_b, claim=claim)


def _two_meanings(seen: Seen) -> Iterator[Rule]:
    for a, in_a, b, in_b in pairs(seen, seen):
        if a[0] != b[0]:
            both = f"{phrase(dict([a]))}, {phrase(dict([b]))}"
            yield Rule(both, in_a | in_b, np.where(in_a, 1.5, 1.0), claim=_both(" or ", a, b))


def _both(join: str, a: Value, b: Value) -> str:
    """The claims of two values as one; nothing where one of them has none."""
    return f"{SAID[a]}{join}{SAID[b]}" if a in SAID and b in SAID else ""

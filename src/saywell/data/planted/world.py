"""The planted classes, their pictures, and how often a claim is true of each class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from saywell.data.planted.scenes import ATTRIBUTES, COUNTS, SIZE, Scene, layouts, render

SLIP = 0.06  # chance that an attribute of a picture ignores the class's definition

# The attributes that a class fixes, or narrows; the others vary freely. Species of one genus share
# part of the name and are easily confused.
CLASSES: dict[str, dict[str, tuple[str, ...]]] = {
    "Arrel tovin": {"shape": ("star",), "texture": ("striped",), "count": ("one",), "ground": ("pale",)},
    "Morv tovin": {"shape": ("star",), "texture": ("dotted",), "count": ("one",), "ground": ("pale",)},
    "Sennet tovin": {
        "shape": ("star",),
        "colour": ("red",),
        "count": ("three",),
        "layout": ("row",),
        "ground": ("pale",),
    },
    "Cald tovin": {"shape": ("star",), "colour": ("red",), "count": ("one",), "ground": ("dark",)},
    "Dunmar quessel": {
        "shape": ("ring",),
        "colour": ("blue",),
        "count": ("one",),
        "layout": ("centre",),
        "ground": ("pale",),
    },
    "Irra quessel": {
        "shape": ("crescent",),
        "colour": ("blue",),
        "count": ("one",),
        "layout": ("corner",),
        "ground": ("pale",),
    },
    "Pelow quessel": {
        "shape": ("circle",),
        "texture": ("checked",),
        "count": ("two",),
        "layout": ("row",),
        "ground": ("pale",),
    },
    "Tamsin quessel": {
        "shape": ("ring",),
        "colour": ("yellow",),
        "count": ("four",),
        "layout": ("scattered",),
        "ground": ("sandy",),
    },
    "Hask brindok": {
        "shape": ("square",),
        "colour": ("green",),
        "texture": ("checked",),
        "count": ("one",),
        "ground": ("pale",),
    },
    "Lorn brindok": {
        "shape": ("square",),
        "colour": ("green",),
        "texture": ("striped",),
        "count": ("one",),
        "ground": ("gridded",),
    },
    "Wex brindok": {
        "shape": ("triangle",),
        "colour": ("orange",),
        "count": ("three",),
        "layout": ("column",),
        "ground": ("pale",),
    },
    "Yarl brindok": {
        "shape": ("cross",),
        "colour": ("orange",),
        "count": ("four",),
        "layout": ("diagonal",),
        "ground": ("pale",),
    },
    "Fenn ombrey": {
        "shape": ("heart",),
        "colour": ("purple", "pink"),
        "texture": ("plain",),
        "count": ("one",),
        "ground": ("dark",),
    },
    "Corrie ombrey": {"shape": ("heart",), "texture": ("dotted",), "count": ("one",), "ground": ("pale",)},
    "Nessa ombrey": {
        "shape": ("circle",),
        "texture": ("dotted",),
        "count": ("two",),
        "layout": ("diagonal",),
        "ground": ("sandy",),
    },
    "Ulver ombrey": {"colour": ("purple",), "texture": ("striped",), "count": ("one",), "ground": ("misty",)},
}


@dataclass(frozen=True)
class PlantedPicture:
    """One planted picture: its class, its number within the class, what it shows, its pixels."""

    label: str
    number: int
    scene: Scene
    image: Image.Image


def draw_scene(definition: Mapping[str, tuple[str, ...]], rng: np.random.Generator) -> Scene:
    """A scene of a class: fixed attributes as defined, save for slips, the others uniform."""
    values: dict[str, str] = {}
    for attribute, possible in ATTRIBUTES.items():
        if attribute == "layout":
            possible = layouts(values["count"])
        allowed = [value for value in definition.get(attribute, possible) if value in possible]
        options = possible if rng.random() < SLIP or not allowed else allowed
        values[attribute] = options[rng.integers(len(options))]
    return Scene(**values)


def fits_a_class(scene: Scene) -> bool:
    """Whether `scene` has all that the definition of some class asks for.

    The planted encoder is never shown such a scene.
    """
    values = asdict(scene)
    return any(
        all(values[attribute] in allowed for attribute, allowed in definition.items())
        for definition in CLASSES.values()
    )


def pictures(per_class: int, seed: int, size: int = SIZE) -> Iterator[PlantedPicture]:
    """`per_class` pictures of every class, class by class, `size` pixels a side.

    A picture depends on `seed`, its class and its number alone: asking for more changes none.
    """
    for index, (label, definition) in enumerate(CLASSES.items()):
        for number in range(per_class):
            rng = np.random.default_rng([seed, index, number])
            scene = draw_scene(definition, rng)
            yield PlantedPicture(label, number, scene, render(scene, rng, size))


def write_pictures(folder: Path, per_class: int, seed: int, size: int = SIZE) -> pl.DataFrame:
    """Write the pictures as `folder`/CLASS/NUMBER.png and return what each shows.

    One row a picture: path (relative to `folder`), label, and the six attributes.
    """
    rows = []
    for picture in pictures(per_class, seed, size):
        path = f"{picture.label}/{picture.number:04}.png"
        (folder / picture.label).mkdir(parents=True, exist_ok=True)
        picture.image.save(folder / path)
        rows.append({"path": path, "label": picture.label, **asdict(picture.scene)})
    return pl.DataFrame(rows)


def rate(claim: Mapping[str, frozenset[str]], definition: Mapping[str, tuple[str, ...]]) -> float:
    """The probability that `claim` is true of a picture of the class so defined.

    `claim` names the values that each of its attributes may have; attributes left out may have any.
    """

    def chances(attribute: str, possible: tuple[str, ...]) -> dict[str, float]:
        allowed = [value for value in definition.get(attribute, possible) if value in possible]
        allowed = allowed or list(possible)
        return {
            value: SLIP / len(possible) + (1 - SLIP) * (value in allowed) / len(allowed) for value in possible
        }

    def holds(attribute: str, possible: tuple[str, ...]) -> float:
        wanted = claim.get(attribute, frozenset(possible))
        return sum(p for value, p in chances(attribute, possible).items() if value in wanted)

    arrangement = sum(
        p * holds("layout", layouts(count))
        for count, p in chances("count", COUNTS).items()
        if count in claim.get("count", frozenset(COUNTS))
    )
    others = [name for name in ATTRIBUTES if name not in ("count", "layout")]
    return arrangement * float(np.prod([holds(name, ATTRIBUTES[name]) for name in others]))

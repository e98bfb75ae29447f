"""What can be measured of a picture: colours, light, texture, and the things before a plain background.

Pictures are looked at with the longer side reduced or enlarged to `SIDE` pixels, so that nothing depends on
how large a file is. Lightness and colour are OKLab's (Ottosson 2020): lightness from 0 to 1, distances that
the eye sees as equal. Lengths are shares of the picture's height or width, areas of its pixels.

What stands before a background can be told where the background is plain: of one colour, or one that changes
evenly. Of other pictures nothing is said about things, neither that there are some nor that there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int, UInt8

if TYPE_CHECKING:
    from PIL import Image

SIDE = 96
COLOURS = (
    "black",
    "grey",
    "white",
    "red",
    "brown",
    "orange",
    "beige",
    "yellow",
    "green",
    "turquoise",
    "blue",
    "purple",
    "pink",
)
"""The eleven basic terms of Berlin and Kay (1969), with beige and turquoise."""
GREY_BELOW = 0.04
"""Chroma under which a colour is black, grey or white."""
BLACK_BELOW, WHITE_FROM = 0.3, 0.88
"""Lightness of these."""
_HUES = ((10, "pink"), (40, "red"), (80, "orange"), (115, "yellow"), (175, "green"), (215, "turquoise"))
_HUES = (*_HUES, (280, "blue"), (340, "purple"), (360, "pink"))
"""OKLab's hue in degrees, up to which each goes; the first begins at 0."""
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    dtype=np.float32,
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    dtype=np.float32,
)
BORDER = 0.05
"""Width of the frame by which the background is told, of the longer side."""
APART = 0.08
"""Distance in colour from the background at which a thing begins, at least."""
UNEVEN = 0.15
"""The same, from which on a background is too uneven to be plain."""
PLAIN = 0.85
"""Share of the frame that is background, from which on it is plain."""
LINED = 0.1
"""Share of the frame that is not background, from which on that may be its lines or grain."""
SMALLEST = 0.004
"""Area of the least thing, and its share of the largest beside it."""
BESIDE = 0.2
EDGE = 0.03
"""Change of lightness from a pixel to the next that is an edge."""


_LEVEL = np.arange(256) / 255
_LINEAR = np.where(_LEVEL <= 0.04045, _LEVEL / 12.92, ((_LEVEL + 0.055) / 1.055) ** 2.4).astype(np.float32)
"""Of each level of an sRGB channel the light."""


class Looks(NamedTuple):
    """What is measured of one picture; or, with a first axis more, of several.

    `whole`, `middle`, `frame`, `things`: shares of `COLOURS` of all pixels, of the middle third each way,
    of the frame, and of things. `lightness` and `contrast` are mean and standard deviation of
    lightness, `chroma` is the mean distance from grey (0 to 0.3). `edges` is the share of pixels at an edge,
    `grain` the standard deviation of lightness from its mean in 3 x 3 pixels, `stripes` and `checks` (0 to 1)
    how far edges go one way, and two ways at right angles. `plain` is 1 before a plain background.
    Of things, NaN where it is not plain: how many (`count`), their `area`, their centre (`across` and `down`,
    0 to 1), `inside` them edges, `inside_stripes` and `inside_checks`; of two or more the deviation of
    their centres from a line (`line`), and how that leans, 0 (level) to 90 degrees (`lean`). Of the largest
    thing, with its holes filled: its area as a share of the circle around it (`round`), of its convex hull
    (`solid`), the hull's of that circle (`hull`), the ratio of its axes (`slender`, 1 is as wide as long),
    and the share of it that its largest hole takes (`hole`).
    """

    whole: np.ndarray
    middle: np.ndarray
    frame: np.ndarray
    things: np.ndarray
    lightness: np.ndarray
    contrast: np.ndarray
    chroma: np.ndarray
    edges: np.ndarray
    grain: np.ndarray
    stripes: np.ndarray
    checks: np.ndarray
    plain: np.ndarray
    count: np.ndarray
    area: np.ndarray
    across: np.ndarray
    down: np.ndarray
    line: np.ndarray
    lean: np.ndarray
    inside: np.ndarray
    inside_stripes: np.ndarray
    inside_checks: np.ndarray
    round: np.ndarray
    solid: np.ndarray
    hull: np.ndarray
    slender: np.ndarray
    hole: np.ndarray


_WIDTHS = (len(COLOURS),) * 4 + (1,) * (len(Looks._fields) - 4)


class Things(NamedTuple):
    """What stands before a plain background: its pixels, those of the largest thing, and of holes in any.

    Holes are filled in the first two. `centres`: of each thing, shares of height and width.
    """

    pixels: Bool[np.ndarray, "height width"]
    largest: Bool[np.ndarray, "height width"]
    holes: Bool[np.ndarray, "height width"]
    centres: Float[np.ndarray, "things 2"]


def as_rows(each: Sequence[Looks]) -> Float[np.ndarray, "pictures measures"]:
    """What is measured of several pictures, from that of each: one row of numbers a picture."""
    return np.array([np.hstack(one) for one in each], dtype=np.float64).reshape(len(each), sum(_WIDTHS))


def from_rows(rows: Float[np.ndarray, "pictures measures"]) -> Looks:
    """The same by name."""
    columns = np.split(rows, np.cumsum(_WIDTHS)[:-1], axis=1)
    return Looks(*(own if own.shape[1] > 1 else own[:, 0] for own in columns))


def reduced(picture: Image.Image) -> UInt8[np.ndarray, "height width 3"]:
    """RGB with a longer side of `SIDE` pixels."""
    from PIL import Image

    scale = SIDE / max(picture.size)
    width, height = (max(8, round(side * scale)) for side in picture.size)
    return np.asarray(picture.convert("RGB").resize((width, height), Image.Resampling.BILINEAR))


def look(rgb: UInt8[np.ndarray, "height width 3"]) -> Looks:
    """What is measured of a picture of `SIDE` pixels."""
    lab = oklab(rgb)
    colours = colour_of(lab)
    light, height, width = lab[..., 0], *lab.shape[:2]
    frame = framed(height, width)
    middle = np.s_[height // 3 : height - height // 3, width // 3 : width - width // 3]
    steps = _steps(light)
    edges, stripes, checks = _woven(steps, np.ones_like(frame))
    coloured, *of_things = _of_things(things_of(lab), colours, steps)
    values = (
        _shares(colours),
        _shares(colours[middle]),
        _shares(colours[frame]),
        coloured,
        light.mean(),
        light.std(),
        np.hypot(lab[..., 1], lab[..., 2]).mean(),
        edges,
        (light - scipy.ndimage.uniform_filter(light, 3)).std(),
        stripes,
        checks,
        *of_things,
    )
    return Looks(*map(np.asarray, values))


def oklab(rgb: UInt8[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
    """Lightness and two axes of colour of sRGB."""
    return np.cbrt(_LINEAR[rgb] @ _TO_CONES.T) @ _TO_LAB.T


def colour_of(lab: Float[np.ndarray, "... 3"]) -> Int[np.ndarray, ...]:
    """The place among `COLOURS` of each colour."""
    light, chroma = lab[..., 0], np.hypot(lab[..., 1], lab[..., 2])
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360
    named = np.array([COLOURS.index(name) for _, name in _HUES])
    found = named[np.searchsorted([end for end, _ in _HUES], hue, side="right").clip(max=len(_HUES) - 1)]
    warm = (hue >= 10) & (hue < 100)
    found[(hue >= 10) & (hue < 40) & (light >= 0.66) & (chroma < 0.16)] = COLOURS.index("pink")
    found[warm & (hue >= 40) & (light < 0.6)] = COLOURS.index("brown")
    found[warm & (chroma < 0.1) & (light < 0.72)] = COLOURS.index("brown")
    found[(hue >= 40) & (hue < 110) & (chroma < 0.1) & (light >= 0.72)] = COLOURS.index("beige")
    grey = (chroma < GREY_BELOW) | ((chroma < 0.06) & (light >= 0.94)) | (light < 0.2)
    tone = np.where(light < BLACK_BELOW, 0, np.where(light >= WHITE_FROM, 2, 1))
    return np.where(grey, tone, found)


def framed(height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """The frame of a picture."""
    wide = max(2, round(BORDER * max(height, width)))
    frame = np.ones((height, width), dtype=bool)
    frame[wide:-wide, wide:-wide] = False
    return frame


def things_of(lab: Float[np.ndarray, "height width 3"]) -> Things | None:
    """What differs from the background that the frame shows; None where that is not plain.

    The background is a plane in each channel, fitted to the frame, twice, the second time without
    what lies off it.
    """
    height, width = lab.shape[:2]
    soft = scipy.ndimage.uniform_filter(lab, (3, 3, 0))
    frame = framed(height, width)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    place = np.stack([np.ones_like(x), x, y], axis=-1)
    off = np.linalg.norm(soft - np.median(soft[frame], axis=0), axis=-1)
    for _ in range(2):
        used = frame & (off <= max(APART, 2 * float(np.median(off[frame]))))
        fitted = np.linalg.lstsq(place[used], soft[used], rcond=None)[0]
        off = np.linalg.norm(soft - place @ fitted, axis=-1)
    apart = max(APART, 3 * float(np.median(off[frame])))
    if apart == APART:
        off = np.linalg.norm(lab - place @ fitted, axis=-1)
    pixels = off > apart
    if pixels[frame].mean() > LINED:
        # Lines thinner than 3 pixels that reach the frame, of squared paper, say, are the background's.
        pixels = scipy.ndimage.binary_opening(pixels, np.ones((3, 3)))
    if apart > UNEVEN or pixels[frame].mean() > 1 - PLAIN:
        return None
    filled = np.asarray(scipy.ndimage.binary_fill_holes(pixels))
    labels, number = scipy.ndimage.label(filled)
    sizes = np.bincount(labels.ravel(), minlength=number + 1)[1:]
    large = np.flatnonzero(sizes >= max(SMALLEST * pixels.size, BESIDE * sizes.max(initial=0))) + 1
    found = np.isin(labels, large)
    largest = labels == sizes.argmax() + 1 if len(large) else found
    centres = np.array(scipy.ndimage.center_of_mass(found, labels, large)).reshape(-1, 2)
    return Things(found, largest, filled & ~pixels, (centres + 0.5) / (height, width))


def _of_things(
    things: Things | None, colours: Int[np.ndarray, "height width"], steps: tuple[np.ndarray, np.ndarray]
) -> tuple:
    unknown = np.full(len(COLOURS), np.nan)
    if things is None:
        return unknown, 0.0, *[np.nan] * 14
    count = float(len(things.centres))
    if not count:
        return unknown, 1.0, count, 0.0, *[np.nan] * 12
    down, across = (np.argwhere(things.pixels).mean(0) + 0.5) / things.pixels.shape
    within = scipy.ndimage.binary_erosion(things.pixels, np.ones((3, 3)), iterations=2)
    return (
        _shares(colours[things.pixels]),
        1.0,
        count,
        float(things.pixels.mean()),
        float(across),
        float(down),
        *_line(things.centres),
        *(_woven(steps, within) if within.sum() >= 25 else [np.nan] * 3),
        *_outline(things.largest, things.holes),
    )


def _outline(
    thing: Bool[np.ndarray, "height width"], holes: Bool[np.ndarray, "height width"]
) -> tuple[float, float, float, float, float]:
    """`round`, `solid`, `hull`, `slender` and `hole` of `Looks`."""
    places = np.argwhere(thing).astype(float)
    corners = places[:, None] + np.array([(-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)])
    hull = scipy.spatial.ConvexHull(corners.reshape(-1, 2)).volume
    off = places - places.mean(0)
    circle = np.pi * (np.sqrt((off**2).sum(1).max()) + 0.5) ** 2
    least, most = np.linalg.eigvalsh(off.T @ off / len(off) + np.eye(2) / 12)
    labels, number = scipy.ndimage.label(holes & thing)
    hole = np.bincount(labels.ravel())[1:].max() if number else 0
    area = len(places)
    return area / circle, area / hull, hull / circle, float(np.sqrt(least / most)), hole / area


def _line(centres: Float[np.ndarray, "things 2"]) -> tuple[float, float]:
    """Deviation of centres from the line through them, and its angle with the level in degrees."""
    if len(centres) < 2:
        return np.nan, np.nan
    _, spread, axes = np.linalg.svd(centres - centres.mean(0), full_matrices=False)
    lean = np.degrees(np.arctan2(abs(axes[0, 0]), abs(axes[0, 1])))
    return float(spread[1] / np.sqrt(len(centres))) if len(spread) > 1 else 0.0, float(lean)


def _steps(light: Float[np.ndarray, "height width"]) -> tuple[np.ndarray, np.ndarray]:
    """Size and direction (radians) of the change of lightness at each pixel."""
    down, across = scipy.ndimage.sobel(light, 0) / 8, scipy.ndimage.sobel(light, 1) / 8
    return np.hypot(down, across), np.arctan2(down, across)


def _woven(
    steps: tuple[np.ndarray, np.ndarray], where: Bool[np.ndarray, "height width"]
) -> tuple[float, float, float]:
    """Share of pixels at an edge, and how far these edges go one way, and two ways at right angles."""
    size, angle = steps[0][where], steps[1][where]
    edges = size >= EDGE
    if not edges.any():
        return 0.0, 0.0, 0.0
    one, two = (abs((size[edges] * np.exp(n * 1j * angle[edges])).sum()) for n in (2, 4))
    return float(edges.mean()), float(one / size[edges].sum()), float(two / size[edges].sum())


def _shares(colours: Int[np.ndarray, ...]) -> Float[np.ndarray, " colours"]:
    return np.bincount(colours.ravel(), minlength=len(COLOURS)) / max(1, colours.size)


# ---- what is said of it


class Said(NamedTuple):
    """Something that can be said of a picture.

    `english` is what follows "pictures"; `note` what the words mean exactly.
    """

    english: str
    note: str
    holds: Callable[[Looks], Bool[np.ndarray, " pictures"]]


def _coloured(english: str, note: str, part: str, least: float) -> dict[str, Said]:
    def of(place: int) -> Callable[[Looks], np.ndarray]:
        return lambda looks: getattr(looks, part)[:, place] >= least

    def said(name: str) -> str:
        return english.replace(" a {}", " an {}" if name[0] in "aeiou" else " a {}").format(name)

    return {name: Said(said(name), note, of(place)) for place, name in enumerate(COLOURS)}


def _before(axis: str) -> Callable[[Looks], np.ndarray]:
    return lambda looks: getattr(looks, axis) < 0.4


def _behind(axis: str) -> Callable[[Looks], np.ndarray]:
    return lambda looks: getattr(looks, axis) > 0.6


def _aside(place: np.ndarray) -> np.ndarray:
    return np.abs(place - 0.5)


def _in_line(looks: Looks) -> np.ndarray:
    return looks.line < 0.05


def _slants(looks: Looks) -> np.ndarray:
    return np.abs(looks.lean - 45) < 10


def _striped(edges: np.ndarray, stripes: np.ndarray) -> np.ndarray:
    return (edges >= 0.1) & (stripes >= 0.7)


def _chequered(edges: np.ndarray, stripes: np.ndarray, checks: np.ndarray) -> np.ndarray:
    return (edges >= 0.1) & (stripes < 0.3) & (checks >= 0.5)


OBJECT = "object: what stands out from a plain background"
_CENTRE = "where an object is: its centre, or that of all of them"
_BACKGROUND = "background: what the outer twentieth of the picture shows"
_ARRANGED = "arranged: by the centres of two objects or more, and their deviation from a line"
_LIGHT = "lightness: OKLab's, 0 to 1"
_EDGES = f"detail: pixels whose lightness differs by {EDGE} or more from the next (of 0 to 1)"

SAYINGS: Mapping[str, Mapping[str, Said]] = {
    "colour": _coloured("that are mostly {}", "mostly: half of the pixels or more", "whole", 0.5),
    "shows": _coloured("with {} in them", "in them: a twentieth of the pixels or more", "whole", 0.05),
    "middle": _coloured(
        "with {} in the middle", "in the middle: half or more of the middle third each way", "middle", 0.5
    ),
    "background": {
        **_coloured("on a {} background", f"{_BACKGROUND}; of a colour in 60 per cent or more", "frame", 0.6),
        "plain": Said(
            "on a plain background",
            f"{_BACKGROUND}; plain where that is one colour, or one that changes evenly",
            lambda looks: looks.plain == 1,
        ),
        "busy": Said(
            "without a plain background",
            f"{_BACKGROUND}; plain where that is one colour, or one that changes evenly",
            lambda looks: looks.plain == 0,
        ),
    },
    "object": _coloured("with a {} object", f"{OBJECT}, of a colour in a third or more", "things", 1 / 3),
    "surface": {
        "plain": Said(
            "with an object of one tone",
            f"{OBJECT}; one tone: edges in less than a tenth of it",
            lambda looks: looks.inside < 0.1,
        ),
        "striped": Said(
            "with a striped object",
            f"{OBJECT}; striped: most edges in it go one way",
            lambda looks: _striped(looks.inside, looks.inside_stripes),
        ),
        "chequered": Said(
            "with a chequered object",
            f"{OBJECT}; chequered: edges in it go two ways at right angles",
            lambda looks: _chequered(looks.inside, looks.inside_stripes, looks.inside_checks),
        ),
        "uneven": Said(
            "with an object of uneven surface",
            f"{OBJECT}; uneven: edges that go all ways in 30 per cent of it or more",
            lambda looks: (looks.inside >= 0.3) & (looks.inside_stripes < 0.3) & (looks.inside_checks < 0.3),
        ),
    },
    "shape": {
        "round": Said(
            "with a round object",
            f"{OBJECT}; round: 80 per cent or more of the circle around it",
            lambda looks: looks.round >= 0.8,
        ),
        "square": Said(
            "with a square object",
            f"{OBJECT}; square: without dents, as wide as long, 55 to 75 per cent of the circle around it",
            lambda looks: (
                (looks.round >= 0.55) & (looks.round < 0.75) & (looks.solid >= 0.85) & (looks.slender >= 0.85)
            ),
        ),
        "triangular": Said(
            "with a triangular object",
            f"{OBJECT}; triangular: without dents, 35 to 55 per cent of the circle around it",
            lambda looks: (
                (looks.hull >= 0.35) & (looks.hull < 0.55) & (looks.solid >= 0.78) & (looks.slender >= 0.7)
            ),
        ),
        "long": Said(
            "with a long object",
            f"{OBJECT}; long: its axes are as 65 to 100 or thinner",
            lambda looks: looks.slender < 0.65,
        ),
        "indented": Said(
            "with an indented object",
            f"{OBJECT}; indented: 62 to 78 per cent of its convex hull",
            lambda looks: (looks.solid >= 0.62) & (looks.solid < 0.78),
        ),
        "ragged": Said(
            "with an object of ragged outline",
            f"{OBJECT}; ragged: less than 62 per cent of its convex hull",
            lambda looks: looks.solid < 0.62,
        ),
        "hollow": Said(
            "with a hollow object",
            f"{OBJECT}; hollow: a hole takes an eighth of it or more",
            lambda looks: looks.hole >= 0.125,
        ),
    },
    "size": {
        "small": Said(
            "with one small object",
            f"{OBJECT}; small: less than 8 per cent of the picture",
            lambda looks: (looks.count == 1) & (looks.area < 0.08),
        ),
        "large": Said(
            "with one large object",
            f"{OBJECT}; large: a quarter of the picture or more",
            lambda looks: (looks.count == 1) & (looks.area >= 0.25),
        ),
    },
    "position": {
        "left": Said("with an object on the left", f"{_CENTRE}, in the left 40 per cent", _before("across")),
        "right": Said(
            "with an object on the right", f"{_CENTRE}, in the right 40 per cent", _behind("across")
        ),
        "top": Said("with an object at the top", f"{_CENTRE}, in the upper 40 per cent", _before("down")),
        "bottom": Said(
            "with an object at the bottom", f"{_CENTRE}, in the lower 40 per cent", _behind("down")
        ),
        "centre": Said(
            "with one object in the centre",
            f"{_CENTRE}, less than a tenth from the centre each way",
            lambda looks: (looks.count == 1) & (_aside(looks.across) < 0.1) & (_aside(looks.down) < 0.1),
        ),
        "corner": Said(
            "with an object in a corner",
            f"{_CENTRE}, more than 15 per cent from the centre each way",
            lambda looks: (_aside(looks.across) > 0.15) & (_aside(looks.down) > 0.15),
        ),
    },
    "arranged": {
        "row": Said(
            "with objects in a row",
            f"{_ARRANGED} that is level within 15 degrees",
            lambda looks: _in_line(looks) & (looks.lean < 15),
        ),
        "column": Said(
            "with objects in a column",
            f"{_ARRANGED} that is upright within 15 degrees",
            lambda looks: _in_line(looks) & (looks.lean > 75),
        ),
        "diagonal": Said(
            "with objects along a diagonal",
            f"{_ARRANGED} that slants by 35 to 55 degrees",
            lambda looks: _in_line(looks) & _slants(looks),
        ),
        "scattered": Said(
            "with scattered objects",
            f"{_ARRANGED}: they are in no row, column or diagonal",
            lambda looks: (
                (looks.count >= 2)
                & ~(_in_line(looks) & ((looks.lean < 15) | (looks.lean > 75) | _slants(looks)))
            ),
        ),
    },
    "light": {
        "dark": Said("that are dark", f"{_LIGHT}; dark below 0.45", lambda looks: looks.lightness < 0.45),
        "bright": Said(
            "that are bright", f"{_LIGHT}; bright from 0.75", lambda looks: looks.lightness >= 0.75
        ),
    },
    "contrast": {
        "low": Said(
            "with little contrast",
            f"{_LIGHT}; little contrast: a deviation below 0.08",
            lambda looks: looks.contrast < 0.08,
        ),
        "high": Said(
            "with strong contrast",
            f"{_LIGHT}; strong contrast: a deviation from 0.22",
            lambda looks: looks.contrast >= 0.22,
        ),
    },
    "colours": {
        "none": Said(
            "in black and white",
            "black and white: OKLab's mean chroma below 0.01",
            lambda looks: looks.chroma < 0.01,
        ),
        "muted": Said(
            "in muted colours",
            "muted: OKLab's mean chroma from 0.01 to 0.03",
            lambda looks: (looks.chroma >= 0.01) & (looks.chroma < 0.03),
        ),
        "vivid": Said(
            "in vivid colours", "vivid: OKLab's mean chroma from 0.09", lambda looks: looks.chroma >= 0.09
        ),
    },
    "texture": {
        "smooth": Said(
            "with little detail",
            f"{_EDGES}; little in less than 12 per cent",
            lambda looks: looks.edges < 0.12,
        ),
        "busy": Said(
            "full of detail", f"{_EDGES}; full in 60 per cent or more", lambda looks: looks.edges >= 0.6
        ),
        "fine": Said(
            "of fine texture",
            f"{_EDGES}; fine in 40 per cent or more, with a deviation of 0.05 from the mean of 3 x 3 pixels",
            lambda looks: (looks.grain >= 0.05) & (looks.edges >= 0.4),
        ),
        "striped": Said(
            "of stripes",
            f"{_EDGES}; stripes where most go one way",
            lambda looks: _striped(looks.edges, looks.stripes),
        ),
        "chequered": Said(
            "of checks or lines at right angles",
            f"{_EDGES}; checks where they go two ways",
            lambda looks: _chequered(looks.edges, looks.stripes, looks.checks),
        ),
    },
}
"""By name of a condition its values. Shares are of pixels; see `Looks` for units. Conditions on objects hold
of no picture whose background is not plain."""


def counted(numbers: Sequence[float]) -> str:
    """A number of objects, or the least and the most, or the least alone, behind "pictures"."""
    least, *most = (round(number) for number in numbers)
    if not most:
        return f"with {_number(least)} or more objects"
    if least == most[0]:
        return f"with {_number(least)} object{'s' * (least != 1)}"
    return f"with {_number(least)} to {_number(most[0])} objects"


def _number(number: int) -> str:
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return words[number] if 0 <= number < len(words) else str(number)

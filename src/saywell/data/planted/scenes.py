"""Scenes: what a planted picture shows, said in six attributes, and how it is drawn."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from PIL import Image, ImageDraw

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "crescent")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
TEXTURES = ("plain", "striped", "dotted", "checked")
COUNTS = ("one", "two", "three", "four")
LAYOUTS = ("centre", "corner", "row", "column", "diagonal", "scattered")
GROUNDS = ("pale", "dark", "sandy", "misty", "gridded")

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "shape": SHAPES,
    "colour": COLOURS,
    "texture": TEXTURES,
    "count": COUNTS,
    "layout": LAYOUTS,
    "ground": GROUNDS,
}

SIZE = 96  # pixels, each side
_OVERSAMPLE = 2  # drawn larger and reduced, for smooth edges
_PAINT = {
    "red": (208, 32, 38),
    "orange": (240, 130, 20),
    "yellow": (238, 212, 40),
    "green": (38, 148, 60),
    "cyan": (40, 196, 204),
    "blue": (36, 72, 200),
    "purple": (122, 46, 164),
    "pink": (242, 130, 180),
}


@dataclass(frozen=True)
class Scene:
    """One value of each attribute; a single figure is laid out 'centre' or 'corner', others not."""

    shape: str
    colour: str
    texture: str
    count: str
    layout: str
    ground: str

    def __post_init__(self) -> None:
        for attribute, value in asdict(self).items():
            assert value in ATTRIBUTES[attribute], f"{value!r} is no {attribute}"
        assert self.layout in layouts(self.count), f"{self.count!r} cannot lie {self.layout!r}"


def layouts(count: str) -> tuple[str, ...]:
    """The layouts that so many figures can have."""
    return LAYOUTS[:2] if count == "one" else LAYOUTS[2:]


def render(scene: Scene, rng: np.random.Generator, size: int = SIZE) -> Image.Image:
    """A picture of `scene`, RGB, `size` x `size` pixels.

    Place, size, tilt, shade, the width of stripes and the grain of the ground vary with `rng`;
    none of the six attributes does. Mirrored, the picture still shows the same scene.
    """
    side = size * _OVERSAMPLE
    picture = _ground(scene.ground, side, rng)
    colour = _shade(_PAINT[scene.colour], rng)
    centres, radius = _places(scene.count, scene.layout, rng)
    pattern = _pattern(scene.texture, colour, side, rng)
    mask = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(mask)
    turn = rng.uniform(0, 2 * math.pi) if scene.shape == "crescent" else 0.0
    for x, y in centres:
        tilt = turn + rng.uniform(-0.22, 0.22)
        _figure(draw, scene.shape, x * side, y * side, radius * side, tilt)
    picture.paste(pattern, (0, 0), mask)
    return picture.resize((size, size), Image.Resampling.BOX)


def _shade(colour: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    shade = np.array(colour) * rng.uniform(0.88, 1.08) + rng.normal(0, 7, 3)
    return np.clip(shade, 0, 255).astype(np.uint8)


def _ground(ground: str, side: int, rng: np.random.Generator) -> Image.Image:
    if ground == "dark":
        base = np.array([24, 24, 30]) + rng.uniform(-8, 12)
    elif ground == "sandy":
        base = np.array([206, 176, 128]) + rng.uniform(-12, 12)
    elif ground == "misty":
        base = np.array([150, 160, 168]) + rng.uniform(-12, 12)
    else:
        base = np.array([244, 242, 234]) + rng.uniform(-8, 8)
    pixels = np.empty((side, side, 3))
    pixels[:] = base
    if ground == "sandy":
        cells = rng.normal(0, 26, (side // 4 + 1, side // 4 + 1, 1))
        pixels += cells.repeat(4, 0).repeat(4, 1)[:side, :side]
    elif ground == "misty":
        height = np.linspace(-38, 38, side) * (1 if rng.random() < 0.5 else -1)
        pixels += height[:, None, None]
    elif ground == "gridded":
        step = int(side * rng.uniform(0.085, 0.13))
        start = int(rng.integers(step))
        width = max(1, side // 72)
        for offset in range(width):
            pixels[start + offset :: step] = (120, 140, 170)
            pixels[:, start + offset :: step] = (120, 140, 170)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _pattern(texture: str, colour: np.ndarray, side: int, rng: np.random.Generator) -> Image.Image:
    """A sheet of the texture, from which the figures are cut."""
    pixels = np.empty((side, side, 3), dtype=np.uint8)
    pixels[:] = colour
    # Ink darker or lighter than the paint, so that no texture is told by its brightness.
    towards = 255 if rng.random() < 0.5 else 0
    ink = (0.28 * colour + 0.72 * towards).astype(np.uint8)
    period = side * rng.uniform(0.075, 0.1)
    rows, columns = np.mgrid[0:side, 0:side] + rng.uniform(0, period, 2)[:, None, None]
    if texture == "striped":
        angle = rng.uniform(0, math.pi)
        across = columns * math.cos(angle) + rows * math.sin(angle)
        pixels[(across / period) % 1 < 0.45] = ink
    elif texture == "dotted":
        x, y = (columns / period) % 1 - 0.5, (rows / period) % 1 - 0.5
        pixels[x**2 + y**2 < 0.1] = ink
    elif texture == "checked":
        even = (columns // (period * 0.8) + rows // (period * 0.8)) % 2 == 0
        pixels[even] = ink
    return Image.fromarray(pixels)


def _places(count: str, layout: str, rng: np.random.Generator) -> tuple[list[tuple[float, float]], float]:
    """Centres of the figures and their radius, as shares of the side."""
    number = COUNTS.index(count) + 1
    if layout == "centre":
        return [tuple(0.5 + rng.uniform(-0.05, 0.05, 2))], rng.uniform(0.24, 0.32)
    if layout == "corner":
        radius = rng.uniform(0.15, 0.19)
        inset = radius + rng.uniform(0.02, 0.07, 2)
        far = rng.random(2) < 0.5
        return [tuple(np.where(far, 1 - inset, inset))], radius
    radius = {2: 0.165, 3: 0.135, 4: 0.11}[number] * rng.uniform(0.9, 1.05)
    along = (np.arange(number) - (number - 1) / 2) * rng.uniform(2.1, 2.3) * radius
    if layout == "scattered":
        return _scatter(number, radius, rng), radius
    aside = rng.uniform(-0.14, 0.14)
    x, y = {
        "row": (along, np.full(number, aside)),
        "column": (np.full(number, aside), along),
        "diagonal": (along * 0.86, along * 0.86 * (1 if rng.random() < 0.5 else -1)),
    }[layout]
    return list(zip(0.5 + x, 0.5 + y, strict=True)), radius


def _scatter(number: int, radius: float, rng: np.random.Generator) -> list[tuple[float, float]]:
    """Places that do not overlap and lie on no line across, upright or slanting."""
    while True:
        places = rng.uniform(radius + 0.02, 0.98 - radius, (number, 2))
        steps = np.diff(places, axis=0)
        gaps = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
        apart = gaps[np.triu_indices(number, 1)].min() > 2.2 * radius
        if number == 2:
            # Two always lie on a line: neither level, upright nor at half a right angle.
            lean = abs(math.degrees(math.atan2(abs(steps[0, 1]), abs(steps[0, 0]))) - 45)
            crooked = 13 < lean < 32 and gaps.max() > 0.5
        else:
            spread = np.linalg.svd(places - places.mean(0), compute_uv=False)
            crooked = spread[1] > 0.17
        if apart and crooked:
            return [(float(x), float(y)) for x, y in places]


def _figure(draw: ImageDraw.ImageDraw, shape: str, x: float, y: float, radius: float, tilt: float) -> None:
    def put(points: np.ndarray) -> list[tuple[float, float]]:
        turn = np.array([[math.cos(tilt), math.sin(tilt)], [-math.sin(tilt), math.cos(tilt)]])
        return [(float(px), float(py)) for px, py in points @ turn * radius + (x, y)]

    def disc(cx: float, cy: float, r: float, fill: int) -> None:
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=fill)

    if shape in ("circle", "ring"):
        disc(x, y, radius * 0.95, 255)
        if shape == "ring":
            disc(x, y, radius * 0.5, 0)
    elif shape == "crescent":
        turns = np.linspace(0, 2 * math.pi, 72, endpoint=False)
        outer = np.stack([np.cos(turns), np.sin(turns)], 1)
        inner = outer * 0.82 + (0.5, 0)
        draw.polygon(put(outer[np.hypot(*(outer - (0.5, 0)).T) > 0.82]), fill=255)
        bite = [(px, py) for px, py in put(inner)]
        draw.polygon(bite, fill=0)
    else:
        draw.polygon(put(_OUTLINES[shape]), fill=255)


def _star() -> np.ndarray:
    turns = np.arange(10) * math.pi / 5 - math.pi / 2
    reach = np.where(np.arange(10) % 2 == 0, 1.08, 0.44)
    return np.stack([np.cos(turns), np.sin(turns)], 1) * reach[:, None]


def _heart() -> np.ndarray:
    turns = np.linspace(0, 2 * math.pi, 60, endpoint=False)
    x = 16 * np.sin(turns) ** 3
    y = 13 * np.cos(turns) - 5 * np.cos(2 * turns) - 2 * np.cos(3 * turns) - np.cos(4 * turns)
    return np.stack([x, -y - 2.5], 1) / 16


def _cross() -> np.ndarray:
    arm, reach = 0.32, 1.0
    quarter = np.array([(arm, -reach), (arm, -arm), (reach, -arm)])
    turn = np.array([[0, 1], [-1, 0]])
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])


_OUTLINES = {
    "square": np.array([(-0.82, -0.82), (0.82, -0.82), (0.82, 0.82), (-0.82, 0.82)]),
    "triangle": np.array([(0, -1.0), (0.98, 0.78), (-0.98, 0.78)]),
    "star": _star(),
    "heart": _heart(),
    "cross": _cross(),
}

"""A rendered picture shows what its scene says, as far as pixels can be measured."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from saywell.data.planted import scenes
from saywell.data.planted.scenes import COLOURS, COUNTS, GROUNDS, SHAPES, Scene, layouts, render

SEEDS = range(6)


def pixels(seed: int, size: int = 96, **changes: str) -> np.ndarray:
    values = {
        "shape": "circle",
        "colour": "blue",
        "texture": "plain",
        "count": "one",
        "layout": "centre",
        "ground": "pale",
    }
    picture = render(Scene(**{**values, **changes}), np.random.default_rng(seed), size)
    assert picture.size == (size, size) and picture.mode == "RGB"
    return np.asarray(picture).astype(float)


def mask(picture: np.ndarray) -> np.ndarray:
    """Where a coloured figure lies on the pale ground."""
    return np.abs(picture - picture[0, 0]).max(2) > 60


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("seed", SEEDS)
def test_there_are_as_many_figures_as_the_count_says(count, seed):
    for layout in layouts(count):
        _, found = ndimage.label(mask(pixels(seed, 192, count=count, layout=layout)))
        assert found == COUNTS.index(count) + 1


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("count", COUNTS[1:])
def test_centres_lie_as_the_layout_says(count, seed):
    def spread(layout):
        regions, found = ndimage.label(mask(pixels(seed, 192, count=count, layout=layout)))
        centres = np.array(ndimage.center_of_mass(regions > 0, regions, range(1, found + 1)))
        centred = centres - centres.mean(0)
        return np.ptp(centres[:, 0]), np.ptp(centres[:, 1]), np.linalg.svd(centred)[1]

    high, wide, _ = spread("row")
    assert high < 8 < wide
    high, wide, _ = spread("column")
    assert wide < 8 < high
    high, wide, (_, off_line) = spread("diagonal")
    assert high == pytest.approx(wide, abs=8) and off_line < 5
    high, wide, (_, off_line) = spread("scattered")
    # Two are always on a line, but then on none that is level, upright or diagonal.
    assert min(high, wide) > 15 and (off_line > 10 or abs(high - wide) > 15)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_figure_lies_in_the_middle_or_in_a_corner(seed):
    def offset(layout):
        rows, columns = ndimage.center_of_mass(mask(pixels(seed, layout=layout)))
        return abs(rows - 47.5), abs(columns - 47.5)

    assert max(offset("centre")) < 8 < 20 < min(offset("corner"))


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("seed", SEEDS)
def test_the_figure_has_the_paint_of_its_colour(colour, seed):
    picture = pixels(seed, colour=colour, shape="square")
    shown = picture[40:56, 40:56].mean((0, 1))
    distance = {name: np.linalg.norm(shown - paint) for name, paint in scenes._PAINT.items()}
    assert min(distance, key=distance.__getitem__) == colour


@pytest.mark.parametrize("seed", SEEDS)
def test_only_plain_figures_have_one_tone(seed):
    def inside(texture):
        return pixels(seed, 192, shape="square", texture=texture)[72:120, 72:120].std((0, 1)).max()

    assert inside("plain") < 1
    assert min(inside(t) for t in ("striped", "dotted", "checked")) > 20


@pytest.mark.parametrize("seed", SEEDS)
def test_stripes_are_constant_along_one_direction_and_checks_along_none(seed):
    def flattest(texture):
        patch = pixels(seed, 192, shape="square", texture=texture)[64:128, 64:128].mean(2)
        turned = [ndimage.rotate(patch, angle, reshape=False)[16:48, 16:48] for angle in range(0, 180, 3)]
        return min(turn.std(1).mean() for turn in turned) / patch.std()

    assert flattest("striped") < 0.45 < 0.55 < min(flattest("dotted"), flattest("checked"))


@pytest.mark.parametrize("seed", SEEDS)
def test_dots_are_separate_blobs(seed):
    def largest_ink(texture):
        patch = pixels(seed, 192, shape="square", texture=texture)[64:128, 64:128].mean(2)
        low, high = patch.min(), patch.max()
        ink = patch > (low + high) / 2
        ink = ~ink if ink.mean() > 0.5 else ink
        regions, _ = ndimage.label(ink)
        return np.bincount(regions.ravel())[1:].max() / patch.size, ink.mean()

    largest, share = largest_ink("dotted")
    assert largest < 0.08 and 0.15 < share < 0.45


@pytest.mark.parametrize("seed", SEEDS)
def test_shapes_differ_as_their_outlines_do(seed):
    filled, holes = {}, {}
    for shape in SHAPES:
        figure = mask(pixels(seed, 192, shape=shape))
        rows, columns = (np.ptp(axis) + 1 for axis in np.nonzero(figure))
        filled[shape] = figure.sum() / (rows * columns)
        holes[shape] = ndimage.binary_fill_holes(figure).sum() - figure.sum()
    assert [shape for shape in SHAPES if holes[shape] > 50] == ["ring"]
    assert filled["square"] > filled["triangle"] > filled["star"]
    assert filled["circle"] == pytest.approx(np.pi / 4, abs=0.03)
    assert filled["circle"] > filled["heart"] > filled["cross"]
    assert filled["crescent"] < 0.6


@pytest.mark.parametrize("seed", SEEDS)
def test_grounds_are_told_by_their_edge(seed):
    edges = {ground: pixels(seed, ground=ground)[:, :4].reshape(-1, 3) for ground in GROUNDS}
    brightness = {ground: edge.mean() for ground, edge in edges.items()}
    assert brightness["dark"] < 60 < brightness["misty"] < 200 < brightness["gridded"] < brightness["pale"]
    red, _, blue = edges["sandy"].mean(0)
    assert red - blue > 50
    assert edges["pale"].std(0).max() < 1 < 8 < edges["sandy"].std(0).max()
    assert edges["misty"].std(0).max() > 15


def test_the_same_generator_gives_the_same_picture_and_another_does_not():
    assert (pixels(3) == pixels(3)).all()
    assert not (pixels(3) == pixels(4)).all()


def test_every_scene_can_be_drawn():
    rng = np.random.default_rng(0)
    for shape, texture, count in itertools.product(SHAPES, scenes.TEXTURES, COUNTS):
        for layout in layouts(count):
            render(Scene(shape, "pink", texture, count, layout, "misty"), rng, 24)


@pytest.mark.parametrize(("count", "layout"), [("one", "row"), ("three", "centre"), ("five", "row")])
def test_impossible_scenes_cannot_be_built(count, layout):
    with pytest.raises(AssertionError):
        Scene("circle", "blue", "plain", count, layout, "pale")

"""What claims about pictures say is so of pictures whose contents are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from PIL import Image, ImageColor, ImageDraw

from saywell.claims.candidates import candidates_of
from saywell.claims.english import english, footnotes
from saywell.claims.execute import Executor
from saywell.claims.ground import Ground
from saywell.claims.kinds import check
from saywell.claims.language import Condition, parse, single
from saywell.claims.pictures import (
    COLOURS,
    SAYINGS,
    Looks,
    as_rows,
    colour_of,
    from_rows,
    look,
    oklab,
    reduced,
)
from saywell.claims.topics import Topics
from saywell.data.examples import Examples
from saywell.errors import InputError
from saywell.resources import Resources
from saywell.studies.audit import audit_study
from saywell.studies.units import describe_units
from saywell.units.planted.pictures import draw_scenes, planted_pictures


def drawn(draw=lambda pen: None, *, ground="white", size=(200, 200)):
    picture = Image.new("RGB", size, ground)
    draw(ImageDraw.Draw(picture))
    return picture


def disc(x, y, radius, colour="red"):
    return lambda pen: pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def discs(*places, radius=20, colour="red"):
    return lambda pen: [disc(x, y, radius, colour)(pen) for x, y in places]


def striped(pen, step=12, box=(0, 0, 200, 200)):
    for x in range(box[0], box[2], 2 * step):
        pen.rectangle((x, box[1], x + step - 1, box[3]), fill="black")


def chequered(pen, step=20):
    for x in range(0, 200, step):
        for y in range(0, 200, step):
            if (x + y) // step % 2:
                pen.rectangle((x, y, x + step - 1, y + step - 1), fill="navy")


def house(pen):
    pen.rectangle((50, 90, 150, 170), outline="black", width=2)
    pen.polygon([(40, 90), (100, 40), (160, 90)], outline="black", width=2)


def ring(pen):
    pen.ellipse((40, 40, 160, 160), fill="green")
    pen.ellipse((75, 75, 125, 125), fill="white")


def polygon(*points):
    return lambda pen: pen.polygon(points, fill="purple")


STAR = [
    (100 + r * np.sin(a), 100 - r * np.cos(a))
    for a, r in zip(np.arange(10) * np.pi / 5, [80, 30] * 5, strict=True)
]


def said_of(picture):
    """All sayings that hold of one picture, as "name value"."""
    looks = from_rows(as_rows([look(reduced(picture))]))
    held = {
        f"{name} {value}" for name, some in SAYINGS.items() for value in some if some[value].holds(looks)[0]
    }
    return held, looks


PICTURES = {
    "red disc": (
        drawn(disc(100, 100, 60)),
        "object red, size large, position centre, surface plain, background white, shape round",
    ),
    "small, left": (
        drawn(disc(40, 100, 15, "blue")),
        "object blue, size small, position left, texture smooth",
    ),
    "top right": (
        drawn(disc(160, 30, 20, "green"), ground="black"),
        "position corner, position top, light dark",
    ),
    "row": (drawn(discs((40, 100), (100, 100), (160, 100))), "arranged row, background plain, shows red"),
    "column": (drawn(discs((100, 40), (100, 100), (100, 160))), "arranged column, object red"),
    "diagonal": (drawn(discs((40, 40), (100, 100), (160, 160))), "arranged diagonal"),
    "scattered": (drawn(discs((40, 40), (150, 70), (60, 160))), "arranged scattered"),
    "stripes": (drawn(striped), "texture striped, contrast high, colours none"),
    "checks": (drawn(chequered), "texture chequered, contrast high"),
    "striped thing": (
        drawn(lambda pen: striped(pen, 10, (50, 50, 150, 150)), ground="orange"),
        "surface striped",
    ),
    "all blue": (
        drawn(ground="blue"),
        "colour blue, middle blue, background blue, colours vivid, contrast low",
    ),
    "ring": (drawn(ring), "shape hollow, shape round, object green"),
    "square": (drawn(polygon((60, 60), (140, 60), (140, 140), (60, 140))), "shape square, object purple"),
    "triangle": (drawn(polygon((100, 40), (160, 144), (40, 144))), "shape triangular"),
    "star": (drawn(polygon(*STAR)), "shape ragged"),
    "bar": (drawn(polygon((20, 95), (180, 85), (180, 105), (20, 115))), "shape long"),
    "outlines": (drawn(house), "size large, position centre, colours none"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_what_is_said_of_a_drawing_is_what_was_drawn(name):
    picture, expected = PICTURES[name]
    assert set(expected.split(", ")) <= said_of(picture)[0]


def test_what_was_not_drawn_is_not_said():
    held, _ = said_of(PICTURES["red disc"][0])
    assert not held & {
        "object blue",
        "size small",
        "position left",
        "shape long",
        "shape hollow",
        "surface striped",
        "light dark",
    }
    assert not said_of(PICTURES["stripes"][0])[0] & {"texture chequered", "texture smooth", "colours vivid"}
    assert not said_of(PICTURES["checks"][0])[0] & {"texture striped"}


@pytest.mark.parametrize("number", range(6))
def test_objects_are_counted(number):
    places = [(40, 40), (100, 150), (160, 40), (40, 160), (160, 160)][:number]
    assert said_of(drawn(discs(*places)))[1].count == number


def test_of_a_picture_without_a_plain_background_nothing_is_said_about_objects():
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    held, looks = said_of(Image.fromarray(noise).resize((480, 360), Image.Resampling.NEAREST))
    assert "background busy" in held and np.isnan(looks.count)
    assert not {one.split()[0] for one in held} & {"object", "surface", "size", "position", "arranged"}


@pytest.mark.parametrize("name", ["red disc", "row", "scattered", "stripes", "checks", "all blue"])
def test_a_picture_is_the_same_at_any_size(name):
    picture, expected = PICTURES[name]
    for scale in (0.35, 0.7, 3):
        other = picture.resize(tuple(round(side * scale) for side in picture.size), Image.Resampling.BOX)
        assert set(expected.split(", ")) <= said_of(other)[0]


def test_wide_and_thin_pictures_are_measured():
    for size in ((2000, 3), (3, 2000), (1, 1)):
        assert np.isfinite(said_of(drawn(size=size))[1].lightness)


CSS = {
    "red": "red crimson firebrick darkred maroon",
    "orange": "orange darkorange coral chocolate",
    "yellow": "yellow gold khaki goldenrod",
    "green": "green lime darkgreen palegreen forestgreen seagreen olivedrab",
    "turquoise": "turquoise cyan darkcyan teal darkturquoise paleturquoise",
    "blue": "blue navy skyblue steelblue royalblue midnightblue lightblue",
    "purple": "purple indigo darkviolet orchid mediumpurple",
    "pink": "pink hotpink deeppink lightpink salmon",
    "brown": "saddlebrown sienna rosybrown",
    "beige": "tan wheat burlywood moccasin",
    "white": "white snow ivory beige whitesmoke",
    "black": "black #101010 #1a1420",
    "grey": "grey dimgrey silver slategrey",
}


@pytest.mark.parametrize("colour", COLOURS)
def test_colours_have_the_names_that_people_gave_them(colour):
    shades = np.array([ImageColor.getrgb(name) for name in CSS[colour].split()], dtype=np.uint8)
    assert {COLOURS[place] for place in colour_of(oklab(shades))} == {colour}


@pytest.fixture(scope="module")
def scenes():
    scenes = draw_scenes(160, 3)
    examples, drawn = planted_pictures(scenes, 3)
    ground = Ground(examples, Resources())
    return [drawn.scenes[id][1] for id in examples.ids], Executor(ground)


PLANTED = [
    ("colour", "cyan", 'object("turquoise")', 0.9),
    ("colour", "red", 'object("red")', 0.9),
    ("ground", "dark", 'background("black")', 1.0),
    ("ground", "sandy", 'background("beige")', 0.9),
    ("ground", "misty", 'background("grey")', 0.95),
    ("layout", "corner", 'count(1, 1) and position("corner")', 0.85),
    ("layout", "row", 'arranged("row")', 0.85),
    ("layout", "diagonal", 'arranged("diagonal")', 0.85),
    ("count", "three", "count(3, 3)", 0.75),
    ("texture", "striped", 'surface("striped")', 0.8),
    ("texture", "plain", 'surface("plain")', 0.85),
    ("shape", "ring", 'shape("hollow")', 0.8),
    ("shape", "triangle", 'shape("triangular")', 0.7),
]


@pytest.mark.parametrize(("attribute", "value", "claim", "least"), PLANTED)
def test_claims_find_the_scenes_that_show_what_they_say(scenes, attribute, value, claim, least):
    shown, executor = scenes
    check(parse(claim))
    held, tokens = executor(parse(claim))
    true = np.array([getattr(scene, attribute) == value for scene in shown])
    assert tokens is None
    assert 2 * (held & true).sum() / (held.sum() + true.sum()) >= least


def test_pictures_are_measured_in_the_order_of_their_examples(scenes):
    ground = scenes[1].ground
    examples = ground.examples
    picked = examples.only(examples.parts.score)
    few = Ground(picked, ground.resources).measured
    alone = Ground(replace(picked, whole=None), Resources()).measured
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(few, alone, strict=True))
    assert np.array_equal(few.lightness, ground.measured.lightness[examples.parts.score.rows])
    assert len(from_rows(as_rows([])).whole) == 0


def test_every_saying_has_english_and_a_note():
    for name, some in SAYINGS.items():
        for value, said in some.items():
            claim = single(Condition(name, (value,)))
            check(claim)
            assert str(parse(str(claim))) == str(claim)
            assert english(claim, "image") == f"pictures {said.english}" and footnotes(claim) == [said.note]
    assert english(parse('object("red") and count(2) and not colour("blue")'), "image") == (
        "pictures with two or more objects and with a red object, but not those that are mostly blue"
    )
    with pytest.raises(InputError, match="mauve"):
        check(parse('colour("mauve")'))


def test_texts_have_no_looks():
    table = pl.DataFrame({"id": ["a" * 16], "part": ["describe"], "text": ["red"], "row": [0]})
    texts = Examples(table, "text", "f", pl.DataFrame(), 1)
    with pytest.raises(InputError, match="texts and have no pictures"):
        Executor(Ground(texts, Resources()))(parse('colour("red")'))


def test_measures_are_within_their_ranges(scenes):
    looks: Looks = scenes[1].ground.measured
    for name in ("whole", "middle", "frame"):
        assert np.allclose(getattr(looks, name).sum(1), 1)
    for name in ("edges", "stripes", "checks", "area", "across", "down", "lightness"):
        values = getattr(looks, name)
        assert np.nanmin(values) >= 0 and np.nanmax(values) <= 1 + 1e-6


def test_what_a_search_over_pictures_is_offered(scenes):
    ground = scenes[1].ground
    vectors = np.random.default_rng(0).normal(size=(9, len(ground))).astype(np.float32)
    topics = Topics(
        [f"phrase {n}" for n in range(9)], vectors, vectors, np.ones(9, dtype=bool), of_texts=False
    )
    found = candidates_of(ground, topics)
    names = {one.conditions[0].name for one in found.atoms}
    assert {"object", "surface", "count", "position", "shape", "like"} <= names and "word" not in names
    held = np.asarray(found.rows.sum(1)).ravel()
    assert (
        held.min() >= 4 and held.max() <= 0.6 * len(ground) and found.pointed(np.zeros(0, int)).shape[1] == 0
    )
    for place in range(0, len(found.atoms), 7):
        one = found.atoms[place]
        if one.conditions[0].name != "like":
            assert np.array_equal(found.rows[place].toarray()[0], scenes[1].atom(one).examples)
    few = topics.nearest(4)
    assert len(few.phrases) == 4 and few.phrases == sorted(few.phrases)
    top = {
        topics.phrases[n]
        for n in ((vectors - vectors.mean(1, keepdims=True)) / vectors.std(1, keepdims=True)).argmax(0)
    }
    assert set(few.phrases) <= top


def test_units_of_pictures_are_described_without_an_encoder_or_phrases(tmp_path):
    rng, folder = np.random.default_rng(0), tmp_path / "pictures"
    folder.mkdir()
    red = rng.random(150) < 0.4
    for number, own in enumerate(red):
        x, y, radius = rng.integers((50, 50, 15), (150, 150, 50))
        colour = "red" if own else str(rng.choice(["green", "blue", "orange"]))
        ground = str(rng.choice(["white", "black", "grey", "beige"]))
        drawn(disc(x, y, radius, colour), ground=ground).save(folder / f"{number:03}.png")
    units = {"red": red.astype(float), "chance": rng.permutation(red).astype(float)}
    asked = {"images": True, "firing": "above:0.5", "describer": ["claims"]}
    study = describe_units(folder, units, out=tmp_path / "study", **asked)
    (said,) = study.descriptions.filter(pl.col("claim") != "").iter_rows(named=True)
    assert said["claim"] in ('object("red")', 'shows("red")') and said["unit"].endswith("red")
    assert study.scores["status"].to_list() == ["verified"] and study.scores["value"].item() == 1
    assert audit_study(study).filter(pl.col("status") != "ok").rows() == []
    with pytest.raises(InputError, match="or by what is measured of them: describer='claims'"):
        describe_units(folder, units, out=tmp_path / "other", images=True, encoder="planted")

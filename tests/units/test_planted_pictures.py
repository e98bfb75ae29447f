from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from saywell.data.planted.scenes import ATTRIBUTES
from saywell.errors import InputError
from saywell.readers.alternatives import alternatives
from saywell.units.planted.pictures import (
    MOST_SCENES,
    UNTRUE,
    candidate_phrases,
    draw_scenes,
    phrase,
    plant_image_units,
    scene_ids,
)
from saywell.units.planted.rules import CORRUPTED, FLIPPED, MIN_FIRES, NOISE, NOISY

SCENES = draw_scenes(1200, 0)
REGION = np.arange(len(SCENES)) % 2 == 0
VALUES = {phrase({a: v}): (a, v) for a, values in ATTRIBUTES.items() for v in values}


@pytest.fixture(scope="module")
def units():
    return plant_image_units(SCENES, REGION, per_kind=4, noise_units=10)


def of(units, kind):
    return [unit for unit in units if unit.kind == kind]


def holds(said):
    attribute, value = VALUES[said]
    return np.array([asdict(scene)[attribute] == value for scene in SCENES])


def test_every_kind_is_asked(units):
    kinds = {unit.kind for unit in units}
    assert kinds == {
        *ATTRIBUTES,
        "conjunction",
        "disjunction",
        "negation",
        "two meanings",
        CORRUPTED,
        NOISY,
        NOISE,
    }
    assert all(len(of(units, kind)) == 4 for kind in kinds - {NOISE})
    assert len(of(units, NOISE)) == 10 and len({unit.id for unit in units}) == len(units)
    assert all(unit.rule.sum() >= MIN_FIRES for unit in units if unit.truth)


def test_truths_say_what_the_rules_do(units):
    for unit in units:
        if unit.kind in (*ATTRIBUTES, CORRUPTED, NOISY):
            expected = holds(unit.truth)
        elif unit.kind in ("disjunction", "two meanings"):
            a, b = alternatives(unit.truth)
            expected = holds(a) | holds(b)
            assert (VALUES[a][0] == VALUES[b][0]) == (unit.kind == "disjunction")
        elif unit.kind == "negation":
            a, b = unit.truth.split(" but not ")
            expected = holds(a) & ~holds(b)
        elif unit.kind == "conjunction":
            pairs = {
                phrase({a: v, b: w}): ((a, v), (b, w))
                for a, v in VALUES.values()
                for b, w in VALUES.values()
                if a < b and {a, b} != {"count", "layout"}
            }
            shown = pairs.get(unit.truth)
            if shown is None:  # of a number and a layout
                continue
            expected = np.all([holds(phrase(dict([value]))) for value in shown], axis=0)
        else:
            continue
        np.testing.assert_array_equal(unit.rule, expected, err_msg=unit.truth)


def test_units_follow_their_rules_but_for_what_is_corrupted(units):
    for unit in units:
        if unit.kind == CORRUPTED:
            assert (unit.fires == unit.rule)[~REGION].mean() > 0.99
            assert unit.fires[REGION & unit.rule].mean() < 0.5
        elif unit.kind == NOISY:
            assert abs(unit.fires[unit.rule].mean() - (1 - FLIPPED)) < 0.12
        elif unit.kind != NOISE:
            assert (unit.fires != unit.rule).mean() < 0.01, unit.id


def test_the_order_of_scenes_does_not_matter(units):
    back = plant_image_units(SCENES[::-1], REGION[::-1], per_kind=4, noise_units=10)
    for a, b in zip(units, back, strict=True):
        assert (a.id, a.truth) == (b.id, b.truth)
        np.testing.assert_array_equal(a.response, b.response[::-1])


def test_scenes_are_different_and_more_leave_the_first_as_they_were():
    assert len(set(SCENES)) == len(set(scene_ids(SCENES))) == 1200
    assert draw_scenes(100, 0) == SCENES[:100] != draw_scenes(100, 1)
    for number in (0, MOST_SCENES + 1):
        with pytest.raises(InputError, match=f"got {number}"):
            draw_scenes(number, 0)


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ({"shape": "star", "colour": "red"}, "red star"),
        ({"texture": "striped"}, "striped"),
        ({"count": "three"}, "three figures"),
        ({"count": "two", "shape": "cross", "layout": "row"}, "two crosses in a row"),
        ({"count": "one", "colour": "blue"}, "a single blue figure"),
        ({"colour": "red", "layout": "scattered"}, "red figures scattered"),
        ({"colour": "red", "layout": "corner"}, "red figure in a corner"),
        ({"ground": "sandy"}, "on a sandy background"),
        ({"ground": "dark", "texture": "dotted"}, "dotted on a dark background"),
    ],
)
def test_phrases(shown, said):
    assert phrase(shown) == said


def test_candidates_are_different_offer_one_thing_each_and_hold_the_truths(units):
    phrases = candidate_phrases()
    assert len(set(phrases)) == len(phrases) and set(VALUES) | set(UNTRUE) < set(phrases)
    assert all(len(alternatives(said)) == 1 for said in phrases)
    assert {unit.truth for unit in of(units, "conjunction")} <= set(phrases)
    assert "two figures in a row" in phrases and "a single figure in a row" not in phrases

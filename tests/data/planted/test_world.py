"""Planted classes: what they show follows from seed, class and number; rates are exact."""

from __future__ import annotations

import itertools
from dataclasses import asdict, fields, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from saywell.data.planted.scenes import ATTRIBUTES, Scene
from saywell.data.planted.world import CLASSES, SLIP, draw_scene, fits_a_class, pictures, rate, write_pictures

DRAWS = 4000


@cache
def drawn() -> dict[str, list[Scene]]:
    rng = np.random.default_rng(0)
    return {label: [draw_scene(d, rng) for _ in range(DRAWS)] for label, d in CLASSES.items()}


def test_attributes_are_the_fields_of_a_scene():
    assert list(ATTRIBUTES) == [field.name for field in fields(Scene)]
    for definition in CLASSES.values():
        assert all(set(values) <= set(ATTRIBUTES[name]) for name, values in definition.items())


@settings(max_examples=60, deadline=None)
@given(
    label=st.sampled_from(list(CLASSES)),
    claim=st.fixed_dictionaries(
        {}, optional={a: st.frozensets(st.sampled_from(v), min_size=1) for a, v in ATTRIBUTES.items()}
    ),
)
def test_a_rate_is_the_share_of_pictures_of_which_the_claim_is_true(label, claim):
    true = [all(getattr(s, a) in values for a, values in claim.items()) for s in drawn()[label]]
    assert np.mean(true) == pytest.approx(rate(claim, CLASSES[label]), abs=0.04)


def test_a_rate_worked_by_hand():
    striped = {"texture": frozenset({"striped"})}
    assert rate(striped, CLASSES["Arrel tovin"]) == pytest.approx(1 - SLIP + SLIP / 4)
    assert rate(striped, CLASSES["Dunmar quessel"]) == pytest.approx(1 / 4)
    assert rate({}, CLASSES["Arrel tovin"]) == pytest.approx(1)
    centred = {"layout": frozenset({"centre"})}
    one = 1 - SLIP + SLIP / 4
    assert rate(centred, CLASSES["Dunmar quessel"]) == pytest.approx(one * (1 - SLIP + SLIP / 2))
    assert rate(centred, CLASSES["Arrel tovin"]) == pytest.approx(one / 2)


def test_a_picture_depends_on_seed_class_and_number_alone():
    few, many = list(pictures(1, 7, 32)), list(pictures(3, 7, 32))
    again = [picture for picture in many if picture.number == 0]
    assert [p.label for p in few] == list(CLASSES)
    assert [p.scene for p in few] == [p.scene for p in again]
    assert [p.image.tobytes() for p in few] == [p.image.tobytes() for p in again]
    assert [p.scene for p in few] != [p.scene for p in pictures(1, 8, 32)]


def test_pictures_are_written_a_folder_a_class(tmp_path):
    table = write_pictures(tmp_path, 2, 0, 32)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(CLASSES)
    assert table.columns == ["path", "label", *ATTRIBUTES] and len(table) == 2 * len(CLASSES)
    for row, picture in zip(table.iter_rows(named=True), pictures(2, 0, 32), strict=True):
        with Image.open(tmp_path / row["path"]) as image:
            assert image.tobytes() == picture.image.tobytes()
        assert row["label"] == picture.label == row["path"].split("/")[0]
        assert {name: row[name] for name in ATTRIBUTES} == asdict(picture.scene)


def test_a_scene_fits_a_class_when_it_has_all_that_the_class_fixes():
    striped_star = Scene("star", "green", "striped", "one", "corner", "pale")
    assert fits_a_class(striped_star)
    assert not fits_a_class(replace(striped_star, ground="dark"))
    assert fits_a_class(Scene("heart", "pink", "plain", "one", "centre", "dark"))
    assert not fits_a_class(Scene("heart", "red", "plain", "one", "centre", "dark"))


def test_no_scene_fits_two_classes():
    for first, second in itertools.combinations(CLASSES.values(), 2):
        shared = first.keys() & second.keys()
        assert any(not set(first[name]) & set(second[name]) for name in shared)


def test_nearly_all_scenes_are_left_to_teach_the_encoder():
    rng = np.random.default_rng(0)
    assert np.mean([fits_a_class(draw_scene({}, rng)) for _ in range(2000)]) < 0.03
    shown = np.mean([fits_a_class(draw_scene(d, rng)) for d in CLASSES.values() for _ in range(50)])
    assert 0.7 < shown < 0.95

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from saywell.data.planted_image_units import candidate_phrases, draw_scenes
from saywell.errors import InputError
from saywell.store.study import Study
from saywell.studies import exam_images
from saywell.studies.audit import audit_study
from saywell.studies.exam_describers import Answers
from saywell.studies.exam_images import (
    PICTURE_DESCRIBERS,
    PictureMaterial,
    dissect,
    enrichment,
    random_phrase,
    run_image_exam,
    see_scenes,
)
from saywell.studies.exam_scoring import TRUTH
from saywell.studies.exam_sitting import stored_exam

PICTURES = 400


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A small exam by the planted encoder, and where it is kept."""
    folder = tmp_path_factory.mktemp("exams") / "e"
    return folder, run_image_exam(pictures=PICTURES, per_kind=2, noise_units=20, out=folder)


@pytest.fixture
def exam(stored):
    return stored[1]


def row(exam, describer):
    return exam.summary.row(by_predicate=pl.col("describer") == describer, named=True)


def test_every_describer_answers_for_every_unit(exam):
    assert exam.summary["describer"].to_list() == [TRUTH, *PICTURE_DESCRIBERS]
    assert exam.answers.height == len(exam.summary) * exam.units.height
    assert set(exam.units["texts"]) == {PICTURES}


def test_colours_are_read_and_recovered(exam):
    for name in (TRUTH, "dissect", "enrichment"):
        colours = exam.answers.filter(describer=name, kind="colour")
        assert colours.height == 2 and colours["recovered"].all(), name
        assert (colours["rule_f1"] > 0.9).all(), name


def test_the_truth_is_the_ceiling_and_silence_the_floor(exam):
    assert row(exam, TRUTH)["recovered"] >= row(exam, "dissect")["recovered"] > 0.3
    assert row(exam, "none")["recovered"] == row(exam, "none")["f1"] == 0
    assert row(exam, "random-phrase")["recovered"] < 0.2
    assert all(line["false"] <= 0.1 for line in exam.summary.iter_rows(named=True))
    assert row(exam, "dissect")["noise_described"] == 20 > row(exam, "enrichment")["noise_described"]


def test_it_is_kept_and_audited_and_the_same_again(stored):
    folder, exam = stored
    again = run_image_exam(pictures=PICTURES, per_kind=2, noise_units=20)
    kept = stored_exam(Study(folder))
    assert kept.answers.equals(exam.answers) and again.answers.equals(exam.answers)
    assert again.summary.equals(exam.summary) and kept.costs.equals(exam.costs)
    assert set(audit_study(Study(folder))["status"]) == {"ok"}


class Blind:
    """A dual encoder that sees nothing: all pictures and texts are alike."""

    name = fingerprint = "blind"
    dim, max_tokens = 4, 64

    def encode_images(self, images):
        return np.tile(np.eye(4, dtype=np.float32)[:1], (len(images), 1))

    def encode_texts(self, texts):
        return self.encode_images(texts)

    def count_tokens(self, texts):
        return np.array([len(text.split()) for text in texts])


def test_describers_see_describe_pictures_only(monkeypatch):
    seen = []

    def spy(material):
        seen.append(material)
        return Answers([""] * len(material.fires))

    monkeypatch.setattr(exam_images, "PICTURE_DESCRIBERS", {"spy": spy})
    run_image_exam(pictures=PICTURES, per_kind=1, noise_units=1, encoder=Blind())
    ids = exam_images.scene_ids(draw_scenes(PICTURES, 0))
    split = dict(zip(ids, exam_images.assign_split(ids, 0), strict=True))
    assert {split[id] for id in seen[0].ids} == {"calibration"}
    assert seen[0].fires.shape == (len(seen[0].responses), len(seen[0].cosines))
    assert seen[0].cosines.shape[1] == len(candidate_phrases())


def test_what_nobody_sees_nobody_recovers():
    blind = run_image_exam(pictures=PICTURES, per_kind=1, noise_units=2, encoder=Blind())
    assert not blind.answers["recovered"].drop_nulls().any()
    assert row(blind, "enrichment")["described"] == 0


def test_a_picture_does_not_depend_on_how_many_there_are():
    class Corner(Blind):
        def encode_images(self, images):
            return np.array([np.asarray(image)[0, 0] for image in images], dtype=np.float32)

    scenes = draw_scenes(70, 0)
    few, many = (see_scenes(scenes[:n], Corner(), seed=3) for n in (3, 70))
    for a, b in zip(few, many, strict=True):
        np.testing.assert_array_equal(a, b[:3])
    again = see_scenes(scenes[:1] * 70, Corner(), seed=3)[1]
    assert len(set(again)) == 70  # each place has a picture of its own


def test_bad_choices_are_told():
    with pytest.raises(InputError, match="unknown describer 'oracle'; there are: dissect"):
        run_image_exam(describers=["oracle"])
    with pytest.raises(InputError, match="pictures must be from 1"):
        run_image_exam(pictures=0)
    with pytest.raises(InputError, match="no rule holds of enough of the 30 pictures"):
        run_image_exam(pictures=30, encoder=Blind())


@pytest.fixture
def material():
    """Four phrases; the units fire on the second, on the second or third, on nothing, and by chance."""
    rng = np.random.default_rng(0)
    holds = rng.random((300, 4)) < 0.25
    cosines = 0.3 + 0.02 * holds + rng.normal(0, 0.003, (300, 4)) + np.array([0.2, 0, 0, 0])
    level = np.stack(
        [
            holds[:, 1],
            1.5 * holds[:, 1] + 1.0 * (holds[:, 2] & ~holds[:, 1]),
            np.zeros(300),
            rng.random(300) < 0.2,
        ]
    ).astype(float)
    responses = level + rng.normal(0, 0.05, level.shape)
    return PictureMaterial(
        ids=[str(n) for n in range(300)],
        responses=responses,
        fires=responses >= 0.5,
        most_exemplars=100,
        seed=0,
        phrases=["near all", "b", "c", "d"],
        cosines=cosines,
    )


def test_dissect_names_what_sets_exemplars_apart(material):
    said = dissect(material).texts
    assert said[0] == said[1] == "b" and said[2] == "" and said[3]


def test_enrichment_names_each_meaning_and_is_silent_on_chance(material):
    assert enrichment(material).texts == ["b", "b, c", "", ""]


def test_random_phrases_are_the_seeds(material):
    said = random_phrase(material).texts
    assert said == random_phrase(material).texts and set(said) <= set(material.phrases)


def test_nearness_has_no_unit(material):
    scaled = replace(material, cosines=5 * material.cosines - 1)
    np.testing.assert_allclose(scaled.nearness, material.nearness, atol=1e-9)
    alike = replace(material, cosines=np.full((300, 4), 0.3))
    np.testing.assert_allclose(alike.nearness, 0.0, atol=1e-6)

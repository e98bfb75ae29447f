from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from saywell.data.splits import assign_parts
from saywell.describers.controls import NoDescription
from saywell.describers.registry import DESCRIBERS, describers_of
from saywell.errors import InputError
from saywell.resources import Resources
from saywell.store.study import Study
from saywell.studies.audit import audit_study
from saywell.studies.exam import run_exam, stored_exam
from saywell.studies.exam.sitting import TRUTH
from saywell.units.planted.pictures import Drawn, candidate_phrases, draw_scenes, planted_pictures, scene_ids

PICTURES = 400


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A small exam by the planted encoder, and where it is kept."""
    folder = tmp_path_factory.mktemp("exams") / "e"
    return folder, run_exam(
        images=True, pictures=PICTURES, per_kind=2, noise_units=20, reader="dual-encoder", out=folder
    )


@pytest.fixture
def exam(stored):
    return stored[1]


def row(exam, describer):
    return exam.summary.row(by_predicate=pl.col("describer") == describer, named=True)


def test_every_describer_answers_for_every_unit(exam):
    assert exam.summary["describer"].to_list() == [
        TRUTH,
        *(name for name in describers_of("image") if name != "llm"),
    ]
    assert exam.answers.height == len(exam.summary) * exam.units.height
    assert set(exam.units["texts"]) == {PICTURES}


def test_colours_are_read_and_recovered(exam):
    for name in (TRUTH, "dissect", "covering"):
        colours = exam.answers.filter(describer=name, kind="colour")
        assert colours.height == 2 and colours["recovered"].all(), name
        assert (colours["rule_f1"] > 0.9).all(), name


def test_the_truth_is_the_ceiling_and_silence_the_floor(exam):
    assert row(exam, TRUTH)["recovered"] >= row(exam, "dissect")["recovered"] > 0.3
    assert row(exam, "none")["recovered"] == row(exam, "none")["f1"] == 0
    assert row(exam, "random-phrase")["recovered"] < 0.2
    assert all(line["false"] <= 0.1 for line in exam.summary.iter_rows(named=True))
    assert row(exam, "dissect")["noise_described"] > 15 > 3 > row(exam, "covering")["noise_described"]


def test_it_is_kept_and_audited_and_the_same_again(stored):
    folder, exam = stored
    again = run_exam(images=True, pictures=PICTURES, per_kind=2, noise_units=20, reader="dual-encoder")
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

    class Spy(NoDescription):
        def describe(self, evidence, resources, study):
            seen.append((evidence, resources))
            return super().describe(evidence, resources, study)

    monkeypatch.setitem(DESCRIBERS, "spy", Spy("spy", needs_tags=True))  # type: ignore[arg-type]
    run_exam(images=True, pictures=150, per_kind=1, noise_units=1, encoder=Blind(), describer=["spy"])
    ids = scene_ids(draw_scenes(150, 0))
    split = dict(zip(ids, assign_parts(ids, 0), strict=True))
    ((evidence, resources),) = seen
    assert {split[id] for id in evidence.examples.ids} == {"describe"}
    assert evidence.examples.tags.texts == tuple(candidate_phrases())
    assert len(resources.vectors(evidence.examples)) == len(evidence.examples)


def test_what_nobody_sees_nobody_recovers():
    blind = run_exam(
        images=True, pictures=PICTURES, per_kind=1, noise_units=2, reader="dual-encoder", encoder=Blind()
    )
    assert not blind.answers["recovered"].drop_nulls().any()
    assert row(blind, "enrichment")["described"] == 0


def test_a_picture_does_not_depend_on_how_many_there_are():
    class Corner(Blind):
        def encode_images(self, images):
            return np.array([np.asarray(image)[0, 0] for image in images], dtype=np.float32)

    scenes = draw_scenes(70, 0)
    found = []
    for n in (3, 70):
        examples, drawn = planted_pictures(scenes[:n], 3)
        vectors = Resources(dual=Corner()).vectors(examples)
        drawn.bright()
        found.append((vectors[:3], [drawn.brightness[id] for id in examples.ids[:3]]))
        assert (len(vectors), len(drawn.brightness)) == (n, n)
    for few, many in zip(*found, strict=True):
        np.testing.assert_array_equal(few, many)
    again = Drawn({str(place): (place, scenes[0]) for place in range(70)}, 3)
    again.bright()
    assert len(set(again.brightness.values())) == 70  # each place has a picture of its own


def test_bad_choices_are_told():
    with pytest.raises(InputError, match="unknown describer 'oracle'; there are: claims, composition"):
        run_exam(images=True, describer=["oracle"])
    with pytest.raises(InputError, match="pictures=0 must be 1 or more"):
        run_exam(images=True, pictures=0)
    with pytest.raises(InputError, match="no rule holds of enough of the 30 pictures"):
        run_exam(images=True, pictures=30, encoder=Blind())


def test_claims_measure_and_need_no_encoder():
    exam = run_exam(
        images=True,
        pictures=600,
        per_kind=2,
        noise_units=10,
        encoder=Blind(),
        describer=["claims"],
        reader=["claims"],
    )
    assert row(exam, "claims")["recovered"] > 0.6 and row(exam, "claims")["false"] == 0
    said = exam.answers.filter(describer="claims", kind="colour", status="verified")
    assert said.height == 2 and said["text"].str.contains("pictures with").all()
    assert (said["rule_f1"] > 0.85).all()
    # What no claim says of pictures nobody reads, and it is counted as not readable.
    unsaid = exam.units.filter(pl.col("claim").is_null(), pl.col("truth") != "")["unit"]
    truths = exam.answers.filter(pl.col("unit").is_in(unsaid.to_list()), describer=TRUTH)
    assert len(truths) and not truths["readable"].any()

"""Who decides and where descriptions point, through the whole loop, with readers of one's own."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from typer.testing import CliRunner

from saywell.cli import app
from saywell.data.texts import load_texts
from saywell.description import Description
from saywell.readers.reader import Points
from saywell.resources import Resources
from saywell.studies.spine import Question, run
from saywell.units.firing import YES, Above
from saywell.units.responses import InMemory, order_of
from saywell.units.source import Shuffled
from saywell.units.statistics import source_units

WORDS = ("red", "green", "blue", "grey")
FILLER = [f"word{n}" for n in range(60)]


@dataclass(frozen=True)
class Says:
    """A unit a word, which responds to texts that say it, and knows where."""

    kind: str = "word"
    name: str = "says"
    fingerprint: str = "1"
    firing: Above = YES

    def units(self):
        return source_units(WORDS, self.kind)

    def collect(self, examples, folder: Path, resources):
        values = [[float(word in text.split()) for word in WORDS] for text in examples.texts]
        return InMemory(np.array(values, dtype=np.float32), order_of(examples.ids)).save(folder)

    def control(self, seed: int):
        return Shuffled(self, seed)

    def locate(self, examples):
        def spans(places, rows, positions):
            # Of the last word nobody knows where.
            found = [
                (-1, -1) if WORDS[place] == "grey" else re.search(WORDS[place], examples.texts[row]).span()
                for place, row in zip(places, rows, strict=True)
            ]
            table = pl.DataFrame(found, schema={"span_start": pl.Int32, "span_end": pl.Int32}, orient="row")
            return table.with_columns(pl.when(pl.all() >= 0).then(pl.all()))

        return spans


@dataclass(frozen=True)
class Told:
    """Says of every unit its word."""

    name: str = "told"
    version: int = 1
    kinds: tuple = ("text",)
    needs_tags: bool = False
    tables: tuple = ()

    def describe(self, evidence, resources, study):
        return [Description(unit, unit) for unit in evidence.ids]


@dataclass(frozen=True)
class Reads:
    """Whether a text says the word; it has never heard of some words, and others it takes for one another."""

    name: str = "reads"
    deaf: tuple = ()
    blind: tuple = ()
    version: int = 1
    costly: bool = False
    reads: tuple = ("text",)

    def open(self, examples, resources):
        said = [text.split() for text in examples.texts]

        def predict(descriptions, rows):
            each = rows if rows.ndim == 2 else [rows] * len(descriptions)
            return np.array(
                [
                    [
                        np.nan
                        if own.text in self.deaf
                        else own.text in said[row] and own.text not in self.blind
                        for row in mine
                    ]
                    for own, mine in zip(descriptions, each, strict=True)
                ],
                dtype=np.float32,
            ).reshape(len(descriptions), rows.shape[-1])

        return predict


@dataclass(frozen=True)
class PointsToo(Reads):
    """It points at the word, but at the first word of all where it is `astray`."""

    astray: tuple = ()

    def pointing(self, examples, resources):
        def point(own, row):
            word = examples.texts[row].split()[0] if own.text in self.astray else own.text
            return [match.span() for match in re.finditer(rf"\b{word}\b", examples.texts[row])]

        return point


def texts(seed=0):
    chance = np.random.default_rng(seed)
    rows = [
        " ".join([*chance.choice(FILLER, 6).tolist(), *(w for w in WORDS if chance.random() < 0.3)])
        for _ in range(240)
    ]
    return load_texts(rows)


def asked(readers, out, **more):
    question = Question("words", Says(), [Told()], readers, {}, **more)
    return run(question, texts(), out=out, resources=Resources())


def statuses(study):
    return dict(study.verdicts().select("unit", "status").iter_rows())


def test_a_description_points_at_what_makes_its_unit_respond(tmp_path):
    assert isinstance(PointsToo(), Points) and not isinstance(Reads(), Points)
    readers = [Reads("plain", deaf=("green",)), PointsToo("points", astray=("blue",))]
    study = asked(readers, tmp_path / "s")
    assert statuses(study) == {
        "red": "verified",
        "green": "verified",
        "blue": "elsewhere",
        "grey": "verified",
    }
    rows = {row["unit"]: row for row in study.verdicts().iter_rows(named=True)}
    # Where "plain" decides, who does not point, the place is told by "points".
    assert (rows["blue"]["reader"], rows["green"]["reader"]) == ("plain", "points")
    assert rows["red"]["localised"] == 1 and rows["blue"]["localised"] == 0
    assert rows["grey"]["localised"] is None and rows["red"]["localised_n"] >= 15
    assert 0 < rows["red"]["by_chance"] < 0.25
    score = set(study.examples.filter(part="score")["id"])
    assert set(study.exemplars.filter(part="score")["example"]) <= score
    own = study.scores.filter(reader="points")
    assert dict(own.select("unit", "localised").iter_rows())["blue"] == 0 and own["verifies"].all()
    unit = study.unit("blue")
    assert not unit.verified and unit.verified_by == ("plain", "points") and unit.score.localised == 0


def test_nobody_verifies_a_place_that_nobody_points_at(tmp_path):
    study = asked([Reads()], tmp_path / "s")
    assert statuses(study) == dict.fromkeys(WORDS[:3], "unplaced") | {"grey": "verified"}


def test_who_shares_the_model_supports_and_does_not_decide(tmp_path):
    readers = [
        PointsToo("own", astray=("red",)),
        Reads("mine", deaf=WORDS[2:], blind=("green",)),
        PointsToo("late"),
    ]
    study = asked(readers[:2], tmp_path / "s", shared=frozenset(["own"]))
    assert statuses(study) == {
        "red": "unplaced",
        "green": "not verified",
        "blue": "supported",
        "grey": "supported",
    }
    figures = {figure.name: figure for figure in study.headline()}
    assert [figure.figure for figure in figures.values()] == ["verified"] * 3
    assert [figures[name].value for name in figures] == [0, 1, 0.25]
    assert list(figures) == ["verified", "verified by own alone", "verified by mine alone"]
    assert "shares its model" in figures["verified by own alone"].note
    assert all(figure.controls == {"shuffled examples": 0} for figure in figures.values())
    told = study.readers().select("reader", "tested", "verified", "decides", "decided", "shares").rows()
    assert told == [("own", 4, 4, 2, 0, True), ("mine", 2, 1, 2, 0, False)]
    said = " ".join(CliRunner().invoke(app, ["show", str(study.path)]).output.split())
    assert (
        "Verified: 0 of 4 units tried, by mine and by where they point; 4 have a description." in said
        and "own 4 (shares the model) and mine 1" in said
    )
    assert said.count("unplaced 1") == 1 and "supported 2" in said
    assert "held-out data" not in said, "no table without a row"
    study = asked(readers, tmp_path / "t", shared=frozenset(["own"]))
    assert statuses(study)["red"] == "verified", "who points need not decide"


def test_the_control_is_judged_as_the_units_are_but_for_the_place(tmp_path):
    study = asked([PointsToo("points", astray=WORDS), Reads("plain")], tmp_path / "s")
    control = study.table("control_scores")
    assert set(control["reader"]) == {"points", "plain"} and control["decides"].sum() == len(WORDS)
    assert control["selected"].all() and set(control["status"]) == {"not verified"}
    assert statuses(study)["red"] == "elsewhere"
    assert "need not point" in study.headline()[0].note


@dataclass(frozen=True)
class Deaf(Says):
    """A control that is no shuffle, of units that respond to no text."""

    name: str = "deaf"

    def collect(self, examples, folder: Path, resources):
        nothing = np.zeros((len(examples), len(WORDS)), dtype=np.float32)
        return InMemory(nothing, order_of(examples.ids)).save(folder)


@dataclass(frozen=True)
class SaysBesideDeaf(Says):
    """Beside it are units that respond to all texts alike, or to the text's length."""

    other: Says = Deaf()

    def control(self, seed: int):
        return self.other


@dataclass(frozen=True)
class Long(Says):
    """Units that respond to long texts."""

    name: str = "long"

    def collect(self, examples, folder: Path, resources):
        length = np.array([len(text.split()) > 7 for text in examples.texts], dtype=np.float32)
        return InMemory(np.tile(length[:, None], 4), order_of(examples.ids)).save(folder)


@dataclass(frozen=True)
class Some(Told):
    """Says of some units their word."""

    def describe(self, evidence, resources, study):
        silent = Description("", "", "no description: too hard")
        return [
            Description(unit, unit) if unit in WORDS[:2] else replace(silent, unit=unit)
            for unit in evidence.ids
        ]


def test_shares_are_of_the_units_tried_of_the_study_and_of_every_control(tmp_path):
    source = SaysBesideDeaf(other=Long())
    readers = [PointsToo("points"), Reads("plain")]
    question = Question("words", source, [Some()], readers, {})
    study = run(question, texts(), out=tmp_path / "s", resources=Resources())
    for figure in study.headline():
        assert (figure.value, figure.n, figure.of) == (0.5, 4, "units tried"), figure.name
        assert figure.controls == {"long": 0, "shuffled examples": 0}
        assert figure.controls_n == {"long": 4, "shuffled examples": 4}
    shuffled = study.table("shuffled_scores")
    assert set(shuffled["unit"]) == set(WORDS[:2]) and not shuffled["verifies"].any()
    assert shuffled["decides"].sum() == 2
    said = " ".join(CliRunner().invoke(app, ["show", str(study.path)]).output.split())
    assert "Beside it: long 0 of 4 and shuffled examples 0 of 4." in said
    assert "2 of 4" in said and said.count("0 of 4") == 2 + 2 * len(study.headline())
    assert "(0 of 4)" in (study.path / "report.html").read_text("utf-8")


def test_a_control_that_nothing_can_be_said_of_has_no_unit_that_was_tried(tmp_path):
    question = Question("words", SaysBesideDeaf(), [Told()], [PointsToo()], {})
    study = run(question, texts(), out=tmp_path / "s", resources=Resources())
    assert study.headline()[0].controls_n == {"deaf": 0, "shuffled examples": 4}
    assert study.headline()[0].controls["deaf"] is None

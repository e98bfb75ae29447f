"""From descriptions and readings to tables, against the plain sum of its parts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from reading import of_texts

from saywell.data.tags import Tags
from saywell.description import Description
from saywell.errors import InputError
from saywell.language_models import Scripted
from saywell.readers.detection import DetectionReader
from saywell.readers.fuzzing import CLOSE, OPEN, FuzzingReader
from saywell.readers.lexical import LexicalReader
from saywell.readers.tags import TagReader
from saywell.resources import Resources
from saywell.scorers import evaluate as evaluating
from saywell.scorers.counterexamples import find_counterexamples
from saywell.scorers.deciding import deciding_readers
from saywell.scorers.evaluate import Budget, HeldOut, choose, evaluate, evaluate_costly
from saywell.scorers.floors import FLOORS, Described, another_unit, nearest_sibling
from saywell.scorers.score_tables import AGAINST, FLOORED, SCORED
from saywell.scorers.scoring import Task, score_units
from saywell.scorers.skill import verified
from saywell.units.activations import Activations
from saywell.units.firing import Above
from saywell.units.responses import InMemory

WORDS = "battery soup room phone bed waiter".split()
COUNT = 360


SIGNS = np.array([1, -1, 1, 1, 1, 1])


def responding(values):
    """Units u0, u1 ... that fire from 0.5 on; u1 is a place going low."""
    units = pl.DataFrame(
        {
            "id": [f"u{n}" for n in range(len(values))],
            "place": range(len(values)),
            "sign": SIGNS,
            "threshold": [0.5] * len(values),
            "state": ["ok"] * len(values),
        }
    )
    return Activations(
        InMemory((values * SIGNS[:, None]).T.astype(np.float32), np.arange(COUNT)), units, Above(0.5)
    )


@pytest.fixture(scope="module")
def world():
    """Texts of two words each, units that like one word, and what is held out of them."""
    random = np.random.default_rng(0)
    said = np.array([random.choice(len(WORDS), 2, replace=False) for _ in range(COUNT)])
    texts = [f"the {WORDS[a]} and the {WORDS[b]}, number {n}" for n, (a, b) in enumerate(said)]
    has = np.array([[word in pair for pair in said] for word in range(len(WORDS))])
    values = (has * random.uniform(0.4, 1, has.shape)).astype(np.float32)
    examples = of_texts(texts, [("describe", "select", "score")[n % 3] for n in range(COUNT)])
    tags = Tags(
        sp.csr_matrix(has.T.astype(np.float32)), np.arange(COUNT) % 17 > 0, tuple("abcdef"), tuple(WORDS)
    )
    units = [f"u{n}" for n in range(len(WORDS))]
    return HeldOut(responding(values), examples.with_tags(tags), units, seed=3)


def described(world, names, describer="words", **more):
    """Each unit is said to like these words."""
    descriptions = [
        Description(
            unit, ", ".join(own), parts=tuple(own), descriptors=tuple("abcdef"[WORDS.index(w)] for w in own)
        )
        for unit, own in zip(world.units, names, strict=True)
    ]
    return Described(
        describer, world.units, [f"{unit}#{describer}" for unit in world.units], descriptions, **more
    )


@pytest.fixture(scope="module")
def right(world):
    wrong_last = [[word] for word in WORDS[:-1]] + [["bed"]]
    return described(
        world, wrong_last, profiles=np.eye(6, dtype=np.float32) + 0.1, words=WORDS[1:] + WORDS[:1]
    )


def readers(world):
    return [(reader, reader.open(world.examples, Resources())) for reader in (TagReader(), LexicalReader())]


def test_tables_are_what_the_parts_come_to_one_by_one(world, right, tmp_path):
    found = evaluate(right, readers(world), world, list(FLOORS.values()), tmp_path)
    for table, frame in ((SCORED, found.scores), (FLOORED, found.floors), (AGAINST, found.counterexamples)):
        table.check(frame)
    by_words = LexicalReader().open(world.examples, Resources())
    said = [*right.descriptions, *(Description("", words) for words in right.words)]
    parts, numbers = world.examples.parts, np.arange(6)
    first = np.array([0, 1, 2, 3, 4, 4])  # the last two say the same
    stored = world.activations.of(world.units, np.arange(COUNT))
    plain = score_units(
        Task(
            right.units,
            lambda n, rows: by_words([said[i] for i in n], rows),
            lambda n, rows: stored[n][:, rows] >= 0.5,
            parts.select,
            parts.score,
            {
                "another unit": another_unit(right.texts, right.units, seed=3),
                "nearest sibling": nearest_sibling(right.texts, right.profiles, right.named),
                "most frequent": np.array(
                    [[4, 1, 2, 3], [4, 0, 2, 3], [4, 0, 1, 3], [4, 0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3]]
                ),
                "top words": numbers + 6,
            },
        ),
        seed=3,
    )
    mine = found.scores.filter(reader="lexical")
    assert mine["unit"].to_list() == right.units and mine["describer"].unique().to_list() == ["words"]
    np.testing.assert_allclose(mine["value"], plain.skill.value)
    np.testing.assert_allclose(mine["skill_low"], plain.skill.skill_low)
    np.testing.assert_allclose(mine["threshold"], plain.thresholds, rtol=1e-6)
    assert (mine["status"] == "verified").to_list() == verified(plain.skill).tolist() == [True] * 5 + [False]
    floors = found.floors.filter(reader="lexical")
    for name, values in plain.skill.floors.items():
        np.testing.assert_allclose(floors.filter(floor=name)["value"], values)
    assert found.floors.filter(reader="tags", floor="top words").is_empty()
    assert found.floors.filter(floor="class name").is_empty()
    predicted = by_words([right.descriptions[n] for n in first], parts.score.rows)
    values = stored[:, parts.score.rows]
    against = find_counterexamples(predicted, predicted >= plain.thresholds[:, None], values, values >= 0.5)
    alone = [evaluate(right, [reader], world, list(FLOORS.values()), tmp_path) for reader in readers(world)]
    assert alone[1].counterexamples["kind"].to_list() == against.kind
    assert alone[1].counterexamples["example"].to_list() == [
        f"e{parts.score.rows[c]}" for c in against.column
    ]
    deciding, own = deciding_readers(found.scores), {"tags": alone[0], "lexical": alone[1]}
    by_who_decides = [own[deciding[id]].counterexamples.filter(description=id) for id in right.ids]
    assert found.counterexamples.equals(pl.concat(by_who_decides))
    supported = evaluate(right, readers(world), world, list(FLOORS.values()), tmp_path, {"tags"})
    assert supported.counterexamples.equals(alone[1].counterexamples)
    of_low = found.counterexamples.filter(unit="u1")["activation"]
    assert len(of_low) and of_low.max() <= 0 and of_low.min() < 0, "as it is stored: the unit goes low"
    for one in alone:
        for name, values in one.select_f1.items():
            np.testing.assert_array_equal(found.select_f1[name], values)
    assert list(found.select_f1) == ["tags", "lexical"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_known_is_left_out_like_what_has_no_answer(world, right, tmp_path):
    gone = np.random.default_rng(1).random((6, COUNT)) < 0.3
    hidden = responding(np.where(gone, np.nan, world.activations.of(world.units, np.arange(COUNT))))
    found = evaluate(right, readers(world), replace(world, activations=hidden), [], tmp_path)

    def silent(predict):
        def some(said, rows):
            lost = gone[[int(own.unit[1:]) for own in said]][:, rows]
            return np.where(lost, np.nan, predict(said, rows))

        return some

    own = replace(right, descriptions=[replace(d, parts=(d.unit,)) for d in right.descriptions])
    quiet = [(reader, silent(predict)) for reader, predict in readers(world)]
    expected = evaluate(own, quiet, world, [], tmp_path)
    assert found.scores.equals(expected.scores)
    score = world.examples.parts.score.rows
    assert found.scores.filter(reader="lexical")["unanswered"].to_list() == gone[:, score].sum(1).tolist()
    shown = found.counterexamples.with_columns(row=pl.col("example").str.slice(1).cast(pl.Int64))
    assert not any(gone[int(unit[1:]), row] for unit, row in shown.select("unit", "row").iter_rows())


def test_of_several_descriptions_the_best_on_select_examples_is_chosen(world, right, tmp_path):
    turned = described(world, [["bed"], ["soup"], ["bed"], ["bed"], ["bed"], ["waiter"]], "turned")
    both = [evaluate(own, readers(world), world, [], tmp_path) for own in (right, turned)]
    nobody = [evaluate(own, [], world, [], tmp_path) for own in (right, turned)]
    assert choose(nobody, [right, turned]) == right.ids and nobody[0].scores.is_empty()
    assert choose(both, [right, turned]) == [f"u{n}#words" for n in range(5)] + ["u5#turned"]

    def unread(descriptions, rows):
        """Nothing is read of u5's better description, so it is no reader that thinks little of it."""
        numbers = readers(world)[1][1](descriptions, rows)
        numbers[[own.text == "waiter" for own in descriptions]] = np.nan
        return numbers

    half = [
        evaluate(own, [readers(world)[0], (LexicalReader(), unread)], world, [], tmp_path)
        for own in (right, turned)
    ]
    assert np.isnan(half[1].select_f1["lexical"]).tolist() == [False] * 5 + [True]
    assert choose(half, [right, turned])[-1] == "u5#turned"
    assert half[1].scores.filter(unit="u5", reader="lexical")["verifies"].to_list() == [None]


def test_without_select_examples_or_descriptions_there_are_no_rows(world, right, tmp_path):
    described_ = replace(right, units=[], ids=[], descriptions=[], words=None, profiles=None)
    whole = of_texts(world.examples.texts, "describe").with_tags(world.examples.tags)
    for own, held in ((described_, world), (right, replace(world, examples=whole))):
        found = evaluate(own, readers(world), held, list(FLOORS.values()), tmp_path)
        assert found.scores.is_empty() and found.floors.is_empty() and found.counterexamples.is_empty()
        resources, others = Resources(llm=Scripted(lambda request: "")), np.zeros(len(own.units), int)
        assert evaluate_costly(own, DetectionReader(), held, resources, Budget(3), others)[0].is_empty()


def answers(request, marked=False):
    """Whether the text says, or marks, the word that the description is."""
    fenced = re.findall(r"<(data-\w+)>\n(.*?)\n</\1>", request.messages[-1].text, re.DOTALL)
    word, *texts = [body for _, body in fenced]
    rows = [
        {
            "item": n,
            "holds": "yes" if (f"{OPEN}{word}{CLOSE}" if marked else word) in text else "no",
            "confidence": 1,
        }
        for n, text in enumerate(texts, 1)
    ]
    return json.dumps({"items": rows})


def test_a_costly_reader_reads_some_units_and_examples_whatever_the_block(world, right, monkeypatch):
    others = np.array([1, 2, 3, 4, 0, 0])
    tables = []
    for block in (256, 1):
        monkeypatch.setattr(evaluating, "score_units", partial(score_units, block=block))
        with Scripted(answers) as model:
            resources = Resources(llm=model)
            tables.append(evaluate_costly(right, DetectionReader(), world, resources, Budget(4, 60), others))
            drawn = evaluate_costly(right, DetectionReader(), world, resources, Budget(4, 60))[1]
            assert drawn.height == 12 and drawn["value"].null_count() == 0
            assert model.spent.calls <= 4 * 6 * 6 and not resources.lost
    (scores, floors), again = tables
    assert scores.equals(again[0]) and floors.equals(again[1])
    assert scores.height == 4 and scores["n"].to_list() == [60] * 4
    assert floors["floor"].unique().sort().to_list() == ["always", "another unit", "never"]
    assert scores.filter(pl.col("unit") != "u5")["status"].unique().to_list() == ["verified"]


def test_a_costly_reader_reads_nothing_of_which_nobody_knows(world, right):
    gone = np.random.default_rng(2).random((6, COUNT)) < 0.3
    gone[2] = True
    hidden = responding(np.where(gone, np.nan, world.activations.of(world.units, np.arange(COUNT))))
    asked = []

    def answer(request):
        asked.append(request.messages[-1].text)
        return answers(request)

    with Scripted(answer) as model:
        held = replace(world, activations=hidden)
        none = np.full(6, -1)
        scores, _ = evaluate_costly(
            right, DetectionReader(), held, Resources(llm=model), Budget(6, 200), none
        )
    known = (~gone[:, world.examples.parts.score.rows]).sum(1)
    assert scores["n"].to_list() == known.tolist() and scores["unanswered"].to_list() == [0] * 6
    assert scores.filter(unit="u2")["status"].item() == "not tested"
    assert not any(re.search(r"description:\n<data-\w+>\nroom\n", text) for text in asked)


def test_fuzzing_asks_whether_marks_are_right(world, right):
    rows = [
        (
            unit,
            part,
            n,
            f"e{row}",
            (text := world.examples.texts[row]).index(word),
            text.index(word) + len(word),
        )
        for unit, word in zip(world.units, WORDS, strict=True)
        for part, place in (("select", world.examples.parts.select), ("score", world.examples.parts.score))
        for n, row in enumerate(
            [r for r in place.rows if word in world.examples.texts[r]][
                : {"soup": 0, "room": 20}.get(word, 30)
            ]
        )
    ]
    exemplars = pl.DataFrame(
        rows, schema=["unit", "part", "rank", "example", "span_start", "span_end"], orient="row"
    )
    others = np.array([1, 2, 3, 4, 0, 0])
    with Scripted(lambda request: answers(request, marked=True)) as model:
        held, resources = replace(world, exemplars=exemplars), Resources(llm=model)
        scores, floors = evaluate_costly(right, FuzzingReader(), held, resources, Budget(6), others)
    by = dict(scores.select("unit", "status").iter_rows())
    assert by == {
        "u0": "verified",
        "u1": "not tested",
        "u2": "verified",
        "u3": "verified",
        "u4": "verified",
        "u5": "not verified",
    }
    assert scores["n"].to_list() == [30, 0, 20, 30, 30, 30] and set(scores["reader"]) == {"fuzzing"}
    # Who is told of other words can do no better than to say yes to every mark.
    others_, always = (
        floors.filter(unit="u0", floor=name)["value"].item() for name in ("another unit", "always")
    )
    assert others_ == always < 0.8
    with pytest.raises(InputError, match="give exemplars"):
        evaluate_costly(right, FuzzingReader(), world, Resources(), Budget(6), others)

from __future__ import annotations

import json
import random
import re
from collections import Counter

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from saywell.cli import app
from saywell.data.parts import SPLITS
from saywell.describers.controls import NoDescription
from saywell.describers.registry import DESCRIBERS, describers_of
from saywell.description import Description
from saywell.errors import InputError
from saywell.language_models import DryRun, Scripted
from saywell.scorers.floors import Described
from saywell.store.study import Study
from saywell.studies.audit import audit_study
from saywell.studies.exam import plan_exam, run_exam, stored_exam
from saywell.studies.exam.answers import with_recovery
from saywell.studies.exam.sitting import TRUTH, AnotherTruth
from saywell.studies.exam.summary import by_kind
from saywell.units.planted.rules import PlantedUnit
from saywell.units.planted.source import Planted
from saywell.units.planted.tasks import read_tasks

TOPICS = {
    "battery": "battery charger socket".split(),
    "soup": "soup waiter kitchen".split(),
    "room": "room pillow curtain".split(),
    "ferry": "ferry harbour captain".split(),
    "jacket": "jacket sleeve button".split(),
    "camera": "camera lens tripod".split(),
}
TOPIC_OF = {word: topic for topic, words in TOPICS.items() for word in words}
FILLER = "table window garden letter bottle engine mirror pencil".split()


class TopicEncoder:
    """Puts texts where their topics are: what a good sentence encoder does, in a few lines."""

    name = "topics"

    def __call__(self, texts):
        words = {word: n for n, word in enumerate([*TOPIC_OF, *FILLER])}
        topics = {topic: len(words) + n for n, topic in enumerate(TOPICS)}
        vectors = np.full((len(texts), len(words) + len(topics)), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text):
                if word in words:
                    vectors[row, words[word]] += 0.5
                if word in TOPIC_OF:
                    vectors[row, topics[TOPIC_OF[word]]] += 1.0
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def corpus():
    chooser = random.Random(5)
    rows: dict[str, list[str]] = {}
    while len(rows) < 900:
        topic = chooser.choice(sorted(TOPICS))
        tone = chooser.choice(["praise", "complaint"])
        words = chooser.sample(TOPICS[topic], 2) + chooser.choices(FILLER, k=chooser.randint(2, 6))
        words.append("lovely" if tone == "praise" else "awful")
        chooser.shuffle(words)
        rows[" ".join(words)] = [topic, tone]
    return pl.DataFrame({"text": list(rows), "tags": list(rows.values())})


def oracle(request):
    """Names the topic whose words are in most exemplars and in few others."""
    text = request.messages[-1].text
    inside, outside = text.split("Texts outside the group:")
    counts = Counter(TOPIC_OF.get(word) for word in re.findall(r"\w+", inside))
    counts.subtract(TOPIC_OF.get(word) for word in re.findall(r"\w+", outside))
    best = max(TOPICS, key=lambda topic: counts[topic])
    return json.dumps({"description": best if counts[best] > 20 else ""})


@pytest.fixture(scope="module")
def exam(corpus):
    with Scripted(oracle) as model:
        return run_exam(
            corpus,
            tags="tags",
            encoder=TopicEncoder(),
            llm=model,
            reader="sentence-encoder",
            per_kind=2,
            noise_units=20,
            clock=iter(range(100)).__next__,
        )


def row(exam, describer):
    return exam.summary.row(by_predicate=pl.col("describer") == describer, named=True)


def test_every_describer_answers_for_every_unit(exam):
    names = [TRUTH, *describers_of("text")]
    assert exam.summary["describer"].to_list() == names
    assert exam.answers.height == len(names) * exam.units.height
    assert exam.answers.select("describer", "unit").is_unique().all()
    assert set(exam.answers["status"]) == {"no description", "not verified", "verified"}


def test_the_truth_is_the_ceiling_and_silence_the_floor(exam):
    truth, none = row(exam, TRUTH), row(exam, "none")
    assert truth["readable"] > 0.5 * truth["known"] and truth["noise_described"] == 0
    assert truth["recovered"] == 1 and truth["off_rule"] == 0 and none["off_rule"] is None
    # Of so many failures none is no certainty.
    assert 0 < none["recovered_high"] < 0.5 and none["recovered_low"] == 0
    assert none["recovered"] == none["described"] == none["false"] == none["f1"] == 0
    assert row(exam, "random-phrase")["recovered"] < 0.3
    assert none["bias"] is None and none["error"] is None


def test_an_oracle_recovers_topics(exam):
    topics = exam.answers.filter(describer="llm", kind="topic")
    assert topics.height == 2 and topics["recovered"].all()
    assert (topics["rule_f1"] > 0.95).all() and (topics["skill"] > 0.5).all()
    assert row(exam, "llm")["recovered"] > row(exam, "random-phrase")["recovered"]
    calls = dict(exam.costs.select("describer", "calls").iter_rows())
    assert calls["llm"] == exam.units.height and calls["extractive"] == 0


def test_describers_without_an_llm_recover_topics(exam):
    for name in ("enrichment", "covering", "extractive", "dissect"):
        assert exam.answers.filter(describer=name, kind="topic")["recovered"].any(), name


def test_what_follows_no_rule_is_seldom_described(exam):
    for line in exam.summary.iter_rows(named=True):
        assert line["noise_units"] == 20 and line["false"] <= 0.1
        assert line["false_low"] <= line["false"] <= line["false_high"]


def test_neurons_without_a_known_truth_are_not_counted_as_recovered_or_missed(exam):
    hidden = exam.answers.filter(kind="hidden neuron")
    assert hidden.height and hidden["recovered"].null_count() == hidden.height
    assert (hidden.filter(describer=TRUTH)["status"] == "no description").all()
    known = exam.units.filter(pl.col("truth") != "").height
    readable = exam.answers.filter(describer=TRUTH, status="verified").height
    for line in exam.summary.iter_rows(named=True):
        assert (line["known"], line["readable"]) == (known, readable)
    assert exam.answers.filter(describer="llm")["recovered"].count() == readable
    assert set(by_kind(exam.answers)["kind"]) == set(exam.units["kind"]) - {"noise"}


def test_describers_see_describe_texts_only(corpus, monkeypatch):
    seen = []

    class Spy(NoDescription):
        def describe(self, evidence, resources, study):
            seen.append(evidence)
            return super().describe(evidence, resources, study)

    monkeypatch.setitem(DESCRIBERS, "spy", Spy("spy"))  # type: ignore[arg-type]
    run_exam(corpus, tags="tags", encoder=TopicEncoder(), per_kind=1, noise_units=1, describer=["spy"])
    from saywell.data.texts import load_texts

    split = dict(load_texts(corpus, tags="tags").table.select("text", "part").iter_rows())
    (evidence,) = seen
    assert {split[text] for text in evidence.examples.texts} == {"describe"}
    assert set(evidence.exemplars["example"]) <= set(evidence.examples.ids)


def test_same_seed_same_tables(corpus, exam):
    with Scripted(oracle) as model:
        again = run_exam(
            corpus.reverse(),
            tags="tags",
            encoder=TopicEncoder(),
            llm=model,
            reader="sentence-encoder",
            per_kind=2,
            noise_units=20,
        )
    assert again.summary.equals(exam.summary) and again.answers.equals(exam.answers)


def test_the_lexical_reader(corpus):
    found = run_exam(
        corpus,
        tags="tags",
        encoder=TopicEncoder(),
        reader="lexical",
        describer=["extractive"],
        per_kind=2,
        noise_units=5,
    )
    topics = found.answers.filter(describer="extractive", kind="topic")
    assert topics["recovered"].all() and (topics["rule_f1"] > 0.95).all()
    assert (found.answers["truth_f1"].drop_nulls() <= 1).all()


@pytest.fixture(scope="module")
def tasks(corpus, tmp_path_factory):
    split = ["train", "val", "test"]
    frames = []
    for topic in ("soup", "ferry"):
        frames.append(
            corpus.select(
                task=pl.lit(topic),
                gold_description=pl.lit(f"about {topic}"),
                text="text",
                label=pl.col("tags").list.contains(topic).cast(pl.Int8),
            ).with_columns(split=pl.Series([split[n % 3] for n in range(corpus.height)]))
        )
    path = tmp_path_factory.mktemp("tasks") / "tasks.parquet"
    pl.concat(frames).write_parquet(path)
    return path


def test_tasks(tasks):
    found = run_exam(
        tasks=tasks, describer=["extractive", "none"], reader="sentence-encoder", encoder=TopicEncoder()
    )
    assert found.units["unit"].to_list() == ["soup", "soup (by chance)", "ferry", "ferry (by chance)"]
    assert row(found, TRUTH)["recovered"] == row(found, "extractive")["recovered"] == 1
    assert row(found, "none")["recovered"] == 0
    assert row(found, "extractive")["noise_units"] == 2


def test_a_limit_keeps_the_same_texts_of_each_group_whatever_their_order(tasks, tmp_path):
    pl.read_parquet(tasks).reverse().write_parquet(tmp_path / "back.parquet")
    kept, back = (dict(read_tasks(path, limit=30)) for path in (tasks, tmp_path / "back.parquet"))
    for name, rows in kept.items():
        assert rows.group_by("part", "label").len()["len"].to_list() == [30] * 6
        assert set(rows["id"]) == set(back[name]["id"])
    with pytest.raises(InputError, match="limit=0 must be 1 or more"):
        run_exam(tasks=tasks, limit=0, encoder=TopicEncoder())


def test_near_duplicates_of_a_task_go_into_one_part(tasks, tmp_path):
    table = pl.read_parquet(tasks)
    long = "the ferry left the harbour late and the captain said nothing about it to anyone on board"
    twins = [f"{long} today", f"{long} again", f"{long}!"]
    more = [
        ("ferry", "about ferry", text, 1, split)
        for text, split in zip(twins, ("train", "val", "test"), strict=True)
    ]
    for rows in (more, more[::-1]):
        added = pl.DataFrame(rows, schema=table.columns, orient="row").cast(table.schema)  # type: ignore[arg-type]
        pl.concat([added, table]).write_parquet(tmp_path / "twins.parquet")
        found = dict(read_tasks(tmp_path / "twins.parquet"))["ferry"].filter(pl.col("text").is_in(twins))
        first = found.sort("id")
        given = {text: split for _, _, text, _, split in more}
        assert found["part"].to_list() == [SPLITS[given[first["text"][0]]]] * 3
        assert found["group"].to_list() == [first["id"][0]] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop("label"), "no column 'label'"),
        (lambda t: t.with_columns(label=pl.lit(2)), "label 2"),
        (lambda t: t.filter(pl.col("split") != "val"), "val and test each need"),
        (lambda t: t.with_columns(label=pl.lit(1)), "split 'train'"),
        (lambda t: t.with_columns(split=pl.lit("spare")), "split 'spare' .* none of train, validation, test"),
        (lambda t: t.with_columns(gold_description="text"), "gold descriptions; give one"),
        (lambda t: t.head(0), "there is no task"),
    ],
)
def test_bad_tasks_are_told(tasks, tmp_path, change, message):
    change(pl.read_parquet(tasks)).write_parquet(tmp_path / "bad.parquet")
    with pytest.raises(InputError, match=message):
        run_exam(tasks=tmp_path / "bad.parquet", describer=["none"], encoder=TopicEncoder())


def test_bad_choices_are_told(corpus, tmp_path):
    with pytest.raises(InputError, match="unknown describer 'oracle'; there are: claims, composition"):
        run_exam(corpus, tags="tags", describer=["oracle"], encoder=TopicEncoder())
    with pytest.raises(
        InputError, match="unknown reader 'crystal'; text examples can be read by claims, tags, lexical"
    ):
        run_exam(corpus, tags="tags", reader="crystal", encoder=TopicEncoder())
    for asks in ({"describer": ["llm"]}, {"reader": ["detection"]}):
        with pytest.raises(InputError, match=r"'(llm|detection)' needs a language model"):
            run_exam(corpus, tags="tags", encoder=TopicEncoder(), **asks)
    with pytest.raises(InputError, match="no rule holds of enough"):
        run_exam(corpus.head(60), tags="tags", encoder=TopicEncoder())
    (tmp_path / "x.parquet").write_text("no table")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        run_exam(tasks=tmp_path / "x.parquet", encoder=TopicEncoder())


def test_recovered_is_verified_and_nearly_as_good_as_the_truth():
    rows = [
        (TRUTH, "u", "verified", 0.6, 0.1),
        ("good", "u", "verified", 0.5, 0.1),
        ("short", "u", "verified", 0.49, 0.1),
        ("unproven", "u", "not verified", 0.6, 0.1),
        ("other", "u", "verified", 0.34, 0.1),
        ("noise", "n", "verified", None, None),
        # A truth that cannot be read is nobody's to recover, however low its bar.
        (TRUTH, "v", "not verified", 0.15, 0.1),
        ("bad", "v", "verified", 0.2, 0.1),
        ("lucky", "v", "verified", 0.6, 0.1),
        ("none", "v", "no description", 0.0, 0.1),
    ]
    columns = ["describer", "unit", "status", "rule_f1", "always_f1"]
    answers = pl.DataFrame(rows, schema=columns, orient="row").with_columns(reader=pl.lit("r"))
    # By another reader nobody is verified, which says nothing of what this one reads.
    blind = answers.with_columns(reader=pl.lit("blind"), status=pl.lit("not verified"))
    both = with_recovery(pl.concat([blind, answers]))
    assert not both.filter(reader="blind")["readable"].any()
    found = both.filter(reader="r")
    assert found["recovered"].to_list() == [True, True, False, False, False, *[None] * 5]
    assert found["readable"].to_list() == [True] * 5 + [None] + [False] * 4
    assert found["off_rule"].to_list() == [False, False, False, None, True, None, None, True, False, None]


def test_two_units_of_one_rule_are_no_floor_of_each_other_in_whatever_words():
    rules = np.eye(3, dtype=bool)[[0, 0, 1, 2, 2]]
    truths = ["shouting", "exclamation marks", "soup", "", ""]
    units = [
        PlantedUnit(str(n), "kind", truth, rule, rule * 1.0)
        for n, (truth, rule) in enumerate(zip(truths, rules, strict=True))
    ]
    said = [Description(unit.id, text) for unit, text in zip(units, "abcde", strict=True)]
    described = Described("d", [unit.id for unit in units], list("vwxyz"), said)
    for seed in range(5):
        whose = AnotherTruth(Planted(lambda: units)).stand_ins(described, seed).whose
        assert not {0, 1} & ({*whose[0]} | {*whose[1]})
        # Units that follow no rule follow the same one, and are no family.
        assert 4 in whose[3] or 3 in whose[4]


def test_an_exam_is_stored_shown_and_audited(corpus, tmp_path):
    def small_exam():
        return run_exam(
            corpus,
            tags="tags",
            encoder=TopicEncoder(),
            describer=["enrichment", "none"],
            per_kind=2,
            noise_units=4,
            out=tmp_path / "e",
        )

    exam = small_exam()
    study = Study(tmp_path / "e")
    said = dict(study.descriptions.filter(describer=TRUTH).select("unit", "claim").iter_rows())
    claims = dict(exam.units.filter(pl.col("truth") != "").select("unit", "claim").iter_rows())
    assert {unit: said[unit] for unit in claims} == claims
    word = exam.units.row(by_predicate=pl.col("unit") == "word-0", named=True)["truth"]
    assert claims["word-0"] == f'word("{word}")' and claims["topic-0"] is None
    again = small_exam()
    stored = stored_exam(study)
    for name in ("units", "answers", "summary", "costs"):
        assert getattr(exam, name).equals(getattr(stored, name), null_equal=True), name
    assert again.costs.equals(exam.costs)  # seconds and all: it was not sat again
    shown = CliRunner().invoke(app, ["show", str(tmp_path / "e")])
    assert shown.exit_code == 0 and "enrichment" in shown.stdout
    assert audit_study(study).filter(pl.col("status") != "ok").rows() == []


def test_a_dry_run_counts_the_questions_that_would_be_asked(corpus, tmp_path):
    asked = []
    with Scripted(lambda request: asked.append(request) or oracle(request)) as model:
        of, (step,) = plan_exam(
            corpus, tags="tags", encoder=TopicEncoder(), llm=DryRun(model), per_kind=1, noise_units=3
        )
        assert (of, asked) == (f"{corpus.height} texts", [])
        found = run_exam(
            corpus, tags="tags", encoder=TopicEncoder(), llm=model, describer="llm", per_kind=1, noise_units=3
        )
    calls = dict(found.costs.select("describer", "calls").iter_rows())
    assert (step.step, step.calls, step.guessed) == ("describe", calls["llm"], 0)
    assert plan_exam(corpus, tags="tags", encoder=TopicEncoder()).steps == []


def reads_words(request):
    """Reads a description word by word, whatever it is asked: of texts, of marks, of each token."""
    text = request.messages[-1].text
    said, *shown = [body for _, body in re.findall(r"<(data-\w+)>\n(.*?)\n</\1>", text, re.DOTALL)]
    quoted = re.search(r'"(\w+)"', said)

    def meant(word):
        if quoted:
            return word.endswith(quoted[1]) if "ending" in said else word == quoted[1]
        return any(name in (word, TOPIC_OF.get(word)) for name in said.split(", "))

    items = []
    for number, body in enumerate(shown, 1):
        if "activations" in text:
            answer = {"activations": [10 * meant(json.loads(token)) for token in body.splitlines()]}
        else:
            marked = re.findall("⟪(.*?)⟫", body)
            found = any(map(meant, re.findall(r"\w+", marked[0] if marked else body)))
            answer = {"holds": "yes" if found else "no", "confidence": 1.0}
        items.append({"item": number, **answer})
    return json.dumps({"items": items})


def test_readers_that_ask_a_language_model_have_rows_of_their_own(corpus, tmp_path):
    readers = ["sentence-encoder", "fuzzing", "simulation"]
    asked = {"tags": "tags", "encoder": TopicEncoder(), "reader": readers, "per_kind": 1, "noise_units": 2}
    with Scripted(reads_words) as model:
        found = run_exam(corpus, describer=["none"], llm=model, out=tmp_path / "e", **asked)
        plan = plan_exam(corpus, describer=["none"], llm=DryRun(model), **asked)
    lines = {(line["reader"], line["describer"]): line for line in found.summary.iter_rows(named=True)}
    assert list(lines) == [(reader, describer) for reader in readers for describer in (TRUTH, "none")]
    assert {step.step for step in plan.steps} == set(readers[1:])
    words = {"word", "suffix", "position"}
    located = words | {"word in context", "place in sentence"}
    for reader in readers[1:]:
        own = found.answers.filter(reader=reader)
        about_words = own.filter(pl.col("kind").is_in(words), describer=TRUTH)
        kinds = set(found.units["kind"]) & located if reader == "fuzzing" else set(found.units["kind"])
        assert set(own["kind"]) == kinds
        assert about_words["readable"].all() and about_words["recovered"].all(), reader
        # This script looks for words, wherever in a text they are.
        assert (about_words.filter(pl.col("kind") != "position")["rule_f1"] > 0.9).all(), reader
        assert lines[reader, "none"]["recovered"] == lines[reader, "none"]["f1"] == 0
    # Right about the marks is right about the rule, and "always" says that all of them are.
    marks = found.answers.filter(reader="fuzzing", describer=TRUTH)
    assert marks["rule_f1"].to_list() == marks["value"].to_list()
    assert marks["always_f1"].is_between(0.3, 0.9).all()
    # Only some texts are read, and stand for the others.
    read, by_encoder = (found.answers.filter(reader=name)["n"].max() for name in ("simulation", readers[0]))
    assert 0 < read <= 60 < by_encoder
    study = Study(tmp_path / "e")
    assert set(study.scores["reader"]) == set(readers)
    spans = study.exemplars.join(found.units, on="unit").drop_nulls("span_start")
    assert spans.height and set(spans["kind"]) <= located
    unit = study.unit(spans["unit"][0])
    assert unit.exemplars and unit.to_dict()["id"] == spans["unit"][0]
    shown = CliRunner().invoke(app, ["show", str(tmp_path / "e")]).stdout
    assert all(f"verified by {reader}" in " ".join(shown.split()) for reader in readers)

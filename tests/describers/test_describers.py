"""All describers behind the one signature: what they are given, what they give, and what they never do."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp

from saywell.data.tags import Tags
from saywell.describers.associations import association_rows, associations_of
from saywell.describers.composition import Composition
from saywell.describers.covering import Covering, cover
from saywell.describers.dissect import Dissect
from saywell.describers.enrichment import Enrichment
from saywell.describers.given import Given
from saywell.describers.llm import ASKED, ByLLM
from saywell.describers.meanings import meanings
from saywell.describers.naming import MOST_NAMED, MOST_SOURCES
from saywell.describers.registry import DESCRIBERS, describers_of, find_describers
from saywell.errors import InputError, LeakError
from saywell.language_models import Scripted
from saywell.resources import Resources

FILLER = "table window garden letter bottle engine mirror pencil".split()
TOPICS = ("battery life", "soup", "curtain", "ferry")
UNITS = ("battery", "battery or soup", "nothing", "chance", "constant")


class WordEncoder:
    """Counts words."""

    name = "words"

    def __call__(self, texts):
        known = {word: n for n, word in enumerate([*" ".join(TOPICS).split(), *FILLER])}
        vectors = np.full((len(texts), len(known) + 1), 0.01, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.replace(",", "").split():
                vectors[row, known.get(word, -1)] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def evidence(make_examples, make_evidence):
    """400 texts, each about one of four topics or none; tags are right but for one that is lost."""
    random = np.random.default_rng(0)
    about = np.arange(400) % 8
    texts = [
        ", ".join([*([TOPICS[topic]] if topic < 4 else []), *random.choice(FILLER, 3), str(n)])
        for n, topic in enumerate(about)
    ]
    known = np.arange(400) != 8
    matrix = sp.csr_matrix(((about[:, None] == np.arange(6)) & known[:, None]).astype(float))
    names = (*TOPICS, "left", "right")
    tags = Tags(matrix, known, tuple("dabcef"), names, tagger="somebody")
    response = np.stack(
        [
            about == 0,
            (about == 0) + 0.5 * (about == 1),
            np.zeros(400),
            random.random(400) < 0.1,
            np.zeros(400),
        ]
    )
    response[:4] += 1e-3 * random.random((4, 400)) - 2e-3
    response[0, 8] += 1  # strongest, and nobody knows what it carries
    return make_evidence(make_examples(texts, tokens=[7] * 400).with_tags(tags), response, 80)


@pytest.fixture
def resources():
    return Resources(encoder=WordEncoder())


@pytest.fixture
def study():
    """Nobody here leaves tables."""
    return None


@pytest.mark.parametrize("name", [name for name in describers_of("text") if name != "llm"])
def test_one_description_a_unit_whatever_the_order(name, evidence, resources, study):
    describer = DESCRIBERS[name]
    said = describer.describe(evidence, resources, study)
    assert [each.unit for each in said] == evidence.ids
    there = set(evidence.examples.ids)
    for each in said:
        assert bool(each.text) == (each.status == "described")
        assert each.text or each.status.startswith("no description: ")
        assert set(each.sources) <= there and len(each.parts) <= MOST_NAMED
        assert ", ".join(each.parts) == each.text
    if name == "random-phrase":
        return
    order = [3, 0, 4, 2, 1]
    turned = replace(
        evidence,
        units=evidence.units[order],
        exemplars=evidence.exemplars.sample(fraction=1, shuffle=True, seed=1),
        contrasts=evidence.contrasts.sample(fraction=1, shuffle=True, seed=1),
    )
    assert describer.describe(turned, resources, study) == [said[n] for n in order]


@pytest.mark.parametrize("name", ["composition", "enrichment", "covering", "extractive", "dissect"])
def test_what_a_unit_fires_on_is_found(name, evidence, resources, study):
    one, two, nothing, chance, _ = DESCRIBERS[name].describe(evidence, resources, study)
    assert one.parts == ("battery life",)
    assert "battery life" in two.parts and set(two.parts) <= {"battery life", "soup"}
    if name in ("enrichment", "covering", "extractive"):
        assert len(two.parts) == 2
    assert not nothing.text and (name == "dissect" or not chance.text)
    if name != "dissect":
        shown = evidence.examples.ids
        strongest = [shown[n] for n in evidence.places[0] if n != 8]
        assert name == "extractive" or list(one.sources) == strongest[:MOST_SOURCES]


def test_why_there_is_no_description(evidence, resources, study):
    why = [
        "",
        "",
        "it fires on fewer than 3 of the examples that it could be described from",
        "no descriptor is enriched among its exemplars",
        "it gives the same value on every sentence",
    ]
    neurons = replace(evidence, units=evidence.units.with_columns(layer=pl.lit(0)))
    said = Enrichment().describe(neurons, resources, study)
    assert [each.status.partition(": ")[2] for each in said] == why
    # Of units of one's own, what one may do.
    said = Enrichment().describe(evidence, resources, study)
    for own, (start, way) in zip(
        said,
        zip(why, ["", "", "--firing top:", "--vocabulary FILE", "every example"], strict=True),
        strict=True,
    ):
        assert start[:-8] in own.status and way in own.status
    tags = evidence.examples.tags
    silent = evidence.examples.with_tags(replace(tags, matrix=tags.matrix * 0))
    bare = Tags(sp.csr_matrix((400, 0)), tags.known, (), ())
    of = "no description: its exemplars carry no descriptor"
    assert Enrichment().describe(replace(evidence, examples=silent), resources, study)[0].status == of
    for describer in (Enrichment(), Composition(), Covering(), Dissect()):
        none = describer.describe(
            replace(evidence, examples=evidence.examples.with_tags(bare)), resources, study
        )
        assert none[0].status == "no description: the texts have no descriptors"
        with pytest.raises(InputError, match="nobody has tagged these examples"):
            describer.describe(
                replace(evidence, examples=replace(evidence.examples, tags=None)), resources, study
            )


def test_an_llm_that_tagged_is_named(evidence, resources, study):
    tags = replace(evidence.examples.tags, llm="somebody's", prompt_hash="a,b")
    said = Enrichment().describe(
        replace(evidence, examples=evidence.examples.with_tags(tags)), resources, study
    )
    assert {(each.llm, each.prompt_hash) for each in said} == {("somebody's", "a,b")}


def test_of_what_is_enriched_those_are_named_that_tell_best_together(
    make_examples, make_evidence, resources, study
):
    random, n = np.random.default_rng(1), np.arange(600)
    fires = n < 60
    # Parts of what it fires on, the third nearly what the first is, and each said elsewhere, too.
    parts = [n < 35, fires & (n >= 35), n < 33, fires]
    noise = [0.0, 0.02, 0.0, 0.3]
    carried = np.stack(
        [part | (random.random(600) < p) for part, p in zip(parts, noise, strict=True)], axis=1
    )
    tags = Tags(sp.csr_matrix(carried.astype(float)), np.ones(600, bool), tuple("abcd"), tuple("ABCD"))
    examples = make_examples([f"x {n}" for n in range(600)]).with_tags(tags)
    (said,) = Enrichment().describe(make_evidence(examples, [fires - 0.5]), resources, study)
    found = associations_of(make_evidence(examples, [fires - 0.5]).exemplars, ["u0"], examples)
    assert found.enriched().all() and said.descriptors == ("a", "b")
    rows = association_rows(found, ["u0"], tags.ids, 0.5)
    assert rows["descriptor"].to_list() == list("abcd")
    assert rows["composed"].to_list() == (found.composition[0] >= 0.5).tolist()


def test_nobody_is_shown_what_is_scored(evidence, resources, study):
    foreign = evidence.exemplars.with_columns(example=pl.lit("0123456789abcdef"))
    with pytest.raises(LeakError, match="'0123456789abcdef', which is not one of the describe examples"):
        DESCRIBERS["extractive"].describe(replace(evidence, exemplars=foreign), resources, study)


def test_covering_says_something_else_each_time():
    random = np.random.default_rng(2)
    fires = np.zeros(400, dtype=bool)
    fires[:80] = True
    holds = np.zeros((400, 3), dtype=bool)
    holds[:50, 0] = holds[:48, 1] = holds[50:80, 2] = True  # the second says hardly more than the first
    holds[80:] = random.random((320, 3)) < 0.05
    assert cover(fires, ~fires, sp.csr_matrix(holds)) == [0, 2]
    assert cover(fires & False, ~fires, sp.csr_matrix(holds)) == []
    assert cover(fires, ~fires, sp.csr_matrix((400, 0), dtype=bool)) == []


def test_what_is_not_known_is_neither_cold_nor_warm(evidence, make_evidence, resources, study):
    response = np.full((1, 400), np.nan)
    response[0, :8] = -1
    response[0, [0, 3, 5]] = 1  # eight texts are known, three of which fire it
    partly = make_evidence(evidence.examples, response)
    ((_, cold),) = partly.cold(np.arange(400))
    assert np.flatnonzero(cold).tolist() == [1, 2, 4, 6, 7]
    said = Dissect().describe(partly, resources, study)[0]
    seen = WordEncoder()(evidence.examples.texts).astype(float)
    phrases = WordEncoder()(evidence.examples.tags.texts)
    near = seen @ phrases.T
    near = (near - near.mean(0)) / near.std(0)
    gain = near[[0, 3, 5]].mean(0) - near[[1, 2, 4, 6, 7]].mean(0)
    assert said.parts == (evidence.examples.tags.texts[gain.argmax()],)
    best = np.argsort(-gain, kind="stable")[:3]
    several = Dissect(most=3).describe(partly, resources, study)[0]
    assert several.parts == tuple(evidence.examples.tags.texts[number] for number in best)


def test_an_llm_is_shown_exemplars_and_contrasts_and_may_fail(evidence, study):
    asked = []

    def answer(request):
        asked.append(request.messages[-1].text)
        if len(asked) == 2:
            return "I'm sorry, I can't help with that."
        return json.dumps({"description": "Batteries." if "battery" in asked[-1] else ""})

    bars = []

    @contextmanager
    def bar(label, total):
        done = []
        yield done.append
        bars.append((total, sum(done)))

    with Scripted(answer) as model:
        resources = Resources(llm=model, progress=bar)
        said = ByLLM().describe(evidence, resources, study)
    assert bars == [(3, 3)]
    assert [each.text for each in said] == ["Batteries", "", "", "Batteries", ""]
    assert said[0].llm == model.name and said[0].prompt_hash and len(said[0].sources) == 20
    assert said[1].status == "no description: the LLM gave no answer (refused)"
    assert said[2].status == said[4].status == "no description: it has no exemplars" and not said[2].llm
    ((step, unit, reason, call, status),) = resources.lost
    assert (step, unit, status) == (ASKED, "u1", "refused") and call and "sorry" in reason
    inside, outside = asked[0].split("Texts outside the group:")
    assert inside.count("battery") == outside.count("Text ") == 20 and "battery" not in outside
    kept = evidence.contrasts.filter(unit="u0").join(
        evidence.examples.table, left_on="example", right_on="id"
    )
    assert kept.height == 3 and all(text in outside for text in kept["text"])
    with pytest.raises(InputError, match="the describer 'llm' needs a language model"):
        ByLLM().describe(evidence, Resources(), study)


def test_given_texts_are_taken_and_strangers_told(evidence, resources, study):
    said = Given({"u1": " soup or so ", "u2": " "}).describe(evidence, resources, study)
    assert [each.text for each in said] == ["", "soup or so", "", "", ""]
    assert said[2].status == "no description: none was given"
    with pytest.raises(InputError, match="of 'u17', and there is no such unit; the units are u0, u1"):
        Given({"u17": "soup"}).describe(evidence, resources, study)


def test_names_are_looked_up_by_kind():
    assert [each.name for each in find_describers(["dissect", "none", "dissect"], "image")] == [
        "dissect",
        "none",
    ]
    with pytest.raises(InputError, match="unknown describer 'extractive'; there are: claims, composition"):
        find_describers(["extractive"], "image")
    assert all(DESCRIBERS[name].name == name for name in DESCRIBERS)


@pytest.mark.parametrize("name", ["enrichment", "dissect"])
def test_each_meaning_is_described_by_itself(name, evidence, resources, study):
    some = replace(evidence, units=evidence.units[1:3])
    found = meanings(some, DESCRIBERS[name], resources, study)
    assert {each.description.text for each in found} == {"battery life", "soup"}
    assert {each.unit for each in found} == {each.description.unit for each in found} == {"u1"}
    assert sum(each.exemplars for each in found) == 80 and [each.part for each in found] == [1, 2]


def test_clusters_that_say_the_same_are_one_meaning(evidence, resources, study):
    some = replace(evidence, units=evidence.units[1:2])
    texts = {f"u1, part {n}": "the same" for n in (1, 2)}
    assert meanings(some, Given(texts), resources, study) == []
    assert meanings(some, Given({"u1, part 1": "the same"}), resources, study) == []

"""The study of classes on a made world: coloured noise, and an encoder that knows colour words."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from fault_server import FaultServer
from PIL import Image
from torch import nn

import saywell.store.study as store
from saywell.data.images import load_images
from saywell.describers.class_texts.class_describer import MOST_COMPONENTS
from saywell.describers.registry import DESCRIBERS
from saywell.description import Description
from saywell.encoders.precomputed import open_precomputed
from saywell.errors import InputError, StudyError
from saywell.language_models import DryRun, open_language_model
from saywell.language_models.scripted import Scripted
from saywell.selection.of_texts import chosen_by
from saywell.store.study import Study
from saywell.studies.audit import audit_study, verify_unit
from saywell.studies.classes import describe_classes, plan_classes
from saywell.studies.classes.classify import classify_images
from saywell.studies.classes.figures import auroc_intervals, auroc_within
from saywell.studies.classes.pool import (
    ALL_TEXTS,
    CLASS_NAMES,
    PERMUTED,
    RANDOM_WORDS,
    SEARCHED,
    name_free,
    weighted,
)
from saywell.transfer.cross_modal import Settings as Training
from saywell.transfer.text_sets import TextSet

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
CLASSES = {"Orvel": "red", "Tamsin": "green", "Größe 狐": "blue"}
QUICK = Training(epochs=8, text_epochs=4, text_rates=(0.0, 1.0), joint_weights=(), folds=2)


class Colours:
    """Sees mean colours and reads colour words; anything else is a little noise."""

    name, fingerprint, dim, max_tokens = "colours", "colours-1", 4, 16

    def encode_images(self, images):
        seen = np.array([np.asarray(i, dtype=float).mean((0, 1)) / 255 for i in images])
        return self._unit(np.hstack([seen, np.full((len(seen), 1), 0.5)]))

    def encode_texts(self, texts):
        assert max(self.count_tokens(texts), default=0) <= self.max_tokens
        rows = []
        for text in texts:
            row = np.array([0.1, 0.1, 0.1, 1 + len(text) / 100])
            for place, colour in enumerate(COLOURS):
                row[place] += len(re.findall(colour, text.lower()))
            rows.append(row)
        return self._unit(np.array(rows).reshape(-1, 4))

    def count_tokens(self, texts):
        return np.array([len(text.split()) for text in texts], dtype=np.int64)

    def _unit(self, rows):
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def paint(folder, name, colour, count, seed=0):
    random = np.random.default_rng([seed, len(name), *COLOURS[colour]])
    (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.clip(random.normal(COLOURS[colour], 60, (8, 8, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name / f"{number}.png")


TEXTS = {
    name: [
        f"The coat is {colour}.",
        f"A {colour} body without marks.",
        "It was traded by the guild.",
        f"Some say it is {wrong}, which it is not.",
        "Old books mention its price.",
    ]
    for (name, colour), wrong in zip(CLASSES.items(), ("green", "blue", "red"), strict=True)
}
GOOD = pl.DataFrame(
    [(name, text, colour in text) for name, colour in CLASSES.items() for text in TEXTS[name]],
    schema=["class", "text", "good"],
    orient="row",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    for name, colour in CLASSES.items():
        paint(folder / "images", name, colour, 15)
        (folder / "articles").mkdir(exist_ok=True)
        (folder / "articles" / f"{name}.txt").write_text(" ".join(TEXTS[name]))
    return folder


def load(folder):
    return load_images(folder, near=None)


def run(world, out, **options):
    given = {
        "encoder": Colours(),
        "texts": TEXTS,
        "per_class": 2,
        "shots": (1, 2),
        "seeds": 2,
        "training": QUICK,
        "gold": GOOD,
    }
    return describe_classes(load(world / "images"), out=out, **(given | options))


@pytest.fixture(scope="module")
def study(world, tmp_path_factory):
    return run(world, tmp_path_factory.mktemp("study") / "s")


def by_texts(table, column):
    """A column by the texts that its rows are about."""
    return {TextSet(*row[:-1]): row[-1] for row in table.select(*TextSet._fields, column).iter_rows()}


def figure(study, name):
    return next(m for m in study.headline() if m.name == name)


def test_the_rule_chooses_the_texts_that_are_true_and_the_controls_do_not(study):
    chosen = study.table("text_scores").filter(rule="ift-proponent", chosen=True)
    texts = study.table("class_texts")
    good = chosen.join(texts, left_on="text", right_on="id")["gold"]
    assert chosen.height == 6 and good.all()
    auroc = figure(study, "AUROC of good texts, ift-proponent")
    assert auroc.value == 1 and auroc.controls["influence-only"] < 0.9
    alone = figure(study, "AUROC gain over clip-standardised, ift-proponent")
    assert abs(alone.value) < 0.1 and alone.controls["clip-standardised"] == 0
    accuracy = figure(study, "zero-shot accuracy, ift-proponent")
    assert accuracy.value > 0.9 > accuracy.controls["classes permuted"]


def test_every_figure_has_interval_and_controls_and_every_table_its_rows(study):
    for metric in study.headline():
        assert metric.controls and metric.ci_low <= metric.value <= metric.ci_high, metric.name
    zero = study.table("zero_shot")
    own = chosen_by("ift-proponent")
    accuracy = by_texts(zero, "accuracy")
    assert {own, name_free(own), CLASS_NAMES, ALL_TEXTS, RANDOM_WORDS, PERMUTED} <= set(accuracy)
    # The same rule finds nothing of the kind among as many random words.
    searched = {SEARCHED, name_free(SEARCHED)}
    assert max(accuracy[texts] for texts in searched) < accuracy[own]
    assert searched <= set(by_texts(study.table("transfer"), "accuracy"))
    size = by_texts(zero, "texts")
    assert {size[texts] for texts in searched} == {size[own]} == {6}
    gain = figure(study, "gain over searched random words, ift-proponent")
    assert gain.value == pytest.approx(accuracy[own] - accuracy[SEARCHED])
    assert gain.ci_low > 0 and not any("does not show" in note for note in study.manifest.notes)
    transfer = study.table("transfer_summary")
    forms = transfer.select("shots", "selection").unique().sort("shots", "selection").rows()
    assert forms == [(0, "select"), (1, "select"), (1, "shots"), (2, "select"), (2, "shots")]
    assert transfer.filter(method="images only")["difference"].to_list() == [0.0] * 5
    by_seed = study.table("transfer").group_by(*TextSet._fields, "shots", "selection", "training").len()
    assert (by_seed["len"] == 2).all()
    assert any("labelled images beside" in note for note in study.manifest.notes)


def test_a_study_says_when_random_words_do_as_well(world, tmp_path):
    nothing = {name: [f"{name} number {k} of the list." for k in range(4)] for name in CLASSES}
    found = run(world, tmp_path / "s", texts=nothing, gold=None, shots=())
    told = [note for note in found.manifest.notes if "does not show that the texts are true" in note]
    assert len(told) == 2 and "random words that the same rule chose" in told[0]
    assert "does not show" in (found.path / "report.html").read_text()


def test_selection_never_sees_the_test_images(world, tmp_path, study):
    """Other test labels change no score and no choice."""
    images = load(world / "images")
    other = images.table.with_columns(
        label=pl.when(pl.col("part") == "score").then(pl.lit("Orvel")).otherwise("label")
    )
    changed = replace(images, table=other, fingerprint="changed")
    again = describe_classes(
        changed,
        out=tmp_path / "s",
        encoder=Colours(),
        texts=TEXTS,
        per_class=2,
        shots=(),
        seeds=1,
        training=QUICK,
        gold=GOOD,
    )
    assert again.table("text_scores").equals(study.table("text_scores"))
    assert not again.table("zero_shot").equals(study.table("zero_shot"))


class Stop(BaseException):
    pass


def test_a_run_killed_after_every_step_ends_the_same(world, tmp_path, study, monkeypatch):
    """Killed before each step becomes part of the study in turn, its files written already."""
    commit, stops = store.StudyWriter.save, 0
    for stops in range(40):
        done = set(Study(tmp_path / "s").manifest.steps) if stops else set()

        def save(study, done=done):
            if len(set(study.manifest.steps) - done) > 1:
                raise Stop
            commit(study)

        with monkeypatch.context() as patch:
            patch.setattr(store.StudyWriter, "save", save)
            try:
                again = run(world, tmp_path / "s")
                break
            except Stop:
                continue
    assert stops == len(study.manifest.steps) - 1
    for name in study.manifest.tables:
        assert again.table(name).equals(study.table(name)), name
    assert [m.model_dump() for m in again.headline()] == [m.model_dump() for m in study.headline()]


def test_transfer_goes_on_behind_the_last_finished_run(world, tmp_path, monkeypatch):
    import saywell.studies.classes.transfer as module

    plain, calls = module._transfer_run, []

    def counted(*given):
        if len(calls) == 2:
            raise Stop
        calls.append(given)
        return plain(*given)

    monkeypatch.setattr(module, "_transfer_run", counted)
    with pytest.raises(Stop):
        run(world, tmp_path / "s")
    assert Study(tmp_path / "s").manifest.status == "stopped"
    monkeypatch.setattr(module, "_transfer_run", plain)
    kept = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "s/arrays/transfer").iterdir()}
    assert len(kept) == 2
    run(world, tmp_path / "s")
    for name, moment in kept.items():
        assert (tmp_path / "s/arrays/transfer" / name).stat().st_mtime_ns == moment


def test_other_inputs_into_the_same_folder_are_refused(world, study):
    with pytest.raises(StudyError, match="per_class"):
        run(world, study.path, per_class=3)
    with pytest.raises(StudyError, match="texts"):
        run(world, study.path, texts={n: [*t, "One more."] for n, t in TEXTS.items()})


def test_articles_without_an_llm(world, tmp_path):
    found = run(world, tmp_path / "s", texts=None, knowledge=world / "articles", shots=())
    texts = found.table("class_texts")
    assert texts["status"].unique().to_list() == ["grounded"]
    assert found.table("articles")["status"].to_list() == ["found"] * 3
    passages = dict(found.table("passages").select("id", "text").iter_rows())
    assert all(q in passages[p] for p, q in texts.select("passage", "quotation").iter_rows())


def test_classes_with_one_image_without_images_and_without_texts(tmp_path):
    for name, colour in CLASSES.items():
        paint(tmp_path / "images", name, colour, 12)
    paint(tmp_path / "images", "Lonely", "red", 1, seed=5)
    (tmp_path / "images" / "Empty").mkdir()
    (tmp_path / "images" / "Empty" / "broken.jpg").write_bytes(b"no picture")
    paint(tmp_path / "images", "Silent", "blue", 9, seed=6)
    articles = {name: " ".join(texts) for name, texts in TEXTS.items()}
    articles |= {"Lonely": "The coat is red.", "Empty": "The coat is green and red."}
    found = run(tmp_path, tmp_path / "s", texts=None, knowledge=articles, gold=None)
    counts = {row["name"]: row for row in found.table("classes").iter_rows(named=True)}
    assert counts["Lonely"]["describe"] == 1 and counts["Empty"]["describe"] == 0
    assert found.table("rejected")["name"].to_list() == ["Empty/broken.jpg"]
    silent = found.table("class_texts").filter(pl.col("class") == "Silent")
    assert silent["status"].to_list() == ["no article (missing)"]
    scores = found.table("text_scores").filter(pl.col("class") == "Empty", rule="ift-proponent")
    assert scores["score"].null_count() == scores.height and not scores["chosen"].any()
    notes = " ".join(found.manifest.notes)
    assert "'Silent'" in notes and "'Empty'" in notes and "not an image" in notes
    assert "broken.jpg" in (found.path / "report.html").read_text()


def test_names_that_read_the_same_and_other_mistakes_are_told(world, tmp_path):
    paint(tmp_path / "images", "Orvel", "red", 3)
    paint(tmp_path / "images", "orvel", "blue", 3)
    with pytest.raises(InputError, match="read the same"):
        describe_classes(tmp_path / "images", out=tmp_path / "s", encoder=Colours(), texts=TEXTS)
    for options, words in (
        ({"select": "magic"}, "select='magic' is not one of ift, ift-literal"),
        ({"seeds": 0}, "seeds=0"),
        ({"judge": True}, "llm="),
        ({"texts": None}, "no usable text"),
        ({"texts": {"Orvel": ["red"]}}, "no text for 2 of 3 classes"),
        ({"compare": {"other": {"Orvel": ["red"], "Tamsin": ["x"], "Groesse": ["y"]}}}, "by name"),
    ):
        with pytest.raises(InputError, match=words):
            run(world, tmp_path / "t", **options)
    with pytest.raises(InputError, match="one class"):
        paint(tmp_path / "single", "Orvel", "red", 9)
        describe_classes(load(tmp_path / "single"), out=tmp_path / "u", encoder=Colours())


def test_what_cannot_be_used_is_told_before_anything_slow_and_leaves_the_name_free(world, tmp_path):
    """No picture is decoded, no encoder opened and no folder made; then the same folder works."""
    opened = []

    def encoder():
        opened.append(True)
        return Colours()

    given = {
        "out": tmp_path / "s",
        "encoder": encoder,
        "per_class": 2,
        "shots": (),
        "seeds": 1,
        "training": QUICK,
    }
    broken = tmp_path / "broken"
    for name in CLASSES:
        (broken / name).mkdir(parents=True)
        (broken / name / "0.png").write_bytes(b"never looked at")
    vague = dict.fromkeys(CLASSES, "It was traded. Old books mention it.")
    for options, words in (
        ({}, "no usable text"),
        ({"knowledge": dict.fromkeys(CLASSES, "")}, "no usable text"),
        ({"knowledge": tmp_path / "nowhere"}, "nowhere"),
        ({"texts": tmp_path / "nowhere.json"}, "nowhere.json"),
        ({"texts": TEXTS, "compare": [tmp_path / "none.csv"]}, "none.csv"),
        ({"texts": TEXTS, "select": "ift-litteral"}, "did you mean 'ift-literal'"),
        ({"texts": TEXTS, "split": "part"}, "part"),
    ):
        with pytest.raises(InputError, match=words):
            describe_classes(broken, **(given | options))
        with pytest.raises(InputError, match=words):  # a dry run says the same
            plan_classes(broken, encoder=encoder, **options)
    with pytest.raises(InputError, match="not an image"):
        describe_classes(broken, **given, knowledge=vague)
    assert not opened
    long = {name: [" ".join(["word"] * 30)] for name in CLASSES}
    with pytest.raises(InputError, match="too long"):
        describe_classes(load(world / "images"), **given, texts=long)
    assert opened and not (tmp_path / "s").exists()
    found = describe_classes(load(world / "images"), **given, texts=TEXTS)
    assert found.manifest.status == "complete"
    assert plan_classes(broken, encoder=encoder, texts=TEXTS) == (f"{len(CLASSES)} classes", [])


def test_a_file_to_compare_with_changes_no_other_row(tmp_path):
    random = np.random.default_rng(0)
    for name, colour in CLASSES.items():  # hardly to be told apart: any change would show
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(60):
            pixels = 128 + 0.05 * np.array(COLOURS[colour]) + random.normal(0, 60, (8, 8, 3))
            Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(
                tmp_path / "images" / name / f"{number}.png"
            )
    # Texts all about red: they would move a mean that the sets had in common.
    red = {name: [f"{'red ' * (k % 5 + 1)}{name}" for k in range(60)] for name in CLASSES}
    given = {"training": replace(QUICK, text_rates=(3.0,)), "shots": (1,), "gold": None}
    alone = run(tmp_path, tmp_path / "alone", **given)
    beside = run(tmp_path, tmp_path / "beside", compare={"red": red}, **given)
    for table in ("zero_shot", "transfer"):
        rows = beside.table(table).filter(pl.col("role") != "file")
        assert rows.height < beside.table(table).height
        assert rows.equals(alone.table(table)), table


def test_files_to_compare_are_joined_by_name_whatever_their_order(world, tmp_path):
    right = {name: TEXTS[name][:2] for name in reversed(TEXTS)}
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(right))
    found = run(world, tmp_path / "s", compare=[file], shots=())
    row = found.table("zero_shot").filter(method="mine", name_free=False).row(0, named=True)
    assert row["accuracy"] > 0.9 and row["role"] == "file"
    assert found.table("transfer_summary").filter(method="mine", role="file").height


def test_texts_longer_than_the_encoder_reads_are_reported_not_cut(world, tmp_path):
    long = " ".join(["word"] * 30)
    given = {name: [*texts, long] for name, texts in TEXTS.items()}
    found = run(world, tmp_path / "s", texts=given, shots=())
    lost = found.table("class_texts").filter(status="too long")
    assert lost.height == 3 and lost["tokens"].to_list() == [30] * 3
    assert lost["text"].to_list() == [long] * 3


def knows(text):
    """An LLM that writes the colour, and as a judge prefers the longest description."""
    if "Rank all descriptions" in text:
        shown = re.findall(r"Description (\d+):\n<data-\w+>\n(.*?)\n</data-", text, re.S)
        order = [int(n) for n, t in sorted(shown, key=lambda s: -len(s[1]))]
        return json.dumps({"helpful": order, "informative": order, "relevant": order})
    names = re.findall("|".join(CLASSES), text)
    if '"facts"' in text:
        colour = CLASSES[names[0]]
        facts = [
            {
                "component": 1,
                "text": f"The coat is {colour}.",
                "passage": 1,
                "quotation": f"The coat is {colour}.",
            },
            {"component": 2, "text": "Nobody knows.", "passage": 0, "quotation": ""},
        ]
        return json.dumps({"facts": facts})
    items = re.findall(r"(\d+)[.:]?\s*\n<data-\w+>\n(?:" + "|".join(CLASSES) + ")", text)
    return json.dumps({"items": [{"item": int(n), "components": ["coat", "voice"]} for n in items]})


def test_an_llm_writes_and_judges_blind_and_a_second_run_asks_nothing(world, tmp_path):
    asked = []

    def answer(request):
        asked.append(request)
        return knows("\n".join(m.text for m in request.messages))

    def go():
        model = Scripted(answer, calls=tmp_path / "s" / "calls.sqlite")
        (tmp_path / "s").mkdir(exist_ok=True)
        return run(
            world,
            tmp_path / "s",
            texts=None,
            knowledge=world / "articles",
            llm=model,
            judge=True,
            shots=(),
            compare={"other": {n: TEXTS[n][:3] for n in TEXTS}},
        )

    (tmp_path / "s").mkdir()
    found = go()
    texts = found.table("class_texts")
    assert texts.filter(status="grounded").height == 3
    judged = found.table("judgements")
    assert judged.height == 27 and judged["status"].to_list() == ["ok"] * 27
    prompts = ["\n".join(m.text for m in r.messages) for r in asked if r.step == "judge"]
    assert len(prompts) == 9 and not any("ift" in p or "clip" in p for p in prompts)
    assert all(len(r.messages[-1].images) == 2 for r in asked if r.step == "judge")
    best = figure(found, "judged most helpful, ift-proponent")
    assert best.n == 3 and "other" in best.controls
    assert figure(found, "judge agrees with itself, turned around").value == 1
    assert found.manifest.cost["calls"] == len(asked)
    before = len(asked)
    go()
    assert len(asked) == before


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, len(CLASSES))

    def forward(self, images):
        return self.head(images.mean((2, 3)))


def test_influence_in_a_network_trained_from_pixels(world, tmp_path):
    found = run(world, tmp_path / "s", network=Network(), network_epochs=3, network_side=8, shots=())
    assert set(found.table("influence")["model"]) == {"linear head", "Network"}
    scores = found.table("text_scores").filter(rule="ift-proponent", network=True)
    assert scores.height == 15 and scores["score"].null_count() == 0
    assert chosen_by("ift-literal", network=True) in by_texts(found.table("zero_shot"), "texts")
    assert 0 <= figure(found, "AUROC of good texts, ift-proponent, network").value <= 1


def test_classify_names_the_class_and_the_texts_that_said_so(study, tmp_path):
    paint(tmp_path, "new", "green", 1, seed=9)
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    files = [tmp_path / "new" / "0.png", bad, tmp_path / "missing.png"]
    table = classify_images(study, files, encode=Colours().encode_images, classes=2, texts=2)
    first = table.filter(rank=1, file=str(files[0])).row(0, named=True)
    assert first["class"] == "Tamsin" and all("green" in text for text in first["texts"])
    assert first["evidence"] == sorted(first["evidence"], reverse=True) and first["evidence"][0] > 0
    problems = dict(table.filter(pl.col("problem").is_not_null()).select("file", "problem").rows())
    assert set(problems) == {str(bad), str(files[2])} and "not an image" in problems[str(bad)]


def test_each_sentence_has_a_verdict_repeats_are_dropped_and_pairs_at_odds_are_marked(tmp_path):
    wrong = dict(zip(CLASSES, ("green", "blue", "red"), strict=True))
    texts = {}
    for name, colour in CLASSES.items():
        paint(tmp_path / "images", name, colour, 40)
        texts[name] = [
            f"The {name} has a {colour} coat.",
            f"The coat of the {name} is {colour}.",
            f"The coat is {wrong[name]}.",
            "It is known by its quirl.",
            "It has no quirl.",
            "Quills are traded by the guild.",
        ]
    found = run(tmp_path, tmp_path / "s", texts=texts, gold=None, shots=(), per_class=6)
    kept = found.table("class_texts")
    words = dict(kept.select("id", "text").iter_rows())
    repeats = kept.filter(pl.col("same_as").is_not_null()).select("text", "same_as")
    assert {one: words[first] for one, first in repeats.iter_rows()} == {o[1]: o[0] for o in texts.values()}
    scores = found.table("sentence_scores").join(kept, left_on="text", right_on="id")
    assert scores.height == 18 and scores["decides"].all()
    # Of two that say the same one is chosen, and nothing worse comes in for the other.
    chosen = scores.filter("chosen")
    assert chosen.height == 15 and chosen["text_right"].str.contains("coat").sum() == 6
    verified = chosen.filter(status="verified")["text_right"].to_list()
    assert len(verified) == 3 and {*verified} <= {text for own in texts.values() for text in own[:2]}
    assert set(scores["exchanged"]) == {"not verified"}
    floors = scores.select("another_class", "nearest_sibling", "always").max_horizontal()
    assert (scores["control"] - floors).abs().max() < 1e-12 and scores["class_name"].null_count() == 0
    pairs = [[words[row[1]], words[row[2]], row[3]] for row in found.table("contradictions").iter_rows()]
    assert sorted(pairs[0][2:] + pairs[1][2:]) == ["colour", "what one denies"] and len(pairs) == 6
    share = figure(found, "chosen sentences verified alone")
    assert share.value == 0.2 and share.n == 15 and list(share.controls.values()) == [0]
    assert sum("3 texts that are among the 6 best" in note for note in found.manifest.notes) == 1
    page = (found.path / "report.html").read_text()
    card = found.unit("Orvel")
    assert card.of_sentences == "1 of 5 sentences verified alone, 2 pairs at odds"
    assert card.to_begin_with[0] in texts["Orvel"][:2] and "says the same as “" in page
    assert page.count("≠ ") >= 12 and "1 of 5 sentences verified alone, 2 pairs at odds" in page
    tidy = found.tidy().filter(unit="Orvel").row(0, named=True)
    assert tidy["verified_sentences"] == [card.to_begin_with[0]] and len(tidy["at_odds"]) == 2


def test_classify_refuses_what_is_no_study(tmp_path):
    with pytest.raises(StudyError, match="is not a study"):
        classify_images(tmp_path, [])


def test_the_page_needs_no_network_and_escapes_what_others_wrote(world, tmp_path):
    hostile = {n: [*t, f"<script>alert('{n}')</script> red"] for n, t in TEXTS.items()}
    found = run(world, tmp_path / "s", texts=hostile, shots=(1,))
    page = (found.path / "report.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    assert not re.search(r'(?:src|href)="(?!data:image/jpeg;base64,|#)', page)
    assert "could not be drawn" not in page and "data:image/jpeg;base64," in page
    assert "Größe 狐" in page


@pytest.mark.slow
def test_hundreds_of_classes_with_vectors_from_files(tmp_path):
    many = 200
    random = np.random.default_rng(0)
    names = [f"class {n:04}" for n in range(many)]
    centres = random.normal(size=(many, 24))
    rows, vectors = [], []
    from io import BytesIO

    for number, name in enumerate(names):
        for _ in range(4):
            kept = BytesIO()
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(kept, "PNG")
            rows.append({"image": {"bytes": kept.getvalue(), "path": None}, "label": name})
            vectors.append(centres[number] + 0.3 * random.normal(size=24))
    pl.DataFrame(rows).write_parquet(tmp_path / "images.parquet")
    shown = load_images(tmp_path / "images.parquet", near=None)
    place = dict(enumerate(vectors))
    pl.DataFrame(
        {"id": shown.table["id"], "embedding": [place[r].tolist() for r in shown.table["row"]]}
    ).write_parquet(tmp_path / "image-vectors.parquet")
    texts = {name: [f"what {name} is", f"what {name} is not"] for name in names}
    said = [centres[n] + 0.5 * random.normal(size=24) for n in range(many)]
    flat = [v for good in said for v in (good, random.normal(size=24))]
    pl.DataFrame(
        {"text": [t for own in texts.values() for t in own], "embedding": [v.tolist() for v in flat]}
    ).write_parquet(tmp_path / "text-vectors.parquet")
    encoder = open_precomputed(tmp_path / "image-vectors.parquet", tmp_path / "text-vectors.parquet")
    quick = Training(epochs=2, text_epochs=1, text_rates=(0.0, 1.0), joint_weights=())
    found = describe_classes(
        shown,
        out=tmp_path / "s",
        encoder=encoder,
        texts=texts,
        per_class=1,
        shots=(1,),
        seeds=1,
        training=quick,
    )
    chosen = found.table("text_scores").filter(rule="ift-proponent", chosen=True)
    texts_of = dict(found.table("class_texts").select("id", "text").iter_rows())
    right = [not texts_of[id].endswith("not") for id in chosen["text"]]
    assert len(right) > 0.9 * many and np.mean(right) > 0.9
    assert (found.path / "report.html").stat().st_size < 3_500_000  # most of it small pictures
    with pytest.raises(InputError, match="cannot see new images"):
        classify_images(found, [])


def test_auroc_inside_classes_by_hand():
    scores = np.array([3.0, 1.0, 2.0, 5.0, 5.0, np.nan])
    good = np.array([True, True, False, True, False, False])
    won, pairs = auroc_within(scores, good, np.array([0, 0, 0, 1, 1, 1]), 3)
    assert won.tolist() == [1.0, 1.5, 0.0] and pairs.tolist() == [2.0, 2.0, 0.0]
    found = auroc_intervals({"a": scores, "b": -scores}, good, np.array([0, 0, 0, 1, 1, 1]), 3, against="a")
    assert found["a"][0].value == pytest.approx(2.5 / 4)
    assert found["a"][1][:3] == (0.0, 0.0, 0.0)
    assert found["b"][0].value == pytest.approx((1 + 1.5) / 4)


def test_every_set_of_texts_has_a_role_and_a_name_of_its_own():
    own = chosen_by("ift-proponent")
    assert own.role == "rule" and weighted(own).said == "ift-proponent, weighted"
    assert chosen_by("clip-only").role == RANDOM_WORDS.role == "control"
    assert name_free(SEARCHED).said == "random words, name-free, searched"
    file = TextSet("ift-proponent", "file")
    assert file != own and name_free(file).said == "file: ift-proponent, name-free"


def test_the_audit_derives_every_figure_again(study):
    found = audit_study(study)
    assert found.filter(status="failed").is_empty(), found.filter(status="failed").rows()
    assert {f"figure {metric.name}" for metric in study.headline()} <= set(found["check"])


def test_others_write_and_read_beside_and_a_class_is_verified_like_any_unit(world, tmp_path, monkeypatch):
    class Named:
        """Says the colour of a class, and of one class nothing."""

        name, version, kinds, needs_tags, tables = "named", 1, ("image",), False, ()

        def describe(self, evidence, resources, study):
            own = evidence.ids
            assert set(evidence.examples.table["part"]) == {"describe"}
            return [Description(unit, CLASSES[unit] if unit != own[0] else "", "silent") for unit in own]

    monkeypatch.setitem(DESCRIBERS, "named", Named())
    given = {
        "texts": {
            n: [f"{t} It is said by all of them who went there." for t in own] for n, own in TEXTS.items()
        }
    }
    found = run(
        world,
        tmp_path / "s",
        describer=["named"],
        reader=["mean-of-texts", "dual-encoder"],
        shots=(),
        **given,
    )
    scores = found.scores
    by = scores.group_by("describer", "reader").len().sort("describer", "reader").rows()
    readers = ("dual-encoder", "mean-of-texts")
    assert by == [(d, r, n) for d, n in (("class-texts", 3), ("named", 2)) for r in readers]
    assert found.descriptions.filter(selected=True)["unit"].to_list() == sorted(CLASSES)
    assert scores["value"].min() > 0.6
    # No reader of a whole description longer than the encoder reads: its sentences are offered.
    assert scores["unanswered"].sum() == 0 and not scores["threshold"].is_infinite().any()
    share, *_ = (m for m in found.headline() if m.figure == "verified")
    assert not share.by and list(share.controls) == ["shuffled examples"]
    checked = verify_unit(found, "Orvel")
    assert checked["status"].unique().to_list() == ["ok"] and checked.height > 5
    with pytest.raises(InputError, match="speaks in descriptors"):
        run(world, tmp_path / "t", describer=["dissect"])


def test_classes_are_scored_beside_their_floors(study):
    scores, floors = study.scores, study.table("floors")
    assert set(scores["unit"]) <= set(study.table("classes")["name"])
    assert {"another unit", "nearest sibling", "class name", "always", "never"} == set(floors["floor"])
    assert floors.drop_nulls("value").group_by("floor").len()["len"].to_list() == [len(CLASSES)] * 5
    best = floors.group_by("unit").agg(best=pl.col("value").max())
    joined = scores.join(best, on="unit")
    assert joined.select((pl.col("control") - pl.col("best")).abs().max()).item() < 1e-9
    test = set(study.examples.filter(part="score")["id"])
    assert set(study.table("counterexamples")["example"]) <= test


@pytest.fixture
def counting():
    """A language model that counts, on a server that must not be asked."""
    with (
        FaultServer(lambda messages: pytest.fail("asked")) as server,
        open_language_model("openai-compatible:fake", url=server.url, env={}, replay=True) as model,
    ):
        yield DryRun(model)


def test_a_dry_run_counts_and_sends_nothing(world, counting):
    of, steps = plan_classes(
        world / "images", encoder=Colours(), llm=counting, knowledge=world / "articles", judge=True
    )
    steps = {step.step: step for step in steps}
    assert of == "3 classes"
    assert steps["class components"].calls == 1 and steps["class components"].guessed == 0
    assert steps["class components"].input_tokens > 100
    assert steps["class sentences"].guessed == steps["class sentences"].calls == len(CLASSES)
    assert steps["class sentences"].output_tokens == len(CLASSES) * (200 + 200 * MOST_COMPONENTS)
    assert steps["judge"].guessed == steps["judge"].calls == 3 * len(CLASSES)


def test_a_dry_run_with_given_texts_asks_for_none(world, counting):
    assert plan_classes(world / "images", encoder=Colours(), llm=counting, texts=TEXTS).steps == []

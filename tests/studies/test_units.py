"""Units of one's own: from any source to descriptions that hold, and one error for what cannot be described."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from PIL import Image
from safetensors.numpy import save_file
from starlette.testclient import TestClient
from transformers import (
    MobileNetV2Config,
    MobileNetV2ForImageClassification,
    MobileNetV2ImageProcessor,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)
from typer.testing import CliRunner

import saywell
from saywell.claims.paraphrase import PARAPHRASE
from saywell.cli import app
from saywell.errors import InputError, SaywellError, StudyError
from saywell.explorer.app import build_app
from saywell.explorer.security import Door
from saywell.explorer.shelf import open_studies
from saywell.language_models import DryRun, load_prompt
from saywell.language_models.scripted import Scripted
from saywell.report.unit_cards import Around, thumbnails, unit_card
from saywell.studies.audit import audit_study
from saywell.studies.units import describe_units, plan_units
from saywell.units.matrix import Matrix
from saywell.units.models import load_vision_model
from saywell.units.vision import Vision

SEED = np.random.default_rng(0)
NOISE = SEED.normal(size=(300, 4))


def numbers(corpus, *, noise=4):
    """A column for each topic, strong where a text is of it, and columns of noise; rows as in the corpus."""
    topics = ["battery", "food", "room"]
    about = np.array([[float(topic in own) for topic in topics] for own in corpus["topic"]])
    weak = np.random.default_rng(1).normal(0, 0.1, about.shape)
    return np.concatenate([about + weak, NOISE[:, :noise]], axis=1)


def told(study):
    """What is verified, by unit."""
    rows = study.scores.filter(status="verified", reader=study.scores["reader"][0])
    texts = dict(study.descriptions.select("id", "text").iter_rows())
    return {unit: texts[own] for unit, own in rows.select("unit", "description").iter_rows()}


HOW = {"firing": "above:0.5", "describer": ["enrichment"], "reader": ["lexical", "sentence-encoder", "tags"]}


def assert_audited(study):
    checks = audit_study(study)
    assert checks.filter(status="failed").rows() == []
    assert {"table units derived again", "table control_scores derived again"} <= set(checks["check"])


NAMES = ["battery", "food", "room", "n0", "n1", "n2", "n3"]
SAID = {
    "battery": {"battery", "charger", "phone"},
    "food": {"food", "soup", "waiter"},
    "room": {"room", "bed"},
}


def check(found):
    """The true units are told in words of their own, and noise is not."""
    assert set(found) == set(SAID)
    for unit, words in SAID.items():
        others = set().union(*(own for other, own in SAID.items() if other != unit))
        assert set(found[unit].replace(",", "").split()) & words
        assert not set(found[unit].replace(",", "").split()) & others


@pytest.fixture(scope="module")
def study(corpus, encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("units")
    np.save(folder / "a.npy", numbers(corpus))
    return describe_units(corpus, folder / "a.npy", out=folder / "s", names=NAMES, encoder=encoder, **HOW)


def test_a_matrix_is_described_where_there_is_something_to_say(study):
    check(told(study))
    control = study.table("control_scores")
    assert not (control["status"] == "verified").any()
    assert study.manifest.kind == "units" and (study.path / "report.html").exists()
    assert set(study.scores["reader"]) == {"sentence-encoder", "lexical", "tags"}
    assert_audited(study)
    assert study.unit("food").exemplars and study.search("soup").height


@pytest.mark.parametrize("form", ["safetensors", "npz", "wide", "long", "array", "mapping"])
def test_every_form_of_the_same_numbers_is_the_same_study(form, study, corpus, encoder, tmp_path):
    values = numbers(corpus).astype(np.float64)
    given = tmp_path / f"a.{form}"
    if form == "safetensors":
        save_file({"a": values}, given)
    elif form == "npz":
        sp.save_npz(given, sp.csr_matrix(values))
    elif form == "array":
        given = values
    elif form == "mapping":
        given = {name: values[:, column] for column, name in enumerate(NAMES)}
    else:
        given, table = tmp_path / "a.parquet", pl.DataFrame(values, schema=NAMES).with_row_index("example")
        table = table.with_columns(pl.col("example").cast(pl.Int64)).sample(fraction=1, shuffle=True, seed=1)
        if form == "long":
            table = table.unpivot(index="example", variable_name="unit", value_name="value")
        table.write_parquet(given)
    names = NAMES if form in ("safetensors", "npz", "array") else None
    # Without a run: the page and the sentences are the same, only the way in differs.
    found = describe_units(
        corpus, given, out=tmp_path / "s", names=names, encoder=encoder, control=False, **HOW
    )
    for table, key in (("scores", ["unit", "reader", "part"]), ("exemplars", ["unit", "part", "rank"])):
        here, there = found.table(table).sort(key), study.table(table).sort(key)
        assert here.equals(there)


def test_an_audit_leaves_out_claims_of_an_encoder_that_cannot_be_had(corpus, encoder, tmp_path):
    run = dict(out=tmp_path / "s", encoder=encoder, firing="above:0.5")
    study = describe_units(corpus, numbers(corpus, noise=1), **run)
    assert study.descriptions["claim"].drop_nulls().len() >= 3
    checks = audit_study(study)
    assert checks.filter(status="failed").rows() == [] and "table units derived again" in set(checks["check"])


def test_columns_of_the_table(corpus, encoder, tmp_path):
    table = corpus.with_columns(
        label=pl.col("topic").list.first(),
        stars=pl.col("topic").list.first().replace_strict({"food": 5, "room": 1, "battery": 2}),
    )
    study = describe_units(
        table, column=["label", "stars"], out=tmp_path / "s", encoder=encoder, reader="lexical"
    )
    found = told(study)
    assert {"label=battery", "label=food", "label=room", "stars", "stars-"} == set(study.units["id"])
    check({unit.removeprefix("label="): text for unit, text in found.items() if "label" in unit})
    assert "food" in found["stars"] or "soup" in found["stars"]


def test_functions_and_lists_of_names(corpus, encoder, tmp_path):
    study = saywell.describe_units(
        corpus,
        {"food": lambda text: "soup" in text or "food" in text},
        out=tmp_path / "s",
        encoder=encoder,
        firing="above:0",
        reader="lexical",
    )
    assert "food" in told(study)["food"] or "soup" in told(study)["food"]


def test_another_function_is_another_study_and_yes_and_no_need_no_rule(corpus, encoder, tmp_path):
    run = dict(out=tmp_path / "s", encoder=encoder, reader="lexical", control=False)

    def of(word):
        return {"f": lambda text: word in text, "never": lambda text: text == word}

    study = describe_units(corpus, of("soup"), **run)
    assert "soup" in told(study)["f"]
    assert study.descriptions.filter(unit="never")["status"][0].startswith("no description: it")
    assert describe_units(corpus, of("soup"), **run).descriptions.equals(study.descriptions)
    with pytest.raises(StudyError, match="units: not the same content"):
        describe_units(corpus, of("room"), **run)


def test_units_can_fire_where_a_column_says_so(corpus, encoder, tmp_path):
    table = corpus.with_columns(bought=pl.col("topic").list.contains("room"))
    run = dict(
        out=tmp_path / "s", encoder=encoder, firing="bought", describer=["enrichment"], reader="lexical"
    )
    study = describe_units(table, NOISE[:, 0], **run)
    assert set(told(study)["unit/0"].replace(",", "").split()) & SAID["room"]
    assert not (study.table("control_scores")["status"] == "verified").any()
    assert_audited(study)
    again = describe_units(table, NOISE[:, 0], **run)
    assert again.descriptions.equals(study.descriptions)
    with pytest.raises(StudyError):
        describe_units(table, NOISE[:, 1], **run)


def test_directions_are_described_at_their_place(corpus, bert, tokenizer, encoder, tmp_path):
    width = bert.config.hidden_size
    vectors = {name: np.random.default_rng(n).normal(size=width) for n, name in enumerate(("one", "two"))}
    module = next(name for name, _ in bert.named_modules() if name.endswith("output.LayerNorm"))
    study = describe_units(
        corpus,
        model=bert,
        tokenizer=tokenizer,
        module=module,
        directions=vectors,
        encoder=encoder,
        describer=["enrichment"],
        reader="lexical",
        out=tmp_path / "s",
    )
    assert set(study.units["id"]) == {"one", "two"}
    assert_audited(study)
    assert study.exemplars["span_start"].null_count() == 0


class Colours:
    """Sees the mean colour of a picture, and knows the words for it."""

    name = fingerprint = "colours"
    dim, max_tokens = 3, 20

    def encode_images(self, pictures):
        found = np.stack([np.asarray(p, dtype=np.float32).reshape(-1, 3).mean(0) for p in pictures]) - 80
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def encode_texts(self, texts):
        axes = {"red": 0, "green": 1, "blue": 2}
        found = np.full((len(texts), 3), -0.4, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.replace(",", "").split():
                found[row, axes[word]] = 1
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    def count_tokens(self, texts):
        return np.array([len(text.split()) for text in texts])


def test_pictures_are_described_by_a_vocabulary(tmp_path):
    colours, draw = np.array([(200, 40, 40), (40, 200, 40), (40, 40, 200)]), np.random.default_rng(0)
    (tmp_path / "pictures" / "deep").mkdir(parents=True)
    which = draw.integers(0, 3, 150)
    for number, own in enumerate(which):
        pixels = np.clip(draw.normal(colours[own], 20, (12, 12, 3)), 0, 255).astype(np.uint8)
        folder = tmp_path / "pictures" / ("deep" if number >= 75 else "")
        Image.fromarray(pixels).save(folder / f"{number:03}.png")
    order = sorted(
        f.relative_to(tmp_path / "pictures").as_posix() for f in (tmp_path / "pictures").rglob("*.png")
    )
    rows = [int(name[-7:-4]) for name in order]
    values = np.stack([which[rows] == n for n in range(3)], axis=1) + draw.normal(0, 0.1, (150, 3))
    (tmp_path / "words.json").write_text(json.dumps(["red", "green", "blue", "blue"]))
    run = dict(
        out=tmp_path / "s",
        names=["a", "b", "c"],
        describer=["enrichment"],
        reader="dual-encoder",
        encoder=Colours(),
        firing="above:0.5",
    )
    with pytest.raises(InputError, match=r"--vocabulary FILE"):
        describe_units(tmp_path / "pictures", values, **run)
    study = describe_units(tmp_path / "pictures", values, vocabulary=tmp_path / "words.json", **run)
    assert told(study) == {"a": "red", "b": "green", "c": "blue"}
    assert study.scores["reader"][0] == "dual-encoder" and "label" not in study.examples.columns


def painted(folder: Path, number: int = 60) -> list[str]:
    """Pictures that are red or blue, in folders called so; their names in order."""
    draw = np.random.default_rng(1)
    for place in range(number):
        hue = ("red", "blue")[place % 2]
        (folder / hue).mkdir(parents=True, exist_ok=True)
        pixels = draw.normal({"red": (200, 40, 40), "blue": (40, 40, 200)}[hue], 20, (24, 24, 3))
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / hue / f"{place:03}.png")
    return [f"{('red', 'blue')[place % 2]}/{place:03}.png" for place in range(number)]


def test_columns_of_pictures_are_those_of_their_table_or_the_folders_names(tmp_path):
    paths = painted(tmp_path / "p")
    warm = [float(path.startswith("red")) + number % 3 / 10 for number, path in enumerate(paths)]
    table = pl.DataFrame(
        {"path": paths, "warm": warm, "mark": ["a", None] * 30, "label": [p[:3] for p in paths]}
    )
    table.write_csv(tmp_path / "p" / "table.csv")
    run = dict(describer=["claims"], images=True, control=False)
    study = describe_units(
        tmp_path / "p" / "table.csv", column=["warm"], firing="above:0.5", out=tmp_path / "s", **run
    )
    assert dict(study.examples.select("name", "warm").iter_rows()) == dict(zip(paths, warm, strict=True))
    assert "red" in told(study)["warm"]
    assert not [row for row in audit_study(study).rows() if "failed" in row]
    by_folder = describe_units(tmp_path / "p", column="label", out=tmp_path / "t", **run)
    assert {"label=red", "label=blue"} <= set(by_folder.units["id"])
    assert "blue" in told(by_folder)["label=blue"]
    for column, more, why in (
        ("warm", {}, "one column is 'label'.*for 'warm' give a table"),
        ("label", {"tags": "label"}, "--vocabulary FILE"),
        ("label", {"describer": ["enrichment"]}, "give one of --encoder.*--describer claims"),
    ):
        with pytest.raises(InputError, match=why):
            describe_units(tmp_path / "p", column=column, out=tmp_path / "u", **run | more)
    with pytest.raises(InputError, match=r"no column 'wam'.*did you mean 'warm'.*--column"):
        describe_units(tmp_path / "p" / "table.csv", column="wam", out=tmp_path / "u", **run)


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        (None, {}, "not from none: give one of: activations"),
        (np.zeros((300, 2)), {"column": "topic"}, "not from activations and column"),
        (np.zeros((299, 2)), {}, r"299 rows, and the examples were read from 300"),
        (np.full((300, 2), np.inf), {}, "unit/0 is inf on row"),
        (np.full((300, 2), np.nan), {}, None),
        ("nowhere.npy", {}, "no file 'nowhere.npy'"),
        ("text.csv", {}, "activations are read from .npy"),
        (np.array([["a"] * 2] * 300), {}, "no matrix of numbers"),
        (np.eye(300)[:, :2], {"names": ["a"]}, "2 units, and there are 1 names"),
        (np.eye(300)[:, :2], {"names": ["a", "a"]}, "are called 'a'"),
        (np.eye(300)[:, :2], {"firing": "topp:0.1"}, "'topp:0.1' .* is neither top:SHARE"),
        (np.eye(300)[:, :2], {"firing": "top:2"}, "top share above 0 and up to 0.5"),
        (np.eye(300)[:, :2], {"firing": "words"}, "column 'words' is to say"),
        (np.eye(300)[:, :2], {"module": "a.b"}, r"module='a.b' \(--module\) is of a model"),
        (np.eye(300)[:, :2], {"vocabulary": ["one"]}, "1 phrases"),
        (np.eye(300)[:, :2], {"describer": "nobody"}, "unknown describer 'nobody'"),
        (np.eye(300)[:, :2], {"reader": "dual-encoder"}, "reads image examples only"),
        (np.eye(300)[:, :2], {"modul": "x"}, "no option 'modul'; did you mean 'module'"),
        (None, {"column": "nothing"}, "no column 'nothing'.*--column"),
        (None, {"column": "words"}, "column 'words' has another value in each of 300 examples"),
        (None, {"column": "one"}, "only the value"),
        (None, {"column": "text"}, "called like a column that every study has"),
        (None, {"column": "topic", "tags": "topic"}, "gives away"),
        ({"f": lambda text: float("nan")}, {}, "function 'f' on example"),
        ([len, 3], {}, r"activations\[1\] is no function"),
        ([lambda text: 1, lambda text: 2], {}, "two functions are called '<lambda>'"),
        ({"f": lambda text: 1j}, {}, "which is no number"),
        ({"f": lambda text: 1.0, "g": 3}, {}, r"activations\['g'\] is no function"),
        (None, {"model": "minilm"}, "name it: module="),
        ({"a": np.ma.masked_all(300)}, {}, None),
        ({"a": [1, 2], "b": [1]}, {}, "activations by name are functions of an example, or one number"),
    ],
)
def test_what_cannot_be_described_is_one_error_and_leaves_nothing(
    given, options, said, corpus, encoder, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.csv").write_text("a,b\n1,2\n")
    table = corpus.with_columns(words=pl.col("text").str.head(9) + pl.int_range(300).cast(pl.String), one=1)
    run = dict(out=tmp_path / "s", encoder=encoder, **options)
    if said is None:
        study = describe_units(table, given, describer=["enrichment"], **run)
        assert set(study.descriptions["status"]) == {"no description: nothing is known of it"}
        return
    with pytest.raises(SaywellError, match=said):
        describe_units(table, given, **run)


def test_pickles_are_refused(corpus, encoder, tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"cannot be read as \.npy"):
        describe_units(corpus, tmp_path / "a.npy", out=tmp_path / "s", encoder=encoder)
    torch.save(torch.zeros(3), tmp_path / "a.pt")
    with pytest.raises(InputError, match="activations are read from"):
        describe_units(corpus, tmp_path / "a.pt", out=tmp_path / "s", encoder=encoder)


def test_a_plan_checks_the_same_and_asks_nobody(corpus, encoder, tmp_path):
    planned = plan_units(corpus, numbers(corpus), encoder=encoder)
    assert planned.of == "300 texts, 7 units" and planned.steps == []
    with pytest.raises(InputError, match="299 rows"):
        plan_units(corpus, numbers(corpus)[1:], encoder=encoder)


class Editor:
    """Puts claims otherwise: as they are meant, but for those that say "food"; what it was shown is `seen`."""

    def __init__(self, answers=True):
        self.seen, self.answers = [], answers

    def __call__(self, request):
        assert request.step == "paraphrase"
        text = "\n".join(message.text for message in request.messages)
        shown = re.findall(r"Description (\d+):\n<data-\w+>\n(.*?)\n</data-", text)
        self.seen += [sentence for _, sentence in shown]
        said = [
            {"item": int(n), "text": f'{one} or "pie"' if "food" in one else f"any text with {one}."}
            for n, one in shown
        ]
        return json.dumps({"items": said}) if self.answers else "I cannot help with that."


def paraphrasing(editor, corpus, out, **options):
    options = {"names": NAMES, "firing": "above:0.5", "tags": "topic", "paraphrase": True, **options}
    out.mkdir(exist_ok=True)
    with Scripted(editor, calls=out / "calls.sqlite") as llm:
        return describe_units(corpus, numbers(corpus), out=out, llm=llm, **options)


def test_claims_are_put_otherwise_where_that_says_the_same(corpus, tmp_path, monkeypatch):
    soup = np.array([["soup" in text] for text in corpus["text"]]) + 0.1 * NOISE[:, :1]
    somewhere = np.repeat(soup, len(NAMES), axis=1)  # a control of which there is something to say
    monkeypatch.setattr(Matrix, "control", lambda self, seed: replace(self, values=somewhere))
    plain = paraphrasing(pytest.fail, corpus, tmp_path / "plain", paraphrase=False)
    editor, folder = Editor(), tmp_path / "s"
    study = paraphrasing(editor, corpus, folder)
    was, now = (one.descriptions.sort("id") for one in (plain, study))
    claims = now["claim"].is_not_null()
    assert was["claim"].equals(now["claim"], null_equal=True)
    # Only what is said of the units was shown, each sentence once.
    assert 'the word "soup"' in study.table("control_scores")["text"]
    assert sorted(editor.seen) == sorted(set(was.filter(claims)["text"]))
    assert now.filter(~claims).drop("selected").equals(was.filter(~claims).drop("selected"), null_equal=True)
    outcome = set()
    for before, after in zip(
        was.filter(claims)["text"], now.filter(claims).iter_rows(named=True), strict=True
    ):
        kept = "food" not in before
        outcome.add(kept)
        assert after["text"] == (f"any text with {before}" if kept else before)
        assert (after["llm"], after["prompt_hash"]) == (
            ("scripted", load_prompt(PARAPHRASE).hash) if kept else (None, None)
        )
    assert outcome == {True, False}
    # The reader that executes them reads the same, and so does whoever makes the study again.
    by = {"reader": "claims", "describer": "claims"}
    assert plain.scores.filter(**by)["value"].equals(study.scores.filter(**by)["value"], null_equal=True)
    assert plain.table("control_scores").equals(study.table("control_scores"), null_equal=True)
    assert audit_study(study).filter(status="failed").is_empty()
    assert study.manifest.config == plain.manifest.config | {
        "prompts": plain.manifest.config["prompts"] | {PARAPHRASE: load_prompt(PARAPHRASE).hash}
    }
    # Made once more from its replies alone, nobody is asked.
    (tmp_path / "again").mkdir()
    shutil.copy(folder / "calls.sqlite", tmp_path / "again" / "calls.sqlite")
    again = paraphrasing(pytest.fail, corpus, tmp_path / "again")
    assert again.descriptions.equals(study.descriptions, null_equal=True)


def test_a_claim_without_another_wording_keeps_its_own(corpus, tmp_path):
    study = paraphrasing(Editor(answers=False), corpus, tmp_path / "s")
    claims = study.descriptions.filter(pl.col("claim").is_not_null())
    assert claims.height and claims["llm"].null_count() == claims.height
    lost = study.table("unanswered")
    assert set(lost["step"]) == {"paraphrase"} and set(lost["item"]) == set(claims["unit"])
    assert any("keep their own words" in note for note in study.manifest.notes)


def test_paraphrases_are_counted_and_need_somebody_to_ask(corpus, tmp_path):
    wide = np.repeat(numbers(corpus), 3, axis=1)  # 21 units: two requests at most
    options = {"firing": "above:0.5", "tags": "topic", "paraphrase": True}
    with Scripted(pytest.fail, calls=tmp_path / "calls.sqlite") as llm:
        plan = plan_units(corpus, wide, llm=DryRun(llm), **options)
    assert [(step.step, step.calls, step.guessed) for step in plan.steps] == [("paraphrase", 2, 2)]
    for wrong, said in (
        ({}, "asks a language model"),
        ({"llm": "x:y", "describer": "llm"}, "nobody makes any"),
    ):
        with pytest.raises(InputError, match=said):
            plan_units(corpus, wide, **options, **wrong)


@pytest.mark.filterwarnings("error:the report's section")
@pytest.mark.parametrize("which", ["vit", "mobilenet"])
def test_an_image_models_units_are_described_and_drawn_where_they_respond(which, tmp_path):
    """From pixels to page: patches of colour are looked at by a random model, and boxes go around places."""
    torch.manual_seed(0)
    if which == "vit":
        sizes = dict(hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
        net = ViTModel(ViTConfig(image_size=32, patch_size=8, **sizes))
        processor, module, units = ViTImageProcessor(size={"height": 32, "width": 32}), "channels", 8
    else:
        net = MobileNetV2ForImageClassification(MobileNetV2Config(image_size=32, depth_multiplier=0.1))
        processor = MobileNetV2ImageProcessor(
            size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}
        )
        module, units = ["mobilenet_v2.layer.0", "mobilenet_v2.layer.1"], 16
    for part in (net, processor):
        part.save_pretrained(tmp_path / "model")
    draw = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for number, own in enumerate(draw.integers(0, 3, 60)):
        pixels = np.full((24, 40, 3), 60, dtype=np.uint8)
        x, y = draw.integers(0, 32), draw.integers(0, 16)
        pixels[y : y + 8, x : x + 8, own] = 250 - number  # no two alike
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number:02}.png")
    path = str(tmp_path / "model")
    several = isinstance(module, list)
    study = describe_units(
        tmp_path / "pictures",
        Vision.of(load_vision_model(path, device="cpu"), module) if several else None,
        model=None if several else path,
        module=None if several else module,
        vocabulary=["red", "green", "blue"],
        encoder=Colours(),
        describer=["dissect"],
        firing="top:0.2",
        out=tmp_path / "s",
        device="cpu",
    )
    assert study.units.height == units and study.units["kind"].unique().to_list() == ["channel"]
    shown = study.exemplars.filter(pl.col("rank") < 8, part="describe")
    regions = shown.select("^region_.*$").to_numpy()
    assert len(shown) and (regions >= 0).all() and (regions <= 1).all()
    assert (regions[:, :2] < regions[:, 2:]).all() and len(np.unique(regions, axis=0)) > 3
    assert {*shown["example"]} <= {*study.table("thumbnails")["example"]}
    unit = study.units.filter(state="ok")["id"][0]
    left, top, right, _ = study.unit(unit).exemplars[0].region
    box = f'<rect x="{100 * left:.1f}" y="{100 * top:.1f}" width="{100 * (right - left):.1f}"'
    drawn = unit_card(
        study.unit(unit), Around(thumbnails(dict(study.table("thumbnails").iter_rows())))
    ).html()
    door = Door()
    browser = TestClient(
        build_app(open_studies([study.path]), door), base_url=f"http://{door.host}:{door.port}"
    )
    page = browser.get("/1/unit", params={"id": unit})
    assert page.status_code == 200, page.text
    for html in (drawn, (study.path / "report.html").read_text(), page.text):
        assert box in html and "A box is around" in html
    printed = CliRunner().invoke(app, ["neuron", str(study.path), unit], catch_exceptions=False).output
    assert f"at {round(100 * left)} to {round(100 * right)} % from the left" in " ".join(printed.split())

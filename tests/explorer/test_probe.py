"""The box for a sentence or an image, on a real study of a tiny model."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

import saywell
from saywell.errors import InputError
from saywell.explorer.probe import Probe, local_checkpoint
from saywell.explorer.shelf import open_studies
from saywell.units.models import wrap_model

FORM = {"secret": "the-secret"}


class Letters:
    """A sentence encoder that counts letters."""

    name = "letters"

    def __call__(self, texts):
        counts = np.array([[text.count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for text in texts])
        return (counts / np.linalg.norm(counts + 1e-9, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def real(tmp_path_factory, bert, tokenizer, sentences):
    """A study of the tiny BERT, opened, with its model at hand."""
    import polars as pl

    tags = [[w for w in ("battery", "food", "staff") if w in text] for text in sentences]
    folder = tmp_path_factory.mktemp("real") / "study"
    saywell.describe_neurons(
        pl.DataFrame({"text": sentences, "tags": tags}),
        bert,
        tokenizer=tokenizer,
        tags="tags",
        out=folder,
        top=5,
        random_control=False,
    )
    shelf = open_studies([folder])
    probe = Probe(
        shelf[0].tables,
        open_encoder=lambda name: Letters(),
        open_model=lambda name: wrap_model(bert, tokenizer),
    )
    return SimpleNamespace(one=shelf[0], probe=probe, folder=folder)


def test_a_unit_fires_on_the_sentence_that_is_its_first_exemplar(real):
    rows = real.one.tables.rows(
        "select c.id, e.example, s.text, e.activation, e.span_start, e.span_end from exemplars e"
        " join cards c on c.id = e.unit join sentences s on s.id = e.example"
        " where e.part = 'describe' and e.rank = 0 order by c.id limit 8"
    )
    assert len(rows) == 8
    for row in rows:
        found = real.probe.fire(row["text"])
        assert found.firing <= found.units
        everyone = {one.row["id"]: one for one in _all(real.probe, row["text"])}
        one = everyone[row["id"]]
        assert one.activation == pytest.approx(row["activation"], abs=1e-3)
        assert (one.start, one.end) == (row["span_start"], row["span_end"])


def _all(probe, sentence):
    from saywell.explorer import probe as module

    kept, module.MOST_ANSWERS = module.MOST_ANSWERS, 10**6
    try:
        return probe.fire(sentence).best
    finally:
        module.MOST_ANSWERS = kept


def test_firing_is_what_the_stored_activations_say(real):
    """Over all units, for one calibration sentence: the same units as thresholds on the arrays."""
    from saywell.data.parts import DescribeRows
    from saywell.units.activations import Activations
    from saywell.units.firing import STRONGEST
    from saywell.units.responses import Shards

    study = real.one.study
    stored = Shards(study.arrays("activations"))
    row = stored.parts["describe"][:1]
    text = study.examples["text"][int(row[0])]
    _, fires = next(Activations(stored, study.units, STRONGEST).by_example(DescribeRows(row)))
    wanted = set(study.units["id"].to_numpy()[fires.toarray()[0] > 0])
    assert wanted == {one.row["id"] for one in _all(real.probe, text)}


def test_together_is_as_one_by_one(real, shelf, sentences):
    asked = [*sentences[:5], "\t", "the food was cold. " * 60]
    alone = [_all(real.probe, sentence) for sentence in sentences[:5]]
    together = real.probe.fire_all(asked)
    assert [len(found.best) > 0 for found in together[:5]] == [True] * 5
    for found, best in zip(together, alone, strict=False):
        assert found.firing == len(best)
        for one, other in zip(found.best, best, strict=False):
            assert (one.row, one.start, one.end) == (other.row, other.start, other.end)
            assert one.activation == pytest.approx(other.activation, abs=1e-5)
    assert isinstance(together[5], InputError) and "makes nothing of" in str(together[5])
    probe = Probe(shelf[0].tables, open_encoder=lambda name: Letters())
    assert probe.read_all(sentences[:3]) == [probe.read(sentence) for sentence in sentences[:3]]


def test_another_model_is_refused(real, bert, tokenizer):
    import copy

    import torch

    other = copy.deepcopy(bert)
    with torch.no_grad():
        next(other.parameters()).add_(1)
    probe = Probe(real.one.tables, open_model=lambda name: wrap_model(other, tokenizer))
    with pytest.raises(InputError, match="not the one that the study was made with"):
        probe.fire("the battery died")


def test_reading_finds_the_description_that_is_said(shelf):
    probe = Probe(shelf[0].tables, open_encoder=lambda name: Letters())
    found = probe.read("battery life")
    assert found.best[0].text == "battery life" and found.best[0].cosine == pytest.approx(1, abs=1e-4)
    assert found.texts == 12 and len(found.best) == 12 and found.left_out == 0
    assert len(found.best[0].units) == 3
    order = [one.stands_out for one in found.best]
    assert order == sorted(order, reverse=True)


def test_texts_of_classes_are_read_too(shelf):
    probe = Probe(shelf[2].tables, open_encoder=lambda name: Letters())
    found = probe.read("javascript alert")
    assert found.texts == 16 and {"id", "verdict"} <= set(found.best[0].units[0])


@pytest.mark.parametrize("sentence", ["", "   ", "\x00", "x" * 2001])
def test_what_is_no_sentence_is_refused(shelf, sentence):
    with pytest.raises(InputError, match="sentence"):
        Probe(shelf[0].tables, open_encoder=lambda name: Letters()).read(sentence)


def test_nothing_is_downloaded_for_a_question():
    with pytest.raises(InputError, match=r"is not on this machine|not a model"):
        local_checkpoint("nobody/has-this-model")


def test_the_page_shows_answers_and_what_went_wrong(real, shelf, browse_shelf):
    client = browse_shelf([dataclasses.replace(real.one, probe=real.probe)])
    html = client.post("/1/ask", data={**FORM, "how": "fire", "sentence": "the battery died"}).text
    assert "units fire" in html and '<mark class="s3">' in html
    assert "true activations" in client.get("/1/ask").text
    empty = client.post("/1/ask", data={**FORM, "sentence": " "})
    assert empty.status_code == 400 and "there is no sentence" in empty.text
    probe = Probe(shelf[0].tables, open_encoder=lambda name: Letters())
    client = browse_shelf([dataclasses.replace(shelf[0], probe=probe)])
    hostile = "<script>alert(1)</script>\u202e"
    html = client.post("/1/ask", data={**FORM, "sentence": hostile}).text
    assert "Descriptions like it" in html and "<script>alert" not in html and "\u202e" not in html
    far = client.post("/1/ask", data={**FORM, "how": "fire", "sentence": "x"})
    assert far.status_code == 400


def test_an_image_is_looked_at(hostile, tmp_path, browse_shelf, monkeypatch):
    """`classify_images` itself is tested elsewhere; here: what is sent reaches it, and comes back."""
    import polars as pl

    seen = []

    def classify(study, files, *, encode, classes, texts):
        with open(files[0], "rb") as file:  # noqa: PTH123
            seen.append(file.read())
        problem = None if seen[-1].startswith(b"\xff\xd8") else "not an image: begins with b'x'"
        return pl.DataFrame(
            [
                {
                    "file": files[0],
                    "problem": problem,
                    "rank": 1,
                    "class": "robin",
                    "score": 0.5,
                    "texts": ["a red breast"],
                    "evidence": [2.0],
                }
            ]
        )

    monkeypatch.setattr("saywell.studies.classes.classify.classify_images", classify)
    (one,) = open_studies([hostile.write_classes(tmp_path / "classes")])
    probe = Probe(one.tables, encode_images=lambda pictures: np.zeros((1, 4)))
    client = browse_shelf([dataclasses.replace(one, probe=probe)])
    image = ("../../x.jpg", b"\xff\xd8\xff rest", "image/jpeg")
    html = client.post("/1/ask", data=FORM, files={"image": image}).text
    assert "robin" in html and "+2.0" in html and seen == [b"\xff\xd8\xff rest"]
    wrong = client.post("/1/ask", data=FORM, files={"image": ("a", b"x", "image/jpeg")})
    assert wrong.status_code == 400 and "cannot be used" in wrong.text
    assert client.post("/1/ask", files={"image": image}).status_code == 403

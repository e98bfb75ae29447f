"""A source, a tagger, a describer, a reader and a floor of one's own, in one file, through the whole loop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from saywell.data.images import load_images
from saywell.data.texts import load_texts
from saywell.description import Description
from saywell.resources import Resources
from saywell.scorers.floors import StandIns
from saywell.studies.spine import Question, run
from saywell.units.exemplars import nowhere
from saywell.units.firing import YES, Above
from saywell.units.responses import InMemory, order_of
from saywell.units.statistics import source_units

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


@dataclass(frozen=True)
class Says:
    """Source: one unit a word, which responds to texts that say it, or to pictures of that colour."""

    words: tuple[str, ...] = tuple(COLOURS)
    kind: str = "word"
    name: str = "says"
    fingerprint: str = "1"
    firing: Above = YES

    def units(self) -> pl.DataFrame:
        return source_units(self.words, self.kind)

    def locate(self, examples):
        return nowhere

    def collect(self, examples, folder: Path, resources) -> InMemory:
        values = [[_amount(shown, word) for word in self.words] for shown in examples.show()]
        return InMemory(np.array(values, dtype=np.float32), order_of(examples.ids)).save(folder)

    def control(self, seed: int) -> None:
        return None


@dataclass(frozen=True)
class Commonest:
    """Describer: the word, or the colour, that exemplars have most and contrasts least."""

    name: str = "commonest"
    version: int = 1
    kinds: tuple = ("text", "image")
    needs_tags: bool = False
    tables: tuple = ()

    def describe(self, evidence, resources, study) -> list[Description]:
        shown = list(evidence.examples.show())
        said = []
        for unit, strong, weak in zip(evidence.ids, evidence.places, evidence.contrast_places, strict=True):
            gain = {w: _mean(shown, strong, w) - _mean(shown, weak, w) for w in COLOURS}
            best = max(gain, key=lambda word: gain[word])
            said.append(Description(unit, best, parts=(best,)))
        return said


@dataclass(frozen=True)
class Looks:
    """Reader: does the example have what the description says?"""

    name: str = "looks"
    version: int = 1
    costly: bool = False
    reads: tuple = ("text", "image")

    def open(self, examples, resources):
        shown = list(examples.show())

        def predict(descriptions, rows):
            each = rows if rows.ndim == 2 else [rows] * len(descriptions)
            return np.array(
                [
                    [_amount(shown[row], own.text) for row in mine]
                    for own, mine in zip(descriptions, each, strict=True)
                ]
            ).reshape(len(descriptions), rows.shape[-1])

        return predict


@dataclass(frozen=True)
class Nonsense:
    """Floor: a description that means nothing."""

    name: str = "nonsense"
    readers: None = None

    def stand_ins(self, described, seed: int) -> StandIns:
        count = len(described.units)
        return StandIns(np.full((count, 1), count), (Description("", "zzz"),))


def _amount(shown, word: str) -> float:
    if isinstance(shown, str):
        return float(word in shown.split())
    if word not in COLOURS:
        return 0.0
    return float(np.asarray(shown).reshape(-1, 3).mean(0).argmax() == list(COLOURS).index(word))


def _mean(shown, places, word: str) -> float:
    return float(np.mean([_amount(shown[place], word) for place in places])) if len(places) else 0.0


def texts(folder: Path):
    filler = [f"word{n}" for n in range(60)]
    chance = np.random.default_rng(0)
    rows = [
        " ".join([*chance.choice(filler, 6).tolist(), *(w for w in COLOURS if chance.random() < 0.3)])
        for _ in range(200)
    ]
    return load_texts(rows)


def pictures(folder: Path):
    chance = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(30):
            pixels = np.clip(chance.normal(colour, 30, (8, 8, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return load_images(folder, near=None)


@pytest.mark.parametrize("load", [texts, pictures])
def test_one_file_is_enough_for_every_part_of_a_question(load, tmp_path):
    examples = load(tmp_path / "data")
    question = Question("words of my own", Says(), [Commonest()], [Looks()], {}, floors=[Nonsense()])
    study = run(question, examples, out=tmp_path / "study", resources=Resources())
    assert dict(study.descriptions.select("unit", "text").iter_rows()) == {w: w for w in COLOURS}
    assert set(study.scores["status"]) == {"verified"} and set(study.scores["reader"]) == {"looks"}
    assert set(study.table("floors")["floor"]) == {"nonsense", "always", "never"}
    unit = study.unit("red")
    assert unit.verified and unit.exemplars
    assert (study.path / "report.html").exists()

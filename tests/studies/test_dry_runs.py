"""A dry run refuses whatever the run would refuse before it does anything, in the same words."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from PIL import Image

from saywell.errors import SaywellError
from saywell.language_models import Scripted
from saywell.studies.classes import describe_classes, plan_classes
from saywell.studies.exam import plan_exam, run_exam
from saywell.studies.neurons import describe_neurons, plan_neurons
from saywell.studies.units import describe_units, plan_units


@pytest.fixture(scope="module")
def world(tmp_path_factory, sentences, bert, tokenizer):
    """Examples of each kind, and files that are none of what they are given for."""
    folder = tmp_path_factory.mktemp("dry")
    pl.DataFrame({"text": sentences, "topic": ["a", "b"] * 30}).write_csv(folder / "texts.csv")
    np.save(folder / "numbers.npy", np.random.default_rng(0).normal(size=(60, 3)))
    bert.save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    noise = np.random.default_rng(0)
    for name in ("red", "blue"):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(8):
            picture = Image.fromarray(noise.integers(0, 255, (8, 8, 3), dtype=np.uint8))
            picture.save(folder / "images" / name / f"{number}.png")
    (folder / "prompts").mkdir()
    (folder / "prompts" / "find_descriptor.jinja").write_text(
        "{# version 1: x #}\n{% block user %}{% endblock %}"
    )
    (folder / "full").mkdir()
    (folder / "full" / "mine.txt").write_text("kept")
    return folder


def doors(world):
    """By name: the plan and the run with arguments that can be used."""
    bert = str(world / "bert")
    texts = {"red": ["a red thing"], "blue": ["a blue thing"]}
    return {
        "neurons": (plan_neurons, describe_neurons, (world / "texts.csv", bert), {"encoder": bert}),
        "units": (
            plan_units,
            describe_units,
            (world / "texts.csv", world / "numbers.npy"),
            {"encoder": bert},
        ),
        "classes": (
            plan_classes,
            describe_classes,
            (world / "images",),
            {"encoder": "planted", "texts": texts},
        ),
        "exam": (plan_exam, run_exam, (), {"encoder": bert}),
    }


EVERYWHERE = [
    ({"llm": "gpt-4o"}, "does not name a language model"),
    ({"llm": "openai:gpt-5-nano"}, "no key found"),
    ({"llm": "openai-compatible:m"}, "needs the server's address"),
    ({"llm": "ollama:m", "replay": True}, "no calls file"),
    ({"llm": "ollama:m", "llm_url": "ftp://h"}, "must look like"),
    ({"llm": "gguf:{}/texts.csv"}, "not a GGUF file"),
    ({"llm": "hf:{}/full"}, "no config.json"),
    ({"llm": "hf:/no/such/place"}, "no such folder"),
    ({"llm_url": "http://h/v1"}, "needs a model"),
    ({"prompts": "{}/none"}, "prompt folder"),
    ({"prompts": "{}/prompts"}, "did you mean find_descriptors.jinja"),
    ({"describer": "nobody"}, "unknown describer"),
    ({"reader": "nobody"}, "unknown reader"),
    ({"out": "{}/texts.csv"}, "is a file"),
    ({"out": "{}/texts.csv/study"}, "Not a directory"),
    ({"out": "{}/full"}, "no study"),
    ({"out": "{}/full", "llm": "ollama:m"}, "no study"),
    ({"out": "{}/texts.csv", "llm": "ollama:m"}, "is a file"),
    ({"limt": 3}, "did you mean 'limit'"),
]
SOMEWHERE = [
    ("neurons", {"describer": "llm"}, "needs a language model"),
    ("neurons", {"reader": "detection"}, "needs a language model"),
    ("neurons", {"gold": "topics"}, "no column 'topics'.*--gold"),
    ("neurons", {"layers": [7]}, "no layer 7"),
    ("units", {"describer": "llm"}, "needs a language model"),
    ("units", {"reader": "simulation"}, "needs a language model"),
    ("classes", {"describer": "enrichment"}, "speaks in descriptors"),
    ("classes", {"reader": "detection"}, "reads text and pair examples only"),
    ("classes", {"limit": 1}, "fewer than the 2 classes"),
    ("classes", {"network": "{}/full"}, "is not a model"),
    ("classes", {"device": "abacus"}, "cannot be used"),
    ("classes", {"encoder": "{}/bert"}, "does not encode images"),
    ("exam", {"tags": "topic"}, "texts of your own"),
    ("exam", {"describer": "llm"}, "needs a language model"),
    ("exam", {"llm": "ollama:m", "out": None}, "need a study"),
    ("exam", {"texts": "{}/texts.csv"}, "no rule holds of enough"),
]


@pytest.mark.parametrize(
    ("door", "wrong", "words"),
    [(door, *case) for door in ("neurons", "units", "classes", "exam") for case in EVERYWHERE] + SOMEWHERE,
)
def test_a_dry_run_refuses_what_the_run_refuses(door, wrong, words, world, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    plan, run, args, usual = doors(world)[door]
    wrong = {name: value.format(world) if isinstance(value, str) else value for name, value in wrong.items()}
    given = {"out": tmp_path / "study", **usual, **wrong}
    said = []
    for do in (plan, run):
        with pytest.raises(SaywellError, match=words) as refused:
            do(*args, **given)
        said.append((type(refused.value), str(refused.value)))
        assert not (tmp_path / "study").exists()
    assert said[0] == said[1]
    assert [path.name for path in (world / "full").iterdir()] == ["mine.txt"]


def test_a_dry_run_in_the_folder_of_another_study_is_refused_as_the_run_is(world, tmp_path):
    plan, run, args, usual = doors(world)["units"]
    given = {**usual, "control": False, "describer": "extractive", "reader": "lexical"}
    run(*args, out=tmp_path / "s", **given)
    assert plan(*args, out=tmp_path / "s", **given).steps == []
    said = []
    for do in (plan, run):
        with pytest.raises(SaywellError, match=r"made with other inputs:\n  seed: .* 0, .* 3") as refused:
            do(*args, out=tmp_path / "s", seed=3, **given)
        said.append(str(refused.value))
    assert said[0] == said[1]


def test_a_plan_takes_a_model_that_is_open_already(world):
    plan, _, args, usual = doors(world)["neurons"]
    with Scripted(pytest.fail) as model:
        steps = plan(*args, llm=model, describer="llm", **usual).steps
        assert {step.step for step in steps} == {"candidates", "tags", "describe"}
        assert model.spent.calls == 0

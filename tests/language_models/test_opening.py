"""A language model given by its name, in Python as on the command line."""

from __future__ import annotations

import pytest

from saywell.errors import InputError
from saywell.language_models import Scripted, names_llm
from saywell.studies.classes import describe_classes
from saywell.studies.exam import run_exam, run_task_exam
from saywell.studies.neurons import describe_neurons


@names_llm
def study(*, llm=None, out=None):
    return llm if llm is None else llm.name


def test_a_name_is_opened_with_the_calls_of_the_study_and_closed(tmp_path):
    assert study(llm="ollama:qwen3", out=tmp_path / "new" / "study") == "ollama:qwen3"
    assert [path.name for path in (tmp_path / "new" / "study").iterdir()] == ["calls.sqlite"]
    assert study(llm=None) is None and study(llm="extractive", out=None) is None and study() is None
    with Scripted(lambda request: "") as model:
        assert study(llm=model) == "scripted"
        assert model.spent.calls == 0  # and it is still open


def test_what_cannot_be_opened_leaves_no_folder(tmp_path):
    for name, says in [("gpt-4o", "provider:model"), ("openai:", "provider:model"), ("", "extractive")]:
        with pytest.raises(InputError, match=says):
            study(llm=name, out=tmp_path / "study")
    with pytest.raises(InputError, match=r"'ollama:x' need a study.*out"):
        study(llm="ollama:x")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("door", [describe_neurons, describe_classes, run_exam, run_task_exam])
def test_every_front_door_takes_a_name(door, tmp_path):
    given = {describe_neurons: ("x.csv", "minilm"), describe_classes: ("x",), run_task_exam: ("x.csv",)}.get(
        door, ()
    )
    needs = {"encoder": "planted"} if door is describe_classes else {}
    with pytest.raises(InputError, match="'gpt-4o' does not name a language model"):
        door(*given, llm="gpt-4o", out=tmp_path / "study", **needs)
    assert not list(tmp_path.iterdir())

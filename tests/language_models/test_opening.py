"""A language model given by its name, in Python as on the command line."""

from __future__ import annotations

import pytest

from saywell.errors import InputError
from saywell.language_models import Scripted
from saywell.studies.classes import describe_classes
from saywell.studies.exam import run_exam
from saywell.studies.llm import opened_llm
from saywell.studies.neurons import describe_neurons
from saywell.studies.settings import LlmSettings, named, settings_of


def study(*, llm=None, out=None):
    """The name of the model that a study would ask."""
    asked = settings_of(LlmSettings, options=named(llm=llm))
    with opened_llm(asked, out, llm) as model:
        return model if model is None else model.name


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


@pytest.mark.parametrize(
    ("door", "given"), [(describe_neurons, ("x.csv", "minilm")), (describe_classes, ("x",)), (run_exam, ())]
)
def test_every_front_door_takes_a_name(door, given, tmp_path):
    with pytest.raises(InputError, match="'gpt-4o' does not name a language model"):
        door(*given, llm="gpt-4o", out=tmp_path / "study")
    assert not list(tmp_path.iterdir())

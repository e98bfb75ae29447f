"""A language model given by its name, in Python as on the command line."""

from __future__ import annotations

import inspect
from importlib import import_module
from pkgutil import iter_modules

import pytest

import saywell.studies
from saywell.errors import InputError
from saywell.language_models import Scripted, names_llm


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


def test_every_front_door_takes_a_name():
    doors = {
        f"{module.name}.{name}": function
        for module in iter_modules(saywell.studies.__path__, "saywell.studies.")
        for name, function in vars(import_module(module.name)).items()
        if inspect.isfunction(function)
        and function.__module__ == module.name
        and not name.startswith("_")
        and {"llm", "out"} <= inspect.signature(function).parameters.keys()
    }
    assert {name.rpartition(".")[2] for name in doors} >= {"describe_neurons", "describe_classes", "run_exam"}
    assert not [name for name, function in doors.items() if not hasattr(function, "__wrapped__")]
    assert not [name for name, f in doors.items() if "str" not in str(inspect.signature(f).parameters["llm"])]

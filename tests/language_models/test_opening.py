"""A language model given by its name, in Python as on the command line."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fault_server import FaultServer

from saywell.data.knowledge import load_knowledge
from saywell.describers.class_texts.class_describer import write_texts
from saywell.describers.descriptors.asking import ask_candidates
from saywell.describers.llm import describe_exemplars
from saywell.errors import InputError, SaywellError
from saywell.language_models import (
    Message,
    ProviderError,
    Request,
    Scripted,
    fence,
    load_prompt,
    open_language_model,
)
from saywell.resources import Resources
from saywell.studies.classes import describe_classes
from saywell.studies.exam import run_exam
from saywell.studies.llm import opened_llm
from saywell.studies.neurons import describe_neurons
from saywell.studies.settings import LlmSettings, named, settings_of
from saywell.studies.units import describe_units


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
    ("name", "url", "said"),
    [
        ("openai-compatible:m", "https://host.test/v1", 1),
        ("openai-compatible:m", "http://127.0.0.1:8080/v1", 0),  # a server of one's own, most likely
        ("ollama:m", "http://host.test/v1", 0),
        ("openai:gpt-4o-mini", None, 0),
        ("openai:gpt-unheard-of", None, 1),
        ("openrouter:a/b", None, 0),  # which says what a reply costs
    ],
)
def test_an_unknown_price_is_said_once(name, url, said, tmp_path, caplog):
    env = {
        "OPENAI_API_KEY": "sk-" + "a1" * 20,
        "OPENROUTER_API_KEY": "b2" * 20,
        "XDG_CONFIG_HOME": str(tmp_path),
    }
    open_language_model(name, url=url, env=env).close()
    assert (
        [record.getMessage() for record in caplog.records].count(
            f"{name}: its price is not known, so what it costs is not counted; add it to prices.toml "
            "(`saywell doctor` shows where)"
        )
        == said
        == len(caplog.records)
    )
    open_language_model(name, url=url, env=env, replay=True).close()
    assert len(caplog.records) == said


DOORS = [
    (describe_neurons, ("x.csv", "minilm")),
    (describe_units, ("x.csv", "x.npy")),
    (describe_classes, ("x",)),
    (run_exam, ()),
]
NAMES = [
    ({"llm": "gpt-4o"}, "'gpt-4o' does not name a language model"),
    ({"llm": "openai:gpt-4o"}, "no key found"),
    ({"llm": "gguf:{}/none.gguf"}, "none.gguf"),
    ({"llm": "hf:{}/none"}, "no such folder"),
    ({"llm": "openai-compatible:m", "llm_url": "h"}, "must look like"),
    ({"llm": "vllm:m", "llm_rate": "often"}, "is no rate"),
    ({"llm": "openai-compatible:m", "llm_url": "http://h/v1", "max_usd": 1.0}, "cannot be kept"),
]


@pytest.mark.parametrize(("door", "given"), DOORS)
@pytest.mark.parametrize(("options", "says"), NAMES)
def test_every_front_door_takes_the_names_and_options_of_the_command_line(
    door, given, options, says, tmp_path, monkeypatch
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    options = {**options, "llm": options["llm"].format(tmp_path)}
    with pytest.raises(SaywellError, match=says):
        door(*given, out=tmp_path / "study", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("door", "given"), DOORS)
def test_options_of_a_model_that_is_open_are_not_dropped_in_silence(door, given, tmp_path):
    with (
        Scripted(pytest.fail) as model,
        pytest.raises(InputError, match=r"max_usd \(--max-usd\).*'scripted' is"),
    ):
        door(*given, llm=model, max_usd=2.0, out=tmp_path / "study")
    assert not list(tmp_path.iterdir())


def test_what_asks_an_open_model_says_so_to_a_name():
    prompt = load_prompt("describe_exemplars")
    for ask in (
        lambda: Resources(llm="openai:gpt-4o"),  # type: ignore[arg-type]
        lambda: describe_exemplars("openai:gpt-4o", [], prompt=prompt),  # type: ignore[arg-type]
        lambda: ask_candidates("openai:gpt-4o", {"a": "b"}, prompt),  # type: ignore[arg-type]
        lambda: write_texts(["a"], load_knowledge({"a": "It is red."}, ["a"]), None, "openai:gpt-4o"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match=r"give open_language_model\('openai:gpt-4o', calls=FILE\)"):
            ask()


def test_the_limits_of_the_settings_reach_the_server(tmp_path):
    with FaultServer(lambda messages: "hm, that is why", ["stall"], pace=0.01) as server:
        asked = settings_of(
            LlmSettings,
            options={
                "llm": "openai-compatible:x",
                "llm_url": server.url,
                "llm_timeout": 0.3,
                "llm_idle": 0.2,
                "llm_rate": "6_000/min",
                "llm_context": 300,
                "llm_reply": 20,
                "llm_effort": "low",
            },
        )
        request = Request("s", (Message("user", "why?"),), max_tokens=200)
        with opened_llm(asked, tmp_path) as model:
            assert model is not None
            with pytest.raises(ProviderError, match=r"no token (for 0.2 s|within 0.3 s)"):
                model.complete([request])
            assert model.complete([request])[0].text == "hm, that is why"
            too_long = replace(request, messages=(Message("user", fence("why? " * 300)),))
            assert model.complete([too_long])[0].text == "hm, that is why"
            assert "[...]" in server.requests[-1]["messages"][0]["content"]
        assert server.requests[0]["reasoning_effort"] == "low"
    with pytest.raises(InputError, match="llm_rate='fast' is no rate; write it like 60/min"):
        settings_of(LlmSettings, options={"llm_rate": "fast"})


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("hf:nowhere/at-all", {"url": "http://127.0.0.1:1/v1"}, "--llm-url does not apply"),
        ("gguf:missing.gguf", {"rate": "60/min"}, "--llm-rate does not apply"),
        ("ollama:any", {"effort": ""}, "--llm-effort '' is no word"),
        ("ollama:any", {"effort": "low; high"}, "is no word such as none, low or high"),
        ("ollama:any", {"threads": 2}, "--llm-threads is for models that llama.cpp runs here"),
    ],
)
def test_an_option_that_cannot_apply_is_refused(name, options, said):
    with pytest.raises(InputError, match=said):
        open_language_model(name, **options)

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path

import pytest
import typer
from fault_server import FaultServer
from pydantic import BaseModel
from typer.testing import CliRunner

from saywell.cli.calls import calls
from saywell.cli.doctor import doctor
from saywell.errors import InputError, SaywellError
from saywell.language_models import Message, ProviderError, Request, Scripted, open_language_model
from saywell.language_models.doctor import check_providers
from saywell.language_models.http import HttpBackend
from saywell.language_models.prices import find_price
from saywell.language_models.providers import PROVIDERS, base_url, find_key, split_name

SECRET = "sk-a-long-secret-0123456789"


class Score(BaseModel):
    score: int


def test_names():
    assert split_name("openrouter:meta/llama-3:free")[1] == "meta/llama-3:free"
    for name in ("gpt-x", "openai:", "nobody:x", "", ":x"):
        with pytest.raises(InputError, match="provider:model"):
            split_name(name)


@pytest.mark.parametrize("name", [p.name for p in PROVIDERS.values() if p.key_needed])
def test_a_missing_key_is_named_with_the_line_that_sets_it(name, tmp_path):
    variable = PROVIDERS[name].key_variable
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    with pytest.raises(ProviderError, match=f"export {variable}="):
        open_language_model(f"{name}:x", env=env)
    open_language_model(f"{name}:x", env={**env, str(variable): SECRET}).close()


def test_a_cloud_key_goes_to_no_other_host():
    openai = PROVIDERS["openai"]
    assert base_url(openai, "https://eu.api.openai.com/v1/") == "https://eu.api.openai.com/v1"
    for url in (
        "https://evil.example/v1",
        "https://api.openai.com.evil.example/v1",
        "http://api.openai.com/v1",
        "https://xapi.openai.com/v1",
    ):
        with pytest.raises(InputError, match="openai-compatible"):
            base_url(openai, url)


@pytest.mark.parametrize(
    "url", ["http://user:pw@host/v1", "http://host/v1?key=pw", "ftp://host", "host/v1", "http://"]
)
def test_an_address_with_secrets_or_without_host_is_refused(url):
    with pytest.raises(InputError) as caught:
        base_url(PROVIDERS["vllm"], url)
    assert "pw" not in str(caught.value)
    with pytest.raises(InputError, match="--llm-url"):
        base_url(PROVIDERS["openai-compatible"], None)


def keys_file(tmp_path: Path, text: str, mode: int = 0o600) -> dict[str, str]:
    (tmp_path / "saywell").mkdir()
    path = tmp_path / "saywell" / "keys.toml"
    path.write_text(text)
    path.chmod(mode)
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def test_a_key_from_the_file_and_the_environment_first(tmp_path):
    env = keys_file(tmp_path, f'OPENAI_API_KEY = "{SECRET}"')
    key = find_key(PROVIDERS["openai"], env)
    assert key and key.value == SECRET and SECRET not in repr(key)
    assert find_key(PROVIDERS["gemini"], env) is None
    other = find_key(PROVIDERS["openai"], {**env, "OPENAI_API_KEY": "other"})
    assert other and (other.value, other.source) == ("other", "environment")


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_keys_file_that_others_can_read_is_refused(tmp_path):
    env = keys_file(tmp_path, f'OPENAI_API_KEY = "{SECRET}"', 0o644)
    with pytest.raises(SaywellError, match="chmod 600"):
        find_key(PROVIDERS["openai"], env)


@pytest.mark.parametrize(
    "text",
    [f"OPENAI_API_KEY = {SECRET}", f'OPENAI_API_KEY = ["{SECRET}"]', f'OPENAI_API_KEY = "{SECRET} "\nx'],
)
def test_errors_about_the_keys_file_do_not_show_it(text, tmp_path):
    env = keys_file(tmp_path, text)
    with pytest.raises(SaywellError) as caught:
        find_key(PROVIDERS["openai"], env)
    assert SECRET not in str(caught.value) and caught.value.__cause__ is None


def test_prices_have_dates_and_the_user_has_the_last_word(tmp_path):
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    (tmp_path / "saywell").mkdir()
    own = tmp_path / "saywell" / "prices.toml"
    own.write_text(
        '[[price]]\nmodel = "vendor:m"\ninput = 1\noutput = 2\nsince = 2026-01-01\n'
        '[[price]]\nmodel = "vendor:m"\ninput = 3\noutput = 4\nsince = 2026-06-01\n'
        '[[price]]\nmodel = "openai:gpt-5-nano"\ninput = 9\noutput = 9\nsince = 2020-01-01\n'
    )

    def at(name, *date):
        price = find_price(name, datetime.date(*date), env)
        return price and (price.input, price.output, price.since)

    assert at("vendor:m", 2025, 12, 31) is None
    assert at("vendor:m", 2026, 5, 31) == (1, 2, "2026-01-01")
    assert at("vendor:m", 2026, 6, 1) == (3, 4, "2026-06-01")
    assert at("vendor:m-2026-06-01", 2026, 6, 1) == (3, 4, "2026-06-01")
    assert at("vendor:m2", 2026, 6, 1) is None
    assert at("openai:gpt-5-nano", 2026, 6, 1) == (9, 9, "2020-01-01")
    assert at("gemini:gemini-3.8-flash", 2026, 12, 31) == (0.75, 3.75, "2026-09-02")
    assert at("gemini:gemini-3.8-flash", 2027, 1, 1) == (1.5, 7.5, "2027-01-01")
    own.write_text('[[price]]\nmodel = "m"\ninput = -1\noutput = 0\nsince = 2026-01-01')
    with pytest.raises(InputError, match=r"prices\.toml"):
        find_price("m", None, env)


def payload(name: str, request: Request) -> dict:
    provider, model = split_name(name)
    return HttpBackend(provider, model, "https://h/v1", None, None, concurrency=1)._payload(request)


def test_each_provider_gets_the_schema_in_the_way_it_understands():
    request = Request("s", (Message("user", "hi"),), Score)
    assert "response_format" in payload("openai:x", request)
    assert payload("openai:x", request)["max_completion_tokens"] == 1024
    assert payload("openai:x", request)["messages"][-1]["content"] == "hi"
    assert "response_format" not in payload("anthropic:x", request)
    assert "JSON schema" in payload("anthropic:x", request)["messages"][-1]["content"]
    both = payload("openrouter:x", request)
    assert "response_format" in both and "JSON schema" in both["messages"][-1]["content"]
    strict = payload("vllm:x", request)["response_format"]["json_schema"]
    assert strict["strict"] is True and strict["schema"]["additionalProperties"] is False


def test_doctor_says_what_is_missing_and_shows_no_key(tmp_path, monkeypatch):
    env = {"XDG_CONFIG_HOME": str(tmp_path), "GEMINI_API_KEY": SECRET}
    checks = {check.name: check for check in check_providers(env)}
    assert checks.keys() == PROVIDERS.keys()
    assert checks["gemini"].usable and checks["hf"].usable and checks["openai-compatible"].usable
    assert not checks["openai"].usable and checks["openai"].fix == "export OPENAI_API_KEY=YOUR_KEY"
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    app = typer.Typer()
    app.command()(doctor)
    result = CliRunner().invoke(app)
    assert result.exit_code == 0 and "GEMINI" not in result.output and SECRET not in result.output
    assert "export OPENAI_API_KEY" in result.output
    assert [c["name"] for c in json.loads(CliRunner().invoke(app, ["--json"]).output)] == list(PROVIDERS)


def run(*arguments: str):
    app = typer.Typer()
    app.command()(calls)
    return CliRunner().invoke(app, arguments)


def test_calls_sums_up_by_step_and_shows_one(tmp_path):
    path = tmp_path / "calls.sqlite"

    def model(messages):
        return '\x1b[31mred {"score": 3}' if "1" in messages[-1]["content"] else '{"score": 4}'

    with FaultServer(model, [None, "500", "wrong-model", "refusal"]) as server:  # noqa: SIM117
        with open_language_model(
            "openai-compatible:fake", url=server.url, calls=path, env={}, concurrency=1
        ) as llm:
            first = llm.complete([Request("tag", (Message("user", f"n{i}"),), Score) for i in range(3)])
            llm.complete([Request("score", (Message("user", "m1"),), Score)])
    result = run(str(tmp_path))
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert lines[1].split()[:3] == ["tag", "4", "1"] and lines[1].split()[-1] == "unknown"
    assert "2 ok, 1 failed, 1 refused" in result.output and "answered by some-other-model" in result.output
    assert lines[-1].split()[:3] == ["all", "5", "1"]
    summary = json.loads(run(str(path), "--step", "score", "--json").output)
    assert [(s["step"], s["calls"], s["cost_unknown"]) for s in summary] == [("score", 1, 1)]
    shown = run(str(tmp_path), "--show", first[1].key[3:15]).output
    assert "HTTP 500" in shown and "--- reply" in shown and "\x1b" not in shown
    assert json.loads(run(str(tmp_path), "--show", first[1].key, "--json").output)[0]["step"] == "tag"
    for arguments, says in [
        (["--show", "c1:zz"], "no call"),
        (["--step", "x"], "no call"),
        (["--show", ""], "several"),
    ]:
        failed = run(str(tmp_path), *arguments)
        assert isinstance(failed.exception, SaywellError) and says in str(failed.exception)


def test_cost_is_summed_where_the_price_is_known(tmp_path):
    from saywell.language_models.prices import Price

    path = tmp_path / "calls.sqlite"
    with Scripted(lambda r: '{"score": 1}', calls=path, price=Price(1e4, 1e4, "2026-01-01")) as llm:
        reply = llm.complete([Request("tag", (Message("user", "n"),), Score)])[0]
        assert reply.cost_usd and llm.spent.usd == pytest.approx(reply.cost_usd)
    assert f"${reply.cost_usd:.4f}" in run(str(tmp_path)).output

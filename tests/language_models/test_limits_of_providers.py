"""Quotas, outages, options that a model does not take: what is asked how often, and what it counts."""

from __future__ import annotations

import gzip
import itertools
import json
import math
import tracemalloc
from collections import Counter
from dataclasses import replace

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from virtual import FakeProvider, good

from saywell.language_models import BudgetReached, Limits, Message, ProviderError, Request, Retries
from saywell.language_models.ledger import Ledger
from saywell.language_models.prices import Price
from saywell.language_models.waits import asked_wait

NOW = 1_800_000_000.0


class Score(BaseModel):
    score: int


def ask(number: int, **more) -> Request:
    return Request("score", (Message("user", f"sentence {number} please"),), Score, max_tokens=50, **more)


def number_in(payload) -> int:
    return int(payload["messages"][0]["content"].split()[1])


# --- quotas


@pytest.mark.parametrize(
    ("headers", "body", "seconds"),
    [
        ({"Retry-After": "7"}, b"", 7),
        ({"retry-after": "Thu, 15 Jan 2027 08:00:30 GMT"}, b"", 30),
        ({"retry-after-ms": "1500", "retry-after": "9"}, b"", 1.5),
        ({"retry-after": "soon"}, b"try again in 20s", 20),
        ({"retry-after": "1"}, b'{"error": {"message": "Please retry in 40.5s."}}', 40.5),
        ({}, b'[{"error": {"details": [{}, {"retryDelay": "12.250s"}]}}]', 12.25),
        ({}, b'{"error": {"details": [{"retryDelay": {"seconds": 8, "nanos": 5}}]}}', 8),
        ({}, b'{"retry_after_ms": 2500}', 2.5),
        ({}, b'{"error": {"metadata": {"headers": {"Retry-After": "3"}}}}', 3),
        ({}, b'{"error": {"metadata": {"headers": {"X-RateLimit-Reset": 1800000045000}}}}', 45),
        ({}, b"Rate limit reached. Please try again in 1m30.5s. Visit https://x.test/2s", 90.5),
        ({}, b"wait 2 minutes and 5 seconds before the next call", 125),
        ({"x-ratelimit-reset-requests": "6m0s"}, b"", 360),
        ({"X-RateLimit-Reset": "1800000012"}, b"", 12),
        ({"x-ratelimit-reset": "1800000012500"}, b"", 12.5),
        ({"ratelimit-reset": "15"}, b"", 15),
        ({"anthropic-ratelimit-requests-reset": "2027-01-15T08:01:00Z"}, b"", 60),
        (
            {
                "x-ratelimit-reset-requests": "120ms",
                "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-remaining-tokens": "999",
            },
            b"",
            0.12,
        ),
        ({"x-ratelimit-reset-a": "2s", "x-ratelimit-reset-b": "1h"}, b"", 2),
        ({"x-ratelimit-limit-requests": "60"}, b"slow down: 60 requests in 1 minute", None),
        ({"retry-after": "-3", "retry-after-ms": "inf"}, b'{"retryDelay": true}', None),
        ({}, b"[" * 100_000, None),
        ({}, b'{"a":' * 5000, None),
    ],
)
def test_what_a_server_asks_to_wait(headers, body, seconds):
    found = asked_wait(httpx2.Headers(headers), body, NOW)
    assert found == (seconds if seconds is None else pytest.approx(seconds, abs=1e-3))


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "x-ratelimit-reset", "ratelimit-reset-x"]),
        st.text(max_size=12) | st.floats().map(str) | st.integers().map(str),
    ),
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
        lambda inner: (
            st.dictionaries(st.sampled_from(["retryDelay", "seconds", "x"]), inner) | st.lists(inner)
        ),
        max_leaves=8,
    ),
)
def test_no_reply_makes_the_wait_anything_but_seconds(headers, body):
    found = asked_wait(headers, json.dumps(body).encode(), NOW)
    assert found is None or (found >= 0 and math.isfinite(found))


@pytest.mark.parametrize("said", ["body", "header", "text", "nothing"])
def test_a_quota_by_the_minute_is_waited_out(said):
    used: Counter[float] = Counter()

    def quota(number, payload, now):
        if used[now // 60] >= 10:
            left = 60 - now % 60
            details = [{"@type": "RetryInfo", "retryDelay": f"{left:.3f}s"}] if said == "body" else []
            text = f"Quota exceeded. Please retry in {left:.2f}s." if said == "text" else "Quota exceeded"
            headers = {"Retry-After": str(math.ceil(left))} if said == "header" else {}
            return 429, [{"error": {"code": 429, "message": text, "details": details}}], headers
        used[now // 60] += 1
        return good()

    provider = FakeProvider(quota)
    with provider.client() as model:
        replies = model.complete([ask(i) for i in range(40)])
    assert Counter(reply.status for reply in replies) == {"ok": 40}
    assert provider.times[-1] - provider.times[0] < 300
    # Those who were not told do not rush in either: of 16 at a time few ask in vain.
    assert len(provider.requests) < 40 + 4 * 16


def test_a_quota_that_never_opens_stops_the_run_at_the_deadline_and_says_how_to_wait_longer():
    provider = FakeProvider(lambda *_: (429, {"error": "busy"}))
    with (
        provider.client(retries=Retries(deadline=900)) as model,
        pytest.raises(ProviderError, match=r"busy.*--llm-deadline 900 s.*higher --llm-deadline"),
    ):
        model.complete([ask(i) for i in range(100)])
    assert len(provider.requests) < 60
    assert 800 < provider.times[-1] - provider.times[0] <= 900


def test_a_wait_beyond_the_deadline_is_not_begun():
    provider = FakeProvider(lambda number, *_: good() if number < 3 else (429, {}, {"Retry-After": "3600"}))
    with (
        provider.client() as model,
        pytest.raises(ProviderError, match=r"asks to wait 3600 s.*--llm-deadline 600 s"),
    ):
        model.complete([ask(i) for i in range(40)])
    assert provider.times[-1] - provider.times[0] < 5


# --- outages


def refused() -> Exception:
    return httpx2.ConnectError("Connection refused")


OUTAGES = {
    "refused": refused,
    "500": lambda: (500, {"error": {"message": "internal error"}}),
    "503": lambda: (503, b"<html><h1>Unavailable</h1></html>"),
    "page": lambda: (200, b"<html><h1>It works!</h1></html>"),
    "empty object": lambda: (200, {}),
    "null": lambda: (200, b"null"),
    "cut": lambda: httpx2.RemoteProtocolError("peer closed connection"),
    "404": lambda: (404, {"error": "no such model"}),
    "400": lambda: (400, {"error": "bad"}),
    "401": lambda: (401, {"error": "who are you?"}),
    "redirect": lambda: (307, b"", {"Location": "https://elsewhere.test/"}),
}


@pytest.mark.parametrize("kind", OUTAGES)
def test_a_provider_that_only_fails_is_left_alone_after_a_few_requests(kind):
    provider = FakeProvider(lambda *_: OUTAGES[kind]())
    with provider.client() as model, pytest.raises(ProviderError, match="same command"):
        model.complete([ask(i) for i in range(200)])
    # A 400 may be about each of five options; twice this is tried.
    assert len(provider.requests) <= (13 if kind == "400" else 6)
    assert provider.times[-1] - provider.times[0] < 60


@pytest.mark.parametrize("kind", ["refused", "500", "page", "cut", "404"])
def test_a_provider_that_dies_is_left_alone_and_the_next_run_goes_on(kind, tmp_path):
    calls = tmp_path / "calls.sqlite"
    provider = FakeProvider(lambda number, *_: good() if number < 60 else OUTAGES[kind]())
    requests = [ask(i) for i in range(120)]
    with provider.client(calls) as model, pytest.raises(ProviderError, match="same command"):
        model.complete(requests)
    assert len(provider.requests) <= 60 + 2 * 16 + 6
    healthy = FakeProvider(lambda *_: good())
    with healthy.client(calls) as model:
        replies = model.complete(requests)
    assert len(healthy.requests) == 60 and {reply.status for reply in replies} == {"ok"}


def test_a_short_outage_is_survived():
    provider = FakeProvider(lambda number, payload, now: good() if not 1001 < now < 1006 else (500, {}))
    with provider.client() as model:
        assert {reply.status for reply in model.complete([ask(i) for i in range(200)])} == {"ok"}


def test_some_requests_that_always_fail_fail_alone(tmp_path):
    calls = tmp_path / "calls.sqlite"

    def sometimes(number, payload, now):
        return (500, {}) if number_in(payload) % 9 == 4 else good()

    provider = FakeProvider(sometimes)
    with provider.client(calls) as model:
        replies = model.complete([ask(i) for i in range(90)])
    assert [i for i, reply in enumerate(replies) if reply.status == "failed"] == list(range(4, 90, 9))
    assert {reply.attempts for reply in replies if reply.status == "failed"} == {6}


def test_only_requests_left_that_are_rejected_do_not_stop_a_resumed_run(tmp_path):
    calls = tmp_path / "calls.sqlite"
    provider = FakeProvider(
        lambda n, payload, now: (400, {"error": "no"}) if number_in(payload) > 5 else good()
    )
    for _ in range(2):
        with provider.client(calls) as model:
            replies = model.complete([ask(i) for i in range(12)])
        assert Counter(reply.status for reply in replies) == {"ok": 6, "failed": 6}


# --- what is counted

PRICE = Price(1000.0, 2000.0, "2026-01-01")
USAGES = [
    None,
    "n/a",
    [],
    3,
    {},
    {"prompt_tokens": None, "completion_tokens": None},
    {"prompt_tokens": -5, "completion_tokens": -1},
    {"prompt_tokens": "20", "completion_tokens": "5"},
    {"prompt_tokens": 2.5, "completion_tokens": 1e300},
    {"prompt_tokens": True, "completion_tokens": []},
    {"prompt_tokens": 0, "completion_tokens": 0},
    {"prompt_tokens": 10**30, "completion_tokens": {}},
    {"prompt_tokens": 20, "completion_tokens": 5, "cost": "free"},
    {"prompt_tokens": 20, "completion_tokens": 5, "cost": -1.0},
    {"prompt_tokens": 20, "completion_tokens": 5, "cost": True},
]


@pytest.mark.parametrize("usage", USAGES, ids=str)
def test_a_malformed_usage_throws_no_reply_away_and_counts_as_much_as_it_may_be(usage, tmp_path):
    provider = FakeProvider(lambda *_: good(usage=usage))
    with provider.client(tmp_path / "c.sqlite", price=PRICE) as model:
        reply = model.complete([ask(1)])[0]
        spent = model.spent
    assert (reply.status, reply.parsed, len(provider.requests)) == ("ok", Score(score=7), 1)
    known = isinstance(usage, dict) and usage.get("prompt_tokens") == 20
    assert spent.estimated == (not known)
    assert (spent.tokens, spent.usd) == (
        (25, PRICE.cost(20, 5)) if known else (spent.tokens, PRICE.cost(spent.tokens - 50, 50))
    )
    assert spent.tokens >= 25
    ledger = Ledger(tmp_path / "c.sqlite", read_only=True)
    assert [row.estimated for row in ledger.rows()] == [not known]
    assert ledger.spent(PRICE) == spent
    ledger.close()


@pytest.mark.parametrize(("cost", "usd"), [(0, 0.0), (0.0, 0.0), (1, 1.0), (0.25, 0.25)])
def test_a_reported_cost_is_the_cost_whatever_number_it_is(cost, usd, tmp_path):
    usage = {"prompt_tokens": 20, "completion_tokens": 5, "cost": cost}
    provider = FakeProvider(lambda *_: good(usage=usage))
    for _ in range(2):  # the second time from the calls file
        with provider.client(tmp_path / "c.sqlite", price=PRICE) as model:
            assert model.complete([ask(1)])[0].cost_usd == usd
            assert model.spent.usd == usd


REPLIES = {
    "no usage": lambda: good(usage=None),
    "page": lambda: (200, b"<html>maintenance</html>"),
    "empty": lambda: (200, {}),
    "cut": lambda: httpx2.ReadError("gone"),
    "good": good,
}


@pytest.mark.parametrize("kind", REPLIES)
@pytest.mark.parametrize("priced", [True, False])
def test_three_runs_with_a_limit_spend_what_one_may(kind, priced, tmp_path):
    for limits in (Limits(max_calls=7), Limits(max_tokens=900), Limits(max_usd=0.9 if priced else 0.01)):
        provider = FakeProvider(lambda *_: REPLIES[kind]())
        calls = tmp_path / f"{limits.max_calls}{limits.max_tokens}.sqlite"
        for run in range(3):
            with (
                provider.client(calls, price=PRICE if priced else None, limits=limits) as model,
                pytest.raises((BudgetReached, ProviderError)),
            ):
                model.complete([ask(i) for i in range(60 * run, 60 * run + 60)])
            spent = model.spent
            assert spent.calls == len(provider.requests)
            assert spent.calls <= (limits.max_calls or 10**9)
            assert spent.tokens <= (limits.max_tokens or 10**9)
            # Where nobody says what a call costs before it is made, one may cross the limit.
            assert spent.usd <= (limits.max_usd or 10**9) + (0 if priced else 0.005)


def test_a_call_that_was_sent_counts_though_the_process_died(tmp_path):
    calls = tmp_path / "calls.sqlite"
    provider = FakeProvider(lambda *_: good())
    with provider.client(calls) as model:
        model.complete([ask(0)])
    ledger = Ledger(calls)  # what a process leaves that is killed between sending and the reply
    ledger.begin(replace(ledger.rows()[0], answered=False, key="c1:other", status="unfinished"))
    ledger.close()
    with provider.client(calls, limits=Limits(max_calls=3)) as model:
        assert model.spent.calls == 2
        model.complete([ask(1)])
        with pytest.raises(BudgetReached, match=r"--max-calls 3 \(3 made\)"):
            model.complete([ask(2)])


def test_calls_of_unknown_price_count_when_a_price_is_known_later(tmp_path):
    provider = FakeProvider(lambda *_: good())
    with provider.client(tmp_path / "c.sqlite") as model:
        model.complete([ask(i) for i in range(10)])
        assert model.spent.usd == 0.0
    with (
        provider.client(tmp_path / "c.sqlite", price=PRICE, limits=Limits(max_usd=0.2)) as model,
        pytest.raises(BudgetReached, match=r"\$0.3000 spent"),
    ):
        model.complete([ask(99)])


# --- options

SAID = {
    "OpenAI": lambda o: {"error": {"message": f"Unsupported parameter: '{o}'", "param": o}},
    "dotted param": lambda o: {"error": {"message": "Invalid value.", "param": f"{o}.type"}},
    "message": lambda o: {"message": f"{o}: this is unavailable now"},
    "string": lambda o: {"error": f"'{o}' must be something else"},
    "detail": lambda o: {"detail": f"bad {o}"},
    "FastAPI": lambda o: {
        "detail": [{"loc": ["body", o], "msg": "no", "input": {"seed": 1, "temperature": 0}}]
    },
    "plain": lambda o: f"the field {o} is not for this model".encode(),
    "page": lambda o: f"<html><body><p>Bad request: {o}</p></body></html>".encode(),
    "nothing": lambda o: b"",
    "unnamed": lambda o: {"error": {"message": "Bad Request", "code": 20015}},
}
OPTIONS = ["stream", "response_format", "reasoning_effort", "seed", "temperature", "max_tokens"]


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_left_out_whatever_the_server_says_about_it(option, said):
    status = 422 if said == "FastAPI" else 400
    provider = FakeProvider(
        lambda n, payload, now: (status, SAID[said](option)) if option in payload else good()
    )
    requests = [ask(i, seed=3) for i in range(24)]
    with provider.client(provider="vllm", effort="low") as model:
        assert {reply.status for reply in model.complete(requests)} == {"ok"}
        model.complete([ask(99, seed=3)])
    paid = len(provider.requests) - 25
    last = provider.requests[-1]
    named = said not in ("nothing", "unnamed")
    assert paid <= (1 if named else len(OPTIONS))
    assert option not in last
    assert {o for o in OPTIONS if o in last} == set(OPTIONS) - {option}  # and nothing else is missing
    assert ("max_completion_tokens" in last) == (option == "max_tokens")
    assert ("JSON schema" in last["messages"][-1]["content"]) == (option == "response_format")


@settings(max_examples=12, deadline=None)
@given(st.sets(st.sampled_from([*OPTIONS, "max_completion_tokens"])), st.booleans())
def test_any_set_of_options_is_found_out(refuses, named):
    def reply(number, payload, now):
        bad = [option for option in payload if option in refuses]
        return (400, {"error": f"no {bad[0]}" if named else "no"}) if bad else good()

    provider = FakeProvider(reply)
    with provider.client(effort="low") as model:
        replies = model.complete([ask(i, seed=3) for i in range(40)])
    assert {reply.status for reply in replies} == {"ok"}
    sent = provider.requests[-20:]
    assert not [o for payload in sent for o in payload if o in refuses]
    assert {o for o in OPTIONS[:4] if o in sent[-1]} == set(OPTIONS[:4]) - refuses


def test_a_rejection_that_is_not_about_options_is_shown_and_changes_nothing():
    def reply(number, payload, now):
        return (400, {"error": {"message": "sentence 3 is rude"}}) if number_in(payload) == 3 else good()

    provider = FakeProvider(reply)
    with provider.client() as model:
        replies = model.complete([ask(i) for i in range(8)])
    assert [i for i, r in enumerate(replies) if r.status != "ok"] == [3]
    assert replies[3].error == "HTTP 400: sentence 3 is rude"
    assert len(provider.requests) == 8  # the options had been accepted, so it was not asked again
    assert all("response_format" in payload for payload in provider.requests)


def test_a_request_that_is_too_long_is_not_taken_apart():
    words = itertools.cycle(
        [
            "This model's maximum context length is 8192 tokens; reduce the messages or max_tokens",
            "prompt is too long: 9000 tokens > 8192 maximum",
            "the request exceeds the available context size",
        ]
    )
    provider = FakeProvider(lambda *_: (400, {"error": {"message": next(words)}}))
    with provider.client() as model:
        replies = model.complete([ask(i) for i in range(9)])
    assert {reply.status for reply in replies} == {"failed"} and len(provider.requests) == 9


# --- what arrives


@pytest.mark.parametrize(
    "text", ['{"score": 7} \x00\x00', '{"score": 7} \ud800', '{"score": 7} \x1b[31m\u202e', "\x00" * 9]
)
def test_any_text_is_stored_and_read_again(text, tmp_path):
    body = json.dumps(good(text, model="m\udfff")[1]).replace('"stop"', '"st\\ud800op"').encode()
    provider = FakeProvider(lambda *_: (200, body))
    seen = []
    for _ in range(2):
        with provider.client(tmp_path / "c.sqlite") as model:
            reply = model.complete([ask(1)])[0]
            seen.append((reply.status, reply.text, reply.parsed, reply.model))
    assert seen[0] == seen[1]
    assert seen[0][1] == text.replace("\ud800", "?")


@pytest.mark.parametrize("packed", [False, True])
def test_no_more_of_a_body_is_held_than_the_bound(packed):
    bomb = b" " * 40_000_000
    body, headers = (gzip.compress(bomb), {"Content-Encoding": "gzip"}) if packed else (bomb, {})
    provider = FakeProvider(lambda number, *_: (200, body, headers) if number == 0 else good())
    with provider.client() as model:
        tracemalloc.start()
        reply = model.complete([ask(1)])[0]
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert "8,000,000 bytes" in str(model._ledger.rows()[0].error)
    assert reply.status == "ok" and reply.attempts == 2
    assert held < 30_000_000

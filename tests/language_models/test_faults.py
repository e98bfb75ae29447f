"""Every fault of the test server: what comes back, and that no paid reply is lost or asked twice."""

from __future__ import annotations

import json
import random
import time

import pytest
from fault_server import PAID, UNPAID, FaultServer, first_try
from pydantic import BaseModel

from saywell.language_models import (
    CacheMiss,
    Message,
    ProviderError,
    Reply,
    Request,
    Retries,
    open_language_model,
)

QUICK = Retries(attempts=4, first_wait=0.01, longest_wait=0.05, deadline=20)


class Score(BaseModel):
    score: int


def model(messages):
    number = int(next(m["content"] for m in messages if m["role"] == "user").split()[1])
    return json.dumps({"score": number * 7 % 10})


def ask(number: int) -> Request:
    return Request("score", (Message("user", f"sentence {number} please"),), Score, max_tokens=50)


def opened(server, calls=None, **options):
    options = {
        "retries": QUICK,
        # A reply that a busy machine delivers after this is lost though it was paid for, as with any provider.
        "timeout": 2.0,
        "concurrency": 8,
        "env": {"SAYWELL_LLM_KEY": "sk-secret-1"},
        **options,
    }
    return open_language_model("openai-compatible:fake", url=server.url, calls=calls, **options)


def table(replies: list[Reply]):
    return [(r.status, r.parsed) for r in replies]


@pytest.mark.parametrize("fault", UNPAID)
def test_a_fault_without_a_reply_is_retried_and_costs_nothing(fault, tmp_path):
    requests = [ask(i) for i in range(6)]
    with FaultServer(model, [None, fault]) as server, opened(server, tmp_path / "calls.sqlite") as llm:
        replies = [llm.complete([request])[0] for request in requests]
        assert server.met[fault] == 1
        assert [r.parsed for r in replies] == [Score(score=i * 7 % 10) for i in range(6)]
        assert replies[1].attempts == 2
        assert set(server.paid.values()) == {1} and len(server.paid) == 6
        assert llm.spent.calls == len(server.requests) == 7


@pytest.mark.parametrize("fault", [fault for fault in UNPAID if not fault.startswith("429")])
def test_a_fault_that_stays_is_reported_and_asked_again_by_the_next_run(fault, tmp_path):
    calls = tmp_path / "calls.sqlite"
    with FaultServer(model, [None] + [fault] * 2) as server:
        with opened(server, calls, concurrency=1, retries=Retries(2, 0.01, 0.02, 20)) as llm:
            assert llm.complete([ask(0)])[0].status == "ok"
            reply = llm.complete([ask(1)])[0]
            assert (reply.status, reply.parsed, reply.attempts) == ("failed", None, 2)
            assert reply.error and "sk-secret" not in reply.error
        with opened(server, calls) as llm:
            replies = llm.complete([ask(0), ask(1)])
        assert table(replies) == [("ok", Score(score=0)), ("ok", Score(score=7))]
        assert [r.cached for r in replies] == [True, False]
        assert set(server.paid.values()) == {1}


STATUS = {
    "wrong-json": "ok",  # by the repair round
    "nan": "ok",
    "json-in-prose": "ok",
    "wrong-model": "ok",
    "no-usage": "ok",
    "content-parts": "ok",
    "surrogate": "ok",
    "refusal": "refused",
    "truncated": "ok",  # with a larger limit
    "filtered": "filtered",
    "empty": "empty",
    "duplicated-items": "ok",
    "missing-items": "ok",
    "invented-items": "ok",
}


@pytest.mark.parametrize("fault", PAID)
def test_a_paid_reply_is_kept_and_told_apart(fault, tmp_path):
    calls = tmp_path / "calls.sqlite"
    with FaultServer(model, [fault]) as server:
        with opened(server, calls) as llm:
            first = llm.complete([ask(3)])[0]
        assert first.status == STATUS[fault]
        assert (first.parsed == Score(score=1)) == (first.status == "ok")
        asked = len(server.requests)
        with opened(server, calls) as llm:
            again = llm.complete([ask(3)])[0]
        assert len(server.requests) == asked and again.cached
        assert (again.status, again.text, again.parsed) == (first.status, first.text, first.parsed)
        assert set(server.paid.values()) == {1}


def test_every_fault_at_once_gives_the_tables_of_a_run_without_faults(tmp_path):
    harmless = [f for f in PAID if STATUS[f] == "ok"]
    faults = [*UNPAID, *harmless, None, None]
    requests = [ask(i) for i in range(3 * len(faults))]
    with FaultServer(model) as calm, opened(calm) as llm:
        expected = table(llm.complete(requests))
    script = first_try(faults)
    with FaultServer(model, script) as server, opened(server, tmp_path / "c.sqlite", timeout=4) as llm:
        assert llm.complete([ask(-1)])[0].status == "ok"
        assert table(llm.complete(requests)) == expected
        assert all(server.met[fault] for fault in faults)
        assert set(server.paid.values()) == {1}


def test_wrong_json_twice_is_unscored_with_the_raw_reply(tmp_path):
    with FaultServer(model, ["wrong-json", "wrong-json"]) as server, opened(server) as llm:
        reply = llm.complete([ask(1)])[0]
        assert (reply.status, reply.parsed, reply.attempts) == ("unparsed", None, 2)
        assert reply.text == '{"surprise": [1, 2' and "not JSON" in (reply.error or "")
        assert len(server.requests) == 2
        repair = server.requests[1]["messages"]
        assert [m["role"] for m in repair] == ["user", "assistant", "user"]


def test_another_model_than_asked_is_said_aloud(tmp_path, caplog):
    with FaultServer(model, ["wrong-model", "wrong-model"]) as server, opened(server, concurrency=1) as llm:
        replies = llm.complete([ask(i) for i in range(3)])
    assert [r.model for r in replies] == ["some-other-model", "some-other-model", "fake"]
    assert [r.getMessage() for r in caplog.records] == [
        "openai-compatible:fake: the server says that 'some-other-model' answered"
    ]


def test_retry_after_holds_back_every_request(tmp_path):
    with FaultServer(model, ["429-retry-after"], retry_after="0.6") as server:
        with opened(server, concurrency=4) as llm:
            began = time.monotonic()
            replies = llm.complete([ask(i) for i in range(12)])
            assert time.monotonic() - began >= 0.6
        assert {r.status for r in replies} == {"ok"} and len(server.requests) == 13


def test_throttling_lowers_the_concurrency():
    def script(number, payload):
        return "429" if server.active > 4 else None

    with FaultServer(model, script, delay=0.02) as server:
        patient = Retries(attempts=20, first_wait=0.05, longest_wait=0.3)
        with opened(server, concurrency=32, retries=patient) as llm:
            replies = llm.complete([ask(i) for i in range(100)])
            assert {r.status for r in replies} == {"ok"}
            assert llm._gate.limit < 32
        assert server.most_active <= 32


def test_concurrency_is_bounded():
    with FaultServer(model, delay=0.02) as server, opened(server, concurrency=5) as llm:
        llm.complete([ask(i) for i in range(40)])
        assert 2 <= server.most_active <= 5


def test_a_rate_limit_spaces_the_starts():
    with FaultServer(model) as server, opened(server, rate="1200/min") as llm:
        began = time.monotonic()
        llm.complete([ask(i) for i in range(11)])
        assert 0.45 <= time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("401", "SAYWELL_LLM_KEY"),
        ("402", "credit"),
        ("429-quota", "quota"),
        ("redirect", "localhost:9"),
        ("404", "model"),
    ],
)
def test_what_cannot_work_stops_at_once_with_the_fix(fault, says):
    with FaultServer(model, lambda number, payload: fault) as server, opened(server) as llm:
        with pytest.raises(ProviderError, match=says) as caught:
            llm.complete([ask(i) for i in range(500)])
        assert len(server.requests) <= 3 * 8
        assert "sk-secret-1" not in str(caught.value)


def test_a_server_that_is_not_there_is_named():
    with FaultServer(model) as server:
        pass
    with opened(server) as llm, pytest.raises(ProviderError, match="cannot connect"):
        llm.complete([ask(i) for i in range(50)])


def test_a_redirect_never_carries_the_key_away():
    with FaultServer(model) as elsewhere:

        def script(number, payload):
            return "redirect"

        with FaultServer(model, script) as server, opened(server) as llm, pytest.raises(ProviderError):
            llm.complete([ask(1)])
        assert elsewhere.requests == []
    assert server.headers[0]["Authorization"] == "Bearer sk-secret-1"


@pytest.mark.parametrize("option", ["temperature", "seed", "max_tokens", "response_format"])
def test_an_option_the_model_rejects_is_left_out_from_then_on(option):
    def script(number, payload):
        return f"unsupported:{option}"

    with FaultServer(model, script) as server, opened(server, concurrency=1) as llm:
        requests = [Request("s", ask(i).messages, Score, seed=3) for i in range(5)]
        assert {r.status for r in llm.complete(requests)} == {"ok"}
        assert len(server.requests) == 6
        assert option not in server.requests[-1]
        if option == "max_tokens":
            assert server.requests[-1]["max_completion_tokens"] == 1024


def test_one_request_too_long_fails_alone():
    def script(number, payload):
        return "400" if "sentence 3 " in str(payload) else None

    with FaultServer(model, script) as server, opened(server, concurrency=1) as llm:
        replies = llm.complete([ask(i) for i in range(6)])
        assert [r.status for r in replies].count("failed") == 1
        assert replies[3].error == "HTTP 400: this request is too long" and replies[3].attempts == 1


def test_the_key_is_nowhere_to_be_read(tmp_path):
    secret = "sk-very-secret-0123456789"

    def parrot(messages):
        return f'the header was Bearer {secret} {{"score": 1}}'

    calls = tmp_path / "calls.sqlite"
    with FaultServer(parrot, [None, "401"]) as server:  # noqa: SIM117
        with opened(server, calls, env={"SAYWELL_LLM_KEY": secret}) as llm:
            reply = llm.complete([ask(1)])[0]
            with pytest.raises(ProviderError) as caught:
                llm.complete([ask(2)])
            assert server.headers[0]["Authorization"] == f"Bearer {secret}"
            texts = [repr(llm), repr(vars(llm)), repr(vars(llm._backend)), repr(reply), str(caught.value)]
    assert reply.status == "ok" and "[key]" in reply.text
    assert all(secret not in text for text in texts)
    for path in tmp_path.iterdir():
        assert secret.encode() not in path.read_bytes()


def test_replay_answers_from_the_cache_alone_and_fails_loudly(tmp_path):
    calls = tmp_path / "calls.sqlite"
    requests = [ask(i) for i in range(10)]
    with FaultServer(model, first_try(["wrong-json", None])) as server, opened(server, calls) as llm:
        expected = llm.complete(requests)
    with opened(server, calls, replay=True, env={}) as llm:
        assert table(llm.complete(requests)) == table(expected)
        with pytest.raises(CacheMiss, match=r"1 of 11 requests of step 'score'"):
            llm.complete([*requests, ask(99)])


def test_a_random_storm_loses_and_repeats_nothing(tmp_path):
    randomness = random.Random(4)
    faults = [f for f in UNPAID if f != "slow-drip"] + [f for f in PAID if STATUS[f] == "ok"]

    def storm(number, payload):
        return randomness.choice(faults) if number > 5 and randomness.random() < 0.3 else None

    requests = [ask(i) for i in range(150)]
    calls = tmp_path / "calls.sqlite"
    with FaultServer(model, storm) as server:
        patient = Retries(attempts=12, first_wait=0.005, longest_wait=0.02)
        with opened(server, calls, retries=patient) as llm:
            first = llm.complete(requests)
        with opened(server, calls, retries=patient) as llm:
            second = llm.complete(requests)
        assert set(server.paid.values()) == {1}
    assert table(first) == table(second)
    wrong = [r for i, r in enumerate(first) if r.status == "ok" and r.parsed != Score(score=i * 7 % 10)]
    assert wrong == []


def test_a_pause_beyond_the_deadline_stops_the_run():
    with (
        FaultServer(model, [None, "429-retry-after"], retry_after="3600") as server,
        opened(server) as llm,
        pytest.raises(ProviderError, match="3600 s"),
    ):
        llm.complete([ask(i) for i in range(20)])


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after-ms": "nan"}, None),
        ({}, None),
    ],
)
def test_the_forms_of_retry_after(headers, seconds):
    import httpx2

    from saywell.language_models.waits import asked_wait

    assert asked_wait(httpx2.Headers(headers), b"", 1.7e9) == seconds

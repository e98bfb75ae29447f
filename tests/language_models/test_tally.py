"""How far a client is: told to who watches, and to who reads the calls file meanwhile."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

import httpx2
import pytest
from pydantic import BaseModel
from virtual import FakeProvider, good

from saywell.language_models import Message, ProviderError, Request, Retries, Scripted
from saywell.language_models.ledger import Ledger
from saywell.language_models.prices import Price
from saywell.language_models.summary import running, summarize_calls
from saywell.language_models.tally import Tally


class Score(BaseModel):
    score: int


def ask(word, step="score"):
    return Request(step, (Message("user", word),), Score)


def word_of(payload):
    return payload["messages"][0]["content"].split("\n")[0]


def test_who_watches_hears_of_every_request_while_it_is_in_flight_and_when_all_is_over(tmp_path):
    def reply(number, payload, time):
        if number == 1:
            return 500, {"error": {"message": "full \x1b[2J"}}
        if number == 2:
            return httpx2.ReadError("gone")
        return good("no") if word_of(payload) == "b" and len(payload["messages"]) == 1 else good()

    told: list[Tally] = []
    provider = FakeProvider(reply, latency=5.0)
    calls = tmp_path / "calls.sqlite"
    with provider.client(calls, price=Price(1.0, 2.0, "2026-01-01"), concurrency=2) as model:
        model.watch = told.append
        model.complete([ask("a")])
        model.complete([ask("b"), ask("c"), ask("c"), ask("a"), ask("d", "other")])
        in_all = model.spent
    of_score = [tally for tally in told if tally.step == "score"]
    assert all(0 <= tally.done <= tally.of and tally.in_flight <= 2 for tally in of_score)
    assert {tally.in_flight for tally in of_score} == {0, 1, 2}
    first = of_score[0]
    assert (first.done, first.of, first.left, first.per_second) == (0, 1, None, None) and not first.asked
    last = of_score[-1]
    # Equal requests are asked once; "a" was there already; of "b" one reply was not of the asked form.
    assert (last.done, last.of, last.stored, last.in_flight, last.over) == (4, 4, 1, 0, True)
    assert last.failed == {"HTTP 500": 1, "the connection failed": 1, "unparsed": 1}
    assert last.usd == pytest.approx(in_all.usd) and last.usd > 0
    assert last.tokens <= in_all.tokens  # "other" came later


def test_the_calls_file_says_the_same_while_the_run_goes_on(tmp_path):
    calls = tmp_path / "calls.sqlite"
    seen: dict[int, tuple] = {}

    def reply(number, payload, time):
        # The fourth request is in flight: one reply is there, two attempts failed.
        seen[number] = running(calls), summarize_calls(calls)
        return (500, {}) if number in (1, 2) else good()

    provider = FakeProvider(reply, latency=2.5)
    with provider.client(calls, retries=Retries(first_wait=2.0)) as model:
        model.complete([ask("a")])
        model.complete([ask("b")])
    assert seen[0][0][0].in_flight == 1
    [[told], [step]] = seen[3]
    assert (told.done, told.of, told.in_flight, told.failed) == (1, 2, 1, {"HTTP 500": 2})
    assert step.statuses == {"ok": 1, "failed": 2, "in flight": 1}
    assert (step.in_flight, step.faults, step.reasons) == (1, 2, {"HTTP 500": 2})
    assert running(calls) == [] and summarize_calls(calls)[0].in_flight == 0


@pytest.mark.parametrize("latency", [0.0, 0.4])
def test_the_first_request_is_in_flight_from_the_moment_it_is_sent(tmp_path, latency):
    calls = tmp_path / "calls.sqlite"
    seen = []
    provider = FakeProvider(lambda *_: seen.append(summarize_calls(calls)) or good(), latency=latency)
    with provider.client(calls) as model:
        model.complete([ask("a")])
        model.complete([ask("b")])
    [first], [second] = seen
    assert (first.statuses, first.faults, first.ended) == ({"in flight": 1}, 0, 0)
    # What is under way has taken no time yet, and does not make the others look quick.
    assert (second.statuses, second.ended) == ({"ok": 1, "in flight": 1}, 1)
    assert first.seconds == 0 and second.seconds == pytest.approx(latency, abs=0.01)


def test_a_request_that_was_given_up_is_there_while_it_is_asked_again(tmp_path):
    calls = tmp_path / "calls.sqlite"
    provider = FakeProvider(lambda *_: good())
    seen: list[dict[str, int]] = []
    with provider.client(calls, timeout=60.0, retries=Retries(attempts=2)) as model:
        model.complete([ask("b")])
        provider.latency = 70.0
        model.watch = lambda tally: seen.extend(step.statuses for step in summarize_calls(calls))
        reply = model.complete([ask("a")])[0]
    assert reply.status == "failed" and "60 s" in str(reply.error)
    assert {"ok": 1, "failed": 1, "in flight": 1} in seen and seen[-1] == {"ok": 1, "failed": 2}
    assert list(summarize_calls(calls)[0].reasons.values()) == [2]


def test_what_a_killed_run_sent_is_not_in_flight(tmp_path):
    calls = tmp_path / "calls.sqlite"
    with Scripted(lambda request: '{"score": 1}', calls=calls) as model:
        model.complete([ask("a")])
    ledger = Ledger(calls)
    [row] = ledger.rows()
    ledger.begin(replace(row, answered=False, status="unfinished", key="c1:x", started=1000.0))
    ledger.tell(999.0, 1000.0, Tally("score", "m", 0, 1, in_flight=1).to_json())
    assert running(calls, clock=lambda: 1005.0)[0].in_flight == 1
    [step] = summarize_calls(calls, clock=lambda: 1005.0)
    assert (step.in_flight, step.faults) == (1, 0)
    assert running(calls, clock=lambda: 1100.0) == []
    [step] = summarize_calls(calls, clock=lambda: 1100.0)
    assert (step.in_flight, step.faults, step.statuses) == (0, 1, {"ok": 1, "unfinished": 1})
    # The next run that asks does not hear of it.
    other = Ledger(calls)
    other.tell(1099.0, 1100.0, Tally("tags", "m", 0, 1, in_flight=1).to_json())
    assert [since for since, _, _ in other.askers()] == [1099.0]
    other.close()
    assert other.path == calls and Ledger(calls).askers() == []


@pytest.mark.parametrize(
    "said", ["", "[1]", '{"step": 3}', '{"step": "a", "model": "b", "done": "x", "of": 2}', b"\xff"]
)
def test_a_calls_file_may_say_anything_of_a_run(said, tmp_path):
    calls = tmp_path / "calls.sqlite"
    ledger = Ledger(calls)
    ledger.tell(0.0, 1000.0, "{}")
    with sqlite3.connect(calls) as raw:
        raw.execute("UPDATE askers SET tally = ?", [said])
    assert running(calls, clock=lambda: 1000.0) == []


def test_who_asks_nothing_new_writes_nothing(tmp_path):
    calls = tmp_path / "calls.sqlite"
    with Scripted(lambda request: '{"score": 1}', calls=calls) as model:
        model.complete([ask("a")])
    before = calls.read_bytes()
    told: list[Tally] = []
    with Scripted(lambda request: "", calls=calls, replay=True) as model:
        model.watch = told.append
        model.complete([ask("a")])
    assert calls.read_bytes() == before
    assert (told[-1].done, told[-1].stored, told[-1].asked, told[-1].left) == (1, 1, False, None)


def test_a_run_that_is_stopped_says_so_before_its_error(tmp_path):
    told: list[Tally] = []
    with FakeProvider(lambda *_: (401, {})).client(tmp_path / "calls.sqlite") as model:
        model.watch = told.append
        with pytest.raises(ProviderError, match="401"):
            model.complete([ask("a"), ask("b")])
    assert told[-1].over and told[-1].failed == {"HTTP 401": 1} and told[-1].done < 2


def test_time_and_pace_are_of_the_time_that_a_step_asks():
    from saywell.language_models.ledger import Spent
    from saywell.language_models.tally import Counting

    now = [0.0]
    counting = Counting(lambda: now[0])
    counting.begin("a", 4)
    counting.sent("a", 1)
    now[0] = 10.0
    counting.told("a", 1, 5)
    assert counting.tally("a", "m", Spent(), False).per_second == 0.5
    counting.back("a", 1, None)
    counting.told("a", 1, 6)  # too late
    assert counting.tally("a", "m", Spent(), False).in_flight == 0
    counting.done("a", stored=True)
    counting.done("a", stored=False)
    counting.end("a")
    now[0] = 1000.0  # it asks nothing
    counting.begin("a", 1)
    now[0] = 1010.0
    tally = counting.tally("a", "m", Spent(1, 7, 0.0), False)
    assert (tally.seconds, tally.left, tally.of, tally.done) == (20.0, 60.0, 5, 2)
    assert tally.usd is None and tally.tokens == 7
    assert counting.tally("a", "m", Spent(1, 7, 0.0), True).usd == 0.0


def test_a_line_has_what_there_is_to_say():
    bare = Tally("tags", "m", 0, 40)
    assert bare.line() == "tags: 0 of 40"
    waiting = replace(bare, in_flight=1, seconds=72.3)
    assert waiting.line() == "tags: 0 of 40, 72 s so far, 1 in flight"
    full = replace(
        bare, done=12, in_flight=4, left=250.0, per_second=13.12, tokens=12345, usd=0.0312, stored=2
    )
    full = replace(full, failed={"HTTP 500": 1, "unparsed": 2, "x": 1, "y": 1})
    assert full.line() == (
        "tags: 12 of 40, 4 min left, 4 in flight, 13.1 tokens/s, 12,345 tokens, $0.0312, 2 stored before, "
        "5 failed: unparsed (2), HTTP 500, x, ..."
    )
    assert Tally(**json.loads(full.to_json())) == full

from __future__ import annotations

import json
import threading

import pytest
from fault_server import FaultServer
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from saywell.errors import InputError
from saywell.language_models import (
    BudgetReached,
    DryRun,
    Limits,
    Message,
    Request,
    Retries,
    Scripted,
    open_language_model,
)
from saywell.language_models.prices import Price


class Score(BaseModel):
    score: int


PRICE = Price(1000.0, 2000.0, "2026-01-01")


def ask(number, step="score"):
    return Request(step, (Message("user", f"sentence {number} please"),), Score, max_tokens=50)


def answer(request):
    return '{"score": 5}'


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        (Limits(max_calls=7), "--max-calls 7 \\(7 made\\)"),
        (Limits(max_tokens=500), "--max-tokens 500"),
        (Limits(max_usd=1.0), "--max-usd 1"),
    ],
)
def test_a_limit_stops_cleanly_and_a_higher_one_goes_on(limits, says, tmp_path):
    path = tmp_path / "calls.sqlite"
    requests = [ask(i) for i in range(100)]
    with Scripted(answer, calls=path, limits=limits, price=PRICE) as model:
        with pytest.raises(BudgetReached, match=says) as caught:
            model.complete(requests)
        spent = model.spent
    assert "higher" in str(caught.value)
    assert 0 < spent.calls < 100
    assert spent.calls <= (limits.max_calls or 100)
    assert spent.tokens <= (limits.max_tokens or 10**9) and spent.usd <= (limits.max_usd or 1e9)
    asked = []
    with Scripted(lambda r: asked.append(r) or answer(r), calls=path, price=PRICE) as model:
        assert {r.status for r in model.complete(requests)} == {"ok"}
    assert len(asked) == 100 - spent.calls


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 12), st.integers(1, 12))
def test_the_number_of_calls_is_exact(limit, count):
    with Scripted(answer, limits=Limits(max_calls=limit)) as model:
        if count <= limit:
            model.complete([ask(i) for i in range(count)])
        else:
            with pytest.raises(BudgetReached):
                model.complete([ask(i) for i in range(count)])
        assert model.spent.calls == min(limit, count)


def test_concurrent_calls_do_not_overshoot(tmp_path):
    with FaultServer(lambda messages: '{"score": 1}', delay=0.02) as server:
        limits = Limits(max_calls=20, max_tokens=20_000)
        with open_language_model("openai-compatible:x", url=server.url, env={}, limits=limits) as model:
            with pytest.raises(BudgetReached):
                model.complete([ask(i) for i in range(200)])
            assert model.spent.calls == 20 == len(server.requests)


def test_a_cached_reply_needs_no_budget(tmp_path):
    path = tmp_path / "calls.sqlite"
    with Scripted(answer, calls=path) as model:
        model.complete([ask(1)])
    with Scripted(answer, calls=path, limits=Limits(max_calls=0)) as model:
        assert model.complete([ask(1)])[0].cached
        with pytest.raises(BudgetReached):
            model.complete([ask(2)])


def test_a_rejected_request_is_a_call_that_costs_nothing():
    with (
        FaultServer(lambda m: '{"score": 1}', [None, "500"]) as server,
        open_language_model(
            "openai-compatible:x",
            url=server.url,
            env={},
            concurrency=1,
            limits=Limits(max_calls=3),
            retries=Retries(first_wait=0.01),
        ) as model,
    ):
        replies = [model.complete([ask(i)])[0] for i in range(2)]
        assert model.spent.calls == len(server.requests) == 3
        assert model.spent.tokens == sum((r.input_tokens or 0) + (r.output_tokens or 0) for r in replies)
        with pytest.raises(BudgetReached):
            model.complete([ask(2)])


def test_a_limit_in_dollars_needs_a_price():
    with pytest.raises(InputError, match=r"price of 'openai-compatible:x' is unknown.*--max-tokens"):
        open_language_model(
            "openai-compatible:x", url="http://127.0.0.1:9/v1", limits=Limits(max_usd=1), env={}
        )
    with pytest.raises(InputError, match="max-usd"):
        Limits(max_usd=float("nan"))
    with pytest.raises(InputError, match="max-calls"):
        Limits(max_calls=-1)


def test_dry_run_counts_before_anything_is_sent(tmp_path):
    path = tmp_path / "calls.sqlite"
    with Scripted(answer, calls=path, price=PRICE) as model:
        model.complete([ask(0)])
    asked = []
    model = Scripted(lambda r: asked.append(r) or answer(r), calls=path, price=PRICE)
    dry = DryRun(model)
    replies = dry.complete([ask(i) for i in range(10)])
    dry.complete([ask(i) for i in range(5, 15)])
    with dry.guessing():
        dry.complete([ask(i, step="later") for i in range(100, 130)])
    dry.complete([ask(131, step="later")])
    assert replies[0].status == "ok" and {r.status for r in replies[1:]} == {"failed"}
    assert replies[1].error == "dry run" and asked == []
    score, later = dry.plan()
    assert (score.step, score.calls, score.cached, score.guessed) == ("score", 14, 1, 0)
    assert score.output_tokens == 14 * 50
    assert score.cost_usd == pytest.approx(PRICE.cost(score.input_tokens, score.output_tokens))
    assert (later.step, later.calls, later.guessed) == ("later", 31, 30)
    real = model.complete([ask(i) for i in range(15)])
    sent = [r for r in real if not r.cached]
    assert len(sent) == score.calls
    assert sum(r.cost_usd or 0 for r in sent) <= score.cost_usd
    dry.close()


def test_progress_counts_up_to_all():
    seen = []
    with Scripted(answer) as model:
        model.complete([ask(i % 7) for i in range(20)], progress=seen.append)
    assert seen[-1] == 20 and seen == sorted(seen)


def test_several_threads_may_ask_at_once():
    results = {}
    with (
        FaultServer(lambda m: json.dumps({"score": int(m[0]["content"].split()[1])}), delay=0.01) as server,
        open_language_model("openai-compatible:x", url=server.url, env={}) as model,
    ):

        def work(name):
            results[name] = model.complete([ask(i) for i in range(name * 20, name * 20 + 20)])

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for name, replies in results.items():
        assert [r.parsed.score for r in replies] == list(range(name * 20, name * 20 + 20))

"""Replies that come token by token: what is read of them, and how long one waits for the next."""

from __future__ import annotations

import json
import time

import pytest
from fault_server import FaultServer
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from virtual import FakeProvider, good

from saywell.language_models import Message, ProviderError, Request, Retries, open_language_model
from saywell.language_models.streams import Stream, TooLarge


class Score(BaseModel):
    score: int


def ask(number: int = 1, answer: type[BaseModel] | None = Score, **more) -> Request:
    return Request(
        "score", (Message("user", f"sentence {number} please"),), answer, **{"max_tokens": 50} | more
    )


def said(*deltas, finish="stop", usage=(20, 5)) -> bytes:
    """A stream of these deltas."""
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    if usage:
        chunks.append(
            {"choices": [], "usage": dict(zip(("prompt_tokens", "completion_tokens"), usage, strict=True))}
        )
    return b"".join(b"data: %s\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"


TOKEN = said({"content": '{"score"'}).partition(b"\n\n")[0] + b"\n\n"
SPACE = said({"content": " "}).partition(b"\n\n")[0] + b"\n\n"
EMPTY = said({"content": ""}).partition(b"\n\n")[0] + b"\n\n"
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=9), max_size=6), ENDS, st.booleans(), st.data())
def test_a_stream_is_read_alike_however_it_comes_in_pieces(texts, end, blank, data):
    lines = []
    for line in said(*({"content": text} for text in texts)).split(b"\n\n")[:-1]:
        noise = data.draw(
            st.sampled_from([b"", b": ping", b"id: 7", b"event: message", b"retry: 10", b"strange"])
        )
        lines += [noise, line] if noise else [line]
    # Some servers put no empty line between events.
    whole = (end + end if blank else end).join(lines) + data.draw(st.sampled_from([b"", end, end + end]))
    whole = data.draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + whole
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    stream, tokens = Stream(10**6), [0]
    for start, stop in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        more = stream.take(whole[start:stop])
        assert more or stream.tokens == tokens[-1]
        tokens.append(stream.tokens)
    stream.close()
    assert stream.over and not stream.broken and tokens[-1] <= stream.tokens == len(texts)
    body = json.loads(stream.body())
    assert body["choices"][0]["message"].get("content", "") == "".join(texts)
    assert body["usage"]["completion_tokens"] == 5


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from([b"data: ", b"{", b"}", b"[", b'"choices"', b":", b"\n", b"\r", b"1", b"\xff", b"x"])
    )
)
def test_no_bytes_break_the_reading_and_no_more_is_held_than_allowed(pieces):
    stream = Stream(40)
    try:
        for piece in pieces:
            stream.take(piece)
        stream.close()
    except TooLarge:
        assert sum(map(len, pieces)) > 40
    assert not stream.broken and len(stream.body()) <= 100


HALVES = '{"choices": [{"delta": {"content": "%s"}}]}'
READ = {
    "a null at first": (said({"role": "assistant", "content": None}, {"content": "ab"}), "ab"),
    "reasoning": (said({"reasoning_content": "hm"}, {"reasoning_content": "m"}, {"content": "ab"}), "ab"),
    "parts": (said({"content": [{"type": "text", "text": "a"}]}, {"content": [{"text": "b"}, 3]}), "ab"),
    "no usage": (said({"content": "ab"}, usage=None), "ab"),
    "no end": (said({"content": "ab"}).removesuffix(b"data: [DONE]\n\n"), "ab"),
    "no reason": (said({"content": "ab"}, finish=None), "ab"),
    "another choice": (
        b'data: {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": "stop"}]}\n\n'
        + said({"content": "ab"}),
        "ab",
    ),
    "a ping": (b'event: ping\ndata: {"type": "ping"}\n\n' + said({"content": "ab"}), "ab"),
    "halves of a character": (
        b"".join(b"data: %s\n\n" % (HALVES % half).encode() for half in (r"\ud83d", r"\ude00")) + said({}),
        "😀",
    ),
    "JSON over lines": (b'data: {"choices": [{"delta":\ndata: {"content": "ab"}}]}\n\n' + said({}), "ab"),
    "after the end": (said({"content": "ab"}) + said({"content": "cd"}), "ab"),
    "a whole message": (
        b'data: {"choices": [{"message": {"content": "ab"}, "finish_reason": "stop"}]}\n\n',
        "ab",
    ),
    "no stream": (json.dumps(good("ab")[1], indent=2).encode(), "ab"),
}


@pytest.mark.parametrize("kind", READ)
def test_what_servers_stream_is_read(kind):
    body, text = READ[kind]
    provider = FakeProvider(lambda *_: (200, body))
    with provider.client() as model:
        reply = model.complete([ask(answer=None)])[0]
        estimated = model.spent.estimated
    assert (reply.status, reply.text, reply.attempts) == ("ok", text, 1)
    assert estimated == (kind in ("no usage", "a whole message"))
    assert provider.requests[0]["stream"] and provider.requests[0]["stream_options"] == {
        "include_usage": True
    }


def test_reasoning_alone_is_read_as_it_is_of_a_reply_that_comes_at_once():
    provider = FakeProvider(lambda *_: (200, said({"reasoning": '{"sco'}, {"reasoning": 're": 3}'})))
    with provider.client() as model:
        assert model.complete([ask()])[0].parsed == Score(score=3)


BROKEN = {
    "cut": (TOKEN + TOKEN[:40], "the reply broke off after 1 tokens"),
    "an error": (TOKEN + b'data: {"error": {"message": "out of memory"}}\n\n', "out of memory"),
    "an error's code": (
        b'event: error\ndata: {"error": {"code": 503, "message": "busy"}}\n\n',
        "HTTP 503: busy",
    ),
    "a field error": (b'error: {"code": 500, "message": "slot"}\n\n', "HTTP 500: slot"),
    "no JSON": (b"data: oops\n\n" + said({"content": "a"}), "'oops'"),
    "not UTF-8": (
        said({"content": '{"score": 7}'}).replace(b"score", b"sc\xfe\xffre"),
        "not a chat completion",
    ),
    "deep": (b"data: " + b"[" * 100_000 + b"\n\n", "not a chat completion"),
    "a number": (b"data: 3\n\ndata: [DONE]\n\n", "'3'"),
    "nothing": (b"data: [DONE]\n\n", "not a chat completion"),
    "a huge line": (b"data: " + b"x" * 9_000_000, "larger than 8,000,000 bytes"),
    "huge": (said({"content": "x" * 3_000_000}, {"content": "x" * 6_000_000}), "larger than 8,000,000 bytes"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_stream_that_is_no_reply_is_tried_again_and_counted_as_what_it_may_have_cost(kind):
    body, says = BROKEN[kind]
    provider = FakeProvider(lambda number, *_: (200, body) if number == 0 else good())
    with provider.client() as model:
        reply = model.complete([ask()])[0]
        first = model._ledger.rows()[0]
    assert (reply.parsed, reply.attempts) == (Score(score=7), 2)
    assert says in (first.error or "") and first.status == "failed"
    assert first.output_tokens == 50 and first.estimated


@pytest.mark.parametrize("option", ["stream", "stream_options"])
def test_a_server_that_does_not_stream_is_asked_without(option):
    def reply(number, payload, now):
        return (
            (400, {"error": {"message": f"{option}: extra fields not permitted"}})
            if option in payload
            else good()
        )

    provider = FakeProvider(reply)
    with provider.client() as model:
        assert {r.status for r in model.complete([ask(i) for i in range(9)])} == {"ok"}
    assert len(provider.requests) == 10
    assert ("stream" in provider.requests[-1]) == (option == "stream_options")


def test_a_token_a_second_is_answered_and_its_progress_shown():
    text = json.dumps({"score": 7, "why": "word " * 400})

    class Long(BaseModel):
        score: int
        why: str

    provider = FakeProvider(lambda *_: good(text))
    provider.pace = 1.0
    tallies = []

    def clock() -> float:
        return provider.loop.now if hasattr(provider, "loop") else 0.0

    with provider.client(timeout=5, idle=3, clock=clock) as model:
        model.watch = tallies.append
        reply = model.complete([ask(answer=Long, max_tokens=5000)])[0]
    assert reply.status == "ok" and reply.attempts == 1 and reply.seconds > 280
    assert sum(0.5 < (tally.per_second or 0) <= 1.01 for tally in tallies) > 200
    seen = [tally.tokens for tally in tallies if tally.in_flight]
    assert seen == sorted(seen) and len(set(seen)) > 250


def test_a_reply_that_is_coming_in_is_an_answer_to_those_who_are_asked_to_wait():
    def reply(number, payload, now):
        if number == 1:
            return 200, [piece for _ in range(450) for piece in (TOKEN, 2.0)] + [said({"content": "7"})]
        return (429, [650.0, b"{}"], {"Retry-After": "30"}) if number == 2 else good("7")

    provider = FakeProvider(reply)
    with provider.client(timeout=1000) as model:
        assert {r.status for r in model.complete([ask(i, answer=None) for i in range(3)])} == {"ok"}
    assert provider.loop.now > 1900


SLOW = {
    "silence": ([TOKEN, 1e6], "no token for 30 s, after 1 (--llm-idle"),
    "pings": ([TOKEN, *[1, b": ping\n\n"] * 500], "no token for 30 s, after 1 (--llm-idle"),
    "empty deltas": ([*[1, EMPTY] * 500], "no token within 100 s (--llm-timeout"),
    "pings alone": ([1, b": ping\n\n"] * 500, "no token within 100 s (--llm-timeout"),
    "a drip": ([1, b" "] * 500, "no token within 100 s (--llm-timeout"),
    "bytes of a token": ([1, b"x"] * 500, "no token within 100 s (--llm-timeout"),
}


@pytest.mark.parametrize("kind", SLOW)
def test_silence_is_borne_so_long_and_the_option_that_allows_more_is_named(kind):
    pieces, says = SLOW[kind]
    provider = FakeProvider(
        lambda number, payload, now: (200, pieces) if "4" in str(payload["messages"]) else good()
    )
    with provider.client(timeout=100, idle=30) as model:
        replies = model.complete([ask(i) for i in range(9)])
    assert [i for i, reply in enumerate(replies) if reply.status != "ok"] == [4]
    assert says in (replies[4].error or "") and len(provider.requests) == 8 + 2  # once more, and no more
    with provider.client(timeout=100, idle=30) as model, pytest.raises(ProviderError) as caught:
        model.complete([ask(4), ask(5)])  # nothing was answered yet: it is not tried again
    assert says in str(caught.value) and "same command" in str(caught.value)
    assert len(provider.requests) == 11


def test_a_server_that_becomes_too_slow_for_all_stops_the_run():
    provider = FakeProvider(lambda number, *_: good() if number < 20 else (200, [1e6]))
    with (
        provider.client(timeout=10, concurrency=2) as model,
        pytest.raises(ProviderError, match="--llm-timeout"),
    ):
        model.complete([ask(i) for i in range(100)])
    assert len(provider.requests) <= 20 + 2 * 3 and provider.loop.now < 1100


def test_a_reply_that_is_whole_is_taken_though_the_connection_stays_open_or_breaks():
    whole = said({"content": '{"score": 7}'}).removesuffix(b"data: [DONE]\n\n")
    for rest in ([whole, 1e6], [whole + b"data: [DONE]\n\n", 1e6], [whole, *[1, SPACE] * 2000]):
        provider = FakeProvider(lambda *_, rest=rest: (200, rest))
        with provider.client() as model:
            assert model.complete([ask()])[0].attempts == 1
            assert provider.loop.now < 1010


def test_a_server_that_takes_no_limit_is_left_where_the_reply_is_long_enough():
    def reply(number, payload, now):
        if "max_tokens" in payload or "max_completion_tokens" in payload:
            return 400, {"error": {"message": "unknown: max_tokens, max_completion_tokens"}}
        return good("word " * 1000)

    provider = FakeProvider(reply)
    with provider.client() as model:
        reply = model.complete([ask(answer=None)])[0]
    assert reply.status == "truncated" and len(reply.text) == 50 * 7


def test_a_server_that_does_not_keep_to_the_limit_is_left_and_what_it_wrote_is_counted():
    provider = FakeProvider(lambda *_: (200, [TOKEN * 1000] * 1000))
    with provider.client(most_reply_tokens=50) as model:
        reply = model.complete([ask(answer=None)])[0]
    assert (reply.status, reply.attempts) == ("truncated", 1)
    assert reply.output_tokens == 17_000


def test_a_line_in_many_pieces_is_read_in_time_that_grows_with_its_length():
    stream, line = Stream(10**6), said({"content": "x" * 300_000})
    start = time.process_time()
    for place in range(len(line)):
        stream.take(line[place : place + 1])
    assert stream.tokens == 1 and stream.over
    assert time.process_time() - start < 10  # it took minutes


def test_a_reply_that_is_given_up_closes_its_connection_so_that_the_server_stops():
    with FaultServer(lambda messages: '{"score": 1}', [None, "stall", "stall"], pace=0.01) as server:
        options = {"url": server.url, "env": {}, "idle": 0.2, "retries": Retries(first_wait=0.01)}
        with open_language_model("openai-compatible:x", **options) as model:
            replies = [model.complete([ask(i)])[0] for i in range(2)]
            assert [reply.status for reply in replies] == ["ok", "failed"]
            end = time.monotonic() + 5
            while server.left < 2 or server.active:
                assert time.monotonic() < end
                time.sleep(0.01)


def test_a_connection_is_used_again_after_a_stream():
    with FaultServer(lambda messages: '{"score": 1}') as server:
        with open_language_model("openai-compatible:x", url=server.url, env={}, concurrency=1) as model:
            model.complete([ask(i) for i in range(5)])
        assert len(server.requests) == 5 and len(server.ports) == 1

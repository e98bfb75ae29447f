"""Many at once: questions in line, connections that never ask, forms that never end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.errors import InputError
from saywell.explorer.connections import bounded_protocol
from saywell.explorer.security import MOST_BYTES, Door, Guard
from saywell.explorer.together import Busy, Together


def test_a_line_is_answered_at_once_in_order_and_errors_reach_their_own():
    batches, gate = [], threading.Event()

    def answer(asked):
        if not batches:
            gate.wait(5)
        batches.append(list(asked))
        return [InputError(f"no {n}") if n % 5 == 0 else n * n for n in asked]

    with ThreadPoolExecutor(1) as pool:
        line = Together(answer, pool, most=8)
        promises = [line.ask(n) for n in range(1, 21)]
        gate.set()
        for n, promise in enumerate(promises, 1):
            if n % 5 == 0:
                with pytest.raises(InputError, match=f"no {n}"):
                    promise.result(5)
            else:
                assert promise.result(5) == n * n
    assert [n for batch in batches for n in batch] == list(range(1, 21))
    assert len(batches) <= 4 and max(map(len, batches)) == 8


def test_a_full_line_says_so_and_a_bug_reaches_everybody():
    gate = threading.Event()

    def answer(asked):
        gate.wait(5)
        raise RuntimeError("broken")

    with ThreadPoolExecutor(1) as pool:
        line = Together(answer, pool, waiting=3)
        first = line.ask(0)
        while line._line:  # until it is being answered
            time.sleep(0.01)
        waiting = [line.ask(n) for n in range(3)]
        with pytest.raises(Busy, match="3 questions are waiting"):
            line.ask(9)
        gate.set()
        for promise in (first, *waiting):
            with pytest.raises(RuntimeError, match="broken"):
                promise.result(5)


def _serve(most, seconds):
    """A server of one word behind the door and the bounded protocol."""
    import uvicorn

    async def app(scope, receive, send):
        body = (await receive()).get("body", b"")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello %d" % len(body)})

    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    guard = Guard(app, Door("127.0.0.1", port, secret="s"), seconds=seconds)
    server = uvicorn.Server(
        uvicorn.Config(
            guard, http=bounded_protocol(most, seconds), ws="none", lifespan="off", log_level="critical"
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()

    def stop():
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()

    return SimpleNamespace(port=port, stop=stop)


@pytest.fixture(scope="module")
def tiny_server():
    """20 connections, half a second for a head or a form."""
    server = _serve(20, 0.5)
    yield server
    server.stop()


def _say(port, data, *, wait=5.0):
    """What a server answers to some bytes, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as one:
        pieces = []
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            one.sendall(data)
            while piece := one.recv(65536):
                pieces.append(piece)
        return b"".join(pieces)


def _get(port):
    return _say(port, b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % port)


def _post(port, *headers, body=b""):
    head = [
        b"POST / HTTP/1.1",
        b"Host: 127.0.0.1:%d" % port,
        b"Origin: http://127.0.0.1:%d" % port,
        b"Connection: close",
        *headers,
    ]
    return _say(port, b"\r\n".join([*head, b"", body]))


def test_half_sent_requests_do_not_stop_the_server(tiny_server):
    port = tiny_server.port
    half = []
    try:
        for _ in range(150):
            one = socket.create_connection(("127.0.0.1", port), timeout=5)
            one.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1")
            half.append(one)
        assert b"hello" in _get(port)
        half[-1].settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert half[-1].recv(1) == b""  # the last was closed by the clock
        assert b"hello" in _get(port)
    finally:
        for one in half:
            one.close()


def test_of_too_many_connections_those_that_waited_longest_make_room():
    """With a clock of a minute: nothing but their number can have closed them."""
    server = _serve(most=5, seconds=60)
    opened = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(12)]
    try:
        for one in opened[:7]:
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(1) == b""
        assert b"hello" in _get(server.port)
        opened[-1].sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % server.port)
        assert opened[-1].recv(9) == b"HTTP/1.1 "
    finally:
        for one in opened:
            one.close()
        server.stop()


def test_a_second_request_on_a_connection_has_its_own_clock(tiny_server):
    port = tiny_server.port
    request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % port
    with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
        for _ in range(3):
            one.sendall(request)
            answer = b""
            while not answer.endswith(b"\r\n0\r\n\r\n"):
                answer += one.recv(65536)
            assert b"hello" in answer
            time.sleep(0.2)
        one.sendall(request[:20])
        started = time.monotonic()
        with contextlib.suppress(ConnectionResetError):
            while one.recv(65536):
                pass
        assert time.monotonic() - started < 4


def test_forms_are_counted_as_they_arrive(tiny_server):
    port = tiny_server.port
    assert b"hello 5" in _post(port, b"Content-Length: 5", body=b"abcde")
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    smuggled = _post(port, b"Transfer-Encoding: chunked", b"Content-Length: 5", body=chunk * 20)
    assert not smuggled or b" 411 " in smuggled or b" 400 " in smuggled
    assert b" 413 " in _post(port, b"Content-Length: %d" % (MOST_BYTES + 1))
    assert b" 408 " in _post(port, b"Content-Length: 5", body=b"ab")
    assert b"hello" in _get(port)


async def _through(guard, headers, pieces, method="POST"):
    """Send pieces of a body through the guard; the status that comes back."""
    scope = {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": headers}
    sent = []
    waiting = list(pieces)

    async def receive():
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message):
        sent.append(message)

    await guard(scope, receive, send)
    return sent[0]["status"]


def _app_of(seen):
    async def app(scope, receive, send):
        seen.append((await receive())["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


def test_more_than_was_said_is_refused_whatever_the_server_lets_through():
    seen = []
    guard = Guard(_app_of(seen), Door("127.0.0.1", 80, secret="s"), most_held=100)
    headers = [(b"host", b"127.0.0.1"), (b"origin", b"http://127.0.0.1"), (b"content-length", b"10")]
    assert asyncio.run(_through(guard, headers, [b"x" * 6, b"x" * 5])) == 413
    assert asyncio.run(_through(guard, headers, [b"x" * 6, b"y" * 4])) == 200
    assert seen == [b"x" * 6 + b"y" * 4]
    big = [*headers[:2], (b"content-length", b"101")]
    assert asyncio.run(_through(guard, big, [b"x" * 101])) == 503
    assert guard._held == 0


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [b"host", b"origin", b"cookie", b"content-length", b"sec-fetch-site", b"transfer-encoding"]
            ),
            st.one_of(
                st.binary(max_size=30),
                st.sampled_from(
                    [
                        b"http:x",
                        b"http://",
                        b"http://[",
                        b"//",
                        b"127.0.0.1",
                        b"[::1",
                        b"127.0.0.1:x",
                        b'saywell="',
                        b"\xc2\xb2",
                        b"-1",
                        b"9" * 5000,
                        b"1e3",
                    ]
                ),
            ),
        ),
        max_size=6,
    ),
    st.sampled_from(["GET", "POST", "HEAD", "X"]),
    st.binary(max_size=20),
)
def test_no_header_is_an_error_of_ours(headers, method, body):
    guard = Guard(_app_of([]), Door("127.0.0.1", 80, token="t", secret="s"))
    status = asyncio.run(_through(guard, [(b"host", b"127.0.0.1"), *headers], [body], method))
    assert status in (401, 403, 405, 411, 413, 421)

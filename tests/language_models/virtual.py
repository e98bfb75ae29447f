"""A provider without sockets and a clock that does not wait: hours of quotas in milliseconds.

    provider = FakeProvider(reply)                      # reply(number, payload, time) -> an answer
    with provider.client(tmp_path / "calls.sqlite") as model: ...

An answer is `(status, body)` or `(status, body, headers)`, or an exception that the connection raises. A
body is a completion, which is streamed where that is asked for, with `provider.pace` seconds a piece; any
other JSON; bytes; or a list of bytes and of seconds between them. Time passes only in waits and in
`provider.latency`, the time before each reply. `provider.facts` is the JSON at other paths.
"""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx2
from fault_server import PLACES, events

from saywell.language_models import Client, Limits, Retries
from saywell.language_models.http import HttpBackend
from saywell.language_models.prices import Price, dearest_price
from saywell.language_models.providers import PROVIDERS, Key


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer as soon as nothing else is to be done."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now


class _Jumping(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(timeout if timeout is None else 0)
        if not ready and timeout:
            self._loop.now += timeout
        return ready


def good(content: str = '{"score": 7}', **more: Any) -> tuple[int, dict[str, Any]]:
    """A well-formed completion; `usage=None` leaves the usage out."""
    usage = more.pop("usage", {"prompt_tokens": 20, "completion_tokens": 5})
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    reply = {"id": "x", "model": "fake", "choices": [choice], **more}
    return 200, reply if usage is None else {**reply, "usage": usage}


class FakeProvider:
    """See the module's text."""

    def __init__(self, reply: Callable[[int, dict[str, Any], float], Any], latency: float = 0.1) -> None:
        self.reply = reply
        self.latency = latency
        self.pace = 0.0
        self.facts: dict[str, Any] = PLACES
        self.requests: list[dict[str, Any]] = []
        self.headers: list[httpx2.Headers] = []
        self.times: list[float] = []
        self.loop: VirtualLoop  # that of the last client, from its first request on

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if not request.url.path.endswith("/chat/completions"):
            found = self.facts.get(request.url.path)
            body = found(json.loads(request.content)) if callable(found) else found
            return httpx2.Response(
                404 if body is None else 200, content=_as_it_comes([json.dumps(body).encode()])
            )
        number, payload = len(self.requests), json.loads(request.content)
        self.requests.append(payload)
        self.headers.append(request.headers)
        self.times.append(self.loop.now)
        await asyncio.sleep(self.latency)
        answer = self.reply(number, payload, self.times[number])
        if isinstance(answer, Exception):
            raise answer
        status, body, headers = (*answer, {})[:3]
        if isinstance(body, list) and all(isinstance(piece, bytes | float | int) for piece in body):
            pieces = body
        elif payload.get("stream") and isinstance(body, dict) and body.get("choices") and status == 200:
            pieces = events(body)
        else:
            pieces = [body if isinstance(body, bytes) else json.dumps(body).encode()]

        return httpx2.Response(status, headers=headers, content=_as_it_comes(pieces, self.pace))

    def client(
        self,
        calls: Path | None = None,
        *,
        key: str | None = None,
        price: Price | None = None,
        limits: Limits | None = None,
        provider: str = "openai-compatible",
        effort: str | None = None,
        timeout: float = 600.0,
        idle: float = 120.0,
        **options: Any,
    ) -> Client:
        """A client of this provider, on the virtual clock."""

        def begin() -> VirtualLoop:
            self.loop = VirtualLoop()
            return self.loop

        backend = HttpBackend(
            PROVIDERS[provider],
            "fake",
            "http://provider.test/v1",
            Key(key, "test") if key else None,
            price,
            concurrency=options.get("concurrency", 16),
            effort=effort,
            timeout=timeout,
            idle=idle,
            transport=httpx2.MockTransport(lambda request: self._answer(request)),
        )
        stand_in = dearest_price({}) if limits and limits.max_usd is not None else None
        options = {"retries": Retries(), **options}
        return Client(backend, calls=calls, limits=limits, stand_in=stand_in, new_loop=begin, **options)


async def _as_it_comes(pieces: list[bytes | float], pace: float = 0.0) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            await asyncio.sleep(pace)
        else:
            await asyncio.sleep(piece)

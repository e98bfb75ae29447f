"""Connections to one server: what is sent, and what comes back, no larger and no slower than allowed."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from saywell.addresses import is_loopback
from saywell.language_models.backend import Told, Trouble
from saywell.language_models.streams import Stream, TooLarge

# One pool slows down with the square of its connections; several small ones do not.
_CONNECTIONS_PER_POOL = 32
_CONNECT = 30.0
"""Seconds in which a server takes a connection, however slow it is afterwards."""
_REST = 5.0
"""Seconds for what may follow a reply that is whole: its usage, the end of the stream."""
_PIECE = 65_536
_OVERHEAD = 16
"""How many times more bytes may come over than are held: each token of a stream is wrapped in JSON."""
_MOST_FACTS = 2_000_000


class Wire:
    """HTTP to the server at `host`; `clean` takes secrets out of what goes into errors.

    `timeout` bounds in seconds the time until a reply begins (until it is whole, where it does not
    come token by token), `idle` that between two of its tokens. Whatever ends an exchange early, its
    being cancelled too, closes the connection, by which a server learns that nobody waits for the rest.
    """

    def __init__(
        self,
        host: str,
        headers: Mapping[str, str],
        *,
        connections: int,
        timeout: float,
        idle: float,
        max_bytes: int,
        clean: Callable[[str], str],
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._host = host
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": "saywell",
            "Accept-Encoding": "identity",
            **headers,
        }
        self._timeout, self._idle = timeout, idle
        self._max_bytes = max_bytes
        self._clean = clean
        self._transport = transport
        self._count = -(-connections // _CONNECTIONS_PER_POOL)
        self._pools: list[httpx2.AsyncClient] = []
        self._turn = itertools.count()

    async def close(self) -> None:
        """Closes the connections."""
        for pool in self._pools:
            await pool.aclose()
        self._pools = []

    async def post(
        self, url: str, payload: Mapping[str, Any], told: Told, most: int
    ) -> tuple[int, httpx2.Headers, bytes]:
        """Status, headers and body; that of a streamed reply as if it had come at once.

        `told` hears how many tokens there are so far; at `most` the reply is cut off. Raises Trouble.
        """
        stream: Stream | None = None
        try:
            async with (
                asyncio.timeout(self._timeout) as limit,
                self._pool(url).stream("POST", url, content=json.dumps(payload).encode()) as response,
            ):
                if response.status_code != 200:
                    body = await self._body(response, self._max_bytes)
                    return response.status_code, response.headers, body
                stream = Stream(self._max_bytes)
                await self._follow(response, stream, limit, told, most)
        except TimeoutError:
            if stream is None or not stream.ended:
                raise self._slow(stream, bool(payload.get("stream"))) from None
        except TooLarge:
            raise Trouble(f"the reply is larger than {self._max_bytes:,} bytes", charged=True) from None
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            raise Trouble(f"cannot connect to {url}: {self._what(error)}", sent=False) from None
        except httpx2.HTTPError as error:
            if stream is None or not stream.ended:
                raise Trouble(f"the connection failed: {self._what(error)}", charged=True) from None
        if stream.broken:
            raise Trouble(f"the reply broke off after {stream.tokens} tokens", charged=True)
        return 200, response.headers, stream.body()

    async def facts(self, url: str, payload: Mapping[str, Any] | None = None, within: float = 5.0) -> Any:
        """The JSON that the server has at this address; None where there is none."""
        content = None if payload is None else json.dumps(payload).encode()
        method = "GET" if payload is None else "POST"
        try:
            async with (
                asyncio.timeout(within),
                self._pool(url).stream(method, url, content=content) as response,
            ):
                if response.status_code == 200:
                    return json.loads(await self._body(response, _MOST_FACTS))
        except (TimeoutError, TooLarge, Trouble, httpx2.HTTPError, ValueError, RecursionError):
            pass
        return None

    async def _follow(
        self, response: httpx2.Response, stream: Stream, limit: asyncio.Timeout, told: Told, most: int
    ) -> None:
        """Reads a reply while its tokens come."""
        now = asyncio.get_running_loop().time
        came = 0
        async for piece in self._unpacked(response):
            came += len(piece)
            if came > _OVERHEAD * self._max_bytes:
                raise TooLarge
            ended = stream.ended
            if stream.take(piece):
                told(stream.tokens)
                if not ended:  # what comes after the end does not put off the end
                    limit.reschedule(now() + (min(self._idle, _REST) if stream.ended else self._idle))
            if stream.tokens >= most and not stream.ended:
                stream.cut_off()
                return
        stream.close()

    async def _body(self, response: httpx2.Response, most: int) -> bytes:
        """The body, of which no more than `most` bytes are ever held."""
        body = bytearray()
        async for piece in self._unpacked(response):
            body += piece[: most - len(body) + 1]
            if len(body) > most:
                raise Trouble(f"the reply is larger than {most:,} bytes")
        return bytes(body)

    async def _unpacked(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        """The pieces of a body as they come, unpacked to no more than 64 KiB at a time."""
        charged = response.status_code == 200
        packing = response.headers.get("content-encoding", "identity").strip().lower()
        if packing not in ("identity", "", "gzip", "deflate"):
            what = self._clean(packing)[:40]
            raise Trouble(f"the reply is packed as {what!r}, which was not asked for", charged=charged)
        unpack = zlib.decompressobj(47) if packing in ("gzip", "deflate") else None
        async for chunk in response.aiter_raw():
            if unpack is None:
                yield chunk
                continue
            try:
                while piece := unpack.decompress(chunk, _PIECE):
                    yield piece
                    chunk = unpack.unconsumed_tail
            except zlib.error:
                raise Trouble("the reply cannot be unpacked", charged=True) from None

    def _slow(self, stream: Stream | None, streamed: bool) -> Trouble:
        """What was too slow, and the option that allows more."""
        if stream is not None and stream.tokens:
            said = f"no token for {self._idle:g} s, after {stream.tokens} (--llm-idle allows more)"
        else:
            what = "token" if streamed else "complete reply"
            said = f"no {what} within {self._timeout:g} s (--llm-timeout allows more)"
        return Trouble(said, "slow", charged=True)

    def _what(self, error: Exception) -> str:
        return (self._clean(str(error)) or type(error).__name__)[:300]

    def _pool(self, url: str) -> httpx2.AsyncClient:
        if not self._pools:
            near = is_loopback(self._host)
            tls: ssl.SSLContext | bool = (
                httpx2.create_ssl_context() if urlsplit(url).scheme == "https" else False
            )
            self._pools = [
                httpx2.AsyncClient(
                    headers=self._headers,
                    verify=tls,
                    transport=self._transport,
                    follow_redirects=False,
                    trust_env=not near,  # a proxy for the internet must not be asked for this machine
                    timeout=httpx2.Timeout(None, connect=min(_CONNECT, self._timeout)),
                    limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
                )
                for _ in range(self._count)
            ]
        return self._pools[next(self._turn) % len(self._pools)]

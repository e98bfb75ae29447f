"""One request over HTTP to a server that speaks the OpenAI chat protocol.

httpx2 itself and not the `openai` SDK, which is built on it: the protocol is one POST, the SDK
costs three times the CPU a request, and here redirects, size and time are bounded where the bytes
arrive (benchmarks/llm_client.py has the figures).
"""

from __future__ import annotations

import asyncio
import base64
import email.utils
import ipaddress
import itertools
import json
import logging
import re
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

import httpx2

from saywell.language_models.backend import Sent, Trouble
from saywell.language_models.prices import Price
from saywell.language_models.providers import Key, Provider, same_model
from saywell.language_models.requests import Message, Request
from saywell.language_models.structured import strict_schema, with_instructions

# One pool slows down with the square of its connections; several small ones do not.
_CONNECTIONS_PER_POOL = 32
_UNSUPPORTED = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|not permitted|not allowed|deprecated"
    r"|invalid.{0,20}parameter|extra (inputs|fields)",
    re.IGNORECASE,
)
_OPTIONAL = (
    "response_format",
    "temperature",
    "seed",
    "reasoning_effort",
    "max_completion_tokens",
    "max_tokens",
)

log = logging.getLogger("saywell.language_models")


class HttpBackend:
    """A model of a provider behind its chat endpoint; sends each request once.

    An option that the model rejects by name (such as temperature, for reasoning models) is left out
    from then on. Redirects are never followed, so the key goes to no other host, and it is blotted
    out of whatever the server sends back.
    """

    def __init__(
        self,
        provider: Provider,
        model: str,
        url: str,
        key: Key | None,
        price: Price | None,
        *,
        concurrency: int,
        effort: str | None = None,
        timeout: float = 120.0,
        max_bytes: int = 8_000_000,
    ) -> None:
        self.name = f"{provider.name}:{model}"
        self.identity = {"provider": provider.name, "url": url, "model": model}
        if effort is not None:
            self.identity["reasoning_effort"] = effort
        self.price = price
        self._provider = provider
        self._model = model
        self._url = f"{url}/chat/completions"
        self._host = urlsplit(url).hostname or ""
        self._key = key
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._left_out: set[str] = set()
        self._known_as: set[str] = set()
        self._tokens_field = provider.tokens_field
        self._pools: list[httpx2.AsyncClient] = []
        self._count = -(-concurrency // _CONNECTIONS_PER_POOL)
        self._turn = itertools.count()

    async def send(self, request: Request) -> Sent:
        """The server's reply. Raises Trouble, with a message fit for the user, for none."""
        while True:
            payload = self._payload(request)
            status, headers, body = await self._post(json.dumps(payload).encode())
            if status == 200:
                sent = self._read(body)
                self._look_at(sent.model)
                return sent
            if status in (400, 422) and self._leave_out(payload, _error_of(body)):
                continue
            raise self._trouble(status, headers, body)

    async def close(self) -> None:
        """Closes the connections."""
        for pool in self._pools:
            await pool.aclose()
        self._pools = []

    def _payload(self, request: Request) -> dict[str, Any]:
        messages = request.messages
        native = self._provider.schema != "instruct" and "response_format" not in self._left_out
        if request.answer is not None and (not native or self._provider.schema == "both"):
            messages = with_instructions(messages, request.answer)
        payload: dict[str, Any] = {
            "model": self._model,
            "messages": [_wire(message) for message in messages],
            "temperature": request.temperature,
            self._tokens_field: request.max_tokens,
        }
        if request.seed is not None:
            payload["seed"] = request.seed
        if "reasoning_effort" in self.identity:
            payload["reasoning_effort"] = self.identity["reasoning_effort"]
        if request.answer is not None and native:
            name = re.sub(r"[^A-Za-z0-9_-]", "_", request.answer.__name__)[:64]
            schema = {"name": name, "strict": True, "schema": strict_schema(request.answer)}
            payload["response_format"] = {"type": "json_schema", "json_schema": schema}
        return {name: value for name, value in payload.items() if name not in self._left_out}

    async def _post(self, content: bytes) -> tuple[int, httpx2.Headers, bytes]:
        if not self._pools:
            self._pools = self._open()
        pool = self._pools[next(self._turn) % len(self._pools)]
        try:
            async with (
                asyncio.timeout(self._timeout),
                pool.stream("POST", self._url, content=content) as response,
            ):
                chunks, size = [], 0
                async for chunk in response.aiter_bytes():
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > self._max_bytes:
                        raise Trouble(f"the reply is larger than {self._max_bytes:,} bytes")
                return response.status_code, response.headers, b"".join(chunks)
        except TimeoutError:
            raise Trouble(f"no complete reply within {self._timeout:g} s") from None
        except httpx2.ConnectError as error:
            raise Trouble(f"cannot connect to {self._url}: {self._clean(str(error))}") from None
        except httpx2.HTTPError as error:
            what = self._clean(str(error)) or type(error).__name__
            raise Trouble(f"the connection failed: {what}") from None

    def _open(self) -> list[httpx2.AsyncClient]:
        headers = {"Content-Type": "application/json", "User-Agent": "saywell"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.value}"
        near = is_loopback(self._host)
        tls: ssl.SSLContext | bool = (
            httpx2.create_ssl_context() if self._url.startswith("https") else False
        )
        return [
            httpx2.AsyncClient(
                headers=headers,
                verify=tls,
                follow_redirects=False,
                trust_env=not near,  # a proxy for the internet must not be asked for this machine
                timeout=httpx2.Timeout(self._timeout, pool=None),
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
            )
            for _ in range(self._count)
        ]

    def _read(self, body: bytes) -> Sent:
        try:
            reply = json.loads(body)
            choices = reply["choices"]
            message = choices[0]["message"]
            finish = choices[0].get("finish_reason")
            content, refusal = message.get("content"), message.get("refusal")
            usage = reply.get("usage") or {}
            text = content if isinstance(content, str) else _joined(content)
            cost = usage.get("cost")
            return Sent(
                text=self._clean(text),
                finish=finish if isinstance(finish, str) else None,
                refusal=self._clean(refusal) if isinstance(refusal, str) else None,
                model=self._clean(str(reply.get("model") or ""))[:200],
                input_tokens=_count(usage.get("prompt_tokens")),
                output_tokens=_count(usage.get("completion_tokens")),
                cost_usd=cost if isinstance(cost, float) and 0 <= cost < 1e6 else None,
            )
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            # Some gateways wrap the error of the server behind them into a 200.
            said = _error_of(body).get("message") or body[:200].decode("utf-8", "replace")
            raise Trouble(
                f"the reply is not a chat completion: {self._clean(str(said))!r}"
            ) from None

    def _look_at(self, replied: str) -> None:
        if replied and replied not in self._known_as and not same_model(self._model, replied):
            log.warning("%s: the server says that %r answered", self.name, replied)
        self._known_as.add(replied)

    def _leave_out(self, payload: dict[str, Any], error: dict[str, Any]) -> bool:
        message = str(error.get("message") or "")
        named = str(error.get("param") or "")
        if not _UNSUPPORTED.search(message):
            return False
        for option in _OPTIONAL:
            if option in payload and (named == option or option in re.findall(r"\w+", message)):
                other = (
                    "max_tokens" if option == "max_completion_tokens" else "max_completion_tokens"
                )
                if option == self._tokens_field and other not in self._left_out:
                    self._tokens_field = other
                self._left_out.add(option)
                return True
        return False

    def _trouble(self, status: int, headers: httpx2.Headers, body: bytes) -> Trouble:
        error = _error_of(body)
        said = str(error.get("message") or _plain(body))
        what = f"HTTP {status}: {self._clean(said)[:300]}".rstrip(": ")
        code = str(error.get("code") or error.get("type") or "")
        if 300 <= status < 400:
            target = urlsplit(headers.get("location", "")).netloc.rpartition("@")[2][:100]
            return Trouble(
                f"HTTP {status}: {self._host} redirects to {target or 'another address'!r}; not "
                "followed, so that the key stays here: correct --llm-url",
                "redirect",
            )
        if status == 401 or status == 402 or code == "insufficient_quota":
            variable = self._provider.key_variable
            hint = f"check {variable}" if status == 401 else "check the account's credit"
            return Trouble(f"{what} ({hint})", "fatal")
        if status == 404:
            return Trouble(f"{what} (check the model's name and the address {self._url})", "reject")
        if "content_filter" in code or "content_policy" in code:
            return Trouble(what, "reject")
        if status in (429, 503, 529):
            return Trouble(what, throttled=True, after=_retry_after(headers))
        if status in (408, 409, 425) or status >= 500:
            return Trouble(what, after=_retry_after(headers))
        return Trouble(what, "reject")

    def _clean(self, text: str) -> str:
        """The text without our key, and without halves of surrogate pairs (no file holds them)."""
        if self._key is not None and self._key.value in text:
            text = text.replace(self._key.value, "[key]")
        return text if text.isascii() else text.encode("utf-8", "replace").decode()


def is_loopback(host: str) -> bool:
    """Whether the host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _wire(message: Message) -> dict[str, Any]:
    if isinstance(message.content, str):
        return {"role": message.role, "content": message.content}
    parts: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, str):
            parts.append({"type": "text", "text": part})
        else:
            data = base64.b64encode(part.data).decode()
            url = f"data:{part.media_type};base64,{data}"
            parts.append({"type": "image_url", "image_url": {"url": url}})
    return {"role": message.role, "content": parts}


def _joined(content: Any) -> str:
    """The text of a reply given as a list of parts; nothing (None) is no text."""
    if content is None:
        return ""
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 1 << 40 else None


def _error_of(body: bytes) -> dict[str, Any]:
    """The error object of a body, in whichever of the usual shapes; empty when there is none."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(value, list) and value:
        value = value[0]
    error = value.get("error", value) if isinstance(value, dict) else {}
    return error if isinstance(error, dict) else {"message": str(error)}


def _plain(body: bytes) -> str:
    """What an HTML or text page says, shortened."""
    text = re.sub(r"<[^<>]{0,500}>", " ", body[:5000].decode("utf-8", "replace"))
    return " ".join(text.split())[:200]


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds the server asks to wait: `retry-after-ms`, or Retry-After as seconds or as a date."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            seconds = float(milliseconds) / 1000
        elif not (value := headers.get("retry-after")):
            return None
        elif re.fullmatch(r"\s*[\d.]+\s*", value):
            seconds = float(value)
        else:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds) if seconds == seconds else None

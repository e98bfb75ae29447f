"""One request over HTTP to a server that speaks the OpenAI chat protocol.

httpx2 itself and not the `openai` SDK, which is built on it: the protocol is one POST, the SDK
costs three times the CPU a request, and here redirects, size and time are bounded where the bytes
arrive (wire.py; benchmarks/llm_client.py has the figures).
"""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

import httpx2

from saywell.language_models.backend import MANY, Sent, Told, Trouble, untold
from saywell.language_models.blot import Blot
from saywell.language_models.choices import TOP, one_token, told_by_server
from saywell.language_models.prices import Price
from saywell.language_models.providers import Key, Provider, same_model
from saywell.language_models.requests import Message, Request
from saywell.language_models.servers import Server
from saywell.language_models.structured import strict_schema, tight_schema, with_instructions
from saywell.language_models.waits import asked_wait
from saywell.language_models.wire import Wire

# Options a model may not take, in the order in which they are left out when a server rejects a
# request without naming one: those that change least about the reply go first.
_OPTIONS = (
    "stream",
    "logprobs",
    "response_format",
    "reasoning_effort",
    "seed",
    "temperature",
    "max_completion_tokens",
    "max_tokens",
    "stream_options",
)
_LIMITS = {"max_tokens", "max_completion_tokens"}
_TOO_LONG = re.compile(
    r"context[ _](length|window|size)|context_length|maximum (context|prompt|input)"
    r"|(prompt|input|request|message)s?( \w+){0,3} (is|are|was) too (long|large)|too many input tokens"
    r"|exceeds? the (available )?context",
    re.IGNORECASE,
)
# Statuses of a gateway that gave up waiting: the server behind it may have gone on, for money.
_GAVE_UP = (408, 499, 504, 524)
# Those that may say when to come back.
_LATER = (403, 408, 409, 425, 429, 500, 502, 503, 504, 529)
_MOST_COUNT = 1 << 40
_BEYOND, _PIECES = 16_384, 8
"""Of the limit on a reply, which a server was given: tokens of reasoning that some do not count into it, and
pieces that some make of a token."""
_NAMES = {option: rf"\b{option}\b" for option in _OPTIONS} | {
    "response_format": r"response[ _]format|json[ _]schema|structured[ _]output",
    "logprobs": r"(top_)?log_?prob(s|abilit(y|ies))?",
}

log = logging.getLogger("saywell.language_models")


class HttpBackend:
    """A model of a provider behind its chat endpoint; sends each request once.

    A 400 or 422 may be about an option (such as temperature, for reasoning models): options are
    left out, one named in the error first, until the request is accepted, and the one that made the
    difference stays out. Redirects are never followed, so the key goes to no other host, and it is
    blotted out of whatever the server sends back.
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
        timeout: float = 600.0,
        idle: float = 120.0,
        max_bytes: int = 8_000_000,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = f"{provider.name}:{model}"
        self.identity = {"provider": provider.name, "url": url, "model": model}
        if effort is not None:
            self.identity["reasoning_effort"] = effort
        self.price = price
        self._provider = provider
        self._model = model
        self._url = url
        self._host = urlsplit(url).hostname or ""
        self._blot = Blot(*([key.value] if key else []), *_proxy_passwords())
        self._left_out: set[str] = set()
        # Of these nobody said that the model does not take them; they were left out with another
        # one. Each is tried once more, in one request.
        self._in_doubt: list[str] = []
        self._named: set[str] = set()
        # Options and values that were in a request that was accepted: no later error is about them.
        self._accepted: set[tuple[str, str]] = set()
        self._in_vain = 0
        # Whether a server that enforces schemas was seen not to understand all bounds in them.
        self._loosely = False
        self._known_as: set[str] = set()
        self._wire = Wire(
            self._host,
            {} if key is None else {"Authorization": f"Bearer {key.value}"},
            connections=concurrency,
            timeout=timeout,
            idle=idle,
            max_bytes=max_bytes,
            clean=self._clean,
            transport=transport,
        )
        # A service in the cloud has nothing to say of itself but by its prices and errors.
        self._server = None if provider.key_needed else Server(self._wire.facts, url, model)

    async def send(self, request: Request, without: tuple[str, ...] = (), told: Told = untold) -> Sent:
        """The server's reply. Raises Trouble, with a message fit for the user, for none."""
        tried = self._in_doubt.pop() if self._in_doubt and not without else None
        payload = self._payload(request, without, tried)
        try:
            # A server that takes no limit on the reply's length, or does not keep to it, is left when there
            # is more.
            limited = bool(_LIMITS & payload.keys())
            most = _BEYOND + _PIECES * request.max_tokens if limited else request.max_tokens
            status, headers, body = await self._wire.post(
                f"{self._url}/chat/completions", payload, told, most
            )
            if status in (400, 422) and tried is not None:
                raise Trouble(f"HTTP {status} because of {tried}", "again", without=(tried,))
            if status == 400 and not self._loosely and b"JSON schema error" in body:
                self._loosely = True
                raise Trouble("HTTP 400 because of a bound in the schema", "again", without=without)
            if status != 200:
                raise self._trouble(status, headers, body, payload, without)
            sent = self._read(body, payload, without, request.choices if "logprobs" in payload else None)
        except Trouble as trouble:
            if tried is not None and trouble.kind != "again":
                self._in_doubt.append(tried)
            raise
        self._learn(payload, without)
        self._look_at(sent.model)
        return sent

    @property
    def gives_probabilities(self) -> bool | None:
        """False when the server has been seen to give none; None while that is not known."""
        return False if "logprobs" in self._left_out else None

    async def close(self) -> None:
        """Closes the connections."""
        await self._wire.close()

    async def slots(self) -> int | None:
        """How many requests the server works on at a time, as far as it says.

        MANY for vLLM and for what is not one's own, which take as many as they are sent and say when
        it is too much.
        """
        return MANY if self._server is None or self._provider.name == "vllm" else await self._server.slots()

    async def context(self) -> int | None:
        """Tokens that the model reads and writes in all; None for what does not say."""
        return None if self._server is None else await self._server.context()

    async def count(self, request: Request) -> int | None:
        """Tokens of the request by the server's own tokenizer; None where it has none for us."""
        if self._server is None or any(message.images for message in request.messages):
            return None
        return await self._server.count(self._payload(request))

    def _payload(
        self, request: Request, without: tuple[str, ...] = (), tried: str | None = None
    ) -> dict[str, Any]:
        left_out = self._left_out.union(without) - {tried}
        messages = request.messages
        native = self._provider.schema != "instruct" and "response_format" not in left_out
        if request.answer is not None and (not native or self._provider.schema == "both"):
            messages = with_instructions(messages, request.answer)
        payload: dict[str, Any] = {
            "model": self._model,
            "messages": [_wire(message) for message in messages],
            "temperature": request.temperature,
        }
        # Servers take one of two names for the limit on the reply's length.
        own = self._provider.tokens_field
        other = "max_tokens" if own == "max_completion_tokens" else "max_completion_tokens"
        limit = other if own in left_out else own
        payload[limit] = request.max_tokens
        if request.choices is not None and "logprobs" not in left_out:
            payload |= {"logprobs": True, "top_logprobs": TOP}
            payload[limit] = 1 if one_token(request.choices) else request.max_tokens
        if request.seed is not None:
            payload["seed"] = request.seed
        if "reasoning_effort" in self.identity:
            payload["reasoning_effort"] = self.identity["reasoning_effort"]
        if request.answer is not None and native:
            name = re.sub(r"[^A-Za-z0-9_-]", "_", request.answer.__name__)[:64]
            tight = self._server is not None and self._server.enforces and not self._loosely
            form = tight_schema(request.answer) if tight else strict_schema(request.answer)
            schema = {"name": name, "strict": True, "schema": form}
            payload["response_format"] = {"type": "json_schema", "json_schema": schema}
        if "logprobs" not in payload and "stream" not in left_out:  # those come with one token, at once
            payload |= {"stream": True, "stream_options": {"include_usage": True}}
        return {name: value for name, value in payload.items() if name not in left_out}

    def _read(
        self, body: bytes, payload: dict[str, Any], without: tuple[str, ...], choices: Sequence[str] | None
    ) -> Sent:
        """The reply; `choices` are those of which it was asked for log-probabilities."""
        try:
            reply = json.loads(body)
            first = reply["choices"][0]
            message = first["message"]
            finish = first.get("finish_reason")
            content, refusal = message.get("content"), message.get("refusal")
            text = content if isinstance(content, str) else _joined(content)
            text = text if text.strip() else _reasoning(message)
            asked, answered, cost = _usage(reply.get("usage"), bool(text))
            probabilities = None
            if choices is not None:
                told, probabilities = told_by_server(first, choices)
                if text and not told:
                    raise Trouble(
                        "the reply has no logprobs", "again", without=(*without, "logprobs"), charged=True
                    )
            return Sent(
                text=self._clean(text),
                finish=self._clean(finish)[:100] if isinstance(finish, str) else None,
                refusal=self._clean(refusal) if isinstance(refusal, str) else None,
                model=self._clean(str(reply.get("model") or ""))[:200],
                input_tokens=asked,
                output_tokens=answered,
                cost_usd=cost,
                probabilities=probabilities,
            )
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            # Some gateways wrap the error of the server behind them into a 200.
            code = _error_of(body).get("code")
            if type(code) is int and 400 <= code < 600:
                trouble = self._trouble(code, httpx2.Headers(), body, payload, without)
                trouble.charged = True
                raise trouble from None
            raise Trouble(
                f"the reply is not a chat completion: {self._said(body)[:200]!r}", charged=True
            ) from None

    def _look_at(self, replied: str) -> None:
        if replied and replied not in self._known_as and not same_model(self._model, replied):
            log.warning("%s: the server says that %r answered", self.name, replied)
        self._known_as.add(replied)

    def _learn(self, payload: dict[str, Any], without: tuple[str, ...]) -> None:
        """Remembers what was accepted.

        Of options left out one after the other the last one made the difference, and those that an
        error named; the others are in doubt.
        """
        self._in_vain = 0
        options = _options_in(payload)
        self._accepted.update(options)
        self._left_out -= {option for option, _ in options}
        new = [option for option in without if option not in self._left_out]
        self._left_out.update(new)
        self._in_doubt += [option for option in new[:-1] if option not in self._named]
        if new and not _LIMITS - self._left_out and "stream" in self._left_out:
            log.warning(
                "%s takes no limit on the length of a reply, so a budget may be crossed by the "
                "calls in flight",
                self.name,
            )

    def _next_to_leave_out(
        self, payload: dict[str, Any], without: tuple[str, ...], body: bytes
    ) -> str | None:
        """The option that a rejected request should do without; None: it is not about options."""
        options = [o for o, value in _options_in(payload) if (o, value) not in self._accepted]
        if not options:
            self._in_vain += bool(without)
            return None
        named = _named(body, options)
        self._named.update(named[:1])
        # Twice no option helped, so the next request is not taken apart as well.
        return named[0] if named else None if self._in_vain >= 2 else options[0]

    def _trouble(
        self,
        status: int,
        headers: httpx2.Headers,
        body: bytes,
        payload: dict[str, Any],
        without: tuple[str, ...],
    ) -> Trouble:
        error = _error_of(body)
        what = f"HTTP {status}: {self._said(body)[:300]}".rstrip(": ")
        code = f"{error.get('code') or ''} {error.get('type') or ''}"
        if 300 <= status < 400:
            place = _host_of(headers.get("location", ""))
            return Trouble(
                f"HTTP {status}: {self._host} redirects to "
                f"{self._clean(place)[:100] or 'another address'!r}; not followed, so that the key "
                "stays here: correct --llm-url",
                "redirect",
            )
        if status in (401, 402) or "insufficient_quota" in code or b"API_KEY_INVALID" in body:
            broke = status == 402 or "insufficient_quota" in code
            fix = "the account's credit" if broke else self._provider.key_variable
            return Trouble(f"{what} (check {fix})", "fatal")
        if status in (404, 405, 410):
            return Trouble(
                f"{what} (check the model's name and the address {self._url}/chat/completions)", "gone"
            )
        if "content_filter" in code or "content_policy" in code:
            return Trouble(what, "reject")
        after = asked_wait(headers, body, time.time()) if status in _LATER else None
        if status in (429, 503, 529) or (status == 403 and after is not None):
            wait = status == 429 or after is not None
            return Trouble(what, throttled=True, wait=wait, after=after)
        if status in (408, 409, 425) or status >= 500:
            return Trouble(what, after=after, charged=status in _GAVE_UP)
        if status == 413 or "context_length" in code or _TOO_LONG.search(self._said(body)):
            return Trouble(what, "reject", too_long=True)
        if status in (400, 422) and (option := self._next_to_leave_out(payload, without, body)):
            return Trouble(what, "again", without=(*without, option))
        return Trouble(what, "reject")

    def _said(self, body: bytes) -> str:
        """What the body of an error says, without our key; blotted before it is cut."""
        message = _error_of(body).get("message")
        if isinstance(message, str) and message.strip():
            return self._clean(message[:20_000])
        page = self._clean(body[:20_000].decode("utf-8", "replace"))
        return " ".join(re.sub(r"<[^<>]{0,500}>", " ", page).split())

    def _clean(self, text: str) -> str:
        """The text without our key, and without halves of surrogate pairs (no file holds them)."""
        text = self._blot(text)
        return text if text.isascii() else text.encode("utf-8", "replace").decode()


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


def _usage(usage: Any, some_text: bool) -> tuple[int | None, int | None, float | None]:
    """Input tokens, output tokens and dollars that a reply reports, None for what cannot be so.

    No question takes 0 tokens, and no text; servers write 0 where they do not count.
    """
    if not isinstance(usage, dict):
        return None, None, None
    asked = _count(usage.get("prompt_tokens", usage.get("input_tokens")))
    answered = _count(usage.get("completion_tokens", usage.get("output_tokens")))
    cost = usage.get("cost")
    if isinstance(cost, bool) or not isinstance(cost, (int, float)) or not 0 <= cost < 1e6:
        cost = None
    return asked or None, None if some_text and not answered else answered, cost


def _reasoning(message: dict[str, Any]) -> str:
    """What a message without content holds as reasoning, marked as such; "" for nothing.

    Servers that divide replies at marks of reasoning put all of it here when no mark came.
    """
    said = next((message[n] for n in ("reasoning_content", "reasoning") if message.get(n)), "")
    return f"<reasoning>\n{said}\n</reasoning>" if isinstance(said, str) and said.strip() else ""


def _count(value: Any) -> int | None:
    whole = type(value) is int or (type(value) is float and value.is_integer())
    return int(value) if whole and 0 <= value < _MOST_COUNT else None


def _options_in(payload: dict[str, Any]) -> list[tuple[str, str]]:
    """Those of a request's options that a model may not take, with their values as text.

    Without the value where it is a limit on tokens: a server that takes one limit and not a higher
    one knows the option.
    """
    return [
        (o, "" if "tokens" in o else json.dumps(payload[o], sort_keys=True)) for o in _OPTIONS if o in payload
    ]


def _named(body: bytes, options: list[str]) -> list[str]:
    """The options that an error names, those it names as the place of the mistake first."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = body.decode("utf-8", "replace")
    places, rest = [], []
    for name, text in _texts_in(value):
        (places if name in ("param", "loc", "field", "path") else rest).append(text)
    named = [
        option
        for texts in (places, rest)
        for option in options
        if re.search(_NAMES[option], "\n".join(texts), re.IGNORECASE)
    ]
    return list(dict.fromkeys(named))


def _texts_in(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Every text in a JSON value with the name it stands under, without what only repeats the request."""
    if isinstance(value, str):
        yield name, value
    elif depth < 20 and isinstance(value, list):
        for inner in value:
            yield from _texts_in(inner, name, depth + 1)
    elif depth < 20 and isinstance(value, dict):
        for key, inner in value.items():
            if key not in ("input", "ctx", "request", "body"):
                yield from _texts_in(inner, key, depth + 1)


def _error_of(body: bytes) -> dict[str, Any]:
    """The error object of a body, in whichever of the usual shapes; empty when there is none.

    Its `message` is the first text of those that servers put it under.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return {"message": value} if isinstance(value, str) else {}
    error = value.get("error") or value
    if isinstance(error, dict):
        said = next((error[n] for n in ("message", "detail", "msg") if error.get(n)), None)
    else:
        said, error = error, value
    return {**error, "message": said if isinstance(said, str) else said and json.dumps(said)}


def _host_of(address: str) -> str:
    """Host and port of an address, without the user and password that may stand before them."""
    try:
        return urlsplit(address).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _proxy_passwords() -> list[str]:
    """Passwords in the addresses of proxies, which an exception about a proxy may quote."""
    passwords = []
    for address in getproxies().values():
        try:
            passwords.append(unquote(urlsplit(address).password or ""))
        except ValueError:
            continue
    return passwords

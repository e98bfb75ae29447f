"""A server that speaks /v1/chat/completions on 127.0.0.1 and misbehaves on demand.

    def model(messages: list[dict]) -> str: ...            # the "LLM": a function of the messages
    with FaultServer(model, script=first_try(["429", "cut", "wrong-json"])) as server:
        llm = open_language_model("openai-compatible:fake", url=server.url, ...)

`script(number, payload)` is asked for each request (numbered from 0 in order of arrival) and returns the
name of a fault or None. `server.paid` counts, by payload, the well-formed replies that were sent: what a
provider would charge for. A repair round shows the model the messages of the first question and then the
complaint, so a model that answers from the first user message answers again.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PLACES: dict[str, Any] = {"/props": {"total_slots": 99}}
Script = Callable[[int, dict[str, Any]], str | None]

# Faults after which no reply was given, so that asking again costs nothing.
UNPAID = (
    "429",
    "429-retry-after",
    "500",
    "502-html",
    "503",
    "529",
    "slow-drip",
    "cut",
    "cut-body",
    "not-json",
    "empty-choices",
    "invalid-utf8",
    "huge",
    "redirect",
    "error-in-200",
    "deep-json",
)
# Replies that are well formed and useless or odd.
PAID = (
    "wrong-json",
    "json-in-prose",
    "nan",
    "duplicated-items",
    "missing-items",
    "invented-items",
    "wrong-model",
    "refusal",
    "truncated",
    "filtered",
    "empty",
    "no-usage",
    "surrogate",
    "content-parts",
)


def first_try(
    faults: Sequence[str | None],
    times: int = 1,
    spare: Callable[[dict[str, Any]], bool] = lambda payload: False,
) -> Script:
    """The i-th distinct question meets faults[i % len] on its first `times` attempts, then none.

    A question is what the first user message says, so a repair round counts as another attempt. `spare`
    tells payloads that meet no fault: items asked singly after a spoilt batch, for instance, are asked only
    once more, so a second spoilt reply would rightly leave them unscored.
    """
    seen: dict[str, int] = {}
    attempts: Counter[str] = Counter()
    lock = threading.Lock()

    def script(number: int, payload: dict[str, Any]) -> str | None:
        if spare(payload):
            return None
        question = next(json.dumps(m["content"]) for m in payload["messages"] if m["role"] == "user")
        with lock:
            place = seen.setdefault(question, len(seen))
            attempts[question] += 1
            return faults[place % len(faults)] if attempts[question] <= times else None

    return script


class FaultServer:
    """See the module's text.

    `delay` is the latency of every reply in seconds, `pace` the time between two pieces of a streamed one.
    `facts` is the JSON at other addresses, or for a POST the function of the payload that gives it; by
    default that it works on as many requests at a time as come.
    """

    def __init__(
        self,
        model: Callable[[list[dict[str, Any]]], str],
        script: Script | Sequence[str | None] | None = None,
        *,
        delay: float = 0.0,
        retry_after: str = "0.2",
        pace: float = 0.0,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.script = script if callable(script) else _in_order(script or ())
        self.delay = delay
        self.retry_after = retry_after
        self.pace = pace
        self.facts = PLACES if facts is None else facts
        self.left = 0
        self.ports: set[int] = set()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paid: Counter[str] = Counter()
        self.met: Counter[str | None] = Counter()
        self.active = 0
        self.most_active = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(_Handler):
            server_state = outer

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> FaultServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def arrive(self, payload: dict[str, Any], headers: dict[str, str]) -> str | None:
        with self._lock:
            number = len(self.requests)
            self.requests.append(payload)
            self.headers.append(headers)
            self.active += 1
            self.most_active = max(self.most_active, self.active)
            fault = self.script(number, payload)
            self.met[fault] += 1
            return fault

    def charge(self, payload: dict[str, Any]) -> None:
        with self._lock:
            self.paid[json.dumps(payload, sort_keys=True)] += 1

    def leave(self) -> None:
        with self._lock:
            self.active -= 1


class PlainServer(FaultServer):
    """Answers each request with the status and the JSON that `answer(payload)` gives."""

    def __init__(self, answer: Callable[[dict[str, Any]], tuple[int, Any]]) -> None:
        super().__init__(lambda messages: "")
        self.answer = answer


def events(reply: dict[str, Any], characters: int = 7) -> list[bytes]:
    """A completion as a server streams it: a role, pieces of text, why it ended, usage, [DONE]."""
    choice = reply["choices"][0]
    message, shared = dict(choice["message"]), {key: reply.get(key) for key in ("id", "model")}

    def event(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {**shared, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    said = [event({"role": message.pop("role", "assistant"), "content": None})]
    for name, text in message.items():
        pieces = [text]
        if isinstance(text, str):
            pieces = [text[start : start + characters] for start in range(0, len(text), characters)]
        said += [event({name: piece}) for piece in pieces]
    said.append(event({}, choice.get("finish_reason")))
    if reply.get("usage") is not None:
        said.append({**shared, "choices": [], "usage": reply["usage"]})
    return [f"data: {json.dumps(each)}\n\n".encode() for each in said] + [b"data: [DONE]\n\n"]


def _in_order(faults: Sequence[str | None]) -> Script:
    return lambda number, payload: faults[number] if number < len(faults) else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that goes away is part of the tests


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server_state: FaultServer

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        known = {"/v1/models": {"object": "list", "data": [{"id": "fake"}]}, **self.server_state.facts}
        found = known.get(self.path)
        self._send(404 if found is None else 200, json.dumps(found).encode())

    def do_POST(self) -> None:
        state = self.server_state
        payload = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.path.endswith("/chat/completions"):
            answer = state.facts.get(self.path)
            body = answer(payload) if callable(answer) else answer
            self._send(404 if body is None else 200, json.dumps(body).encode())
            return
        state.ports.add(self.client_address[1])
        fault = state.arrive(payload, dict(self.headers.items()))
        try:
            if isinstance(state, PlainServer):
                status, body = state.answer(payload)
                self._send(status, json.dumps(body).encode())
                return
            if state.delay:
                time.sleep(state.delay)
            self._reply(payload, fault)
        finally:
            state.leave()

    def _reply(self, payload: dict[str, Any], fault: str | None) -> None:
        state = self.server_state
        if fault in ("429", "503", "529"):
            self._error(int(fault), "slow down")
        elif fault == "429-retry-after":
            self._error(429, "slow down", {"Retry-After": state.retry_after})
        elif fault == "429-quota":
            self._error(429, "You exceeded your current quota", code="insufficient_quota")
        elif fault == "500":
            self._error(500, "internal error")
        elif fault == "400":
            self._error(400, "this request is too long")
        elif fault == "400-filter":
            self._error(400, "the prompt was filtered", code="content_filter")
        elif fault is not None and fault.startswith("unsupported:"):
            name = fault.partition(":")[2]
            if name in payload:
                self._error(400, f"Unsupported value: '{name}' is not supported with this model.", param=name)
            else:
                self._good(payload, None)
        elif fault == "401":
            self._error(401, f"Incorrect API key provided: {self.headers.get('Authorization')}")
        elif fault == "402":
            self._error(402, "Insufficient credits")
        elif fault == "404":
            self._error(404, "no such model")
        elif fault == "502-html":
            page = (
                b"<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>"
            )
            self._send(502, page, {"Content-Type": "text/html"})
        elif fault == "slow-drip":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            for _ in range(200):
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.05)
        elif fault == "cut":
            self.close_connection = True
        elif fault == "cut-body":
            whole = self._body(payload, None)
            body = b"".join(events(json.loads(whole))) if payload.get("stream") else whole
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        elif fault == "not-json":
            self._send(200, b"Service is starting up, please wait")
        elif fault == "deep-json":
            self._send(200, b"[" * 100_000)
        elif fault == "error-in-200":
            self._send(200, json.dumps({"error": {"message": "upstream is down", "code": 502}}).encode())
        elif fault == "empty-choices":
            self._send(200, json.dumps({"id": "x", "model": "fake", "choices": []}).encode())
        elif fault == "invalid-utf8":
            whole = self._body(payload, None)
            body = b"".join(events(json.loads(whole))) if payload.get("stream") else whole
            self._send(200, body.replace(b'"assistant"', b'"assist\xff\xfeant"'))
        elif fault == "huge":
            self._send(200, b'{"choices": [{"message": {"content": "' + b"x" * 20_000_000 + b'"}}]}')
        elif fault == "redirect":
            self._send(307, b"", {"Location": "http://localhost:9/v1/chat/completions"})
        else:
            self._good(payload, fault)

    def _good(self, payload: dict[str, Any], fault: str | None) -> None:
        body = self._body(payload, fault)
        self.server_state.charge(payload)  # before the client can see it, so that a test may count
        if fault == "stall":
            said = events(json.loads(self._body(payload, None)))[:3]
            self._stream(itertools.chain(said, itertools.repeat(b": still here\n\n")))
        elif payload.get("stream"):
            self._stream(events(json.loads(body)))
        else:
            self._send(200, body)

    def _body(self, payload: dict[str, Any], fault: str | None) -> bytes:
        text: Any = self.server_state.model(payload["messages"])
        message: dict[str, Any] = {"role": "assistant"}
        finish = "stop"
        model = payload["model"]
        if fault == "wrong-json":
            text = '{"surprise": [1, 2'
        elif fault == "json-in-prose":
            text = f"Of course! Here is what you asked for:\n\n```json\n{text}\n```\nAnything else?"
        elif fault == "nan":
            text = '{"score": NaN}'
        elif fault == "surrogate":
            text = f"{text}\ud800"
        elif fault in ("duplicated-items", "missing-items", "invented-items"):
            text = _spoil(text, fault)
        elif fault == "wrong-model":
            model = "some-other-model"
        elif fault == "refusal":
            text, message["refusal"] = None, "I can't help with that."
        elif fault == "truncated":
            text, finish = text[: len(text) // 2], "length"
        elif fault == "filtered":
            text, finish = "", "content_filter"
        elif fault == "empty":
            text = ""
        elif fault == "content-parts":
            text = [{"type": "text", "text": text}]
        elif fault not in (None, "no-usage", "stall"):
            raise ValueError(f"unknown fault {fault!r}")
        message["content"] = text
        size = sum(len(json.dumps(m["content"])) for m in payload["messages"])
        usage = {"prompt_tokens": size // 4, "completion_tokens": len(str(text)) // 4 + 1}
        reply: dict[str, Any] = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": model,
            "choices": [{"index": 0, "finish_reason": finish, "message": message}],
            "usage": usage,
        }
        if fault == "no-usage":
            del reply["usage"]
        return json.dumps(reply).encode()

    def _error(
        self,
        status: int,
        message: str,
        headers: dict[str, str] | None = None,
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        body = {"error": {"message": message, "type": "error", "param": param, "code": code}}
        self._send(status, json.dumps(body).encode(), headers)

    def _stream(self, pieces: Iterable[bytes]) -> None:
        """Sends pieces as they come; who goes away meanwhile is counted in `server.left`."""
        state = self.server_state
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for piece in pieces:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                if state.pace:
                    self.wfile.flush()
                    time.sleep(state.pace)
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()
        except OSError:
            state.left += 1
            self.close_connection = True

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def _spoil(text: str, fault: str) -> str:
    """An answer {"items": [...]} with its first row twice, left out, or with a row nobody asked for."""
    try:
        answer = json.loads(text)
        items = answer["items"]
        first = items[0]
    except (ValueError, KeyError, IndexError, TypeError):
        return text
    if fault == "duplicated-items":
        items.append(first)
    elif fault == "missing-items":
        del items[0]
    else:
        items.append({**first, "item": 10_000})
    return json.dumps(answer)

"""Requests a second through saywell, the openai SDK, plain httpx, plain httpx2 and LiteLLM.

Run: python benchmarks/llm_client.py [--peer-python PATH ...] [--seconds 4]

A server in a process of its own answers every chat request after 200 ms. Each client runs in a
fresh process and asks N different questions at concurrency 16, 64 and 256; saywell includes
everything it does for a study: keys, cache look-up, budget, schema, parsing, one committed row a
reply, and its replies are streamed, in 11 pieces, after the same 200 ms. The table shows replies a
second, that figure as a share of the ideal C / 0.2, processor time a request (client only), and the
seconds that importing the client takes. Peers that are not installed are named as such; an
interpreter that has them (a throwaway environment) can be given with --peer-python.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

LATENCY = 0.2
LEVELS = (16, 64, 256)
CLIENTS = ("saywell", "openai", "httpx", "httpx2", "litellm")
REPLY = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "fake",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": '{"score": 3, "reason": "it fits"}'},
        }
    ],
    "usage": {"prompt_tokens": 120, "completion_tokens": 12, "total_tokens": 132},
}


def events() -> list[bytes]:
    """The reply in 11 pieces, and what comes before and after them."""
    text = REPLY["choices"][0]["message"]["content"]
    pieces = [text[start : start + 3] for start in range(0, len(text), 3)]
    shared = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fake"}
    deltas = [{"role": "assistant", "content": ""}, *({"content": piece} for piece in pieces)]
    chunks = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append({"choices": [], "usage": REPLY["usage"]})
    return [b"data: %s\n\n" % json.dumps(shared | chunk).encode() for chunk in chunks] + [b"data: [DONE]\n\n"]


def serve() -> None:
    body = json.dumps(REPLY).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    answer = head % len(body) + body
    kind = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    streamed = kind + b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in [*events(), b""])

    class Chat(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.waiting = b""

        def data_received(self, data: bytes) -> None:
            self.waiting += data
            while (end := self.waiting.find(b"\r\n\r\n")) >= 0:
                headers = self.waiting[:end].lower()
                said = headers.partition(b"content-length:")[2].split(b"\r\n")[0]
                length = int(said or 0)
                if len(self.waiting) < end + 4 + length:
                    return
                asked, self.waiting = self.waiting[: end + 4 + length], self.waiting[end + 4 + length :]
                reply = streamed if b'"stream": true' in asked else answer
                asyncio.get_running_loop().call_later(LATENCY, self.transport.write, reply)

    async def forever() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Chat, "127.0.0.1", 0, backlog=1024)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(forever())


def question(number: int) -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "You judge how well a description fits a sentence."},
        {"role": "user", "content": f"Sentence {number}: " + "the battery died by lunchtime. " * 12},
    ]


def measure(client: str, url: str, level: int, count: int) -> dict[str, float]:
    began = time.perf_counter()
    ask = _saywell(url, level) if client == "saywell" else _peer(client, url, level)
    ready = time.perf_counter() - began
    ask(range(level))  # connections are opened before the clock starts
    wall, processor = time.perf_counter(), time.process_time()
    ask(range(level, level + count))
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    return {"rate": count / wall, "cpu": processor / count, "ready": ready}


def _saywell(url: str, level: int) -> Callable[[range], None]:
    from pydantic import BaseModel

    from saywell.language_models import Message, Request, open_language_model

    class Score(BaseModel):
        score: int
        reason: str

    folder = tempfile.TemporaryDirectory()
    model = open_language_model(
        "vllm:fake",
        url=url,
        calls=Path(folder.name) / "calls.sqlite",
        concurrency=level,
        env={"VLLM_API_KEY": "key"},
    )

    def ask(numbers: range) -> None:
        requests = [
            Request(
                "score",
                tuple(Message(m["role"], m["content"]) for m in question(number)),  # type: ignore
                Score,
                max_tokens=100,
            )
            for number in numbers
        ]
        replies = model.complete(requests)
        assert all(reply.status == "ok" and not reply.cached for reply in replies)
        assert folder

    return ask


def _peer(client: str, url: str, level: int) -> Callable[[range], None]:
    runner = asyncio.Runner()
    one: Callable[[int], Awaitable[str | None]]
    options: dict[str, Any] = {"temperature": 0.0, "max_tokens": 100}
    if client == "openai":
        import openai

        sdk = openai.AsyncOpenAI(base_url=url, api_key="key", max_retries=0)

        async def ask_sdk(number: int) -> str | None:
            reply = await sdk.chat.completions.create(
                model="fake",
                messages=question(number),  # type: ignore
                **options,
            )
            return reply.choices[0].message.content

        one = ask_sdk
    elif client == "litellm":
        import os

        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
        import litellm  # type: ignore

        litellm.suppress_debug_info = True

        async def ask_litellm(number: int) -> str | None:
            reply = await litellm.acompletion(
                model="openai/fake",
                messages=question(number),
                api_base=url,
                api_key="key",
                num_retries=0,
                **options,
            )
            return reply.choices[0].message.content

        one = ask_litellm
    else:
        library = __import__(client)
        http = library.AsyncClient(
            timeout=60, limits=library.Limits(max_connections=None, max_keepalive_connections=None)
        )

        async def ask_http(number: int) -> str | None:
            reply = await http.post(
                f"{url}/chat/completions",
                headers={"Authorization": "Bearer key"},
                json={"model": "fake", "messages": question(number), **options},
            )
            return reply.json()["choices"][0]["message"]["content"]

        one = ask_http

    async def all_of(numbers: range) -> None:
        waiting = iter(numbers)

        async def work() -> None:
            for number in waiting:
                assert await one(number)

        await asyncio.gather(*(work() for _ in range(level)))

    return lambda numbers: runner.run(all_of(numbers))


def interpreter_for(client: str, others: list[str]) -> str | None:
    if importlib.util.find_spec(client) is not None:
        return sys.executable
    for python in others:
        found = subprocess.run([python, "-c", f"import {client}"], capture_output=True, check=False)
        if found.returncode == 0:
            return python
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore
    parser.add_argument("--peer-python", action="append", default=[], metavar="PATH")
    parser.add_argument("--seconds", type=float, default=4.0, help="ideal length of a measurement")
    parser.add_argument("--one", nargs=4, metavar=("CLIENT", "URL", "C", "N"), help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return serve()
    if options.one:
        client, url, level, count = options.one
        print(json.dumps(measure(client, url, int(level), int(count))))
        return None
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
    print(f"server latency {LATENCY} s; replies a second (share of the ideal), CPU ms a request")
    print(f"{'client':<10}" + "".join(f"{f'C = {level}':>26}" for level in LEVELS) + f"{'import s':>10}")
    try:
        for client in CLIENTS:
            python = interpreter_for(client, options.peer_python)
            if python is None:
                print(f"{client:<10}  not installed")
                continue
            cells, ready = [], 0.0
            for level in LEVELS:
                # At 256 no client reaches the ideal on two cores; fewer requests bound the time.
                count = int(options.seconds * min(level, 128) / LATENCY)
                arguments = ["--one", client, url, str(level), str(count)]
                run = subprocess.run(
                    [python, __file__, *arguments], capture_output=True, text=True, check=True
                )
                result = json.loads(run.stdout.splitlines()[-1])
                share = result["rate"] * LATENCY / level
                cells.append(f"{result['rate']:>9.1f} ({share:>4.0%}) {result['cpu'] * 1e3:>6.2f} ms")
                ready = result["ready"]
            print(f"{client:<10}" + "".join(f"{cell:>26}" for cell in cells) + f"{ready:>10.2f}")
    finally:
        server.kill()


if __name__ == "__main__":
    main()

"""How many requests of a reader are in flight, and how long it takes: a description at a time, or all.

Run: python benchmarks/readers_in_flight.py [--descriptions 32] [--examples 100]

A server in a process of its own answers every chat request after 200 ms, and counts how many it holds at
once. The reader "detection" asks about each description and example, ten examples a request, at
concurrency 16; the ideal is requests * 0.2 s / 16. The first request, which goes alone to find out whether
the server answers, is not timed. The fastest of three runs counts: a busy machine makes any client slow.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from saywell.data.examples import Examples
from saywell.description import Description
from saywell.language_models import open_language_model
from saywell.readers.detection import EXAMPLES_PER_REQUEST, DetectionReader
from saywell.resources import Resources

LATENCY, CONCURRENCY = 0.2, 16


def serve() -> None:
    rows = [{"item": n + 1, "holds": "no", "confidence": 0.5} for n in range(EXAMPLES_PER_REQUEST)]
    message = {"role": "assistant", "content": json.dumps({"items": rows})}
    reply = {"choices": [{"index": 0, "finish_reason": "stop", "message": message}]}
    held = {"now": 0, "most": 0}

    def answer(said: dict[str, Any]) -> bytes:
        body = json.dumps(said).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        return head % len(body) + body

    class Chat(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.waiting = transport, b""

        def data_received(self, data: bytes) -> None:
            self.waiting += data
            while (end := self.waiting.find(b"\r\n\r\n")) >= 0:
                head = self.waiting[:end].lower()
                length = (
                    int(head.split(b"content-length:")[1].split(b"\r\n")[0]) if b"post" in head[:5] else 0
                )
                if len(self.waiting) < end + 4 + length:
                    return
                self.waiting = self.waiting[end + 4 + length :]
                if head.startswith(b"get"):
                    self.transport.write(answer(held))
                    held["most"] = 0
                    continue
                held["now"] += 1
                held["most"] = max(held.values())
                asyncio.get_running_loop().call_later(LATENCY, self.done)

        def done(self) -> None:
            held["now"] -= 1
            self.transport.write(answer(reply))

    async def forever() -> None:
        server = await asyncio.get_running_loop().create_server(Chat, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    asyncio.run(forever())


def run(address: str, examples: Examples, descriptions: list[Description], block: int) -> tuple[float, int]:
    """Seconds, and the most requests in flight, of reading so many descriptions at a time."""
    with tempfile.TemporaryDirectory() as folder:
        llm = open_language_model(
            "openai-compatible:fake",
            url=f"{address}/v1",
            calls=Path(folder) / "calls.sqlite",
            concurrency=CONCURRENCY,
        )
        predict = DetectionReader().open(examples, Resources(llm=llm))
        rows = np.arange(len(examples))
        predict([Description("", "is anybody there?")], rows[:EXAMPLES_PER_REQUEST])
        start = time.perf_counter()
        for first in range(0, len(descriptions), block):
            found = predict(descriptions[first : first + block], rows)
            assert np.isfinite(found).all()
        took = time.perf_counter() - start
        llm.close()
    with urllib.request.urlopen(f"{address}/most") as counted:
        return took, json.load(counted)["most"]


def main() -> None:
    options = argparse.ArgumentParser(description="Requests of a reader in flight.")
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--descriptions", type=int, default=32)
    options.add_argument("--examples", type=int, default=100)
    given = options.parse_args()
    if given.serve:
        return serve()
    texts = [f"sentence {n} says that the soup was cold" for n in range(given.examples)]
    table = pl.DataFrame({"id": [str(n) for n in range(len(texts))], "text": texts})
    examples = Examples(table, "text", "made", pl.DataFrame(), len(texts))
    descriptions = [Description(f"u{n}", f"a thing called {n}") for n in range(given.descriptions)]
    requests = given.descriptions * -(-given.examples // EXAMPLES_PER_REQUEST)
    ideal = requests * LATENCY / CONCURRENCY
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        print(f"{requests} requests, ideal {ideal:.2f} s\n")
        print("| asked together | most in flight | seconds | of the ideal |")
        print("|---|---:|---:|---:|")
        for block in (1, 4, given.descriptions):
            seconds, most = min(run(address, examples, descriptions, block) for _ in range(3))
            print(f"| {block} | {most} | {seconds:.2f} | {seconds / ideal:.2f} |")
        server.terminate()


if __name__ == "__main__":
    main()

"""What a local model takes to describe and to read: in process, by llama.cpp's server, through transformers.

    .venv/bin/python benchmarks/local_llm.py [--llm FILE.gguf] [--units N] [--texts N] [--threads N]
        [--only gguf|server|hf]

Prints the table of docs/language-model-replies.md, "What a model of your own takes". Beside them stands the
plain loop: the same chats to the same library one by one, with what it remembers by itself ("loop"), and
with each prompt read from its start ("loop, afresh"). Units are tags of the demo's texts. To describe is
one request a unit; to read is one a text, of the unit's tag, which is answered with one of two words. A
loop writes as many tokens as saywell's replies have. Loading the model is in no figure. Processor time
counts all threads of this process, so it tells more than seconds where others work as well.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import polars as pl

from saywell.describers.llm import Shown, describe_exemplars
from saywell.description import Description
from saywell.language_models import Client, Message, Reply, Request, open_language_model
from saywell.language_models.gguf import load_llama_cpp
from saywell.readers.registry import find_reader
from saywell.resources import Resources
from saywell.units.planted.tasks import task_examples
from small_model import demo_tasks, smollm2

SHOWN = 10
CONTEXT = 8192


@dataclass
class Took:
    """Of one way and one job: sums over its requests."""

    seconds: float
    processor: float
    asked: int
    """Tokens of the prompts."""
    read: int | None
    """Tokens of them that were evaluated; None where nobody counts them."""
    written: int


class Recorder:
    """Passes requests on and keeps them with their replies."""

    def __init__(self, model: Client) -> None:
        self.name, self._model = model.name, model
        self.gives_probabilities = model.gives_probabilities
        self.seen: list[tuple[Request, Reply]] = []

    def complete(self, requests: Any, *, progress: Any = None) -> list[Reply]:
        """The model's replies."""
        replies = self._model.complete(requests, progress=progress)
        self.seen += zip(requests, replies, strict=True)
        return replies


def main() -> None:
    """Run every way and print a line for each job."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--llm", default=smollm2())
    parser.add_argument("--units", type=int, default=2)
    parser.add_argument("--texts", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=["gguf", "server", "hf"])
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    jobs = {"describe": describing(options.units), "read": reading(options.units, options.texts)}
    print(f"{'job':<10}{'way':<22}{'seconds':>9}{'processor':>11}{'asked':>8}{'evaluated':>11}{'written':>9}")
    chats: dict[str, list[tuple[Request, Reply]]] = {}
    for way in ("gguf", "server", "hf"):
        if options.only in (None, way):
            with opened(way, options) as (model, counted):
                model.complete([Request("load", (Message("user", "hello"),), max_tokens=1)])
                for job, work in jobs.items():
                    recorder = Recorder(model)
                    took = measured(lambda work=work, recorder=recorder: work(recorder), counted)
                    took.asked = sum(reply.input_tokens or 0 for _, reply in recorder.seen)
                    took.written = sum(reply.output_tokens or 0 for _, reply in recorder.seen)
                    chats.setdefault(job, recorder.seen)
                    say(job, way, took, options.units)
    for kept in (True, False):
        with server(options) as (llama, counted):
            for job, seen in chats.items():
                took = measured(lambda llama=llama, seen=seen, kept=kept: loop(llama, seen, kept), counted)
                took.asked = sum(reply.input_tokens or 0 for _, reply in seen)
                took.written = sum(reply.output_tokens or 0 for _, reply in seen)
                say(job, "loop" if kept else "loop, afresh", took, options.units)


def describing(units: int) -> Callable[[Any], None]:
    """Asks for a description of each unit, a tag of the demo's texts."""
    shown = []
    for _, table in tasks(units):
        inside, outside = (table.filter(label=label)["text"].to_list()[:SHOWN] for label in (1, 0))
        shown.append(Shown(inside, outside))

    def work(llm: Any) -> None:
        describe_exemplars(llm, shown)

    return work


def reading(units: int, texts: int) -> Callable[[Any], None]:
    """Asks of each unit's tag whether it holds of so many texts."""
    some = tasks(units)
    examples = task_examples(some)
    place = {id: number for number, id in enumerate(examples.ids)}

    def work(llm: Any) -> None:
        import numpy as np

        predict = find_reader("detection", "text").open(examples, Resources(llm=llm))
        for task, table in some:
            numbers = np.array([place[id] for id in table["id"][-texts:]])
            predict([Description(task, task, "")], numbers[None])

    return work


def tasks(units: int) -> list[tuple[str, pl.DataFrame]]:
    """Every task by its name with its rows, as `read_tasks` gives them."""
    import tempfile
    from pathlib import Path

    from saywell.units.planted.tasks import read_tasks

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tasks.parquet"
        demo_tasks(units).write_parquet(path)
        return read_tasks(path, limit=SHOWN)


@contextmanager
def opened(way: str, options: argparse.Namespace) -> Iterator[tuple[Client, Callable[[], int | None]]]:
    """The model by one way, and what says how many tokens of prompts it evaluated so far."""
    if way == "server":
        with server(options) as (llama, counted):
            url = f"{llama.listening_address}/v1"
            with open_language_model("openai-compatible:local", url=url, env={}) as model:
                yield model, counted
    elif way == "gguf":
        with open_language_model(f"gguf:{options.llm}", threads=options.threads, context=CONTEXT) as model:
            backend: Any = model._backend
            yield model, lambda: backend._engine.read if backend._engine else 0
    else:
        with open_language_model(f"hf:{options.llm}", most_reply_tokens=1) as model:
            yield model, lambda: None


@contextmanager
def server(options: argparse.Namespace) -> Iterator[tuple[Any, Callable[[], int]]]:
    """llama.cpp's server, and what counts the tokens of prompts that it evaluated."""
    library = load_llama_cpp()
    params = library.CommonParams()
    params.model.path, params.n_ctx, params.verbosity = options.llm, CONTEXT, -1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.endpoint_metrics = True
    llama = library.Server(params)

    def counted() -> int:
        lines = llama.handle_metrics()
        lines = lines.decode() if isinstance(lines, bytes) else lines
        return next(
            int(float(line.split()[-1])) for line in lines.splitlines() if line.startswith(PROMPT_TOKENS)
        )

    yield llama, counted
    del llama


PROMPT_TOKENS = "llamacpp:prompt_tokens_total "


def loop(llama: Any, seen: list[tuple[Request, Reply]], kept: bool) -> None:
    """The same chats, one after the other."""
    for request, reply in seen:
        turns = [{"role": message.role, "content": message.text} for message in request.messages]
        limit = reply.output_tokens or 1
        llama.handle_chat_completions(
            {"messages": turns, "max_tokens": limit, "temperature": 0, "cache_prompt": kept}
        )


def measured(work: Callable[[], None], counted: Callable[[], int | None]) -> Took:
    """What the work takes."""
    before, wall, processor = counted(), time.perf_counter(), time.process_time()
    work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    after = counted()
    return Took(wall, processor, 0, None if before is None or after is None else after - before, 0)


def say(job: str, way: str, took: Took, units: int) -> None:
    """A line of the table, by unit."""
    read = "?" if took.read is None else f"{took.read / units:.0f}"
    times = f"{took.seconds / units:>9.1f}{took.processor / units:>11.1f}"
    print(
        f"{job:<10}{way:<22}{times}{took.asked / units:>8.0f}{read:>11}{took.written / units:>9.0f}",
        flush=True,
    )


if __name__ == "__main__":
    main()

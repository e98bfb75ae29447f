"""A GGUF file that runs in this process through llama.cpp ("gguf:PATH"); text only.

llama.cpp's server object does the work (package `xllamacpp`), called as a library. Templates are rendered
and texts made into tokens by it too, which its object offers over a socket only: a file in a private
folder (where the system has no such sockets, a port of this machine), and with a key.

**The same request gets the same reply, whatever was asked before.** A sum of floating-point numbers comes
out differently in a batch of other size, and a greedy reply may turn on it, so llama.cpp's replies depend
on how much of a prompt it still had from the last one (and, with several slots, on what runs beside it).
Here a prompt is read in pieces of `PIECE` tokens that begin at its start; what is kept from the last prompt
are whole pieces that both have. So every piece is computed from the same numbers in the same batch, and the
fixed part of a step's prompts is read once all the same. One request runs at a time.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import os
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from saywell.errors import InputError, MissingPackage
from saywell.language_models.backend import Sent, Told, Trouble, untold
from saywell.language_models.choices import told_by_server
from saywell.language_models.gguf_file import GgufFile
from saywell.language_models.prices import FREE
from saywell.language_models.requests import Message, Request
from saywell.language_models.structured import tight_schema

PIECE = 64
"""Tokens read at a time. On a processor 512 are no faster, 32 a third slower; larger ones reuse less."""
MOST_CONTEXT = 16_384
"""Tokens of context, unless more are asked for: each takes memory (some 30 to 500 kB)."""
_PACKAGE = "xllamacpp"
_LIKELIEST = 100  # tokens whose probability is told where one of several words is asked for
_WAIT = "OMP_WAIT_POLICY"
_LONGEST_SOCKET = 100  # bytes; systems take 104 or 108
_THINKS = "<think>"

T = TypeVar("T")


def need_llama_cpp() -> None:
    """Raises MissingPackage where llama.cpp is not installed."""
    if importlib.util.find_spec(_PACKAGE) is None:
        raise MissingPackage(_PACKAGE, "local", "gguf:PATH")


class GgufBackend:
    """llama.cpp with one model, one request at a time.

    `threads` None leaves their number to llama.cpp, or is 1 where torch was loaded without
    OMP_WAIT_POLICY=passive (the command line sets it): several would spin. `context` is in tokens, by
    default what the model was trained for but no more than MOST_CONTEXT. An answer's schema is its grammar,
    so that a reply which was not cut off always has the asked form. Sampling (temperature above 0) draws
    from the request's seed, or 0.
    Raises InputError for a file that cannot be, and, unless it is not `needed`, MissingPackage.
    """

    def __init__(
        self,
        path: str,
        *,
        threads: int | None = None,
        context: int | None = None,
        effort: str | None = None,
        needed: bool = True,
    ) -> None:
        if needed:
            need_llama_cpp()
        self._file = GgufFile.read(Path(path).expanduser())
        if not self._file.chats:
            raise InputError(f"{path} has no chat template; use the GGUF file of an instruct or chat model")
        trained = self._file.context or MOST_CONTEXT
        if context is not None and context > trained:
            raise InputError(
                f"--llm-context {context}: the model of {path} was trained to read {trained} tokens"
            )
        self._context = context or min(trained, MOST_CONTEXT)
        self._threads = threads
        self._effort = effort
        self.name = f"gguf:{self._file.path.name}"
        self.price = FREE
        self.gives_probabilities = True
        self.identity = {"provider": "gguf", "url": "", "model": self._file.fingerprint()}
        if effort is not None:
            self.identity["reasoning_effort"] = effort
        # llama.cpp's calls block, so they run beside the loop, in one thread to keep them in order.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saywell-gguf")
        self._engine: _Engine | None = None

    async def send(self, request: Request, without: tuple[str, ...] = (), told: Told = untold) -> Sent:
        """The model's reply.

        Raises InputError for images and for a file that llama.cpp does not load, Trouble for a question
        that is longer than the context.
        """
        given_up = threading.Event()
        loop = asyncio.get_running_loop()

        def tell(tokens: int) -> None:
            loop.call_soon_threadsafe(told, tokens)

        try:
            return await self._run(lambda: self._answer(request, tell, given_up))
        finally:
            given_up.set()  # who waits no longer lets llama.cpp know at its next token

    async def slots(self) -> int:
        """One: replies of several at a time would depend on each other."""
        return 1

    async def context(self) -> int:
        """Tokens of one request and its reply together."""
        return self._context

    async def count(self, request: Request) -> int:
        """Tokens of the request in the model's chat template."""
        return len(await self._run(lambda: self._tokens(request)))

    async def close(self) -> None:
        """Frees the model."""
        await self._run(self._free)
        self._thread.shutdown(wait=True)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _free(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _tokens(self, request: Request) -> list[int]:
        if any(message.images for message in request.messages):
            raise InputError(f"{self.name} reads text only; use a provider's model for images")
        self._engine = self._engine or _Engine(self._file, self._context, self._threads)
        options: dict[str, Any] = {}
        if self._effort is not None:
            options["reasoning_effort"] = self._effort
        at_once = request.answer is not None or request.choices is not None
        if at_once or self._effort == "none":
            options["enable_thinking"] = False  # the grammar leaves no room for it
        return self._engine.tokens(request.messages, options, closed=at_once)

    def _answer(self, request: Request, tell: Told, given_up: threading.Event) -> Sent:
        tokens = self._tokens(request)
        assert self._engine is not None
        if not tokens:
            raise InputError(
                f"{self._file.path}: its chat template makes no text of a question; use another file"
            )
        if len(tokens) >= self._context:
            raise Trouble(
                f"the question has {len(tokens)} tokens; {self.name} reads {self._context} (--llm-context)",
                "reject",
                too_long=True,
            )
        asked: dict[str, Any] = {
            "max_tokens": min(request.max_tokens, self._context - len(tokens)),
            "temperature": request.temperature,
            "seed": request.seed or 0,
        }
        if request.answer is not None:
            asked["json_schema"] = tight_schema(request.answer)
        if request.choices is not None:
            asked["grammar"] = "root ::= " + " | ".join(map(_quoted, request.choices))
            asked["logprobs"] = _LIKELIEST
        said = self._engine.reply(tokens, asked, tell, given_up)
        probabilities = None
        if request.choices is not None:
            _, probabilities = told_by_server({"logprobs": {"content": said.places}}, request.choices)
        return Sent(
            text="".join(said.parts).encode("utf-8", "replace").decode(),
            finish=said.finish,
            model=self.name,
            input_tokens=len(tokens),
            output_tokens=said.tokens,
            probabilities=probabilities,
        )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def load_llama_cpp() -> Any:
    """llama.cpp, whose threads sleep while they wait for each other.

    By default they spin: on a processor that others use as well a token took thirty times as long. OpenMP
    reads how to wait when it is loaded; `_spins` tells where that is too late.
    """
    said = os.environ.get(_WAIT)
    os.environ[_WAIT] = said or "passive"
    try:
        return importlib.import_module(_PACKAGE)
    finally:
        if said is None:
            del os.environ[_WAIT]


@cache
def _spins() -> bool:
    """Whether threads spin, because torch loaded OpenMP before llama.cpp did and nobody said otherwise."""
    return "torch" in sys.modules and os.environ.get(_WAIT, "").lower() != "passive"


@dataclass
class _Said:
    """A reply as it comes; `places` have the likeliest tokens at each place, in OpenAI's form."""

    parts: list[str] = field(default_factory=list)
    places: list[Any] = field(default_factory=list)
    finish: str | None = None
    tokens: int = 0
    read: int = 0
    error: Mapping[str, Any] | None = None

    def add(self, chunk: Mapping[str, Any]) -> None:
        if "error" in chunk:
            self.error = chunk["error"]
            return
        choice = chunk["choices"][0]
        if choice.get("text"):
            self.parts.append(choice["text"])
        self.places += (choice.get("logprobs") or {}).get("content") or []
        if "timings" in chunk:  # the last one
            self.finish, self.tokens = choice["finish_reason"], chunk["usage"]["completion_tokens"]
            self.read = chunk["timings"]["prompt_n"]


class _Engine:
    """llama.cpp with a loaded model. `read` counts the tokens of prompts that it evaluated."""

    def __init__(self, file: GgufFile, context: int, threads: int | None) -> None:
        import httpx2

        threads = threads or (1 if _spins() else None)  # one waits for nobody
        xllamacpp = load_llama_cpp()
        self.read = 0
        self._held: list[int] = []
        self._folder = TemporaryDirectory(prefix="saywell-")
        door = str(Path(self._folder.name) / "llama.sock")
        here = hasattr(socket, "AF_UNIX") and len(door.encode()) < _LONGEST_SOCKET
        key = secrets.token_urlsafe(32)
        params = xllamacpp.CommonParams()
        params.model.path = str(file.path)
        params.verbosity = -1  # it would write into the terminal
        params.hostnames, params.api_keys = [door if here else "127.0.0.1"], [key]
        params.ui, params.endpoint_slots, params.warmup = False, False, False
        params.n_ctx, params.n_parallel = context, 1
        params.n_batch = params.n_ubatch = PIECE
        # What would keep parts of prompts by rules of its own.
        params.cache_ram_mib, params.n_ctx_checkpoints, params.swa_full = 0, 0, True
        if threads is not None:
            params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError:
            self._folder.cleanup()
            raise InputError(
                f"llama.cpp cannot load {file.path} (architecture {file.architecture!r}, context {context}); "
                "it is damaged, too large for this machine's memory, or newer than the installed "
                f"{_PACKAGE}; try another file, a smaller --llm-context, or pip install -U {_PACKAGE}"
            ) from None
        self._http = httpx2.Client(
            base_url="http://llama" if here else self._server.listening_address,
            transport=httpx2.HTTPTransport(uds=door) if here else None,
            headers={"Authorization": f"Bearer {key}"},
            trust_env=False,
            timeout=60.0,
        )

    def close(self) -> None:
        self._http.close()
        del self._server
        self._folder.cleanup()

    def tokens(self, messages: Sequence[Message], options: dict[str, Any], *, closed: bool) -> list[int]:
        """The messages in the model's chat template; `closed` leaves the thinking that it may open."""
        turns = [{"role": message.role, "content": message.text} for message in messages]
        prompt = self._post("apply-template", {"messages": turns, "chat_template_kwargs": options})["prompt"]
        if closed and prompt.rstrip().endswith(_THINKS):
            prompt += "\n</think>\n\n"
        text = {"content": prompt, "add_special": True, "parse_special": True}
        return self._post("tokenize", text)["tokens"]

    def reply(self, tokens: list[int], asked: dict[str, Any], tell: Told, given_up: threading.Event) -> _Said:
        """What follows the tokens."""
        kept = self._keep(tokens)
        said = _Said()

        def each(chunk: dict[str, Any]) -> bool:
            before = len(said.parts)
            said.add(chunk)
            if len(said.parts) > before:
                tell(len(said.parts))
            return given_up.is_set()  # True stops

        self._held = []  # if this fails, nothing is known
        place = {"id_slot": 0, "cache_prompt": kept > 0, "stream": True, "return_progress": True}
        whole = {"top_k": 0, "top_p": 1.0, "min_p": 0.0}
        self._server.handle_completions({"prompt": tokens, **place, **whole, **asked}, each)
        if said.error is not None:
            too_long = said.error.get("type") == "exceed_context_size_error"
            raise Trouble(f"llama.cpp: {said.error.get('message')}"[:300], "reject", too_long=too_long)
        if said.finish is None:
            raise Trouble("llama.cpp was stopped")
        self.read += said.read
        self._held = tokens
        return said

    def _keep(self, tokens: list[int]) -> int:
        """How many tokens llama.cpp keeps of the last prompt: the whole pieces that both begin with."""
        pairs = enumerate(zip(self._held, tokens[:-1], strict=False))
        same = next((n for n, (one, other) in pairs if one != other), min(len(self._held), len(tokens) - 1))
        kept = same // PIECE * PIECE
        if kept and (same > kept or kept == len(self._held)):
            # It would keep all that is the same, so it is first asked about a prompt that goes on otherwise.
            forget = {"prompt": [*tokens[:kept], int(tokens[kept] == 0)], "max_tokens": 0}
            said = self._server.handle_completions({**forget, "cache_prompt": True, "id_slot": 0})
            self.read += said["timings"]["prompt_n"]
        return kept

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        import httpx2

        try:
            response = self._http.post(path, content=json.dumps(body).encode())
            said = response.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise Trouble(f"llama.cpp does not answer: {error}"[:300], "retry") from None
        if response.status_code != 200:
            message = str((said.get("error") or {}).get("message"))[:300]
            raise InputError(f"the chat template of the model cannot be used here: {message}")
        return said

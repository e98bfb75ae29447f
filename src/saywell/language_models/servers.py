"""What a server of one's own says of itself beside the chat protocol, by whichever addresses it has.

llama.cpp: /props (total_slots, n_ctx of a slot), /v1/chat/completions/input_tokens, /apply-template and
/tokenize. vLLM: /v1/models (max_model_len), /tokenize with messages. Ollama: /api/ps (context_length of
a model that is loaded), /api/show (num_ctx in its parameters). LM Studio: /api/v0/models
(loaded_context_length). What none of them says is unknown (None), and never guessed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

_COUNTING = 30.0
"""Seconds for counting tokens, which a busy server does beside its work."""


class Facts(Protocol):
    """The JSON at an address of the server, got or posted to; None where there is none."""

    async def __call__(self, url: str, payload: Mapping[str, Any] | None = None, within: float = 5.0) -> Any:
        """Asks, for so many seconds."""
        ...


class Server:
    """The server whose chat protocol is at `url`, and one of its models."""

    def __init__(self, facts: Facts, url: str, model: str) -> None:
        self._facts = facts
        self._url = url
        self._root = url.removesuffix("/v1")
        self._model = model
        self._looking: asyncio.Future[list[Any]] | None = None
        self._by_parts = False
        self._uncounted = False
        """Whether it counted nothing though it was asked."""

    @property
    def enforces(self) -> bool:
        """Whether it makes a grammar of a schema, with all its bounds, as llama.cpp does."""
        looked = self._looking is not None and self._looking.done()
        return looked and _number(self._looking.result()[0], "total_slots") is not None  # pyright: ignore

    async def slots(self) -> int | None:
        """How many requests it works on at a time."""
        props, *_ = await self._look()
        return _number(props, "total_slots")

    async def context(self) -> int | None:
        """Tokens of a request and its reply together."""
        props, listed, running, studio = await self._look()
        found = (
            _number(_in(props, "default_generation_settings"), "n_ctx")
            or _number(self._entry(_in(listed, "data")), "max_model_len")
            or _number(self._entry(_in(studio, "data")), "loaded_context_length")
        )
        if found or not isinstance(_in(running, "models"), list):
            return found
        # Ollama says of a model that is loaded what it was loaded with, which changes by the run.
        running = await self._facts(self._at("/api/ps"))
        if loaded := _number(self._entry(_in(running, "models")), "context_length"):
            return loaded
        shown = await self._facts(self._at("/api/show"), {"model": self._model})
        set_to = re.search(r"^num_ctx\s+(\d{1,9})\s*$", str(_in(shown, "parameters") or ""), re.MULTILINE)
        return int(set_to[1]) if set_to else None

    async def count(self, payload: Mapping[str, Any]) -> int | None:
        """Tokens of a request's messages as the model reads them, in the template of its chat.

        A server that once counted nothing is not asked again: it may take as long each time.
        """
        props, listed, *_ = await self._look()
        counted = None
        if self._uncounted:
            return None
        if _number(props, "total_slots"):
            counted = await self._counted_by_llama(payload)
        elif _number(self._entry(_in(listed, "data")), "max_model_len"):
            asked = {"model": self._model, "messages": payload["messages"], "add_generation_prompt": True}
            counted = _number(await self._facts(self._at("/tokenize"), asked, _COUNTING), "count")
        self._uncounted = counted is None
        return counted

    async def _counted_by_llama(self, payload: Mapping[str, Any]) -> int | None:
        if not self._by_parts:
            said = await self._facts(self._at("/v1/chat/completions/input_tokens"), payload, _COUNTING)
            if counted := _number(said, "input_tokens"):
                return counted
        text = _in(await self._facts(self._at("/apply-template"), payload, _COUNTING), "prompt")
        if not isinstance(text, str):
            return None
        asked = {"content": text, "add_special": True, "parse_special": True}
        tokens = _in(await self._facts(self._at("/tokenize"), asked, _COUNTING), "tokens")
        self._by_parts = isinstance(tokens, list)
        return len(tokens) if isinstance(tokens, list) else None

    async def _look(self) -> Sequence[Any]:
        """What does not change while the server runs, asked once: props, models, and those of two others."""
        addresses = ("/props", "/v1/models", "/api/ps", "/api/v0/models")
        if self._looking is None:
            asking = (self._facts(self._at(address)) for address in addresses)
            self._looking = asyncio.gather(*asking)
        return await asyncio.shield(self._looking)

    def _at(self, address: str) -> str:
        return self._url + address.removeprefix("/v1") if address.startswith("/v1") else self._root + address

    def _entry(self, models: Any) -> Any:
        """The entry of our model in a list of them; the only one, where its name is another."""
        known = [model for model in models if isinstance(model, dict)] if isinstance(models, list) else []
        names = (self._model, f"{self._model}:latest")
        ours = [entry for entry in known if any(entry.get(key) in names for key in ("id", "name", "model"))]
        return ours[0] if ours else known[0] if len(known) == 1 else None


def _in(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _number(value: Any, name: str) -> int | None:
    """A count of one or more under this name."""
    found = _in(value, name)
    return found if type(found) is int and 0 < found < 1 << 31 else None

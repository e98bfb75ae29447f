"""A language model that is a Python function: for tests, the exam and tries without a provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from saywell.language_models.backend import Sent, Told, untold
from saywell.language_models.budget import Limits
from saywell.language_models.choices import likeliest, shares
from saywell.language_models.client import Client
from saywell.language_models.prices import FREE, Price
from saywell.language_models.requests import Request


class Scripted(Client):
    """Answers with `answer(request)`; parsing, cache, ledger, budget and repair are those of every model.

    To a request with `choices` it may answer with their probabilities, a number for each; with
    `gives_probabilities` readers ask it so. The name is in the cache key: give different functions
    different names when they share a calls file. An exception in the function is a bug and is raised as
    it is.
    """

    def __init__(
        self,
        answer: Callable[[Request], str | Mapping[str, float]],
        *,
        name: str = "scripted",
        calls: Path | None = None,
        limits: Limits | None = None,
        replay: bool = False,
        price: Price = FREE,
        gives_probabilities: bool = False,
    ) -> None:
        backend = _Function(answer, name, price, gives_probabilities)
        super().__init__(backend, calls=calls, limits=limits, replay=replay, concurrency=1)


class _Function:
    def __init__(
        self,
        answer: Callable[[Request], str | Mapping[str, float]],
        name: str,
        price: Price,
        gives_probabilities: bool,
    ) -> None:
        self.name = name
        self.identity = {"provider": "scripted", "url": "", "model": name}
        self.price = price
        self.gives_probabilities = gives_probabilities
        self._answer = answer

    async def send(self, request: Request, without: tuple[str, ...] = (), told: Told = untold) -> Sent:
        text, found = self._answer(request), None
        if not isinstance(text, str):
            found = shares({choice: text[choice] for choice in request.choices or ()})
            text = likeliest(text)
        size = sum(len(message.text) for message in request.messages)
        return Sent(text, "stop", None, self.name, size // 4 + 1, len(text) // 4 + 1, probabilities=found)

    async def close(self) -> None:
        pass

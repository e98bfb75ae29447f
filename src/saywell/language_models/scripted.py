"""A language model that is a Python function: for tests, the exam and tries without a provider."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from saywell.language_models.backend import Sent, Told, untold
from saywell.language_models.budget import Limits
from saywell.language_models.client import Client
from saywell.language_models.prices import FREE, Price
from saywell.language_models.requests import Request


class Scripted(Client):
    """Answers with `answer(request)`; parsing, cache, ledger, budget and repair are those of every model.

    The name is in the cache key: give different functions different names when they share a calls
    file. An exception in the function is a bug and is raised as it is.
    """

    def __init__(
        self,
        answer: Callable[[Request], str],
        *,
        name: str = "scripted",
        calls: Path | None = None,
        limits: Limits | None = None,
        replay: bool = False,
        price: Price = FREE,
    ) -> None:
        backend = _Function(answer, name, price)
        super().__init__(backend, calls=calls, limits=limits, replay=replay, concurrency=1)


class _Function:
    def __init__(self, answer: Callable[[Request], str], name: str, price: Price) -> None:
        self.name = name
        self.identity = {"provider": "scripted", "url": "", "model": name}
        self.price = price
        self._answer = answer

    async def send(self, request: Request, without: tuple[str, ...] = (), told: Told = untold) -> Sent:
        text = self._answer(request)
        size = sum(len(message.text) for message in request.messages)
        return Sent(text, "stop", None, self.name, size // 4 + 1, len(text) // 4 + 1)

    async def close(self) -> None:
        pass

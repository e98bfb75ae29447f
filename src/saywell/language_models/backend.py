"""What the client asks of whatever answers, and the ways it may fail to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from saywell.language_models.prices import Price
from saywell.language_models.requests import Request


@dataclass(frozen=True, slots=True)
class Sent:
    """A well-formed reply as it came over, not yet read."""

    text: str
    finish: str | None = None
    refusal: str | None = None
    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None


class Trouble(Exception):
    """No reply. `kind` says what may help.

    "retry": the same request again, later. "reject": nothing, this request is not accepted.
    "redirect": as "retry" once anything has been answered, else as "fatal". "fatal": no request
    will be accepted. `throttled` asks for fewer requests at a time, `after` for a pause of that
    many seconds.
    """

    def __init__(
        self,
        message: str,
        kind: Literal["retry", "reject", "redirect", "fatal"] = "retry",
        *,
        throttled: bool = False,
        after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.throttled = throttled
        self.after = after


class Backend(Protocol):
    """Sends one request once. Knows nothing of caches, budgets and retries.

    `identity` is what, beside the request, decides the reply (provider, address, model); it goes
    into the cache key. `price` is None when unknown.
    """

    @property
    def name(self) -> str:
        """Provider and model."""
        ...

    @property
    def identity(self) -> dict[str, str]:
        """The part of the cache key that is not in the request."""
        ...

    @property
    def price(self) -> Price | None:
        """Price per token."""
        ...

    async def send(self, request: Request) -> Sent:
        """The reply; raises Trouble when there is none."""
        ...

    async def close(self) -> None:
        """Frees connections."""
        ...

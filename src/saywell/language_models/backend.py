"""What the client asks of whatever answers, and the ways it may fail to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from saywell.language_models.prices import Price
from saywell.language_models.requests import Request


@dataclass(frozen=True, slots=True)
class Sent:
    """A well-formed reply as it came over, not yet read.

    Tokens and cost are what the provider reports; None where it reports nothing that can be so.
    `probabilities` are those of the request's choices, which add up to 1; None where it does not tell.
    """

    text: str
    finish: str | None = None
    refusal: str | None = None
    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    probabilities: dict[str, float] | None = None


class Trouble(Exception):
    """No reply. `kind` says what may help.

    "retry": the same request again, later. "again": the same request at once, without the options
    named in `without`. "reject": nothing, this request is not accepted; with `too_long` because it
    does not fit the model's context. "gone": no request is accepted at this address. "redirect": as
    "retry" once anything has been answered, else as "fatal". "slow": there was no more of a reply in
    the time allowed; the same request once more. "fatal": no request will be accepted.

    `throttled` asks for fewer requests at a time, `wait` says that the server will answer later
    (such a request has not failed), `after` how many seconds later. `sent` is False when the
    request never left, `charged` True when the provider may have taken money for it all the same.
    """

    def __init__(
        self,
        message: str,
        kind: Literal["retry", "again", "reject", "gone", "redirect", "slow", "fatal"] = "retry",
        *,
        throttled: bool = False,
        wait: bool = False,
        after: float | None = None,
        without: tuple[str, ...] = (),
        too_long: bool = False,
        sent: bool = True,
        charged: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.throttled = throttled
        self.wait = wait
        self.after = after
        self.without = without
        self.too_long = too_long
        self.sent = sent
        self.charged = charged


Told = Callable[[int], None]
"""Is told how many tokens of one reply there are so far, as they come; called in the client's loop."""


def untold(tokens: int) -> None:
    """Nobody wants to know."""


class Backend(Protocol):
    """Sends one request once. Knows nothing of caches, budgets and retries.

    A backend may know more than it needs to: see HasSlots, HasContext and Counts. The client asks
    what it knows once, with the first request. A call that is cancelled makes the model stop.

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

    async def send(self, request: Request, without: tuple[str, ...] = (), told: Told = untold) -> Sent:
        """The reply, asked for without the options named; raises Trouble when there is none."""
        ...

    async def close(self) -> None:
        """Frees connections."""
        ...


MANY = 1 << 20
"""Places of a server that takes as many requests as it is sent, and says when it is too much."""


@runtime_checkable
class HasSlots(Protocol):
    """A backend that can find out how many requests are worked on at a time."""

    async def slots(self) -> int | None:
        """Places; more requests than that would wait for each other. None: it has to be found out."""
        ...


@runtime_checkable
class HasContext(Protocol):
    """A backend that can find out how much its model reads."""

    async def context(self) -> int | None:
        """Tokens of one request and its reply together; None: nobody says."""
        ...


@runtime_checkable
class Counts(Protocol):
    """A backend that has the model's own tokenizer."""

    async def count(self, request: Request) -> int | None:
        """Tokens that the model would read, with all that is put around the messages; None: unknown."""
        ...

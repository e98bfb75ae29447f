"""How many requests are under way at a time, when the next may go, and whether any fares well."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from saywell.language_models.rates import UNLIMITED, Rate

_ALONE_AFTER = 2  # bursts without a reply
_LOOK_AGAIN = 0.5
"""Seconds."""
_RISES = 1.3
"""How many times faster a server has to be with twice the requests, for it to get them."""
_AGAIN = 16
"""So many replies a place later it is tried again whether more at a time go faster."""


class Growth:
    """How many requests at a time a server is fastest with, where it does not say: up to `most`.

    One at a time first, then twice as many as long as that makes it faster: tokens a second, read and
    written, over two replies for each place. The first reply is not counted: a server may load its model
    for it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._places = self._before = 1
        self._speed = 0.0
        """Tokens a second with the number of places before."""
        self._since: float | None = None
        self._replies = self._tokens = self._rest = 0

    def reply(self, tokens: int, now: float, *, full: bool) -> int:
        """How many places there are after a reply of so many tokens; `full`: all of them were taken."""
        if self._rest > 0:
            self._rest -= 1
            self._since = None
            return self._places
        if self._since is None or not full:
            self._begin(now)
            return self._places
        self._replies += 1
        self._tokens += tokens
        if self._replies >= 2 * self._places:
            speed = self._tokens / max(now - self._since, 1e-9)
            if speed >= _RISES * self._speed:
                self._before, self._speed = self._places, speed
                self._places = min(self._most, 2 * self._places)
            else:
                self._places, self._speed = self._before, 0.0
            if self._places == self._before:
                self._rest = _AGAIN * self._places
            self._begin(now)
        return self._places

    def _begin(self, now: float) -> None:
        self._since, self._replies, self._tokens = now, 0, 0


class Gate:
    """Bounded concurrency that halves when the provider throttles and creeps back as replies come.

    At most `most` requests at a time, no more than the server has places for, and no more requests and
    tokens a minute than `rate`. A pause that the server asks for holds back every request, not only the
    one that was told. Until the first reply, and again when two bursts in a row brought none, one
    request at a time finds out whether the server answers, with waits between that grow from
    `first_wait` to `longest_wait`. Times are those of the running loop.
    """

    def __init__(
        self,
        most: int,
        rate: Rate = UNLIMITED,
        *,
        first_wait: float = 0.5,
        longest_wait: float = 30.0,
        jitter: random.Random | None = None,
    ) -> None:
        self.most = most
        self.limit = float(most)
        self.active = self._waiting = 0  # requests under way, and those that wait to be
        self.failures = 0
        """Bursts of failures since the last reply: what fails together, fails once."""
        self.failing: set[str] = set()
        """Keys of the requests that failed since the last reply."""
        self.silent_since: float | None = None
        """When the first request was sent to which, and to all since, there was no answer."""
        self._throttles = 0
        self._replied = False
        self._first_wait, self._longest_wait = first_wait, longest_wait
        self._jitter = jitter or random.Random(0)
        self._interval = 60.0 / rate.requests if rate.requests else 0.0
        self._per_token = 60.0 / rate.tokens if rate.tokens else 0.0
        self._growth: Growth | None = None
        self._next_start = self._next_tokens = 0.0
        self._closed_until = 0.0
        self._last_cut = float("-inf")
        self._started = self._burst = 0
        self._door = asyncio.Lock()
        self._change: asyncio.Future[None] | None = None

    @property
    def capacity(self) -> int:
        """How many requests may be under way now."""
        alone = not self._replied or self.failures + self._throttles >= _ALONE_AFTER
        return 1 if alone else int(self.limit)

    def places(self, slots: int | None) -> None:
        """How many requests the server works on at a time; None: that is found out, beginning with one."""
        if slots is None:
            self._growth, self.most = Growth(self.most), 1
        else:
            self.most = min(self.most, slots)
        self.limit = min(self.limit, float(self.most))

    async def enter(self, sleep: Callable[[float], Awaitable[None]], tokens: int = 0) -> int:
        """Waits for a place; every enter needs one leave. Returns the number of this start.

        `tokens` is how many the request and its reply may have. `sleep` may raise to give up waiting.
        """
        self._waiting += 1
        try:
            async with self._door:  # one waits for the time to come, the others behind it in order
                await self._open(sleep)
                self.active += 1
                self._next_start = max(self._now(), self._next_start) + self._interval
                self._next_tokens = max(self._now(), self._next_tokens) + tokens * self._per_token
        finally:
            self._waiting -= 1
        self._started += 1
        if self.silent_since is None:
            self.silent_since = self._now()
        return self._started

    async def _open(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        while True:
            if self.active >= self.capacity:
                self._change = asyncio.get_running_loop().create_future()
                await self._change
            elif (delay := max(self._closed_until, self._next_start, self._next_tokens) - self._now()) > 0:
                # It may come sooner, when requests took fewer tokens than they might have.
                await sleep(min(delay, _LOOK_AGAIN))
            else:
                return

    def leave(self, unused: int = 0) -> None:
        """Frees the place; so many of its tokens were not used."""
        self.active -= 1
        self._next_tokens -= unused * self._per_token
        self._wake()

    def succeeded(self, tokens: int = 1) -> None:
        """A reply came: one place more after about as many replies as there are places.

        `tokens` were read and written for it.
        """
        self.heard()
        self._replied = True
        full = self.active + self._waiting >= self.most == int(self.limit)
        self.limit = min(float(self.most), self.limit + 1.0 / self.limit)
        if self._growth is not None:
            self.most = self._growth.reply(tokens, self._now(), full=full)
            self.limit = float(self.most) if full else self.limit
        self._wake()

    def alive(self) -> None:
        """There is more of a reply that is not whole yet."""
        self.silent_since = None

    def failed(self, key: str, start: int) -> None:
        """The request with this key, the start-th, brought no reply, through no fault of its own."""
        self.failing.add(key)
        if self._new_burst(start):
            self.failures += 1
            if self.capacity == 1:
                self._close(self._wait(self.failures))

    def heard(self) -> None:
        """The server is there, though it took no request."""
        self.failures = self._throttles = 0
        self.failing.clear()
        self.silent_since = None

    def throttled(self, start: int, after: float | None) -> float:
        """The provider asked to wait. Returns for how long, in seconds, nothing is started."""
        self.slow_down()
        if self._new_burst(start):
            self._throttles += 1
        # Told again and again without a reply between, it is not taken at its word.
        wait = (after or 0.0) + self._wait(self._throttles)
        self._close(wait)
        return wait

    def slow_down(self) -> None:
        """Halves the number of places, once a second at most: one burst is one sign."""
        now = self._now()
        if now - self._last_cut >= 1.0:
            self.limit = max(1.0, self.limit / 2)
            self._last_cut = now

    def begin_anew(self) -> None:
        """Forgets failures; one request finds out whether the server answers again."""
        self.heard()
        self._replied = False

    def _new_burst(self, start: int) -> bool:
        new = start > self._burst
        if new:
            self._burst = self._started
        return new

    def _wait(self, times: int) -> float:
        # Jitter: clients that failed together do not come back together.
        ceiling = min(self._longest_wait, self._first_wait * 2.0 ** min(times - 1, 60))
        return self._jitter.uniform(0.5, 1.0) * ceiling if times > 0 else 0.0

    def _close(self, seconds: float) -> None:
        self._closed_until = max(self._closed_until, self._now() + seconds)

    def _wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

"""How many requests are under way at a time, and when the next may go."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable


class Gate:
    """Bounded concurrency that halves when the provider throttles and creeps back as replies come.

    At most `most` requests at a time and, with `per_minute`, at most so many starts a minute. A
    Retry-After holds back every request, not only the one that was told. Times are those of the
    running loop.
    """

    def __init__(self, most: int, per_minute: float | None = None) -> None:
        self.most = most
        self.limit = float(most)
        self.active = 0
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._next_start = 0.0
        self._closed_until = 0.0
        self._last_cut = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Waits for a place; every enter needs one leave. `sleep` may raise to give up waiting."""
        while self.active >= int(self.limit):
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place
            except asyncio.CancelledError:
                self._wake()  # the place may have been given to us: pass it on
                raise
        self.active += 1
        try:
            while (delay := self._delay()) > 0:
                await sleep(delay)
        except BaseException:
            self.leave()
            raise
        if self._interval:
            self._next_start = max(self._now(), self._next_start) + self._interval

    def leave(self) -> None:
        """Frees the place."""
        self.active -= 1
        self._wake()

    def _wake(self) -> None:
        free = int(self.limit) - self.active
        while self._waiting and free > 0:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                free -= 1

    def succeeded(self) -> None:
        """A reply came: one place more after about as many replies as there are places."""
        self.limit = min(float(self.most), self.limit + 1.0 / self.limit)

    def throttled(self, after: float | None) -> None:
        """The provider asked for less. One burst is one sign: it halves once a second at most."""
        now = self._now()
        if now - self._last_cut >= 1.0:
            self.limit = max(1.0, self.limit / 2)
            self._last_cut = now
        if after is not None:
            self._closed_until = max(self._closed_until, now + after)

    def _delay(self) -> float:
        return max(self._closed_until, self._next_start) - self._now()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

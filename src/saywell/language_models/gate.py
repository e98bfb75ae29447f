"""How many requests are under way at a time, when the next may go, and whether any fares well."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

_ALONE_AFTER = 2  # bursts without a reply


class Gate:
    """Bounded concurrency that halves when the provider throttles and creeps back as replies come.

    At most `most` requests at a time and, with `per_minute`, at most so many starts a minute. A
    pause that the server asks for holds back every request, not only the one that was told. Until
    the first reply, and again when two bursts in a row brought none, one request at a time finds
    out whether the server answers, with waits between that grow from `first_wait` to
    `longest_wait`. Times are those of the running loop.
    """

    def __init__(
        self,
        most: int,
        per_minute: float | None = None,
        *,
        first_wait: float = 0.5,
        longest_wait: float = 30.0,
        jitter: random.Random | None = None,
    ) -> None:
        self.most = most
        self.limit = float(most)
        self.active = 0  # requests under way
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
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._next_start = 0.0
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

    async def enter(self, sleep: Callable[[float], Awaitable[None]]) -> int:
        """Waits for a place; every enter needs one leave. Returns the number of this start.

        `sleep` may raise to give up waiting.
        """
        async with self._door:  # one waits for the time to come, the others behind it in order
            while True:
                if self.active >= self.capacity:
                    self._change = asyncio.get_running_loop().create_future()
                    await self._change
                elif (delay := max(self._closed_until, self._next_start) - self._now()) > 0:
                    await sleep(delay)
                else:
                    break
            self.active += 1
            self._started += 1
            if self.silent_since is None:
                self.silent_since = self._now()
            if self._interval:
                self._next_start = max(self._now(), self._next_start) + self._interval
            return self._started

    def leave(self) -> None:
        """Frees the place."""
        self.active -= 1
        self._wake()

    def succeeded(self) -> None:
        """A reply came: one place more after about as many replies as there are places."""
        self.heard()
        self._replied = True
        self.limit = min(float(self.most), self.limit + 1.0 / self.limit)
        self._wake()

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

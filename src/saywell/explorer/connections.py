"""Connections that cannot stop the server: a bound on how many, and on how long a request may take to arrive.

uvicorn bounds neither (its `limit_concurrency` counts connections that never send a request, and
then refuses everybody), so whoever opens many and sends half a request on each would use up the
process's files. Here a connection without a whole request head is closed after a while, and when
there are too many, the one that has waited longest makes room.
"""

from __future__ import annotations

import asyncio
from typing import Any

MOST_CONNECTIONS = 200
HEAD_SECONDS = 10.0
"""How long the head of a request may take to arrive."""
ANSWER_SECONDS = 600.0
"""How long an answer may take, to be made and to be fetched."""


def bounded_protocol(
    most: int = MOST_CONNECTIONS, head: float = HEAD_SECONDS, answer: float = ANSWER_SECONDS
) -> type[Any]:
    """uvicorn's own HTTP protocol with these bounds, for `uvicorn.Config(http=...)`."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    # In the order in which they began to wait. One server, one event loop, so no lock.
    waiting: dict[Any, None] = {}

    class Bounded(H11Protocol):
        def connection_made(self, transport: Any) -> None:
            self._clock: asyncio.TimerHandle | None = None
            self._asked: object = None
            super().connection_made(transport)
            self._watch()
            if len(self.connections) > most:
                longest = next(iter(waiting))  # this one, where no other waits
                longest._stop()  # it is gone later, and others may come before
                longest.transport.abort()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def _watch(self) -> None:
            """One clock for how long a whole request head may take, another for the answer to it.

            The first runs from the connection or the last answer, the second from the head on.
            """
            answering = self.cycle is not None and not self.cycle.response_complete
            asked = self.cycle if answering else None
            if self._clock is not None and asked is self._asked:
                return
            self._stop()
            self._asked = asked
            if self.transport.is_closing():
                return
            if not answering:
                waiting[self] = None
            self._clock = self.loop.call_later(answer if answering else head, self.transport.abort)

        def _stop(self) -> None:
            waiting.pop(self, None)
            if self._clock is not None:
                self._clock.cancel()
                self._clock = None

    return Bounded

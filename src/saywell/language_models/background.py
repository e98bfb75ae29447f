"""An asyncio loop in its own thread, so that scripts and notebooks can wait for it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Starts its thread with the first call of `run`; the loop lives until `close`."""

    def __init__(self, new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop) -> None:
        self._new_loop = new_loop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def run(self, work: Coroutine[Any, Any, T], on_interrupt: Callable[[], None]) -> T:
        """The coroutine's result.

        At the first Ctrl-C `on_interrupt` is called in the loop, which should make `work` end soon;
        its end is awaited before KeyboardInterrupt goes on. A second Ctrl-C cancels `work`.
        """
        loop = self._started()
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            _wait(future)
        except KeyboardInterrupt:
            loop.call_soon_threadsafe(on_interrupt)
            try:
                _wait(future)
            except KeyboardInterrupt:
                future.cancel()
            raise
        return future.result()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = self._new_loop()
                name = "saywell-language-model"
                self._thread = threading.Thread(target=_serve, args=[self._loop], name=name, daemon=True)
                self._thread.start()
            return self._loop

    def close(self) -> None:
        """Ends the thread, and gives back what the loop held open."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop = self._thread = None


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        # Connections closed in one turn of the loop are given back in the next.
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def _wait(future: concurrent.futures.Future[Any]) -> None:
    # In short turns, because on some systems a wait without end cannot be interrupted.
    while not future.done():
        concurrent.futures.wait([future], timeout=0.5)

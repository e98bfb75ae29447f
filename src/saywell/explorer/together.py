"""Questions that wait are answered together.

A model reads thirty sentences in little more than the time of one, so whoever asks while another
question is being answered waits in a line, and the whole line is answered at once. The line is
bounded: who finds it full is told so at once instead of waiting for minutes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from typing import Generic, TypeVar

from saywell.errors import SaywellError

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class Busy(SaywellError):
    """The line is full."""


class Together(Generic[Asked, Answered]):
    """A line of questions before `answer`, which takes a batch and gives one answer for each.

    An answer may be a SaywellError, which is raised to who asked that question and to nobody else.
    `pool` runs one batch at a time; `most` bounds a batch, `waiting` the line.
    """

    def __init__(
        self,
        answer: Callable[[Sequence[Asked]], Sequence[Answered | SaywellError]],
        pool: Executor,
        *,
        most: int = 16,
        waiting: int = 100,
    ) -> None:
        self._answer, self._pool = answer, pool
        self._most, self._waiting = most, waiting
        self._line: deque[tuple[Asked, Future[Answered]]] = deque()
        self._lock = threading.Lock()

    def ask(self, question: Asked) -> Future[Answered]:
        """A promise of the answer. Raises Busy where the line is full."""
        promise: Future[Answered] = Future()
        with self._lock:
            if len(self._line) >= self._waiting:
                raise Busy(f"{self._waiting} questions are waiting already; ask again in a minute")
            self._line.append((question, promise))
        # One task a question: the first finds the whole line, the others mostly find it empty.
        self._pool.submit(self._answer_some)
        return promise

    def _answer_some(self) -> None:
        with self._lock:
            taken = [self._line.popleft() for _ in range(min(self._most, len(self._line)))]
        # Whoever has gone away meanwhile is not answered.
        taken = [(asked, to) for asked, to in taken if to.set_running_or_notify_cancel()]
        if not taken:
            return
        try:
            answers = self._answer([asked for asked, _ in taken])
            pairs = list(zip(taken, answers, strict=True))
        except BaseException as error:
            for _, promise in taken:
                promise.set_exception(error)
            return
        for (_, promise), answer in pairs:
            if isinstance(answer, SaywellError):
                promise.set_exception(answer)
            else:
                promise.set_result(answer)

"""Progress on the terminal: a line or two that change in place, or lines in a log now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from saywell.cli.terminal import fitted, plain
from saywell.progress import Advance

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from saywell.language_models.tally import Tally, Watch

WIDEST = 80
LABEL = 28
LOGGED_EVERY = 30.0
"""Seconds between lines where there is no terminal."""
WORTH_A_LINE = 2.0
"""Seconds: steps that took less are not told of."""


class Terminal:
    """What steps and language models tell of themselves, on `console` (stderr).

    On a terminal two lines at most, which are gone when a step is done; elsewhere, as in a log file, a
    line every 30 seconds. Of a step that took two seconds or more one line stays, and one for what
    was asked of a language model. `clock` gives seconds.
    """

    def __init__(self, console: Console | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = console or Console(stderr=True, highlight=False, markup=False)
        self._clock = clock
        self._steps: list[_Step] = []
        """Those under way, the innermost last."""
        self._tally: Tally | None = None
        self._logged = clock()
        self._live: Live | None = None
        if self._console.file.isatty() and not self._console.is_dumb_terminal:
            self._live = Live(
                console=self._console, get_renderable=self._lines, transient=True, refresh_per_second=4
            )

    @contextmanager
    def __call__(self, label: str, total: int) -> Iterator[Advance]:
        """A step of `total` items, for as long as it takes."""
        with self.showing(label, total) as step:

            def advance(more: int) -> None:
                step.done += more
                self._log(lambda: f"{label}: {step.count()}")

            yield advance
        seconds = self._clock() - step.started
        if seconds >= WORTH_A_LINE:
            self._print(f"{fitted(label, LABEL):<{LABEL}} {seconds:6.0f} s")
            for tally in step.asked.values():
                self._print("  " + plain(tally.line()))

    @contextmanager
    def showing(self, label: str, total: int = 0) -> Iterator[_Step]:
        """Something that leaves no line."""
        step = _Step(label, total, self._clock())
        self._steps.append(step)
        self._show()
        try:
            yield step
        finally:
            self._steps.remove(step)
            self._tally = None
            self._show()

    def asking(self) -> Watch:
        """What is to be told how far a language model is."""
        return self._told

    def _told(self, tally: Tally) -> None:
        self._tally = None if tally.over else tally
        for step in self._steps:
            if tally.asked:
                step.asked[tally.step] = tally
        self._show()
        self._log(tally.line)

    def _log(self, line: Callable[[], str]) -> None:
        if self._live is None and self._clock() - self._logged >= LOGGED_EVERY:
            self._print(self._fitted(line()))

    def _print(self, line: str) -> None:
        self._logged = self._clock()
        self._console.print(line, soft_wrap=True)

    def _fitted(self, line: str) -> str:
        """What a server said on one line, which a log may have as long as it is."""
        return fitted(line, min(self._console.width, WIDEST) - 2) if self._live else plain(line)

    def _show(self) -> None:
        """The lines that change are there while there is something to tell."""
        if self._live is not None:
            if self._steps or self._tally:
                self._live.start()
            else:
                self._live.stop()

    def _lines(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally, steps = self._tally, self._steps
        if tally is not None:
            label, done, total = tally.step, tally.done, tally.of
            count = ", ".join(filter(None, (tally.count(), tally.remaining())))
            more = [Text("  " + self._fitted(", ".join(tally.facts())))]
        elif steps:
            label, done, total = steps[-1].label, steps[-1].done, steps[-1].total
            count, more = steps[-1].rate(self._clock()), []
        else:
            return Text("")
        grid = Table.grid(padding=(0, 1))
        known = total > 1
        bar = ProgressBar(total if known else None, done, width=20, pulse=not known)
        grid.add_row(Text(fitted(label, LABEL).ljust(LABEL)), bar, Text(plain(count)))
        return Group(grid, *more)


class _Step:
    def __init__(self, label: str, total: int, started: float) -> None:
        self.label, self.total, self.started = label, total, started
        self.done = 0
        self.asked: dict[str, Tally] = {}
        """By the step of a language model's ledger: how far it was last."""

    def count(self) -> str:
        return f"{self.done:,} of {self.total:,}" if self.total > 1 else f"{self.done:,} done"

    def rate(self, now: float) -> str:
        from saywell.language_models.tally import said_seconds

        seconds = now - self.started
        if self.total <= 1 or not self.done or seconds <= 0:
            return said_seconds(seconds)
        per_second = self.done / seconds
        return f"{per_second:,.0f}/s, {said_seconds((self.total - self.done) / per_second)} left"

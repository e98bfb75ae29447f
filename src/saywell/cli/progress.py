"""Progress bars on the terminal, with rate and time left; nothing when output is not a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from saywell.progress import Advance


@contextmanager
def terminal_progress(label: str, total: int) -> Iterator[Advance]:
    """A bar on stderr while a step runs, and one line with its time when it is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    started = time.monotonic()
    if not sys.stderr.isatty():
        yield lambda done: None
    else:
        columns = (
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[rate]:>9}"),
            TimeRemainingColumn(compact=True),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(label, total=total, rate="")

            def advance(done: int) -> None:
                bar.advance(task, done)
                rate = bar.tasks[0].completed / max(1e-9, time.monotonic() - started)
                bar.update(task, rate=f"{rate:,.0f}/s")

            yield advance
    seconds = time.monotonic() - started
    if seconds >= 2:
        console.print(f"{label:<28} {seconds:6.0f} s", highlight=False)

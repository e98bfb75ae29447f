"""How long steps tell someone how far they are, and how libraries are kept from telling it too."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from saywell.language_models.tally import Tally, Watch

Advance: TypeAlias = Callable[[int], None]
Progress: TypeAlias = Callable[[str, int], AbstractContextManager[Advance]]
"""`with progress("label", total) as advance:` and then `advance(n)` for every n items done."""

_SECONDS_BETWEEN = 0.5


@contextmanager
def silent(label: str, total: int) -> Iterator[Advance]:
    """Progress for nobody."""
    yield lambda done: None


def increments(advance: Advance) -> Advance:
    """For a language model, which tells how many are done so far, where one wants how many more."""
    last = 0

    def told(done: int) -> None:
        nonlocal last
        advance(done - last)
        last = done

    return told


@runtime_checkable
class Asks(Protocol):
    """Progress that also tells how far a language model is."""

    def asking(self) -> Watch | None:
        """What the model is to tell, for one run; None: nobody looks."""
        ...


def watch_of(progress: Progress) -> Watch | None:
    """What a language model that is asked meanwhile is to tell of itself."""
    return progress.asking() if isinstance(progress, Asks) else None


class Automatic:
    """Lines in a notebook, which change in place; silence everywhere else."""

    def __call__(self, label: str, total: int) -> AbstractContextManager[Advance]:
        """A step of `total` items."""
        return notebook(label, total) if _in_notebook() else silent(label, total)

    def asking(self) -> Watch | None:
        """A line for each step of a language model."""
        return notebook_watch() if _in_notebook() else None


automatic = Automatic()


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return hasattr(shell.get_ipython() if shell is not None else None, "kernel")


@contextmanager
def notebook(label: str, total: int, *, clock: Callable[[], float] = time.monotonic) -> Iterator[Advance]:
    """A line of HTML in the cell's output, written again at most twice a second."""
    from IPython.display import HTML, display  # type: ignore[import-not-found]

    started = shown = clock()
    done = 0
    handle: Any = display(HTML(_line(label, 0, total, 0.0)), display_id=True)

    def advance(more: int) -> None:
        nonlocal done, shown
        done += more
        if clock() - shown >= _SECONDS_BETWEEN:
            shown = clock()
            handle.update(HTML(_line(label, done, total, shown - started)))

    yield advance
    handle.update(HTML(_line(label, total, total, clock() - started)))


def notebook_watch() -> Watch:
    """Writes a line of HTML for each step that a language model is asked for."""
    from IPython.display import HTML, display  # type: ignore[import-not-found]

    handles: dict[str, Any] = {}

    def told(tally: Tally) -> None:
        line = HTML(f"<div>{_bar(tally.done, tally.of)}{escape(tally.line())}</div>")
        if tally.step in handles:
            handles[tally.step].update(line)
        elif tally.asked:
            handles[tally.step] = display(line, display_id=True)

    return told


def _bar(done: int, total: int) -> str:
    return f'<progress value="{min(done, total)}" max="{total}"></progress> '


def _line(label: str, done: int, total: int, seconds: float) -> str:
    known = total > 1
    bar = _bar(done, total) if known else ""
    count = f" {done:,} of {total:,}," if known else ""
    return f"<div>{bar}{escape(label)}:{count} {seconds:.0f} s</div>"


@contextmanager
def quiet_loading() -> Iterator[None]:
    """While a model is read from disk, no bar of transformers' own; downloads still show theirs."""
    from huggingface_hub import utils as hub
    from transformers import modeling_gguf_pytorch_utils
    from transformers.utils import logging

    gguf: Any = modeling_gguf_pytorch_utils
    bar = getattr(gguf, "tqdm", None)  # the reader of GGUF files has no switch
    own, downloads = logging.is_progress_bar_enabled(), not hub.are_progress_bars_disabled()
    restore = hub.enable_progress_bars if downloads else hub.disable_progress_bars
    logging.disable_progress_bar()  # of the hub too
    restore()
    if bar is not None:
        gguf.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        if bar is not None:
            gguf.tqdm = bar
        if own:
            logging.enable_progress_bar()
        restore()

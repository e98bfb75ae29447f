"""How long steps tell someone how far they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

Advance: TypeAlias = Callable[[int], None]
Progress: TypeAlias = Callable[[str, int], AbstractContextManager[Advance]]
"""`with progress("label", total) as advance:` and then `advance(n)` for every n items done."""


@contextmanager
def silent(label: str, total: int) -> Iterator[Advance]:
    """Progress for nobody."""
    yield lambda done: None

"""The things that a description offers: "soup, the waiter" holds where either does."""

from __future__ import annotations

import re

_APART = re.compile(r"[,;\n]")


def alternatives(description: str) -> list[str]:
    """The parts of a description between commas, semicolons or line breaks, in their order.

    Empty parts and repeats are left out; a description without any word has no part.
    """
    parts = (" ".join(part.split()) for part in _APART.split(description))
    return list(dict.fromkeys(part for part in parts if any(c.isalnum() for c in part)))

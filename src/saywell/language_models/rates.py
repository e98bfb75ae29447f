"""How many requests and tokens a minute a provider may be sent, as a person writes it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from saywell.errors import InputError

_PART = re.compile(
    r"([0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?)(k|m)?\s*(requests?|tokens?)?\s*/\s*min(?:ute)?", re.IGNORECASE
)
_TIMES = {"": 1, "k": 1_000, "m": 1_000_000}


@dataclass(frozen=True, slots=True)
class Rate:
    """The most of each a minute; None is no limit. Tokens are those read and those written."""

    requests: float | None = None
    tokens: float | None = None

    @classmethod
    def parse(cls, text: str) -> Rate:
        """The rate in "60/min", "60/min,100000 tokens/min" or "40k tokens/min". Raises InputError."""
        found: dict[str, float] = {}
        for part in text.split(","):
            match = _PART.fullmatch(part.strip())
            kind = "tokens" if match and (match[3] or "").lower().startswith("token") else "requests"
            amount = float(match[1]) * _TIMES[(match[2] or "").lower()] if match else 0.0
            if not 0 < amount < math.inf or kind in found:
                raise InputError(
                    f"{text!r} is no rate; write it like 60/min, 100000 tokens/min, or both with a comma"
                )
            found[kind] = amount
        return cls(**found)


UNLIMITED = Rate()

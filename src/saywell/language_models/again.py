"""What to ask when a reply cannot be used: once more with what was wrong, or with more room."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from saywell.language_models.requests import Reply, Request
from saywell.language_models.structured import repair_request

MOST_REPLY_TOKENS = 16_384
_LARGER = 4
"""How much larger the next limit is: each try is paid for, so there are few of them."""
_MORE_ROOM = (
    "if the model reasons before it answers, give --llm-effort low (or none), or allow more with --llm-reply"
)
_Amount = TypeVar("_Amount", int, float)


def next_request(request: Request, replies: Sequence[Reply], most_tokens: int) -> Request | None:
    """What to ask after the last of these replies, which answers `request`; None: nothing more.

    An answer that was cut off gets a larger limit, up to `most_tokens`, because how long a model
    reasons cannot be known beforehand; not where it only said the same over and over. One that cannot
    be read is shown to the model, once. For free text the limit is the caller's.
    """
    last = replies[-1]
    if request.answer is None:
        return None
    if last.status == "truncated":
        if request.max_tokens >= most_tokens or _goes_round(last.text):
            return None
        return replace(request, max_tokens=min(_LARGER * request.max_tokens, most_tokens))
    if last.status == "unparsed" and all(reply.status != "unparsed" for reply in replies[:-1]):
        return repair_request(request, last.text, last.error or "")
    return None


def together(replies: Sequence[Reply]) -> Reply:
    """The replies to one question as one: sums of what they took, and the answer if there is one.

    Without an answer it is what the first unreadable reply was, or else the last; "failed" where the
    last did not come, so that the next run asks for it. A larger limit that the server rejects
    (its context has no room for it) leaves the question truncated.
    """
    last = replies[-1]
    if all(reply.status == "truncated" for reply in replies):
        limits = ", then ".join(f"{reply.max_tokens:,}" for reply in replies)
        last = replace(last, error=f"cut off at {limits} tokens; {_MORE_ROOM}")
    if len(replies) == 1:
        return last
    sums = {
        "input_tokens": _sum([reply.input_tokens for reply in replies]),
        "output_tokens": _sum([reply.output_tokens for reply in replies]),
        "cost_usd": _sum([reply.cost_usd for reply in replies]),
        "seconds": sum(reply.seconds for reply in replies),
        "attempts": sum(reply.attempts for reply in replies),
        "cached": all(reply.cached for reply in replies),
    }
    unread = next((reply for reply in replies if reply.status == "unparsed"), None)
    if last.status == "ok" or (last.status == "truncated" and unread is None):
        return replace(last, **sums)
    kept = unread or next((r for r in reversed(replies) if not r.rejected), last)
    lost = last.status == "failed" and not last.rejected
    error = "; asked again, ".join(
        str(reply.error) if reply is replies[0] else f"{reply.status}: {reply.error}" for reply in replies
    )
    return replace(kept, status="failed" if lost else kept.status, error=error, **sums)


def _goes_round(text: str) -> bool:
    """Whether the end of the text repeats itself so much that more room would bring more of it."""
    tail = text[-4000:].encode("utf-8", "replace")
    return len(tail) >= 1000 and len(zlib.compress(tail)) < len(tail) / 25


def _sum(amounts: Sequence[_Amount | None]) -> _Amount | None:
    known = [amount for amount in amounts if amount is not None]
    return None if len(known) < len(amounts) else sum(known[1:], known[0])

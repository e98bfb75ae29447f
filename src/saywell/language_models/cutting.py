"""Questions that are longer than the model reads: shorter data, or less room for the reply."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from saywell.language_models.prompts import CUT_MARK, fence
from saywell.language_models.requests import Message, Request

_FENCED = re.compile(r"<(data-[0-9a-f]{8})>\n(.*?)\n</\1>", re.DOTALL)
_SHORTEST = 80
"""Characters: what would be cut to less is not worth asking about."""
_SHORTEST_REPLY = 16
"""Tokens."""
_TRIES = 8
_PER_IMAGE = 4096
"""Tokens."""
_UNSAID = 256
"""Tokens that a chat template may put around messages."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What is sent instead of a question that is too long: its texts cut, its reply's limit lower.

    `tokens` is how long it was, `context` how much the model reads and writes; None where only the
    server said that it is too long. Without `characters` (of each text) and `max_tokens` nothing is
    sent instead: there is nothing that could be cut, or it is asked about fewer items.
    """

    reason: str
    tokens: int | None = None
    context: int | None = None
    characters: int | None = None
    max_tokens: int | None = None

    @property
    def sends(self) -> bool:
        """Whether anything is sent instead."""
        return self.characters is not None or self.max_tokens is not None

    def of(self, request: Request) -> Request:
        """What is sent instead of the request."""
        if self.characters is not None:
            request = shortened(request, self.characters)
        return request if self.max_tokens is None else replace(request, max_tokens=self.max_tokens)


def most_tokens(request: Request, extra: str) -> int:
    """No tokenizer makes more of the request: a token a byte, and what a chat template adds."""
    texts = [extra, *(message.text for message in request.messages)]
    images = sum(len(message.images) for message in request.messages)
    return _UNSAID + _PER_IMAGE * images + sum(len(text.encode("utf-8", "replace")) for text in texts)


async def cut_to(
    request: Request, context: int, least: int, shorten: bool, count: Callable[[Request], Awaitable[int]]
) -> Cut | None:
    """What to send of a request, so that with a reply of `least` tokens or more it fits into `context`.

    None: all of it. `count` gives the tokens of a request; `shorten`: its data may be cut.
    """
    tokens = first = await count(request)
    characters = None
    reason = (
        f"the question has {first:,} tokens, and with its reply the model has room for {context:,}; give it"
        " a larger context, or say by --llm-context that it has one"
    )
    for _ in range(_TRIES):
        room = context - tokens
        if room >= least:
            limit = None if room >= request.max_tokens else room
            return None if limit is characters is None else Cut(reason, first, context, characters, limit)
        candidate = request if characters is None else shortened(request, characters)
        fewer = _fewer_characters(candidate, least - room, tokens) if shorten else None
        if fewer is None:
            # Little room for the reply is better than no question.
            short = room if shorten and room >= _SHORTEST_REPLY else None
            return Cut(reason, first, context, characters, short)
        characters = fewer
        tokens = await count(shortened(request, characters))
    return Cut(reason, first, context)


def rejected(request: Request, reason: str, *, too_long: bool) -> Cut:
    """What to send instead of a request that the server took not at all, or only a part of.

    Half of its longest text, where it is too long and about one item; else nothing.
    """
    longest = max((len(body) for body in _bodies(request)), default=0) // 2
    halve = too_long and request.items == 1 and longest >= _SHORTEST
    return Cut(reason, characters=longest if halve else None)


def shortened(request: Request, characters: int) -> Request:
    """The request with each text of data cut to so many characters, and a mark where it was."""

    def again(found: re.Match[str]) -> str:
        body = found[2].removesuffix(CUT_MARK)
        return found[0] if len(body) <= characters else fence(body, characters)

    def cut(text: str) -> str:
        return _FENCED.sub(again, text)

    def shorter(message: Message) -> Message:
        if isinstance(message.content, str):
            return replace(message, content=cut(message.content))
        parts = tuple(cut(part) if isinstance(part, str) else part for part in message.content)
        return replace(message, content=parts)

    return replace(request, messages=tuple(shorter(message) for message in request.messages))


def _bodies(request: Request) -> list[str]:
    texts = [message.text for message in request.messages]
    return [found[2].removesuffix(CUT_MARK) for text in texts for found in _FENCED.finditer(text)]


def _fewer_characters(request: Request, excess: int, tokens: int) -> int | None:
    """To how many characters each text is cut for so many tokens less; None where that is too few.

    By the request's own characters a token, and some more, since texts differ.
    """
    whole = sum(len(message.text) for message in request.messages)
    bodies = sorted(map(len, _bodies(request)), reverse=True)
    remove = excess * whole / max(tokens, 1) * 1.05 + 10
    for count, body in enumerate(bodies, 1):
        level = (sum(bodies[:count]) - remove) / count - len(CUT_MARK)
        # All that are longer than the level are cut to it.
        if level <= body and (count == len(bodies) or level >= bodies[count]):
            return int(level) if level >= _SHORTEST else None
    return None

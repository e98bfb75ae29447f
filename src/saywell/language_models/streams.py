"""A reply that comes token by token, as server-sent events, put together to one that came at once.

Events by the HTML standard (9.2.6), and what servers make of it: without empty lines between events, with
a field `error`, with JSON over several lines, without `[DONE]`.
"""

from __future__ import annotations

import json
from typing import Any

_TEXTS = ("content", "refusal", "reasoning_content", "reasoning")
"""Parts of a message that grow with its tokens."""


_ERRORS = ("error", "detail", "message")


class TooLarge(Exception):
    """More came than may be held."""


class Stream:
    """One streamed chat completion; `most` bounds, in bytes, what is held of it.

    `tokens` counts the pieces of text so far (of a server that sends several tokens at once, fewer than
    there are). `ended` says that its text is whole, `over` that nothing comes after it.
    """

    def __init__(self, most: int) -> None:
        self.tokens = 0
        self.ended = self.over = False
        self._error: bytes | None = None
        self._most = most
        self._kept = 0  # bytes of all of the following but the line
        self._line: list[bytes] = []  # the beginning of a line whose end has not come
        self._begun = 0  # bytes of it
        self._event: list[bytes] = []  # lines of data that are no JSON by themselves
        self._stray: list[bytes] = []  # what is no piece of a completion
        self._choice: dict[str, Any] = {}
        self._texts: dict[str, list[str]] = {}
        self._rest: dict[str, Any] = {}

    def take(self, chunk: bytes) -> bool:
        """Whether there is more of the reply with this chunk. Raises TooLarge."""
        before = self.tokens, self.ended
        self._begun += len(chunk)
        if self._kept + self._begun > self._most:
            raise TooLarge
        if b"\n" not in chunk and b"\r" not in chunk:
            self._line.append(chunk)
            return False
        lines = b"".join([*self._line, chunk]).splitlines(keepends=True)
        # What ends in \r may go on with \n.
        self._line = [lines.pop()] if not lines[-1].endswith(b"\n") else []
        self._begun = sum(map(len, self._line))
        for line in lines:
            self._read(line.rstrip(b"\r\n"))
        return (self.tokens, self.ended) != before

    def close(self) -> None:
        """Reads what has no line end after it: nothing more comes."""
        rest, self._line = b"".join(self._line), []
        self._read(rest.rstrip(b"\r"))
        if not self._choice or _json(b"\n".join(self._event)) is not None:
            self._read(b"")  # else it broke off in the middle of an event

    def cut_off(self) -> None:
        """Nobody reads on: it is as long as it may be."""
        self._choice["finish_reason"] = "length"
        self._rest = {"usage": {"completion_tokens": self.tokens}} | self._rest
        self.ended = self.over = True

    @property
    def broken(self) -> bool:
        """Whether it began and did not end."""
        return bool(self._choice) and self._error is None and not self.ended

    def body(self) -> bytes:
        """The reply as a server that does not stream would send it; else what came instead of one."""
        if self._error is not None or not self._choice:
            return self._error or b"\n".join(self._stray)
        message = {name: _whole("".join(pieces)) for name, pieces in self._texts.items()}
        return json.dumps({**self._rest, "choices": [{**self._choice, "message": message}]}).encode()

    def _read(self, line: bytes) -> None:
        name, _, value = line.removeprefix(b"\xef\xbb\xbf").partition(b":")
        if not line:
            value, self._event = b"\n".join(self._event), []
            if value:
                self._kept -= len(value)
                self._add(_json(value), value)
        elif name in (b"data", b"error"):
            value = value.strip()
            if value == b"[DONE]":
                self.over = self.ended = True
            elif not self._event and (event := _json(value)) is not None:
                self._add(event, value)
            else:
                self._event.append(value)
                self._kept += len(value) + 1
        elif name not in (b"", b"event", b"id", b"retry"):
            self._set_aside(line)

    def _set_aside(self, said: bytes) -> None:
        self._stray.append(said)
        self._kept += len(said)

    def _add(self, event: Any, said: bytes) -> None:
        """A piece of the completion, or an error, or what is of no interest ({"type": "ping"})."""
        if self.over or self._error is not None:
            return
        choices = event.get("choices") if isinstance(event, dict) else None
        if not isinstance(event, dict) or any(event.get(name) for name in _ERRORS):
            self._error = said
        elif not isinstance(choices, list):
            self._set_aside(said)
        else:
            self._rest |= {name: event[name] for name in ("model", "usage") if event.get(name)}
            for choice in choices:
                if isinstance(choice, dict) and choice.get("index") in (0, None):  # the one asked for
                    self._grow(choice)

    def _grow(self, choice: dict[str, Any]) -> None:
        self._choice.setdefault("index", 0)
        if choice.get("finish_reason"):
            self._choice["finish_reason"] = choice["finish_reason"]
            self.ended = True
        delta = choice.get("delta") or choice.get("message")
        pieces = [(name, _text(delta.get(name))) for name in _TEXTS] if isinstance(delta, dict) else []
        grown = [(name, piece) for name, piece in pieces if piece]
        for name, piece in grown:
            self._texts.setdefault(name, []).append(piece)
            self._kept += len(piece)
        self.tokens += bool(grown)


def _text(value: Any) -> str:
    """A piece of text, also where it is given as a list of parts."""
    if isinstance(value, list):
        value = "".join(_text(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""


def _whole(text: str) -> str:
    """The text in which the two halves of a surrogate pair, that came apart, are one character."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _json(value: bytes) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None

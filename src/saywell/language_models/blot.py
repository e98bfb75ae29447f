"""Keys blotted out of whatever a server, an exception or a file says before anybody reads it."""

from __future__ import annotations

import base64
import html
import re
from urllib.parse import unquote

_MARK = "[key]"
_PIECE = 8  # a piece of a key this long is a piece too much
# Values that servers' manuals give for "no key" are words ("EMPTY", "sk-no-key-required"). They are
# blotted only as a whole, or the word "required" would vanish from replies.
_WORDS = re.compile(r"[a-z]{1,10}([-_.][a-z]{1,10})*", re.IGNORECASE)
_ESCAPE = re.compile(
    r"\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\.|%[0-9a-fA-F]{2}"
    r"|&#x[0-9a-fA-F]{1,6};|&#[0-9]{1,7};|&(?:amp|lt|gt|quot|apos);"
)


class Blot:
    """Replaces every piece of a secret that is 8 characters or longer, in any usual spelling.

    Found are the plain text, mixtures of percent, JSON and HTML escapes, base64 (as in a header
    that a server sends back) and hexadecimal digits. Of a secret that is short or only words
    nothing but the whole is replaced. `repr` shows no secret.
    """

    def __init__(self, *secrets: str) -> None:
        self._pieces: set[str] = set()
        self._wholes: list[re.Pattern[str]] = []
        for secret in filter(None, secrets):
            if len(secret) < _PIECE or _WORDS.fullmatch(secret):
                if len(secret) > 3 and not (len(secret) < _PIECE and secret.isalpha()):
                    word = rf"(?<![A-Za-z0-9]){re.escape(secret)}(?![A-Za-z0-9])"
                    self._wholes.append(re.compile(word))
                continue
            for form in _forms(secret):
                self._pieces |= {form[i : i + _PIECE] for i in range(max(1, len(form) - _PIECE + 1))}
        # Every window of 8 covers one of these at a position that 5 divides, so most text is
        # known to be clean after a fifth of the look-ups.
        self._signs = {piece[i : i + 4] for piece in self._pieces for i in range(5)}

    def __call__(self, text: str) -> str:
        """The text without the secrets."""
        for whole in self._wholes:
            text = whole.sub(_MARK, text)
        spans = [] if not self._pieces else self._runs(text)
        if self._pieces and ("\\" in text or "%" in text or "&" in text):
            plain, starts = _unescaped(text)
            spans += [(starts[first], starts[last]) for first, last in self._runs(plain)]
        if not spans:
            return text
        kept, end = [], 0
        for first, last in sorted(spans):
            if first > end or not kept:
                kept += [text[end:first], _MARK]
            end = max(end, last)
        return "".join([*kept, text[end:]])

    def finds(self, text: str) -> bool:
        """Whether a piece of a secret that is no word stands in the text."""
        return bool(self._pieces) and bool(self._runs(text) or self._runs(_unescaped(text)[0]))

    def __repr__(self) -> str:
        return "Blot()"

    def _runs(self, text: str) -> list[tuple[int, int]]:
        """Where pieces stand, as first position and the one after the last."""
        signs, pieces = self._signs, self._pieces
        if not any(text[i : i + 4] in signs for i in range(0, len(text) - 3, 5)):
            return []
        hits = [i for i in range(len(text) - _PIECE + 1) if text[i : i + _PIECE] in pieces]
        runs: list[tuple[int, int]] = []
        for hit in hits:
            if runs and hit <= runs[-1][1]:
                runs[-1] = (runs[-1][0], hit + _PIECE)
            else:
                runs.append((hit, hit + _PIECE))
        return runs


def _forms(secret: str) -> list[str]:
    """The secret as it is, in hexadecimal, and what base64 makes of it wherever it begins."""
    data = secret.encode("utf-8", "replace")
    forms = [secret, data.hex(), data.hex().upper()]
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * before + data).decode().rstrip("=")
            # The first and last characters also depend on what stands beside the secret.
            forms.append(text[-(-8 * before // 6) : (before + len(data)) * 8 // 6])
    return forms


def _unescaped(text: str) -> tuple[str, list[int]]:
    """The text with its escapes undone (twice, for escapes of escapes), and where each character was.

    Places are in `text`; one more entry says where the last character ends.
    """
    starts = list(range(len(text) + 1))
    for _ in range(2):
        parts: list[str] = []
        places: list[int] = []
        end = 0
        for match in _ESCAPE.finditer(text):
            parts += [text[end : match.start()], _meant(match.group())]
            places += starts[end : match.start() + 1]
            end = match.end()
        if not end:
            break
        places += starts[end:]
        text = "".join([*parts, text[end:]])
        starts = places
    return text, starts


def _meant(escape: str) -> str:
    """The one character that an escape stands for."""
    if escape[0] == "%":
        return unquote(escape, "latin-1")
    if escape[0] == "&":
        return html.unescape(escape)[:1] or " "
    if escape[1] in "ux":
        return chr(int(escape[2:], 16)) if len(escape) > 2 else escape[1]
    return escape[1]

"""Who is let in, and with what headers pages go out.

The explorer reads local data for one person, so the dangers are other web pages in that person's
browser and, when a `--host` opens it to a network, other machines:

* a page whose name was made to point at 127.0.0.1 (DNS rebinding): the Host header is checked;
* a page that posts a form to us: the Origin is checked, and every form carries a secret;
* a text of the study that wants to be markup: it is escaped, and the policy allows no inline script;
* another machine: without the token that was printed, nothing is answered;
* a form that is larger than it says, or never ends: what arrives is counted, and timed.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from saywell.addresses import is_address, is_everywhere, is_loopback

COOKIE = "saywell"
MOST_BYTES = 16 * 2**20
"""What a form may weigh, a picture in it included."""
MOST_HELD = 8 * MOST_BYTES
"""What all forms that are being read or answered may weigh together."""
FORM_SECONDS = 30.0
"""How long a form may take to arrive."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With "no-referrer" browsers send `Origin: null` with our own forms, which would be refused.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Door:
    """Which names we answer to, and what others have to know.

    `token` is for other machines (None: loopback), `secret` is carried by every form.
    """

    host: str = "127.0.0.1"
    port: int = 8800
    token: str | None = None
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def knows(self, host: str) -> bool:
        """Whether a Host header means us. An address of digits cannot be rebound, a name can."""
        try:
            split = urlsplit(f"//{host}")
            name, port = split.hostname or "", split.port or 80
        except ValueError:
            return False
        if port != self.port or split.username is not None or split.path:
            return False
        if name in LOOPBACK:
            return is_loopback(self.host) or is_everywhere(self.host)
        if is_everywhere(self.host):
            return is_address(name)
        return name == self.host.lower()

    def lets_in(self, headers: Headers) -> bool:
        """Whether the request carries the token, where one is asked for."""
        return self.token is None or _same(_cookie(headers), self.token)

    def has_secret(self, given: object) -> bool:
        """Whether a form came from one of our pages."""
        return isinstance(given, str) and _same(given, self.secret)


class Guard:
    """An ASGI application behind a door: what may not come in is answered here."""

    def __init__(
        self, app: ASGIApp, door: Door, *, most_held: int = MOST_HELD, seconds: float = FORM_SECONDS
    ) -> None:
        self.app, self.door = app, door
        self._most_held, self._seconds = most_held, seconds
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refusal, or pass the request on and add the headers to what comes back."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, with_headers)
        elif scope["method"] == "POST":
            await self._form(scope, receive, with_headers)
        else:
            await self.app(scope, receive, with_headers)

    async def _form(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the whole form, bounded in bytes and seconds, before anything else sees it."""
        length = int(Headers(scope=scope)["content-length"])
        if self._held + length > self._most_held:
            await _no(503, "Too many forms are on their way; send it again in a minute.")(
                scope, receive, send
            )
            return
        self._held += length
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    body = await _arrived(receive, length)
            except TimeoutError:
                refusal = _no(408, f"A form has {self._seconds:g} seconds to arrive.")
                await refusal(scope, receive, send)
                return
            if body is None:
                await _no(413, "The form is larger than it said.")(scope, receive, send)
                return
            parts = [{"type": "http.request", "body": body, "more_body": False}]

            async def again() -> Message:
                return parts.pop() if parts else await receive()

            await self.app(scope, again, send)
        finally:
            self._held -= length

    def _refusal(self, scope: Scope) -> ASGIApp | None:
        headers = Headers(scope=scope)
        if len(headers.getlist("host")) != 1 or not self.door.knows(headers["host"]):
            return _no(421, "This address is not one that saywell serve answers to.")
        offered = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if self.door.token is not None and offered and _same(offered, self.door.token):
            # The token leaves the address at once: addresses are copied, and kept in histories.
            home = RedirectResponse("/", status_code=303)
            home.set_cookie(COOKIE, self.door.token, httponly=True, samesite="strict", path="/")
            return home
        if not self.door.lets_in(headers):
            return _no(401, "Open the address that saywell serve printed; it carries the token.")
        if scope["method"] in ("GET", "HEAD"):
            return None
        if scope["method"] != "POST":
            return _no(405, "Pages are read with GET and forms are sent with POST.")
        if not _own_origin(headers):
            return _no(403, "This form was sent from another site.")
        length = headers.get("content-length", "")
        if "transfer-encoding" in headers or not (length.isascii() and length.isdigit()):
            return _no(411, "A form has to say how long it is.")
        if len(length) > 12 or int(length) > MOST_BYTES:
            return _no(413, f"A form has at most {MOST_BYTES:,} bytes.")
        return None


def _own_origin(headers: Headers) -> bool:
    if headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    host = headers["host"]
    return headers.get("origin", "") in (f"http://{host}", f"https://{host}")


async def _arrived(receive: Receive, length: int) -> bytes | None:
    """A body, or None for one of more bytes than `length`; one that breaks off is what came of it."""
    pieces, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(pieces)
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > length:
            return None
        if not message.get("more_body", False):
            return b"".join(pieces)


def _cookie(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _no(status: int, words: str) -> PlainTextResponse:
    # Part of a form may still be on its way, which would be read as the next request.
    return PlainTextResponse(words + "\n", status_code=status, headers={"connection": "close"})

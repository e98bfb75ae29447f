"""A polite client of the MediaWiki API: from a class name to one article, or to the reason why not.

Etiquette (https://www.mediawiki.org/wiki/API:Etiquette): one request at a time with a pause between
two, a User-Agent that says who asks, `maxlag`, and waiting as long as Retry-After says.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from saywell.data.markup import html_to_text, parse_html
from saywell.data.words import content_words
from saywell.errors import InputError, SaywellError
from saywell.store.files import write_json

MOST_BYTES = 8 * 2**20  # of one reply
MOST_CHARACTERS = 200_000  # of one article's prose
_FORMAT = 1  # of the cache files
_LANGUAGE = re.compile(r"[a-z]{2,12}(-[a-z]{2,12}){0,3}")


class WikiError(SaywellError):
    """The wiki could not be asked: no connection, refused, or answering with something else."""


@dataclass(frozen=True)
class WikiPage:
    """What a search for a class came to.

    `status`: 'found', 'missing', 'ambiguous' (a disambiguation page that the context does not decide)
    or 'too large'. `title`, `url` (of exactly this revision), `revision` and `text` are those of the
    page found; `detail` tells of redirects and choices, or what was in the way; `options` are the
    titles that an ambiguous name may mean. `truncated`: the text goes on beyond what is kept.
    """

    status: str
    title: str = ""
    url: str = ""
    revision: str = ""
    language: str = ""
    text: str = ""
    truncated: bool = False
    detail: str = ""
    options: tuple[str, ...] = ()


class Wiki:
    """One wiki, with a cache on disk. Use as a context manager, or call `close`.

    `language` chooses the Wikipedia; `api` is the address of another wiki's api.php instead. `cache`
    is a folder in which every reply is kept (None: nowhere), so the same question is asked once.
    `contact`, an address or page, goes into the User-Agent, as Wikimedia asks of whoever sends many
    requests. `pause` is in seconds. `clock` and `sleep` can be replaced in tests.

    Raises InputError for a language or address that cannot be one.
    """

    def __init__(
        self,
        language: str = "en",
        *,
        cache: Path | None = None,
        api: str | None = None,
        contact: str = "",
        pause: float = 0.5,
        attempts: int = 5,
        longest_wait: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not _LANGUAGE.fullmatch(language):
            raise InputError(f"language={language!r} is not a Wikipedia's code, such as 'en' or 'de'")
        self.api = api or f"https://{language}.wikipedia.org/w/api.php"
        if not re.match(r"https?://[^\s/]+/", self.api):
            raise InputError(f"api={api!r} is not the address of an api.php")
        self.language = language
        self._cache, self._pause, self._attempts = cache, pause, attempts
        self._longest_wait, self._clock, self._sleep = longest_wait, clock, sleep
        self._agent = _user_agent(contact)
        self._client: Any = None
        self._next = 0.0

    def __enter__(self) -> Wiki:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def find(self, name: str, context: Sequence[str] = ()) -> WikiPage:
        """The article about `name`: by title, else the best hit of a search for its words.

        Redirects are followed and told. A disambiguation page is decided by the words of
        `context` (such as a superclass: 'bird'): the entry that shares most with them, if there is
        one such entry.

        Raises WikiError when the wiki cannot be asked.
        """
        # Characters that may stand in no title become spaces.
        title = " ".join(re.sub(r"[_#<>\[\]|{}\x00-\x1f\x7f]", " ", name).split())[:200]
        if not title:
            return WikiPage("missing", language=self.language, detail=f"{name!r} can be no title")
        try:
            return self._find(title, context)
        except _TooLarge as error:
            return WikiPage("too large", title, language=self.language, detail=str(error))

    def _find(self, title: str, context: Sequence[str]) -> WikiPage:
        known = self._look_up(title)
        steps = []
        if known is None:
            known = self._search(title, context)
            if known is None:
                return WikiPage("missing", language=self.language, detail=f"no article for {title!r}")
            steps.append(f"found by searching for {title!r}")
        if known.get("from"):
            steps.append(f"redirected from {known['from']!r}")
        if known["ambiguous"]:
            chosen, options = self._disambiguate(known["title"], context)
            if chosen is None:
                detail = f"{known['title']!r} has {len(options)} meanings; say which by context words"
                return WikiPage(
                    "ambiguous",
                    known["title"],
                    language=self.language,
                    detail=detail,
                    options=tuple(options[:20]),
                )
            steps.append(f"{known['title']!r} decided by the context {', '.join(context)!r}")
            known = self._look_up(chosen)
            if known is None or known["ambiguous"]:
                return WikiPage("missing", chosen, language=self.language, detail=f"{chosen!r} is no article")
        return self._read(known["title"], "; ".join(steps))

    # ---- the three questions

    def _look_up(self, title: str) -> dict[str, Any] | None:
        reply = self._ask(
            {
                "action": "query",
                "titles": title,
                "redirects": "1",
                "converttitles": "1",
                "prop": "pageprops",
                "ppprop": "disambiguation",
            }
        )
        query = reply.get("query") or {}
        pages = query.get("pages") or []
        if not pages or any(k in pages[0] for k in ("missing", "invalid", "special")):
            return None
        if pages[0].get("ns", 0) != 0 or not pages[0].get("title"):
            return None
        redirects = query.get("redirects") or []
        return {
            "title": str(pages[0]["title"]),
            "ambiguous": "disambiguation" in (pages[0].get("pageprops") or {}),
            "from": str(redirects[0].get("from", "")) if redirects else "",
        }

    def _search(self, title: str, context: Sequence[str]) -> dict[str, Any] | None:
        words = " ".join([title, *context])[:280]
        reply = self._ask(
            {
                "action": "query",
                "list": "search",
                "srsearch": words,
                "srlimit": "5",
                "srnamespace": "0",
                "srprop": "redirecttitle",
            }
        )
        wanted = content_words(title)
        for hit in (reply.get("query") or {}).get("search") or []:
            # A search always finds something; an article that shares no word is about another thing.
            found = str(hit.get("title", ""))
            said = f"{found} {hit.get('redirecttitle', '')}"
            if not wanted or wanted & content_words(said):
                return self._look_up(found)
        return None

    def _disambiguate(self, title: str, context: Sequence[str]) -> tuple[str | None, list[str]]:
        entries = _entries(self._parse({"page": title})["html"])
        options = [entry for entry, _ in entries]
        wanted = content_words(" ".join(context))
        scores = [len(wanted & content_words(text)) for _, text in entries]
        best = max(scores, default=0)
        chosen = [option for option, score in zip(options, scores, strict=True) if score == best]
        if best == 0:
            return None, options
        # Of several entries that fit, the one that says so in its title is meant: 'Crane (bird)'.
        titled = [option for option in chosen if wanted & content_words(option)]
        chosen = titled or chosen
        return (chosen[0] if len(set(chosen)) == 1 else None), options

    def _read(self, title: str, steps: str) -> WikiPage:
        try:
            parsed = self._parse({"page": title, "redirects": "1"})
        except _TooLarge:
            steps = "; ".join(filter(None, [steps, "only its beginning: the page is too large"]))
            parsed = self._parse({"page": title, "redirects": "1", "section": "0"})
            parsed["cut"] = True
        text = html_to_text(parsed["html"])
        if not text:
            return WikiPage("missing", title, language=self.language, detail=f"{title!r} has no prose")
        kept = text[:MOST_CHARACTERS]
        return WikiPage(
            "found",
            parsed["title"],
            self._address(parsed["title"], parsed["revision"]),
            parsed["revision"],
            self.language,
            kept,
            len(kept) < len(text) or parsed.get("cut", False),
            steps,
        )

    def _parse(self, which: Mapping[str, str]) -> dict[str, Any]:
        reply = self._ask(
            {
                "action": "parse",
                **which,
                "prop": "text|revid",
                "disableeditsection": "1",
                "disabletoc": "1",
                "disablelimitreport": "1",
            }
        )
        parsed = reply.get("parse")
        if not isinstance(parsed, dict) or not isinstance(parsed.get("text"), str):
            return {"title": which["page"], "revision": "", "html": ""}
        return {
            "title": str(parsed.get("title") or which["page"]),
            "revision": str(parsed.get("revid") or ""),
            "html": parsed["text"],
        }

    def _address(self, title: str, revision: str) -> str:
        base = self.api.rsplit("/", 1)[0]
        named = quote(title.replace(" ", "_"), safe="():,")
        return f"{base}/index.php?title={named}" + (f"&oldid={revision}" if revision else "")

    # ---- asking

    def _ask(self, question: Mapping[str, str]) -> dict[str, Any]:
        params = {**question, "format": "json", "formatversion": "2"}
        key = blake2b(json.dumps([_FORMAT, self.api, params], sort_keys=True).encode()).hexdigest()
        kept = None if self._cache is None else self._cache / f"{key[:32]}.json"
        if kept is not None and kept.is_file():
            try:
                return json.loads(kept.read_text("utf-8"))
            except (ValueError, RecursionError):
                kept.unlink()  # not ours, or damaged: ask again
        reply = self._send({**params, "maxlag": "5"})
        if kept is not None:
            write_json(kept, reply)
        return reply

    def _send(self, params: Mapping[str, str]) -> dict[str, Any]:
        import httpx2

        if self._client is None:
            self._client = httpx2.Client(
                headers={"User-Agent": self._agent, "Accept-Encoding": "gzip"}, timeout=30.0
            )
        problem = ""
        for attempt in range(self._attempts):
            self._sleep_until(self._next)
            after: float | None = None
            try:
                status, headers, body = self._fetch(params)
            except httpx2.HTTPError as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                after = _seconds(headers.get("retry-after"))
                if status == 200:
                    reply = _json_object(body)
                    error = reply.get("error") if reply is not None else None
                    code = str(error.get("code", "")) if isinstance(error, dict) else ""
                    if reply is not None and not error:
                        self._next = self._clock() + self._pause
                        return reply
                    if code in ("missingtitle", "nosuchsection", "invalidtitle", "pagecannotexist"):
                        self._next = self._clock() + self._pause
                        return {}
                    if reply is None:
                        raise WikiError(
                            f"{self.api} answered with something that is not the JSON of a wiki:"
                            f" {body[:80]!r}; is it the address of an api.php?"
                        )
                    problem = f"{code}: {str(error)[:200]}"
                    if code not in ("maxlag", "ratelimited", "readonly") and not code.startswith(
                        "internal_api_error"
                    ):
                        raise WikiError(f"{self.api} refused the question: {problem}")
                elif status == 429 or status >= 500:
                    problem = f"HTTP {status}"
                else:
                    to = f" (to {headers['location']!r})" if "location" in headers else ""
                    raise WikiError(f"{self.api} answered HTTP {status}{to}; check the address")
            if after is not None and after > self._longest_wait:
                raise WikiError(
                    f"{self.api} asks to be left alone for {after:.0f} s ({problem}); try again then;"
                    " what has been read is kept"
                )
            self._next = self._clock() + (self._pause + 2.0**attempt if after is None else after)
        raise WikiError(
            f"{self.api} did not answer after {self._attempts} attempts ({problem}); check the"
            " connection, or give --knowledge a folder of articles; what has been read is kept"
        )

    def _fetch(self, params: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        with self._client.stream("GET", self.api, params=dict(params)) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise _TooLarge(f"the reply is larger than {MOST_BYTES:,} bytes")
            return response.status_code, response.headers, bytes(body)

    def _sleep_until(self, moment: float) -> None:
        wait = moment - self._clock()
        if wait > 0:
            self._sleep(wait)


class _TooLarge(Exception):
    pass


def _entries(html: str) -> list[tuple[str, str]]:
    """The entries of a disambiguation page: the title linked first, and all the entry says."""
    entries: dict[str, str] = {}
    for item in parse_html(html).iter("li"):
        for link in item.iter("a"):
            classes = (link.get("class") or "").split()
            title = link.get("title")
            if title and "new" not in classes and "external" not in classes and ":" not in title:
                entries.setdefault(title, f"{title} {' '.join(item.itertext())}"[:1000])
                break
    return list(entries.items())


def _seconds(value: str | None) -> float | None:
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}", value.strip()):
        return float(value)
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        moment = parsedate_to_datetime(value)
        return max(0.0, (moment - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _user_agent(contact: str) -> str:
    try:
        version = metadata.version("saywell")
    except metadata.PackageNotFoundError:
        version = "0"
    about = re.sub(r"[^\x21-\x7e]+", " ", contact).strip()
    return f"saywell/{version}" + (f" ({about})" if about else "")

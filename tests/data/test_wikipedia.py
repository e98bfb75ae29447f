"""The wiki client against a local stand-in for a MediaWiki."""

from __future__ import annotations

import json
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from saywell.data import wikipedia
from saywell.data.knowledge import load_knowledge
from saywell.data.wikipedia import Wiki, WikiError
from saywell.errors import InputError

PAGES = {
    "Wren": "<p>The wren is a small brown bird.</p>",
    "Crane (bird)": "<p>Cranes have long legs.</p>",
    "Crane (machine)": "<p>A crane lifts loads.</p>",
    "Crane": '<ul><li><a href="/x" title="Crane (bird)">Crane (bird)</a>, a large bird</li>'
    '<li><a title="Crane (machine)">Crane (machine)</a>, a lifting machine</li>'
    '<li><a title="Crane Island" class="new">Crane Island</a></li>'
    '<li><a title="Help:Links">Help</a></li></ul>',
    "Zaunkönig": "<p>Der Zaunkönig ist braun. Er hat einen kurzen Schwanz.</p>",
    "Empty": "<table><tr><td>only a table</td></tr></table>",
    "Huge": "<p>" + "The wing is red. " * 40_000 + "</p>",
}
REDIRECTS = {"Jenny wren": "Wren"}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        query = {k: v[0] for k, v in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()}
        self.server.seen.append((query, dict(self.headers)))
        if self.server.faults:
            status, headers, body = self.server.faults.pop(0)
            return self.answer(status, body, headers)
        return self.answer(200, json.dumps(self.reply(query)).encode(), {})

    def reply(self, query):
        if query["action"] == "parse":
            title = query["page"]
            if title not in PAGES:
                return {"error": {"code": "missingtitle", "info": "no such page"}}
            html = PAGES[title] if query.get("section") is None else "<p>Only the lead is here.</p>"
            return {"parse": {"title": title, "revid": 1234, "text": html}}
        if query.get("list") == "search":
            words = query["srsearch"].lower().split()
            hits = [t for t in PAGES if any(w in t.lower() for w in words)] or ["Huge"]
            return {"query": {"search": [{"title": t, "ns": 0} for t in hits]}}
        title = query["titles"][0].upper() + query["titles"][1:]
        target = REDIRECTS.get(title, title)
        page = {"title": target, "ns": 0}
        if target not in PAGES:
            page["missing"] = True
        if target == "Crane":
            page["pageprops"] = {"disambiguation": ""}
        found = {"query": {"pages": [page]}}
        if target != title:
            found["query"]["redirects"] = [{"from": title, "to": target}]
        return found

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.faults = [], []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self):
        self.now, self.slept = 100.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def wiki(server, clock):
    api = f"http://127.0.0.1:{server.server_port}/w/api.php"
    with Wiki(api=api, clock=clock, sleep=clock.sleep, contact="me@example.org\r\nX: y") as wiki:
        yield wiki


def test_a_page_with_revision_and_address(wiki, server):
    page = wiki.find("wren")
    assert (page.status, page.title, page.revision) == ("found", "Wren", "1234")
    assert page.text == "The wren is a small brown bird." and not page.truncated
    assert page.url == wiki.api.replace("api.php", "index.php?title=Wren&oldid=1234")
    query, headers = server.seen[0]
    assert headers["User-Agent"].startswith("saywell/") and "me@example.org" in headers["User-Agent"]
    assert query["maxlag"] == "5" and "X" not in headers


def test_redirects_are_told(wiki):
    page = wiki.find("jenny_wren")
    assert page.title == "Wren" and page.detail == "redirected from 'Jenny wren'"


def test_disambiguation_is_decided_by_context_or_reported(wiki):
    assert wiki.find("crane", ["bird"]).title == "Crane (bird)"
    decided = wiki.find("crane", ["machines"])
    assert decided.title == "Crane (machine)" and "decided by the context" in decided.detail
    for context in ([], ["flower"]):
        page = wiki.find("crane", context)
        assert page.status == "ambiguous" and page.text == ""
        assert page.options == ("Crane (bird)", "Crane (machine)")


def test_a_name_without_article_is_searched_for(wiki):
    found = wiki.find("zaunkönig vogel")
    assert found.title == "Zaunkönig" and "found by searching" in found.detail


@pytest.mark.parametrize("name", ["unheard of thing", "", "  ", "[[|]]", "Empty"])
def test_missing_pages(wiki, name):
    assert wiki.find(name).status == "missing"


def test_other_languages(server, clock):
    assert Wiki("de").api == "https://de.wikipedia.org/w/api.php"
    assert Wiki("zh-min-nan").language == "zh-min-nan"
    for wrong in ("EN", "e", "../en", "en.evil.org/", ""):
        with pytest.raises(InputError, match="is not a Wikipedia's code"):
            Wiki(wrong)
    with pytest.raises(InputError, match=r"is not the address of an api\.php"):
        Wiki(api="ftp://x/api.php")


def test_huge_pages_are_bounded(wiki, monkeypatch):
    page = wiki.find("Huge")
    assert page.truncated and len(page.text) == wikipedia.MOST_CHARACTERS
    monkeypatch.setattr(wikipedia, "MOST_BYTES", 5000)
    page = wiki.find("Huge")
    assert page.status == "found" and page.truncated and page.text == "Only the lead is here."
    assert "only its beginning" in page.detail
    monkeypatch.setattr(wikipedia, "MOST_BYTES", 10)
    assert wiki.find("Huge").status == "too large"


def test_rate_and_retry_after(wiki, server, clock):
    wiki.find("wren")
    assert clock.slept == [0.5]  # two questions, one pause
    server.faults = [(429, {"Retry-After": "7"}, b""), (503, {}, b"")]
    wiki.find("Crane (bird)")
    assert clock.slept == [0.5, 0.5, 7.0, 0.5 + 2, 0.5]
    server.faults = [(200, {"Retry-After": "5"}, json.dumps({"error": {"code": "maxlag"}}).encode())]
    clock.slept.clear()
    assert wiki.find("Crane (machine)").status == "found"
    assert clock.slept == [0.5, 5.0, 0.5]


def test_retry_after_can_be_a_date(wiki, server, clock):
    import time

    server.faults = [(429, {"Retry-After": formatdate(time.time() + 30, usegmt=True)}, b"")]
    wiki.find("wren")
    assert 25 < clock.slept[0] <= 30


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([(429, {}, b"")] * 5, r"did not answer after 5 attempts \(HTTP 429\)"),
        ([(429, {"Retry-After": "3600"}, b"")], "asks to be left alone for 3600 s"),
        ([(301, {"Location": "https://elsewhere/"}, b"")], r"HTTP 301 \(to 'https://elsewhere/'\)"),
        ([(404, {}, b"no")], "HTTP 404"),
        ([(200, {}, b"<html>")], "not the JSON of a wiki: b'<html>'"),
        ([(200, {}, b"[" * 100_000)], "not the JSON of a wiki"),
        ([(200, {}, b'{"error": {"code": "readapidenied"}}')], "refused the question: readapidenied"),
    ],
)
def test_a_wiki_that_does_not_answer(wiki, server, faults, message):
    server.faults = list(faults)
    with pytest.raises(WikiError, match=message):
        wiki.find("wren")


def test_no_connection(clock):
    with (
        Wiki(api="http://127.0.0.1:1/w/api.php", clock=clock, sleep=clock.sleep, attempts=2) as wiki,
        pytest.raises(WikiError, match="did not answer after 2 attempts"),
    ):
        wiki.find("wren")


def test_the_cache_answers_without_asking(server, clock, tmp_path):
    api = f"http://127.0.0.1:{server.server_port}/w/api.php"
    with Wiki(api=api, cache=tmp_path / "c", clock=clock, sleep=clock.sleep) as wiki:
        first = [wiki.find(n, ["bird"]) for n in ("../../wren", "jenny wren", "crane", "unheard of thing")]
    asked = len(server.seen)
    assert all(len(f.name) == 37 for f in (tmp_path / "c").iterdir())
    with Wiki(api=api, cache=tmp_path / "c", clock=clock, sleep=clock.sleep) as wiki:
        assert [
            wiki.find(n, ["bird"]) for n in ("../../wren", "jenny wren", "crane", "unheard of thing")
        ] == first
        assert len(server.seen) == asked
        for damage in ("damaged", "[" * 100_000):
            next(iter((tmp_path / "c").iterdir())).write_text(damage)
            assert [
                wiki.find(n, ["bird"]) for n in ("../../wren", "jenny wren", "crane", "unheard of thing")
            ] == first
    assert len(server.seen) == asked + 2


def test_load_knowledge_from_a_wiki(wiki):
    told = []
    knowledge = load_knowledge(
        "wikipedia",
        ["wren", "crane", "Zaunkönig", "unheard of thing"],
        wiki=wiki,
        context={"crane": ["bird"]},
        progress=told.append,
    )
    assert knowledge.articles["status"].to_list() == ["found", "found", "found", "missing"]
    assert knowledge.articles["title"].to_list()[:2] == ["Wren", "Crane (bird)"]
    assert knowledge.passages["class"].unique().sort().to_list() == ["Zaunkönig", "crane", "wren"]
    assert told == [1, 2, 3, 4]

"""What must not come in and what must not go out."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from saywell.addresses import is_loopback
from saywell.errors import StudyError
from saywell.explorer.app import build_app
from saywell.explorer.security import HEADERS, Door
from saywell.explorer.server import door_of, first_address
from saywell.explorer.shelf import open_studies
from saywell.explorer.tables import Tables
from saywell.store.study import Study

PAGES = [
    "/",
    "/1/",
    "/1/?page=2",
    "/1/unit?id=layer.0/0",
    "/1/unit?id=layer.1/7-",
    "/1/ask",
    "/1/export",
    "/3/",
    "/3/results",
    "/3/text?id=t0-0",
    "/compare?a=1&b=2",
    "/compare?a=3&b=3",
    "/nowhere",
    "/9/",
    "/1/?layer=x",
    "/static/page.css",
    "/static/none",
]
VOID = {"meta", "input", "br", "hr", "img", "link"}


class Tree(HTMLParser):
    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.text = [], [], ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def _pages(client, hostile):
    yield from PAGES
    for word in hostile.HOSTILE[:7]:
        yield f"/1/?q={quote(word)}"
        yield f"/3/unit?id={quote(word)}"
        yield f"/1/unit?id={quote(word)}"


def test_no_text_becomes_markup_on_any_page(client, hostile):
    for url in _pages(client, hostile):
        answer = client.get(url)
        if "html" not in answer.headers["content-type"]:
            continue
        html = answer.text
        tree = Tree(html)
        scripts = [a for tag, a in tree.elements if tag == "script"]
        assert [a["src"] for a in scripts] == ["/static/page.js", "/static/explorer.js"], url
        assert not [a for t, a in tree.elements for n in a if n.startswith("on") or n == "style"], url
        assert not re.search("[\x00-\x08\u202d\u202e]", html), url
        for tag, attributes in tree.elements:
            for name in ("href", "src", "action"):
                value = attributes.get(name)
                assert value is None or re.match(r"(/(?!/)|#|\?)", value), (url, tag, value)
        images = [a["src"] for t, a in tree.elements if t == "img"]
        assert all(re.match(r"/\d+/image\?", src) for src in images)
        ids = [a["id"] for _, a in tree.elements if "id" in a]
        assert len(ids) == len(set(ids)), url


def test_hostile_words_are_shown_as_they_are(client):
    text = Tree(client.get("/1/").text).text
    assert "<script>alert(1)</script>" in text and "photo[U+202E]gpj.exe" in text
    assert "zero␀byte" in text and "👋🏽 שלום عالم" in text


def test_a_text_of_a_million_characters_is_cut(client):
    for url in ("/1/", "/1/unit?id=layer.1/7", "/compare?a=1&b=2"):
        assert len(client.get(url).content) < 400_000
    assert max(map(len, re.findall(r"\S+", Tree(client.get("/1/").text).text))) <= 1000


def test_every_answer_carries_the_headers(client):
    refused = client.get("/", headers={"host": "evil.example"})
    for answer in (refused, *(client.get(url) for url in PAGES)):
        for name, value in HEADERS.items():
            assert answer.headers[name] == value
    policy = HEADERS["content-security-policy"]
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    assert policy.startswith("default-src 'none'") and "frame-ancestors 'none'" in policy


def test_a_bug_tells_nothing_and_carries_the_headers(shelf, door, monkeypatch):
    def broken(*_):
        raise RuntimeError("/home/somebody/secret")

    monkeypatch.setattr("saywell.explorer.units.choices", broken)
    monkeypatch.setattr("saywell.explorer.app.units.unit_row", broken)
    client = TestClient(
        build_app(shelf, door), base_url="http://127.0.0.1:8800", raise_server_exceptions=False
    )
    answer = client.get("/1/unit?id=x")
    assert answer.status_code == 500 and "secret" not in answer.text
    assert "content-security-policy" in answer.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8800", 200),
        ("localhost:8800", 200),
        ("LOCALHOST:8800", 200),
        ("[::1]:8800", 200),
        ("127.0.0.1", 421),
        ("127.0.0.1:80", 421),
        ("evil.example:8800", 421),
        ("127.0.0.1.evil.example:8800", 421),
        ("", 421),
        ("localhost:8800@evil.example", 421),
        ("evil.example/localhost:8800", 421),
        ("10.0.0.1:8800", 421),
        ("[::1", 421),
        ("localhost:x", 421),
    ],
)
def test_only_our_own_names_are_answered_to(client, host, status):
    assert client.get("/1/export", headers={"host": host}).status_code == status


def test_a_server_for_a_network_asks_for_the_token(shelf):
    door = door_of("192.0.2.7", 9000)
    assert door.token and first_address(door) == f"http://192.0.2.7:9000/?token={door.token}"
    client = TestClient(build_app(shelf, door), base_url="http://192.0.2.7:9000", follow_redirects=False)
    for url in PAGES:
        assert client.get(url).status_code == 401
    assert client.get("/1/?token=wrong").status_code == 401
    assert client.get("/1/", headers={"host": "localhost:9000"}).status_code == 421
    let_in = client.get(f"/1/?token={door.token}")
    assert let_in.status_code == 303 and door.token not in let_in.headers["location"]
    assert "HttpOnly" in let_in.headers["set-cookie"]
    assert "samesite=strict" in let_in.headers["set-cookie"].lower()
    assert client.get("/1/export").status_code == 200
    client.cookies.set("saywell", "wrong", domain="192.0.2.7")
    client.cookies.clear()
    assert client.get("/1/export").status_code == 401


def test_all_addresses_of_a_machine_answer_to_digits_only():
    door = Door("0.0.0.0", 9000, "token")
    assert door.knows("192.168.1.5:9000") and door.knows("localhost:9000")
    assert not door.knows("evil.example:9000") and not door.knows("192.168.1.5:80")
    assert is_loopback("127.0.0.5") and is_loopback("::1") and not is_loopback("0.0.0.0")
    assert door_of("127.0.0.1", 1).token is None and door_of("localhost", 1).token is None


GOOD = {"secret": "the-secret", "item": "layer.0/0", "action": "accept", "name": "Ada"}


@pytest.mark.parametrize("path", ["/1/verdict", "/1/ask"])
@pytest.mark.parametrize(
    ("changes", "headers", "status"),
    [
        ({"secret": "wrong"}, {}, 403),
        ({"secret": ""}, {}, 403),
        ({}, {"origin": "http://evil.example"}, 403),
        ({}, {"origin": "null"}, 403),
        ({}, {"origin": ""}, 403),
        ({}, {"origin": "http://127.0.0.1:8801"}, 403),
        ({}, {"origin": "http://127.0.0.1:8800.evil.example"}, 403),
        ({}, {"sec-fetch-site": "cross-site"}, 403),
        ({}, {"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_no_form_of_others_is_taken(fresh, path, changes, headers, status):
    answer = fresh.client.post(path, data={**GOOD, **changes}, headers=headers)
    assert answer.status_code == status
    assert not (fresh.folder / "verdicts.sqlite").exists()


def test_a_form_without_a_secret_or_length_or_bounds_is_refused(fresh):
    client = fresh.client
    assert client.post("/1/verdict", data={**GOOD, "secret": None}).status_code == 403
    assert client.post("/1/verdict", content=iter([b"secret=the-secret"])).status_code == 411
    big = {"content-length": str(2**30)}
    assert client.post("/1/verdict", content=b"x", headers=big).status_code == 413
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert client.request(method, "/1/verdict").status_code == 405


def test_every_route_that_writes_asks_for_the_secret(shelf, door):
    app = build_app(shelf, door).app
    posts = [route for route in app.routes if "POST" in (getattr(route, "methods", None) or ())]
    assert len(posts) == 2
    for route in posts:
        assert [d.call.__name__ for d in route.dependant.dependencies] == ["checked_form"]


@pytest.mark.parametrize(
    "url",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/app.py",
        "/static//etc/passwd",
        "/static/explorer.css%00.js",
        "/1/../../etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/1/image?example=../../../../etc/passwd",
        "/3/image?example=/etc/passwd",
        "/3/image?example=fake",
        "/1/export/../../study.json",
        "/1/export/study.json",
        "/study.json",
        "/1/study.json",
        "/-1/",
        "/0/",
        "/%2fetc/",
        "/1/unit?id=../../etc/passwd",
    ],
)
def test_no_path_leads_out(client, url):
    answer = client.get(url)
    assert answer.status_code in (400, 404)
    assert "root:" not in answer.text and "schema_version" not in answer.text


def test_the_database_reads_nothing_but_the_studys_tables(shelf, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("a\n1\n")
    tables = shelf[0].tables
    for sql in (
        f"select * from read_csv('{other}')",
        f"select * from read_text('{other}')",
        "select * from glob('/etc/*')",
        f"copy (select 1) to '{tmp_path}/x.csv'",
        f"attach '{tmp_path}/x.db'",
        "set enable_external_access = true",
        "install httpfs",
    ):
        with pytest.raises(Exception, match=r"(?i)permission|disabled|locked|cannot"):
            tables.rows(sql)
    assert not list(tmp_path.glob("x.*"))
    assert tables.rows("select count(*) as n from exemplars")[0]["n"] == 320


def test_a_table_that_is_a_link_elsewhere_is_refused(hostile, tmp_path):
    folder = hostile.write_neurons(tmp_path / "study")
    outside = tmp_path / "elsewhere.parquet"
    (folder / "tags.parquet").rename(outside)
    (folder / "tags.parquet").symlink_to(outside)
    with pytest.raises(StudyError, match="link out of its folder"):
        open_studies([folder])


def test_a_manifest_cannot_name_a_file_elsewhere(hostile, tmp_path):
    folder = hostile.write_neurons(tmp_path / "study")
    (tmp_path / "secret.parquet").write_bytes((folder / "tags.parquet").read_bytes())
    study = Study(folder)
    study.manifest.tables["../secret"] = study.manifest.tables["tags"]
    assert "../secret" not in Tables(study).columns

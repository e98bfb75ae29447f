from __future__ import annotations

import warnings
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saywell.report.parts import Drawing, Element, Page, Rendered, Text, attempt, clip, el, said


class Words(HTMLParser):
    """The tags and the words of a piece of HTML, as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a & b \"c\" 'd'", "a &amp; b &quot;c&quot; &#39;d&#39;"),
        ("a\x00b", "a␀b"),
        ("photo\u202egpj.exe", "photo[U+202E]gpj.exe"),
        ("\ud800", "\ufffd"),
        ("\x1b[31m", "␛[31m"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("שלום 👋🏽", "שלום 👋🏽"),
    ],
)
def test_text_becomes_markup_in_one_way(given, shown):
    assert Text(given).html() == shown
    assert el("p", {"title": given}).html() == f'<p title="{shown}"></p>'


@given(st.text())
def test_no_text_adds_an_element_or_loses_a_word(text):
    parsed = Words(el("p", None, said(text)).html())
    assert parsed.tags == ["p", "bdi"]
    # A parser reads a lone carriage return as a line end, so nothing is compared but what is visible.
    assert [c for c in parsed.text if c.isalnum()] == [c for c in text if c.isalnum()]


def test_foreign_words_are_isolated():
    assert el("p", None, "to ", said("<b>")).html() == "<p>to <bdi>&lt;b&gt;</bdi></p>"


@pytest.mark.parametrize(
    ("tag", "attributes"),
    [
        ("script", {}),
        ("style", {}),
        ("iframe", {}),
        ("p", {"onclick": "x"}),
        ("p", {"ONCLICK": "x"}),
        ("p", {"style": "x"}),
        ("svg", {"src": "x"}),
        ("p", {"a b": "x"}),
        ("a", {"href": "javascript:alert(1)"}),
        ("a", {"href": " #x"}),
        ("a", {"href": "https://example.org"}),
        ("a", {"href": "//example.org"}),
    ],
)
def test_an_element_refuses_what_could_run_or_load(tag, attributes):
    with pytest.raises(ValueError, match=r"page|attribute"):
        Element(tag, attributes)


def test_attributes_that_are_true_stand_bare():
    assert el("p", {"hidden": True, "id": "x"}).html() == '<p hidden id="x"></p>'
    assert el("p", {"hidden": False}).html() == "<p></p>"


def test_clip_keeps_the_beginning():
    assert clip("short", 10) == "short"
    assert clip("x" * 1_000_000, 10) == "x" * 9 + "…"


def test_a_drawing_keeps_shapes_and_words_only():
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink"'
        ' viewBox="0 0 9 9" width="9" onload="alert(1)"><script>alert(1)</script>'
        '<a x:href="javascript:alert(1)"><text>lost</text></a><image href="http://e.org/x.png"/>'
        '<foreignObject><p>lost</p></foreignObject><path d="M0 0" fill="url(http://e.org)"/>'
        '<rect width="3" onclick="alert(1)"/><text fill="red">a &lt; b</text></svg>'
    )
    html = Drawing(svg, "it's").html()
    assert html == (
        '<svg class="drawing " role="img" aria-label="it&#39;s" viewBox="0 0 9 9" width="9">'
        '<path d="M0 0"></path><rect width="3"></rect><text fill="red">a &lt; b</text></svg>'
    )


@pytest.mark.parametrize("broken", ["", "<svg>", "<p/>", "<svg>\x00</svg>"])
def test_a_drawing_that_is_none_is_refused(broken):
    with pytest.raises(ValueError, match="not an SVG document"):
        Drawing(broken, "x").html()


def test_a_page_writes_each_asset_once_and_allows_nothing_else():
    body = el("div", None, el("p", None, needs=("units.js",)), el("p", None, needs=("units.js",)))
    html = Page("A <b> title", (body,)).html()
    assert html.count("<script>") == 2 and html.count("<style>") == 1
    assert "<title>A &lt;b&gt; title</title>" in html
    policy = html.split('Content-Security-Policy" content="')[1].split('"')[0]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy and policy.count("'sha256-") == 3


def test_the_policy_allows_the_scripts_that_are_there():
    import base64
    import hashlib
    import re

    html = Page("x", (el("p", None, needs=("units.js", "units.css")),)).html()
    for tag in ("script", "style"):
        for text in re.findall(f"<{tag}>(.*?)</{tag}>", html, re.DOTALL):
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            assert f"'sha256-{digest}'" in html


def test_a_part_that_fails_becomes_a_box():
    def fail():
        raise KeyError("<script>")

    with pytest.warns(RuntimeWarning, match="'Layers' failed"):
        box = attempt("Layers", fail)
    assert box is not None
    assert "Layers" in box.html() and "KeyError" in box.html()
    assert "&lt;script&gt;" in box.html() and "<script>" not in box.html()


def test_a_part_that_renders_badly_becomes_a_box():
    with pytest.warns(RuntimeWarning):
        box = attempt("Drawing", lambda: Drawing("<p/>", "x"))
    assert box is not None and "could not be drawn" in box.html()


def test_a_part_that_works_is_left_as_it_is():
    part = el("p", None, "fine", needs=("units.css",))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = attempt("x", lambda: part)
    assert done == Rendered("<p>fine</p>", ("units.css",)) and done.size == 11
    assert attempt("x", lambda: None) is None

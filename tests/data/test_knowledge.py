from __future__ import annotations

import json
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from saywell.data.knowledge import cut_passages, load_knowledge
from saywell.data.markup import html_to_text
from saywell.data.sentences import sentence_spans
from saywell.data.words import content_words
from saywell.errors import InputError

ARTICLE = """The wren is a small bird.  It has a short tail.

== Description ==

Its back is brown, e.g. rufous. The wings are barred.

# Price

It costs nothing."""


def said(text):
    return [text[a:b] for a, b in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("It is ca. 12 cm. long. It has wings.", ["It is ca. 12 cm. long.", "It has wings."]),
        ("Wings of 3.5 cm. The tail is red.", ["Wings of 3.5 cm.", "The tail is red."]),
        ("Named by J. B. Smith in May. It flies.", ["Named by J. B. Smith in May.", "It flies."]),
        ("He said “It is red.” Then left.", ["He said “It is red.”", "Then left."]),
        ("翼は赤い。尾は白い。", ["翼は赤い。", "尾は白い。"]),
        ("a line\nanother", ["a line", "another"]),
        ("", []),
        ("  ... ", ["..."]),
    ],
)
def test_sentences(text, sentences):
    assert said(text) == sentences


@given(st.text(max_size=300))
def test_sentences_are_in_order_and_lose_nothing_but_space(text):
    spans = sentence_spans(text)
    assert all(a < b for a, b in spans) and all(x[1] <= y[0] for x, y in pairwise(spans))
    kept = "".join(text[a:b] for a, b in spans)
    assert "".join(kept.split()) == "".join(text.split())


def test_words_meet_whatever_their_endings():
    assert content_words("the spotted wings") == content_words("a wing with spots") - content_words("with")
    assert content_words("striped") == content_words("stripes") == content_words("stripe")
    assert "the" not in content_words("the cat") and content_words("The cat's") == content_words("cats")


HTML = """<div class="mw-parser-output"><div class="hatnote">For the car, see Wren (car).</div>
<table class="infobox"><tr><td>Mass 9 g</td></tr></table><style>.a{color:red}</style>
<p>The <b>wren</b> is a <a href="/wiki/Bird" title="Bird">bird</a>.<sup class="reference">[1]</sup> 5&nbsp;cm &lt;long&gt;.</p>
<script>alert(1)</script><span style="display: none">hidden</span><figure>photo</figure>
<h2>Description<span class="mw-editsection">[edit]</span></h2><ul><li>red tail</li><li>short bill</li></ul>
<h2>References</h2><p>Smith 1990</p><h3>More</h3><p>Jones</p><h2>Range</h2><p>Europe<!-- no -->.</p></div>"""


def test_markup_is_stripped():
    assert html_to_text(HTML) == (
        "The wren is a bird. 5 cm <long>.\n\n== Description ==\n\nred tail\n\nshort bill\n\n"
        "== Range ==\n\nEurope."
    )


@pytest.mark.parametrize(
    "html", ["", " ", "<", "<p>open <b>never closed", "plain words", "<!-- a -->", "\x00\x00<p>a</p>"]
)
def test_broken_markup_is_read(html):
    assert "<" not in html_to_text(html).replace("<", "", html.count("<") - html.count("<p>"))


def test_deep_markup_does_not_recurse():
    assert "end" in html_to_text("<div>" * 200 + "end" + "</div>" * 200)
    html_to_text("<div>" * 50_000 + "end")


def test_passages_are_exact_spans_under_their_headings():
    knowledge = load_knowledge({"wren": ARTICLE}, ["wren"])
    text = knowledge.articles["text"][0]
    for row in knowledge.passages.iter_rows(named=True):
        assert text[row["start"] : row["end"]] == row["text"]
    assert knowledge.passages.select("section", "text").rows() == [
        ("", "The wren is a small bird. It has a short tail."),
        ("Description", "Its back is brown, e.g. rufous. The wings are barred."),
        ("Price", "It costs nothing."),
    ]
    short = load_knowledge({"wren": ARTICLE}, ["wren"], passage_chars=30).passages
    assert len(short) == 5 and short["id"].is_unique().all()


@given(st.text(alphabet="ab. \n=#é", max_size=400), st.integers(1, 60))
def test_passages_of_any_text(text, most):
    articles = pl.DataFrame({"class": ["x"], "text": [text]})
    for row in cut_passages(articles, most).iter_rows(named=True):
        assert text[row["start"] : row["end"]] == row["text"] != ""


def test_a_folder_is_joined_by_name(tmp_path):
    (tmp_path / "Red_Kite.txt").write_text(ARTICLE)
    (tmp_path / "wälder.html").write_text("<p>Many trees stand there.</p>", encoding="utf-8")
    (tmp_path / "heron.md").write_text("# Look\nLong legs.")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\xfa")
    (tmp_path / "notes.pdf").write_text("not read")
    knowledge = load_knowledge(tmp_path, ["red kite", "Wälder", "bad", "herons"])
    assert knowledge.articles["status"].to_list() == ["found", "found", "missing", "missing"]
    assert "did you mean 'heron'?" in knowledge.articles["detail"][3]
    assert "is not UTF-8" in knowledge.articles["detail"][2]
    assert knowledge.unused == ("heron",)
    assert knowledge.articles["text"][1] == "Many trees stand there."


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".jsonl", ".json"])
def test_tables(tmp_path, suffix):
    frame = pl.DataFrame({"class": ["b", "a"], "text": ["B is round.", "A is red."], "revision": ["7", "8"]})
    path = tmp_path / f"x{suffix}"
    if suffix == ".parquet":
        frame.write_parquet(path)
    elif suffix in (".csv", ".tsv"):
        frame.write_csv(path, separator="," if suffix == ".csv" else "\t")
    elif suffix == ".jsonl":
        frame.write_ndjson(path)
    else:
        path.write_text(json.dumps(frame.to_dicts()))
    articles = load_knowledge(path, ["a", "b", "c"]).articles
    assert articles.select("class", "status", "text", "revision").rows() == [
        ("a", "found", "A is red.", "8"),
        ("b", "found", "B is round.", "7"),
        ("c", "missing", "", ""),
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "gone", "there is no file or folder"),
        (lambda p: p, "has an article for none of the 1 classes"),
        (lambda p: (p / "a.csv").write_text("name,text\na,b") and p / "a.csv", "no column 'class'"),
        (lambda p: (p / "a.json").write_text("[1]") and p / "a.json", "an object of class -> text"),
        (lambda p: (p / "a.csv").write_text("class,text\nA,b\na,c") and p / "a.csv", "two articles for 'a'"),
        (lambda p: (p / "a.exe").write_text("x") and p / "a.exe", "does not end in"),
        (lambda p: "wikipedia", "needs wiki=Wiki"),
    ],
)
def test_sources_that_cannot_be_used(tmp_path, make, message):
    with pytest.raises(InputError, match=message):
        load_knowledge(make(tmp_path), ["a"])


def test_none_and_long_articles_and_fingerprints():
    none = load_knowledge("none", ["a", "b"])
    assert none.articles["status"].to_list() == ["none", "none"] and none.passages.is_empty()
    long = load_knowledge({"a": "Red wings. " * 50_000}, ["a"])
    assert long.articles["truncated"][0] and len(long.articles["text"][0]) == 200_000
    assert len({none.fingerprint, long.fingerprint, load_knowledge({"a": "x"}, ["a"]).fingerprint}) == 3


@pytest.mark.parametrize("wrong", [["It is red.", "It flies."], {"a": "b"}, 3])
def test_an_article_that_is_no_text_is_an_error_and_not_printed(wrong, tmp_path):
    pl.DataFrame({"class": ["wren"], "text": [wrong]}).write_parquet(tmp_path / "t.parquet")
    for source in ({"wren": wrong}, tmp_path / "t.parquet"):
        with pytest.raises(InputError, match="no text"):
            load_knowledge(source, ["wren"])
    assert load_knowledge({"wren": float("nan")}, ["wren"]).articles["status"].to_list() == ["missing"]

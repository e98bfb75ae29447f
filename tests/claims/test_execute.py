"""What each condition holds of, as docs/claims.md and the footnotes say, and how claims are put together."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saywell.claims.execute import Executor
from saywell.claims.ground import Ground
from saywell.claims.kinds import check
from saywell.claims.language import parse
from saywell.data.examples import Examples
from saywell.errors import InputError
from saywell.resources import Resources


def ground(*texts: str) -> Ground:
    table = pl.DataFrame(
        {"id": [f"{n:016x}" for n in range(len(texts))], "text": texts}, schema={"id": str, "text": str}
    )
    return Ground(Examples(table, "text", "f", pl.DataFrame(), len(texts)), Resources())


def pointed(claim: str, *texts: str) -> list[str]:
    """The texts with what the claim points at between asterisks."""
    check(parse(claim))
    on = ground(*texts)
    held = Executor(on)(parse(claim))
    assert held.tokens is not None
    assert held.examples.tolist() == on.corpus.texts_of(held.tokens).tolist()
    shown = []
    for number, text in enumerate(texts):
        for start, end in reversed(on.corpus.spans_of(held.tokens, number)):
            text = f"{text[:start]}*{text[start:end]}*{text[end:]}"
        shown.append(text)
    return shown


MARKED = [
    ('word("off", "On")', "*Off* and *on*, offer"),
    ('word("don’t")', "I *don't* or *don’t*, do"),
    ('form("turn")', "*turns*, *Turned*, a *turn* of turnips"),
    ('form("turned")', "*turns* and a *turn*"),
    ('phrase("turn off")', "*turned* *off*; turn it off; *Turn* *off*"),
    ('phrase("well-known")', "a *well**-**known* and well known"),
    ('piece("sh")', "*dish* *sh* *Shell* d-is-h"),
    ('prefix("un")', "*undo* *unite* un unx uns nun"),
    ('prefix("un", "inter")', "*undo* *internal* inter intern"),
    ('suffix("ing")', "*walking* *swinging* swing ring"),
    ('suffix("ing", "ed")', "*walking* *walked* bed fled"),
    ("letters(5)", "*about* a *12345* four"),
    ("letters(1, 3)", "about *a* *123* four *was* -"),
    ('mark("?", "!")', "So*?* No*!* Yes."),
    ('mark("’")', "the boys*’* and boys*'*"),
    ('class("number")', "*3* of two"),
    ('place("first")', '"*Well*, so. And"'),
    ('place("last")', "So. And *well*..."),
    ('place("sentence-first")', "*Well*, so. *And* that? *No*\n*Yes* 3.5"),
    ('place("sentence-last")', "Well, *so*. And *that*?"),
    ('place("early")', '"*Well*, *so* - *and* that'),
    ("repeated()", "the cat and the *cat*, Dog and *dog*, dogs, 3 and *3*, no, no"),
    ('after(word("my"))', "my *phone*, my*,* their phone, my"),
    ('before(mark("?"))', "my *phone*? ."),
    ('before(before(word("c")))', "*a* b c"),
    ('near(word("x"))', "a *b* *c* *d* *e* *f* x *g* *,* *i* *j* *k* l"),
    ('earlier(word("not"))', "so not *that* *,* *please*"),
    ('word("off") & after(form("turn"))', "turned *off* and off; turn it off"),
    ('word("off") & after(form("turn")) & before(mark("."))', "turn off and turned *off*."),
    ('word("a") & after(near(word("x")))', "x b *a* b b b b a"),
]


@pytest.mark.parametrize(("claim", "marked"), MARKED)
def test_a_claim_points_at_what_it_says(claim, marked):
    assert pointed(claim, marked.replace("*", "")) == [marked]


@pytest.mark.parametrize(
    ("claim", "holding"),
    [
        ('about("late order", "refund")', ["Late orders!", "No refunds."]),
        ('feels("positive")', ["I love this wonderful place"]),
        ('feels("negative")', ["This is terrible and sad", "No refunds."]),
        ("long(4, 5)", ["I love this wonderful place", "This is terrible and sad"]),
        ("long(6)", []),
        ('word("this") and not feels("negative")', ["I love this wonderful place"]),
        ('word("this") and not word("love") and not word("xx")', ["This is terrible and sad"]),
        ('mark("!") or word("no")', ["Late orders!", "No refunds."]),
        ('mark("!") and word("no") or word("love")', ["I love this wonderful place"]),
    ],
)
def test_a_claim_holds_of_examples(claim, holding):
    texts = ["Late orders!", "I love this wonderful place", "This is terrible and sad", "No refunds.", ""]
    held = Executor(ground(*texts))(parse(claim))
    assert [text for text, holds in zip(texts, held.examples, strict=True) if holds] == holding


def test_a_claim_points_only_where_its_clause_holds_and_never_at_what_it_denies():
    texts = ["yes and so", "yes but so", "so"]
    assert pointed('word("yes") and word("so") and not word("but")', *texts) == ["*yes* and *so*", *texts[1:]]
    assert pointed('word("yes") and not word("but") or word("but")', *texts) == [
        "*yes* and so",
        "yes *but* so",
        "so",
    ]
    assert Executor(ground(*texts))(parse("long(3)")).tokens is None
    assert pointed('about("so") and word("yes")', *texts) == ["*yes* and so", "*yes* but so", "so"]


@settings(max_examples=30)
@given(
    st.lists(st.text("ab x?.\n'-3好", max_size=12), max_size=5),
    st.sampled_from([claim for claim, _ in MARKED]),
)
def test_what_holds_of_a_text_does_not_depend_on_the_texts_beside_it(texts, claim):
    on = ground(*texts)
    together = Executor(on)(parse(claim))
    for number, text in enumerate(texts):
        alone = ground(text)
        held = Executor(alone)(parse(claim))
        assert held.examples[0] == together.examples[number]
        assert held.tokens is not None and together.tokens is not None
        spans = alone.corpus.spans_of(held.tokens, 0)
        assert spans == on.corpus.spans_of(together.tokens, number)
    assert len(together.examples) == len(texts) and together.examples.dtype == np.bool_


def test_tags_are_asked_for_only_where_there_are_some():
    with pytest.raises(InputError, match="nobody has tagged"):
        Executor(ground("so"))(parse('tagged("d1")'))

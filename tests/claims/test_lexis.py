"""Classes of words: what each finds in plain sentences, and what it must leave alone."""

import subprocess
import sys
import time

import numpy as np
import pytest

from saywell.claims.corpus import Corpus
from saywell.claims.feeling import feels, polarity
from saywell.claims.lexis import CLASSES, class_mask, lemma

# Of each class a text in which *...* marks what it finds; anything else it must leave.
MARKED = [
    ("question-mark", "Why*?* *¿*Qué*？* No."),
    ("full-stop", "Yes*.* 好*。* v2"),
    ("quotation-mark", """*"*Well*"*, *“*so*”*: *'*it*'* isn't the boys' or Jo's"""),
    ("dash", "a well-known thing *—* or *-* maybe *--* not"),
    ("hyphen", "a well*-*known 5*-*inch thing - here"),
    ("hyphenated", "a *well*-*known* thing - here"),
    ("ellipsis", "well*...* so*…* end."),
    ("emoji", "good *😀* *❤️* *:)* (see: this) at 5:30 © ™"),
    ("in-question", "*Do* *you*? I do. *Why*?\nNo. 好。*好*？"),
    ("in-quotes", 'a "*good* *one*", 5" and “*so*” on "it'),
    ("in-brackets", "a (*good* *one*) :) and [*so*] (on"),
    ("number", "*3* of *1,000* in two mp3"),
    ("number-word", "*two* of a *dozen* 3"),
    ("ordinal", "the *first*, *2nd* and *second* in one second"),
    ("money", "*$* *5.00* or *20* *dollars* for 3"),
    ("percent", "*50* *%* of 3"),
    ("quantity", "a *5*-*inch* and *two* *hours* at 3"),
    ("year", "in *1998* and the *1990s*, for $2000 or 1800 dollars, 1234 and 12000"),
    ("month", "in *May* you may march on *March* 3, *June*"),
    ("clock", "at *10:30* or *5pm* or *6* *p*.m. or 3"),
    ("capitalised", "Then *Mary* said I am in *Paris*. She is."),
    ("inner-capital", "the *iPhone* of IBM on *YouTube*"),
    ("contraction", "I *don't* know Jo's O'Neil at five o'clock, *it'll*; it*'s*"),
    ("drawn-out", "*sooo* good, *hmmm*, part viii of www aaa"),
    ("link", "see *https://x.org/a* now."),
    ("handle", "thanks *@joe_b* at 5 @ home"),
    ("accented", "*café* *naïf* cafe"),
    ("cyrillic", "hello *мир* 世界"),
    ("han", "hello мир *世界* カ"),
    ("first-person", "*I* gave *my* hat to you, *I'm* sure"),
    ("possessive-s", "Jo*'s* hat; it's here, that's all"),
    ("past", "he *was* here and she *walked*; I *said* so; it *went* well"),
    ("past", "we *bought* it, they need a used bed, it has worked, I have never seen or used it"),
    ("past", "they are disappointed; the broken, very tired man *saw* a saw; he *read* it and I read"),
    ("present", "I *like* tea and she *drinks* it; did you go? They often *swim*; we went; can I go"),
    ("present", "to have what I *do* not have, and children *swim*"),
    ("ing", "*going* *swimming* in the evening, *living*, *building* the building, nothing during spring"),
    ("infinitive", "I want to *walk* to school, to not *go* to the shop"),
    ("participle", "it was *broken* and *repaired*; I have never *seen* what you used"),
    ("perfect", "she *has* never *gone* or went; he had it"),
    ("continuous", "they *are* still *walking*; he likes walking"),
    ("future", "I *will* go; my will; *it'll* do; she is *going* *to* leave; going to the shop"),
    ("third-person-verb", "he *works* hard and she never *works* at the works"),
    ("plural", "the *dogs* and three *houses* of a boss; he works; *children* this is"),
    ("comparative", "a *larger* river is *better* for a teacher under water, *easier*"),
    ("superlative", "the *largest* forest and the *best* test in the west, *funniest* guest"),
    ("adverb", "*really* *slowly* the family went early in july"),
    ("negation", "I *don't*, *not* ever, *never*; *cannot* note the knot"),
    ("imperative", "*Give* me that. While the dog sleeps. *Don't* go. He gives."),
    ("praise", "a *great* *wonderful* table"),
    ("blame", "a *terrible* *awful* table"),
]


@pytest.mark.parametrize(("name", "marked"), MARKED)
def test_class_finds_what_is_marked_and_no_more(name: str, marked: str) -> None:
    text, spans, place = "", [], None
    for char in marked:
        if char != "*":
            text += char
        elif place is None:
            place = len(text)
        else:
            spans.append((place, len(text)))
            place = None
    corpus = Corpus.of([text])
    found = {text[a:b] + f"@{a}" for a, b in corpus.spans_of(class_mask(corpus, name), 0)}
    wanted = {
        text[a:b] + f"@{a}"
        for a, b in zip(corpus.start.tolist(), corpus.end.tolist(), strict=True)
        if any(start <= a and b <= end for start, end in spans)
    }
    assert found == wanted


@pytest.mark.parametrize("name", CLASSES)
def test_no_class_sees_over_the_border_of_a_text_or_falls_on_empty_ones(name: str) -> None:
    texts = ["She has", "gone to", "", "walk at 5", "pm $", "20 'tis I'm going to", "leave well-", "known 😀"]
    apart = [class_mask(Corpus.of([text]), name) for text in texts]
    assert np.array_equal(class_mask(Corpus.of(texts), name), np.concatenate(apart))
    assert len(class_mask(Corpus.of([]), name)) == 0


def test_long_runs_without_spaces_take_no_longer_than_their_length() -> None:
    for run in (
        "a" * 100_000 + " @",
        "a." * 20_000 + ".com",
        "-a" * 20_000 + ".com @b",
        "x@" * 20_000,
        "aB" * 20_000,
        '("' * 20_000,
    ):
        corpus = Corpus.of([run])
        started = time.process_time()
        for name in ("link", "email", "handle", "emoji", "inner-capital", "in-brackets", "in-quotes"):
            class_mask(corpus, name)
        assert time.process_time() - started < 3


def test_every_class_is_said_in_the_plural_and_written_as_the_language_reads_it() -> None:
    assert all(name == name.lower() and name.replace("-", "").isalpha() for name in CLASSES)
    assert len(set(CLASSES.values())) == len(CLASSES)


@pytest.mark.parametrize(
    ("form", "base"),
    [
        *(("running", "run"), ("thinking", "think"), ("playing", "play"), ("cancelled", "cancel")),
        *(("hoping", "hope"), ("hopping", "hop"), ("singing", "sing"), ("added", "add"), ("served", "serve")),
        *(("gone", "go"), ("left", "left"), ("me", "me"), ("km", "km")),
        ("was", "be"),
        ("worse", "bad"),
        ("don't", "don't"),
        ("mice", "mouse"),
        ("zq7", "zq7"),
    ],
)
def test_lemma(form: str, base: str) -> None:
    assert lemma(form) == base


def test_feeling_is_neutral_where_nothing_is_said_or_the_text_is_not_english() -> None:
    texts = [
        "I love it!",
        "This is terrible.",
        "",
        "The box is 5 inches.",
        "Die Katze ist auf dem Tisch",
        "好的",
    ]
    assert feels(polarity(texts), "positive").tolist() == [True, False, False, False, False, False]
    assert feels(polarity(texts), "negative").tolist() == [False, True, False, False, False, False]
    assert len(feels(polarity([]), "positive")) == 0


def test_naming_the_classes_loads_no_lexicon() -> None:
    code = "import sys, saywell.claims.lexis; print({'simplemma', 'vaderSentiment'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"

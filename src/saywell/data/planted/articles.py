"""Articles about the planted classes, with a gold label for every sentence.

The files in `articles/` hold a sentence a line, `CLAIM | SENTENCE`, with empty lines between
paragraphs. A claim says what a picture must show for the sentence to be true of it: `shape=star`,
`colour=purple|pink` (either), `texture!=dotted`, several joined by ` & `, `always` where it is true
of every picture, or `-` where no picture can tell. Labels follow from the claims and the
definitions of the classes; nobody writes them down.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import polars as pl

from saywell.data.planted.scenes import ATTRIBUTES
from saywell.data.planted.world import CLASSES, rate

LABELS = ("visible-true", "visible-false", "invisible", "not-discriminative")

TRUE_FROM = 0.8  # share of a class's pictures
FALSE_TO = 0.3
SPECIFIC_TO = 1 / 3  # mean share of the other classes' pictures
COMMON_FROM = 0.5


@dataclass(frozen=True)
class Sentence:
    """A sentence of an article; `claim` is None where no picture can confirm or refute it."""

    text: str
    claim: dict[str, frozenset[str]] | None


def article(label: str) -> list[list[Sentence]]:
    """The paragraphs of the article about class `label`, each a list of sentences."""
    source = files("saywell.data.planted") / "articles" / f"{label}.txt"
    paragraphs = source.read_text(encoding="utf-8").strip().split("\n\n")
    return [[_sentence(line) for line in paragraph.splitlines()] for paragraph in paragraphs]


def article_text(label: str) -> str:
    """The article about class `label` as prose: paragraphs separated by an empty line."""
    return "\n\n".join(" ".join(s.text for s in paragraph) for paragraph in article(label))


def write_articles(folder: Path) -> None:
    """Write each article as `folder`/CLASS.txt, as a reader would find it: without claims."""
    folder.mkdir(parents=True, exist_ok=True)
    for label in CLASSES:
        (folder / f"{label}.txt").write_text(article_text(label) + "\n", encoding="utf-8")


def sentences() -> pl.DataFrame:
    """Every sentence of every article, with its gold label.

    Columns: label (the class), paragraph and position (from 0), text, gold (one of `LABELS`),
    attributes (those that the claim is about, sorted; empty where there are none), rate and
    rate_elsewhere (shares of the pictures of the class, and of the other classes on average, of
    which the claim is true; null where the gold label is 'invisible').
    """
    rows = []
    for label in CLASSES:
        for number, paragraph in enumerate(article(label)):
            for position, sentence in enumerate(paragraph):
                here, elsewhere = _rates(sentence, label)
                rows.append(
                    {
                        "label": label,
                        "paragraph": number,
                        "position": position,
                        "text": sentence.text,
                        "gold": gold_label(here, elsewhere),
                        "attributes": sorted(sentence.claim or {}),
                        "rate": here,
                        "rate_elsewhere": elsewhere,
                    }
                )
    return pl.DataFrame(rows, infer_schema_length=None)


def gold_label(here: float | None, elsewhere: float | None) -> str:
    """The label of a sentence that is true of these shares of the pictures; see `sentences`.

    'visible-true' is true of at least 0.8 of the class and at most a third of the others,
    'not-discriminative' of at least 0.8 and at least half, 'visible-false' of at most 0.3 of the
    class. No sentence may lie between.
    """
    if here is None or elsewhere is None:
        return "invisible"
    if here <= FALSE_TO:
        return "visible-false"
    assert here >= TRUE_FROM, f"neither true nor false of the class: {here:.2f}"
    if elsewhere <= SPECIFIC_TO:
        return "visible-true"
    assert elsewhere >= COMMON_FROM, f"neither specific nor common: {elsewhere:.2f}"
    return "not-discriminative"


def _rates(sentence: Sentence, label: str) -> tuple[float | None, float | None]:
    if sentence.claim is None:
        return None, None
    others = [rate(sentence.claim, d) for name, d in CLASSES.items() if name != label]
    return rate(sentence.claim, CLASSES[label]), sum(others) / len(others)


def _sentence(line: str) -> Sentence:
    claim, _, text = line.partition(" | ")
    return Sentence(text, parse_claim(claim))


def parse_claim(claim: str) -> dict[str, frozenset[str]] | None:
    """The values that each attribute of a written claim may have; None for '-', {} for 'always'."""
    if claim == "-":
        return None
    if claim == "always":
        return {}
    allowed: dict[str, frozenset[str]] = {}
    for part in claim.split(" & "):
        attribute, _, values = part.partition("=")
        name = attribute.removesuffix("!")
        named = frozenset(values.split("|"))
        assert name in ATTRIBUTES and named <= set(ATTRIBUTES[name]), f"not a claim: {part!r}"
        allowed[name] = frozenset(ATTRIBUTES[name]) - named if attribute.endswith("!") else named
    return allowed

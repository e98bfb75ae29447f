"""What the describer of claims offers, and what select examples let it say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from saywell.describers.claims import Claims, settle
from saywell.resources import Resources

FILLER = "table window garden letter bottle engine mirror pencil".split()
OF_SOUP = "broth bowl ladle noodles".split()
OTHER = "brick owl ladder needles".split()


class TopicEncoder:
    """Words of soup are one direction, every other word is one of its own."""

    name = "topics"

    def __call__(self, texts):
        vectors = np.full((len(texts), 2 + len(FILLER)), 0.01, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().replace(".", "").split():
                vectors[row, 0 if word in OF_SOUP else 1 + FILLER.index(word) if word in FILLER else -1] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def seen(make_examples, make_evidence):
    """A unit of a word with spans and a unit of a topic without, on describe and on other examples."""

    def part(seed):
        random = np.random.default_rng(seed)
        soup = random.random(240) < 0.25
        last = [str(random.choice(OF_SOUP if own else OTHER)) for own in soup]
        said = [[*random.permutation(FILLER)[:4], word, f"{seed}{n}"] for n, word in enumerate(last)]
        texts = [" ".join(words) for words in said]
        pencil = np.array(["pencil" in text for text in texts])
        evidence = make_evidence(make_examples(texts), [pencil, soup])
        at = {id: text.find("pencil") for id, text in zip(evidence.examples.ids, texts, strict=True)}
        start = pl.col("example").replace_strict(at, return_dtype=pl.Int64)
        spans = [
            pl.when(unit="u0").then(start + ahead).cast(pl.Int32).alias(name)
            for name, ahead in (("span_start", 0), ("span_end", 6))
        ]
        return replace(evidence, exemplars=evidence.exemplars.with_columns(spans))

    return part(1), part(2)


def test_topics_are_offered_to_units_without_spans_beside_units_with_them(seen):
    resources = Resources(encoder=TopicEncoder())
    offered = Claims().describe(seen[0], resources, None)
    assert offered[0].offers[0] == 'word("pencil")' and offered[1].offers[0].startswith("like(")
    said = settle(offered, seen[0], seen[1], resources)
    assert said[0].claim == 'word("pencil")' and said[1].claim.startswith(("like(", "about("))
    assert [own.offers for own in said] == [(), ()]
    bare = Claims(topics=False).describe(seen[0], resources, None)
    assert bare[1].offers and not any("like(" in offer for own in bare for offer in own.offers)

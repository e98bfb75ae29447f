from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from saywell.describers.descriptors.merging import (
    THRESHOLDS,
    descriptor_id,
    gold_descriptors,
    merge_candidates,
)
from saywell.describers.descriptors.tables import DESCRIPTORS


class Directions:
    """Encodes a text as the unit vector at an angle, so that meanings can be laid out by hand."""

    name = "directions"

    def __init__(self, degrees, dim=2):
        self.degrees = degrees

    def __call__(self, texts):
        angles = np.radians([self.degrees[text] for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def candidates(said):
    """Table `candidates` from sentence -> wordings."""
    rows = [(e, rank, text, 1.0) for e, texts in said.items() for rank, text in enumerate(texts)]
    schema = {"example": pl.String, "rank": pl.Int32, "text": pl.String, "score": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


ENCODER = Directions(
    {"battery life": 0, "battery": 3, "long battery life": 6, "rude waiter": 90, "soup": 170}
)


def test_wordings_merge_under_the_most_central_with_all_members():
    said = {f"a{n}": ["battery"] for n in range(4)} | {
        "b": ["battery life"],
        "c": ["long battery life"],
        "d": ["rude waiter"],
        "e": ["rude waiter"],
        "f": ["rude waiter"],
        "g": ["soup"],
    }
    merged = merge_candidates(candidates(said), ENCODER)
    table = DESCRIPTORS.check(merged.table)
    assert table["text"].to_list() == ["battery", "rude waiter"]
    assert table["members"].to_list() == [["battery", "battery life", "long battery life"], ["rude waiter"]]
    assert table["mentions"].to_list() == [6, 3]
    assert table["id"].to_list() == [descriptor_id("battery"), descriptor_id("rude waiter")]
    # Nothing is unstable here, so the threshold that merges most is used.
    assert merged.threshold == min(THRESHOLDS)
    assert set(merged.stability) == set(THRESHOLDS)
    assert all(0 <= share <= 1 for share in merged.stability.values())


def test_a_sentence_with_two_wordings_counts_once():
    said = (
        {"a": ["battery", "battery life"], "b": ["battery", "long battery life"]}
        | {f"c{n}": ["rude waiter"] for n in range(3)}
        | {f"d{n}": ["soup"] for n in range(3)}
    )
    table = merge_candidates(candidates(said), ENCODER, min_mentions=2).table
    assert dict(table.select("text", "mentions").iter_rows())["battery"] == 2
    assert set(merge_candidates(candidates(said), ENCODER, min_mentions=3).table["text"]) == {
        "rude waiter",
        "soup",
    }


def test_limit_keeps_the_most_mentioned_and_ties_go_by_the_alphabet():
    encoder = Directions({"zebra": 0, "apple": 60, "maple": 120, "birch": 180})
    said = {f"z{n}": ["zebra"] for n in range(5)} | {
        f"{t}{n}": [t] for t in ("maple", "apple", "birch") for n in range(3)
    }
    table = merge_candidates(candidates(said), encoder, limit=3).table
    assert table["text"].to_list() == ["zebra", "apple", "birch"]


def test_more_wordings_do_not_rank_higher_and_the_representative_is_named_first():
    encoder = Directions({"omega": 0, "beta": 2, "apple": 90})
    said = {"a": ["omega"], "b": ["omega"], "c": ["beta"]} | {f"d{n}": ["apple"] for n in range(3)}
    table = merge_candidates(candidates(said), encoder).table
    assert table["text"].to_list() == ["apple", "omega"]
    assert table["members"].to_list() == [["apple"], ["omega", "beta"]]


def test_the_order_of_candidates_does_not_matter():
    texts = [f"w{n:02d}" for n in range(36)]
    encoder = Directions({text: 4.0 * n for n, text in enumerate(texts)})
    said = candidates({f"{text}-{n}": [text] for text in texts for n in range(3)})
    first = merge_candidates(said, encoder)
    again = merge_candidates(said.sample(fraction=1.0, shuffle=True, seed=1), encoder)
    assert first.table.equals(again.table) and first[1:] == again[1:]


def test_an_unstable_threshold_is_passed_over():
    # A chain in which each wording is close to the next: which ones merge hangs on who is there.
    texts = [f"w{n:02d}" for n in range(36)]
    encoder = Directions({text: 4.0 * n for n, text in enumerate(texts)})
    said = candidates({f"{text}-{n}": [text] for text in texts for n in range(3)})
    merged = merge_candidates(said, encoder)
    stable = [t for t, share in merged.stability.items() if share >= 0.7]
    assert len(stable) < len(THRESHOLDS)
    expected = min(stable) if stable else max(THRESHOLDS, key=lambda t: merged.stability[t])
    assert merged.threshold == expected


@pytest.mark.parametrize("said", [{}, {"a": ["soup"], "b": ["soup"]}, {"a": ["soup"], "b": ["rude waiter"]}])
def test_what_too_few_mention_is_no_descriptor(said):
    assert merge_candidates(candidates(said), ENCODER).table.height == 0


def test_gold_descriptors_count_examples():
    table = DESCRIPTORS.check(gold_descriptors([["b", "a"], None, [], ["b", "b"], ["ü", "a"]]))
    assert table["text"].to_list() == ["a", "b", "ü"]
    assert table["mentions"].to_list() == [2, 2, 1]
    assert table["members"].to_list() == [["a"], ["b"], ["ü"]]
    assert gold_descriptors([]).height == 0


def test_an_id_depends_on_the_text_alone_and_is_a_safe_name():
    assert descriptor_id("../été <b>") == descriptor_id("../été <b>") != descriptor_id("été")
    assert descriptor_id("../été <b>").isalnum()

"""From candidates of many sentences to one list of descriptors: step B.3 of the method."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float

from saywell.describers.descriptors.communities import find_communities, representative
from saywell.describers.descriptors.tables import DESCRIPTORS
from saywell.encoders.sentence import SentenceEncoder

THRESHOLDS = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85)
STABLE = 0.7


class Merged(NamedTuple):
    """Table `descriptors`, and the threshold that was used with the stability of every one tried."""

    table: pl.DataFrame
    threshold: float
    stability: dict[float, float]
    """Empty where there were no two wordings to merge."""


def merge_candidates(
    candidates: pl.DataFrame,
    encoder: SentenceEncoder,
    *,
    min_mentions: int = 3,
    limit: int = 500,
    seed: int = 0,
) -> Merged:
    """Merge wordings that mean the same and keep the descriptors that enough sentences mention.

    The similarity threshold is the lowest, merging most, whose communities are stable under leaving
    out a fifth of the wordings. At most `limit` descriptors are kept, those with most mentions.
    """
    said = candidates.group_by("text").agg(pl.col("example").unique()).sort("text")
    texts, examples = said["text"].to_list(), [set(found) for found in said["example"]]
    mentions = np.array([len(found) for found in examples], dtype=float)
    if len(texts) < 2:
        return Merged(DESCRIPTORS.frame([]), max(THRESHOLDS), {})
    embeddings = encoder(texts)
    stability = {t: _stability(embeddings, t, seed) for t in THRESHOLDS}
    stable = [t for t in THRESHOLDS if stability[t] >= STABLE]
    threshold = min(stable) if stable else max(THRESHOLDS, key=lambda t: stability[t])
    rows = []
    for members in find_communities(embeddings, threshold=threshold, min_size=1):
        # A sentence that mentions two of the wordings is one sentence.
        total = len(set().union(*(examples[m] for m in members)))
        if total >= min_mentions:
            text = texts[representative(members, embeddings, mentions)]
            ranked = sorted((texts[m] for m in members), key=lambda t: (t != text, t))
            rows.append((descriptor_id(text), text, ranked, total))
    rows.sort(key=lambda row: (-row[3], row[1]))
    return Merged(DESCRIPTORS.frame(rows[:limit]), threshold, stability)


def gold_descriptors(tags: Sequence[Sequence[str] | None]) -> pl.DataFrame:
    """Table `descriptors` for tags that the user brought: each its own descriptor."""
    counts: dict[str, int] = {}
    for names in tags:
        for name in set(names or ()):
            counts[name] = counts.get(name, 0) + 1
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    return DESCRIPTORS.frame([(descriptor_id(n), n, [n], counts[n]) for n in ordered])


def descriptor_id(text: str) -> str:
    """A name for a descriptor that depends on its text alone."""
    return "d" + hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _stability(embeddings: Float[np.ndarray, "texts dim"], threshold: float, seed: int) -> float:
    """Do two overlapping four-fifths of the wordings merge the same pairs? (0 to 1)

    Of the pairs of shared wordings that either merges, the share that both merge; 1 where neither
    merges any.
    """
    left_out = np.random.default_rng(seed).permutation(len(embeddings))
    fifth = len(embeddings) // 5
    merged: list[set[tuple[int, int]]] = []
    shared = set(range(len(embeddings))) - set(left_out[: 2 * fifth].tolist())
    for number in range(2):
        kept = np.setdiff1d(np.arange(len(embeddings)), left_out[number * fifth : (number + 1) * fifth])
        merged.append(set())
        for members in find_communities(embeddings[kept], threshold=threshold, min_size=2):
            both = sorted(shared & set(kept[members].tolist()))
            merged[-1].update(combinations(both, 2))
    either = merged[0] | merged[1]
    return len(merged[0] & merged[1]) / len(either) if either else 1.0

"""What texts may be about: phrases of the texts themselves, compared with each text by the encoder."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from saywell.claims.ground import Ground
from saywell.claims.language import Claim, Condition, single
from saywell.claims.search import shrunk_f1

MOST, LOOKED_AT, GAIN = 3, 60, 0.01
"""Phrases of a topic, phrases that are tried for it, and shrunk F1 that a further one has to add."""


@dataclass(frozen=True)
class Topics:
    """Phrases and their cosine with each describe example (-1 to 1)."""

    phrases: list[str]
    cosines: Float[np.ndarray, "phrases examples"]

    @staticmethod
    def of(ground: Ground, phrases: list[str]) -> Topics:
        """Compare phrases with the examples of a ground; a text in which one stands is as near as can be."""
        return Topics(phrases, ground.nearness(phrases) if phrases else np.zeros((0, len(ground))))

    def nearest(self, number: int) -> Topics:
        """The phrases that are nearest to examples: to each the one farthest above its mean, then the next.

        In the order that they have.
        """
        above = self.cosines - self.cosines.mean(1, keepdims=True)
        above /= np.maximum(self.cosines.std(1, keepdims=True), 1e-6)
        ranks = np.full(len(self.phrases), len(self.phrases))
        for column in above.T:
            order = np.argsort(-column, kind="stable")[:number]
            ranks[order] = np.minimum(ranks[order], np.arange(len(order)))
        kept = np.sort(np.argsort(ranks, kind="stable")[:number])
        return Topics([self.phrases[n] for n in kept], self.cosines[kept])

    def claims(
        self, fires: Bool[np.ndarray, " examples"], known: Bool[np.ndarray, " examples"]
    ) -> list[Claim]:
        """Likeness to one phrase, to one of two, of three: the best of each by shrunk F1, added one by one.

        The nearest of its phrases decides, by one threshold.
        """
        fires = fires[known]
        if not len(self.phrases) or not fires.any() or fires.all():
            return []
        cosines = self.cosines[:, known]
        apart = cosines[:, fires].mean(1) - cosines[:, ~fires].mean(1)
        tried = np.argsort(-apart / np.maximum(cosines.std(1), 1e-6), kind="stable")[:LOOKED_AT]
        found: list[Claim] = []
        chosen: list[int] = []
        nearest, best = np.full(fires.shape, -1.0), 0.0
        while len(chosen) < MOST:
            scores, least = best_thresholds(np.maximum(cosines[tried], nearest), fires)
            first = int(scores.argmax())
            if scores[first] < best + GAIN * bool(chosen):
                break
            best, nearest = float(scores[first]), np.maximum(nearest, cosines[tried[first]])
            chosen.append(int(tried[first]))
            values = (*(self.phrases[n] for n in chosen), float(least[first]))
            found.append(single(Condition("like", values)))
        return found


def best_thresholds(
    values: Float[np.ndarray, "phrases examples"], fires: Bool[np.ndarray, " examples"]
) -> tuple[Float[np.ndarray, " phrases"], Float[np.ndarray, " phrases"]]:
    """For each phrase the highest shrunk F1 that a threshold gets, and that threshold, of three digits."""
    order = np.argsort(-values, axis=1, kind="stable")
    ranked = np.take_along_axis(values, order, 1)
    hits = fires[order].cumsum(1)
    said = np.broadcast_to(np.arange(1, values.shape[1] + 1), hits.shape)
    scores = shrunk_f1(hits, said, int(fires.sum()), len(fires))
    place = scores.argmax(1)
    rows = np.arange(len(values))
    # Rounded down, so that the example at the threshold is still within.
    return scores[rows, place], np.floor(ranked[rows, place] * 1000) / 1000


def as_written(texts: list[str]) -> dict[str, str]:
    """The usual spelling of each word inside sentences: names keep their capitals."""
    seen: dict[str, Counter[str]] = {}
    for text in texts:
        for word in text.split()[1:]:
            bare = word.strip(".,;:!?()[]\"'“”‘’")
            if bare:
                seen.setdefault(bare.lower(), Counter())[bare] += 1
    return {word: min(forms, key=lambda form: (-forms[form], form)) for word, forms in seen.items()}

"""What texts may be about: phrases of the texts themselves, compared with each text by the encoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from saywell.claims.choose import kappa
from saywell.claims.corpus import WORD, Corpus, token_spans
from saywell.claims.ground import Ground
from saywell.claims.language import Claim, Condition, single
from saywell.claims.lexis import class_mask, opens_noun
from saywell.claims.search import PRIOR, shrunk_f1

MOST, LOOKED_AT, GAIN, NEARLY = 5, 30, 0.01, 0.003
"""Phrases of a topic, phrases that are tried for it, shrunk F1 that a further one has to add, and by how much
shrunk F1 a phrase that is no name has to be better than one that is."""
LEANING, OF_LEANING, SHARPER = 3, 30, 1.03
"""Phrases of a leaning at most, names on either side that are tried for it, and how many times as far apart
a further one has to put what fires and what does not."""
NAMED = 0.3
"""Share of the places of a name that are those of a noun."""
MOST_SHARE, AS_FIRE = 0.5, 1.5
"""Share of all texts that may be about a topic; more where many fire: so many times as many as fire."""


@dataclass(frozen=True)
class Topics:
    """Phrases, how near each is to each describe example, and which are names (see `are_names`).

    `cosines` are those of the encoder (-1 to 1), `near` the same with 1 where a phrase stands in an example.
    `of_texts`: whether it may.
    """

    phrases: list[str]
    cosines: Float[np.ndarray, "phrases examples"]
    near: Float[np.ndarray, "phrases examples"]
    names: Bool[np.ndarray, " phrases"]
    of_texts: bool = True

    @staticmethod
    def of(ground: Ground, phrases: list[str]) -> Topics:
        """Compare phrases with the examples of a ground; a text in which one stands is as near as can be."""
        if not phrases:
            nothing = np.zeros((0, len(ground)))
            return Topics([], nothing, nothing, np.zeros(0, dtype=bool))
        of_texts = ground.examples.kind != "image"
        names = are_names(ground.corpus, phrases) if of_texts else np.ones(len(phrases), dtype=bool)
        cosines = ground.cosines(phrases)
        return Topics(phrases, cosines, ground.as_near(phrases, cosines), names, of_texts)

    def nearest(self, number: int) -> Topics:
        """The phrases that are nearest to examples: to each the one farthest above its mean, then the next.

        In the order that they have.
        """
        above = self.near - self.near.mean(1, keepdims=True)
        above /= np.maximum(self.near.std(1, keepdims=True), 1e-6)
        ranks = np.full(len(self.phrases), len(self.phrases))
        for column in above.T:
            order = np.argsort(-column, kind="stable")[:number]
            ranks[order] = np.minimum(ranks[order], np.arange(len(order)))
        kept = np.sort(np.argsort(ranks, kind="stable")[:number])
        phrases = [self.phrases[n] for n in kept]
        return Topics(phrases, self.cosines[kept], self.near[kept], self.names[kept], self.of_texts)

    def claims(
        self, fires: Bool[np.ndarray, " examples"], known: Bool[np.ndarray, " examples"]
    ) -> list[Claim]:
        """What examples that fire are like, and what they lean towards: see `_alike` and `_leanings`.

        Each with the threshold of the highest F1, and, for where many fire and saying yes to all has a high
        one, with that of the highest kappa.
        """
        fires = fires[known]
        if not len(self.phrases) or not fires.any() or fires.all():
            return []
        found = [*self._alike(self.near[:, known], fires), *self._leanings(self.cosines[:, known], fires)]
        return list(dict.fromkeys(found))

    def _alike(
        self, cosines: Float[np.ndarray, "phrases known"], fires: Bool[np.ndarray, " known"]
    ) -> list[Claim]:
        """Likeness to one phrase, to one of two, up to `MOST`: the best by shrunk F1, added one by one.

        The nearest of its phrases decides.
        """
        apart = cosines[:, fires].mean(1) - cosines[:, ~fires].mean(1)
        tried = np.argsort(-apart / np.maximum(cosines.std(1), 1e-6), kind="stable")[:LOOKED_AT]
        found: list[Claim] = []
        chosen: list[int] = []
        nearest, best = np.full(fires.shape, -1.0), 0.0
        while len(chosen) < MOST:
            scores, least = best_thresholds(np.maximum(cosines[tried], nearest), fires, shrunk_f1)
            if scores.max() < best + GAIN * bool(chosen):
                break
            able = scores >= max(scores.max() - NEARLY, best + GAIN * bool(chosen))
            first = int(np.lexsort((-scores, ~self.names[tried], ~able))[0])
            best, nearest = float(scores[first]), np.maximum(nearest, cosines[tried[first]])
            chosen.append(int(tried[first]))
            clear = best_thresholds(nearest[None], fires, shrunk_kappa)[1]
            phrases = tuple(self.phrases[n] for n in chosen)
            found += [self._said(phrases, float(border)) for border in (least[first], clear[0])]
        return found

    def _leanings(
        self, cosines: Float[np.ndarray, "phrases known"], fires: Bool[np.ndarray, " known"]
    ) -> list[Claim]:
        """Nearer to one name, to a second, or than to another, up to `LEANING` names.

        Added one by one, each time the one that puts what fires and what does not farthest apart, in standard
        deviations within them: the criterion of Fisher (1936), with weights that a sentence can say.
        """
        names = np.flatnonzero(self.names)
        apart = cosines[names][:, fires].mean(1) - cosines[names][:, ~fires].mean(1)
        order = names[np.argsort(-apart / np.maximum(cosines[names].std(1), 1e-6), kind="stable")]
        likely = order[:OF_LEANING]
        tried = np.unique([*likely, *order[-OF_LEANING:]]).astype(int)
        some = cosines[tried].astype(np.float64)
        means = [some[:, at].mean(1, keepdims=True) for at in (fires, ~fires)]
        within = some - np.where(fires, *means)
        apart, spread = (means[0] - means[1])[:, 0], within @ within.T / len(fires)
        found: list[Claim] = []
        towards: list[int] = []
        against: list[int] = []
        best = 0.0
        while len(towards) + len(against) < LEANING:
            new = [n for n in range(len(tried)) if n not in towards and n not in against]
            ways = [([*towards, n], against) for n in new if tried[n] in likely]
            ways += [(towards, [*against, n]) for n in new] if towards else []
            if not ways:
                break
            weights = np.array([_weights(way, len(tried)) for way in ways])
            sharp = weights @ apart / np.sqrt(((weights @ spread) * weights).sum(1) + 1e-9)
            sharpest = int(sharp.argmax())
            if sharp[sharpest] < best * SHARPER or sharp[sharpest] <= 0:
                break
            best, (towards, against) = float(sharp[sharpest]), ways[sharpest]
            if len(towards) + len(against) < 2:
                continue  # likeness to one phrase says as much
            values = weights[sharpest] @ some
            said = [self.phrases[tried[n]] for n in (*towards, *against)]
            found += [
                single(Condition("toward", (float(len(towards)), *said, float(least[0]))))
                for score, least in (
                    best_thresholds(values[None], fires, by) for by in (shrunk_f1, shrunk_kappa)
                )
                if score[0] > -np.inf
            ]
        return found

    def _said(self, phrases: tuple[str, ...], least: float) -> Claim:
        """Near to a phrase; or, where none but the texts that say it are, those that mention it."""
        mention = self.of_texts and least >= 1
        return single(Condition("about", phrases) if mention else Condition("like", (*phrases, least)))


def _weights(way: tuple[list[int], list[int]], count: int) -> Float[np.ndarray, " count"]:
    """The mean of some less the mean of others."""
    weights = np.zeros(count)
    for some, sign in zip(way, (1, -1), strict=True):
        weights[some] = sign / max(1, len(some))
    return weights


Measure = Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]


def best_thresholds(
    values: Float[np.ndarray, "phrases examples"], fires: Bool[np.ndarray, " examples"], measure: Measure
) -> tuple[Float[np.ndarray, " phrases"], Float[np.ndarray, " phrases"]]:
    """For each phrase the highest figure that a threshold gets, and that threshold, of three digits.

    All that are at a threshold are within it. A threshold that more texts reach than may be about a topic is
    none, and where there is no other the figure is -inf.
    """
    order = np.argsort(-values, axis=1, kind="stable")
    ranked = np.take_along_axis(values, order, 1)
    hits = fires[order].cumsum(1)
    said = np.broadcast_to(np.arange(1, values.shape[1] + 1), hits.shape)
    # Of equal values none is within without the others: texts that say a phrase are all as near as can be.
    last = np.diff(ranked, axis=1, append=-np.inf) < 0
    scores = np.where(last, measure(hits, said, int(fires.sum()), len(fires)), -np.inf)
    most = max(int(AS_FIRE * fires.sum()), int(MOST_SHARE * len(fires)), 1)
    place = scores[:, :most].argmax(1)
    rows = np.arange(len(values))
    # Rounded down, so that the example at the threshold is still within.
    return scores[rows, place], np.floor(ranked[rows, place] * 1000) / 1000


def shrunk_kappa(
    hits: Int[np.ndarray, "*some"], said: Int[np.ndarray, "*some"], fired: int, examples: int
) -> Float[np.ndarray, "*some"]:
    """Kappa as if a formula held of `PRIOR` examples more, of which none fires."""
    return kappa(hits, said + PRIOR, fired, examples)


def are_names(corpus: Corpus, phrases: Sequence[str]) -> Bool[np.ndarray, " phrases"]:
    """Which phrases mostly stand where a noun does: "cancellation" more than "cancel", "clean" or "cleaned".

    There an article, a possessive, a number or a preposition is before it, or it has a capital inside a
    sentence, and no word of content is behind it.
    """
    opened = corpus.shifted(opens_noun(corpus), 1) | (corpus.capital & ~corpus.opens_sentence)
    open_ended = corpus.shifted((corpus.kind == WORD) & ~class_mask(corpus, "function"), -1)
    places = np.argsort(corpus.form, kind="stable")
    starts = np.searchsorted(corpus.form[places], np.arange(len(corpus.forms) + 1))
    found = np.zeros(len(phrases), dtype=bool)
    for number, phrase in enumerate(phrases):
        forms = [corpus.number.get(phrase[start:end].lower(), -1) for start, end in token_spans(phrase)]
        if not forms or -1 in forms:
            continue
        at = places[starts[forms[0]] : starts[forms[0] + 1]]
        at = at[at + len(forms) <= len(corpus)]
        last = at + len(forms) - 1
        at = at[
            (corpus.text[at] == corpus.text[last])
            & np.logical_and.reduce([corpus.form[at + ahead] == form for ahead, form in enumerate(forms)])
        ]
        as_name = opened[at] & ~open_ended[at + len(forms) - 1]
        found[number] = len(at) > 0 and as_name.mean() >= NAMED
    return found


def as_written(texts: list[str]) -> dict[str, str]:
    """The usual spelling of each word inside sentences: names keep their capitals."""
    seen: dict[str, Counter[str]] = {}
    for text in texts:
        for word in text.split()[1:]:
            bare = word.strip(".,;:!?()[]\"'“”‘’")
            if bare:
                seen.setdefault(bare.lower(), Counter())[bare] += 1
    return {word: min(forms, key=lambda form: (-forms[form], form)) for word, forms in seen.items()}

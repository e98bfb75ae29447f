"""Absorption: a latent that should fire and does not, because a more special one does in its place.

The test of Chanin et al. (2024, "A is for Absorption", arXiv:2409.14507) on first letters of words, as
SAEBench 0.6 judges it, by projections: a latent fires at words that start with "s", except at "short", which
has a latent of its own that points the same way. At a word w that starts with letter L, the vector x as the
dictionary has it (activations times decoder) and p the direction of a linear probe for L, w is absorbed if

* none of the main latents of L fires: those by which L is told best, as many as add LEAST_GAIN of F1 each,
* x . p > 0, and of all latents i that fire, the one with the largest a_i d_i . p has
  cos(d_i, p) >= LEAST_COSINE and a_i d_i . p >= LEAST_SHARE x . p.

The rate is of words whose letter the probe tells. Unlike theirs words stand in running text, and x is what
the dictionary keeps of them, so that no model is needed.

A rate means nothing where no latent stands for a letter. So probe and main latents are made on one half of
the words, all else is asked of the other half, and a letter is tested only where both do better there than
with letters exchanged between words.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int

LEAST_PROBE, LEAST_MAIN = 0.6, 0.3
"""F1 of a probe that tells a letter, and of latents that stand for one, at least."""
LEAST_GAIN, LEAST_COSINE, LEAST_SHARE = 0.03, 0.025, 0.4
MOST_MAIN = 10
"""Main latents of a letter at most."""
FEWEST_WORDS = 5
"""Of a letter, in either half."""
SHUFFLES = 20
_RIDGE = 1e-2


class Words(NamedTuple):
    """Tokens that start a word: what fires at each, and which word it is."""

    activations: sp.csr_matrix
    """Tokens x latents."""
    words: Int[np.ndarray, " tokens"]
    """Number of the word that a token starts."""
    letters: Int[np.ndarray, " words"]
    """Of each word its first letter, 0 to 25."""


class Letter(NamedTuple):
    """What became of one letter, on words that neither the probe nor the choice of latents has seen."""

    letter: int
    main: Int[np.ndarray, " latents"]
    """The latents that stand for it, best first."""
    f1: float
    """Of "one of them fires" as a sign of the letter; each word counts alike."""
    f1_chance: float
    """The most there was with letters exchanged between words."""
    probe_f1: float
    probe_chance: float
    told: int
    """Tokens whose letter the probe tells."""
    missed: int
    """Of these those where no main latent fires."""
    absorbed: int
    """Of these those that another latent has absorbed."""
    by_chance: int
    """Of `missed` those of which the definition holds with the probe of another letter."""
    words: int
    """Different words among `told`."""

    @property
    def tested(self) -> bool:
        """Whether there is a probe that tells the letter, and a latent of it."""
        latents = self.f1 > max(self.f1_chance, LEAST_MAIN)
        return latents and self.probe_f1 > max(self.probe_chance, LEAST_PROBE) and self.told > 0


class Absorber(NamedTuple):
    """A latent in whose place a main latent does not fire, for one word."""

    letter: int
    latent: int
    word: int
    tokens: int
    """How often."""
    cosine: float
    """Of its direction and the probe's."""
    share: float
    """Mean of a_i d_i . p / x . p."""
    special: float
    """Of all tokens at which it fires, words alone, the share that are this word."""


def absorption(
    learn: Words,
    check: Words,
    decoder: Float[np.ndarray, "latents width"],
    *,
    seed: int,
    shuffles: int = SHUFFLES,
) -> tuple[list[Letter], list[Absorber]]:
    """Of every letter of which both have FEWEST_WORDS: how often its latents are absorbed, and by which.

    `learn` and `check` are of the same list of words (`letters`), and should have none in common.
    """
    decoder, random = decoder.astype(np.float64), np.random.default_rng(seed)
    probe, firing = _Probe(learn, check, decoder), _Firing(learn, check)
    known = np.flatnonzero(np.min([_words_of(words) for words in (learn, check)], axis=0) >= FEWEST_WORDS)
    if not len(known):
        return [], []
    chance = [
        (probe.f1(shuffled, known), firing.f1(shuffled, known)[1])
        for shuffled in (random.permutation(learn.letters) for _ in range(shuffles))
    ]
    probe_chance, chance_f1 = (
        np.max([np.zeros(len(known)), *of], axis=0) for of in zip(*chance, strict=True)
    )
    probe_f1, (mains, f1) = probe.f1(learn.letters, known), firing.f1(learn.letters, known)
    directions, told = probe.fitted(learn.letters, known)
    letters, absorbers = [], []
    for number, letter in enumerate(known):
        mine = np.flatnonzero((told == letter) & (check.letters[check.words] == letter))
        missed = mine[check.activations[mine][:, mains[number]].getnnz(1) == 0]
        found = _absorbed(check, decoder, directions[number], missed)
        other = _absorbed(check, decoder, directions[(number + 1) % len(known)], missed)
        letters.append(
            Letter(
                int(letter),
                mains[number],
                float(f1[number]),
                float(chance_f1[number]),
                float(probe_f1[number]),
                float(probe_chance[number]),
                len(mine),
                len(missed),
                len(found.tokens),
                len(other.tokens),
                len(np.unique(check.words[mine])),
            )
        )
        if letters[-1].tested:
            absorbers += _absorbers(check, int(letter), found)
    return letters, absorbers


class _Found(NamedTuple):
    """Tokens that are absorbed, by which latent, its cosine with the probe and its share of x . p."""

    tokens: np.ndarray
    latents: np.ndarray
    cosine: np.ndarray
    share: np.ndarray


def _absorbed(check: Words, decoder: np.ndarray, direction: np.ndarray, missed: np.ndarray) -> _Found:
    """Those of the missed tokens that the definition calls absorbed."""
    along = decoder @ direction / np.linalg.norm(direction)
    length = np.linalg.norm(decoder, axis=1)
    cosine = np.divide(along, length, out=np.zeros(len(along)), where=length > 0)
    adds = sp.csr_matrix(check.activations[missed].multiply(along[None]))
    whole = np.asarray(adds.sum(1)).ravel()
    best, largest = np.full(len(missed), -1), np.zeros(len(missed))
    for row in range(len(missed)):
        own = slice(adds.indptr[row], adds.indptr[row + 1])
        if own.stop > own.start:
            place = own.start + int(np.argmax(adds.data[own]))
            best[row], largest[row] = adds.indices[place], adds.data[place]
    held = (best >= 0) & (whole > 0) & (cosine[best] >= LEAST_COSINE) & (largest >= LEAST_SHARE * whole)
    return _Found(missed[held], best[held], cosine[best[held]], largest[held] / whole[held])


def _absorbers(check: Words, letter: int, found: _Found) -> list[Absorber]:
    """By latent and word, the most frequent first."""
    words, rows = check.words[found.tokens], []
    for latent, word in np.unique(np.stack([found.latents, words]), axis=1).T:
        own = (found.latents == latent) & (words == word)
        fires = np.flatnonzero(check.activations[:, [latent]].toarray().ravel() > 0)
        special = float((check.words[fires] == word).mean())
        row = (float(found.cosine[own][0]), float(found.share[own].mean()), special)
        rows.append(Absorber(letter, int(latent), int(word), int(own.sum()), *row))
    return sorted(rows, key=lambda row: (-row.tokens, row.latent, row.word))


class _Firing:
    """Which latents fire at the words of a letter; every word counts alike, however often it stands there."""

    def __init__(self, learn: Words, check: Words) -> None:
        self.learn, self.check = learn, check
        self.weights = [_by_word(words) for words in (learn, check)]
        self.fires = [sp.csc_matrix(words.activations > 0, dtype=np.float64) for words in (learn, check)]
        self.each = [fires.T @ weight for fires, weight in zip(self.fires, self.weights, strict=True)]

    def f1(self, letters: np.ndarray, known: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """By letter the main latents, chosen on one half, and their F1 on the other."""
        chosen, found = [], []
        for letter in known:
            main = self._choose(letters[self.learn.words] == letter)
            fires = np.asarray(self.fires[1][:, main].sum(1)).ravel() > 0
            chosen.append(main)
            found.append(_f1(letters[self.check.words] == letter, fires, self.weights[1]))
        return chosen, np.array(found)

    def _choose(self, truth: np.ndarray) -> np.ndarray:
        """Latents one of which fires at the letter's words, and seldom at others.

        The one that adds most F1 first, as long as it adds LEAST_GAIN.
        """
        weight, fires, alarms = self.weights[0], self.fires[0], self.each[0]
        left = weight * truth
        chosen: list[int] = []
        best, hits, alarm = 0.0, 0.0, 0.0
        other = alarms - fires.T @ left
        positive, free = left.sum(), weight * ~truth
        while len(chosen) < MOST_MAIN:
            new_hits, new_alarms = hits + fires.T @ left, alarm + other
            f1 = 2 * new_hits / np.maximum(new_hits + new_alarms + positive, 1e-12)
            latent = int(np.argmax(f1))
            if f1[latent] < best + LEAST_GAIN:
                break
            chosen.append(latent)
            best, hits, alarm = f1[latent], new_hits[latent], new_alarms[latent]
            silent = 1 - fires[:, [latent]].toarray().ravel()
            left, free = left * silent, free * silent
            other = fires.T @ free
        return np.array(chosen, dtype=np.int64)


class _Probe:
    """Least squares with a little ridge for all letters at once, from the vectors as the dictionary has them.

    Every word counts alike. A token's letter is the one whose probe says most.
    """

    def __init__(self, learn: Words, check: Words, decoder: np.ndarray) -> None:
        self.learn, self.check, weight = learn, check, _by_word(learn)
        self.weight = weight / weight.sum()
        x, self.unseen = (np.asarray(words.activations @ decoder) for words in (learn, check))
        self.mean = self.weight @ x
        self.x = x - self.mean
        gram = (self.x * self.weight[:, None]).T @ self.x
        ridge = _RIDGE * max(np.trace(gram) / len(gram), 1e-30)
        self.solve = np.linalg.inv(gram + ridge * np.eye(len(gram)))

    def fitted(self, letters: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Directions, one a letter, and the letter that the probe tells of each token of `check`."""
        truth = (letters[self.learn.words][:, None] == known).astype(np.float64)
        share = self.weight @ truth
        directions = self.solve @ ((self.x * self.weight[:, None]).T @ (truth - share))
        said = (self.unseen - self.mean) @ directions + share
        return directions.T, known[said.argmax(1)]

    def f1(self, letters: np.ndarray, known: np.ndarray) -> np.ndarray:
        """By letter, on `check`."""
        _, told = self.fitted(letters, known)
        truth, weight = letters[self.check.words], _by_word(self.check)
        return np.array([_f1(truth == letter, told == letter, weight) for letter in known])


def _words_of(words: Words) -> Int[np.ndarray, " letters"]:
    """How many different words there are of each letter."""
    return np.bincount(words.letters[np.unique(words.words)], minlength=26)


def _by_word(words: Words) -> Float[np.ndarray, " tokens"]:
    """1 for all tokens of a word together."""
    return 1 / np.bincount(words.words)[words.words]


def _f1(
    truth: Bool[np.ndarray, " tokens"],
    said: Bool[np.ndarray, " tokens"],
    weight: Float[np.ndarray, " tokens"],
) -> float:
    below = weight[truth].sum() + weight[said].sum()
    return float(2 * weight[truth & said].sum() / below) if below else 0.0

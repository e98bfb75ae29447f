"""The first-letter test, on words whose latents are planted, and against a plain loop."""

import numpy as np
import pytest
import scipy.sparse as sp

from saywell.units.absorption import LEAST_COSINE, LEAST_SHARE, Words, absorption

LETTERS, OF_EACH, TIMES, WIDTH = 4, 24, 3, 40
SHORT = 12
"""A word of letter 0 that is asked of (the later half) and has a latent of its own."""


def planted(*, absorbs=True, letter_latents=True, seed=0):
    """Words of four letters. Latent 0 to 3 stands for a letter; 4 for "short"; the others are words and noise."""
    random = np.random.default_rng(seed)
    letters = np.repeat(np.arange(LETTERS), OF_EACH)
    words = np.arange(len(letters))
    basis = np.linalg.qr(random.standard_normal((WIDTH, WIDTH)))[0]
    decoder = np.zeros((30, WIDTH))
    decoder[:4], decoder[5:] = basis[:4], random.standard_normal((25, WIDTH)) / WIDTH**0.5
    decoder[4] = 0.8 * basis[0] + 0.6 * basis[10]
    later = words % OF_EACH >= OF_EACH // 2
    halves = []
    for half in (words[~later], words[later]):
        at = np.repeat(half, TIMES)
        activations = (random.random((len(at), 30)) < 0.1) * random.random((len(at), 30)) * 0.5
        activations[:, :5] = 0
        activations[np.arange(len(at)), letters[at]] = 2
        if not letter_latents:  # each letter is there, in latents that stand for its words by turns
            activations[:] = 0
            decoder[5:17] = basis[np.repeat(np.arange(4), 3)]
            activations[np.arange(len(at)), 5 + 3 * letters[at] + random.integers(3, size=len(at))] = 2
        if absorbs:
            short = at == SHORT
            activations[short, 0], activations[short, 4] = 0, 2
        halves.append(Words(sp.csr_matrix(activations), at, letters))
    return *halves, decoder


def test_the_word_with_a_latent_of_its_own_is_absorbed():
    letters, absorbers = absorption(*planted(), seed=0)
    assert [letter.main.tolist() for letter in letters] == [[0], [1], [2], [3]]
    assert [letter.tested for letter in letters] == [True] * 4
    assert [(letter.missed, letter.absorbed) for letter in letters] == [(TIMES, TIMES)] + [(0, 0)] * 3
    assert [letter.told for letter in letters] == [OF_EACH // 2 * TIMES] * 4
    (one,) = absorbers
    assert (one.letter, one.latent, one.word, one.tokens, one.special) == (0, 4, SHORT, TIMES, 1.0)
    assert 0.4 < one.cosine < 0.8  # the probe also looks at what other letters have


def test_without_it_nothing_is_absorbed():
    letters, absorbers = absorption(*planted(absorbs=False), seed=0)
    assert not absorbers
    assert not any(letter.missed for letter in letters)


def test_letters_without_a_latent_are_not_tested():
    learn, check, decoder = planted()
    exchanged = np.random.default_rng(5).permutation(learn.letters)
    letters, absorbers = absorption(
        learn._replace(letters=exchanged), check._replace(letters=exchanged), decoder, seed=0
    )
    assert not any(letter.tested for letter in letters)
    assert not absorbers


def test_a_letter_that_no_probe_tells_or_no_latent_stands_for_is_not_tested():
    """Above chance is not enough: what is missed of it then is no absorption."""
    (letter, *_), _ = absorption(*planted(), seed=0)
    assert letter.tested
    assert not letter._replace(probe_f1=0.25, probe_chance=0.1).tested
    assert not letter._replace(f1=0.12, f1_chance=0.1).tested


def test_a_letter_of_several_latents_has_them_all():
    learn, check, decoder = planted(absorbs=False, letter_latents=False)
    letters, _ = absorption(learn, check, decoder, seed=0)
    assert [sorted(letter.main.tolist()) for letter in letters] == [
        list(range(5 + 3 * n, 8 + 3 * n)) for n in range(4)
    ]


def test_what_is_absorbed_is_what_a_loop_finds():
    """With the probe, by the definition, token by token."""
    from saywell.units.absorption import _absorbed

    random = np.random.default_rng(3)
    decoder, direction = random.standard_normal((12, 6)), random.standard_normal(6)
    decoder[5] = 0
    activations = (random.random((80, 12)) < 0.2) * random.standard_normal((80, 12))
    words = Words(sp.csr_matrix(activations), np.zeros(80, dtype=int), np.zeros(1, dtype=int))
    probe, found = direction / np.linalg.norm(direction), []
    for token in range(80):
        x = activations[token] @ decoder
        parts = {i: activations[token, i] * decoder[i] @ probe for i in np.flatnonzero(activations[token])}
        if not parts or x @ probe <= 0:
            continue
        best = max(parts, key=parts.get)
        size = np.linalg.norm(decoder[best])
        cosine = decoder[best] @ probe / size if size else 0
        if cosine >= LEAST_COSINE and parts[best] >= LEAST_SHARE * (x @ probe):
            found.append((token, best, cosine, parts[best] / (x @ probe)))
    got = _absorbed(words, decoder, direction, np.arange(80))
    assert got.tokens.tolist() == [token for token, *_ in found]
    assert got.latents.tolist() == [latent for _, latent, *_ in found]
    assert got.cosine == pytest.approx([cosine for *_, cosine, _ in found])
    assert got.share == pytest.approx([share for *_, share in found])
    assert 0 < len(found) < 80

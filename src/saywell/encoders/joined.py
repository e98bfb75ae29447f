"""A vision encoder and a sentence encoder joined by a fitted linear map: a dual encoder for everyone.

The map is fitted on images with captions or names, from image features to the vectors of their
texts; images are mapped into the space of the sentence encoder. Both sides are centred by the means
of the fitting data, so the constant part that all images and all texts share (the modality gap)
is in no cosine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from saywell.data.captioned import seen_at
from saywell.data.splits import hash_numbers
from saywell.encoders.dual import check_lengths
from saywell.encoders.fingerprints import combined
from saywell.encoders.sentence import SentenceEncoder, encoder_fingerprint
from saywell.encoders.vectors import unit_length
from saywell.encoders.vision import VisionEncoder
from saywell.errors import InputError
from saywell.store.files import write_arrays

if TYPE_CHECKING:
    from PIL import Image

METHODS = ("ridge", "orthogonal")
PENALTIES = tuple(10.0**e for e in np.arange(-3, 2.01, 0.5))
RANKS = (16, 32, 64, 96, 128, 192, 256, 384)
FOLDS = 5
_FEWEST = 20  # images to fit on


@dataclass(frozen=True)
class LinearMap:
    """Image features to the text space: `(x - image_mean) / image_scale @ weights`.

    `strength` is the ridge penalty (as a share of the mean eigenvalue) or the rank that was chosen,
    `scores` the cross-validated mean reciprocal rank (0 to 1, higher is better) of every one tried.
    """

    weights: Float[np.ndarray, "features dim"]
    image_mean: Float[np.ndarray, " features"]
    image_scale: Float[np.ndarray, " features"]
    text_mean: Float[np.ndarray, " dim"]
    method: str
    strength: float
    scores: dict[float, float]

    def map_images(self, features: Float[np.ndarray, "images features"]) -> np.ndarray:
        """Unit vectors of images in the joint space."""
        mapped = (features - self.image_mean) / self.image_scale @ self.weights
        return unit_length(mapped, float).astype(np.float32)

    def map_texts(self, vectors: Float[np.ndarray, "texts dim"]) -> np.ndarray:
        """Unit vectors of texts in the joint space."""
        return unit_length(vectors - self.text_mean, float).astype(np.float32)


def fit_map(
    features: Float[np.ndarray, "images features"],
    vectors: Float[np.ndarray, "images dim"],
    captions: Sequence[str],
    *,
    method: str = "ridge",
    strengths: Sequence[float] | None = None,
    seed: int = 0,
) -> LinearMap:
    """The linear map from image features to the unit vectors of their captions.

    `ridge` minimises the squared distance with a penalty on the weights; `orthogonal` is the
    orthogonal Procrustes solution (Schönemann, 1966) between the first principal components of the
    standardised features and the text vectors. Penalty or number of components are those that rank a
    held-out image's own caption highest among all held-out captions, in 5 folds; images with the same
    caption are in the same fold.

    Raises InputError for fewer than 20 images or 10 different captions, values that are not finite,
    and unknown methods.
    """
    if method not in METHODS:
        raise InputError(f"method={method!r} is not one of {', '.join(METHODS)}")
    x, y = np.asarray(features, dtype=np.float64), np.asarray(vectors, dtype=np.float64)
    different = sorted(set(captions))
    if not len(x) == len(y) == len(captions):
        raise InputError(f"{len(x)} images, {len(y)} text vectors and {len(captions)} captions")
    _check_enough(len(x), captions)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("the vectors to be joined hold values that are not finite")
    if strengths is None:
        strengths = PENALTIES if method == "ridge" else _ranks(len(x), x.shape[1])
    order = np.argsort(hash_numbers(different, seed, "map folds"), kind="stable")
    fold_of = {different[int(c)]: place % FOLDS for place, c in enumerate(order)}
    folds = np.array([fold_of[c] for c in captions])

    scores = np.zeros((FOLDS, len(strengths)))
    for fold in range(FOLDS):
        held = folds == fold
        solved = _Solver(x[~held], y[~held], method)
        own = [caption for caption, out in zip(captions, held, strict=True) if out]
        for column, strength in enumerate(strengths):
            fitted = solved.map(strength, {})
            scores[fold, column] = _reciprocal_rank(
                fitted.map_images(x[held]), fitted.map_texts(y[held]), own
            )
    means = scores.mean(0)
    best = strengths[int(means.argmax())]
    table = {float(s): float(m) for s, m in zip(strengths, means, strict=True)}
    return _Solver(x, y, method).map(best, table)


def join_encoders(
    vision: VisionEncoder,
    sentence: SentenceEncoder,
    images: Sequence[Image.Image],
    captions: Sequence[str],
    *,
    side: int | None = None,
    method: str = "ridge",
    seed: int = 0,
) -> JoinedEncoder:
    """The two encoders joined on pictures and what they show: captions, or names of things.

    With `side`, the shorter side in pixels of the pictures that the encoder is meant for, larger
    pictures are learned from twice, as they are and shrunk to that (see `seen_at`).

    Raises InputError as `fit_map` and `seen_at` do; copies do not count as images.
    """
    if len(images) != len(captions):
        raise InputError(f"{len(images)} images and {len(captions)} captions")
    _check_enough(len(images), captions)
    shown, of = (images, np.arange(len(images))) if side is None else seen_at(images, side)
    features, vectors = vision(shown), sentence(captions)[of]
    said = [captions[k] for k in of.tolist()]
    return JoinedEncoder(vision, sentence, fit_map(features, vectors, said, method=method, seed=seed))


class JoinedEncoder:
    """A dual encoder (see the protocol) made of two encoders and a map between them."""

    def __init__(self, vision: VisionEncoder, sentence: SentenceEncoder, mapping: LinearMap) -> None:
        self.vision, self.sentence, self.mapping = vision, sentence, mapping
        self.name = f"{vision.name} + {sentence.name} ({mapping.method})"
        self.dim = mapping.weights.shape[1]
        self.max_tokens, self._count = _reading_limit(sentence)
        arrays = (mapping.weights, mapping.image_mean, mapping.image_scale, mapping.text_mean)
        self.fingerprint = combined(
            vision.fingerprint, encoder_fingerprint(sentence), *(a.astype("<f4").tobytes() for a in arrays)
        )

    def encode_images(self, images: Sequence[Image.Image]) -> Float[np.ndarray, "images dim"]:
        """Unit float32 vectors of RGB pictures."""
        if not images:
            return np.zeros((0, self.dim), dtype=np.float32)
        return self.mapping.map_images(self.vision(images))

    def encode_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "texts dim"]:
        """Unit float32 vectors. Raises InputError for a text longer than `max_tokens`."""
        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        check_lengths(self, texts)
        return self.mapping.map_texts(self.sentence(texts))

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Tokens of each text (int64), with those that mark its beginning and end."""
        return np.array([self._count(text) for text in texts], dtype=np.int64)


def save_map(mapping: LinearMap, path: Path) -> None:
    """Write a map as one safetensors file; method, strength and scores are one-number tensors."""
    import torch

    strengths = sorted(mapping.scores)
    arrays = {
        "weights": mapping.weights,
        "image_mean": mapping.image_mean,
        "image_scale": mapping.image_scale,
        "text_mean": mapping.text_mean,
        "method": np.array([METHODS.index(mapping.method)]),
        "strength": np.array([mapping.strength]),
        "strengths": np.array(strengths),
        "scores": np.array([mapping.scores[s] for s in strengths]),
    }
    write_arrays(path, {name: torch.from_numpy(np.array(a)) for name, a in arrays.items()})


def load_map(path: Path) -> LinearMap:
    """A map that `save_map` wrote. Raises InputError where the file is none."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        a = load_file(path)
        scores = dict(zip(a["strengths"].tolist(), a["scores"].tolist(), strict=True))
        method = METHODS[int(a["method"][0])]
        return LinearMap(
            a["weights"],
            a["image_mean"],
            a["image_scale"],
            a["text_mean"],
            method,
            float(a["strength"][0]),
            scores,
        )
    except (SafetensorError, OSError, KeyError, IndexError) as error:
        raise InputError(f"{str(path)!r} is not a map between encoders: {error}") from error


class _Solver:
    """What the solutions for all strengths share: one decomposition of the centred data."""

    def __init__(self, x: np.ndarray, y: np.ndarray, method: str) -> None:
        self.method = method
        self.image_mean, self.text_mean = x.mean(0), y.mean(0)
        scale = x.std(0)
        # A feature that never moves says nothing, and must not be blown up.
        self.image_scale = np.where(scale > 1e-8 * max(scale.max(), 1e-300), scale, np.inf)
        z = (x - self.image_mean) / self.image_scale
        self._left, self._values, self._right = np.linalg.svd(z, full_matrices=False)
        self._target = self._left.T @ (y - self.text_mean)

    def map(self, strength: float, scores: dict[float, float]) -> LinearMap:
        if self.method == "ridge":
            penalty = strength * (self._values**2).mean()
            gain = self._values / (self._values**2 + penalty)
            weights = self._right.T @ (gain[:, None] * self._target)
        else:
            rank = int(strength)
            cross = self._values[:rank, None] * self._target[:rank]
            u, _, v = np.linalg.svd(cross, full_matrices=False)
            weights = self._right[:rank].T @ (u @ v)
        return LinearMap(
            weights, self.image_mean, self.image_scale, self.text_mean, self.method, float(strength), scores
        )


def _check_enough(images: int, captions: Sequence[str]) -> None:
    different = len(set(captions))
    if images < _FEWEST or different < 2 * FOLDS:
        raise InputError(
            f"{images} images with {different} different captions are too few to join two"
            f" encoders: give at least {_FEWEST} with {2 * FOLDS} different ones"
        )


def _ranks(images: int, features: int) -> tuple[float, ...]:
    most = max(1, min(images * (FOLDS - 1) // FOLDS - 1, features))
    return (*(float(r) for r in RANKS if r < most), float(most))


def _reciprocal_rank(images: np.ndarray, texts: np.ndarray, captions: list[str]) -> float:
    """Mean over images of 1 / the rank of their own caption among the different ones."""
    first = {caption: place for place, caption in reversed(list(enumerate(captions)))}
    different = list(first.values())
    own = np.array([different.index(first[c]) for c in captions])
    similar = images @ texts[different].T
    mine = similar[np.arange(len(own)), own][:, None]
    # Ties count against: a map that sends everything to one place ranks nothing first.
    ranks = (similar >= mine).sum(1)
    return float((1.0 / ranks).mean())


def _reading_limit(sentence: SentenceEncoder) -> tuple[int, Callable[[str], int]]:
    """How many tokens the sentence encoder reads, and how it counts; without a tokenizer, no limit."""
    model: Any = getattr(sentence, "_model", None)
    tokenizer, most = getattr(model, "tokenizer", None), getattr(model, "max_seq_length", None)
    if tokenizer is None or most is None:
        return 2**31 - 1, lambda text: len(text.split())
    return int(most), lambda text: len(tokenizer(text, verbose=False)["input_ids"])

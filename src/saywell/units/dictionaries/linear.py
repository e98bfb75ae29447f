"""Neurons, principal and independent components, non-negative factors: what autoencoders have to beat.

A direction that goes up and one that goes down are two latents, so that all activations are above 0. Each
fires for the k / latents of the vectors in which it is strongest (so k fire in the mean): of the k largest
of a vector most would always be those directions that vary most. Non-negative factors are 0 mostly, and of
these the k largest fire. Second moments are those of all vectors; the rest looks at a sample.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from saywell.errors import InputError
from saywell.progress import Progress
from saywell.units.dictionaries.descent import blocks
from saywell.units.dictionaries.dictionary import Dictionary
from saywell.units.dictionaries.rules import JumpReLU, TopK

_SAMPLE = 50_000
"""Vectors that ICA and NMF are iterated over, by chance where there are more."""
_ICA_STEPS, _NMF_STEPS = 200, 300
_LEAST = 1e-6
"""Share of the largest standard deviation below which a direction is none."""


def pca(vectors: np.ndarray, latents: int, k: int, *, seed: int, progress: Progress) -> Dictionary:
    """Directions of most variance, both ways: latent 2 i is component i going up, 2 i + 1 going down.

    Raises InputError for more latents than twice the directions in which vectors vary.
    """
    with threadpool_limits(1, user_api="blas"), progress("principal components", 1):
        mean, directions, _ = _components(vectors, latents)
        return _both_ways(directions, directions, mean, k, _some(vectors, seed))


def neurons(vectors: np.ndarray, latents: int, k: int, *, seed: int, progress: Progress) -> Dictionary:
    """The numbers of a vector as they are, less their mean, both ways, as `pca`.

    Raises InputError for any other number of latents than twice their width.
    """
    width = vectors.shape[1]
    if latents != 2 * width:
        raise InputError(
            f"vectors of {width} numbers have {2 * width} latents, each number going up and going down, not"
            f" {latents}: ask for neurons:{2 * width}:{k}"
        )
    with threadpool_limits(1, user_api="blas"), progress("neurons", 1):
        axes, mean = np.eye(width), vectors.mean(0, dtype=np.float64)
        return _both_ways(axes, axes, mean, k, _some(vectors, seed))


def ica(vectors: np.ndarray, latents: int, k: int, *, seed: int, progress: Progress) -> Dictionary:
    """FastICA (Hyvarinen 1999) with log cosh on the leading principal components, both ways, as `pca`.

    Raises InputError as `pca`.
    """
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    with threadpool_limits(1, user_api="blas"), progress("independent components", 1):
        mean, directions, spread = _components(vectors, latents)
        some = _some(vectors, seed)
        white = (some - mean) @ directions.T / spread
        found = FastICA(whiten=False, max_iter=_ICA_STEPS, random_state=seed)  # pyright: ignore[reportArgumentType]
        with warnings.catch_warnings():  # the components of the last step serve as well
            warnings.simplefilter("ignore", ConvergenceWarning)
            found.fit(white)
        encoder = found.components_ @ (directions / spread[:, None])
        decoder = found.mixing_.T @ (directions * spread[:, None])
        return _both_ways(encoder, decoder, mean, k, some)


def nmf(vectors: np.ndarray, latents: int, k: int, *, seed: int, progress: Progress) -> Dictionary:
    """Non-negative factors (Lee and Seung 1999), and the linear map that comes nearest to their amounts.

    Raises InputError for vectors with numbers below 0.
    """
    from sklearn.decomposition import MiniBatchNMF

    if min(float(some.min()) for some in blocks(vectors)) < 0:
        raise InputError(
            "nmf is for what is never below 0, such as what follows a ReLU, and these vectors have numbers"
            " below 0; choose another place or method"
        )
    with threadpool_limits(1, user_api="blas"), progress("non-negative factors", 1):
        some = _some(vectors, seed)
        found = MiniBatchNMF(latents, max_iter=_NMF_STEPS, random_state=seed)
        amounts = found.fit_transform(some)
        lengths = np.linalg.norm(found.components_, axis=1)
        if not lengths.all():
            raise InputError(
                f"only {int((lengths > 0).sum())} of {latents} non-negative factors are not empty; ask for"
                " fewer"
            )
        decoder, amounts = found.components_ / lengths[:, None], amounts * lengths
        padded = np.hstack([some, np.ones((len(some), 1))])
        encoder, *_ = np.linalg.lstsq(padded, amounts, rcond=None)
    return Dictionary(
        _tensor(encoder[:-1].T),
        _tensor(encoder[-1]),
        _tensor(decoder),
        torch.zeros(vectors.shape[1]),
        TopK(k),
    )


def _components(vectors: np.ndarray, latents: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean, directions of most variance (half as many as latents), standard deviations along them."""
    if latents % 2:
        raise InputError(
            f"{latents} latents are no pairs of a component going up and going down; give an even number"
        )
    mean = vectors.mean(0, dtype=np.float64)
    moments = np.zeros((len(mean), len(mean)))
    for some in blocks(vectors):
        away = some - mean
        moments += away.T @ away
    variances, directions = np.linalg.eigh(moments / len(vectors))
    spread = np.sqrt(np.maximum(variances[::-1], 0))
    most = int((spread > _LEAST * spread[0]).sum())
    if not spread[0] > 0:
        raise InputError(f"all {len(vectors)} vectors are alike; there is nothing to find in them")
    if latents > 2 * most:
        raise InputError(
            f"{latents} latents are {latents // 2} components, and vectors vary in {most} directions;"
            f" ask for {2 * most} at most"
        )
    return mean, directions[:, ::-1].T[: latents // 2], spread[: latents // 2]


def _some(vectors: np.ndarray, seed: int) -> np.ndarray:
    if len(vectors) <= _SAMPLE:
        return np.asarray(vectors, dtype=np.float64)
    rows = np.random.default_rng(seed).choice(len(vectors), _SAMPLE, replace=False)
    return vectors[np.sort(rows)].astype(np.float64)


def _both_ways(
    encoder: np.ndarray, decoder: np.ndarray, mean: np.ndarray, k: int, some: np.ndarray
) -> Dictionary:
    """Directions up and down, with thresholds by a sample of the vectors."""
    lengths = np.linalg.norm(decoder, axis=1, keepdims=True)
    ahead, directions = (
        np.stack([rows, -rows], axis=1).reshape(-1, len(mean))
        for rows in (encoder * lengths, decoder / lengths)
    )
    share = min(1.0, k / len(ahead))
    thresholds = np.concatenate(
        [np.quantile((some - mean) @ rows.T, 1 - share, axis=0) for rows in np.array_split(ahead, 8)]
    )
    rule = JumpReLU(_tensor(thresholds))
    return Dictionary(_tensor(ahead), torch.zeros(len(ahead)), _tensor(directions), _tensor(mean), rule)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

"""A sparse dictionary of vectors: each is a centre and a few of many directions, its latents.

A TopK sparse autoencoder (Gao et al. 2024, "Scaling and evaluating sparse autoencoders", arXiv:2406.04093):

    a = top_k((x - centre) encoder' + bias),   x ~ centre + a decoder

Activations are sparse from the first moment: only what k of them touch is computed, and the one product of
whole matrices that is left is the encoder's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Float32, Int
from threadpoolctl import threadpool_limits

from saywell.errors import InputError, StorageError
from saywell.progress import Progress, silent
from saywell.store.files import write_arrays
from saywell.units.arrays import read_tensors

_ROWS = 512
"""Vectors that are encoded at a time."""
_CLOSE = 4
"""Latents beyond k whose activations are computed once more, each by itself. A product of whole matrices
rounds by the place in it: it only says which latents these are, so no vector depends on those beside it."""
_NEAR = 64
"""Vectors whose directions are looked up at a time: as many as stay in a processor's cache."""
_RATE, _DECAY = 4e-3, 0.4
"""The highest rate of AdamW, and how much the encoder is drawn to nothing, for the sake of new vectors."""
_STEPS = 160
"""Steps of a pass, of 8 to 128 vectors each: more where there are more vectors than that makes, or fewer."""
_LOOKED_AT = 4096
"""Vectors that are looked at for a start, and when dead latents start anew."""


@dataclass(frozen=True)
class Dictionary:
    """Directions, and how strongly a vector has each. Rows of `decoder` have length 1.

    `signed`: the k largest by size count, and keep their sign; else the k largest that are above 0.
    """

    encoder: Float32[np.ndarray, "latents width"]
    bias: Float32[np.ndarray, " latents"]
    decoder: Float32[np.ndarray, "latents width"]
    centre: Float32[np.ndarray, " width"]
    k: int
    signed: bool = False

    @property
    def latents(self) -> int:
        """How many there are."""
        return len(self.decoder)

    def encode(self, vectors: Float[np.ndarray, "vectors width"]) -> sp.csr_matrix:
        """Activations, vectors x latents, at most k a row, in units of the vectors.

        Raises InputError for vectors of another width or that are not finite.
        """
        check_vectors(vectors, len(self.centre))
        parts = [sp.csr_matrix((0, self.latents), dtype=np.float32)]
        for start in range(0, len(vectors), _ROWS):
            some = vectors[start : start + _ROWS].astype(np.float32) - self.centre
            before = some @ self.encoder.T + self.bias
            _, close = strongest(before, min(self.k + _CLOSE, self.latents), self.signed)
            close.sort(axis=1)
            exact = _products(some, self.encoder, close) + self.bias[close]
            values, chosen = strongest(exact, self.k, self.signed)
            parts.append(_sparse(values, np.take_along_axis(close, chosen, axis=1), self.latents))
        whole = sp.vstack(parts, format="csr")
        whole.eliminate_zeros()
        whole.sort_indices()
        return whole

    def decode(self, activations: sp.csr_matrix) -> Float32[np.ndarray, "vectors width"]:
        """The vectors that activations stand for."""
        return activations @ self.decoder + self.centre

    def explained(self, vectors: Float[np.ndarray, "vectors width"]) -> float:
        """Share of the variance of vectors that is kept, over all dimensions together; 1 is best."""
        left = sum(float(np.square(self.decode(self.encode(some)) - some).sum()) for some in _blocks(vectors))
        mean = vectors.mean(0, dtype=np.float64)
        return 1 - left / sum(float(np.square(some - mean).sum()) for some in _blocks(vectors))

    def save(self, path: Path) -> None:
        """Keep it as one safetensors file."""
        import torch

        arrays = dict(encoder=self.encoder, bias=self.bias, decoder=self.decoder, centre=self.centre)
        rule = torch.tensor([self.k, self.signed], dtype=torch.int64)
        write_arrays(path, {name: torch.from_numpy(array) for name, array in arrays.items()} | {"rule": rule})

    @staticmethod
    def load(path: Path) -> Dictionary:
        """What `save` kept.

        Raises StorageError for a file that cannot be read or is no dictionary.
        """
        held = read_tensors(path)
        missing = {"encoder", "bias", "decoder", "centre", "rule"} - set(held)
        if missing:
            raise StorageError(f"{str(path)!r} is no dictionary: it has no {', '.join(sorted(missing))}")
        k, signed = held.pop("rule").tolist()
        return Dictionary(**held, k=k, signed=bool(signed))


def usual_size(vectors: int) -> tuple[int, int]:
    """Latents and k for so many vectors: a latent is to fire on a hundred or so, and on a small share."""
    latents = int(np.clip(2 ** round(np.log2(max(vectors, 1) / 20)), 4, 4096))
    return latents, max(1, min(latents // 8, 8 if latents < 1024 else 16))


def strongest(
    before: Float32[np.ndarray, "rows latents"], k: int, signed: bool = False
) -> tuple[Float32[np.ndarray, "rows k"], Int[np.ndarray, "rows k"]]:
    """The k largest values of each row and where they are, in no order; below 0 is 0, unless `signed`."""
    beyond = before.shape[1] - k
    places = np.argpartition(np.abs(before) if signed else before, beyond, axis=1)[:, beyond:]
    values = np.take_along_axis(before, places, axis=1)
    return (values if signed else np.maximum(values, 0)), places


def fit(
    vectors: Float[np.ndarray, "vectors width"],
    latents: int,
    k: int,
    *,
    seed: int,
    signed: bool = False,
    passes: int = 12,
    progress: Progress = silent,
) -> Dictionary:
    """A dictionary that leaves little squared error, by AdamW with a rate that falls to nothing.

    Directions start as vectors of the data, so that few are dead; one that does not fire in a whole pass of
    the first half starts anew as what is explained worst. The same seed gives the same dictionary on the
    same machine, whatever the number of threads.

    Raises InputError for vectors that are not finite or all alike, and for a k that cannot be.
    """
    import torch

    check_vectors(vectors)
    if not 1 <= k <= latents:
        raise InputError(f"k={k} of {latents} latents cannot be active; give 1 to {latents}")
    if not len(vectors):
        raise InputError("no vectors to make a dictionary of")
    centre = vectors.mean(0, dtype=np.float64).astype(np.float32)
    size = _size(vectors, centre)
    if not size > 0:
        raise InputError(f"all {len(vectors)} vectors are alike; there is nothing to find in them")
    random = np.random.default_rng(seed)

    def scaled(rows: np.ndarray | list[int]) -> np.ndarray:
        return (vectors[rows].astype(np.float32) - centre) / size

    order = random.permutation(len(vectors))
    different = list({vectors[row].tobytes(): row for row in order}.values())[:latents]
    batch = int(np.clip(len(vectors) // _STEPS, 8, 128))
    rates = _rates(passes * -(-len(vectors) // batch))
    # Sums round by the number of threads, and small products gain little from more than one.
    with threadpool_limits(1, user_api="blas"), progress("fitting a dictionary", passes) as advance:
        now = _start(scaled(different), scaled(order[:_LOOKED_AT]), latents, k, signed, random)
        weights = [torch.from_numpy(array) for array in (now.encoder, now.bias, now.decoder)]
        groups = [
            {"params": weights[:1], "weight_decay": _DECAY},
            {"params": weights[1:], "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
        for number in range(passes):
            alive = np.zeros(latents, dtype=bool)
            for start in range(0, len(order), batch):
                found, fired = gradients(now, scaled(order[start : start + batch]))
                alive[fired] = True
                for weight, gradient in zip(weights, found, strict=True):
                    weight.grad = torch.from_numpy(gradient)
                optimiser.param_groups[0]["lr"] = optimiser.param_groups[1]["lr"] = next(rates)
                optimiser.step()  # changes the arrays of `now`
                now.decoder[:] = now.decoder / np.linalg.norm(now.decoder, axis=1, keepdims=True)
            order = random.permutation(order)
            if number < passes // 2:
                _renew(now, np.flatnonzero(~alive), scaled(order[:_LOOKED_AT]), random)
            advance(1)
    return replace(now, bias=now.bias * size, centre=centre)


def gradients(
    now: Dictionary, x: Float32[np.ndarray, "rows width"]
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], Int[np.ndarray, " fired"]]:
    """Of half the mean squared error, by encoder, bias and decoder; and which latents fired."""
    values, places = strongest(x @ now.encoder.T + now.bias, now.k, now.signed)
    active = _sparse(values, places, now.latents)
    error = active @ now.decoder - x
    error /= len(x)
    back = _sparse(_products(error, now.decoder, places) * (values != 0), places, now.latents)
    to_bias = np.asarray(back.sum(0), dtype=np.float32).ravel()
    return (back.T @ x, to_bias, active.T @ error), places[values != 0]


def check_vectors(vectors: np.ndarray, width: int | None = None) -> None:
    """Raises InputError for what is no matrix of finite numbers, or of another width."""
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise InputError(f"vectors are a matrix of floats, one a row, not {vectors.dtype} of {vectors.shape}")
    if width is not None and vectors.shape[1] != width:
        raise InputError(f"vectors of {vectors.shape[1]} numbers, where the dictionary is of {width}")
    for some in _blocks(vectors):
        if not np.isfinite(some).all():
            raise InputError("some vectors have numbers that are not finite")


def _blocks(vectors: np.ndarray, rows: int = 1 << 13) -> Iterator[np.ndarray]:
    return (vectors[start : start + rows] for start in range(0, len(vectors), rows))


def _sparse(values: np.ndarray, places: np.ndarray, latents: int) -> sp.csr_matrix:
    ends = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return sp.csr_matrix((values.ravel(), places.ravel().astype(np.int32), ends), (len(values), latents))


def _products(rows: np.ndarray, directions: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Of each row with the directions at its places; each product by itself, so that none rounds by place."""
    found = np.empty(places.shape, dtype=np.float32)
    for start in range(0, len(rows), _NEAR):
        some = slice(start, start + _NEAR)
        found[some] = np.einsum("nkd,nd->nk", directions[places[some]], rows[some])
    return found


def _unit(rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rows of length 1; one that is nothing becomes a direction by chance."""
    nothing = ~np.any(rows, axis=1)
    rows[nothing] = random.standard_normal((nothing.sum(), rows.shape[1]))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _size(vectors: np.ndarray, centre: np.ndarray) -> np.float32:
    """Root mean square of the distance from the centre."""
    squares = (np.square(some - centre).sum(dtype=np.float64) for some in _blocks(vectors))
    return np.float32(np.sqrt(sum(squares) / len(vectors)))


def _rates(steps: int) -> Iterator[float]:
    """Up in the first twentieth of the steps, then down to nothing."""
    return (_RATE * min(1, 20 * (step + 1) / steps) * (1 - step / steps) for step in range(steps))


def _start(
    shown: np.ndarray, x: np.ndarray, latents: int, k: int, signed: bool, random: np.random.Generator
) -> Dictionary:
    """Directions that are vectors shown, the rest by chance, with an encoder that makes the best of them.

    Vectors of data are like one another, so k of them that are like a vector sum up to more than it: the
    encoder is the decoder, as much smaller as leaves least error.
    """
    width = x.shape[1]
    decoder = _unit(np.vstack([shown, np.zeros((latents - len(shown), width), np.float32)]), random)
    bias, centre = np.zeros(latents, dtype=np.float32), np.zeros(width, dtype=np.float32)
    values, places = strongest(x @ decoder.T, k, signed)
    sums = _sparse(values, places, latents) @ decoder
    smaller = (sums * x).sum() / np.square(sums).sum()
    return Dictionary(decoder * smaller, bias, decoder, centre, k, signed)


def _renew(now: Dictionary, dead: np.ndarray, x: np.ndarray, random: np.random.Generator) -> None:
    """Dead latents start anew, as what is left of vectors of which most is left."""
    if not len(dead):
        return
    values, places = strongest(x @ now.encoder.T + now.bias, now.k, now.signed)
    left = x - _sparse(values, places, now.latents) @ now.decoder
    chosen = random.permutation(np.argsort(-np.square(left).sum(1), kind="stable")[: 4 * len(dead)])
    now.decoder[dead] = _unit(left[np.resize(chosen, len(dead))], random)
    now.encoder[dead] = now.decoder[dead] * np.linalg.norm(now.encoder, axis=1).mean()
    now.bias[dead] = 0

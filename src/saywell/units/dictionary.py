"""A sparse dictionary of vectors: each is a centre and a few of many directions, its latents.

A TopK sparse autoencoder (Gao et al. 2024, "Scaling and evaluating sparse autoencoders", arXiv:2406.04093):

    a = top_k((x - centre) encoder' + bias),   x ~ centre + a decoder

Activations are sparse from the first moment: only what k of them touch is computed, and the one product of
whole matrices that is left is the encoder's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Float32, Int

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
_RATE = 8e-3
_HELD_OUT, _MOST_HELD_OUT = 0.1, 4096


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
            exact = np.einsum("nkd,nd->nk", self.encoder[close], some) + self.bias[close]
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
    passes: int = 20,
    progress: Progress = silent,
) -> Dictionary:
    """A dictionary of vectors, by Adam on the squared error that is left.

    Directions start as vectors of the data, so that few are dead; one that does not fire in a whole pass
    starts anew from what is explained worst. A tenth of the vectors is held out, and the pass that explains
    these best is the one that counts. The same seed gives the same dictionary on the same machine.

    Raises InputError for vectors that are not finite or all alike, fewer than 4, and sizes that cannot be.
    """
    import torch

    check_vectors(vectors)
    if len(vectors) < 4:
        raise InputError(f"a dictionary needs at least 4 vectors, not {len(vectors)}")
    if not 1 <= k <= latents:
        raise InputError(f"k={k} latents of {latents} cannot be active; give 1 to {latents}")
    random = np.random.default_rng(seed)
    order = random.permutation(len(vectors))
    held = order[: min(_MOST_HELD_OUT, max(1, round(_HELD_OUT * len(vectors))))]
    rows = order[len(held) :]
    centre = vectors[rows].mean(0, dtype=np.float64).astype(np.float32)
    size = _size(vectors, rows, centre)
    if not size > 0:
        raise InputError("all vectors are alike; there is nothing to make a dictionary of")

    def scaled(rows: np.ndarray) -> np.ndarray:
        return (vectors[rows] - centre) / np.float32(size)

    decoder = _unit(scaled(random.choice(rows, latents, replace=latents > len(rows))), random)
    encoder, bias = decoder.copy(), np.zeros(latents, dtype=np.float32)
    parameters = [torch.from_numpy(array) for array in (encoder, decoder, bias)]
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    of_encoder, of_decoder, of_bias = (parameter.grad.numpy() for parameter in parameters)  # type: ignore
    optimiser = torch.optim.Adam(parameters, lr=_RATE, fused=True)
    batch = int(np.clip(len(rows) // 20, 1, 256))
    steps, step = passes * -(-len(rows) // batch), 0
    validation = scaled(held)
    best = None
    with progress("fitting a dictionary", passes) as advance:
        for number in range(passes):
            fired = np.zeros(latents, dtype=bool)
            shuffled = random.permutation(rows)
            for start in range(0, len(rows), batch):
                x = scaled(shuffled[start : start + batch])
                values, places = strongest(x @ encoder.T + bias, k, signed)
                active = values != 0
                fired[places[active]] = True
                error = _sparse(values, places, latents) @ decoder - x
                error *= 2 / len(x)
                back = _sparse(_along(error, decoder, places) * active, places, latents)
                of_decoder[:] = _sparse(values, places, latents).T @ error
                of_decoder -= (of_decoder * decoder).sum(1, keepdims=True) * decoder
                of_encoder[:] = back.T @ x
                of_bias[:] = np.asarray(back.sum(0)).ravel()
                optimiser.param_groups[0]["lr"] = (
                    _RATE * min(1, (step + 1) / (0.05 * steps)) * (1 - step / steps)
                )
                optimiser.step()
                decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
                step += 1
            if number < passes / 2 and not fired.all():
                _start_anew(
                    np.flatnonzero(~fired), scaled(shuffled[:4096]), encoder, decoder, bias, k, signed, random
                )
            now = Dictionary(encoder * 1, bias * np.float32(size), decoder * 1, centre, k, signed)
            kept = _kept(now, validation, size)
            if best is None or kept > best[0]:
                best = kept, now
            advance(1)
    assert best is not None
    return best[1]


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


def _along(rows: np.ndarray, directions: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Of each row, its products with the directions at its places."""
    found = np.empty(places.shape, dtype=np.float32)
    for start in range(0, len(rows), _NEAR):
        some = slice(start, start + _NEAR)
        found[some] = np.matmul(directions[places[some]], rows[some, :, None])[:, :, 0]
    return found


def _unit(rows: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rows of length 1; one that is nothing becomes a direction by chance."""
    nothing = ~(np.square(rows).sum(1) > 0)
    rows[nothing] = random.standard_normal((nothing.sum(), rows.shape[1]))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _size(vectors: np.ndarray, rows: np.ndarray, centre: np.ndarray) -> float:
    """Root mean square of the distance from the centre."""
    total = sum(float(np.square(vectors[some] - centre).sum(dtype=np.float64)) for some in _blocks(rows))
    return float(np.sqrt(total / len(rows)))


def _kept(now: Dictionary, vectors: np.ndarray, size: float) -> float:
    values, places = strongest(vectors @ now.encoder.T + now.bias / np.float32(size), now.k, now.signed)
    return -float(np.square(_sparse(values, places, now.latents) @ now.decoder - vectors).sum())


def _start_anew(dead, vectors, encoder, decoder, bias, k, signed, random) -> None:
    values, places = strongest(vectors @ encoder.T + bias, k, signed)
    left = vectors - _sparse(values, places, len(decoder)) @ decoder
    weights = np.square(left).sum(1)
    chosen = random.choice(len(left), len(dead), replace=len(dead) > len(left), p=weights / weights.sum())
    decoder[dead] = _unit(left[chosen], random)
    encoder[dead], bias[dead] = decoder[dead], 0

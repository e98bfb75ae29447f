"""Dictionaries of one's own: by which method, of how many latents, k of them active in the mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.progress import Progress, silent
from saywell.units.dictionaries.batchtopk import BatchTopK
from saywell.units.dictionaries.descent import Kept, Objective, blocks, check_vectors, descend
from saywell.units.dictionaries.dictionary import Dictionary
from saywell.units.dictionaries.harvest import harvest
from saywell.units.dictionaries.jumprelu import JumpReLU
from saywell.units.dictionaries.linear import ica, neurons, nmf, pca
from saywell.units.dictionaries.matryoshka import Matryoshka
from saywell.units.dictionaries.topk import TopK

__all__ = ["METHODS", "Method", "harvest", "parse_method", "train", "usual_size"]

_TRAINED: Mapping[str, Callable[[int], Objective]] = {
    "topk": TopK,
    "abstopk": lambda k: TopK(k, signed=True),
    "batchtopk": BatchTopK,
    "matryoshka": Matryoshka,
    "jumprelu": JumpReLU,
}
_LINEAR = {"pca": pca, "ica": ica, "nmf": nmf, "neurons": neurons}
METHODS = (*_TRAINED, *_LINEAR)
"""Names of methods."""
MOST_LATENTS = 1 << 24
"""More are taken for a typing error."""
_CHECKPOINT = "training.safetensors"
_VERSION = "2"
"""Of what is computed: a training that an earlier version kept is not gone on with."""


class Method(NamedTuple):
    """How a dictionary is made; as text `name:latents:k`."""

    name: str
    latents: int
    k: int

    def __str__(self) -> str:
        return f"{self.name}:{self.latents}:{self.k}"


def parse_method(text: str) -> Method:
    """`batchtopk:4096:32`: a method, its latents, and how many of them are active in the mean.

    Raises InputError that says what is wrong with it.
    """
    form = "a method is NAME:LATENTS:K, such as batchtopk:4096:32"
    name, *numbers = text.strip().lower().split(":")
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}; {form}; names: {', '.join(METHODS)}")
    if len(numbers) != 2 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise InputError(f"method {text!r} cannot be read; {form}")
    return _checked(Method(name, *map(int, numbers)))


def _checked(method: Method) -> Method:
    if not 1 <= method.latents <= MOST_LATENTS:
        raise InputError(f"{method.latents:,} latents cannot be trained here; give 1 to {MOST_LATENTS:,}")
    if not 1 <= method.k <= method.latents:
        raise InputError(
            f"k={method.k} of {method.latents} latents cannot be active; give 1 to {method.latents}"
        )
    return method


def usual_size(vectors: int) -> tuple[int, int]:
    """Latents and k for so many vectors: a latent is to fire on a hundred or so, and on a small share."""
    latents = int(np.clip(2 ** round(np.log2(max(vectors, 1) / 20)), 4, 4096))
    return latents, max(1, min(latents // 8, 8 if latents < 1024 else 16))


def train(
    method: Method,
    vectors: Float[np.ndarray, "vectors width"],
    *,
    seed: int,
    folder: Path | None = None,
    progress: Progress = silent,
    device: str = "cpu",
) -> Dictionary:
    """A dictionary of vectors, which may be a memory map larger than memory; rows of its decoder are 1 long.

    Where a `folder` is given, training is kept there every thousand steps, and the same training goes on
    from there to the same weights; linear methods start again. The same seed gives the same weights on a
    processor of the same make, whatever the number of threads, and on an accelerator of the same make with
    the same libraries. The dictionary comes back on the processor.

    Raises InputError for vectors that are none, all alike or not finite, and for more latents than a
    linear method has.
    """
    _checked(method)
    check_vectors(vectors)
    if not len(vectors):
        raise InputError("no vectors to make a dictionary of")
    if method.name in _LINEAR:
        return _LINEAR[method.name](vectors, method.latents, method.k, seed=seed, progress=progress)
    kept = None
    if folder is not None:
        of = combined(_VERSION, str(method), str(seed), device, _digest(vectors))
        kept = Kept(folder / _CHECKPOINT, of)
    objective = _TRAINED[method.name](method.k)
    return descend(objective, vectors, method.latents, seed=seed, kept=kept, progress=progress, device=device)


def _digest(vectors: np.ndarray) -> bytes:
    digest = blake2b(f"{vectors.dtype} {vectors.shape}".encode(), digest_size=16)
    for some in blocks(vectors):
        digest.update(np.ascontiguousarray(some).data)
    return digest.digest()

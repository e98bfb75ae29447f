"""Vectors that were computed once are kept by content, so no picture or text is encoded twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b
from pathlib import Path

import numpy as np
from jaxtyping import Float

from saywell.data.examples import Examples
from saywell.encoders.dual import DualEncoder
from saywell.encoders.precomputed import Precomputed
from saywell.errors import InputError, StorageError


class EmbeddingCache:
    """A SQLite file of float32 vectors for any number of encoders; closed between two uses.

    The key is the encoder's fingerprint and the content (a text, or the id of an image, itself a
    hash of content). Behind each vector stands a checksum. Where one has changed since, or stands
    under another key, none of those asked for together is there: encoded alone it would differ in
    the last digit, of which a plane of points makes much. Several processes may use one file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._used() as connection, connection:
            connection.execute(
                "create table if not exists vectors (key blob primary key, vector blob not null)"
                " without rowid"
            )

    def find(self, keys: Sequence[bytes], dim: int) -> dict[bytes, np.ndarray]:
        """The vectors there are."""
        found = {}
        with self._used() as connection:
            for start in range(0, len(keys), 500):
                part = list(keys[start : start + 500])
                marks = ",".join("?" * len(part))
                query = f"select key, vector from vectors where key in ({marks})"
                for key, stored in connection.execute(query, part):
                    vector, checksum = stored[: 4 * dim], stored[4 * dim :]
                    if checksum != _checksum(key, vector):
                        return {}
                    found[key] = np.frombuffer(vector, dtype="<f4")
        return found

    def add(self, rows: Iterable[tuple[bytes, np.ndarray]]) -> None:
        """Keep vectors; all of them, or none where the process dies."""
        values = [
            (key, stored + _checksum(key, stored))
            for key, vector in rows
            for stored in (vector.astype("<f4").tobytes(),)
        ]
        with self._used() as connection, connection:
            connection.executemany("insert or replace into vectors values (?, ?)", values)

    @contextmanager
    def _used(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=60)) as connection:
                yield connection
        except sqlite3.OperationalError as error:
            raise StorageError(
                f"the cache of embeddings {str(self.path)!r} cannot be used ({error}); make room or"
                " change who may write there, and run the same command again"
            ) from error
        except sqlite3.DatabaseError as error:
            raise InputError(
                f"{str(self.path)!r} is not a cache of embeddings ({error}); delete it or name another"
            ) from error


def embed_texts(
    encoder: DualEncoder,
    texts: Sequence[str],
    cache: EmbeddingCache | None = None,
    *,
    chunk: int = 256,
    progress: Callable[[int], None] = lambda texts: None,
) -> Float[np.ndarray, "texts dim"]:
    """Unit vectors of the texts, in their order; equal texts are encoded once.

    Raises InputError for a text longer than the encoder reads.
    """
    keys = [_key(encoder, "text", text) for text in texts]
    vectors = {} if cache is None else cache.find(list(dict.fromkeys(keys)), encoder.dim)
    progress(sum(key in vectors for key in keys))
    missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in vectors}
    todo = list(missing)
    for start in range(0, len(todo), chunk):
        part = todo[start : start + chunk]
        made = dict(zip(part, encoder.encode_texts([missing[key] for key in part]), strict=True))
        vectors.update(made)
        if cache is not None:
            cache.add(made.items())
        progress(sum(key in made for key in keys))
    return _stack([vectors[key] for key in keys], encoder.dim)


def embed_images(
    encoder: DualEncoder,
    images: Examples,
    ids: Sequence[str] | None = None,
    cache: EmbeddingCache | None = None,
    *,
    chunk: int = 64,
    progress: Callable[[int], None] = lambda images: None,
) -> Float[np.ndarray, "images dim"]:
    """Unit vectors of images, in the order of `ids` (None: of `images.table`).

    At most `chunk` pictures are in memory; each chunk is kept as soon as it is encoded.
    """
    wanted = images.table["id"].to_list() if ids is None else list(ids)
    if isinstance(encoder, Precomputed):
        return encoder.image_vectors(images.table, wanted)
    keys = {id: _key(encoder, "image", id) for id in wanted}
    vectors = {} if cache is None else cache.find(list(keys.values()), encoder.dim)
    missing = [id for id, key in keys.items() if key not in vectors]
    progress(len(keys) - len(missing))
    batch, names = [], []

    def flush() -> None:
        made = dict(zip((keys[n] for n in names), encoder.encode_images(batch), strict=True))
        vectors.update(made)
        if cache is not None:
            cache.add(made.items())
        progress(len(names))
        batch.clear()
        names.clear()

    for id, picture in images.pictures(missing):
        batch.append(picture)
        names.append(id)
        if len(batch) == chunk:
            flush()
    if batch:
        flush()
    return _stack([vectors[keys[id]] for id in wanted], encoder.dim)


def _checksum(key: bytes, vector: bytes) -> bytes:
    return blake2b(key + vector, digest_size=8).digest()


def _key(encoder: DualEncoder, kind: str, content: str) -> bytes:
    digest = blake2b(f"{encoder.fingerprint}:{kind}:".encode(), digest_size=16)
    digest.update(content.encode("utf-8", "surrogatepass"))
    return digest.digest()


def _stack(vectors: list[np.ndarray], dim: int) -> np.ndarray:
    return np.stack(vectors).astype(np.float32) if vectors else np.zeros((0, dim), np.float32)

"""Embeddings that were computed elsewhere, read from files, in the place of an encoder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import polars as pl
from jaxtyping import Float

from saywell.data.files import check_regular, open_regular
from saywell.encoders.fingerprints import combined
from saywell.encoders.vectors import unit_length
from saywell.errors import InputError
from saywell.store.files import file_hash

if TYPE_CHECKING:
    from PIL import Image

_IMAGE_KEYS = ("id", "name", "row")
_NO_LIMIT = 2**31 - 1


class Precomputed:
    """A dual encoder of known images and texts only; it sees and reads nothing new.

    How many tokens the real encoder would count is not known: `count_tokens` is 0 for every text.
    """

    def __init__(
        self,
        name: str,
        fingerprint: str,
        images: dict[str | int, np.ndarray],
        image_key: str,
        texts: dict[str, np.ndarray],
        dim: int,
    ) -> None:
        self.name, self.fingerprint, self.dim = name, fingerprint, dim
        self.max_tokens = _NO_LIMIT
        self._images, self._image_key, self._texts = images, image_key, texts

    @property
    def texts(self) -> list[str]:
        """The texts there are vectors for."""
        return list(self._texts)

    def encode_images(self, images: Sequence[Image.Image]) -> NoReturn:
        """Raises InputError: precomputed vectors are found by image, not made from pixels."""
        raise InputError(
            f"{self.name!r} holds vectors of known images and cannot encode new ones; use a checkpoint"
        )

    def image_vectors(self, examples: pl.DataFrame, ids: Sequence[str]) -> Float[np.ndarray, "images dim"]:
        """Unit vectors of the images with these ids; `examples` as in `Examples.table`.

        Raises InputError where one has no vector.
        """
        keys = dict(zip(examples["id"], examples[self._image_key], strict=True))
        lost = [id for id in ids if keys[id] not in self._images]
        if lost:
            raise InputError(
                f"{self.name!r} has no vector for the image with {self._image_key}"
                f" {keys[lost[0]]!r} ({len(lost)} of {len(ids)} are missing)"
            )
        return self._stacked([self._images[keys[id]] for id in ids])

    def encode_texts(self, texts: Sequence[str]) -> Float[np.ndarray, "texts dim"]:
        """Unit vectors. Raises InputError for a text that the files have no vector for."""
        lost = [text for text in texts if text not in self._texts]
        if lost:
            raise InputError(
                f"{self.name!r} has no vector for the text {lost[0][:80]!r} ({len(lost)} of"
                f" {len(texts)} are missing)"
            )
        return self._stacked([self._texts[text] for text in texts])

    def count_tokens(self, texts: Sequence[str]) -> np.ndarray:
        """Zero for every text."""
        return np.zeros(len(texts), dtype=np.int64)

    def _stacked(self, vectors: list[np.ndarray]) -> np.ndarray:
        rows = np.stack(vectors) if vectors else np.zeros((0, self.dim))
        return unit_length(rows, float).astype(np.float32)


def open_precomputed(
    images: str | Path,
    texts: str | Path,
    *,
    image_tensor: str | None = None,
    text_tensor: str | None = None,
    names: Sequence[str] | str | Path | None = None,
) -> Precomputed:
    """Vectors of images and of texts from two files (or the same), of one space.

    Parquet files have a column `embedding` (list of numbers) and, for images, `id`, `name` or `row`
    as in `Examples.table`, for texts `text`. In a safetensors file `image_tensor` and `text_tensor`
    name tensors [n, dim] (needed where there are several): row i of the first is image i of the
    source, row i of the second is text i of `names`, a list of texts or a JSON file with one.

    Raises InputError where the files do not hold this, or not one space.
    """
    seen, image_key = _image_vectors(Path(images), image_tensor)
    read = _text_vectors(Path(texts), text_tensor, names)
    dims = {len(v) for v in (*seen.values(), *read.values())}
    if len(dims) != 1:
        raise InputError(
            f"the vectors in {str(images)!r} and {str(texts)!r} have {sorted(dims)} numbers; images and"
            " texts have to be of one space"
        )
    print_ = combined(
        file_hash(Path(images)),
        file_hash(Path(texts)),
        image_tensor or "",
        text_tensor or "",
        json.dumps(list(read)),
    )
    return Precomputed(f"precomputed:{Path(images).name}", print_, seen, image_key, read, dims.pop())


def _image_vectors(path: Path, tensor: str | None) -> tuple[dict[str | int, np.ndarray], str]:
    if path.suffix.lower() != ".parquet":
        vectors = _tensor(path, tensor, "image_tensor")
        return dict(enumerate(vectors)), "row"
    table = _table(path)
    key = next((k for k in _IMAGE_KEYS if k in table.columns), None)
    if key is None:
        raise InputError(
            f"{str(path)!r} has none of the columns {', '.join(_IMAGE_KEYS)}, so its vectors belong to"
            f" no image; columns: {', '.join(table.columns)}"
        )
    return _keyed(table[key].to_list(), _column(table, path), path), key


def _text_vectors(
    path: Path, tensor: str | None, names: Sequence[str] | str | Path | None
) -> dict[str, np.ndarray]:
    if path.suffix.lower() == ".parquet":
        table = _table(path)
        if "text" not in table.columns:
            raise InputError(f"{str(path)!r} has no column 'text'; columns: {', '.join(table.columns)}")
        return _keyed(table["text"].to_list(), _column(table, path), path)
    vectors = _tensor(path, tensor, "text_tensor")
    if names is None:
        raise InputError(f"{str(path)!r} holds vectors without texts: give names=[...]")
    listed = _json_list(Path(names)) if isinstance(names, str | Path) else list(names)
    if len(listed) != len(vectors):
        raise InputError(f"there are {len(listed)} names for {len(vectors)} vectors in {str(path)!r}")
    return _keyed(listed, vectors, path)


def _keyed(keys: list[Any], vectors: np.ndarray, path: Path) -> dict[Any, np.ndarray]:
    table = dict(zip(keys, vectors, strict=True))
    if len(table) != len(keys):
        twice = next(k for k in keys if keys.count(k) > 1)
        raise InputError(f"{str(path)!r} has more than one vector for {str(twice)[:80]!r}")
    return table


def _tensor(path: Path, name: str | None, option: str) -> np.ndarray:
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            there = list(file.keys())
            wanted = name if name is not None else there[0] if len(there) == 1 else None
            if wanted not in there:
                raise InputError(
                    f"{str(path)!r} has no single tensor {name or ''!r}: name one with {option}=...;"
                    f" it has {', '.join(map(repr, there))}"
                )
            values = file.get_tensor(wanted).to(torch.float32).numpy()
    except (SafetensorError, OSError) as error:
        raise InputError(f"{str(path)!r} cannot be read as safetensors: {error}") from error
    return _checked(values, path)


def _table(path: Path) -> pl.DataFrame:
    try:
        with open_regular(path) as file:
            return pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{str(path)!r} cannot be read as Parquet: {error}") from error


def _column(table: pl.DataFrame, path: Path) -> np.ndarray:
    if "embedding" not in table.columns:
        raise InputError(f"{str(path)!r} has no column 'embedding'; columns: {', '.join(table.columns)}")
    column = table["embedding"]
    if not isinstance(column.dtype, pl.List | pl.Array) or not column.dtype.inner.is_numeric():
        raise InputError(f"the column 'embedding' of {str(path)!r} holds {column.dtype}, not vectors")
    if column.null_count():
        raise InputError(f"{str(path)!r} has rows without a vector; leave them out")
    lists = column.cast(pl.List(pl.Float32))
    lengths = lists.list.len().unique().to_list()
    if len(lengths) > 1:
        raise InputError(f"the vectors in {str(path)!r} have different lengths: {lengths[:5]}")
    return _checked(np.array(lists.to_list(), dtype=np.float32), path)


def _checked(values: np.ndarray, path: Path) -> np.ndarray:
    if values.ndim != 2 or not values.size:
        raise InputError(f"{str(path)!r} holds an array of shape {list(values.shape)}; vectors are [n, dim]")
    wrong = ~np.isfinite(values).all(axis=1) | ~values.any(axis=1)
    if wrong.any():
        raise InputError(
            f"row {int(wrong.argmax())} of {str(path)!r} is no direction: all zero, or not finite"
        )
    return values


def _json_list(path: Path) -> list[str]:
    try:
        with open_regular(path) as file:
            value = json.loads(file.read().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{str(path)!r} cannot be read as JSON: {error}") from error
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise InputError(f"{str(path)!r} is not a list of texts")
    return value

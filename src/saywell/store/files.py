"""Files that are either whole or not there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Have `write` fill a temporary neighbour of `path`, then put it in place in one step.

    A process that dies leaves the old file or none, never half of one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(temporary)
        os.replace(temporary, path)  # noqa: PTH105
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people and programs; NaN is refused rather than written as broken JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(path, lambda part: part.write_text(text + "\n", encoding="utf-8"))


def write_parquet(path: Path, table: pl.DataFrame) -> None:
    """Write a table that Polars, pandas and DuckDB open as it is."""
    write_whole(path, lambda part: table.write_parquet(part, compression="zstd", statistics=True))


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write torch tensors as one safetensors file."""
    from safetensors.torch import save_file

    contiguous = {name: tensor.contiguous() for name, tensor in arrays.items()}
    write_whole(path, lambda part: save_file(contiguous, part))


def file_hash(path: Path) -> str:
    """BLAKE2b of a file's bytes, 32 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def file_hash_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, for comparison with a published one."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_array(path: Path, name: str) -> np.ndarray:
    """One array of a safetensors file."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as saved:
        return saved.get_tensor(name)

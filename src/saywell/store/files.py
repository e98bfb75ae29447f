"""Files that are either whole or not there, and say so when they cannot be read or written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import polars as pl

from saywell.errors import StorageError

_DIGEST = "saywell"
"""Key of our checksum among the metadata of a safetensors file."""
_OURS = re.compile(r"\..+\.\d+\.part(\.\w+)?")
_MENDS = {
    errno.ENOSPC: "make room on that disk and run the same command again; what is finished is kept",
    errno.EDQUOT: "make room on that disk and run the same command again; what is finished is kept",
    errno.EACCES: "choose another place, or change who may use it",
    errno.EPERM: "choose another place, or change who may use it",
    errno.EROFS: "choose a place that can be written to",
    errno.ENOTDIR: "a part of this path is a file where a folder is needed; choose another place",
    errno.EEXIST: "a part of this path is a file where a folder is needed; choose another place",
    errno.EISDIR: "there is a folder where a file is needed; remove it or choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check that the path is there",
}


def write_whole(path: Path, write: Callable[[Path], Any], *, durable: bool = False) -> None:
    """Have `write` fill a temporary neighbour of `path`, then put it in place in one step.

    A process that dies leaves the old file or none, never half of one; `durable` holds for a
    machine that dies as well.

    Raises StorageError where the file system does not let it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary)
            if durable:
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
            os.replace(temporary, path)  # noqa: PTH105
        finally:
            if temporary.exists():
                temporary.unlink()


def write_json(path: Path, value: Any, *, durable: bool = False) -> None:
    """Write JSON for people and programs; NaN is refused rather than written as broken JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(path, lambda part: part.write_text(text + "\n", encoding="utf-8"), durable=durable)


def write_parquet(path: Path, table: pl.DataFrame) -> None:
    """Write a table that Polars, pandas and DuckDB open as it is; equal tables are equal files."""
    whole = table.rechunk()
    write_whole(path, lambda part: whole.write_parquet(part, compression="zstd", statistics=True))


def read_parquet(path: Path) -> pl.DataFrame:
    """The table in a file; no character of its path stands for others.

    Raises StorageError for a file that cannot be read or is no whole Parquet file.
    """
    with storing(path), path.open("rb") as file:
        try:
            return pl.read_parquet(file)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise damaged(path, error) from error


def scan_parquet(path: Path) -> pl.LazyFrame:
    """The table in a file, read as far as it is asked; no character of its path stands for others.

    Raises StorageError for a file that cannot be read or is no whole Parquet file.
    """
    with storing(path), path.open("rb"):  # Polars itself tells a file that is not there in other words
        try:
            lazy = pl.scan_parquet(path, glob=False)
            lazy.collect_schema()
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            raise damaged(path, error) from error
    return lazy


def write_arrays(path: Path, arrays: Mapping[str, Any], *, of: str = "") -> None:
    """Write torch tensors as one safetensors file that can tell whether it is whole.

    `of` says what the arrays were made from; see `is_whole`.
    """
    from safetensors.torch import save_file

    contiguous = {name: tensor.contiguous() for name, tensor in arrays.items()}
    digest = {_DIGEST: _arrays_hash(path.name, of, contiguous)}
    write_whole(path, lambda part: save_file(contiguous, part, metadata=digest))


def is_whole(path: Path, *, of: str = "") -> bool:
    """Whether `write_arrays` wrote this file under this name from `of`, and nothing changed since."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return False
    with storing(path):
        try:
            with safe_open(path, framework="pt") as saved:
                told = (saved.metadata() or {}).get(_DIGEST)
                tensors = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118
        except (SafetensorError, ValueError):
            return False
    return told == _arrays_hash(path.name, of, tensors)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a safetensors file.

    Raises StorageError for a file that cannot be read or is no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    with storing(path):
        try:
            return load_file(path)
        except (SafetensorError, ValueError) as error:
            raise damaged(path, error) from error


def read_array(path: Path, name: str) -> np.ndarray:
    """One array of a safetensors file; errors as in `read_arrays`."""
    from safetensors import SafetensorError, safe_open

    with storing(path):
        try:
            with safe_open(path, framework="np") as saved:
                return saved.get_tensor(name)
        except (SafetensorError, ValueError) as error:
            raise damaged(path, error) from error


def file_hash(path: Path) -> str:
    """BLAKE2b of a file's bytes, 32 hex digits."""
    with storing(path), path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def file_hash_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, for comparison with a published one."""
    with storing(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder for as long as the context lasts; `sweep` removes those of processes that died."""
    with storing(parent):
        folder = Path(mkdtemp(dir=parent, prefix=f".{name}.{os.getpid()}.part."))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed runs were writing under `folder`. Nobody else may be writing there."""
    with storing(folder):
        for item in sorted(folder.rglob(".*.part*")):
            if is_temporary(item):
                shutil.rmtree(item) if item.is_dir() else item.unlink(missing_ok=True)


def is_temporary(item: Path) -> bool:
    """Whether a file or folder has a name that only unfinished writing gives."""
    return _OURS.fullmatch(item.name) is not None and not item.is_symlink()


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Any trouble with the file system inside is a StorageError that names the file and the mend."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        number = _errno(error)
        if number is None:
            raise
        raise StorageError(explain(path, number)) from error


def explain(path: Path | str, number: int) -> str:
    """What a number of the operating system means for a file, and what to do."""
    mend = _MENDS.get(number, "check the disk")
    return f"{str(path)!r} cannot be read or written: {os.strerror(number)}; {mend}"


def damaged(path: Path, error: Exception) -> StorageError:
    """The error for a file whose content is not what its name promises."""
    said = str(error).strip().split("\n")[0][:200]
    return StorageError(
        f"the file {str(path)!r} is damaged ({said}); the command that wrote it makes it again"
    )


def _errno(error: Exception) -> int | None:
    """The operating system's number; libraries not in Python tell it in their message only."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    told = re.search(r"\(os error (\d+)\)", str(error))
    return int(told[1]) if told else None


def _arrays_hash(name: str, of: str, tensors: Mapping[str, Any]) -> str:
    import torch

    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([name, of]).encode())
    for key, tensor in sorted(tensors.items()):
        digest.update(json.dumps([key, list(tensor.shape), str(tensor.dtype)]).encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()

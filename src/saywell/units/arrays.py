"""Arrays from files that users bring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saywell.errors import InputError, SaywellError
from saywell.store.files import damaged, storing


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a library makes of a damaged file, as one InputError that names it."""
    try:
        with storing(path):
            yield
    except SaywellError:
        raise
    except Exception as error:  # zip, zlib, struct and header errors: a format's own, and never all listed
        said = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise InputError(f"{str(path)!r} cannot be read as {path.suffix}: {said}") from error


def real_numbers(content: Any, called: str) -> np.ndarray:
    """An array of real numbers of any shape, as floats; masked values are unknown (NaN).

    Raises InputError for complex numbers, and for what is none.
    """
    try:
        values = content if isinstance(content, np.ndarray) else np.asanyarray(content)
    except (TypeError, ValueError) as error:
        raise InputError(f"{called} is no matrix of numbers: {error}") from error
    if values.dtype.kind == "c":
        raise InputError(f"{called} has complex numbers ({values.dtype}); give real ones")
    if values.dtype.kind not in "fiub":
        raise InputError(
            f"{called} is no matrix of numbers, rows x units, but {values.dtype} of shape {values.shape}"
        )
    values = values if values.dtype.kind == "f" else values.astype(np.float64)
    return np.ma.filled(values, np.nan)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a safetensors file; less than single precision as float32.

    Raises StorageError for a file that cannot be read or is no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    with storing(path):
        try:
            tensors = load_file(path)
        except (SafetensorError, ValueError) as error:
            raise damaged(path, error) from error
    wide = (torch.float32, torch.float64)
    return {
        name: (t.float() if t.is_floating_point() and t.dtype not in wide else t).numpy()
        for name, t in tensors.items()
    }

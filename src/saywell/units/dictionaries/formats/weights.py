"""Arrays and settings that others wrote, taken by name, with what each is to be; nothing in a file is run."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saywell.data.files import require_regular
from saywell.encoders.checkpoints import read_settings
from saywell.errors import InputError
from saywell.units.arrays import reading, real_numbers

SUFFIXES = (".safetensors", ".npz", ".pt", ".pth")


@dataclass(frozen=True)
class Weights:
    """The arrays of a file."""

    file: Path
    arrays: Mapping[str, Tensor]

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def shape(self, name: str) -> tuple[int, ...]:
        """Of an array; raises InputError where there is none of that name."""
        if name not in self.arrays:
            held = ", ".join(sorted(self.arrays)[:12]) or "nothing"
            raise InputError(f"{str(self.file)!r} has no {name!r}; it holds {held}")
        return tuple(self.arrays[name].shape)

    def take(self, name: str, *shape: int) -> Tensor:
        """An array in single precision.

        Raises InputError where there is none, of another shape than is meant, or of other than real numbers.
        """
        found, array = self.shape(name), self.arrays.get(name)
        if found != shape or array is None:
            raise InputError(f"{name} in {str(self.file)!r} has the shape {found}, where {shape} is meant")
        # Views of a few numbers as very many, or of numbers that are not there, can be written in a .pt file.
        plain = array.layout == torch.strided and array.device.type == "cpu" and not array.is_quantized
        if not plain or array.is_complex() or array.nbytes > array.untyped_storage().nbytes():
            raise InputError(f"{name} in {str(self.file)!r} is no plain array of real numbers")
        return array.detach().to(torch.float32).contiguous()

    def table(self, name: str) -> tuple[int, int]:
        """Rows and columns of a matrix; raises InputError for what is none."""
        found = self.shape(name)
        if len(found) != 2:
            raise InputError(f"{name} in {str(self.file)!r} has the shape {found}, where a matrix is meant")
        return found[0], found[1]


def read_weights(file: Path) -> Weights:
    """The arrays of a safetensors, npz or `.pt` file; of the last, with `weights_only=True`.

    Raises InputError for a file that cannot be read, is damaged, or holds other than arrays.
    """
    require_regular(file)
    with reading(file):
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return Weights(file, load_file(file))
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as held:
                arrays = {name: real_numbers(held[name], f"{name} in {str(file)!r}") for name in held.files}
            return Weights(file, {name: torch.from_numpy(_native(array)) for name, array in arrays.items()})
        try:
            with warnings.catch_warnings(action="ignore"):  # of old pickles, before they are refused
                held = torch.load(file, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise InputError(
                f"{str(file)!r} holds more than arrays, and such a pickle could run code, so it is not read;"
                " where you trust it, save its arrays alone with safetensors.torch.save_file"
            ) from error
    if not isinstance(held, Mapping):
        raise InputError(f"{str(file)!r} holds a {type(held).__name__}, where arrays by name are meant")
    return Weights(file, {str(name): array for name, array in held.items() if isinstance(array, Tensor)})


@dataclass(frozen=True)
class Settings:
    """A JSON file, or an object in it."""

    file: Path
    values: Mapping[str, Any]

    @staticmethod
    def read(file: Path, *, needed: str = "") -> Settings:
        """Nothing where there is no such file, unless it is `needed` to know something.

        Raises InputError for a file that is no JSON object, or missing and needed.
        """
        require_regular(file)
        if needed and not file.is_file():
            raise InputError(f"there is no {file.name} in {str(file.parent)!r}, which says {needed}")
        return Settings(file, read_settings(file))

    def within(self, name: str) -> Settings:
        """An object among the values; empty where there is none."""
        return Settings(self.file, self._of(name, dict) or {})

    def text(self, name: str) -> str | None:
        """A value that is a text; None where there is none."""
        return self._of(name, str)

    def flag(self, name: str) -> bool | None:
        """A value that is true or false."""
        return self._of(name, bool)

    def number(self, name: str) -> float | None:
        """A finite number."""
        found = self._of(name, int, float)
        if isinstance(found, float) and not np.isfinite(found):
            raise InputError(f"{name!r} in {str(self.file)!r} is {found}, where a finite number is meant")
        return found

    def whole(self, name: str, *, needed: bool = False) -> int | None:
        """A whole number of 0 or more."""
        found = self.number(name)
        if (found is None and needed) or (found is not None and (found != int(found) or found < 0)):
            raise InputError(f"{name!r} in {str(self.file)!r} is {found}, where a whole number is meant")
        return None if found is None else int(found)

    def _of(self, name: str, *kinds: type) -> Any:
        found = self.values.get(name)
        if found is not None and (type(found) not in kinds):
            said = " or ".join(kind.__name__ for kind in kinds)
            raise InputError(
                f"{name!r} in {str(self.file)!r} is {str(found)[:60]!r}, where a {said} is meant"
            )
        return found


def same(said: int | None, held: int, what: str, settings: Settings) -> None:
    """Raise InputError where settings and arrays say different sizes."""
    if said is not None and said != held:
        raise InputError(
            f"{str(settings.file)!r} says {what} {said}, and the arrays beside it are of {held}; the two do"
            " not belong together"
        )


def _native(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))

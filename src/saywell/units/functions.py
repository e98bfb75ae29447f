"""Functions of examples as units: whatever somebody can compute from a text or a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from saywell.data.examples import Examples
from saywell.encoders.fingerprints import combined
from saywell.errors import InputError, SaywellError
from saywell.units.code import code_of
from saywell.units.exemplars import Locate, nowhere
from saywell.units.firing import EITHER, Firing
from saywell.units.matrix import check_numbers
from saywell.units.responses import InMemory, Responses, order_of
from saywell.units.source import Shuffled
from saywell.units.statistics import source_units

if TYPE_CHECKING:
    from saywell.resources import Resources

_TOGETHER = 32


@dataclass(frozen=True)
class Functions:
    """A unit for each function, called by its name.

    A function takes one example (a text, an RGB picture, a pair) and gives a number, or takes a list of
    them and gives as many; which of the two is seen from what it does with a list of the first two. None
    is for "nobody knows". `version` is the caller's: another one when what `code_of` cannot see changes.
    """

    functions: Mapping[str, Callable[[Any], Any]]
    version: str = ""
    firing: Firing = EITHER
    kind: str = "function"
    _made: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The functions' names."""
        return ", ".join(self.functions)

    @property
    def fingerprint(self) -> str:
        """Of the names, the version and, as far as Python knows it, the code of each, before it is called."""
        return combined(self.version, *self.functions, *self._codes)

    @cached_property
    def _codes(self) -> list[str]:
        return [code_of(call) for call in self.functions.values()]

    def units(self) -> pl.DataFrame:
        """One for each function."""
        return source_units(list(self.functions), self.kind)

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """What each function gives for each example.

        Raises InputError that names the function and the example where one fails, or gives no finite number.
        """
        if examples.fingerprint not in self._made:
            columns = [_Asked(name, call, examples) for name, call in self.functions.items()]
            with resources.progress("functions", len(examples)) as advance:
                rows = []
                for start in range(0, len(examples), _TOGETHER):
                    places = np.arange(start, min(start + _TOGETHER, len(examples)))
                    shown = list(examples.show(places))
                    rows.append(np.stack([column.values(shown, start) for column in columns], axis=1))
                    advance(len(places))
            self._made[examples.fingerprint] = np.concatenate(rows)
        values = self._made[examples.fingerprint]
        check_numbers(values, list(self.functions))
        return InMemory(values.astype(np.float32), order_of(examples.ids)).save(folder)

    def control(self, seed: int) -> Shuffled:
        """The same values, each with another example of its part."""
        return Shuffled(self, seed)

    def locate(self, examples: Examples) -> Locate:
        """A value is of the whole example."""
        return nowhere


def by_name(functions: Sequence[Any]) -> dict[str, Callable[[Any], Any]]:
    """Functions of a list, by the names that they were defined with.

    Raises InputError for what is no function, and for two of one name.
    """
    found: dict[str, Callable[[Any], Any]] = {}
    for number, call in enumerate(functions):
        name = getattr(call, "__name__", type(call).__name__)
        if not callable(call):
            raise InputError(f"activations[{number}] is no function, as others are; give only functions")
        if name in found:
            raise InputError(
                f"two functions are called {name!r}; give them by name: {{'one': ..., 'two': ...}}"
            )
        found[name] = call
    return found


class _Asked:
    """One function, and whether it takes a list."""

    def __init__(self, name: str, call: Callable[[Any], Any], examples: Examples) -> None:
        self.name, self.call, self.examples = name, call, examples
        self.takes_lists = _takes_lists(call, list(examples.show(np.arange(min(2, len(examples))))))

    def values(self, shown: Sequence[Any], first: int) -> np.ndarray:
        if not self.takes_lists:
            return np.array([self._number(self._one(x, first + n), first + n) for n, x in enumerate(shown)])
        try:
            found = list(self.call(list(shown)))
        except SaywellError:
            raise
        except Exception as error:
            row = next((first + n for n, x in enumerate(shown) if _fails(self.call, x)), first)
            raise self._failed(row, f"{type(error).__name__}: {error}") from error
        if len(found) != len(shown):
            raise InputError(f"function {self.name!r} gave {len(found)} values for {len(shown)} examples")
        return np.array([self._number(value, first + n) for n, value in enumerate(found)])

    def _one(self, example: Any, row: int) -> Any:
        try:
            return self.call(example)
        except SaywellError:
            raise
        except Exception as error:
            raise self._failed(row, f"{type(error).__name__}: {error}") from error

    def _number(self, value: Any, row: int) -> float:
        if value is None or value is np.ma.masked:
            return np.nan
        try:
            if np.iscomplexobj(value):
                raise TypeError("it is complex")
            number = float(value)
        except (TypeError, ValueError) as error:
            raise self._failed(row, f"it gave {value!r}, which is no number") from error
        if not np.isfinite(number):
            raise self._failed(row, f"it gave {number}; give None where there is no answer")
        return number

    def _failed(self, row: int, why: str) -> InputError:
        one = self.examples.table.row(row, named=True)
        text = one.get("text") or one.get("name") or one.get("first") or ""
        return InputError(f"function {self.name!r} on example {one['id']} ({str(text)[:80]!r}): {why}")


def _takes_lists(call: Callable[[Any], Any], two: list[Any]) -> bool:
    """Whether a list of examples gives as many numbers."""
    try:
        found = call(two)
        return not isinstance(found, str) and len([_plain(value) for value in found]) == len(two)
    except Exception:
        return False


def _plain(value: Any) -> float:
    return np.nan if value is None else float(value)


def _fails(call: Callable[[Any], Any], example: Any) -> bool:
    try:
        call([example])
    except Exception:
        return True
    return False

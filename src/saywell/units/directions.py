"""Directions at a place of a model as units: vectors, probes, differences of means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float

from saywell.data.examples import Examples
from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.store.files import storing
from saywell.units.arrays import read_tensors, reading, real_numbers
from saywell.units.exemplars import Locate
from saywell.units.firing import STRONGEST, Firing
from saywell.units.hooks import Shown, Tap
from saywell.units.models import LoadedModel, VisionModel, random_twin, random_vision_twin
from saywell.units.neurons import Reading, readable_texts, token_spans, tokens_of
from saywell.units.pictures import Place, find_places, place_taps, region_finder
from saywell.units.pooling import Pooling
from saywell.units.probe import TrialRun, by_token
from saywell.units.responses import Responses
from saywell.units.statistics import source_units
from saywell.units.vision import Looking

if TYPE_CHECKING:
    from saywell.resources import Resources


@dataclass(frozen=True)
class Directions:
    """The dot product of each vector with the output of a module, pooled over tokens or places."""

    model: LoadedModel | VisionModel
    module: str
    vectors: Float[np.ndarray, "units width"]
    names: tuple[str, ...]
    pool: Pooling = "max"
    top: int = 50
    firing: Firing = STRONGEST
    kind: str = "direction"

    @staticmethod
    def of(
        model: LoadedModel | VisionModel,
        module: str,
        vectors: Mapping[str, Any] | np.ndarray | str | Path,
        *,
        names: Sequence[str] | None = None,
        pool: Pooling = "max",
        top: int = 50,
    ) -> Directions:
        """From vectors by name, an array units x width, or a file of either (.safetensors, .npy).

        Raises InputError where they are not as wide as the module's output, with modules where they fit.
        """
        given, rows = _vectors(vectors)
        names = given if names is None else tuple(names)
        if len(names) != len(rows) or len(set(names)) < len(names):
            raise InputError(
                f"there are {len(rows):,} directions, and {len(set(names)):,} different names for them"
            )
        if not np.isfinite(rows).all():
            raise InputError(f"direction {names[int(np.argmin(np.isfinite(rows).all(1)))]!r} is not finite")
        found = Directions(model, module, rows, names, pool, top)
        found._check()
        return found

    @property
    def name(self) -> str:
        """The model and the module."""
        return f"{self.model.name} at {self.module}"

    @property
    def fingerprint(self) -> str:
        """Of the model, the module, the vectors and the pooling."""
        data = np.ascontiguousarray(self.vectors).tobytes()
        return combined(self.model.fingerprint, self.module, self.pool, *self.names, data)

    def units(self) -> pl.DataFrame:
        """One for each vector."""
        table = source_units(self.names, self.kind, model=self.model.name)
        return table.with_columns(module=pl.lit(self.module))

    def prepare(self, examples: Examples) -> Examples:
        """See `readable_texts`."""
        return readable_texts(self.model, examples) if isinstance(self.model, LoadedModel) else examples

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """One pass over the examples."""
        if isinstance(self.model, VisionModel):
            [tap] = place_taps([self._place()])
            taps = [Tap(self.module, tap.side, len(self.names), self._along(tap.view))]
            looking = Looking(self.model, taps, self.pool, self.top)
            return looking.collect(examples, folder, resources, of=self.fingerprint)
        taps = [Tap(self.module, "output", len(self.names), self._along(_by_token))]
        reading = Reading(self.model, taps, self.pool, self.top, low=False)
        return reading.collect(examples, folder, resources, of=self.fingerprint)

    def control(self, seed: int) -> Directions:
        """The same directions in the model with freshly initialised weights."""
        if isinstance(self.model, VisionModel):
            return replace(self, model=replace(random_vision_twin(self.model, seed), name="random weights"))
        return replace(self, model=replace(random_twin(self.model, seed), name="random weights"))

    def locate(self, examples: Examples) -> Locate:
        """The token, or the place in the picture, that responded most."""
        if isinstance(self.model, VisionModel):
            return region_finder(self.model, examples, [self._place()._replace(units=len(self.names))])
        return token_spans(tokens_of(self.model, examples))

    def _place(self) -> Place:
        assert isinstance(self.model, VisionModel)
        return find_places(self.model, [self.module])[0]

    def _along(self, view: Any) -> Any:
        vectors = torch.from_numpy(np.ascontiguousarray(self.vectors, dtype=np.float32))

        def along(found: torch.Tensor, batch: Shown) -> torch.Tensor | None:
            values = view(found, batch)
            return None if values is None else values.float() @ vectors.to(values.device).T

        return along

    def _check(self) -> None:
        width = self.vectors.shape[1]
        here = _width(self.model, self.module)
        if here in (None, width):
            return
        paths = [path for path, _ in self.model.model.named_modules() if path]
        fit = [path for path in paths if _fits(self.model, path, width)]
        hint = f"they would fit {', '.join(fit[:6])}" if fit else "they fit no module of this model"
        if self.vectors.shape[0] == here:
            hint = f"there are {here} of them, so they may be given the other way round; {hint}"
        raise InputError(
            f"module {self.module!r} gives {here} values, and the directions have {width}; {hint}"
        )


def _by_token(found: torch.Tensor, batch: Shown) -> torch.Tensor | None:
    assert batch.mask is not None
    return by_token(found, (batch.mask.shape[0], batch.mask.shape[1]))


def _width(model: LoadedModel | VisionModel, module: str) -> int | None:
    if isinstance(model, VisionModel):
        return find_places(model, [module])[0].units
    try:
        model.model.get_submodule(module)
    except AttributeError:
        paths = [path for path, _ in model.model.named_modules() if path and path.count(".") <= 3]
        some = ", ".join(paths[:12])
        raise InputError(f"the model has no module {module!r}; some that it has: {some}") from None
    return TrialRun(model.model).widths([(module, "output")])[0]


def _fits(model: LoadedModel | VisionModel, module: str, width: int) -> bool:
    try:
        return _width(model, module) == width
    except InputError:
        return False


def _vectors(given: Mapping[str, Any] | np.ndarray | str | Path) -> tuple[tuple[str, ...], np.ndarray]:
    called = "the directions"
    if isinstance(given, str | Path):
        called = repr(str(given))
        given = _read(Path(given))
    if isinstance(given, Mapping):
        rows = {
            str(name): real_numbers(vector, str(name)).astype(np.float64) for name, vector in given.items()
        }
        if len(rows) == 1 and next(iter(rows.values())).ndim == 2:
            given = next(iter(rows.values()))
        else:
            widths = {vector.shape for vector in rows.values()}
            if len(widths) != 1 or len(next(iter(widths))) != 1:
                shown = ", ".join(f"{name} {vector.shape}" for name, vector in list(rows.items())[:4])
                raise InputError(f"{called} are to be vectors of one width, or one array of them: {shown}")
            return tuple(rows), np.stack(list(rows.values()))
    array = real_numbers(given, called)
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2 or not array.size:
        kind = f"{array.dtype} of shape {array.shape}"
        raise InputError(f"{called} are to be numbers, units x width, not {kind}")
    return tuple(f"direction/{number}" for number in range(len(array))), array.astype(np.float64)


def _read(path: Path) -> Any:
    with storing(path):
        if not path.is_file():
            raise InputError(f"there is no file {str(path)!r} with directions")
    if path.suffix == ".safetensors":
        return read_tensors(path)
    if path.suffix != ".npy":
        raise InputError(f"directions are read from .safetensors and .npy, not from {str(path)!r}")
    with reading(path):
        return np.array(np.lib.format.open_memmap(path, mode="r"))

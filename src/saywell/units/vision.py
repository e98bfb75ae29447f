"""The channels, tokens and outputs of an image model as units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from saywell.data.examples import Examples
from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.units.exemplars import Locate
from saywell.units.firing import STRONGEST, Firing
from saywell.units.hooks import BrokenActivations, Tap, run_pass
from saywell.units.models import VisionModel, random_vision_twin
from saywell.units.pictures import PictureFeed, Place, find_places, place_taps, region_finder
from saywell.units.pooling import Pooling
from saywell.units.responses import Responses, Shards
from saywell.units.shards import Keep
from saywell.units.statistics import source_units

if TYPE_CHECKING:
    from saywell.resources import Resources


@dataclass(frozen=True)
class Vision:
    """Units of an image model, each with the maximum, or the mean, over the places of a picture.

    Where units have a largest value (ReLU6), many pictures reach it and the maximum tells them apart no
    more; the mean does. The place is that of the maximum either way. A unit's `name` is what the
    classifier calls an output: no describer may see it.
    """

    model: VisionModel
    what: str
    """outputs, channels or modules"""
    places: tuple[Place, ...]
    pool: Pooling = "max"
    top: int = 50
    firing: Firing = STRONGEST

    @staticmethod
    def of(
        model: VisionModel, modules: Sequence[str] | str = "channels", *, pool: Pooling = "max", top: int = 50
    ) -> Vision:
        """Units at "outputs", at "channels", or at modules by path; see `find_places`."""
        if pool not in ("max", "mean"):
            raise InputError(f"units of an image model are pooled by max or mean, not by {pool!r}")
        what = modules if modules in ("outputs", "channels") else "modules"
        return Vision(model, str(what), tuple(find_places(model, modules)), pool, top)

    @property
    def kind(self) -> str:
        """An output, or a channel."""
        return "output" if self.what == "outputs" else "channel"

    @property
    def name(self) -> str:
        """The model."""
        return self.model.name

    @property
    def fingerprint(self) -> str:
        """Of the model, the places and the pooling."""
        return combined(self.model.fingerprint, *map(repr, self.places), self.pool)

    def units(self) -> pl.DataFrame:
        """Called `outputs/17`, `channels/17`, or `path.of.module/17`."""
        found = []
        for layer, here in enumerate(self.places):
            of = here.module if self.what == "modules" else self.what
            labels = self.model.labels if self.what == "outputs" else ()
            names = [f"{here.module or 'outputs'}[{index}]" for index in range(here.units)]
            ids = [f"{of}/{index}" for index in range(here.units)]
            table = source_units(ids, self.kind, labels if len(labels) == here.units else names, self.name)
            found.append(
                table.with_columns(
                    module=pl.lit(here.module),
                    layer=pl.lit(layer, dtype=pl.Int32),
                    place=pl.col("place") + sum(place.units for place in self.places[:layer]),
                )
            )
        return pl.concat(found).cast({"place": pl.Int32})

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """One pass over the pictures."""
        looking = Looking(self.model, place_taps(self.places), self.pool, self.top)
        return looking.collect(examples, folder, resources, of=self.fingerprint)

    def control(self, seed: int) -> Vision:
        """The same places with freshly initialised weights."""
        return replace(self, model=replace(random_vision_twin(self.model, seed), name="random weights"))

    def locate(self, examples: Examples) -> Locate:
        """The place in the picture that responded most."""
        return region_finder(self.model, examples, self.places)


@dataclass(frozen=True)
class Looking:
    """A pass of an image model over pictures; units go high only."""

    model: VisionModel
    taps: Sequence[Tap]
    pool: Pooling = "max"
    top: int = 50

    def collect(self, examples: Examples, folder: Path, resources: Resources, *, of: str) -> Responses:
        """Raises InputError that names the picture where an activation is not finite."""
        parts = {name: rows.rows for name, rows in examples.parts._asdict().items()}
        feed = PictureFeed.of(self.model, examples)
        of = combined(of, examples.fingerprint, *examples.ids)
        with resources.progress("activations", len(examples)) as advance:
            keep = Keep(self.top, of, progress=advance)
            try:
                run_pass(self.model.model, self.taps, feed, parts, folder, keep, pool=self.pool, low=False)
            except BrokenActivations as error:
                name = examples.table["name"][error.example]
                raise InputError(f"{error}: {name!r}") from error
        return Shards(folder, len(examples))

"""Where units come from, and what they do on examples: all that differs between most questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import polars as pl
from jaxtyping import Bool, Int

from saywell.data.examples import Examples
from saywell.data.splits import hash_numbers
from saywell.units.exemplars import Locate, nowhere
from saywell.units.firing import Firing
from saywell.units.responses import InMemory, Responses, Sparse

if TYPE_CHECKING:
    from saywell.resources import Resources


class ActivationSource(Protocol):
    """Units of one kind, and their responses.

    `fingerprint` is of everything that decides a response, beside the examples. `collect` leaves in
    `folder` what `open_responses` reads, so a later run, or an audit, needs the source no more.
    """

    @property
    def kind(self) -> str:
        """What a unit is called, in the singular: neuron, class, column ..."""
        ...

    @property
    def name(self) -> str:
        """The model, file or columns that they are of."""
        ...

    @property
    def fingerprint(self) -> str:
        """32 hex digits."""
        ...

    @property
    def firing(self) -> Firing:
        """When a unit fires."""
        ...

    def units(self) -> pl.DataFrame:
        """The columns of `saywell.units.statistics.SOURCE`, and columns of the source's own."""
        ...

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """Every place's response to every example. What was stopped goes on.

        Raises InputError where the examples do not go with the source.
        """
        ...

    def control(self, seed: int) -> ActivationSource | None:
        """The same where there is nothing to find; None where there is no such thing."""
        ...

    def locate(self, examples: Examples) -> Locate:
        """Where in an example a response came from."""
        ...


@runtime_checkable
class Prepares(Protocol):
    """A source that cannot read every example, or knows before anything else is done whose they are."""

    def prepare(self, examples: Examples) -> Examples:
        """The examples that it can read, the others among the rejected."""
        ...


@runtime_checkable
class Planned(Protocol):
    """A source whose units were made to a plan, which they do not always follow."""

    def meant(self) -> Mapping[str, Bool[np.ndarray, " examples"]]:
        """By unit, where it should fire."""
        ...


SHUFFLED = "shuffled examples"


@dataclass(frozen=True)
class Shuffled:
    """The control of what is given as numbers: the same rows, each with another example of its part."""

    of: ActivationSource
    seed: int

    @property
    def kind(self) -> str:
        """As of the source."""
        return self.of.kind

    @property
    def name(self) -> str:
        """What is done to it."""
        return SHUFFLED

    @property
    def fingerprint(self) -> str:
        """Of the source."""
        return f"{self.of.fingerprint}-{self.seed}"

    @property
    def firing(self) -> Firing:
        """As of the source."""
        return self.of.firing

    def units(self) -> pl.DataFrame:
        """As of the source."""
        return self.of.units()

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """The source's own responses, in another order."""
        own, rows = self.of.collect(examples, folder, resources), exchanged(examples, self.seed)
        if isinstance(own, InMemory):
            return replace(own, values=own.values[rows]).save(folder)
        assert isinstance(own, Sparse)
        return replace(own, matrix=own.matrix[rows]).save(folder)

    def control(self, seed: int) -> None:
        """A control has none."""

    def locate(self, examples: Examples) -> Locate:
        """Nowhere: the example is not the one that gave the response."""
        return nowhere


def exchanged(examples: Examples, seed: int) -> Int[np.ndarray, " examples"]:
    """For every example the row of one of its part, drawn by hashes; a few draw themselves."""
    ids = np.asarray(examples.ids, dtype=np.str_)
    keys = hash_numbers(examples.ids, seed, "control")
    result = np.arange(len(ids))
    for part in examples.parts:
        rows = part.rows
        result[rows[np.argsort(ids[rows], kind="stable")]] = rows[np.argsort(keys[rows], kind="stable")]
    return result

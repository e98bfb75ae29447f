"""The dictionary of a study: trained here or brought, measured on the user's examples, and kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch

from saywell.data.examples import Examples
from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.scorers.intervals import wilson_interval
from saywell.store.files import read_arrays, write_arrays
from saywell.store.study import Metric, StudyWriter
from saywell.store.table import Table
from saywell.units.dictionaries.dictionary import Dictionary
from saywell.units.dictionaries.fit import measure
from saywell.units.dictionaries.load import Loaded
from saywell.units.dictionaries.train import Method, train
from saywell.units.exemplars import Locate, nowhere
from saywell.units.firing import ACTIVE, Firing
from saywell.units.latents import KIND, LONG, Latents, Moments, Vectors, chosen_latents, drawn, lengths
from saywell.units.models import pick_device
from saywell.units.responses import Responses
from saywell.units.statistics import source_units

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.studies.spine import Run

FIT = Table(
    "fit",
    {
        "dictionary": pl.String,
        "format": pl.String,
        "latents": pl.Int64,
        "explained": pl.Float64,
        "explained_low": pl.Float64,
        "explained_high": pl.Float64,
        "explained_turned": pl.Float64,
        "active": pl.Float64,
        "active_turned": pl.Float64,
        "vectors": pl.Int64,
        "long": pl.Float64,
    },
    key=("dictionary",),
)
"""How far a dictionary goes with the vectors of select examples, on which none is trained: share of their
variance explained (1 is best; 95 % interval from the spread over blocks of them, null for few) and latents
that are active for a vector in the mean.
`turned`: the same of vectors with the same mean and covariance whose directions are turned by chance.
`long`: share of the vectors that are more than ten times as long as the median, and are left out."""
FOLDER, OWN, MOMENTS = "dictionary", "dictionary.safetensors", "moments.safetensors"
LEAST = 0.5
"""Share of the variance below which a dictionary is said not to fit."""
_ROWS, _MEASURED, _HELD = 1024, 20_000, 1_000
_BLOCKS, _OF_BLOCK = 20, 4
"""For an interval, and the vectors of each at least."""
POOR_FIT = (
    "The dictionary explains {} of the variance of these vectors, and what it leaves out no latent shows;"
    " more latents, a larger K or more examples may help."
)
BAD_FIT = (
    "The dictionary explains {} of the variance of these vectors: it may be of another model or place, or"
    " of other examples, and what its latents respond to here may not be what they were made for."
)
SINKS = (
    "{:.1%} of the vectors are more than ten times as long as the median, as those that attention rests on"
    " are (most often the first token of a text): no latent is trained on them, and none fires there."
)


@dataclass(frozen=True)
class Coded:
    """Where latents come from, once the examples are there: a dictionary that is brought, or to be trained.

    `outputs`: where the vectors are that a transcoder leads to.
    """

    vectors: Vectors
    brought: Loaded | Method
    train_on: int
    latents: tuple[int, ...] | None = None
    some: int | None = None
    outputs: Vectors | None = None
    warnings: Sequence[str] = ()
    device: str = "auto"
    firing: Firing = ACTIVE
    kind: str = KIND

    @property
    def name(self) -> str:
        """Where its vectors come from."""
        return self.vectors.name

    @property
    def fingerprint(self) -> str:
        """Of the vectors and of the dictionary, or of how it is trained."""
        brought = self.brought
        own = brought.dictionary.fingerprint if isinstance(brought, Loaded) else repr(brought)
        return combined(self.vectors.fingerprint, own)

    def units(self) -> pl.DataFrame:
        """None yet."""
        return source_units([], self.kind)

    def prepare(self, examples: Examples) -> Examples:
        """Those of which there are vectors."""
        return self.vectors.prepare(examples)

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """Nothing: see `find`."""
        raise RuntimeError("latents are those of a dictionary that is there")

    def control(self, seed: int) -> None:
        """See `Latents`."""

    def locate(self, examples: Examples) -> Locate:
        """See `Latents`."""
        return nowhere

    def find(self, examples: Examples, study: StudyWriter, resources: Resources) -> Latents:
        """The latents that are studied; table `fit`, and the dictionary among the study's arrays."""
        folder = study.arrays(FOLDER)
        files = (f"arrays/{FOLDER}",)
        study.tables((FIT,), lambda: (self._made(examples, folder, study, resources),), files=files)
        dictionary = Dictionary.load(folder / OWN)
        held = read_arrays(folder / MOMENTS)
        only = chosen_latents(dictionary.latents, self.latents, self.some, resources.seed)
        return Latents(self.vectors, dictionary, Moments(**held), only, firing=self.firing)

    def _made(
        self, examples: Examples, folder: Path, study: StudyWriter, resources: Resources
    ) -> pl.DataFrame:
        for warning in self.warnings:
            study.note(warning)
        aside = folder / "making"  # checkpoints and vectors, until all is there
        aside.mkdir(parents=True, exist_ok=True)
        seed, parts = resources.seed, examples.parts
        sample = self.vectors.sample(
            examples, parts.describe.rows, aside / "vectors.npy", self.train_on, resources
        )
        size = lengths(sample)
        longest = float(LONG * np.median(size)) if self.vectors.module is not None else np.inf
        long = float((size > longest).mean())
        if long:
            study.note(SINKS.format(long))
            sample = _kept(sample, size <= longest, aside / "usual.npy")
        dictionary, made = self._dictionary(sample, aside, resources)
        moments = Moments.of(sample, longest)
        # Without select examples nothing that is described is tested, either.
        rows = parts.select.rows if len(parts.select) else parts.describe.rows
        rows, held, outputs = drawn(examples, rows, _HELD, seed), [], None
        for number, vectors in enumerate(filter(None, (self.vectors, self.outputs))):
            held.append(vectors.sample(examples, rows, aside / f"held-{number}.npy", _MEASURED, resources))
        usual = lengths(held[0]) <= longest
        if self.outputs is not None:
            outputs = held[1][usual]
        row = _fitted(dictionary, held[0][usual], outputs, moments.turned(seed))
        if row[0] < LEAST:
            share = f"{row[0]:.0%}" if row[0] > -10 else f"{row[0]:.1e}"
            study.note((BAD_FIT if isinstance(self.brought, Loaded) else POOR_FIT).format(share))
        dictionary.save(folder / OWN)
        arrays = {name: torch.tensor(array) for name, array in moments._asdict().items()}
        write_arrays(folder / MOMENTS, arrays)
        del sample, held
        shutil.rmtree(aside)
        return FIT.frame([(*made, dictionary.latents, *row, long)])

    def _dictionary(
        self, sample: np.ndarray, aside: Path, resources: Resources
    ) -> tuple[Dictionary, tuple[str, str]]:
        """The dictionary, what it is called, and the form in which it came."""
        brought, device = self.brought, str(pick_device(self.device))
        if isinstance(brought, Loaded):
            return brought.dictionary, (brought.made.own, brought.made.format)
        trained = train(
            brought, sample, seed=resources.seed, folder=aside, progress=resources.progress, device=device
        )
        return trained.to("cpu"), (str(brought), "trained")


def _kept(vectors: np.ndarray, which: np.ndarray, path: Path) -> np.ndarray:
    """Some of the vectors, in a file of their own: there may be more than memory holds."""
    shape = (int(which.sum()), vectors.shape[1])
    kept = np.lib.format.open_memmap(path, "w+", vectors.dtype, shape)
    done = 0
    for start in range(0, len(vectors), _MEASURED):
        some = vectors[start : start + _MEASURED][which[start : start + _MEASURED]]
        kept[done : done + len(some)] = some
        done += len(some)
    return kept


def _fitted(
    dictionary: Dictionary,
    vectors: np.ndarray,
    outputs: np.ndarray | None,
    turned: tuple[torch.Tensor, torch.Tensor],
) -> tuple[float, float | None, float | None, float | None, float, float, int]:
    """The figures of table `fit`. Raises InputError for vectors that are all alike."""
    rows = np.arange(len(vectors))
    whole = measure(dictionary, _batches(vectors, outputs, rows))
    if np.isnan(whole.explained):
        raise InputError(
            f"the {len(rows)} vectors that a dictionary would be measured on are all the same, so there is"
            " nothing to explain; give more examples, or another place"
        )
    shift, turn = turned
    elsewhere = measure(dictionary, (torch.addmm(shift, x, turn) for x in _batches(vectors, None, rows)))
    number = min(_BLOCKS, len(rows) // _OF_BLOCK)
    blocks = np.array_split(rows, number) if number > 1 else []
    shares = [measure(dictionary, _batches(vectors, outputs, some)).explained for some in blocks]
    low = high = None
    if shares and np.isfinite(shares).all():
        around = 1.96 * float(np.std(shares, ddof=1)) / number**0.5
        low, high = whole.explained - around, whole.explained + around
    # What a transcoder leads to is not known of vectors that no model gave.
    apart = elsewhere.explained if outputs is None and np.isfinite(elsewhere.explained) else None
    return whole.explained, low, high, apart, whole.active, elsewhere.active, len(rows)


def _batches(vectors: np.ndarray, outputs: np.ndarray | None, rows: np.ndarray) -> Iterator[Any]:
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        x = torch.from_numpy(np.array(vectors[some]))
        yield x if outputs is None else (x, torch.from_numpy(np.array(outputs[some])))


@dataclass(frozen=True)
class Fits:
    """The figures of table `fit`, and how many latents never fire."""

    tables: Sequence[Table] = ()

    def add(self, run: Run) -> list[Metric]:
        """Three figures."""
        row, units = run.study.table(FIT).row(0, named=True), run.study.units
        n, silent = int(row["vectors"]), int((units["maximum"] <= 0).sum())
        explained = Metric(
            name="variance explained",
            value=row["explained"],
            ci_low=row["explained_low"],
            ci_high=row["explained_high"],
            n=n,
            of="vectors",
            controls={"turned by chance": row["explained_turned"]},
        )
        active = Metric(
            name="active latents",
            value=row["active"],
            ci_low=None,
            ci_high=None,
            n=n,
            of="vectors",
            controls={"turned by chance": row["active_turned"]},
            higher_is_better=False,
        )
        never = Metric(
            name="latents that never fire",
            value=silent / max(units.height, 1),
            **dict(zip(("ci_low", "ci_high"), wilson_interval(silent, units.height)[1:3], strict=True)),
            n=units.height,
            of="latents",
            higher_is_better=False,
        )
        return [explained, active, never]

    def again(self, run: Run) -> tuple[list[pl.DataFrame], list[Metric]]:
        """From the stored table: the vectors are not kept."""
        return [], self.add(run)

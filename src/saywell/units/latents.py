"""The latents of a dictionary as units: what of the vectors at a place in a model has a direction of its own.

Vectors come from every token of a text, or every patch of a picture, at a hook point of a model (`AtHook`),
or are an encoder's, one of each example (`OfExamples`). A latent fires where its activation is above 0; its
response to an example is the largest of its tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import polars as pl
import scipy.sparse as sp
import torch
from jaxtyping import Float32, Float64, Int64
from torch import Tensor

from saywell.data.examples import Examples
from saywell.data.splits import hash_numbers
from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.units.dictionaries.dictionary import Dictionary
from saywell.units.dictionaries.harvest import harvest
from saywell.units.dictionaries.rules import Codes
from saywell.units.exemplars import Locate, nowhere
from saywell.units.firing import ACTIVE, Firing
from saywell.units.hook_points import HookPoint, feed_of, hook_tap
from saywell.units.hooks import BrokenActivations, TextFeed
from saywell.units.models import LoadedModel, VisionModel
from saywell.units.neurons import readable_texts, token_spans
from saywell.units.pictures import region_finder
from saywell.units.responses import Responses, RowNumbers, Sparse, order_of
from saywell.units.statistics import source_units
from saywell.units.token_activations import TokenActivations, collect_tokens

if TYPE_CHECKING:
    from saywell.resources import Resources

KIND = "latent"
_ROWS = 1 << 14
Encode = Callable[[Tensor], Codes]


class Vectors(Protocol):
    """Where the vectors come from that a dictionary is of."""

    @property
    def name(self) -> str:
        """The model and the place, or the encoder."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of all that decides a vector beside the examples."""
        ...

    @property
    def module(self) -> str | None:
        """The place in the model."""
        ...

    @property
    def layer(self) -> int | None:
        """The layer of that place, where it is of one."""
        ...

    def prepare(self, examples: Examples) -> Examples:
        """The examples that there are vectors of."""
        ...

    def sample(
        self, examples: Examples, rows: RowNumbers, path: Path, most: int, resources: Resources
    ) -> Float32[np.ndarray, "vectors width"]:
        """Vectors of some examples, `most` at most, drawn by hashes; `path`: where they may be kept."""
        ...

    def collect(
        self, encode: Encode, latents: int, examples: Examples, folder: Path, resources: Resources, of: str
    ) -> Responses:
        """What each latent does on each example."""
        ...

    def locate(self, examples: Examples, latents: int) -> Locate:
        """Where in an example a response came from."""
        ...


@dataclass(frozen=True)
class AtHook:
    """Vectors at a hook point, of each token of a text or patch of a picture; special tokens do not count."""

    model: LoadedModel | VisionModel
    point: HookPoint
    bos: bool | None = None
    engine: str = "local"

    @property
    def name(self) -> str:
        """The model and the hook point."""
        return f"{self.model.name} at {self.point.name}"

    @property
    def fingerprint(self) -> str:
        """Of the model, the hook point and what stands first."""
        return combined(self.model.fingerprint, repr(self.point), str(self.bos))

    @property
    def module(self) -> str:
        """Its path, with ":in" where it is what the module reads."""
        return f"{self.point.module}:in" if self.point.side == "input" else self.point.module

    @property
    def layer(self) -> int | None:
        """Its layer."""
        return self.point.layer

    def prepare(self, examples: Examples) -> Examples:
        """See `readable_texts`."""
        return readable_texts(self.model, examples) if isinstance(self.model, LoadedModel) else examples

    def sample(
        self, examples: Examples, rows: RowNumbers, path: Path, most: int, resources: Resources
    ) -> Float32[np.ndarray, "vectors width"]:
        """See `Vectors`; on disk, where there may be more than memory holds."""
        return harvest(
            self.model.model,
            hook_tap(self.model, self.point),
            feed_of(self.model, examples, bos=self.bos),
            rows,
            path,
            most=most,
            seed=resources.seed,
            progress=resources.progress,
        )

    def collect(
        self, encode: Encode, latents: int, examples: Examples, folder: Path, resources: Resources, of: str
    ) -> Responses:
        """One pass. Raises InputError that shows the example where an activation is not finite."""
        feed = feed_of(self.model, examples, bos=self.bos)
        parts = {name: rows.rows for name, rows in examples.parts._asdict().items()}
        if isinstance(feed, TextFeed):
            parts = {name: rows[feed.tokens.readable[rows]] for name, rows in parts.items()}
        of = combined(of, self.fingerprint, examples.fingerprint, *examples.ids)
        with resources.progress("activations", len(examples)) as advance:
            try:
                collect_tokens(
                    self.model.model,
                    hook_tap(self.model, self.point),
                    encode,
                    latents,
                    feed,
                    parts,
                    folder,
                    of=of,
                    progress=advance,
                    engine=self.engine,
                )
            except BrokenActivations as error:
                column = "text" if examples.kind == "text" else "name"
                raise InputError(f"{error}: {str(examples.table[column][error.example])[:80]!r}") from error
        return TokenActivations(folder, len(examples))

    def locate(self, examples: Examples, latents: int) -> Locate:
        """The token, or the patch of the picture."""
        feed = feed_of(self.model, examples, bos=self.bos)
        if isinstance(feed, TextFeed):
            return token_spans(feed.tokens)
        assert isinstance(self.model, VisionModel) and self.point.place is not None
        return region_finder(self.model, examples, [self.point.place._replace(units=latents)])


@dataclass(frozen=True)
class OfExamples:
    """The vectors of whole examples that the encoder gives which also compares them with words."""

    name: str
    fingerprint: str
    module: str | None = None
    layer: int | None = None

    def prepare(self, examples: Examples) -> Examples:
        """All of them."""
        return examples

    def sample(
        self, examples: Examples, rows: RowNumbers, path: Path, most: int, resources: Resources
    ) -> Float32[np.ndarray, "vectors width"]:
        """See `Vectors`."""
        rows = drawn(examples, rows, most, resources.seed)
        return resources.vectors(examples)[rows].astype(np.float32)

    def collect(
        self, encode: Encode, latents: int, examples: Examples, folder: Path, resources: Resources, of: str
    ) -> Responses:
        """One encoding."""
        codes = encode(torch.from_numpy(resources.vectors(examples).astype(np.float32)))
        cells = codes.rows.cpu().numpy(), codes.latents.cpu().numpy()
        found = sp.csr_matrix((codes.values.cpu().numpy(), cells), shape=(len(examples), latents))
        return Sparse.of(found, order_of(examples.ids)).save(folder)

    def locate(self, examples: Examples, latents: int) -> Locate:
        """In no part of an example."""
        return nowhere


def drawn(examples: Examples, rows: RowNumbers, most: int, seed: int) -> Int64[np.ndarray, " drawn"]:
    """Some of the examples, by hashes of their ids, in order."""
    if len(rows) <= most:
        return rows
    keys = hash_numbers([examples.ids[row] for row in rows], seed, "vectors")
    return rows[np.sort(np.argsort(keys, kind="stable")[:most])]


LONG = 10
"""Times the median length: a vector that is longer stands for its place in the text (an attention sink, most
often the first token), not for what is there (Sun et al. 2024, "Massive Activations", arXiv:2402.17762)."""


def lengths(vectors: Float32[np.ndarray, "vectors width"]) -> Float32[np.ndarray, " vectors"]:
    """Of each vector, some at a time."""
    blocks = np.split(vectors, range(_ROWS, len(vectors), _ROWS))
    return np.concatenate([np.linalg.norm(block, axis=1) for block in blocks]).astype(np.float32)


class Moments(NamedTuple):
    """Mean and covariance of the vectors that a dictionary is of, and how long they are at most."""

    mean: Float64[np.ndarray, " width"]
    covariance: Float64[np.ndarray, "width width"]
    longest: Float64[np.ndarray, ""] = np.array(np.inf)

    @staticmethod
    def of(vectors: Float32[np.ndarray, "vectors width"], longest: float = np.inf) -> Moments:
        """Of a sample, some rows at a time."""
        blocks = np.split(vectors, range(_ROWS, len(vectors), _ROWS))
        mean = sum((block.sum(0, dtype=np.float64) for block in blocks), np.zeros(vectors.shape[1]))
        mean = mean / max(len(vectors), 1)
        away = (block.astype(np.float64) - mean for block in blocks)
        covariance = sum((one.T @ one for one in away), np.zeros((len(mean), len(mean))))
        return Moments(mean, covariance / max(len(vectors), 1), np.array(longest))

    def turned(self, seed: int) -> tuple[Tensor, Tensor]:
        """`shift` [width] and `turn` [width, width], so that x -> x turn + shift keeps mean and covariance.

        Vectors are turned by chance where all directions have the same spread: what the model made of the
        examples is gone from the directions that a dictionary looks along, and the rest of it stays.
        """
        width = len(self.mean)
        levels, axes = np.linalg.eigh(self.covariance)
        spread = np.sqrt(np.maximum(levels, 0))
        some = spread > spread.max(initial=0) * 1e-6
        narrow = np.divide(1, spread, out=np.zeros(width), where=some)
        random = np.random.default_rng(seed)
        rotation, upper = np.linalg.qr(random.standard_normal((int(some.sum()), int(some.sum()))))
        rotation *= np.sign(np.diag(upper))
        inner = np.zeros((width, width))
        inner[np.ix_(some, some)] = rotation
        turn = (axes * narrow) @ inner @ (axes * spread).T
        shift = self.mean - self.mean @ turn
        return torch.from_numpy(shift).float(), torch.from_numpy(turn).float()


@dataclass(frozen=True)
class Latents:
    """A dictionary's latents, on vectors that are its own or were turned by chance (`turn`)."""

    vectors: Vectors
    dictionary: Dictionary
    moments: Moments
    only: tuple[int, ...] | None = None
    """Which of them are studied; all are kept."""
    turn: int | None = None
    """Seed of the rotation, of a control."""
    firing: Firing = ACTIVE
    kind: str = KIND

    @property
    def name(self) -> str:
        """Where its vectors come from."""
        return self.vectors.name if self.turn is None else "turned activations"

    @property
    def fingerprint(self) -> str:
        """Of the vectors and the dictionary."""
        return combined(self.vectors.fingerprint, self.dictionary.fingerprint, str(self.turn))

    def units(self) -> pl.DataFrame:
        """Called `latent/123`, by their numbers in the dictionary."""
        numbers = range(self.dictionary.latents)
        table = source_units([f"latent/{number}" for number in numbers], self.kind, model=self.vectors.name)
        table = table.with_columns(
            module=pl.lit(self.vectors.module, dtype=pl.String),
            layer=pl.lit(self.vectors.layer, dtype=table.schema["layer"]),
        )
        return table if self.only is None else table[list(self.only)]

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """What each does on each example."""
        return self.vectors.collect(
            self._encoder(), self.dictionary.latents, examples, folder, resources, self.fingerprint
        )

    def control(self, seed: int) -> Latents:
        """The same dictionary on vectors that are turned by chance within their covariance."""
        return replace(self, turn=seed)

    def locate(self, examples: Examples) -> Locate:
        """The token or patch of the largest activation."""
        return self.vectors.locate(examples, self.dictionary.latents)

    def _encoder(self) -> Encode:
        longest = float(self.moments.longest)
        turned = None if self.turn is None else self.moments.turned(self.turn)
        known: dict[torch.device, tuple[Dictionary, tuple[Tensor, Tensor] | None]] = {}

        def encode(x: Tensor) -> Codes:
            if x.device not in known:
                moved = turned and (turned[0].to(x.device), turned[1].to(x.device))
                known[x.device] = self.dictionary.to(x.device), moved
            dictionary, turning = known[x.device]
            x = x.float()
            codes = dictionary.encode(x if turning is None else torch.addmm(turning[0], x, turning[1]))
            usual = torch.linalg.vector_norm(x, dim=1) <= longest
            return codes if usual.all() else Codes(*(part[usual[codes.rows]] for part in codes))

        return encode


def chosen_latents(
    latents: int, asked: Sequence[int] | None, some: int | None, seed: int
) -> tuple[int, ...] | None:
    """Which latents are asked for: those named, and of these some drawn by chance; None for all.

    Raises InputError for a number that there is not.
    """
    wanted = range(latents) if asked is None else sorted(set(asked))
    if len(wanted) and wanted[-1] >= latents:
        strange = next(number for number in wanted if number >= latents)
        raise InputError(f"there is no latent {strange}; the dictionary has {latents:,}, numbered from 0")
    if some is not None and some < len(wanted):
        keys: Int64[np.ndarray, " latents"] = hash_numbers([str(n) for n in wanted], seed, "latents")
        drawn = np.sort(np.argsort(keys, kind="stable")[:some])
        return tuple(wanted[place] for place in drawn.tolist())
    return None if asked is None else tuple(wanted)

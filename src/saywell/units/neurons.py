"""The neurons of a language model as units, and how they are read from its passes over texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from jaxtyping import Int

from saywell.data.examples import Examples
from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.units.exemplars import Locate
from saywell.units.firing import STRONGEST, Firing
from saywell.units.hooks import BrokenActivations, Tap, TextFeed, run_pass, site_taps
from saywell.units.models import LoadedModel, random_twin
from saywell.units.pooling import Pooling
from saywell.units.responses import Responses, Shards
from saywell.units.shards import Keep
from saywell.units.sites import Site
from saywell.units.tokens import Tokens, tokenize

if TYPE_CHECKING:
    from saywell.resources import Resources


@dataclass(frozen=True)
class Neurons:
    """The rows of units at the sites of a language model, going high and going low.

    `top` exemplars are kept of each with the token responsible.
    """

    model: LoadedModel
    sites: tuple[Site, ...]
    pool: Pooling = "max"
    top: int = 50
    firing: Firing = STRONGEST
    kind: str = "neuron"

    @property
    def name(self) -> str:
        """The model."""
        return self.model.name

    @property
    def fingerprint(self) -> str:
        """Of the model, its sites and the pooling."""
        return combined(self.model.fingerprint, *map(repr, self.sites), self.pool)

    def units(self) -> pl.DataFrame:
        """Every unit going high, then every one going low."""
        return neuron_units(self.sites, self.name)

    def prepare(self, examples: Examples) -> Examples:
        """See `readable_texts`."""
        return readable_texts(self.model, examples)

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """One pass over the texts. A text without a token is not known."""
        reading = Reading(self.model, site_taps(self.model.model, self.sites), self.pool, self.top)
        return reading.collect(examples, folder, resources, of=self.fingerprint)

    def control(self, seed: int) -> Neurons:
        """The same sites with freshly initialised weights."""
        return replace(self, model=replace(random_twin(self.model, seed), name="random weights"))

    def locate(self, examples: Examples) -> Locate:
        """The token responsible."""
        return token_spans(tokens_of(self.model, examples))


@dataclass(frozen=True)
class Reading:
    """A pass of a language model over texts."""

    model: LoadedModel
    taps: Sequence[Tap]
    pool: Pooling = "max"
    top: int = 50
    low: bool = True

    def collect(self, examples: Examples, folder: Path, resources: Resources, *, of: str) -> Responses:
        """Raises InputError that shows the text where an activation is not finite."""
        tokens = tokens_of(self.model, examples)
        parts = {
            name: rows.rows[tokens.readable[rows.rows]] for name, rows in examples.parts._asdict().items()
        }
        feed = TextFeed(tokens, self.model.pad_id, special=self.pool == "cls")
        of = combined(of, examples.fingerprint, *examples.ids)
        with resources.progress("activations", len(examples)) as advance:
            keep = Keep(self.top, of, progress=advance)
            try:
                run_pass(self.model.model, self.taps, feed, parts, folder, keep, pool=self.pool, low=self.low)
            except BrokenActivations as error:
                raise InputError(f"{error}: {examples.texts[error.example][:80]!r}") from error
        return Shards(folder, len(examples))


def neuron_units(sites: Sequence[Site], model: str, signs: Sequence[int] = (1, -1)) -> pl.DataFrame:
    """Every unit of the sites going high, then every one going low."""
    places = [(site, index) for site in sites for index in range(site.units)]
    frames = [
        pl.DataFrame(
            {
                "id": [unit_id(site.layer, index, sign) for site, index in places],
                "kind": [site.kind for site, _ in places],
                "model": [model] * len(places),
                "module": [site.module for site, _ in places],
                "layer": pl.Series([site.layer for site, _ in places], dtype=pl.Int32),
                "index": pl.Series([index for _, index in places], dtype=pl.Int32),
                "sign": pl.Series([sign] * len(places), dtype=pl.Int8),
                "place": pl.Series(range(len(places)), dtype=pl.Int32),
                "name": [f"{site.module}[{index}]" for site, index in places],
            }
        )
        for sign in signs
    ]
    return pl.concat(frames)


def unit_id(layer: int, index: int, sign: int = 1) -> str:
    """`layer.3/1207`, and `layer.3/1207-` for the same unit going low."""
    return f"layer.{layer}/{index}" + ("" if sign > 0 else "-")


def tokens_of(model: LoadedModel, examples: Examples) -> Tokens:
    """The examples as the model reads them."""
    return tokenize(model.tokenizer, examples.texts, max_tokens=model.max_tokens)


def readable_texts(model: LoadedModel, examples: Examples) -> Examples:
    """The texts of which the tokenizer makes a token, with column `tokens`; the others are rejected.

    A note says how many lose their end.
    """
    tokens = tokens_of(model, examples)
    readable = pl.Series(tokens.readable)
    table = examples.table.with_columns(tokens=pl.Series(tokens.lengths, dtype=pl.Int32))
    refused = examples.table.filter(~readable).select(
        "row",
        reason=pl.lit("no tokens"),
        detail=pl.Series(examples.texts, dtype=pl.String).filter(~readable).str.slice(0, 80),
    )
    notes = examples.notes
    if tokens.cut:
        notes += (
            f"{tokens.cut} sentences are longer than the model reads ({model.max_tokens} tokens)"
            " and lost their end.",
        )
    rejected = examples.rejected
    if refused.height:
        rejected = pl.concat([rejected, refused.select(rejected.columns)]).sort("row")
    tags = None if examples.tags is None else examples.tags.only(np.flatnonzero(tokens.readable))
    return replace(examples, table=table.filter(readable), rejected=rejected, notes=notes, tags=tags)


def token_spans(tokens: Tokens) -> Locate:
    """The characters that a token covers."""

    def locate(
        places: Int[np.ndarray, " pairs"],
        examples: Int[np.ndarray, " pairs"],
        positions: Int[np.ndarray, " pairs"],
    ) -> pl.DataFrame:
        spans = tokens.spans[tokens.starts[examples] + np.maximum(positions, 0)].astype(np.int32)
        told = pl.Series(positions >= 0)
        found = pl.DataFrame({"span_start": spans[:, 0], "span_end": spans[:, 1]})
        return found.with_columns(pl.when(told).then(pl.all()))

    return locate

"""The neurons of a language model as units."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from saywell.units.exemplars import Locate
from saywell.units.sites import Site
from saywell.units.tokens import Tokens


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


def token_spans(tokens: Tokens) -> Locate:
    """The characters that a token covers."""

    def locate(places: object, examples, positions) -> pl.DataFrame:
        spans = tokens.spans[tokens.starts[examples] + positions].astype("int32")
        return pl.DataFrame({"span_start": spans[:, 0], "span_end": spans[:, 1]})

    return locate

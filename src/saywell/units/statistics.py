"""What is known of every unit after a pass: its level, its spread, and when it fires."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
import scipy.sparse as sp

from saywell.units.activations import Activations
from saywell.units.exemplars import Exemplars
from saywell.units.sites import Site
from saywell.units.tokens import Tokens

FIRING_SHARE = 0.05
"""A unit fires on the texts above the quantile that this share of calibration texts reaches."""
BINS = 24
"""Steps of a unit's histogram."""
MAX_FIRING_SHARE = 0.2
"""A unit that comes near its threshold on more than this share has no top to speak of."""
NEAR = 0.002
"""Near is within this part of the unit's range, or of the threshold's size where that is smaller."""


def unit_table(
    activations: Activations, sites: Sequence[Site], model: str, signs: Sequence[int] = (1, -1)
) -> pl.DataFrame:
    """Table `units`: every unit going high, then every unit going low, with its statistics.

    `state` is "ok", "constant" (one value throughout) or "flat" (no threshold that few texts come
    near, such as the low side of a ReLU, which has one value there, or of a GELU, which has nearly one).
    """
    places = [(site, index) for site in sites for index in range(site.units)]
    frames = []
    for sign in signs:
        statistics = {
            name: np.concatenate(parts) for name, parts in _statistics(activations, len(places), sign).items()
        }
        frames.append(
            pl.DataFrame(
                {
                    "id": [unit_id(site.layer, index, sign) for site, index in places],
                    "kind": [site.kind for site, _ in places],
                    "model": [model] * len(places),
                    "layer": pl.Series([site.layer for site, _ in places], dtype=pl.Int32),
                    "index": pl.Series([index for _, index in places], dtype=pl.Int32),
                    "sign": pl.Series([sign] * len(places), dtype=pl.Int8),
                    "name": [f"{site.module}[{index}]" for site, index in places],
                    **{name: pl.Series(values) for name, values in statistics.items()},
                }
            )
        )
    table = pl.concat(frames).cast({"histogram": pl.List(pl.Int32)})
    state = (
        pl.when(pl.col("maximum") <= pl.col("minimum"))
        .then(pl.lit("constant"))
        .when(pl.col("near") > MAX_FIRING_SHARE)
        .then(pl.lit("flat"))
        .otherwise(pl.lit("ok"))
    )
    return table.with_columns(state=state).drop("near")


def unit_id(layer: int, index: int, sign: int = 1) -> str:
    """`layer.3/1207`, and `layer.3/1207-` for the same unit going low."""
    return f"layer.{layer}/{index}" + ("" if sign > 0 else "-")


def _statistics(activations: Activations, units: int, sign: int) -> dict[str, list[np.ndarray]]:
    found: dict[str, list[np.ndarray]] = {
        name: [] for name in ("mean", "std", "minimum", "maximum", "threshold", "fires", "near", "histogram")
    }
    for _, values in activations.blocks("calibration", units, sign=sign):
        threshold = np.quantile(values, 1 - FIRING_SHARE, axis=0, method="higher")
        lowest, highest = values.min(0), values.max(0)
        close = threshold - NEAR * np.minimum(np.abs(threshold), highest - lowest)
        found["mean"].append(values.mean(0, dtype=np.float64))
        found["std"].append(values.std(0, dtype=np.float64))
        found["minimum"].append(lowest.astype(np.float64))
        found["maximum"].append(highest.astype(np.float64))
        found["threshold"].append(threshold.astype(np.float64))
        found["fires"].append((values >= threshold).mean(0))
        found["near"].append((values >= close).mean(0))
        found["histogram"].append(_histograms(values))
    return found


def _histograms(values: np.ndarray) -> np.ndarray:
    """Columns x BINS: how many of a column's values lie in each step from its lowest to its highest."""
    # Wide, so that neither a tiny nor a huge range leaves the numbers that there are.
    low, high = (edge.astype(np.float64) for edge in (values.min(0), values.max(0)))
    scale = BINS / np.where(high > low, high - low, 1)
    steps = np.clip(((values - low) * scale).astype(np.int32), 0, BINS - 1)
    flat = steps + BINS * np.arange(values.shape[1], dtype=np.int32)
    counts = np.bincount(flat.ravel(), minlength=BINS * values.shape[1])
    return counts.reshape(-1, BINS).astype(np.int32)


def exemplar_table(
    activations: Activations,
    units: pl.DataFrame,
    tokens: Tokens | None,
    ids: Sequence[str],
    splits: Sequence[str] = ("calibration", "validation"),
) -> pl.DataFrame:
    """Table `exemplars`: per unit and split the strongest texts among those on which it fires.

    Without `tokens` there are no spans.

    The threshold is the calibration threshold in every split. Units that are not "ok" have none.
    """
    names, texts = units["id"].to_numpy(), np.asarray(ids)
    ok, threshold = (units["state"] == "ok").to_numpy(), units["threshold"].to_numpy()
    frames = []
    for split in splits:
        start = 0
        for sign in units["sign"].unique(maintain_order=True):
            top = activations.top(split, sign=sign)
            part = slice(start, start + len(top.values))
            start = part.stop
            frames.append(_exemplars(top, tokens, names[part], ok[part], threshold[part], texts))
            frames[-1] = frames[-1].with_columns(split=pl.lit(split), activation=sign * pl.col("activation"))
    columns = ["unit", "split", "rank", "example", "activation", "span_start", "span_end"]
    return pl.concat(frames).select(columns)


def _exemplars(
    top: Exemplars,
    tokens: Tokens | None,
    names: np.ndarray,
    ok: np.ndarray,
    threshold: np.ndarray,
    texts: np.ndarray,
) -> pl.DataFrame:
    values, examples = top.values.numpy(), top.examples.numpy()
    fires = ok[:, None] & (examples >= 0) & (values >= threshold[:, None])
    unit, rank = fires.nonzero()
    example = examples[unit, rank]
    if tokens is None:
        spans = np.full((2, len(unit)), None)
    else:
        spans = tokens.spans[tokens.starts[example] + top.positions.numpy()[unit, rank]].T
    return pl.DataFrame(
        {
            "unit": pl.Series(names[unit], dtype=pl.String),  # also where nothing fires
            "rank": pl.Series(rank, dtype=pl.Int32),
            "example": pl.Series(texts[example], dtype=pl.String),
            "activation": pl.Series(values[unit, rank], dtype=pl.Float32),
            "span_start": pl.Series(spans[0], dtype=pl.Int32),
            "span_end": pl.Series(spans[1], dtype=pl.Int32),
        }
    )


def firing(
    activations: Activations, split: str, units: pl.DataFrame
) -> Iterator[tuple[np.ndarray, sp.csr_matrix]]:
    """Which units fire on which texts, a shard at a time: (texts, texts x units binary)."""
    threshold = units["threshold"].to_numpy()
    ok = (units["state"] == "ok").to_numpy()
    signs = units["sign"].unique(maintain_order=True).to_list()
    width = len(units) // len(signs)
    for rows, sides in activations.shards(split, signs):
        parts = []
        for number, values in enumerate(sides):
            part = slice(number * width, (number + 1) * width)
            parts.append(sp.csr_matrix((values >= threshold[part]) & ok[part], dtype=np.float32))
        yield rows, sp.hstack(parts, format="csr")

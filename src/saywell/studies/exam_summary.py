"""The lines of an exam: per describer how often it is right, wrong, and as good as it says."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy import stats

from saywell.data.planted_units import NOISE
from saywell.scorers.intervals import LEVEL, bootstrap_mean

SUMMARY = {
    "describer": pl.String, "units": pl.Int64, "described": pl.Int64, "verified": pl.Int64,
    "recovered": pl.Float64, "recovered_low": pl.Float64, "recovered_high": pl.Float64,
    "f1": pl.Float64, "f1_low": pl.Float64, "f1_high": pl.Float64,
    "noise_units": pl.Int64, "noise_described": pl.Int64, "false": pl.Float64,
    "false_low": pl.Float64, "false_high": pl.Float64, "bias": pl.Float64, "error": pl.Float64,
}  # fmt: skip


def summarize(answers: pl.DataFrame, seed: int) -> pl.DataFrame:
    """One row per describer, in their order (see SUMMARY).

    `recovered` is the share of units with a known truth that were recovered, with a bootstrap interval
    over units; `f1` the mean over the same units of the F1 of the reader's decisions against the true
    rule, 0 where the describer said nothing. `false` is the share of units without any rule for which
    a description was verified, with a Clopper-Pearson interval. `bias` and `error` compare the score
    stated from select texts with the score obtained: mean difference (above 0: it
    promised too much) and mean absolute difference. Null where there is nothing to average.
    """
    rows = []
    for name in answers["describer"].unique(maintain_order=True):
        own = answers.filter(describer=name)
        asked = own.filter(pl.col("recovered").is_not_null())
        right = bootstrap_mean(asked["recovered"].cast(pl.Float64).to_numpy(), seed=seed)
        f1 = bootstrap_mean(asked["rule_f1"].to_numpy(), seed=seed)
        noise = own.filter(kind=NOISE)
        false = false_rate(int((noise["status"] == "verified").sum()), noise.height)
        gap = (own["stated"] - own["value"]).drop_nulls().to_numpy()
        rows.append(
            (name, own.height, int((own["text"] != "").sum()),
             int((own["status"] == "verified").sum()), *right[:3], *f1[:3],
             noise.height, int((noise["text"] != "").sum()), *false,
             *((gap.mean(), np.abs(gap).mean()) if len(gap) else (np.nan, np.nan)))
        )  # fmt: skip
    return pl.DataFrame(rows, schema=SUMMARY, orient="row").fill_nan(None)


def false_rate(false: int, n: int) -> tuple[float, float, float]:
    """Share with its exact 95 % interval (Clopper and Pearson 1934); NaN of nothing."""
    if n == 0:
        return np.nan, np.nan, np.nan
    found = stats.binomtest(false, n).proportion_ci(LEVEL, method="exact")
    return false / n, float(found.low), float(found.high)


def by_kind(answers: pl.DataFrame, column: str = "recovered") -> pl.DataFrame:
    """Kinds down, describers across: the mean of a column, noise left out."""
    known = answers.filter(pl.col("kind") != NOISE).with_columns(pl.col(column).cast(pl.Float64))
    return known.pivot("describer", index="kind", values=column, aggregate_function="mean")

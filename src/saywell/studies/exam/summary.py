"""The lines of an exam: per describer how often it is right, wrong, and as good as it says."""

from __future__ import annotations

import numpy as np
import polars as pl

from saywell.scorers.intervals import bootstrap_mean, share_interval
from saywell.store.table import Table
from saywell.units.planted.rules import NOISE

EXAM_SUMMARY = Table(
    "exam_summary",
    {
        "reader": pl.String,
        "describer": pl.String,
        "units": pl.Int64,
        "described": pl.Int64,
        "verified": pl.Int64,
        "known": pl.Int64,
        "readable": pl.Int64,
        "recovered": pl.Float64,
        "recovered_low": pl.Float64,
        "recovered_high": pl.Float64,
        "off_rule": pl.Float64,
        "off_rule_low": pl.Float64,
        "off_rule_high": pl.Float64,
        "f1": pl.Float64,
        "f1_low": pl.Float64,
        "f1_high": pl.Float64,
        "beyond": pl.Int64,
        "recovered_beyond": pl.Float64,
        "f1_beyond": pl.Float64,
        "localised": pl.Float64,
        "noise_units": pl.Int64,
        "noise_described": pl.Int64,
        "false": pl.Float64,
        "false_low": pl.Float64,
        "false_high": pl.Float64,
        "bias": pl.Float64,
        "error": pl.Float64,
    },
    key=("reader", "describer"),
    optional=frozenset({"beyond", "recovered_beyond", "f1_beyond", "localised"}),
    version=2,
)
"""A line for each reader and describer: shares with 95 % intervals."""


def summarize(answers: pl.DataFrame, seed: int) -> pl.DataFrame:
    """One row for each reader and describer, in their order (see EXAM_SUMMARY).

    `known` counts units with a known truth, `readable` those of them whose true description is
    verified. `recovered` is the share of readable units that were recovered; `off_rule` the share of
    verified descriptions of units with a known truth that do not say what the rule says; `false` the
    share of units without any rule for which a description was verified; all with Clopper-Pearson
    intervals over units. `f1` is the mean over units with a known truth of the F1 of the reader's
    decisions against the true rule, 0 where the describer said nothing, with a bootstrap interval.
    `beyond` counts the units with a known truth that no claim says exactly, and `recovered_beyond` and
    `f1_beyond` are of these alone: what their kinds ask, the language of claims was not made for.
    `localised` is the mean share of responsible words that a description points at, over units whose words
    are known; null where the reader does not point.
    `bias` and `error` compare the score stated from select texts with the score obtained: mean
    difference (above 0: it promised too much) and mean absolute difference. Null where there is
    nothing to average.
    """
    rows = []
    for (reader, name), own in answers.group_by("reader", "describer", maintain_order=True):
        noise = own.filter(kind=NOISE)
        known = own["readable"].drop_nulls()
        beyond = own.filter("beyond")
        f1 = bootstrap_mean(own["rule_f1"].drop_nulls().to_numpy(), seed=seed)
        shares = [
            share_interval(column.drop_nulls().cast(pl.Float64).to_numpy())[:3]
            for column in (own["recovered"], own["off_rule"], noise["status"] == "verified")
        ]
        gap = (own["stated"] - own["value"]).drop_nulls().to_numpy()
        rows.append(
            (
                reader,
                name,
                own.height,
                int((own["text"] != "").sum()),
                int((own["status"] == "verified").sum()),
                len(known),
                int(known.sum()),
                *shares[0],
                *shares[1],
                *f1[:3],
                beyond.height,
                beyond["recovered"].cast(pl.Float64).mean(),
                beyond["rule_f1"].mean(),
                own["localised"].mean(),
                noise.height,
                int((noise["text"] != "").sum()),
                *shares[2],
                *((gap.mean(), np.abs(gap).mean()) if len(gap) else (np.nan, np.nan)),
            )
        )
    return EXAM_SUMMARY.frame(rows).fill_nan(None)


def by_kind(answers: pl.DataFrame, column: str = "recovered") -> pl.DataFrame:
    """Kinds down, describers across: the mean of a column, noise left out."""
    known = answers.filter(pl.col("kind") != NOISE).with_columns(pl.col(column).cast(pl.Float64))
    return known.pivot("describer", index="kind", values=column, aggregate_function="mean")

"""The tables of an exam."""

from __future__ import annotations

import polars as pl

from saywell.store.table import Table

EXAM_UNITS = Table(
    "exam_units",
    {
        "unit": pl.String,
        "kind": pl.String,
        "truth": pl.String,
        "fires": pl.Float64,
        "rule": pl.Float64,
        "texts": pl.Int64,
    },
    key=("unit",),
)
"""What an exam asks: `truth` in words ("" nothing to describe, null unknown), the shares of texts (or
pictures) on which the unit fires and on which its true rule holds."""
EXAM_ANSWERS = Table(
    "exam_answers",
    {
        "describer": pl.String,
        "unit": pl.String,
        "kind": pl.String,
        "text": pl.String,
        "value": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "control": pl.Float64,
        "skill": pl.Float64,
        "skill_low": pl.Float64,
        "skill_high": pl.Float64,
        "p": pl.Float64,
        "n": pl.Int64,
        "stated": pl.Float64,
        "rule_f1": pl.Float64,
        "always_f1": pl.Float64,
        "status": pl.String,
        "truth_f1": pl.Float64,
        "readable": pl.Boolean,
        "recovered": pl.Boolean,
        "off_rule": pl.Boolean,
    },
    key=("describer", "unit"),
    optional=frozenset({"readable", "off_rule"}),
)
"""What a describer said of a unit and how it fared. value, control and skill are against what the unit
does on score texts, `stated` the same F1 on select texts; rule_f1, truth_f1 and always_f1 are
against the true rule, of this text, the true description and "always"."""
EXAM_SUMMARY = Table(
    "exam_summary",
    {
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
        "noise_units": pl.Int64,
        "noise_described": pl.Int64,
        "false": pl.Float64,
        "false_low": pl.Float64,
        "false_high": pl.Float64,
        "bias": pl.Float64,
        "error": pl.Float64,
    },
    key=("describer",),
    optional=frozenset({"known", "readable", "off_rule", "off_rule_low", "off_rule_high"}),
)
"""A line per describer: shares with 95 % intervals; see studies/exam_summary.py."""
EXAM_COSTS = Table(
    "exam_costs", {"describer": pl.String, "calls": pl.Int64, "seconds": pl.Float64}, key=("describer",)
)
"""What answers cost; the seconds are this machine's and differ from run to run."""

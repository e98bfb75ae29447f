"""Does a measure notice that labels are missing, or that there are too many?

The two tests of Oikarinen, Yan and Weng (ICML 2025, arXiv 2506.05774), on units made up
here: a description that says exactly when the unit fires is compared with one that names only half
of those examples (missing), and with one that names as many others besides (extra). Both
are much worse, and a measure that hardly moves cannot tell a description from one half as good.

Our rule, stricter than the paper's (any fall by 0.001): the measure must lose at least a tenth of
its perfect value, in at least 19 of 20 repeats, at every firing rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from saywell.scorers.agreement import MEASURES, Measure

RATES = (0.1, 0.01, 0.001)
LEAST_FALL = 0.1
LEAST_REPEATS = 0.95
TESTS = ("missing", "extra")


def sanity_tests(
    measures: Mapping[str, Measure] = MEASURES,
    *,
    rates: Sequence[float] = RATES,
    examples: int = 50_000,
    repeats: int = 20,
    seed: int = 0,
) -> pl.DataFrame:
    """One row per measure, test and firing rate.

    Columns: measure, headline, test ("missing" or "extra"), rate, perfect and changed (mean value before and
    after), fall (mean share of the perfect value lost), noticed (share of repeats that lose at
    least a tenth), passes.
    """
    rows = []
    random = np.random.default_rng(seed)
    for rate in rates:
        fires, response = _units(rate, examples, repeats, random)
        labels = {"missing": _without_half(fires, random), "extra": _with_as_many(fires, random)}
        for name, measure in measures.items():
            truth = fires if measure.truth == "fires" else response
            perfect = measure.function(_as(fires, measure), truth)
            for test in TESTS:
                changed = measure.function(_as(labels[test], measure), truth)
                fall = (perfect - changed) / perfect
                noticed = float((fall >= LEAST_FALL).mean())
                row: dict[str, object] = dict(
                    measure=name,
                    headline=measure.headline,
                    test=test,
                    rate=rate,
                    perfect=float(perfect.mean()),
                    changed=float(changed.mean()),
                    fall=float(fall.mean()),
                    noticed=noticed,
                    passes=noticed >= LEAST_REPEATS,
                )
                rows.append(row)
    return pl.DataFrame(rows)


def sanity_verdicts(tests: pl.DataFrame) -> pl.DataFrame:
    """One row per measure: the smallest fall at any rate in each test, and whether it passes both."""
    return tests.group_by("measure", "headline", maintain_order=True).agg(
        *(pl.col("fall").filter(pl.col("test") == test).min().alias(test) for test in TESTS),
        pl.col("passes").all(),
    )


def _units(
    rate: float, examples: int, repeats: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Units that fire on exactly their rate of the examples, clearly but not all equally strongly."""
    fires = np.zeros((repeats, examples), dtype=bool)
    fires[:, : round(rate * examples)] = True
    fires = random.permuted(fires, axis=1)
    response = np.where(fires, 1 + random.exponential(0.3, fires.shape), 0)
    return fires, response + np.abs(random.normal(0, 0.02, fires.shape))


def _without_half(fires: np.ndarray, random: np.random.Generator) -> np.ndarray:
    changed = fires.copy()
    for row in changed:
        firing = np.flatnonzero(row)
        row[random.choice(firing, len(firing) // 2, replace=False)] = False
    return changed


def _with_as_many(fires: np.ndarray, random: np.random.Generator) -> np.ndarray:
    changed = fires.copy()
    for row in changed:
        silent = np.flatnonzero(~row)
        row[random.choice(silent, len(row) - len(silent), replace=False)] = True
    return changed


def _as(labels: np.ndarray, measure: Measure) -> np.ndarray:
    return labels if measure.predictions == "said" else labels.astype(np.float32)

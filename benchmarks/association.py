"""Do tests of hypotheses keep their level, and do intervals cover? The tables of docs/hypotheses.md.

    .venv/bin/python benchmarks/association.py [--outcomes 200] [--readings 50] [--only heteroscedastic]

Readings that say nothing of made-up outcomes: how often p is at most 0.05 and 0.001, beside plain tests:
Welch's t, chi-squared, and t of least squares where there are covariates. Readings with a known effect: how
often the 95 % interval holds it, and how wide it is. Last, seconds for 200,000 items.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from scipy import sparse, stats

from saywell.scorers.association import associations, permuted, screened, small
from saywell.scorers.effects import effects
from saywell.scorers.null_model import Null, null_model
from saywell.scorers.outcomes import Outcome, OutcomeKind

LEVELS = (0.05, 0.001)
Case = tuple[Outcome, np.ndarray | None, np.ndarray | None, np.ndarray]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--outcomes", type=int, default=200)
    parser.add_argument("--readings", type=int, default=50)
    parser.add_argument("--only", default="", help="Only cases with this in their name.")
    options = parser.parse_args()
    cases = {name: case for name, case in CASES.items() if options.only in name}
    level(cases, options.outcomes, options.readings)
    if not options.only:
        coverage(options.outcomes * 5)
        speed()


def level(cases: dict[str, Callable], outcomes: int, readings: int) -> None:
    """Share of readings that say nothing with a p at or below each level."""
    print("| outcome and readings | permuted | p <= 0.05 | p <= 0.001 | plain <= 0.05 | <= 0.001 | s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, case in cases.items():
        random = np.random.default_rng(7)
        ours, plain, few = [], [], []
        spent = 0.0
        for number in range(outcomes):
            outcome, covariates, clusters, read = case(random, readings)
            if np.ptp(outcome.values) == 0:
                continue
            plain.append(_plain(outcome, covariates, read))
            started = time.perf_counter()
            null = null_model(outcome, covariates, clusters)
            p, by = tested(null, read, number)
            spent += time.perf_counter() - started
            ours.append(p)
            few.append(by)
        cells = [f"{_share(np.concatenate(of), at)}" for of in (ours, plain) for at in LEVELS]
        print(
            f"| {name} | {np.mean(np.concatenate(few)):.0%} | {' | '.join(cells)} | {spent:.0f} |", flush=True
        )


def tested(null: Null, read: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """p as a study has it, and which are by permutation."""
    p, few = associations(null, read).p, small(null, read)
    p[few] = permuted(null, read[few], seed=seed)
    return p, few


def _share(p: np.ndarray, at: float) -> str:
    p = p[~np.isnan(p)]
    return f"{np.mean(p <= at):.4f}"


def _plain(outcome: Outcome, covariates: np.ndarray | None, read: np.ndarray) -> np.ndarray:
    """p of what is usually done: Welch's t, chi-squared, or t of a least squares coefficient."""
    values = outcome.values
    if covariates is not None or (read < 0).any():
        told = np.ones((len(values), 1)) if covariates is None else np.c_[np.ones(len(values)), covariates]
        basis = np.linalg.qr(told)[0]
        left, rest = read - read @ basis @ basis.T, values - basis @ (basis.T @ values)
        with np.errstate(divide="ignore", invalid="ignore"):
            r = left @ rest / np.sqrt((left**2).sum(1) * (rest @ rest))
            freedom = len(values) - told.shape[1] - 1
            return 2 * stats.t.sf(np.abs(r) * np.sqrt(freedom / (1 - r**2)), freedom)
    p = np.full(len(read), np.nan)
    for row, one in enumerate(read > 0):
        if outcome.kind == "binary":
            table = np.array([[(values[side] == value).sum() for value in (0, 1)] for side in (one, ~one)])
            if table.sum(1).all():
                p[row] = stats.chi2_contingency(table, correction=False)[1]
        elif min(one.sum(), (~one).sum()) > 1 and np.ptp(values[one]) > 0:
            p[row] = stats.ttest_ind(values[one], values[~one], equal_var=False).pvalue
    return p


def _yes(random: np.random.Generator, m: int, n: int, share: float) -> np.ndarray:
    return (random.random((m, n)) < share).astype(float)


def alone(kind: OutcomeKind, n: int, draw: Callable, share: float) -> Callable:
    """Items that stand alone, without covariates."""
    return lambda random, m: (
        Outcome("y", kind, draw(random, n) * 1.0),
        None,
        None,
        _yes(random, m, n, share),
    )


def _coin(rate: float) -> Callable:
    return lambda random, n: random.random(n) < rate


def _uneven_spread(random: np.random.Generator, m: int) -> Case:
    """Where a rare category is, readings hold more often and the outcome is spread four times as wide."""
    n = 500
    rare = random.random(n) < 0.1
    values = random.normal(size=n) * np.where(rare, 4, 1)
    return (
        Outcome("y", "real", values),
        None,
        None,
        np.where(rare, _yes(random, m, n, 0.6), _yes(random, m, n, 0.05)),
    )


def _polarised(kind: OutcomeKind) -> Callable:
    """Readings hold more often where a rare category is, and there the outcome has more spread."""

    def case(random: np.random.Generator, m: int) -> Case:
        n = 500
        rare = random.random(n) < 0.1
        if kind == "ordinal":
            values = np.where(rare, random.choice([1, 5], n), random.choice([2, 3, 4], n))
        else:
            values = random.poisson(np.where(rare, random.gamma(0.5, 8, n), 4))
        read = np.where(rare, _yes(random, m, n, 0.6), _yes(random, m, n, 0.05))
        return Outcome("y", kind, values * 1.0), None, None, read

    return case


def _confounded(kind: OutcomeKind, n: int, base: float) -> Callable:
    """Outcome and readings both go with a covariate, and not with one another beyond it."""

    def case(random: np.random.Generator, m: int) -> Case:
        told = random.normal(size=(n, 3))
        eta = base + 1.2 * told[:, 0] + 0.5 * told[:, 1]
        values = {
            "binary": lambda: random.random(n) < 1 / (1 + np.exp(-eta)),
            "ordinal": lambda: np.digitize(eta + random.logistic(size=n), [-2, -1, 0, 1]),
            "count": lambda: random.poisson(np.exp(eta) * random.gamma(1, 1, n)),
            "real": lambda: eta + random.standard_t(3, n),
        }[kind]()
        return (
            Outcome("y", kind, values * 1.0),
            told,
            None,
            (random.random((m, n)) < 1 / (1 + np.exp(2 - told[:, 0]))) * 1.0,
        )

    return case


def _clustered(n: int, sizes: str, kind: OutcomeKind) -> Callable:
    """Readings and outcome are alike within clusters: copies of one text, or texts of one author."""

    def case(random: np.random.Generator, m: int) -> Case:
        draw = {"pairs": lambda: random.integers(1, 3, n), "authors": lambda: random.geometric(0.1, n)}[
            sizes
        ]()
        clusters = np.repeat(np.arange(n), draw)[:n]
        level = random.normal(size=n)[clusters]
        share = stats.norm.cdf(random.normal(size=(m, n))[:, clusters] - 1)
        values = level + 0.7 * random.normal(size=n)
        values = (values > 1) * 1.0 if kind == "binary" else values
        return Outcome("y", kind, values), None, clusters, (random.random((m, n)) < share) * 1.0

    return case


def _pairs(n: int) -> Callable:
    def case(random: np.random.Generator, m: int) -> Case:
        read = _yes(random, m, n, 0.2) - _yes(random, m, n, 0.2)
        return Outcome("first", "binary", (random.random(n) < 0.5) * 1.0), None, None, read

    return case


def _scales(random: np.random.Generator, n: int) -> np.ndarray:
    return random.choice(5, n, p=[0.1, 0.1, 0.1, 0.2, 0.5])


def _clicks(random: np.random.Generator, n: int) -> np.ndarray:
    return random.poisson(random.lognormal(1, 1.5, n))


CASES: dict[str, Callable] = {
    "binary, 1,000 items, 3 in 10; readings 2 in 10": alone("binary", 1000, _coin(0.3), 0.2),
    "binary, 60 items, 5 in 10; readings 2 in 10": alone("binary", 60, _coin(0.5), 0.2),
    "binary, 10,000 items, 1 in 1,000; readings 2 in 10": alone("binary", 10_000, _coin(0.001), 0.2),
    "binary, 10,000 items, 1 in 1,000; readings 1 in 100": alone("binary", 10_000, _coin(0.001), 0.01),
    "binary, 10,000 items, 3 in 100; readings 1 in 100": alone("binary", 10_000, _coin(0.03), 0.01),
    "pairs, 300; readings differ in 3 in 10": _pairs(300),
    "ordinal, 500 items, 5 steps; readings 1 in 20": alone("ordinal", 500, _scales, 0.05),
    "count, 500 items, heavy tail; readings 1 in 10": alone("count", 500, _clicks, 0.1),
    "count, 5,000 items, heavy tail; readings 1 in 100": alone("count", 5000, _clicks, 0.01),
    "real, 100 items, log-normal; readings 1 in 10": alone(
        "real", 100, lambda r, n: r.lognormal(0, 1, n), 0.1
    ),
    "real, 500 items, heteroscedastic; readings 1 in 10": _uneven_spread,
    "ordinal, 500 items, heteroscedastic; readings 1 in 10": _polarised("ordinal"),
    "count, 500 items, heteroscedastic; readings 1 in 10": _polarised("count"),
    "binary, 500 items, confounded": _confounded("binary", 500, 0.0),
    "binary, 2,000 items, 1 in 50, confounded": _confounded("binary", 2000, -5.0),
    "ordinal, 500 items, confounded": _confounded("ordinal", 500, 0.0),
    "count, 500 items, confounded": _confounded("count", 500, 0.0),
    "real, 100 items, heavy tail, confounded": _confounded("real", 100, 0.0),
    "real, 400 items, clusters of 1 or 2": _clustered(400, "pairs", "real"),
    "binary, 60 items, clusters of 1 or 2": _clustered(60, "pairs", "binary"),
    "real, 2,000 items, clusters of 1 to 50": _clustered(2000, "authors", "real"),
    "binary, 300 items, clusters of 1 to 50": _clustered(300, "authors", "binary"),
}


def coverage(runs: int) -> None:
    """How often the 95 % interval of a known effect holds it."""
    print("\n| effect | true | held | median width |\n|---|---:|---:|---:|")
    for name, (true, case) in EFFECTS.items():
        random = np.random.default_rng(5)
        held, widths = [], []
        for _ in range(runs):
            outcome, covariates, clusters, reading = case(random)
            if np.ptp(outcome.values) == 0 or np.ptp(reading) == 0:
                continue
            _, low, high = effects(null_model(outcome, covariates, clusters), reading[None])
            held.append(bool(low[0] <= true <= high[0]) or np.isnan(low[0]))
            widths.append(high[0] - low[0])
        print(f"| {name} | {true} | {np.mean(held):.3f} | {np.nanmedian(widths):.3f} |", flush=True)


def _shares(n: int, without: float, with_: float, share: float) -> tuple[float, Callable]:
    def case(random: np.random.Generator) -> Case:
        reading = _yes(random, 1, n, share)[0]
        values = random.random(n) < np.where(reading > 0, with_, without)
        return Outcome("y", "binary", values * 1.0), None, None, reading

    return round(with_ - without, 6), case


def _numbers(n: int, share: float, wider: float, draw: Callable) -> tuple[float, Callable]:
    def case(random: np.random.Generator) -> Case:
        reading = _yes(random, 1, n, share)[0]
        told = random.normal(size=(n, 1)) + reading[:, None]
        noise = draw(random, n) * np.where(reading > 0, wider, 1)
        return Outcome("y", "real", 0.7 * reading + told[:, 0] + noise), told, None, reading

    return 0.7, case


def _authors(random: np.random.Generator) -> Case:
    outcome, covariates, clusters, read = _clustered(400, "authors", "real")(random, 1)
    return Outcome("y", "real", outcome.values + 0.7 * read[0]), covariates, clusters, read[0]


def _stars(random: np.random.Generator) -> Case:
    """Holds of few, who nearly all give one star."""
    reading = _yes(random, 1, 300, 0.02)[0]
    values = np.where(reading > 0, 1.0 + (random.random(300) < 0.1), random.integers(1, 6, 300))
    return Outcome("stars", "ordinal", values), None, None, reading


EFFECTS: dict[str, tuple[float, Callable]] = {
    "shares 0.5 and 0.7, 1,000 items, reading 2 in 10": _shares(1000, 0.5, 0.7, 0.2),
    "shares 0.5 and 0.9, 60 items, reading 1 in 10": _shares(60, 0.5, 0.9, 0.1),
    "shares 0.01 and 0.1, 500 items, reading 1 in 50": _shares(500, 0.01, 0.1, 0.02),
    "shares 0.001 and 0.01, 10,000 items, reading 1 in 50": _shares(10_000, 0.001, 0.01, 0.02),
    "number with a covariate, 60 items, reading 2 in 10": _numbers(60, 0.2, 1, lambda r, n: r.normal(size=n)),
    "number with a covariate, 200 items, 1 in 20, spread 4 times": _numbers(
        200, 0.05, 4, lambda r, n: r.normal(size=n)
    ),
    "number with a covariate, 200 items, 1 in 20, log-normal": _numbers(
        200, 0.05, 1, lambda r, n: r.lognormal(size=n) - np.exp(0.5)
    ),
    "number, 400 items, clusters of 1 to 50": (0.7, _authors),
    "stars 3 and 1.1, 300 items, reading 1 in 50": (-1.9, _stars),
}


def speed(n: int = 200_000, m: int = 3000) -> None:
    """Seconds for many items and many sparse readings."""
    random = np.random.default_rng(0)
    read = sparse.random_array((m, n), density=0.02, format="csr", rng=random)
    read.data[:] = 1
    some = read[:40].toarray()
    print(f"\n{m:,} readings of {n:,} items, each holds of 2 in 100; seconds of one core")
    print("| outcome | covariates | null model | screened | tested (40) | effects (40) |")
    print("|---|---:|---:|---:|---:|---:|")
    kinds: tuple[OutcomeKind, ...] = ("binary", "real", "ordinal", "count")
    for kind in kinds:
        for columns in (0, 50):
            told = random.normal(size=(n, columns))
            values = random.random(n) < 0.3 if kind == "binary" else random.poisson(2, n)
            seconds = []
            null: list[Null] = []

            def clocked(step: Callable, seconds: list[float] = seconds) -> None:
                started = time.perf_counter()
                step()
                seconds.append(time.perf_counter() - started)

            outcome = Outcome("y", kind, values * 1.0)
            clocked(lambda o=outcome, t=told, into=null: into.append(null_model(o, t)))
            clocked(lambda into=null: screened(into[0], read))
            clocked(lambda into=null: tested(into[0], some, 0))
            clocked(lambda into=null: effects(into[0], some))
            print(f"| {kind} | {columns} | {' | '.join(f'{s:.2f}' for s in seconds)} |", flush=True)


if __name__ == "__main__":
    main()

"""What raters favour, with a truth that is known: the tables of docs/preferences.md.

    .venv/bin/python benchmarks/preferences.py [--repeats 20] [--data ../shared/data]

Simulated raters: held-out log loss of one set of weights for all, of each rater's alone, and of those drawn
to all, and how often the interval holds the true weight. Planted slips: a tenth of answers is turned round,
and the first of the pairs that are listed are counted, beside chance and beside the signed sum of differences
(`label_inconsistency` of prefscope 0.1.0, of what is read instead of its latents). The same on real pairs,
whose own slips nobody knows; there also raters who are dealt out by chance, from which nothing should be
gained.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy import special

from saywell.claims.english import english
from saywell.claims.ground import Ground
from saywell.data.examples import REJECTED, Examples
from saywell.data.parts import DESCRIBE, PARTS, SELECT
from saywell.describers.statements import statements
from saywell.resources import Resources
from saywell.scorers.outcomes import Outcome
from saywell.scorers.raters import Rated, best_scales, fit_raters, losses
from saywell.studies.hypotheses.asked import load_asked
from saywell.studies.hypotheses.items import Asked, Items
from saywell.studies.hypotheses.pool import Statement, read
from saywell.studies.hypotheses.preferences import argued, measurable, rater_weights
from saywell.studies.hypotheses.search import chosen
from saywell.studies.settings import HypothesisSettings

SETTINGS = (
    # raters, items to learn from, hypotheses, spread of weights, of how many of them
    (25, 1500, 8, 0.0, 8),
    (25, 1500, 8, 0.3, 8),
    (25, 1500, 8, 0.7, 8),
    (25, 1500, 8, 1.0, 1),
    (4, 300, 20, 0.0, 20),
    (4, 300, 20, 0.7, 20),
    (200, 2000, 10, 0.0, 10),
    (200, 2000, 10, 0.7, 10),
)
FLIPPED, FIRST = 0.1, (20, 100)
HYPOTHESES = 20
MODELS = ("all", "alone", "weights")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    simulated_raters(options.repeats)
    simulated_slips(options.repeats)
    real_pairs(options.data, options.repeats)


def simulated_raters(repeats: int) -> None:
    """Held-out log loss, by how many raters said how much and differ by how much."""
    print("| raters | items | hypotheses | spread | truth | for all | alone | drawn | cost at worst | held |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for raters, items, hypotheses, spread, differ in SETTINGS:
        rows, held = [], []
        for seed in range(repeats):
            random = np.random.default_rng(seed)
            data, told, weights = _raters(random, raters, items, hypotheses, spread, differ)
            train, test = data.of(np.arange(items)), data.of(np.arange(items, 2 * items))
            scales = best_scales(train)
            found = {model: fit_raters(train, model, scales) for model in MODELS}
            truth = losses(test, told[items:]).mean()
            rows.append([truth, *(losses(test, found[model].tell(test)).mean() for model in MODELS)])
            own, seen = found["weights"], np.unique(train.rater)
            off = np.abs(own.weights[1:] + own.own[seen, 1:] - weights[seen])
            held.append((off < 1.96 * own.own_errors[seen, 1:]).mean())
        means, worst = np.mean(rows, 0), max(row[3] - row[1] for row in rows)
        of = f"{spread:g}" if differ == hypotheses else f"{spread:g}, of {differ}"
        figures = " | ".join(f"{value:.3f}" for value in means)
        print(
            f"| {raters} | {items:,} | {hypotheses} | {of} | {figures} | {worst:+.3f} |"
            f" {np.mean(held):.0%} |".replace("%", " %"),
            flush=True,
        )


def _raters(random, raters: int, items: int, hypotheses: int, spread: float, differ: int):
    """Twice as many items as are learnt from, the log odds behind them, and each rater's weights."""
    n = 2 * items
    weights = random.normal(0, 0.5, hypotheses) + np.zeros((raters, hypotheses))
    weights[:, :differ] += spread * random.normal(size=(raters, differ))
    # Some raters say much, most say little.
    by = random.choice(raters, size=n, p=random.dirichlet(np.ones(raters)))
    readings = random.choice([-1.0, 0, 1], (n, hypotheses), p=[0.2, 0.6, 0.2])
    told = 0.1 + np.sum(readings * weights[by], axis=1)
    values = (random.random(n) < special.expit(told)).astype(float)
    return Rated(values, readings, np.zeros((n, 0)), by, np.arange(n), True), told, weights


def simulated_slips(repeats: int) -> None:
    """How many of the first pairs that are listed were turned round, of 2,000 pairs."""
    print("\n| what hypotheses tell | first | listed | signed sum | chance |\n|---|---:|---:|---:|---:|")
    for name, strength, copies in (
        ("little", 0.4, 1),
        ("some", 1.0, 1),
        ("some, two of them 5 times", 1.0, 5),
    ):
        shares: dict[int, list[tuple[float, float]]] = {first: [] for first in FIRST}
        for seed in range(repeats):
            random = np.random.default_rng(seed)
            n, hypotheses = 2000, 10
            readings = random.choice([-1.0, 0, 1], (hypotheses, n), p=[0.2, 0.6, 0.2])
            told = (strength * random.normal(size=hypotheses)) @ readings
            values = (random.random(n) < special.expit(told)).astype(float)
            readings = np.repeat(readings, [copies, copies, *[1] * (hypotheses - 2)], axis=0)
            for first, found in _slips(_asked(values), values, readings, random).items():
                shares[first].append(found)
        for first, found in shares.items():
            listed, summed = np.mean(found, 0)
            print(
                f"| {name} | {first} | {listed:.0%} | {summed:.0%} | {FLIPPED:.0%} |".replace("%", " %"),
                flush=True,
            )


def _asked(values: np.ndarray) -> Asked:
    """Pairs without words."""
    n = len(values)
    ids = pl.DataFrame({"id": [f"{i:016x}" for i in range(2 * n)]})
    examples = Examples(ids, "text", "", REJECTED.empty(), n)
    items = Items(np.arange(n), np.arange(n, 2 * n), np.full(n, PARTS[0]), np.arange(n))
    return Asked(examples, items, (Outcome("favoured", "binary", values),), np.zeros((n, 0)))


def _slips(
    asked: Asked, values: np.ndarray, readings, random, said: list[Statement] | None = None
) -> dict[int, tuple[float, float]]:
    """Of the first pairs the share that was turned round: as they are listed, and by the signed sum.

    With `said` hypotheses are chosen among the readings by the answers as they are turned round.
    """
    flipped = random.random(len(values)) < FLIPPED
    outcome = Outcome("favoured", "binary", np.where(flipped, 1 - values, values))
    asked = replace(asked, outcomes=(outcome,))
    if said is not None:
        _, choice = chosen(asked, readings, said, HYPOTHESES)
        readings = readings[[one.statement for one in choice]].toarray()
    table = argued(asked, outcome, [f"h{n}" for n in range(len(readings))], readings)
    place = {str(row): at for at, row in enumerate(asked.items.rows)}
    listed = [place[item] for item in table["item"]]
    # As prefscope 0.1.0 has it: the mean over all pairs of each difference, seen from what was favoured.
    sides = np.where(outcome.known, 2 * np.nan_to_num(outcome.values) - 1, 0)
    favour = readings @ sides / outcome.known.sum()
    summed = np.argsort(np.where(outcome.known, sides * (favour @ readings), np.inf), kind="stable")
    return {first: (flipped[listed[:first]].mean(), flipped[summed[:first]].mean()) for first in FIRST}


def real_pairs(data: Path, repeats: int) -> None:
    """Headlines and tweets: what differs, slips that were planted, and raters by chance."""
    frame = pl.read_parquet(data / "hypobench_real.parquet")
    for name in ("headline_binary", "retweet"):
        started = time.process_time()
        source = frame.filter(pl.col("dataset") == name).select("text", "text_b", "label")
        label = pl.col("label").str.to_lowercase()
        first = label.str.starts_with("headline 1") | (label == "first")
        source = source.with_columns(
            favoured=pl.when(first).then(pl.lit("first")).otherwise(pl.lit("second"))
        )
        asked = load_asked(source, HypothesisSettings(text="text", pair="text_b", target="favoured"))
        table, readings, said = _found(asked)
        outcome = asked.outcomes[0]
        null = asked.null(0, asked.items.of(DESCRIBE, SELECT))
        assert null is not None
        differs = measurable(table, readings[:, null.rows], null)
        print(f"\n{name}: {len(asked.items):,} pairs, {table.height:,} statements", flush=True)
        print("| what differs | in pairs | is the first | favoured | z |\n|---|---:|---:|---:|---:|")
        clear = differs.sort(pl.col("z").abs(), descending=True, nulls_last=True).head(5)
        for row in [*differs.head(5).iter_rows(named=True), *clear.iter_rows(named=True)]:
            shares = " | ".join(f"{row[key]:.0%}" for key in ("differs", "first", "expressed"))
            print(f"| {row['text']} | {shares} | {row['z']:+.1f} |".replace("%", " %"))
        slips, lost = [], []
        for seed in range(repeats):
            random = np.random.default_rng(seed)
            slips.append(_slips(asked, outcome.values, readings, random, said))
            _, choice = chosen(asked, readings, said, HYPOTHESES)
            own = readings[[one.statement for one in choice]].toarray()
            names = [f"h{n}" for n in range(len(own))]
            by = pl.Series("by", random.integers(15, size=len(asked.items)))
            gains = rater_weights(replace(asked, raters=by), outcome, names, own).gains
            lost.append(dict(gains.select("model", "gain").iter_rows()))
        for first in FIRST:
            listed, summed = np.mean([found[first] for found in slips], 0)
            print(f"turned round of the first {first}: {listed:.0%} as listed, {summed:.0%} by the sum")
        for model in ("weights", "alone"):
            costs = [-gain[model] for gain in lost]
            print(f"15 raters by chance, {model}: loss {np.mean(costs):+.4f} (at worst {max(costs):+.4f})")
        print(f"{time.process_time() - started:.0f} s", flush=True)


def _found(asked: Asked):
    """Claims that describe texts bear out, what they say of each pair, and what they cost to say."""
    resources = Resources()
    ground = Ground(asked.examples.only(asked.examples.parts.describe), resources)
    said = [Statement("claims", english(claim, "text"), str(claim)) for claim in statements(ground)]
    readings = asked.items.read(read(said, asked.examples, resources))
    table = pl.DataFrame(
        {"unit": [f"claims/{n}" for n in range(len(said))], "found_by": "claims"}
        | {"text": [one.text for one in said], "claim": [one.claim for one in said]}
    )
    return table, readings, said


if __name__ == "__main__":
    main()

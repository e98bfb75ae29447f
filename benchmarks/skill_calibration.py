"""Does the test of skill keep its level, and do its intervals cover? The tables of docs/scores.md.

    .venv/bin/python benchmarks/skill_calibration.py [--units 2000]

Units are made up, with 5,000 examples each: descriptions without skill beside floors that are as good
or as bad, and descriptions of known F1 read from all examples and from samples of 300.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from saywell.scorers.sampling import sample_examples
from saywell.scorers.skill import measure, measure_skill, settle, tally, verified

EXAMPLES, BUDGET = 5000, 300


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--units", type=int, default=2000)
    options = parser.parse_args()
    level(options.units)
    coverage(options.units // 5)
    stability(options.units // 4)


def stability(units: int) -> None:
    """Verdicts that depend on which resamples were drawn, from no skill to a clear one."""
    random = np.random.default_rng(2)
    ids = [str(number) for number in range(units)]
    fires = random.random((units, 1000), dtype=np.float32) < 0.05
    hits = np.linspace(0.05, 0.5, units)[:, None]
    said, floor = (
        np.where(fires, random.random(fires.shape) < found, random.random(fires.shape) < 0.05)
        for found in (hits, 0.1)
    )
    print("\n| resamples | verified | not the same under all of 5 seeds | s |\n|---|---:|---:|---:|")
    counts = [tally(said, {"a": floor}, fires, units=ids, seed=seed) for seed in range(5)]
    for name, found in (("400", measure), ("as many as the verdict needs", settle)):
        started = time.process_time()
        verdicts = np.array([verified(found(counted)) for counted in counts])
        seconds = (time.process_time() - started) / len(counts)
        differ = int((verdicts != verdicts[0]).any(0).sum())
        sums = verdicts.sum(1)
        print(f"| {name} | {sums.min()} to {sums.max()} | {differ} | {seconds:.1f} |")


def level(units: int) -> None:
    """Share of descriptions without skill that a level of 0.05 lets pass."""
    random = np.random.default_rng(11)
    ids = [str(number) for number in range(units)]
    print("| null | firing | p <= 0.05 | interval above 0 | verified |\n|---|---:|---:|---:|---:|")
    for rate in (0.1, 0.01, 0.001):
        fires = _chance(random, units, rate)

        def blind(rate: float = rate) -> np.ndarray:
            return _chance(random, units, rate)

        def right(rate: float = rate, fires: np.ndarray = fires) -> np.ndarray:
            return np.where(fires, _chance(random, units, 0.7), _chance(random, units, rate / 2))

        for name, said, floors in (
            ("independent of firing, two such floors", blind(), {"a": blind(), "b": blind()}),
            ("exactly as good as its only floor", right(), {"a": right()}),
            ("exactly as good as its two floors", right(), {"a": right(), "b": right()}),
        ):
            skill = measure_skill(said, floors, fires, units=ids, seed=0)
            tested = ~np.isnan(skill.p)
            print(
                f"| {name} | {rate:g} | {np.mean(skill.p[tested] <= 0.05):.3f} |"
                f" {np.mean(skill.skill_low[tested] > 0):.3f} | {verified(skill).mean():.3f} |"
            )


def coverage(units: int) -> None:
    """How often intervals of F1 hold the true value, from all examples and from a sample."""
    random = np.random.default_rng(5)
    ids = [str(number) for number in range(units)]
    examples = [str(number) for number in range(EXAMPLES)]
    print("\n| firing, false alarms | read | true F1 | mean | interval covers | width |")
    print("|---|---|---:|---:|---:|---:|")
    for rate, alarms in ((0.1, 0.05), (0.01, 0.02), (0.01, 0.002), (0.001, 0.001)):
        fires = _chance(random, units, rate)
        said = np.where(fires, _chance(random, units, 0.8), _chance(random, units, alarms))
        response = random.random((units, EXAMPLES)) + fires
        truth = 1.6 * rate / (1.8 * rate + (1 - rate) * alarms)
        sample = sample_examples(response, fires, examples=examples, units=ids, budget=BUDGET, seed=0)
        read, real = (np.take_along_axis(table, sample.rows, 1) for table in (said, fires))
        for name, found in (
            (str(BUDGET), measure_skill(read, {}, real, units=ids, seed=0, sample=sample)),
            ("all", measure_skill(said, {}, fires, units=ids, seed=0)),
        ):
            tested = ~np.isnan(found.value)
            low, high = found.low[tested], found.high[tested]
            print(
                f"| {rate:g}, {alarms:g} | {name} | {truth:.2f} | {found.value[tested].mean():.2f} |"
                f" {np.mean((low <= truth) & (truth <= high)):.2f} | {np.mean(high - low):.2f} |"
            )


def _chance(random: np.random.Generator, units: int, rate: float) -> np.ndarray:
    return random.random((units, EXAMPLES), dtype=np.float32) < rate


if __name__ == "__main__":
    main()

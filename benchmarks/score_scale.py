"""Time and memory of scoring 10,000 units on 20,000 examples with a sentence encoder as reader.

Run: python benchmarks/score_scale.py [--units N] [--examples N]

Vectors and responses are made up: every description is a direction, its unit responds along it with
noise, and one unit in ten has another unit's description. Half of the examples fit thresholds, half score.
Five floors: another unit at random, the nearest sibling, the most frequent description, always, never.
Peak memory is that of the whole process, interpreter and libraries included.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from saywell.data.parts import ScoreRows, SelectRows
from saywell.encoders.vectors import unit_length
from saywell.scorers.floors import another_unit, most_frequent, nearest_sibling
from saywell.scorers.scoring import Task, firing, score_units
from saywell.scorers.skill import verified

DIM, RATE = 384, 0.01


@contextmanager
def timed(what: str) -> Iterator[None]:
    start, cpu = time.perf_counter(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    took = time.perf_counter() - start
    print(f"| {what} | {took:.1f} | {time.process_time() - cpu:.1f} | {peak:.2f} |", flush=True)


def unit_vectors(random: np.random.Generator, count: int) -> np.ndarray:
    vectors = random.standard_normal((count, DIM), dtype=np.float32)
    return unit_length(vectors)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--units", type=int, default=10_000)
    parser.add_argument("--examples", type=int, default=20_000)
    arguments = parser.parse_args()
    units, examples = arguments.units, arguments.examples
    random = np.random.default_rng(0)
    print("| step | seconds | processor seconds | peak GiB |\n|---|---:|---:|---:|")
    with timed("make data"):
        texts, directions = unit_vectors(random, examples), unit_vectors(random, units)
        response = np.empty((units, examples), dtype=np.float16)
        for start in range(0, units, 256):
            block = directions[start : start + 256] @ texts.T
            block += random.standard_normal(block.shape, dtype=np.float32) * 0.02
            response[start : start + 256] = block
        descriptions = [f"text {number}" for number in range(units)]
        wrong = random.choice(units, units // 10, replace=False)
        for unit, other in zip(wrong, np.roll(wrong, 1), strict=True):
            descriptions[unit] = f"text {other}"
        described = directions[[int(text.split()[1]) for text in descriptions]]
        select, score = SelectRows(np.arange(0, examples, 2)), ScoreRows(np.arange(1, examples, 2))
        at = np.empty(units, dtype=np.float32)
        for start in range(0, units, 256):
            seen = response[start : start + 256][:, select.rows]
            place = int((1 - RATE) * seen.shape[1])
            at[start : start + 256] = np.partition(seen, place, axis=1)[:, place]
    ids = [f"unit {number}" for number in range(units)]
    with timed("choose floors"):
        floors = {
            "another unit": another_unit(descriptions, ids, seed=0),
            "nearest sibling": nearest_sibling(descriptions, described),
            "most frequent": most_frequent(descriptions),
        }
    with timed("score"):
        task = Task(
            ids,
            lambda numbers, rows: described[numbers] @ texts[rows].T,
            firing(response, at),
            select,
            score,
            floors,
        )
        scores = score_units(task, seed=0)
    skill, true = scores.skill, verified(scores.skill)
    right = np.ones(units, dtype=bool)
    right[wrong] = False
    print(
        f"\nF1 {np.nanmean(skill.value):.3f}, skill {np.nanmean(skill.skill):.3f}; verified"
        f" {true[right].mean():.1%} of {right.sum()} right and {true[~right].mean():.1%} of"
        f" {(~right).sum()} wrong descriptions"
    )


if __name__ == "__main__":
    main()

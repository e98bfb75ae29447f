"""Seconds of one core and memory of reading what a study of hypotheses is asked about.

    python benchmarks/hypotheses_data.py [--rows 200000]

Made-up texts of 20 to 120 words, of which one in fifty is nearly another one, in a Parquet file; each
question is read in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import polars as pl

from saywell.studies.hypotheses.asked import load_asked
from saywell.studies.settings import HypothesisSettings

QUESTIONS = {
    "a target": {"target": "stars", "covariate": "none"},
    "and 50 covariates": {"target": "stars", "covariate": ["length", *(f"x{i}" for i in range(49))]},
    "and groups and raters": {"target": "stars", "covariate": "length", "group": "author", "by": "shop"},
    "in parts of its own": {"target": "stars", "split": "fold", "covariate": "length"},
    "pairs": {"text": "text", "pair": "other", "target": "best", "covariate": "length"},
    "pairs without a target": {"text": "text", "pair": "other", "covariate": "length"},
}


def made(rows: int) -> pl.DataFrame:
    """The rows of a source."""
    draw = np.random.default_rng(0)
    words = np.array([f"w{i:x}" for i in range(30_000)])
    chances = 1 / np.arange(1, len(words) + 1)

    def texts() -> list[str]:
        lengths = draw.integers(20, 120, rows)
        said = words[draw.choice(len(words), lengths.sum(), p=chances / chances.sum())]
        found = [" ".join(own) for own in np.split(said, np.cumsum(lengths)[:-1])]
        for copy, of in draw.integers(0, rows, (rows // 50, 2)).tolist():
            found[copy] = f"{found[of]} indeed"
        return found

    return pl.DataFrame(
        {
            "text": texts(),
            "other": texts(),
            "stars": draw.integers(1, 6, rows),
            "author": draw.integers(0, rows // 4, rows),
            "shop": [f"shop {i}" for i in draw.integers(0, 30, rows)],
            "fold": draw.choice(["train", "val", "test"], rows),
            "best": draw.choice(["text", "other"], rows),
            **{f"x{i}": draw.normal(size=rows) for i in range(49)},
        }
    )


def measured(question: str, file: Path) -> tuple[float, float, str]:
    """Seconds of the processor, megabytes of the process at most, and what came of it."""
    begin = time.process_time()
    found = load_asked(file, HypothesisSettings(**QUESTIONS[question]))
    seconds = time.process_time() - begin
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    clusters = len(found.items) if found.clusters is None else int(found.clusters.max()) + 1
    return seconds, most, f"{len(found.items):,} items, {len(found.examples):,} texts, {clusters:,} clusters"


def main() -> None:
    """A line for each question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    rows = parser.parse_args().rows
    with TemporaryDirectory() as folder:
        file = Path(folder) / "rows.parquet"
        made(rows).write_parquet(file)
        for question in QUESTIONS:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                seconds, most, came = alone.submit(measured, question, file).result()
            print(f"{question:<24}{seconds:>7.1f} s {most:>8,.0f} MB   {came}", flush=True)


if __name__ == "__main__":
    main()

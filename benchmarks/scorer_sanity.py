"""Which measures notice missing and extra labels, as a Markdown table.

Run: python benchmarks/scorer_sanity.py
"""

from __future__ import annotations

import polars as pl

from saywell.scorers.agreement import MEASURES
from saywell.scorers.sanity import RATES, TESTS, sanity_tests, sanity_verdicts


def main() -> None:
    tests = sanity_tests()
    falls = [(test, rate) for test in TESTS for rate in RATES]
    print("| measure | " + " | ".join(f"{test}, {rate:.1%}" for test, rate in falls) + " | passes |")
    print("|---|" + "---:|" * len(falls) + "---|")
    for row in sanity_verdicts(tests).iter_rows(named=True):
        found = tests.filter(pl.col("measure") == row["measure"])
        cells = [
            found.filter((pl.col("test") == test) & (pl.col("rate") == rate))["fall"][0]
            for test, rate in falls
        ]
        shown = " | ".join(f"{cell:.1%}" for cell in cells)
        headline = "**yes**" if row["passes"] else "no"
        print(f"| {row['measure'].replace('_', ' ')} | {shown} | {headline} |")
    wrong = [m for m, row in MEASURES.items() if row.headline != _passes(tests, m)]
    print(f"\nMarked wrongly in MEASURES: {', '.join(wrong) or 'none'}")


def _passes(tests: pl.DataFrame, measure: str) -> bool:
    return bool(tests.filter(pl.col("measure") == measure)["passes"].all())


if __name__ == "__main__":
    main()

"""The study of classes on the planted world: what each rule chooses, and what that is worth.

    python benchmarks/classes_planted.py [--images 60] [--shots 1,2,4,8,16] [--seeds 5] [--out FOLDER]

Prints the tables of docs/results-classes.md. Without --out nothing is kept.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import polars as pl

from saywell.store.study import Study
from saywell.studies.planted import describe_planted_classes
from saywell.transfer.text_sets import TextSet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=60, help="pictures a class")
    parser.add_argument("--shots", default="1,2,4,8,16")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--world-seed", type=int, default=0)
    parser.add_argument("--network", default=None, help="also: influence in this network")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or Path(scratch)
        started = time.perf_counter()
        study = describe_planted_classes(
            folder / "classes",
            world=folder / "planted",
            per_class_images=options.images,
            world_seed=options.world_seed,
            shots=[int(s) for s in options.shots.split(",") if s],
            seeds=options.seeds,
            network=options.network,
        )
        print(f"{options.images} pictures a class, {time.perf_counter() - started:.0f} s\n")
        print_tables(study)


def print_tables(study: Study) -> None:
    """The study's figures as Markdown."""
    print("| figure | value | 95 % interval | controls | reference | n |\n|---|---|---|---|---|---|")
    for m in study.headline():
        print(
            f"| {m.name} | {_three(m.value)} | {_three(m.ci_low)} to {_three(m.ci_high)} |"
            f" {_listed(m.controls)} | {_listed(m.reference)} | {m.n} |"
        )
    print("\n| zero-shot | texts | accuracy | 95 % interval |\n|---|---|---|---|")
    for r in study.table("zero_shot").iter_rows(named=True):
        print(
            f"| {TextSet(*(r[c] for c in TextSet._fields)).said} | {r['texts']} | {r['accuracy']:.3f} |"
            f" {r['ci_low']:.3f} to {r['ci_high']:.3f} |"
        )
    summary = study.table("transfer_summary")
    for selection in summary["selection"].unique(maintain_order=True):
        part = summary.filter(selection=selection)
        shots = sorted(part["shots"].unique(), key=lambda s: (s == 0, s))
        head = " | ".join("all images" if s == 0 else f"{s}" for s in shots)
        print(f"\n| transfer, selection {selection!r} | {head} |\n|---|{'---|' * len(shots)}")
        rows = part.select(*TextSet._fields, "training").unique(maintain_order=True)
        for *fields, training in rows.iter_rows():
            texts, cells = TextSet(*fields), []
            for number in shots:
                found = part.filter(training=training, shots=number, **texts._asdict())
                cells.append(_cell(found.row(0, named=True)) if found.height else "")
            print(f"| {texts.said}{', joint' if training == 'joint' else ''} | {' | '.join(cells)} |")
    for note in study.manifest.notes:
        print(f"\n* {note}")


def _cell(row: dict[str, float]) -> str:
    gain = f"{row['difference']:+.3f}"
    if row["difference_low"] > 0 or row["difference_high"] < 0:
        gain = f"**{gain}**"
    return f"{row['accuracy']:.3f} ({gain})"


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _listed(values: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {_three(value)}" for name, value in values.items())


if __name__ == "__main__":
    pl.Config.set_tbl_rows(100)
    main()

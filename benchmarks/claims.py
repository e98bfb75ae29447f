"""What claims bring in the exam: the tables of docs/exam.md about describers and readers side by side.

    .venv/bin/python benchmarks/claims.py [--only planted tasks images noise] [--seeds 0 1 2 3]
        [--tasks FILE] [--limit N] [--noise-units N] [--out FOLDER]

Prints Markdown. Every exam is sat once by all describers and read by all readers. Kinds whose rules a
claim says exactly are set apart from those beyond the language, for which no grammar holds the answer.
`noise` is one exam with many units that follow no rule. With --out the exams are kept there as studies, and
a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from saywell.describers.registry import describers_of
from saywell.readers.registry import READERS
from saywell.scorers.intervals import share_interval
from saywell.store.study import Study
from saywell.studies.exam import TRUTH, run_exam
from saywell.studies.exam.answers import ENOUGH
from saywell.units.planted.rules import NOISE
from saywell.units.planted.tokens import rules_of_tokens

D3 = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "d3_dev.parquet"
DESCRIBERS = ("claims", "enrichment", "covering", "extractive", "dissect", "random-phrase")
READ_BY = ("claims", "sentence-encoder", "dual-encoder", "lexical")
OWN = {"claims": "claims"}
"""Who reads what a describer wrote, where not the encoder."""
WORST = 10


def main() -> None:
    """Sit the exams and print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    exams = ("planted", "tasks", "images", "noise")
    parser.add_argument("--only", nargs="+", choices=exams, default=exams)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3])
    parser.add_argument("--tasks", type=Path, default=D3 if D3.exists() else None)
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--noise-units", type=int, default=205)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    first = options.seeds[:1]
    asked = {
        "planted": ("Planted units over the demo", options.seeds, {}),
        "tasks": ("Two-group tasks", first, {"tasks": options.tasks, "limit": options.limit}),
        "images": ("Planted pictures", options.seeds, {"images": True}),
        "noise": (
            f"{options.noise_units} units that follow no rule",
            first,
            {"noise_units": options.noise_units, "per_kind": 1},
        ),
    }
    for name in options.only:
        title, seeds, more = asked[name]
        if name == "tasks" and options.tasks is None:
            continue
        started = time.perf_counter()
        found = pl.concat([sat(seed, more, options.out and options.out / f"{name}-{seed}") for seed in seeds])
        seconds = time.perf_counter() - started
        print(f"\n### {title}, seeds {', '.join(map(str, seeds))} ({seconds:.0f} s)\n", flush=True)
        if name == "noise":
            print_false(found)
        else:
            print_lines(found)
            print_kinds(found)
            print_worst(found)


def sat(seed: int, more: dict, out: Path | None) -> pl.DataFrame:
    """All answers of one exam, with the seed, the claims, and `best`: the truth's F1 by its best reader."""
    kind = "image" if "images" in more else "text"
    describers = [name for name in DESCRIBERS if name in describers_of(kind)]
    readers = [name for name, reader in READERS.items() if kind in reader.reads and name in READ_BY]
    with TemporaryDirectory() as nowhere:
        folder = out or Path(nowhere) / "exam"
        exam = run_exam(describer=describers, reader=readers, seed=seed, out=folder, **more)
        said = Study(folder).descriptions.select("unit", "describer", "claim")
    best = pl.col("rule_f1").filter(pl.col("describer") == TRUTH).max().over("unit")
    answers = exam.answers.join(exam.units.select("unit", "truth"), on="unit", maintain_order="left")
    return answers.join(said, on=["unit", "describer"], how="left", maintain_order="left").with_columns(
        best=best, seed=pl.lit(seed)
    )


def known(answers: pl.DataFrame) -> pl.DataFrame:
    """Units with a known truth, with what the tables are of."""
    always, verified = pl.col("always_f1"), pl.col("status") == "verified"
    gain, most = pl.col("rule_f1") - always, pl.col("best") - always
    return answers.filter(pl.col("beyond").is_not_null()).with_columns(
        verified=verified.cast(pl.Float64),
        as_good=(verified & (gain > 0) & (gain >= ENOUGH * most)).cast(pl.Float64),
    )


def print_lines(answers: pl.DataFrame) -> None:
    """A line for each describer and reader: of all units, and of those beyond the language."""
    told = known(answers)
    beyond = told["beyond"].mean()
    apart = isinstance(beyond, float) and 0 < beyond < 1
    head = ["describer", "reader", "F1", "verified, %", "recovered, % of readable"]
    head += ["as good as the best reading of the truth, %", "off rule, %", "false, %", "localised, %"]
    head += ["F1 beyond", "verified beyond, %"] if apart else []
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for (describer, reader), own in answers.group_by("describer", "reader", maintain_order=True):
        mine = told.filter(describer=describer, reader=reader)
        noise = own.filter(kind=NOISE)["status"] == "verified"
        cells = [
            number(mine["rule_f1"]),
            per_cent(mine["verified"]),
            share(mine["recovered"]),
            per_cent(mine["as_good"]),
            per_cent(mine["off_rule"]),
            share(noise),
            per_cent(own["localised"]),
        ]
        if apart:
            rest = mine.filter("beyond")
            cells += [number(rest["rule_f1"]), per_cent(rest["verified"])]
        print(f"| {describer} | {reader} | {' | '.join(cells)} |")


def print_kinds(answers: pl.DataFrame) -> None:
    """F1 and share verified by kind, of each describer by its own reader, kinds beyond the language last."""
    pairs = [(TRUTH, reader) for reader in answers["reader"].unique(maintain_order=True)] + [
        (name, own_reader(answers, name)) for name in DESCRIBERS if name in answers["describer"].unique()
    ]
    told = known(answers)
    kinds = told.group_by("kind", maintain_order=True).agg(pl.col("beyond").all(), pl.col("unit").n_unique())
    if kinds.height < 2:
        return
    groups: list[tuple[str, pl.Expr]] = [
        (f"{kind}{' *' * beyond}", pl.col("kind") == kind)
        for kind, beyond, _ in kinds.sort("beyond", maintain_order=True).iter_rows()
    ]
    if 0 < kinds["beyond"].sum() < kinds.height:
        of_tokens = pl.col("kind").is_in(list(rules_of_tokens([])))
        groups += [
            ("all but tokens", ~of_tokens),
            ("all of tokens", of_tokens),
            ("all that a claim says", ~pl.col("beyond")),
            ("all *", pl.col("beyond")),
        ]
    print("\nBy kind: F1, per cent verified, per cent localised; * no claim says the rule exactly\n")
    print(f"| kind | {' | '.join(f'{name}, {reader}' for name, reader in pairs)} |")
    print(f"|{'---|' * (1 + len(pairs))}")
    for group, is_of_it in groups:
        cells = []
        for describer, reader in pairs:
            own = told.filter(is_of_it, describer=describer, reader=reader)
            figures = number(own["rule_f1"]), per_cent(own["verified"]), per_cent(own["localised"])
            cells.append(", ".join(figure for figure in figures if figure))
        print(f"| {group} | {' | '.join(cells)} |")


def print_worst(answers: pl.DataFrame) -> None:
    """The units of which claims fall shortest of the truth as any reader reads it."""
    name = "claims" if "claims" in answers["describer"].unique() else "enrichment"
    own = known(answers).filter(describer=name, reader=own_reader(answers, name))
    worst = own.with_columns(short=pl.col("best") - pl.col("rule_f1")).sort("short", "unit", descending=True)
    print(f"\nWhere {name} fall shortest of the truth:\n")
    print("| unit | truth | said | claim | F1 | best F1 of the truth | status |")
    print("|---|---|---|---|---|---|---|")
    for row in worst.head(WORST).iter_rows(named=True):
        said, claim = (f"`{row[key]}`" if row[key] else "" for key in ("text", "claim"))
        unit = f"{row['unit']} (seed {row['seed']})"
        print(
            f"| {unit} | {row['truth']} | {said} | {claim} | {row['rule_f1']:.2f} | {row['best']:.2f} |"
            f" {row['status']} |"
        )


def print_false(answers: pl.DataFrame) -> None:
    """Verified of units without a rule, by describer and reader."""
    print("| describer | reader | described | false, % |")
    print("|---|---|---|---|")
    for (describer, reader), own in answers.filter(kind=NOISE).group_by(
        "describer", "reader", maintain_order=True
    ):
        described = (own["text"] != "").sum()
        print(
            f"| {describer} | {reader} | {described} of {own.height} | {share(own['status'] == 'verified')} |"
        )


def own_reader(answers: pl.DataFrame, describer: str) -> str:
    """Who reads what a describer wrote in the tables by kind."""
    readers: Sequence[str] = answers["reader"].unique(maintain_order=True).to_list()
    encoder = next(name for name in readers if name.endswith("encoder"))
    return OWN[describer] if OWN.get(describer) in readers else encoder


def share(values: pl.Series) -> str:
    """Per cent with its interval."""
    told = values.drop_nulls().cast(pl.Float64).to_numpy()
    if not len(told):
        return ""
    value, low, high = (100 * each for each in share_interval(told)[:3])
    return f"{value:.0f} ({low:.0f} to {high:.1f})"


def per_cent(values: pl.Series) -> str:
    """The mean, per cent."""
    mean = values.drop_nulls().cast(pl.Float64).mean()
    return f"{100 * mean:.0f}" if isinstance(mean, float) else ""


def number(values: pl.Series) -> str:
    """The mean."""
    mean = values.mean()
    return f"{mean:.2f}" if isinstance(mean, float) else ""


if __name__ == "__main__":
    main()

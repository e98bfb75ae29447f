"""The tables of docs/exam.md: describers on planted units, on two-group tasks, and on pictures.

    .venv/bin/python benchmarks/exam.py [--tasks FILE] [--reader NAME] [--seeds N] [--limit N] [--only EXAM]
        [--scripted-llm]

Prints Markdown. With --scripted-llm the row "llm" goes through the prompt, the parser and the ledger
of a real language model, but what answers is a script that counts words: it shows that the path
works, and is a floor for language models. Tasks are those of shared/data/d3_dev.parquet where they
are at hand. With several seeds (other rules, splits and noise), every figure is the mean over them.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from pathlib import Path

import polars as pl

from saywell.data.words import content_words, stem, words
from saywell.encoders.sentence import open_sentence_encoder
from saywell.language_models import Request, Scripted
from saywell.studies.exam import Exam, run_exam
from saywell.studies.exam.summary import by_kind

D3 = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "d3_dev.parquet"


def main() -> None:
    """Run the exams and print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tasks", type=Path, default=D3 if D3.exists() else None)
    parser.add_argument("--reader", default="sentence-encoder")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--limit", type=int, default=150)
    parser.add_argument("--only", choices=["planted", "tasks", "images"])
    parser.add_argument("--scripted-llm", action="store_true")
    options = parser.parse_args()
    llm = Scripted(most_typical_words) if options.scripted_llm else None
    wanted = [options.only] if options.only else ["planted", "tasks", "images"]
    if "images" in wanted:
        started = time.perf_counter()
        exams = [run_exam(images=True, seed=seed) for seed in range(options.seeds)]
        seconds = time.perf_counter() - started
        print(f"\nPlanted pictures, {options.seeds} seeds, {seconds:.0f} s\n")
        print_lines(exams)
        print()
        print_kinds(exams)
        print_words(exams)
    if wanted == ["images"]:
        return
    encoder = open_sentence_encoder("minilm")
    if "planted" in wanted:
        started = time.perf_counter()
        exams = [
            run_exam(encoder=encoder, reader=options.reader, llm=llm, seed=seed)
            for seed in range(options.seeds)
        ]
        seconds = time.perf_counter() - started
        print(f"\nPlanted units, reader {options.reader}, {options.seeds} seeds, {seconds:.0f} s\n")
        print_lines(exams)
        print()
        print_kinds(exams)
    if options.tasks is not None and "tasks" in wanted:
        started = time.perf_counter()
        exam = run_exam(
            tasks=options.tasks, encoder=encoder, reader=options.reader, llm=llm, limit=options.limit
        )
        seconds = time.perf_counter() - started
        print(f"\n{options.tasks.name}, reader {options.reader}, {seconds:.0f} s\n")
        print_lines([exam])
        print_tasks(exam)


def most_typical_words(request: Request) -> str:
    """The three content words that the group's texts say most above those outside; none: silence."""
    inside, _, outside = request.messages[-1].text.partition("Texts outside the group:")
    counts = [
        Counter(
            word
            for _, body in re.findall(r"<(data-\w+)>\n(.*?)\n</\1>", part, re.DOTALL)
            for word in {w for w in words(body) if stem(w) in content_words(body)}
        )
        for part in (inside, outside)
    ]
    above = {word: n - counts[1][word] for word, n in counts[0].items()}
    best = sorted((word for word, n in above.items() if n >= 3), key=lambda w: (-above[w], w))[:3]
    return json.dumps({"description": ", ".join(best)})


def print_lines(exams: list[Exam]) -> None:
    """A line per describer."""
    lines = pl.concat([exam.summary for exam in exams]).drop("reader")
    costs = pl.concat([exam.costs for exam in exams]).group_by("describer").mean()
    mean = lines.group_by("describer", maintain_order=True).mean()
    first = mean.row(0, named=True)
    print(f"{first['readable']:g} of {first['known']:g} true descriptions are verified.\n")
    print("| describer | recovered, % | off rule, % | F1 | false, % | stated - got | error | s |")
    print("|---|---|---|---|---|---|---|---|")
    for row in mean.join(costs, on="describer", how="left", maintain_order="left").to_dicts():
        print(
            f"| {row['describer']} | {share(row, 'recovered')} | {share(row, 'off_rule')} |"
            f" {number(row['f1'])} |"
            f" {share(row, 'false')} | {number(row['bias'], '+.2f')} | {number(row['error'])} |"
            f" {number(row['seconds'], '.1f')} |"
        )


def print_kinds(exams: list[Exam]) -> None:
    """Shares recovered by kind, and the F1 that the true description reaches."""
    answers = pl.concat([exam.answers for exam in exams])
    known = answers.filter(pl.col("kind") != "hidden neuron")
    table = by_kind(known)
    readable = dict(by_kind(known.filter(describer="true-description"), "readable").iter_rows())
    ceiling = by_kind(known.filter(describer="true-description"), "rule_f1")
    print("| kind | F1 of the truth | readable, % |", " | ".join(table.columns[1:]), "|")
    print("|" + "---|" * (len(table.columns) + 2))
    for row, truth in zip(table.rows(), ceiling.rows(), strict=True):
        shares = " | ".join("" if v is None else f"{100 * v:.0f}" for v in row[1:])
        print(f"| {row[0]} | {truth[1]:.2f} | {100 * readable[row[0]]:.0f} | {shares} |")
    hidden = answers.filter(kind="hidden neuron").group_by("describer", maintain_order=True)
    found = hidden.agg((pl.col("status") == "verified").mean()).rows()
    if found:
        print("| hidden neuron (verified) | | |", " | ".join(f"{100 * v:.0f}" for _, v in found), "|")


def print_words(exams: list[Exam]) -> None:
    """How often a description is the true one word by word, of those that are recovered."""
    answers = pl.concat([exam.answers.join(exam.units.select("unit", "truth"), on="unit") for exam in exams])
    right = answers.filter("recovered").group_by("describer", maintain_order=True)
    shares = right.agg((pl.col("text") == pl.col("truth")).mean()).rows()
    said = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares)
    print(f"\nOf the recovered in the very words of the truth: {said}")


def print_tasks(exam: Exam) -> None:
    """What the describers said of each task that any of them recovered."""
    known = exam.answers.filter(pl.col("kind") != "noise", pl.col("recovered"))
    found = known.group_by("unit").agg("describer", "text").sort("unit")
    print()
    for unit, describers, texts in found.iter_rows():
        said = "; ".join(f"{d}: {t}" for d, t in zip(describers, texts, strict=True))
        print(f"* {unit}: {said}")


def share(row: dict, name: str) -> str:
    """Per cent with its interval."""
    if row[name] is None:
        return ""
    value, low, high = (100 * row[key] for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value:.0f} ({low:.0f} to {high:.0f})"


def number(value: float | None, form: str = ".2f") -> str:
    """The number, or nothing."""
    return "" if value is None else format(value, form)


if __name__ == "__main__":
    main()

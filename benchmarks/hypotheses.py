"""How well hypotheses are found, and how many where there are none: the tables of docs/hypotheses.md.

    .venv/bin/python benchmarks/hypotheses.py --data FOLDER [--only synthetic real planted] [--tasks NAME ...]
        [--candidates claims,latents,topics] [--shuffles 20] [--jobs N] [--out FOLDER]

Prints Markdown. `synthetic`: HypoBench's template texts with planted attributes (Liu et al. 2025), in 16
settings. `real`: deceptive reviews, headlines by clicks (pairs), retweets (pairs), stars of restaurants,
clickbait, sentiment of products. `planted`: an effect that is reversed within groups, and length alone.
No language model is asked anywhere. With --out studies are kept, and a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import polars as pl
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import roc_auc_score

from saywell.encoders.sentence import open_sentence_encoder
from saywell.features import DescriptionFeatures
from saywell.progress import silent
from saywell.scorers.association import associations
from saywell.scorers.intervals import benjamini_hochberg, share_interval
from saywell.scorers.null_model import null_model
from saywell.scorers.outcomes import Outcome
from saywell.store.study import Study
from saywell.studies.hypotheses import find_hypotheses
from saywell.units.responses import open_responses

READS, AKIN, LEVEL = 0.8, 0.1, 0.05
"""F1 from which on a hypothesis reads an attribute; multiple correlation with all of them, below which it has
nothing to do with any."""
TEMPLATES = ("I just spent the weekend", "During my free time", "If I'm not doing", "Loving the thrill")
FIRST = {"headline_binary": "Headline 1 has more clicks than Headline 2."}
REAL = ("deceptive_reviews", "headline_binary", "retweet", "yelp", "headlines", "amazon_reviews")


def main() -> None:
    """Make the studies, some at a time, and print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=("synthetic", "real", "planted"))
    parser.add_argument("--tasks", nargs="+")
    parser.add_argument("--candidates", default="claims,latents,topics")
    parser.add_argument("--shuffles", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    tasks = pl.read_parquet(options.data / "hypobench_synthetic_tasks.parquet")["task"].to_list()
    named = {"synthetic": tasks, "real": REAL, "planted": ("reversed", "length")}
    asked = {"candidates": options.candidates.split(","), "shuffles": options.shuffles}
    with TemporaryDirectory() as scratch:
        out = options.out or Path(scratch)
        jobs = [
            (kind, name, options.data, out / f"{kind}-{name}", asked)
            for kind in options.only or named
            for name in named[kind]
            if not options.tasks or name in options.tasks
        ]
        with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
            found = list(pool.map(job, *zip(*jobs, strict=True)))
    for kind, print_table in (
        ("synthetic", print_synthetic),
        ("real", print_real),
        ("planted", print_planted),
    ):
        rows = [row for (of, *_), row in zip(jobs, found, strict=True) if of == kind]
        if rows:
            print_table(rows)


def job(kind: str, name: str, data: Path, out: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """The figures of one study; those of an earlier run where it left them."""
    kept = out.parent / f"{out.name}.json"
    if kept.is_file():
        return json.loads(kept.read_text("utf-8"))
    started = time.perf_counter()
    row = {"synthetic": synthetic, "real": real, "planted": planted}[kind](name, data, out, asked)
    row = {"name": name, "seconds": time.perf_counter() - started, **row}
    kept.write_text(json.dumps(row), "utf-8")
    return row


# ---- HypoBench's synthetic tasks


def synthetic(name: str, data: Path, out: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """How many attributes that decide the label are read by a verified hypothesis, and how many are false."""
    rows = pl.read_parquet(data / "hypobench_synthetic.parquet").filter(task=name)
    task = pl.read_parquet(data / "hypobench_synthetic_tasks.parquet").row(
        by_predicate=pl.col("task") == name, named=True
    )
    if rows["label"].n_unique() < 2:
        return {"attributes": 0}
    study = find_hypotheses(rows.select("text", "label"), out=out, target="label", progress=silent, **asked)
    examples = study.table("examples")
    source = rows[examples["row"].to_list()]
    score = (examples["part"] == "score").to_numpy()
    columns = {value: source["planted"].list.contains(value).to_numpy()[score] for value in task["features"]}
    columns |= {start: source["text"].str.starts_with(start).to_numpy()[score] for start in TEMPLATES}
    said = [re.findall(r'is "([^"]+)"', hypothesis)[0] for hypothesis in task["true_hypotheses"]]
    named = [next((start for start in TEMPLATES if value.startswith(start)), value) for value in said]
    decide = np.array([columns[value] for value in named])
    readings = readings_of(study, status="verified")[:, score] > 0
    f1 = 2 * (decide[:, None] & readings).sum(2) / (decide.sum(1)[:, None] + readings.sum(1) + 1e-9)
    told = np.vstack([np.ones(score.sum()), decide]).T.astype(float)
    rest = readings.T - told @ np.linalg.lstsq(told, readings.T.astype(float), rcond=None)[0]
    alike = 1 - rest.var(0) / np.maximum(readings.var(1), 1e-12)
    labels = source["label"].to_numpy()[score]
    return {
        "attributes": len(named),
        "read": int((f1.max(1, initial=0) >= READS).sum()),
        "ceiling": by_themselves(decide.astype(float), labels),
        "false": int((alike < AKIN**2).sum()),
        **counts(study),
    }


def by_themselves(columns: np.ndarray, labels: np.ndarray) -> int:
    """How many of these columns pass the same test, each with the label that it goes with most."""
    p = np.ones(len(columns))
    for label in np.unique(labels):
        null = null_model(Outcome(str(label), "binary", (labels == label).astype(float)))
        p = np.minimum(p, np.nan_to_num(associations(null, columns).p, nan=1) * len(np.unique(labels)))
    return int((benjamini_hochberg(np.minimum(p, 1)) <= LEVEL).sum())


def print_synthetic(rows: Sequence[dict[str, Any]]) -> None:
    """Each setting, then all with and without noise."""
    print("\n## Planted attributes (HypoBench, synthetic)\n")
    head = "| impactful, label noise, dropout | attributes | read by a verified hypothesis | the attributes"
    print(f"{head} themselves | tested | verified | false | shuffled searches with any | seconds |")
    print("|---|---|---|---|---|---|---|---|---|")
    told = [row for row in rows if row["attributes"]]
    for row in told:
        setting = ", ".join(row["name"].split("_"))
        print(
            f"| {setting} | {row['attributes']} | {row['read']} | {row['ceiling']} | {row['tested']} |"
            f" {row['verified']} | {row['false']} | {row['any']} of {row['shuffles']} |"
            f" {row['seconds']:.0f} |"
        )
    for noise in ("0", "0.2"):
        own = [row for row in told if row["name"].split("_")[1] == noise]
        if own:
            attributes, read, ceiling = (
                sum(row[key] for row in own) for key in ("attributes", "read", "ceiling")
            )
            share = share_interval(np.repeat([1.0, 0.0], [read, attributes - read]))
            print(
                f"\nLabel noise {noise}: {read} of {attributes} attributes read, {share.value:.0%}"
                f" ({share.low:.0%} to {share.high:.0%}); the attributes themselves {ceiling}."
                f" False are {sum(row['false'] for row in own)} of {sum(row['verified'] for row in own)}"
                " that are verified."
            )
    left = [row["name"] for row in rows if not row["attributes"]]
    if left:
        print(f"\nLeft out, as all texts have one label: {', '.join(left)}.")


# ---- real sets


def real(name: str, data: Path, out: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """What is verified of a real set, and what it tells of score items and of another domain."""
    rows, elsewhere, options = load_real(name, data)
    study = find_hypotheses(rows, out=out, progress=silent, **options, **asked)
    joint = {row["model"]: row for row in study.table("joint").iter_rows(named=True)}
    row = {"items": rows.height, **counts(study), "joint": joint}
    return row | (told_elsewhere(study, rows, elsewhere, options) if elsewhere.height else {})


def load_real(name: str, data: Path) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """The rows, those of another domain, and how to ask."""
    if name in ("yelp", "headlines", "amazon_reviews"):
        rows = pl.read_parquet(data / f"{name}.parquet").drop("split")
        options = {
            "yelp": {"target": "stars"},
            "headlines": {"target": "label"},
            "amazon_reviews": {"target": "sentiment", "covariate": ["length", "category"]},
        }
        return rows, rows.clear(), options[name]
    rows = pl.read_parquet(data / "hypobench_real.parquet").filter(dataset=name)
    pairs = {} if rows["text_b"].null_count() else {"pair": "text_b", "first": FIRST.get(name, "first")}
    rows, elsewhere = (
        rows.filter(own).drop("split") for own in (pl.col("split") != "ood", pl.col("split") == "ood")
    )
    return rows, elsewhere, {"target": "label", **pairs}


def told_elsewhere(
    study: Study, rows: pl.DataFrame, elsewhere: pl.DataFrame, options: dict[str, Any]
) -> dict[str, float]:
    """AUC in another domain of linear models fitted here: of verified hypotheses, and of vectors."""
    encoder = open_sentence_encoder("minilm")
    yes = options.get("first") or study.table("hypotheses")["outcome"][0].split("=", 1)[1]
    told = [(part["label"] == yes).to_numpy() for part in (rows, elsewhere)]
    found = {}
    readers: dict[str, Any] = {"probe": encoder}
    if study.table("hypotheses").filter(status="verified").height:
        readers["verified"] = DescriptionFeatures(study).fit(rows["text"].to_list()).transform
    for called, read in readers.items():
        here, there = (
            np.asarray(read(part["text"].to_list()))
            - (np.asarray(read(part["text_b"].to_list())) if "pair" in options else 0)
            for part in (rows, elsewhere)
        )
        model = LogisticRegressionCV(scoring="roc_auc", max_iter=2000).fit(here, told[0])
        found[f"{called} elsewhere"] = float(roc_auc_score(told[1], model.decision_function(there)))
    return found


def print_real(rows: Sequence[dict[str, Any]]) -> None:
    """A row a set."""
    print("\n## Real sets\n")
    print(
        "| set | items | tested | verified | after Bonferroni | AUC (R2) of these on score items | of a probe"
        " on vectors | of length | elsewhere | probe elsewhere | shuffled searches with any | shuffled"
        " hypotheses verified | seconds |"
    )
    print("|---" * 13 + "|")
    for row in rows:
        joint = row["joint"]
        mine = joint["verified"]
        figures = " | ".join(_figure(joint[model]["value"]) for model in ("probe", "length"))
        away = " | ".join(_figure(row.get(f"{model} elsewhere")) for model in ("verified", "probe"))
        print(
            f"| {row['name']} | {row['items']:,} | {row['tested']} | {row['verified']} |"
            f" {row['bonferroni']} | {_figure(mine['value'])} ({_figure(mine['ci_low'])} to"
            f" {_figure(mine['ci_high'])}) | {figures} | {away} | {row['any']} of {row['shuffles']} |"
            f" {row['false_shuffled']} of {row['tested_shuffled']:,} | {row['seconds']:.0f} |"
        )


# ---- planted effects


def planted(name: str, data: Path, out: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Whether a planted effect is found with the covariate, and without it.

    `reversed`: in each of two groups texts with a word have a higher target, and over both a lower one, as
    they are most of one group. `length`: the target is the number of words and noise.
    """
    rows = pl.read_parquet(data / "amazon_reviews.parquet").select("text", "category")
    random = np.random.default_rng(0)
    if name == "reversed":
        rows = rows.filter(pl.col("category").is_in(rows["category"].unique().sort()[:2].to_list()))
        group = (rows["category"] == rows["category"].unique().sort()[0]).to_numpy()
        has = (random.random(len(rows)) < np.where(group, 0.45, 0.05)).astype(bool)
        text = [
            f"{text} All in all a splendid one." if own else text
            for text, own in zip(rows["text"], has, strict=True)
        ]
        target = 2.0 * has - 5.0 * group + random.normal(size=len(rows))
        covariates = {"with": ["category"], "without": []}
        sought = "splendid"
    else:
        text = rows["text"].to_list()
        target = np.log([len(own.split()) for own in text]) + random.normal(size=len(rows)) / 2
        covariates = {"with": ["length"], "without": []}
        sought = ""
    frame = pl.DataFrame({"text": text, "category": rows["category"], "target": target})[:4000]
    found: dict[str, Any] = {}
    for called, held in covariates.items():
        study = find_hypotheses(
            frame, out=out / called, target="target", covariate=held, progress=silent, **asked
        )
        table = study.table("hypotheses")
        own = table.filter(pl.col("claim").str.contains(f'"{sought}"', literal=True)) if sought else table
        found[called] = {
            "effects": own.filter(pl.col("status") != "not shown")
            .select("text", "effect", "status")
            .rows()[:3],
            **counts(study),
        }
    return found


def print_planted(rows: Sequence[dict[str, Any]]) -> None:
    """What came of each, with and without the covariate."""
    print(
        "\n## Planted effects\n\n| planted | covariate held equal | verified of tested | found |\n"
        "|---|---|---|---|"
    )
    for row in rows:
        for called in ("with", "without"):
            own = row[called]
            shown = "; ".join(f"{text}: {effect:+.2f}, {status}" for text, effect, status in own["effects"])
            print(
                f"| {row['name']} | {called} | {own['verified']} of {own['tested']} | {shown or 'nothing'} |"
            )


# ---- all


def counts(study: Study) -> dict[str, int]:
    """How many were tested and verified, of the target and of shuffled ones."""
    table, shuffled = study.table("hypotheses"), study.table("shuffled_targets")
    own = table.filter(status="verified")
    return {
        "tested": table.height,
        "verified": own.height,
        "bonferroni": own.filter(pl.col("p_bonferroni") <= LEVEL).height,
        "shuffles": shuffled.height,
        "any": shuffled.filter(pl.col("verified") > 0).height,
        "false_shuffled": int(shuffled["verified"].sum()),
        "tested_shuffled": int(shuffled["tested"].sum()),
    }


def readings_of(study: Study, status: str) -> np.ndarray:
    """What is read of all texts for the hypotheses of a status."""
    units = study.table("hypotheses").filter(status=status)["unit"].to_list()
    place = dict(study.table("units").select("id", "place").iter_rows())
    responses = open_responses(study.arrays("activations"), study.table("examples").height)
    rows = np.arange(responses.examples)
    return responses.read(rows, np.array([place[unit] for unit in units], dtype=np.int64)).T


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


if __name__ == "__main__":
    main()

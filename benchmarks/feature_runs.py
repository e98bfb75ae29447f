"""Is a dictionary easier to describe than neurons, or than principal components, at the same place?

    python benchmarks/feature_runs.py TEXTS|IMAGES --model M --at HOOK[,HOOK] --out FOLDER
        [--methods topk:1024:16,batchtopk:1024:16,pca:64:16,basis:64:16] [--limit N] [--some N] [...]

One study a method and hook point, all else equal: the same examples, readers, floors and firing rule. Prints
Markdown: share of the variance explained, latents active a token, latents that never fire, and of the units
tried the share whose description is verified, with its 95 % interval and the controls (the same on vectors
turned by chance within their covariance; shuffled examples), how far tokens are told, and seconds.
`neurons` are the numbers of the vectors themselves, each going up and going down, each for as many tokens as
a latent in the mean where K / LATENTS is the same.
"""

from __future__ import annotations

import argparse
import re
import time
from pathlib import Path

import polars as pl

from saywell.store.study import Study
from saywell.studies.features import describe_features

METHODS = "topk:1024:16,batchtopk:1024:16,matryoshka:1024:16,pca:64:1,ica:64:1,neurons:128:2"
COLUMNS = (
    "hook point, method, explained, active, never fire, described, verified, turned, shuffled, token F1, s"
)


def main() -> None:
    """Run what is asked for and print the table."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    asked.add_argument("examples")
    asked.add_argument("--model", required=True)
    asked.add_argument("--at", required=True)
    asked.add_argument("--out", type=Path, required=True)
    asked.add_argument("--methods", default=METHODS)
    asked.add_argument("--limit", type=int)
    asked.add_argument("--some", type=int)
    asked.add_argument("--describer")
    asked.add_argument("--reader")
    asked.add_argument("--encoder")
    asked.add_argument("--vocabulary")
    asked.add_argument("--text", default="text")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--device")
    asked.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    given = asked.parse_args()
    options = {
        name: value
        for name in ("limit", "some", "encoder", "text", "device")
        if (value := getattr(given, name)) is not None
    }
    if given.vocabulary:
        options["vocabulary"] = Path(given.vocabulary)
    for name in ("describer", "reader"):
        if getattr(given, name):
            options[name] = getattr(given, name).split(",")
    options |= dict(one.split("=", 1) for one in given.option)
    columns = COLUMNS.split(", ")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for at in given.at.split(","):
        for method in given.methods.split(","):
            out = given.out / re.sub(r"\W+", "-", f"{at}-{method}-{given.seed}")
            begun = time.perf_counter()
            study = describe_features(
                given.examples, model=given.model, at=at, train=method, out=out, seed=given.seed, **options
            )
            print(row(study, at, method, time.perf_counter() - begun), flush=True)


def row(study: Study, at: str, method: str, seconds: float) -> str:
    """A line of the table."""
    figures = {metric.name: metric for metric in study.headline()}
    explained, active = figures["variance explained"], figures["active latents"]
    never, verified = figures["latents that never fire"], figures.get("verified")
    described = study.descriptions.filter(status="described")["unit"].n_unique()
    said = "nothing | |"
    if verified is not None and verified.value is not None:
        ends = f"{verified.ci_low or 0:.2f} to {verified.ci_high or 0:.2f}"
        beside = [f"{value or 0:.2f}" for value in verified.controls.values()]
        said = f"{verified.value:.2f} ({ends}) of {verified.n} | {' | '.join(beside)}"
    tokens = ""
    if "token_scores" in study.manifest.tables:
        f1 = study.table("token_scores").filter(pl.col("f1").is_not_null())["f1"]
        tokens = f"{f1.median():.2f}" if len(f1) else ""
    cells = [
        f"`{at}`",
        f"`{method}`",
        f"{explained.value:.2f} (turned {next(iter(explained.controls.values())) or 0:.2f})",
        f"{active.value:.1f}",
        f"{never.value:.0%}",
        str(described),
        said,
        tokens,
        f"{seconds:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()

"""Studies whose right answers are known, as they were planted: classes of drawn pictures, stars of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from saywell.claims.english import english
from saywell.claims.execute import Executor
from saywell.claims.ground import Ground
from saywell.claims.language import parse
from saywell.data.parts import SCORE
from saywell.data.planted.articles import sentences, write_articles
from saywell.data.planted.world import write_pictures
from saywell.data.splits import hash_numbers
from saywell.data.texts import load_texts
from saywell.encoders.checkpoints import PLANTED
from saywell.progress import Progress, automatic
from saywell.resources import Resources
from saywell.store.study import Study
from saywell.studies.classes import describe_classes
from saywell.studies.hypotheses import find_hypotheses
from saywell.studies.spine import RESPONSES
from saywell.units.responses import open_responses

STARS: Mapping[str, float] = MappingProxyType(
    {
        'form("hour")': -1.4,
        'word("even")': 1.3,
        'class("number")': -1.3,
        'mark("?")': -0.9,
        'class("negation")': 0.9,
    }
)
"""Claims that go with planted stars, and by how many. The last is mostly true of texts on the worse shop:
unless the shop is held equal, it goes with fewer stars."""
_WORSE = -2.0
"""Stars of the worse shop, beside the other."""
SAME = 0.8
"""F1 with a planted claim from which on a hypothesis says it."""


def planted_gold() -> pl.DataFrame:
    """Which sentence of which article is worth choosing: class, text, good."""
    return sentences().select(
        **{"class": pl.col("label")}, text="text", good=pl.col("gold") == "visible-true"
    )


def describe_planted_classes(
    out: str | Path,
    *,
    world: str | Path,
    per_class_images: int = 60,
    world_seed: int = 0,
    command: Sequence[str] = (),
    progress: Progress = automatic,
    **options: Any,
) -> Study:
    """Draw the planted world into the folder `world` and describe its classes, without an LLM.

    `options` are those of `describe_classes`. The gold labels are used for figures only.
    """
    folder = Path(world)
    write_pictures(folder / "images", per_class_images, world_seed)
    write_articles(folder / "articles")
    return describe_classes(
        folder / "images",
        out=out,
        encoder=PLANTED,
        knowledge=folder / "articles",
        gold=planted_gold(),
        command=command,
        progress=progress,
        **options,
    )


def planted_stars(limit: int | None = None, seed: int = 0) -> pl.DataFrame:
    """text, stars (1 to 5) and shop ("north", "south") of the demo's sentences: see STARS."""
    with files("saywell.data").joinpath("demo/sentences.tsv").open("rb") as file:
        rows = pl.read_csv(file.read(), separator="\t").drop("tags")
    examples = load_texts(rows, limit=limit, seed=seed)
    execute = Executor(Ground(examples, Resources()))
    holds = {claim: execute(parse(claim)).examples for claim in STARS}
    draws = hash_numbers(examples.ids, seed, "shop") / 2.0**64
    south = draws < np.where(holds[list(STARS)[-1]], 0.9, 0.2)
    noise = np.random.default_rng(seed).normal(size=len(examples))
    mean = 3.6 + sum(STARS[claim] * held for claim, held in holds.items()) + _WORSE * south
    stars = np.clip(np.round(mean + 0.8 * noise), 1, 5).astype(int)
    return pl.DataFrame({"text": examples.texts, "stars": stars, "shop": np.where(south, "south", "north")})


def find_planted_hypotheses(
    out: str | Path,
    *,
    limit: int | None = None,
    command: Sequence[str] = (),
    progress: Progress = automatic,
    **options: Any,
) -> Study:
    """What goes with planted stars, length and shop held equal, without an LLM.

    `options` are those of `find_hypotheses`.
    """
    asked = {"target": "stars", "covariate": ["length", "shop"], **options}
    return find_hypotheses(planted_stars(limit), out=out, command=command, progress=progress, **asked)


def planted_found(study: Study) -> pl.DataFrame:
    """Which verified hypothesis says what was planted: text, effect, hypothesis, f1 (on score texts).

    One row for each planted claim with the hypothesis that comes closest; null where none reaches SAME.
    """
    examples = load_texts(study.examples.select("text"), near=None)
    place = {id: row for row, id in enumerate(examples.ids)}
    score = study.examples.with_row_index().filter(part=SCORE)
    rows = np.array([place[id] for id in score["id"]])
    own = study.table("hypotheses").filter(status="verified")
    units = dict(study.units.select("id", "place").iter_rows())
    responses = open_responses(study.arrays(RESPONSES), study.examples.height)
    places = np.array([units[unit] for unit in own["unit"]], dtype=np.int64)
    read = responses.read(score["index"].to_numpy().astype(np.int64), places).T > 0.5
    execute, found = Executor(Ground(examples, Resources())), []
    for claim, effect in STARS.items():
        held = execute(parse(claim)).examples[rows]
        f1 = 2 * (read & held).sum(axis=1) / np.maximum(1, read.sum(axis=1) + held.sum())
        best = int(np.argmax(f1)) if len(f1) and f1.max() >= SAME else None
        name = None if best is None else own["hypothesis"][best]
        text = english(parse(claim), whole=True)
        found.append((text, effect, name, None if best is None else float(f1[best])))
    columns = {"text": pl.String, "effect": pl.Float64, "hypothesis": pl.String, "f1": pl.Float64}
    return pl.DataFrame(found, schema=columns, orient="row")

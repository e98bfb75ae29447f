"""The study of classes on the planted world, whose right answers are known: the demo, and a test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from saywell.data.planted.articles import sentences, write_articles
from saywell.data.planted.world import write_pictures
from saywell.encoders.checkpoints import PLANTED
from saywell.progress import Progress, automatic
from saywell.store.study import Study
from saywell.studies.classes import describe_classes


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

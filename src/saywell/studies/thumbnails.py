"""Small pictures of the examples that a study's pages show, for questions about pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO

import polars as pl

from saywell.data.examples import Examples
from saywell.data.parts import DESCRIBE
from saywell.data.pictures import THUMBNAILS
from saywell.scorers.score_tables import AGAINST
from saywell.store.study import Metric
from saywell.store.table import Table
from saywell.studies.spine import Run
from saywell.units.exemplars import CONTRASTS, EXEMPLARS

MOST_THUMBNAILS = 1500
SHOWN = 8
"""Examples of each sort that a card shows of a unit."""
SMALL, LARGE = 56, 112
"""Pixels on the longer side; on the larger ones the responsible part can be made out."""


@dataclass(frozen=True)
class Thumbnails:
    """Table `thumbnails` of what speaks for and against units; none where the examples are no pictures."""

    tables: Sequence[Table] = (THUMBNAILS,)

    def add(self, run: Run) -> list[Metric]:
        """No figures."""
        if run.examples.kind == "image":
            run.study.table(THUMBNAILS, lambda: self._made(run))
        return []

    def _made(self, run: Run) -> pl.DataFrame:
        of = [run.study.table(table).filter(pl.col("rank") < SHOWN) for table in (CONTRASTS, AGAINST)]
        of.append(run.study.table(EXEMPLARS).filter(pl.col("rank") < SHOWN, part=DESCRIBE))
        # Of many the strongest, which every card begins with.
        ranked = pl.concat([table.select("example", "rank") for table in of])
        ids = ranked.group_by("example").agg(pl.min("rank")).sort("rank", "example")["example"].to_list()
        if len(ids) > MOST_THUMBNAILS:
            run.study.note(f"Pages show {MOST_THUMBNAILS} of the {len(ids)} pictures that speak for units.")
        with run.resources.progress("thumbnails", min(len(ids), MOST_THUMBNAILS)) as advance:
            return thumbnail_table(run.examples, ids, LARGE, progress=advance)


def thumbnail_table(
    shown: Examples,
    ids: Sequence[str],
    side: int = SMALL,
    *,
    progress: Callable[[int], None] = lambda images: None,
) -> pl.DataFrame:
    """Table `thumbnails`: small JPEG pictures of the first 1500 of the images with these ids."""
    rows = []
    for id, picture in shown.pictures(list(ids)[:MOST_THUMBNAILS]):
        small = picture.copy()
        small.thumbnail((side, side))
        kept = BytesIO()
        small.save(kept, "JPEG", quality=70)
        rows.append((id, kept.getvalue()))
        progress(1)
    return THUMBNAILS.frame(rows).sort("example")

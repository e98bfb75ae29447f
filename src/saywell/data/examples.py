"""What every loader returns: the items that are studied, each in one part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from jaxtyping import Int

from saywell.data.parts import Parts, Rows, parts_of
from saywell.data.tags import Tags
from saywell.errors import InputError
from saywell.store.table import Table

if TYPE_CHECKING:
    from PIL import Image

Kind = Literal["text", "image", "pair"]
EXAMPLES = Table(
    "examples",
    {
        "id": pl.String,
        "part": pl.String,
        "text": pl.String,
        "first": pl.String,
        "second": pl.String,
        "tags": pl.List(pl.String),
        "label": pl.String,
        "name": pl.String,
        "row": pl.Int64,
        "width": pl.Int32,
        "height": pl.Int32,
        "group": pl.String,
        "tokens": pl.Int32,
    },
    key=("id",),
    optional=frozenset(
        ("text", "first", "second", "tags", "label", "name", "width", "height", "group", "tokens")
    ),
)
"""Items of data. `row` is their place in the source, `tags` are gold labels of the user's, `tokens` how
many the model under study reads. A study's own table has its target and covariates beside these."""
REJECTED = Table(
    "rejected",
    {"row": pl.Int64, "name": pl.String, "reason": pl.String, "detail": pl.String},
    key=("row",),
    optional=frozenset({"name"}),
)
"""Rows of the source that are not used, and why; `name` is the file's, where it has one."""
CONVERTED = Table(
    "converted", {"row": pl.Int64, "name": pl.String, "change": pl.String}, key=("row", "change")
)
"""Images that were altered on the way to RGB."""
_PICTURES = 64  # in memory at a time


@dataclass(frozen=True)
class Examples:
    """Texts, images or pairs of texts, each in one part, and a word on each row that was refused.

    `table`: id (16 hex digits), part, row (from 0 in the source), then `text`, or `name`, `width`,
    `height` and `label` of an image, or `first` and `second` of a pair; where there are any also
    `tags`, `label`, `target`, `group` (of near duplicates) and covariates by the name of their column.
    `rejected`: row, reason, detail, and `name` of an image. `fingerprint`: 32 hex digits, of all that
    is kept. `total_rows`: rows of the source. `notes`: what had to be assumed, a sentence each.
    """

    table: pl.DataFrame
    kind: Kind
    fingerprint: str
    rejected: pl.DataFrame
    total_rows: int
    notes: tuple[str, ...] = ()
    pictures_of: Callable[[Sequence[str]], Iterator[tuple[str, Image.Image]]] | None = None
    """Of images: ids with their pictures, in any order; `pictures` is the way to ask."""
    converted: pl.DataFrame = field(default_factory=CONVERTED.empty)
    """Row, name, change: images that were altered on the way to RGB."""
    classes: tuple[str, ...] = ()
    """Of labelled examples: the names of all classes, also of those without an example."""
    tags: Tags | None = None
    """Descriptors that hold of each, by who tagged them."""
    whole: Examples | None = None
    """Of a part: what it is a part of, for who keeps something of all of them."""

    def __len__(self) -> int:
        return self.table.height

    @property
    def declared(self) -> Table:
        """The table as a study keeps it: EXAMPLES with the columns that these have beside."""
        more = {name: dtype for name, dtype in self.table.schema.items() if name not in EXAMPLES.columns}
        columns = {**EXAMPLES.columns, **more}
        return replace(EXAMPLES, columns=columns, optional=EXAMPLES.optional | more.keys())

    @cached_property
    def parts(self) -> Parts:
        """Who may see which. Raises LeakError where an example, or copies of one, are in two parts."""
        return parts_of(self.table)

    @cached_property
    def ids(self) -> list[str]:
        """Of all, in the order of the table."""
        return self.table["id"].to_list()

    @cached_property
    def texts(self) -> list[str]:
        """Of all, in the order of the table; a pair as its two texts, one a line.

        Raises InputError for images.
        """
        if self.kind == "image":
            raise InputError(
                "these examples are images and have no text; use a reader or describer of images"
            )
        if self.kind == "pair":
            return [
                f"{first}\n{second}" for first, second in self.table.select("first", "second").iter_rows()
            ]
        return self.table["text"].to_list()

    def pictures(self, ids: Sequence[str] | None = None) -> Iterator[tuple[str, Image.Image]]:
        """Each id with its RGB picture, one in memory at a time, in the order of the source. None: all.

        That order, not the one asked for, is what lets a file be read once.

        Raises InputError for texts, for an unknown id, and for a file that changed since it was loaded.
        """
        if self.pictures_of is None:
            raise InputError("these examples are texts and have no pictures; use a reader of texts")
        chosen = self.ids if ids is None else list(dict.fromkeys(ids))
        if unknown := set(chosen) - set(self.ids):
            raise InputError(f"there is no image with the id {min(unknown)!r} among these images")
        return self.pictures_of(chosen)

    def show(
        self, rows: Int[np.ndarray, " some"] | Sequence[int] | None = None
    ) -> Iterator[str | Image.Image | tuple[str, str]]:
        """The examples themselves, all or those at some rows, in that order.

        Of images some dozens are in memory at a time, and a file is read once for each lot of them;
        where the order does not matter, `pictures` reads it once.
        """
        places = list(range(len(self))) if rows is None else [int(row) for row in rows]
        if self.kind == "text":
            yield from (self.texts[place] for place in places)
        elif self.kind == "pair":
            pairs = self.table.select("first", "second").rows()
            yield from (pairs[place] for place in places)
        else:
            for start in range(0, len(places), _PICTURES):
                ids = [self.ids[place] for place in places[start : start + _PICTURES]]
                shown = dict(self.pictures(ids))
                yield from (shown[id] for id in ids)

    def only(self, rows: Rows) -> Examples:
        """Those of one part."""
        chosen = rows.rows
        tags = None if self.tags is None else self.tags.only(chosen)
        return replace(self, table=self.table[chosen], tags=tags, whole=self.whole or self)

    def with_tags(self, tags: Tags) -> Examples:
        """The same, and who carries what."""
        return replace(self, tags=tags)

    def noted(self, notes: Sequence[str]) -> Examples:
        """The same, with more notes."""
        return replace(self, notes=(*self.notes, *notes))

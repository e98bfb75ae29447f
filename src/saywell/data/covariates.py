"""What is to be held equal, as columns: numbers in standard units, words as a column for each level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from jaxtyping import Bool, Float

from saywell.data.words import words
from saywell.errors import InputError

FEWEST, MOST = 5, 50
"""Items of a level that is not one of the others; levels of a covariate."""
OTHER = "other"


def covariate_columns(
    items: int, columns: Mapping[str, Sequence[pl.Series]]
) -> tuple[Float[np.ndarray, "items columns"], tuple[str, ...], Bool[np.ndarray, " items"], list[str]]:
    """Covariates of some items as columns, what each is called, of which items all are known, and notes.

    `columns`: by name one series, or two of what is one for each text of a pair, of which the difference
    counts; numbers, or strings of which the commonest is what others are compared with. What is not known
    is 0 in every column.

    Raises InputError for a covariate with more than 50 levels, or none that differ.
    """
    made: list[np.ndarray] = []
    names: list[str] = []
    notes: list[str] = []
    known = np.ones(items, dtype=bool)
    for sides in columns.values():
        known &= np.logical_and.reduce([side.is_not_null().to_numpy() for side in sides])
    for name, sides in columns.items():
        if sides[0].dtype == pl.String:
            values, called, note = _levels(name, [side.fill_null("") for side in sides], known)
            notes += note
        else:
            values, called = _difference([side.fill_null(0.0).to_numpy() for side in sides])[:, None], [name]
            if (deviation := values[known].std()) > 0:
                values = (values - values[known].mean()) / deviation
            else:
                values = values[:, :0]
        if not values.shape[1]:
            notes.append(f"The covariate {name!r} is the same everywhere and changes nothing.")
            continue
        made.append(np.where(known[:, None], values, 0.0))
        names += called
    if missing := int((~known).sum()):
        listed = ", ".join(map(repr, columns))
        notes.append(f"{missing} have no value of a covariate ({listed}) and are not tested on.")
    matrix = np.concatenate(made, axis=1) if made else np.zeros((items, 0))
    return matrix, tuple(names), known, notes


def log_words(texts: pl.Series) -> pl.Series:
    """The natural logarithm of one more than the number of words of each text."""
    return pl.Series("length", np.log1p([len(words(text)) for text in texts]))


def _difference(sides: Sequence[np.ndarray]) -> np.ndarray:
    return sides[0] if len(sides) == 1 else sides[0] - sides[1]


def _levels(
    name: str, sides: Sequence[pl.Series], known: np.ndarray
) -> tuple[Float[np.ndarray, "items levels"], list[str], list[str]]:
    said = pl.concat([side.filter(pl.Series(known)).alias("level") for side in sides])
    counts = said.value_counts(sort=True).sort("count", "level", descending=[True, False])
    common = counts.filter(pl.col("count") >= FEWEST)["level"].to_list()
    rare = counts.height - len(common)
    if len(common) > MOST:
        raise InputError(
            f"the covariate {name!r} has {counts.height:,} different values, and at most {MOST} can be held"
            " equal: join some of them, or keep texts with the same one together (--group)"
        )
    levels = common if not rare or OTHER in common else [*common, OTHER]
    notes = []
    if rare:
        notes.append(
            f"{rare} values of the covariate {name!r}, of fewer than {FEWEST} each, were joined as {OTHER!r}."
        )
    joined = [side.replace_strict({level: level for level in common}, default=OTHER) for side in sides]
    values = [
        _difference([(side == level).to_numpy().astype(float) for side in joined]) for level in levels[1:]
    ]
    shape = (len(known), len(levels) - 1)
    return np.stack(values, axis=1) if values else np.zeros(shape), [f"{name}={x}" for x in levels[1:]], notes

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
LENGTH = "length"
KNOTS = (0.05, 0.275, 0.5, 0.725, 0.95)
_SAME = "The covariate {!r} is the same everywhere and changes nothing."


def covariate_columns(
    columns: Mapping[str, Sequence[pl.Series]], items: int
) -> tuple[Float[np.ndarray, "items columns"], tuple[str, ...], list[str]]:
    """Covariates of so many items as columns, what each is called, and notes.

    `columns`: by name one series, or two of what is one for each text of a pair, of which the difference
    counts; numbers, or strings of which the commonest is what others are compared with. Of an item that
    lacks one (null), all columns are 0.

    Raises InputError for a covariate of words with more than 50 levels.
    """
    made, names, notes = [np.zeros((items, 0))], [], []
    known = np.ones(items, dtype=bool)
    for sides in columns.values():
        known &= np.logical_and.reduce([side.is_not_null().to_numpy() for side in sides])
    for name, sides in columns.items():
        if sides[0].dtype == pl.String:
            values, called, more = _levels(name, [side.fill_null("") for side in sides], known)
        else:
            values, called, more = _standard(name, [side.fill_null(0.0) for side in sides], known)
        made.append(np.where(known[:, None], values, 0.0))
        names += called
        notes += more
    return np.concatenate(made, axis=1), tuple(names), notes


def log_words(texts: pl.Series) -> pl.Series:
    """The natural logarithm of one more than the number of words of each text."""
    plain = texts.str.replace_all("’", "'", literal=True)
    # The whole of `words` for texts of plain letters, counted where the texts are.
    counts = plain.str.count_matches(r"[A-Za-z]+(?:'[A-Za-z]+)?|[0-9]+").to_numpy().astype(np.float64)
    others = np.flatnonzero(plain.str.contains(r"[^\x00-\x7f]").to_numpy())
    counts[others] = [len(words(text)) for text in texts.gather(others)]
    return pl.Series(LENGTH, np.log1p(counts))


def length_columns(texts: pl.Series) -> list[pl.Series]:
    """The length of each text as columns: `log_words` and bends of it, so that a smooth curve is held equal.

    A restricted cubic spline with five knots at fixed quantiles (Harrell 2015, section 2.4): beyond the outer
    knots it is a line. Fewer bends where many texts are of one length.
    """
    line = log_words(texts).to_numpy()
    knots = np.unique(np.quantile(line, KNOTS)) if len(line) else np.zeros(0)
    columns = [pl.Series(LENGTH, line)]
    if len(knots) < 3:
        return columns
    last, before, scale = knots[-1], knots[-2], (knots[-1] - knots[0]) ** 2

    def above(knot: float) -> np.ndarray:
        return np.maximum(line - knot, 0) ** 3

    for number, knot in enumerate(knots[:-2], start=1):
        bend = above(knot) - above(before) * (last - knot) / (last - before)
        bend += above(last) * (before - knot) / (last - before)
        columns.append(pl.Series(f"{LENGTH}, bend {number}", bend / scale))
    return columns


def _difference(sides: Sequence[np.ndarray]) -> np.ndarray:
    return sides[0] if len(sides) == 1 else sides[0] - sides[1]


def _standard(
    name: str, sides: Sequence[pl.Series], known: Bool[np.ndarray, " items"]
) -> tuple[Float[np.ndarray, "items columns"], list[str], list[str]]:
    """A number with mean 0 and standard deviation 1 among the known; no column where it is constant."""
    values = _difference([side.cast(pl.Float64).to_numpy() for side in sides])
    deviation = values[known].std() if known.any() else 0.0
    if not deviation > 0:
        return np.zeros((len(known), 0)), [], [_SAME.format(name)]
    return ((values - values[known].mean()) / deviation)[:, None], [name], []


def _levels(
    name: str, sides: Sequence[pl.Series], known: Bool[np.ndarray, " items"]
) -> tuple[Float[np.ndarray, "items levels"], list[str], list[str]]:
    """A column for each level of a word but the commonest."""
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
            f"{rare:,} values of the covariate {name!r}, of fewer than {FEWEST} each, were joined as"
            f" {OTHER!r}."
        )
    if len(levels) < 2:
        return np.zeros((len(known), 0)), [], [*notes, _SAME.format(name)]
    joined = [side.replace_strict({level: level for level in common}, default=OTHER) for side in sides]
    values = [
        _difference([(side == level).to_numpy().astype(np.float64) for side in joined])
        for level in levels[1:]
    ]
    return np.stack(values, axis=1), [f"{name}={level}" for level in levels[1:]], notes

"""The same unit in another study: another layer, seed, dictionary or model, on the same texts or pictures.

Pairs are chosen one to one on describe and select examples, and measured on score examples. Chance is what
there is when the second study's tokens stand in another order. What the other study says of a unit's partner
stands beside the pair, so that the table is one of descriptions: `saywell check` puts them to the test on the
first study's units, against the same floors as its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Float

from saywell.data.parts import SCORE
from saywell.errors import InputError
from saywell.progress import Progress, automatic
from saywell.store.study import Study, deciding_rows
from saywell.store.table import Table
from saywell.studies.again import stored_run
from saywell.studies.described import DESCRIPTIONS
from saywell.studies.features.relations import MOST_TOKENS, drawn_rows, has_directions, stored_decoder
from saywell.studies.questions import own_of
from saywell.studies.spine import Run
from saywell.units.matching import (
    Matched,
    aligned,
    assign,
    chance,
    correlation_of,
    correlations,
    cosine_candidates,
    gathered,
)
from saywell.units.relations import chance_cosine, cosines, firings, splits
from saywell.units.responses import RowNumbers
from saywell.units.token_activations import TokenActivations
from saywell.units.token_matrix import TokenMatrix, token_matrix

By = Literal["firing", "decoder"]
MATCHES = Table(
    "matches",
    {
        "unit": pl.String,
        "other": pl.String,
        "matched": pl.Boolean,
        "correlation": pl.Float64,
        "cosine": pl.Float64,
        "chosen": pl.Float64,
        "chance": pl.Float64,
        "parts": pl.List(pl.String),
        "own": pl.String,
        "own_status": pl.String,
        "text": pl.String,
        "claim": pl.String,
        "status": pl.String,
    },
    key=("unit",),
)
"""Units of the first study and of the second (`other`), one to one. `correlation` of their activations on
score examples, `cosine` of their directions where both are of one space. `chosen`: that of the two by which
pairs are made, on the other examples; `chance`: the most there is of it by chance. `matched`: `chosen` and
what was measured are above it. `parts`: units of the second study that split this one, as those of a larger
dictionary may (see `saywell.units.relations`). `text`, `claim` and `status`: what the second study says of
the other, null where it has seen score examples of the first; `own`: what the first says."""
SEEN = "not given: the second study has seen score examples of the first"


def match_studies(
    first: str | Path | Study,
    second: str | Path | Study,
    *,
    by: By = "firing",
    progress: Progress = automatic,
) -> pl.DataFrame:
    """The units of the second study that are those of the first, one to one, the surest first: see `MATCHES`.

    `by`: "firing", the correlation of activations over tokens of the same texts, which tokenisers may cut in
    different ways; or "decoder", the cosine of directions in one space (two dictionaries of one width and
    model).

    Raises InputError where the two have no examples in common or keep no responses, and by "decoder" where
    their directions are not of one space.
    """
    with progress("matching", 4) as advance:
        runs = [_opened(each) for each in (first, second)]
        common = _common(*runs)
        decoders = _of_one_space(*runs)
        if by == "decoder" and decoders is None:
            raise InputError(
                "directions are compared in one space, and these studies are not of two dictionaries of one"
                " model, of one width; match them by='firing' (--by firing)"
            )
        choosing, measuring = (_sides(runs, common, score) for score in (False, True))
        advance(1)
        if by == "firing":
            alike, by_chance = correlations(*choosing), chance(*choosing, seed=runs[0].resources.seed).max(0)
        else:
            assert decoders is not None
            most = chance_cosine(decoders[1], np.random.default_rng(runs[0].resources.seed))
            alike, by_chance = cosine_candidates(*decoders), np.full(len(decoders[0]), most)
        advance(1)
        pairs = assign(alike)
        advance(1)
        measured = correlation_of(*measuring, pairs)
        along = np.full(len(pairs.first), np.nan)
        if decoders is not None:
            along = cosines(*decoders, pairs.first, pairs.second)
        split = splits(*map(firings, choosing))
        found = _Found(
            pairs, measured, along, by_chance[pairs.first], {own.whole: own.parts for own in split}, by
        )
        advance(1)
    return _table(runs, common, found)


class _Found(NamedTuple):
    pairs: Matched
    correlation: Float[np.ndarray, " pairs"]
    cosine: Float[np.ndarray, " pairs"]
    chance: Float[np.ndarray, " pairs"]
    parts: Mapping[int, np.ndarray]
    """By unit of the first study those of the second that split it."""
    by: By

    @property
    def matched(self) -> np.ndarray:
        """Whether what pairs are made by, and what was measured apart from it, are above chance."""
        apart = self.correlation if self.by == "firing" else self.cosine
        return (self.pairs.alike > self.chance) & (apart > self.chance)


def _opened(study: str | Path | Study) -> Run:
    study = study if isinstance(study, Study) else Study(study)
    if study.manifest.status != "complete":
        raise InputError(f"{str(study.path)!r} is not finished; run its command to the end")
    return stored_run(study, *own_of(study))


def _common(first: Run, second: Run) -> pl.DataFrame:
    """row, part of both studies for the examples that both have."""
    one, other = (run.examples.table.select("id", "part").with_row_index("row") for run in (first, second))
    common = one.join(other, on="id", suffix="_other", maintain_order="left")
    if common.is_empty():
        raise InputError(
            f"{str(first.study.path)!r} and {str(second.study.path)!r} have no examples in common; match"
            " studies of the same texts or pictures (windows of long texts, cut by one tokenizer)"
        )
    return common


def _of_one_space(first: Run, second: Run) -> tuple[np.ndarray, np.ndarray] | None:
    """The directions of both, where they can be compared."""
    models = [run.study.manifest.config.get("model") for run in (first, second)]
    if models[0] is None or models[0] != models[1] or not all(map(has_directions, (first, second))):
        return None
    one, other = map(stored_decoder, (first, second))
    return (one, other) if one.shape[1] == other.shape[1] else None


def _sides(runs: Sequence[Run], common: pl.DataFrame, score: bool) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Activations of both at the same pieces, of the examples that both score, or that neither does."""
    scored = [pl.col(name) == SCORE for name in ("part", "part_other")]
    some = common.filter(*scored) if score else common.filter(*(~each for each in scored))
    if some.is_empty():
        what = "both score" if score else "both describe or select from"
        raise InputError(f"the two studies have no examples that {what}; give both the same --seed")
    kept = drawn_rows(runs[0], some["row"].to_numpy().astype(np.int64), MOST_TOKENS)
    some = some.filter(pl.col("row").is_in(kept))
    rows = [some[name].to_numpy().astype(np.int64) for name in ("row", "row_other")]
    one, other = (token_matrix(run.subject.activations, own) for run, own in zip(runs, rows, strict=True))
    pieces = _pieces(runs, rows, one, other)
    count = max(int(own.max(initial=-1)) for own in pieces) + 1
    return gathered(one.activations, pieces[0], count), gathered(other.activations, pieces[1], count)


def _pieces(
    runs: Sequence[Run], rows: Sequence[RowNumbers], one: TokenMatrix, other: TokenMatrix
) -> tuple[np.ndarray, np.ndarray]:
    """In which piece of the examples each token is: where both are of texts, cut alike; else the example."""
    lines = [_lines(own, matrix) for own, matrix in zip(rows, (one, other), strict=True)]
    first, second = (_spans(run, matrix) for run, matrix in zip(runs, (one, other), strict=True))
    if first is None or second is None:
        same = np.array_equal(one.positions, other.positions) and np.array_equal(lines[0], lines[1])
        # Pictures on one grid have the same places.
        return (np.arange(len(lines[0])), np.arange(len(lines[1]))) if same else (lines[0], lines[1])
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    count, every = 0, np.arange(len(rows[0]) + 1)
    edges = [np.searchsorted(line, every) for line in lines]
    for text in range(len(rows[0])):
        a, b = (slice(edge[text], edge[text + 1]) for edge in edges)
        *pieces, more = aligned(first[a], second[b])
        for into, piece in zip(found, pieces, strict=True):
            into.append(np.where(piece < 0, -1, piece + count))
        count += more
    return np.concatenate(found[0]), np.concatenate(found[1])


def _lines(rows: RowNumbers, matrix: TokenMatrix) -> np.ndarray:
    """Of each token the place of its example among `rows`, in whose order the tokens are."""
    line = np.zeros(int(rows.max()) + 1, dtype=np.int64)
    line[rows] = np.arange(len(rows))
    return line[matrix.rows]


def _spans(run: Run, matrix: TokenMatrix) -> np.ndarray | None:
    """The characters of each token; None where there are none."""
    kept = run.subject.activations.responses
    tokens = kept.tokens if isinstance(kept, TokenActivations) else None
    return None if tokens is None else tokens.spans[tokens.starts[matrix.rows] + matrix.positions]


def _table(runs: Sequence[Run], common: pl.DataFrame, found: _Found) -> pl.DataFrame:
    ids = [run.subject.activations.units["id"].to_numpy() for run in runs]
    none = np.zeros(0, dtype=np.int64)
    pairs = pl.DataFrame(
        {
            "unit": ids[0][found.pairs.first],
            "other": ids[1][found.pairs.second],
            "matched": found.matched,
            "correlation": found.correlation,
            "cosine": found.cosine,
            "chosen": found.pairs.alike,
            "chance": found.chance,
            "parts": [ids[1][found.parts.get(unit, none)].tolist() for unit in found.pairs.first.tolist()],
        },
        schema_overrides={"parts": pl.List(pl.String)},
    ).with_columns(pl.col("correlation", "cosine").fill_nan(None))
    own = _said(runs[0]).select("unit", own="text", own_status="status")
    theirs = _said(runs[1]).rename({"unit": "other"})
    if common.filter(part=SCORE).filter(pl.col("part_other") != SCORE).height:
        nothing = pl.lit(None, dtype=pl.String)
        theirs = theirs.with_columns(text=nothing, claim=nothing, status=pl.lit(SEEN))
    table = pairs.join(own, on="unit", how="left").join(theirs, on="other", how="left")
    table = table.sort("matched", "chosen", "unit", descending=[True, True, False])
    return MATCHES.check(table.select(list(MATCHES.columns)))


def _said(run: Run) -> pl.DataFrame:
    """unit, text, claim, status: what stands for each unit, and whether it is verified."""
    written = run.study.table(DESCRIPTIONS).filter("selected", pl.col("text") != "")
    status = deciding_rows(run.study.scores).select(id="description", verdict="status")
    claim = pl.col("claim") if "claim" in written.columns else pl.lit(None, dtype=pl.String)
    joined = written.join(status, on="id", how="left")
    return joined.select("unit", "text", claim=claim, status=pl.col("verdict").fill_null("not tested"))

"""What raters favour: what differs at all between two texts, who goes by what, and which answers to doubt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from scipy import special
from sklearn.metrics import r2_score, roc_auc_score

from saywell.data.parts import DESCRIBE, SCORE, SELECT
from saywell.scorers.association import Readings, associations
from saywell.scorers.intervals import LEVEL, RESAMPLES
from saywell.scorers.null_model import Null
from saywell.scorers.outcomes import Outcome
from saywell.scorers.raters import Rated, RaterModel, Scales, best_scales, fit_raters, losses
from saywell.studies.hypotheses.items import Asked
from saywell.studies.hypotheses.tables import ARGUED, BY_RATER, MEASURABLE, RATERS

MODELS: tuple[RaterModel, ...] = ("all", "level", "weights", "alone")
FOLDS = 10


def measurable(candidates: pl.DataFrame, differences: Readings, null: Null) -> pl.DataFrame:
    """Table MEASURABLE of candidates (rows of STATEMENTS), those first that differ in most pairs.

    `differences`: of each candidate and pair of the null model, whose outcome is which is favoured: 1 where
    it holds of the first text alone, -1 of the second alone, 0 of both or none, NaN where one was not read.
    """
    first, second, read = _counts(differences, np.ones(len(null)))
    ahead, behind, _ = _counts(differences, null.values)
    number = first + second
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {
            "differs": number / read,
            "first": first / number,
            "expressed": (ahead + second - behind) / number,
            "z": associations(null, differences).z,
        }
    table = candidates.select("unit", "found_by", "text", "claim").with_columns(
        pl.Series(name, values, nan_to_null=True) for name, values in columns.items()
    )
    return MEASURABLE.check(table.sort("differs", descending=True, nulls_last=True, maintain_order=True))


def _counts(
    differences: Readings, values: Float[np.ndarray, " n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The sums of values where a difference is above 0, where it is below, and where it is known."""
    known = np.full(differences.shape[0], values.sum())
    if isinstance(differences, np.ndarray):
        known = ~np.isnan(differences) @ values
    return (differences > 0) @ values, (differences < 0) @ values, known


class ByRater(NamedTuple):
    """Tables RATERS and BY_RATER."""

    weights: pl.DataFrame
    gains: pl.DataFrame


def rater_weights(
    asked: Asked,
    outcome: Outcome,
    hypotheses: Sequence[str],
    readings: Float[np.ndarray, "hypotheses items"],
    *,
    seed: int = 0,
) -> ByRater:
    """What each rater goes by, and how much better held-out items are told by it.

    `readings`: of each hypothesis and item, as `Items.read` gives them; one that was not read counts as the
    mean, of pairs as no difference. Fitted on describe and select items; told are score items. Items whose
    rater is not known tell of all raters alone. No rows without hypotheses, and where train or test items
    have one outcome only.
    """
    assert asked.raters is not None
    rated, names, rows = _rated(asked, outcome, readings)
    train = np.isin(rows, asked.items.of(DESCRIBE, SELECT))
    test = np.isin(rows, asked.items.of(SCORE))
    seen, unseen = rated.of(train), rated.of(test)
    if not hypotheses or any(len(np.unique(part.outcome)) < 2 for part in (seen, unseen)):
        return ByRater(RATERS.empty(), BY_RATER.empty())
    scales = best_scales(seen, seed=seed)
    fitted = {model: fit_raters(seen, model, scales) for model in MODELS}
    told = {model: found.tell(unseen) for model, found in fitted.items()}
    lost = {model: losses(unseen, each) for model, each in told.items()}
    gains = []
    for model in MODELS:
        low, high = _interval(lost["all"] - lost[model], unseen.together, seed)
        loss = float(lost[model].mean())
        gain = float(lost["all"].mean()) - loss
        measure, figure = ("AUC", roc_auc_score) if rated.binary else ("R2", r2_score)
        value = float(figure(unseen.outcome, told[model]))
        gains.append((outcome.name, model, loss, gain, low, high, measure, value, len(unseen.outcome)))

    own, first = fitted["weights"], 1 + rated.covariates.shape[1]
    half = float(special.ndtri((1 + LEVEL) / 2))
    counts = np.bincount(seen.rater[seen.rater >= 0], minlength=len(names))
    weights = [
        (names[rater], name, int(counts[rater]), weight, weight - half * error, weight + half * error, of_all)
        for rater in np.flatnonzero(counts)
        for name, weight, error, of_all in zip(
            hypotheses,
            (own.weights[first:] + own.own[rater, 1:]).tolist(),
            own.own_errors[rater, 1:].tolist(),
            own.weights[first:].tolist(),
            strict=True,
        )
    ]
    return ByRater(RATERS.frame(weights), BY_RATER.frame(gains))


def argued(
    asked: Asked,
    outcome: Outcome,
    hypotheses: Sequence[str],
    readings: Float[np.ndarray, "hypotheses items"],
    *,
    seed: int = 0,
) -> pl.DataFrame:
    """Table ARGUED: items whose outcome these hypotheses argue against, the most doubtful first.

    `readings` as in `rater_weights`. What is expected of an item comes from a model fitted on other items,
    none of its cluster, with covariates held equal; where there are raters, from what its rater goes by: a
    taste is no mistake. Listed is what the model holds to be less likely than not, if the hypotheses
    together are against it. Of a single text `second` is null. No rows unless the outcome is binary.
    """
    if outcome.kind != "binary" or not hypotheses:
        return ARGUED.empty()
    rated, _, rows = _rated(asked, outcome, readings)
    model, scales = ("all", Scales()) if asked.raters is None else ("weights", best_scales(rated, seed=seed))
    told, parts = np.zeros(len(rows)), np.zeros((len(rows), len(hypotheses)))
    groups, together = np.unique(rated.together, return_inverse=True)
    fold = (np.random.default_rng(seed).permutation(len(groups)) % FOLDS)[together]
    for one in np.unique(fold):
        here = rated.of(fold == one)
        fitted = fit_raters(rated.of(fold != one), model, scales)
        told[fold == one] = fitted.tell(here)
        parts[fold == one] = here.readings * fitted.weights_of(here.rater)[:, 1 + here.covariates.shape[1] :]
    against = np.where(rated.outcome == 1, -1, 1)  # the way that is not the one said
    odds = np.exp(np.clip(against * told, -700, 700))
    doubtful = np.flatnonzero((odds > 1) & (against * parts.sum(1) > 0))
    ids, items = asked.examples.ids, asked.items
    table = []
    for at in doubtful[np.argsort(-odds[doubtful], kind="stable")]:
        item, pull = rows[at], against[at] * parts[at]
        strongest = [hypotheses[h] for h in np.argsort(-pull, kind="stable") if pull[h] > 0]
        second = None if items.second is None else ids[items.second[item]]
        said, predicted = float(rated.outcome[at]), float(special.expit(told[at]))
        name = str(items.rows[item])
        table.append((name, ids[items.first[item]], second, strongest, said, predicted, float(odds[at])))
    return ARGUED.frame(table)


def _rated(
    asked: Asked, outcome: Outcome, readings: Float[np.ndarray, "hypotheses items"]
) -> tuple[Rated, list[str], Int[np.ndarray, " rated"]]:
    """The items whose outcome is known, the raters by number, and which items these are."""
    rows = np.flatnonzero(outcome.known)
    read = readings[:, rows].T
    known = ~np.isnan(read)
    # Of a pair in which neither text has it, a hypothesis says nothing; of texts without it, it does.
    means = 0.0 if asked.items.pairs else np.where(known, read, 0).sum(0) / np.maximum(known.sum(0), 1)
    names: list[str] = []
    rater = np.full(len(rows), -1)
    if asked.raters is not None:
        said = asked.raters.cast(pl.String)[rows]
        names = said.drop_nulls().unique().sort().to_list()
        numbers = {name: number for number, name in enumerate(names)}
        rater = np.array([numbers.get(name, -1) for name in said], int)
    together = np.arange(len(rows)) if asked.clusters is None else asked.clusters[rows]
    centred = np.where(known, read - means, 0.0)
    binary = outcome.kind == "binary"
    return Rated(outcome.values[rows], centred, asked.covariates[rows], rater, together, binary), names, rows


def _interval(
    values: Float[np.ndarray, " items"], together: Int[np.ndarray, " items"], seed: int
) -> tuple[float, float]:
    """The 95 % interval of a mean, by resamples of clusters."""
    _, own = np.unique(together, return_inverse=True)
    sums, sizes = np.bincount(own, values), np.bincount(own)
    random, number = np.random.default_rng(seed), len(sizes)
    drawn = [
        counts @ sums / (counts @ sizes)
        for counts in (
            np.bincount(random.integers(number, size=number), minlength=number) for _ in range(RESAMPLES)
        )
    ]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)

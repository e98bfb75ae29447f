"""How far the descriptors of neurons can be trusted: steps B.7 and B.8 of the method.

Everything here reads texts of the `test` split, which nothing before it has looked at, except the
Jaccard index, which compares what `calibration` and `validation` say of a neuron.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Bool, Float
from scipy.linalg import cho_factor, cho_solve

from saywell.data.parts import DESCRIBE, SCORE, SELECT, Parts, Rows
from saywell.errors import InputError
from saywell.scorers.calibration import apply_platt, fit_platt
from saywell.scorers.consistency import jaccard, jaccard_with_others
from saywell.scorers.intervals import Interval, bootstrap_means
from saywell.scorers.retrieval import best_precision_at_k, precision_recall_at_k
from saywell.store.schemas import table_of
from saywell.store.study import Metric, Study
from saywell.studies.neuron_subject import Subject, Tags, make_subject
from saywell.units.activations import Activations

K_MAX = 10
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
RULES = ("composition", "enrichment")
ALL_TAGS, LEXICAL = "all", "lexical"
SHUFFLED, RANDOM, FREQUENT = "shuffled exemplars", "random weights", "most frequent"
PROBE, BEST = "linear probe", "best possible"


class Line(NamedTuple):
    """Which curve: those columns of table `curves` that tell it from others of its figure."""

    rule: str = ""
    calibrated: bool = False
    tags: str = ALL_TAGS
    control: str = ""


def answered_rows(activations: Activations, part: Rows, known: np.ndarray) -> np.ndarray:
    """A part's texts that have an answer, in the order in which `by_example` gives them."""
    rows = activations.order(part)
    return rows[known[rows]]


def predict(
    subject: Subject,
    weights: Mapping[Line, sp.csr_matrix],
    known: Bool[np.ndarray, " texts"],
    part: Rows | None = None,
) -> dict[Line, Float[np.ndarray, "texts descriptors"]]:
    """Summed evidence of the units that fire on each text of a part, once per set of weights."""
    stacked = sp.hstack(list(weights.values()), format="csr")
    parts = []
    for rows, fires in subject.activations.by_example(part or subject.parts.score):
        parts.append((fires[known[rows]] @ stacked).toarray())
    scores = np.split(np.concatenate(parts), len(weights), axis=1)
    return dict(zip(weights, scores, strict=True))


def predict_calibrated(
    subject: Subject, weights: Mapping[Line, sp.csr_matrix], tags: Tags
) -> dict[Line, Float[np.ndarray, "texts descriptors"]]:
    """`predict`, with the evidence for each descriptor turned into a probability.

    Units agree with each other and descriptors differ in how many units they have, so sums of
    evidence are not comparable between descriptors. Two numbers per descriptor, fitted on
    validation texts, make them so.
    """
    rows = answered_rows(subject.activations, subject.parts.select, tags.known)
    truth = tags.matrix[rows].toarray() > 0
    seen = predict(subject, weights, tags.known, subject.parts.select)
    return {
        line: apply_platt(evidence, *fit_platt(seen[line], truth))
        for line, evidence in predict(subject, weights, tags.known).items()
    }


def retrieval_curves(
    scores: Mapping[Line, np.ndarray], truth: Bool[np.ndarray, "texts descriptors"], tags: str, seed: int
) -> pl.DataFrame:
    """precision@k and recall@k of every set of scores, and the best that any ranking could reach."""
    rows, ks = [], range(1, K_MAX + 1)
    for line, values in scores.items():
        precision, recall = precision_recall_at_k(values, truth, K_MAX)
        rows += _curve("precision@k", line, ks, bootstrap_means(precision, seed=seed))
        rows += _curve("recall@k", line, ks, bootstrap_means(recall, seed=seed))
    best, line = bootstrap_means(best_precision_at_k(truth, K_MAX), seed=seed), Line(tags=tags, control=BEST)
    rows += _curve("precision@k", line, ks, best)
    _, best_recall = precision_recall_at_k(truth.astype(float), truth, K_MAX)
    rows += _curve("recall@k", line, ks, bootstrap_means(best_recall, seed=seed))
    return _table(rows)


def threshold_curves(
    subject: Subject, truth: Bool[np.ndarray, "texts descriptors"], known: np.ndarray, seed: int
) -> pl.DataFrame:
    """Precision and recall of a neuron's own descriptors, against the composition threshold.

    Over all pairs of a held-out text and a unit that fires on it: which share of the unit's
    descriptors does the text carry (pairs whose unit has some), and which share of the text's
    descriptors does the unit have (texts that carry some). Intervals are over texts.
    """
    fires = sp.vstack(
        [f[known[rows]] for rows, f in subject.activations.by_example(subject.parts.score)]
    ).tocsr()
    carried = truth.sum(1)
    share = np.divide(truth, carried[:, None], out=np.zeros(truth.shape), where=carried[:, None] > 0)
    rows = []
    shuffled = subject.exchanged(seed)
    for control, order in (("", slice(None)), (SHUFFLED, shuffled)):
        line = Line("composition", control=control)
        precisions, recalls = [], []
        for threshold in THRESHOLDS:
            assigned = subject.assigned("composition", threshold)[order].astype(np.float64)
            sizes = assigned.sum(1)
            some = (sizes > 0).astype(float)
            own = sp.csr_matrix(assigned / np.maximum(sizes, 1)[:, None])
            hit = np.asarray((fires @ own).multiply(truth).sum(1)).ravel()
            covered = np.asarray((fires @ sp.csr_matrix(assigned)).multiply(share).sum(1)).ravel()
            firing_units = np.asarray(fires.sum(1)).ravel()
            precisions.append(ratio_interval(hit, fires @ some, seed))
            recalls.append(ratio_interval(covered, np.where(carried > 0, firing_units, 0.0), seed))
        rows += _curve("precision against threshold", line, THRESHOLDS, precisions)
        rows += _curve("recall against threshold", line, THRESHOLDS, recalls)
    return _table(rows)


def ratio_interval(
    above: Float[np.ndarray, " texts"], below: Float[np.ndarray, " texts"], seed: int
) -> Interval:
    """A ratio of sums over texts with its bootstrap interval over texts."""
    n = len(above)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=400)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(np.divide(above.sum(), below.sum()))
        drawn = (weights @ above) / (weights @ below)
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(drawn) else (np.nan, np.nan)
    return Interval(value, float(low), float(high), int((below > 0).sum()))


def probe_scores(
    activations: Activations,
    parts: Parts,
    tags: Tags,
    *,
    limit: int = 4000,
    seed: int = 0,
    ridge: Sequence[float] = (0.1, 1.0, 10.0),
) -> Float[np.ndarray, "texts descriptors"]:
    """The upper line: a linear probe from all activations to every descriptor.

    Ridge regression on standardised activations in its dual form, so that the cost grows with the
    number of texts (at most `limit` calibration texts are used) and not of units. The penalty,
    relative to the mean eigenvalue, is the one with the best precision@2 on validation texts.
    Memory is two square matrices of the texts used and blocks of activations, however many texts
    there are.
    """
    high = activations.only(activations.units.filter(sign=1)["id"].to_list())
    rows = {name: high.order(part) for name, part in parts._asdict().items()}
    chosen = {name: np.flatnonzero(tags.known[r]) for name, r in rows.items()}
    for split in (DESCRIBE, SELECT):
        if len(chosen[split]) > limit:
            picked = np.random.default_rng(seed).choice(chosen[split], limit, replace=False)
            chosen[split] = np.sort(picked)
    truth = {s: tags.matrix[rows[s][keep]].toarray() for s, keep in chosen.items()}
    width = high.units.height
    mean, std = high.units.select("mean", "std").to_numpy().T
    scale = np.where(std > 0, 1 / np.maximum(std, 1e-12), 0.0)

    def standardised(split: str) -> Iterator[tuple[slice, Float[np.ndarray, "texts block"]]]:
        for block, values in high.blocks(getattr(parts, split), cells=1 << 22):
            kept = (values[chosen[split]] - mean[block]) * scale[block]
            yield block, kept.astype(np.float32)

    gram = np.zeros((len(chosen[DESCRIBE]),) * 2)
    for _, values in standardised(DESCRIBE):
        gram += values @ values.T
    base = truth[DESCRIBE].mean(0)
    level = np.trace(gram) / len(gram) or 1.0  # units that never change say nothing, whatever the penalty
    duals = []
    for penalty in ridge:
        system = gram.copy()
        system[np.diag_indices_from(system)] += penalty * level
        # Transposed it is the same matrix in the order that is factored in place.
        factor = cho_factor(system.T, overwrite_a=True, check_finite=False)
        dual = cho_solve(factor, truth[DESCRIBE] - base, check_finite=False)
        duals.append(dual.astype(np.float32))
    del gram, system, factor
    weights = np.zeros((len(ridge), width, len(base)), dtype=np.float32)
    for block, values in standardised(DESCRIBE):
        for number, dual in enumerate(duals):
            weights[number, block] = values.T @ dual

    def guessed(split: str, weights: Float[np.ndarray, "units descriptors"]) -> np.ndarray:
        return base + sum(values @ weights[block] for block, values in standardised(split))

    def quality(number: int) -> float:
        guess = guessed(SELECT, weights[number])
        precision, _ = precision_recall_at_k(_positive(guess), truth[SELECT] > 0, 2)
        return float(np.nanmean(precision[:, 1]))

    best = max(range(len(ridge)), key=quality)
    return _positive(guessed(SCORE, weights[best]))


def _positive(scores: np.ndarray) -> np.ndarray:
    """Shifted so that every descriptor counts as predicted; ranks are unchanged."""
    return scores - scores.min() + 1.0


def consistency(subject: Subject, rule: str, threshold: float, seed: int) -> tuple[Interval, Interval, int]:
    """Jaccard of calibration against validation, the same with another unit's, and empty units.

    Intervals are over units; units without descriptors on both sides are only counted.
    """
    first = subject.assigned(rule, threshold)
    second = subject.assigned(rule, threshold, SELECT)
    ok = (subject.units["state"] == "ok").to_numpy()
    own = jaccard(first[ok], second[ok])
    others = jaccard_with_others(first[ok], second[ok], seed=seed)
    intervals = bootstrap_means(np.stack([own, others], axis=1), seed=seed, resamples=400)
    return intervals[0], intervals[1], int(np.isnan(own).sum())


def metric(
    name: str,
    interval: Interval,
    of: str,
    controls: Mapping[str, Interval],
    ceiling: Mapping[str, Interval] | None = None,
    reference: Mapping[str, Interval] | None = None,
    *,
    figure: str,
    by: Mapping[str, str | bool],
) -> Metric:
    """A headline figure from intervals; NaN becomes no answer."""
    value, low, high = (_number(x) for x in (interval.value, interval.low, interval.high))
    return Metric(
        name=name,
        figure=figure,
        by=dict(by),
        value=value,
        ci_low=low,
        ci_high=high,
        n=interval.n,
        of=of,
        controls={key: _number(c.value) for key, c in controls.items()},
        ceiling={key: _number(c.value) for key, c in (ceiling or {}).items()},
        reference={key: _number(c.value) for key, c in (reference or {}).items()},
    )


def curve_point(curves: pl.DataFrame, figure: str, line: Line, x: float) -> Interval | None:
    """One point of a curve; None where there is no such curve."""
    found = curves.filter(figure=figure, x=x, **line._asdict())
    if found.is_empty():
        return None
    row = found.row(0, named=True)
    value, low, high = (np.nan if row[key] is None else row[key] for key in ("value", "ci_low", "ci_high"))
    return Interval(value, low, high, row["n"])


def _table(rows: Sequence[tuple[str, Line, float, Interval]]) -> pl.DataFrame:
    """Table `curves`."""
    return table_of(
        "curves",
        [(figure, *line, x, *map(_number, interval[:3]), interval.n) for figure, line, x, interval in rows],
    )


def _curve(
    figure: str, line: Line, xs: Sequence[float] | range, intervals: Sequence[Interval]
) -> list[tuple[str, Line, float, Interval]]:
    return [(figure, line, float(x), i) for x, i in zip(xs, intervals, strict=True)]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def curve_table(
    study: Study,
    subject: Subject,
    control: Subject | None,
    carried: dict[str, Tags],
    threshold: float,
    seed: int,
) -> pl.DataFrame:
    """Step 7: table `curves`.

    `carried` holds the tags by source: "all", and "lexical" where an encoder tags as well.
    """
    tags = carried[ALL_TAGS]
    rows = answered_rows(subject.activations, subject.parts.score, tags.known)
    if len(rows) < 2:
        raise InputError(f"only {len(rows)} held-out sentences have tags; give more sentences")
    frames = [prediction_curves(subject, control, tags, rows, threshold, seed)]
    if LEXICAL in carried:
        words = carried[LEXICAL]
        retagged = make_subject(
            subject.activations.responses,
            subject.units,
            study.exemplars,
            study.examples,
            words,
            compare=False,
        ).without_p()
        frames.append(prediction_curves(retagged, None, words, rows, threshold, seed, named=LEXICAL))
    truth = tags.matrix[rows].toarray() > 0
    return pl.concat([*frames, threshold_curves(subject, truth, tags.known, seed)])


def prediction_curves(
    subject: Subject,
    control: Subject | None,
    tags: Tags,
    rows: np.ndarray,
    threshold: float,
    seed: int,
    *,
    named: str = ALL_TAGS,
) -> pl.DataFrame:
    """precision@k and recall@k of every rule, control and ceiling, on one set of tags, by its name."""
    truth = tags.matrix[rows].toarray() > 0
    # Equal scores rank by column; a random order of columns keeps that from favouring frequent ones.
    order = np.random.default_rng(seed).permutation(truth.shape[1])
    scores = _rule_scores(subject, tags, threshold, Line(tags=named))
    # Each unit votes with another unit's descriptors: the link to its exemplars is broken.
    exchanged = subject.exchanged(seed)
    scores |= _rule_scores(subject, tags, threshold, Line(tags=named, control=SHUFFLED), exchanged)
    if control is not None:
        scores |= _rule_scores(control, tags, threshold, Line(tags=named, control=RANDOM))
    calibration = answered_rows(subject.activations, subject.parts.describe, tags.known)
    frequency = np.asarray(tags.matrix[calibration].mean(0))
    scores[Line(tags=named, control=FREQUENT)] = np.tile(frequency, (len(rows), 1))
    if named == ALL_TAGS:
        probe = probe_scores(subject.activations, subject.parts, tags, seed=seed)
        scores[Line(tags=named, control=PROBE)] = probe
    ordered = {line: values[:, order] for line, values in scores.items()}
    return retrieval_curves(ordered, truth[:, order], named, seed)


def _rule_scores(
    subject: Subject, tags: Tags, threshold: float, line: Line, order: np.ndarray | slice = slice(None)
) -> dict[Line, np.ndarray]:
    weights = {line._replace(rule=rule): subject.weights(rule, threshold)[order] for rule in RULES}
    enriched = line._replace(rule="enrichment")
    calibrated = {enriched._replace(calibrated=True): weights[enriched]}
    return {**predict(subject, weights, tags.known), **predict_calibrated(subject, calibrated, tags)}


def headline(
    curves: pl.DataFrame, subject: Subject, control: Subject | None, threshold: float, seed: int
) -> list[Metric]:
    """precision@2, recall@2 and Jaccard of every rule, with their controls, bounds and references."""
    metrics = []
    tagged = [tags for tags in (ALL_TAGS, LEXICAL) if tags in curves["tags"]]
    for figure, at_two in (("precision@k", "precision@2"), ("recall@k", "recall@2")):
        for rule, calibrated in (("enrichment", True), ("enrichment", False), ("composition", False)):
            for tags in tagged:
                own = Line(rule, calibrated, tags)
                lines = {own._replace(control=control) for control in (SHUFFLED, RANDOM)}
                lines |= {Line(tags=tags, control=control) for control in (FREQUENT, BEST, PROBE)}
                beside = {
                    line.control: found
                    for line in lines
                    if (found := curve_point(curves, figure, line, 2.0)) is not None
                }
                controls, ceiling, reference = (
                    {name: beside[name] for name in names if name in beside}
                    for names in ((FREQUENT, SHUFFLED, RANDOM), (BEST,), (PROBE,))
                )
                measured = curve_point(curves, figure, own, 2.0)
                assert measured is not None, "every rule has its curve"
                label = f"{at_two}, {rule}" + ", calibrated" * calibrated
                metrics.append(
                    metric(
                        label + " (lexical tags)" * (tags == LEXICAL),
                        measured,
                        "held-out sentences",
                        controls,
                        ceiling,
                        reference,
                        figure=at_two,
                        by={"rule": rule, "calibrated": calibrated, "tags": tags},
                    )
                )
    for rule in RULES:
        own, others, empty = consistency(subject, rule, threshold, seed)
        controls = {"another neuron": others}
        if control is not None:
            controls["random weights"] = consistency(control, rule, threshold, seed)[0]
        of = f"units with descriptors; {empty} have none"
        label, by = f"Jaccard, {rule}", {"rule": rule}
        metrics.append(metric(label, own, of, controls, figure="Jaccard", by=by))
    return metrics

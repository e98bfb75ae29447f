"""How far the descriptors of neurons can be trusted: steps B.7 and B.8 of the method.

Everything here reads score texts, which nothing before it has looked at, except the Jaccard index, which
compares what describe and select texts say of a neuron.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
import scipy.sparse as sp
from jaxtyping import Bool, Float, Int
from scipy.linalg import cho_factor, cho_solve

from saywell.data.examples import Examples
from saywell.data.parts import DESCRIBE, SCORE, SELECT, Parts, Rows
from saywell.data.tags import Tags
from saywell.describers.associations import Associations, associations_of
from saywell.describers.descriptors.tables import TAGS, stored_tags
from saywell.errors import InputError
from saywell.scorers.calibration import apply_platt, fit_platt
from saywell.scorers.consistency import jaccard, jaccard_with_others
from saywell.scorers.intervals import Interval, bootstrap_means
from saywell.scorers.retrieval import best_precision_at_k, precision_recall_at_k
from saywell.store.study import Metric
from saywell.store.table import Table
from saywell.studies.spine import Run, Subject
from saywell.units.activations import Activations
from saywell.units.firing import OK

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


CURVES = Table(
    "curves",
    {
        "figure": pl.String,
        "rule": pl.String,
        "calibrated": pl.Boolean,
        "tags": pl.String,
        "control": pl.String,
        "x": pl.Float64,
        "value": pl.Float64,
        "ci_low": pl.Float64,
        "ci_high": pl.Float64,
        "n": pl.Int64,
    },
    key=("figure", "rule", "calibrated", "tags", "control", "x"),
    version=2,
)
"""The points of the figures: a curve is all rows that differ in x alone."""


@dataclass(frozen=True)
class Side:
    """One side of the comparison: the units of the model, or those of random weights."""

    activations: Activations
    parts: Parts
    describe: Associations
    """What the exemplars among the describe texts say."""
    select: Associations | None
    """The same of the select texts, where the two are to be compared."""

    @property
    def ok(self) -> Bool[np.ndarray, " units"]:
        """Which units fire at all."""
        return (self.activations.units["state"] == OK).to_numpy()

    def weights(self, rule: str, threshold: float) -> sp.csr_matrix:
        """Units x descriptors: the evidence that a firing unit gives for each of its descriptors."""
        found = self.describe
        if rule == "composition":
            return sp.csr_matrix(np.where(found.composed(threshold), found.composition, 0))
        return sp.csr_matrix(np.where(found.enriched(), np.log(np.maximum(found.lift, 1)), 0))

    def exchanged(self, seed: int) -> Int[np.ndarray, " units"]:
        """An order of the units in which each stands where another one that also fires stood."""
        order = np.arange(self.activations.units.height)
        firing = np.flatnonzero(self.ok)
        order[firing] = np.random.default_rng(seed).permutation(firing)
        return order

    def assigned(self, rule: str, threshold: float, part: str = DESCRIBE) -> np.ndarray:
        """Units x descriptors: who got what."""
        found = self.describe if part == DESCRIBE else self.select
        assert found is not None, "made without the part to compare with"
        return found.composed(threshold) if rule == "composition" else found.enriched()


def side_of(subject: Subject, examples: Examples, compare: bool = True) -> Side:
    """What the exemplars of a subject's units say; of select texts, too, unless nobody compares."""
    parts = examples.parts
    ids = subject.activations.units["id"].to_list()
    nothing = np.empty(0, dtype=np.float32)  # p-values are large, and only table `associations` wants them

    def found(part: Rows) -> Associations:
        return associations_of(subject.exemplars, ids, examples.only(part))._replace(p=nothing)

    return Side(subject.activations, parts, found(parts.describe), found(parts.select) if compare else None)


def answered_rows(activations: Activations, part: Rows, known: np.ndarray) -> np.ndarray:
    """A part's texts that have an answer, in the order in which `by_example` gives them."""
    rows = activations.order(part)
    return rows[known[rows]]


def predict(
    side: Side,
    weights: Mapping[Line, sp.csr_matrix],
    known: Bool[np.ndarray, " all"],
    part: Rows | None = None,
) -> dict[Line, Float[np.ndarray, "texts descriptors"]]:
    """Summed evidence of the units that fire on each text of a part, once per set of weights."""
    stacked = sp.hstack(list(weights.values()), format="csr")
    parts = []
    for rows, fires in side.activations.by_example(part or side.parts.score):
        parts.append((fires[known[rows]] @ stacked).toarray())
    scores = np.split(np.concatenate(parts), len(weights), axis=1)
    return dict(zip(weights, scores, strict=True))


def predict_calibrated(
    side: Side, weights: Mapping[Line, sp.csr_matrix], tags: Tags
) -> dict[Line, Float[np.ndarray, "texts descriptors"]]:
    """`predict`, with the evidence for each descriptor turned into a probability.

    Units agree with each other and descriptors differ in how many units they have, so sums of
    evidence are not comparable between descriptors. Two numbers per descriptor, fitted on
    select texts, make them so.
    """
    rows = answered_rows(side.activations, side.parts.select, tags.known)
    truth = tags.matrix[rows].toarray() > 0
    seen = predict(side, weights, tags.known, side.parts.select)
    return {
        line: apply_platt(evidence, *fit_platt(seen[line], truth))
        for line, evidence in predict(side, weights, tags.known).items()
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
    side: Side, truth: Bool[np.ndarray, "texts descriptors"], known: np.ndarray, seed: int
) -> pl.DataFrame:
    """Precision and recall of a neuron's own descriptors, against the composition threshold.

    Over all pairs of a held-out text and a unit that fires on it: which share of the unit's
    descriptors does the text carry (pairs whose unit has some), and which share of the text's
    descriptors does the unit have (texts that carry some). Intervals are over texts.
    """
    fires = sp.vstack([f[known[rows]] for rows, f in side.activations.by_example(side.parts.score)]).tocsr()
    carried = truth.sum(1)
    share = np.divide(truth, carried[:, None], out=np.zeros(truth.shape), where=carried[:, None] > 0)
    rows = []
    shuffled = side.exchanged(seed)
    for control, order in (("", slice(None)), (SHUFFLED, shuffled)):
        line = Line("composition", control=control)
        precisions, recalls = [], []
        for threshold in THRESHOLDS:
            assigned = side.assigned("composition", threshold)[order].astype(np.float64)
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
    number of texts (at most `limit` describe texts are used) and not of units. The penalty,
    relative to the mean eigenvalue, is the one with the best precision@2 on select texts.
    Memory is two square matrices of the texts used and blocks of activations, however many texts
    there are.
    """
    high = activations.only(activations.units.filter(sign=1)["id"].to_list())
    rows = {name: high.order(part) for name, part in parts._asdict().items()}
    chosen = {name: np.flatnonzero(tags.known[r]) for name, r in rows.items()}
    for part in (DESCRIBE, SELECT):
        if len(chosen[part]) > limit:
            picked = np.random.default_rng(seed).choice(chosen[part], limit, replace=False)
            chosen[part] = np.sort(picked)
    truth = {s: tags.matrix[rows[s][keep]].toarray() for s, keep in chosen.items()}
    width = high.units.height
    mean, std = high.units.select("mean", "std").to_numpy().T
    scale = np.where(std > 0, 1 / np.maximum(std, 1e-12), 0.0)

    def standardised(part: str) -> Iterator[tuple[slice, Float[np.ndarray, "texts block"]]]:
        for block, values in high.blocks(getattr(parts, part), cells=1 << 22):
            kept = (values[chosen[part]] - mean[block]) * scale[block]
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

    def guessed(part: str, weights: Float[np.ndarray, "units descriptors"]) -> np.ndarray:
        return base + sum(values @ weights[block] for block, values in standardised(part))

    def quality(number: int) -> float:
        guess = guessed(SELECT, weights[number])
        precision, _ = precision_recall_at_k(_positive(guess), truth[SELECT] > 0, 2)
        return float(np.nanmean(precision[:, 1]))

    best = max(range(len(ridge)), key=quality)
    return _positive(guessed(SCORE, weights[best]))


def _positive(scores: np.ndarray) -> np.ndarray:
    """Shifted so that every descriptor counts as predicted; ranks are unchanged."""
    return scores - scores.min() + 1.0


def consistency(side: Side, rule: str, threshold: float, seed: int) -> tuple[Interval, Interval, int]:
    """Jaccard of describe against select texts, the same with another unit's, and empty units.

    Intervals are over units; units without descriptors on both sides are only counted.
    """
    first, second = (side.assigned(rule, threshold, part) for part in (DESCRIBE, SELECT))
    ok = side.ok
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
    return CURVES.frame(
        [(figure, *line, x, *map(_number, interval[:3]), interval.n) for figure, line, x, interval in rows]
    )


def _curve(
    figure: str, line: Line, xs: Sequence[float] | range, intervals: Sequence[Interval]
) -> list[tuple[str, Line, float, Interval]]:
    return [(figure, line, float(x), i) for x, i in zip(xs, intervals, strict=True)]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


@dataclass(frozen=True)
class Curves:
    """The paper's evaluation: table `curves`, and what it comes to at two descriptors a text."""

    threshold: float
    tables: Sequence[Table] = (CURVES,)

    def add(self, run: Run) -> list[Metric]:
        """Raises InputError where too few score texts have tags."""
        with run.resources.progress("evaluation", 1):
            sides = self._sides(run)
            curves = run.study.table(CURVES, lambda: self._table(run, *sides))
            return self._headline(run, curves, *sides)

    def again(self, run: Run) -> tuple[list[pl.DataFrame], list[Metric]]:
        """The table, not stored, and the figures."""
        sides = self._sides(run)
        curves = self._table(run, *sides)
        return [curves], self._headline(run, curves, *sides)

    def _headline(self, run: Run, curves: pl.DataFrame, side: Side, control: Side | None) -> list[Metric]:
        """None where nobody found descriptors, as a language model may not."""
        if curves.is_empty():
            return []
        return headline(curves, side, control, self.threshold, run.resources.seed)

    def _sides(self, run: Run) -> tuple[Side, Side | None]:
        control = None if run.control is None else side_of(run.control, run.examples)
        return side_of(run.subject, run.examples), control

    def _table(self, run: Run, side: Side, control: Side | None) -> pl.DataFrame:
        words = None
        if run.examples.tags is not None and not run.examples.tags.ids:
            return CURVES.empty()
        if "encoder" in run.study.table(TAGS)["source"]:
            lexical = stored_tags(run.study, run.examples.ids, (LEXICAL,))
            words = run.examples.with_tags(lexical)
        return curve_table(run, side, control, words, self.threshold)


def curve_table(
    run: Run, side: Side, control: Side | None, words: Examples | None, threshold: float
) -> pl.DataFrame:
    """Table `curves`; `words` are the examples with lexical tags alone, where an encoder tags as well."""
    tags, seed = run.examples.tags, run.resources.seed
    assert tags is not None
    rows = answered_rows(side.activations, side.parts.score, tags.known)
    if len(rows) < 2:
        raise InputError(f"only {len(rows)} held-out sentences have tags; give more sentences")
    frames = [prediction_curves(side, control, tags, rows, threshold, seed)]
    if words is not None:
        assert words.tags is not None
        retagged = side_of(run.subject, words, compare=False)
        frames.append(prediction_curves(retagged, None, words.tags, rows, threshold, seed, named=LEXICAL))
    truth = tags.matrix[rows].toarray() > 0
    return pl.concat([*frames, threshold_curves(side, truth, tags.known, seed)])


def prediction_curves(
    side: Side,
    control: Side | None,
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
    scores = _rule_scores(side, tags, threshold, Line(tags=named))
    # Each unit votes with another unit's descriptors: the link to its exemplars is broken.
    exchanged = side.exchanged(seed)
    scores |= _rule_scores(side, tags, threshold, Line(tags=named, control=SHUFFLED), exchanged)
    if control is not None:
        scores |= _rule_scores(control, tags, threshold, Line(tags=named, control=RANDOM))
    seen = answered_rows(side.activations, side.parts.describe, tags.known)
    frequency = np.asarray(tags.matrix[seen].mean(0))
    scores[Line(tags=named, control=FREQUENT)] = np.tile(frequency, (len(rows), 1))
    if named == ALL_TAGS:
        probe = probe_scores(side.activations, side.parts, tags, seed=seed)
        scores[Line(tags=named, control=PROBE)] = probe
    ordered = {line: values[:, order] for line, values in scores.items()}
    return retrieval_curves(ordered, truth[:, order], named, seed)


def _rule_scores(
    side: Side, tags: Tags, threshold: float, line: Line, order: np.ndarray | slice = slice(None)
) -> dict[Line, np.ndarray]:
    weights = {line._replace(rule=rule): side.weights(rule, threshold)[order] for rule in RULES}
    enriched = line._replace(rule="enrichment")
    calibrated = {enriched._replace(calibrated=True): weights[enriched]}
    return {**predict(side, weights, tags.known), **predict_calibrated(side, calibrated, tags)}


def headline(
    curves: pl.DataFrame, side: Side, control: Side | None, threshold: float, seed: int
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
        own, others, empty = consistency(side, rule, threshold, seed)
        controls = {"another neuron": others}
        if control is not None:
            controls["random weights"] = consistency(control, rule, threshold, seed)[0]
        of = f"units with descriptors; {empty} have none"
        label, by = f"Jaccard, {rule}", {"rule": rule}
        metrics.append(metric(label, own, of, controls, figure="Jaccard", by=by))
    return metrics

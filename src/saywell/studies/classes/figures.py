"""The headline figures of a study of classes: what its chosen texts are worth, beside their controls."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from saywell.data.images import CLASSES
from saywell.data.parts import SELECT
from saywell.describers.class_texts.describer import usable_texts
from saywell.scorers.intervals import LEVEL, RESAMPLES, Interval
from saywell.scorers.judge import AGAIN, CRITERIA, JUDGEMENTS, TURNED, self_agreement, share_best
from saywell.selection.of_texts import (
    CLIP_ONLY,
    CONTROLS,
    LITERAL,
    PROPONENT,
    RULES,
    STANDARDISED,
    chosen_by,
    stored_scores,
)
from saywell.store.study import Metric, Study
from saywell.store.table import Table
from saywell.studies.classes.pool import (
    ALL_TEXTS,
    CLASS_NAMES,
    PERMUTED,
    RANDOM_WORDS,
    SEARCHED,
    name_free,
    weighted,
)
from saywell.studies.classes.transfer import TWO_PHASE
from saywell.studies.spine import Run
from saywell.transfer.cross_modal import IMAGES_ONLY
from saywell.transfer.text_sets import TRANSFER_SUMMARY, ZERO_SHOT, TextSet


@dataclass(frozen=True)
class Figures:
    """What stands in the tables of all other extras, in a few figures."""

    tables: Sequence[Table] = ()

    def add(self, run: Run) -> list[Metric]:
        """See `class_metrics`."""
        return class_metrics(run.study)

    def again(self, run: Run) -> tuple[tuple[()], list[Metric]]:
        """The same: no table of its own."""
        return (), class_metrics(run.study)


def class_metrics(study: Study) -> list[Metric]:
    """The headline figures, from the stored tables alone."""
    rule, seed = study.manifest.config["select"], study.manifest.config["seed"]
    names = study.table(CLASSES)["name"].to_list()
    golds = {}
    table, text_class = usable_texts(study, names)
    if "gold" in table.columns and table["gold"].drop_nulls().n_unique() == 2:
        known = table["gold"].is_not_null().to_numpy()
        scores = {name: own[known] for name, own in stored_scores(study).items()}
        good = table["gold"].drop_nulls().to_numpy()
        # Against the second, what the rule gains is owed to influence and nothing else.
        golds = {
            against: auroc_intervals(scores, good, text_class[known], len(names), against=against, seed=seed)
            for against in (chosen_by(CLIP_ONLY), chosen_by(STANDARDISED))
        }
    found = headline(study.table(ZERO_SHOT), study.table(TRANSFER_SUMMARY), golds, rule)
    judged = JUDGEMENTS.name in study.manifest.tables
    return found + (judge_metrics(study.table(JUDGEMENTS), rule) if judged else [])


def auroc_within(
    scores: Float[np.ndarray, " texts"],
    good: Bool[np.ndarray, " texts"],
    text_class: Int[np.ndarray, " texts"],
    classes: int,
) -> tuple[Float[np.ndarray, " classes"], Float[np.ndarray, " classes"]]:
    """Pairs of a good and another text of one class: how many are in order, and how many there are.

    Ties count half. A text without a score stands below every text with one.
    """
    known = np.where(np.isnan(scores), -np.inf, scores)
    won, pairs = np.zeros(classes), np.zeros(classes)
    for name in np.unique(text_class):
        own = text_class == name
        above, below = known[own & good][:, None], known[own & ~good][None]
        won[name] = (above > below).sum() + 0.5 * (above == below).sum()
        pairs[name] = above.size * below.size
    return won, pairs


Name = TypeVar("Name", bound=Hashable)


def auroc_intervals(
    scores: Mapping[Name, Float[np.ndarray, " texts"]],
    good: Bool[np.ndarray, " texts"],
    text_class: Int[np.ndarray, " texts"],
    classes: int,
    *,
    against: Name,
    seed: int = 0,
) -> dict[Name, tuple[Interval, Interval]]:
    """Each rule's AUROC inside classes, and its difference to the rule `against`.

    AUROC: the chance that a good text of a class scores above another text of the same class; 0.5
    says nothing. Intervals resample classes, the same ones for every rule. `n` counts texts.
    """
    counts = {name: auroc_within(own, good, text_class, classes) for name, own in scores.items()}
    random = np.random.default_rng(seed)
    weights = random.multinomial(classes, np.full(classes, 1 / classes), size=RESAMPLES)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]

    def drawn(name: Name) -> tuple[float, np.ndarray]:
        won, pairs = counts[name]
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(won.sum() / pairs.sum()), (weights @ won) / (weights @ pairs)

    base, base_drawn = drawn(against)
    result = {}
    for name in scores:
        value, many = drawn(name)
        low, high = np.nanquantile(many, tails)
        gain = np.nanquantile(many - base_drawn, tails)
        result[name] = (
            Interval(value, float(low), float(high), len(good)),
            Interval(value - base, float(gain[0]), float(gain[1]), len(good)),
        )
    return result


def headline(
    zero_shot: pl.DataFrame,
    summary: pl.DataFrame,
    golds: Mapping[TextSet, Mapping[TextSet, tuple[Interval, Interval]]],
    rule: str,
) -> list[Metric]:
    """The headline figures of the chosen rule, each with its controls and, where there is one, a reference.

    Transfer is with the texts' losses weighted by score, as the paper does it.

    `golds` holds what `auroc_intervals` gave against each control; empty without gold labels.
    """
    own, figures = chosen_by(rule), []
    accuracy = _by_texts(zero_shot, "accuracy")
    full = summary.filter(method=IMAGES_ONLY, shots=0)["accuracy"].to_list()
    images = {"images only, all training images": full[0]} if full else {}
    drawn = [chosen_by(name) for name in ("random", CLIP_ONLY, STANDARDISED, "influence-only")]
    for texts, base in ((own, SEARCHED), (name_free(own), name_free(SEARCHED))):
        free = texts.name_free
        every, random = (t._replace(name_free=free) for t in (ALL_TEXTS, RANDOM_WORDS))
        beside = [CLASS_NAMES, every, random, PERMUTED, base, *([] if free else drawn)]
        beside = [t for t in beside if t in accuracy]
        by = {"rule": rule, "name_free": free}
        for row in zero_shot.filter(**texts._asdict()).iter_rows(named=True):
            controls = {t.said: accuracy[t] for t in beside}
            figures.append(_metric("zero-shot accuracy", texts.said, by, row, "accuracy", controls, images))
        for row in zero_shot.filter(**texts._asdict()).iter_rows(named=True):
            if row.get("over_random") is not None:
                gains = {t.said: accuracy[t] - accuracy[base] for t in beside if t != base}
                name = "gain over searched random words"
                figures.append(_metric(name, texts.said, by, row, "over_random", gains, {}))
    beside = [
        *(chosen_by(name) for name in ("random", CLIP_ONLY, "influence-only")),
        weighted(chosen_by(STANDARDISED)),
        weighted(chosen_by(LITERAL)),
        *(PERMUTED, CLASS_NAMES, RANDOM_WORDS, SEARCHED),
    ]
    for selection, says in ((SELECT, "validation beside"), ("shots", "shots alone")):
        for shots in sorted(summary["shots"].unique(), key=lambda s: (s == 0, s)):
            part = summary.filter(shots=shots, selection=selection, training=TWO_PHASE)
            gains = _by_texts(part, "difference")
            controls = {t.said: gains[t] for t in beside if t in gains}
            amount = "all images" if shots == 0 else f"{shots} shot{'s' if shots > 1 else ''}, {says}"
            by = {"rule": rule, "weighted": True, "shots": shots, "selection": selection}
            for row in part.filter(**weighted(own)._asdict()).iter_rows(named=True):
                figures.append(_metric("transfer gain", amount, by, row, "difference", controls, {}))
    beside = [chosen_by(name) for name in CONTROLS]
    networks = [chosen_by(name, network=True) for name in (LITERAL, PROPONENT)]
    for against, gold in golds.items():
        controls = {t.said: _number(gold[t][0].value) for t in beside if t in gold}
        for texts in dict.fromkeys((own, *map(chosen_by, RULES), *networks)):
            if texts in gold and against == next(iter(golds)):
                by = {"rule": texts.method, "network": texts.network}
                figures.append(
                    _from_interval("AUROC of good texts", texts.said, by, gold[texts][0], controls)
                )
        gains = {t.said: _number(gold[t][1].value) for t in beside if t in gold}
        by = {"rule": rule, "network": False, "against": against.method}
        figures.append(_from_interval(f"AUROC gain over {against.method}", own.said, by, gold[own][1], gains))
    return figures


def _by_texts(table: pl.DataFrame, column: str) -> dict[TextSet, float]:
    """A column by the texts that its rows are about."""
    return {TextSet(*row[:-1]): row[-1] for row in table.select(*TextSet._fields, column).iter_rows()}


def _from_interval(
    figure: str,
    which: str,
    by: Mapping[str, Any],
    found: Interval,
    controls: Mapping[str, float | None],
    of: str = "texts with a gold label, in pairs of one class",
) -> Metric:
    value, low, high = (_number(x) for x in found[:3])
    return Metric(
        name=f"{figure}, {which}",
        figure=figure,
        by=dict(by),
        value=value,
        ci_low=low,
        ci_high=high,
        n=found.n,
        of=of,
        controls=dict(controls),
    )


def _metric(
    figure: str,
    which: str,
    by: Mapping[str, Any],
    row: Mapping[str, float],
    value: str,
    controls: Mapping[str, float | None],
    reference: Mapping[str, float | None],
) -> Metric:
    """A figure from a row with `value` and its interval; that of an accuracy has no name of its own."""
    ends = "ci" if value == "accuracy" else value
    return Metric(
        name=f"{figure}, {which}",
        figure=figure,
        by=dict(by),
        value=row[value],
        ci_low=row[f"{ends}_low"],
        ci_high=row[f"{ends}_high"],
        n=int(row["n"]),
        of="test images",
        controls=dict(controls),
        reference=dict(reference),
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def judge_metrics(judgements: pl.DataFrame, rule: str) -> list[Metric]:
    """How often the judge prefers the rule's texts, and how often it agrees with itself."""
    shown = judgements["order"].list.len().mean()
    chance = 1 / float(shown) if shown else None  # type: ignore[arg-type]
    found = []
    for criterion in CRITERIA:
        others = {"by chance": chance} | {
            source: _number(share_best(judgements, source, criterion).value)
            for source in judgements["order"].explode().drop_nulls().unique().sort()
            if source != rule
        }
        by = {"rule": rule, "criterion": criterion}
        preferred = share_best(judgements, rule, criterion)
        found.append(_from_interval(f"judged most {criterion}", rule, by, preferred, others, "classes"))
    for repeat in (AGAIN, TURNED):
        agrees = self_agreement(judgements, repeat)
        figure, by = "judge agrees with itself", {"repeat": repeat}
        found.append(_from_interval(figure, repeat, by, agrees, {"by chance": chance}, "classes"))
    return found

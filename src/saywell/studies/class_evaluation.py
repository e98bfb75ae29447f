"""What descriptions of classes are worth: zero-shot, transfer, and gold labels where there are any.

Only this part of a study reads test images.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int

from saywell.data.parts import SELECT
from saywell.scorers.intervals import LEVEL, RESAMPLES, Interval
from saywell.scorers.judge import AGAIN, CRITERIA, TURNED, self_agreement, share_best
from saywell.scorers.transfer import Resampling
from saywell.store.files import is_whole, read_arrays, write_arrays
from saywell.store.study import Metric
from saywell.store.table import Table
from saywell.studies.class_rows import (
    ALL_TEXTS,
    CLASS_NAMES,
    CLIP_ONLY,
    CONTROLS,
    LITERAL,
    PERMUTED,
    PROPONENT,
    RANDOM_WORDS,
    RULES,
    SEARCHED,
    STANDARDISED,
    Pool,
    chosen_by,
    name_free,
    weighted,
)
from saywell.transfer.cross_modal import IMAGES_ONLY, Joint, Outcome
from saywell.transfer.text_sets import BASELINE, TRANSFER, TRANSFER_SUMMARY, ZERO_SHOT, TextSet
from saywell.transfer.zero_shot import class_embeddings, predict

DRAWS = 5
"""Random choices and random ties that a zero-shot figure is averaged over."""
JOINT, TWO_PHASE = "joint", "two-phase"


def zero_shot_table(
    pool: Pool,
    draws: Sequence[Mapping[TextSet, Float[np.ndarray, " pool"]]],
    images: Float[np.ndarray, "test dim"],
    labels: Int[np.ndarray, " test"],
    classes: int,
    rule: str,
    *,
    seed: int = 0,
) -> pl.DataFrame:
    """Table `zero_shot`: the accuracy of every set of texts, averaged over draws of the sets."""
    correct = {
        texts: np.stack([zero_shot_correct(pool, sets[texts], images, labels, classes) for sets in draws])
        for texts in draws[0]
    }
    own = chosen_by(rule)
    searched = {own: SEARCHED, name_free(own): name_free(SEARCHED)}

    resampling = Resampling(len(draws), len(labels), seed=seed)

    def over(right: np.ndarray, base: TextSet | None) -> Interval:
        if base is None or base not in correct:
            return Interval(np.nan, np.nan, np.nan, 0)
        return resampling.difference(right, correct[base])

    rows = []
    for texts, right in correct.items():
        level = resampling.mean(right)
        used = int((draws[0][texts] > 0).sum())
        rows.append(
            (
                *texts,
                used,
                *level[:3],
                *over(right, CLASS_NAMES)[:3],
                level.n,
                *over(right, searched.get(texts))[:3],
            )
        )
    return _table(ZERO_SHOT, rows)


def zero_shot_correct(
    pool: Pool,
    weights: Float[np.ndarray, " pool"],
    images: Float[np.ndarray, "test dim"],
    labels: Int[np.ndarray, " test"],
    classes: int,
) -> Bool[np.ndarray, " test"]:
    """Which images the mean cosine with a set of texts gets right."""
    used = np.flatnonzero(weights)
    means = class_embeddings(pool.vectors[used], pool.classes[used], classes, weights[used])
    return predict(images, means) == labels


def kept_outcomes(
    path: Path, make: Callable[[], Mapping[Hashable, Outcome]], *, of: str = ""
) -> dict[Hashable, Outcome]:
    """The outcomes of one run of transfer, from `path` where an earlier run left those of `of`."""
    if not is_whole(path, of=of):
        arrays = {}
        for key, outcome in make().items():
            name = json.dumps([key.texts, JOINT] if isinstance(key, Joint) else [key, TWO_PHASE])
            arrays[f"correct {name}"] = torch.from_numpy(outcome.correct.astype(np.uint8))
            arrays[f"chosen {name}"] = torch.from_numpy(outcome.chosen.astype(np.float64))
        write_arrays(path, arrays, of=of)
    return read_outcomes(path)


def read_outcomes(path: Path) -> dict[Hashable, Outcome]:
    """The outcomes that `kept_outcomes` left in a file."""
    stored = read_arrays(path)
    found: dict[Hashable, Outcome] = {}
    for name, chosen in stored.items():
        kind, _, told = name.partition(" ")
        if kind == "chosen":
            texts, training = json.loads(told)
            key = texts if isinstance(texts, str) else TextSet(*texts)
            right = stored[f"correct {told}"].astype(bool)
            found[Joint(key) if training == JOINT else key] = Outcome(right, chosen)
    return found


def transfer_tables(
    runs: Mapping[tuple[int, str], Mapping[Hashable, Outcome]], seeds: Sequence[int], *, seed: int = 0
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables `transfer` and `transfer_summary` from outcomes by (shots, selection)."""
    by_seed, summary = [], []
    # Every run has the same seeds and test images.
    shape = next((o[IMAGES_ONLY].correct.shape for o in runs.values()), (0, 0))
    draws = Resampling(*shape, seed=seed)
    for (shots, selection), outcomes in runs.items():
        base = outcomes[IMAGES_ONLY].correct
        rows = [(*_row_of(key), outcome) for key, outcome in outcomes.items()]
        for texts, training, outcome in sorted(rows, key=lambda row: (row[0].said, row[1] == JOINT)):
            for number, right, chosen in zip(seeds, outcome.correct, outcome.chosen, strict=True):
                by_seed.append((*texts, training, shots, selection, number, right.mean(), chosen))
            level, gain = draws.mean(outcome.correct), draws.difference(outcome.correct, base)
            seen = len(outcome.correct), level.n
            summary.append((*texts, training, shots, selection, *level[:3], *gain[:3], *seen))
    return _table(TRANSFER, by_seed), _table(TRANSFER_SUMMARY, summary)


def _row_of(key: Hashable) -> tuple[TextSet, str]:
    """Which texts (or none) and which training an outcome is of."""
    if isinstance(key, Joint):
        return _row_of(key.texts)[0], JOINT
    return key if isinstance(key, TextSet) else TextSet(str(key), BASELINE), TWO_PHASE


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


def _table(table: Table, rows: Sequence[tuple]) -> pl.DataFrame:
    cells = [tuple(None if isinstance(v, float) and np.isnan(v) else v for v in row) for row in rows]
    return table.frame(cells)


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

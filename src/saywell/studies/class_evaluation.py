"""What descriptions of classes are worth: zero-shot, transfer, and gold labels where there are any.

Only this part of a study reads test images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float, Int

from saywell.scorers.intervals import LEVEL, RESAMPLES, Interval
from saywell.scorers.judge import AGAIN, CRITERIA, TURNED, self_agreement, share_best
from saywell.scorers.transfer import Resampling
from saywell.store.files import is_whole, read_arrays, write_arrays
from saywell.store.schemas import empty_table
from saywell.store.study import Metric
from saywell.studies.class_rows import (
    ALL_TEXTS,
    CLASS_NAMES,
    CLIP_ONLY,
    CONTROLS,
    NAME_FREE,
    NETWORK_RULES,
    PERMUTED,
    RANDOM_WORDS,
    RANDOM_WORDS_FREE,
    RULES,
    SEARCHED,
    SEARCHED_FREE,
    STANDARDISED,
    WEIGHTED,
    Pool,
    role_of,
)
from saywell.transfer.cross_modal import IMAGES_ONLY, Outcome
from saywell.transfer.zero_shot import class_embeddings, predict

DRAWS = 5
"""Random choices and random ties that a zero-shot figure is averaged over."""
JOINT, TWO_PHASE = "joint", "two-phase"


def zero_shot_table(
    pool: Pool,
    draws: Sequence[Mapping[str, Float[np.ndarray, " pool"]]],
    images: Float[np.ndarray, "test dim"],
    labels: Int[np.ndarray, " test"],
    classes: int,
    rule: str,
    *,
    seed: int = 0,
) -> pl.DataFrame:
    """Table `zero_shot`: the accuracy of every set of texts, averaged over draws of the sets."""
    correct = {
        name: np.stack([zero_shot_correct(pool, sets[name], images, labels, classes) for sets in draws])
        for name in draws[0]
    }
    searched = {rule: SEARCHED, rule + NAME_FREE: SEARCHED_FREE}

    resampling = Resampling(len(draws), len(labels), seed=seed)

    def over(right: np.ndarray, base: str | None) -> Interval:
        if base not in correct:
            return Interval(np.nan, np.nan, np.nan, 0)
        return resampling.difference(right, correct[base])

    rows = []
    for name, right in correct.items():
        level = resampling.mean(right)
        used = int((draws[0][name] > 0).sum())
        rows.append(
            (
                name,
                role_of(name),
                used,
                *level[:3],
                *over(right, CLASS_NAMES)[:3],
                level.n,
                *over(right, searched.get(name))[:3],
            )
        )
    return _table("zero_shot", rows)


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
    path: Path, make: Callable[[], Mapping[str, Outcome]], *, of: str = ""
) -> dict[str, Outcome]:
    """The outcomes of one run of transfer, from `path` where an earlier run left those of `of`."""
    if not is_whole(path, of=of):
        arrays = {}
        for name, outcome in make().items():
            arrays[f"correct {name}"] = torch.from_numpy(outcome.correct.astype(np.uint8))
            arrays[f"chosen {name}"] = torch.from_numpy(outcome.chosen.astype(np.float64))
        write_arrays(path, arrays, of=of)
    return read_outcomes(path)


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """The outcomes that `kept_outcomes` left in a file."""
    stored = read_arrays(path)
    names = [key.removeprefix("correct ") for key in stored if key.startswith("correct ")]
    return {
        name: Outcome(stored[f"correct {name}"].astype(bool), stored[f"chosen {name}"])
        for name in sorted(names)
    }


def transfer_tables(
    runs: Mapping[tuple[int, str], Mapping[str, Outcome]], seeds: Sequence[int], *, seed: int = 0
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables `transfer` and `transfer_summary` from outcomes by (shots, selection)."""
    by_seed, summary = [], []
    # Every run has the same seeds and test images.
    shape = next((o[IMAGES_ONLY].correct.shape for o in runs.values()), (0, 0))
    draws = Resampling(*shape, seed=seed)
    for (shots, selection), outcomes in runs.items():
        base = outcomes[IMAGES_ONLY].correct
        for name, outcome in outcomes.items():
            method, training = name.removesuffix(f", {JOINT}"), TWO_PHASE
            if method != name:
                training = JOINT
            for number, right, chosen in zip(seeds, outcome.correct, outcome.chosen, strict=True):
                by_seed.append((method, training, shots, selection, number, right.mean(), chosen))
            level, gain = draws.mean(outcome.correct), draws.difference(outcome.correct, base)
            summary.append(
                (
                    method,
                    training,
                    role_of(method),
                    shots,
                    selection,
                    *level[:3],
                    *gain[:3],
                    len(outcome.correct),
                    level.n,
                )
            )
    return _table("transfer", by_seed), _table("transfer_summary", summary)


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


def auroc_intervals(
    scores: Mapping[str, Float[np.ndarray, " texts"]],
    good: Bool[np.ndarray, " texts"],
    text_class: Int[np.ndarray, " texts"],
    classes: int,
    *,
    against: str,
    seed: int = 0,
) -> dict[str, tuple[Interval, Interval]]:
    """Each rule's AUROC inside classes, and its difference to the rule `against`.

    AUROC: the chance that a good text of a class scores above another text of the same class; 0.5
    says nothing. Intervals resample classes, the same ones for every rule. `n` counts texts.
    """
    counts = {name: auroc_within(own, good, text_class, classes) for name, own in scores.items()}
    random = np.random.default_rng(seed)
    weights = random.multinomial(classes, np.full(classes, 1 / classes), size=RESAMPLES)
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]

    def drawn(name: str) -> tuple[float, np.ndarray]:
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
    golds: Mapping[str, Mapping[str, tuple[Interval, Interval]]],
    rule: str,
) -> list[Metric]:
    """The headline figures of the chosen rule, each with its controls and, where there is one, a reference.

    Transfer is with the texts' losses weighted by score, as the paper does it.

    `golds` holds what `auroc_intervals` gave against each control; empty without gold labels.
    """
    figures = []
    accuracy = dict(zero_shot.select("method", "accuracy").iter_rows())
    full = summary.filter(method=IMAGES_ONLY, shots=0)["accuracy"].to_list()
    images = {"images only, all training images": full[0]} if full else {}
    for suffix, random in (("", RANDOM_WORDS), (NAME_FREE, RANDOM_WORDS_FREE)):
        row = zero_shot.filter(method=rule + suffix)
        names = [CLASS_NAMES, ALL_TEXTS + suffix, random, PERMUTED]
        if suffix:
            names += [SEARCHED_FREE]
        else:
            names += [SEARCHED, "random", CLIP_ONLY, STANDARDISED, "influence-only"]
        figures += [
            _metric(
                f"zero-shot accuracy, {rule}{suffix}",
                r,
                "accuracy",
                ("ci_low", "ci_high"),
                {n: accuracy[n] for n in names if n in accuracy},
                images,
            )
            for r in row.iter_rows(named=True)
        ]
        base = SEARCHED_FREE if suffix else SEARCHED
        figures += [
            _metric(
                f"gain over searched random words, {rule}{suffix}",
                r,
                "over_random",
                ("over_random_low", "over_random_high"),
                {n: accuracy[n] - accuracy[base] for n in names if n in accuracy and n != base},
                {},
            )
            for r in row.iter_rows(named=True)
            if r.get("over_random") is not None
        ]
    for selection, says in (("validation", "validation beside"), ("shots", "shots alone")):
        for shots in sorted(summary["shots"].unique(), key=lambda s: (s == 0, s)):
            part = summary.filter(shots=shots, selection=selection, training=TWO_PHASE)
            gains = dict(part.select("method", "difference").iter_rows())
            names = (
                "random",
                CLIP_ONLY,
                "influence-only",
                STANDARDISED + WEIGHTED,
                "ift-literal" + WEIGHTED,
                PERMUTED,
                CLASS_NAMES,
                RANDOM_WORDS,
                SEARCHED,
            )
            amount = "all images" if shots == 0 else f"{shots} shot{'s' if shots > 1 else ''}"
            label = f"transfer gain, {amount}" + (f", {says}" if shots else "")
            figures += [
                _metric(
                    label,
                    r,
                    "difference",
                    ("difference_low", "difference_high"),
                    {n: gains[n] for n in names if n in gains},
                    {},
                )
                for r in part.filter(method=rule + WEIGHTED).iter_rows(named=True)
            ]
    for against, gold in golds.items():
        controls = {name: _number(gold[name][0].value) for name in CONTROLS if name in gold}
        for name in dict.fromkeys((rule, *RULES, *NETWORK_RULES)):
            if name in gold and against == next(iter(golds)):
                figures.append(_from_interval(f"AUROC of good texts, {name}", gold[name][0], controls))
        gains = {name: _number(gold[name][1].value) for name in CONTROLS if name in gold}
        label = f"AUROC gain over {against}, {rule}"
        figures.append(_from_interval(label, gold[rule][1], gains))
    return figures


def _from_interval(name: str, found: Interval, controls: Mapping[str, float | None]) -> Metric:
    value, low, high = (_number(x) for x in found[:3])
    return Metric(
        name=name,
        value=value,
        ci_low=low,
        ci_high=high,
        n=found.n,
        of="texts with a gold label, in pairs of one class",
        controls=dict(controls),
    )


def _metric(
    name: str,
    row: Mapping[str, float],
    value: str,
    ends: tuple[str, str],
    controls: Mapping[str, float | None],
    reference: Mapping[str, float | None],
) -> Metric:
    return Metric(
        name=name,
        value=row[value],
        ci_low=row[ends[0]],
        ci_high=row[ends[1]],
        n=int(row["n"]),
        of="test images",
        controls=dict(controls),
        reference=dict(reference),
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _table(name: str, rows: Sequence[tuple]) -> pl.DataFrame:
    cells = [tuple(None if isinstance(v, float) and np.isnan(v) else v for v in row) for row in rows]
    return pl.DataFrame(cells, schema=empty_table(name).schema, orient="row")


def judge_metrics(judgements: pl.DataFrame, rule: str) -> list[Metric]:
    """How often the judge prefers the rule's texts, and how often it agrees with itself."""
    shown = judgements["order"].list.len().mean()
    chance = 1 / float(shown) if shown else None  # type: ignore[arg-type]
    found = []
    for criterion in CRITERIA:
        interval = share_best(judgements, rule, criterion)
        others = {"by chance": chance} | {
            source: _number(share_best(judgements, source, criterion).value)
            for source in judgements["order"].explode().drop_nulls().unique().sort()
            if source != rule
        }
        found.append((f"judged most {criterion}, {rule}", interval, others))
    for repeat in (AGAIN, TURNED):
        interval = self_agreement(judgements, repeat)
        found.append((f"judge agrees with itself, {repeat}", interval, {"by chance": chance}))
    return [
        Metric(
            name=name,
            value=_number(i.value),
            ci_low=_number(i.low),
            ci_high=_number(i.high),
            n=i.n,
            of="classes",
            controls=controls,
        )
        for name, i, controls in found
    ]

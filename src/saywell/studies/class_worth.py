"""Steps 7 to 9 of the study of classes: what the chosen texts are worth, on test images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from saywell.data.images import Images
from saywell.language_models import LanguageModel, load_prompt
from saywell.progress import Progress
from saywell.scorers.judge import JUDGE, judge_descriptions
from saywell.store.study import Metric, Study, StudyWriter
from saywell.studies import class_evaluation as evaluation
from saywell.studies.class_choice import stored_scores
from saywell.studies.class_rows import (
    CLIP_ONLY,
    NAME_FREE,
    STANDARDISED,
    Pool,
    score_candidates,
    searched_sets,
    text_sets,
)
from saywell.studies.class_subject import Space, Steps
from saywell.studies.class_texts import usable_texts
from saywell.transfer.cross_modal import Embedded, Outcome, Settings, transfer

WITH_VALIDATION, INSIDE = "validation", "shots"


def zero_shot(
    study: StudyWriter, space: Space, pool: Pool, rule: str, per_class: int, seed: int
) -> pl.DataFrame:
    """Step 7: table `zero_shot`, over several draws of the random controls."""
    scores = stored_scores(study)
    searched = searched_sets(
        pool, rule, space.vectors, space.labels, space.rows["train"], space.rows["validation"],
        len(space.names), per_class=per_class, seed=seed,
    )  # fmt: skip
    draws = [
        text_sets(pool, scores, rule, per_class=per_class, seed=seed + draw) | searched
        for draw in range(evaluation.DRAWS)
    ]
    test = space.rows["test"]
    return evaluation.zero_shot_table(
        pool, draws, space.vectors[test], space.labels[test], len(space.names), rule, seed=seed
    )


def transfer_tables(
    study: StudyWriter,
    space: Space,
    pool: Pool,
    rule: str,
    per_class: int,
    shots: Sequence[int],
    seeds: int,
    settings: Settings,
    seed: int,
    progress: Progress,
) -> None:
    """Step 8: all images, then low shots in both forms; each run is kept as soon as it is done."""
    table, _ = usable_texts(study, space.names)
    strings = table["text"].to_list()
    full = stored_scores(study)
    has_validation = len(space.rows["validation"]) > 0
    plan = [(0, WITH_VALIDATION if has_validation else INSIDE)]
    for number in shots:
        plan += [(number, form) for form in (WITH_VALIDATION, INSIDE)
                 if has_validation or form == INSIDE]  # fmt: skip
    most = max(np.bincount(space.labels[space.rows["train"]]).tolist())

    def make() -> tuple[pl.DataFrame, pl.DataFrame]:
        runs: dict[tuple[int, str], dict[str, Outcome]] = {}
        with progress("transfer", len(plan)) as advance:
            for number, form in plan:
                run = partial(
                    _transfer_run, space, pool, strings, rule, per_class, number, form, seeds,
                    settings, seed, full,
                )  # fmt: skip
                if number <= most:
                    path = study.arrays(f"transfer/{number}-{form}.safetensors")
                    runs[number, form] = evaluation.kept_outcomes(path, run)
                advance(1)
        return evaluation.transfer_tables(runs, range(seeds), seed=seed)

    study.tables(("transfer", "transfer_summary"), make)


def _transfer_run(
    space: Space,
    pool: Pool,
    strings: Sequence[str],
    rule: str,
    per_class: int,
    shots: int,
    form: str,
    seeds: int,
    settings: Settings,
    seed: int,
    full: Mapping[str, np.ndarray],
) -> dict[str, Outcome]:
    made: dict[tuple[bytes, bytes], dict[str, np.ndarray]] = {}
    texts = pool.centred if settings.centre else pool.vectors

    def sets(fit: np.ndarray, beside: np.ndarray) -> dict[str, np.ndarray]:
        key = (fit.tobytes(), beside.tobytes())
        if key not in made:
            whole = (len(fit), len(beside)) == tuple(
                len(space.rows[part]) for part in ("train", "validation")
            )
            scores = full if whole else score_candidates(
                pool, space.vectors, space.labels, fit, beside, len(space.names),
                per_class=per_class, strings=strings, seed=seed,
            )  # fmt: skip
            searched = searched_sets(
                pool, rule, space.vectors, space.labels, fit, beside, len(space.names),
                per_class=per_class, seed=seed,
            )  # fmt: skip
            # The random choice differs between draws of the shots, as they do.
            drawn = seed + int(fit.sum()) % 2**31
            every = text_sets(pool, scores, rule, per_class=per_class, seed=drawn) | searched
            made[key] = {
                name: weights for name, weights in every.items()
                if not name.endswith(NAME_FREE) or name == rule + NAME_FREE
            }  # fmt: skip
        return made[key]

    def train(keep: Sequence[str] | None, weights: tuple[float, ...]) -> dict[str, Outcome]:
        def choose(fit: np.ndarray, beside: np.ndarray) -> dict[str, np.ndarray]:
            every = sets(fit, beside)
            empty = np.zeros(len(pool.classes))
            wanted = kinds if keep is None else [k for k in keep if k in kinds]
            return {name: every.get(name, empty) for name in wanted}

        return transfer(
            Embedded(space.vectors, space.labels), Embedded(texts, pool.classes),
            train=space.rows["train"], validation=space.rows["validation"],
            test=space.rows["test"], classes=len(space.names), choose_texts=choose,
            shots=shots or None, choose=form, seeds=range(seeds),  # type: ignore[arg-type]
            settings=replace(settings, joint_weights=weights), texts_centred=True,
        )  # fmt: skip

    # A fold of few shots can leave a rule without scores; the rows are those of the whole data.
    kinds = list(sets(space.rows["train"], space.rows["validation"]))
    outcomes = train(None, ())
    if settings.joint_weights:
        outcomes |= train([rule], settings.joint_weights)
    return outcomes


def judged(
    study: StudyWriter,
    shown: Images,
    files: Mapping[str, tuple[list[str], np.ndarray]],
    names: list[str],
    llm: LanguageModel,
    rule: str,
    prompts: Path | None,
    seed: int,
    advance: Any,
) -> pl.DataFrame:
    """Step 9: table `judgements`, of three texts of every source a class."""
    texts = dict(study.table("class_texts").select("id", "text").iter_rows())
    ranked = study.table("text_scores").drop_nulls("rank").sort("rank")
    sources: dict[str, dict[str, list[str]]] = {}
    for source in dict.fromkeys((rule, "clip-only", "random")):
        for name, ids in (
            ranked.filter(rule=source).group_by("class").agg(pl.col("text").head(3)).iter_rows()
        ):
            sources.setdefault(name, {})[source] = [texts[id] for id in ids]
    for file, (lines, place) in files.items():
        for line, number in zip(lines, place.tolist(), strict=True):
            own = sources.setdefault(names[number], {}).setdefault(file, [])
            if len(own) < 3:
                own.append(line)
    train = shown.examples.filter(split="train")
    return judge_descriptions(
        {name: sources.get(name, {}) for name in names},
        lambda name: [
            picture for _, picture in shown.pictures(train.filter(label=name)["id"].head(2).to_list())
        ],
        llm, load_prompt(JUDGE, prompts), seed=seed, progress=Steps(advance),
    )  # fmt: skip


def figures(study: Study, names: Sequence[str], rule: str, seed: int) -> list[Metric]:
    """The headline figures, from the stored tables alone."""
    golds = {}
    table, text_class = usable_texts(study, names)
    if "gold" in table.columns and table["gold"].drop_nulls().n_unique() == 2:
        known = table["gold"].is_not_null().to_numpy()
        scores = {name: own[known] for name, own in stored_scores(study).items()}
        good = table["gold"].drop_nulls().to_numpy()
        # Against the second, what the rule gains is owed to influence and nothing else.
        golds = {
            against: evaluation.auroc_intervals(
                scores, good, text_class[known], len(names), against=against, seed=seed
            )
            for against in (CLIP_ONLY, STANDARDISED)
        }
    judged = study.table("judgements") if "judgements" in study.manifest.tables else None
    measured = evaluation.headline(
        study.table("zero_shot"), study.table("transfer_summary"), golds, rule
    )
    return measured + ([] if judged is None else evaluation.judge_metrics(judged, rule, seed=seed))

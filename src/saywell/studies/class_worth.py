"""Steps 7 to 9 of the study of classes: what the chosen texts are worth, on test images."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from saywell.data.examples import Examples
from saywell.data.parts import DESCRIBE, SCORE, SELECT
from saywell.language_models import LanguageModel, load_prompt
from saywell.progress import Progress
from saywell.scorers.judge import JUDGE, judge_descriptions
from saywell.store.files import is_whole
from saywell.store.study import Metric, Study, StudyWriter
from saywell.studies import class_evaluation as evaluation
from saywell.studies.class_choice import stored_scores
from saywell.studies.class_rows import (
    CLIP_ONLY,
    SEARCHED,
    STANDARDISED,
    Choosing,
    Pool,
    TextScores,
    choosing,
    chosen_by,
    name_free,
    score_candidates,
    searched_sets,
    text_sets,
)
from saywell.studies.class_subject import Space, Steps
from saywell.studies.class_texts import as_unanswered, usable_texts
from saywell.transfer.cross_modal import Embedded, Outcome, Settings, transfer
from saywell.transfer.linear_heads import one_thread
from saywell.transfer.text_sets import TRANSFER, TRANSFER_SUMMARY, TextSet

WITH_VALIDATION, INSIDE = SELECT, "shots"


def zero_shot(
    study: StudyWriter, space: Space, pool: Pool, by: Choosing, rule: str, per_class: int, seed: int
) -> pl.DataFrame:
    """Step 7: table `zero_shot`, over several draws of the random controls."""
    scores = stored_scores(study)
    searched = searched_sets(pool, rule, by, per_class=per_class, seed=seed)
    draws = [
        text_sets(pool, scores, rule, per_class=per_class, seed=seed + draw) | searched
        for draw in range(evaluation.DRAWS)
    ]
    test = space.rows[SCORE]
    return evaluation.zero_shot_table(
        pool, draws, space.vectors[test], space.labels[test], len(space.names), rule, seed=seed
    )


JUDGED = (CLIP_ONLY, "random")
"""Rules whose texts the judge compares with those of the study's own."""
Sets = Mapping[TextSet, np.ndarray]
"""Text sets: weights over the pool."""


def measure_transfer(
    study: StudyWriter,
    space: Space,
    pool: Pool,
    by: Choosing,
    rule: str,
    per_class: int,
    shots: Sequence[int],
    seeds: int,
    settings: Settings,
    seed: int,
    progress: Progress,
) -> None:
    """Step 8: all images, then low shots in both forms; each run is kept as soon as it is done."""
    has_validation = len(space.rows[SELECT]) > 0
    plan = [(0, WITH_VALIDATION if has_validation else INSIDE)]
    for number in shots:
        plan += [(number, form) for form in (WITH_VALIDATION, INSIDE) if has_validation or form == INSIDE]
    most = max(np.bincount(space.labels[space.rows[DESCRIBE]]).tolist())
    plan = [(number, form) for number, form in plan if number <= most]

    def make() -> tuple[pl.DataFrame, pl.DataFrame]:
        table, _ = usable_texts(study, space.names)
        strings = table["text"].to_list()

        def sets_of(by: Choosing, scores: TextScores | None, drawn: int) -> Sets:
            known = scores or score_candidates(pool, by, per_class=per_class, strings=strings, seed=seed)
            every = text_sets(pool, known, rule, per_class=per_class, seed=drawn)
            free = (name_free(chosen_by(rule)), name_free(SEARCHED))  # a rule and what it stands beside
            every |= searched_sets(pool, rule, by, per_class=per_class, seed=seed)
            return {
                texts: weights for texts, weights in every.items() if not texts.name_free or texts in free
            }

        rows = space.rows[DESCRIBE], space.rows[SELECT]
        whole = sets_of(by, stored_scores(study), _draw(seed, rows[0]))
        runs: dict[tuple[int, str], dict[Hashable, Outcome]] = {}
        of = study.made_from()
        with progress("transfer", len(plan) * len(whole)) as advance, one_thread():
            for number, form in plan:
                path = study.arrays(f"transfer/{number}-{form}.safetensors")
                if is_whole(path, of=of):
                    advance(len(whole))
                run = partial(
                    _transfer_run,
                    space,
                    pool,
                    whole,
                    sets_of,
                    rule,
                    number,
                    form,
                    seeds,
                    settings,
                    seed,
                    advance,
                )
                runs[number, form] = evaluation.kept_outcomes(path, run, of=of)
        return evaluation.transfer_tables(runs, range(seeds), seed=seed)

    study.tables((TRANSFER, TRANSFER_SUMMARY), make, files=("arrays/transfer",))


def _draw(seed: int, fit: np.ndarray) -> int:
    """The random choice differs between draws of the shots, as they do."""
    return seed + int(fit.sum()) % 2**31


def _transfer_run(
    space: Space,
    pool: Pool,
    whole: Sets,
    sets_of: Callable[[Choosing, TextScores | None, int], Sets],
    rule: str,
    shots: int,
    form: str,
    seeds: int,
    settings: Settings,
    seed: int,
    advance: Callable[[int], None],
) -> dict[Hashable, Outcome]:
    train, validation = space.rows[DESCRIBE], space.rows[SELECT]
    empty = np.zeros(len(pool.classes))

    def choose(fit: np.ndarray, beside: np.ndarray) -> Sets:
        if (len(fit), len(beside)) == (len(train), len(validation)):
            return whole
        by = choosing(space.vectors, space.labels, fit, beside, len(space.names), seed=seed)
        every = sets_of(by, None, _draw(seed, fit))
        # A fold of few shots can leave a rule without scores; the rows are those of the whole data.
        return {texts: every.get(texts, empty) for texts in whole}

    return transfer(
        Embedded(space.vectors, space.labels),
        Embedded(pool.centred if settings.centre else pool.vectors, pool.classes),
        train=train,
        validation=validation,
        test=space.rows[SCORE],
        classes=len(space.names),
        choose_texts=choose,
        shots=shots or None,
        choose=form,  # type: ignore[arg-type]
        seeds=range(seeds),
        settings=settings,
        texts_centred=True,
        joint=[chosen_by(rule)],
        progress=advance,
    )


def judged(
    study: StudyWriter,
    shown: Examples,
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
    for source in dict.fromkeys((rule, *JUDGED)):
        for name, ids in (
            ranked.filter(rule=source, network=False)
            .group_by("class")
            .agg(pl.col("text").head(3))
            .iter_rows()
        ):
            sources.setdefault(name, {})[source] = [texts[id] for id in ids]
    for file, (lines, place) in files.items():
        for line, number in zip(lines, place.tolist(), strict=True):
            own = sources.setdefault(names[number], {}).setdefault(file, [])
            if len(own) < 3:
                own.append(line)
    train = shown.table.filter(part=DESCRIBE)
    table = judge_descriptions(
        {name: sources.get(name, {}) for name in names},
        lambda name: [
            picture for _, picture in shown.pictures(train.filter(label=name)["id"].head(2).to_list())
        ],
        llm,
        load_prompt(JUDGE, prompts),
        seed=seed,
        progress=Steps(advance),
    )
    item = pl.concat_str("class", "repeat", "criterion", separator=": ")
    study.unanswered("judge", as_unanswered(table.filter(pl.col("status") != "ok"), "judge", item))
    return table


def class_metrics(study: Study, names: Sequence[str], rule: str, seed: int) -> list[Metric]:
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
            for against in (chosen_by(CLIP_ONLY), chosen_by(STANDARDISED))
        }
    judged = study.table("judgements") if "judgements" in study.manifest.tables else None
    measured = evaluation.headline(study.table("zero_shot"), study.table("transfer_summary"), golds, rule)
    return measured + ([] if judged is None else evaluation.judge_metrics(judged, rule))

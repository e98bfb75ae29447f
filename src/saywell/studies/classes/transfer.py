"""Classifiers of images that go on learning from texts: with all images, then with few, in both forms."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch

from saywell.data.examples import EXAMPLES
from saywell.data.parts import DESCRIBE, SCORE, SELECT
from saywell.describers.class_texts.class_describer import CLASS_TEXTS
from saywell.influence.tracin import Labelled
from saywell.progress import Advance
from saywell.scorers.transfer import Resampling
from saywell.selection.of_texts import Choosing, TextScores, candidate_scores, chosen_by
from saywell.selection.text_influence import TEXT_SCORES
from saywell.store.files import is_whole, read_arrays, write_arrays
from saywell.store.study import Metric, Study
from saywell.store.table import Table
from saywell.studies.classes.pool import SEARCHED, Compared, Sets, Space, name_free, searched_sets, text_sets
from saywell.studies.spine import Run
from saywell.transfer.cross_modal import IMAGES_ONLY, Embedded, Joint, Outcome, Settings, transfer
from saywell.transfer.linear_heads import one_thread
from saywell.transfer.text_sets import BASELINE, TRANSFER, TRANSFER_SUMMARY, TextSet, without_nan

JOINT, TWO_PHASE = "joint", "two-phase"
WITH_VALIDATION, INSIDE = SELECT, "shots"
_KEPT = "arrays/transfer"
_FROM = (EXAMPLES.name, CLASS_TEXTS.name, TEXT_SCORES.name)


@dataclass(frozen=True)
class Transfer:
    """Trains with so many images a class, drawn so often; which score images each run got right is kept."""

    compared: Compared
    shots: Sequence[int]
    seeds: int
    training: Settings
    tables: Sequence[Table] = ()

    def add(self, run: Run) -> list[Metric]:
        """No figures; each run of training is kept as soon as it is done."""
        run.study.step("training", lambda: self._train(self.compared.space(run)), files=(_KEPT,), uses=_FROM)
        return []

    def _train(self, space: Space) -> None:
        study, seed, fit = space.run.study, self.compared.choice.seed, space.rows[DESCRIBE]
        whole = _sets(space, space.by, space.scores, _draw(seed, fit))
        plan, of = self._plan(space), study.made_from(_FROM)
        with space.run.resources.progress("transfer", len(plan) * len(whole)) as advance, one_thread():
            for number, form in plan:
                path = study.path / _KEPT / f"{number}-{form}.safetensors"
                if is_whole(path, of=of):
                    advance(len(whole))
                train = partial(_transfer_run, self, space, whole, number, form, advance)
                keep_outcomes(path, train, of=of)

    def _plan(self, space: Space) -> list[tuple[int, str]]:
        """Shots (0: all images), and which labelled images choose texts and learning rates."""
        beside = len(space.rows[SELECT]) > 0
        plan = [(0, WITH_VALIDATION if beside else INSIDE)]
        for number in sorted(set(self.shots)):
            plan += [(number, form) for form in (WITH_VALIDATION, INSIDE) if beside or form == INSIDE]
        most = max(np.bincount(space.labels[space.rows[DESCRIBE]]).tolist())
        return [(number, form) for number, form in plan if number <= most]


def _sets(space: Space, by: Choosing, scores: TextScores | None, drawn: int) -> Sets:
    """The sets that are learned from, by these scores or, without, by what `by` says."""
    pool, choice = space.pool, space.compared.choice
    if scores is None:
        texts, strings = pool.texts, space.usable[0]["text"].to_list()
        scores = candidate_scores(pool.vectors[texts], pool.classes[texts], by, choice, strings=strings)
    every = text_sets(pool, scores, choice, drawn) | searched_sets(pool, by, choice)
    free = (name_free(chosen_by(choice.rule)), name_free(SEARCHED))  # a rule and what it stands beside
    return {texts: weights for texts, weights in every.items() if not texts.name_free or texts in free}


def _draw(seed: int, fit: np.ndarray) -> int:
    """The random choice differs between draws of the shots, as they do."""
    return seed + int(fit.sum()) % 2**31


def _transfer_run(
    asked: Transfer, space: Space, whole: Sets, shots: int, form: str, advance: Advance
) -> dict[Hashable, Outcome]:
    train, validation, pool = space.rows[DESCRIBE], space.rows[SELECT], space.pool
    choice, settings = space.compared.choice, asked.training
    empty = np.zeros(len(pool.classes))

    def choose(fit: np.ndarray, check: np.ndarray) -> Sets:
        if (len(fit), len(check)) == (len(train), len(validation)):
            return whole
        learn, beside = (Labelled(space.vectors[rows], space.labels[rows]) for rows in (fit, check))
        by = Choosing.of(learn, beside, len(space.names), choice.seed)
        every = _sets(space, by, None, _draw(choice.seed, fit))
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
        seeds=range(asked.seeds),
        settings=settings,
        texts_centred=True,
        joint=[chosen_by(choice.rule)],
        progress=advance,
    )


@dataclass(frozen=True)
class Gains:
    """Tables `transfer` and `transfer_summary`, from which score images each run got right."""

    tables: Sequence[Table] = (TRANSFER, TRANSFER_SUMMARY)

    def add(self, run: Run) -> list[Metric]:
        """Figures follow in `figures.py`."""
        run.study.tables(self.tables, lambda: self._made(run.study))
        return []

    def again(self, run: Run) -> tuple[tuple[pl.DataFrame, pl.DataFrame], list[Metric]]:
        """The tables, not stored."""
        return self._made(run.study), []

    def _made(self, study: Study) -> tuple[pl.DataFrame, pl.DataFrame]:
        config, runs = study.manifest.config, {}
        for path in (study.path / _KEPT).glob("*.safetensors"):
            found = re.fullmatch(r"(\d+)-(\w+)", path.stem)
            if found:
                runs[int(found[1]), found[2]] = read_outcomes(path)
        return transfer_tables(dict(sorted(runs.items())), range(config["seeds"]), seed=config["seed"])


def keep_outcomes(path: Path, make: Callable[[], Mapping[Hashable, Outcome]], *, of: str = "") -> None:
    """Leave the outcomes of one run of transfer in `path`, unless an earlier run left those of `of`."""
    if not is_whole(path, of=of):
        arrays = {}
        for key, outcome in make().items():
            name = json.dumps([key.texts, JOINT] if isinstance(key, Joint) else [key, TWO_PHASE])
            arrays[f"correct {name}"] = torch.from_numpy(outcome.correct.astype(np.uint8))
            arrays[f"chosen {name}"] = torch.from_numpy(outcome.chosen.astype(np.float64))
        write_arrays(path, arrays, of=of)


def read_outcomes(path: Path) -> dict[Hashable, Outcome]:
    """The outcomes that `keep_outcomes` left in a file."""
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
    return (
        TRANSFER.frame([without_nan(row) for row in by_seed]),
        TRANSFER_SUMMARY.frame([without_nan(row) for row in summary]),
    )


def _row_of(key: Hashable) -> tuple[TextSet, str]:
    """Which texts (or none) and which training an outcome is of."""
    if isinstance(key, Joint):
        return _row_of(key.texts)[0], JOINT
    return key if isinstance(key, TextSet) else TextSet(str(key), BASELINE), TWO_PHASE

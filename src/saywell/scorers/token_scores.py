"""How well what is pointed at agrees with the words on which a unit fires: precision, recall and F1."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from saywell.scorers.floors import reads_alike
from saywell.scorers.intervals import LEVEL, RESAMPLES, Interval, wilson_interval

_MOST_WEIGHTS = 1 << 27


class Agreement(NamedTuple):
    """All from 0 to 1, higher is better. `activation`: the share of all activation that is pointed at."""

    precision: Interval
    recall: Interval
    f1: Interval
    activation: float
    floors: dict[str, float]
    """F1 of what should fail."""
    skill: Interval
    """F1 less that of the best floor."""
    floor: str
    """The best one."""


class Resampled:
    """Words of texts, and resamples of these texts: words of one text are no independent trials.

    How often each text is drawn is Poisson with a mean of 1, the same in all comparisons. Of very many texts
    there are fewer resamples.
    """

    def __init__(self, text: Int[np.ndarray, " words"], texts: int, seed: int = 0) -> None:
        self._text, self._texts, self._seed = text, texts, seed

    @cached_property
    def _drawn(self) -> UInt8[np.ndarray, "resamples texts"]:
        times = max(100, min(RESAMPLES, _MOST_WEIGHTS // max(1, self._texts)))
        random = np.random.default_rng(self._seed)
        return np.stack([random.poisson(1, self._texts).astype(np.uint8) for _ in range(times)])

    def agreement(
        self,
        said: Bool[np.ndarray, " words"],
        fired: Int[np.ndarray, " fired"],
        values: Float[np.ndarray, " fired"],
        floors: Mapping[str, Bool[np.ndarray, " words"]],
    ) -> Agreement:
        """Of what is `said` with the words on which a unit fires, by number, beside what should fail.

        Precision and recall have Wilson's interval, F1 and skill one over resamples of texts. NaN where there
        is nothing to divide by.
        """
        truth = np.zeros(len(said), dtype=bool)
        truth[fired] = True
        hits, claimed = int(said[fired].sum()), int(said.sum())
        known = {name: _f1(mask, truth) for name, mask in floors.items()}
        # A floor that points at nearly the same is the same description, and no evidence against it.
        others = [name for name, mask in floors.items() if not points_alike(said, mask)] or list(floors)
        best = max(others, key=lambda name: known[name])
        own, other = (self._counts(mask, truth) for mask in (said, floors[best]))
        some = np.flatnonzero(own.any(1) | other.any(1))
        drawn = self._drawn[:, some].astype(np.float32)
        f1, floor = (_of_counts((drawn @ counts[some]).T) for counts in (own, other))
        value = _f1(said, truth)
        total = float(values.sum())
        return Agreement(
            wilson_interval(hits, claimed),
            wilson_interval(hits, len(fired)),
            _interval(value, f1, self._texts),
            float(values[said[fired]].sum()) / total if total else float("nan"),
            known,
            _interval(value - known[best], f1 - floor, self._texts),
            best,
        )

    def _counts(
        self, said: Bool[np.ndarray, " words"], truth: Bool[np.ndarray, " words"]
    ) -> Float[np.ndarray, "texts 3"]:
        """Hits, words pointed at and words it fires on of each text."""
        masks = (said & truth, said, truth)
        return np.stack(
            [np.bincount(self._text[mask], minlength=self._texts) for mask in masks], axis=1
        ).astype(np.float32)


def points_alike(one: Bool[np.ndarray, " words"], other: Bool[np.ndarray, " words"]) -> bool:
    """Whether two point at nearly the same words, as `saywell.scorers.floors.reads_alike` has it."""
    return bool(reads_alike(one[None], other[None])[0])


def _f1(said: Bool[np.ndarray, " words"], truth: Bool[np.ndarray, " words"]) -> float:
    below = int(said.sum()) + int(truth.sum())
    return 2 * int((said & truth).sum()) / below if below else float("nan")


def _of_counts(counts: Float[np.ndarray, "3 resamples"]) -> Float[np.ndarray, " resamples"]:
    hits, said, fired = counts
    return 2 * hits / np.maximum(said + fired, 1)


def _interval(value: float, drawn: Float[np.ndarray, " resamples"], n: int) -> Interval:
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(value, float(low), float(high), n)
